import re
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.telemetry.conftest import Heard, listening

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.findings import Finding
from treasuryd.core.model import BaseUnits, Hold, Meaning, Status, VariantKind
from treasuryd.telemetry.labels import (
    CallError,
    DependencyFailure,
    ExecutionError,
    Result,
    TickError,
    label,
    member,
)

CLOSED: tuple[type[StrEnum], ...] = (
    Status, ExecutionError, DependencyFailure, Result, TickError, CallError, Meaning, EventKind, Hold, Finding,
)  # fmt: skip
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
ALLOWED = {one.value for kind in CLOSED for one in kind}


def series(heard: Heard) -> set[str]:
    """Every series as it is exported, without its value."""
    body = heard.telemetry.exposition("")[1].decode()
    return {line.rpartition(" ")[0] for line in body.splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize(
    ("event", "name", "labels"),
    [
        (Event(kind=EventKind.SUBMITTED, count=3), "governance_disbursements_total", {"status": "draft"}),
        (
            Event(kind=EventKind.ADVANCED, reason="queued", count=3),
            "governance_disbursements_total",
            {"status": "queued"},
        ),
        (
            Event(kind=EventKind.INCLUDED, reason=VariantKind.PAYMENT, count=3),
            "governance_disbursements_total",
            {"status": "executed"},
        ),
        (
            Event(kind=EventKind.FINALIZED, count=3),
            "governance_disbursements_total",
            {"status": "finalized"},
        ),
        (
            Event(kind=EventKind.REORGED, count=3),
            "governance_disbursements_total",
            {"status": "timelocked"},
        ),
        (
            Event(kind=EventKind.ROLLED_BACK, count=3, reason="x"),
            "governance_disbursements_total",
            {"status": "rolled_back"},
        ),
        (
            Event(kind=EventKind.ROLLED_BACK, count=3, reason="quorum_not_reached"),
            "treasury_execution_errors_total",
            {"reason": "quorum_not_reached"},
        ),
        (
            Event(kind=EventKind.HELD, count=3, reason=Hold.DEPENDENCY_FAILED),
            "treasury_dependency_failures_total",
            {"failure_type": "rolled_back_dependency"},
        ),
        (
            Event(kind=EventKind.HELD, count=3, reason=Hold.DEPENDENCY_CIRCULAR),
            "treasury_execution_errors_total",
            {"reason": "circular_dependency"},
        ),
        (
            Event(kind=EventKind.SENT, count=3, reason=Meaning.CONTENT_REFUSED),
            "treasury_execution_errors_total",
            {"reason": "invalid_target"},
        ),
        (
            Event(kind=EventKind.SENT, count=3, reason=Meaning.ACCEPTED),
            "treasury_broadcast_replies_total",
            {"meaning": "accepted"},
        ),
        (Event(kind=EventKind.AMBIGUOUS, count=3), "treasury_execution_errors_total", {"reason": "execution_failed"}),
        (
            Event(kind=EventKind.TICK_FAILED, count=3, reason="fenced"),
            "treasury_executor_errors_total",
            {"reason": "fenced"},
        ),
        (Event(kind=EventKind.TICK_FAILED, count=3), "treasury_executor_result_total", {"result": "error"}),
        (
            Event(kind=EventKind.CALL_FAILED, count=3, reason="malformed"),
            "treasury_chain_call_errors_total",
            {"reason": "malformed"},
        ),
        (Event(kind=EventKind.SEALED, count=3), "treasury_events_total", {"kind": "intent_sealed"}),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Event) else None,
)  # fmt: skip
def test_an_event_adds_its_rows_to_its_counter(
    heard: Heard, event: Event, name: str, labels: dict[str, str]
) -> None:
    """One event may stand for many rows."""
    before = heard.sample(name, **labels)
    assert before == 0, "every member of a closed set exists from the start"
    heard.telemetry.saw(event)
    assert heard.sample(name, **labels) == 3


def test_a_cancelled_intent_pays_nobody(heard: Heard) -> None:
    """An included cancel variant is no executed disbursement."""
    heard.telemetry.saw(Event(kind=EventKind.INCLUDED, reason=VariantKind.CANCEL, amount=BaseUnits(1)))
    assert heard.sample("governance_disbursements_total", status="executed") == 0
    assert heard.sample("treasury_paid_base_units_total") == 0


def test_durations_land_in_buckets_fit_for_their_purpose(heard: Heard) -> None:
    """The original's lag could never exceed ten seconds, whatever happened."""
    heard.telemetry.saw(
        Event(kind=EventKind.TICKED, seconds=(0.003,)),
        Event(kind=EventKind.INCLUDED, reason=VariantKind.PAYMENT, seconds=(7_000.0, 2.0), count=2),
    )
    assert heard.sample("treasury_executor_tick_duration_seconds_bucket", le="0.005") == 1
    assert heard.sample("treasury_executor_tick_duration_seconds_bucket", le="0.0025") == 0
    assert heard.sample("treasury_disbursement_lag_seconds_bucket", le="3600.0") == 1
    assert heard.sample("treasury_disbursement_lag_seconds_bucket", le="7200.0") == 2


HOSTILE = st.text(max_size=200) | st.sampled_from(
    ["nonce gap (code 3)", 'x"} 1\nforged{a="', "circular dependency stale", "\udc80", "queued\n"]
)


@given(st.sampled_from(list(EventKind)), HOSTILE, HOSTILE, st.dictionaries(HOSTILE, HOSTILE, max_size=3))
def test_hostile_text_adds_no_series(
    kind: EventKind, reason: str, detail: str, fields: dict[str, str]
) -> None:
    """D26: error text is no label, so a hostile node cannot grow the exposition."""
    heard = _SHARED
    heard.telemetry.saw(Event(kind=kind, severity=Severity.PAGE, reason=reason, detail=detail, fields=fields))
    assert series(heard) == _SERIES


_SHARED = listening()
_SERIES = series(_SHARED)


def test_every_label_is_a_member_of_a_closed_set(heard: Heard) -> None:
    """Of the counters; those of gauges are names of the configuration."""
    for line in series(heard):
        for name, value in re.findall(r'(\w+)="([^"]*)"', line):
            assert name == "le" or value in ALLOWED or name in {"version", "python", "sqlite"}, line


def test_an_error_class_does_not_depend_on_the_message(heard: Heard) -> None:
    """D40: "circular dependency" was filed as stale because the text said so; a reworded message changes nothing."""
    for detail in ("circular dependency", "stale dependency", "insufficient funds", ""):
        heard.telemetry.saw(Event(kind=EventKind.HELD, reason=Hold.DEPENDENCY_CIRCULAR, detail=detail))
    assert heard.sample("treasury_dependency_failures_total", failure_type="circular") == 4
    assert heard.sample("treasury_dependency_failures_total", failure_type="stale") == 0


def test_each_error_type_has_its_own_reason() -> None:
    """D40: classes are members; text that is no member is `other`, and never guessed at."""
    assert label(TickError, "fenced") == "fenced"
    assert label(TickError, "fenced by another") == "other"
    assert label(CallError, "a timeout, surely") == "other"
    assert member(Hold, "nothing") is None


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        (
            PROMETHEUS,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=0", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=garbage", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_negotiated(heard: Heard, accept: str, expected: str) -> None:
    """Prometheus asks for OpenMetrics; a person with curl gets text."""
    kind, body = heard.telemetry.exposition(accept)
    assert kind == expected
    assert body.endswith(b"# EOF\n") is kind.startswith("application/openmetrics")
    assert b"governance_disbursements" in body
