from dataclasses import replace
from typing import Any

import pytest
from tests.devnet.world import DEV, FUNDS, REAL, signed

from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.node import Call, Node, Panicked, Refused
from treasuryd.devnet.server import build_node
from treasuryd.wire.theblock.readings import read_fee_floor, read_gauge


def node_of(config: Any = DEV) -> Node:
    return build_node(config, None, now=lambda: 5.0)


def ask(node: Node, method: str, *, token: str | None = None, **params: Any) -> Any:
    return node.call(Call(method=method, params=params, token=token))


def test_the_metrics_name_base_fee_and_floor() -> None:
    """N6, N13: the two readings that pricing and reconciliation need, as the adapter's reader finds them."""
    node = node_of()
    assert ask(node, "submit_tx", tx=signed(per_byte=7).hex(), nonce=1) == {"status": "ok"}
    assert ask(node, "submit_tx", tx=signed(nonce=2).hex(), nonce=2) == {"error": "FeeTooLow"}
    text = ask(node, "metrics")
    names = ("base_fee", "fee_floor_current", "tx_admitted_total", 'mempool_size{lane="consumer"}')
    assert [read_gauge(text, name) for name in names] == [1, 7, 1, 1]
    assert 'tx_rejected_total{reason="FeeTooLow"} 1' in text


def test_pool_statistics_count_ages_and_tips() -> None:
    """Ages in ms; the floor is the percentile part alone."""
    moment = [0.0]
    node = build_node(DEV, None, now=lambda: moment[0])
    for nonce in (1, 2):
        ask(node, "submit_tx", tx=signed(nonce=nonce, per_byte=nonce + 1).hex(), nonce=nonce)
    moment[0] = 0.25
    found = ask(node, "mempool.stats", lane="consumer")
    assert (found["size"], found["age_p50"], found["age_p95"], read_fee_floor(found)) == (2, 250, 250, 3)
    assert found["fee_p50"] == found["fee_p90"] == 3 * 528
    assert ask(node, "mempool.stats", lane="industrial")["size"] == 0


def test_a_name_with_claim_routes_is_answered_before_all_gates() -> None:
    """A habit of the node."""
    assert ask(node_of(REAL), "no.claim_routes.at.all") == {"status": "ok"}


def test_headers_are_bounded_and_their_arguments_judged() -> None:
    """At most 200 for one call."""
    node = node_of()
    for _ in range(250):
        node.tick()
    assert node.ledger.height == 0  # mining is off
    node.switches.mining = True
    for _ in range(250):
        node.tick()
    assert len(ask(node, "light.headers", start=0, limit=10**6)) == 200
    assert [row["height"] for row in ask(node, "light.headers", start=248)] == [248, 249]
    with pytest.raises(Refused, match="invalid params"):
        ask(node, "light.headers", start=-1)


def test_a_poisoned_lock_drops_what_needs_the_chain() -> None:
    """N2: headers panic, mining stops, submissions say so."""
    node = node_of(replace(REAL, mining=True))
    node.tick()
    node.switches.poisoned = True
    node.tick()
    for method in ("light.headers", "light.latest_header"):
        with pytest.raises(Panicked):
            ask(node, method)
    assert ask(node, "submit_tx", tx=signed().hex(), nonce=1) == {"error": "lock poisoned"}
    assert ask(node, "balance", address="treasury") == {"amount": FUNDS}
    assert node.ledger.height == 1


def test_balance_answers_zero_for_an_unknown_address() -> None:
    """N15: only the ability `account` tells absent from empty."""
    node = node_of()
    assert ask(node, "balance", address="nobody") == {"amount": 0}
    assert ask(node, "account", address="nobody") is None


def test_a_fault_with_another_method_leaves_submissions_alone() -> None:
    """Each fault fits its method."""
    node = node_of()
    node.faults.add(Wrong.REFUSE, method="balance", code=-32603, message="internal")
    assert ask(node, "submit_tx", tx=signed().hex(), nonce=1) == {"status": "ok"}
    with pytest.raises(Refused):
        ask(node, "balance")
