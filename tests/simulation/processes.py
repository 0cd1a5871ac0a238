"""
Promises of each process by itself: it rests between ticks, stops when it is told to, ends when its storage failed.

None of them is about money, and each keeps something that is.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.machine import EPOCH_SECONDS
from tests.simulation.promises import Promises

from treasuryd.core.model import AccountId, Head, Intent, SignRequest

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
        self.lowest = 0  # the highest that all heads of any one reading reached
        self.risen = (0, 0.0)  # the believed height as it was last seen, and since when at the earliest
        self.looked = 0.0  # when that was looked at
        self.excess: dict[tuple[str, float], int] = {}  # by process and since when: what it took for settled
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

    def begins(self, process: "Process", what: str, rows: Sequence[Intent | SignRequest]) -> None:
        """Be told that a broadcast or a signing begins."""
        halted = self.halted.get(process.name, set())
        for row in rows:
            if row.account in halted:
                say = f"{process.name} {what} nonce {row.nonce} of {row.account}"
                self.broken.append(f"{say}, which it was told to halt")

    def heads(self, said: Sequence[Head]) -> None:
        """Be told of one reading of all heads."""
        self.lowest = max(self.lowest, min(head.height for head in said))

    def check(self) -> None:
        """What holds at any time."""
        changed = self.changed
        super().check()
        if changed:
            self._depth()
            self._pace()
        self.looked = self.history.loop.now
        now = self.history.loop.now
        for machine in self.history.machines:
            process = machine.process
            if process is None or process.dead or process.paused:
                continue
            self._unbelieved(process)
            if process.ends_by is None:
                continue
            assert now <= process.ends_by, f"{process.name} goes on, though its storage failed"

    def _depth(self) -> None:
        """Settled and final is what lies so deep under the lowest head of one reading (R9, R16)."""
        deep = max(0, self.lowest - self.history.rules.finality_depth)
        settled = self.history.rows("SELECT settled_height FROM chain")[0][0]
        assert settled <= deep, f"height {settled} is settled, and no reading had all heads above {deep}"
        for intent, height in self.history.rows("SELECT id, height FROM intent WHERE state = 'final'"):
            assert height is None or height <= deep, (
                f"intent {intent} is final at {height}, and no reading had all heads above {deep}"
            )

    def _pace(self) -> None:
        """The believed height rises at its pace; the finality depth is a spare, of each process that reads (R16)."""
        history, (before, when) = self.history, self.risen
        believed, risen_at = history.rows("SELECT believed, risen_at FROM chain")[0]
        now = history.loop.now
        if believed <= before:
            return
        rules = history.rules
        spare = rules.finality_depth * (1 + len(history.machines))
        most = before + spare + rules.max_blocks_per_second * (now - when)
        assert before == 0 or believed <= most or history.met["clock step"] or self.restored, (
            f"height {believed} is believed, {now - when:.1f} s after {before}"
        )
        self.risen = (
            believed,
            min(self.looked, risen_at - EPOCH_SECONDS),
        )  # it may be written down much later

    def _unbelieved(self, process: "Process") -> None:
        """While the only head is beyond belief, nothing more is settled (R16)."""
        belief = process.mind.belief if process.mind is not None else None
        if belief is None or belief.excess_since is None or len(self.history.node_list) > 1:
            return
        before = self.excess.setdefault((process.name, belief.excess_since), belief.settled)
        assert belief.settled == before or len(self.history.machines) > 1, (
            f"{process.name} settles epoch {belief.settled} on a head beyond belief, {before} was settled before it"
        )
