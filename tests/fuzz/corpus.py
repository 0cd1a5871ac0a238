"""Inputs that are kept: one file each in `corpus/<target>/`; every input that ever failed stands there."""

from pathlib import Path
from typing import Final

from blake3 import blake3

FOLDER: Final = Path(__file__).parent / "corpus"


def kept(target: str) -> list[bytes]:
    """Read the kept inputs of a target, in the order of their names."""
    return [file.read_bytes() for file in sorted((FOLDER / target).glob("*"))]


def keep(target: str, data: bytes) -> Path:
    """Keep one input, under a name that follows from its content."""
    file = FOLDER / target / blake3(data).hexdigest()[:16]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
