"""What a planted bug is."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One planted bug: its name, the rule of protocol.md that it breaks, what it does, and how it is planted."""

    name: str
    rule: str
    story: str
    plant: Callable[[pytest.MonkeyPatch], None]
