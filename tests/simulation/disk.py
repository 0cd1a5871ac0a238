"""
The databases of one history: in memory, shared by all its processes, and the driver by which a process reaches them.

One connection serves every process, because a verb runs whole between two awaits: that is exactly what `BEGIN
IMMEDIATE` gives to processes of their own. Durability has its own tests (`tests/sqlite/`, `tests/chaos/`); here a
commit is durable and everything before it is gone with the process.
"""

import asyncio
import sqlite3
import types
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol, TypeVar

from treasuryd.signer import ledger
from treasuryd.signer.ledger import APPLICATION_ID as LEDGER_ID
from treasuryd.sqlite.connect import MEMORY, Database, open_writer, storage_errors, transaction
from treasuryd.sqlite.inline import COMMITTED, CrashPointConnection
from treasuryd.store.journal import recorded
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare

R = TypeVar("R")
CHAIN_ID: Final = 1
SLOW_DISK: Final = 0.06  # how often a disk takes a measurable time
TIE: Final = "live_intent"  # the foreign key that makes two tables name each other
UNTIE: Final = f"UPDATE disbursement SET {TIE} = NULL, status = 'draft'"
WRITES: Final = ("INSERT", "UPDATE", "DELETE", "COMMIT", "REPLACE")


class Killed(BaseException):
    """The process is dead: it can do nothing any more, and nothing may stop this from ending its tasks."""


class Life(Protocol):
    """The process on whose behalf a driver works."""

    dead: bool
    watched: bool  # whether `statement` has to be told
    verb: str  # the transaction that it is in, where it is watched

    def statement(self, sql: str) -> None:
        """Be told of a statement that is about to run; may raise."""
        ...

    def rest(self) -> float:
        """How long the disk takes now, in seconds; 0 for no time that could be measured."""
        ...

    def wrote(self) -> None:
        """Be told of a commit."""
        ...

    def writes(self, args: tuple[Any, ...], when: str) -> bool:
        """Be told before and after a transaction; says whether the process is stopped there."""
        ...


def _store(connection: sqlite3.Connection) -> None:
    prepare(connection, chain_id=CHAIN_ID, lineage="lineage")


class Disk:
    """
    One database: made once in a test process, and empty again for each history.

    Guarantees: `backup` and `restore` copy it whole; a new history finds nothing of an older one.
    """

    def __init__(self, application_id: int, migrate: Callable[[sqlite3.Connection], object]) -> None:
        database = Database(path=MEMORY, application_id=application_id)
        connection = open_writer(database, factory=CrashPointConnection)
        assert isinstance(connection, CrashPointConnection)
        self.connection = connection
        transaction(connection, migrate)
        self._new = self._copy()
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).fetchall()
        self._tables = _children_first(
            connection, [name for (name,) in names if not name.startswith("sqlite_")]
        )
        self._rows = {
            name: rows
            for name in self._tables
            if (rows := connection.execute(f"SELECT * FROM {name}").fetchall())
        }
        sequences = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'")
        self._counts = bool(sequences.fetchone()[0])

    def wipe(self) -> None:
        """
        Forget everything but what a new database holds.

        Prepared statements stay prepared: a pragma that changes anything, as `foreign_keys` does, would have each of them
        compiled anew, which took a third of a history.
        """
        connection = self.connection
        connection.before_statement = None
        connection.execute("BEGIN IMMEDIATE")
        if "disbursement" in self._tables:
            connection.execute(UNTIE)
        for name in self._tables:
            connection.execute(f"DELETE FROM {name}")
        if self._counts:
            connection.execute("DELETE FROM sqlite_sequence")
        for name, rows in self._rows.items():
            marks = ",".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        connection.execute("COMMIT")

    def backup(self) -> sqlite3.Connection:
        """Copy it as it stands."""
        return self._copy()

    def restore(self, backup: sqlite3.Connection) -> None:
        """Put an older copy in its place."""
        backup.backup(self.connection)

    def lose(self) -> None:
        """Put a new one in its place."""
        self._new.backup(self.connection)

    def _copy(self) -> sqlite3.Connection:
        copy = sqlite3.connect(MEMORY, check_same_thread=False)
        self.connection.backup(copy)
        return copy


def _children_first(connection: sqlite3.Connection, tables: list[str]) -> list[str]:
    """Order tables so that each is emptied before those that its foreign keys name; `UNTIE` opens the one circle."""
    left = {
        name: {row[2] for row in connection.execute(f"PRAGMA foreign_key_list({name})") if row[3] != TIE}
        for name in tables
    }
    order: list[str] = []
    while left:
        named = set().union(*left.values())
        free = [name for name in left if name not in named]
        assert free, f"foreign keys go round in a circle: {left}"
        order += free
        left = {name: parents for name, parents in left.items() if name in named}
    return order


_made: dict[str, Disk] = {}


def store_disk() -> Disk:
    """The store of this test process, wiped."""
    return _fresh("store", STORE_APPLICATION_ID, _store)


def ledger_disk() -> Disk:
    """The signer's ledger of this test process, wiped."""
    return _fresh("ledger", LEDGER_ID, ledger.migrate)


def _fresh(name: str, application_id: int, migrate: Callable[[sqlite3.Connection], object]) -> Disk:
    if name not in _made:
        _made[name] = Disk(application_id, migrate)
    _made[name].wipe()
    return _made[name]


class SimulatedDriver:
    """
    The `Driver` of one simulated process.

    Before and after each verb the process is at an await, where it may be stopped or die; `Life.statement` may end it
    before any statement of a writing verb. Guarantees: as `Driver` says; of a dead process nothing is ever run.
    """

    def __init__(
        self, disk: Disk, life: Life, *, committed: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        self._disk = disk
        self._life = life
        self.committed = committed
        self.witness: Callable[[Any, tuple[Any, ...]], Callable[[], None] | None] | None = None

    async def write(self, verb: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Run a verb as one transaction."""
        self._life.writes(args, "before")
        cancelled = await self._reach()
        life, connection = self._life, self._disk.connection
        afterwards = self.witness(verb, args) if self.witness is not None else None
        with storage_errors("the store"):
            if life.watched:
                connection.before_statement, life.verb = life.statement, name_of(verb, args)
            try:
                result = transaction(connection, verb, *args, **kwargs)
            finally:
                connection.before_statement = None
                if afterwards is not None:
                    afterwards()
            life.wrote()
            if life.watched:
                life.statement(COMMITTED)
            if self.committed is not None:
                self.committed(connection)
        if life.writes(args, "after"):
            await give_way()
        if cancelled is not None:
            raise cancelled
        return result

    async def read(self, verb: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Run a verb on one snapshot."""
        cancelled = await self._reach()
        result = verb(self._disk.connection, *args, **kwargs)  # nobody writes meanwhile: one snapshot
        if cancelled is not None:
            raise cancelled
        return result

    async def close(self) -> None:
        """Nothing is open that is ours alone."""

    async def _reach(self) -> BaseException | None:
        """Get to the disk: a cancellation meanwhile does not stop the verb, as with a thread that runs it."""
        self._alive()
        cancelled: BaseException | None = None
        try:
            await give_way()
            seconds = self._life.rest()
            if seconds:
                await asyncio.sleep(seconds)
        except BaseException as error:  # noqa: BLE001  (raised again after the verb)
            cancelled = error
        self._alive()
        return cancelled

    def _alive(self) -> None:
        if self._life.dead:
            raise Killed


def name_of(verb: Callable[..., object], args: tuple[Any, ...]) -> str:
    """Name a verb, or the one inside where it is journalled by another."""
    inside = next((one for one in args if callable(one)), verb) if verb is recorded else verb
    return getattr(inside, "__name__", "verb")


def no_sync(_descriptor: int) -> None:
    """Durability has its own tests."""


@types.coroutine
def give_way() -> Generator[None, None, None]:
    """Let others run: one await."""
    yield
