from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.wire.theblock.fees import (
    LanePrices,
    base_fee_connects,
    base_fee_reachable,
    effective_tip,
    fee_for,
    fee_split,
    next_base_fee,
    percentile_floor,
    prices_after_block,
)


def test_the_base_fee_follows_the_vectors(vectors: dict[str, Any]) -> None:
    """All rows, with truncation towards zero."""
    for row in vectors["base_fee_vectors"]["rows"]:
        assert row["next"] == next_base_fee(row["prev"], row["block_txs"])


def test_the_fee_split_follows_the_vectors(vectors: dict[str, Any]) -> None:
    """The consumer's part is rounded up; the hash pins selector and fee."""
    for row in vectors["fee_split_vectors"]["rows"]:
        assert (row["fee_consumer"], row["fee_industrial"]) == fee_split(row["fee"], row["pct"])
        packed = bytes([row["selector"]]) + row["fee"].to_bytes(8, "little")
        assert row["blake3_hex"] == blake3(packed).hexdigest()


def test_the_lane_price_follows_the_vectors(vectors: dict[str, Any]) -> None:
    """N14: 1 before the first block, 2 after it on an idle chain; steep near the capacity."""
    for row in vectors["lane_price_vectors"]["rows"]:
        prices = LanePrices()
        for _ in range(row["blocks"]):
            prices = prices_after_block(prices, row["consumer_txs_per_block"], 0)
        assert (row["consumer_price"], row["industrial_price"]) == (prices.consumer, prices.industrial)


def test_the_percentile_floor_follows_the_vectors(vectors: dict[str, Any]) -> None:
    """All rows; the ledger's window is held to the same function."""
    for row in vectors["percentile_floor_vectors"]["rows"]:
        assert row["floor"] == percentile_floor(sorted(row["admitted_tip_per_byte"]))


def test_the_example_payment_cost_what_the_rules_say(vectors: dict[str, Any]) -> None:
    """Both fees of the observed pair: 1 + 2 per byte before, 1 + 3 per byte after the floor rose."""
    first, second = vectors["payment_example"]["sent"]
    assert first["fee"] == fee_for(1, 2, first["size9"])
    assert second["fee"] == fee_for(1, 3, second["size9"])


def test_an_unstated_tip_is_what_the_fee_leaves() -> None:
    """A stated tip stands as it is."""
    assert [effective_tip(10, 0, 1), effective_tip(1, 0, 2), effective_tip(10, 4, 1)] == [9, 0, 4]


def every_path(first: int, second: int, blocks: int) -> int | None:
    """The highest base fee on any path of full, empty and other blocks between two readings; None without a path."""
    ways: dict[int, int] = {first: first}
    for _ in range(blocks):
        following: dict[int, int] = {}
        for fee, highest in ways.items():
            for txs in range(1025):
                after = next_base_fee(fee, txs)
                following[after] = max(following.get(after, 0), highest, after)
        ways = following
    return ways.get(second)


@pytest.mark.parametrize("first", [1, 3, 8, 20])
@pytest.mark.parametrize("second", [1, 2, 7, 9, 14, 40])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_no_path_between_two_readings_charges_more_than_the_bound(
    first: int, second: int, blocks: int
) -> None:
    """N6: the bound of §5.1 item 2 against all paths, one by one."""
    true = every_path(first, second, blocks)
    assert base_fee_connects(first, second, blocks) or true is None
    if true is not None:
        assert true <= base_fee_reachable(first, second, blocks)


@pytest.mark.parametrize(
    ("first", "second", "blocks", "expected"),
    [
        pytest.param(1, 1, 100, 1, id="a fee below 8 never falls, so it never rose"),
        pytest.param(1, 7, 2, 8, id="8 falls to 7"),
        pytest.param(1, 7, 10, 16, id="two blocks up, eight down"),
        pytest.param(100, 100, 0, 100, id="no block, no doubt"),
        pytest.param(100, 100, 1, 100, id="one block: nothing above both"),
        pytest.param(100, 100, 2, 114, id="up in one block, back in the next"),
        pytest.param(1, 13, 1, 13, id="one full block"),
        pytest.param(100, 400, 1, 400, id="never below the larger reading"),
    ],
)
def test_the_bound_is_tight(first: int, second: int, blocks: int, expected: int) -> None:
    """Known cases."""
    assert expected == base_fee_reachable(first, second, blocks)


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(0, 10**9))
def test_the_bound_is_cheap_and_at_least_both_readings(first: int, second: int, blocks: int) -> None:
    """A billion unseen blocks cost no more than a few hundred steps."""
    assert max(first, second) <= base_fee_reachable(first, second, blocks)


@given(st.integers(1, 10**6), st.lists(st.integers(0, 1024), max_size=12))
def test_a_real_history_stays_within_the_bound(first: int, blocks: list[int]) -> None:
    """Whatever the blocks held: connected, and never above the bound."""
    fees = [first]
    for txs in blocks:
        fees.append(next_base_fee(fees[-1], txs))
    assert base_fee_connects(first, fees[-1], len(blocks))
    assert max(fees) <= base_fee_reachable(first, fees[-1], len(blocks))


@pytest.mark.parametrize(("first", "second", "blocks"), [(1, 14, 1), (100, 87, 1), (1, 2, 0)])
def test_readings_that_no_chain_connects_are_named(first: int, second: int, blocks: int) -> None:
    """Too high or too low for the blocks between: the reading lies."""
    assert not base_fee_connects(first, second, blocks)
