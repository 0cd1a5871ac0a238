"""The treasury board, second half: fees, calls to nodes, store and process. Ids from 140."""

from typing import Final

from tools.boards.parts import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    Panel,
    Query,
    increase,
    most,
    own,
    rate,
    recently,
    stat,
)

WHICH: Final = "{{endpoint}} {{class}}"
CALLS: Final = "{{endpoint}} {{call_class}}"

FEES_OF_PAYMENTS: Final = ("treasury_fees_paid_base_units_total", "", 'kind="payment"')
PAYMENTS: Final = ("treasury_executor_result_total", "", 'result="success"')
SINCE_START: Final = " / ".join(
    f"sum({own(name, condition)})" for name, _, condition in (FEES_OF_PAYMENTS, PAYMENTS)
)

FEES: Final = (
    Panel(
        id=140,
        title="Fees per hour",
        text="Base units of fees in included payments, cancellations and fillers of nonces.",
        queries=(Query("treasury:fees:base_units_per_hour", "{{kind}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=141,
        title="Fee of a transaction",
        text="Fees divided by what was included, over an hour, or since the start where nothing was paid in it; beside "
        "it what the chain charges at least. Base units.",
        queries=(
            Query(
                f"{increase(*FEES_OF_PAYMENTS)} / ({increase(*PAYMENTS)} > 0) or {SINCE_START}", "per payment"
            ),
            Query(most("treasury_chain_base_fee"), "base fee of the chain"),
        ),
        least=0,
    ),
    Panel(
        id=142,
        title="Paid per hour",
        text="Base units of included payments, without fees.",
        queries=(Query(f"sum(rate({own('treasury_paid_base_units_total')}[1h])) * 3600", "paid"),),
        least=0,
    ),
)
NODES: Final = (
    Panel(
        id=150,
        title="Calls to nodes per minute",
        text="By node, class and outcome; `ignored` says nothing of the node, `rejected` was refused by our breaker.",
        queries=(Query("treasury:chain_calls:per_minute", f"{CALLS} {{{{outcome}}}}"),),
        least=0,
    ),
    Panel(
        id=151,
        title="Latency of calls",
        text="Of calls that left for a node, without the wait for our own limiter.",
        queries=(
            Query("treasury:chain_call:p95", f"p95 {CALLS}"),
            Query("treasury:chain_call:p50", f"p50 {CALLS}"),
        ),
        unit="s",
        least=0,
    ),
    Panel(
        id=152,
        title="Share of failed calls",
        text="Of the calls that left for a node and say something of it, over five minutes.",
        queries=(Query("treasury:chain_calls:failure_ratio", CALLS),),
        unit="percentunit",
        steps=((None, GREEN), (0.1, YELLOW), (0.5, RED)),
        least=0,
        most=1,
    ),
    Panel(
        id=153,
        title="Breaker: transitions and refusals (1 h)",
        text="How often each breaker changed its state or mode, and how many calls it refused.",
        queries=(
            Query(
                increase("treasury_circuit_breaker_transitions_total", "endpoint, class"),
                f"transitions {WHICH}",
            ),
            Query(
                increase("treasury_circuit_breaker_rejections_total", "endpoint, class"), f"refused {WHICH}"
            ),
        ),
        least=0,
    ),
    Panel(
        id=154,
        title="Errors and replies of nodes per second",
        text="Failed calls by why, and what nodes answered to broadcasts. No reply decides whether something was paid.",
        queries=(
            Query(rate("treasury_chain_call_errors_total", "reason"), "error {{reason}}"),
            Query(rate("treasury_broadcast_replies_total", "meaning"), "reply {{meaning}}"),
        ),
        least=0,
    ),
    Panel(
        id=155,
        title="Head of the chain",
        text="Seconds since the believed head last rose; beyond two minutes nothing becomes final and votes do not count. "
        "And how far apart nodes are that answer.",
        queries=(
            Query(f"min({own('treasury_chain_lag_seconds')})", "since the last block"),
            Query(
                f"max({own('treasury_chain_reported_height')}) - max({own('treasury_chain_height')})",
                "blocks claimed and not believed",
            ),
            Query(f"max({own('treasury_chain_endpoint_lag_blocks')})", "blocks the lowest node is behind"),
            Query(f"max({own('treasury_chain_endpoints_differ_seconds')})", "seconds nodes have differed"),
        ),
        steps=((None, GREEN), (120, RED)),
    ),
)
STORE: Final = (
    Panel(
        id=160,
        title="Stages of a payment (p95)",
        text="Payable to staged, to sent, to a block, to final: where the time goes. Over the last hour, or since the "
        "start where nothing was paid in it.",
        queries=(
            Query(
                recently("treasury:stage:p95", 0.95, "treasury_disbursement_stage_seconds", "stage"),
                "{{stage}}",
            ),
        ),
        unit="s",
        least=0,
    ),
    Panel(
        id=161,
        title="Journal",
        text="Entries per second, and those that the copy outside the store does not hold yet.",
        queries=(
            Query(f"max(deriv({own('treasury_journal_head')}[5m]))", "entries per second"),
            Query(most("treasury_journal_copy_lag_entries"), "not in the copy"),
        ),
        least=0,
    ),
    Panel(
        id=162,
        title="Backup age",
        text="Since the newest backup was taken; `journal` is the copy outside the store.",
        queries=(
            Query(f"time() - max by (kind) ({own('backup_last_success_timestamp_seconds')})", "{{kind}}"),
        ),
        unit="s",
        steps=((None, GREEN), (7_200, RED)),
        least=0,
    ),
    Panel(
        id=163,
        title="Store",
        text="Size of the store's files, of the newest backups, and what is free beside the store.",
        queries=(
            Query(own("treasury_store_size_bytes"), "store {{instance}}"),
            Query(own("treasury_store_free_bytes"), "free {{instance}}"),
            Query("treasury:store:free_bytes_tomorrow", "free tomorrow at this pace"),
            Query(most("backup_size_bytes", "kind"), "backup {{kind}}"),
        ),
        unit="bytes",
        least=0,
    ),
    Panel(
        id=164,
        title="Event loop and clock",
        text="How late the loop came back at worst in ten seconds, and how far the wall clock moved since the start.",
        queries=(
            Query(own("treasuryd_event_loop_lag_seconds"), "loop lag {{instance}}"),
            Query(own("treasury_clock_skew_seconds"), "clock {{instance}}"),
        ),
        unit="s",
    ),
    Panel(
        id=165,
        title="Process",
        text="Processor time of each instance; 100 % is one core.",
        queries=(
            Query(f"rate({own('process_cpu_seconds_total')}[$__rate_interval])", "processor {{instance}}"),
        ),
        unit="percentunit",
        least=0,
    ),
    Panel(
        id=169,
        title="Memory",
        text="Resident memory of each instance.",
        queries=(Query(own("process_resident_memory_bytes"), "{{instance}}"),),
        unit="bytes",
        least=0,
    ),
    Panel(
        id=166,
        title="Settlement audit",
        text="Whole passes per hour, and what the audit found wrong: any finding freezes the account and pages.",
        queries=(
            Query(f"sum(rate({own('treasury_audit_passes_total')}[1h])) * 3600", "passes"),
            Query(increase("treasury_audit_violations_total"), "violations"),
        ),
        least=0,
    ),
    Panel(
        id=167,
        title="Pages and dependency failures (1 h)",
        text="Facts that a person has to look at now, and dependencies that can never be satisfied.",
        queries=(
            Query(increase("treasury_pages_total"), "pages"),
            Query(increase("treasury_dependency_failures_total"), "dependency failures"),
        ),
        least=0,
    ),
    stat(
        Panel(
            id=168,
            title="What runs",
            text="Version of the daemon, of Python and of SQLite on each instance.",
            queries=(Query(own("treasuryd_build_info"), "{{version}} Python {{python}} SQLite {{sqlite}}"),),
            steps=((None, BLUE),),
        )
    ),
)
