"""
What a store was begun with and the settings must not say otherwise: the length of an epoch, and each account's sink.

Epochs that are stored were counted in the length of then: with a shorter one the settled epoch would jump ahead, for good,
and timelocks, schedules and votes end too early (protocol.md §1). Cancellations that are stored pay the sink of then: with
another one balances and the audit would judge them wrongly (R7, §5.1, §10).
"""

from collections.abc import Mapping
from typing import Final

from treasuryd.core.model import Rules, UnixSeconds
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal
from treasuryd.store.queries import load

SQL: Final = load("pins.sql")
EPOCH_BLOCKS: Final = "epoch_blocks"  # in meta: how long an epoch of this store is
SINK: Final = "sink:"  # in meta, before an account's name: where its cancellations go
AGAINST: Final = {
    "leased": "its lease was not given back: who has it may still act by the old one",
    "quarantined": "it is in quarantine: what this store may have forgotten pays the old one",
    "cancelled": "cancellations or fillers of it are stored: bytes that pay the old one may be out, and what is stored "
    "is audited against it",
}
AGAIN: Final = {
    "leased": "; or stop the daemon that has the account with SIGTERM, which gives its lease back, and start again.",
    "quarantined": "; or leave the quarantine first, with the old one.",
    "cancelled": ". Another one needs another account or another store.",
}


def pin(connection: Connection, rules: Rules, now: UnixSeconds) -> None:
    """
    Hold the settings against what is pinned, and pin what is new; a verb, run at each opening once the copy was replayed.

    Another sink is taken where the account's lease was given back, the account is in no quarantine, and no cancellation
    or filler of it was ever staged. An account that the settings do not name keeps its own.

    Raises: Rejected (CONFLICT) for another length of epochs, or another sink of an account that must keep its own.
    """
    pinned = dict(connection.execute(SQL["pinned"]).fetchall())
    blocks = pinned.get(EPOCH_BLOCKS, str(rules.epoch_blocks))
    if blocks != str(rules.epoch_blocks):
        raise Rejected(
            f"this store counts epochs of {blocks} blocks, the settings say {rules.epoch_blocks} (chain.epoch_blocks)",
            hint=f"Put chain.epoch_blocks = {blocks} back: with another one, what waits for an epoch would be due too "
            "early or too late. Another length of epochs needs another store.",
            kind=Refusal.CONFLICT,
        )
    wanted = {EPOCH_BLOCKS: blocks, **{f"{SINK}{account}": str(to) for account, to in rules.sinks.items()}}
    fresh = {name: value for name, value in sorted(wanted.items()) if pinned.get(name) != value}
    for name in fresh.keys() & pinned.keys():
        _may_change(connection, name.removeprefix(SINK), pinned[name], fresh[name])
    for name in fresh.keys() - {EPOCH_BLOCKS}:
        _is_its_own(name, pinned | wanted)
        _pays_nobody(connection, name.removeprefix(SINK), fresh[name])
    if fresh:
        connection.executemany(SQL["pin"], list(fresh.items()))
        journal.append(connection, journal.STORE, "pin", {"pins": fresh}, now)


def _may_change(connection: Connection, account: str, old: str, new: str) -> None:
    """Raises: Rejected where something is against it."""
    against = connection.execute(SQL["against"], (account,)).fetchone()[0]
    if against is not None:
        raise Rejected(
            f"the sink of {account} is {old} in this store, {new} in the settings: {AGAINST[against]}",
            hint=f"Put the old sink back, sink = {old!r}, in that account's settings{AGAIN[against]}",
            kind=Refusal.CONFLICT,
        )


def _is_its_own(name: str, known: Mapping[str, str]) -> None:
    """Raises: Rejected where another account of this store, led elsewhere or configured no more, has that sink (R7)."""
    sinks = sorted(one for one, to in known.items() if one.startswith(SINK) and to == known[name])
    other = next((one for one in sinks if one != name), None)
    if other is not None:
        raise Rejected(
            f"the sink of {name.removeprefix(SINK)} is {known[name]} in the settings, and so is that of "
            f"{other.removeprefix(SINK)} in this store",
            hint="Give each account a sink of its own: nothing would tell whose cancellation a unit there is.",
            kind=Refusal.CONFLICT,
        )


def _pays_nobody(connection: Connection, account: str, sink: str) -> None:
    """Raises: Rejected where a payment to the new sink is open: nothing would tell it from a cancellation (R7)."""
    if connection.execute(SQL["pays"], (sink,)).fetchone()[0]:
        raise Rejected(
            f"the sink of {account} is {sink} in the settings, and disbursements that have not ended pay it",
            hint=f"Choose an address that nobody is paid at, or wait for them: `treasuryd list --destination {sink}`.",
            kind=Refusal.CONFLICT,
        )
