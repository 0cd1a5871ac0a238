"""How the process that people talk to reaches the store: it opens one as every process does, before it takes an order."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tests.simulation.disk import SimulatedDriver

from treasuryd.executor import quarantine
from treasuryd.ports import World
from treasuryd.store.reopening import reopen
from treasuryd.store.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from tests.simulation.history import History

R = TypeVar("R")


class ConsoleDriver(SimulatedDriver):
    """
    The driver of people's process.

    Guarantees: another store is held against the journal's copy and the signer before the first order to it (§8): only a
    daemon takes orders, and none does before that. Who of all processes opens it first is left to chance.
    """

    def __init__(self, history: "History", console: Any) -> None:
        super().__init__(history.store_disk, console)
        self.history = history
        self.opened = True  # a new store, which nobody else remembers

    async def write(self, verb: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Run a verb on a store that was compared."""
        await self._open()
        return await super().write(verb, *args, **kwargs)

    async def read(self, verb: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """The same for one that reads."""
        await self._open()
        return await super().read(verb, *args, **kwargs)

    async def _open(self) -> None:
        if self.opened:
            return
        history = self.history
        raw = SimulatedDriver(history.store_disk, history.console, committed=self.committed)
        await raw.write(history.prepare)  # its commit sets a copy aside that goes on beyond the store
        now = history.console_clock.unix_seconds()
        events = await reopen(raw, history.rules, folder=history.journal_folder, place=history.place, now=now)
        history.console.saw(*events)
        store = SqliteStore(
            raw,
            history.rules,
            now=history.console_clock.unix_seconds,
            told=lambda events: history.console.saw(*events),
        )
        signer = history.office.world.signer
        reasons = await quarantine.compare(cast("World", _Compared(store, signer)))
        if reasons:
            await store.quarantine(reasons)
        self.opened = True


class _Compared:
    """What a comparison asks."""

    def __init__(self, store: SqliteStore, signer: Any) -> None:
        self.store, self.signer = store, signer
