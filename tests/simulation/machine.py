"""
One simulated process: the production tasks over the ports of the simulation, from its start to its end, again and again.

It dies at any of its awaits or statements, or is stopped there for a while with all that it believes. Whoever started
it (a service manager) starts it anew after its end.
"""

import asyncio
import contextvars
import random
import signal
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from tests.simulation.disk import CHAIN_ID, SLOW_DISK, WRITES, Killed, SimulatedDriver, no_sync
from tests.simulation.loop import NOBODY, OWNER
from tests.simulation.network import Line

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.guard import Guard
from treasuryd.chain.theblock import TheBlock
from treasuryd.core import lease
from treasuryd.core.audit import Judge
from treasuryd.core.breaker import BreakerSettings
from treasuryd.core.events import Event
from treasuryd.core.model import (
    AccountId,
    BootSeconds,
    Endpoint,
    Held,
    Incarnation,
    Owner,
    UnixSeconds,
    View,
)
from treasuryd.errors import Corrupt, Exit
from treasuryd.executor.auditor import Auditor
from treasuryd.executor.follower import follow
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.executor.mind import Mind
from treasuryd.executor.reconcile import check_chain
from treasuryd.executor.supervisor import Duty, Hurried, Supervisor
from treasuryd.main.exits import exit_for, first_of
from treasuryd.main.reading import content_of
from treasuryd.ports import World
from treasuryd.signer.local import LocalSigner
from treasuryd.sqlite.inline import COMMITTED
from treasuryd.store.auditing import Cursor
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.reopening import reopen
from treasuryd.store.sqlite_store import SqliteStore

if TYPE_CHECKING:
    from tests.simulation.history import History

TIMING: Final = lease.Timing(
    ttl_seconds=6.0, renew_seconds=2.2, renew_deadline_seconds=4.4, candidate_wait_seconds=7.5
)
EPOCH_SECONDS: Final = 1.7e9
BREAKER: Final = BreakerSettings(timeout_secs=6.0)
AUDIT_SECONDS: Final = 4.0
AUDIT_ITEMS: Final = 5
LONG: Final = 14.0  # seconds: past every lease, and the wait of whoever takes it over
PATIENCE: Final = 2.0  # seconds: a process whose storage failed ends within this time


class SimulatedClock:
    """The clock of one machine: the boot clock runs with the loop, the wall clock is set by people."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, booted: float) -> None:
        self._loop = loop
        self._booted = booted
        self.wall_step = 0.0

    def unix_seconds(self) -> UnixSeconds:
        return UnixSeconds(EPOCH_SECONDS + self.wall_step + self._loop.time())

    def boot_seconds(self) -> BootSeconds:
        return BootSeconds(self._booted + self._loop.time())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededEntropy:
    """Chance from the seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.draw = self._random.random

    def bits63(self) -> int:
        return self._random.getrandbits(63)

    def new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


class Folder:
    """A state folder with its lock file: who holds the lock knows that its predecessor is dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder: Process | None = None

    def try_lock(self, process: "Process") -> bool:
        if self.holder is None or self.holder.dead:
            self.holder = process
        return self.holder is process


class WatchedStore(SqliteStore):
    """The store, whose views are shown to the watchman: what a tick may do follows from what it saw."""

    process: "Process"

    async def view(self, *args: Any, **kwargs: Any) -> Any:
        seen = await super().view(*args, **kwargs)
        self.process.history.watchman.viewed(self.process, seen)
        then = self.process.after_view
        if then is not None and then(seen):
            self.process.after_view = None
            await asyncio.sleep(0.05)
        return seen


class WatchedMind(Mind):
    """What an executor remembers; the watchman hears what it is told to halt."""

    process: "Process"

    def halt(self, account: AccountId) -> None:
        super().halt(account)
        self.process.history.watchman.halts(self.process, account)


class WatchedChain(TheBlock):
    """The chain adapter; the watchman hears of heads, of each broadcast before it begins, and of permits given back."""

    process: "Process"

    def watched_by(self, process: "Process") -> None:
        """Begin to tell."""
        self.process = process
        for node in self._nodes:
            for guard in node.guards.values():
                cast("Any", guard).settle = _told(guard, process)

    async def heads(self) -> Any:
        said = await super().heads()
        self.process.history.watchman.heads(said)
        return said

    async def broadcast(self, sealed: Any, *, until: BootSeconds) -> Any:
        self.process.history.watchman.begins(self.process, "broadcasts", sealed)
        return await super().broadcast(sealed, until=until)


def _told(guard: Guard, process: "Process") -> Any:
    """A guard's `settle`, of which the watchman hears."""
    right, last = guard.settle, [None]

    def settle(permit: Any, *args: Any) -> None:
        if permit is last[0]:
            process.history.watchman.broken.append(
                f"{process.name}: two calls on one permit of {guard.endpoint}"
            )
        last[0] = permit
        right(permit, *args)

    return settle


class Process:
    """One start of one executor. Dead for ever once it died."""

    def __init__(self, machine: "Machine", number: int) -> None:
        self.machine, self.history = machine, machine.history
        self.name = f"{machine.name}{number}"
        self.born = self.history.loop.now
        self.dead = self.paused = self.watched = False
        self.ends_by: float | None = None  # its storage failed: by the protocol it ends by itself until then
        self.held: list[asyncio.Handle] = []
        self.verb = ""  # the transaction that it is in
        # what happens once a tick has read the store; answers whether it did
        self.after_view: Callable[[View], bool] | None = None
        self.after_write: Callable[[], bool] | None = None  # the same once it has written as a leader
        self.stops_at_write = ""  # whether it is stopped "before" its next write as a leader, or "after" it
        self.steps_left = machine.crash_steps
        self.statements_left = machine.crash_statements
        machine.crash_steps = machine.crash_statements = -1
        self.watched = self.statements_left >= 0 or machine.full
        self.chance = random.Random(f"{self.history.seed}{self.name}")
        self.mind: Mind | None = None
        self.chain: TheBlock | None = None
        self.task: asyncio.Task[None] | None = None

    # --- what may happen to it ------------------------------------------------------------------------------

    def step(self) -> None:
        """The loop is about to run one of its callbacks: it is at an await, and may die there."""
        self.steps_left -= 1
        if self.steps_left < 0:
            self.kill("at an await")

    def statement(self, sql: str) -> None:
        """It is about to run a statement, and may die there or find the disk full."""
        if self.machine.full and sql.lstrip()[:7].rstrip().upper().startswith(WRITES):
            if self.ends_by is None:
                self.ends_by = self.history.loop.time() + PATIENCE
            self.history.met["disk full"] += 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise error
        if self.statements_left >= 0:
            self.statements_left -= 1
            if self.statements_left < 0:
                inside = "after a commit" if sql == COMMITTED else f"inside {self.verb}"
                self.kill(inside, sql.strip()[:40])
                raise Killed

    def kill(self, where: str, what: str = "") -> None:
        """End it as a kill does: nothing that it still runs has any effect."""
        if self.dead:
            return
        self.dead = True
        self.history.trace(f"{self.name} dies {where} {what}".rstrip())
        self.history.met[f"crash {where}"] += 1
        self.history.loop.call_soon(
            self.history.watchman.died, where, context=NOBODY
        )  # once it is rolled back
        if self.task is not None:
            self.task.cancel()
        if self.paused:
            self.history.loop.resume(self)
        self.machine.ended(self)

    def pause(self, seconds: float) -> None:
        """Stop it for a while; the world goes on."""
        if self.dead or self.paused:
            return
        self.paused = True
        loop = self.history.loop
        loop.call_later(seconds, self._go_on, context=NOBODY)

    def _go_on(self) -> None:
        if self.paused and not self.dead:
            self.history.trace(f"{self.name} goes on")
            if self.ends_by is not None:
                self.ends_by = max(self.ends_by, self.history.loop.time() + PATIENCE)
            self.history.loop.resume(self)

    def rest(self) -> float:
        draw = self.chance.random()
        if draw >= SLOW_DISK:
            return 0.0
        return 0.3 if draw < SLOW_DISK / 8 else 0.02

    def writes(self, args: tuple[Any, ...], when: str) -> bool:
        """It is about to write, or has written; says whether it is stopped there, past its lease."""
        if not any(isinstance(one, Held) for one in args):
            return False
        if when == "after" and self.after_write is not None and self.after_write():
            self.after_write = None
            self.pause(0.1)
            return True
        if self.stops_at_write != when:
            return False
        self.stops_at_write = ""
        self.history.met["pause past the lease"] += 1
        self.history.trace(f"{self.name} is stopped {when} a write")
        self.pause(LONG)
        return True

    def wrote(self) -> None:
        self.history.watchman.changed = True

    def saw(self, *events: Event) -> None:
        """Be its observer."""
        if not self.dead:
            self.history.saw(self, events)

    # --- its life -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        self.task = self.history.loop.create_task(self._run(), name=self.name, context=context)

    async def _run(self) -> None:
        try:
            await self._serve()
        except GeneratorExit:  # its history is over
            raise
        except (Killed, asyncio.CancelledError):
            if self.dead:
                return
            raise
        except BaseException as problem:  # noqa: BLE001  (the last frame of a process)
            if self.dead:
                return
            first = first_of(problem)
            self._ended(first)
            return
        if not self.dead:
            self.history.met["orderly end"] += 1
            self.dead = True
            self.machine.ended(self)

    def _ended(self, problem: BaseException) -> None:
        if isinstance(problem, Hurried):
            self.kill("at a second signal")
            return
        code = exit_for(problem)
        self.history.trace(f"{self.name} ends with {code.name}: {problem}")
        self.history.met[f"exit {code.name.lower()}"] += 1
        if code is Exit.OUR_BUG or (isinstance(problem, Corrupt) and self.ends_by is None):
            self.history.watchman.broken.append(f"{self.name} ended by a bug: {problem!r}")
            self.history.cause = self.history.cause or problem
        self.dead = True
        self.machine.ended(self)

    async def _serve(self) -> None:
        history, machine, clock = self.history, self.machine, self.machine.clock
        copy = None
        if history.journal_folder is not None:
            copy = JournalCopy(history.journal_folder, sync=no_sync)
            history.copies.append(copy)
        store_driver = SimulatedDriver(history.store_disk, self, committed=copy)
        store_driver.witness = history.watchman.witness
        await store_driver.write(history.prepare)
        now = clock.unix_seconds()
        self.saw(
            *await reopen(
                store_driver, history.rules, folder=history.journal_folder, place=history.place, now=now
            )
        )
        store = WatchedStore(
            store_driver, history.rules, now=clock.unix_seconds, told=lambda events: self.saw(*events)
        )
        store.process = self
        desk = SqliteDesk(store_driver, history.rules)
        signer = await history.signer_for(self)
        cast("Any", signer).sign = self._told_of(signer.sign)
        entropy = SeededEntropy(f"{history.seed}{self.name}")
        chain = self.chain = WatchedChain(
            history.chain_config,
            transport=Line(history.wires, self),
            clock=clock,
            entropy=entropy,
            observer=self,
            offload=_here,
        )
        chain.watched_by(self)
        await chain.start()
        chain.force(await desk.overrides())
        world = World(
            store=store, desk=desk, chain=chain, signer=signer, clock=clock, entropy=entropy, observer=self
        )
        mind = self.mind = WatchedMind(
            clock=clock, poll_seconds=history.settings.poll_seconds, fed_boot=clock.boot_seconds()
        )
        mind.process = self
        mind.started = True
        keeper = Keeper(
            world=world,
            mind=mind,
            owner=Owner(
                holder=self.name,
                incarnation=Incarnation(entropy.new_id()),
                machine=machine.folder.name,
                folder=machine.folder.name,
            ),
            accounts=history.accounts,
            timing=TIMING,
            alone=lambda: machine.folder.try_lock(self),
        )
        ticker = Ticker(world=world, rules=history.rules, trade=history.trade, mind=mind)
        await check_chain(world)
        await keeper.beat()
        duties: dict[str, Duty] = {"heartbeat": self._heartbeat}
        if history.settings.follows:
            duties["follower"] = lambda: follow(world, mind, retry_seconds=history.settings.poll_seconds)
        if history.settings.audits:
            judge = Judge(rules=history.rules, chain_id=CHAIN_ID, read=content_of)
            duties["auditor"] = Auditor(
                world=world,
                mind=mind,
                judge=judge,
                look=store.audit_page,
                start=Cursor(),
                passes=lambda cursor: cursor.passes,
                interval_seconds=AUDIT_SECONDS,
                page_items=AUDIT_ITEMS,
            ).run
        supervisor = Supervisor(
            world=world,
            mind=mind,
            ticker=ticker,
            keeper=keeper,
            grace_seconds=8.0,
            duties=duties,
            told=_quiet,
            reload=_nothing,
        )
        await supervisor.run()

    def _told_of(self, right: Any) -> Any:
        """The signer's `sign`, of which the watchman hears before it begins."""

        async def sign(requests: Any, held: Any) -> Any:
            self.history.watchman.begins(self, "signs", requests)
            return await right(requests, held)

        return sign

    async def _heartbeat(self) -> None:
        assert self.mind is not None
        while True:
            self.mind.fed_boot = self.machine.clock.boot_seconds()
            await asyncio.sleep(10.0)


class Machine:
    """Where one executor runs: its clock, its state folder, and the service manager that starts it anew."""

    def __init__(self, history: "History", name: str, folder: Folder) -> None:
        self.history, self.name, self.folder = history, name, folder
        self.chance = random.Random(f"{history.seed}machine{name}")
        self.clock = SimulatedClock(history.loop, booted=1000.0 * (1 + ord(name) - ord("A")))
        self.crash_steps = self.crash_statements = -1  # of the next start
        self.lenient = False  # its vetting sees nothing, so that the signer refuses what was staged
        self.full = False  # its disk
        self.starts = 0
        self.off = False  # nobody starts it
        self.process: Process | None = None

    def start(self) -> None:
        """Start it, if nothing runs there."""
        if self.off or (self.process is not None and not self.process.dead):
            return
        self.starts += 1
        self.process = Process(self, self.starts)
        self.process.begin()

    def ended(self, process: Process) -> None:
        """Have it started anew, some time later."""
        if process is self.process and not self.off:
            seconds = 0.2 + self.chance.choice((0.0, 1.0, 3.0, 8.0)) * self.chance.random()
            if self.history.ended:
                seconds = 0.2
            self.history.loop.call_later(seconds, self.start, context=NOBODY)

    def full_disk(self, *, full: bool) -> None:
        """Fill its disk, or make room again."""
        self.full = full
        if self.process is not None:
            self.process.watched = full or self.process.statements_left >= 0

    def terminate(self) -> None:
        """SIGTERM."""
        if self.process is not None and not self.process.dead:
            self.history.loop.deliver(self.process, signal.SIGTERM)

    async def gone(self) -> None:
        """Kill it and wait until nothing of it is left; nobody starts it until `off` is false again."""
        self.off = True
        process = self.process
        if process is not None:
            process.kill("by the world")
            if process.task is not None:
                await asyncio.wait([process.task])


def chain_config(urls: list[str], payers: Any) -> ChainConfig:
    return ChainConfig(
        endpoints=tuple(EndpointConfig(name=Endpoint(f"node-{n}"), url=url) for n, url in enumerate(urls)),
        payers=payers,
        breaker=BREAKER,
        connect_seconds=1.0,
        read_seconds=2.0,
        send_seconds=3.0,
        slow_seconds=1.5,
        max_requests_per_second=1e6,
        burst=1000,
        ban_seconds=2.0,
        poll_seconds=3.0,
    )


async def _here(work: Any) -> Any:
    return work()


def _quiet(_text: str) -> None: ...


def _nothing() -> None: ...


__all__ = ["Folder", "LocalSigner", "Machine", "Process"]
