"""The treasury board, first half: the original's panels, the breaker, leadership, holds. Ids from 100."""

from typing import Final

from tools.boards.parts import (
    BLUE,
    GREEN,
    GREY,
    RED,
    YELLOW,
    Board,
    Panel,
    Query,
    Row,
    increase,
    most,
    of_account,
    own,
    recently,
    stat,
)
from tools.boards.running import FEES, NODES, STORE, WHICH

BREAKER_WORDS: Final = {0: ("closed", GREEN), 1: ("open", RED), 2: ("half-open", YELLOW)}
LAG: Final = "treasury_disbursement_lag_seconds"
LAG_P95: Final = recently("treasury:disbursement_lag:p95", 0.95, LAG)
NO_IS_GOOD: Final = {0: ("no", GREEN), 1: ("yes", RED)}

PIPELINE: Final = (
    Panel(
        id=100,
        title="Disbursement pipeline",
        text="Disbursements that reached each status within the hour before. A reorg brings some to timelocked again.",
        queries=(Query(increase("governance_disbursements_total", "status"), "{{status}}"),),
    ),
    Panel(
        id=101,
        title="Queue depth",
        text="Unfinished disbursements by status. Approved ones (queued, timelocked) beyond 100 for ten minutes raise "
        "TreasuryBacklogHigh.",
        queries=(Query("treasury:backlog:current:by_status", "{{status}}"),),
        steps=((None, GREEN), (50, YELLOW), (100, RED)),
        stacked=True,
        least=0,
    ),
    Panel(
        id=102,
        title="Execution lag (p95)",
        text="From payable to a block, over the last hour (or since the start, where nothing was paid in it), and the "
        "age of the oldest that is payable and in no block: one that is stuck is never in the quantile.",
        queries=(
            Query(LAG_P95, "p95"),
            Query(recently("treasury:disbursement_lag:p50", 0.5, LAG), "p50"),
            Query(most("treasury_disbursement_scheduled_oldest_age_seconds"), "oldest waiting"),
        ),
        unit="s",
        steps=((None, GREEN), (300, YELLOW), (600, RED)),
        least=0,
    ),
    Panel(
        id=103,
        title="Execution errors per minute",
        text="Why payments did not go on, by reason. Nothing is lost by one; the items are held with their reasons.",
        queries=(Query("treasury:errors:rate1m * 60", "{{reason}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=104,
        title="Balance trend (7 days)",
        text="What the chain showed at the finality depth, base units; below 1,000,000 altogether raises "
        "TreasuryBalanceCriticallyLow.",
        queries=(
            Query("treasury:balance:total", "total"),
            Query(most("treasury_balance", "account", per_account=True), "{{account}}"),
        ),
        steps=((None, RED), (1_000_000, GREEN)),
        time_from="7d",
    ),
    Panel(
        id=105,
        title="Executor health (tick)",
        text="How long a tick takes. Above 10 s the lease is lost.",
        queries=(
            Query("treasury:executor_tick:p50", "p50"),
            Query("treasury:executor_tick:p95", "p95"),
            Query("treasury:executor_tick:p99", "p99"),
        ),
        unit="s",
        steps=((None, GREEN), (1, YELLOW), (5, RED)),
        least=0,
    ),
    stat(
        Panel(
            id=106,
            title="Oldest payable, unpaid",
            text="For how long the oldest disbursement has been payable and in no block; 0: there is none.",
            queries=(Query(most("treasury_disbursement_scheduled_oldest_age_seconds")),),
            unit="s",
            steps=((None, GREEN), (300, YELLOW), (3_600, RED)),
            width=4,
        )
    ),
    Panel(
        id=107,
        title="Executor queue",
        text="Items that may be paid and are not yet, and intents under way.",
        queries=(
            Query(most("treasury_executor_pending_matured"), "payable"),
            Query(most("treasury_executor_staged_intents"), "under way"),
        ),
        width=6,
        least=0,
    ),
    Panel(
        id=108,
        title="Success and failure (1 h)",
        text="How the executor's work ended: payments in a block, items rolled back, ticks that failed.",
        queries=(Query(increase("treasury_executor_result_total", "result"), "{{result}}"),),
        width=7,
        least=0,
    ),
    Panel(
        id=109,
        title="Failed ticks (1 h)",
        text="Ticks that failed and alarms of the signer, by reason. The next tick tries again; nothing is lost.",
        queries=(Query(increase("treasury_executor_errors_total", "reason"), "{{reason}}"),),
        stacked=True,
        width=7,
        least=0,
    ),
)

BREAKER: Final = (
    Panel(
        id=110,
        title="Circuit breaker state",
        text="0 closed, 1 open, 2 half-open, as of the scrape, by node and class of calls. A breaker starts half-open. "
        "While the one for sending is open payments wait, none is cancelled.",
        queries=(Query(most("treasury_circuit_breaker_state", "endpoint, class"), WHICH),),
        kind="state-timeline",
        words=BREAKER_WORDS,
        height=7,
    ),
    Panel(
        id=111,
        title="Circuit breaker failures",
        text="Failures counted since it last closed; five in a row open it by default.",
        queries=(Query(most("treasury_circuit_breaker_failures", "endpoint, class"), WHICH),),
        height=7,
        least=0,
    ),
    Panel(
        id=112,
        title="Circuit breaker successes",
        text="Good probes counted since it last opened; two close it by default.",
        queries=(Query(most("treasury_circuit_breaker_successes", "endpoint, class"), WHICH),),
        height=7,
        least=0,
    ),
)

LEADERSHIP: Final = (
    Panel(
        id=120,
        title="Who leads",
        text="1 where a process may act for the account. Exactly one instance should.",
        queries=(Query(of_account("treasury_executor_active"), "{{account}} {{instance}}"),),
        kind="state-timeline",
        words={0: ("standby", GREY), 1: ("leads", GREEN)},
        height=7,
    ),
    Panel(
        id=121,
        title="Lease: what is left",
        text="Seconds for which the lease still holds, as it was last renewed; 0: not ours. Renewals make it a saw.",
        queries=(Query(of_account("treasury_lease_valid_seconds"), "{{account}} {{instance}}"),),
        unit="s",
        height=7,
        least=0,
    ),
    Panel(
        id=122,
        title="Lease changes (1 h)",
        text="Leases claimed, lost and given back. Lost ones that nobody ordered: look at clocks, disk and load.",
        queries=(Query(increase("treasury_lease_changes_total", "change"), "{{change}}"),),
        height=7,
        least=0,
    ),
    stat(
        Panel(
            id=123,
            title="Term",
            text="How often the lease of the account has changed hands.",
            queries=(Query(most("treasury_lease_term", "account", per_account=True), "{{account}}"),),
            steps=((None, BLUE),),
            width=4,
            height=7,
        )
    ),
    stat(
        Panel(
            id=124,
            title="Lease released",
            text="1 where nobody holds the lease of the account.",
            queries=(
                Query(f"min by (account) ({of_account('treasury_executor_lease_released')})", "{{account}}"),
            ),
            words=NO_IS_GOOD,
            width=4,
            height=7,
        )
    ),
    Panel(
        id=125,
        title="Nonces",
        text="Highest nonce sent, and highest ever staged under the lease. The first lags behind while "
        "sending waits.",
        queries=(
            Query(most("treasury_executor_last_submitted_nonce"), "sent"),
            Query(
                most("treasury_executor_lease_last_nonce", "account", per_account=True), "staged {{account}}"
            ),
        ),
        unit="none",
        height=7,
    ),
    Panel(
        id=126,
        title="Since the last tick",
        text="Age of the last tick, of the last one that did not fail, and of the loop's last turn.",
        queries=(
            Query(f"time() - {own('treasury_executor_last_tick_seconds')}", "tick {{instance}}"),
            Query(f"time() - {own('treasury_executor_last_success_seconds')}", "success {{instance}}"),
            Query(own("treasury_executor_loop_fed_age_seconds"), "loop {{instance}}"),
        ),
        unit="s",
        steps=((None, GREEN), (60, RED)),
        height=7,
        least=0,
    ),
)

HOLDS: Final = (
    Panel(
        id=130,
        title="Why payments wait",
        text="Items that the last tick did not stage, by the one reason of each; operations.md explains the words.",
        queries=(Query("treasury:waiting:by_hold", "{{hold}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=131,
        title="Held for a person",
        text="Stored holds that end by a person's word alone; `treasuryd explain` says what to do about one.",
        queries=(Query("treasury:held:by_hold", "{{hold}}"),),
        stacked=True,
        steps=((None, GREEN), (1, YELLOW)),
        least=0,
    ),
    stat(
        Panel(
            id=132,
            title="Outcome unknown",
            text="Intents whose nonce is consumed while nothing proves by what: a person decides.",
            queries=(Query(most("treasury_outcome_unknown", "account", per_account=True), "{{account}}"),),
            steps=((None, GREEN), (1, RED)),
            width=4,
        )
    ),
    Panel(
        id=133,
        title="Frozen, quarantined, foreign",
        text="Accounts that stage, sign and send nothing, and why: frozen, store older than the world, "
        "moved by somebody else.",
        queries=(
            Query(most("treasury_account_frozen", "account", per_account=True), "{{account}} frozen"),
            Query(
                most("treasury_account_quarantined", "account", per_account=True), "{{account}} quarantined"
            ),
            Query(
                most("treasury_unexplained_movement", "account", per_account=True),
                "{{account}} foreign movement",
            ),
            Query(most("treasury_kill_switch"), "kill switch"),
        ),
        kind="state-timeline",
        words=NO_IS_GOOD,
        width=4,
    ),
)
BOARD: Final = Board(
    file="grafana_treasury_dashboard",
    uid="treasury-dashboard",
    title="treasuryd: treasury",
    text="Payments, from approval to final: is everything paid, how fast, and if not, why not.",
    rows=(
        Row(id=190, title="Payments", panels=PIPELINE),
        Row(id=191, title="Circuit breaker", panels=BREAKER),
        Row(id=192, title="Lease and failover", panels=LEADERSHIP),
        Row(id=193, title="Holds", panels=HOLDS),
        Row(id=194, title="Fees", panels=FEES),
        Row(id=195, title="Nodes", panels=NODES),
        Row(id=196, title="Store and process", panels=STORE),
    ),
)
