"""
Who we are on this machine, and the lock that proves a dead predecessor dead.

A lease names machine and state folder. If both are ours and we hold the folder's lock, the process that held the lease
cannot be alive, so takeover is immediate (protocol.md §6.6). The lock only speeds takeover: it is tried, never waited
for, and whoever does not get it is an ordinary candidate.
"""

import ctypes
import fcntl
import os
import re
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from blake3 import blake3

from treasuryd.errors import Corrupt

LOCK_NAME: Final = "lock"
FOLDER_ID_NAME: Final = "state.id"
_FOLDER_ID: Final = re.compile(r"[0-9a-f]{32}")
_MACHINE_ID_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class FolderLock:
    """
    The lock of a state folder, held as long as this object is open or until the process ends, however it ends.

    Guarantees: at most one process of one machine holds it. Does not guarantee: anything on a network file system.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @property
    def held(self) -> bool:
        """Whether this object still holds the lock."""
        return self._descriptor is not None

    def close(self) -> None:
        """Let go; repeating it is harmless. The file stays: removing it would let two processes lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def try_lock(folder: Path) -> FolderLock | None:
    """
    Try to lock a state folder; None when another process holds it. Never waits.

    Raises: Corrupt when the lock file cannot be opened or the file system knows no locks.
    """
    path = folder / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Corrupt(f"{path}: cannot be opened: {error.strerror}", hint=_FOLDER_HINT) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise Corrupt(f"{path}: cannot be locked: {error.strerror}", hint=_FOLDER_HINT) from error
    return FolderLock(descriptor)


class Standing:
    """
    Whether this process is the one of its state folder: asks for the lock at each question until it has it.

    Guarantees: true once and for all; a standby hears of the holder's death at its next question. A lock that cannot be
    tried later (no descriptor is left) counts as not ours.
    Raises: Corrupt at the making, when the folder's lock cannot be tried at all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = try_lock(folder)

    def __call__(self) -> bool:
        """Ask, and try for the lock where it was somebody else's."""
        if self._lock is None:
            with suppress(Corrupt):
                self._lock = try_lock(self._folder)
        return self._lock is not None

    def close(self) -> None:
        """Let go of what is held."""
        if self._lock is not None:
            self._lock.close()


_FOLDER_HINT: Final = (
    "The state folder must exist on a local disk and belong to the user that runs treasuryd."
)


def machine_id(
    files: Sequence[Path] = _MACHINE_ID_FILES, *, fallback: Callable[[], str] | None = None
) -> str:
    """
    Name this machine: 32 hex digits, the same at every start.

    The system's own id stays private: machine-id(5) asks for it to be hashed with the name of the application.
    """
    for path in files:
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text and text != "uninitialized":
            return _hashed(text)
    return _hashed((fallback or _hardware_id)())


def folder_id(folder: Path, *, new_id: Callable[[], str]) -> str:
    """
    Name a state folder, creating `state.id` at the first start. `new_id` brings 32 hex digits.

    Guarantees: a copy of the folder has another name, since the file's place on the disk (its inode) is part of it:
    the lock of a copy proves nothing about the process that uses the original. So is that of the lock's file: where
    somebody removed it, the lock of the new one proves nothing about a process that still holds the old one.
    Raises: Corrupt when the file is damaged or cannot be written.
    """
    path = folder / FOLDER_ID_NAME
    try:
        _create_once(path, new_id() + "\n")
        text = path.read_text(encoding="ascii").strip()
        places = [file.stat().st_ino for file in (path, folder / LOCK_NAME) if file.exists()]
    except (OSError, UnicodeDecodeError) as error:
        raise Corrupt(f"{path}: cannot be read or written: {error}", hint=_FOLDER_HINT) from error
    if not _FOLDER_ID.fullmatch(text):
        raise Corrupt(
            f"{path}: not 32 hex digits", hint="Remove the file; a new one is made at the next start."
        )
    return "-".join((text, *(f"{place:x}" for place in places)))


def _create_once(path: Path, content: str) -> None:
    """Write a file whole or not at all, unless it exists: two starts at the same moment agree on one content."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _hashed(text: str) -> str:
    return blake3(text.encode(), derive_key_context="treasuryd 2025 machine id").hexdigest()[:32]


def _hardware_id() -> str:
    """Name a machine without machine-id(5): macOS knows a hardware UUID; elsewhere the host name has to do."""
    if sys.platform == "darwin":
        found = ctypes.create_string_buffer(16)
        wait = (ctypes.c_long * 2)(1, 0)  # a timespec: wait for at most one second
        if ctypes.CDLL(None).gethostuuid(found, ctypes.byref(wait)) == 0:
            return found.raw.hex()
    return socket.gethostname()
