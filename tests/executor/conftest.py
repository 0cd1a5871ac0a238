from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.world import History

from treasuryd.core.model import Evidence

Begin = Callable[..., Awaitable[History]]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Start an executor over a real store, signer and node, in this process; closed at the end."""
    started: list[History] = []

    async def start(evidence: Evidence = Evidence.HASH, *, blocks: int = 2, **options: Any) -> History:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        history = History(folder, evidence, **options)
        started.append(history)
        history.mine(blocks)
        return await history.start()

    yield start
    for history in started:
        await history.close()
