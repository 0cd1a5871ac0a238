"""
HTTP to a node through aiohttp, with everything off that a payer does not want.

No redirects, cookies, proxies from the environment or decompression; answers are read in pieces and only up to a
bound; every foreign error is translated here and nowhere else.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from types import TracebackType
from typing import Final, Self

import aiohttp

from treasuryd.chain.stream import read_one_frame
from treasuryd.chain.transport import Answer, Lost, Unreachable
from treasuryd.core.breaker import MAX_RETRY_AFTER_SECONDS
from treasuryd.core.urls import origin
from treasuryd.ports import Entropy
from treasuryd.wire.theblock.replies import Malformed

MAX_CONNECTIONS_PER_HOST: Final = 16
_KEEP_ALIVE_SECONDS: Final = 15.0  # the node closes idle connections after 90: ours go first
_CHUNK_BYTES: Final = 64 * 1024
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "treasuryd",
}


class HttpTransport:
    """
    Real sockets. To be entered on the running loop (`async with`), which opens and closes the session.

    Guarantees: what `Transport` promises. Does not guarantee: that a request whose answer is Lost had no effect.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy  # for the key of an upgrade
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit_per_host=MAX_CONNECTIONS_PER_HOST, keepalive_timeout=_KEEP_ALIVE_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(
        self,
        url: str,
        body: bytes,
        *,
        connect_seconds: float,
        total_seconds: float,
        max_bytes: int,
        bearer: str | None = None,
    ) -> Answer:
        """POST one body, with a bearer token where there is one; see `Transport`."""
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return await self._within(
            total_seconds, url, self._exchange("POST", url, body, headers, connect_seconds, max_bytes)
        )

    async def get(self, url: str, *, connect_seconds: float, total_seconds: float, max_bytes: int) -> Answer:
        """GET text of a node under the same bounds; for the chain observer."""
        headers = {"Accept": "text/plain;version=0.0.4"}
        return await self._within(
            total_seconds, url, self._exchange("GET", url, None, headers, connect_seconds, max_bytes)
        )

    async def _within(self, seconds: float, url: str, exchange: Awaitable[Answer]) -> Answer:
        """Give one exchange its time, and translate what ends it otherwise."""
        try:
            async with asyncio.timeout(seconds):
                return await exchange
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise Unreachable(
                f"{origin(url)}: no connection ({type(error).__name__})", hint="Is the node running?"
            ) from error
        except TimeoutError as error:
            raise Lost(f"{origin(url)}: no answer within {seconds} s") from error
        except aiohttp.ClientResponseError as error:
            raise Malformed(f"{origin(url)}: the answer is not HTTP ({type(error).__name__})") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(f"{origin(url)}: the connection broke ({type(error).__name__})") from error

    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        connect_seconds: float,
        max_bytes: int,
    ) -> Answer:
        if self._session is None:
            raise Unreachable("the HTTP session is closed", hint="Enter the transport before using it.")
        # `connect` and not `sock_connect`: the name's look-up, every address of it and a free place count, too (§6.3);
        # nor is it rounded up to a whole second
        limits = aiohttp.ClientTimeout(total=None, connect=connect_seconds, ceil_threshold=math.inf)
        async with self._session.request(
            method, url, data=body, headers=headers, timeout=limits, allow_redirects=False
        ) as response:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding.lower() != "identity":
                response.close()
                raise Malformed(
                    f"{origin(url)}: the answer is encoded as {encoding[:20]!r}, which was not asked for"
                )
            return Answer(
                status=response.status,
                body=await _read_bounded(response, max_bytes),
                retry_after_seconds=_seconds(response.headers.get("Retry-After")),
            )

    async def stream_frame(
        self, url: str, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> bytes:
        """Read one frame of the state stream; see `Transport`."""
        key = (self._entropy.bits63() << 64 | self._entropy.bits63()).to_bytes(16, "big")
        return await read_one_frame(
            url, key=key, connect_seconds=connect_seconds, total_seconds=total_seconds, max_bytes=max_bytes
        )


async def _read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read piece by piece and give up, with the connection, as soon as the bound is passed."""
    body = bytearray()
    async for piece in response.content.iter_chunked(_CHUNK_BYTES):
        body += piece
        if len(body) > max_bytes:
            response.close()
            raise Malformed(f"{origin(str(response.url))}: an answer of more than {max_bytes} bytes")
    return bytes(body)


def _seconds(header: str | None) -> float | None:
    """Read Retry-After in its form as seconds; a date is not heeded, for it would need the node's clock."""
    if header is None or not header.isascii() or not header.strip().isdigit():
        return None
    return min(float(header.strip()[:9]), MAX_RETRY_AFTER_SECONDS)
