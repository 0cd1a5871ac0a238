"""Claims, renews and yields the leases: one statement for all accounts (protocol.md §6)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from treasuryd.core import lease
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, Held, Lease, LeaseSeen, Owner
from treasuryd.core.restore import Reason, Sign
from treasuryd.errors import Transient
from treasuryd.executor import quarantine
from treasuryd.executor.mind import Mind
from treasuryd.executor.reconcile import reconcile
from treasuryd.ports import World, written


@dataclass(slots=True, kw_only=True)
class Keeper:
    """
    Keeps `mind.held` true.

    Guarantees: what `mind.held` shows as valid was proved by a renewal or claim that was sent less than the renew
        deadline ago; an account is reconciled with the signer before its first tick. Does not guarantee that a lease
        is held: a standby looks and waits.
    """

    world: World
    mind: Mind
    owner: Owner
    accounts: Sequence[AccountId]
    timing: lease.Timing
    alone: Callable[[], bool]  # whether we hold the folder's lock, which proves a predecessor in it dead
    lost: Callable[[], str] = (
        str  # what copies outside hold beyond the store; empty: nothing, or all was replayed
    )
    _watched: Mapping[AccountId, lease.Watched] = field(default_factory=dict)
    _turn: anyio.Lock = field(
        default_factory=anyio.Lock
    )  # a beat under way takes nothing that was just given back

    async def run(self) -> None:
        """Renew and claim, for ever."""
        while True:
            await self.beat()
            await self.world.clock.sleep(self.timing.renew_seconds)

    async def beat(self) -> None:
        """
        Renew what is held, heed what people said of the breakers, then claim what may be taken.

        They may have said it to another process on the same store. A store that could not be asked (Transient) is
        asked again at the next beat: what is held runs out meanwhile.
        """
        async with self._turn:
            try:
                if self.mind.held.leases:
                    await self._renew()
                await self.world.chain.heed(self.world.desk.overrides)
                await self._compare()
                wanted = [account for account in self.accounts if account not in self.mind.held.leases]
                if wanted and not self.mind.stopping:
                    await self._claim(wanted)
                if not self.mind.compared:
                    await self._look()
            except Transient as problem:
                self.world.observer.saw(
                    Event(
                        kind=EventKind.CALL_FAILED,
                        severity=Severity.WARNING,
                        reason="lease",
                        detail=str(problem)[:200],
                    )
                )

    async def yield_all(self) -> None:
        """Give the leases back, so that they are taken at once; called when the workers have stopped (§6.7)."""
        async with self._turn:
            held, self.mind.held = self.mind.held, Held()
            if held.leases:
                await self.world.store.release(held)
                self._tell(EventKind.LEASE_RELEASED, held.leases.values())

    async def _renew(self) -> None:
        sent_for, asked_at = self.mind.held, self.world.clock.boot_seconds()
        answered = await self.world.store.renew(sent_for)
        held, lost = lease.renewed(sent_for, answered, asked_at=asked_at, timing=self.timing)
        # a tick may have found an account lost while the renewal was under way
        self.mind.held = lease.without(held, sent_for.leases.keys() - self.mind.held.leases.keys())
        self._tell(
            EventKind.LEASE_LOST,
            [row for account, row in sent_for.leases.items() if account in lost],
            Severity.WARNING,
            reason="renewal_refused",
        )

    async def _compare(self) -> None:
        """Hold the store against the signer's memory at every beat, and repair what a quarantine found (§8)."""
        held = self.mind.held
        if held.valid(self.world.clock.boot_seconds()):
            await quarantine.watch(self.world, held, stop=self._stop_all)

    async def _look(self) -> None:
        """Hold a store that was just opened against the signer's memory, whoever holds its leases: people wait for it."""
        found = await quarantine.compare(self.world)
        if found:
            await self.world.store.quarantine(found)
        self.mind.compared = True

    def _stop_all(self) -> None:
        for account in self.mind.held.leases:
            self.mind.halt(account)

    async def _claim(self, wanted: Sequence[AccountId]) -> None:
        rows = await self.world.store.leases(wanted)
        now = self.world.clock.boot_seconds()
        self._watched = lease.watch(self._watched, rows, now=now)
        alone = self.alone()
        free = lease.takeable(
            rows, self._watched, self.owner, held=self.mind.held, alone=alone, timing=self.timing, now=now
        )
        if free:
            await self._take(
                [row for row, _ in free], alone=alone, grounds={row.account: ground for row, ground in free}
            )

    async def _take(
        self, rows: Sequence[LeaseSeen], *, alone: bool, grounds: Mapping[AccountId, lease.Ground]
    ) -> None:
        # before the claim: it raises our term, which would hide that the signer has seen a higher one
        found = await quarantine.compare(self.world)
        lost = self.lost()
        if lost:
            found.append(Reason(sign=Sign.JOURNAL_LOST, detail=lost))
        marks = await self.world.signer.marks()
        asked_at = self.world.clock.boot_seconds()
        claimed = written(
            await self.world.store.claim(
                rows,
                lease.claimant(self.owner, alone=alone),
                above={account: mark.term for account, mark in marks.items()},
            )
        )
        if not claimed:
            return
        new = lease.claimed(Held(), claimed, asked_at=asked_at, timing=self.timing)
        await reconcile(self.world, tuple(new.leases), new, found=found, stop=self._stop_all)
        self.mind.compared = True
        self.mind.held = lease.claimed(self.mind.held, claimed, asked_at=asked_at, timing=self.timing)
        self._tell(EventKind.LEASE_CLAIMED, claimed, grounds=grounds)
        self.mind.wake()

    def _tell(
        self,
        kind: EventKind,
        leases: Iterable[Lease],
        severity: Severity = Severity.INFO,
        *,
        reason: str = "",
        grounds: Mapping[AccountId, lease.Ground] | None = None,
    ) -> None:
        for held in leases:
            fields: dict[str, str | int] = {"term": held.term}
            if grounds is not None:
                fields["ground"] = grounds[held.account]
            self.world.observer.saw(
                Event(kind=kind, severity=severity, account=held.account, reason=reason, fields=fields)
            )
