"""What the executor remembers between two ticks, and shows to web and commands: the `Engine` port, on the same loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from treasuryd.core.agreement import Agreement
from treasuryd.core.epochs import Belief
from treasuryd.core.model import (
    AccountId,
    BaseUnits,
    BootSeconds,
    Epoch,
    Held,
    Hold,
    IntentId,
    Lease,
    Moment,
    Snapshot,
    Term,
)
from treasuryd.core.planner import NO_FEE
from treasuryd.ports import Clock, Vitals


@dataclass(slots=True, kw_only=True)
class Mind:
    """
    The only mutable state of the executor; written by its tasks, read by everybody on the loop.

    Guarantees: nothing in here is an input to a decision about money that the store does not check again.
    """

    clock: Clock
    poll_seconds: float
    held: Held = field(default_factory=Held)
    belief: Belief | None = None
    agreement: Agreement = field(default_factory=Agreement)
    at: Moment | None = None
    waiting: Mapping[Hold, int] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)
    least_fee: BaseUnits = NO_FEE  # the cheapest price of what the last tick could have staged
    batch: int = 0  # rows per list of the next view; 0: as few as the rules allow
    # per account: under which term and by which settled epoch items to finalize were last looked for
    finalized_by: dict[AccountId, tuple[Term, Epoch]] = field(default_factory=dict)
    paged: dict[AccountId, tuple[IntentId, BootSeconds]] = field(
        default_factory=dict
    )  # the late head, and when
    # frozen since the tick under way read the store: it signs and sends nothing more of these (R14, §8)
    halted: set[AccountId] = field(default_factory=set)
    signer_waits: str = ""  # why the signer signs nothing though it refused nothing for good (R11)
    compared: bool = False  # the store was held against the signer's memory since we opened it (§8)
    started: bool = False
    stopping: bool = False
    task_alive: bool = False
    store_failing: bool = False
    ticked_boot: BootSeconds | None = None
    success_boot: BootSeconds | None = None
    fed_boot: BootSeconds
    _wake: anyio.Event = field(default_factory=anyio.Event)

    # --- the Engine port ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """Tick now; several wake-ups before the next tick are one."""
        self._wake.set()

    def halt(self, account: AccountId) -> None:
        """The freeze is stored; the tick under way, which decided before it, leaves the account alone from here on."""
        self.halted.add(account)

    def moment(self) -> Moment | None:
        """Epochs, heights and frame of the last tick that read the chain."""
        return self.at

    def leads(self) -> Mapping[AccountId, Lease]:
        """Leases surely ours at this moment (protocol.md §6.3)."""
        return self.held.leases if self.held.valid(self.clock.boot_seconds()) else {}

    def picture(self) -> Snapshot | None:
        """Our own last tick while we lead; the stored snapshot is up to some seconds older, or another leader's."""
        return self.snapshot if self.leads() and self.snapshot.last_tick_at is not None else None

    def vitals(self) -> Vitals:
        """What the health verdicts are made from."""
        now = self.clock.boot_seconds()
        return Vitals(
            started=self.started,
            stopping=self.stopping,
            task_alive=self.task_alive,
            poll_seconds=self.poll_seconds,
            last_tick_age_seconds=_age(now, self.ticked_boot),
            last_success_age_seconds=_age(now, self.success_boot),
            last_error=self.snapshot.last_error,
            store_failing=self.store_failing,
            signer_waits=self.signer_waits if self.leads() else "",  # of who asks it; as below
            compared=self.compared,
            reported_height=self.belief.reported if self.belief else None,
            believed_height=self.belief.believed if self.belief else None,  # of the same reading as the claim
            chain_age_seconds=self.belief.age_seconds(now) if self.belief else None,
            # of who reads the heads at every tick: what a former leader once saw would never end
            agreement=self.agreement if self.leads() else None,
            loop_fed_age_seconds=now - self.fed_boot,
            lease_left_seconds=max(0.0, self.held.until - now) if self.held.leases else 0.0,
        )

    # --- for the tasks -----------------------------------------------------------------------------------

    async def rest(self, seconds: float) -> None:
        """Wait until woken, at most `seconds`."""
        with anyio.move_on_after(seconds):
            await self._wake.wait()
        self._wake = anyio.Event()


def _age(now: BootSeconds, then: BootSeconds | None) -> float | None:
    return None if then is None else now - then
