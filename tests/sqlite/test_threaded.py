"""The contract that `threaded.py` has with aiosqlite, and with whoever is cancelled meanwhile."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import aiosqlite
import anyio
import pytest

from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection, Database
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.sqlite.threaded import ThreadedDriver

Any_ = ThreadedDriver | InlineDriver


def _database(path: Path) -> Database:
    return Database(path=path / "a.db", application_id=1)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[ThreadedDriver]:
    driver = await ThreadedDriver.open(_database(tmp_path))
    await driver.write(_sql, "CREATE TABLE t (x INTEGER) STRICT")
    yield driver
    await driver.close()


def _sql(connection: Connection, text: str) -> list[tuple[object, ...]]:
    return connection.execute(text).fetchall()


class Gate:
    """A verb that stops in the middle of its transaction until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def verb(self, connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1)")
        self.entered.set()
        assert self.go.wait(10)
        connection.execute("INSERT INTO t VALUES (2)")

    async def reached(self) -> None:
        await asyncio.to_thread(self.entered.wait, 10)


def test_the_one_private_call_is_still_there() -> None:
    """aiosqlite's range is pinned to it: a whole function, run on its thread, its result awaited."""
    assert version("aiosqlite").startswith("0.22.")
    assert asyncio.iscoroutinefunction(aiosqlite.Connection._execute)
    assert isinstance(aiosqlite.Connection._conn, property)


async def test_a_cancelled_transaction_settles_before_the_cancellation_gets_out(
    driver: ThreadedDriver,
) -> None:
    """§11: no transaction stays open behind the caller, and what was committed is there."""
    gate = Gate()
    task = asyncio.ensure_future(driver.write(gate.verb))
    await gate.reached()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    gate.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await driver.read(_sql, "SELECT count(*) FROM t") == [(2,)]


async def test_a_cancelled_scope_waits_as_well(driver: ThreadedDriver) -> None:
    """anyio delivers a cancellation again and again; the verb still ends first."""
    gate = Gate()
    async with anyio.create_task_group() as group:
        group.start_soon(driver.write, gate.verb)
        await gate.reached()
        group.cancel_scope.cancel()
        gate.go.set()
    assert await driver.read(_sql, "SELECT count(*) FROM t") == [(2,)]


async def test_a_verb_cancelled_while_it_waits_its_turn_still_settles(driver: ThreadedDriver) -> None:
    """The queue runs it; its caller hears of the cancellation when it is over."""
    gate = Gate()
    first = asyncio.ensure_future(driver.write(gate.verb))
    await gate.reached()
    second = asyncio.ensure_future(driver.write(_sql, "INSERT INTO t VALUES (3)"))
    await asyncio.sleep(0)
    second.cancel()
    gate.go.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await driver.read(_sql, "SELECT x FROM t ORDER BY x") == [(1,), (2,), (3,)]


async def test_concurrent_writers_never_share_a_transaction(driver: ThreadedDriver) -> None:
    """D16: verbs of several tasks run one after the other, whole."""

    def add(connection: Connection) -> int:
        before: int = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        connection.execute("INSERT INTO t VALUES (?)", (before,))
        return before

    found = await asyncio.gather(*(driver.write(add) for _ in range(20)))
    assert sorted(found) == list(range(20))


async def test_readers_see_one_snapshot_and_hinder_no_writer(driver: ThreadedDriver) -> None:
    """A reading verb that was begun sees nothing of a later commit."""
    started, go = threading.Event(), threading.Event()

    def look(connection: Connection) -> tuple[int, int]:
        first = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        started.set()
        assert go.wait(10)
        return first, connection.execute("SELECT count(*) FROM t").fetchone()[0]

    reading = asyncio.ensure_future(driver.read(look))
    await asyncio.to_thread(started.wait, 10)
    writing = asyncio.ensure_future(driver.write(_sql, "INSERT INTO t VALUES (1)"))
    await asyncio.sleep(0.02)
    go.set()
    assert await reading == (0, 0)
    await writing
    assert await driver.read(_sql, "SELECT count(*) FROM t") == [(1,)]


@pytest.mark.parametrize("kind", [ThreadedDriver, InlineDriver])
async def test_what_a_verb_raises_reaches_its_caller_and_rolls_back(kind: type[Any_], tmp_path: Path) -> None:
    """The driver goes on afterwards."""
    driver = await kind.open(_database(tmp_path))
    await driver.write(_sql, "CREATE TABLE t (x INTEGER) STRICT")

    def verb(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1)")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await driver.write(verb)
    with pytest.raises(Corrupt, match="no such table"):
        await driver.write(_sql, "INSERT INTO nowhere VALUES (1)")
    assert await driver.read(_sql, "SELECT count(*) FROM t") == [(0,)]
    await driver.close()


@pytest.mark.parametrize("kind", [ThreadedDriver, InlineDriver])
async def test_the_commit_hook_runs_after_each_commit_and_after_no_failure(
    kind: type[Any_], tmp_path: Path
) -> None:
    """What it raises, the write raises: a copy that fails is no secret."""
    heard: list[bool] = []

    def committed(connection: Connection) -> None:
        heard.append(connection.in_transaction)
        if len(heard) == 2:
            raise Corrupt("the copy failed")

    driver = await kind.open(_database(tmp_path), committed=committed)
    await driver.write(_sql, "CREATE TABLE t (x INTEGER) STRICT")
    with pytest.raises(Corrupt):
        await driver.write(_sql, "INSERT INTO nowhere VALUES (1)")
    with pytest.raises(Corrupt, match="the copy failed"):
        await driver.write(_sql, "INSERT INTO t VALUES (1)")
    assert heard == [False, False]
    assert await driver.read(_sql, "SELECT count(*) FROM t") == [(1,)]
    await driver.close()


async def test_closing_twice_is_harmless_and_later_verbs_are_refused(tmp_path: Path) -> None:
    """A closed driver is our bug, said as such."""
    driver = await ThreadedDriver.open(_database(tmp_path))
    await driver.close()
    await driver.close()
    with pytest.raises(Corrupt, match="closed"):
        await driver.read(_sql, "SELECT 1")


async def test_closing_waits_through_a_cancellation(driver: ThreadedDriver) -> None:
    """An unclosed connection would keep its thread, and the thread the process."""
    gate = Gate()
    writing = asyncio.ensure_future(driver.write(gate.verb))
    await gate.reached()
    closing = asyncio.ensure_future(driver.close())
    await asyncio.sleep(0.02)
    closing.cancel()
    gate.go.set()
    await writing
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not driver._reader._thread.is_alive()


async def test_an_opening_that_fails_leaves_no_thread_behind(tmp_path: Path) -> None:
    """A thread that outlives the loop ends in a traceback of its own, below the sentence that says what is wrong."""
    database = replace(_database(tmp_path), busy_timeout_seconds=0.5)
    holder = sqlite3.connect(database.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    opening = asyncio.ensure_future(ThreadedDriver.open(database))
    await asyncio.sleep(0)  # its thread has started, and waits for the lock

    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert not [one for one in threading.enumerate() if "_connection_worker_thread" in one.name]
    holder.close()


def test_a_process_that_closes_its_driver_exits(tmp_path: Path) -> None:
    """aiosqlite's threads are no daemons: the process must not hang at its end."""
    code = (
        "import asyncio, sys\n"
        "from treasuryd.sqlite.connect import Database\n"
        "from treasuryd.sqlite.threaded import ThreadedDriver\n"
        "async def main():\n"
        "    driver = await ThreadedDriver.open(Database(path=sys.argv[1], application_id=1))\n"
        "    try:\n"
        "        raise SystemExit(3)\n"
        "    finally:\n"
        "        await driver.close()\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.db")], timeout=30, check=False)
    assert ended.returncode == 3
