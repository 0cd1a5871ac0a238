"""What a planted bug is."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """
    One planted bug: what it is called, the rule of protocol.md that it breaks, what it does, and how it is planted.

    `near` is the first seed known to find it: where a quick hunt begins.
    """

    name: str
    rule: str
    story: str
    plant: Callable[[pytest.MonkeyPatch], None]
    near: int = 0
