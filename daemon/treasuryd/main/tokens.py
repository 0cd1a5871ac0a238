"""Bearer tokens: one word in a file that is ours alone, read anew each time, so that a changed one needs no restart."""

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


def _bad(setting: str, path: Path, message: str, kind: Refusal) -> Rejected:
    return Rejected(
        f"{setting}: {message}",
        hint=f"It holds one word, the token, and is ours alone: `(umask 077; openssl rand -hex 32 > {path})`.",
        kind=kind,
    )
