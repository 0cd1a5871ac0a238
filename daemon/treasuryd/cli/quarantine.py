"""A store that may be older than the world: what was found, what to do next, and the word that ends it (§8, R11)."""

import re
from typing import Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.client import path_of
from treasuryd.cli.shared import account_name, as_json, daemon, order, reason
from treasuryd.core.restore import Sign

_SUBMITTED_IS_GONE: Final = frozenset(
    {
        Sign.JOURNAL_LOST,
        Sign.SIGNER_NONCE,
        Sign.SIGNER_DISBURSEMENT,
        Sign.SIGNER_TERM,
        Sign.SIGNER_WITNESS,
    }
)
"""Signs of a store that lost entries which no copy of the journal gave back: the signer remembers what it signed alone."""


@click.group()
def quarantine() -> None:
    """After a restore: show what was found, declare it, fill lost nonces, resolve."""


@quarantine.command()
@as_json
def show(*, wants_json: bool) -> None:
    """Show what was found, replayed, adopted and held, and what to do next."""
    reply = daemon().get("/treasury/quarantine")
    if wants_json:
        screen.as_json(reply)
    else:
        _show(reply)


def _show(reply: Any) -> None:
    report = reply["report"]
    if not report:
        screen.say("This store was never in quarantine.")
        return
    if not reply["accounts"]:
        screen.say(_over(report))
    for found in report["found"]:
        screen.say(f"found: {screen.cell(found['detail'], limit=500)} ({found['sign']})")
    replayed = report.get("replayed")
    if replayed:
        lost = len(replayed["not_replayed"])
        screen.say(f"replayed: {replayed['entries']} entries of the journal's copy, {lost} could not be")
    for account, row in report["accounts"].items():
        adopted = [str(one["nonce"]) for one in row["adopted"]]
        screen.say(
            f"{account}: adopted {len(adopted)} from the signer"
            f"{' (nonces ' + ' '.join(adopted[:20]) + ')' if adopted else ''}, "
            f"held {row.get('held', 0)} (`treasuryd list --waiting`)"
        )
    if any(found["sign"] in _SUBMITTED_IS_GONE for found in report["found"]):
        screen.say("What was submitted since the backup and not signed is gone: ask those who submit.")
    for row in reply["accounts"]:
        _show_account(row)


def _over(report: Any) -> str:
    """What is shown below is over: since when, and on whose word."""
    ends = list(report.get("left", {}).values())
    if not ends:
        return "No account is in quarantine. The last one:"
    last = max(ends, key=lambda one: one["at"])
    who = screen.clean(last["by"])
    return f"No account is in quarantine. The last one ended {screen.moment(last['at'])} by {who}:"


def _show_account(row: Any) -> None:
    screen.say("")
    if not row["open_points"]:
        screen.say(
            f"{row['account']}: nothing is open; `treasuryd quarantine resolve {row['account']} --reason …` lets it "
            f"act again from nonce {row['next_nonce']} on."
        )
        return
    screen.say(f"{row['account']}: still open")
    for point in row["open_points"]:
        screen.say(f"  - {screen.cell(point, limit=500)}")


@quarantine.command()
@account_name
@click.option(
    "--give-up",
    is_flag=True,
    help="Another store that this signer served is lost for good; what it may have paid is held.",
)
@reason
def resolve(*, account: str, give_up: bool, reason: str, by: str | None) -> None:
    """End an account's quarantine; refused, with what is open, until everything is decided."""
    path = path_of("treasury", "quarantine", account, "resolve")
    found = daemon().send("POST", path, order(reason, by, give_up=give_up))
    screen.say(f"{account} is {found['state']}; {found['said']}.")


@quarantine.command()
@reason
def declare(*, reason: str, by: str | None) -> None:
    """Say that this store was restored, where nothing shows it: all accounts stop, every open item is held."""
    _show(daemon().send("POST", "/treasury/quarantine/declare", order(reason, by)))


@quarantine.command()
@account_name
@reason
def fill(*, account: str, reason: str, by: str | None) -> None:
    """Fill the nonces whose bytes are lost, so that nothing waits behind them for ever."""
    path = path_of("treasury", "quarantine", account, "fill")
    found = daemon().send("POST", path, order(reason, by))
    screen.say(f"{account} is {found['state']}: its lost nonces are filled by cancellations.")


def _checked_keys(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for key in given:
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise click.BadParameter(
                f"a public key has 64 digits 0-9 a-f, this is {screen.clean(key, limit=80)!r}",
                context,
                option,
            )
    return given


@click.group()
def signer() -> None:
    """The signer's memory: import what it lost."""


@signer.command("import")
@account_name
@click.option(
    "--give-up",
    is_flag=True,
    help="What the store does not have either is lost for good; in quarantine alone.",
)
@click.option(
    "--beyond-policy",
    type=click.IntRange(1, 2**63 - 1),
    multiple=True,
    metavar="NONCE",
    help="What is under this nonce is ours, though the signer would not sign it today; may be repeated.",
)
@click.option(
    "--old-key",
    callback=_checked_keys,
    multiple=True,
    metavar="HEX",
    help="A public key that the account had before; may be repeated.",
)
@reason
@as_json
def import_bindings(
    *,
    account: str,
    give_up: bool,
    beyond_policy: tuple[int, ...],
    old_key: tuple[str, ...],
    reason: str,
    by: str | None,
    wants_json: bool,
) -> None:
    """Have a signer that lost its ledger take in everything that the store ever sealed for an account."""
    path = path_of("treasury", "signer", account, "import")
    more: dict[str, Any] = {"beyond_policy": list(beyond_policy)} if beyond_policy else {}
    if old_key:
        more["old_keys"] = list(old_key)
    found = daemon().send("POST", path, order(reason, by, give_up=give_up, **more))
    if wants_json:
        screen.as_json(found)
    else:
        screen.say(f"the signer knows {found['imported']} signed transactions of {account} again.")


COMMANDS: Final = (quarantine, signer)
