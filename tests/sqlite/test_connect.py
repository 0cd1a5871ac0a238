import sqlite3
from pathlib import Path

import pytest

from treasuryd.errors import Corrupt, Rejected, Transient
from treasuryd.sqlite.connect import (
    MEMORY,
    Connection,
    Database,
    journal_mode,
    journal_mode_for,
    open_reader,
    open_writer,
    snapshot,
    storage_errors,
    transaction,
)

OURS = 0x0BADCAFE


def _database(path: Path | str) -> Database:
    return Database(path=path, application_id=OURS, busy_timeout_seconds=0.05)


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        pytest.param((3, 40, 1), "persist", id="affected"),
        pytest.param((3, 44, 5), "persist", id="before the fix of 3.44"),
        pytest.param((3, 44, 6), "wal", id="fixed in 3.44.6"),
        pytest.param((3, 45, 0), "persist", id="the next line has it again"),
        pytest.param((3, 50, 6), "persist", id="before the fix of 3.50"),
        pytest.param((3, 50, 7), "wal", id="fixed in 3.50.7"),
        pytest.param((3, 51, 0), "persist", id="3.51 has it"),
        pytest.param((3, 51, 2), "persist", id="the last affected one"),
        pytest.param((3, 51, 3), "wal", id="fixed in 3.51.3"),
        pytest.param((4, 0, 0), "wal", id="everything later"),
    ],
)
def test_wal_only_where_it_loses_no_commits(version: tuple[int, int, int], mode: str) -> None:
    """protocol.md §11: the WAL-reset bug of SQLite 3.7.0 to 3.51.2."""
    assert journal_mode_for(version) == mode


def test_a_library_that_is_too_old_is_refused(tmp_path: Path) -> None:
    """STRICT tables and JSON functions are needed; nothing is created."""
    with pytest.raises(Rejected, match="too old"):
        open_writer(_database(tmp_path / "a.db"), version=(3, 36, 0))
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 3)])
def test_every_commit_is_synced(tmp_path: Path, version: tuple[int, int, int]) -> None:
    """R1: synchronous FULL (2) in either mode, foreign keys on, foreign schemas distrusted, readers not locked out."""
    connection = open_writer(_database(tmp_path / "a.db"), version=version)
    read = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "foreign_keys", "trusted_schema", "locking_mode", "application_id")
    }
    assert read == {
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "locking_mode": "normal",
        "application_id": OURS,
    }
    assert journal_mode(connection) == journal_mode_for(version)
    connection.close()


def test_a_file_in_wal_mode_goes_back_where_wal_is_not_safe(tmp_path: Path) -> None:
    """The mode is stored in the file: an affected library must not go on in it."""
    open_writer(_database(tmp_path / "a.db"), version=(3, 51, 3)).close()
    connection = open_writer(_database(tmp_path / "a.db"), version=(3, 40, 1))
    assert journal_mode(connection) == "persist"
    connection.close()


def test_somebody_elses_file_is_refused_untouched(tmp_path: Path) -> None:
    """Another application id, or a database without one."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(Rejected, match="not ours"):
        open_writer(_database(path))
    assert path.read_bytes() == before
    open_writer(_database(tmp_path / "mine.db")).close()
    with pytest.raises(Rejected, match="application id"):
        open_writer(Database(path=tmp_path / "mine.db", application_id=7))


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """A reading verb that tries is a bug, and changes nothing."""
    writer = open_writer(_database(tmp_path / "a.db"))
    writer.execute("CREATE TABLE t (x INTEGER) STRICT")
    reader = open_reader(_database(tmp_path / "a.db"))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        snapshot(reader, lambda connection: connection.execute("INSERT INTO t VALUES (1)").fetchall())
    reader.close()
    writer.close()


def test_a_verb_that_raises_leaves_nothing(tmp_path: Path) -> None:
    """Everything between BEGIN and COMMIT, or nothing."""
    writer = open_writer(_database(MEMORY))
    writer.execute("CREATE TABLE t (x INTEGER) STRICT")

    def verb(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1)")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        transaction(writer, verb)
    assert not writer.in_transaction
    assert writer.execute("SELECT count(*) FROM t").fetchone() == (0,)
    writer.close()


def test_a_file_that_stays_locked_is_transient(tmp_path: Path) -> None:
    """Nothing was written, so the same call may succeed later; the wait is bounded by the busy timeout."""
    database = _database(tmp_path / "a.db")
    first, second = open_writer(database), open_writer(database)
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked") as caught, storage_errors(database.path):
        transaction(second, lambda connection: None)
    assert "Nothing was written" in caught.value.hint
    first.close()
    second.close()


def test_any_other_storage_error_ends_the_process(tmp_path: Path) -> None:
    """Corrupt, with a hint that fits and the cause kept."""
    path = tmp_path / "damaged.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_096)
    with pytest.raises(Corrupt) as caught:
        open_writer(_database(path))
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    with pytest.raises(Corrupt, match="CANTOPEN") as missing:
        open_writer(_database(tmp_path / "no" / "where.db"))
    assert "state folder" in missing.value.hint


def test_a_full_disk_says_so_and_writes_nothing(tmp_path: Path) -> None:
    """The bound on pages stands in for the disk."""
    writer = open_writer(_database(tmp_path / "a.db"))
    writer.execute("CREATE TABLE t (x TEXT) STRICT")
    writer.execute("PRAGMA max_page_count = 8")

    def verb(connection: Connection) -> None:
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 4_000,)] * 50)

    with pytest.raises(Corrupt, match="FULL") as caught, storage_errors(tmp_path):
        transaction(writer, verb)
    assert "disk is full" in caught.value.hint
    assert writer.execute("SELECT count(*) FROM t").fetchone() == (0,)
    writer.close()
