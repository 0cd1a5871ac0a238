"""Bugs of the circuit breaker (protocol.md §7)."""

from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.chain.guard import Guard
from treasuryd.core import breaker
from treasuryd.executor import tick as ticking


def ask_once_a_tick(patch: pytest.MonkeyPatch) -> None:
    """Leave that a tick was given once is good for all its calls of that class to that endpoint."""

    def begin(right: Any) -> Any:
        async def tick(world: Any, *args: Any) -> Any:
            for node in getattr(world.chain, "_nodes", ()):
                for guard in node.guards.values():
                    guard.given = None
            return await right(world, *args)

        return tick

    def make(right: Any) -> Any:
        def admit(self: Any) -> Any:
            if getattr(self, "given", None) is None:
                self.given = right(self)
            return self.given

        return admit

    wrap(patch, ticking, "tick", begin)
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
