"""
The node's rules of price, as pure functions pinned by the published vectors.

Three numbers decide what a transaction costs: the base fee of the block that includes it, the price per byte of its
lane, and a floor per byte that follows the recently admitted tips. All are base units of BLOCK.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from treasuryd.wire.theblock.binary import U64_MAX

MIN_BASE_FEE: Final = 1
TARGET_TXS_PER_BLOCK: Final = 10  # transactions; above it the base fee rises
BLOCK_TXS: Final = 256
BLOCK_TXS_UNDER_PRESSURE: Final = 1024  # the most that one block ever takes: when the pool is over half full
PERCENTILE: Final = 75
PERCENTILE_WINDOW: Final = 256  # admitted transactions of one lane
LANE_WINDOW: Final = 50  # blocks
FIRST_PRICE: Final = (1, 2)  # per byte, consumer and industrial, from process start to the first block

_MILLION: Final = 1_000_000


def next_base_fee(previous: int, block_txs: int, *, target: int = TARGET_TXS_PER_BLOCK) -> int:
    """
    Say the base fee after a block of `block_txs` transactions; both divisions truncate towards zero.

    Guarantees: at least MIN_BASE_FEE; a fee below 8 never falls, and 1 is left only by 90 transactions or more.
    """
    excess = previous * (_MILLION * block_txs // target - _MILLION)
    sign = 1 if excess >= 0 else -1
    return max(MIN_BASE_FEE, previous + sign * (abs(excess) // _MILLION // 8))


def base_fee_reachable(
    first: int, second: int, unseen_blocks: int, *, block_txs: int = BLOCK_TXS_UNDER_PRESSURE
) -> int:
    """
    Bound the base fee between two readings: how high can it have climbed and still come back to the second?

    Args: the two readings (>= 1), the blocks mined between them (>= 0), the most transactions one block takes.
    Returns: the highest value on any such path, at least the larger of the readings.
    Guarantees: no block between the readings charged more. Does not guarantee: that the readings can be connected
        at all; ask `base_fee_connects`.
    Source: protocol.md §5.1 item 2.
    """
    climb = _climb(first, unseen_blocks, block_txs)
    ceiling = _ceilings(second, unseen_blocks)
    highest = max(first, second)
    for step in range(unseen_blocks + 1):
        left = unseen_blocks - step
        up = climb[min(step, len(climb) - 1)]
        down = ceiling[min(left, len(ceiling) - 1)]
        highest = max(highest, min(up, down))
        if up >= down:  # from here on the way back only gets shorter
            break
    return highest


def base_fee_connects(
    first: int, second: int, unseen_blocks: int, *, block_txs: int = BLOCK_TXS_UNDER_PRESSURE
) -> bool:
    """Say whether `unseen_blocks` blocks can lead from the first reading to the second: neither too high nor too low."""
    lowest = first
    for _ in range(unseen_blocks):
        fallen = next_base_fee(lowest, 0)
        if fallen == lowest:
            break
        lowest = fallen
    return lowest <= second <= _climb(first, unseen_blocks, block_txs)[-1]


def _climb(first: int, blocks: int, block_txs: int) -> list[int]:
    """List the highest base fee after 0, 1, 2 … full blocks, until it stops rising or passes 64 bits."""
    values = [first]
    while len(values) <= blocks and values[-1] < U64_MAX:
        values.append(min(U64_MAX, next_base_fee(values[-1], block_txs)))
        if values[-1] <= values[-2]:
            return values[:-1]
    return values


def _ceilings(second: int, blocks: int) -> list[int]:
    """List the highest base fee from which 0, 1, 2 … empty blocks lead down to `second` or below."""
    values = [second]
    # an empty block takes x - x // 8 = ceil(7x / 8), so the highest x that arrives at y is floor(8y / 7)
    while len(values) <= blocks and values[-1] < U64_MAX:
        values.append(min(U64_MAX, values[-1] * 8 // 7))
        if values[-1] == values[-2]:
            return values[:-1]
    return values


def fee_split(fee: int, pct: int) -> tuple[int, int]:
    """Split a fee over (consumer, industrial): the consumer's percentage is rounded up."""
    consumer = -(-fee * pct // 100)
    return consumer, fee - consumer


def fee_for(base_fee: int, per_byte: int, size: int) -> int:
    """Say the fee of a transaction of `size` bytes (its full form) at a price per byte, without overpaying."""
    return base_fee + per_byte * size


def effective_tip(fee: int, tip: int, base_fee: int) -> int:
    """Say what goes to the miner: the stated tip, or what the fee leaves above the base fee when none is stated."""
    return tip or max(0, fee - base_fee)


def percentile_floor(ascending: Sequence[int]) -> int:
    """Say the floor per byte over the window of admitted tips per byte, which come sorted; 0 for an empty window."""
    if not ascending:
        return 0
    return ascending[min(len(ascending) * PERCENTILE // 100, len(ascending) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRule:
    """How one lane is priced: base price per byte, transactions per block it can carry, steepness, exponent."""

    base: int
    capacity: int
    k: float
    n: float


CONSUMER_RULE: Final = LaneRule(base=1, capacity=1000, k=3.0, n=2.0)
INDUSTRIAL_RULE: Final = LaneRule(base=2, capacity=500, k=5.0, n=2.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLoad:
    """What a lane's price remembers: transactions of the last LANE_WINDOW blocks, and the summed error (±5)."""

    recent: tuple[int, ...] = ()
    integral: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePrices:
    """
    The dynamic prices per byte, as they stand after the blocks seen since process start.

    Guarantees: (1, 2) before the first block; an idle chain stays at (2, 3) afterwards. A restart forgets all.
    """

    consumer: int = FIRST_PRICE[0]
    industrial: int = FIRST_PRICE[1]
    consumer_load: LaneLoad = field(default_factory=LaneLoad)
    industrial_load: LaneLoad = field(default_factory=LaneLoad)


def prices_after_block(
    prices: LanePrices,
    consumer_txs: int,
    industrial_txs: int,
    *,
    rules: tuple[LaneRule, LaneRule] = (CONSUMER_RULE, INDUSTRIAL_RULE),
) -> LanePrices:
    """Say the lane prices after one more block."""
    consumer_load, consumer = _lane_price(prices.consumer_load, consumer_txs, rules[0])
    industrial_load, industrial = _lane_price(prices.industrial_load, industrial_txs, rules[1])
    return LanePrices(
        consumer=consumer,
        industrial=max(industrial, -(-3 * consumer // 2)),  # never below one and a half times the consumer's
        consumer_load=consumer_load,
        industrial_load=industrial_load,
    )


def _lane_price(load: LaneLoad, txs: int, rule: LaneRule) -> tuple[LaneLoad, int]:
    recent = (*load.recent, txs)[-LANE_WINDOW:]
    utilisation = sum(recent) / len(recent) / rule.capacity
    error = 0.7 - utilisation
    integral = min(5.0, max(-5.0, load.integral + error))
    adjustment = min(2.0, max(0.5, 1.0 + 0.1 * error + 0.01 * integral))
    bounded = min(utilisation, 0.999)
    congestion = min(1000.0, max(1.0, 1.0 + rule.k * (bounded / (1.0 - bounded)) ** rule.n))
    price = max(1, math.ceil(rule.base * congestion * adjustment))
    return LaneLoad(recent=recent, integral=integral), price
