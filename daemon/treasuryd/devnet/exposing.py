"""The metrics listener of the development chain: like the node's, it answers every path with the same text."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

from treasuryd.devnet.http import BadRequest, BodyTooLarge, Parser, answer, plain

TEXT_TYPE: Final = "text/plain; version=0.0.4"
MAX_BODY_BYTES: Final = 1024


class MetricsConnection(asyncio.Protocol):
    """One client of the listener. It stands beside the RPC port: what freezes that one leaves this one alone."""

    def __init__(self, text: Callable[[], str], clients: set[MetricsConnection]) -> None:
        self._text = text
        self._clients = clients
        self._parser = Parser(MAX_BODY_BYTES)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the client."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._parser.feed(data)
        try:
            while (request := self._parser.next()) is not None:
                body = self._text().encode()
                self.transport.write(answer(200, body, close=request.closes, kind=TEXT_TYPE))
                if request.closes:
                    self.transport.close()
                    return
        except (BadRequest, BodyTooLarge) as error:
            self.transport.write(plain(400, error.message))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the client."""
        self._clients.discard(self)


@contextlib.asynccontextmanager
async def serve_metrics(listener: socket.socket, text: Callable[[], str]) -> AsyncIterator[None]:
    """Answer on a bound socket until left."""
    clients: set[MetricsConnection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: MetricsConnection(text, clients), sock=listener, backlog=64)
    try:
        yield
    finally:
        server.close()
        for client in list(clients):
            client.transport.abort()
