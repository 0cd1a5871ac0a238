"""
Where a process may die: before and after each await of its own code, and before each SQL statement and after each commit.

An await is counted where it enters or leaves one of our coroutines (call, suspension, resumption, return), in the
executor, the store, its driver, the chain adapter or the signer; so none can be forgotten when code is added.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

PACKAGES: Final = ("executor", "store", "sqlite", "chain", "signer")
OURS: Final = tuple(f"/treasuryd/{package}/" for package in PACKAGES)


class Died(BaseException):
    """The process is gone: no handler of it may run on."""


@dataclass
class Points:
    """Counts what a process passes, and kills it at one of them: `at` is counted from 0, -1 is never."""

    at: int = -1
    passed: int = 0
    dead: bool = False
    places: dict[str, int] = field(default_factory=dict)  # how often each was passed

    def again(self, at: int = -1) -> None:
        """Begin anew, for the next process."""
        self.at, self.passed, self.dead = at, 0, False

    def pass_by(self, place: str) -> None:
        """Be at one of them."""
        if self.dead:
            raise Died(place)  # whatever runs on after its death does nothing
        self.places[place] = self.places.get(place, 0) + 1
        self.passed += 1
        if self.passed - 1 == self.at:
            self.dead = True
            raise Died(place)


@contextmanager
def awaits(points: Points) -> Iterator[None]:
    """Count the awaits of everything that runs meanwhile."""
    before = sys.getprofile()
    sys.setprofile(_listener(points))
    try:
        yield
    finally:
        sys.setprofile(before)


def _listener(points: Points) -> Callable[[FrameType, str, Any], None]:
    known: dict[str, str] = {}

    def hear(frame: FrameType, event: str, _value: Any) -> None:
        code = frame.f_code
        if not code.co_flags & inspect.CO_COROUTINE or event not in {"call", "return"}:
            return
        place = known.get(code.co_filename)
        if place is None:
            place = known[code.co_filename] = _place(code.co_filename)
        if place and not points.dead:
            points.pass_by(f"{place}:{code.co_name} {event}")

    return hear


def _place(file: str) -> str:
    return next((file.partition("/treasuryd/")[2] for package in OURS if package in file), "")
