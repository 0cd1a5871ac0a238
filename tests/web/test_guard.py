"""Clients that are slow or many on purpose do not keep others out."""

import asyncio

import aiohttp
import pytest
from tests.web.conftest import TOKEN, Open, Site

from treasuryd.web.guard import GuardLimits

Held = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def closed_after(port: int, said: bytes, *, patience: float = 5.0) -> float | None:
    """Say something and wait; seconds until the server hung up, None when it did not."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = loop.time()
    writer.write(said)
    try:
        async with asyncio.timeout(patience):
            while await reader.read(1_000):
                pass
    except TimeoutError:
        return None
    except ConnectionError:
        pass
    finally:
        writer.close()
    return loop.time() - start


async def test_who_says_nothing_is_hung_up_on(site: Site) -> None:
    """An idle connection, half a head, and half a body each end by their deadline (0.3 s here)."""
    half_body = b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    times = await asyncio.gather(
        closed_after(site.port, b""),
        closed_after(site.port, b"GET /health HTTP/1.1\r\nHost:"),
        closed_after(site.port, half_body),
    )
    assert all(time is not None and time < 3.0 for time in times), times


async def test_half_a_body_earns_a_408(site: Site) -> None:
    """The client is told what happened."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    said = await reader.read()
    writer.close()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"0.3 s" in said


def request(path: str = "/livez", *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


async def held(site: Site, count: int, said: bytes, heard: bytes = b"") -> list[Held]:
    """Connections that say something, hear the start of an answer, and stay."""
    found = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(said)
        if heard:
            assert (await reader.readline()).startswith(heard)
        found.append((reader, writer))
    return found


KEPT = (request(), b"HTTP/1.1 200")
PART = (b"GET /health HTTP/1.1\r\nHost:", b"")
BODY = (request("/rpc", "Content-Type: application/json", "Content-Length: 99", method="POST") + b"{", b"")
FEW = GuardLimits(max_connections=4, head_seconds=20.0)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        pytest.param(*KEPT, id="kept after an answer"),
        pytest.param(b"", b"", id="silent from the start"),
        pytest.param(*PART, id="half a head"),
        pytest.param(*BODY, id="half a body without the token"),
    ],
)
async def test_a_person_is_heard_while_strangers_keep_every_connection(
    open_site: Open, said: bytes, heard: bytes
) -> None:
    """The kill switch, however the strangers fill the cap; no deadline of theirs ends before it is done."""
    site: Site = await open_site(limits=FEW, keepalive_seconds=20.0, body_seconds=20.0)
    idle = await held(site, 4, said, heard)
    order = {"state": "open", "reason": "thief"}
    answer = await site.post("/treasury/breakers/*/send", order)
    assert answer.status == 200
    for _, writer in idle:
        writer.close()


async def test_at_the_cap_the_longest_idle_gives_its_place(open_site: Open) -> None:
    """Who asked last is kept longest; the cap itself stands."""
    site: Site = await open_site(limits=FEW, keepalive_seconds=20.0)
    (first, second, *_) = kept = await held(site, 4, *KEPT)
    await answered(first)
    first[1].write(request())
    await first[0].readline()
    new = await held(site, 1, *KEPT)
    await answered(second)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await answered(second)
    await answered(first)
    await answered(new[0])
    for connection in (first, *new):
        connection[1].write(request())
        assert b"application/json" in await answered(connection)
    for _, writer in (*kept, *new):
        writer.close()


async def test_a_newcomer_is_turned_away_when_everybody_is_served(open_site: Open) -> None:
    """A request that is worked on, and an order whose body is on its way, lose their place to nobody."""
    site: Site = await open_site(limits=FEW, body_seconds=20.0)
    token = (f"Authorization: Bearer {TOKEN}", "Content-Type: application/json", "Content-Length: 99")
    orders = await held(site, 4, request("/rpc", *token, method="POST") + b"{")
    await asyncio.sleep(0.05)  # the heads have to be read
    assert await closed_after(site.port, request(), patience=1.0) is not None
    with pytest.raises(aiohttp.ClientError):
        await site.get("/livez")
    for reader, writer in orders:
        writer.write(b" " * 97 + b"}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    await asyncio.sleep(0.05)
    assert (await site.get("/livez")).status == 200


async def answered(connection: Held) -> bytes:
    """Read what is left of an answer, or of the connection."""
    async with asyncio.timeout(5):
        said = await connection[0].readuntil(b"\r\n\r\n")
        length = int(said.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await connection[0].readexactly(length)
        return said


async def test_a_kept_connection_serves_many_requests(site: Site) -> None:
    """The deadline for the first head does not end a connection that is in use."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for _ in range(3):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        await asyncio.sleep(0.2)
    writer.close()
