"""
Troubles that no history meets by itself: a planted bug asks for them (`Settings.often`), with the world in which it bites.

Each is a conspiracy of two or three ordinary happenings that chance brings together too seldom.
"""

import asyncio
import contextvars
import copy
from collections.abc import Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3
from tests.simulation.loop import NOBODY
from tests.simulation.rare import FORTUNE, RareTroubles

from treasuryd.core.model import AccountId, FreezeCause, View
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then
from treasuryd.devnet.server import build_node

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.machine import Process

_UNPOOLED: Final = (
    "SELECT i.account, i.nonce, i.disbursement_id FROM intent i JOIN disbursement d ON d.id = i.disbursement_id "
    "WHERE i.live = 1 AND i.state IN ('signed', 'broadcast') AND d.cancel_requested IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM variant v WHERE v.intent_id = i.id AND v.pooled) ORDER BY 1, 2"
)
_STAGED: Final = "SELECT account FROM intent WHERE state = 'staged'"
_IN_LINE: Final = (
    "SELECT account, nonce, disbursement_id FROM intent WHERE live = 1 AND state = 'broadcast' "
    "AND disbursement_id IS NOT NULL ORDER BY 1, 2"
)


class Ahead:
    """A ledger whose accounts are shown as they were at one moment, whatever its blocks say."""

    def __init__(self, ledger: Any) -> None:
        self._ledger, self._shown = ledger, dict(ledger.holdings())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def holdings(self, *, lag: int = 0) -> Any:
        return self._ledger.holdings(lag=lag) if lag else self._shown

    def holding(self, address: str, *, lag: int = 0) -> Any:
        return self._ledger.holding(address, lag=lag) if lag else self._shown.get(address)


class Forked:
    """A ledger that names other blocks below its tip, but for the first one."""

    def __init__(self, ledger: Any) -> None:
        self._ledger, self._tip = ledger, ledger.height - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def block_hash(self, index: int) -> str:
        named: str = self._ledger.block_hash(index)
        return named if index == 0 or index >= self._tip else blake3(b"fork:" + named.encode()).hexdigest()


class Forging:
    """A ledger that shows what its pools held at one moment as mined in its newest block, and accounts accordingly."""

    def __init__(self, ledger: Any, now: float) -> None:
        self._ledger = ledger
        ahead = copy.deepcopy(ledger)
        ahead.mine(now=now)
        self._shown = ahead.holdings()
        self._mined = {
            name: replace(mined, index=ledger.height - 1)
            for name, mined in ahead.transactions.items()
            if name not in ledger.transactions
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @property
    def transactions(self) -> Any:
        return {**self._mined, **self._ledger.transactions}

    def holdings(self, *, lag: int = 0) -> Any:
        return {address: self.holding(address, lag=lag) for address in self._ledger.holdings(lag=lag)}

    def holding(self, address: str, *, lag: int = 0) -> Any:
        held, shown = self._ledger.holding(address, lag=lag), self._shown.get(address)
        return shown if held is not None and shown is not None and shown[1] > held[1] else held


class AskedTroubles(RareTroubles):
    """All the usual troubles, and these on request."""

    def __init__(self, history: "History") -> None:
        super().__init__(history)
        self.doing: set[asyncio.Task[None]] = set()

    def _running(self) -> "Process | None":
        process: Process | None = self.rare.choice(self.history.machines).process
        return None if process is None or process.dead or process.paused else process

    async def hide(self) -> None:
        """What is pooled is mined together with a large deposit, and for long no look-up knows it."""
        history = self.history
        for node in history.node_list:
            node.faults.add(Wrong.UNKNOWN_TX, times=None)
        for account in history.accounts:
            history.ledger.deposit(str(account), FORTUNE)
        history.mine(1)
        history.met["deposit"] += 1
        history.trace("a deposit hides what was mined with it, and no look-up knows it")
        history.loop.call_later(8.0 + 8.0 * self.rare.random(), self._relent, context=NOBODY)

    async def stop_before_a_write(self) -> None:
        """A process is stopped past its lease on its way to the disk: it has asked whether it still leads."""
        process = self._running()
        if process is not None:
            process.stops_at_write = "before"

    async def stop_after_a_write(self) -> None:
        """A process is stopped past its lease before it hears what became of a write."""
        process = self._running()
        if process is not None:
            process.stops_at_write = "after"

    async def freeze_in_its_work(self) -> None:
        """A person freezes an account when a tick has staged something of it, and has not had it signed yet."""
        process = self._running()
        if process is not None:

            def freeze() -> bool:
                staged = self.history.rows(_STAGED)
                if staged:
                    self._soon(self.history.people.freeze(staged[0][0]))
                return bool(staged)

            process.after_write = freeze
            await self._ask()

    async def back_up_in_its_work(self) -> None:
        """A backup is taken when a tick has staged something, and has not had it signed yet."""
        process = self._running()
        if process is not None:

            def back_up() -> bool:
                staged = bool(self.history.rows(_STAGED))
                if staged:
                    self.take_backup()
                return staged

            process.after_write = back_up
            await self._ask()

    async def fill_the_disk_in_its_work(self) -> None:
        """The disk is full for a moment, in which nobody but the tick writes."""
        process = self._running()
        if process is not None:
            machine = process.machine

            def fill(view: View) -> bool:
                if view.candidates:
                    machine.full_disk(full=True)
                    self.history.loop.call_later(0.15, self._make_room, machine, context=NOBODY)
                return bool(view.candidates)

            process.after_view = fill
            await self._ask()

    @staticmethod
    def _make_room(machine: Any) -> None:
        machine.full_disk(full=False)

    async def steal_again(self) -> None:
        """A stranger's nonce leaves the chain and comes back; a person thaws when a tick has read the account frozen."""
        history = self.history
        account = self.rare.choice(history.accounts)
        self._rob(account)
        await asyncio.sleep(0.5)
        history.watchman.reorganised(1)
        history.met["reorg"] += 1
        history.ledger.reorg(1, now=history.loop.time(), then=Then.NEVER)
        self._wake()
        await asyncio.sleep(0.5)
        process = self._running()
        if process is not None:

            def thaw(view: View) -> bool:
                self._soon(history.people._thaw(account, FreezeCause.FOREIGN_NONCE))
                return True

            process.after_view = thaw
            self._rob(account)

    async def steal_two(self) -> None:
        """Of two nonces that a stranger took the later one leaves the chain for good, and a person thaws at once."""
        history = self.history
        account = self.rare.choice(history.accounts)
        self._rob(account)
        self._rob(account)
        await asyncio.sleep(0.5)
        history.watchman.reorganised(1)
        history.met["reorg"] += 1
        history.ledger.reorg(1, now=history.loop.time(), then=Then.NEVER, blocks=1)
        self._wake()
        await asyncio.sleep(0.5)
        await history.people._thaw(account, FreezeCause.FOREIGN_NONCE)

    async def _ask(self) -> None:
        """Somebody submits something, and it is on its way in two ticks."""
        await self.history.people.ask()
        self._wake()
        await asyncio.sleep(0.3)
        self._wake()
        await asyncio.sleep(0.3)

    def _rob(self, account: AccountId) -> None:
        """A stranger takes the next nonce, in a block of its own."""
        self.history.ledger.foreign_spend(str(account), to="tb1thief", amount=0, fee=1_067)
        self.history.watchman.robbed = True
        self.history.met["theft"] += 1
        self.history.mine(1)
        self._wake()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the world do something by itself."""
        task = self.history.loop.create_task(work, context=contextvars.Context())
        self.doing.add(task)
        task.add_done_callback(self.doing.discard)

    async def lag_at_the_lookup(self) -> None:
        """Every endpoint lags when something is looked up, and at no other time."""
        history, process = self.history, self._running()
        if process is None:
            return

        def lag(view: View) -> bool:
            if view.consumed:
                self._lag(5)
                history.wires.nodes.between = lambda method: self._lag(0) if method == "tx_status" else None
                history.loop.call_later(1.0, self._lag, 0, context=NOBODY)
            return bool(view.consumed)

        process.after_view = lag
        await self._ask()
        history.mine(1)
        self._wake()

    async def forget_what_was_mined(self) -> None:
        """For a moment no look-up knows what has just been mined."""
        await self._ask()
        for node in self.history.node_list:
            node.faults.add(Wrong.UNKNOWN_TX, times=None)
        self.history.mine(1)
        self._wake()
        await asyncio.sleep(0.4)
        self._relent()

    async def die_unsealed(self) -> None:
        """A process dies when what it has staged is signed and not sealed, and nobody is there for a while."""
        await self._crash_at("SET tx_bytes")
        for machine in self.history.machines:
            machine.off = True
        await asyncio.sleep(2.0)
        for machine in self.history.machines:
            machine.off = False
            machine.start()

    def _lag(self, blocks: int) -> None:
        for node in self.history.node_list:
            node.switches.lag = blocks

    async def crash_at_recording(self) -> None:
        """A process dies when it is about to record what it has sent."""
        await self._crash_at("attempts = attempts + 1")

    async def crash_at_staging(self) -> None:
        """A process dies when it is about to bind what it has chosen."""
        await self._crash_at("INSERT INTO intent")

    async def _crash_at(self, statement: str) -> None:
        """Something is submitted, and a process dies before that statement."""
        process: Any = self._running()
        if process is None:
            return
        right = process.statement

        def cut(sql: str) -> None:
            if statement in sql:
                process.statements_left = 0
            right(sql)

        process.statement, process.watched = cut, True
        self.history.met["crash at a chosen statement"] += 1
        await self._ask()

    async def cancel_in_its_work(self) -> None:
        """A person cancels an item when a tick has read that it may be paid, and has not staged it yet."""
        process = self._running()
        if process is not None:

            def cancel(view: View) -> bool:
                if view.candidates:
                    self._soon(self.history.people.cancel(view.candidates[0].id))
                return bool(view.candidates)

            process.after_view = cancel
            await self._ask()

    async def gap_and_set_back(self) -> None:
        """Every node finds a gap and turns payments away, a block comes, and all wall clocks are set back by a day."""
        for node in self.history.node_list:
            node.faults.add(Wrong.REFUSE, times=None, verdict="NonceGap")
        self.history.met["stubborn"] += 1
        self.history.trace("everybody answers NonceGap")
        await self.history.people.ask()
        await self.history.people.ask()
        await asyncio.sleep(0.5 + self.rare.random())
        self.history.mine(1)
        self._wake()
        await asyncio.sleep(self.rare.random())
        self._set_back()
        self.history.loop.call_later(6.0, self._relent, context=NOBODY)

    def _set_back(self) -> None:
        self.history.met["clock step"] += 1
        for machine in self.history.machines:
            machine.clock.wall_step -= 86_400.0
        self._wake()
        self.history.trace("the wall clocks are set back by a day")

    def _wake(self) -> None:
        for machine in self.history.machines:
            if machine.process is not None and machine.process.mind is not None:
                machine.process.mind.wake()

    async def cancel_downwards(self) -> None:
        """Of two payments in line that no pool has a person cancels the later one, and then the one before it."""
        rows = self.history.rows(_UNPOOLED)
        for (account, _, first), (other, _, second) in pairwise(rows):
            if account == other:
                await self.history.people.cancel(second)
                await asyncio.sleep(0.4)
                await self.history.people.cancel(first)
                return

    async def fork_one(self) -> None:
        """One of several endpoints names other blocks than the others do, but for the newest one, for a while."""
        history = self.history
        if len(history.node_list) > 1 and not isinstance(history.node_list[0].ledger, Forked):
            history.node_list[0].ledger = Forked(history.ledger)  # type: ignore[assignment]
            history.trace("the first endpoint names other blocks")
            history.loop.call_later(2.0 + 4.0 * self.rare.random(), self._be_modest, context=NOBODY)

    async def forge(self) -> None:
        """The first of several endpoints keeps what is pooled for itself and says for long that it was mined."""
        history = self.history
        if len(history.node_list) < 2 or isinstance(history.node_list[0].ledger, Forging):
            return
        await self._ask()
        history.node_list[0].ledger = Forging(history.ledger, history.loop.time())  # type: ignore[assignment]
        history.ledger.lose_pool()
        history.trace("the first endpoint forges")
        self._wake()
        history.loop.call_later(8.0 + 12.0 * self.rare.random(), self._be_modest, context=NOBODY)

    async def refuse_and_cancel(self) -> None:
        """No pool takes two new payments; a person cancels the later one, and then the one before it."""
        for node in self.history.node_list:
            node.faults.add(Wrong.REFUSE, times=None, verdict="MempoolFull")
        self.history.loop.call_later(8.0, self._relent, context=NOBODY)
        await self.history.people.ask()
        await self.history.people.ask()
        await asyncio.sleep(0.8)
        await self.cancel_downwards()

    async def boast(self) -> None:
        """For a block or two the accounts that nodes show run ahead of their blocks; then that block never comes."""
        history = self.history
        if any(isinstance(node.ledger, Ahead) for node in history.node_list):
            return
        await self._ask()
        history.mine(1)
        shown = Ahead(history.ledger)
        history.watchman.reorganised(1)
        history.met["reorg"] += 1
        history.ledger.reorg(1, now=history.loop.time(), then=Then.NEVER, blocks=0)
        for node in history.node_list:
            node.ledger = shown  # type: ignore[assignment]
        history.trace("accounts are shown ahead of their blocks")
        self._wake()
        seconds = history.settings.block_seconds * (0.5 + self.rare.random())
        history.loop.call_later(seconds, self._be_modest, context=NOBODY)

    def _be_modest(self) -> None:
        for node in self.history.node_list:
            node.ledger = self.history.ledger
        self.history.trace("accounts are shown as the blocks have them")

    async def another_chain(self) -> None:
        """Every endpoint serves another chain for a while, and whatever ran is started anew meanwhile."""
        history = self.history
        if history.watchman.strange is not None:
            return
        config = replace(
            history.node_list[0].config, genesis={**history.node_list[0].config.genesis, "tb1other": 1}
        )
        other = build_node(config, None, now=history.loop.time)
        other.ledger.seed = history.ledger.seed + 1
        for _ in range(history.ledger.height + 1):
            other.ledger.mine(now=history.loop.time())
        for machine in history.machines:
            if machine.process is not None:
                machine.process.kill("for another chain")
        history.watchman.strange = history.loop.now
        history.wires.nodes.nodes = dict.fromkeys(history.nodes, other)
        history.met["another chain"] += 1
        history.trace("another chain is served")
        history.loop.call_later(6.0, self._own_chain, context=NOBODY)

    def _own_chain(self) -> None:
        self.history.wires.nodes.nodes = self.history.nodes
        self.history.watchman.strange = None
        self.history.trace("our own chain is served")

    async def rob_the_one_before(self) -> None:
        """A stranger takes the nonce before one that is being cancelled, whose payment is mined; dust lands in the sink."""
        history = self.history
        await self._ask()
        await self._ask()
        for account, nonce, item in history.rows(_IN_LINE):
            if nonce == self._used(account) + 2:
                await history.people.cancel(item)
                self._wake()
                await asyncio.sleep(0.4)
                if nonce == self._used(account) + 2:
                    history.ledger.deposit(str(history.rules.sink_of(AccountId(account))), 1)
                    self._rob(AccountId(account))
                    history.trace(f"a stranger takes the nonce before {nonce} of {account}")
                return

    def _used(self, account: str) -> int:
        holding = self.history.ledger.holding(account)
        return holding[1] if holding is not None else 0

    async def lift(self) -> None:
        """Nothing is wrong any more."""
        self._be_modest()
        self._own_chain()
        await super().lift()
