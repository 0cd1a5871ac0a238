"""
Troubles that are rare by themselves, brought about on purpose: each is what one planted bug needs to show.

They have a chance of their own, so that a history without them is the same as before they were thought of.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.loop import NOBODY
from tests.simulation.troubles import Troubles
from tests.world import AMOUNT

from treasuryd.core.model import Evidence
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then

if TYPE_CHECKING:
    from tests.simulation.history import History

STUBBORN: Final = ("MempoolFull", "MempoolFull", "FeeTooLow", "NonceGap", "InsufficientBalance")
FORTUNE: Final = 50 * AMOUNT  # more than any interval can spend: a rise, whatever was paid in it


class RareTroubles(Troubles):
    """All the usual troubles, and these."""

    def __init__(self, history: "History") -> None:
        super().__init__(history)
        self.rare = random.Random(history.seed * 13 + 5)

    def more(self) -> Iterator[tuple[Callable[[], Awaitable[None]], float]]:
        """Name the actions and their weights, as the menu of a history does."""
        given = self.history.settings
        yield self.stubborn, 1.2
        yield self.crash_at_sealing, 1.2
        yield self.fortune, 1.0 * (given.forgetful and self.history.kind is Evidence.HASH)
        yield self.steal_the_amount, 1.5 * given.thieves
        yield self.lose_and_set_back, 0.4

    def begin(self) -> None:
        """Perhaps an account has a past that a reorg takes back (R2)."""
        if self.rare.random() < self.history.settings.used_before:
            history = self.history
            account = str(self.rare.choice(history.accounts))
            history.ledger.foreign_spend(account, to="tb1before", amount=0, fee=1_067)
            history.mine(1)
            history.met["used before"] += 1
            history.loop.call_later(1.0 + 3.0 * self.rare.random(), self._take_it_back, context=NOBODY)

    def _take_it_back(self) -> None:
        history = self.history
        depth = min(history.rules.finality_depth, history.ledger.height - 1)
        if depth > 0 and not history.ended:
            history.met["reorg"] += 1
            history.watchman.reorganised(depth)
            history.ledger.reorg(depth, now=history.loop.time(), then=Then.NEVER)

    async def stubborn(self) -> None:
        """Every node refuses for a while, for one and the same reason."""
        verdict = self.rare.choice(STUBBORN)
        self.history.trace(f"everybody answers {verdict}")
        self.history.met["stubborn"] += 1
        for node in self.history.node_list:
            node.faults.add(Wrong.REFUSE, times=60, verdict=verdict)
        self.history.loop.call_later(6.0 + 10.0 * self.rare.random(), self._relent, context=NOBODY)

    def _relent(self) -> None:
        for node in self.history.node_list:
            node.faults.clear()

    async def crash_at_sealing(self) -> None:
        """A process dies between signing and sealing; perhaps a stranger takes the nonce at once."""
        machine = self.rare.choice(self.history.machines)
        process: Any = machine.process
        if process is None or process.dead:
            return
        theft = self.history.settings.thieves and self.rare.random() < 0.7
        right = process.statement

        def cut(sql: str) -> None:
            if "SET tx_bytes" in sql:
                process.statements_left = 0
                if theft:
                    self.history.met["theft"] += 1
                    self.history.watchman.robbed = True
                    account = str(self.rare.choice(self.history.accounts))
                    self.history.ledger.foreign_spend(account, to="tb1thief", amount=0, fee=1_067)
            right(sql)

        process.statement, process.watched = cut, True
        self.history.met["crash at sealing"] += 1

    async def fortune(self) -> None:
        """A deposit so large that whatever was paid in its interval, the balance rose."""
        account = str(self.rare.choice(self.history.accounts))
        self.history.trace(f"deposit {FORTUNE} to {account}")
        self.history.ledger.deposit(account, FORTUNE)
        self.history.met["deposit"] += 1

    async def steal_the_amount(self) -> None:
        """A stranger spends about what one of our payments would."""
        account = str(self.rare.choice(self.history.accounts))
        amount = self.rare.choice((AMOUNT, AMOUNT - 1_000, AMOUNT * 3 // 4))
        self.history.trace(f"a stranger spends {amount} of {account}")
        self.history.met["theft"] += 1
        self.history.watchman.robbed = True
        self.history.ledger.foreign_spend(account, to="tb1thief", amount=amount, fee=1_067)

    async def lose_and_set_back(self) -> None:
        """The pools are lost, and every wall clock is set back by a day: "last sent" lies far ahead."""
        self.history.ledger.lose_pool()
        for machine in self.history.machines:
            machine.clock.wall_step -= 86_400.0
        self.history.met["pool lost"] += 1
        self.history.met["clock step"] += 1
