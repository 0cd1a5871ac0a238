"""The verdicts of interfaces.md §3, judged from facts alone."""

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import breaker

from treasuryd.core.health import Facts, Health, Verdict, chain_check, judge, live, ready
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    BreakerMode,
    BreakerState,
    Height,
)

TREASURY = AccountId("treasury")
GRANTS = AccountId("grants")
FINE = Facts(
    started=True,
    stopping=False,
    task_alive=True,
    poll_seconds=5.0,
    last_tick_age_seconds=1.0,
    loop_fed_age_seconds=0.5,
    reported_height=Height(100),
    believed_height=Height(100),
    chain_age_seconds=2.0,
    breakers=(breaker(),),
    accounts=(Account(id=TREASURY),),
    owned=(TREASURY,),
    led=frozenset({TREASURY}),
)


def verdict(**changes: Any) -> Verdict:
    return judge(replace(FINE, **changes)).verdict


def test_nothing_wrong_is_ok() -> None:
    """Every check passes, and each gives its reason."""
    found = judge(FINE)
    assert found.verdict is Verdict.OK
    assert found.http_status == 200
    assert all(check.verdict is Verdict.OK and check.reason for check in found.checks)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"task_alive": False}, Verdict.FAIL, id="D35: executor task gone"),
        pytest.param({"started": False}, Verdict.FAIL, id="starting"),
        pytest.param({"stopping": True}, Verdict.FAIL, id="stopping"),
        pytest.param({"last_tick_age_seconds": None}, Verdict.FAIL, id="no tick yet"),
        pytest.param({"last_tick_age_seconds": 15.0}, Verdict.OK, id="exactly three polls"),
        pytest.param({"last_tick_age_seconds": 15.01}, Verdict.FAIL, id="older than three polls"),
        pytest.param({"store_failing": True}, Verdict.FAIL, id="store failing"),
        pytest.param({"store_error": "disk"}, Verdict.FAIL, id="store does not answer"),
        pytest.param({"chain_age_seconds": 121.0}, Verdict.DEGRADED, id="chain lagging"),
        pytest.param({"chain_age_seconds": None}, Verdict.DEGRADED, id="chain not read yet"),
        pytest.param({"reported_height": Height(101)}, Verdict.DEGRADED, id="head not believed"),
        pytest.param({"reported_height": Height(99)}, Verdict.OK, id="a lagging endpoint is no lie"),
        pytest.param({"endpoints_differ": "b is behind"}, Verdict.DEGRADED, id="a node stands still"),
        pytest.param({"led": frozenset()}, Verdict.DEGRADED, id="standby"),
        pytest.param({"owned": (TREASURY, GRANTS)}, Verdict.DEGRADED, id="one of two leases"),
        pytest.param({"signer_waits": "it forgot"}, Verdict.DEGRADED, id="the signer waits for a person"),
        pytest.param({"held_for_person": 1}, Verdict.DEGRADED, id="held for a person"),
        pytest.param({"ambiguous": 1}, Verdict.DEGRADED, id="ambiguous"),
        pytest.param(
            {"accounts": (Account(id=TREASURY, state=AccountState.FROZEN),)}, Verdict.FAIL, id="frozen"
        ),
        pytest.param(
            {"accounts": (Account(id=TREASURY, state=AccountState.QUARANTINED),)},
            Verdict.FAIL,
            id="quarantined",
        ),
        pytest.param({"breakers": (breaker(state=BreakerState.OPEN),)}, Verdict.DEGRADED, id="breaker open"),
        pytest.param(
            {"breakers": (breaker(state=BreakerState.HALF_OPEN, transitions=2),)},
            Verdict.DEGRADED,
            id="half open after it was open",
        ),
        pytest.param(
            {"breakers": (breaker(state=BreakerState.HALF_OPEN),)},
            Verdict.OK,
            id="cautious since the start",
        ),
        pytest.param(
            {"breakers": (breaker(state=BreakerState.OPEN, mode=BreakerMode.FORCED_OPEN),)},
            Verdict.DEGRADED,
            id="kill switch",
        ),
        pytest.param(
            {"breakers": (breaker(mode=BreakerMode.METRICS_ONLY),)}, Verdict.DEGRADED, id="metrics only"
        ),
    ],
)
def test_one_fact_decides_one_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    """A row of interfaces.md §3 each."""
    assert verdict(**changes) is expected


def test_the_chain_names_each_reason() -> None:
    """A node that stands still is named also where the whole chain does not move."""
    found = chain_check(replace(FINE, chain_age_seconds=121.0, endpoints_differ="b answers 20 blocks behind"))
    assert found.reason == "no new block for 121 s (limit 120 s), height 100; b answers 20 blocks behind"


def test_the_worst_check_is_the_verdict() -> None:
    """Degraded beside failed is failed, and 503."""
    found: Health = judge(replace(FINE, held_for_person=1, task_alive=False))
    assert (found.verdict, found.http_status) == (Verdict.FAIL, 503)


def test_a_short_poll_does_not_make_an_ordinary_tick_look_late() -> None:
    """Three polls of 0.2 s are less than one tick of a thousand payments: never below three seconds."""
    assert verdict(poll_seconds=0.2, last_tick_age_seconds=2.9) is Verdict.OK
    assert verdict(poll_seconds=0.2, last_tick_age_seconds=3.1) is Verdict.FAIL


def test_a_late_tick_names_the_last_error() -> None:
    """What an operator looks for first."""
    checks = judge(replace(FINE, last_tick_age_seconds=60.0, last_error="chain: timeout")).checks
    assert any("chain: timeout" in check.reason for check in checks)


def test_a_standby_is_ready_and_a_stopping_daemon_is_not() -> None:
    """Readiness asks for less than health."""
    assert ready(replace(FINE, led=frozenset())).verdict is Verdict.OK
    wrong: list[dict[str, Any]] = [{"started": False}, {"stopping": True}, {"store_failing": True}]
    wrong.append({"compared": False})  # with the signer's memory: it takes no order
    for changes in wrong:
        assert ready(replace(FINE, **changes)).verdict is Verdict.FAIL


def test_liveness_is_the_watchdogs() -> None:
    """Fed within a lease's time."""
    assert live(FINE).verdict is Verdict.OK
    assert live(replace(FINE, loop_fed_age_seconds=10.1)).verdict is Verdict.FAIL


def test_a_former_leader_does_not_say_that_the_chain_stands_still() -> None:
    """Nobody reads heads for it any more: its last one grows older for ever."""
    found = chain_check(replace(FINE, led=frozenset(), chain_age_seconds=3_600.0))
    assert found.verdict is Verdict.DEGRADED
    assert found.reason == "not read by a standby: ask the leader's /health"
