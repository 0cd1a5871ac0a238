"""Where the daemon keeps things: folders and files that nobody else may write, for whoever may, decides what is paid."""

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from treasuryd.errors import Corrupt, Refusal, Rejected

PRIVATE: Final = 0o700
PRIVATE_FILE: Final = 0o600
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_ROOT: Final = 0


def private_folder(path: Path) -> Path:
    """
    Make a folder for ourselves alone, or take the one that is there as it is.

    Raises: Rejected (FORBIDDEN) for one that others may write; Corrupt where it cannot be made.
    Guarantees: the mode of what exists is never changed.
    """
    try:
        path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise Corrupt(
            f"{path}: cannot be created: {error.strerror}", hint="Name a folder on a local disk that is ours."
        ) from error
    check_ours(path)
    return path


def database_file(path: Path) -> Path:
    """
    Look at a database and its folder before it is opened: beside it lies what SQLite rolls back from.

    Raises: Rejected (FORBIDDEN) where others may write either of them; what is missing is fine.
    """
    check_ours(path.parent)
    check_ours(path)
    return path


def check_ours(path: Path) -> None:
    """
    Refuse what others may write; reading is no matter here, and what is missing is fine.

    Raises: Rejected (FORBIDDEN), with what to do, unless it belongs to us or to root and its owner alone may write it;
        Corrupt where it cannot be looked at.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Corrupt(
            f"{path}: cannot be looked at: {error.strerror}",
            hint="Name a place on a local disk that is ours.",
        ) from error
    place, us = shlex.quote(str(path)), os.geteuid()
    if found.st_uid not in {us, _ROOT}:
        raise Rejected(
            f"{path}: belongs to user {found.st_uid}, we run as user {us}: its owner could change what is paid",
            hint=f"Run treasuryd as that user, or hand it over, if nobody else wrote there: `chown {us} {place}`.",
            kind=Refusal.FORBIDDEN,
        )
    if found.st_mode & _OTHERS_WRITE:
        raise Rejected(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets others write there, and change what is paid",
            hint=f"Make sure that nobody did, then close it: `chmod go-w {place}`.",
            kind=Refusal.FORBIDDEN,
        )


def new_file(path: Path) -> int:
    """
    Create a file for ourselves alone, whatever the umask, and open it for writing; answers the descriptor.

    Raises: Rejected where there is one already, or it cannot be made.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError as error:
        raise Rejected(f"{path} is there already", hint="Name a new file.", kind=Refusal.CONFLICT) from error
    except OSError as error:
        raise Rejected(f"{path}: cannot be made: {error.strerror}", hint="Name another file.") from error
