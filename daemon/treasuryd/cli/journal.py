"""The journal: verify it, export it for others to verify, rebuild the store from it. Beside a running daemon or without."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.failures import Failure
from treasuryd.cli.local import flags_of, load_settings, settings_flags
from treasuryd.cli.shared import as_json
from treasuryd.errors import Corrupt, Exit

if TYPE_CHECKING:
    from treasuryd.store.inspection import Found

SHOWN_DIFFERENCES: Final = "the first is the store, the second what the journal rebuilds"
FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.group()
def journal() -> None:
    """The hash-chained journal of everything that changed: verify, export, replay."""


@journal.command()
@settings_flags
@click.option("--export", "exported", type=FILE, help="Verify this export instead of the store.")
@as_json
def verify(*, config: Path | None, exported: Path | None, wants_json: bool, **chosen: Any) -> int:
    """Verify every chain of the store and of its outside copy, and hold one against the other."""
    from treasuryd.main import journals  # noqa: PLC0415 - heavy, and `treasuryd list` does not need it

    if exported is not None:
        with exported.open("rb") as file:
            found = journals.verify_export(file)
    else:
        found = journals.verify(load_settings(config, flags_of(**chosen)))
    return _show(found, wants_json=wants_json)


def _show(found: "Found", *, wants_json: bool) -> int:
    heads = [
        {"chain": chain, "entries": head.seq, "hash": head.hash}
        for chain, head in sorted(found.heads.items())
    ]
    if wants_json:
        screen.as_json(
            {"entries": found.entries, "heads": heads, "problems": found.problems, "remarks": found.remarks}
        )
    else:
        columns = ("chain", "entries", "hash")
        screen.table("", columns, [[screen.cell(row[name], limit=80) for name in columns] for row in heads])
        for remark in found.remarks:
            screen.say(remark)
        for problem in found.problems:
            screen.complain(problem)
        screen.say(f"{_entries(found.entries)}, {screen.many(len(found.problems), 'problem')}.")
    return Exit.NOT_ALL if found.problems else Exit.DONE


@journal.command()
@settings_flags
@click.option("--chain", help="One chain, `people` or `account:NAME`; by default all.")
@click.option("--from", "first", type=click.IntRange(1), default=1, help="First number within each chain.")
@click.option("--to", "last", type=click.IntRange(1), help="Last number within each chain.")
@click.option("--output", type=FILE, help="A new file, ours alone; by default standard output.")
def export(
    *,
    config: Path | None,
    chain: str | None,
    first: int,
    last: int | None,
    output: Path | None,
    **chosen: Any,
) -> int:
    """Write entries as JSON lines: BLAKE3 of `before`, `head` and `body` is `hash`."""
    from treasuryd.main import journals, places  # noqa: PLC0415 - as above

    settings = load_settings(config, flags_of(**chosen))
    if output is None:
        journals.export(settings, sys.stdout.buffer, chain=chain, first=first, last=last)
        sys.stdout.buffer.flush()
        return Exit.DONE
    with os.fdopen(places.new_file(output), "wb") as file:
        count = journals.export(settings, file, chain=chain, first=first, last=last)
    screen.say(f"{_entries(count)} in {output}.")
    return Exit.DONE


@journal.command()
@settings_flags
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with a copy of the journal; by default the store's own entries.",
)
@click.option("--into", type=FILE, help="Keep what is rebuilt in this new file, ours alone.")
@as_json
def replay(
    *, config: Path | None, source: Path | None, into: Path | None, wants_json: bool, **chosen: Any
) -> int:  # fmt: skip
    """Rebuild the store from the journal alone, and compare every table with the store."""
    from treasuryd.main import journals  # noqa: PLC0415 - as above

    settings = load_settings(config, flags_of(**chosen))
    try:
        count, differences = journals.rebuild(settings, source=source, into=into)
    except Corrupt as error:
        raise Failure(Exit.NOT_ALL, error.message, hint=error.hint) from error
    if wants_json:
        screen.as_json({"entries": count, "differences": differences})
    else:
        for difference in differences:
            screen.complain(difference)
        verdict = (
            f"{screen.many(len(differences), 'difference')} ({SHOWN_DIFFERENCES})" if differences else "equal"
        )
        screen.say(f"{_entries(count)} replayed: {verdict}.")
    return Exit.NOT_ALL if differences else Exit.DONE


def _entries(count: int) -> str:
    return screen.many(count, "entry", "entries")


COMMANDS: Final = (journal,)
