"""What comes before a connection counts as connecting: nothing leaves after the time for it (protocol.md §6.3)."""

import asyncio
from typing import Any

import pytest
from tests.chain.conftest import Raw, answering, http
from tests.chain.world import FakeEntropy

from treasuryd.chain import http as http_module
from treasuryd.chain.http import HttpTransport
from treasuryd.chain.transport import Unreachable


async def test_a_slow_look_up_of_the_name_counts_as_connecting(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that stalls: the request must not start when the lease's deadline has passed."""
    await raw.serve(answering(http(b"1")))
    port = raw.url.rsplit(":", 1)[1]
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def slow(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0.5)
        return await real(*args, **kwargs)

    monkeypatch.setattr(loop, "getaddrinfo", slow)
    async with HttpTransport(FakeEntropy()) as transport:
        with pytest.raises(Unreachable):
            await transport.call(
                f"http://localhost:{port}/", b"pay", connect_seconds=0.2, total_seconds=5.0, max_bytes=100
            )
        assert b"pay" not in raw.received


async def test_waiting_for_a_free_connection_counts_as_connecting(raw: Raw) -> None:
    """All connections to the node are busy: the request must not start later than it may."""

    async def slow(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.request(reader)
            await asyncio.sleep(0.6)
            writer.write(http(b"1"))

    await raw.serve(slow)
    async with HttpTransport(FakeEntropy()) as transport, asyncio.TaskGroup() as group:
        for _ in range(http_module.MAX_CONNECTIONS_PER_HOST):
            group.create_task(
                transport.call(raw.url, b"read", connect_seconds=5.0, total_seconds=5.0, max_bytes=100)
            )
        await asyncio.sleep(0.1)
        with pytest.raises(Unreachable):
            await transport.call(raw.url, b"pay", connect_seconds=0.2, total_seconds=5.0, max_bytes=100)
    assert b"pay" not in raw.received
