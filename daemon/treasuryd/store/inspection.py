"""
Looks whether the journal is whole: each chain, the numbers over all chains, the outside copy, an export (protocol.md §3).

What cannot be seen from inside: a store *and* its copy that were both cut at the same place, or both replaced by others
that are whole in themselves. For that, somebody else has to keep a head: `treasuryd journal verify` prints them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
from blake3 import blake3

from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection
from treasuryd.store.journal import BEFORE_THE_FIRST, GENESIS, Entry, JournalHead, entries, head_of
from treasuryd.store.journal_copy import copied_chains, read_copy, set_aside
from treasuryd.store.replay import stored
from treasuryd.store.rows import SHARED

# Each table's newest time; the entry of the same transaction is as new.
NEWEST: Final[Mapping[str, str]] = {
    "disbursement": "SELECT max(status_at) FROM disbursement",
    "intent": "SELECT max(staged_at) FROM intent",
    "vote": "SELECT max(taken_at) FROM vote",
    "balance_event": "SELECT max(recorded_at) FROM balance_event",
}


@dataclass(slots=True, kw_only=True)
class Found:
    """
    What an inspection came to.

    `problems` say that something is wrong, `remarks` what a person may want to know; `heads` are the last entries of the
    chains, as far as these are whole.
    """

    entries: int = 0
    heads: dict[str, JournalHead] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class Links:
    """
    Follows entries of any chains, each in the order of its chain, and says what does not follow.

    Guarantees: of a chain that broke, nothing more is said, and its head stays at its last sound entry.
    """

    def __init__(self) -> None:
        self.heads: dict[str, JournalHead] = {}
        self.broken: set[str] = set()

    def take(self, entry: Entry) -> str | None:
        """Follow one entry; answers what is wrong with it."""
        if entry.chain in self.broken:
            return None
        before = self.heads.get(entry.chain, BEFORE_THE_FIRST)
        if not before.followed_by(entry):
            self.broken.add(entry.chain)
            return f"{entry.chain}: entry {entry.seq} does not follow from entry {before.seq}"
        self.heads[entry.chain] = head_of(entry)
        return None


def inspect_store(connection: Connection) -> Found:
    """Every chain from its first entry, the numbers over all of them, and whether rows are newer than the last entry."""
    found, links = Found(), Links()
    newest = 0.0
    for place, entry in enumerate(stored(connection), start=1):
        found.entries = place
        newest = max(newest, entry.at)
        said = links.take(entry) or _misplaced(entry, place)
        if said is not None:
            found.problems.append(f"store: {said}")
    found.heads = links.heads
    for table, query in NEWEST.items():
        at = connection.execute(query).fetchone()[0]
        if at is not None and at > newest:
            found.problems.append(
                f"store: {table} has a row of {at:.3f}, the newest entry is of {newest:.3f}: the last entries are missing"
            )
    return found


def _misplaced(entry: Entry, place: int) -> str | None:
    try:
        number = entry.number
    except Corrupt as error:
        return error.message
    if number != place:
        return (
            f"{entry.chain}: entry {entry.seq} is number {number} of all, and only the {place}. that is there"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What the outside copy holds: each chain's last entry, or what is wrong with it, and what was set aside."""

    heads: Mapping[str, JournalHead]
    problems: Mapping[str, str]
    aside: Sequence[str]


def read_copies(folder: Path) -> Copies:
    """Follow every chain of the copy. Read before the store, it can never be ahead of it but by a loss."""
    heads: dict[str, JournalHead] = {}
    problems: dict[str, str] = {}
    for chain in copied_chains(folder):
        heads[chain] = BEFORE_THE_FIRST
        try:
            for entry in read_copy(folder, chain):
                heads[chain] = head_of(entry)
        except Corrupt as error:
            problems[chain] = error.message
    return Copies(heads=heads, problems=problems, aside=set_aside(folder))


def compare(connection: Connection, found: Found, copies: Copies) -> None:
    """Hold the copy against the store that `found` is of, and add what is wrong."""
    found.problems += [
        f"copy: {chain}.ahead was set aside: it goes on beyond a store that was restored"
        for chain in copies.aside
    ]
    found.problems += [
        f"copy: there is none of {chain}" for chain in found.heads if chain not in copies.heads
    ]
    found.problems += [f"copy: {said}" for said in copies.problems.values()]
    for chain, copy in copies.heads.items():
        said = None if chain in copies.problems else _apart(connection, chain, copy, found.heads.get(chain))
        if said is not None:
            found.problems.append(f"copy: {said}")
        elif chain not in copies.problems and copy.seq < found.heads[chain].seq:
            late = found.heads[chain].seq - copy.seq
            found.remarks.append(
                f"copy: {chain} is {late} {'entry' if late == 1 else 'entries'} behind; the daemon writes "
                f"{'it' if late == 1 else 'them'} within moments, or at its next start"
            )


def _apart(connection: Connection, chain: str, copy: JournalHead, head: JournalHead | None) -> str | None:
    if head is None or copy.seq > head.seq:
        at = 0 if head is None else head.seq
        return (
            f"{chain} goes on to entry {copy.seq}, the store ends at {at}: entries were lost or cut off there"
        )
    same = entries(connection, chain, after=copy.seq - 1, limit=1) if copy.seq else []
    if same and same[-1].hash != copy.hash:
        return f"{chain}: entry {copy.seq} is another one than the store's: one of the two was written anew"
    return None


# --- export ---------------------------------------------------------------------------------------------------------


def exported(
    connection: Connection, *, chain: str | None = None, first: int = 1, last: int | None = None
) -> Iterator[bytes]:
    """
    Entries as JSON lines that BLAKE3 alone verifies: `hash` is BLAKE3 of `before`, `head` and `body`, one after the other.

    Args: chain: one alone, else all; first, last: numbers within each chain.
    """
    chains = [row[0] for row in connection.execute(SHARED["journal_heads"]).fetchall()]
    for name in chains if chain is None else [chain]:
        known = entries(connection, name, after=first - 2, limit=1) if first > 1 else []
        before, at = (known[-1].hash if known else GENESIS), first - 1
        while page := entries(connection, name, after=at):
            for entry in page:
                if last is not None and entry.seq > last:
                    break
                yield _line(entry, before)
                before = entry.hash
            at = page[-1].seq


def _line(entry: Entry, before: str) -> bytes:
    head = orjson.dumps([entry.chain, entry.seq, float(entry.at), entry.verb]).decode()
    row = {"before": before, "head": head, "body": entry.body, "hash": entry.hash}
    return orjson.dumps(row) + b"\n"


def inspect_export(lines: Iterable[bytes] | BinaryIO) -> Found:
    """An export, whole or in part: each entry's hash, and that each follows from the one before it in its chain."""
    found = Found()
    for number, line in enumerate(lines, start=1):
        found.entries += 1
        try:
            row = orjson.loads(line)
            chain, seq, _, _ = orjson.loads(row["head"])
            digest = blake3((row["before"] + row["head"] + row["body"]).encode()).hexdigest()
            before = row["before"]
        except (ValueError, KeyError, TypeError) as error:
            found.problems.append(f"line {number} is no entry: {error}")
            continue
        said = _broken(row, digest, before, seq, found.heads.get(chain))
        if said is not None:
            found.problems.append(f"line {number}: {chain}: entry {seq} {said}")
        found.heads[chain] = JournalHead(seq=seq, hash=row["hash"])
    return found


def _broken(
    row: Mapping[str, Any], digest: str, before: str, seq: int, head: JournalHead | None
) -> str | None:
    if digest != row["hash"]:
        return "was changed: its hash is another"
    if head is None:
        return "has no predecessor although it is the first" if seq == 1 and before != GENESIS else None
    if seq != head.seq + 1 or before != head.hash:
        return f"does not follow from entry {head.seq}"
    return None
