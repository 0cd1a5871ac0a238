"""
The one registry of the process, and what each event adds to it.

Counters and histograms grow with events; gauges are read at the moment of the scrape (`moment.py`), so that none can
keep a value from before the executor died. Names are those that operators and dashboards of the original know.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.findings import Finding
from treasuryd.core.model import Hold, Meaning, Status
from treasuryd.telemetry import rendering
from treasuryd.telemetry.labels import (
    DEPENDENCY_FAILURE_OF_HOLD,
    EXECUTION_ERROR_OF_HOLD,
    EXECUTION_ERROR_OF_MEANING,
    CallError,
    ExecutionError,
    FeeKind,
    LeaseChange,
    Result,
    Stage,
    TickError,
    label,
    member,
)
from treasuryd.telemetry.registry import counted
from treasuryd.telemetry.registry.family import Family, Kind

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series beside every counter, which nobody reads


Made = TypeVar("Made", Counter, Histogram)


class Metrics:
    """
    What is counted.

    Guarantees: every label is a member of a closed set; every child of a closed set exists from the start, so that a
    rate over the first event is not lost.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self.disbursements = self._counter(counted.DISBURSEMENTS)
        self.execution_errors = self._counter(counted.EXECUTION_ERRORS)
        self.dependency_failures = self._counter(counted.DEPENDENCY_FAILURES)
        self.results = self._counter(counted.RESULTS)
        self.tick_errors = self._counter(counted.TICK_ERRORS)
        self.call_errors = self._counter(counted.CALL_ERRORS)
        self.replies = self._counter(counted.REPLIES)
        self.violations = self._counter(counted.VIOLATIONS)
        self.audited = self._counter(counted.AUDITED)
        self.passes = self._counter(counted.AUDIT_PASSES)
        self.events = self._counter(counted.EVENTS)
        self.pages = self._counter(counted.PAGES)
        self.failures = self._counter(counted.TELEMETRY_FAILURES)
        self.paid = self._counter(counted.PAID)
        self.fees = self._counter(counted.FEES_PAID)
        self.lease_changes = self._counter(counted.LEASE_CHANGES)
        self.tick_duration = self._histogram(counted.TICK_DURATION)
        self.lag = self._histogram(counted.LAG)
        self.stages = self._histogram(counted.STAGES)

    def count(self, event: Event) -> None:
        """Add one event."""
        self.events.labels(event.kind.value).inc(event.count)
        if event.severity is Severity.PAGE:
            self.pages.labels(event.kind.value).inc()
        effect = _EFFECTS.get(event.kind)
        if effect is not None:
            effect(self, event)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Write everything in the format that `accept` asks for: OpenMetrics 1.0, else the text format 0.0.4."""
        if _wants_openmetrics(accept):
            return _OPENMETRICS_TYPE, rendering.openmetrics(self.registry.collect())
        return _TEXT_TYPE, rendering.text(self.registry.collect())

    def _counter(self, family: Family) -> Counter:
        assert family.kind is Kind.COUNTER, family.name
        return self._complete(
            Counter(family.base, family.help, family.label_names, registry=self.registry), family
        )

    def _histogram(self, family: Family) -> Histogram:
        buckets = family.buckets
        return self._complete(
            Histogram(family.name, family.help, family.label_names, buckets=buckets, registry=self.registry),
            family,
        )

    @staticmethod
    def _complete(metric: Made, family: Family) -> Made:
        """Make every child of the closed sets."""
        for place in family.places() if family.labels else ():
            metric.labels(*place)
        return metric


_TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def _wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is accepted, and at least as gladly as plain text (RFC 9110 §12.5.1)."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in weights and not any(one.replace(" ", "") == "version=0.0.1" for one in parameters):
            weights[kind] = max(weights[kind], _weight(parameters))
    return weights["application/openmetrics-text"] > 0 and (
        weights["application/openmetrics-text"] >= weights["text/plain"]
    )


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


# --- what an event adds ------------------------------------------------------------------------------------------


def _submitted(metrics: Metrics, event: Event) -> None:
    metrics.disbursements.labels(Status.DRAFT.value).inc(event.count)


def _advanced(metrics: Metrics, event: Event) -> None:
    status = member(Status, event.reason)
    if status is not None:
        metrics.disbursements.labels(status.value).inc(event.count)


def _reached(metrics: Metrics, stage: Stage, event: Event) -> None:
    for seconds in event.step_seconds:
        metrics.stages.labels(stage.value).observe(max(0.0, seconds))


def _staged(metrics: Metrics, event: Event) -> None:
    _reached(metrics, Stage.STAGED, event)


def _included(metrics: Metrics, event: Event) -> None:
    kind = member(FeeKind, event.reason)
    if kind is not None:
        metrics.fees.labels(kind.value).inc(event.fee or 0)
    if kind is not FeeKind.PAYMENT:
        return
    _reached(metrics, Stage.INCLUDED, event)
    metrics.disbursements.labels(Status.EXECUTED.value).inc(event.count)
    metrics.results.labels(Result.SUCCESS.value).inc(event.count)
    metrics.paid.inc(event.amount or 0)
    for seconds in event.seconds:
        metrics.lag.observe(max(0.0, seconds))


def _finalized(metrics: Metrics, event: Event) -> None:
    metrics.disbursements.labels(Status.FINALIZED.value).inc(event.count)
    _reached(metrics, Stage.FINALIZED, event)


def _taken_back(metrics: Metrics, event: Event) -> None:
    metrics.disbursements.labels(Status.TIMELOCKED.value).inc(event.count)


def _rolled_back(metrics: Metrics, event: Event) -> None:
    metrics.disbursements.labels(Status.ROLLED_BACK.value).inc(event.count)
    metrics.results.labels(Result.CANCELLED.value).inc(event.count)
    if event.reason == ExecutionError.QUORUM_NOT_REACHED:
        metrics.execution_errors.labels(ExecutionError.QUORUM_NOT_REACHED.value).inc(event.count)


def _held(metrics: Metrics, event: Event) -> None:
    hold = member(Hold, event.reason)
    error = ExecutionError.OTHER if hold is None else EXECUTION_ERROR_OF_HOLD.get(hold, ExecutionError.OTHER)
    metrics.execution_errors.labels(error.value).inc(event.count)
    failure = None if hold is None else DEPENDENCY_FAILURE_OF_HOLD.get(hold)
    if failure is not None:
        metrics.dependency_failures.labels(failure.value).inc(event.count)


def _sent(metrics: Metrics, event: Event) -> None:
    _reached(metrics, Stage.SENT, event)
    meaning = member(Meaning, event.reason)
    if meaning is None:
        return
    metrics.replies.labels(meaning.value).inc(event.count)
    error = EXECUTION_ERROR_OF_MEANING.get(meaning)
    if error is not None:
        metrics.execution_errors.labels(error.value).inc(event.count)


def _went_wrong(metrics: Metrics, event: Event) -> None:
    metrics.execution_errors.labels(ExecutionError.EXECUTION_FAILED.value).inc(event.count)


def _ticked(metrics: Metrics, event: Event) -> None:
    for seconds in event.seconds:
        metrics.tick_duration.observe(seconds)


def _tick_failed(metrics: Metrics, event: Event) -> None:
    metrics.tick_errors.labels(label(TickError, event.reason)).inc(event.count)
    metrics.results.labels(Result.ERROR.value).inc(event.count)


def _call_failed(metrics: Metrics, event: Event) -> None:
    metrics.call_errors.labels(label(CallError, event.reason)).inc(event.count)


def _audited(metrics: Metrics, event: Event) -> None:
    metrics.audited.inc(event.count)
    metrics.passes.inc()


def _violated(metrics: Metrics, event: Event) -> None:
    finding = member(Finding, event.reason)
    if finding is not None:
        metrics.violations.labels(finding.value).inc()


def _lease_claimed(metrics: Metrics, event: Event) -> None:
    metrics.lease_changes.labels(LeaseChange.CLAIMED.value).inc(event.count)


def _lease_lost(metrics: Metrics, event: Event) -> None:
    metrics.lease_changes.labels(LeaseChange.LOST.value).inc(event.count)


def _lease_released(metrics: Metrics, event: Event) -> None:
    metrics.lease_changes.labels(LeaseChange.RELEASED.value).inc(event.count)


_EFFECTS: Final[Mapping[EventKind, Callable[[Metrics, Event], None]]] = {
    EventKind.SUBMITTED: _submitted,
    EventKind.ADVANCED: _advanced,
    EventKind.STAGED: _staged,
    EventKind.INCLUDED: _included,
    EventKind.FINALIZED: _finalized,
    EventKind.REORGED: _taken_back,
    EventKind.REOPENED: _taken_back,
    EventKind.ROLLED_BACK: _rolled_back,
    EventKind.HELD: _held,
    EventKind.SENT: _sent,
    EventKind.VOIDED: _went_wrong,
    EventKind.AMBIGUOUS: _went_wrong,
    EventKind.TICKED: _ticked,
    EventKind.TICK_FAILED: _tick_failed,
    EventKind.CALL_FAILED: _call_failed,
    EventKind.LEASE_CLAIMED: _lease_claimed,
    EventKind.LEASE_LOST: _lease_lost,
    EventKind.LEASE_RELEASED: _lease_released,
    EventKind.AUDITED: _audited,
    EventKind.AUDIT_VIOLATION: _violated,
}
