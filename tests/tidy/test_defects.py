"""Every known defect of the original, and every trap of its node, has a regression test that is named after it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daemon" / "treasuryd"
DEFECTS = [f"D{number}" for number in range(1, 41)]
TRAPS = [f"N{number}" for number in range(1, 18)]


def functions(folder: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def named() -> set[str]:
    """Rows that stand at the head of a test's docstring."""
    found: set[str] = set()
    for function in functions(ROOT / "tests"):
        if function.name.startswith("test_"):
            head = re.match(r"(?:[DNR]\d+|[,\s]|§[\d.]+)+:", ast.get_docstring(function) or "")
            found |= set(re.findall(r"[DN]\d+", head[0])) if head else set()
    return found


ROWS = named()


@pytest.mark.parametrize("row", [*DEFECTS, *TRAPS])
def test_each_row_has_a_test_that_is_named_after_it(row: str) -> None:
    """A defect that is not tested comes back."""
    assert row in ROWS


def test_there_is_one_planner_and_one_tick() -> None:
    """D32: the original had two diverging copies; here every caller, tests included, runs the same one."""
    decisions = [function for function in functions(PACKAGE) if function.name == "decide"]
    ticks = [function for function in functions(PACKAGE / "executor") if function.name == "tick"]
    assert (len(decisions), len(ticks)) == (1, 1)
