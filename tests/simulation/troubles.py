"""What goes wrong in a history: the chain, the nodes, the network, the machines, the clocks, the disks."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.snapshot import Snapshot
from tests.world import AMOUNT

from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.machine import Machine

VERDICTS: Final = (
    "MempoolFull", "InsufficientBalance", "FeeTooLow", "BalanceOverflow", "NonceGap", "Duplicate", "PendingLimitReached",
    "BadSignature",
)  # fmt: skip


class Troubles:
    """Every fault that the world may bring; each is one step."""

    def __init__(self, history: "History") -> None:
        self.history = history
        self.chance = history.chance
        self.backup: Any = None
        self.snapshot: Snapshot | None = None

    # --- money --------------------------------------------------------------------------------------------------

    async def pay_in(self) -> None:
        """Dust or a large deposit, to a paying account or (where that is no residual risk) to a payee."""
        history, chance = self.history, self.chance
        amount = chance.choice((1, 500, AMOUNT // 4, AMOUNT, 3 * AMOUNT))
        if history.settings.forgetful:
            amount = min(
                amount, 500
            )  # a large one could hide a payment that nobody knows: the stated residual risk
        to = str(chance.choice(history.accounts))
        if history.settings.gifts and chance.random() < 0.4:
            to = chance.choice(("tb1alice", "tb1bob", "tb1carol", "tb1dave"))
        elif chance.random() < 0.2:
            await history.people.announce(to, amount)
        history.trace(f"deposit {amount} to {to}")
        history.met["deposit"] += 1
        history.ledger.deposit(to, amount)

    async def steal(self) -> None:
        """A stranger spends with our key."""
        history, chance = self.history, self.chance
        account = str(chance.choice(history.accounts))
        amount, fee = chance.choice((0, 0, 1, AMOUNT // 3)), chance.choice((1_067, 30_000))
        history.trace(f"a stranger spends {amount} + {fee} of {account}")
        history.met["theft"] += 1
        history.watchman.robbed = True
        history.ledger.foreign_spend(account, to="tb1thief", amount=amount, fee=fee)

    # --- the chain ------------------------------------------------------------------------------------------------

    async def forget(self) -> None:
        """The pools are lost, or a node restarts."""
        history = self.history
        if self.chance.random() < 0.7:
            history.ledger.lose_pool()
        else:
            self.chance.choice(history.node_list).restart()
        history.met["pool lost"] += 1
        history.trace("the pool is lost")

    async def reorganise(self) -> None:
        history, chance = self.history, self.chance
        ledger, k = history.ledger, history.rules.finality_depth
        depth = chance.randint(1, k)
        if history.settings.deep and chance.random() < 0.25:
            depth = chance.randint(k + 1, k + 4)
        depth = min(depth, ledger.height - 1)
        if depth < 1:
            return
        then = chance.choice(tuple(Then))
        blocks = chance.choice((None, depth, depth, depth + 2, depth - 1))
        history.trace(f"reorg of {depth}, {then}, {blocks} blocks instead")
        history.met["deep reorg" if depth > k else "reorg"] += 1
        history.watchman.reorganised(depth)
        ledger.reorg(depth, now=history.loop.time(), then=then, blocks=blocks)

    async def bend(self) -> None:
        """An endpoint lags, or names an absurd height."""
        history, chance = self.history, self.chance
        node = chance.choice(history.node_list)
        node.switches.lag = chance.choice((0, 0, 1, 2, 5))
        node.switches.absurd_index = None
        if history.hasty and node.ledger.height > history.rules.finality_depth and chance.random() < 0.5:
            node.switches.absurd_index = node.ledger.height + chance.choice((3, 40, 40, 400))
            history.met["absurd head"] += 1
        history.met["lag"] += node.switches.lag > 0
        bent = node.switches.lag > 0 or node.switches.absurd_index is not None
        history.watchman.bent = history.watchman.bent or bent
        history.trace(f"lag {node.switches.lag}, absurd {node.switches.absurd_index}")

    async def fault(self) -> None:
        """A node lies a few times."""
        history, chance = self.history, self.chance
        node, times = chance.choice(history.node_list), chance.choice((1, 1, 2, 4))
        unknown = Wrong.UNKNOWN_TX if history.settings.forgetful else Wrong.WRONG_BLOCK
        wrong = chance.choice(
            (Wrong.REFUSE, Wrong.REFUSE, Wrong.DUPLICATE, Wrong.RAISE_TIP, Wrong.WRONG_BLOCK, unknown)
        )
        given = {"verdict": chance.choice(VERDICTS)} if wrong is Wrong.REFUSE else {}
        history.trace(f"fault {wrong} {given} x{times}")
        history.met[f"lie {wrong}"] += 1
        node.faults.add(wrong, times=times, **given)

    async def price(self) -> None:
        floor = self.chance.choice((0, 0, 2, 6, 40, 1_000))
        self.history.met["fee floor"] += floor > 0
        self.history.trace(f"fee floor {floor}")
        for pool in self.history.ledger.pools:
            pool.window.floor = floor

    async def disturb(self) -> None:
        self.history.wires.weather = self.chance.choice((0.0, 0.0, 0.1, 0.3, 0.9))
        self.history.trace(f"the network fails {self.history.wires.weather:.0%} of all calls")

    # --- the machines ---------------------------------------------------------------------------------------------

    def _machine(self) -> "Machine":
        return self.chance.choice(self.history.machines)

    async def crash(self) -> None:
        """A process dies: at one of its next awaits, or at one of its next statements."""
        machine, chance = self._machine(), self.chance
        process = machine.process
        if chance.random() < 0.4:
            left = chance.randint(0, 60)
            if process is None or process.dead:
                machine.crash_statements = left
            else:
                process.statements_left, process.watched = left, True
            self.history.trace(f"{machine.name} will die in {left} statements")
            return
        left = chance.randint(0, 120)
        if process is None or process.dead:
            machine.crash_steps = left
        else:
            process.steps_left = left
        self.history.trace(f"{machine.name} will die in {left} steps")

    async def stop(self) -> None:
        """A process is stopped at one of its awaits, perhaps past its lease, and goes on with its old beliefs."""
        process = self._machine().process
        if process is None or process.dead or process.paused:
            return
        await self._in_its_work(process)
        seconds = self.chance.choice((0.7, 2.0, 6.0, 9.0))
        process.pause(seconds)
        self.history.met["pause past the lease" if seconds > 5 else "pause"] += 1
        self.history.trace(f"{process.name} is stopped for {seconds} s")

    async def _in_its_work(self, process: Any) -> None:
        """Wait for a moment at which it is in the midst of something, more often than not."""
        if self.chance.random() < 0.3 or process.mind is None:
            return
        process.mind.wake()
        for _ in range(self.chance.randint(1, 60)):
            await asyncio.sleep(0)

    async def terminate(self) -> None:
        machine = self._machine()
        self.history.met["sigterm"] += 1
        self.history.trace(f"SIGTERM to {machine.name}")
        machine.terminate()

    async def set_clock(self) -> None:
        machine, step = self._machine(), self.chance.choice((-86_400.0, -40.0, 40.0, 86_400.0))
        machine.clock.wall_step += step
        self.history.met["clock step"] += 1
        self.history.trace(f"the wall clock of {machine.name} jumps by {step}")

    async def fill_disk(self) -> None:
        machine = self._machine()
        machine.full_disk(full=True)
        self.history.trace(f"the disk of {machine.name} is full")
        await asyncio.sleep(self.chance.choice((0.3, 1.0, 3.0)))
        machine.full_disk(full=False)

    async def tell_policy(self) -> None:
        """The signer's policy changes, which takes a restart; the vetting of some processes sees nothing."""
        history = self.history
        history.strict = not history.strict
        history.trace(f"policy {'strict' if history.strict else 'open'}")
        history.met["policy"] += 1
        for machine in history.machines:
            machine.lenient = self.chance.random() < 0.5
            if machine.process is not None:
                machine.process.kill("for a new policy")

    # --- lost and restored ----------------------------------------------------------------------------------------

    async def back_up(self) -> None:
        self.take_backup()

    def take_backup(self) -> None:
        """Copy the store; where the whole machine may be set back, all that it remembers, in the same step."""
        self.backup = self.history.store_disk.backup()
        if self.history.settings.rollbacks and self.history.watchman.set_back_at is None:
            self.snapshot = Snapshot.of(self.history)
        self.history.trace("a backup is taken")

    async def restore(self) -> None:
        """The store is lost, and the last backup put in its place. Signer, journal copy and chain stay."""
        history = self.history
        if self.backup is None or history.watchman.restored:
            return
        for machine in history.machines:
            await machine.gone()
        history.store_disk.restore(self.backup)
        if self.chance.random() < 0.5:
            history.place = (
                "second"  # a snapshot of the machine puts the content back, a copy makes another file
            )
        history.copy_people()
        history.watchman.was_restored()
        history.met["restore"] += 1
        history.trace("the store is lost; the backup is restored")
        for machine in history.machines:
            machine.off = False
            machine.start()

    async def roll_back_machine(self) -> None:
        """
        A snapshot of the whole machine is put back: store, ledger and journal copy agree, and all of them forgot.

        In place nothing shows it: the operator says so before a daemon starts, as the runbook tells him. Moved to another
        file the store is in quarantine by itself, and half of the time nobody says what was really done to it.
        """
        history, chance = self.history, self.chance
        if self.snapshot is None or history.watchman.set_back_at is not None:
            return
        for machine in history.machines:
            await machine.gone()
        self.snapshot.put_back(history)
        moved, pools_lost = chance.random() < 0.5, chance.random() < 0.5
        said = not moved or chance.random() < 0.5
        if moved:
            history.place = "moved"
        if pools_lost:
            history.ledger.lose_pool()
        history.copy_people()
        history.people.forget(history.watchman.was_set_back())
        history.met["machine rolled back"] += 1
        kind = "into another file" if moved else "in place"
        history.trace(
            f"the whole machine is set back {kind}; the pools are {'lost' if pools_lost else 'kept'}"
        )
        if said:
            await history.people.declare()
        for machine in history.machines:
            machine.off = False
            machine.start()

    async def lose_ledger(self) -> None:
        """The signer's ledger is lost, and a new one put in its place."""
        history = self.history
        if history.lost_ledger is not None:
            return
        for machine in history.machines:
            await machine.gone()
        history.lost_ledger = history.ledger_disk.backup()
        history.ledger_disk.lose()
        history.met["ledger lost"] += 1
        history.trace("the signer's ledger is lost")
        for machine in history.machines:
            machine.off = False
            machine.start()

    # --- the end --------------------------------------------------------------------------------------------------

    async def lift(self) -> None:
        """Nothing is wrong any more."""
        history = self.history
        history.wires.weather = 0.0
        for node in history.node_list:
            node.faults.clear()
            node.switches.lag, node.switches.absurd_index = 0, None
        for pool in history.ledger.pools:
            pool.window.floor = 0
        for machine in history.machines:
            machine.full_disk(full=False)
            process = machine.process
            if process is not None and process.paused and not process.dead:
                history.loop.resume(process)
            if machine.lenient or history.strict:
                machine.lenient = False
                if process is not None:
                    process.kill("for the open policy")
        history.strict = False
