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
    from treasuryd.main.audits import Asked, Report

SHOWN_DOUBTS: Final = 20
LOOKED_UP: Final = 10_000  # two minutes at 80 requests a second, where the endpoint takes no batches
NOT_REACHED: Final = "Call it again once an endpoint answers; `--offline` judges what is stored alone."


@click.command()
@settings_flags
@click.option("--offline", is_flag=True, help="Leave the chain out, and judge what is stored alone.")
@click.option(
    "--limit",
    type=click.IntRange(0, 2**31),
    default=LOOKED_UP,
    show_default=True,
    help="Transactions to look up on the chain, the newest first; 0 for all.",
)
@as_json
def audit(*, config: Path | None, offline: bool, limit: int, wants_json: bool, **chosen: Any) -> int:
    """
    Audit payments, approvals, books and journal as they are stored, and against the chain; exit 1 when a rule is broken.

    An endpoint that does not answer ends it with 69, once the rest was audited.
    """
    from treasuryd.main.audits import audit as run  # noqa: PLC0415 - heavy, and `treasuryd list` does not need it

    settings = load_settings(config, flags_of(**chosen))
    tell = (lambda _: None) if wants_json else screen.say
    report = run(settings, offline=offline, limit=limit, tell=tell)
    if wants_json:
        violations = [{**asdict(one), "to_do": one.to_do} for one in report.violations]
        screen.as_json({**asdict(report), "violations": violations})
    else:
        _show(report)
    if report.violations:
        return Exit.NOT_ALL
    return Exit.NOT_REACHED if report.chain.unreachable else Exit.DONE


def _show(report: "Report") -> None:
    columns = ("account", "kind", "movements", "delta", "fee")
    screen.table("", columns, report.totals)
    if report.doubts:
        listed = ", ".join(map(str, report.doubts[:SHOWN_DOUBTS]))
        screen.say(
            f"{len(report.doubts)} paid items whose votes cannot be recounted with today's configuration: {listed}"
        )
    _show_chain(report.chain)
    for one in report.violations:
        where = f"{one.account or 'all accounts'}" + (
            "" if one.item is None else f", disbursement {one.item}"
        )
        screen.complain(f"{one.finding}: {where}: {one.detail}", one.to_do)
    screen.say(
        f"{report.items} disbursements, {report.movements} balance events, {len(report.violations)} violations."
    )


def _show_chain(asked: "Asked") -> None:
    for account, said in asked.accounts.items():
        screen.say(f"{account}: {said}")
    if asked.unsure:
        some = ", ".join(f"{intent} ({why})" for intent, why in list(asked.unsure.items())[:SHOWN_DOUBTS])
        screen.say(
            f"{len(asked.unsure)} transactions of which the chain says nothing for sure, by intent: {some}"
        )
    if asked.unreachable:
        screen.complain(
            f"chain not asked: {asked.not_asked or 'the endpoint is behind the books'}", NOT_REACHED
        )
    elif asked.not_asked:
        screen.say(f"chain not asked: {asked.not_asked}")


COMMANDS: Final = (audit,)
