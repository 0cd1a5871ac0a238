"""Bearer tokens: one line in a file that is ours alone, read anew each time, so that a changed one needs no restart."""

from pathlib import Path

from treasuryd.errors import Refusal, Rejected
from treasuryd.signer import keys


def token_of(path: Path, *, setting: str) -> str:
    """Read a token; Rejected, naming the setting, for a file that is missing, open to others, or holds no line of ASCII."""
    try:
        return keys.read_secret(path).decode("ascii", "strict")
    except Rejected as problem:
        raise _bad(setting, path, problem.message, problem.kind) from problem
    except UnicodeDecodeError as problem:
        raise _bad(setting, path, f"{path}: it is not ASCII text", Refusal.INVALID) from problem


def _bad(setting: str, path: Path, message: str, kind: Refusal) -> Rejected:
    return Rejected(
        f"{setting}: {message}",
        hint=f"It holds one line, the token, and is ours alone: `(umask 077; openssl rand -hex 32 > {path})`.",
        kind=kind,
    )
