"""The command line against a real server over fakes, which runs on a loop of its own in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeWorld

from treasuryd.cli import main
from treasuryd.web.app import WebOptions, serve

TOKEN = "correct-horse-battery-staple"


@dataclass
class Told:
    """What one call of the command line said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass
class Town:
    """A daemon with its fakes, and a way to call the command line."""

    world: FakeWorld
    url: str
    call: Callable[..., Told]


def served(
    world: FakeWorld,
    port: "Future[int]",
    stop: asyncio.Event,
    loop: asyncio.AbstractEventLoop,
    more: dict[str, Any],
) -> None:
    async def body() -> None:
        options = WebOptions(port=0, token=lambda: TOKEN, grace_seconds=0.5, **more)
        task = asyncio.ensure_future(serve(world.office(), options, ready=port.set_result))
        await stop.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.set_event_loop(loop)
    loop.run_until_complete(body())
    loop.close()


@contextmanager
def serving(world: FakeWorld, **more: Any) -> Iterator[str]:
    """A server in a thread; gives its address. `more` are options of the server."""
    port, stop, loop = Future[int](), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=served, args=(world, port, stop, loop, more), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port.result(timeout=10)}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TREASURYD_URL", "TREASURYD_TOKEN_FILE", "TREASURYD_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def run(*args: Any) -> Told:
        code = main([str(arg) for arg in args])
        said = capsys.readouterr()
        return Told(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def town(tmp_path: Path, call: Callable[..., Told], world: FakeWorld) -> Iterator[Town]:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    with serving(world) as url:
        yield Town(world=world, url=url, call=lambda *args: call("--url", url, "--token-file", token, *args))
