"""
The development chain's series for dashboards, as its node exports them: energy, oracles, receipts, economics, storage.

Functions of seed and height, like the market itself. One family is beyond the real node, whose recorder drops it: the
latency of oracles, so that the panel for it can be seen to work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

from treasuryd.devnet.market import FEE_PPM, PROVIDERS, EnergyMarket, between, grown, provider_id

Family: TypeAlias = tuple[str, str, list[tuple[str, float]]]  # name, type, (labels as text, value)

MARKETS: Final = ("storage", "compute", "energy", "ad")
PER_BLOCK: Final = {"storage": 0.6, "compute": 0.4, "energy": 0.5, "ad": 1.2}  # receipts, on average
PRICE: Final = {"storage": 900, "compute": 2_500, "energy": 4_000, "ad": 150}  # base units of one receipt
RECEIPT_BYTES: Final = 140
EPOCH_BLOCKS: Final = 120
RARE: Final = (
    400_000  # blocks, half a day of development: what has an alarm of its own should not ring every hour
)
BLOCKS_PER_YEAR: Final = 31_536_000
LATENCY_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ERROR_EVERY: Final = {  # blocks between two errors of oracles
    "stale_timestamp": 900, "bad_signature": 6_000, "invalid_reading": 2_000, "authorization_failed": 9_000,
    "other": 20_000,
}  # fmt: skip


def families(market: EnergyMarket, *, reward: int) -> list[Family]:
    """List everything; `reward` is what a block brings its miner (base units)."""
    return [
        *_energy(market),
        *_oracles(market),
        *_receipts(market),
        *_economics(market.height, reward),
        *_storage(market),
    ]


def _energy(market: EnergyMarket) -> list[Family]:
    height = market.height
    numbers = range(PROVIDERS)
    settled = {number: market.settlements(number) for number in numbers}
    fees = sum(settled[number] * (20 + 2 * number) * 110 * FEE_PPM // 1_000_000 for number in numbers)
    return [
        _gauge("energy_provider_total", PROVIDERS),
        _gauge("energy_pending_credits_total", len(market.credits())),
        _gauge("energy_receipt_total", len(market.receipts())),
        _gauge("energy_active_disputes_total", market.disputes_opened - market.disputes_resolved),
        _gauge("energy_settlement_mode", 1),
        _counter("energy_provider_register_total", PROVIDERS),
        _counter("energy_treasury_fee_total", fees),
        _counter("energy_dispute_open_total", market.disputes_opened),
        _counter("energy_dispute_resolve_total", market.disputes_resolved),
        _counter("energy_settlement_rollback_total", height // RARE),
        _counter("energy_readings_total", grown(height, 0.75)),
        _labelled("energy_settlement_total", "provider", {provider_id(n): settled[n] for n in numbers}),
        _labelled("energy_meter_reading_total", "provider", {provider_id(n): settled[n] for n in numbers}),
        _labelled("energy_quorum_shortfall_total", "provider", {provider_id(n): settled[n] // RARE for n in numbers}),
        _labelled("energy_reading_reject_total", "reason", {why: height // n for why, n in ERROR_EVERY.items()}),
        _labelled(
            "energy_dispute_total", "state",
            {
                "open": market.disputes_opened, "resolved": market.disputes_resolved - market.slashed,
                "slashed": market.slashed, "other": 0,
            },
        ),
        ("energy_slashing_total", "counter", [
            (f'{{provider="{who}",reason="{why}"}}', count) for (who, why), count in market.slashes().items()
        ]),
    ]  # fmt: skip


def _oracles(market: EnergyMarket) -> list[Family]:
    errors = {why: grown(market.height, 1 / every) for why, every in ERROR_EVERY.items()}
    quick, slow = grown(market.height, 0.47), grown(market.height, 0.03, swing=1.0, period=5_000)
    # half a reading is rounded up, so that the last bound holds them all
    buckets = [
        (bound, sum(math.floor(n * (1 - math.exp(-bound / mean)) + 0.5) for n, mean in ((quick, 0.4), (slow, 4.0))))
        for bound in LATENCY_BOUNDS
    ]  # fmt: skip
    name, count = "oracle_reading_latency_seconds", quick + slow
    rows: list[tuple[str, float]] = [(f'_bucket{{le="{bound:g}"}}', number) for bound, number in buckets]
    rows += [('_bucket{le="+Inf"}', count), ("_sum", round(quick * 0.4 + slow * 4.0, 3)), ("_count", count)]
    return [
        _labelled("oracle_submission_errors_total", "reason", errors),
        (name, "histogram", rows),
    ]


def _receipts(market: EnergyMarket) -> list[Family]:
    height = market.height
    totals = {name: _emitted(name, height) for name in MARKETS}
    last = {name: totals[name] - _emitted(name, max(0, height - 1)) for name in MARKETS}
    slashes = {"storage": height // 4_000, "compute": height // 2_500, "energy": market.slashed}
    found = [
        _gauge("receipts_per_block", sum(last.values())),
        _gauge("receipt_bytes_per_block", RECEIPT_BYTES * sum(last.values())),
        _gauge("receipt_drain_depth", round(between(0, 18, height, 700))),
        _counter("receipt_drain_operations_total", height),
        _counter("receipt_encoding_failures_total", height // RARE),
        _counter("receipt_decoding_failures_total", 0),
        _counter("receipt_validation_failures_total", height // RARE),
        _counter("receipt_header_mismatch_total", 0),
        _counter("receipt_da_sample_failure_total", height // RARE),
        _counter("receipt_persist_fail_total", 0),
        _counter("receipt_corrupt_total", 0),
    ]
    for name in MARKETS:
        found += [
            _counter(f"receipts_{name}_total", totals[name]),
            _gauge(f"receipts_{name}_per_block", last[name]),
            _gauge(f"receipt_settlement_{name}", last[name] * PRICE[name]),
        ]
    for name, total in slashes.items():
        found += [
            _counter(f"receipts_{name}_slash_total", total),
            _gauge(f"receipts_{name}_slash_per_block", 0),
            _gauge(f"receipt_settlement_{name}_slash", 0),
        ]
    return found


def _emitted(market: str, height: int) -> int:
    return grown(height, PER_BLOCK[market], swing=0.6, period=2_000.0 + 500.0 * MARKETS.index(market))


def _economics(height: int, reward: int) -> list[Family]:
    epoch = height // EPOCH_BLOCKS  # the node sets these at the ends of epochs
    count = round(between(300, 520, epoch, 40))
    shares: dict[str, float] = {"storage": 3_500, "compute": 2_500, "energy": 2_500, "ad": 1_500}
    by_market: dict[str, dict[str, float]] = {
        "economics_subsidy_share_bps": shares,
        "economics_multiplier": {m: _wave(0.9, 1.2, epoch, 60, i) for i, m in enumerate(MARKETS)},
        "economics_utilization": {m: _wave(0.3, 0.8, epoch, 50, i) for i, m in enumerate(MARKETS)},
        "economics_provider_margin": {m: _wave(-0.05, 0.25, epoch, 70, i) for i, m in enumerate(MARKETS)},
    }
    before = max(0, epoch - 1)
    by_market["economics_prev_market_metrics_utilization_ppm"] = {
        m: round(1e6 * _wave(0.3, 0.8, before, 50, i)) for i, m in enumerate(MARKETS)
    }
    by_market["economics_prev_market_metrics_provider_margin_ppm"] = {
        m: round(1e6 * _wave(-0.05, 0.25, before, 70, i)) for i, m in enumerate(MARKETS)
    }
    return [
        _gauge("economics_epoch_tx_count", count),
        _gauge("economics_epoch_tx_volume_block", count * 75_000),
        _gauge("economics_epoch_treasury_inflow_block", count * 1_900),
        _gauge("economics_block_reward_per_block", reward),
        _gauge("economics_annual_issuance_block", reward * BLOCKS_PER_YEAR),
        _gauge("economics_realized_inflation_bps", round(between(-10, 210, epoch, 90))),
        _gauge("economics_tariff_bps", 40),
        _gauge("economics_tariff_treasury_contribution_bps", 250),
        _counter("economics_control_law_update_total", epoch),
        *(_labelled(name, "market", values, kind="gauge") for name, values in by_market.items()),
        _labelled(
            "economics_ad_split_bps",
            "recipient",
            {"platform": 2_000, "user": 3_000, "publisher": 5_000},
            kind="gauge",
        ),
    ]


def _wave(low: float, high: float, epoch: int, period: float, phase: float) -> float:
    return round(between(low, high, epoch, period, phase), 4)


def _storage(market: EnergyMarket) -> list[Family]:
    height = market.height
    return [
        _counter("storage_contract_created_total", grown(height, 0.03)),
        _counter("retrieval_success_total", grown(height, 0.8)),
        _counter("retrieval_failure_total", grown(height, 0.004)),
    ]


def _gauge(name: str, value: float) -> Family:
    return name, "gauge", [("", value)]


def _counter(name: str, value: float) -> Family:
    return name, "counter", [("", value)]


def _labelled(name: str, label: str, values: Mapping[str, float], *, kind: str = "counter") -> Family:
    return name, kind, [(f'{{{label}="{one}"}}', value) for one, value in values.items()]
