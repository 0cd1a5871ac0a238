"""
Compiles `faults.c`, and arms it: in another process by a rule in a shared page, in this one by a function.

The compiler and the C library's headers are in .ci/debian-packages.
"""

import ctypes
import errno
import mmap
import os
import subprocess
from enum import IntFlag
from pathlib import Path
from typing import Final, Self

SOURCE: Final = Path(__file__).with_name("faults.c")
PRETEND: Final = -1  # a sync that is none; a write of half the bytes


class Operation(IntFlag):
    """The calls that the library can spoil."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    CREATE = 8
    REMOVE = 16
    RENAME = 32


HOOK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_int64,
)


class _Page(ctypes.Structure):
    """`struct rule` of faults.c."""

    _fields_ = (
        ("armed", ctypes.c_int32),
        ("operations", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("lasting", ctypes.c_int32),
        ("countdown", ctypes.c_int64),
        ("seen", ctypes.c_int64),
        ("hits", ctypes.c_int64),
        ("part", ctypes.c_char * 256),
    )


class Rule:
    """One rule for one other process; may be armed and taken back while that process runs."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_bytes(bytes(ctypes.sizeof(_Page)))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), ctypes.sizeof(_Page))
        self._page = _Page.from_buffer(self._memory)

    def arm(
        self,
        operations: Operation,
        part: str = "",
        *,
        error: int = errno.EIO,
        after: int = 0,
        lasting: bool = True,
    ) -> Self:
        """
        Let `after` matching calls through and fail the next one, and all behind it where `lasting`.

        `error` is what they answer; 0 cuts a write short, and it succeeds. `part` is any part of a path.
        """
        self._page.armed = 0
        self._page.operations, self._page.error, self._page.lasting = operations, error, lasting
        self._page.countdown, self._page.seen, self._page.hits = after, 0, 0
        self._page.part = part.encode()
        self._page.armed = 1
        return self

    def disarm(self) -> None:
        """Let everything through."""
        self._page.armed = 0

    @property
    def hits(self) -> int:
        """How many calls failed since it was armed."""
        return int(self._page.hits)

    @property
    def seen(self) -> int:
        """How many calls matched since it was armed."""
        return int(self._page.seen)


def compiled(folder: Path) -> Path:
    """Compile the library with the system's compiler."""
    library = folder / "faults.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE, "-ldl"],
        check=True,
    )
    return library


def environment(library: Path, folder: Path, rule: Rule | None = None) -> dict[str, str]:
    """The environment of a process whose files below `folder` are spoilt."""
    found = {**os.environ, "LD_PRELOAD": str(library), "IO_FAULTS_FOLDER": str(folder.resolve())}
    return found if rule is None else {**found, "IO_FAULTS_RULE": str(rule.file)}
