"""What grows with events: counters and histograms. Every value of a closed label exists, at 0, from the start."""

from typing import Final

from treasuryd.core.events import EventKind
from treasuryd.core.findings import Finding
from treasuryd.core.model import Meaning, Status
from treasuryd.telemetry.labels import (
    CallError,
    DependencyFailure,
    ExecutionError,
    FeeKind,
    LeaseChange,
    Result,
    Stage,
    TickError,
)
from treasuryd.telemetry.registry.family import Family, Kind, Unit, closed

# A tick of an idle daemon takes a millisecond, one with a batch of 1,000 half a second; above 10 s the lease is lost.
TICK_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
# A second on a good day, hours in an outage, days when funds are missing: the top lies beyond every threshold.
LAG_BUCKETS: Final = (
    1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 43_200.0,
    86_400.0, 259_200.0, 604_800.0,
)  # fmt: skip

DISBURSEMENTS: Final = Family(
    name="governance_disbursements_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Disbursements that reached a status; one taken back by a reorg reaches `timelocked` again.",
    filled_by="events of disbursements",
    labels=(closed("status", Status),),
)
EXECUTION_ERRORS: Final = Family(
    name="treasury_execution_errors_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Why payments did not go on; by what was found, never by a message's wording.",
    filled_by="events of holds, replies and voided intents",
    labels=(closed("reason", ExecutionError),),
)
DEPENDENCY_FAILURES: Final = Family(
    name="treasury_dependency_failures_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Dependencies that can never be satisfied.",
    filled_by="event `disbursement_held`",
    labels=(closed("failure_type", DependencyFailure),),
)
RESULTS: Final = Family(
    name="treasury_executor_result_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="How the executor's work ended: payments in a block, rolled back items, failed ticks.",
    filled_by="events `intent_included`, `disbursement_rolled_back`, `tick_failed`",
    labels=(closed("result", Result),),
)
TICK_ERRORS: Final = Family(
    name="treasury_executor_errors_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Ticks that failed, and alarms of the signer.",
    filled_by="event `tick_failed`",
    labels=(closed("reason", TickError),),
)
CALL_ERRORS: Final = Family(
    name="treasury_chain_call_errors_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Calls to nodes that failed, by why.",
    filled_by="event `chain_call_failed`",
    labels=(closed("reason", CallError),),
)
REPLIES: Final = Family(
    name="treasury_broadcast_replies_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="What nodes answered to broadcasts.",
    filled_by="event `intent_sent`",
    labels=(closed("meaning", Meaning),),
)
VIOLATIONS: Final = Family(
    name="treasury_audit_violations_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="What the settlement audit found wrong.",
    filled_by="event `audit_violation`",
    labels=(closed("finding", Finding),),
)
AUDITED: Final = Family(
    name="treasury_audited_disbursements_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Disbursements that the settlement audit looked at, in whole passes.",
    filled_by="event `audit_passed`",
)
AUDIT_PASSES: Final = Family(
    name="treasury_audit_passes_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="How often the settlement audit has looked at everything.",
    filled_by="event `audit_passed`",
)
EVENTS: Final = Family(
    name="treasury_events_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Facts by kind.",
    filled_by="every event",
    labels=(closed("kind", EventKind),),
)
PAGES: Final = Family(
    name="treasury_pages_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Facts that a person has to look at now.",
    filled_by="events of severity `page`",
    labels=(closed("kind", EventKind),),
)
TELEMETRY_FAILURES: Final = Family(
    name="treasury_telemetry_failures_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Events or scrapes that telemetry itself failed on.",
    filled_by="telemetry",
)
PAID: Final = Family(
    name="treasury_paid_base_units_total",
    kind=Kind.COUNTER,
    unit=Unit.BASE_UNITS,
    help="Base units of included payments, without fees.",
    filled_by="event `intent_included`",
)
FEES_PAID: Final = Family(
    name="treasury_fees_paid_base_units_total",
    kind=Kind.COUNTER,
    unit=Unit.BASE_UNITS,
    help="Fees of what was included: payments, their cancellations, fillers of nonces; a reorg takes nothing back here.",
    filled_by="event `intent_included`",
    labels=(closed("kind", FeeKind),),
)
LEASE_CHANGES: Final = Family(
    name="treasury_lease_changes_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Leases that this process claimed, lost or gave back.",
    filled_by="events `lease_claimed`, `lease_lost`, `lease_released`",
    labels=(closed("change", LeaseChange),),
)
TICK_DURATION: Final = Family(
    name="treasury_executor_tick_duration_seconds",
    kind=Kind.HISTOGRAM,
    unit=Unit.SECONDS,
    help="How long a tick took.",
    filled_by="event `tick`",
    buckets=TICK_BUCKETS,
)
LAG: Final = Family(
    name="treasury_disbursement_lag_seconds",
    kind=Kind.HISTOGRAM,
    unit=Unit.SECONDS,
    help="From payable (timelock and dependencies over, scheduled epoch settled) to a block.",
    filled_by="event `intent_included`",
    buckets=LAG_BUCKETS,
)
STAGES: Final = Family(
    name="treasury_disbursement_stage_seconds",
    kind=Kind.HISTOGRAM,
    unit=Unit.SECONDS,
    help="From one stage of a payment to the next, by the times of ticks: payable to staged, sent, in a block, finalized.",
    filled_by="events `intent_staged`, `intent_sent`, `intent_included`, `disbursement_finalized`",
    labels=(closed("stage", Stage),),
    buckets=LAG_BUCKETS,
)

FAMILIES: Final = tuple(value for value in list(vars().values()) if isinstance(value, Family))
