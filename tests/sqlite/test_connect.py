"""How a database file is opened."""

from pathlib import Path

from treasuryd.sqlite.connect import Database, journal_mode, open_reader, open_writer


def test_readers_tell_of_the_writers_journal_mode(tmp_path: Path) -> None:
    """`/health` asks through the reader; a rollback journal's mode is each connection's own."""
    database = Database(path=tmp_path / "one.db", application_id=7)
    writer = open_writer(database)
    reader = open_reader(database)

    assert journal_mode(writer) == journal_mode(reader)

    reader.close()
    writer.close()
