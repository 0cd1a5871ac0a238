"""The dashboards are what Grafana reads, are written by the generator, and ask only for what exists."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from tests.ops.boards import (
    FILES,
    OF_PROMETHEUS,
    Asked,
    filled_in,
    loaded,
    metrics_in,
    panels,
    queries,
    recorded,
)
from tests.ops.promql import by_name, read
from tests.ops.rules import RULES, raw_labels
from tools.boards.parts import Board
from tools.boards.treasury import BOARD as TREASURY
from tools.dashboards import BOARDS, text

from treasuryd.telemetry.registry import BY_SAMPLE

SCHEMAS = Path(__file__).parent / "grafana"
ASKED = [query for path in FILES for query in queries(path)]
IDS = {"overview": 400, "treasury": 100, "energy": 200, "receipts": 300}
PANELS = {
    "treasury": {*range(100, 109), 110, 111, 112},
    "energy": {*range(200, 214)},
    "receipts": {*range(300, 311)},
}

every_board = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return found


def complaints(value: object, against: dict[str, Any]) -> list[str]:
    """What Grafana's types say against a value, with the place."""
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(against).iter_errors(value)]


def of_panel(panel: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    """What the types of this kind of panel say against its options, and against its custom field options."""
    known = schemas[panel["type"]]
    found = complaints(panel["options"], known["options"])
    custom = panel["fieldConfig"]["defaults"].get("custom")
    return found + (complaints(custom, known["custom"]) if custom else [])


def test_there_are_four_boards() -> None:
    """A test over nothing would pass for ever."""
    assert {path.stem for path in FILES} == {f"grafana_{name}_dashboard" for name in IDS}
    assert len(ASKED) > 100


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_board_is_as_the_generator_writes_it(board: Board) -> None:
    """Nobody edits the JSON: `python -m tools.dashboards`."""
    (path,) = [path for path in FILES if path.stem == board.file]
    assert path.read_text(encoding="utf-8") == text(board)


@every_board
def test_a_board_is_of_grafanas_types(path: Path) -> None:
    """The whole, the options of each kind of panel, each query: closed types, so that a misspelt field is found."""
    board = loaded(path)
    assert complaints(board, schema("dashboard")) == []
    kinds, query = schema("panels"), schema("query")
    for panel in panels(board):
        assert of_panel(panel, kinds) == [], panel["title"]
        for target in panel["targets"]:
            assert complaints(target, query) == [], panel["title"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda board: board.update(refesh="10s"), id="a misspelt field of the board"),
        pytest.param(lambda board: panels(board)[0]["gridPos"].update(w="8"), id="a width that is text"),
        pytest.param(
            lambda board: panels(board)[0]["fieldConfig"]["defaults"].update(threshold={}),
            id="a misspelt threshold",
        ),
    ],
)
def test_what_grafana_does_not_know_is_found(spoil: Any) -> None:
    """The check itself looks."""
    board = loaded(FILES[0])
    spoil(board)
    assert complaints(board, schema("dashboard")) != []


def test_misspelt_options_of_a_panel_are_found() -> None:
    """The check of options looks, too."""
    board = loaded(FILES[0])
    for panel in panels(board):
        panel["options"]["colourMode"] = "value"
        assert of_panel(panel, schema("panels")) != [], panel["type"]


@every_board
def test_numbers_of_panels_are_their_own(path: Path) -> None:
    """Unique over all boards, from the board's own hundred; those that operators know are all there."""
    name = path.stem.split("_")[1]
    numbers = [panel["id"] for panel in loaded(path)["panels"]]
    assert len(numbers) == len(set(numbers))
    assert all(IDS[name] <= number < IDS[name] + 100 for number in numbers)
    assert PANELS.get(name, set()) <= set(numbers)


def test_the_breaker_has_a_row_of_three() -> None:
    """State, failures and successes, beside each other."""
    board = json.loads(text(TREASURY))
    row = [panel for panel in panels(board) if panel["id"] in {110, 111, 112}]
    assert len({panel["gridPos"]["y"] for panel in row}) == 1
    assert [panel["gridPos"]["x"] for panel in row] == [0, 8, 16]


@every_board
def test_panels_do_not_overlap(path: Path) -> None:
    """Every place of the grid belongs to one panel."""
    taken: set[tuple[int, int]] = set()
    for panel in loaded(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_overview_is_one_screen() -> None:
    """A full-HD screen shows 24 rows of the grid or so."""
    (path,) = [path for path in FILES if "overview" in path.stem]
    found = panels(loaded(path))
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in found) <= 24
    assert [panel["type"] for panel in found].count("nodeGraph") == 1


@every_board
def test_every_panel_says_what_it_shows(path: Path) -> None:
    """A sentence, a unit, a query, thresholds that rise."""
    for panel in panels(loaded(path)):
        assert panel["description"].endswith((".", "default.")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert steps[0] is None, panel["title"]
        assert steps[1:] == sorted(steps[1:]), panel["title"]


@every_board
def test_boards_have_their_variables(path: Path) -> None:
    """The data source and the instance are chosen everywhere, the account where payments are shown."""
    board = loaded(path)
    names = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board["panels"])))
    assert used - {"__rate_interval"} <= names
    assert {"datasource", "instance"} <= used
    if {"treasury", "overview"} & set(path.stem.split("_")):
        assert "account" in used


@pytest.mark.parametrize("query", ASKED, ids=str)
def test_a_query_names_a_rule_or_an_exported_metric(query: Asked) -> None:
    """D26: most of the original's panels asked for series that nothing exported."""
    names = metrics_in(filled_in(query.expr))
    assert names
    assert names - recorded() - set(BY_SAMPLE) - OF_PROMETHEUS == set()


@pytest.mark.parametrize("query", ASKED, ids=str)
def test_raw_metrics_carry_the_job(query: Asked) -> None:
    """A node of the chain exports some of the same names, and sums would count twice."""
    for name in metrics_in(filled_in(query.expr)) & set(BY_SAMPLE):
        selectors = re.findall(rf"\b{name}(\{{[^}}]*\}})?", query.expr)
        assert all('job="treasury-executor"' in one for one in selectors), name


def test_results_carry_the_labels_that_legends_name() -> None:
    """Operands match, labels exist: what Prometheus would answer with nothing, or Grafana with an empty name."""
    recorded = {
        rule.name: (rule.reading.labels or frozenset()) | set(rule.body.get("labels", {}))
        for rule in RULES
        if rule.reading is not None
    }
    recorded["ALERTS"] = frozenset({"alertname", "alertstate"})
    labels_of = by_name(recorded, raw_labels)
    for path in FILES:
        for panel in panels(loaded(path)):
            for target in panel["targets"] if panel["type"] != "nodeGraph" else ():
                found = read(filled_in(target["expr"]), labels_of).labels
                named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                assert named <= (found or set()), target["expr"]


def test_names_are_found_in_expressions() -> None:
    """The reading of PromQL looks."""
    expr = 'sum by (le) (rate(a_bucket{job="x",le="0.5"}[5m])) / on () (b:c:d > bool 0) or vector(0)'
    assert metrics_in(expr) == {"a_bucket", "b:c:d"}
    assert metrics_in('label_replace(up{a="b"} == 1, "id", "$1", "x", "(.+)") or time() - z') == {"up", "z"}
