"""What holds after every history: its journal alone rebuilds its store."""

from treasuryd.sqlite.connect import MEMORY, Connection, Database, open_writer, transaction
from treasuryd.store import replay
from treasuryd.store.migrations import STORE_APPLICATION_ID


def rebuilt(connection: Connection) -> Connection:
    """A store in memory, made of nothing but the entries of another one."""
    into = open_writer(Database(path=MEMORY, application_id=STORE_APPLICATION_ID))
    transaction(into, replay.rebuild, replay.stored(connection))
    return into


def replays(connection: Connection, *, forged: bool = False) -> None:
    """Every row of the store is in what its journal rebuilds, and no other; what was forged is found."""
    into = rebuilt(connection)
    try:
        found = replay.differences(connection, into)
    finally:
        into.close()
    assert bool(found) == forged, "\n".join(map(str, found[:20]))
