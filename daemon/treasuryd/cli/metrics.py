"""`treasuryd metrics`: what is exported, and whether rules, alerts and dashboards speak of nothing else."""

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from treasuryd.cli import screen
from treasuryd.cli.shared import as_json, daemon
from treasuryd.errors import Exit

FOLDER: Final = Path("monitoring")
PAGE: Final = Path("docs") / "metrics.md"


@click.group()
def metrics() -> None:
    """What is exported to Prometheus, and whether everything that watches it is right."""


@metrics.command("list")
@as_json
def list_metrics(*, wants_json: bool) -> int:
    """List every metric with its type, labels and meaning; no daemon is asked. The same as docs/metrics.md."""
    from treasuryd.telemetry import registry  # noqa: PLC0415 - brings the client library with it

    if wants_json:
        screen.as_json({"bound": registry.SERIES_BOUND, "metrics": [asdict(one) for one in registry.ALL]})
        return Exit.DONE
    rows = [(one.name, one.kind.value, ", ".join(one.label_names), one.help) for one in registry.ALL]
    screen.table("", ("name", "type", "labels", "meaning"), rows)
    screen.say(f"{len(registry.ALL)} metrics, at most {registry.SERIES_BOUND} series.")
    return Exit.DONE


@metrics.command()
@click.option(
    "--monitoring",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Folder of the rules and dashboards.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PAGE,
    show_default=True,
    help="The page that documents every metric.",
)
@as_json
def check(*, monitoring: Path, page: Path, wants_json: bool) -> int:
    """
    Hold rules, alerts, dashboards and the page against what the daemon at --url exports right now.

    Every metric named in them has to be exported, and every exported one documented; exit 1 with the list otherwise.
    """
    from treasuryd.telemetry import coverage  # noqa: PLC0415 - brings the client library with it

    named, recorded = coverage.read_folder(monitoring)
    documented = page.read_text(encoding="utf-8") if page.exists() else ""
    found = coverage.compare(named, recorded, daemon().text("/metrics"), documented)
    if wants_json:
        screen.as_json(asdict(found) | {"wrong": found.wrong})
    else:
        for sentence in found.absent:
            screen.say(f"  {sentence}")
        for sentence in found.wrong:
            screen.complain(sentence)
        screen.say(
            f"{found.names} names in {monitoring}, {found.exported} exported names, {len(found.wrong)} wrong."
        )
    return Exit.NOT_ALL if found.wrong else Exit.DONE


COMMANDS: Final = (metrics,)
