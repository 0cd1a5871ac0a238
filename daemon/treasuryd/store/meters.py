"""Reads what metrics say of the store: one snapshot, on the reading thread, of partial indexes and the first in line."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from treasuryd.core.epochs import payable_since
from treasuryd.core.model import (
    AccountId,
    AccountMeters,
    AccountState,
    CopyMeters,
    Hold,
    Meters,
    Rules,
    Status,
    UnixSeconds,
)
from treasuryd.sqlite.connect import Connection, journal_mode
from treasuryd.store import desk_queries
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.queries import load
from treasuryd.store.rows import SHARED, chain_state, ids_json

SQL: Final = load("queries.sql", "meters.sql")
LINE: Final = (
    500  # payable items that are looked at for the oldest: a millisecond; the line is in paying order
)
STEPS: Final = ("sign", "send", "watch")
FILES: Final = ("", "-wal", "-journal", "-shm")  # what SQLite keeps beside the store


def meters(
    connection: Connection, rules: Rules, accounts: Sequence[AccountId], copy: JournalCopy | None
) -> Meters:
    """Read everything at once; of accounts those that are named."""
    head = int(connection.execute(SHARED["journal_last"]).fetchone()[0])
    meta: dict[str, str] = dict(connection.execute(desk_queries.DESK["meta"]).fetchall())
    size, free = _room(connection)
    return Meters(
        counts={Status(name): count for name, count in connection.execute(SQL["unfinished"])},
        held={Hold(name): count for name, count in connection.execute(SQL["held"])},
        accounts=tuple(map(_account, connection.execute(SQL["accounts"], (ids_json(accounts),)))),
        oldest_payable_at=min(_payable(connection, rules, accounts), default=None),
        snapshot=desk_queries.snapshot(connection),
        kill_switch=bool(connection.execute(SHARED["kill_switch"]).fetchone()[0]),
        journal_head=head,
        copy=None if copy is None else _copy(copy, head),
        size_bytes=size,
        free_bytes=free,
        sqlite_version=str(connection.execute(desk_queries.DESK["sqlite_version"]).fetchone()[0]),
        journal_mode=journal_mode(connection),
        schema_version=int(meta.get("schema_version", 0)),
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


def _payable(connection: Connection, rules: Rules, accounts: Iterable[AccountId]) -> Iterable[UnixSeconds]:
    """Since when the first in line and the oldest under way have been payable."""
    chain = chain_state(connection)
    for account in accounts:
        rows = connection.execute(SQL["first_in_line"], (account, chain.settled, LINE)).fetchall()
        for step in STEPS:
            rows += connection.execute(SQL["oldest_under_way"], (account, step)).fetchall()
        for ready_at, scheduled in rows:
            yield payable_since(
                ready_at, scheduled, height=chain.settled_height, seen_at=chain.risen_at, rules=rules
            )


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
