"""docs/observability-map.md leads somewhere: its panels exist, show the metrics beside them, and none is left out."""

import re
from pathlib import Path

import pytest
from tests.ops.boards import FILES, metrics_in, queries

PAGE = Path(__file__).parents[2] / "docs" / "observability-map.md"
ROW = re.compile(
    r"^\| (?P<question>[^|]+\?) \| (?P<metrics>[^|]+) \| (?P<panels>[^|]+) \| (?P<commands>[^|]+) \|$",
    re.MULTILINE,
)
ROWS = [found.groupdict() for found in ROW.finditer(PAGE.read_text(encoding="utf-8"))]

SHOWN: dict[tuple[str, int], set[str]] = {}
for _path in FILES:
    for _query in queries(_path):
        _place = (_path.stem.split("_")[1], _query.panel)
        SHOWN.setdefault(_place, set()).update(metrics_in(_query.expr))


def places(text: str) -> list[tuple[str, int]]:
    """The panels of a cell: a board's name holds until the next."""
    board, found = "", []
    for word in re.findall(r"[a-z]+|\d+", text):
        if word.isdigit():
            found.append((board, int(word)))
        else:
            board = word
    return found


def test_there_are_questions() -> None:
    """A test over nothing would pass for ever."""
    assert len(ROWS) > 30
    assert len(SHOWN) > 80


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["question"])
def test_a_question_leads_to_panels_that_show_its_metrics(row: dict[str, str]) -> None:
    """Each metric of the row stands in one of its panels, each of its panels shows one of them."""
    metrics = set(re.findall(r"`([^`]+)`", row["metrics"]))
    panels = places(row["panels"])
    assert metrics
    assert panels
    assert set(panels) <= SHOWN.keys()
    assert metrics <= set().union(*(SHOWN[place] for place in panels))
    assert [place for place in panels if not SHOWN[place] & metrics] == []


def test_every_panel_answers_a_question() -> None:
    """A panel that nobody asks for is noise."""
    asked = {place for row in ROWS for place in places(row["panels"])}
    assert SHOWN.keys() - asked == set()
