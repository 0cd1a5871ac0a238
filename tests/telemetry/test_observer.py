from dataclasses import replace

import pytest
from tests.telemetry.conftest import STORED, TREASURY, FakeOffice, Heard, Stopped, listening

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    CALL_SECONDS,
    MAX_ACCOUNTS,
    AccountId,
    AccountState,
    BaseUnits,
    BreakerState,
    CallOutcome,
    CallTally,
    DisbursementId,
    FreezeCause,
)
from treasuryd.errors import Corrupt
from treasuryd.ports import Observer
from treasuryd.telemetry.logs import Level, Log
from treasuryd.telemetry.observer import Telemetry


def test_it_is_an_observer(heard: Heard) -> None:
    """mypy holds the class to the port."""
    observer: Observer = heard.telemetry
    observer.saw()
    assert heard.lines == []


def test_one_event_is_one_line_and_one_count(heard: Heard) -> None:
    """Two renderings of one fact."""
    heard.telemetry.saw(
        Event(
            kind=EventKind.SEALED, account=TREASURY, ids=(DisbursementId(4), DisbursementId(5)), count=2,
            amount=BaseUnits(10), reason="payment", detail="text", fields={"term": 3},
        )
    )  # fmt: skip
    (line,) = heard.objects()
    line.pop("timestamp")
    assert line == {
        "event": "treasuryd.intent_sealed", "level": "info", "account": "treasury", "ids": [4, 5], "count": 2,
        "amount": 10, "reason": "payment", "detail": "text", "term": 3,
    }  # fmt: skip
    assert heard.sample("treasury_events_total", kind="intent_sealed") == 2


def test_a_page_is_visible_to_people_and_to_alerts(heard: Heard) -> None:
    """An alert rule watches the counter."""
    heard.telemetry.saw(Event(kind=EventKind.ACCOUNT_FROZEN, severity=Severity.PAGE, account=TREASURY))
    (line,) = heard.objects()
    assert line["level"] == "critical"
    assert line["page"] is True
    assert heard.sample("treasury_pages_total", kind="account_frozen") == 1
    assert heard.sample("treasury_pages_total", kind="intent_sealed") == 0


def test_every_kind_of_event_can_be_told(heard: Heard) -> None:
    """None is forgotten, none fails."""
    for kind in EventKind:
        for severity in Severity:
            heard.telemetry.saw(Event(kind=kind, severity=severity, seconds=(1.0,)))
    assert len(heard.lines) == len(EventKind) * len(Severity)
    assert {line["event"] for line in heard.objects()} == {f"treasuryd.{kind.value}" for kind in EventKind}
    assert heard.sample("treasury_telemetry_failures_total") == 0


def test_the_fields_of_an_event_cannot_hide_what_it_is_about(heard: Heard) -> None:
    """Account, ids and page are the event's own."""
    heard.telemetry.saw(
        Event(
            kind=EventKind.SENT,
            severity=Severity.PAGE,
            account=TREASURY,
            fields={"account": "x", "page": False},
        )
    )
    (line,) = heard.objects()
    assert (line["account"], line["page"]) == ("treasury", True)


def test_a_log_that_fails_does_not_fail_the_work() -> None:
    """The observer never raises: what it cannot digest is counted."""

    def broken(_: bytes) -> None:
        raise OSError("disk full")

    telemetry = Telemetry(Log("json", Level.DEBUG, broken))
    telemetry.saw(Event(kind=EventKind.SEALED), Event(kind=EventKind.SENT))
    assert telemetry.metrics.registry.get_sample_value("treasury_telemetry_failures_total") == 2
    assert telemetry.metrics.registry.get_sample_value("treasury_events_total", {"kind": "intent_sent"}) == 1


def test_the_level_can_change_while_running() -> None:
    """SIGHUP; and idle ticks are debug lines."""
    heard = listening(Level.INFO)
    heard.telemetry.saw(Event(kind=EventKind.TICKED, severity=Severity.DEBUG))
    assert heard.lines == []
    heard.telemetry.set_level("debug")
    heard.telemetry.saw(Event(kind=EventKind.TICKED, severity=Severity.DEBUG))
    assert len(heard.lines) == 1


# --- gauges ------------------------------------------------------------------------------------------------------


async def test_gauges_are_read_at_the_moment_of_the_scrape(heard: Heard) -> None:
    """D24: the breaker's gauges went stale on an early return; nothing is set here, everything is asked."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    place = {"endpoint": "local", "class": "send"}
    for state, value in ((BreakerState.CLOSED, 0), (BreakerState.OPEN, 1), (BreakerState.HALF_OPEN, 2)):
        office.state = state
        assert heard.sample("treasury_circuit_breaker_state", **place) == value
    assert heard.sample("treasury_circuit_breaker_failures", **place) == 5
    assert heard.sample("treasury_circuit_breaker_successes", **place) == 2
    assert heard.sample("treasury_circuit_breaker_transitions_total", **place) == 1
    assert heard.sample("treasury_circuit_breaker_rejections_total", **place) == 9
    office.leading = False
    assert heard.sample("treasury_executor_active", account="treasury") == 0


async def test_a_dead_executor_does_not_look_healthy(heard: Heard) -> None:
    """D35: the age of the last tick grows by itself; no gauge keeps its last value."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    assert heard.sample("treasury_executor_last_tick_seconds") == 49_998
    office.unix, office.tick_age = office.unix + 600, 602.0
    assert heard.sample("treasury_executor_last_tick_seconds") == 49_998
    office.tick_age = None
    assert heard.sample("treasury_executor_last_tick_seconds") == 0


async def test_every_declared_gauge_is_exported(heard: Heard) -> None:
    """D26: seven treasury metrics of the original were never emitted."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    heard.telemetry.saw(Event(kind=EventKind.TICKED, fields={"waiting_insufficient_funds": 4}))
    expected = {
        ("treasury_disbursement_backlog", "status", "queued"): 3,
        ("treasury_disbursement_backlog", "status", "draft"): 0,
        ("treasury_balance", "account", "treasury"): 777,
        ("treasury_executor_active", "account", "treasury"): 1,
        ("treasury_lease_valid_seconds", "account", "treasury"): 6.5,
        ("treasury_lease_term", "account", "treasury"): 6,
        ("treasury_executor_lease_released", "account", "treasury"): 0,
        ("treasury_executor_lease_last_nonce", "account", "treasury"): 4,
        ("treasury_account_frozen", "account", "treasury"): 0,
        ("treasury_outcome_unknown", "account", "treasury"): 1,
        ("treasury_disbursements_waiting", "hold", "insufficient_funds"): 4,
        ("treasury_disbursements_held", "hold", "refused"): 2,
        ("treasury_disbursements_held", "hold", "poisoned"): 0,
        ("treasury_disbursements_held", "hold", "ambiguous"): 1,
        ("treasury_disbursement_scheduled_oldest_age_seconds", "", ""): 100,
        ("treasury_executor_pending_matured", "", ""): 7,
        ("treasury_executor_staged_intents", "", ""): 5,
        ("treasury_executor_last_submitted_nonce", "", ""): 4,
        ("treasury_executor_last_success_seconds", "", ""): 0,
        ("treasury_executor_last_error_seconds", "", ""): 0,
        ("treasury_executor_ready", "", ""): 1,
        ("treasury_chain_height", "", ""): 120,
        ("treasury_chain_reported_height", "", ""): 121,
        ("treasury_chain_lag_seconds", "", ""): 1.5,
        ("treasury_chain_endpoint_lag_blocks", "", ""): 20,
        ("treasury_chain_endpoints_differ_seconds", "", ""): 30,
        ("treasury_chain_settled_epoch", "", ""): 10,
        ("treasury_chain_base_fee", "", ""): 3,
        ("treasury_kill_switch", "", ""): 1,
        ("treasury_store_readable", "", ""): 1,
        ("treasury_store_size_bytes", "", ""): 4096,
        ("treasury_store_free_bytes", "", ""): 1_000_000,
        ("treasury_journal_head", "", ""): 41,
        ("treasury_journal_copy_lag_entries", "", ""): 0,
        ("backup_last_success_timestamp_seconds", "kind", "journal"): 50_000,
        ("backup_size_bytes", "kind", "journal"): 900,
        ("backup_duration_seconds", "kind", "journal"): 0.25,
        ("treasuryd_event_loop_lag_seconds", "", ""): 0,
        ("treasury_clock_skew_seconds", "", ""): 0,
    }
    for (name, label_name, value), sample in expected.items():
        assert heard.sample(name, **({label_name: value} if label_name else {})) == sample, name
    body = heard.telemetry.exposition("")[1].decode()
    assert 'treasuryd_build_info{python="3.' in body
    assert 'treasury_store_info{journal_mode="persist"' in body
    assert "process_resident_memory_bytes" in body
    assert 'status="finalized"' in body
    assert 'treasury_disbursement_backlog{status="finalized"}' not in body
    assert 'treasury_disbursement_backlog{status="rolled_back"}' not in body


@pytest.mark.parametrize(
    ("cause", "unexplained"),
    [
        (FreezeCause.FOREIGN_NONCE, 1),
        (FreezeCause.UNEXPLAINED_FALL, 1),
        (FreezeCause.PERSON, 0),
        (FreezeCause.DEEP_REORG, 0),
    ],
)
async def test_a_frozen_account_says_whether_money_moved(
    heard: Heard, cause: FreezeCause, unexplained: int
) -> None:
    """Two alerts with two urgencies."""
    office = FakeOffice()
    office.account(state=AccountState.FROZEN, cause=cause.value)
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    assert heard.sample("treasury_account_frozen", account="treasury") == 1
    assert heard.sample("treasury_unexplained_movement", account="treasury") == unexplained
    assert heard.sample("treasury_account_quarantined", account="treasury") == 0
    office.account(state=AccountState.QUARANTINED)
    office.boot += 5
    await heard.telemetry.refresh()
    assert heard.sample("treasury_account_quarantined", account="treasury") == 1


async def test_an_account_the_chain_does_not_know_has_no_balance(heard: Heard) -> None:
    """Absent is not zero (N15); nor has one that nobody asked for a lease of a term."""
    office = FakeOffice()
    office.account(balance=None, term=None)
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    assert heard.sample("treasury_balance", account="treasury") is None
    assert heard.sample("treasury_lease_term", account="treasury") is None
    assert heard.sample("treasury_executor_lease_released", account="treasury") is None


async def test_the_oldest_payout_grows_older_between_two_readings(heard: Heard) -> None:
    """A stuck payout never enters the lag histogram: its age is made at the scrape; without one it is 0."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    office.unix += 7_200
    assert heard.sample("treasury_disbursement_scheduled_oldest_age_seconds") == 7_300
    office.unix = 1.0  # somebody set the clock back
    assert heard.sample("treasury_disbursement_scheduled_oldest_age_seconds") == 0
    office.stored, office.boot = replace(STORED, oldest_payable_at=None), office.boot + 1
    await heard.telemetry.refresh()
    assert heard.sample("treasury_disbursement_scheduled_oldest_age_seconds") == 0


async def test_the_journals_copy_is_a_backup_as_long_as_it_lacks_nothing(heard: Heard) -> None:
    """Once it falls behind, the time of the last success stands still; an idle daemon's goes on."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    office.boot, office.unix = office.boot + 500, office.unix + 500
    await heard.telemetry.refresh()
    assert heard.sample("backup_last_success_timestamp_seconds", kind="journal") == 50_500
    assert STORED.copy is not None
    office.stored = replace(STORED, copy=replace(STORED.copy, behind=3))
    office.boot, office.unix = office.boot + 500, office.unix + 500
    await heard.telemetry.refresh()
    assert heard.sample("backup_last_success_timestamp_seconds", kind="journal") == 50_500
    assert heard.sample("treasury_journal_copy_lag_entries") == 3


async def test_a_standby_says_nothing_of_a_copy_that_the_leader_writes(heard: Heard) -> None:
    """Its own place in it stands still, and would be an alarm."""
    office = FakeOffice(leading=False)
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    assert heard.sample("backup_last_success_timestamp_seconds", kind="journal") is None
    assert heard.sample("treasury_journal_copy_lag_entries") is None
    assert heard.sample("treasury_lease_valid_seconds", account="treasury") == 0


async def test_the_wall_clock_is_held_against_the_boot_clock(heard: Heard) -> None:
    """Signed: set forward is positive, set back negative; that time passes is neither."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    office.boot, office.unix = office.boot + 60, office.unix + 60
    assert heard.sample("treasury_clock_skew_seconds") == 0
    office.unix -= 90
    assert heard.sample("treasury_clock_skew_seconds") == -90


async def test_a_loop_that_comes_back_late_is_told_for_ten_seconds(heard: Heard) -> None:
    """The worst of the window; then it is over."""
    office = FakeOffice(delays=[0.0, 1.5, 0.1])
    heard.telemetry.watch(office)
    with pytest.raises(Stopped):
        await heard.telemetry.pulse()
    assert heard.sample("treasuryd_event_loop_lag_seconds") == pytest.approx(1.5)
    office.boot += 9.7
    assert heard.sample("treasuryd_event_loop_lag_seconds") == pytest.approx(0.1)
    office.boot += 10
    assert heard.sample("treasuryd_event_loop_lag_seconds") == 0


async def test_calls_are_counted_and_timed_per_endpoint_and_class(heard: Heard) -> None:
    """A bucket counts everything below it; what took longer than the last bound is in infinity alone."""
    within = tuple(2 if bound == 0.01 else 3 if bound == 10.0 else 0 for bound in CALL_SECONDS)
    office = FakeOffice(
        calls=CallTally(
            outcomes={CallOutcome.SUCCESS: 5, CallOutcome.REJECTED: 7}, within=within, made=6, seconds=150.0
        )
    )
    heard.telemetry.watch(office)
    place = {"endpoint": "local", "call_class": "send"}
    assert heard.sample("treasury_chain_calls_total", **place, outcome="success") == 5
    assert heard.sample("treasury_chain_calls_total", **place, outcome="rejected") == 7
    assert heard.sample("treasury_chain_calls_total", **place, outcome="failure") == 0
    name = "treasury_chain_call_duration_seconds"
    assert heard.sample(f"{name}_bucket", **place, le="0.005") == 0
    assert heard.sample(f"{name}_bucket", **place, le="0.01") == 2
    assert heard.sample(f"{name}_bucket", **place, le="10.0") == 5
    assert heard.sample(f"{name}_bucket", **place, le="+Inf") == 6
    assert heard.sample(f"{name}_count", **place) == 6
    assert heard.sample(f"{name}_sum", **place) == 150


async def test_more_accounts_than_there_may_be_are_not_exported(heard: Heard) -> None:
    """The published bound holds even for a configuration that got past its check."""
    office = FakeOffice(accounts=tuple(AccountId(f"a{number}") for number in range(MAX_ACCOUNTS + 9)))
    heard.telemetry.watch(office)
    assert heard.sample("treasury_executor_active", account=f"a{MAX_ACCOUNTS - 1}") == 0
    assert heard.sample("treasury_executor_active", account=f"a{MAX_ACCOUNTS}") is None


# --- the store -----------------------------------------------------------------------------------------------------


async def test_the_store_is_asked_at_most_once_a_second(heard: Heard) -> None:
    """However many scrape."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    for _ in range(50):
        await heard.telemetry.refresh()
    assert office.readings == 1
    office.boot += 1
    await heard.telemetry.refresh()
    assert office.readings == 2


async def test_a_store_that_answers_slowly_is_asked_seldom(heard: Heard) -> None:
    """Metrics never take more than a fiftieth of its time, whatever the number of waiting items."""
    office = FakeOffice(reading_seconds=0.5)
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    office.boot += 24.9
    await heard.telemetry.refresh()
    assert office.readings == 1
    office.boot += 0.2
    await heard.telemetry.refresh()
    assert office.readings == 2


@pytest.mark.parametrize("failure", [Corrupt("the disk is gone"), OSError("no such device")])
async def test_a_store_that_cannot_be_read_is_told_and_not_remembered(
    heard: Heard, failure: Exception
) -> None:
    """A scrape raises nothing; old numbers do not stay."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    await heard.telemetry.refresh()
    office.failing, office.boot = failure, office.boot + 1
    await heard.telemetry.refresh()
    assert heard.sample("treasury_store_readable") == 0
    assert heard.sample("treasury_disbursement_backlog", status="queued") is None
    assert heard.sample("treasury_executor_pending_matured") is None
    assert heard.sample("treasury_executor_active", account="treasury") == 1
    assert heard.sample("treasury_telemetry_failures_total") == 1


async def test_before_anything_runs_only_the_build_is_known(heard: Heard) -> None:
    """`/metrics` answers during the start."""
    await heard.telemetry.refresh()
    body = heard.telemetry.exposition("")[1]
    assert b"treasuryd_build_info" in body
    assert b"treasury_executor_last_tick_seconds" not in body


async def test_a_former_leader_says_nothing_of_what_waited_when_it_led(heard: Heard) -> None:
    """A standby plans nothing: what it saw when it led would page for missing money for ever."""
    office = FakeOffice()
    heard.telemetry.watch(office)
    heard.telemetry.saw(Event(kind=EventKind.TICKED, fields={"waiting_insufficient_funds": 2}))
    assert heard.sample("treasury_disbursements_waiting", hold="insufficient_funds") == 2
    office.leading = False
    assert heard.sample("treasury_disbursements_waiting", hold="insufficient_funds") == 0
