"""docs/evidence.md says what the records say, and nothing else."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "evidence"
PAGE = runpy.run_path(str(ROOT / "tools" / "evidence.py"))
RECORDS = sorted(FOLDER.glob("*.json"))
FIELDS = {"what", "command", "machine", "date", "python", "sqlite", "figures"}


def test_the_page_is_made_from_the_records() -> None:
    """`make evidence` writes it; a figure that somebody types is found here."""
    assert (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8") == PAGE["page"](FOLDER)


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_each_record_says_where_its_figures_come_from(file: Path) -> None:
    """And names no machine but by its processor."""
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record.keys() >= FIELDS
    assert not [
        place for place in ("/root", "/home", "/tmp", "/work") if place in file.read_text(encoding="utf-8")
    ]


def test_what_was_not_run_is_said(tmp_path: Path) -> None:
    """An empty folder makes a page without a single figure."""
    page = PAGE["page"](tmp_path)
    assert page.count("*Not run*") == len(PAGE["SECTIONS"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12_345, "12,345"),
        (0.5, "0.5"),
        (True, "yes"),
        (None, "-"),
        ([], "none"),
        ({"a": 1, "b": [2, 3]}, "a 1, b 2, 3"),
        ("a|b\nc", "a\\|b c"),
    ],
)
def test_a_figure_is_shown_as_recorded(value: Any, shown: str) -> None:
    """Numbers with separators, lists in one line, nothing that breaks a table."""
    assert PAGE["_cell"](value) == shown


def test_a_list_of_rows_is_a_table(tmp_path: Path) -> None:
    """The columns of all rows, in their order."""
    rows = [{"bug": "a", "seed": 1}, {"bug": "b", "broke": "x"}]
    record = {"what": "A trial.", "command": "make bugs", "figures": {"bugs": 2, "catalogue": rows}}
    (tmp_path / "bugs.json").write_text(json.dumps(record), encoding="utf-8")
    page = PAGE["page"](tmp_path)
    assert "| bug | seed | broke |\n|---|---|---|\n| a | 1 | - |\n| b | - | x |\n" in page


def test_a_seed_stands_as_one_types_it(tmp_path: Path) -> None:
    """It goes into a command; other numbers have separators."""
    figures = {"seeds": 128_000, "failing seeds": [109_892], "mended": [{"seed": 48_113}]}
    record = {"what": "A trial.", "command": "make sim-long", "figures": figures}
    (tmp_path / "simulation.json").write_text(json.dumps(record), encoding="utf-8")
    page = PAGE["page"](tmp_path)
    assert "| seeds | 128,000 |\n| failing seeds | 109892 |\n" in page
    assert "| 48113 |" in page
