"""
What a store looks at when it is opened: did the journal's copy go on without it, is it still the same file (§8)?

What the copy holds beyond the store is done again, entry by entry, whole transactions alone; nothing is judged anew. Then
every account is in quarantine, in the same transaction, before anybody claims a lease.
"""

import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from treasuryd.core.events import Event
from treasuryd.core.model import Rules, UnixSeconds
from treasuryd.core.restore import Reason, Sign
from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection, Driver
from treasuryd.store import journal, journal_copy, migrations, pins, replay
from treasuryd.store.journal import Entry
from treasuryd.store.quarantine import LISTED, PLACE, SQL, find
from treasuryd.store.restore_report import meta


@dataclass(slots=True)
class Replayed:
    """What of the copies was done again, and what could not be."""

    entries: int = 0
    verbs: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[int, str, str]] = field(default_factory=list)  # number, chain and verb of what was not
    problem: str = ""


async def reopen(
    driver: Driver, rules: Rules, *, folder: Path | None, place: str, now: UnixSeconds
) -> tuple[Event, ...]:
    """
    Look at an opened store, once, before anything else writes to it.

    Args: folder of the journal's copy, which has set aside what goes on beyond this store; None without a copy. place
        names the file that this store is (machine and inode); empty: unknown. Raises: Rejected where the rules say
        otherwise than what is pinned (`pins.pin`); then nothing is written. Guarantees: a crash at any point is
        answered by the next opening.
    """
    events, taken = await driver.write(look, rules, folder, place, now)
    if folder is not None and taken:
        journal_copy.take_aside(folder, taken)
    return events


def look(
    connection: Connection, rules: Rules, folder: Path | None, place: str, now: UnixSeconds
) -> tuple[tuple[Event, ...], list[Path]]:
    """
    Replay what was lost, compare the file, and quarantine the store where it is another one: one transaction.

    Returns: the events, and the copies that nothing waits in any more. Those that another process took before this
    transaction began are in the store; it may take the others at any moment, so that all are opened before they are read.
    """
    waiting = [] if folder is None else sorted(folder.glob("*.ahead"))
    with ExitStack() as opened:
        files: dict[str, BinaryIO] = {}
        for chain, path in journal_copy.longest(waiting).items():
            with suppress(FileNotFoundError):
                files[chain] = opened.enter_context(path.open("rb"))
        return _look(connection, rules, files, place, now), waiting


def _look(
    connection: Connection, rules: Rules, copies: Mapping[str, BinaryIO], place: str, now: UnixSeconds
) -> tuple[Event, ...]:
    reasons: list[Reason] = []
    more: dict[str, Any] = {}
    if copies:
        done = _replay(connection, copies)
        reasons.append(_said(done, copies))
        more["replayed"] = {
            "entries": done.entries,
            "verbs": dict(sorted(done.verbs.items())),
            "not_replayed": done.lost[:LISTED],
            "problem": done.problem,
            "copies": sorted(Path(file.name).with_suffix(".taken").name for file in copies.values()),
        }
    migrations.tell(connection, now)
    before = meta(connection, PLACE)
    if place and before not in (None, place):
        detail = "its file is not the one that was opened last: it was moved, restored or cloned"
        reasons.append(Reason(sign=Sign.MOVED, detail=detail))
    events = journal.recorded(connection, now, _written, rules, reasons, now, place, more)
    journal.recorded(connection, now, pins.pin, rules, now)
    return events


def _written(
    connection: Connection,
    rules: Rules,
    reasons: list[Reason],
    now: UnixSeconds,
    place: str,
    more: Mapping[str, Any],
) -> tuple[Event, ...]:
    if place and meta(connection, PLACE) != place:
        connection.execute(SQL["put_meta"], (PLACE, place))
    return find(connection, rules, reasons, now, more=more) if reasons else ()


def _said(done: Replayed, copies: Mapping[str, BinaryIO]) -> Reason:
    names = ", ".join(sorted(copies))
    if not done.problem:
        detail = (
            f"the journal's copy went on beyond this store ({names}): {done.entries} entries were replayed"
        )
        return Reason(sign=Sign.JOURNAL_REPLAYED, detail=detail)
    detail = (
        f"the journal's copy went on beyond this store ({names}): {done.entries} entries were replayed, "
        f"{len(done.lost)} could not be: {done.problem}"
    )
    return Reason(sign=Sign.JOURNAL_LOST, detail=detail)


def _replay(connection: Connection, copies: Mapping[str, BinaryIO]) -> Replayed:
    done = Replayed()
    pending = heapq.merge(
        *(_beyond(connection, chain, file) for chain, file in copies.items()), key=lambda entry: entry.number
    )
    try:
        for _, group in groupby(pending, key=lambda entry: entry.content["tx"][0]):
            entries = list(group)
            if done.problem or not _applied(connection, entries, done):
                done.lost += [(entry.number, entry.chain, entry.verb) for entry in entries]
    except Corrupt as problem:  # of the file: what stands behind it cannot be believed
        done.problem = done.problem or problem.message
    return done


def _beyond(connection: Connection, chain: str, file: BinaryIO) -> Iterator[Entry]:
    """
    What a copy holds beyond the store's own entries of that chain.

    Raises: Corrupt where the store wrote something else at the same place: both went on, and neither is the older one.
    """
    last = journal.stored_head(connection, chain)
    for entry in journal_copy.read_lines(file, chain):
        if entry.seq == last.seq and entry.hash != last.hash:
            raise Corrupt(f"journal {chain}: entry {last.seq} is another one here than in its copy")
        if entry.seq > last.seq:
            yield entry


def _applied(connection: Connection, entries: list[Entry], done: Replayed) -> bool:
    """Do one whole transaction again, or nothing of it."""
    whole = entries[0].content["tx"][2]
    if len(entries) != whole:
        done.problem = f"{whole - len(entries)} of {whole} entries of a transaction are missing"
        return False
    connection.execute("SAVEPOINT replayed")
    try:
        for entry in entries:
            replay.apply(connection, entry)
    except (Corrupt, sqlite3.Error) as problem:
        connection.execute("ROLLBACK TO replayed")
        connection.execute("RELEASE replayed")
        done.problem = str(problem)
        return False
    connection.execute("RELEASE replayed")
    done.entries += len(entries)
    done.verbs.update(entry.verb for entry in entries)
    return True
