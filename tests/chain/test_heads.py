from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.chain.heads import find_tip
from treasuryd.core.model import BlockHash, Header, Height
from treasuryd.errors import Transient
from treasuryd.wire.theblock.binary import U64_MAX
from treasuryd.wire.theblock.readings import MAX_HEADERS


class Blocks:
    """A chain of so many blocks that counts how often it is asked, and may grow while it is."""

    def __init__(self, count: int, *, growth: int = 0) -> None:
        self.count = count
        self.growth = growth
        self.asked = 0

    async def ask(self, start: int) -> Sequence[Header]:
        self.asked += 1
        assert 0 <= start <= U64_MAX
        end = min(self.count, start + MAX_HEADERS)
        found = [Header(height=Height(i + 1), block_hash=BlockHash(f"{i}")) for i in range(start, end)]
        self.count += self.growth
        return found

    async def tip(self, hint: int) -> Header | None:
        start = max(0, hint - 1)
        return await find_tip(self.ask, await self.ask(start), start)


@given(count=st.integers(0, 2**63), hint=st.integers(0, 2**63))
async def test_the_tip_is_found_from_any_hint_in_few_requests(count: int, hint: int) -> None:
    """First contact, a long absence, a chain that was reset: never one request per block."""
    blocks = Blocks(count)
    tip = await blocks.tip(hint)
    assert (tip.height if tip else 0) == count
    assert blocks.asked <= 140


@given(count=st.integers(0, 100_000), hint=st.integers(0, 100_000), growth=st.integers(0, 20))
async def test_a_chain_that_grows_meanwhile_is_caught(count: int, hint: int, growth: int) -> None:
    """What is found was the tip at the moment of the last answer."""
    blocks = Blocks(count, growth=growth)
    tip = await blocks.tip(hint)
    assert (tip.height if tip else 0) >= count - MAX_HEADERS
    assert (tip.height if tip else 0) <= blocks.count


@pytest.mark.parametrize(
    ("count", "hint", "most"),
    [
        pytest.param(1_000_000, 999_995, 1, id="a few new blocks"),
        pytest.param(1_000_000, 0, 30, id="first contact with a million blocks"),
        pytest.param(0, 0, 1, id="an empty chain"),
        pytest.param(0, 1_000_000, 20, id="a chain that was reset"),
        pytest.param(999_990, 1_000_000, 6, id="a reorg that left the chain shorter"),
    ],
)
async def test_the_usual_cases_are_cheap(count: int, hint: int, most: int) -> None:
    """One request when nothing special happened; a logarithm when it did."""
    blocks = Blocks(count)
    tip = await blocks.tip(hint)
    assert (tip.height if tip else 0) == count
    assert blocks.asked <= most


async def test_a_chain_that_runs_away_ends_the_search() -> None:
    """Everything has a bound: it is transient, and the next tick tries again."""

    async def always_more(start: int) -> Sequence[Header]:
        return [
            Header(height=Height(start + 1 + place), block_hash=BlockHash("x"))
            for place in range(MAX_HEADERS)
        ]

    with pytest.raises(Transient, match="could not be reached"):
        await find_tip(always_more, await always_more(0), 0)
