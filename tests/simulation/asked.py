"""
Troubles that no history meets by itself: a planted bug asks for them (`Settings.often`), with the world in which it bites.

Each is a conspiracy of two or three ordinary happenings that chance brings together too seldom.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.loop import NOBODY
from tests.simulation.rare import FORTUNE, RareTroubles

from treasuryd.core.model import AccountId
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then
from treasuryd.devnet.server import build_node

if TYPE_CHECKING:
    from tests.simulation.machine import Process

LONG: Final = 9.0  # seconds: past every lease
_IN_LINE: Final = (
    "SELECT i.account, i.nonce, count(DISTINCT v.kind) FROM intent i JOIN variant v ON v.intent_id = i.id "
    "WHERE i.live = 1 AND i.state = 'broadcast' AND v.tx_hash IS NOT NULL GROUP BY i.id ORDER BY 1, 2"
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


class AskedTroubles(RareTroubles):
    """All the usual troubles, and these on request."""

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

    async def stop_at_the_disk(self) -> None:
        """A process is stopped past its lease on its way to the disk: it has asked whether it still leads."""
        process: Any = self._running()
        if process is None:
            return
        right = process.rest

        def rest() -> float:
            if self.rare.random() < 0.15:
                process.rest = right
                process.pause(LONG)
                self.history.met["pause past the lease"] += 1
                self.history.trace(f"{process.name} is stopped on its way to the disk")
                return 0.001
            seconds: float = right()
            return seconds

        process.rest = rest

    async def freeze_in_its_work(self) -> None:
        """A person freezes an account while a tick is under way."""
        process = self._running()
        if process is not None and process.mind is not None:
            process.mind.wake()
            for _ in range(self.rare.randint(1, 60)):
                await asyncio.sleep(0)
        await self.history.people.freeze_some()

    async def thaw_in_its_work(self) -> None:
        """People decide what is theirs while a tick is under way."""
        process = self._running()
        if process is not None and process.mind is not None:
            process.mind.wake()
            for _ in range(self.rare.randint(1, 60)):
                await asyncio.sleep(0)
        await self.history.people.decide_some(eager=1.0)

    async def boast(self) -> None:
        """For a block or two the accounts that nodes show run ahead of their blocks; then that block never comes."""
        history = self.history
        if any(isinstance(node.ledger, Ahead) for node in history.node_list):
            return
        history.mine(1)
        shown = Ahead(history.ledger)
        history.watchman.reorganised(1)
        history.met["reorg"] += 1
        history.ledger.reorg(1, now=history.loop.time(), then=Then.NEVER, blocks=0)
        for node in history.node_list:
            node.ledger = shown  # type: ignore[assignment]
        history.trace("accounts are shown ahead of their blocks")
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
        """A stranger takes the nonce before one that has two payloads out, which is mined; dust lands in the sink."""
        history = self.history
        rows = [row for row in history.rows(_IN_LINE) if row[1] > self._count(row[0])]
        for account, nonce, kinds in rows:
            if kinds == 2 and nonce == self._count(account) + 2:
                history.ledger.foreign_spend(account, to="tb1thief", amount=0, fee=1_067)
                history.ledger.deposit(str(history.rules.sink_of(AccountId(account))), 1)
                history.mine(1)
                history.watchman.robbed = True
                history.met["theft"] += 1
                history.trace(f"a stranger takes the nonce before {nonce} of {account}")
                return

    def _count(self, account: str) -> int:
        holding = self.history.ledger.holding(account)
        return holding[1] if holding is not None else 0

    async def lift(self) -> None:
        """Nothing is wrong any more."""
        self._be_modest()
        self._own_chain()
        await super().lift()
