"""
Verbs on the caller's thread, with a crash point before each statement: for the simulator and for tests.

The same verbs as under `threaded.py`; only who runs them differs.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from treasuryd.sqlite.connect import (
    MEMORY,
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

COMMITTED = "-- committed"  # what the crash hook hears after a commit, before the caller does


class CrashPointConnection(Connection):
    """
    A connection that tells a hook before each statement; what the hook raises goes through the verb like a crash.

    `executemany` tells it before each row. A crash inside a transaction leaves what SQLite's recovery would leave: nothing.
    """

    before_statement: Callable[[str], None] | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> Any:  # the stub's type is private
        """Tell, then do."""
        if self.before_statement is not None:
            self.before_statement(sql)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """Tell before each row, then do it."""
        return super().executemany(sql, self._told(sql, parameters))

    def _told(self, sql: str, parameters: Iterable[Any]) -> Iterator[Any]:
        for row in parameters:
            if self.before_statement is not None:
                self.before_statement(sql)
            yield row


class InlineDriver:
    """
    The driver of the simulator: no thread, no waiting, the same order each time.

    `before_statement` may be set at any time: it is called with the text of each statement of a writing verb, and with
    `COMMITTED`. Guarantees: as `Driver` says. `:memory:` lives as long as the driver and is read through its writer.
    """

    def __init__(
        self,
        database: Database,
        *,
        before_statement: Callable[[str], None] | None = None,
        committed: Callable[[Connection], None] | None = None,
    ) -> None:
        self._database = database
        self._committed = committed
        self._trust = Trust(database.path)
        self._closed = False
        writer = open_writer(database, factory=CrashPointConnection)
        assert isinstance(writer, CrashPointConnection)
        self._writer = writer
        self._reader = self._writer if database.path == MEMORY else open_reader(database)
        self.before_statement = before_statement

    @classmethod
    async def open(cls, database: Database, *, committed: Callable[[Connection], None] | None = None) -> Self:
        """Open as `ThreadedDriver.open` does."""
        return cls(database, committed=committed)

    async def write(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a verb as one transaction here and now; see `Driver`."""
        with self._trust.kept():
            self._writer.before_statement = self.before_statement
            try:
                result = transaction(self._writer, verb, *args, **kwargs)
            finally:
                self._writer.before_statement = None
            if self.before_statement is not None:
                self.before_statement(COMMITTED)
            if self._committed is not None:
                told(self._committed, self._writer, self._database.path)
            return result

    async def read(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a verb on one snapshot here and now; see `Driver`."""
        with storage_errors(self._database.path):
            return snapshot(self._reader, verb, *args, **kwargs)

    async def close(self) -> None:
        """Close; repeating it is harmless."""
        if not self._closed:
            self._closed = True
            if self._reader is not self._writer:
                self._reader.close()
            self._writer.close()
