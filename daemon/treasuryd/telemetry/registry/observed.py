"""
What the chain observer reads from the node: energy, oracle, receipt and economics series, and how the observer itself does.

Its labels are closed or capped like all others (`MAX_PROVIDERS`); what the node does not offer is absent, never zero.
"""

from typing import Final

from treasuryd.core.observed import (
    MAX_PROVIDERS,
    ORACLE_BUCKETS,
    RESOLUTION_BLOCKS,
    AdRecipient,
    DisputeState,
    Market,
    ObservedReading,
    ObservedSource,
    ProviderStatus,
    ReadingFailure,
    ReadingReject,
    SlashReason,
)
from treasuryd.telemetry.registry.family import Family, Kind, Label, Unit, capped, chosen, closed

_PROVIDER: Final = capped(
    "provider",
    of="providers of the node, the first ones seen; the rest is `other`",
    at_most=MAX_PROVIDERS + 1,
)
_MARKET: Final = closed("market", Market)
_SLASHED: Final = chosen("market", (Market.STORAGE, Market.COMPUTE, Market.ENERGY))
_REJECT: Final = closed("reason", ReadingReject)

_OFF: Final = "while the observer is off"
_UNREAD: Final = "while the observer is off, has no fresh reading, or the node does not offer it"
_TEXT: Final = "the observer, from the node's metrics"
_STATE: Final = "the observer, from `energy.market_state`"
_RECEIPTS: Final = "the observer, from `energy.receipts`, else the node's metrics"
_CREDITS: Final = "the observer, from `energy.credits`"
_DISPUTES: Final = "the observer, from `energy.disputes`"
_ITSELF: Final = "the observer"


def _gauge(
    name: str, unit: Unit, text: str, *labels: Label, by: str = _TEXT, absent: str = _UNREAD
) -> Family:
    return Family(
        name=name, kind=Kind.GAUGE, unit=unit, help=text, filled_by=by, labels=labels, absent=absent
    )


def _counter(
    name: str, text: str, *labels: Label, by: str = _TEXT, absent: str = _UNREAD, unit: Unit = Unit.COUNT
) -> Family:
    return Family(
        name=name,
        kind=Kind.COUNTER,
        unit=unit,
        help=text,
        filled_by=by,
        labels=labels,
        absent=absent,
    )


_OBSERVER: Final = (
    _gauge(
        "treasury_observer_up", Unit.TRUTH,
        "1 where everything that the node offers was read in the last round.",
        closed("source", ObservedSource), by=_ITSELF, absent=_OFF,
    ),
    _gauge(
        "treasury_observer_last_success_timestamp_seconds", Unit.UNIX_SECONDS,
        "When the last such round ended; 0: none yet.", closed("source", ObservedSource), by=_ITSELF, absent=_OFF,
    ),
    _gauge(
        "treasury_observer_reading_fresh", Unit.TRUTH,
        "1 where a reading is shown; 0 where it failed, is not offered, or has grown too old.",
        closed("reading", ObservedReading), by=_ITSELF, absent=_OFF,
    ),
    _counter(
        "treasury_observer_failures_total", "Readings that came to nothing.",
        closed("reading", ObservedReading), closed("reason", ReadingFailure), by=_ITSELF, absent=_OFF,
    ),
)  # fmt: skip

_ENERGY: Final = (
    _gauge(
        "energy_provider_status", Unit.COUNT, "Providers with energy on offer, and without.",
        closed("status", ProviderStatus), by=_STATE,
    ),
    _gauge("energy_provider_total", Unit.COUNT, "Providers registered.", by=f"{_STATE}, else the node's metrics"),
    _gauge(
        "energy_reputation_score", Unit.RATIO, "A provider's reputation; of `other` the lowest.", _PROVIDER, by=_STATE
    ),
    _gauge(
        "energy_market_price_current", Unit.BASE_UNITS, "Price of a kWh on offer, weighted by what is on offer.",
        by=_STATE,
    ),
    _gauge("energy_market_volume_current", Unit.KWH, "Energy on offer.", by=_STATE),
    _gauge(
        "energy_settlement_mode", Unit.COUNT, "0 in batches, 1 in real time.", by=f"{_STATE}, else the node's metrics"
    ),
    _gauge("energy_receipt_total", Unit.COUNT, "Receipts of deliveries that the node keeps.", by=_RECEIPTS),
    _gauge(
        "energy_pending_credits_total", Unit.COUNT, "Credits that are not settled.",
        by=f"{_CREDITS}, else the node's metrics",
    ),
    _gauge(
        "energy_pending_credits_kwh", Unit.KWH, "Energy of the credits that are not settled.", by=_CREDITS
    ),
    _gauge(
        "energy_active_disputes_total", Unit.COUNT, "Disputes that are open.", by=f"{_DISPUTES}, else the node's metrics"
    ),
    Family(
        name="energy_dispute_resolution_blocks", kind=Kind.HISTOGRAM, unit=Unit.BLOCKS, buckets=RESOLUTION_BLOCKS,
        help="From opening to resolution of disputes that were resolved while the observer looked.",
        filled_by=_DISPUTES, absent=_UNREAD,
    ),
    _counter("energy_provider_register_total", "Providers that registered."),
    _counter(
        "energy_treasury_fee_total", "What energy settlements brought the treasury.", unit=Unit.BASE_UNITS
    ),
    _counter("energy_dispute_open_total", "Disputes that were opened."),
    _counter("energy_dispute_resolve_total", "Disputes that were resolved."),
    _counter("energy_dispute_total", "Disputes that came to a state.", closed("state", DisputeState)),
    _counter("energy_settlement_rollback_total", "Settlements that were rolled back."),
    _counter("energy_settlements_total", "Settlements (the node's `energy_settlement_total`).", _PROVIDER),
    _counter("energy_meter_reading_total", "Meter readings taken.", _PROVIDER),
    _counter("energy_quorum_shortfall_total", "Settlements that lacked a quorum of oracles.", _PROVIDER),
    _counter("energy_slashing_total", "Providers slashed.", _PROVIDER, closed("reason", SlashReason)),
    _counter("energy_readings_total", "Oracle readings taken."),
    _counter("energy_reading_reject_total", "Oracle readings refused.", _REJECT),
    _counter(
        "energy_signature_verification_failures_total",
        "Readings with a bad signature (of the node's `oracle_submission_errors_total`).",
        chosen("reason", (ReadingReject.BAD_SIGNATURE,)),
    ),
)  # fmt: skip

_ORACLES: Final = (
    _counter("oracle_submission_errors_total", "Submissions of oracles that failed.", _REJECT),
    Family(
        name="oracle_latency_seconds", kind=Kind.HISTOGRAM, unit=Unit.SECONDS, buckets=ORACLE_BUCKETS,
        help="From an oracle's reading to its inclusion; nodes of today do not export it.", filled_by=_TEXT,
        absent=_UNREAD,
    ),
)  # fmt: skip

_RECEIPT: Final = (
    _counter("receipt_emitted_total", "Receipts in blocks (the node's `receipts_<market>_total`).", _MARKET),
    _counter("receipt_slashes_total", "Slashes in receipts (the node's `receipts_<market>_slash_total`).", _SLASHED),
    _counter("receipt_encoding_failures_total", "Receipts that could not be encoded."),
    _counter("receipt_decoding_failures_total", "Receipts that could not be decoded."),
    _counter("receipt_validation_failures_total", "Receipts that were not valid."),
    _counter("receipt_validation_errors_total", "The same as `receipt_validation_failures_total`, by its required name."),
    _counter("receipt_header_mismatch_total", "Blocks whose receipts did not match their header."),
    _counter("receipt_da_sample_failure_total", "Samples of data availability that failed."),
    _counter("receipt_persist_fail_total", "Receipts that could not be stored."),
    _counter("receipt_corrupt_total", "Stored receipts that were corrupt."),
    _counter("receipt_drain_operations_total", "Drains of pending receipts."),
    _gauge("receipt_drain_depth", Unit.COUNT, "Receipts that wait for a block."),
    _gauge("receipt_bytes_per_block", Unit.BYTES, "Receipts of the last block."),
    _gauge("receipts_per_block", Unit.COUNT, "Receipts of the last block."),
    *(
        _gauge(f"receipts_{market.value}_per_block", Unit.COUNT, f"Receipts of the last block, market {market.value}.")
        for market in Market
    ),
    *(
        _gauge(f"receipts_{market}_slash_per_block", Unit.COUNT, f"Slashes of the last block, market {market}.")
        for market in _SLASHED.values
    ),
    *(
        _gauge(
            f"receipt_settlement_{market.value}", Unit.BASE_UNITS, f"Settled in the last block, market {market.value}."
        )
        for market in Market
    ),
    *(
        _gauge(f"receipt_settlement_{market}_slash", Unit.BASE_UNITS, f"Slashed in the last block, market {market}.")
        for market in _SLASHED.values
    ),
)  # fmt: skip

_ECONOMICS: Final = (
    _gauge("economics_epoch_tx_count", Unit.COUNT, "Transactions of the last epoch."),
    _gauge("economics_epoch_tx_volume_block", Unit.BASE_UNITS, "Moved in the last epoch."),
    _gauge("economics_epoch_treasury_inflow_block", Unit.BASE_UNITS, "What the treasury took in in the last epoch."),
    _gauge("economics_block_reward_per_block", Unit.BASE_UNITS, "Reward of a block."),
    _gauge("economics_annual_issuance_block", Unit.BASE_UNITS, "Issuance of a year at the present pace."),
    _gauge("economics_realized_inflation_bps", Unit.BASIS_POINTS, "Inflation as it came about; may be negative."),
    _gauge("economics_tariff_bps", Unit.BASIS_POINTS, "Tariff."),
    _gauge("economics_tariff_treasury_contribution_bps", Unit.BASIS_POINTS, "The treasury's share of the tariff."),
    _gauge("economics_subsidy_share_bps", Unit.BASIS_POINTS, "A market's share of the subsidies.", _MARKET),
    _gauge("economics_multiplier", Unit.FACTOR, "A market's multiplier.", _MARKET),
    _gauge("economics_utilization", Unit.FACTOR, "A market's utilisation.", _MARKET),
    _gauge("economics_provider_margin", Unit.FACTOR, "Margin of a market's providers; may be negative.", _MARKET),
    _gauge(
        "economics_prev_market_metrics_utilization_ppm", Unit.PPM, "A market's utilisation in the epoch before.", _MARKET
    ),
    _gauge(
        "economics_prev_market_metrics_provider_margin_ppm", Unit.PPM,
        "Margin of a market's providers in the epoch before; may be negative.", _MARKET,
    ),
    _gauge(
        "economics_ad_split_bps", Unit.BASIS_POINTS, "Who gets how much of an advertisement's price.",
        closed("recipient", AdRecipient),
    ),
    _counter("economics_control_law_update_total", "Adjustments by the control law."),
)  # fmt: skip

_STORAGE: Final = (
    _counter("storage_contract_created_total", "Storage contracts made."),
    _counter("retrieval_success_total", "Retrievals from storage that succeeded."),
    _counter("retrieval_failure_total", "Retrievals from storage that failed."),
)

FAMILIES: Final = (*_OBSERVER, *_ENERGY, *_ORACLES, *_RECEIPT, *_ECONOMICS, *_STORAGE)
