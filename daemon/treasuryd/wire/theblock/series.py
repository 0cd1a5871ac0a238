"""
The node's series that we show, and the names that they get: one table.

What the node calls differently from what operators ask for is renamed, families per market become one with a label, and
values of closed labels that are none of ours become `other`. A family or a label that is not in here goes no further.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from treasuryd.core.observed import (
    ORACLE_BUCKETS,
    OTHER,
    AdRecipient,
    DisputeState,
    Distribution,
    Market,
    Observed,
    ReadingReject,
    SlashReason,
)
from treasuryd.wire.theblock.exposition import Sample

Rules: TypeAlias = Mapping[str, tuple["Rule", ...]]

PROVIDER: Final = "provider"
# Of these the first label is a provider's name as the node wrote it: untrusted, and as many as it likes.
BY_PROVIDER: Final = frozenset(
    {
        "energy_settlements_total",
        "energy_meter_reading_total",
        "energy_quorum_shortfall_total",
        "energy_slashing_total",
        "energy_reputation_score",
    }
)
LATENCY: Final = "oracle_latency_seconds"
# The node declares the first, and records the second, which its recorder drops: shown as soon as one of them is exported.
LATENCY_SOURCES: Final = ("oracle_inclusion_lag_seconds", "oracle_reading_latency_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    How one of the node's families goes on.

    Its labels must be exactly `labels`; each is a closed set, or None for a provider. `fixed` are label values that stand
    before them, because the family's own name says them. `only` keeps the series with these values.
    """

    ours: str
    labels: Mapping[str, type[StrEnum] | None]
    fixed: tuple[str, ...] = ()
    only: frozenset[str] | None = None
    may_be_negative: bool = False


def _plain(*names: str, may_be_negative: bool = False) -> dict[str, tuple[Rule, ...]]:
    return {name: (Rule(ours=name, labels={}, may_be_negative=may_be_negative),) for name in names}


def _by_market(theirs: str, ours: str, markets: Iterable[Market] = Market) -> dict[str, tuple[Rule, ...]]:
    return {
        theirs.format(market.value): (Rule(ours=ours, labels={}, fixed=(market.value,)),)
        for market in markets
    }


def _by_label(
    label: str, kind: type[StrEnum] | None, *names: str, may_be_negative: bool = False
) -> dict[str, tuple[Rule, ...]]:
    return {name: (Rule(ours=name, labels={label: kind}, may_be_negative=may_be_negative),) for name in names}


_SLASHED: Final = (Market.STORAGE, Market.COMPUTE, Market.ENERGY)
_PER_MARKET: Final = (
    "receipts_{}_per_block", "receipt_settlement_{}",
)  # fmt: skip

RULES: Final[Rules] = {
    # energy
    **_plain(
        "energy_provider_total", "energy_pending_credits_total", "energy_receipt_total",
        "energy_active_disputes_total", "energy_provider_register_total", "energy_treasury_fee_total",
        "energy_dispute_open_total", "energy_dispute_resolve_total", "energy_settlement_rollback_total",
        "energy_settlement_mode", "energy_readings_total",
    ),
    "energy_settlement_total": (Rule(ours="energy_settlements_total", labels={PROVIDER: None}),),
    **_by_label(PROVIDER, None, "energy_meter_reading_total", "energy_quorum_shortfall_total"),
    "energy_slashing_total": (
        Rule(ours="energy_slashing_total", labels={PROVIDER: None, "reason": SlashReason}),
    ),
    **_by_label("state", DisputeState, "energy_dispute_total"),
    **_by_label("reason", ReadingReject, "energy_reading_reject_total"),
    # oracles
    "oracle_submission_errors_total": (
        Rule(ours="oracle_submission_errors_total", labels={"reason": ReadingReject}),
        Rule(
            ours="energy_signature_verification_failures_total",
            labels={"reason": ReadingReject},
            only=frozenset({ReadingReject.BAD_SIGNATURE.value}),
        ),
    ),
    # receipts
    **_by_market("receipts_{}_total", "receipt_emitted_total"),
    **_by_market("receipts_{}_slash_total", "receipt_slashes_total", _SLASHED),
    **_plain(*(name.format(market.value) for name in _PER_MARKET for market in Market)),
    **_plain(*(f"receipts_{market.value}_slash_per_block" for market in _SLASHED)),
    **_plain(*(f"receipt_settlement_{market.value}_slash" for market in _SLASHED)),
    **_plain(
        "receipts_per_block", "receipt_bytes_per_block", "receipt_drain_depth", "receipt_drain_operations_total",
        "receipt_encoding_failures_total", "receipt_decoding_failures_total", "receipt_header_mismatch_total",
        "receipt_da_sample_failure_total", "receipt_persist_fail_total", "receipt_corrupt_total",
    ),
    "receipt_validation_failures_total": (
        Rule(ours="receipt_validation_failures_total", labels={}),
        Rule(ours="receipt_validation_errors_total", labels={}),
    ),
    # economics
    **_plain(
        "economics_annual_issuance_block", "economics_block_reward_per_block", "economics_tariff_bps",
        "economics_tariff_treasury_contribution_bps", "economics_epoch_tx_count", "economics_epoch_tx_volume_block",
        "economics_epoch_treasury_inflow_block", "economics_control_law_update_total",
    ),
    **_plain("economics_realized_inflation_bps", may_be_negative=True),
    **_by_label(
        "market", Market, "economics_subsidy_share_bps", "economics_multiplier", "economics_utilization",
        "economics_prev_market_metrics_utilization_ppm",
    ),
    **_by_label(
        "market", Market, "economics_provider_margin", "economics_prev_market_metrics_provider_margin_ppm",
        may_be_negative=True,
    ),
    **_by_label("recipient", AdRecipient, "economics_ad_split_bps"),
    # storage, of which the health score is made
    **_plain("storage_contract_created_total", "retrieval_success_total", "retrieval_failure_total"),
}  # fmt: skip

WANTED: Final = frozenset(RULES) | {
    f"{name}{part}" for name in LATENCY_SOURCES for part in ("_bucket", "_sum", "_count")
}


def translate(samples: Iterable[Sample]) -> Observed:
    """
    Give the node's series under our names; several that come to one place add up.

    Does not guarantee: bounded labels of `BY_PROVIDER`; whoever shows them caps those.
    """
    series: dict[str, dict[tuple[str, ...], float]] = {}
    histograms: dict[str, dict[str, float]] = {}
    for sample in samples:
        family, _, part = sample.name.rpartition("_")
        if family in LATENCY_SOURCES:
            key = sample.labels.get("le", "") if part == "bucket" else part
            histograms.setdefault(family, {})[key] = sample.value
            continue
        for rule in RULES.get(sample.name, ()):
            place = _place(rule, sample)
            if place is not None:
                places = series.setdefault(rule.ours, {})
                places[place] = places.get(place, 0.0) + sample.value
    latency = [found for name in LATENCY_SOURCES if (found := _distribution(histograms.get(name, {})))]
    return Observed(series=series, distributions={LATENCY: latency[0]} if latency else {})


def _place(rule: Rule, sample: Sample) -> tuple[str, ...] | None:
    """Say under which labels a sample is counted; None for one that goes no further."""
    if sample.labels.keys() != rule.labels.keys() or (sample.value < 0 and not rule.may_be_negative):
        return None
    found = list(rule.fixed)
    for name, kind in rule.labels.items():
        value = sample.labels[name]
        if kind is not None and value not in kind._value2member_map_:
            if OTHER not in kind._value2member_map_:
                return None
            value = OTHER
        if rule.only is not None and value not in rule.only:
            return None
        found.append(value)
    return tuple(found)


def _distribution(parts: Mapping[str, float]) -> Distribution | None:
    """Put a histogram together from its parts; None where one is missing, or they do not fit together."""
    total, count, infinite = parts.get("sum"), parts.get("count"), parts.get("+Inf")
    bounds: list[tuple[float, float]] = []
    for text, value in parts.items():
        if text in {"sum", "count", "+Inf"}:
            continue
        bound = next((known for known in ORACLE_BUCKETS if text in _SPELLINGS[known]), None)
        if bound is None:
            return None
        bounds.append((bound, value))
    bounds.sort()
    counts = [value for _, value in bounds]
    if total is None or count is None or infinite is None or count != infinite or not bounds:
        return None
    if [*counts, infinite] != sorted([0.0, *counts, infinite])[1:] or total < 0:
        return None
    return Distribution(bounds=tuple(bound for bound, _ in bounds), counts=(*counts, infinite), total=total)


_SPELLINGS: Final = {bound: frozenset({repr(bound), f"{bound:g}"}) for bound in ORACLE_BUCKETS}
