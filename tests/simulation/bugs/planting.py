"""
How a bug gets into the product: where a thing is defined, and everywhere else where it was imported by name.

Each of these fails with AttributeError when what it is to change is not there any more: the code was changed, and the bug
has to follow it, or it would be planted nowhere and found by nobody.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import pytest

import treasuryd
from treasuryd.store import queries


@cache
def load_all() -> None:
    """Import the whole product, so that no module is imported while a bug is planted, and keeps it."""
    for module in pkgutil.walk_packages(treasuryd.__path__, "treasuryd."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def modules() -> Iterator[ModuleType]:
    """Name every module of the product that is imported."""
    load_all()
    yield from [module for name, module in sorted(sys.modules.items()) if name.startswith("treasuryd")]


def swap(patch: pytest.MonkeyPatch, owner: Any, name: str, wrong: Any) -> None:
    """Put `wrong` in the place of what a module or class calls `name`, also where it was imported by name."""
    found = getattr(owner, name)
    patch.setattr(owner, name, wrong)
    for module in modules():
        for known, value in list(vars(module).items()):
            if value is found:
                patch.setattr(module, known, wrong)
            elif isinstance(value, dict):
                for key in [key for key, entry in value.items() if entry is found]:
                    patch.setitem(value, key, wrong)


def wrap(patch: pytest.MonkeyPatch, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of a function in its place."""
    swap(patch, owner, name, make(getattr(owner, name)))


def edit(patch: pytest.MonkeyPatch, owner: Any, name: str, *changes: tuple[str, str]) -> None:
    """
    Put a function in the place of the one called `name`, with some of its text changed: (old, new), each found once.

    Formatting and comments do not matter: both sides are compared as parsed.
    """
    found = getattr(owner, name)
    function: Any = found.fget if isinstance(found, property) else found
    text = _parsed(inspect.getsource(function).removeprefix("    @property\n"))
    for old, new in changes:
        wanted = _parsed(old)
        if text.count(wanted) != 1:
            raise AttributeError(f"{owner.__name__}.{name} does not say once: {old}")
        text = text.replace(wanted, new)
    space: dict[str, Any] = {}
    exec(compile(text, f"<{name}, with a bug>", "exec"), function.__globals__, space)
    wrong = space[name]
    swap(patch, owner, name, property(wrong) if isinstance(found, property) else wrong)


def _parsed(text: str) -> str:
    """Write a piece of source as the parser prints it, where it is whole."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(text)))
    except SyntaxError:
        return " ".join(text.split())


def reword(patch: pytest.MonkeyPatch, known: Mapping[str, str], name: str, old: str, new: str) -> None:
    """Change a piece of a named query, wherever it was loaded; what it writes is journalled as before."""
    text = known.get(name, "")
    if old not in text:
        raise AttributeError(f"the query {name} does not say: {old}")
    wrong = text.replace(old, new)
    for module in modules():
        for value in list(vars(module).values()):
            if isinstance(value, dict) and value.get(name) == text:
                patch.setitem(value, name, wrong)
    full = queries._names[text]
    patch.setitem(queries._names, wrong, full)
    if full is not None:
        patch.setitem(queries._texts, full, wrong)


def statement(patch: pytest.MonkeyPatch, sql: str) -> str:
    """Make a statement that writes known to the journal, so that a bug which uses it breaks its own rule alone."""
    name = f"planted.{len(queries._names)}"
    patch.setitem(queries._names, sql, name)
    patch.setitem(queries._texts, name, sql)
    return sql
