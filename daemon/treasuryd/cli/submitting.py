"""
`treasuryd submit`: a file is judged whole on this side, by the daemon's own rules, before any of it is sent.

Up to 1,000 items go as one request, more as a named batch in parts, which the daemon keeps invisible until it is sealed:
either way nothing is half-submitted. The batch's name comes from its content as it was read, so the same rows again are
the same submission again, however they were saved, and an interrupted upload goes on where it stopped.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import click
from blake3 import blake3
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from treasuryd.cli import screen
from treasuryd.cli.client import Daemon, path_of
from treasuryd.cli.failures import Failure
from treasuryd.cli.shared import as_json, daemon
from treasuryd.core.intake import MAX_ITEMS, Intake, check, check_refs, items_of
from treasuryd.core.model import AccountId, Address, Evidence, NewDisbursement, Rules
from treasuryd.core.reading import read_csv, read_json
from treasuryd.core.staging import digest_of, request_digest
from treasuryd.errors import Exit, Refusal, Rejected

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
MAX_FILE_ITEMS: Final = 100_000  # what one named batch holds
SHOWN_ERRORS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as read: its items, the place of each in messages, and what is wrong with its cells already."""

    items: tuple[object, ...]
    places: tuple[str, ...]
    errors: tuple[Rejected, ...]
    bytes_digest: str

    @property
    def digest(self) -> str:
        """Of what it says, as the daemon digests a whole request: ends of lines and a BOM do not count."""
        return request_digest([digest_of(item) for item in self.items])


@click.command()
@click.argument("source", metavar="FILE|-", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), help="By default the file's ending decides."
)
@click.option("--key", help="Idempotency key; by default the content is its own key.")
@click.option("--dry-run", is_flag=True, help="Judge the file, send nothing.")
@as_json
def submit(*, source: Path, form: str | None, key: str | None, dry_run: bool, wants_json: bool) -> int:
    """Submit disbursements from a JSON or CSV file (- for standard input): all of them, or none."""
    file = read_file(source, form or ("csv" if source.suffix.lower() == ".csv" else "json"))
    target = daemon()
    gate = intake_of(target.get("/treasury/intake"))
    errors = [*file.errors, *errors_of(file, gate, key)]
    if errors:
        return _complain(errors, len(file.items), wants_json=wants_json)
    if dry_run:
        screen.say(f"{len(file.items)} of {len(file.items)} disbursements are in order; nothing was sent.")
        return Exit.DONE
    reply = send(target, file, key)
    if wants_json:
        screen.as_json(reply)
    else:
        count, listed = len(reply["ids"]), ranges(reply["ids"])
        if reply["repeated"]:
            screen.say(f"this was submitted before; nothing was submitted twice: {listed}")
        else:
            screen.say(f"submitted {_many(count, 'disbursement')}: {listed}")
    return Exit.DONE


def intake_of(found: Any) -> Intake:
    """The daemon's gate, as it describes it."""
    sinks = {AccountId(account): Address(sink) for account, sink in found["sinks"].items()}
    return Intake(
        rules=Rules(
            destination_pattern=found["destination_pattern"],
            allow_treasury_initiated=found["allow_treasury_initiated"],
            sinks=sinks,
        ),
        accounts=tuple(AccountId(account) for account in found["accounts"]),
        evidence=Evidence(found["evidence"]),
    )


def read_file(source: Path, form: str) -> File:
    """Read a whole file, or standard input, strictly; a file that is no JSON or CSV at all is a Failure."""
    try:
        if str(source) == "-":
            raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with source.open("rb") as stream:
                raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failure(Exit.USAGE, f"{source}: cannot be read: {error.strerror}") from error
    try:
        return _csv(raw) if form == "csv" else _json(raw)
    except Rejected as error:
        raise Failure(Exit.NOT_ALL, f"{source}: {error.message}", hint=error.hint) from error


def _json(raw: bytes) -> File:
    items = tuple(items_of(read_json(raw, limit=MAX_FILE_BYTES)))
    places = tuple(f"items[{row}]." for row in range(len(items)))
    return File(items=items, places=places, errors=(), bytes_digest=blake3(raw).hexdigest())


def _csv(raw: bytes) -> File:
    rows = read_csv(raw, limit=MAX_FILE_BYTES)
    return File(
        items=tuple(row.item for row in rows),
        places=tuple(f"line {row.line}: " for row in rows),
        errors=tuple(error for row in rows for error in row.errors),
        bytes_digest=blake3(raw).hexdigest(),
    )


def errors_of(file: File, gate: Intake, key: str | None) -> list[Rejected]:
    """Everything that is wrong with the file, in its order; refs are judged over all parts."""
    if not file.items:
        return [Rejected("the file holds no disbursement")]
    if len(file.items) > MAX_FILE_ITEMS:
        many = f"the file holds {len(file.items)} disbursements, the limit is {MAX_FILE_ITEMS}"
        return [Rejected(many, hint="Split it; dependencies between the files go by id.")]
    if len(file.items) <= MAX_ITEMS:
        return list(check(file.items, key=key, intake=gate, places=file.places).errors)
    errors: list[Rejected] = []
    valid: list[NewDisbursement | None] = []
    with _progress("checking", len(file.items)) as advance:
        for start, part in parts_of(file.items):
            places = file.places[start : start + MAX_ITEMS]
            checked = check(part, key=key, intake=gate, places=places, whole=False)
            errors += checked.errors
            valid += checked.items
            advance(len(part))
    if errors:
        return errors
    return check_refs(valid, file.places)


def parts_of(items: Sequence[object]) -> Iterator[tuple[int, Sequence[object]]]:
    """Cut into parts of 1,000, each with the place where it starts."""
    for start in range(0, len(items), MAX_ITEMS):
        yield start, items[start : start + MAX_ITEMS]


def send(target: Daemon, file: File, key: str | None) -> dict[str, Any]:
    """Send the checked file; answers the ids in the file's order, and whether they were there before."""
    if len(file.items) <= MAX_ITEMS:
        reply = target.send("POST", "/treasury/disbursements", {"items": list(file.items)}, key=key)
        return {"ids": [item["id"] for item in reply["items"]], "repeated": reply["repeated"]}
    numbered = list(enumerate(parts_of(file.items), start=1))
    name = key
    if name is None:
        older = f"file-{file.bytes_digest[:48]}"  # as versions that went by the bytes named it, maybe sealed there
        sealed = _seal(target, older, len(numbered), accept=(404, 409))
        if "ids" in sealed:
            return sealed
        begun = sealed["error"]["code"] != Refusal.NOT_FOUND
        name = older if begun else f"file-{file.digest[:48]}"
    target.send("PUT", path_of("treasury", "batches", name), {})
    with _progress("sending", len(file.items)) as advance:
        for number, (_, part) in numbered:
            path = path_of("treasury", "batches", name, "parts", number)
            target.send("PUT", path, {"items": list(part)})
            advance(len(part))
    return _seal(target, name, len(numbered))


def _seal(target: Daemon, name: str, parts: int, accept: tuple[int, ...] = ()) -> dict[str, Any]:
    path = path_of("treasury", "batches", name, "seal")
    reply: dict[str, Any] = target.send("POST", path, {"parts": parts}, accept=accept)
    return reply


class _progress:  # noqa: N801 - used as a function
    """A bar on the error stream, where that is a terminal."""

    def __init__(self, what: str, total: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=screen.console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __call__(self, count: int) -> None:
        self._bar.advance(self._task, count)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _complain(errors: Sequence[Rejected], count: int, *, wants_json: bool) -> int:
    """Tell every error (in JSON all, on the screen the first fifty), and that nothing was sent."""
    if wants_json:
        listed = [{"field": one.field, "message": one.message, "hint": one.hint} for one in errors]
        screen.as_json({"errors": listed, "ids": []})
        return Exit.NOT_ALL
    for error in errors[:SHOWN_ERRORS]:
        screen.complain(error.message, f"  {error.hint}" if error.hint else "")
    if len(errors) > SHOWN_ERRORS:
        screen.complain(f"… and {len(errors) - SHOWN_ERRORS} more (--json lists them all)")
    screen.complain(
        f"{_many(len(errors), 'error')} in {_many(count, 'disbursement')}; nothing was submitted."
    )
    return Exit.NOT_ALL


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def ranges(ids: Sequence[int]) -> str:
    """Ids as people write them: `1-4, 9`."""
    found: list[list[int]] = []
    for item in ids:
        if found and item == found[-1][1] + 1:
            found[-1][1] = item
        else:
            found.append([item, item])
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in found[:20]]
    return ", ".join(shown) + (" …" if len(found) > 20 else "")


COMMANDS: Final = (submit,)
