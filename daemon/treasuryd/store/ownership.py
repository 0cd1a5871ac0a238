"""Who may act for an account: watch term and beat, take over, renew, give back (protocol.md §6)."""

from collections.abc import Mapping
from typing import Any

from treasuryd.core.events import Event
from treasuryd.core.model import (
    AccountId,
    Held,
    Lease,
    LeaseSeen,
    NotWritten,
    Owner,
    Rules,
    Term,
    UnixSeconds,
)
from treasuryd.ports import Many
from treasuryd.sqlite.connect import Connection
from treasuryd.store import dependencies, journal, quarantine
from treasuryd.store.rows import ids_json
from treasuryd.store.work import OWNERSHIP, Work, leases_json


def seen(connection: Connection, accounts: Many[AccountId] | None) -> list[LeaseSeen]:
    """Read lease rows, in the order asked; all where None is asked. Missing ones are missing from the answer."""
    rows = (
        connection.execute(OWNERSHIP["all_leases"])
        if accounts is None
        else connection.execute(OWNERSHIP["leases_seen"], (ids_json(accounts),))
    )
    return [_lease_seen(row) for row in rows.fetchall()]


def create(connection: Connection, accounts: Many[AccountId], now: UnixSeconds) -> list[LeaseSeen]:
    """Make the rows of accounts that the store does not know yet, in quarantine while it is in one; and read all."""
    known = {row.account for row in seen(connection, accounts)}
    for query in ("create_accounts", "create_leases", "create_beats"):
        connection.execute(OWNERSHIP[query], (ids_json(accounts),))
    fresh = [account for account in accounts if account not in known]
    for account in fresh:
        journal.append(connection, journal.chain_of(account), "create", {}, now)
    quarantine.join(connection, fresh)
    return seen(connection, accounts)


def claim(
    connection: Connection,
    rules: Rules,
    silent: Many[LeaseSeen],
    me: Owner,
    above: Mapping[AccountId, Term],
    now: UnixSeconds,
) -> tuple[list[Lease | NotWritten], tuple[Event, ...]]:
    """Take each lease whose (term, beat) still reads as seen: one compare-and-set each (§6.1)."""
    work = Work(connection, rules, now)
    answers: list[Lease | NotWritten] = []
    for place, row in enumerate(silent):
        term = Term(max(row.term, above.get(row.account, Term(0))) + 1)
        if not connection.execute(OWNERSHIP["unchanged"], (row.account, row.term, row.beat)).fetchone()[0]:
            answers.append(
                NotWritten(row=place, reason="changed", detail="the holder renewed, or somebody was faster")
            )
            continue
        # two statements in one transaction: a replay knows terms, and no beats
        taken = (row.account, row.term, term, me.holder, me.incarnation, me.machine, me.folder)
        work.many(OWNERSHIP["claim"], [taken])
        connection.execute(OWNERSHIP["beat"], (row.account,))
        work.note(row.account, "claimed", (term, me.holder, me.incarnation))
        dependencies.mend(work, row.account)
        answers.append(Lease(account=row.account, incarnation=me.incarnation, term=term))
    return answers, work.finish("claim")


def renew(connection: Connection, held: Held) -> list[Lease]:
    """Raise the beats; a lease that is missing from the answer is lost (§6.2)."""
    kept = {row[0] for row in connection.execute(OWNERSHIP["renew"], (leases_json(held),)).fetchall()}
    return [lease for account, lease in held.leases.items() if account in kept]


def release(connection: Connection, rules: Rules, held: Held, now: UnixSeconds) -> None:
    """Mark what is ours as released, so that it is taken at once (§6.7)."""
    work = Work(connection, rules, now)
    for account, term in connection.execute(OWNERSHIP["release"], (leases_json(held),)).fetchall():
        work.note(account, "released", (term,))
    work.finish("release")


def _lease_seen(row: Any) -> LeaseSeen:
    return LeaseSeen(
        account=row[0],
        holder=row[1],
        incarnation=row[2],
        machine=row[3],
        folder=row[4],
        term=row[5],
        beat=row[6],
        released=bool(row[7]),
    )
