import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.telemetry.conftest import Heard, listening

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BaseUnits, Hold, Meaning, VariantKind
from treasuryd.telemetry.labels import (
    CallError,
    FeeKind,
    Stage,
    TickError,
    label,
    member,
)

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


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


@pytest.mark.parametrize("kind", FeeKind)
def test_fees_are_told_by_what_they_were_paid_for(heard: Heard, kind: FeeKind) -> None:
    """A cancellation and a filler cost a fee, too, and pay nobody."""
    heard.telemetry.saw(
        Event(kind=EventKind.INCLUDED, reason=kind, amount=BaseUnits(1_000), fee=BaseUnits(7), count=2)
    )
    for one in FeeKind:
        assert heard.sample("treasury_fees_paid_base_units_total", kind=one.value) == (
            7 if one is kind else 0
        )
    paid = 1_000 if kind is FeeKind.PAYMENT else 0
    assert heard.sample("treasury_paid_base_units_total") == paid


@pytest.mark.parametrize(
    ("kind", "reason", "stage"),
    [
        (EventKind.STAGED, "", "staged"),
        (EventKind.SENT, "accepted", "sent"),
        (EventKind.INCLUDED, "payment", "included"),
        (EventKind.FINALIZED, "", "finalized"),
    ],
)
def test_each_stage_is_timed_from_the_one_before(
    heard: Heard, kind: EventKind, reason: str, stage: str
) -> None:
    """A wall clock that was set back makes no negative duration."""
    heard.telemetry.saw(Event(kind=kind, reason=reason, count=2, step_seconds=(-4.0, 8.0)))
    name = "treasury_disbursement_stage_seconds"
    assert heard.sample(f"{name}_count", stage=stage) == 2
    assert heard.sample(f"{name}_sum", stage=stage) == 8
    assert heard.sample(f"{name}_bucket", stage=stage, le="5.0") == 1
    assert sum(heard.sample(f"{name}_count", stage=one.value) or 0 for one in Stage) == 2


def test_a_cancel_variant_in_a_block_is_no_stage_of_a_payment(heard: Heard) -> None:
    """What never was to be paid has no latency."""
    heard.telemetry.saw(Event(kind=EventKind.INCLUDED, reason="cancel", seconds=(5.0,), step_seconds=(5.0,)))
    assert heard.sample("treasury_disbursement_stage_seconds_count", stage="included") == 0
    assert heard.sample("treasury_disbursement_lag_seconds_count") == 0


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (EventKind.LEASE_CLAIMED, "claimed"),
        (EventKind.LEASE_LOST, "lost"),
        (EventKind.LEASE_RELEASED, "released"),
    ],
)
def test_changes_of_a_lease_are_counted(heard: Heard, kind: EventKind, change: str) -> None:
    """Failovers show as claims and losses."""
    heard.telemetry.saw(Event(kind=kind))
    assert heard.sample("treasury_lease_changes_total", change=change) == 1


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
