"""Bearer tokens: one word in a file that is ours alone, read anew each time, so that a changed one needs no restart."""

import shlex
from pathlib import Path
from typing import Final

from treasuryd.errors import Refusal, Rejected
from treasuryd.signer import keys

SHORTEST: Final = 16  # characters of a token that we ask for; 32 random bytes in hex are 64


def token_of(path: Path, *, setting: str, shortest: int = SHORTEST) -> str:
    """
    Read a token, without the blanks around it: neither the command line nor HTTP carries them.

    Args: shortest: how many characters it has at least; a token that another server chose may be shorter than ours.
    Raises: Rejected, naming the setting, for a file that is missing, open to others, or holds anything but one word of
        printable ASCII of that length.
    """
    try:
        token = keys.read_secret(path).decode("ascii", "strict").strip()
    except Rejected as problem:
        raise _bad(setting, path, problem.message, problem.kind) from problem
    except UnicodeDecodeError as problem:
        raise _bad(setting, path, f"{path}: it is not ASCII text", Refusal.INVALID) from problem
    wrong = _wrong(token, shortest)
    if wrong:
        raise _bad(setting, path, f"{path}: {wrong}", Refusal.INVALID)
    return token


def _wrong(token: str, shortest: int) -> str:
    """Say what keeps a text from being a token, never the text itself."""
    words = len(token.split())
    if words != 1:
        return f"it holds {words} words or lines, a token is one"
    if not token.isprintable():
        return "it holds characters that cannot be printed"
    if len(token) < shortest:
        return f"a token of {len(token)} characters is guessed too easily, at least {shortest} are needed"
    return ""


def _forbidden(path: Path) -> str:
    """Others could read it, or somebody else owns it: what it holds is no secret any more."""
    return f"It is to be ours alone, mode 0600. Others could read it, so make it anew: {_make(path)}."


def _make(path: Path) -> str:
    """A command that mends the mode of a file that is there, too: a shell that writes into it keeps its mode."""
    place = shlex.quote(str(path))
    return f"`touch {place} && chmod 600 {place} && openssl rand -hex 32 > {place}`"


def _bad(setting: str, path: Path, message: str, kind: Refusal) -> Rejected:
    return Rejected(
        f"{setting}: {message}",
        hint=_forbidden(path)
        if kind is Refusal.FORBIDDEN
        else f"It holds one word, the token: {_make(path)}.",
        kind=kind,
    )
