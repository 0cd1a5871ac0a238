"""
The journal's copy outside the store: a file per chain, which each commit appends to, and which a restore reads (§3, §8).

One line per entry, its body as it was hashed. Several processes may append to one file, and any of them may die within a
line. So nothing is ever cut off: what may be missing is written once more behind it, and readers drop repeats, pass over
what is torn, and verify what they read.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote, unquote

import orjson

from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection, transaction
from treasuryd.store.journal import (
    BEFORE_THE_FIRST,
    COPY_ROWS,
    PEOPLE,
    Entry,
    JournalHead,
    entries,
    head_of,
    read_row,
)
from treasuryd.store.rows import SHARED

TAIL_BYTES: Final = 64 * 2**20  # the longest entry that is looked for at the end of a copy
WRITES: Final = 4  # of the same lines, each torn by another process
UNSYNCED_BYTES: Final = 2**20  # of a chain's copy, or one longer entry: what a power cut may tear


class JournalCopy:
    """
    Appends each committed entry to `<folder>/<chain>.log`; called after every commit, on the writing thread.

    Guarantees: people's entries are synced before the call returns, all others handed to the system, and synced before
    more than `UNSYNCED_BYTES` of a chain wait; what a crash or a power cut left out or tore is written anew by the next
    start; a failure raises Corrupt, never silence.
    Does not guarantee: that an entry stands there once only, where several processes share a folder; readers drop
    repeats. A copy that goes on beyond the store (an old store was restored) is set aside, never written over:
    `ahead` names such chains.
    """

    def __init__(
        self, folder: Path, *, sync: Callable[[int], None] = os.fsync, now: Callable[[], float] = float
    ) -> None:
        self._folder = folder
        self._sync = sync  # makes a file (by its descriptor) durable
        self._now = now  # seconds of a clock that never steps back; without one nothing is measured
        self._files: dict[str, FileIO] = {}
        self._lines: dict[str, list[bytes]] = {}  # of each chain, to be written at once
        self._waiting = Counter[str]()  # bytes of each chain's copy that are not synced yet
        self._failed = False
        self._copied: int | None = None  # id of the last entry copied; None before the first call
        self.ahead: Mapping[str, JournalHead] = {}
        self.took_seconds = 0.0  # for the last commit

    @property
    def copied(self) -> int | None:
        """Id of the last entry copied; None before the first call."""
        return self._copied

    def size_bytes(self) -> int:
        """All of the copy, as it lies there."""
        size = 0
        for path in self._folder.glob("*.log"):
            with suppress(FileNotFoundError):  # another process that starts sets a copy aside
                size += path.stat().st_size
        return size

    def __call__(self, connection: Connection) -> None:
        """Copy what is new."""
        started = self._now()
        try:
            if self._copied is None:
                self._copied = self._catch_up(connection)
            self._copied = self._write(connection, self._copied)
            self.took_seconds = self._now() - started
        except OSError as error:
            self._failed = True
            raise Corrupt(
                f"the journal's copy in {self._folder} failed: {error}",
                hint="Make room on that disk, or correct the setting; the store itself is intact.",
            ) from error

    def close(self) -> None:
        """Sync and close all files; after a failure nothing more is said of them, the next start writes what is missing."""
        for file in self._files.values():
            with suppress(OSError) if self._failed else nullcontext():
                self._sync(file.fileno())
            with suppress(OSError) if self._failed else nullcontext():
                file.close()
        self._files.clear()

    def _write(self, connection: Connection, after: int) -> int:
        touched: set[str] = set()
        while True:
            rows = connection.execute(SHARED["journal_since"], (after, COPY_ROWS)).fetchall()
            for row in rows:
                self._add(row[1], line_of(read_row(row)))
                touched.add(row[1])
                after = row[0]
            if len(rows) < COPY_ROWS:
                break
        for chain in touched:
            self._flush(chain)
        if PEOPLE in touched:
            self._synced(PEOPLE)
        return after

    def _add(self, chain: str, line: bytes) -> None:
        """Append a line; what waits to be synced stays so short that the next start can look through all of it."""
        if self._waiting[chain] and self._waiting[chain] + len(line) > UNSYNCED_BYTES:
            self._synced(chain)
        self._lines.setdefault(chain, []).append(line)
        self._waiting[chain] += len(line)

    def _flush(self, chain: str) -> None:
        """
        Write a chain's lines, each as a line of its own.

        Somebody else's torn line may stand before them, at any moment: that is seen afterwards, and then they are
        written once more, behind a line end.
        """
        text, file = b"".join(self._lines.pop(chain, ())), self._file(chain)
        if not text:
            return
        for again in range(WRITES):
            start = _in_one_piece(file, b"\n" + text if again else text)
            if start is not None and (again or not start or os.pread(file.fileno(), 1, start - 1) == b"\n"):
                return
        raise OSError(f"{file.name}: somebody else wrote into {WRITES} writes")

    def _synced(self, chain: str) -> None:
        self._flush(chain)
        self._sync(self._files[chain].fileno())
        del self._waiting[chain]

    def _catch_up(self, connection: Connection) -> int:
        """Bring every chain's file to its head in the store; answers the highest id of an entry then copied."""
        self._folder.mkdir(parents=True, exist_ok=True)
        highest = 0
        ahead: dict[str, JournalHead] = {}
        stored = {row[0]: (row[1], row[2]) for row in connection.execute(SHARED["journal_heads"]).fetchall()}
        for chain in copied_chains(self._folder):
            tail = copy_tail(self._folder, chain)
            if self._ahead(connection, chain, tail) is not None:
                head = transaction(connection, self._set_aside, chain)
                if head is not None:
                    ahead[chain] = head
            else:
                self._write_anew(chain, tail)
        for chain, (last, last_id) in stored.items():
            self._append_from(connection, chain, last)
            highest = max(highest, last_id)
        self.ahead = ahead
        return highest

    def _append_from(self, connection: Connection, chain: str, last: int) -> None:
        seq = self._head_seq(chain)
        self._file(chain)
        while seq < last:
            for entry in entries(connection, chain, after=seq):
                self._add(chain, line_of(entry))
                seq = entry.seq
        self._synced(chain)

    def _head_seq(self, chain: str) -> int:
        head = copy_tail(self._folder, chain).head
        return 0 if head is None else head.seq

    def _write_anew(self, chain: str, tail: "Tail") -> None:
        """Write once more what may not be synced, where it stands: after a failed sync no other sync does it."""
        with suppress(FileNotFoundError), path_of(self._folder, chain).open("r+b") as file:
            file.seek(tail.checked)
            text = file.read(tail.whole - tail.checked)  # not what somebody may be writing behind it
            file.seek(tail.checked)
            file.write(text)

    def _ahead(self, connection: Connection, chain: str, tail: "Tail") -> JournalHead | None:
        """What the copy ends with that the store does not know."""
        heads = [head for head in (tail.beyond, tail.head) if head is not None]
        return next((head for head in heads if not self._known(connection, chain, head)), None)

    @staticmethod
    def _known(connection: Connection, chain: str, head: JournalHead) -> bool:
        """Whether the store has the very entry that the copy ends with."""
        return [one.hash for one in entries(connection, chain, after=head.seq - 1, limit=1)] == [head.hash]

    def _set_aside(self, connection: Connection, chain: str) -> JournalHead | None:
        """
        Set a copy aside that goes on beyond the store; a verb, so that of two processes that start only one does.

        The other one would put the copy that was begun anew in its place.
        """
        head = self._ahead(connection, chain, copy_tail(self._folder, chain))
        if head is not None:
            path = path_of(self._folder, chain)
            path.rename(path.with_suffix(f".{head.seq}-{head.hash[:8]}.ahead"))
            _sync_folder(self._folder)
        return head

    def _file(self, chain: str) -> FileIO:
        if chain not in self._files:
            path = path_of(self._folder, chain)
            new = not path.exists()
            self._files[chain] = path.open("a+b", buffering=0)
            if new:
                _sync_folder(self._folder)
        return self._files[chain]


def line_of(entry: Entry) -> bytes:
    """One entry as a line: a JSON array of number, time, verb, hash and body, the body as it was hashed."""
    head = orjson.dumps([entry.seq, float(entry.at), entry.verb, entry.hash])
    return head[:-1] + b"," + entry.body.encode() + b"]\n"


def entry_of(chain: str, line: bytes) -> Entry:
    """
    Read a line back, its body byte for byte.

    Raises: Corrupt when it is not a whole line of ours.
    """
    try:
        seq, at, verb, digest, _ = orjson.loads(line)
        if [type(seq), type(at), type(verb), type(digest)] != _TYPES:
            return _refuse(chain, "an entry is number, time, verb, hash and body")
        head = orjson.dumps([seq, at, verb, digest])
        return Entry(
            chain=chain,
            seq=seq,
            at=at,
            verb=verb,
            hash=digest,
            body=line[len(head) : -2].decode(),  # but for `]` and the line's end
        )
    except (ValueError, TypeError) as error:
        return _refuse(chain, str(error))


_TYPES: Final = [int, float, str, str]  # of number, time, verb and hash


def _refuse(chain: str, why: str) -> NoReturn:
    raise Corrupt(f"the journal's copy of {chain} holds a line that is none of ours: {why}")


def read_copy(folder: Path, chain: str) -> Iterator[Entry]:
    """
    Read a chain's copy from the first entry on, verified, repeats and torn lines dropped.

    Raises: Corrupt, at its end, where an entry stands in it that does not follow, and that nothing behind it makes good.
    """
    path = path_of(folder, chain)
    if path.exists():
        yield from read_file(path, chain)


def read_file(path: Path, chain: str) -> Iterator[Entry]:
    """The same of one file, which may be a copy that was set aside."""
    with path.open("rb") as file:
        yield from read_lines(file, chain)


def read_lines(file: Iterable[bytes], chain: str) -> Iterator[Entry]:
    """The same of its lines."""
    last, beyond, wrong = BEFORE_THE_FIRST, 0, ""
    for line in file:
        entry = _readable(chain, line)
        if entry is None:  # torn: it was written once more, or else what comes next does not follow
            if last.seq == 0 and line.endswith(b"\n"):
                wrong, beyond = "it holds lines that are none of ours", max(beyond, 1)
        elif last.followed_by(entry):
            last = head_of(entry)
            yield entry
        else:  # or a repeat, which says nothing
            wrong = wrong if beyond > last.seq else f"entry {entry.seq} does not follow from {last.seq}"
            beyond = max(beyond, entry.seq)
    if beyond > last.seq:
        raise Corrupt(f"the journal's copy of {chain}: {wrong}")


def path_of(folder: Path, chain: str) -> Path:
    """Where a chain's copy lies; the name of an account may hold anything."""
    return folder / f"{quote(chain, safe='')}.log"


def copied_chains(folder: Path) -> list[str]:
    """Chains that have a copy."""
    return sorted(unquote(path.stem) for path in folder.glob("*.log"))


def set_aside(folder: Path) -> list[str]:
    """
    Name the copies in a folder that went on beyond the store: it was restored, and what they hold was lost in it (§8).

    Guarantees: told at every start until a person has taken the file away, so that no crash forgets it.
    """
    return sorted(unquote(path.stem) for path in folder.glob("*.ahead"))


def longest(copies: Iterable[Path]) -> dict[str, Path]:
    """Of copies that were set aside the one that goes furthest, by chain."""
    found: dict[str, tuple[int, Path]] = {}
    for path in copies:
        name, head, _ = path.name.rsplit(".", 2)
        chain, seq = unquote(name), int(head.partition("-")[0])
        found[chain] = max(found.get(chain, (seq, path)), (seq, path))
    return {chain: path for chain, (_, path) in found.items()}


def take_aside(folder: Path, copies: Iterable[Path]) -> None:
    """Nothing waits in these copies that were set aside any more; they are kept, under another name."""
    for path in copies:
        with suppress(FileNotFoundError):  # another process that started took it
            path.rename(path.with_suffix(".taken"))
    _sync_folder(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """
    The end of a chain's copy: its last whole entry, and the highest one that is readable beyond what is torn.

    A power cut may keep what was written last and lose what was written before it, as long as neither was synced.
    """

    head: JournalHead | None = None
    beyond: JournalHead | None = None
    checked: int = 0  # where in the file the looking began
    whole: int = 0  # where in it the last whole entry ends


def copy_head(folder: Path, chain: str) -> JournalHead | None:
    """Find the last entry of a chain's copy up to which all of it is whole."""
    return copy_tail(folder, chain).head


def copy_tail(folder: Path, chain: str) -> Tail:
    """Look through what may not have been synced, at least `UNSYNCED_BYTES` or the last entry, for what is torn."""
    path = path_of(folder, chain)
    if not path.exists():
        return Tail()
    with path.open("rb") as file:
        start = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES)
        file.seek(start)
        text = file.read()
    # from the last line on that was synced, or from the first byte: what follows on it is whole
    at = text[:-UNSYNCED_BYTES].rpartition(b"\n")[0].rfind(b"\n") + 1
    checked = whole = end = start + at
    last, beyond = None if checked else BEFORE_THE_FIRST, BEFORE_THE_FIRST
    for line in text[at:].splitlines(keepends=True):
        end += len(line)
        entry = _readable(chain, line)
        if entry is not None and (last is None or last.followed_by(entry)):
            last, whole = head_of(entry), end
            continue
        # a hole is zeros, which no entry holds: the next one may stand right behind it
        entry = _readable(chain, line.rpartition(b"\0")[2])
        if entry is not None:
            beyond = max(beyond, head_of(entry), key=lambda head: head.seq)
    last = last or BEFORE_THE_FIRST
    return Tail(
        head=last if last.seq else None,
        beyond=beyond if beyond.seq > last.seq else None,  # else it was written once more behind what is torn
        checked=checked,
        whole=whole,
    )


def _readable(chain: str, line: bytes) -> Entry | None:
    if not (line.startswith(b"[") and line.endswith(b"]\n")):
        return None  # torn: a file full of such lines is passed over as fast as it is read
    try:
        return entry_of(chain, line)
    except Corrupt:
        return None


def _sync_folder(folder: Path) -> None:
    """A new name is durable once its folder is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _in_one_piece(file: FileIO, text: bytes) -> int | None:
    """Append all of it, short writes finished; answers where it begins, None where somebody else wrote in between."""
    start: int | None = None
    end: int | None = None
    while text:
        size = file.write(text)
        if not size:
            raise OSError(f"{file.name}: nothing was written")
        before, end = end, file.tell()
        if before is not None and end - size != before:
            return None
        start, text = end - size if start is None else start, text[size:]
    return start
