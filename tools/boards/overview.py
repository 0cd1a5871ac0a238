"""
The overview: one screen that answers "is all well, and if not, where?". Ids from 400.

The picture of what depends on what is a node graph. Grafana makes it from two tables with fields of agreed names (id,
title, mainstat, color; source, target), so each state is a series whose labels are these fields.
"""

from collections.abc import Iterable
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
    most,
    own,
    stat,
)
from tools.boards.treasury import BREAKER_WORDS, LAG_P95

DAEMON: Final = "treasuryd"


def labelled(expr: str, /, **labels: str) -> str:
    """Give every series of `expr` these labels."""
    for name, value in labels.items():
        expr = f'label_replace({expr}, "{name}", "{value}", "", "")'
    return expr


def copied(expr: str, of: str, /, **labels: str) -> str:
    """Give every series of `expr` labels made of the value of its label `of`, which stands for $1."""
    for name, value in labels.items():
        expr = f'label_replace({expr}, "{name}", "{value}", "{of}", "(.+)")'
    return expr


def told(expr: str, states: Iterable[tuple[str, str, str]]) -> str:
    """Tell a value by a word and a colour: (condition, word, colour) of each state."""
    return " or ".join(
        labelled(f"({expr}) {condition}", mainstat=word, color=color) for condition, word, color in states
    )


def fact(name: str, title: str, expr: str, good: str, bad: str, color: str = RED) -> str:
    """Make a node of something that is 1 where it is well and 0 where it is not."""
    states = (("== 1", good, GREEN), ("== 0", bad, color))
    return labelled(f"({told(expr, states)})", id=name, title=title)


def line(target: str, expr: str) -> str:
    """Draw a line from the daemon to a node while the node is known."""
    return labelled(f"({expr} * 0 + 1)", id=f"{DAEMON}-{target}", source=DAEMON, target=target)


BREAKERS: Final = tuple((f"== {value}", word, color) for value, (word, color) in BREAKER_WORDS.items())
READS: Final = (("== 1", "reads", GREEN), ("== 0", "fails", YELLOW))
WORST: Final = most("treasury_circuit_breaker_state", "endpoint")
EACH: Final = most("treasury_circuit_breaker_state", "endpoint, class")
READY: Final = f"min({own('treasury_executor_ready')})"
READABLE: Final = f"min({own('treasury_store_readable')})"
BEHIND: Final = most("treasury_journal_copy_lag_entries")
LEADS: Final = f"min({most('treasury_executor_active', 'account', per_account=True)})"
STANDS: Final = f"min({own('treasury_chain_lag_seconds')})"
SEES: Final = most("treasury_observer_up", "source")

NODES: Final = " or ".join(
    (
        fact(DAEMON, "treasuryd", READY, "ready", "not ready"),
        fact("store", "Store", READABLE, "readable", "unreadable"),
        fact("journal", "Journal copy", f"{BEHIND} <= bool 100", "up to date", "behind", YELLOW),
        fact("lease", "Lease", LEADS, "held", "nobody leads"),
        fact("head", "Head of the chain", f"{STANDS} <= bool 120", "rises", "stands still"),
        copied(f"({told(WORST, BREAKERS)})", "endpoint", id="node:$1", title="Node $1"),
        copied(f"({told(SEES, READS)})", "source", id="observer:$1", title="Observer, $1"),
    )
)
CALLS: Final = labelled(copied(f"({told(EACH, BREAKERS)})", "endpoint", target="node:$1"), source=DAEMON)
EDGES: Final = " or ".join(
    (
        line("store", READABLE),
        line("journal", BEHIND),
        line("lease", LEADS),
        f'label_join({CALLS}, "id", ":", "endpoint", "class")',
        labelled(copied(f"({WORST} * 0 + 1)", "endpoint", id="head:$1", source="node:$1"), target="head"),
        labelled(copied(f"({SEES} * 0 + 1)", "source", id="to:$1", target="observer:$1"), source=DAEMON),
    )
)


def score(number: int, title: str, of: str, text: str) -> Panel:
    """Show a health score, 0 to 1."""
    return stat(
        Panel(
            id=number,
            title=title,
            text=f"{text} 1 is well, below 0.75 warns, below 0.5 is critical.",
            queries=(Query(f"system:{of}:health_score"),),
            unit="percentunit",
            steps=((None, RED), (0.5, YELLOW), (0.75, GREEN)),
            width=3,
            height=4,
        )
    )


def number(
    number: int, title: str, text: str, expr: str, *, warn: float, bad: float, unit: str = "short"
) -> Panel:
    """Show one number that should be small."""
    return stat(
        Panel(
            id=number,
            title=title,
            text=text,
            queries=(Query(expr),),
            unit=unit,
            steps=((None, GREEN), (warn, YELLOW), (bad, RED)),
            width=3,
            height=4,
        )
    )


SCREEN: Final = (
    score(
        400,
        "Health",
        "overall",
        "Treasury 0.4, energy 0.3, storage 0.3; a market without data takes no part.",
    ),
    score(401, "Treasury", "treasury", "Errors, backlog, age of the oldest payment; no daemon is 0."),
    score(402, "Energy", "energy", "Providers, errors of oracles, open disputes."),
    number(
        403,
        "Alerts firing",
        "Alerts of any severity; the Alertmanager says who was told.",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
        warn=1,
        bad=1,
    ),
    number(
        404,
        "Oldest unpaid",
        "For how long the oldest disbursement has been payable and in no block.",
        most("treasury_disbursement_scheduled_oldest_age_seconds"),
        warn=300,
        bad=3_600,
        unit="s",
    ),
    number(
        405,
        "Approved, waiting",
        "Approved disbursements in no block.",
        "treasury:backlog:approved",
        warn=50,
        bad=100,
    ),
    number(
        406,
        "For a person",
        "Items that end their waiting by a person's word.",
        "sum(treasury:held:by_hold)",
        warn=1,
        bad=10,
    ),
    number(
        407,
        "Errors a minute",
        "Payments that ran into errors.",
        "treasury:errors:per_minute",
        warn=0.2,
        bad=1,
    ),
    Panel(
        id=410,
        title="What depends on what",
        text="treasuryd and what it needs: store, the journal's copy, lease, nodes by the worse of their breakers, the "
        "head of the chain, the observer's sources. Green is well. Lines to nodes are their breakers.",
        queries=(Query(NODES, now=True, table=True), Query(EDGES, now=True, table=True)),
        kind="nodeGraph",
        width=10,
        height=16,
    ),
    Panel(
        id=411,
        title="Payments per minute, lag",
        text="Payments in a block per minute, and how long they took from payable (p95).",
        queries=(
            Query("treasury:disbursements:executed_per_minute", "paid per minute"),
            Query(LAG_P95, "lag p95 (s)"),
        ),
        width=7,
        least=0,
    ),
    Panel(
        id=412,
        title="Circuit breakers",
        text="Per node and class of calls.",
        queries=(Query(EACH, "{{endpoint}} {{class}}"),),
        kind="state-timeline",
        words=BREAKER_WORDS,
        width=7,
    ),
    Panel(
        id=413,
        title="Budgets of the service levels",
        text="How fast each service level's budget of failure is being spent: 1 spends it in exactly its thirty days.",
        queries=(Query("max by (slo) (slo:burn_rate:1h)", "{{slo}}"),),
        steps=((None, GREEN), (1, YELLOW), (14.4, RED)),
        width=7,
        least=0,
    ),
    Panel(
        id=414,
        title="Balance",
        text="Base units at the finality depth, per account.",
        queries=(Query(most("treasury_balance", "account", per_account=True), "{{account}}"),),
        kind="bargauge",
        steps=((None, RED), (1_000_000, BLUE)),
        width=7,
        least=0,
    ),
)

BOARD: Final = Board(
    file="grafana_overview_dashboard",
    uid="treasuryd-overview",
    title="treasuryd: overview",
    text="One screen: is all well, and if not, where to look.",
    rows=(Row(id=490, title="", panels=SCREEN),),
    since="now-1h",
)
