"""
Listens to what a verb writes, so that the journal can carry it and replay can do it again (protocol.md §3).

A verb of the store runs on a `Recorder` in place of its connection. Each of our named statements that changed rows is
kept with its parameters; nothing has to remember to tell the journal, so nothing can be forgotten there.
"""

from collections.abc import Iterable
from typing import Any, Final

from treasuryd.core.model import UnixSeconds
from treasuryd.sqlite.connect import Connection
from treasuryd.store.queries import writes

NOT_REPLAYED: Final = frozenset(
    {
        "queries.journal_append",  # the journal does not tell of itself
        "ownership.renew",  # a beat says that a process lives now; after a replay none does
        "recording.note",  # the last tick's snapshot, for people's eyes: the next tick writes it anew
        "desk.put_part",  # parts of a file on its way up: nobody acts on them, and their sender repeats them
    }
)

Written = list[Any]
"""One statement as the journal keeps it: its name, a list of its parameters' rows, and how many rows it changed."""


class Recorder:
    """
    Stands for a connection while a verb runs: does what is asked, and keeps what was written.

    Guarantees: a statement that writes and is none of the package's own is refused, since no replay could repeat it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.entries: list[tuple[str, str, dict[str, Any], UnixSeconds]] = []  # chain, verb, body, time
        self._written: list[tuple[str, list[Any], Any]] = []

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """As the connection does it."""
        return self._keep(sql, [parameters], self.connection.execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """As the connection does it."""
        rows = list(parameters)
        return self._keep(sql, rows, self.connection.executemany(sql, rows))

    def _keep(self, sql: str, rows: list[Any], cursor: Any) -> Any:
        name = writes(sql)
        if name is not None and name not in NOT_REPLAYED:
            self._written.append((name, rows, cursor))
        return cursor

    def written(self) -> list[Written]:
        """What was written, in order, without what changed nothing; neighbours of one name are one."""
        found: list[Written] = []
        for name, rows, cursor in self._written:
            cursor.fetchall()  # of one that answers rows the verb may have read the first alone
            if cursor.rowcount <= 0:
                continue
            if found and found[-1][0] == name:
                found[-1] = [name, found[-1][1] + rows, found[-1][2] + cursor.rowcount]
            else:
                found.append([name, rows, cursor.rowcount])
        return found
