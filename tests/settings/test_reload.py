from typing import Any

import pytest

from treasuryd.settings import Changes, Settings, what_may_change

KEY = "a" * 64
OTHER = "b" * 64


def after(**values: Any) -> Changes:
    base: dict[str, Any] = {"governance": {"operators": {"keys": [KEY]}}}
    return what_may_change(Settings(**base), Settings(**{**base, **values}))


def test_nothing_changed_is_nothing_to_do() -> None:
    """SIGHUP without an edit."""
    assert after() == Changes()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"log": {"level": "debug"}}, "log.level"),
        ({"executor": {"poll_seconds": 1}}, "executor.poll_seconds"),
        ({"chain": {"fee_ceiling": 5}}, "chain.fee_ceiling"),
        ({"breaker": {"failure_threshold": 9}}, "breaker.failure_threshold"),
        ({"intake": {"max_transfer": 9}}, "intake.max_transfer"),
        (
            {"governance": {"operators": {"keys": [KEY], "retired": [KEY]}}},
            "governance.operators.retired",
        ),
    ],
)
def test_limits_and_pace_may_change_while_running(values: dict[str, Any], name: str) -> None:
    """What an operator tunes at night without a restart."""
    assert after(**values) == Changes(allowed=(name,))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"http": {"port": 1}}, "http.port"),
        ({"state_folder": "/elsewhere"}, "state_folder"),
        ({"accounts": [{"name": "a"}]}, "accounts"),
        ({"chain": {"finality_depth": 1}}, "chain.finality_depth"),
        ({"lease": {"candidate_wait_seconds": 20}}, "lease.candidate_wait_seconds"),
        ({"signer": {"max_amount": 1}}, "signer.max_amount"),
        ({"governance": {"operators": {"keys": [KEY, OTHER]}}}, "governance.operators.keys"),
    ],
)
def test_what_safety_rests_on_needs_a_restart(values: dict[str, Any], name: str) -> None:
    """Depth, places, keys, leases: half of the process must not work under another rule than the other half."""
    assert after(**values) == Changes(refused=(name,))


def test_both_lists_are_told() -> None:
    """The caller says in the log what it refused."""
    assert after(log={"level": "debug"}, http={"port": 1}) == Changes(
        allowed=("log.level",), refused=("http.port",)
    )
