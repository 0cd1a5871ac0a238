"""
The one registry of the process, and what each event adds to it.

Counters and histograms grow with events; gauges are read at the moment of the scrape (`moment.py`), so that none can
keep a value from before the executor died. Names are those that operators and dashboards of the original know.
"""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client import exposition as text
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.process_collector import ProcessCollector

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.findings import Finding
from treasuryd.core.model import Hold, Meaning, Status, VariantKind
from treasuryd.telemetry.labels import (
    DEPENDENCY_FAILURE_OF_HOLD,
    EXECUTION_ERROR_OF_HOLD,
    EXECUTION_ERROR_OF_MEANING,
    CallError,
    DependencyFailure,
    ExecutionError,
    Result,
    TickError,
    label,
    member,
)

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series beside every counter, which nobody reads

# A tick of an idle daemon takes a millisecond, one with a batch of 1,000 half a second; above 10 s the lease is lost.
TICK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# From staging to the block: a second on a good day, hours in an outage, days when funds are missing.
LAG_BUCKETS: Final = (
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0, 604_800.0,
)  # fmt: skip


class Metrics:
    """
    What is counted.

    Guarantees: every label is a member of a closed set; every child of a closed set exists from the start, so that a
    rate over the first event is not lost.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        new = self._counter
        self.disbursements = new(
            "governance_disbursements_total", "Disbursements that reached a status.", "status", Status
        )
        self.execution_errors = new(
            "treasury_execution_errors_total", "Why payments did not go on.", "reason", ExecutionError
        )
        self.dependency_failures = new(
            "treasury_dependency_failures_total",
            "Dependencies that can never be satisfied.",
            "failure_type",
            DependencyFailure,
        )
        self.results = new(
            "treasury_executor_result_total", "How the executor's work ended.", "result", Result
        )
        self.tick_errors = new(
            "treasury_executor_errors_total",
            "Ticks that failed, and alarms of the signer.",
            "reason",
            TickError,
        )
        self.call_errors = new(
            "treasury_chain_call_errors_total", "Calls to nodes that failed.", "reason", CallError
        )
        self.replies = new(
            "treasury_broadcast_replies_total", "What nodes answered to broadcasts.", "meaning", Meaning
        )
        self.violations = new(
            "treasury_audit_violations_total", "What the settlement audit found wrong.", "finding", Finding
        )
        self.audited = Counter(
            "treasury_audited_disbursements_total",
            "Disbursements that the settlement audit looked at, in whole passes.",
            registry=self.registry,
        )
        self.passes = Counter(
            "treasury_audit_passes_total",
            "How often the settlement audit has looked at everything.",
            registry=self.registry,
        )
        self.events = new("treasury_events_total", "Facts by kind.", "kind", EventKind)
        self.pages = new("treasury_pages_total", "Facts that a person has to look at now.", "kind", EventKind)
        self.failures = Counter(
            "treasury_telemetry_failures_total", "Events or scrapes that telemetry itself failed on.",
            registry=self.registry,
        )  # fmt: skip
        self.paid = Counter(
            "treasury_paid_base_units_total",
            "Base units of included payments, without fees.",
            registry=self.registry,
        )
        self.tick_duration = Histogram(
            "treasury_executor_tick_duration_seconds", "How long a tick took.", buckets=TICK_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.lag = Histogram(
            "treasury_disbursement_lag_seconds", "From staging to the block.", buckets=LAG_BUCKETS,
            registry=self.registry,
        )  # fmt: skip

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
            return openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call] # the library's own gap
        return _TEXT_TYPE, text.generate_latest(self.registry)

    def _counter(self, name: str, sentence: str, label_name: str, labels: type) -> Counter:
        counter = Counter(name, sentence, [label_name], registry=self.registry)
        for one in labels.__members__.values():  # type: ignore[attr-defined]
            counter.labels(one.value)
        return counter


_TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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


def _included(metrics: Metrics, event: Event) -> None:
    if event.reason == VariantKind.CANCEL:
        return
    metrics.disbursements.labels(Status.EXECUTED.value).inc(event.count)
    metrics.results.labels(Result.SUCCESS.value).inc(event.count)
    metrics.paid.inc(event.amount or 0)
    for seconds in event.seconds:
        metrics.lag.observe(max(0.0, seconds))


def _finalized(metrics: Metrics, event: Event) -> None:
    metrics.disbursements.labels(Status.FINALIZED.value).inc(event.count)


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


_EFFECTS: Final[Mapping[EventKind, Callable[[Metrics, Event], None]]] = {
    EventKind.SUBMITTED: _submitted,
    EventKind.ADVANCED: _advanced,
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
    EventKind.AUDITED: _audited,
    EventKind.AUDIT_VIOLATION: _violated,
}
