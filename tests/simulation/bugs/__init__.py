"""
A catalogue of ways to break the protocol, each planted by name and in test code only.

A test that cannot see a planted bug does not test the rule that the bug breaks: the simulator has to find every one of
them, and `pytest --plant NAME` runs any other test with one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One planted bug: what it is called, the rule that it breaks, what it does, and how it is planted."""

    name: str
    rule: str
    story: str
    plant: Callable[[pytest.MonkeyPatch], None]


BUGS: Final[Mapping[str, Bug]] = {}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """
    Run the body with a bug in the product.

    Raises: KeyError for a name that the catalogue does not hold.
    """
    bug = BUGS[name]
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        yield
