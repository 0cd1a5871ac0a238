"""Opens a store whole: the file, its schema, the journal's outside copy; and closes it in the right order."""

from dataclasses import dataclass
from pathlib import Path

from treasuryd.sqlite.connect import Database, Driver
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.sqlite.threaded import ThreadedDriver
from treasuryd.store.journal import JournalCopy
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare

BUSY_SECONDS = (
    5.0  # below the lease's TTL and its renew deadline: a locked file may not cost the lease silently
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """An open store: the driver that SqliteStore and SqliteDesk share; `copy.ahead` tells of an older store (§8)."""

    driver: Driver
    copy: JournalCopy | None

    async def close(self) -> None:
        """Let what is under way settle; then close the file, then the copy."""
        try:
            await self.driver.close()
        finally:
            if self.copy is not None:
                self.copy.close()


async def open_store(
    path: Path | str,
    *,
    chain_id: int,
    lineage: str,
    journal: Path | None = None,
    kind: type[ThreadedDriver] | type[InlineDriver] = ThreadedDriver,
) -> OpenStore:
    """
    Open (and create where missing) the store at `path`, with its journal's copy in the folder `journal`.

    Args: lineage is a fresh random id, used only at the store's birth.
    Raises: Rejected for a newer schema, another chain, another kind of file; Corrupt on storage errors.
    """
    copy = None if journal is None else JournalCopy(journal)
    database = Database(path=path, application_id=STORE_APPLICATION_ID, busy_timeout_seconds=BUSY_SECONDS)
    driver = await kind.open(database, committed=copy)
    opened = OpenStore(driver=driver, copy=copy)
    try:
        await driver.write(prepare, chain_id=chain_id, lineage=lineage)
    except BaseException:
        await opened.close()
        raise
    return opened
