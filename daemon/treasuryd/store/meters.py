"""Reads what metrics say of the store: one snapshot, on the reading thread, of partial indexes and the first in line."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from treasuryd.core.model import (
    AccountId,
    AccountMeters,
    AccountState,
    CopyMeters,
    Epoch,
    Hold,
    Meters,
    Rules,
    Status,
    UnixSeconds,
)
from treasuryd.sqlite.connect import Connection, journal_mode
from treasuryd.store import desk_queries
from treasuryd.store.calendar import Calendar
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.queries import load, load_all
from treasuryd.store.rows import SHARED, chain_state, ids_json

SQL: Final = load("queries.sql", "meters.sql")
LINE: Final = (
    500  # payable items that are looked at for the oldest: a millisecond; the line is in paying order
)
STEPS: Final = ("sign", "send", "watch")
GLANCE: Final = (
    64  # entries of the journal that are looked through for what they changed; after more all is counted
)
COUNTED_TABLES: Final = re.compile(r"\b(?:INTO|UPDATE|FROM)\s+(?:disbursement|intent)\b")
FILES: Final = ("", "-wal", "-journal", "-shm")  # what SQLite keeps beside the store


class Meter:
    """
    Reads everything that metrics say of the store; for the reading thread alone.

    Guarantees: what has to be counted is counted anew only where the journal says that an item or an intent changed, or
    an epoch settled; a store at rest is told by a handful of rows, however fast its chain grows.
    """

    def __init__(self, calendar: Calendar, copy: JournalCopy | None) -> None:
        self._calendar = calendar
        self._copy = copy
        self._counted_at: tuple[Any, ...] | None = None
        self._head = 0  # of the journal, when that was
        self._counted = Counted()

    def read(self, connection: Connection, rules: Rules, accounts: Sequence[AccountId]) -> Meters:
        """Read everything at once; of accounts those that are named."""
        head = int(connection.execute(SHARED["journal_last"]).fetchone()[0])
        chain = chain_state(connection)
        self._calendar.note(chain.settled, chain.risen_at)  # a standby has no ticks that tell it
        moment = (chain.settled, rules, tuple(accounts))
        if moment != self._counted_at or _moved(connection, self._head, head):
            self._counted = _count(connection, rules, accounts, self._calendar, chain.settled)
            self._counted_at = moment
        self._head = head
        meta: dict[str, str] = dict(connection.execute(desk_queries.DESK["meta"]).fetchall())
        size, free = _room(connection)
        return Meters(
            counts=self._counted.statuses,
            held=self._counted.held,
            oldest_payable_at=self._counted.oldest_payable_at,
            accounts=tuple(map(_account, connection.execute(SQL["accounts"], (ids_json(accounts),)))),
            snapshot=desk_queries.snapshot(connection),
            kill_switch=bool(connection.execute(SHARED["kill_switch"]).fetchone()[0]),
            journal_head=head,
            copy=None if self._copy is None else _copy(self._copy, head),
            size_bytes=size,
            free_bytes=free,
            sqlite_version=str(connection.execute(desk_queries.DESK["sqlite_version"]).fetchone()[0]),
            journal_mode=journal_mode(connection),
            schema_version=int(meta["schema_version"]),
        )


def _moved(connection: Connection, before: int, head: int) -> bool:
    """Whether an entry of the journal after `before` carries a statement that writes items or intents."""
    if head < before or head - before > GLANCE:
        return True
    bodies = [row[5] for row in connection.execute(SHARED["journal_since"], (before, GLANCE))]
    return any(name in body for body in bodies for name in _counting())


@cache
def _counting() -> tuple[str, ...]:
    """Names of the statements that write what is counted here, as the journal quotes them."""
    return tuple(f'"{name}"' for name, sql in load_all().items() if COUNTED_TABLES.search(sql))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What walks along an index, however short."""

    statuses: Mapping[Status, int] = field(default_factory=dict)
    held: Mapping[Hold, int] = field(default_factory=dict)
    oldest_payable_at: UnixSeconds | None = None


def _count(
    connection: Connection, rules: Rules, accounts: Sequence[AccountId], calendar: Calendar, settled: Epoch
) -> Counted:
    return Counted(
        statuses={
            status: connection.execute(SQL["unfinished"], (status,)).fetchone()[0]
            for status in Status
            if status is not Status.FINALIZED
        },
        held={Hold(name): count for name, count in connection.execute(SQL["held"])},
        oldest_payable_at=min(_payable(connection, rules, accounts, calendar, settled), default=None),
    )


def _account(row: Sequence[Any]) -> AccountMeters:
    return AccountMeters(
        id=row[0],
        state=AccountState(row[1]),
        cause=row[2],
        balance=row[3],
        high_water=row[4],
        ambiguous=row[5],
        term=row[6],
        released=bool(row[7]),
    )


def _payable(
    connection: Connection, rules: Rules, accounts: Iterable[AccountId], calendar: Calendar, settled: Epoch
) -> Iterable[UnixSeconds]:
    """Since when the first in line and the oldest under way have been payable."""
    for account in accounts:
        rows = connection.execute(SQL["first_in_line"], (account, settled, LINE)).fetchall()
        for step in STEPS:
            rows += connection.execute(SQL["oldest_under_way"], (account, step)).fetchall()
        for ready_at, scheduled in rows:
            yield calendar.payable_since(ready_at, scheduled, rules)


def _copy(copy: JournalCopy, head: int) -> CopyMeters:
    """The copy as this process last wrote it; entries that another process wrote count as missing until we write."""
    copied = head if copy.copied is None else copy.copied
    return CopyMeters(
        behind=max(0, head - copied), size_bytes=copy.size_bytes(), took_seconds=copy.took_seconds
    )


def _room(connection: Connection) -> tuple[int, int]:
    """Bytes of the store's files, and bytes free beside them; nothing of a store in memory."""
    place = connection.execute(SQL["place"]).fetchone()[0]
    if not place:
        return 0, 0
    size = 0
    for ending in FILES:
        with suppress(FileNotFoundError):
            size += Path(place + ending).stat().st_size
    room = os.statvfs(Path(place).parent)
    return size, room.f_bavail * room.f_frsize
