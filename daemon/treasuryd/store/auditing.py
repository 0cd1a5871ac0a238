"""Reads the store for the settlement audit: a page at a time, each at one moment, at a cost that the page bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from treasuryd.core.audit import Case, Page, Rivals
from treasuryd.core.audit_books import Ledger, Movement, Uncosted, of_intent
from treasuryd.core.audit_chain import Books, Decided
from treasuryd.core.findings import Finding, Violation
from treasuryd.core.model import AccountId, Address, Height, IntentId, Nonce
from treasuryd.sqlite.connect import Connection
from treasuryd.store.inspection import Links
from treasuryd.store.journal import Entry
from treasuryd.store.queries import load
from treasuryd.store.restore_report import report
from treasuryd.store.rows import (
    SHARED,
    Frames,
    accounts,
    disbursements_by_id,
    grouped,
    ids_json,
    intents,
    votes,
)

SQL: Final = load("audit.sql")
JOURNAL_BYTES: Final = 2**20  # of the journal in one page, or one longer entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    Where an audit stands in the three files that it reads: disbursements, balance events, journal.

    Each comes to its end on its own, and begins anew there; `passes` counts those of the disbursements.
    """

    item: int = 0
    movement: int = 0
    entry: int = 0
    balances: Mapping[AccountId, int] = field(default_factory=dict)
    links: Links = field(default_factory=Links)
    passes: int = 0


def page(connection: Connection, cursor: Cursor, limit: int) -> tuple[Page, Cursor]:
    """Read the next page, of at most `limit` disbursements and balance events; answers where the next one begins."""
    cases = _cases(connection, cursor.item, limit)
    movements, balances, moved = _movements(connection, cursor, limit)
    concerned = ids_json({*moved, *(intent.id for case in cases for intent in case.intents)})
    broken, after, links = _journal(connection, cursor)
    item_end = len(cases) < limit
    found = Page(
        cases=cases,
        movements=movements,
        ledgers=[
            Ledger(account=row[0], booked=row[1], shown=row[2], placed=row[3], open=bool(row[4]))
            for row in connection.execute(SQL["ledgers"]).fetchall()
        ],
        uncosted=[_uncosted(row) for row in connection.execute(SQL["uncosted_of"], (concerned,)).fetchall()],
        rivals=[
            Rivals(account=row[1], nonce=row[2], item=row[3], intents=(row[0], row[4]))
            for row in connection.execute(SQL["rivals_of"], (concerned,)).fetchall()
        ],
        broken=broken,
        sinks={AccountId(row[0]): Address(row[1]) for row in connection.execute(SQL["sinks"]).fetchall()},
        restored=bool(report(connection)),
    )
    return found, replace(
        cursor,
        item=0 if item_end else cases[-1].item.id,
        movement=0 if len(movements) < limit else movements[-1].id,
        balances={} if len(movements) < limit else balances,
        entry=after,
        links=links,
        passes=cursor.passes + item_end,
    )


def _cases(connection: Connection, after: int, limit: int) -> list[Case]:
    ids = [row[0] for row in connection.execute(SQL["items_after"], (after, limit)).fetchall()]
    items = disbursements_by_id(connection, ids)
    bound = [row[0] for row in connection.execute(SQL["intents_of"], (ids_json(ids),)).fetchall()]
    rows = connection.execute(SHARED["intents_by_id"], (ids_json(bound),)).fetchall()
    by_item = grouped([(intent.disbursement_id, intent) for intent in intents(rows)], lambda row: row[1])
    voted = votes(connection, ids)
    return [
        Case(item=items[id_], intents=by_item.get(id_, ()), votes=tuple(voted.get(id_, ()))) for id_ in ids
    ]


def _movements(
    connection: Connection, cursor: Cursor, limit: int
) -> tuple[list[Movement], dict[AccountId, int], set[int]]:
    """The movements, each account's balance after them, and the intents that they name."""
    balances, named = dict(cursor.balances), set()
    found: list[Movement] = []
    for row in connection.execute(SQL["movements_after"], (cursor.movement, limit)).fetchall():
        found.append(
            Movement(
                id=row[0],
                account=row[1],
                kind=row[2],
                delta=row[3],
                fee=row[4],
                balance=row[5],
                before=balances.get(row[1], 0),
                item=row[6],
                of_item=row[7],
                of_amount=row[8],
            )
        )
        balances[row[1]] = row[5]
        if row[9] is not None:
            named.add(row[9])
    return found, balances, named


def _uncosted(row: Any) -> Uncosted:
    return Uncosted(intent=row[0], account=row[1], item=row[2], moved=row[3], cost=row[4])


def _journal(connection: Connection, cursor: Cursor) -> tuple[list[tuple[AccountId | None, str]], int, Links]:
    broken: list[tuple[AccountId | None, str]] = []
    size, after = 0, cursor.entry
    rows = connection.execute(SQL["entries_after"], (cursor.entry,))
    for row in rows:
        entry = Entry(chain=row[1], seq=row[2], at=row[3], verb=row[4], body=row[5], hash=row[6])
        size, after = size + len(entry.body), row[0]
        said = cursor.links.take(entry)
        if said is not None:
            account = entry.chain.removeprefix("account:") if entry.chain.startswith("account:") else None
            broken.append((None if account is None else AccountId(account), said))
        if size >= JOURNAL_BYTES:
            rows.close()  # no cursor stays open: it would keep the writer from committing
            return broken, after, cursor.links
    return broken, 0, Links()


def whole(connection: Connection) -> list[Violation]:
    """What only a look at everything at once can find; for the command, not for the running daemon."""
    found = [
        Violation(
            finding=Finding.NONCE_TWICE, account=account, detail=f"{count} live intents have nonce {nonce}"
        )
        for account, nonce, count in connection.execute(SQL["nonces_twice"]).fetchall()
    ]
    return found + [of_intent(_uncosted(row)) for row in connection.execute(SQL["uncosted"]).fetchall()]


# --- what the chain is held against -------------------------------------------------------------------------------


def books(connection: Connection, height: Height) -> list[Books]:
    """Each adopted account with its kept frames; what is final counts up to this height."""
    found = []
    for account in accounts(connection, Frames()):
        if account.next_nonce is None or account.baseline is None:
            continue
        kept = (*account.kept, account.baseline)
        oldest = kept[0].holdings.get(Address(account.id))
        above = (account.id, oldest.nonce if oldest else 0)
        found.append(
            Books(
                account=account.id,
                kept=kept,
                most={
                    Nonce(row[0]): row[1] for row in connection.execute(SQL["most_above"], above).fetchall()
                },
                final=connection.execute(SQL["final_nonce"], (account.id, height)).fetchone()[0],
            )
        )
    return found


def decided(connection: Connection, *, before: IntentId, limit: int) -> list[Decided]:
    """Intents below an id that the chain has decided or may decide, newest first, without their bytes."""
    costs = dict(connection.execute(SQL["decided_before"], (before, limit)).fetchall())
    rows = connection.execute(SHARED["intents_by_id_without_bytes"], (ids_json(costs),)).fetchall()
    return [Decided(intent=intent, cost=costs[intent.id]) for intent in reversed(intents(rows))]


def totals(connection: Connection) -> list[tuple[AccountId, str, int, int, int]]:
    """Each account's movements by kind: how many, what they come to, and the fees among it."""
    return [
        (account, kind, count, (high << 31) + low, (fees_high << 31) + fees_low)
        for account, kind, count, high, low, fees_high, fees_low in connection.execute(SQL["totals"])
    ]
