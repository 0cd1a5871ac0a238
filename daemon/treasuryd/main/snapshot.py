"""
A still picture of the store for commands that read all of it, beside a running daemon or without one.

In the rollback journal's mode a long read would keep the daemon from committing. So the store is copied once, through
SQLite's own backup, which holds a shared lock for the time of the copy, and everything else reads the copy.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from treasuryd.errors import Refusal, Rejected
from treasuryd.settings import Settings
from treasuryd.sqlite.connect import Connection, Database, open_reader, open_writer, storage_errors
from treasuryd.store.migrations import STORE_APPLICATION_ID, known


@contextmanager
def snapshot(settings: Settings) -> Iterator[Connection]:
    """
    Copy the store to a temporary file and open that; it is gone afterwards.

    Raises: Rejected where there is no store, or one of another version's schema.
    """
    file = settings.database_file
    if not file.exists():
        raise Rejected(
            f"{file}: there is no store",
            hint="Name the daemon's configuration with --config, or its folder with --state-folder.",
            kind=Refusal.NOT_FOUND,
        )
    with tempfile.TemporaryDirectory(prefix="treasuryd-") as folder:
        picture = Path(folder) / "store.db"
        with (
            storage_errors(file),
            closing(open_reader(database(file))) as store,
            closing(open_writer(database(picture))) as target,
        ):
            store.backup(target)
        with closing(open_reader(database(picture))) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version != max(known()):
                raise Rejected(
                    f"the store has schema {version}, this version of treasuryd knows {max(known())}",
                    hint="Use the version of treasuryd that runs on it; an older store is brought up by its start.",
                    kind=Refusal.CONFLICT,
                )
            yield connection


def database(path: Path) -> Database:
    """A file of the store's kind."""
    return Database(path=path, application_id=STORE_APPLICATION_ID)
