"""`treasuryd audit`: does what is stored hold together? Beside a running daemon or without one."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.local import flags_of, load_settings, settings_flags
from treasuryd.cli.shared import as_json
from treasuryd.errors import Exit

if TYPE_CHECKING:
    from treasuryd.main.audits import Report

SHOWN_DOUBTS: Final = 20


@click.command()
@settings_flags
@as_json
def audit(*, config: Path | None, wants_json: bool, **chosen: Any) -> int:
    """Audit payments, approvals, books and journal as they are stored; exit 1 when a rule is broken."""
    from treasuryd.main.audits import audit as run  # noqa: PLC0415 - heavy, and `treasuryd list` does not need it

    report = run(load_settings(config, flags_of(**chosen)))
    if wants_json:
        violations = [{**asdict(one), "to_do": one.to_do} for one in report.violations]
        screen.as_json({**asdict(report), "violations": violations})
    else:
        _show(report)
    return Exit.NOT_ALL if report.violations else Exit.DONE


def _show(report: "Report") -> None:
    columns = ("account", "kind", "movements", "delta", "fee")
    screen.table("", columns, report.totals)
    if report.doubts:
        listed = ", ".join(map(str, report.doubts[:SHOWN_DOUBTS]))
        screen.say(
            f"{len(report.doubts)} paid items whose votes cannot be recounted with today's configuration: {listed}"
        )
    for one in report.violations:
        where = f"{one.account or 'all accounts'}" + (
            "" if one.item is None else f", disbursement {one.item}"
        )
        screen.complain(f"{one.finding}: {where}: {one.detail}", one.to_do)
    screen.say(
        f"{report.items} disbursements, {report.movements} balance events, {len(report.violations)} violations."
    )


COMMANDS: Final = (audit,)
