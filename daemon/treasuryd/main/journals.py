"""The journal as commands look at it: verify, export, replay. All read; the store itself is never written."""

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from treasuryd.main.places import new_file
from treasuryd.main.snapshot import database, snapshot
from treasuryd.settings import Settings
from treasuryd.sqlite.connect import MEMORY, Database, open_writer, transaction
from treasuryd.store import inspection, replay
from treasuryd.store.inspection import Found
from treasuryd.store.journal import Entry
from treasuryd.store.migrations import STORE_APPLICATION_ID


def verify(settings: Settings) -> Found:
    """Inspect store and outside copy, and hold one against the other."""
    copies = inspection.read_copies(settings.journal_path)  # first: then it can be ahead by a loss alone
    with snapshot(settings) as connection:
        found = inspection.inspect_store(connection)
        inspection.compare(connection, found, copies)
    return found


def verify_export(file: BinaryIO) -> Found:
    """Inspect what `export` wrote; nothing of ours but the file is needed."""
    return inspection.inspect_export(file)


def export(settings: Settings, to: BinaryIO, *, chain: str | None, first: int, last: int | None) -> int:
    """Write entries as JSON lines; answers how many."""
    count = 0
    with snapshot(settings) as connection:
        for line in inspection.exported(connection, chain=chain, first=first, last=last):
            to.write(line)
            count += 1
    return count


def rebuild(settings: Settings, *, source: Path | None, into: Path | None) -> tuple[int, list[str]]:
    """
    Rebuild a store from the journal and compare it with the one there is.

    Args: source: a folder with a copy of the journal, else the store's own entries; into: a new file that is kept, else
        memory. Returns: how many entries were replayed, and the differences in words. Raises: Rejected where there is
        such a file already.
    """
    with snapshot(settings) as connection, closing(open_writer(_target(into))) as rebuilt:
        entries: Iterable[Entry] = replay.stored(connection) if source is None else replay.copied(source)
        count = transaction(rebuilt, replay.rebuild, entries)
        return count, [str(one) for one in replay.differences(connection, rebuilt)]


def _target(into: Path | None) -> Database:
    """A store to rebuild in: a new file for ourselves alone, which SQLite's own beside it take after, or memory."""
    if into is None:
        return Database(path=MEMORY, application_id=STORE_APPLICATION_ID)
    os.close(new_file(into))
    return database(into)
