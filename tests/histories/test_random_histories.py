"""
Random histories: a few in every run, many with `make histories SEEDS=1000` (protocol.md §10).

A failing seed names the one command that replays it, step by step.
"""

import os
from pathlib import Path

import pytest
from tests.histories.explorer import explore

from treasuryd.core.events import EventKind

SEEDS = int(os.environ.get("HISTORY_SEEDS", "40"))
FIRST = int(os.environ.get("HISTORY_FIRST", "0"))
ONCE_FAILED = (0, 1, 16, 119, 243, 290, 296, 427, 451, 461, 1288, 1338, 1339, 3354, 3590, 3881, 4321)


@pytest.mark.parametrize("seed", [*ONCE_FAILED, *range(FIRST, FIRST + SEEDS)])
async def test_no_random_history_breaks_a_promise(tmp_path: Path, seed: int) -> None:
    """N8, D2: paid at most once, never early, never while frozen; and in the end everything approved is final."""
    await explore(seed, tmp_path)


async def test_the_walks_do_what_they_are_for(tmp_path: Path) -> None:
    """A walk that meets nothing finds nothing: a few of them meet reorgs, crashes, cancels, thefts, payments, doubt."""
    met: set[EventKind] = set()
    lines = ""
    for seed in range(24):
        folder = tmp_path / str(seed)
        folder.mkdir()
        walk = await explore(seed, folder)
        met |= {event.kind for event in walk.seen.events}
        lines += "\n".join(walk.lines)
    assert met >= {
        EventKind.REORGED_CHAIN,
        EventKind.ACCOUNT_FROZEN,
        EventKind.ACCOUNT_THAWED,
        EventKind.AMBIGUOUS,
        EventKind.REORGED,
        EventKind.ROLLED_BACK,
        EventKind.FINALIZED,
        EventKind.LEASE_LOST,
    }
    for happening in ("crashed", "a late request", "kill switch", "is stopped for", "release", "resolve"):
        assert happening in lines, happening


async def test_a_seed_is_replayed_exactly(tmp_path: Path) -> None:
    """The same number gives the same history, line by line."""
    told = []
    for turn in ("first", "second"):
        folder = tmp_path / turn
        folder.mkdir()
        told.append((await explore(7, folder)).lines)
    assert told[0] == told[1]
