"""What one writing verb carries along: the connection, the facts it found, and what it will write into the journal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, BaseUnits, DisbursementId, Held, Rules, UnixSeconds
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal
from treasuryd.store.calendar import Calendar
from treasuryd.store.queries import load

OWNERSHIP: Final = load("ownership.sql")
MAX_IDS: Final = 20  # how many an event names


@dataclass(slots=True)
class Tally:
    """Many rows of one fact, on their way to one event."""

    severity: Severity
    detail: str
    count: int = 0
    amount: int = 0
    fee: int = 0
    ids: list[DisbursementId] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)


class Work:
    """
    One verb's transaction, from the fence to the journal.

    Facts of one kind, account and reason become one event; journal rows one entry per account, grouped by what
    happened: `{"final": [[height, block, [intent, …]], …], "sent accepted": 16}`. Of what every payment goes through, the
    number is enough: the entry's `rows` name each of them.
    """

    def __init__(
        self, connection: Connection, rules: Rules, now: UnixSeconds, calendar: Calendar | None = None
    ) -> None:
        self.connection = connection
        self.rules = rules
        self.now = now
        self.calendar = calendar or Calendar()  # for figures alone
        self._facts: dict[tuple[EventKind, AccountId | None, str], Tally] = {}
        self._notes: dict[AccountId, dict[str, list[Any]]] = {}
        self._counts: dict[AccountId, dict[str, int]] = {}

    def many(self, sql: str, rows: list[Any]) -> None:
        """Write rows, each of which has to change exactly one: they were checked in this transaction."""
        if not rows:
            return
        changed = self.connection.executemany(sql, rows).rowcount
        assert changed == len(rows), f"{len(rows) - changed} of {len(rows)} rows changed nothing: {sql}"

    def note(self, account: AccountId, what: str, row: Any) -> None:
        """Remember one row for the account's journal entry."""
        self._notes.setdefault(account, {}).setdefault(what, []).append(row)

    def notes(self, account: AccountId, what: str, rows: Sequence[Any]) -> None:
        """Remember many rows for the account's journal entry."""
        self._notes.setdefault(account, {}).setdefault(what, []).extend(rows)

    def counted(self, account: AccountId, what: str) -> None:
        """Count one row for the account's journal entry."""
        counts = self._counts.setdefault(account, {})
        counts[what] = counts.get(what, 0) + 1

    def fact(
        self,
        kind: EventKind,
        account: AccountId | None,
        reason: str = "",
        *,
        item: DisbursementId | None = None,
        amount: int = 0,
        fee: int = 0,
        severity: Severity = Severity.INFO,
        detail: str = "",
    ) -> Tally:
        """One row of a fact; `detail` is kept of the first one. Answers its tally, to say how long it took."""
        tally = self._facts.get((kind, account, reason))
        if tally is None:
            tally = self._facts[(kind, account, reason)] = Tally(severity=severity, detail=detail)
        tally.count += 1
        tally.amount += amount
        tally.fee += fee
        if item is not None and len(tally.ids) < MAX_IDS:
            tally.ids.append(item)
        return tally

    def facts(
        self,
        kind: EventKind,
        account: AccountId,
        reason: str,
        items: Sequence[DisbursementId],
        *,
        step_seconds: Sequence[float] = (),
    ) -> None:
        """Many rows of one fact, at least one."""
        tally = self.fact(kind, account, reason, item=items[0])
        tally.step_seconds += step_seconds
        tally.count += len(items) - 1
        tally.ids += items[1 : 1 + MAX_IDS - len(tally.ids)]

    def finish(self, verb: str) -> tuple[Event, ...]:
        """Write the journal entries; answers the events, in the order in which their facts were first found."""
        for account in dict.fromkeys((*self._notes, *self._counts)):
            body = {**self._notes.get(account, {}), **self._counts.get(account, {})}
            journal.append(self.connection, journal.chain_of(account), verb, body, self.now)
        return tuple(
            Event(
                kind=kind,
                severity=tally.severity,
                account=account,
                count=tally.count,
                ids=tuple(tally.ids),
                reason=reason,
                amount=BaseUnits(tally.amount) if tally.amount else None,
                fee=BaseUnits(tally.fee) if tally.fee else None,
                seconds=tuple(tally.seconds),
                step_seconds=tuple(tally.step_seconds),
                detail=tally.detail,
            )
            for (kind, account, reason), tally in self._facts.items()
        )


def ours(connection: Connection, held: Held) -> frozenset[AccountId]:
    """The fence (R13): accounts whose term and incarnation are still ours, read inside the transaction."""
    return frozenset(row[0] for row in connection.execute(OWNERSHIP["fence"], (leases_json(held),)))


def may_send(connection: Connection, held: Held) -> frozenset[AccountId]:
    """The same of accounts that are not frozen, and in quarantine only once the signer's bytes were adopted (R14, §8)."""
    return frozenset(row[0] for row in connection.execute(OWNERSHIP["may_send"], (leases_json(held),)))


def leases_json(held: Held) -> str:
    """The held leases as a query takes them."""
    return orjson.dumps(
        [(lease.account, lease.term, lease.incarnation) for lease in held.leases.values()]
    ).decode()


def json_text(value: Any) -> str:
    """Compact JSON."""
    return orjson.dumps(value).decode()
