"""Bugs of the circuit breaker (protocol.md §7)."""

from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.chain.guard import Guard
from treasuryd.core import breaker


def ask_once_a_tick(patch: pytest.MonkeyPatch) -> None:
    """Leave that was given at a moment is good for every call of that moment: the clock stands still in a tick."""
    given: dict[int, tuple[float, Any]] = {}

    def make(right: Any) -> Any:
        def admit(self: Any) -> Any:
            now, known = self.clock.boot_seconds(), given.get(id(self))
            if known is None or known[0] != now or known[1]._guard is not self:
                given[id(self)] = (now, right(self))
            return given[id(self)][1]

        return admit

    wrap(patch, Guard, "admit", make)


def admit_all(patch: pytest.MonkeyPatch) -> None:
    edit(patch, breaker, "ask", ("breaker.probe is not None and now < breaker.probe.expires_at", "False"))


BUGS: Final = (
    Bug(
        name="breaker_asked_once",
        rule="§7",
        story="the breaker is asked once a tick, not once a call",
        plant=ask_once_a_tick,
    ),
    Bug(
        name="half_open_admits_all",
        rule="§7",
        story="a half-open breaker lets every call through",
        plant=admit_all,
    ),
)
