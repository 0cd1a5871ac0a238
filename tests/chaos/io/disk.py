"""
A disk whose power may be cut: what is durable, what is not yet, and what a cut leaves of it.

It hears every call below one folder (`faults.c`, in this process) and lets it through; a sync only marks. At the cut
everything not synced since is at the disk's mercy: each write is there, or not, or torn at a 512-byte sector; several
versions of one sector lie in any order; a file has any of the sizes it passed through; a name made, moved or removed
without a sync of its folder is there, or not. A sector is old or new and never rubbish, as SQLite assumes of every
disk (powersafe overwrite, sqlite.org/psow.html).

Calls may also fail (`arm`), a sync then as Linux fails it: the pages count as clean from then on though they
never reached the disk, everybody goes on reading them, and no later sync writes them unless they are written anew.
"""

import ctypes
import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.io.shim import HOOK, PRETEND, Operation

SECTOR: Final = 512
PAGE: Final = 4_096  # of the system's cache: what a sync writes at once
UNTRACKED: Final = ("-shm",)  # shared memory: nothing of it is meant to be durable, and SQLite makes it anew


@dataclass
class Inode:
    """One file, whatever its name: its content, and what happened to it since it was last synced."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)  # a write, or a new size
    given_up: set[int] = field(default_factory=set)  # pages of a failed sync: clean, and not on the disk

    def change(self, offset: int, data: bytes | None) -> None:
        self.changes.append((offset, data))
        apply(self.content, offset, data)

    def sync(self) -> None:
        image = bytearray(self.content)
        self.given_up -= self._touched()
        for page in self.given_up:
            old = self.synced[page * PAGE : (page + 1) * PAGE]
            apply(image, page * PAGE, old.ljust(len(image[page * PAGE : (page + 1) * PAGE]), b"\0")[:PAGE])
        self.synced = bytes(image[: len(self.content)])
        self.changes.clear()

    def give_up(self) -> None:
        """A sync failed: some of the pages are on the disk, others never will be."""
        self.given_up |= self._touched()
        self.changes.clear()

    def _touched(self) -> set[int]:
        return {
            page
            for offset, data in self.changes
            if data
            for page in range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1)
        }

    def left(self, draw: random.Random) -> bytes:
        """What a cut leaves."""
        match draw.choice(("nothing", "everything", "some", "some", "sectors", "sectors")):
            case "nothing":
                return self.synced
            case "everything":
                return bytes(self.content)
            case "some":
                return self._some(draw)
            case _:
                return self._sectors(draw)

    def _some(self, draw: random.Random) -> bytes:
        """Whole writes, in their order; one of them torn."""
        image, share = bytearray(self.synced), draw.random()
        torn = draw.randrange(len(self.changes)) if self.changes else -1
        for place, (offset, data) in enumerate(self.changes):
            if place == torn and data is not None:
                end = SECTOR - offset % SECTOR + SECTOR * draw.randrange(1 + len(data) // SECTOR)
                apply(image, offset, data[:end])
            elif draw.random() < share:
                apply(image, offset, data)
        return bytes(image)

    def _sectors(self, draw: random.Random) -> bytes:
        """Each sector in any of the versions that it had."""
        image, sizes = bytearray(self.synced), [len(self.synced)]
        versions: dict[int, list[bytes]] = {}
        for offset, data in self.changes:
            first = min(len(image), offset) // SECTOR
            last = (max(len(image), offset) if data is None else offset + len(data)) // SECTOR
            for sector in range(first, last + 1):
                versions.setdefault(sector, [_sector(image, sector)])
            apply(image, offset, data)
            for sector in range(first, last + 1):
                versions[sector].append(_sector(image, sector))
            sizes.append(len(image))
        size = draw.choice(sizes)
        result = bytearray(self.synced)
        apply(result, max(size, len(result)), None)
        for sector, found in versions.items():
            apply(result, sector * SECTOR, draw.choice(found))
        apply(result, size, None)
        return bytes(result)


def apply(image: bytearray, offset: int, data: bytes | None) -> None:
    """Write, or set the size."""
    if data is None:
        del image[offset:]
        image.extend(bytes(offset - len(image)))
        return
    if offset > len(image):
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _sector(image: bytearray, sector: int) -> bytes:
    return bytes(image[sector * SECTOR : (sector + 1) * SECTOR]).ljust(SECTOR, b"\0")


@dataclass(frozen=True)
class Naming:
    """A change of names that may be lost: what each of them then means."""

    names: tuple[tuple[str, Inode | None], ...]


@dataclass(frozen=True)
class Fault:
    """A call that fails: the one behind `after` others of its kinds, and all that follow where `lasting`."""

    operations: Operation
    error: int
    after: int
    lasting: bool


class Disk:
    """
    The files below one folder.

    `cut_in` counts the calls until the power goes; from then on each call fails, and none does anything. `start` makes
    this process's calls go through it; one disk at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.cut_in = -1  # -1: never
        self.fault: Fault | None = None
        self.faults = 0  # calls that failed since the process was last started
        self.matched = 0  # calls of the fault's kinds
        self.off = False
        self.calls = 0
        self._live: dict[str, Inode] = {}
        self._durable: dict[str, Inode] = {}
        self._namings: list[Naming] = []
        self._aside = False
        self._hook = HOOK(self._heard)  # kept: C holds only its address

    def start(self) -> None:
        tell: Callable[[object], None] = ctypes.CDLL(None).io_faults_hook
        tell(self._hook)

    @staticmethod
    def stop() -> None:
        ctypes.CDLL(None).io_faults_hook(None)

    def power_on(self, draw: random.Random) -> None:
        """Put in place of every file what the cut has left of it."""
        names = dict(self._durable)
        ordered = draw.random() < 0.5
        kept = draw.randrange(len(self._namings) + 1)
        for place, naming in enumerate(self._namings):
            if place < kept if ordered else draw.random() < 0.5:
                names.update({name: inode for name, inode in naming.names if inode is not None})
                for name, inode in naming.names:
                    if inode is None:
                        names.pop(name, None)
        self._aside = True
        for path in self._live.keys() - names.keys():
            Path(path).unlink(missing_ok=True)  # the others keep their inode, as on a real disk
        self._live, self._durable, self._namings = {}, {}, []
        for name, inode in names.items():
            content = inode.left(draw)
            Path(name).write_bytes(content)
            self._live[name] = self._durable[name] = Inode(content=bytearray(content), synced=content)
        self._aside = False
        self.off, self.cut_in, self.fault, self.faults = False, -1, None, 0

    def _heard(
        self, operation: int, path: bytes, other: bytes | None, offset: int, data: int | None, size: int
    ) -> int:
        name = path.decode()
        if self._aside or name.endswith(UNTRACKED):
            return 0
        if self.off:
            return errno.EIO
        self.calls += 1
        dying = self.cut_in == 0
        if self.cut_in >= 0:
            self.cut_in -= 1
        if dying:
            self.off = True
        elif error := self._fails(Operation(operation), name):
            return error
        answer = self._done(Operation(operation), name, other, offset, data, size, dying=dying)
        return errno.EIO if dying else answer

    def _fails(self, operation: Operation, name: str) -> int:
        """Tell the error of this call; 0 when it goes through. Of folders nothing fails: SQLite does not look."""
        fault = self.fault
        if fault is None or not operation & fault.operations or Path(name).is_dir():
            return 0
        self.matched += 1
        if self.matched <= fault.after or (self.matched > fault.after + 1 and not fault.lasting):
            return 0
        self.faults += 1
        if operation is Operation.SYNC:
            self._inode(name).give_up()
        return fault.error

    def arm(self, fault: Fault | None) -> None:
        """Let calls fail from now on; None: no more."""
        self.fault, self.matched, self.faults = fault, 0, 0

    def _done(
        self,
        operation: Operation,
        name: str,
        other: bytes | None,
        offset: int,
        data: int | None,
        size: int,
        *,
        dying: bool,
    ) -> int:
        match operation:
            case Operation.WRITE:
                inode = self._inode(name)
                at = len(inode.content) if offset < 0 else offset
                inode.change(at, ctypes.string_at(data, size) if data else b"")
            case Operation.TRUNCATE:
                self._inode(name).change(offset, None)
            case Operation.SYNC if not dying:
                self._sync(name)
                return PRETEND
            case Operation.CREATE:
                self._live[name] = inode = Inode()
                self._namings.append(Naming(((name, inode),)))
            case Operation.REMOVE:
                if self._live.pop(name, None) is not None:
                    self._namings.append(Naming(((name, None),)))
            case Operation.RENAME if other is not None:
                moved = self._live.pop(name)
                self._live[other.decode()] = moved
                self._namings.append(Naming(((name, None), (other.decode(), moved))))
            case _:
                pass
        return 0

    def _inode(self, name: str) -> Inode:
        return self._live.setdefault(name, Inode())

    def _sync(self, name: str) -> None:
        if not Path(name).is_dir():
            self._inode(name).sync()
            return
        for naming in [
            one for one in self._namings if all(Path(path).parent == Path(name) for path, _ in one.names)
        ]:
            self._namings.remove(naming)
            for path, inode in naming.names:
                if inode is None:
                    self._durable.pop(path, None)
                else:
                    self._durable[path] = inode
