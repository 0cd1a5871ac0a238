from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.devnet.test_node import ask, node_of
from tests.devnet.world import DEV, REAL

from treasuryd.devnet import admin
from treasuryd.devnet.market import EnergyMarket, grown
from treasuryd.devnet.node import Node, Refused
from treasuryd.wire.theblock.market import read_credit, read_dispute, read_market_state, read_page

LIVING = replace(DEV, market=True)
HEIGHTS = st.integers(0, 40_000)
LISTS = ("receipts", "credits", "disputes")


def living(height: int) -> Node:
    node = node_of(LIVING)
    node.switches.market_stalls_at = height
    return node


def rows(node: Node, name: str, **params: Any) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = ask(node, f"energy.{name}", page=len(found) // 100, page_size=100, **params)
        found += page[name]
        if len(found) >= page["total"] or not page[name]:
            assert len(found) == page["total"]
            return found


@given(HEIGHTS, st.floats(0.001, 5), st.floats(0, 1), st.floats(10, 10_000))
def test_what_counts_never_falls(height: int, mean: float, swing: float, period: float) -> None:
    """A counter that falls looks like a restart of the node."""
    assert grown(height, mean, swing=swing, period=period) <= grown(
        height + 1, mean, swing=swing, period=period
    )


@given(HEIGHTS)
def test_every_answer_is_one_that_the_reader_takes(height: int) -> None:
    """The shapes of the node: a market, pages, rows."""
    node = living(height)
    state = read_market_state(ask(node, "energy.market_state"))
    assert len(state.providers) == 12
    for name in LISTS:
        page = read_page(ask(node, f"energy.{name}", page_size=250), name)
        assert page.total >= len(page.rows)
    for row in rows(node, "credits"):
        read_credit(row)
    for row in rows(node, "disputes"):
        read_dispute(row)


@given(HEIGHTS)
def test_the_answers_agree_with_each_other(height: int) -> None:
    """Lists, the state of the market and its counts tell one story."""
    node, market = living(height), EnergyMarket(seed=0, height=height)
    everything = rows(node, "disputes")
    resolved, still = rows(node, "disputes", status="resolved"), rows(node, "disputes", status="open")
    assert len(everything) == len(resolved) + len(still) == market.disputes_opened
    assert len(resolved) == market.disputes_resolved
    assert market.slashed == sum(row["resolution_note"] == "slashed" for row in resolved)
    assert sum(market.slashes().values()) == market.slashed
    assert all(row["opened_at"] <= height < row["opened_at"] + 440 for row in still)
    assert all(row["resolved_at"] <= height for row in resolved)
    state = ask(node, "energy.market_state")
    assert state["disputes"] == still
    assert state["credits"] == rows(node, "credits")
    assert state["receipts"] == rows(node, "receipts")


def test_the_market_changes_while_the_chain_grows() -> None:
    """A dashboard of numbers that stand still shows nothing."""
    seen = [EnergyMarket(seed=0, height=height) for height in range(0, 20_000, 500)]
    assert len({one.settlements(0) for one in seen}) == len(seen)
    prices = [[provider["price_per_kwh"] for provider in one.providers()] for one in seen]
    assert len({tuple(row) for row in prices}) > 30
    assert len({len(one.credits()) for one in seen}) > 3
    idle = [sum(provider["available_kwh"] == 0 for provider in one.providers()) for one in seen]
    assert {0, 1} <= set(idle)


def test_one_provider_can_be_asked_for() -> None:
    """The node's filter."""
    node, wanted = living(5_000), "energy-0x00000002"
    state = ask(node, "energy.market_state", provider_id=wanted)
    assert [row["provider_id"] for row in state["providers"]] == [wanted]
    assert {row["seller"] for row in rows(node, "receipts", provider_id=wanted)} == {wanted}
    assert {row["provider_id"] for row in rows(node, "disputes", provider_id=wanted)} == {wanted}
    assert rows(node, "credits", provider_id="nobody") == []


@pytest.mark.parametrize("config", [REAL, DEV])
def test_a_fresh_node_has_an_empty_market(config: Any) -> None:
    """The real one starts in rehearsal and stays empty."""
    node = node_of(config)
    state = ask(node, "energy.market_state")
    assert (state["providers"], state["receipts"], state["status"]) == ([], [], "ok")
    for name in LISTS:
        assert ask(node, f"energy.{name}") == {
            "page": 0, "page_size": 25, "status": "ok", "total": 0, name: [],
        }  # fmt: skip
    assert "energy" not in ask(node, "metrics")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("energy.disputes", {"status": "slashed"}),
        ("energy.disputes", {"provider_id": 7}),
        ("energy.credits", {"page": -1}),
        ("energy.receipts", {"page_size": "all"}),
        ("energy.market_state", {"provider_id": []}),
    ],
)
def test_wrong_parameters_are_refused(method: str, params: dict[str, Any]) -> None:
    """-32602, as by every method of the node."""
    with pytest.raises(Refused, match="invalid params"):
        ask(living(100), method, **params)


@pytest.mark.parametrize("method", ["market_state", *LISTS])
def test_where_a_token_is_configured_it_is_needed(method: str) -> None:
    """-33009 without it."""
    node = node_of(replace(LIVING, admin_token="secret"))
    with pytest.raises(Refused) as refused:
        ask(node, f"energy.{method}")
    assert refused.value.code == -33009
    assert ask(node, f"energy.{method}", token="secret")["status"] == "ok"


def test_the_market_stands_still_when_told() -> None:
    """What an alarm for a stalled market is tried on."""
    node = node_of(LIVING)
    node.switches.mining = True
    for _ in range(40):
        node.tick()
    before = node.market
    assert before.height == 40
    assert admin.apply(node, {"fault": "market_stalls"}) == {"ok": True}
    node.tick()
    assert node.market == before
    admin.apply(node, {"fault": "market_stalls", "on": False})
    assert node.market.height == 41
