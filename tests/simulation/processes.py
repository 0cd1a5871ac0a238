"""
Promises of each process by itself: it rests between ticks, stops when it is told to, ends when its storage failed.

None of them is about money, and each keeps something that is.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.promises import Promises

from treasuryd.core.model import AccountId, Intent

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.machine import Process

TICKS: Final = (
    60  # of one process within one second: it goes on at once while work remains, and work is bounded
)


class ProcessPromises(Promises):
    """The watchman, with an eye on each process."""

    def __init__(self, history: "History") -> None:
        super().__init__(history)
        self.ticks: Counter[tuple[str, int]] = Counter()
        self.halted: dict[str, set[AccountId]] = {}  # by process: what the tick under way has to leave alone
        self.strange: float | None = None  # since when another chain is served

    def viewed(self, process: "Process", view: Any) -> None:
        """A tick begins: it has read the store."""
        super().viewed(process, view)
        self.halted.pop(process.name, None)  # what was stored until now, it has seen
        second = int(self.history.loop.now)
        self.ticks[process.name, second] += 1
        if self.ticks[process.name, second] > TICKS:
            self.broken.append(f"{process.name} ticked {TICKS} times in second {second}: it spins")
        if self.strange is not None and process.born > self.strange and self._pinned():
            self.broken.append(f"{process.name} began on another chain, and serves it")

    def _pinned(self) -> bool:
        return bool(self.history.rows("SELECT genesis FROM chain")[0][0])

    def halts(self, process: "Process", account: AccountId) -> None:
        """Be told that a process was asked to halt an account: the tick under way begins nothing more of it (R14)."""
        self.halted.setdefault(process.name, set()).add(account)

    def broadcasts(self, process: "Process", sealed: Sequence[Intent]) -> None:
        """Be told that a broadcast begins."""
        halted = self.halted.get(process.name, set())
        for intent in sealed:
            if intent.account in halted:
                say = f"{process.name} broadcasts nonce {intent.nonce} of {intent.account}"
                self.broken.append(f"{say}, which it was told to halt")

    def check(self) -> None:
        """What holds at any time."""
        super().check()
        now = self.history.loop.now
        for machine in self.history.machines:
            process = machine.process
            if process is None or process.dead or process.paused or process.ends_by is None:
                continue
            assert now <= process.ends_by, f"{process.name} goes on, though its storage failed"
