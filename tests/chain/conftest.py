"""A server that says what a test scripted, byte for byte, and keeps every byte it was sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

Handler = Callable[["Raw", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LIMIT_SECONDS = 10


class Raw:
    """One loopback server; `received` holds all bytes of all clients, `closed` fires when a client has gone."""

    def __init__(self) -> None:
        self.url = ""
        self.received = b""
        self.connections = 0
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()
        self._servers: list[asyncio.Server] = []

    async def serve(self, handler: Handler) -> str:
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                await handler(self, reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        self._servers.append(server)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self.url

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one whole HTTP request."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = await reader.readexactly(length)
        self.received += head + body
        self.asked.set()
        return head + body

    async def until_closed(self, reader: asyncio.StreamReader) -> None:
        """Collect what the client writes from now on, until it is gone."""
        async with asyncio.timeout(LIMIT_SECONDS):
            try:
                while chunk := await reader.read(65536):
                    self.received += chunk
            except ConnectionError:
                pass
        self.closed.set()

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        await asyncio.sleep(0)


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    server = Raw()
    yield server
    await server.stop()


def http(body: bytes = b"", *, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    """One HTTP answer."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {size}\r\n\r\n".encode() + body


def answering(*answers: bytes) -> Handler:
    """Give these answers, one per request, then close."""

    async def handler(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await raw.request(reader)
            writer.write(answer)
            await writer.drain()

    return handler
