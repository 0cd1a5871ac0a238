"""A line to a node in this process whose answers a test can spoil, one by one, and an observer on it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chain.world import FakeClock, Seen
from tests.devnet.world import DEV

from treasuryd.core.observed import Observed, ObservedReading, ReadingFailure
from treasuryd.devnet.node import Call, Node, Refused
from treasuryd.devnet.server import build_node
from treasuryd.observer.chain_observer import ChainObserver
from treasuryd.observer.config import ObserverConfig

RPC, LISTENER = "http://node:3030/", "http://node:9898/metrics"
CONFIG = ObserverConfig(rpc_url=RPC, metrics_url=LISTENER)
LIVING = replace(DEV, market=True)


@dataclass(frozen=True)
class Given:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    retry_after_seconds: float | None = None


Spoiled = Callable[[Mapping[str, Any]], Any]


@dataclass
class FakeLine:
    """
    Answers as a development chain at some height.

    `spoiled` holds, by method (`/metrics` for the listener), what to say instead: a Given, an exception, or a result of
    the parameters. `asked` are the calls in their order, with the moment of each.
    """

    node: Node
    clock: FakeClock
    spoiled: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[float, str, Mapping[str, Any]]] = field(default_factory=list)
    bounds: list[dict[str, Any]] = field(default_factory=list)
    takes_seconds: float = 0.0

    async def call(self, url: str, body: bytes, **bounds: Any) -> Given:
        assert url == RPC
        request = json.loads(body)
        method, params = request["method"], request["params"]
        self._begins(method, params, bounds)
        given = self._instead(method, params)
        if isinstance(given, Given):
            return given
        reply: dict[str, Any] = {"id": request["id"], "jsonrpc": "2.0"}
        try:
            call = Call(method=method, params=params, token=bounds["bearer"])
            reply["result"] = self.node.call(call) if given is None else given
        except Refused as refused:
            reply["error"] = {"code": refused.code, "message": refused.message}
        return Given(body=json.dumps(reply).encode())

    async def get(self, url: str, **bounds: Any) -> Given:
        assert url == LISTENER
        self._begins("/metrics", {}, bounds)
        given = self._instead("/metrics", {})
        return given if isinstance(given, Given) else Given(body=self.node.exposition().encode())

    def _begins(self, method: str, params: Mapping[str, Any], bounds: dict[str, Any]) -> None:
        self.asked.append((self.clock.now, method, params))
        self.bounds.append(bounds)
        self.clock.now += self.takes_seconds

    def _instead(self, method: str, params: Mapping[str, Any]) -> Any:
        given = self.spoiled.get(method)
        if isinstance(given, Exception):
            raise given
        return given(params) if callable(given) else given

    def methods(self) -> list[str]:
        return [method for _, method, _ in self.asked]


@dataclass
class Watching:
    """An observer, its line, its clock and what it told."""

    line: FakeLine
    clock: FakeClock
    seen: Seen
    observer: ChainObserver

    async def round(self) -> Observed:
        await self.observer.once()
        return self.observer.observed()

    def at(self, height: int) -> None:
        """Let the node's market be at a height."""
        self.line.node.switches.market_stalls_at = height

    def value(self, name: str, *place: str) -> float | None:
        return self.observer.observed().series.get(name, {}).get(place)

    def fresh(self) -> set[str]:
        places = self.observer.observed().series["treasury_observer_reading_fresh"]
        return {place[0] for place, value in places.items() if value}

    def up(self, source: str) -> bool:
        return bool(self.value("treasury_observer_up", source))

    def failures(self) -> dict[tuple[str, str], float]:
        places = self.observer.observed().series["treasury_observer_failures_total"]
        return {(place[0], place[1]): value for place, value in places.items() if value}


async def on_the_spot(work: Callable[[], Any]) -> Any:
    return work()


def watching(
    config: ObserverConfig = CONFIG, *, node: Any = LIVING, token: Callable[[], str | None] = lambda: None
) -> Watching:
    clock, seen = FakeClock(), Seen()
    line = FakeLine(build_node(node, None, now=lambda: 0.0), clock)
    line.node.switches.market_stalls_at = 5_000
    observer = ChainObserver(config, line, clock=clock, observer=seen, token=token, offload=on_the_spot)
    return Watching(line=line, clock=clock, seen=seen, observer=observer)


ALL = {reading.value for reading in ObservedReading}
REASONS = {reason.value for reason in ReadingFailure}
