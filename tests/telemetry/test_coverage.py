import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.telemetry.conftest import FakeOffice, Heard

from treasuryd.errors import Rejected
from treasuryd.telemetry import coverage, registry
from treasuryd.telemetry.coverage import (
    Named,
    compare,
    labels_in,
    names_in,
    read_folder,
    rule_fields,
)

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", {"up"}),
        ('max(up{job="x"}) == 0 or absent(up{job="x"})', {"up"}),
        ("sum by (status) (rate(a_total[5m])) * 60 > bool 1", {"a_total"}),
        ("sum(rate(a_total[5m])) by (reason)", {"a_total"}),
        ("sum without(instance, pod) (a) / on (account) group_left (name) b", {"a", "b"}),
        ("histogram_quantile(0.95, sum by (le) (rate(a_seconds_bucket[1h])))", {"a_seconds_bucket"}),
        ("treasury:lag:p95 > 2 * avg_over_time(treasury:lag:p95[6h] offset 1h)", {"treasury:lag:p95"}),
        ('rate(a[$__rate_interval]) + b{account=~"$account"} * ${factor:raw}', {"a", "b"}),
        ('label_replace(a, "x", "$1", "y", "(.*) and b")', {"a"}),
        ("a{x='}'} unless b", {"a", "b"}),
        ("1e3 + Inf - nan + 0x1f * a", {"a"}),
        ("max_over_time(a[1h:1m]) atan2 b and c", {"a", "b", "c"}),
        ("quantile (0.5, sum)", {"sum"}),
        ("topk(3, sumo)", {"sumo"}),
        ("time() - vector(0)", set()),
    ],
)  # fmt: skip
def test_a_metric_is_told_from_functions_labels_and_words(expression: str, expected: set[str]) -> None:
    """What promtool parses is read by name alone here."""
    found = names_in(expression)
    assert found - {"sum"} == expected - {"sum"}


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    """A dashboard's query may hold anything."""
    names_in(text)
    labels_in(text)
    list(rule_fields(text))
    coverage.exported_names(text)


def test_rules_are_read_as_yaml_reads_them() -> None:
    """One line, quotes, folded blocks, a field that comes first in its item: our files, both readers."""
    for path in sorted(MONITORING.glob("*.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "groups" not in content:
            continue
        found = list(rule_fields(path.read_text(encoding="utf-8")))
        rules = [rule for group in content["groups"] for rule in group["rules"]]
        expected = [" ".join(rule["expr"].split()) for rule in rules]
        assert [" ".join(value.split()) for key, value in found if key == "expr"] == expected
        assert [value for key, value in found if key == "record"] == [
            rule["record"] for rule in rules if "record" in rule
        ]


async def exposition(heard: Heard) -> str:
    heard.telemetry.watch(FakeOffice())
    await heard.telemetry.refresh()
    return heard.telemetry.exposition("")[1].decode()


async def test_everything_that_watches_us_is_exported_recorded_or_declared_absent(heard: Heard) -> None:
    """D26, D35: the original's alerts and dashboards watched series that nobody emitted."""
    named, recorded = read_folder(MONITORING)
    found = compare(named, recorded, await exposition(heard), PAGE)
    assert found.wrong == ()
    assert found.names > 50
    assert {one.place for one in named} >= {"alert_rules.yml", "prometheus_recording_rules.yml"}


async def test_a_name_that_nobody_exports_is_found(heard: Heard) -> None:
    """With every file that speaks of it."""
    named = [
        Named(name="treasury_balance_ct", place="alerts.yml"),
        Named(name="treasury_balance_ct", place="board.json"),
        Named(name="a:b", place="board.json"),
        Named(name="up", place="alerts.yml"),
        Named(name="scrape_duration_seconds", place="alerts.yml"),
    ]
    found = compare(named, {"a:b"}, await exposition(heard), PAGE)
    assert found.wrong == ("treasury_balance_ct: nothing exports or records it (alerts.yml, board.json)",)


async def test_a_label_that_a_metric_does_not_have_is_found(heard: Heard) -> None:
    """The original grouped disputes by `dispute_type`, and the label was `type`; the scrape's own labels are known."""
    expression = (
        'treasury_balance{job="x",instance=~"$i",acount="a"} + treasury:x{any="y"} + '
        'treasury_executor_tick_duration_seconds_bucket{le="5.0", quantile!="1"}'
    )
    named = [Named(name=name, place="a.yml", labels=labels) for name, labels in labels_in(expression).items()]
    found = compare(named, {"treasury:x"}, await exposition(heard), PAGE)
    assert found.mislabelled == (
        "treasury_balance: has no label acount (a.yml)",
        "treasury_executor_tick_duration_seconds_bucket: has no label quantile (a.yml)",
    )
    assert found.wrong == found.mislabelled


async def test_what_is_declared_and_not_exported_is_told_apart_from_what_may_be_absent(heard: Heard) -> None:
    """A daemon whose executor hides a gauge is wrong; one without an observer is not."""
    text = "\n".join(
        line
        for line in (await exposition(heard)).splitlines()
        if not line.startswith("treasury_executor_ready")
    )
    optional = next(
        family for family in registry.ALL if family.absent.startswith("while the observer is off")
    )
    named = [
        Named(name="treasury_executor_ready", place="a.yml"),
        Named(name=optional.sample_names[0], place="a.yml"),
    ]
    found = compare(named, set(), text, PAGE)
    assert found.silent == ("treasury_executor_ready: declared, and this daemon does not export it (a.yml)",)
    assert found.absent == (f"{optional.sample_names[0]}: absent {optional.absent}",)
    assert found.wrong == found.silent


def test_what_is_exported_has_to_be_declared_and_documented() -> None:
    """A series that slipped past the registry, and one that the page forgot."""
    found = compare([], set(), 'smuggled_total{a="b"} 1\ntreasury_kill_switch 0\n', "")
    assert found.undeclared == ("smuggled_total: exported, and the registry does not know it",)
    assert found.undocumented == ("treasury_kill_switch: exported, and not in the page",)


def test_dashboards_are_read_to_the_bottom(tmp_path: Path) -> None:
    """Panels in rows, variables, annotations; what asks for labels names a metric too."""
    board = {
        "panels": [{"panels": [{"targets": [{"expr": "rate(a_total[5m])"}]}]}],
        "templating": {
            "list": [
                {"type": "query", "query": "label_values(b_metric, account)"},
                {"query": {"query": "c_metric"}},
                {"type": "datasource", "query": "prometheus"},
            ]
        },
        "annotations": {"list": [{"expr": "d_metric"}]},
    }
    (tmp_path / "board.json").write_text(json.dumps(board))
    named, recorded = read_folder(tmp_path)
    assert {one.name for one in named} == {"a_total", "b_metric", "c_metric", "d_metric"}
    assert {one.name: one.labels for one in named}["b_metric"] == {"account"}
    assert recorded == set()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "neither rules nor dashboards"),
        (b"{", "is no JSON"),
        (b"\xff", "cannot be read"),
        (b" " * 17 * 2**20, "larger than"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    """With the file's name; a check over nothing would pass for ever."""
    if content is not None:
        (tmp_path / "board.json").write_bytes(content)
    with pytest.raises(Rejected, match=message):
        read_folder(tmp_path)
