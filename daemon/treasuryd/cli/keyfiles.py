"""Opening a key file for a person: by its credential file, or by a passphrase asked for."""

from pathlib import Path
from typing import Final

import click

from treasuryd.errors import Refusal, Rejected
from treasuryd.signer import keys

CREDENTIAL: Final = "credential"


def open_key(path: Path, credential: Path | None, *, ask: bool) -> keys.Key:
    """Unlock a key file; raises Rejected where it cannot be."""
    return keys.load(path, secret_of(path, credential, ask=ask, confirm=False))


def secret_of(path: Path, credential: Path | None, *, ask: bool, confirm: bool) -> bytes:
    """
    The secret of a key file: a passphrase asked for, or the content of the credential file beside it.

    Args: confirm: for a new key; a passphrase is asked for twice, a missing credential file is made.
    """
    if ask:
        entered: str = click.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        return entered.encode()
    place = credential or path.with_name(CREDENTIAL)
    if confirm and not place.exists():
        return keys.make_secret(place)
    if credential is None and path.exists() and not place.exists():
        raise Rejected(
            f"{place}: no such file",
            hint="Name the file that unlocks the key with --credential; for the house keys that development makes "
            "it is .state/signer/credential.",
            kind=Refusal.NOT_FOUND,
        )
    return keys.read_secret(place)
