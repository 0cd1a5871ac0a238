"""A fake clock, a seeded chance, an observer that remembers, and a transport onto a node in this process."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from tests.devnet.world import KEY, signed

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.endpoint import Node as Endpoint_
from treasuryd.chain.theblock import TheBlock
from treasuryd.chain.transport import Answer, FrameTooLarge, Lost
from treasuryd.core.events import Event, EventKind
from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    BootSeconds,
    BreakerState,
    CallClass,
    Digest,
    DisbursementId,
    Endpoint,
    Intent,
    IntentId,
    Nonce,
    State,
    Term,
    TxHash,
    UnixSeconds,
    Variant,
    VariantKind,
)
from treasuryd.devnet.config import DevnetConfig
from treasuryd.devnet.node import Call, Node, Panicked, Refused
from treasuryd.devnet.server import build_node
from treasuryd.devnet.signatures import offer_of
from treasuryd.devnet.stream import state_json
from treasuryd.ports import Observer

T = TypeVar("T")
PAYER = AccountId("treasury")
PUBLIC_KEY = KEY.public_key().public_bytes_raw()
FOREVER = BootSeconds(1e12)


class FakeClock:
    """Boot and wall seconds that pass when somebody sleeps or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def unix_seconds(self) -> UnixSeconds:
        return UnixSeconds(1.7e9 + self.now)

    def boot_seconds(self) -> BootSeconds:
        return BootSeconds(self.now)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeEntropy:
    """A seed, and numbers that a test wants to come first."""

    def __init__(self) -> None:
        self._random = random.Random(7)
        self.first: list[int] = []

    def draw(self) -> float:
        return self._random.random()

    def bits63(self) -> int:
        return self.first.pop(0) if self.first else self._random.getrandbits(63)

    def new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def saw(self, *events: Event) -> None:
        self.events += events

    def of(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]


Script = Callable[[bytes], Answer | BaseException | None]


class InProcess:
    """
    A transport onto nodes of the development chain in this process.

    `before` may answer, or raise, instead of a node; `after` may spoil an answer; `then` is told that it left.
    All see every request body.
    """

    def __init__(self, clock: FakeClock, nodes: dict[str, Node]) -> None:
        self.clock = clock
        self.nodes = nodes
        self.bodies: list[Any] = []
        self.streams = 0
        self.before: Script = lambda _body: None
        self.after: Callable[[bytes, Answer], Answer] = lambda _body, answer: answer
        self.then: Callable[[bytes], None] = lambda _body: None
        self.between: Callable[[str], None] = lambda _method: None  # after each row of a request
        self.takes_seconds = 0.0
        self.on_stream: Callable[[], None] = lambda: None
        self.connects: list[float] = []

    @property
    def methods(self) -> list[str]:
        """Every method asked so far, rows of batches among them."""
        rows = [row for body in self.bodies for row in (body if isinstance(body, list) else [body])]
        return [row["method"] for row in rows]

    def forget(self) -> None:
        self.bodies.clear()
        self.streams = 0

    async def call(
        self, url: str, body: bytes, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> Answer:
        self.connects.append(connect_seconds)
        self.bodies.append(orjson.loads(body))
        self.clock.now += self.takes_seconds
        instead = self.before(body)
        if isinstance(instead, BaseException):
            raise instead
        answer = self.after(body, instead or self.answer(url, self.bodies[-1]))
        self.then(body)
        return answer

    def answer(self, url: str, parsed: Any) -> Answer:
        node = self.nodes[url.rstrip("/")]
        if isinstance(parsed, list) and not node.switches.abilities.batch:
            return rpc(None, error=(-32700, "parse error"))
        try:
            rows = [self._one(node, item) for item in (parsed if isinstance(parsed, list) else [parsed])]
        except Panicked as panic:
            raise Lost("the connection dropped") from panic
        return Answer(status=200, body=orjson.dumps(rows if isinstance(parsed, list) else rows[0]))

    def _one(self, node: Node, item: dict[str, Any]) -> dict[str, Any]:
        said = _one(node, item)
        self.between(item["method"])
        return said

    async def stream_frame(
        self, url: str, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> bytes:
        self.streams += 1
        node = self.nodes[url.rstrip("/")]
        text = state_json(
            node.ledger.holdings(lag=node.switches.lag), sequence=0, tip_index=max(0, node.seen_height - 1)
        )
        self.on_stream()
        if len(text) > max_bytes:
            raise FrameTooLarge(f"{len(text)} bytes")
        return text


def _one(node: Node, item: dict[str, Any]) -> dict[str, Any]:
    try:
        result = node.call(Call(method=item["method"], params=item["params"]))
    except Refused as refused:
        return {"id": item["id"], "error": {"code": refused.code, "message": refused.message}}
    return {"id": item["id"], "jsonrpc": "2.0", "result": result}


def rpc(
    request_id: object, *, result: object = None, error: tuple[int, str] | None = None, status: int = 200
) -> Answer:
    """One JSON-RPC answer."""
    said: dict[str, object] = {"id": request_id, "jsonrpc": "2.0"}
    said |= {"error": {"code": error[0], "message": error[1]}} if error else {"result": result}
    return Answer(status=status, body=orjson.dumps(said))


class Stage:
    """One adapter over one or more nodes, and everything around it that a test wants to touch."""

    def __init__(self, *configs: DevnetConfig, observer: Observer | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.entropy = FakeEntropy()
        self.seen = Seen()
        urls = [f"http://node-{place}" for place in range(len(configs))]
        self.nodes = {
            url: build_node(config, None, now=lambda: self.clock.now)
            for url, config in zip(urls, configs, strict=True)
        }
        self.transport = InProcess(self.clock, self.nodes)
        defaults: dict[str, Any] = {
            "payers": {PAYER: PUBLIC_KEY},
            "max_requests_per_second": 1e6,
            "burst": 1000,
        }
        self.config = ChainConfig(
            endpoints=tuple(
                EndpointConfig(name=Endpoint(f"node-{place}"), url=url) for place, url in enumerate(urls)
            ),
            **defaults | settings,
        )
        self.chain = TheBlock(
            self.config,
            transport=self.transport,
            clock=self.clock,
            entropy=self.entropy,
            observer=observer or self.seen,
            offload=here,
        )

    @property
    def node(self) -> Node:
        return next(iter(self.nodes.values()))

    @property
    def endpoint(self) -> Endpoint_:
        return self.chain._nodes[0]

    def mine(self, blocks: int = 1) -> None:
        for node in self.nodes.values():
            for _ in range(blocks):
                node.ledger.mine(now=self.clock.now)

    def state(self, kind: CallClass) -> BreakerState:
        """The first endpoint's breaker of that class."""
        (found,) = (
            report.state
            for report in self.chain.breakers()
            if report.endpoint == "node-0" and report.call_class is kind
        )
        return found

    def failures(self, kind: CallClass) -> int:
        return sum(report.failures for report in self.chain.breakers() if report.call_class is kind)


async def here(work: Callable[[], T]) -> T:
    """Parse on the spot, as a simulator does."""
    return work()


def intent(
    nonce: int = 1, *, account: str = "treasury", sent: bool = False, hashed: bool = True, **fields: Any
) -> Intent:
    """One sealed intent, genuinely signed."""
    raw = signed(nonce=nonce, sender=account, **fields)
    return Intent(
        id=IntentId(nonce),
        account=AccountId(account),
        nonce=Nonce(nonce),
        disbursement_id=DisbursementId(nonce),
        destination=Address("tb1dest"),
        amount=BaseUnits(1000),
        memo="",
        payload_digest=Digest("0" * 64),
        idempotency_key=f"k{nonce}",
        term=Term(1),
        state=State.BROADCAST if sent else State.SIGNED,
        sent_at=UnixSeconds(1.0) if sent else None,
        variants=(
            Variant(
                number=1,
                kind=VariantKind.PAYMENT,
                fee=BaseUnits(1),
                tx_bytes=raw,
                tx_hash=TxHash(offer_of(raw).tx_id) if hashed else None,
            ),
        ),
    )


def intents(*nonces: int, **fields: Any) -> list[Intent]:
    return [intent(nonce, **fields) for nonce in nonces]


def unsealed(one: Intent) -> Intent:
    """The same intent, its variant not sealed yet."""
    return replace(one, variants=tuple(replace(v, tx_bytes=None, tx_hash=None) for v in one.variants))


def raw(one: Intent) -> str:
    """The sealed bytes that leave, in hex."""
    found = one.current().tx_bytes
    assert found is not None
    return found.hex()
