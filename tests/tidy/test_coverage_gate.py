"""`make coverage` says what no test runs, and cannot be passed by measuring less."""

import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
GATE = runpy.run_path(str(ROOT / "tools" / "coverage_gate.py"))
LEASE = "daemon/treasuryd/core/lease.py"


def measured(**more: Any) -> dict[str, Any]:
    """What coverage reports of one module of four lines and two branches, of which all ran."""
    summary = {"num_statements": 4, "num_branches": 2, "covered_lines": 4, "covered_branches": 2}
    return {"summary": summary, "missing_lines": [], "missing_branches": [], "excluded_lines": []} | more


def test_each_pattern_names_modules_that_are_there() -> None:
    """A module that was renamed would otherwise leave the gate without a word."""
    patterns = [pattern for some in GATE["GUARDED"].values() for pattern in some]
    assert [one for one in patterns if not list((ROOT / GATE["PACKAGE"]).glob(one))] == []


def test_a_line_and_a_branch_that_no_test_runs_are_named() -> None:
    """A branch out of a line that never ran is not said twice."""
    module = measured(missing_lines=[7], missing_branches=[[3, -1], [5, 9], [7, 8]])
    found = list(GATE["uncovered"](["core/lease.py"], {LEASE: module}))
    assert found == [f"{LEASE}:7", f"{LEASE}:3 -> its end", f"{LEASE}:5 -> 9"]


def test_nothing_is_said_of_what_is_covered_or_not_guarded() -> None:
    """Only the named modules are judged."""
    files = {LEASE: measured(), "daemon/treasuryd/core/fees.py": measured(missing_lines=[1])}
    assert list(GATE["uncovered"](["core/lease.py"], files)) == []


def test_what_was_not_measured_is_not_covered() -> None:
    """Neither a module that is missing from the report, nor a line that a comment keeps out of it."""
    assert list(GATE["uncovered"](["core/lease.py"], {})) == ["core/lease.py: no such module was measured"]
    kept_out = measured(excluded_lines=[2])
    assert list(GATE["uncovered"](["core/*.py"], {LEASE: kept_out})) == [
        f"{LEASE}:2 is kept out of the measurement"
    ]


def test_a_part_is_summed_over_its_modules() -> None:
    """In percent of lines and branches together."""
    half = {"num_statements": 4, "num_branches": 0, "covered_lines": 2, "covered_branches": 0}
    files = {LEASE: measured(), "daemon/treasuryd/core/limits.py": measured(summary=half)}
    assert GATE["row"]("lease", ["core/*.py"], files) == {
        "part": "lease",
        "modules": 2,
        "lines": 8,
        "branches": 2,
        "percent": 80.0,
    }
