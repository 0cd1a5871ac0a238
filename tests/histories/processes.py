"""One executor of a random history: a whole process, but for its sockets, that may be stopped or die at any call."""

from typing import TYPE_CHECKING, Any, Final, cast

from tests.world import CHAIN_ID, KEYS, TIMING, Crash

from treasuryd.core.model import Incarnation, Owner
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.executor.mind import Mind
from treasuryd.ports import World
from treasuryd.signer.ledger import APPLICATION_ID as LEDGER_ID
from treasuryd.signer.local import LocalSigner
from treasuryd.sqlite.connect import Database
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare
from treasuryd.store.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from tests.histories.setting import Setting

TICKS_AT_ONCE: Final = 60


class Meddled:
    """A port of one process; before and after each call something may happen."""

    def __init__(self, port: object, process: "Process", name: str) -> None:
        self._port, self._process, self._name = port, process, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found) or name in {"breakers", "force", "new_heads"}:
            return found
        label, process = f"{self._name}.{name}", self._process

        async def call(*args: Any, **kwargs: Any) -> Any:
            await process.at(label, after=False)
            if label == "signer.vet" and process.lenient:
                return args[0]
            process.explorer.acting.append(process)
            try:
                answer = await found(*args, **kwargs)
            finally:
                process.explorer.acting.pop()
            if label == "store.view":
                process.explorer.watchman.viewed(process.name, answer)
            await process.at(label, after=True)
            return answer

        return call


class Process:
    """One executor: its own connections, its own memory; the store, the signer's ledger and the chain are shared."""

    def __init__(self, explorer: "Setting", name: str) -> None:
        self.explorer, self.name = explorer, name
        self.lenient = False  # its vetting sees nothing, so that the signer refuses what is staged
        self.crash_in = -1
        self.statement_in = -1
        self.drivers: list[InlineDriver] = []
        self.starts = 0
        self.up = self.busy = False

    async def start(self) -> None:
        explorer, self.starts = self.explorer, self.starts + 1
        store = await self._driver("treasuryd.db", STORE_APPLICATION_ID)
        await store.write(prepare, chain_id=CHAIN_ID, lineage="lineage")
        ledger = await self._driver("ledger.db", LEDGER_ID)
        store.before_statement = ledger.before_statement = self._statement
        clock, rules = explorer.clock, explorer.rules
        self.chain = explorer.adapter(self.name)
        signer = await LocalSigner.open(ledger, {a: KEYS[a] for a in explorer.accounts}, explorer.policy)
        desk = SqliteDesk(store, rules)
        ports = {
            "store": SqliteStore(store, rules, now=clock.unix_seconds),
            "desk": desk,
            "chain": self.chain,
            "signer": signer,
        }
        await self.chain.start()
        self.chain.force(await desk.overrides())
        meddled = {name: cast("Any", Meddled(port, self, name)) for name, port in ports.items()}
        self.world = World(**meddled, clock=clock, entropy=explorer.entropy, observer=explorer.seen)
        self.mind = Mind(clock=clock, poll_seconds=5.0, fed_boot=clock.boot_seconds())
        self.mind.started = True
        self.keeper = Keeper(
            world=self.world,
            mind=self.mind,
            owner=Owner(
                holder=self.name,
                incarnation=Incarnation(f"{ord(self.name):02x}{self.starts:030x}"),
                machine=self.name,
                folder=self.name,
            ),
            accounts=explorer.accounts,
            timing=TIMING,
            alone=lambda: True,
            moment=lambda: self.mind.at or explorer.nowhere(),
        )
        self.ticker = Ticker(world=self.world, rules=rules, trade=explorer.trade(), mind=self.mind)
        self.up = True

    async def _driver(self, name: str, application_id: int) -> InlineDriver:
        path = self.explorer.folder / name
        driver = await InlineDriver.open(Database(path=path, application_id=application_id))
        self.drivers.append(driver)
        return driver

    async def stop(self) -> None:
        self.up, self.crash_in, self.statement_in = False, -1, -1
        while self.drivers:
            await self.drivers.pop().close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def act(self) -> None:
        """Beat and tick until nothing is left to do now; a crash is answered by a new process at some later step."""
        if self.busy:
            return  # it is stopped in the middle of a call
        self.busy = True
        try:
            await self._act()
        except Crash as crash:
            self.explorer.trace(f"{self.name} crashed: {crash}")
            await self.stop()
        finally:
            self.busy = False

    async def _act(self) -> None:
        if not self.up:
            await self.start()
        await self.keeper.beat()
        for _ in range(TICKS_AT_ONCE):
            if not await self.ticker.once():
                return
        raise AssertionError(f"{self.name}: the ticker spins")

    async def at(self, label: str, *, after: bool) -> None:
        """Die here, or let something happen meanwhile."""
        if self.crash_in == 0:
            self.crash_in = -1
            raise Crash(f"{'after' if after else 'before'} {label}")
        self.crash_in -= self.crash_in > 0
        await self.explorer.meanwhile(self, label)

    def _statement(self, sql: str) -> None:
        if self.statement_in == 0:
            self.statement_in = -1
            raise Crash(f"at {sql.strip()[:60]}")
        self.statement_in -= self.statement_in > 0
