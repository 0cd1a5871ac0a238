"""Accounts and circuit breakers: look at them, stop and start them."""

import math
from typing import Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.client import path_of
from treasuryd.cli.shared import account_name, as_json, daemon, order, reason


@click.group()
def account() -> None:
    """Paying accounts: show, freeze, thaw, announce a deposit."""


@account.command("show")
@click.argument("name", metavar="[ACCOUNT]", required=False)
@as_json
def show_accounts(*, name: str | None, wants_json: bool) -> None:
    """Show one account, or all."""
    reply = daemon().get(path_of("treasury", "accounts", name) if name else "/treasury/accounts")
    if wants_json:
        screen.as_json(reply)
    else:
        _show_rows([reply] if name else reply["items"])


def _show_rows(rows: list[Any]) -> None:
    columns = ("id", "state", "cause", "next_nonce", "baseline_height", "detail")
    cells = [[*(row[name] for name in columns[:-1]), screen.cell(row["detail"], limit=200)] for row in rows]
    screen.table("", columns, cells)
    for row in rows:
        if row["lost_payments"]:
            listed = screen.cell(", ".join(map(str, row["lost_payments"])), limit=200)
            screen.say(f"{row['id']}: the chain lost final payments, to be reopened: {listed}")
        if row["lost_nonces"]:
            listed = screen.cell(", ".join(map(str, row["lost_nonces"])), limit=200)
            screen.say(f"{row['id']}: nonces that pay nobody any more, to be filled: {listed}")


@account.command()
@account_name
@reason
def freeze(*, account: str, reason: str, by: str | None) -> None:
    """Stop staging, signing and sending for an account, until it is thawed."""
    _show_rows([daemon().send("POST", path_of("treasury", "accounts", account, "freeze"), order(reason, by))])


@account.command()
@account_name
@click.option("--cause", default=None, help="Thaw it only if it is frozen for this cause and nothing graver.")
@reason
def thaw(*, account: str, cause: str | None, reason: str, by: str | None) -> None:
    """Let a frozen account act again; refused while a foreign payment of it is not final."""
    body = order(reason, by) if cause is None else order(reason, by, cause=cause)
    _show_rows([daemon().send("POST", path_of("treasury", "accounts", account, "thaw"), body)])


@account.command()
@account_name
@click.option("--nonce", "nonces", type=click.IntRange(1, 2**63 - 1), multiple=True, required=True)
@reason
def fill(*, account: str, nonces: tuple[int, ...], reason: str, by: str | None) -> None:
    """Fill nonces that pay nobody any more after a deep reorg (one unit to the account's own sink each)."""
    body = order(reason, by, nonces=list(nonces))
    _show_rows([daemon().send("POST", path_of("treasury", "accounts", account, "fill"), body)])


@account.command()
@account_name
@click.argument("amount", metavar="AMOUNT", type=click.IntRange(1, 2**63 - 1))
@reason
def announce(*, account: str, amount: int, reason: str, by: str | None) -> None:
    """Announce an expected deposit (AMOUNT in base units), so that it casts no doubt on a payment."""
    body = order(reason, by, amount=amount)
    daemon().send("POST", path_of("treasury", "accounts", account, "announce"), body)
    screen.say(f"a deposit of {amount} base units into {account} is expected.")


@click.group()
def breaker() -> None:
    """Circuit breakers: show, force open (the kill switch), force closed, give back to the machine."""


@breaker.command("show")
@as_json
def show_breakers(*, wants_json: bool) -> None:
    """Show all breakers."""
    _show(daemon().get("/treasury/breakers"), wants_json=wants_json)


def _show(reply: Any, *, wants_json: bool) -> None:
    if wants_json:
        screen.as_json(reply)
        return
    columns = ("endpoint", "class", "state", "mode", "failures", "rejections", "reopens_in_seconds")
    screen.table(
        "",
        columns,
        [[*(row[name] for name in columns[:-1]), _whole(row[columns[-1]])] for row in reply["items"]],
    )
    if reply["kill_switch"]:
        screen.say("The kill switch is on: nothing is sent. `treasuryd breaker reset` ends it.")


def _whole(seconds: float | None) -> int | None:
    """Seconds for people; rounded up, so that what is shown has passed when it is over."""
    return None if seconds is None else math.ceil(seconds)


def _forcing(name: str, state: str, classes: tuple[str, ...], text: str) -> click.Command:
    """Make one of the three commands that force a breaker; `classes` are ordered where none is named."""

    @click.command(name, help=text)
    @click.argument("endpoint", metavar="[ENDPOINT]", default="*")
    @click.option(
        "--class",
        "call_class",
        type=click.Choice(["send", "read"]),
        help=f"Calls of one class; by default {' and '.join(classes)}.",
    )
    @reason
    @as_json
    def force(
        *, endpoint: str, call_class: str | None, reason: str, by: str | None, wants_json: bool
    ) -> None:
        replies = [
            daemon().send(
                "POST", path_of("treasury", "breakers", endpoint, one), order(reason, by, state=state)
            )
            for one in (classes if call_class is None else (call_class,))
        ]
        _show(replies[-1], wants_json=wants_json)
        if state == "auto" and not wants_json:
            _tell_open(replies[-1]["items"])

    return force


def _tell_open(rows: list[Any]) -> None:
    """A breaker that opened by itself stays open: there is no word of a person to take back."""
    for row in rows:
        if (row["state"], row["mode"]) == ("open", "auto"):
            node, call_class = screen.clean(row["endpoint"]), row["class"]
            screen.say(
                f"{node} {call_class} opened by itself, and tries again in {_whole(row['reopens_in_seconds'])} s. Sooner: "
                f"`treasuryd breaker close {node} --class {call_class} --reason …`, then `reset` again."
            )


breaker.add_command(
    _forcing(
        "open",
        "open",
        ("send",),
        "Force a breaker open. Without ENDPOINT, all of them: for sending, the kill switch.",
    )
)
breaker.add_command(_forcing("close", "closed", ("send",), "Force a breaker closed: every call passes."))
breaker.add_command(_forcing("reset", "auto", ("read", "send"), "Give a breaker back to the machine."))

COMMANDS: Final = (account, breaker)
