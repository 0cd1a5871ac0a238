"""
A seeded walk through whatever can happen: two executors over one store, people, a chain and a network that fail.

One number decides everything, so that a walk is replayed exactly: `python -m tests.histories.explorer SEED`. After each
step `invariants.Watchman` holds the store against the chain (protocol.md §10); at the end all faults are lifted, people
do what is theirs, and everything that is approved, funded and not cancelled has to be final.
"""

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from tests.histories.processes import Process
from tests.histories.setting import VOTERS, Setting, public_of
from tests.world import AMOUNT, CHAIN_ID, OPENING, new

from treasuryd.commands import control, disbursements
from treasuryd.commands import proposals as ballots
from treasuryd.commands.fields import Person
from treasuryd.core.model import (
    AccountState,
    BaseUnits,
    BreakerMode,
    CallClass,
    Decision,
    Disbursement,
    Endpoint,
    FreezeCause,
    Hold,
    HouseName,
    NewDisbursement,
    Proposal,
    State,
    Status,
)
from treasuryd.core.proposals import vote_message
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then
from treasuryd.errors import Rejected

STEPS: Final = 70
LAST_ROUNDS: Final = 260
DESTINATIONS: Final = ("tb1alice", "tb1bob", "tb1carol", "tb1dave")
AMOUNTS: Final = (AMOUNT, AMOUNT, AMOUNT, 3_000_000, 7_000_000, 20_000, 1_200)
POLICY_LIMIT: Final = 6_000_000
EDWARD: Final = Person(who="edward", reason="a person decided")


DONE: Final = {Status.EXECUTED, Status.FINALIZED, Status.ROLLED_BACK}


class Explorer(Setting):
    """One walk of `steps` steps from a seed."""

    def __init__(self, folder: Path, seed: int, *, steps: int = STEPS, loud: bool = False) -> None:
        super().__init__(folder, seed, loud=loud)
        self.steps = steps

    # --- the walk ------------------------------------------------------------------------------------------

    async def walk(self) -> None:
        """Do everything, and check after each step. Raises: AssertionError where a promise was broken."""
        await self.begin()
        kinds = {kind: weight for kind, weight in self._menu() if weight}
        for _ in range(self.steps):
            (action,) = self.chance.choices(list(kinds), weights=list(kinds.values()))
            await action()
            await self.watchman.check()
        await self.settle_down()

    def _menu(self) -> Iterator[tuple[Callable[[], Awaitable[None]], float]]:
        yield self.pass_time, 40
        yield self.ask, 8
        yield self.vote, 4
        yield self.cancel_some, 4
        yield self.roll_back_some, 1
        yield self.decide_some, 4
        yield self.freeze_some, 0.7
        yield self.switch, 1.5
        yield self.pay_in, 2.5
        yield self.steal, 2.0 * self.thieves
        yield self.forget, 2
        yield self.reorganise, 4
        yield self.bend, 3
        yield self.fault, 4
        yield self.disturb, 2
        yield self.price, 1.5
        yield self.crash_some, 4
        yield self.set_clock, 1
        yield self.tell_policy, 1

    async def pass_time(self) -> None:
        """A moment passes with some blocks in it; the executors act, one perhaps not at all."""
        self.clock.now += self.chance.choice((0.2, 1.0, 1.0, 1.0, 3.0, 3.0, 7.0, 14.0, 61.0))
        self.mine(self.chance.choice((0, 0, 1, 1, 1, 2, 4)))
        if self.chance.random() < 0.2:
            self.deliver_late()
        for process in self.processes:
            if self.chance.random() < 0.8:
                await process.act()

    async def meanwhile(self, process: Process, label: str) -> None:
        """Between two calls of a process: the world goes on, and perhaps the other executor does."""
        if self.ended or len(self.acting) > 1 or self.chance.random() >= self.restless:
            return
        self.acting.append(process)
        try:
            self.trace(f"meanwhile, at {label} of {process.name}:")
            action = self.chance.choice(
                (self.block, self.block, self.reorganise, self.cancel_some, self.decide_some, self.forget, self.stall,
                 self.stall, self.pay_in, self.switch, self.freeze_some)
            )  # fmt: skip
            await action()
        finally:
            self.acting.pop()

    async def block(self) -> None:
        self.trace("a block")
        self.mine(1)

    async def stall(self) -> None:
        """Whoever acts now is stopped; the other one may take over."""
        here = self.acting[-1]
        seconds = self.chance.choice((2.0, 5.0, 14.0, 30.0))
        self.trace(f"{here.name} is stopped for {seconds} s")
        for _ in range(4):
            self.clock.now += seconds / 4
            self.mine(self.chance.choice((0, 1)))
            for other in self.processes:
                if other is not here:
                    await other.act()

    # --- people ---------------------------------------------------------------------------------------------

    async def ask(self) -> None:
        """Somebody submits a few items, perhaps with dependencies, schedules and proposals."""
        rows: list[NewDisbursement] = []
        for _ in range(self.chance.choice((1, 1, 2, 3, 5))):
            place = len(self.made) + len(rows) + 1
            memo = f"item-{place}"
            rows.append(
                new(
                    memo,
                    to=self.chance.choice(DESTINATIONS) if self.chance.random() < 0.7 else f"tb1to{place}",
                    amount=self.chance.choice(AMOUNTS),
                    account=self.chance.choice(self.accounts),
                    depends_on=self.chance.sample(self.made, 1)
                    if self.made and self.chance.random() < 0.25
                    else (),
                    scheduled=self._epoch() + self.chance.choice((1, 2, 4))
                    if self.chance.random() < 0.2
                    else 0,
                    proposal=Proposal(title="a", summary="b", vote_window_epochs=1, timelock_epochs=1)
                    if self.chance.random() < 0.25
                    else None,
                )
            )
        try:
            ids = await self.submit(*rows)
        except Rejected as refusal:
            self.trace(f"refused at intake: {refusal}")
            return
        self.made += ids
        for item, row in zip(ids, rows, strict=True):
            self.watchman.submitted(item, row)
        self.trace(
            f"submitted {[(item, row.destination, row.amount, row.account) for item, row in zip(ids, rows, strict=True)]}"
        )

    def _epoch(self) -> int:
        return self.node.ledger.height // self.rules.epoch_blocks

    async def vote(self) -> None:
        voting = [item for item in await self._items() if item.status is Status.VOTING]
        if not voting:
            return
        item = self.chance.choice(voting)
        decision = Decision.APPROVE if self.chance.random() < 0.85 else Decision.REJECT
        for place, key in enumerate(VOTERS):
            if self.chance.random() < 0.75:
                message = vote_message(
                    chain_id=CHAIN_ID,
                    disbursement_id=item.id,
                    digest=item.payload_digest,
                    counter=0,
                    decision=decision,
                )
                signed = ballots.Signed(
                    house=list(HouseName)[place // 2],
                    key=public_of(key),
                    counter=0,
                    decision=decision,
                    signature=key.sign(message).hex(),
                )
                with suppress(Rejected):
                    await ballots.take(self.office(), item.id, signed)
                    self.watchman.voted(item.id, signed)
        self.trace(f"votes on {item.id}: {decision}")

    async def _items(self) -> list[Disbursement]:
        return [item for item in await self.desk.get(self.made) if item is not None]

    async def cancel_some(self) -> None:
        items = [item for item in await self._items() if item.status is not Status.FINALIZED]
        if items:
            chosen = self.chance.choice(items)
            rows = await disbursements.cancel(self.office(), (chosen.id,), EDWARD)
            self.trace(f"cancel {chosen.id} ({chosen.status}): {rows[0].what}")

    async def roll_back_some(self) -> None:
        for item in await self._items():
            if item.status is Status.EXECUTED:
                with suppress(Rejected):
                    await disbursements.rollback(self.office(), item.id, EDWARD)
                    self.trace(f"rolled {item.id} back in its window")
                return

    async def freeze_some(self) -> None:
        if not self.ended:
            account = self.chance.choice(self.accounts)
            with suppress(Rejected):
                await control.freeze(self.office(), account, EDWARD)
                self.trace(f"a person freezes {account}")

    async def switch(self) -> None:
        """The kill switch, on or off."""
        self.killed = not self.killed
        await self._force(BreakerMode.FORCED_OPEN if self.killed else BreakerMode.AUTO)

    async def _force(self, mode: BreakerMode) -> None:
        self.killed = mode is BreakerMode.FORCED_OPEN
        await control.force_breaker(self.office(), Endpoint("*"), CallClass.SEND, mode, EDWARD)
        self.trace(f"kill switch {mode}")

    async def decide_some(self) -> None:
        """People do what is theirs: thaw, judge what is ambiguous by what is true, release what is held."""
        for account in await self.desk.accounts():
            if account.state is AccountState.FROZEN and self.chance.random() < 0.7:
                await self._thaw(account.id, account.cause)
        for item in await self._items():
            if item.status not in DONE and (item.live_intent or item.hold) and self.chance.random() < 0.7:
                await self._decide(item)

    async def _thaw(self, account: Any, cause: str) -> None:
        if cause == FreezeCause.DEEP_REORG and not self.ended:
            return
        with suppress(Rejected):
            await control.thaw(self.office(), account, EDWARD)
            self.trace(f"thawed {account} ({cause})")

    async def _decide(self, item: Disbursement) -> None:
        if (
            item.hold in {Hold.NEEDS_RELEASE, Hold.REFUSED, Hold.POISONED, Hold.APPROVAL_LOST}
            and not item.live_intent
        ):
            if item.hold is Hold.REFUSED and self.policy is not self.open_policy:
                return
            rows = await disbursements.release(self.office(), (item.id,), EDWARD)
            self.trace(f"release {item.id} ({item.hold}): {rows[0].what} {rows[0].detail}")
        elif item.hold is Hold.DEPENDENCY_FAILED:
            await disbursements.cancel(self.office(), (item.id,), EDWARD)
            self.trace(f"cancel {item.id}: its dependency failed")
        elif item.live_intent:
            intent = (await self.desk.intents(item.id))[-1]
            if intent.state is State.AMBIGUOUS:
                truth = self.watchman.truth(intent)
                if truth is not None:
                    rows = await disbursements.resolve(self.office(), (item.id,), paid=truth, by=EDWARD)
                    self.trace(f"resolve {item.id} paid={truth}: {rows[0].what} {rows[0].detail}")

    # --- money ----------------------------------------------------------------------------------------------

    async def pay_in(self) -> None:
        """Dust or a large deposit, to a paying account or (where that is no residual risk) to a payee."""
        ledger, amount = self.node.ledger, self.chance.choice((1, 500, AMOUNT // 4, AMOUNT, 3 * AMOUNT))
        if self.forgetful:
            amount = min(
                amount, 500
            )  # a large one could hide a payment that nobody knows: the stated residual risk
        to = str(self.chance.choice(self.accounts))
        if self.gifts and self.chance.random() < 0.4:
            to = self.chance.choice(DESTINATIONS)
        elif self.chance.random() < 0.2:
            with suppress(Rejected):
                await control.announce(self.office(), cast("Any", to), BaseUnits(amount), EDWARD)
        self.trace(f"deposit {amount} to {to}")
        ledger.deposit(to, amount)

    async def steal(self) -> None:
        account = str(self.chance.choice(self.accounts))
        amount, fee = self.chance.choice((0, 0, 1, AMOUNT // 3)), self.chance.choice((1_067, 30_000))
        self.trace(f"a stranger spends {amount} + {fee} of {account}")
        self.watchman.robbed = True
        self.node.ledger.foreign_spend(account, to="tb1thief", amount=amount, fee=fee)

    # --- the chain ------------------------------------------------------------------------------------------

    async def forget(self) -> None:
        lost: int | None = None
        if self.chance.random() < 0.7:
            lost = self.node.ledger.lose_pool()
        else:
            self.node.restart()
        self.trace(f"the pool is lost: {lost}")

    async def reorganise(self) -> None:
        ledger, k = self.node.ledger, self.rules.finality_depth
        depth = self.chance.randint(1, k)
        if self.deep and self.chance.random() < 0.25:
            depth = self.chance.randint(k + 1, k + 4)
        depth = min(depth, ledger.height - 1)
        if depth < 1:
            return
        then = self.chance.choice(tuple(Then))
        blocks = self.chance.choice((None, depth, depth, depth + 2, depth - 1))
        self.trace(f"reorg of {depth}, {then}, {blocks} blocks instead")
        self.watchman.reorganised(depth)
        ledger.reorg(depth, now=self.clock.now, then=then, blocks=blocks)

    async def bend(self) -> None:
        """An endpoint lags, or names an absurd height."""
        node = self.chance.choice(list(self.nodes.values()))
        node.switches.lag = self.chance.choice((0, 0, 1, 2, 5))
        node.switches.absurd_index = None
        if self.hasty and self.chance.random() < 0.5:
            node.switches.absurd_index = node.ledger.height + self.chance.choice((3, 40, 10_000))
        self.watchman.bent = (
            self.watchman.bent or node.switches.lag > 0 or node.switches.absurd_index is not None
        )
        self.trace(f"lag {node.switches.lag}, absurd {node.switches.absurd_index}")

    async def fault(self) -> None:
        node = self.chance.choice(list(self.nodes.values()))
        verdicts = ("MempoolFull", "InsufficientBalance", "FeeTooLow", "BalanceOverflow", "NonceGap", "Duplicate",
                    "PendingLimitReached", "BadSignature")  # fmt: skip
        times = self.chance.choice((1, 1, 2, 4))
        wrong = self.chance.choice(
            (
                Wrong.REFUSE,
                Wrong.REFUSE,
                Wrong.DUPLICATE,
                Wrong.RAISE_TIP,
                Wrong.WRONG_BLOCK,
                Wrong.UNKNOWN_TX if self.forgetful else Wrong.WRONG_BLOCK,
            )
        )
        given = {"verdict": self.chance.choice(verdicts)} if wrong is Wrong.REFUSE else {}
        self.trace(f"fault {wrong} {given} x{times}")
        node.faults.add(wrong, times=times, **given)

    async def disturb(self) -> None:
        self.network = self.chance.choice((0.0, 0.0, 0.05, 0.2, 0.9))
        self.trace(f"the network loses {self.network:.0%}")

    async def price(self) -> None:
        floor = self.chance.choice((0, 0, 2, 6, 40, 1_000))
        self.trace(f"fee floor {floor}")
        for pool in self.node.ledger.pools:
            pool.window.floor = floor

    # --- the processes --------------------------------------------------------------------------------------

    async def crash_some(self) -> None:
        process = self.chance.choice(self.processes)
        if self.chance.random() < 0.5:
            process.crash_in = self.chance.randint(0, 40)
        else:
            process.statement_in = self.chance.randint(0, 60)
        self.trace(
            f"{process.name} will crash in {process.crash_in} calls, {process.statement_in} statements"
        )

    async def set_clock(self) -> None:
        step = self.chance.choice((-86_400.0, -40.0, 40.0, 86_400.0))
        self.clock.wall_step += step
        self.trace(f"the wall clock jumps by {step}")

    async def tell_policy(self) -> None:
        """The signer's policy changes, which takes a restart; the vetting of some processes sees nothing."""
        strict = replace(self.open_policy, max_amount=BaseUnits(POLICY_LIMIT))
        self.policy = strict if self.policy is self.open_policy else self.open_policy
        self.trace(f"policy {'strict' if self.policy is strict else 'open'}")
        for process in self.processes:
            process.lenient = self.chance.random() < 0.5
            await process.restart()

    # --- the end --------------------------------------------------------------------------------------------

    async def settle_down(self) -> None:
        """Lift every fault, let people do what is theirs, and see everything paid that is to be paid."""
        self.trace("--- the end begins")
        self.ended, self.network, self.policy = True, 0.0, self.open_policy
        self.deliver_late()
        for node in self.nodes.values():
            node.faults.clear()
            node.switches.lag, node.switches.absurd_index = 0, None
        for pool in self.node.ledger.pools:
            pool.window.floor = 0
        for process in self.processes:
            process.lenient = False
            await process.restart()
        await self._force(BreakerMode.AUTO)
        for account in self.accounts:
            self.node.ledger.deposit(str(account), 5 * OPENING)
        for turn in range(LAST_ROUNDS):
            self.clock.now += 5.0 if turn < LAST_ROUNDS // 2 else 60.0
            believed = (await self.desk.chain_state()).believed
            self.mine(max(2, min(believed - self.node.ledger.height, 50)))
            for process in self.processes:
                await process.act()
            await self.watchman.check()
            await self.decide_some()
            if self.watchman.deep and turn > 40:
                break  # a reorg deeper than finality: what it took is a person's to reopen
            if await self._all_done():
                await self._calm(4)
                break
        await self.watchman.finish(all_done=not self.watchman.deep)

    async def _calm(self, rounds: int) -> None:
        for _ in range(rounds):
            self.clock.now += 5.0
            self.mine(2)
            for process in self.processes:
                await process.act()
            await self.decide_some()
            await self.watchman.check()

    async def _all_done(self) -> bool:
        items = await self._items()
        return all(item.status in {Status.FINALIZED, Status.ROLLED_BACK} for item in items)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="history-") as name:
        yield Path(name)


async def explore(seed: int, folder: Path, *, steps: int = STEPS, loud: bool = False) -> Explorer:
    """
    Walk one seed.

    Raises: AssertionError, with the last steps and the command that replays it.
    """
    explorer = Explorer(folder, seed, steps=steps, loud=loud)
    try:
        await explorer.walk()
    except Exception as problem:
        told = "\n".join(explorer.lines[-40:])
        again = f"python -m tests.histories.explorer {seed} --steps {steps} --loud"
        raise AssertionError(f"seed {seed}: {problem!r}\n{told}\nreplay: {again}") from problem
    finally:
        for process in explorer.processes:
            await process.stop()
        await explorer.close()
    return explorer


def main() -> int:
    """Walk seeds from the command line; answers how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--loud", action="store_true", help="print each step")
    given = parser.parse_args()
    failed = 0
    for seed in range(given.first, given.first + given.count):
        with _folder() as folder:
            try:
                asyncio.run(explore(seed, folder, steps=given.steps, loud=given.loud))
            except Exception as problem:  # noqa: BLE001  (a walk that fails must not end the others)
                failed += 1
                if given.count == 1:
                    traceback.print_exc()
                cause = problem.__cause__ or problem
                print(f"seed {seed} failed: {str(cause)[:300]!r}", flush=True)
    print(f"{given.count} seeds, {failed} failed", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
