import asyncio
import struct

import pytest
from tests.chain.conftest import Handler, Raw, http

from treasuryd.chain.stream import accept_for, read_one_frame
from treasuryd.chain.transport import FrameTooLarge, Lost, Unreachable
from treasuryd.errors import Transient
from treasuryd.wire.theblock.replies import Malformed

KEY = bytes(range(16))
UPGRADE = (
    "HTTP/1.1 101 Unknown\r\nupgrade: websocket\r\ncontent-length: 0\r\nconnection: Upgrade\r\n"
    f"sec-websocket-accept: {accept_for(KEY)}\r\n\r\n"
).encode()


def frame(payload: bytes, *, first: int = 0x81, mask: int = 0) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size | mask)) + payload
    if size < 65536:
        return struct.pack(">BBH", first, 126 | mask, size) + payload
    return struct.pack(">BBQ", first, 127 | mask, size) + payload


def streaming(*pieces: bytes) -> Handler:
    """Answer the upgrade with these pieces, then wait until the client is gone."""

    async def handler(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await raw.until_closed(reader)

    return handler


async def read(url: str, *, max_bytes: int = 1 << 25, seconds: float = 5.0) -> bytes:
    return await read_one_frame(url, key=KEY, connect_seconds=5.0, total_seconds=seconds, max_bytes=max_bytes)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 3_000_000], ids=lambda size: f"{size} bytes")
async def test_a_frame_of_any_length_encoding_is_read(raw: Raw, size: int) -> None:
    """Lengths come in 7, 16 and 64 bits, after a status line and a content-length that libraries stumble over."""
    await raw.serve(streaming(UPGRADE, frame(b"x" * size)))
    assert size == len(await read(raw.url))


async def test_nothing_is_written_after_the_upgrade_and_both_directions_are_closed(raw: Raw) -> None:
    """N1: one byte or a half-close would freeze the node's RPC port; the socket is gone as a whole."""
    reset: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def handler(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(UPGRADE + frame(b"{}") + frame(b"{}"))
        await raw.until_closed(reader)
        # a peer that had closed only its writing side would take this without a reset
        for _ in range(50):
            writer.write(frame(b"{}"))
            await asyncio.sleep(0.01)
            if writer.transport.is_closing():
                break
        reset.set_result(writer.transport.is_closing())

    await raw.serve(handler)
    assert await read(raw.url) == b"{}"
    async with asyncio.timeout(5):
        await raw.closed.wait()
        assert await reset
    assert raw.received.endswith(b"\r\n\r\n")
    assert raw.received.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        pytest.param((http(status="403 Forbidden"),), Malformed, id="host not allowed"),
        pytest.param((http(status="404 Not Found"),), Malformed, id="no such path"),
        pytest.param((UPGRADE.replace(accept_for(KEY).encode(), b"x"),), Malformed, id="wrong accept key"),
        pytest.param(
            (b"HTTP/1.1 101 Unknown\r\nx: " + b"y" * 20000 + b"\r\n\r\n",), Malformed, id="long head"
        ),
        pytest.param((UPGRADE, frame(b"{}", first=0x01)), Malformed, id="fragment"),
        pytest.param((UPGRADE, frame(b"{}", first=0x82)), Malformed, id="binary"),
        pytest.param((UPGRADE, frame(b"{}", first=0x89)), Malformed, id="ping"),
        pytest.param((UPGRADE, frame(b"{}", mask=0x80)), Malformed, id="masked"),
        pytest.param((UPGRADE, frame(b"x" * 2000)), FrameTooLarge, id="over the cap"),
        pytest.param((UPGRADE, b"\x81\x7f" + b"\xff" * 8), FrameTooLarge, id="absurd length"),
    ],
)
async def test_what_is_not_one_whole_text_frame_is_refused(
    raw: Raw, pieces: tuple[bytes, ...], error: type[Transient]
) -> None:
    """Strict reading: each oddity has its error, and the socket is closed after it, too (N1)."""
    await raw.serve(streaming(*pieces))
    with pytest.raises(error):
        await read(raw.url, max_bytes=1000)
    async with asyncio.timeout(5):
        await raw.closed.wait()
    assert raw.received.count(b"\r\n\r\n") == 1


async def test_a_frame_that_never_ends_meets_the_deadline(raw: Raw) -> None:
    """The deadline covers all of it; the socket is closed at once."""
    await raw.serve(streaming(UPGRADE, frame(b"x" * 500)[:100]))
    with pytest.raises(Lost, match=r"within 0\.2 s"):
        await read(raw.url, seconds=0.2)
    async with asyncio.timeout(5):
        await raw.closed.wait()


async def test_a_cancelled_reader_closes_the_socket(raw: Raw) -> None:
    """N1: whatever ends the reading, no open stream is left behind."""
    await raw.serve(streaming(UPGRADE))
    reading = asyncio.create_task(read(raw.url))
    await raw.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with asyncio.timeout(5):
        await raw.closed.wait()


async def test_an_endpoint_that_hangs_up_is_lost(raw: Raw) -> None:
    """Closed in the middle of a frame: no value, a transient error."""

    async def handler(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(UPGRADE + frame(b"x" * 500)[:100])
        await writer.drain()
        writer.close()

    await raw.serve(handler)
    with pytest.raises(Lost):
        await read(raw.url)


async def test_nobody_at_home_is_unreachable(raw: Raw) -> None:
    """A refused connection sent nothing."""
    await raw.serve(streaming())
    await raw.stop()
    with pytest.raises(Unreachable):
        await read(raw.url)
