"""Clients that are slow or many on purpose do not keep others out."""

import asyncio

from tests.web.conftest import Open, Site

from treasuryd.web.guard import GuardLimits


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


async def test_idle_connections_do_not_keep_health_out(open_site: Open) -> None:
    """Idle clients below the cap cost nothing; above it they are turned away until places are free again."""
    site: Site = await open_site(
        limits=GuardLimits(max_connections=8, head_seconds=0.3), keepalive_seconds=0.2
    )
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(7)]
    assert (await site.get("/livez")).status == 200
    await asyncio.sleep(0.05)  # the question's own connection has to be gone on the server's side too
    idle.append(await asyncio.open_connection("127.0.0.1", site.port))
    assert await closed_after(site.port, b"", patience=0.25) is not None
    for reader, writer in idle:
        await reader.read()
        writer.close()
    assert (await site.get("/livez")).status == 200


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
