"""
Rebuilds a store from its journal alone (protocol.md §3, §8): every entry, in the order in which things happened.

An entry carries the statements that its transaction ran and how many rows each changed. Replay runs them again: it judges
nothing anew, reads no clock, and stops at the first one that does not do what it did.

Not rebuilt, because nothing is decided by it: the beats of leases (a beat says that a process lives; after a replay none
does), the snapshot of the last tick, and the parts of files on their way up, which their sender repeats. Requests and
their keys are rebuilt: a repeated submission gets its first answer.
"""

import heapq
import sqlite3
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection
from treasuryd.store.journal import BEFORE_THE_FIRST, COPY_ROWS, Entry, stored_head
from treasuryd.store.journal_copy import copied_chains, read_copy
from treasuryd.store.migrations import BIRTH, prepare
from treasuryd.store.queries import load_all, writing
from treasuryd.store.rows import SHARED

NOT_REBUILT: Final = frozenset({"executor_snapshot", "part"})  # tables; why is said above
NOT_COMPARED: Final = frozenset({("beat", "beat")})  # columns
SHOWN: Final = 100  # differences that are listed


def apply(connection: Connection, entry: Entry, *, gaps: bool = False) -> list[str]:
    """
    Do again what an entry says, within the running transaction, and write the entry itself.

    Args: gaps: entries of other chains may be missing before it (a copy of which only people's chain was synced). Then
        what a statement cannot do again is answered, in words, instead of raised; its own chain is checked as ever.
    Raises: Corrupt when it is not the entry that follows the last one (missing, repeated, reordered, another history), was
        changed, or when a statement of it does not change as many rows as it did.
    """
    load_all()
    _check_place(connection, entry, gaps=gaps)
    if entry.verb == BIRTH:
        _be_born(connection, entry)
        return []
    done = [_run(connection, entry, *statement) for statement in entry.content.get("rows", ())]
    undone = [said for said in done if said is not None]
    if undone and not gaps:
        raise Corrupt(
            undone[0],
            hint="The entries before it are not all there, or the store was changed behind the journal's back.",
        )
    _append(connection, entry)
    return undone


def rebuild(into: Connection, entries: Iterable[Entry]) -> int:
    """
    Rebuild a store in an empty database, within the running transaction; answers how many entries there were.

    Raises: Corrupt as `apply`, when the first entry is not a store's birth, or the last transaction is cut short.
    """
    count, left = 0, 0
    for entry in entries:
        if not count and entry.verb != BIRTH:
            raise Corrupt(
                f"the journal begins with {entry.verb!r} of {entry.chain}, not with the birth of a store",
                hint="Its beginning is missing, or a version before the first release wrote it.",
            )
        apply(into, entry)
        _, place, whole = entry.content["tx"]
        count, left = count + 1, whole - place - 1
    if not count:
        raise Corrupt("the journal is empty", hint="Is it the folder of this store's journal?")
    if left:
        raise Corrupt(f"the last transaction is cut short: {left} entries of it are missing")
    return count


# --- where entries come from ------------------------------------------------------------------------------------


def stored(connection: Connection, *, after: int = 0) -> Iterator[Entry]:
    """Every entry of a store with a number above `after`, in the order of writing."""
    while True:
        rows = connection.execute(SHARED["journal_since"], (after, COPY_ROWS)).fetchall()
        for row in rows:
            yield Entry(chain=row[1], seq=row[2], at=row[3], verb=row[4], body=row[5], hash=row[6])
            after = row[0]
        if len(rows) < COPY_ROWS:
            return


def copied(folder: Path, *, after: int = 0) -> Iterator[Entry]:
    """
    Every entry of the outside copy with a number above `after`, merged from the files of its chains, each verified.

    Raises: Corrupt where a file was changed.
    """
    chains = [read_copy(folder, chain) for chain in copied_chains(folder)]
    merged = heapq.merge(*chains, key=lambda entry: entry.number)
    return (entry for entry in merged if entry.number > after)


# --- one entry ------------------------------------------------------------------------------------------------------


def _be_born(connection: Connection, entry: Entry) -> None:
    """The schema of this version, and the entry as it was."""
    body = entry.content
    prepare(connection, chain_id=body["chain_id"], lineage=body["lineage"])
    connection.execute("DELETE FROM journal")  # its birth stands there as it was, of whatever schema and time
    _append(connection, entry)


def _check_place(connection: Connection, entry: Entry, *, gaps: bool) -> None:
    known = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'journal'").fetchone()[0]
    last = connection.execute(SHARED["journal_last"]).fetchone()[0] if known else 0
    if entry.number != last + 1 and not (gaps and entry.number > last):
        raise Corrupt(
            f"journal: entry {entry.number} ({entry.chain} {entry.seq}) follows entry {last}",
            hint="Entries are missing, repeated or out of order; `treasuryd journal verify` says where.",
        )
    head = stored_head(connection, entry.chain) if known else BEFORE_THE_FIRST
    if not head.followed_by(entry):
        raise Corrupt(
            f"journal {entry.chain}: entry {entry.seq} does not follow from entry {head.seq}",
            hint="Somebody changed the journal, or it is another store's.",
        )


def _append(connection: Connection, entry: Entry) -> None:
    row = (entry.number, entry.chain, entry.seq, entry.at, entry.verb, entry.body, entry.hash)
    connection.execute(SHARED["journal_append"], row)


def _run(connection: Connection, entry: Entry, name: str, rows: list[Any], changed: int) -> str | None:
    """Run one statement again; answers what went otherwise."""
    sql = writing(name)
    where = f"journal: entry {entry.number} ({entry.chain} {entry.seq}, {entry.verb}): {name}"
    done = 0
    try:
        for row in rows:
            cursor = connection.execute(sql, _parameters(row))
            cursor.fetchall()  # one that answers rows is done when they are read
            done += cursor.rowcount
    except sqlite3.IntegrityError as error:
        return f"{where} is refused by the rows that are there: {error}"
    return None if done == changed else f"{where} changed {changed} rows then, {done} now"


def _parameters(row: list[Any]) -> list[Any]:
    return [a2b_base64(value["bytes"]) if isinstance(value, dict) else value for value in row]


# --- comparing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One row that is not the same on both sides; None where a side has no such row."""

    table: str
    key: tuple[Any, ...]
    columns: tuple[str, ...]
    first: tuple[Any, ...] | None
    second: tuple[Any, ...] | None

    def __str__(self) -> str:
        """One line for a person."""
        at = f"{self.table} {', '.join(map(str, self.key))}"
        if self.first is None or self.second is None:
            return f"{at}: only in the {'second' if self.first is None else 'first'}"
        return f"{at}: " + ", ".join(
            f"{name} is {_short(one)} in the first and {_short(other)} in the second"
            for name, one, other in zip(self.columns, self.first, self.second, strict=True)
            if one != other
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def differences(first: Connection, second: Connection, *, limit: int = SHOWN) -> list[Difference]:
    """Compare two stores row by row, table by table; at most `limit` differences are answered."""
    found: list[Difference] = []
    for table in _tables(first):
        for difference in _compared(first, second, table):
            if len(found) >= limit:
                return found
            found.append(difference)
    return found


def _tables(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    ).fetchall()
    return [row[0] for row in rows if row[0] not in NOT_REBUILT]


def _compared(first: Connection, second: Connection, table: str) -> Iterator[Difference]:
    info = first.execute(f"PRAGMA table_info({table})").fetchall()
    keys = [row[1] for row in info if row[5]]
    others = [row[1] for row in info if not row[5] and (table, row[1]) not in NOT_COMPARED]
    sql = f"SELECT {', '.join(keys + others)} FROM {table} ORDER BY {', '.join(keys)}"
    one, other = _paged(first, sql), _paged(second, sql)
    a, b = next(one, None), next(other, None)
    while a is not None or b is not None:
        left = b is None or (a is not None and a[: len(keys)] <= b[: len(keys)])
        right = a is None or (b is not None and b[: len(keys)] <= a[: len(keys)])
        if a != b:
            row = a if left and a is not None else b
            assert row is not None
            yield Difference(
                table=table,
                key=row[: len(keys)],
                columns=tuple(others),
                first=a[len(keys) :] if left and a is not None else None,
                second=b[len(keys) :] if right and b is not None else None,
            )
        a = next(one, None) if left else a
        b = next(other, None) if right else b


def _paged(connection: Connection, sql: str) -> Iterator[tuple[Any, ...]]:
    """Rows without holding a whole table in memory."""
    cursor = connection.execute(sql)
    while page := cursor.fetchmany(COPY_ROWS):
        yield from page
