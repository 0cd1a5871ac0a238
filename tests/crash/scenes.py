"""What happens to a process while it may die anywhere: short histories, and what has to be true at the end (§10)."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import orjson
from tests.crash.points import Died, Points, awaits
from tests.replaying import replays
from tests.world import (
    ADA,
    AMOUNT,
    CHAIN_ID,
    PAYER,
    RULES,
    SINK,
    TIMING,
    Fused,
    History,
    Nodes,
    SteppingClock,
    new,
)

from treasuryd.chain.transport import Answer
from treasuryd.commands import control, disbursements
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.model import (
    AccountState,
    Address,
    BaseUnits,
    DisbursementId,
    Evidence,
    Nonce,
    State,
    Status,
)
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then
from treasuryd.devnet.node import Node
from treasuryd.devnet.signatures import offer_of
from treasuryd.errors import Rejected
from treasuryd.executor.loop import Ticker
from treasuryd.signer.policy import Policy
from treasuryd.sqlite.inline import COMMITTED
from treasuryd.store import journal

QUICK: Final = replace(
    RULES, epoch_blocks=2, finality_depth=2, resend_seconds=2.0, bump_seconds=3.0, pool_ttl_seconds=4.0
)
NOBODY: Final = Person(who="ada", reason="a person decided")
DONE: Final = frozenset({Status.FINALIZED, Status.ROLLED_BACK})
MOST_STEPS: Final = 90
MOST_TICKS: Final = 20
NO_SIGNATURE: Final = bytes(64)

Act = Callable[["Life"], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    One history: what is there before it begins, and what happens to it at which step, whether the process lives or not.

    `every` happens at each step; `held` says how many items end held instead of done.
    """

    name: str
    before: Act
    acts: tuple[tuple[int, Act], ...] = ()
    every: Act | None = None
    held: int = 0
    lenient: bool = False  # vetting sees nothing, so that the signer refuses what is staged


class Life(History):
    """A scene as it is lived: one process after the other over the same files and the same chain."""

    def __init__(self, folder: Path, scene: Scene, evidence: Evidence) -> None:
        super().__init__(folder, evidence, rules=QUICK)
        self.scene = scene
        self.awaits, self.statements = Points(), Points()
        self.items: list[DisbursementId] = []
        self.broken: list[str] = []
        self.payloads: dict[tuple[str, int], set[tuple[str, int, bytes]]] = {}
        self.deaths = 0
        self.dies_again = -1
        self.effects: list[int] = []  # how many awaits were passed when something changed outside the process
        self.changes: list[int] = []  # and how many statements
        self.name = "A"
        self.stopped: list[Stopped] = []
        self.transport: Gated = Gated(self.clock, self.nodes)
        self.transport.before = self._leaves
        self.transport.then = self._sent

    # --- one process after the other ------------------------------------------------------------------------

    async def begin(self) -> None:
        """Everything before the first point that is counted."""
        self.mine(2)
        await self.start()
        await self.scene.before(self)
        self.statements.again()

    async def start(self) -> "Life":
        await super().start()
        for driver in self.drivers:
            driver.before_statement = self._statement
        if self.name != "A":
            self.keeper.owner = replace(
                self.keeper.owner, holder=self.name, machine=self.name, folder=self.name
            )
            self.keeper.alone = lambda: False
        if self.scene.lenient:
            lenient = Lenient(self.signer, self.fuse, "signer")
            self.ticker.world = replace(self.world, signer=cast("Any", lenient))
        return self

    def _statement(self, sql: str) -> None:
        if self.awaits.dead:
            raise Died(sql)
        if sql == COMMITTED:
            self._changed()
        self.statements.pass_by(" ".join(sql.split())[:60])

    def _sent(self, body: bytes) -> None:
        if b"submit_tx" in body:
            self._changed()

    def _changed(self) -> None:
        self.effects.append(self.awaits.passed)
        self.changes.append(self.statements.passed)

    async def lived(self) -> None:
        """
        Live through it to the end. A death is answered by a new process at once, which may die at `dies_again`.

        Only what the process itself does is counted: people and the chain have no awaits in it.
        """
        for step in range(MOST_STEPS):
            await self._happens(step)
            await self._mortal(super().step)
            await self.holds()
            if step > self._last() and await self._over():
                return
        raise AssertionError(f"not done: {[(item, await self._told_of(item)) for item in self.items]}")

    def _last(self) -> int:
        return max((at for at, _ in self.scene.acts), default=0)

    async def _mortal(self, act: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                with awaits(self.awaits):
                    await act()
            except BaseException:
                if not (self.awaits.dead or self.statements.dead):
                    raise
                self.deaths += 1
                self.awaits.again(self.dies_again)
                self.statements.again()
                self.dies_again, act = -1, self.crash
                await self.close()
            else:
                return

    async def _happens(self, step: int) -> None:
        """People and chain: nothing of it is counted, and nobody dies in it."""
        held, self.statements.at = self.statements.at, -1
        passed = self.statements.passed
        for at, act in self.scene.acts:
            if at == step:
                await act(self)
        if self.scene.every is not None:
            await self.scene.every(self)
        self.statements.at, self.statements.passed = held, passed

    async def _over(self) -> bool:
        held = 0
        for item in await self.desk.get(self.items):
            assert item is not None
            held += item.status not in DONE and item.hold is not None
            if item.status not in DONE and item.hold is None:
                return False
        account = await self.account()
        works = account.state is AccountState.ACTIVE and account.baseline is not None
        return works and held <= self.scene.held

    async def _told_of(self, item: DisbursementId) -> Any:
        found = await self.item(item)
        return found.status, found.hold, [(one.nonce, one.state) for one in await self.desk.intents(item)]

    # --- what has to be true ----------------------------------------------------------------------------------

    def _leaves(self, body: bytes) -> None:
        """Nothing leaves that is not durable, from an account that does not act, or as a second payload of its nonce."""
        if self.awaits.dead or self.statements.dead:
            raise Died("sending")
        parsed = orjson.loads(body)
        for row in parsed if isinstance(parsed, list) else [parsed]:
            if row["method"] != "submit_tx":
                continue
            offer = offer_of(bytes.fromhex(row["params"]["tx"]))
            if offer.signature != NO_SIGNATURE:
                self._payment_leaves(offer)

    def _payment_leaves(self, offer: Any) -> None:
        with sqlite3.connect(self.folder / "treasuryd.db") as look:
            stored = look.execute(
                "SELECT v.kind, i.state FROM variant v JOIN intent i ON i.id = v.intent_id WHERE v.tx_hash = ?"
                " ORDER BY i.live DESC",
                (offer.tx_id,),
            ).fetchall()
            ((state,),) = look.execute("SELECT state FROM account WHERE id = ?", (offer.sender,)).fetchall()
        look.close()
        if not stored or stored[0][1] == "void":
            self.broken.append(f"nonce {offer.nonce} left and is not stored, or void: {stored}")
        if state != AccountState.ACTIVE:
            self.broken.append(f"nonce {offer.nonce} left an account that is {state}")
        if stored and stored[0][0] == "payment":
            known = self.payloads.setdefault((offer.sender, offer.nonce), set())
            known.add((offer.to, offer.amount, offer.memo))
            if len(known) > 1:
                self.broken.append(f"nonce {offer.nonce} has two payments: {known}")

    def truth(self, hashes: set[str]) -> bool | None:
        """Which of these transactions is on the chain at depth? A payment: True; only a cancellation: False."""
        ledger = self.node.ledger
        for tx_id, mined in ledger.transactions.items():
            if tx_id in hashes:
                return (
                    bool(mined.offer.memo)
                    if mined.index < ledger.height - self.rules.finality_depth
                    else None
                )
        return None

    async def holds(self) -> None:
        """At any time."""
        assert not self.broken, self.broken
        await self.check()

    async def end(self) -> None:
        """When all is done."""
        for item in await self.desk.get(self.items):
            assert item is not None
            paid, due = self.paid(item.memo), item.status is Status.FINALIZED
            assert paid == int(due), f"{item.memo} is {item.status} and was paid {paid} times"
        nonces = [nonce for nonce, _, _ in self.mined()]
        assert nonces == list(range(1, len(nonces) + 1)), nonces
        booked, shown = await self.books()
        assert booked == shown == self.balance(PAYER), (booked, shown, self.balance(PAYER))
        await self.sql.read(journal.verify, f"account:{PAYER}")
        await self.sql.read(journal.verify, journal.PEOPLE)
        await self.sql.read(replays)

    # --- people -------------------------------------------------------------------------------------------------

    def office(self) -> Office:
        return Office(
            world=replace(
                self.world, desk=self.desk, chain=cast("Any", self.chain), signer=cast("Any", self.signer)
            ),
            engine=self.mind,
            rules=self.rules,
            accounts=self.accounts,
            chain_id=CHAIN_ID,
            price=self.trade().price,
        )


@dataclass
class Stopped:
    """A process that was stopped in the middle of a tick, with all that it believes."""

    tick: asyncio.Task[None]
    drivers: list[Any]


class Gated(Nodes):
    """A network in which the next payment on its way may be kept waiting."""

    def __init__(self, clock: SteppingClock, nodes: dict[str, Node]) -> None:
        super().__init__(clock, nodes)
        self.gate: asyncio.Event | None = None
        self.stalled = asyncio.Event()

    async def call(self, url: str, body: bytes, **limits: Any) -> Answer:
        if self.gate is not None and b"submit_tx" in body and not self.stalled.is_set():
            self.stalled.set()
            await self.gate.wait()
        return await super().call(url, body, **limits)


class Lenient(Fused):
    """A signer whose vetting sees nothing."""

    async def vet(self, drafts: Any) -> Any:
        return drafts


# --- the scenes -------------------------------------------------------------------------------------------------


async def _one(life: Life) -> None:
    life.items = await life.submit(new("one"))


async def _batch(life: Life) -> None:
    first = await life.submit(*(new(memo, to=f"tb1{memo}") for memo in ("one", "two", "three")))
    life.items = [*first, *await life.submit(new("after", to="tb1after", depends_on=first[:1]))]


def _refuses(verdict: str) -> Act:
    async def act(life: Life) -> None:
        life.node.faults.add(Wrong.REFUSE, verdict=verdict, times=None)

    return act


async def _refuses_no_more(life: Life) -> None:
    life.node.faults.clear()


async def _cancel(life: Life) -> None:
    await life.desk.cancel(life.items[:1], by=ADA)


async def _two_where_the_pool_is_full(life: Life) -> None:
    life.items = await life.submit(new("one"), new("two", to="tb1two"))
    await _refuses("MempoolFull")(life)


async def _dearer(life: Life) -> None:
    for pool in life.node.ledger.pools:
        pool.window.floor = 6


def _reorg(depth: int, then: Then) -> Act:
    async def act(life: Life) -> None:
        depth_ = min(depth, life.node.ledger.height - 3)
        if depth_ > 0:
            life.node.ledger.reorg(depth_, now=life.clock.now, then=then, blocks=depth_)

    return act


async def _strict(life: Life) -> None:
    life.policy = Policy(
        sinks={PAYER: Address(SINK)}, max_fee=BaseUnits(50_000), max_amount=BaseUnits(AMOUNT)
    )
    await life.crash()
    life.items = await life.submit(
        new("first"), new("large", to="tb1big", amount=AMOUNT + 1), new("last", to="tb1bob")
    )


async def _steal(life: Life) -> None:
    life.node.ledger.foreign_spend(str(PAYER), to="tb1thief", amount=0, fee=1_067)


async def _people(life: Life) -> None:
    """Thaw what is frozen, and judge what is ambiguous by what the chain shows."""
    if (await life.account()).state is AccountState.FROZEN:
        with suppress(Rejected):
            await control.thaw(life.office(), PAYER, NOBODY)
    for item in life.items:
        found = await life.desk.intents(item)
        if found and found[-1].state is State.AMBIGUOUS:
            paid = life.truth({str(variant.tx_hash) for variant in found[-1].variants})
            if paid is not None:
                await disbursements.resolve(life.office(), (item,), paid=paid, by=NOBODY)


async def _stop(life: Life) -> None:
    """The process stops, if it can in the middle of sending; another one, on another machine, waits for it."""
    gate = asyncio.Event()
    life.transport.gate = gate
    life.transport.stalled.clear()
    tick = asyncio.get_running_loop().create_task(_tick(life.ticker))
    stalls = asyncio.get_running_loop().create_task(life.transport.stalled.wait())
    await asyncio.wait({tick, stalls}, return_when=asyncio.FIRST_COMPLETED)
    stalls.cancel()
    if tick.done():
        life.transport.gate = None  # it had nothing to send
    life.stopped.append(Stopped(tick, life.drivers))
    life.drivers, life.name = [], "B"
    await life.start()
    life.clock.now += TIMING.candidate_wait_seconds + 1.0


async def _tick(ticker: Ticker) -> None:
    with suppress(Exception):
        for _ in range(MOST_TICKS):
            if not await ticker.once():
                return


async def _wake(life: Life) -> None:
    """And wakes up, long after its lease has passed on: what it sends now is what it had stored."""
    if life.transport.gate is not None:
        life.transport.gate.set()
    for stopped in life.stopped:
        await stopped.tick
        for driver in stopped.drivers:
            await driver.close()
    life.stopped.clear()


async def _after_a_deep_reorg(life: Life) -> None:
    """A payment and a cancellation were final, and the chain has lost both; a person gave all orders but the thaw."""
    (first,) = await life.submit(new("one"))
    await life.finalized([first])
    await _refuses("MempoolFull")(life)
    (gone,) = await life.submit(new("gone", to="tb1gone"))
    await life.run(2)
    await life.cancel(gone)
    await _refuses_no_more(life)

    async def over() -> bool:
        return await life.status(gone) is Status.ROLLED_BACK

    await life.until(over)
    await life.run(4)
    ledger = life.node.ledger
    ledger.reorg(ledger.height - 3, now=life.clock.now, then=Then.NEVER)
    await life.run(3)
    await life.desk.reopen(first, by=ADA)
    (later,) = await life.submit(new("later", to="tb1later"))
    life.items = [first, gone, later]


async def _fill(life: Life) -> None:
    await control.fill(life.office(), PAYER, [Nonce(2)], NOBODY)


SCENES: Final[Sequence[Scene]] = (
    Scene(name="payment", before=_one),
    Scene(name="batch with dependencies", before=_batch),
    Scene(
        name="cancel by replacement",
        before=_two_where_the_pool_is_full,
        acts=((2, _cancel), (3, _refuses_no_more)),
    ),
    Scene(name="cancel of what is pooled", before=_one, acts=((1, _cancel),)),
    Scene(name="fee bump", before=_two_where_the_pool_is_full, acts=((1, _dearer), (2, _refuses_no_more))),
    Scene(name="refusal", before=_strict, held=1, lenient=True),
    Scene(
        name="reorg",
        before=_batch,
        acts=((3, _reorg(1, Then.AGAIN)), (6, _reorg(2, Then.NEVER))),
        every=_people,
    ),
    Scene(name="thaw", before=_one, acts=((0, _steal),), every=_people),
    Scene(name="takeover", before=_batch, acts=((0, _stop), (4, _wake))),
    Scene(name="filler", before=_after_a_deep_reorg, acts=((0, _fill),), every=_people),
)
