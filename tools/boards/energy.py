"""
The energy board: what the node says of its energy market, as the daemon's observer copies it. Ids from 200.

A leader and its standbys copy the same numbers: the largest counts, they are never added up. What the node does not offer
is absent, and its panel stays empty.
"""

from typing import Final

from tools.boards.parts import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    Board,
    Panel,
    Query,
    Row,
    increase,
    most,
    own,
    stat,
)


def grown(name: str, by: str, over: str) -> str:
    """Say by how much a counter of the node grew."""
    return f"max by ({by}) (increase({own(name)}[{over}]))" if by else f"max(increase({own(name)}[{over}]))"


MARKET: Final = (
    Panel(
        id=200,
        title="Active providers",
        text="Providers with energy on offer, idle ones, and all that are registered.",
        queries=(
            Query(most("energy_provider_status", "status"), "{{status}}"),
            Query("energy:providers:total", "registered"),
        ),
        least=0,
    ),
    Panel(
        id=201,
        title="Settlements (24 h)",
        text="Settled deliveries within a day, by provider; beyond the cap of providers they are counted under other.",
        queries=(Query(grown("energy_settlements_total", "provider", "24h"), "{{provider}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=202,
        title="Oracle latency",
        text="From a reading to its place in a block: p50, p95, p99 over five minutes. Empty where the node "
        "does not measure it.",
        queries=(
            Query("energy:oracle_latency:p50", "p50"),
            Query("energy:oracle_latency:p95", "p95"),
            Query("energy:oracle_latency:p99", "p99"),
        ),
        unit="s",
        steps=((None, GREEN), (10, YELLOW), (30, RED)),
        least=0,
    ),
    Panel(
        id=203,
        title="Reputation (7 days)",
        text="Reputation of each provider, 0 to 1.",
        queries=(Query(most("energy_reputation_score", "provider"), "{{provider}}"),),
        unit="percentunit",
        least=0,
        most=1,
        time_from="7d",
    ),
    Panel(
        id=204,
        title="Active disputes",
        text="Disputes that are open. Beyond 50 for five minutes they raise EnergyDisputeBacklogCritical.",
        queries=(Query("energy:disputes:pending:total", "open"),),
        steps=((None, GREEN), (20, YELLOW), (50, RED)),
        least=0,
    ),
    Panel(
        id=205,
        title="Slashing (24 h)",
        text="Slashes within a day, by reason.",
        queries=(
            Query(
                f"sum by (reason) (max by (provider, reason) (increase({own('energy_slashing_total')}[24h])))",
                "{{reason}}",
            ),
        ),
        stacked=True,
        least=0,
    ),
    Panel(
        id=206,
        title="Pending credits",
        text="Energy that is credited and not settled yet.",
        queries=(Query(most("energy_pending_credits_kwh"), "pending"),),
        unit="kwatth",
        least=0,
    ),
    Panel(
        id=207,
        title="Signature failures per second",
        text="Submissions of oracles whose signature does not hold.",
        queries=(
            Query(
                f"max by (reason) (rate({own('energy_signature_verification_failures_total')}[5m]))",
                "{{reason}}",
            ),
        ),
        steps=((None, GREEN), (1, RED)),
        least=0,
    ),
)
NODE: Final = (
    stat(
        Panel(
            id=208,
            title="Settlement mode",
            text="How the market settles.",
            queries=(Query(most("energy_settlement_mode")),),
            words={0: ("batch", BLUE), 1: ("real time", BLUE)},
            width=4,
        )
    ),
    stat(
        Panel(
            id=209,
            title="Settlement rollbacks",
            text="Settlements that were taken back, since the node started.",
            queries=(Query(most("energy_settlement_rollback_total")),),
            steps=((None, GREEN), (1, YELLOW)),
            width=4,
        )
    ),
    Panel(
        id=210,
        title="Quorum shortfalls per second",
        text="Settlements that did not find their quorum, all providers together.",
        queries=(
            Query(
                f"sum(max by (provider) (rate({own('energy_quorum_shortfall_total')}[5m])))",
                "shortfalls",
            ),
        ),
        least=0,
    ),
    Panel(
        id=211,
        title="Rejected readings per second",
        text="Meter readings that the node refused, by reason.",
        queries=(Query(f"max by (reason) (rate({own('energy_reading_reject_total')}[5m]))", "{{reason}}"),),
        stacked=True,
        least=0,
    ),
    Panel(
        id=212,
        title="Disputes by state",
        text="How often disputes came to each state, since the node started.",
        queries=(Query(most("energy_dispute_total", "state"), "{{state}}"),),
        least=0,
    ),
    stat(
        Panel(
            id=213,
            title="Slashes",
            text="All slashes since the node started.",
            queries=(Query(f"sum(max by (provider, reason) ({own('energy_slashing_total')}))"),),
            steps=((None, GREEN), (1, YELLOW)),
            width=4,
        )
    ),
    Panel(
        id=214,
        title="Readings per minute",
        text="Meter readings that the node took in, and errors of oracles' submissions.",
        queries=(
            Query("energy:readings:per_minute", "readings"),
            Query("energy:oracle_errors:per_minute", "errors"),
        ),
        least=0,
    ),
    Panel(
        id=215,
        title="Price and volume",
        text="Base units of BLOCK per kWh, and kWh on offer in the market.",
        queries=(
            Query("energy:market_price:current", "price"),
            Query("energy:market_volume:current", "volume (kWh)"),
        ),
        least=0,
    ),
    Panel(
        id=216,
        title="How long disputes take",
        text="Blocks from a dispute's opening to its end, of those that the observer saw end; 3,600 is an hour.",
        queries=tuple(
            Query(f"energy:dispute_resolution_blocks:{name}", name) for name in ("p50", "p95", "p99")
        ),
        steps=((None, GREEN), (3_600, YELLOW), (7_200, RED)),
        least=0,
    ),
    Panel(
        id=217,
        title="Disputes raised and resolved per minute",
        text="When more are raised than resolved, the open ones pile up.",
        queries=(
            Query("energy:disputes_raised:per_minute", "raised"),
            Query("energy:disputes_resolved:rate1m * 60", "resolved"),
        ),
        least=0,
    ),
)
OBSERVER: Final = (
    Panel(
        id=220,
        title="Observer",
        text="Whether the last look at the node's JSON-RPC and at its metrics succeeded. Off unless it is configured.",
        queries=(Query(own("treasury_observer_up"), "{{source}} {{instance}}"),),
        kind="state-timeline",
        words={0: ("fails", RED), 1: ("reads", GREEN)},
        width=12,
        height=6,
    ),
    Panel(
        id=221,
        title="Age of what is shown",
        text="Since the last look that succeeded; older readings are left out rather than shown as if they were new.",
        queries=(
            Query(
                f"time() - {own('treasury_observer_last_success_timestamp_seconds')}",
                "{{source}} {{instance}}",
            ),
        ),
        unit="s",
        steps=((None, GREEN), (120, RED)),
        width=12,
        height=6,
        least=0,
    ),
    Panel(
        id=222,
        title="Readings",
        text="Whether each reading is fresh enough to be shown.",
        queries=(Query(most("treasury_observer_reading_fresh", "reading"), "{{reading}}"),),
        kind="state-timeline",
        words={0: ("absent", YELLOW), 1: ("shown", GREEN)},
        width=12,
        height=6,
    ),
    Panel(
        id=223,
        title="Failed readings (1 h)",
        text="Readings that came to nothing, by why; a node that does not offer one says so each time.",
        queries=(Query(increase("treasury_observer_failures_total", "reason"), "{{reason}}"),),
        width=12,
        height=6,
        least=0,
    ),
)

BOARD: Final = Board(
    file="grafana_energy_dashboard",
    uid="energy-dashboard",
    title="treasuryd: energy market",
    text="Providers, oracles, settlements and disputes of the node's energy market, copied by the daemon's observer.",
    rows=(
        Row(id=290, title="Market", panels=MARKET),
        Row(id=291, title="More of the node", panels=NODE),
        Row(id=292, title="How it is known", panels=OBSERVER),
    ),
    by_account=False,
)
