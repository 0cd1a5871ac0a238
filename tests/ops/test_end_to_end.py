"""
Alerts and dashboards against a real Prometheus and a real Alertmanager, over a real daemon that pays.

The files are those of monitoring/, at a pace of an hour in half a minute; notifications go to a mailbox on loopback, where
a web hook and a mail are as real as anywhere.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.ops.boards import FILES, MONITORING, Asked, filled_in, loaded, queries
from tests.ops.watched import TIMES, Watched
from tests.reach import ask, until
from tools.boards.parts import Panel
from tools.dashboards import BOARDS
from tools.monitor_files import faster_expression

PROGRAMS = ("prometheus", "prometheus-alertmanager")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"),  # in the pipeline a missing part is a failure
        reason=f"not installed: {', '.join(MISSING)} (.ci/debian-packages)",
    ),
    pytest.mark.timeout(300),
]
BREAKER = "TreasuryCircuitBreakerOpen"
DATA_SECONDS = 120.0  # what compares with an hour ago has an hour to compare with after half a minute
TOLD_SECONDS = 60.0
TOLD = {  # a critical alert of the treasury's on a node: pager, SRE and treasury, by all six kinds of receiver
    "team-pager/pagerduty", "team-pager/victorops", "team-sre/opsgenie", "team-sre/slack", "team-treasury/slack",
    "team-treasury/webhook", "treasury@example.org",
}  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One arrangement for all tests of this module, which run in their order."""
    with Watched(tmp_path_factory.mktemp("watched")) as arrangement:
        yield arrangement


def as_asked(query: Asked) -> str:
    return faster_expression(filled_in(query.expr), TIMES)


def has_data(watched: Watched, query: Asked) -> bool:
    """Whether a query had a series with a number within the last minute."""
    found = watched.asked(as_asked(query), seconds=60.0)
    return any(value != "NaN" for series in found for _, value in series["values"])


def test_every_query_of_every_dashboard_returns_data(watched: Watched) -> None:
    """D26: the original's panels asked for series that nothing exported."""
    waiting = [query for path in FILES for query in queries(path)]
    assert len(waiting) > 100
    deadline = time.monotonic() + DATA_SECONDS
    while waiting and time.monotonic() < deadline:
        waiting = [query for query in waiting if not has_data(watched, query)]
        time.sleep(1.0)
    assert [str(query) for query in waiting] == []  # the development chain offers what a node may not


def test_the_variables_find_their_values(watched: Watched) -> None:
    """Instances and accounts are labels of the series that the boards name for them."""
    names = set()
    for path in FILES:
        for variable in loaded(path)["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(
                    r"label_values\((.+), (\w+)\)", variable["query"]["query"]
                ).groups()  # type: ignore[union-attr]
                words = urlencode({"match[]": filled_in(series)})
                _, said = ask(
                    watched.prometheus, "GET", f"/api/v1/label/{label}/values?{words}", seconds=10.0
                )
                assert said["data"], variable
                names.add(label)
    assert names == {"instance", "account"}


def test_the_node_graph_has_nodes_and_lines_between_them(watched: Watched) -> None:
    """Every line begins and ends at a node, every node is named, and while all is well all are green but what waits."""
    (graph,) = [panel for board in BOARDS for panel in board.panels() if panel.kind == "nodeGraph"]
    nodes, lines = (rows_of(watched, graph, number) for number in range(2))
    known = {row["id"] for row in nodes}
    assert {"treasuryd", "store", "journal", "lease", "head", "node:devnet"} <= known
    assert all(row["title"] and row["mainstat"] and row["color"] for row in nodes)
    assert {row["source"] for row in lines} | {row["target"] for row in lines} <= known
    assert len({row["id"] for row in lines}) == len(lines) >= 7
    until("all is green", lambda: not reds(watched, graph), seconds=TOLD_SECONDS)


def reds(watched: Watched, graph: Panel) -> list[str]:
    return [row["title"] for row in rows_of(watched, graph, 0) if row["color"] == "red"]


def rows_of(watched: Watched, panel: Panel, number: int) -> list[dict[str, str]]:
    """The labels of what an instant query answers: the rows of the table that Grafana makes of it."""
    words = urlencode({"query": filled_in(panel.queries[number].expr)})
    _, said = ask(watched.prometheus, "GET", f"/api/v1/query?{words}", seconds=10.0)
    return [series["metric"] for series in said["data"]["result"]]


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    """A rule that Prometheus cannot evaluate says so here only."""
    _, said = ask(watched.prometheus, "GET", "/api/v1/rules", seconds=10.0)
    rules = [rule for group in said["data"]["groups"] for rule in group["rules"]]
    assert len(rules) > 100
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_a_failing_chain_opens_the_breaker_and_everybody_hears_of_it(watched: Watched) -> None:
    """The chain dies; the breaker opens; the alert comes by web hook and by mail; it comes back; both are told again."""
    until("all is quiet", lambda: not watched.alerts(BREAKER), seconds=TOLD_SECONDS)
    died = time.time()
    watched.chain.kill()
    until("the alert fires", lambda: watched.alerts(BREAKER), seconds=TOLD_SECONDS)
    until("a web hook brings it", lambda: bool(watched.hooks(BREAKER, "firing", died)), seconds=TOLD_SECONDS)
    until("a mail brings it", lambda: bool(watched.mails(BREAKER, "firing", died)), seconds=TOLD_SECONDS)
    until("everybody is told", lambda: watched.ways(BREAKER, died) >= TOLD, seconds=TOLD_SECONDS)
    told = watched.hooks(BREAKER, "firing", died)[0]
    assert told["labels"]["endpoint"] == "devnet"
    assert told["labels"]["severity"] == "critical"
    assert {"summary", "description", "impact", "runbook_url"} <= told["annotations"].keys()
    (state,) = [query for path in FILES for query in queries(path) if query.panel == 110]
    shown = watched.asked(as_asked(state), seconds=5.0)
    assert any(float(value) > 0 for series in shown for _, value in series["values"]), "the board shows it"

    back = time.time()
    watched.chain.started()
    until("a web hook ends it", lambda: bool(watched.hooks(BREAKER, "resolved", back)), seconds=TOLD_SECONDS)
    until("a mail ends it", lambda: bool(watched.mails(BREAKER, "resolved", back)), seconds=TOLD_SECONDS)
    until("it fires no more", lambda: not watched.alerts(BREAKER), seconds=TOLD_SECONDS)
    until("payments go on", lambda: paying(watched), seconds=TOLD_SECONDS)


def paying(watched: Watched) -> bool:
    """Whether something was paid within the last seconds."""
    found = watched.asked(
        'increase(treasury_paid_base_units_total{job="treasury-executor"}[5s]) > 0', seconds=3
    )
    return bool(found)


def test_a_second_start_has_the_running_programs_read_their_files_again(watched: Watched) -> None:
    """Nothing is started twice, and nothing that ran is lost."""
    before = {path.name: path.read_text() for path in sorted(watched.monitor.glob("*.pid"))}
    assert before.keys() == {"prometheus.pid", "alertmanager.pid", "mailbox.pid"}
    said = watched.start_monitor()
    assert f"http://127.0.0.1:{watched.prometheus}" in said
    assert f"http://127.0.0.1:{watched.alertmanager}" in said
    assert {path.name: path.read_text() for path in sorted(watched.monitor.glob("*.pid"))} == before


def test_the_end_is_clean(watched: Watched) -> None:
    """`make monitor-down` ends what `make monitor` started, and says so; a second one finds nothing."""
    assert "prometheus, alertmanager, mailbox" in watched.monitored("down")
    assert list(watched.monitor.glob("*.pid")) == []
    assert "nothing was running" in watched.monitored("down")
    with pytest.raises(ConnectionRefusedError):
        ask(watched.prometheus, "GET", "/-/ready")


def test_the_files_are_as_they_were(watched: Watched) -> None:
    """Copies are changed, never the files of monitoring/."""
    text = (MONITORING / "prometheus.yml").read_text()
    assert "127.0.0.1:9477" in text
    assert str(watched.prometheus) not in text
