"""One history: what a seed decides before it begins, how it goes on, and how it ends."""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.simulation import loop as loops
from tests.simulation import settings
from tests.simulation.asked import AskedTroubles
from tests.simulation.console import ConsoleDriver
from tests.simulation.disk import CHAIN_ID, Killed, SimulatedDriver, ledger_disk, no_sync, store_disk
from tests.simulation.machine import (
    Folder,
    Machine,
    Process,
    SeededEntropy,
    SimulatedClock,
    chain_config,
)
from tests.simulation.network import Line, Wires
from tests.simulation.people import HOUSES, People
from tests.simulation.processes import ProcessPromises
from tests.simulation.watchman import DONE
from tests.world import OPENING, PAYER, RESERVE, RULES

from treasuryd.chain.theblock import TheBlock
from treasuryd.commands.office import Office
from treasuryd.core.events import Event, EventKind
from treasuryd.core.model import AccountId, BaseUnits, BreakerMode, Evidence, Moment
from treasuryd.devnet.config import NO_ABILITIES, Abilities, profile
from treasuryd.devnet.node import Node
from treasuryd.devnet.server import build_node
from treasuryd.errors import Corrupt
from treasuryd.executor.mind import Mind
from treasuryd.main.compose import trade_of
from treasuryd.ports import Engine, Vitals, World
from treasuryd.signer.keys import Key
from treasuryd.signer.local import LocalSigner
from treasuryd.signer.policy import Policy
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.migrations import prepare

THIRD: Final = AccountId("grants")
KEYS: Final = {
    account: Key(Ed25519PrivateKey.from_private_bytes(bytes([place]) * 32))
    for place, account in enumerate((PAYER, RESERVE, THIRD), start=1)
}
MEMORY_FOLDER: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
POLICY_LIMIT: Final = BaseUnits(6_000_000)
MANY_ROUNDS: Final = 30  # from then on what waits for a limit of time: a pool's, a breaker's
POOL_SECONDS: Final = 20.0  # how long a node keeps what nobody mines
Action = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Told:
    """What became of one seed."""

    seed: int
    problem: str = ""
    digest: str = ""
    met: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of virtual time
    steps: int = 0
    cause: BaseException | None = None


class History:
    """
    Everything that one seed decides.

    Args: seed decides everything; loud prints each line as it happens; keep remembers the lines for a replay.
    """

    def __init__(self, seed: int, *, loud: bool = False, keep: bool = False) -> None:
        self.seed, self.loud, self.keep = seed, loud, keep
        self.chance = random.Random(seed)
        self.loop = loops.VirtualLoop(seed)
        self.met: Counter[str] = Counter()
        self.lines: list[str] = []
        self.cause: BaseException | None = None
        self.settings = given = settings.draw(seed)
        self.hasty, self.kind = given.hasty, given.kind
        self.accounts = tuple(KEYS)[: given.accounts]
        self.rules = replace(
            RULES,
            epoch_blocks=given.epoch_blocks,
            max_blocks_per_second=8.0 if given.hasty else 50.0,
            houses=HOUSES,
            max_unburned=given.max_unburned,
            batch_min=given.batch_min,
            bump_seconds=given.bump_seconds,
            pool_ttl_seconds=POOL_SECONDS,
            sinks={account: RULES.sink_of(account) for account in self.accounts},
        )
        self.trade = trade_of(self.rules, chain_id=CHAIN_ID)
        self.strict = False
        self.ended = False
        self.open_policy = Policy(
            sinks=self.rules.sinks,
            max_fee=BaseUnits(50_000),
        )
        self._build_chain()
        self.lost_ledger: Any = None
        self.store_disk, self.ledger_disk = store_disk(), ledger_disk()
        self._folder = (
            tempfile.TemporaryDirectory(prefix="history-", dir=MEMORY_FOLDER)
            if given.fragile and not given.uncopied
            else None
        )
        self.journal_folder = Path(self._folder.name) if self._folder else None
        self.place = "first"  # the file that the store is
        self.copies: list[JournalCopy] = []  # of every process that ever ran
        self.machines = self._machines()
        self.watchman = ProcessPromises(self)
        self.wires = Wires(self)
        self.people = People(self)
        self.troubles = AskedTroubles(self)

    def _build_chain(self) -> None:
        base = profile(self.settings.profile)
        config = replace(
            base,
            rules=replace(base.rules, ttl_seconds=POOL_SECONDS),
            mining=False,
            rate_limit=None,
            abilities=Abilities() if self.kind is Evidence.HASH else NO_ABILITIES,
            genesis={str(account): OPENING for account in self.accounts},
        )
        first = build_node(config, None, now=self.loop.time)
        self.ledger = first.ledger
        count = self.settings.endpoints
        self.node_list = [first, *(Node(config, first.ledger, self.loop.time) for _ in range(count - 1))]
        self.nodes = {f"http://node-{place}": node for place, node in enumerate(self.node_list)}
        payers = {account: KEYS[account].public for account in self.accounts}
        self.chain_config = chain_config(list(self.nodes), payers)

    def _machines(self) -> list[Machine]:
        shared, given = Folder("A"), self.settings
        return [
            Machine(self, name, shared if given.together else Folder(name))
            for name in "ABC"[: given.executors]
        ]

    # --- what its processes ask of it ----------------------------------------------------------------------

    @staticmethod
    def prepare(connection: Any) -> int:
        return prepare(connection, chain_id=CHAIN_ID, lineage="lineage")

    @property
    def policy(self) -> Policy:
        return replace(self.open_policy, max_amount=POLICY_LIMIT) if self.strict else self.open_policy

    @property
    def epoch(self) -> int:
        return self.ledger.height // self.rules.epoch_blocks

    async def signer_for(self, process: Process) -> LocalSigner:
        keys = {account: KEYS[account] for account in self.accounts}
        signer = await LocalSigner.open(SimulatedDriver(self.ledger_disk, process), keys, self.policy)
        if process.machine.lenient:
            cast("Any", signer).vet = _vets_nothing
        return signer

    def saw(self, process: Any, events: tuple[Event, ...]) -> None:
        for event in events:
            self.met[event.kind._value_] += event.count
            if event.kind is EventKind.REORGED_CHAIN:
                self.watchman.told_reorg(process)
            if event.kind is EventKind.AUDIT_VIOLATION:
                self.watchman.broken.append(f"{process.name}: the audit says {event.reason}: {event.detail}")
            if self.keep:
                self.trace(f"{process.name}: {event}")

    def trace(self, line: str) -> None:
        if self.keep or self.loud:
            text = f"[{self.loop.now:8.3f} h={self.ledger.height}] {line}"
            if self._folder is not None:
                text = text.replace(self._folder.name, "FOLDER")
            self.lines.append(text)
            if self.loud:
                print(text, flush=True)

    # --- the walk -------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Go through it all. Raises: AssertionError where a promise was broken."""
        self.mine(self.chance.choice((0, 1, 2, 5)))
        self.troubles.begin()
        await self._open_console()
        for machine in self.machines:
            machine.start()
        miner = self.loop.create_task(self._mine_on(), name="miner")
        menu = {action: weight for action, weight in self._menu() if weight}
        menu |= {self._named(name): weight for name, weight in self.settings.often}
        actions, weights = list(menu), list(menu.values())
        await self.people.ask()
        try:
            while self.loop.now < self.settings.horizon:
                await asyncio.sleep(self.chance.choice((0.0, 0.05, 0.2, 0.5, 1.0, 1.6)))
                (action,) = self.chance.choices(actions, weights=weights)
                await self._try(action)
                self.watchman.check()
        finally:
            miner.cancel()
        await self._settle_down()

    def _menu(self) -> Iterator[tuple[Action, float]]:
        people, troubles, given = self.people, self.troubles, self.settings
        yield self._pass, 10
        yield people.ask, 5
        yield people.vote, 4
        yield people.cancel_some, 4
        yield people.roll_back_some, 1
        yield people.decide_some, 4
        yield people.freeze_some, 0.7
        yield people.switch, 1.5
        yield troubles.pay_in, 2.5
        yield troubles.steal, 2.0 * given.thieves
        yield troubles.forget, 2
        yield troubles.reorganise, 3.5
        yield troubles.bend, 2.5
        yield troubles.fault, 3
        yield troubles.disturb, 2
        yield troubles.price, 1.5
        yield troubles.crash, 4
        yield troubles.stop, 3
        yield troubles.terminate, 0.7
        yield troubles.set_clock, 1
        yield troubles.fill_disk, 0.7
        yield troubles.tell_policy, 0.5
        yield troubles.back_up, 4 * given.fragile
        yield troubles.restore, 5 * (given.fragile and not given.rollbacks)
        yield troubles.lose_ledger, 1.5 * (given.fragile and not given.rollbacks and given.accounts == 1)
        yield troubles.roll_back_machine, 5 * given.rollbacks
        yield from troubles.more()

    def _named(self, name: str) -> Action:
        """What people or the world do, by its name."""
        found: Action = getattr(self.people if hasattr(self.people, name) else self.troubles, name)
        return found

    async def _pass(self) -> None:
        await asyncio.sleep(1.5 * self.chance.random())

    async def _try(self, action: Action) -> None:
        try:
            await action()
        except (Killed, Corrupt) as problem:
            self.trace(f"the console died: {problem!r}")

    async def _mine_on(self) -> None:
        while True:
            await asyncio.sleep(2 * self.settings.block_seconds * self.chance.random())
            self.mine(1)

    def mine(self, blocks: int) -> None:
        for _ in range(blocks):
            self.ledger.mine(now=self.loop.now)

    async def _open_console(self) -> None:
        """What people work with: a process of its own over the same store."""
        console = cast("Any", Console(self))
        self.console = console
        driver = self.console_driver = ConsoleDriver(self, console)
        self.copy_people()
        driver.opened = True
        clock = self.console_clock = SimulatedClock(self.loop, booted=50.0)
        entropy = SeededEntropy(f"{self.seed}console")
        self.desk = SqliteDesk(driver, self.rules)
        keys = {account: KEYS[account] for account in self.accounts}
        signer = await LocalSigner.open(SimulatedDriver(self.ledger_disk, console), keys, self.open_policy)
        chain = TheBlock(
            self.chain_config,
            transport=Line(self.wires, console),
            clock=clock,
            entropy=entropy,
            observer=console,
            offload=cast("Any", None),
        )
        self.office = Office(
            world=World(
                store=cast("Any", None),
                desk=self.desk,
                chain=chain,
                signer=signer,
                clock=clock,
                entropy=entropy,
                observer=console,
            ),
            engine=cast("Engine", console),
            rules=self.rules,
            accounts=self.accounts,
            chain_id=CHAIN_ID,
            price=self.trade.price,
        )

    def copy_people(self) -> None:
        """Have what people say copied outside the store before they are answered (§3); anew for another store."""
        self.console_driver.opened = False
        if self.journal_folder is not None:
            copy = JournalCopy(self.journal_folder, sync=no_sync)
            self.copies.append(copy)
            self.console_driver.committed = copy

    # --- the end --------------------------------------------------------------------------------------------

    async def _settle_down(self) -> None:
        """Lift every fault, let people do what is theirs, and see everything paid that is to be paid."""
        self.trace("--- the end begins")
        self.ended = True
        await self.troubles.lift()
        if self.rows("SELECT 1 FROM breaker_override WHERE mode <> 'auto'"):
            await self.people.force(BreakerMode.AUTO)
        for account in self.accounts:
            holding = self.ledger.holding(account)
            if holding is None or holding[0] < OPENING // 2:
                self.ledger.deposit(str(account), 5 * OPENING)
        for turn in range(self.settings.rounds):
            await self._round(turn)
            if self.watchman.deep and turn > 12:
                break  # a reorg deeper than finality: what it took is a person's to reopen
            await self.people.leave_quarantine()
            if self._all_done() and self.watchman.booked():
                break
        for machine in self.machines:
            await machine.gone()
        self.watchman.finish(all_done=not self.watchman.deep)

    async def _round(self, turn: int) -> None:
        """Some time with many blocks in it."""
        self.met["round at the end"] += 1
        believed = self.rows("SELECT believed FROM chain")[0][0]
        blocks = max(self.rules.epoch_blocks + 1, min(believed - self.ledger.height, 200))
        seconds = blocks / self.rules.max_blocks_per_second if self.hasty else 0.1
        await asyncio.sleep(seconds if turn < MANY_ROUNDS else 20.0)
        self.mine(blocks)
        for machine in self.machines:
            process = machine.process
            if process is not None and process.mind is not None:
                process.mind.wake()
        await asyncio.sleep(0.15 + 6 * self.wires.slow)
        self.watchman.check()
        await self.people.decide_some(eager=1.0)

    def _all_done(self) -> bool:
        return all(row[0] in DONE for row in self.rows("SELECT status FROM disbursement"))

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Look into the store from outside."""
        rows: list[Any] = self.store_disk.connection.execute(sql, values).fetchall()
        return rows

    def close(self) -> None:
        """Let go of what the system holds."""
        for copy in self.copies:
            copy.close()
        if self._folder is not None:
            self._folder.cleanup()


class Console:
    """The process of the people, as the ports see it: it wakes the executor, as a command in the daemon does."""

    name = "console"
    dead = paused = watched = False
    verb = ""

    def __init__(self, history: History) -> None:
        self.history = history

    def statement(self, sql: str) -> None:
        """Nothing happens to it between two statements."""

    def rest(self) -> float:
        return 0.0

    def writes(self, args: tuple[Any, ...], when: str) -> bool:
        """Nobody stops it."""
        return False

    def wrote(self) -> None:
        self.history.watchman.changed = True

    def saw(self, *events: Event) -> None:
        self.history.saw(self, events)

    # --- the engine: that of the executors that run; without any, of one that has seen nothing ---------------

    def _minds(self) -> list[Mind]:
        found = [machine.process.mind for machine in self.history.machines if machine.process]
        return [mind for mind in found if mind is not None]

    def wake(self) -> None:
        for mind in self._minds():
            mind.wake()

    def halt(self, account: AccountId) -> None:
        """By setting the people's process is not the one that sends: that one hears of it when it next reads the store."""
        if self.history.settings.at_home:
            for mind in self._minds():
                mind.halt(account)

    def moment(self) -> Moment | None:
        return next((mind.at for mind in self._minds() if mind.at), None)

    def vitals(self) -> Vitals:
        mind = next((mind for mind in self._minds() if mind.at), None)
        clock = self.history.console_clock
        mind = mind or Mind(clock=clock, poll_seconds=5.0, fed_boot=clock.boot_seconds())
        return replace(mind.vitals(), compared=True)  # its driver sees to that


async def _vets_nothing(drafts: Any) -> Any:
    return drafts


def play(seed: int, *, loud: bool = False, keep: bool = False) -> Told:
    """Walk one seed to its end, and say what became of it."""
    history = History(seed, loud=loud, keep=keep)
    told = Told(seed=seed, met=history.met, lines=history.lines)
    try:
        loops.run(history.loop, history.live())
        if history.loop.unhandled:
            told.problem = f"nobody handled {history.loop.unhandled[:3]}"
    except (Exception, Killed) as problem:  # noqa: BLE001  (the seed failed, whatever it is)
        told.problem = f"{type(problem).__name__}: {problem}"
        told.cause = history.cause or problem
    finally:
        history.close()
    told.seconds, told.steps = history.loop.now, history.loop.steps
    end = f"{history.loop.digest:x} {history.loop.steps} {history.loop.now!r} {told.problem}"
    told.digest = blake3("\n".join([*history.lines, end]).encode()).hexdigest(length=16)
    return told
