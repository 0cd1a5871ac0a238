"""What a planted bug is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """
    One planted bug: its name, the rule of protocol.md that it breaks, what it does, and how it is planted.

    `world` are settings that hold for every seed while it is hunted (`tests/simulation/settings.py`), also for the same
    seed without it: a bug that bites in a rare world alone asks for that world.
    """

    name: str
    rule: str
    story: str
    plant: Callable[[pytest.MonkeyPatch], None]
    world: Mapping[str, Any] = field(default_factory=dict)
