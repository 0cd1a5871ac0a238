"""
Ed25519 keys in files: encrypted, readable by their owner alone, made once and never overwritten.

A file that others can read is refused rather than repaired: whoever could read it may have. The secret that unlocks
keys comes from a file too; under systemd from LoadCredential, which keeps it off the disk's backups.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from treasuryd.errors import Refusal, Rejected

MAX_KEY_FILE_BYTES: Final = 16_384
MAX_SECRET_BYTES: Final = 1_024
SECRET_BYTES: Final = 32  # of the secrets made here
CREDENTIAL_NAME: Final = "treasuryd-key"  # under $CREDENTIALS_DIRECTORY
OWNER_ONLY: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Key:
    """
    One private key in memory, with its public half (32 bytes).

    Guarantees: printing, formatting, copying or pickling it never shows the private half.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes, the same for the same message."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"Key({self.public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a key stays in its process")


def generate(path: Path, secret: bytes) -> Key:
    """
    Make a new key and its file.

    Args: secret unlocks the file (1 to 1,024 bytes).
    Raises: Rejected when the file exists, the folder is missing or the secret is empty.
    Guarantees: the file appears whole or not at all, mode 0600, durable on return; never overwrites.
    """
    _check_secret(secret, "the secret")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret))
    write_once(path, pem)
    return Key(private)


def load(path: Path, secret: bytes) -> Key:
    """
    Read a key file.

    Raises: Rejected when it is missing, readable by others, not ours, a symbolic link, damaged, of another kind, or
        not unlocked by the secret.
    """
    pem = read_private(path, limit=MAX_KEY_FILE_BYTES)
    try:
        private = load_pem_private_key(pem, password=secret)
    except TypeError as error:  # what the library raises for a key that is not encrypted
        raise Rejected(
            f"{path}: the key is not encrypted", hint="Make one: `treasuryd keys generate`."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Rejected(
            f"{path}: not unlocked by this credential, or damaged",
            hint="Check signer.credential_file; a key cannot be opened without the secret it was made with.",
            kind=Refusal.FORBIDDEN,
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise Rejected(f"{path}: not an Ed25519 key", hint="Make one: `treasuryd keys generate`.")
    return Key(private)


def make_secret(path: Path) -> bytes:
    """Make a new random secret and its file (64 hex digits); Rejected when it exists."""
    secret = secrets.token_hex(SECRET_BYTES).encode()
    write_once(path, secret + b"\n")
    return secret


def read_secret(path: Path, *, managed: bool = False) -> bytes:
    """
    Read the secret that unlocks keys, without the line end behind it.

    Args: managed is True for a file that the service manager placed in its own folder, and guards.
    Raises: Rejected when it is missing, empty, too long, or (unless managed) readable by others.
    """
    secret = read_private(path, limit=MAX_SECRET_BYTES, managed=managed).rstrip(b"\r\n")
    _check_secret(secret, str(path))
    return secret


def find_secret(named: Path | None, environment: Mapping[str, str], *, folder: Path) -> tuple[Path, bool]:
    """
    Say where the secret lies, and whether the service manager placed it there.

    The named file, else `treasuryd-key` in $CREDENTIALS_DIRECTORY where it exists, else `credential` in the signer's
    folder.
    """
    managed_folder = environment.get("CREDENTIALS_DIRECTORY", "")
    if named is not None:
        return named, bool(managed_folder) and named.is_relative_to(managed_folder)
    managed = Path(managed_folder) / CREDENTIAL_NAME
    if managed_folder and managed.exists():
        return managed, True
    return folder / "credential", False


def write_once(path: Path, content: bytes) -> None:
    """Write a private file whole and durably, unless it exists; Rejected otherwise."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), OWNER_ONLY)  # whatever the umask
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path, follow_symlinks=False)
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise Rejected(
            f"{path}: exists already, and a key is never overwritten",
            hint="Use it, or name another file; moving it away loses access to what it signs for.",
            kind=Refusal.CONFLICT,
        ) from error
    except OSError as error:
        raise Rejected(f"{path}: cannot be written: {error.strerror}", hint="Check the folder.") from error


def read_private(path: Path, *, limit: int, managed: bool = False) -> bytes:
    """
    Read a file that only its owner may read.

    Raises: Rejected for a file that is missing, larger than `limit` bytes, no regular file, a symbolic link, owned by
        somebody else or open to others (the last two not where `managed`).
    Guarantees: what was checked is what was read: both happen on the open file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if managed else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise Rejected(f"{path}: no such file", hint=_MAKE, kind=Refusal.NOT_FOUND) from error
    except OSError as error:
        raise Rejected(
            f"{path}: cannot be opened: {error.strerror}", hint=_OWN, kind=Refusal.FORBIDDEN
        ) from error
    try:
        _check_private(path, os.fstat(descriptor), managed=managed)
        content = _read_at_most(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise Rejected(f"{path}: larger than {limit} bytes", hint=_MAKE)
    return content


def _read_at_most(descriptor: int, limit: int) -> bytes:
    content = b""
    while len(content) < limit and (more := os.read(descriptor, limit - len(content))):
        content += more
    return content


_MAKE: Final = "`treasuryd keys generate` makes a key and its credential."
_OWN: Final = "The file must belong to the user that runs treasuryd, with mode 0600: `chmod 600`, `chown`."


def _check_private(path: Path, found: os.stat_result, *, managed: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Rejected(f"{path}: not a regular file", hint=_MAKE)
    if managed:
        return
    if found.st_uid != os.geteuid():
        raise Rejected(
            f"{path}: belongs to user {found.st_uid}, not to us", hint=_OWN, kind=Refusal.FORBIDDEN
        )
    if found.st_mode & _OTHERS:
        raise Rejected(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets others at it",
            hint=f"{_OWN} If somebody else may have read it, make a new one.",
            kind=Refusal.FORBIDDEN,
        )


def _check_secret(secret: bytes, where: str) -> None:
    if not secret or len(secret) > MAX_SECRET_BYTES:
        raise Rejected(
            f"{where}: a secret of {len(secret)} bytes, 1 to {MAX_SECRET_BYTES} are needed", hint=_MAKE
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
