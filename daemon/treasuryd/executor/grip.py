"""What one tick may still do: the leases it started with, as far as they are surely ours at this very moment."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from treasuryd.core import lease
from treasuryd.core.changes import Change
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, Held, Moment, NotWritten
from treasuryd.errors import Fenced
from treasuryd.executor.mind import Mind
from treasuryd.ports import Many, Rows, World

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Grip:
    """
    Stands between a tick and its effects (protocol.md §6.3, R13).

    Guarantees: `held` names only leases that the tick began with and that the keeper still holds under the same term;
        an account whose row came back fenced is acted for no more, in this tick or a later one, until it is claimed
        anew. `events` is everything that was told through it.
    """

    world: World
    mind: Mind
    began_with: Held
    events: list[Event] = field(default_factory=list)
    done: int = 0  # facts that were written: without any, going on at once would change nothing

    def held(self) -> Held:
        """
        Ask before every effect.

        Raises: Fenced when a lease could have passed to somebody else; nothing is done after it.
        """
        now = self.mind.held
        same = {
            account: owned
            for account, owned in self.began_with.leases.items()
            if now.leases.get(account) == owned
        }
        held = Held(leases=same, until=now.until)
        if not held.valid(self.world.clock.boot_seconds()):
            raise Fenced(
                "no lease is surely ours any more; this executor stops acting",
                hint="Nothing is lost: the next holder continues from the stored state. If this repeats, look for a "
                "slow disk or a blocked event loop: `treasuryd status`.",
            )
        return held

    def mine(self, rows: Iterable[T], account: Callable[[T], AccountId]) -> list[T]:
        """Keep the rows of accounts that are still held and not halted; those of any other fall out alone."""
        acting = self.held().leases.keys() - self.mind.halted
        return [row for row in rows if account(row) in acting]

    def tell(self, *events: Event) -> None:
        """Tell the observer, and remember for the tick's own line."""
        self.events.extend(events)
        self.world.observer.saw(*events)

    def wrote(self, events: Sequence[Event]) -> None:
        """Tell facts that the store has written; a chain that only grew is not counted as work."""
        self.done += sum(event.count for event in events if event.severity is not Severity.DEBUG)
        self.tell(*events)

    def heed(self, answers: Rows[object], accounts: Sequence[AccountId | None]) -> None:
        """Give up the accounts of fenced rows: somebody else owns them now, and nothing is tried again (R13)."""
        found = {
            accounts[row.row] for row in answers if isinstance(row, NotWritten) and row.reason == "fenced"
        }
        lost = [account for account in self.mind.held.leases if account in found]
        self.mind.held = lease.without(self.mind.held, lost)
        self.tell(
            *(
                Event(kind=EventKind.LEASE_LOST, severity=Severity.WARNING, account=account, reason="fenced")
                for account in lost
            )
        )

    async def record(self, changes: Many[Change], at: Moment) -> None:
        """Write changes in one fenced transaction, and tell what they came to."""
        if not changes:
            return
        recorded = await self.world.store.record(changes, self.held(), at=at)
        self.wrote(recorded.events)
        self.heed(recorded.unwritten, [change.account for change in changes])
