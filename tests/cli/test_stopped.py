"""`treasuryd quarantine declare-stopped` over a store that a history left behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Told
from tests.world import History, new

from treasuryd.core.model import AccountState, DisbursementId, Evidence, Hold
from treasuryd.host.lockfile import Standing

WHY = ("--reason", "Set back to last night's snapshot", "--by", "edward")


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[History]:
    """A stopped daemon with something that is due."""
    history = History(tmp_path, Evidence.HASH, journal=True)
    history.mine(2)
    await history.start()
    await history.run(3)
    await history.submit(new("rent", scheduled=1))
    await history.close()
    yield history
    await history.close()


async def _declared(history: History, call: Callable[..., Told]) -> Told:
    as_it_runs = (
        "--state-folder",
        history.folder,
        "--set",
        f"chain.epoch_blocks={history.rules.epoch_blocks}",
    )
    return await asyncio.to_thread(call, "quarantine", "declare-stopped", *as_it_runs, *WHY)


async def test_a_daemon_finds_itself_in_quarantine_at_its_start(
    left: History, call: Callable[..., Told]
) -> None:
    """Nothing is staged or sent in between, and every item waits for a person; saying it twice says no more."""
    for _ in range(2):
        told = await _declared(left, call)
        assert (told.code, told.err) == (0, "")
        assert "found: declared by edward: Set back to last night's snapshot (declared)" in told.out
        assert "The kill switch is on. Start the daemon" in told.out
    await left.start()
    assert (await left.account()).state is AccountState.QUARANTINED
    await left.run(30)
    (item,) = await left.desk.get([DisbursementId(1)])
    assert item is not None
    assert item.hold is Hold.RESTORED
    assert not await left.desk.intents(item.id)
    assert left.paid("rent") == 0


async def test_a_daemon_that_runs_is_told_otherwise(left: History, call: Callable[..., Told]) -> None:
    """Two processes never write to one store by hand."""
    with closing(Standing(left.folder)):
        told = await _declared(left, call)
    assert told.code == 1
    assert "a daemon runs on this folder" in told.err
    await left.start()
    assert (await left.account()).state is AccountState.ACTIVE


def test_a_folder_without_a_store_stays_without_one(tmp_path: Path, call: Callable[..., Told]) -> None:
    """A wrong folder must not look like a store that is safe now."""
    told = call("quarantine", "declare-stopped", "--state-folder", tmp_path, *WHY)
    assert told.code == 1
    assert "there is no store" in told.err
    assert list(tmp_path.iterdir()) == []
