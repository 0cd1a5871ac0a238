"""A real server over fakes, and a client that says exactly what a test wants said."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from tests.fakes import FakeWorld

from treasuryd.web.app import WebOptions, serve
from treasuryd.web.guard import GuardLimits

TOKEN = "correct-horse-battery-staple"
LIMITS = GuardLimits(max_connections=16, head_seconds=0.3, write_seconds=0.3)


def exposition(accept: str) -> tuple[str, bytes]:
    return "text/plain; version=0.0.4; charset=utf-8", f"# asked for {accept}\ntreasury_up 1\n".encode()


@dataclass
class Answer:
    """One answer, read whole."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]


@dataclass
class Site:
    """A running server and the fakes behind it."""

    world: FakeWorld
    port: int
    task: "asyncio.Task[None]"

    async def ask(
        self, method: str, path: str, *, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                method,
                f"http://127.0.0.1:{self.port}{path}",
                data=None if data is None else io.BytesIO(data),
                headers=headers,
            ) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    async def post(self, path: str, body: object, *, method: str = "POST", **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {TOKEN}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.ask(method, path, data=data, headers=sent)

    async def call(self, method: str, params: object = None, *, call_id: object = 1) -> Any:
        body = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params or {}}
        answer = await self.post("/rpc", body)
        assert answer.status == 200
        return answer.json()


Open = Callable[..., Any]


@pytest.fixture
async def open_site() -> AsyncIterator[Open]:
    """Start servers with options of the test's own; each is stopped at the end."""
    sites: list[Site] = []

    async def start(world: FakeWorld | None = None, **options: Any) -> Site:
        used = world or FakeWorld()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        chosen = WebOptions(
            **{
                "port": 0,
                "token": lambda: TOKEN,
                "exposition": exposition,
                "limits": LIMITS,
                "body_seconds": 0.3,
                "grace_seconds": 0.5,
                **options,
            }
        )
        task = asyncio.create_task(serve(used.office(), chosen, ready=port.set_result))
        either: list[asyncio.Future[Any]] = [task, port]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        sites.append(Site(world=used, port=port.result(), task=task))
        return sites[-1]

    yield start
    for site in sites:
        site.task.cancel()
        await asyncio.wait([site.task])


@pytest.fixture
async def site(open_site: Open) -> Site:
    """A server with a token, everything healthy, nothing stored."""
    found: Site = await open_site()
    return found
