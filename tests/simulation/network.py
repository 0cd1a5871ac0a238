"""
The network between the processes and the nodes: it takes time, loses, delays and repeats, and delivers late.

A request or its answer may be lost on its way; the caller then waits out its own limit. What was lost by the caller's
clock may still arrive, much later. Every call is an await of its process.
"""

import asyncio
import random
from typing import TYPE_CHECKING, Final

import orjson
from tests.chain.world import FakeClock, InProcess
from tests.simulation.disk import Killed, give_way
from tests.simulation.loop import NOBODY

from treasuryd.chain.transport import Answer, Lost, Unreachable

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.machine import Process

AT_ONCE: Final = 0.6  # so many of all calls take no time that could be measured
TROUBLES: Final = ("refused", "lost", "unheard", "late", "twice", "status", "slow", "cut")


class Wires:
    """All lines of a history, and the weather on them."""

    def __init__(self, history: "History") -> None:
        self.history = history
        self.chance = random.Random(history.seed * 7 + 1)
        self.weather = 0.0  # how probable it is that a call meets trouble
        self.slow = self.chance.choice((0.01, 0.03, 0.08))  # usual seconds from one end to the other
        clock = FakeClock()
        self.nodes = InProcess(clock, history.nodes)

    async def travel(self) -> None:
        """From one end to the other, when nothing is wrong: often faster than anybody could measure."""
        draw = self.chance.random()
        if draw < AT_ONCE:
            await give_way()
        else:
            await asyncio.sleep(self.slow * draw)

    def deliver(self, url: str, body: bytes) -> None:
        """Hand a request to its node; nobody hears the answer."""
        self.history.trace("a late request arrives")
        self.history.met["late request"] += 1
        try:
            self.nodes.answer(url, orjson.loads(body))
        except Lost:
            return

    def deliver_later(self, url: str, body: bytes, seconds: float) -> None:
        """Have it arrive at some time, whatever has become of its sender."""
        asyncio.get_running_loop().call_later(seconds, self.deliver, url, body, context=NOBODY)


class Line:
    """The `Transport` of one process."""

    def __init__(self, wires: Wires, life: "Process") -> None:
        self._wires, self._life = wires, life

    async def call(
        self, url: str, body: bytes, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> Answer:
        """Make one exchange, in virtual time."""
        del max_bytes
        self._alive()
        wires, url = self._wires, url.rstrip("/")
        if b"submit_tx" in body:
            wires.history.watchman.leaves(self._life, body)
        if wires.weather and wires.chance.random() < wires.weather:
            return await self._troubled(url, body, connect_seconds, total_seconds)
        await wires.travel()
        return self._answered(url, body)

    def _answered(self, url: str, body: bytes) -> Answer:
        self._alive()
        return self._wires.nodes.answer(url, orjson.loads(body))

    async def _troubled(self, url: str, body: bytes, connect_seconds: float, total_seconds: float) -> Answer:
        wires = self._wires
        draw, history = wires.chance.random, wires.history
        trouble = TROUBLES[int(draw() * len(TROUBLES))]
        history.met[f"call {trouble}"] += 1
        if trouble == "refused":
            await asyncio.sleep(draw() * min(1.0, connect_seconds))
            raise Unreachable("connection refused")
        if trouble == "status":
            await asyncio.sleep(draw() * wires.slow)
            return Answer(status=(500, 503, 429)[int(draw() * 3)], body=b"no", retry_after_seconds=2.0)
        if trouble == "lost":
            await asyncio.sleep(total_seconds)
            raise Lost("no answer in time")
        if trouble == "late":
            wires.deliver_later(url, body, draw() * 40.0)
            await asyncio.sleep(total_seconds)
            raise Lost("no answer in time")
        await asyncio.sleep(draw() * wires.slow)
        answer = self._answered(url, body)
        if trouble == "twice":
            wires.deliver_later(url, body, draw() * 15.0)
        elif trouble == "cut":
            raise Lost("the connection was reset")
        elif trouble == "unheard":
            await asyncio.sleep(total_seconds)
            raise Lost("no answer in time")
        elif trouble == "slow":
            await asyncio.sleep(draw() * total_seconds)
        self._alive()
        return answer

    async def stream_frame(
        self, url: str, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> bytes:
        """Read one frame of the state stream."""
        self._alive()
        wires = self._wires
        await asyncio.sleep(wires.slow * wires.chance.random())
        if wires.weather and wires.chance.random() < wires.weather:
            await asyncio.sleep(wires.chance.random() * total_seconds)
            raise Lost("the stream broke off")
        self._alive()
        return await wires.nodes.stream_frame(
            url, connect_seconds=connect_seconds, total_seconds=total_seconds, max_bytes=max_bytes
        )

    def _alive(self) -> None:
        if self._life.dead:
            raise Killed
