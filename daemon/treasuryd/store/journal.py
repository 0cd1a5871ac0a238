"""
The journal: append-only, hash-chained; a chain per account, one of people's commands, one of the store (protocol.md §3).

One entry per verb and chain, in the transaction of the change itself. Its body says what happened, in words; its `tx` where
it stands among all entries of all chains; and one entry of each transaction carries `rows`: every statement that changed
something, with its parameters, from which `replay.py` rebuilds the store. `journal_copy.py` writes each entry once
more outside the store.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

import orjson
from blake3 import blake3

from treasuryd.core.model import AccountId, UnixSeconds
from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection
from treasuryd.store.recorder import Recorder, Written
from treasuryd.store.rows import SHARED

P = ParamSpec("P")
R = TypeVar("R")

PEOPLE: Final = "people"  # the chain of people's commands
STORE: Final = "store"  # the chain of what befell the store itself: birth, migrations, repairs in passing
ROWS: Final = 4_000  # parameters of statements in one entry: 32 MiB where each carries the longest memo
GENESIS: Final = "0" * 64  # what the first entry of a chain is chained to
COPY_ROWS: Final = 1_000  # entries read at once


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry as stored; `body` is the JSON text itself."""

    chain: str
    seq: int
    at: UnixSeconds
    verb: str
    body: str
    hash: str

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """
        The body, read.

        Raises: Corrupt when it says nothing of its place among all entries.
        """
        content = orjson.loads(self.body)
        if not isinstance(content, dict) or len(content.get("tx", ())) != 3:
            raise Corrupt(
                f"journal {self.chain}: entry {self.seq} does not say where it stands among all entries",
                hint="A version before the first release wrote it; such a store cannot be replayed.",
            )
        return content

    @property
    def number(self) -> int:
        """Its number among all entries of all chains: the order in which things happened."""
        first, place, _ = self.content["tx"]
        return int(first + place)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHead:
    """Where a chain of the journal ends, in the store or in its copy: what the next entry follows."""

    seq: int
    hash: str

    def followed_by(self, entry: Entry) -> bool:
        """Whether it is the next entry of this chain, unchanged since it was written."""
        number = self.seq + 1
        linked = link(self.hash, entry.chain, number, entry.at, entry.verb, entry.body.encode())
        return (entry.seq, entry.hash) == (number, linked)


BEFORE_THE_FIRST: Final = JournalHead(seq=0, hash=GENESIS)  # what the first entry of a chain follows


def head_of(entry: Entry) -> JournalHead:
    """What the next entry follows."""
    return JournalHead(seq=entry.seq, hash=entry.hash)


def stored_head(connection: Connection, chain: str) -> JournalHead:
    """Where a chain ends in the store."""
    row = connection.execute(SHARED["journal_head"], (chain,)).fetchone()
    return BEFORE_THE_FIRST if row is None else JournalHead(seq=row[0], hash=row[1])


def chain_of(account: AccountId) -> str:
    """Name of an account's chain."""
    return f"account:{account}"


def append(
    connection: Connection | Recorder, chain: str, verb: str, body: Mapping[str, Any], at: UnixSeconds
) -> None:
    """Write one entry within the running transaction; of a recorded verb, when it is over. `body` is what JSON can say."""
    if isinstance(connection, Recorder):
        connection.entries.append((chain, verb, dict(body), at))
    else:
        _write(connection, [(chain, verb, dict(body), at)])


def recorded(
    connection: Connection,
    at: UnixSeconds,
    verb: Callable[Concatenate[Connection, P], R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """
    Run a verb, and write its entries with all that it changed.

    The rows stand in the entry of people's chain where there is one, since that is synced, else in the first one. A verb
    that changed something and says nothing of it, at the time `at`, is told of in the store's own chain.
    """
    recorder = Recorder(connection)
    result = verb(cast("Connection", recorder), *args, **kwargs)
    written, entries_ = recorder.written(), recorder.entries
    if written and not entries_:
        entries_.append((STORE, verb.__name__, {}, at))
    if entries_:
        entries_.sort(key=lambda entry: entry[0] != PEOPLE)
        first, *others = _pages(written)
        chain, _, body, time = entries_[0]
        if first:
            body["rows"] = first
        entries_[1:1] = [(chain, "more", {"rows": page}, time) for page in others]
        _write(connection, entries_)
    return result


def _pages(written: Sequence[Written]) -> list[list[Written]]:
    """Cut what was written into pieces of a bounded number of rows, in order; the first one may be empty."""
    pages: list[list[Written]] = [[]]
    room = ROWS
    for name, rows, changed in written:
        # only those that change one row each are longer: `executemany` of rows that were checked before
        assert len(rows) <= ROWS or changed == len(rows), f"{name} changed {changed} rows by {len(rows)}"
        for start in range(0, len(rows), ROWS):
            piece = rows[start : start + ROWS]
            if len(piece) > room:
                pages.append([])
                room = ROWS
            pages[-1].append([name, piece, changed if len(rows) <= ROWS else len(piece)])
            room -= len(piece)
    return pages


def _write(connection: Connection, entries_: Sequence[tuple[str, str, dict[str, Any], UnixSeconds]]) -> None:
    """Write the entries of one transaction: numbered on, and linked to the last one of their chain."""
    first = connection.execute(SHARED["journal_last"]).fetchone()[0] + 1
    for place, (chain, verb, body, at) in enumerate(entries_):
        head = stored_head(connection, chain)
        seq = head.seq + 1
        body["tx"] = (first, place, len(entries_))
        text = orjson.dumps(body, default=_bytes)
        digest = link(head.hash, chain, seq, at, verb, text)
        connection.execute(
            SHARED["journal_append"], (first + place, chain, seq, at, verb, text.decode(), digest)
        )


def _bytes(value: Any) -> Any:
    """Bytes among the rows: the signed transactions. With them a signer that lost its memory is taught again (R11)."""
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode()}
    raise TypeError  # it is told with the type's name


def link(before: str, chain: str, seq: int, at: float, verb: str, body: bytes) -> str:
    """Hash of an entry: BLAKE3 over the hash before it, its head and its body."""
    return blake3(before.encode() + orjson.dumps([chain, seq, float(at), verb]) + body).hexdigest()


def entries(connection: Connection, chain: str, *, after: int = 0, limit: int = COPY_ROWS) -> list[Entry]:
    """Read entries of a chain, oldest first."""
    rows = connection.execute(SHARED["journal_of"], (chain, after, limit))
    return [read_row(row) for row in rows.fetchall()]


def verify(connection: Connection, chain: str) -> int:
    """
    Check a chain from its first entry on; answers how many entries it has.

    Raises: Corrupt at the first entry that does not follow from the one before it.
    """
    head = BEFORE_THE_FIRST
    while True:
        page = entries(connection, chain, after=head.seq)
        if not page:
            return head.seq
        for entry in page:
            if not head.followed_by(entry):
                raise Corrupt(
                    f"journal {chain}: entry {entry.seq} does not follow from entry {head.seq}",
                    hint="Somebody changed the journal. Compare it with its outside copy before anything is paid.",
                )
            head = head_of(entry)


def read_row(row: Any) -> Entry:
    """An entry from its stored row."""
    return Entry(chain=row[1], seq=row[2], at=row[3], verb=row[4], body=row[5], hash=row[6])
