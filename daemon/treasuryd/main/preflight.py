"""What a start would open, looked at before it: folders, databases, token and key files. Nothing is made or changed."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from treasuryd.errors import Corrupt, Refusal, Rejected
from treasuryd.main.compose import ledger_file
from treasuryd.main.observing import observer_token
from treasuryd.main.places import check_ours
from treasuryd.main.roots import read_token
from treasuryd.settings import Settings
from treasuryd.signer import keys

_OURS: Final = (
    "Run this as the user that runs treasuryd, or hand the place over to that user (`chown`, `chmod u+rwx`)."
)

Problem = Rejected | Corrupt
May = Callable[[Path, int], bool]


def preflight(settings: Settings, *, may: May = os.access) -> str:
    """
    Look, as the user that asks, at what a start opens, by the start's own rules.

    Not looked at: what is in the databases, and whether the nodes answer.
    Returns: what could not be looked at here, a sentence; empty where everything was.
    Args: may: says whether that user may use a path in a mode of `os.access`; the system knows.
    Raises: Rejected, naming every problem and what to do about it; FORBIDDEN where each is one of permissions.
    Guarantees: nothing is made, nothing is changed; what is missing and made by a start is fine where it can be made.
    """
    found = list(_problems(settings, may))
    if not found:
        return "" if _secret_is_here(settings) else _elsewhere(settings)
    forbidden = all(_kind(problem) is Refusal.FORBIDDEN for problem in found)
    raise Rejected(
        "\n".join(f"{problem.message}\n  {problem.hint}" for problem in found),
        hint="`treasuryd config check --files` repeats this.",
        kind=Refusal.FORBIDDEN if forbidden else Refusal.INVALID,
    )


def _problems(settings: Settings, may: May) -> Iterator[Problem]:
    folders = (settings.state_folder, settings.journal_path, settings.signer_folder)
    databases = (settings.database_file, ledger_file(settings))
    looks: Iterator[Callable[[], object]] = chain(
        (
            partial(_folder, one, may)
            for one in dict.fromkeys((*folders, *(file.parent for file in databases)))
        ),
        (partial(_database, one, may) for one in databases),
        (partial(read_token, settings),),
        (partial(observer_token, settings),) if settings.observer.enabled else (),
    )
    for look in looks:
        yield from _of(look)
    yield from _of_keys(settings)


def _of(look: Callable[[], object]) -> Iterator[Problem]:
    try:
        look()
    except (Rejected, Corrupt) as problem:
        yield problem


def _of_keys(settings: Settings) -> Iterator[Problem]:
    """Unlock each account's key, or look who may read it; development makes what is missing, so that is fine there."""
    files = [one for one in settings.key_files.values() if one.exists() or not settings.development]
    if not _secret_is_here(settings):
        for file in files:
            yield from _of(partial(keys.read_private, file, limit=keys.MAX_KEY_FILE_BYTES))
        return
    place, managed = _secret(settings)
    try:
        secret = keys.read_secret(place, managed=managed)
    except Rejected as problem:
        yield problem
        return
    for file in files:
        yield from _of(partial(keys.load, file, secret))


def _secret(settings: Settings) -> tuple[Path, bool]:
    return keys.find_secret(settings.signer.credential_file, os.environ, folder=settings.signer_folder)


def _secret_is_here(settings: Settings) -> bool:
    """Say no where the unit's service manager alone may have it: nobody named a file, and there is none."""
    place, managed = _secret(settings)
    return managed or settings.signer.credential_file is not None or place.exists()


def _elsewhere(settings: Settings) -> str:
    if settings.development:
        return ""  # the start makes it
    return (
        f"not tried: whether the keys are unlocked. There is no {_secret(settings)[0]}; "
        "a service manager hands the credential to the unit alone."
    )


def _folder(path: Path, may: May) -> None:
    """Refuse a folder that others may write, or that we may not; for one to be made, the folder that it comes into."""
    check_ours(path)
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise Rejected(f"{there}: not a folder", hint="Name a folder on a local disk that is ours.")
    if not may(there, os.R_OK | os.W_OK | os.X_OK):
        raise Rejected(f"{path}: we may not write in {there}", hint=_OURS, kind=Refusal.FORBIDDEN)


def _database(path: Path, may: May) -> None:
    """Refuse a file that others may write, or that we may not; a missing one is made by the start."""
    check_ours(path)
    if path.exists() and not may(path, os.R_OK | os.W_OK):
        raise Rejected(f"{path}: we may not write it", hint=_OURS, kind=Refusal.FORBIDDEN)


def _kind(problem: Problem) -> Refusal:
    return problem.kind if isinstance(problem, Rejected) else Refusal.INVALID
