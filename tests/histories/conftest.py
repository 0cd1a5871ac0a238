from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.auditing import audited
from tests.replaying import replays
from tests.world import CHAIN_ID, History

from treasuryd.core.model import Evidence

Begin = Callable[..., Awaitable[History]]


@pytest.fixture(params=[Evidence.HASH, Evidence.BALANCE], ids=["look-up", "balances"])
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Both kinds of evidence, wherever something is paid."""
    found: Evidence = request.param
    return found


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Start histories; each is closed at the end."""
    started: list[History] = []

    async def start(evidence: Evidence = Evidence.HASH, **options: Any) -> History:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        history = History(folder, evidence, **options)
        started.append(history)
        history.mine(2)
        return await history.start()

    yield start
    for history in started:
        if history.drivers:
            await history.sql.read(replays, forged=history.forged)
            found = await history.sql.read(audited, history.rules, chain_id=CHAIN_ID)
            assert found == [], found
        await history.close()
