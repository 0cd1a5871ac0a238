import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.devnet.http import MAX_HEAD_BYTES, BadRequest, BodyTooLarge, Parser, Request, answer, plain

WHOLE = b"POST / HTTP/1.1\r\nHost: LocalHost:3030\r\ncontent-length: 4\r\n\r\nbody"


def parse(data: bytes, limit: int = 1000) -> list[Request]:
    parser = Parser(limit)
    parser.feed(data)
    found = []
    while (request := parser.next()) is not None:
        found.append(request)
    return found


def test_a_request_is_read() -> None:
    """Header names in lower case, the host without its port."""
    (request,) = parse(WHOLE)
    assert (request.method, request.path, request.body) == ("POST", "/", b"body")
    assert request.host == "localhost"
    assert not request.closes


@given(st.integers(1, 7))
def test_it_does_not_matter_how_the_bytes_arrive(step: int) -> None:
    """Two requests in pieces of any size are two requests."""
    parser = Parser(1000)
    found = []
    data = WHOLE + WHOLE
    for at in range(0, len(data), step):
        parser.feed(data[at : at + step])
        while (request := parser.next()) is not None:
            found.append(request)
    assert parse(data) == found
    assert len(found) == 2


@given(st.binary(max_size=400), st.integers(0, 50))
def test_garbage_is_refused_or_waits_for_more(data: bytes, limit: int) -> None:
    """No other error leaves the parser."""
    for prefix in (b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\ncontent-length: "):
        try:
            parse(prefix + data + b"\r\n\r\n", limit)
        except (BadRequest, BodyTooLarge):
            continue


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no request line"),
        pytest.param(b"POST / HTTP/2\r\n\r\n", id="another version"),
        pytest.param(b"POST / HTTP/1.1\r\nno colon\r\n\r\n", id="a header without a colon"),
        pytest.param(b"POST / HTTP/1.1\r\n a: b\r\n\r\n", id="a folded header"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", id="a negative length"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: \xb2\r\n\r\n", id="a digit that is none"),
        pytest.param(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", id="chunks"),
        pytest.param(b"x" * (MAX_HEAD_BYTES + 1), id="an endless head"),
        pytest.param(b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", id="too many headers"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """Each of them by a sentence."""
    with pytest.raises(BadRequest):
        parse(data)


def test_an_announced_body_over_the_limit_is_refused_before_it_comes() -> None:
    """The node resets the connection at 1 MiB."""
    with pytest.raises(BodyTooLarge, match="1001 bytes, the limit is 1000"):
        parse(b"POST / HTTP/1.1\r\ncontent-length: 1001\r\n\r\n")


def test_answers_are_the_nodes() -> None:
    """Headers in lower case; a kept connection says for how long."""
    assert answer(200, b"{}") == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"connection: keep-alive\r\nkeep-alive: timeout=90\r\n\r\n{}"
    )
    assert (
        answer(403, close=True) == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    assert plain(400, "no").endswith(b"content-length: 2\r\nconnection: close\r\n\r\nno")


def test_an_ipv6_host_keeps_its_brackets() -> None:
    """The port stands behind them."""
    assert Request(method="GET", path="/", headers={"host": "[::1]:80"}).host == "[::1]"
