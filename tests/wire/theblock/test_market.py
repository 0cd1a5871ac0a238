from typing import Any

import pytest

from treasuryd.core.observed import SettlementMode
from treasuryd.wire.theblock.market import (
    MAX_MARKET_PROVIDERS,
    Credit,
    Dispute,
    MarketState,
    PageHead,
    Provider,
    read_credit,
    read_dispute,
    read_market_state,
    read_page,
)
from treasuryd.wire.theblock.replies import Malformed

PROVIDER = {
    "provider_id": "energy-0x00000000", "owner": "o", "jurisdiction": "DE", "capacity_kwh": 100, "available_kwh": 40,
    "price_per_kwh": 120, "reputation_score": 0.9, "meter_address": "m", "total_delivered_kwh": 7, "staked_balance": 1000,
}  # fmt: skip
FRESH = {
    "credits": [], "disputes": [], "providers": [], "receipts": [], "status": "ok",
    "governance": {
        "expiry_blocks": 0, "min_stake": 1000, "mode": "real_time", "oracle_timeout_blocks": 0, "quorum_threshold_ppm": 0,
    },
}  # fmt: skip
DISPUTE = {"id": 3, "provider_id": "p", "status": "resolved", "opened_at": 10, "resolved_at": 25}
U64_MAX = 2**64 - 1


def test_a_fresh_node_has_a_market_without_providers() -> None:
    """theblock-node.md §15, as seen on a running node."""
    assert read_market_state(FRESH) == MarketState(mode=SettlementMode.REAL_TIME, providers=())


def test_a_provider_is_read() -> None:
    """What is shown of it, and nothing else."""
    found = read_market_state(FRESH | {"providers": [PROVIDER, PROVIDER | {"provider_id": "b"}]})
    assert found.providers[0] == Provider(
        id="energy-0x00000000", available_kwh=40, delivered_kwh=7, price_per_kwh=120, reputation=0.9
    )
    assert len(found.providers) == 2


@pytest.mark.parametrize("mode", ["hourly", None, 1, [], {}])
def test_a_mode_that_we_do_not_know_is_not_known(mode: Any) -> None:
    """The rest of the market is read all the same."""
    assert read_market_state(FRESH | {"governance": {"mode": mode}}).mode is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "ok",
        {},
        FRESH | {"providers": {}},
        FRESH | {"providers": [None]},
        FRESH | {"providers": [PROVIDER] * 2},
        FRESH | {"providers": [PROVIDER] * (MAX_MARKET_PROVIDERS + 1)},
        FRESH | {"governance": None},
    ],
)
def test_what_is_no_market_is_malformed(value: Any) -> None:
    """One thing wrong spoils the reading."""
    with pytest.raises(Malformed):
        read_market_state(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider_id", ""), ("provider_id", "x" * 257), ("provider_id", 7), ("provider_id", None),
        ("available_kwh", -1), ("available_kwh", 1.5), ("available_kwh", True), ("available_kwh", 2**64),
        ("total_delivered_kwh", "7"), ("price_per_kwh", None),
        ("reputation_score", 1.01), ("reputation_score", -0.1), ("reputation_score", True), ("reputation_score", "0.9"),
        ("reputation_score", None), ("reputation_score", float("nan")),
    ],
)  # fmt: skip
def test_a_provider_with_a_wrong_field_is_malformed(field: str, value: Any) -> None:
    """Types and ranges, each of them."""
    with pytest.raises(Malformed):
        read_market_state(FRESH | {"providers": [PROVIDER | {field: value}]})


def test_a_page_says_how_many_there_are() -> None:
    """Its rows come as they are."""
    page = {"page": 0, "page_size": 250, "status": "ok", "total": 9, "credits": [1, {}]}
    assert read_page(page, "credits") == PageHead(total=9, rows=(1, {}))


@pytest.mark.parametrize(
    "page",
    [
        None,
        {},
        {"total": 1},
        {"total": 1, "disputes": []},
        {"total": 0, "credits": [1]},
        {"total": -1, "credits": []},
        {"total": True, "credits": [1]},
        {"total": 999, "credits": [1] * 251},
        {"total": 1, "credits": {"0": 1}},
    ],
)
def test_what_is_no_page_is_malformed(page: Any) -> None:
    """Fewer in all than on the page, more than the node gives, another list."""
    with pytest.raises(Malformed):
        read_page(page, "credits")


def test_credits_and_disputes_are_read() -> None:
    """Heights of opening and resolution; none while it is open."""
    assert read_credit({"amount_kwh": U64_MAX, "provider": "p"}) == Credit(amount_kwh=U64_MAX)
    assert read_dispute(DISPUTE) == Dispute(id=3, opened_at=10, resolved_at=25)
    assert read_dispute(DISPUTE | {"id": "d-3", "resolved_at": None}).resolved_at is None
    assert read_dispute(DISPUTE | {"resolved_at": 10}).resolved_at == 10


@pytest.mark.parametrize(
    "change",
    [
        {"id": None}, {"id": "x" * 257}, {"id": 1.5}, {"opened_at": None}, {"opened_at": -1}, {"resolved_at": 9},
        {"resolved_at": "25"}, {"resolved_at": 2**64},
    ],
)  # fmt: skip
def test_a_wrong_dispute_is_malformed(change: Any) -> None:
    """It cannot have been resolved before it was opened."""
    with pytest.raises(Malformed):
        read_dispute(DISPUTE | change)


@pytest.mark.parametrize("value", [None, {}, {"amount_kwh": -1}, {"amount_kwh": 0.5}])
def test_a_wrong_credit_is_malformed(value: Any) -> None:
    """A sum over the others would be too small."""
    with pytest.raises(Malformed):
        read_credit(value)
