import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from tests.chain.conftest import Raw, answering, http
from tests.chain.world import FakeEntropy

from treasuryd.chain.http import HttpTransport
from treasuryd.chain.transport import Answer, Lost, Unreachable
from treasuryd.core.breaker import MAX_RETRY_AFTER_SECONDS
from treasuryd.errors import Transient
from treasuryd.wire.theblock.replies import Malformed


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport(FakeEntropy()) as opened:
        yield opened


async def post(transport: HttpTransport, url: str, body: bytes = b"{}", *, seconds: float = 5.0) -> Answer:
    return await transport.call(url, body, connect_seconds=2.0, total_seconds=seconds, max_bytes=1000)


async def test_an_answer_comes_back_whole_whatever_its_status(transport: HttpTransport, raw: Raw) -> None:
    """Status, body and Retry-After are for the caller to judge."""
    await raw.serve(answering(http(b'{"a":1}', status="429 Too Many", headers="Retry-After: 17\r\n")))
    assert Answer(status=429, body=b'{"a":1}', retry_after_seconds=17.0) == await post(transport, raw.url)


async def test_one_connection_serves_many_calls(transport: HttpTransport, raw: Raw) -> None:
    """Keep-alive: a connection per call would cost more than the call."""
    await raw.serve(answering(*[http(b"1")] * 5))
    for _ in range(5):
        await post(transport, raw.url)
    assert raw.connections == 1


async def test_the_request_asks_for_nothing_unwanted(transport: HttpTransport, raw: Raw) -> None:
    """No compression, no cookies; the body is sent as it is."""
    await raw.serve(answering(http(b"1", headers="Set-Cookie: a=b\r\n"), http(b"2")))
    await post(transport, raw.url, b'{"x":1}')
    await post(transport, raw.url, b'{"x":2}')
    assert b"accept-encoding: identity" in raw.received.lower()
    assert b"cookie" not in raw.received.lower()
    assert raw.received.endswith(b'{"x":2}')


async def test_proxies_of_the_environment_are_not_used(
    transport: HttpTransport, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payment goes to the configured node and to nobody else."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    await raw.serve(answering(http(b"1")))
    assert (await post(transport, raw.url)).body == b"1"


async def test_a_redirect_is_an_answer_and_not_followed(transport: HttpTransport, raw: Raw) -> None:
    """Signed bytes do not follow a redirect to another host."""
    await raw.serve(answering(http(status="307 Elsewhere", headers=f"Location: {raw.url}/other\r\n")))
    assert (await post(transport, raw.url)).status == 307
    assert raw.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(b"x" * 1001), id="longer than the bound"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            b"200\r\n" + b"x" * 512 + b"\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n0\r\n\r\n",
            id="longer than the bound, in pieces",
        ),
        pytest.param(http(gzip.compress(b"1"), headers="Content-Encoding: gzip\r\n"), id="compressed"),
        pytest.param(b"ICY 200 OK\r\n\r\n", id="not HTTP"),
    ],
)
async def test_an_answer_out_of_bounds_is_malformed(
    transport: HttpTransport, raw: Raw, answer: bytes
) -> None:
    """It is given up as soon as the bound is passed, never decompressed, never guessed at."""
    await raw.serve(answering(answer))
    with pytest.raises(Malformed):
        await post(transport, raw.url)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="no word"),
        pytest.param(b"HTTP/1.1 200", id="half a head"),
        pytest.param(http(b"1234", length=10), id="half a body"),
    ],
)
async def test_a_broken_answer_is_lost(transport: HttpTransport, raw: Raw, answer: bytes) -> None:
    """The node may have acted: not the same as a call that was never made."""
    await raw.serve(answering(answer))
    with pytest.raises(Transient) as caught:
        await post(transport, raw.url)
    assert not isinstance(caught.value, Unreachable)


async def test_silence_meets_the_deadline(transport: HttpTransport, raw: Raw) -> None:
    """The total time is bounded, and the connection is not used again."""

    async def silent(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        await raw.until_closed(reader)

    await raw.serve(silent)
    with pytest.raises(Lost, match=r"within 0\.2 s"):
        await post(transport, raw.url, seconds=0.2)
    async with asyncio.timeout(5):
        await raw.closed.wait()


async def test_nobody_at_home_is_unreachable(transport: HttpTransport, raw: Raw) -> None:
    """Nothing left, so nothing was sent."""
    await raw.serve(answering())
    await raw.stop()
    with pytest.raises(Unreachable) as caught:
        await post(transport, raw.url)
    assert caught.value.hint


async def test_a_post_is_never_repeated_by_the_library(transport: HttpTransport, raw: Raw) -> None:
    """A connection that breaks under a second call: one request on it, none behind our back."""
    await raw.serve(answering(http(b"1"), b""))
    await post(transport, raw.url, b"first")
    with pytest.raises(Lost):
        await post(transport, raw.url, b"second")
    assert raw.received.count(b"second") == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("5", 5.0),
        ("99999999999999", MAX_RETRY_AFTER_SECONDS),
        ("901", MAX_RETRY_AFTER_SECONDS),
        ("NaN", None),
        ("1e3", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("٣", None),
    ],
)
async def test_retry_after_is_read_in_seconds_and_bounded(
    transport: HttpTransport, raw: Raw, header: str, expected: float | None
) -> None:
    """A header is as untrusted as its sender."""
    await raw.serve(answering(http(b"1", headers=f"Retry-After: {header}\r\n")))
    assert expected == (await post(transport, raw.url)).retry_after_seconds


async def test_a_closed_transport_says_so() -> None:
    """Used before it was entered: a transient error with a hint, no crash."""
    with pytest.raises(Unreachable):
        await post(HttpTransport(FakeEntropy()), "http://127.0.0.1:9")


async def get(transport: HttpTransport, url: str, *, seconds: float = 5.0) -> Answer:
    return await transport.get(url, connect_seconds=2.0, total_seconds=seconds, max_bytes=1000)


async def test_text_is_got_under_the_same_bounds(transport: HttpTransport, raw: Raw) -> None:
    """No body, no cookie, no compression; the path as it was given."""
    await raw.serve(answering(http(b"a 1\n")))
    assert Answer(status=200, body=b"a 1\n") == await get(transport, f"{raw.url}/some/path")
    assert raw.received.startswith(b"GET /some/path HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in raw.received.lower()
    assert b"content-length" not in raw.received.lower()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(b"x" * 1001), id="longer than the bound"),
        pytest.param(http(gzip.compress(b"1"), headers="Content-Encoding: gzip\r\n"), id="compressed"),
        pytest.param(b"ICY 200 OK\r\n\r\n", id="not HTTP"),
    ],
)
async def test_text_out_of_bounds_is_malformed(transport: HttpTransport, raw: Raw, answer: bytes) -> None:
    """As of a call."""
    await raw.serve(answering(answer))
    with pytest.raises(Malformed):
        await get(transport, raw.url)


async def test_a_text_that_comes_too_slowly_is_lost(transport: HttpTransport, raw: Raw) -> None:
    """A byte now and then keeps no connection alive beyond its time."""

    async def drip(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    await raw.serve(drip)
    with pytest.raises(Lost, match=r"within 0\.2 s"):
        await get(transport, raw.url, seconds=0.2)


async def test_a_redirect_of_text_is_not_followed(transport: HttpTransport, raw: Raw) -> None:
    """Nor is a token carried to another host."""
    await raw.serve(answering(http(status="302 Found", headers=f"Location: {raw.url}/other\r\n")))
    assert (await get(transport, raw.url)).status == 302
    assert raw.received.count(b"GET") == 1


async def test_a_token_goes_with_the_call_that_was_given_it(transport: HttpTransport, raw: Raw) -> None:
    """And with no other one on the same connection."""
    await raw.serve(answering(http(b"1"), http(b"2")))
    bounds = {"connect_seconds": 2.0, "total_seconds": 5.0, "max_bytes": 1000}
    await transport.call(raw.url, b"first", **bounds, bearer="s3cret")  # type: ignore[arg-type]
    assert b"authorization: bearer s3cret\r\n" in raw.received.lower()
    await transport.call(raw.url, b"second", **bounds)  # type: ignore[arg-type]
    assert raw.received.lower().count(b"authorization") == 1


async def test_before_it_is_entered_nothing_is_sent() -> None:
    """And leaving it twice is no harm."""
    closed = HttpTransport(FakeEntropy())
    with pytest.raises(Unreachable, match="session is closed"):
        await get(closed, "http://127.0.0.1:1/")
    await closed.__aexit__(None, None, None)


async def test_an_error_names_host_and_port_and_nothing_that_may_be_a_secret(
    transport: HttpTransport, raw: Raw
) -> None:
    """Anybody may read it: it becomes the last error of the status, and a line of the log."""
    await raw.serve(answering(http(b"x" * 1001)))
    with pytest.raises(Malformed, match=raw.url) as failed:
        await post(transport, f"{raw.url}/hunter2?hunter2")
    assert "hunter2" not in str(failed.value)
    with pytest.raises(Unreachable, match=r"^http://127\.0\.0\.1:1: no connection") as failed_too:
        await post(transport, "http://:hunter2@127.0.0.1:1/hunter2")
    assert "hunter2" not in str(failed_too.value)
