"""The published vectors, a ledger on a clock, a world of running development chains."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.devnet.world import World

VECTORS = Path(__file__).parents[1] / "vectors" / "theblock.json"


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    yield found
    await found.stop()
