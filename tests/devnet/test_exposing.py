import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.devnet.world import DEV, REAL, Client, World, settle

from treasuryd.devnet.server import Devnet
from treasuryd.errors import Rejected

EXPOSING = replace(DEV, market=True, metrics_port=0)


@pytest.fixture
async def devnet(world: World) -> Devnet:
    return await world.start(EXPOSING)


@pytest.fixture
async def client(devnet: Devnet) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", devnet.metrics_port)
    client = Client(reader, writer)
    yield client
    client.close()


@pytest.mark.parametrize("path", ["/metrics", "/health", "/"])
async def test_every_path_is_answered_with_the_metrics(devnet: Devnet, client: Client, path: str) -> None:
    """The habit of the node's listener; the text is that of the RPC method."""
    await client.send("GET", path)
    answer = await client.receive()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    assert answer.body.decode() == devnet.node.exposition()
    assert devnet.metrics_url == f"http://127.0.0.1:{devnet.metrics_port}/metrics"


async def test_a_connection_serves_many_requests_until_the_client_closes(client: Client) -> None:
    """Keep-alive, and an end when asked for one."""
    for _ in range(3):
        await client.send("GET", "/metrics")
        assert (await client.receive()).status == 200
    await client.send("GET", "/metrics", Connection="close")
    assert (await client.receive()).status == 200
    assert await client.dropped()


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"])
async def test_what_is_no_request_is_answered_400(client: Client, request_: bytes) -> None:
    """Or one with a body beyond the bound."""
    client.writer.write(request_)
    assert (await client.receive()).status == 400
    assert await client.dropped()


async def test_the_listener_goes_on_while_the_rpc_port_stands_still(world: World) -> None:
    """N1: what a stream's client does to the RPC port does not reach the listener."""
    devnet = await world.start(replace(REAL, metrics_port=0))
    devnet.frozen.add(object())  # type: ignore[arg-type] # any stream will do
    reader, writer = await asyncio.open_connection("127.0.0.1", devnet.metrics_port)
    client = Client(reader, writer)
    await client.send("GET", "/metrics")
    assert b"base_fee" in (await client.receive()).body
    client.close()


async def test_a_client_in_the_middle_does_not_keep_the_chain_from_ending(
    world: World, client: Client
) -> None:
    """A half-sent request is dropped with the listener."""
    client.writer.write(b"GET / HT")
    await client.writer.drain()
    await settle()
    await world.stop()
    assert await client.dropped()


async def test_without_a_port_there_is_no_listener(world: World) -> None:
    """The node's default."""
    devnet = await world.start(DEV)
    assert (devnet.metrics_port, devnet.metrics_url) == (None, None)


async def test_a_port_that_is_taken_is_said_at_the_start(world: World, devnet: Devnet) -> None:
    """In a sentence, with nothing left running."""
    with pytest.raises(Rejected, match=f"cannot listen on 127.0.0.1:{devnet.metrics_port}"):
        await world.start(replace(EXPOSING, metrics_port=devnet.metrics_port))
