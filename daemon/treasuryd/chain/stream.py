"""
One frame of `/state_stream`, over plain asyncio streams.

The node never reads after the upgrade: one byte from us, a closing handshake or a half-close would freeze its whole
RPC port until the socket is gone (N1). So this writes the upgrade request and nothing else, and ends by aborting the
transport, which closes both directions at once. aiohttp cannot be used: the node's stray `content-length: 0` makes
its client see an empty body.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from typing import Final
from urllib.parse import urlsplit

from treasuryd.chain.transport import FRAME_TOO_LARGE_HINT, FrameTooLarge, Lost, Unreachable
from treasuryd.core.urls import origin
from treasuryd.wire.theblock.replies import Malformed

PATH: Final = "/state_stream"
MAX_HEAD_BYTES: Final = 16 * 1024
_READ_AHEAD_BYTES: Final = 1024 * 1024  # what the reader buffers before it lets the sender wait
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
_TEXT_FRAME: Final = 0x81  # final, text; the node sends no other
_HINT: Final = "Is the URL that of the node's RPC port, and is our Host among its allowed_hosts?"


async def read_one_frame(
    url: str, *, key: bytes, connect_seconds: float, total_seconds: float, max_bytes: int
) -> bytes:
    """
    Give the payload of the first text frame.

    Args: url of the RPC port; key, 16 random bytes; seconds for connecting and for all of it; the frame's bound.
    Raises: Unreachable, Lost (also for the deadline), Malformed, FrameTooLarge.
    Guarantees: writes nothing after the upgrade request; both directions are closed when it returns or raises.
    """
    try:
        async with asyncio.timeout(total_seconds):
            reader, writer = await _connect(url, connect_seconds)
            try:
                writer.write(_upgrade_request(url, key))
                _check_upgrade(await reader.readuntil(b"\r\n\r\n"), key)
                return await _text_frame(reader, max_bytes)
            finally:
                writer.transport.abort()  # not close(): over TLS that would write one more record
    except asyncio.LimitOverrunError as error:
        raise Malformed(f"{PATH}: an answer head of more than {MAX_HEAD_BYTES} bytes") from error
    except asyncio.IncompleteReadError as error:
        raise Lost(f"{PATH}: the endpoint closed after {len(error.partial)} bytes of an answer") from error
    except TimeoutError as error:
        raise Lost(f"{PATH}: no frame within {total_seconds} s") from error
    except OSError as error:
        raise Lost(f"{PATH}: the connection broke ({type(error).__name__})") from error


async def _connect(url: str, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.open_connection(
                parts.hostname,
                parts.port or (443 if secure else 80),
                limit=_READ_AHEAD_BYTES,
                ssl=True if secure else None,
            )
    except (OSError, TimeoutError) as error:
        raise Unreachable(
            f"{origin(url)}: no connection ({type(error).__name__})", hint="Is the node running?"
        ) from error


def _upgrade_request(url: str, key: bytes) -> bytes:
    return (
        f"GET {PATH} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(key).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _check_upgrade(head: bytes, key: bytes) -> None:
    """Take the node's `101 Unknown` with its stray content-length; refuse everything else."""
    if len(head) > MAX_HEAD_BYTES:
        raise Malformed(f"{PATH}: an answer head of more than {MAX_HEAD_BYTES} bytes")
    status, *lines = head.decode("latin-1").split("\r\n")
    words = status.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or words[1] != "101":
        raise Malformed(f"{PATH}: no upgrade, the endpoint answered {status[:60]!r}", hint=_HINT)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("sec-websocket-accept") != accept_for(key):
        raise Malformed(f"{PATH}: the upgrade was answered with the wrong accept key", hint=_HINT)


def accept_for(key: bytes) -> str:
    """Say what a server answers to `key`, 16 bytes (RFC 6455)."""
    challenge = base64.b64encode(key).decode() + _GUID
    return base64.b64encode(hashlib.sha1(challenge.encode(), usedforsecurity=False).digest()).decode()


async def _text_frame(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    first, second = await reader.readexactly(2)
    if first != _TEXT_FRAME or second & 0x80:
        raise Malformed(f"{PATH}: a frame other than one whole unmasked text ({first:#04x} {second:#04x})")
    length = second
    if second == 126:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
    elif second == 127:
        (length,) = struct.unpack(">Q", await reader.readexactly(8))
    if length > max_bytes:
        raise FrameTooLarge(
            f"{PATH}: a frame of {length} bytes, the limit is {max_bytes}", hint=FRAME_TOO_LARGE_HINT
        )
    return await reader.readexactly(length)
