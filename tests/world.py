"""
A whole history in one process: the real core, executor, store, signer and chain adapter over a development chain.

Nothing waits: SQLite runs on the inline driver, the nodes answer without sockets, and time is moved. A crash throws
every object away and builds new ones over the same files and the same chain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.chain.world import FakeClock, FakeEntropy, InProcess, Seen, here

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.theblock import TheBlock
from treasuryd.chain.transport import Answer, Unreachable
from treasuryd.core import lease, proposals
from treasuryd.core.breaker import BreakerSettings
from treasuryd.core.events import Event, EventKind
from treasuryd.core.fees import fee_for
from treasuryd.core.model import (
    Account,
    AccountId,
    Address,
    Approval,
    BaseUnits,
    Digest,
    Disbursement,
    DisbursementId,
    Endpoint,
    Epoch,
    Evidence,
    FeeQuote,
    Incarnation,
    Intent,
    NewDisbursement,
    Owner,
    Proposal,
    Rules,
    State,
    Status,
    UnixSeconds,
)
from treasuryd.devnet.config import NO_ABILITIES, Abilities, DevnetConfig, profile
from treasuryd.devnet.node import Node
from treasuryd.devnet.server import build_node
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.executor.mind import Mind
from treasuryd.executor.tick import Trade
from treasuryd.ports import Submission, World
from treasuryd.signer.keys import Key
from treasuryd.signer.ledger import APPLICATION_ID as LEDGER_ID
from treasuryd.signer.local import LocalSigner
from treasuryd.signer.policy import Policy
from treasuryd.sqlite.connect import Database
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare
from treasuryd.store.reopening import reopen
from treasuryd.store.sqlite_store import SqliteStore
from treasuryd.wire.theblock.fees import base_fee_reachable
from treasuryd.wire.theblock.transaction import size9

CHAIN_ID = 1
PAYER = AccountId("treasury")
RESERVE = AccountId("reserve")
OPENING = 100_000_000
AMOUNT = 5_000_000  # far above the doubt about its fee, so that balances decide (§5.1)
SINK = f"{PAYER}-sink"
KEYS = {
    account: Key(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
    for seed, account in enumerate((PAYER, RESERVE), start=1)
}
RULES = Rules(
    epoch_blocks=10,
    finality_depth=3,
    max_blocks_per_second=50.0,
    min_vote_window_epochs=1,
    min_timelock_epochs=1,
    min_rollback_window_epochs=1,
    allow_treasury_initiated=True,
    resend_seconds=10.0,
    bump_seconds=60.0,
    fee_ceiling=BaseUnits(50_000),
    fee_uncertainty_max=BaseUnits(50_000),
)
TIMING = lease.Timing()
ADA = Approval(who="ada", reason="a person decided", at=cast("Any", 1.0))


class SteppingClock(FakeClock):
    """A clock whose wall time may be set."""

    wall_step = 0.0

    def unix_seconds(self) -> UnixSeconds:
        return UnixSeconds(super().unix_seconds() + self.wall_step)


class Nodes(InProcess):
    """Nodes of which some may be silent."""

    silent: frozenset[str] = frozenset()

    async def call(self, url: str, body: bytes, **limits: Any) -> Answer:
        self._ring(url)
        return await super().call(url, body, **limits)

    async def stream_frame(self, url: str, **limits: Any) -> bytes:
        self._ring(url)
        return await super().stream_frame(url, **limits)

    def _ring(self, url: str) -> None:
        if url.rstrip("/") in self.silent:
            raise Unreachable("connection refused")


class Crash(Exception):
    """The process died here."""


@dataclass
class Fuse:
    """Dies at the n-th call of a port, or before one by its name: before the call, or done and unheard where `after`."""

    left: int = -1  # -1: never
    after: bool = False
    at: str | None = None
    calls: list[str] = field(default_factory=list)
    watch: Callable[[str, bool], None] = lambda _name, _after: None

    def burn(self, name: str, *, after: bool) -> None:
        self.watch(name, after)
        if not after:
            self.calls.append(name)
            if name == self.at:
                raise Crash(name)
        if self.left >= 0 and after is self.after:
            if self.left == 0:
                self.left = -1
                raise Crash(name)
            self.left -= 1


class Fused:
    """A port behind a fuse."""

    def __init__(self, port: object, fuse: Fuse, name: str) -> None:
        self._port, self._fuse, self._name = port, fuse, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found) or name in {"breakers", "force", "heed", "new_heads"}:
            return found
        label = f"{self._name}.{name}"

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(label, after=False)
            answer = await found(*args, **kwargs)
            self._fuse.burn(label, after=True)
            return answer

        return call


class History:
    """
    One executor's life on one chain, tick by tick.

    Args: folder for the files; evidence decides whether the nodes offer look-up; `nodes` how many there are; `journal`
    whether its copy is kept outside the store.
    """

    def __init__(
        self,
        folder: Path,
        evidence: Evidence = Evidence.HASH,
        *,
        rules: Rules = RULES,
        accounts: Sequence[AccountId] = (PAYER,),
        config: DevnetConfig | None = None,
        policy: Policy | None = None,
        genesis: Mapping[str, int] | None = None,
        nodes: int = 1,
        journal: bool = False,
    ) -> None:
        self.folder, self.accounts = folder, tuple(accounts)
        sinks = {account: rules.sink_of(account) for account in self.accounts}  # as the settings name them
        self.rules = replace(rules, sinks={**sinks, **rules.sinks})
        self.clock, self.entropy, self.seen, self.fuse = SteppingClock(), FakeEntropy(), Seen(), Fuse()
        abilities = Abilities() if evidence is Evidence.HASH else NO_ABILITIES
        base = config or profile("dev")
        funds: Mapping[str, int] = genesis or {str(account): OPENING for account in self.accounts}
        self.config = replace(base, mining=False, rate_limit=None, abilities=abilities, genesis=funds)
        self.urls = [f"http://node-{place}" for place in range(nodes)]
        self.nodes = {url: build_node(self.config, None, now=lambda: self.clock.now) for url in self.urls}
        self.transport = Nodes(self.clock, self.nodes)
        self.policy = policy or Policy(sinks=sinks, max_fee=BaseUnits(50_000))
        self.starts = 0
        self.submissions = 0
        self.forged = False  # a test changed rows behind the journal's back
        self.alone = True  # whether it holds the folder's lock: a predecessor in it is dead
        self.behind: Callable[[Any], Any] = lambda signer: signer  # what stands between it and its signer
        self.drivers: list[InlineDriver] = []
        self.journal = folder / "journal" if journal else None  # the copy outside the store
        self.copy: JournalCopy | None = None
        self.store: SqliteStore
        self.desk: SqliteDesk
        self.chain: TheBlock
        self.signer: LocalSigner
        self.mind: Mind
        self.keeper: Keeper
        self.ticker: Ticker
        self.world: World

    # --- life and death -----------------------------------------------------------------------------------

    async def start(self) -> "History":
        """Build everything over the files, and claim the leases."""
        self.starts += 1
        driver = await self._driver("treasuryd.db", STORE_APPLICATION_ID)
        await driver.write(prepare, chain_id=CHAIN_ID, lineage="lineage")
        place = f"{(self.folder / 'treasuryd.db').stat().st_ino:x}"
        events = await reopen(
            driver, self.rules, folder=self.journal, place=place, now=self.clock.unix_seconds()
        )
        self.seen.saw(*events)
        self.store = SqliteStore(driver, self.rules, now=self.clock.unix_seconds, told=self._told)
        self.desk = SqliteDesk(driver, self.rules)
        self.sql = driver
        ledger = await self._driver("ledger.db", LEDGER_ID)
        self.signer = await LocalSigner.open(ledger, {a: KEYS[a] for a in self.accounts}, self.policy)
        self.chain = TheBlock(
            ChainConfig(
                endpoints=tuple(
                    EndpointConfig(name=Endpoint(f"node-{place}"), url=url)
                    for place, url in enumerate(self.urls)
                ),
                payers=self.signer.public_keys,
                breaker=BreakerSettings(),
                max_requests_per_second=1e6,
                burst=1000,
            ),
            transport=self.transport,
            clock=self.clock,
            entropy=self.entropy,
            observer=self.seen,
            offload=here,
        )
        await self.chain.heed(self.desk.overrides)
        await self.chain.start()
        self.world = World(
            store=cast("Any", Fused(self.store, self.fuse, "store")),
            desk=cast("Any", Fused(self.desk, self.fuse, "desk")),
            chain=cast("Any", Fused(self.chain, self.fuse, "chain")),
            signer=self.behind(cast("Any", Fused(self.signer, self.fuse, "signer"))),
            clock=self.clock,
            entropy=self.entropy,
            observer=self.seen,
        )
        self._executor()
        await self.keeper.beat()
        return self

    def _executor(self) -> None:
        self.mind = Mind(clock=self.clock, poll_seconds=5.0, fed_boot=self.clock.boot_seconds())
        owner = Owner(
            holder="tester", incarnation=Incarnation(f"{self.starts:032x}"), machine="m", folder="f"
        )
        self.keeper = Keeper(
            world=self.world,
            mind=self.mind,
            owner=owner,
            accounts=self.accounts,
            timing=TIMING,
            alone=lambda: self.alone,
        )
        self.ticker = Ticker(world=self.world, rules=self.rules, trade=self.trade(), mind=self.mind)

    def trade(self) -> Trade:
        verify = proposals.remembering(1_000)

        def price(quote: FeeQuote, account: AccountId, to: Address, memo: str) -> BaseUnits | None:
            return fee_for(quote, size=size9(account, to, memo.encode()), ceiling=self.rules.fee_ceiling)

        return Trade(
            price=price,
            highest_base_fee=base_fee_reachable,
            approved=lambda item, votes: proposals.approved(
                item, votes, self.rules, chain_id=CHAIN_ID, verify=verify
            ),
        )

    async def crash(self) -> "History":
        """Throw everything away and start again over the same files and the same chain."""
        await self.close()
        return await self.start()

    async def close(self) -> None:
        while self.drivers:
            await self.drivers.pop().close()
        if self.copy is not None:
            self.copy.close()
            self.copy = None

    async def _driver(self, name: str, application_id: int) -> InlineDriver:
        copied = None
        if application_id == STORE_APPLICATION_ID and self.journal is not None:
            copied = self.copy = JournalCopy(self.journal, sync=lambda _: None)
        database = Database(path=self.folder / name, application_id=application_id)
        driver = await InlineDriver.open(database, committed=copied)
        self.drivers.append(driver)
        return driver

    def _told(self, events: tuple[Event, ...]) -> None:
        self.seen.saw(*events)

    # --- time ---------------------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        return next(iter(self.nodes.values()))

    async def tick(self) -> int:
        """Tick until nothing is left to do now; answers how often."""
        for count in range(1, 200):
            if not await self.ticker.once():
                return count
        raise AssertionError("the ticker spins")

    async def step(self, blocks: int = 1) -> None:
        """A second passes, with these blocks in it; the keeper renews and the ticker ticks."""
        self.clock.now += 1.0
        self.mine(blocks)
        await self.keeper.beat()
        await self.tick()

    async def run(self, seconds: int, blocks: int = 1) -> None:
        for _ in range(seconds):
            await self.step(blocks)

    async def until(self, done: Callable[[], Any], *, seconds: int = 80, blocks: int = 1) -> None:
        """Go on until `done()` (awaited) is true."""
        for _ in range(seconds):
            if await done():
                return
            await self.step(blocks)
        raise AssertionError(f"not within {seconds} s: {[str(event) for event in self.seen.events[-5:]]}")

    async def finalized(self, ids: Iterable[DisbursementId], *, seconds: int = 120) -> None:
        """Go on until all of these are finalized."""
        wanted = list(ids)

        async def done() -> bool:
            return all([(await self.status(item)) is Status.FINALIZED for item in wanted])

        await self.until(done, seconds=seconds)

    def mine(self, blocks: int = 1) -> None:
        for node in self.nodes.values():
            for _ in range(blocks):
                node.ledger.mine(now=self.clock.now)

    # --- people -------------------------------------------------------------------------------------------

    async def submit(self, *items: NewDisbursement) -> list[DisbursementId]:
        self.submissions += 1
        key = f"request-{self.submissions}"
        rows = tuple(
            replace(item, idempotency_key=f"{key}#{row}", request_digest=Digest(f"{key}-{row}"))
            for row, item in enumerate(items)
        )
        request = Submission(key=key, request_digest=Digest(key), items=rows)
        return [item.id for item in (await self.desk.submit(request, now=self.clock.unix_seconds())).items]

    async def cancel(self, item: DisbursementId) -> None:
        await self.desk.cancel([item], by=ADA)

    # --- looking ------------------------------------------------------------------------------------------

    async def item(self, item: DisbursementId) -> Disbursement:
        (found,) = await self.desk.get([item])
        assert found is not None
        return found

    async def status(self, item: DisbursementId) -> Status:
        return (await self.item(item)).status

    async def intent(self, item: DisbursementId) -> Intent:
        """The last intent of a disbursement."""
        return (await self.desk.intents(item))[-1]

    async def account(self, account: AccountId = PAYER) -> Account:
        (found,) = [row for row in await self.desk.accounts() if row.id == account]
        return found

    def paid(self, memo: str, node: Node | None = None) -> int:
        """How often the canonical chain holds a payment with this memo."""
        mined = (node or self.node).ledger.transactions.values()
        return sum(row.offer.memo.decode() == memo for row in mined)

    def mined(self) -> list[tuple[int, str, int]]:
        """Nonce, destination and amount of each of our mined transactions, in order."""
        return [
            (row.offer.nonce, row.offer.to, row.offer.amount)
            for row in self.node.ledger.transactions.values()
            if row.offer.sender == PAYER
        ]

    def pooled(self) -> list[int]:
        """The nonces that the first node's pool holds."""
        return sorted(offer.nonce for pool in self.node.ledger.pools for offer in pool)

    def balance(self, address: str) -> int:
        holding = self.node.ledger.holding(address)
        return holding[0] if holding else 0

    async def check(self, account: AccountId = PAYER) -> None:
        """The invariants that hold at any time and in any history (protocol.md §10)."""
        rows = await self.sql.read(
            lambda connection: connection.execute(
                "SELECT i.account, i.nonce, count(DISTINCT v.tx_hash) FROM intent i JOIN variant v ON v.intent_id = i.id "
                "WHERE i.live = 1 AND v.kind = 'payment' AND v.fee = (SELECT min(fee) FROM variant w WHERE "
                "w.intent_id = i.id AND w.kind = 'payment') GROUP BY i.account, i.nonce"
            ).fetchall()
        )
        assert all(count <= 1 for _, _, count in rows)
        for mined in self.node.ledger.transactions.values():
            offer = mined.offer
            if offer.sender == account and offer.memo:
                assert self.paid(offer.memo.decode()) == 1, f"{offer.memo!r} was paid twice"

    async def books(self, account: AccountId = PAYER) -> tuple[int, int]:
        """The booked balance and the chain's, as of the baseline."""
        (row,) = await self.sql.read(
            lambda connection: connection.execute(
                "SELECT booked, chain_balance FROM account WHERE id = ?", (account,)
            ).fetchall()
        )
        return row[0], row[1]

    def events(self, kind: EventKind) -> list[Event]:
        return [event for event in self.seen.events if event.kind is kind]


def new(
    memo: str,
    *,
    to: str = "tb1alice",
    amount: int = AMOUNT,
    account: AccountId = PAYER,
    depends_on: Sequence[int] = (),
    scheduled: int = 0,
    proposal: Proposal | None = None,
) -> NewDisbursement:
    """One validated item, as intake hands it on."""
    return NewDisbursement(
        account=account,
        destination=Address(to),
        amount=BaseUnits(amount),
        memo=memo,
        scheduled_epoch=Epoch(scheduled),
        depends_on=tuple(DisbursementId(one) for one in depends_on),
        proposal=proposal,
        idempotency_key="",
        request_digest=Digest(""),
    )


OPEN = frozenset({State.STAGED, State.SIGNED, State.BROADCAST})
