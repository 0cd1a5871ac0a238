"""Where a random history happens: the chain, the network, the desk of the people, and one or two executors."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.chain.world import FakeEntropy
from tests.histories.invariants import Watchman
from tests.histories.processes import Process
from tests.world import CHAIN_ID, KEYS, PAYER, RESERVE, RULES, History

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.theblock import TheBlock
from treasuryd.chain.transport import Answer, Lost
from treasuryd.commands.office import Office
from treasuryd.core.breaker import BreakerSettings
from treasuryd.core.model import DisbursementId, Endpoint, Evidence, House, HouseName, Moment
from treasuryd.devnet.config import profile
from treasuryd.devnet.node import Node
from treasuryd.ports import World
from treasuryd.signer.ledger import APPLICATION_ID as LEDGER_ID
from treasuryd.signer.local import LocalSigner
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare

T = TypeVar("T")

VOTERS: Final = [Ed25519PrivateKey.from_private_bytes(bytes([40 + place]) * 32) for place in range(4)]


def public_of(key: Ed25519PrivateKey) -> str:
    """The public half, as votes name it."""
    return key.public_key().public_bytes_raw().hex()


HOUSES: Final = {
    name: House(name=name, keys={public_of(key): 1 for key in VOTERS[2 * at : 2 * at + 2]})
    for at, name in enumerate(HouseName)
}


class Setting(History):
    """
    What a seed decides before the first step.

    Args: folder for the files; seed decides everything; `loud` prints each step.
    """

    def __init__(self, folder: Path, seed: int, *, loud: bool = False) -> None:
        self.seed, self.loud = seed, loud
        self.chance = random.Random(seed)
        chance = self.chance
        self.kind = Evidence.HASH if seed % 2 == 0 else Evidence.BALANCE
        self.hasty = chance.random() < 0.15  # heads may be absurdly high
        self.deep = chance.random() < 0.1  # reorgs may be deeper than finality
        self.thieves = chance.random() < 0.4  # strangers may use our key
        # without look-up a theft with equal income of the payee is the stated residual risk: one of the two alone
        self.gifts = self.kind is Evidence.HASH or not self.thieves
        self.forgetful = chance.random() < 0.4  # endpoints may not know a transaction that they mined
        self.restless = chance.choice((0.0, 0.01, 0.03))
        rules = replace(
            RULES,
            max_blocks_per_second=3.0,
            houses=HOUSES,
            max_unburned=chance.choice((4, 16)),
            batch_min=chance.choice((2, 16)),
        )
        accounts = (PAYER, RESERVE) if chance.random() < 0.3 else (PAYER,)
        base = profile(chance.choice(("dev", "real")))
        super().__init__(folder, self.kind, rules=rules, accounts=accounts, config=base)
        if chance.random() < 0.25:  # two endpoints onto one chain
            self.urls.append("http://node-1")
            self.nodes[self.urls[1]] = Node(self.config, self.node.ledger, lambda: self.clock.now)
        self.transport.before, self.transport.after = self._before, self._after
        self.open_policy = self.policy
        self.processes = [Process(self, name) for name in ("A", "B")[: chance.choice((1, 2))]]
        self.acting: list[Process] = []
        self.lines: list[str] = []
        self.made: list[DisbursementId] = []
        self.network = 0.0  # how probable it is that a request or its answer gets lost
        self.late: list[tuple[str, bytes]] = []  # requests that the network still holds
        self.killed = False
        self.ended = False
        self.watchman = Watchman(self)

    # --- the pieces ---------------------------------------------------------------------------------------

    def adapter(self, name: str) -> TheBlock:
        public = {account: KEYS[account].public for account in self.accounts}
        entropy = FakeEntropy()
        entropy._random = random.Random(f"{self.seed}{name}{len(self.lines)}")
        return TheBlock(
            ChainConfig(
                endpoints=tuple(
                    EndpointConfig(name=Endpoint(f"node-{place}"), url=url)
                    for place, url in enumerate(self.urls)
                ),
                payers=public,
                breaker=BreakerSettings(),
                max_requests_per_second=1e6,
                burst=1000,
            ),
            transport=self.transport,
            clock=self.clock,
            entropy=entropy,
            observer=self.seen,
            offload=_here,
        )

    def nowhere(self) -> Moment:
        return self._nowhere()

    async def begin(self) -> None:
        """Open the desk of the people and the first executor."""
        self.mine(self.chance.choice((0, 1, 2, 5)))
        driver = await self._driver("treasuryd.db", STORE_APPLICATION_ID)
        await driver.write(prepare, chain_id=CHAIN_ID, lineage="lineage")
        ledger = await self._driver("ledger.db", LEDGER_ID)
        self.sql, self.desk = driver, SqliteDesk(driver, self.rules)
        self.signer = await LocalSigner.open(ledger, {a: KEYS[a] for a in self.accounts}, self.policy)
        for process in self.processes:
            await process.start()

    def office(self) -> Office:
        process = next((one for one in self.processes if one.up), self.processes[0])
        return Office(
            world=World(
                store=cast("Any", None),
                desk=self.desk,
                chain=process.chain,
                signer=self.signer,
                clock=self.clock,
                entropy=self.entropy,
                observer=self.seen,
            ),
            engine=process.mind,
            rules=self.rules,
            accounts=self.accounts,
            chain_id=CHAIN_ID,
        )

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.ledger.mine(now=self.clock.now)

    def trace(self, line: str) -> None:
        text = f"[{self.clock.now:8.1f} h={self.node.ledger.height}] {'  ' * len(self.acting)}{line}"
        self.lines.append(text)
        if self.loud:
            print(text)

    # --- the network ---------------------------------------------------------------------------------------

    def _before(self, body: bytes) -> Answer | BaseException | None:
        self.watchman.leaves(self.acting[-1].name if self.acting else "?", body)
        if self.ended or self.chance.random() >= self.network:
            return None
        what = self.chance.choice(("lost", "held", "twice", "status"))
        if what == "held":  # it arrives much later
            self.late.append((self.urls[0], body))
        elif what == "twice":
            with suppress(Lost):
                self.transport.answer(self.urls[0], orjson.loads(body))
            return None
        elif what == "status":
            return Answer(status=self.chance.choice((500, 503, 429)), body=b"no")
        return Lost("the network lost it")

    def _after(self, body: bytes, answer: Answer) -> Answer:
        if b"submit_tx" in body and b"error" in answer.body:
            self.trace(f"answered {answer.body[:150]!r}")
        if not self.ended and self.chance.random() < self.network:
            raise Lost("the network lost the answer")
        return answer

    def deliver_late(self) -> None:
        while self.late:
            url, body = self.late.pop(self.chance.randrange(len(self.late)))
            self.trace("a late request arrives")
            with suppress(Lost):
                self.transport.answer(url, orjson.loads(body))

    async def meanwhile(self, process: Process, label: str) -> None:
        """Between two calls of a process: the walk decides whether something happens."""


async def _here(work: Callable[[], T]) -> T:
    return work()
