from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.devnet.test_market import living
from tests.devnet.test_node import ask, node_of
from tests.devnet.world import DEV

from treasuryd.devnet.economy import families
from treasuryd.devnet.market import EnergyMarket
from treasuryd.wire.theblock.exposition import read_exposition
from treasuryd.wire.theblock.series import LATENCY, RULES, WANTED, translate

SPIKY = st.integers(0, 300_000)


def numbers(height: int, kind: str) -> dict[str, float]:
    return {
        f"{name}{labels}": value
        for name, found, series in families(EnergyMarket(seed=0, height=height), reward=1)
        for labels, value in series
        if found == kind
    }


@given(SPIKY, st.integers(1, 50))
def test_counters_and_histograms_never_fall(height: int, blocks: int) -> None:
    """Each of them, over any number of blocks."""
    for kind in ("counter", "histogram"):
        before, after = numbers(height, kind), numbers(height + blocks, kind)
        assert before.keys() == after.keys()
        assert [name for name in before if after[name] < before[name]] == []


def test_every_family_that_is_shown_is_served() -> None:
    """So that a dashboard over a development chain has no empty panel."""
    found = translate(read_exposition(living(5_000).exposition().encode(), wanted=WANTED))
    assert found.series.keys() == {rule.ours for rules in RULES.values() for rule in rules}
    assert found.distributions.keys() == {LATENCY}


def test_the_text_is_what_others_read_too() -> None:
    """Prometheus' own parser takes it, and sees the same families."""
    text = living(5_000).exposition()
    assert len(text) < 64 * 1024  # above it the payer would not ask for it in a batch
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert kinds["oracle_reading_latency_seconds"] == "histogram"
    assert kinds["receipts_per_block"] == "gauge"
    assert kinds["energy_readings"] == "counter"


@pytest.mark.parametrize(
    ("series", "method", "name"),
    [
        ("energy_receipt_total", "energy.receipts", "receipts"),
        ("energy_pending_credits_total", "energy.credits", "credits"),
    ],
)
def test_both_ways_to_ask_tell_the_same(series: str, method: str, name: str) -> None:
    """The text and the methods are one market."""
    node = living(7_777)
    found = translate(read_exposition(node.exposition().encode(), wanted=WANTED))
    assert found.series[series] == {(): ask(node, method)["total"]}


def test_no_spike_alarms_a_newcomer() -> None:
    """Over a minute of the development chain errors of oracles stay a few, and receipts come all the time."""
    for height in range(0, 60_000, 600):
        before, after = numbers(height, "counter"), numbers(height + 600, "counter")
        errors = sum(after[n] - before[n] for n in after if n.startswith("oracle_submission_errors"))
        assert errors <= 5
        for market in ("storage", "compute", "energy", "ad"):
            assert after[f"receipts_{market}_total"] - before[f"receipts_{market}_total"] > 30


def test_without_a_market_only_what_a_payer_needs_is_served() -> None:
    """As before: the payer's reading stays small."""
    names = {
        line.split(" ")[2]
        for line in node_of(replace(DEV, market=False)).exposition().splitlines()
        if "#" in line
    }
    assert names == {
        "base_fee", "fee_floor_current", "block_mined_total", "mempool_size", "tx_admitted_total", "tx_rejected_total",
    }  # fmt: skip


def test_a_newcomer_s_dashboards_are_green() -> None:
    """An hour of the development chain, ten blocks a second, against the limits of the alarms."""
    for height in range(0, 36_000, 600):
        before, after = numbers(height, "counter"), numbers(height + 600, "counter")  # a minute
        grew = {name: after[name] - before[name] for name in after}
        assert 0 < grew["energy_readings_total"] < 800
        assert 0 < grew["storage_contract_created_total"] < 40
        assert grew["retrieval_failure_total"] < 0.05 * grew["retrieval_success_total"]
        assert grew["receipt_validation_failures_total"] == 0
        assert not any(value for name, value in grew.items() if name.startswith("energy_quorum_shortfall"))
