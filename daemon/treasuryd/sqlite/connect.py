"""
How a database file is opened: version gate, pragmas, identity; and what its errors mean to us (protocol.md §11).

A verb is a plain function `(connection, …) -> result`. It runs whole inside one transaction on one thread, fetches
everything it reads, and leaves no cursor open.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from treasuryd.errors import Corrupt, Refusal, Rejected, Transient

Connection = sqlite3.Connection
P = ParamSpec("P")
R = TypeVar("R")
Version = tuple[int, int, int]

OLDEST: Final[Version] = (3, 38, 0)  # STRICT tables are of 3.37, JSON functions built in of 3.38
CACHED_STATEMENTS: Final = 512  # more than this package has, so that none is ever prepared twice
MEMORY: Final = ":memory:"


class Driver(Protocol):
    """
    Runs verbs, each as one transaction.

    Guarantees: whatever is cancelled meanwhile, a verb has settled (committed or rolled back) before control returns.
    Raises: Transient when the file stayed locked by somebody else beyond the busy timeout, or when a number does not fit
        into a column: nothing was written; Corrupt on any other storage error: the process ends, and where the disk
        failed no write begins any more.
    """

    async def write(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """BEGIN IMMEDIATE, the verb, COMMIT; rolled back if it raises. Durable on return."""
        ...

    async def read(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run the verb on one consistent snapshot, on a connection that cannot write."""
        ...

    async def close(self) -> None:
        """Let what is under way settle and close; repeating it is harmless."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """
    One database file.

    `application_id` names what kind of file it is (1 … 2^31-1); a file of another kind is refused.
    `busy_timeout_seconds` (0 … 60) bounds the wait for another process's transaction: less than the lease's TTL.
    `cache_bytes` bounds SQLite's page cache, `journal_bytes` what the rollback journal or WAL keeps between commits.
    """

    path: Path | str
    application_id: int
    busy_timeout_seconds: float = 5.0
    cache_bytes: int = 64 * 2**20
    journal_bytes: int = 64 * 2**20


def journal_mode_for(version: Version) -> str:
    """
    Name the journal mode that is safe with a version of the library.

    SQLite 3.7.0 to 3.51.2 may lose commits in WAL mode when two processes write (fixed in 3.51.3, 3.50.7, 3.44.6):
    there the rollback journal is used. PERSIST and not DELETE: it was the fastest of the three when measured, and its
    end of commit is a synced write, where DELETE unlinks a file without syncing the directory.
    """
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)
    return "wal" if fixed else "persist"


def open_writer(
    database: Database, *, factory: type[Connection] = Connection, version: Version | None = None
) -> Connection:
    """
    Open (and create where missing) a file for writing.

    Args: factory makes the connection (the simulator's has crash points); version replaces the library's in tests.
    Raises: Rejected for a file of another kind or a library that is too old; Corrupt when it cannot be opened.
    """
    found = version or sqlite3.sqlite_version_info
    if found < OLDEST:
        raise Rejected(
            f"SQLite {'.'.join(map(str, found))} is too old; {'.'.join(map(str, OLDEST))} is needed",
            hint="Run a Python that is built with a newer SQLite.",
        )
    with storage_errors(database.path):
        connection = _open(database, factory)
        try:
            _prepare(connection, database)
            _identify(connection, database)
            _set_journal_mode(connection, database, journal_mode_for(found))
            _make_durable(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _make_durable(connection: Connection) -> None:
    """
    Put onto the disk what a process before us may have failed to sync.

    After a failed sync Linux counts the pages as clean: everybody reads them, no later sync writes them, and a power cut
    takes them back, with what was built on them. A transaction of our own writes the rollback journal's header anew. In
    WAL mode the frames go into the database first, and the log begins again, so that no hole in it matters.
    Does not guarantee: the latter while another process has the file open (docs/runbooks/store.md).
    """
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # nothing to do where there is no log
    transaction(connection, _write_the_header)


def _write_the_header(connection: Connection) -> None:
    """Change nothing, and write it: SQLite writes this number whatever it was."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    connection.execute(f"PRAGMA user_version = {version}")


def open_reader(database: Database) -> Connection:
    """
    Open a second connection that cannot write; the writer was opened before.

    It is `query_only` rather than opened read-only: so it can roll back what another, killed process left half written.
    """
    with storage_errors(database.path):
        connection = _open(database, Connection)
        _prepare(connection, database)
        # a rollback journal's mode is the connection's own: without this the reader would tell `/health` of DELETE
        _set_journal_mode(connection, database, journal_mode_for(sqlite3.sqlite_version_info))
        connection.execute("PRAGMA query_only = ON")
        return connection


def journal_mode(connection: Connection) -> str:
    """The journal mode in force, for `/health`."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def transaction(
    connection: Connection,
    verb: Callable[Concatenate[Connection, P], R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a verb between BEGIN IMMEDIATE and COMMIT; whatever it raises, nothing of it stays."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = verb(connection, *args, **kwargs)
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return result


def snapshot(
    connection: Connection,
    verb: Callable[Concatenate[Connection, P], R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a reading verb on one consistent state of the file."""
    connection.execute("BEGIN DEFERRED")
    try:
        return verb(connection, *args, **kwargs)
    finally:
        roll_back(connection)


def roll_back(connection: Connection) -> None:
    """End a transaction without a trace; an error of the storage may have ended it already."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # what brought us here says more than this would
            connection.rollback()


def told(committed: Callable[[Connection], None], connection: Connection, path: Path | str) -> None:
    """
    Call what is to hear of a commit.

    Raises: Corrupt where it cannot read what was committed, since Transient would say that nothing was written: the process
        ends, and its next start makes good what was missed.
    """
    try:
        committed(connection)
    except sqlite3.Error as error:
        raise Corrupt(
            f"the database {path} could not be read right after a commit: {error}",
            hint="What was asked for is written; only its copy is not. The next start copies it. If this repeats, end the "
            "process that keeps the database locked (a shell, a backup tool?).",
        ) from error


@dataclass(slots=True)
class Trust:
    """
    Whether a driver may still write: no longer after the first storage error, above all not after a failed sync.

    SQLite may have rolled back what the caller takes for written, or the other way round; only the files tell, to a
    process that opens them anew (protocol.md §7).
    """

    path: Path | str
    lost: Corrupt | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Run one write; raises what an earlier one failed with, at once, where there was one."""
        if self.lost is not None:
            raise Corrupt(self.lost.message, hint=self.lost.hint) from self.lost.__cause__
        try:
            with storage_errors(self.path):
                yield
        except Corrupt as problem:
            if _is_of_the_disk(problem.__cause__):
                self.lost = problem
            raise


def _is_of_the_disk(cause: BaseException | None) -> bool:
    """Tell what the files did from what a statement of ours did, which was rolled back and is a bug."""
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _OF_THE_DISK
    return isinstance(cause, OSError)


_OF_THE_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Translate what SQLite raises into what its caller does next; see `Driver`."""
    try:
        yield
    except (
        OverflowError
    ) as error:  # whoever let the number in should have refused it: one number ends no process
        raise Transient(
            f"the database {path} holds no number beyond 64 bits: {error}",
            hint="Nothing of this change was written. This is our bug: keep the log.",
        ) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Transient(
                f"the database {path} stayed locked: {name}",
                hint="Another process holds a transaction open on it: an executor whose disk stalls goes on by itself, "
                "a shell or a backup tool has to end. Nothing was written.",
            ) from error
        raise Corrupt(f"the database {path} failed: {name}: {error}", hint=_hint(code)) from error


def _hint(code: int | None) -> str:
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return "The disk is full: make room and start again. Nothing of this change was written."
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "The file is damaged: stop, keep a copy, run `PRAGMA integrity_check`, restore the newest good backup."
    if primary == sqlite3.SQLITE_CANTOPEN:
        return (
            "Check the state folder, this user's rights in it, and the limit of open files (`LimitNOFILE=`)."
        )
    if primary in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    ):
        return "Check that the state folder exists and that this user may write into it."
    if primary == sqlite3.SQLITE_IOERR:
        return "The disk failed: look into the kernel's log. The process ends; what was acknowledged stays."
    return "The process ends and the service manager starts it anew; what was acknowledged stays."


def _open(database: Database, factory: type[Connection]) -> Connection:
    return sqlite3.connect(
        database.path,
        timeout=database.busy_timeout_seconds,
        isolation_level=None,  # transactions begin and end where we say so
        check_same_thread=False,  # a driver uses each connection from one thread at a time
        cached_statements=CACHED_STATEMENTS,
        factory=factory,
    )


def _prepare(connection: Connection, database: Database) -> None:
    """Settings of a connection; none of them is stored in the file."""
    connection.execute("PRAGMA synchronous = FULL")  # R1; NORMAL loses acknowledged commits in a power cut
    if sys.platform == "darwin":
        connection.execute("PRAGMA fullfsync = ON")  # there fsync alone does not reach the disk
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA locking_mode = NORMAL")  # an exclusive one would lock the readers out
    connection.execute(f"PRAGMA cache_size = -{max(1, database.cache_bytes // 1024)}")
    connection.execute(f"PRAGMA journal_size_limit = {database.journal_bytes}")


def _identify(connection: Connection, database: Database) -> None:
    """Refuse a file that is somebody else's; an empty one becomes ours."""
    found = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if found == database.application_id:
        return
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if found or tables:
        raise Rejected(
            f"{database.path} is not ours: its application id is {found:#010x}, not {database.application_id:#010x}",
            hint="Point the setting at the right state folder; this file was not touched.",
            kind=Refusal.CONFLICT,
        )
    connection.execute(f"PRAGMA application_id = {database.application_id}")


def _set_journal_mode(connection: Connection, database: Database, wanted: str) -> None:
    """Set the journal mode; a file in memory knows its own alone."""
    got = str(connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0])
    if got not in (wanted, "memory"):
        raise Corrupt(
            f"{database.path} is in journal mode {got} and could not be set to {wanted}",
            hint="Another process with another version of SQLite has it open, or the file system has no shared memory.",
        )
