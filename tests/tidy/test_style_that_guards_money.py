"""The few rules of style that are checked because money hangs on them; the rest is a reviewer's eye (style.md rule 30)."""

import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import StrEnum
from inspect import getmembers, isclass
from pathlib import Path
from types import ModuleType

import pytest

from treasuryd.core import breaker, changes, events, model
from treasuryd.telemetry import metrics
from treasuryd.telemetry.registry import counted

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daemon" / "treasuryd"
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in {"core", "wire"}]


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Every call of a module as (line, last name called)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            yield node.lineno, name


def offenders(paths: list[Path], banned: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in paths
        for line, name in calls(path)
        if name in banned
    ]


def test_there_is_something_to_look_at() -> None:
    """A rule over no files holds always."""
    assert len(MODULES) > 50
    assert len(PURE) > 20


def test_nobody_waits_with_wait_for() -> None:
    """On Python 3.11 asyncio.wait_for can swallow a cancellation; a condition's own wait_for has nothing of it."""
    found = [
        place
        for place in offenders(MODULES, {"wait_for"})
        if "telemetry/logs.py" not in place  # a Condition
    ]
    assert found == []


def test_the_core_asks_no_clock() -> None:
    """Values of time may be held in the core; the time of day may not be asked there."""
    assert offenders(PURE, {"now", "utcnow", "today", "time", "monotonic", "clock_gettime"}) == []


def test_the_core_draws_no_chance_and_does_nothing() -> None:
    """Same view, same decision: the simulator replays it."""
    assert (
        offenders(PURE, {"open", "print", "input", "randint", "random", "token_hex", "uuid4", "getenv"}) == []
    )
    for path in PURE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree)), path


def test_the_package_is_importable_under_one_name_only() -> None:
    """With an __init__.py in daemon/ every class would exist twice, and `isinstance` would lie."""
    assert not (ROOT / "daemon" / "__init__.py").exists()


@pytest.mark.parametrize("module", [model, changes, events, breaker], ids=lambda module: module.__name__)
def test_values_are_frozen(module: ModuleType) -> None:
    """What a decision is made from cannot change under it."""
    values = [
        kind
        for _, kind in getmembers(module, isclass)
        if is_dataclass(kind) and kind.__module__.startswith(module.__name__)
    ]
    assert values
    for kind in values:
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined] # as the standard library names it
        assert hasattr(kind, "__slots__") or not fields(kind), kind


def test_labels_come_from_enums() -> None:
    """D26: what grows with events has labels of closed sets alone, and is made of the registry's word in two places."""
    tree = ast.parse(Path(metrics.__file__).read_text(encoding="utf-8"))
    made = [
        getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in {"Counter", "Gauge", "Histogram", "Summary"}
    ]
    assert sorted(made) == ["Counter", "Histogram"], "only `_counter` and `_histogram` make metrics"
    assert all(label.values for family in counted.FAMILIES for label in family.labels)


def test_a_label_is_never_made_of_text() -> None:
    """
    Every `.labels(...)` of telemetry takes `.value` of a member, or `label(...)` which falls back on `other`.

    One alone takes a place of the closed sets, before there was any event.
    """
    places = 0
    for path in sorted((PACKAGE / "telemetry").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "labels":
                (argument,) = node.args
                from_member = isinstance(argument, ast.Attribute) and argument.attr == "value"
                from_label = isinstance(argument, ast.Call) and getattr(argument.func, "id", "") == "label"
                place = isinstance(argument, ast.Starred) and getattr(argument.value, "id", "") == "place"
                places += place
                assert from_member or from_label or place, f"{path.name}:{node.lineno}"
    assert places == 1


def test_statuses_and_reasons_are_words_of_a_closed_set() -> None:
    """The same word stands in the database, the API and the log."""
    for _, kind in getmembers(model, lambda one: isclass(one) and issubclass(one, StrEnum)):
        assert all(member.value == member.value.lower() and " " not in member.value for member in kind), kind


def test_committed_text_names_no_machine() -> None:
    """Configuration, units and sources work on any machine."""
    private = ("/root/", "/home/")
    texts = [
        path
        for folder in ("daemon", "config", "systemd", "launchd", "monitoring", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for path in texts:
        text = path.read_bytes().decode("utf-8", "replace")
        assert not any(place in text for place in private), path
