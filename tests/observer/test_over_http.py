"""The observer on real sockets: a development chain that is there, and servers that are anything but a node."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.chain.conftest import Raw, answering, http
from tests.chain.world import FakeEntropy, Seen
from tests.devnet.world import World
from tests.observer.world import LIVING

from treasuryd.chain.http import HttpTransport
from treasuryd.host.clock import SystemClock
from treasuryd.observer.chain_observer import ChainObserver
from treasuryd.observer.config import ObserverConfig
from treasuryd.telemetry.registry.observed import FAMILIES

LIMIT = 256 * 1024
CLOSE = "Connection: close\r\n"


@pytest.fixture
async def line() -> AsyncIterator[HttpTransport]:
    async with HttpTransport(FakeEntropy()) as opened:
        yield opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    yield found
    await found.stop()


def observer(line: HttpTransport, *, rpc: str, metrics: str) -> ChainObserver:
    config = ObserverConfig(
        rpc_url=rpc,
        metrics_url=metrics,
        pause_seconds=0,
        timeout_seconds=0.3,
        max_body_bytes=LIMIT,
        max_rows=250,
    )
    return ChainObserver(config, line, clock=SystemClock(), observer=Seen())


def reasons(found: ChainObserver) -> set[tuple[str, str]]:
    failures = found.observed().series["treasury_observer_failures_total"]
    return {(place[0], place[1]) for place, count in failures.items() if count}


async def test_a_development_chain_is_read_over_sockets(line: HttpTransport, world: World) -> None:
    """Both ways: the listener beside the RPC port, and everything that a dashboard needs."""
    devnet = await world.start(replace(LIVING, metrics_port=0))
    devnet.apply({"fault": "mine", "blocks": 900})
    found = observer(line, rpc=devnet.url, metrics=devnet.metrics_url or "")
    await found.once()
    shown = found.observed()
    assert reasons(found) == set()
    assert {*shown.series, *shown.distributions} == {family.name for family in FAMILIES}


async def hang(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await raw.request(reader)
    await raw.until_closed(reader)


async def flood(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body without an end."""
    await raw.request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1000\r\n" + b"#" * 0x1000 + b"\r\n")
        await writer.drain()


async def drip(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then."""
    await raw.request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.02)


HOSTILE = {
    "hangs": (hang, "no_answer"),
    "floods": (flood, "malformed"),
    "drips": (drip, "no_answer"),
    "closes": (answering(b""), "no_answer"),
    "is no HTTP": (answering(b"220 mail ready\r\n\r\n"), "malformed"),
    "announces too much": (answering(http(b"# x\n" * LIMIT)), "malformed"),
    "is cut off": (answering(http(b"energy_readings_total 1", length=900)), "no_answer"),
    "redirects": (answering(http(status="302 Found", headers="Location: /\r\n" + CLOSE)), "http_status"),
    "is compressed": (answering(http(b"x", headers="Content-Encoding: br\r\n" + CLOSE)), "malformed"),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
async def test_a_server_that_is_no_node_costs_a_round_and_nothing_else(
    kind: str,
    line: HttpTransport,
    raw: Raw,
) -> None:
    """For the methods and for the listener: the round ends in its time, shows nothing, and says why."""
    handler, reason = HOSTILE[kind]
    url = await raw.serve(handler)
    found = observer(line, rpc=url, metrics=f"{url}/metrics")
    async with asyncio.timeout(5):
        await found.once()
    assert {why for _, why in reasons(found)} == {reason}
    assert {reading for reading, _ in reasons(found)} == {
        "market_state", "receipts", "credits", "disputes", "metrics",
    }  # fmt: skip
    assert not any(found.observed().series["treasury_observer_reading_fresh"].values())


async def test_nobody_there_is_no_answer(line: HttpTransport, raw: Raw) -> None:
    """And the other methods are not tried against a closed port."""
    url = await raw.serve(answering())
    await raw.stop()
    found = observer(line, rpc=url, metrics=url)
    await found.once()
    assert {why for _, why in reasons(found)} == {"no_answer"}
