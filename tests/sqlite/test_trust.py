"""After a disk failed once nothing is written any more; and what an earlier process failed to sync is written anew."""

import sqlite3
from pathlib import Path

import pytest

from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection, Database, open_writer
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.sqlite.threaded import ThreadedDriver

Kind = type[ThreadedDriver] | type[InlineDriver]
WAL, PERSIST = (3, 51, 3), (3, 40, 1)


def _database(path: Path) -> Database:
    return Database(path=path / "a.db", application_id=1)


def _sql(connection: Connection, text: str) -> list[tuple[object, ...]]:
    return connection.execute(text).fetchall()


@pytest.mark.parametrize("kind", [ThreadedDriver, InlineDriver])
async def test_no_write_begins_after_the_disk_failed(kind: Kind, tmp_path: Path) -> None:
    """§7: a full disk ends the process; until it has ended the connection writes nothing, though there be room again."""
    driver = await kind.open(_database(tmp_path))
    await driver.write(_sql, "CREATE TABLE t (x BLOB) STRICT")
    (pages,) = await driver.write(_sql, "PRAGMA page_count")
    await driver.write(_sql, f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(Corrupt, match="SQLITE_FULL"):
        await driver.write(_sql, "INSERT INTO t VALUES (zeroblob(100000))")
    await driver.read(_sql, "SELECT 1")

    ran: list[Connection] = []
    with pytest.raises(Corrupt, match="SQLITE_FULL") as refused:
        await driver.write(ran.append)

    assert ran == []
    assert isinstance(refused.value.__cause__, sqlite3.Error)  # so that the exit code still names the storage
    assert "disk is full" in refused.value.hint
    await driver.close()


@pytest.mark.parametrize("kind", [ThreadedDriver, InlineDriver])
async def test_no_write_begins_after_the_copy_failed(kind: Kind, tmp_path: Path) -> None:
    """The change is committed, and its copy is not: the next start copies it, this process says nothing more."""

    def copy(_: Connection) -> None:
        raise Corrupt("the copy failed") from OSError(5, "Input/output error")

    driver = await kind.open(_database(tmp_path), committed=copy)
    with pytest.raises(Corrupt, match="the copy failed"):
        await driver.write(_sql, "CREATE TABLE t (x INTEGER) STRICT")
    with pytest.raises(Corrupt, match="the copy failed"):
        await driver.write(_sql, "INSERT INTO t VALUES (1)")
    assert await driver.read(_sql, "SELECT count(*) FROM t") == [(0,)]
    await driver.close()


@pytest.mark.parametrize("kind", [ThreadedDriver, InlineDriver])
async def test_a_wrong_statement_is_a_bug_and_no_failing_disk(kind: Kind, tmp_path: Path) -> None:
    """It was rolled back: the connection is as good as before."""
    driver = await kind.open(_database(tmp_path))
    with pytest.raises(Corrupt, match="no such table"):
        await driver.write(_sql, "INSERT INTO nowhere VALUES (1)")
    await driver.write(_sql, "CREATE TABLE t (x INTEGER) STRICT")
    await driver.close()


def _changes(file: Path) -> int:
    """SQLite's count of transactions that changed a file (bytes 24 to 27 of it)."""
    return int.from_bytes(file.read_bytes()[24:28], "big")


def test_a_start_writes_the_rollback_journal_anew(tmp_path: Path) -> None:
    """A header that could not be synced may come back with the power, and take back what was acknowledged since."""
    open_writer(_database(tmp_path), version=PERSIST).close()
    before = _changes(tmp_path / "a.db")

    connection = open_writer(_database(tmp_path), version=PERSIST)

    assert _changes(tmp_path / "a.db") == before + 1
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_start_leaves_nothing_in_an_old_log(tmp_path: Path) -> None:
    """A log with a hole in it ends at the hole: what stands behind was acknowledged, and would be lost."""
    connection = open_writer(_database(tmp_path), version=WAL)
    connection.execute("CREATE TABLE t (x BLOB) STRICT")
    connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    copied = tmp_path / "crashed"
    copied.mkdir()
    for name in ("a.db", "a.db-wal"):  # what a killed process leaves
        (copied / name).write_bytes((tmp_path / name).read_bytes())
    connection.close()
    assert (copied / "a.db-wal").stat().st_size > 100_000

    started = open_writer(_database(copied), version=WAL)

    assert (copied / "a.db-wal").stat().st_size < 10_000  # the header that it wrote itself
    assert started.execute("SELECT length(x) FROM t").fetchall() == [(100_000,)]
    started.close()
