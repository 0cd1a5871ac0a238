"""Orders about disbursements: cancel, release, resolve, roll back, reopen."""

from typing import Final

import click

from treasuryd.cli import screen
from treasuryd.cli.client import path_of
from treasuryd.cli.shared import as_json, daemon, item_id, item_ids, order, reason, show_outcomes

_MANY: Final = "/treasury/disbursements"
_NOT_ALL: Final = (409,)  # the answer of an order over many of which some were not done


@click.command()
@item_ids
@reason
@as_json
def cancel(*, items: tuple[int, ...], reason: str, by: str | None, wants_json: bool) -> int:
    """Cancel disbursements; one that is being paid is replaced on its own nonce, and may still win."""
    body = order(reason, by, ids=list(items))
    reply = daemon().send("POST", f"{_MANY}/cancel", body, accept=_NOT_ALL)
    return show_outcomes(reply, wants_json=wants_json)


@click.command()
@item_ids
@reason
@as_json
def release(*, items: tuple[int, ...], reason: str, by: str | None, wants_json: bool) -> int:
    """Release held disbursements: from now on they may be paid anew."""
    body = order(reason, by, ids=list(items))
    reply = daemon().send("POST", f"{_MANY}/release", body, accept=_NOT_ALL)
    return show_outcomes(reply, wants_json=wants_json)


@click.command()
@item_ids
@click.option("--paid", "verdict", flag_value="paid", help="The chain shows that it was paid.")
@click.option("--void", "verdict", flag_value="void", help="The chain shows that it was not paid.")
@reason
@as_json
def resolve(
    *, items: tuple[int, ...], verdict: str | None, reason: str, by: str | None, wants_json: bool
) -> int:
    """Judge ambiguous disbursements, after looking at the chain yourself."""
    if verdict is None:
        raise click.UsageError("say --paid or --void")
    body = order(reason, by, ids=list(items), verdict=verdict)
    reply = daemon().send("POST", f"{_MANY}/resolve", body, accept=_NOT_ALL)
    return show_outcomes(reply, wants_json=wants_json)


@click.command()
@item_id
@reason
def rollback(*, item: int, reason: str, by: str | None) -> None:
    """Roll back the books of an executed disbursement in its window; moves no money."""
    found = daemon().send("POST", path_of("treasury", "disbursements", item, "rollback"), order(reason, by))
    screen.say(
        f"disbursement {item} is {found['status']}; the payment {found['prior_tx']} stands on the chain."
    )


@click.command()
@item_id
@reason
def reopen(*, item: int, reason: str, by: str | None) -> None:
    """Send a finalized disbursement's same bytes again, after a reorg deeper than finality."""
    found = daemon().send("POST", path_of("treasury", "disbursements", item, "reopen"), order(reason, by))
    screen.say(f"disbursement {item} is {found['status']} again.")


COMMANDS: Final = (cancel, release, resolve, rollback, reopen)
