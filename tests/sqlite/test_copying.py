"""What was committed is never told as not written, whatever becomes of its copy."""

import sqlite3
from pathlib import Path

import pytest
from tests.store.deskworld import GOOD, NOW, RULES, request

from treasuryd.core.model import Filter
from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection, Database
from treasuryd.sqlite.threaded import ThreadedDriver
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare


class Crowded(JournalCopy):
    """Another process holds the file between a commit and its copying, for longer than anybody waits."""

    other: Connection | None = None

    def __call__(self, connection: Connection) -> None:
        if self.other is None:
            return super().__call__(connection)
        self.other.execute("BEGIN EXCLUSIVE")
        try:
            super().__call__(connection)
        finally:
            self.other.execute("ROLLBACK")


async def test_a_commit_that_cannot_be_copied_is_not_told_as_not_written(tmp_path: Path) -> None:
    """§7: Transient says that nothing was written, and whoever hears it asks again; this order stands in the store."""
    path, copy = tmp_path / "store.db", Crowded(tmp_path / "journal")
    database = Database(path=path, application_id=STORE_APPLICATION_ID, busy_timeout_seconds=0.1)
    driver = await ThreadedDriver.open(database, committed=copy)
    await driver.write(prepare, chain_id=1, lineage="one")
    desk = SqliteDesk(driver, RULES, copy=copy)
    copy.other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with pytest.raises(Corrupt, match="right after a commit"):
        await desk.submit(request(GOOD), now=NOW)
    copy.other.close()
    copy.other = None
    assert len((await desk.find(Filter())).items) == 1
    assert (await desk.submit(request(GOOD), now=NOW)).repeated
    await driver.close()
    copy.close()
