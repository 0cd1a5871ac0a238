"""
Verbs on aiosqlite's threads: one that writes, one that reads.

aiosqlite has no public call that runs a whole function on its thread, or that waits for its thread, so this module, and
no other, uses `Connection._execute` and `_thread`; `tests/sqlite/test_threaded.py` holds the version range to them.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, Self, TypeVar

import aiosqlite

from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import (
    Connection,
    Database,
    Trust,
    open_reader,
    open_writer,
    snapshot,
    storage_errors,
    told,
    transaction,
)

P = ParamSpec("P")
R = TypeVar("R")

CHUNK_ROWS = 64  # aiosqlite wants it; nothing here iterates through it


class ThreadedDriver:
    """
    The driver of the daemon: the event loop never waits for the disk.

    Guarantees: as `Driver` says; verbs of one kind (write, read) run in the order in which they were asked for.
    Does not guarantee: that a verb whose caller was cancelled had no effect; it ran to its end.
    """

    def __init__(
        self,
        database: Database,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        committed: Callable[[Connection], None] | None,
    ) -> None:
        self._database = database
        self._writer = writer
        self._reader = reader
        self._committed = committed
        self._trust = Trust(database.path)
        self._closed = False

    @classmethod
    async def open(cls, database: Database, *, committed: Callable[[Connection], None] | None = None) -> Self:
        """
        Open both connections.

        Args: committed is called on the writing thread after each commit, before `write` returns
            (the journal's outside copy); what it raises, `write` raises.
        """
        writer = await _connected(partial(open_writer, database))
        try:
            reader = await _connected(partial(open_reader, database))
        except BaseException:
            await _close(writer)
            raise
        return cls(database, writer, reader, committed)

    async def write(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a verb as one transaction on the writing thread; see `Driver`."""
        self._check_open()
        return await _settled(self._writer, partial(self._write, verb, *args, **kwargs))

    async def read(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a verb on one snapshot on the reading thread; see `Driver`."""
        self._check_open()
        return await _settled(self._reader, partial(self._read, verb, *args, **kwargs))

    async def close(self) -> None:
        """Close both; aiosqlite's threads are no daemons and would keep the process alive."""
        self._closed = True
        try:
            await _close(self._reader)
        finally:
            await _close(self._writer)

    def _check_open(self) -> None:
        if self._closed:
            raise Corrupt(f"the database {self._database.path} is closed already", hint="This is our bug.")

    def _write(self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        connection = self._writer._conn  # noqa: SLF001 — the connection itself has no public name
        with self._trust.kept():
            result = transaction(connection, verb, *args, **kwargs)
            if self._committed is not None:
                told(self._committed, connection, self._database.path)
            return result

    def _read(self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        with storage_errors(self._database.path):
            return snapshot(self._reader._conn, verb, *args, **kwargs)  # noqa: SLF001 — as above


async def _connected(connector: Callable[[], Connection]) -> aiosqlite.Connection:
    """Open on a new thread; where that fails, the thread has ended too: what it says last needs an open event loop."""
    connection = aiosqlite.Connection(connector, CHUNK_ROWS)
    try:
        return await connection
    except BaseException:
        await _outlast(asyncio.ensure_future(asyncio.to_thread(connection._thread.join)))  # noqa: SLF001 — told to stop
        raise


async def _settled(connection: aiosqlite.Connection, job: Callable[[], R]) -> R:
    """
    Run `job` on the connection's thread and wait until it has ended, however often we are cancelled meanwhile.

    A cancelled wait does not stop the thread: letting the cancellation out at once would leave a transaction running
    behind the caller's back. It gets out when the job has settled.
    """
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[None] = loop.create_future()

    def run() -> R:
        try:
            return job()
        finally:
            loop.call_soon_threadsafe(settled.set_result, None)

    try:
        result: R = await connection._execute(run)  # type: ignore[no-untyped-call]  # noqa: SLF001 — see the module
    except asyncio.CancelledError:
        await _outlast(settled)
        raise
    return result


async def _outlast(settled: "asyncio.Future[None]") -> None:
    """Wait for it through any number of cancellations; the caller raises them again."""
    while not settled.done():
        try:
            await asyncio.shield(settled)
        except asyncio.CancelledError:
            continue


async def _close(connection: aiosqlite.Connection) -> None:
    """Close through any cancellation: an open connection keeps its thread, and the thread the process."""
    closing = asyncio.ensure_future(connection.close())  # short-lived, and awaited right here to its end
    cancelled: asyncio.CancelledError | None = None
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError as error:
            cancelled = error
    closing.result()
    if cancelled is not None:
        raise cancelled
