"""
Brings a file to the schema of this version, step by step, and refuses what it must not touch.

Migrations are numbered files `NNNN_name.sql`, added and never edited; each runs with all others in one transaction.
"""

import sqlite3
from collections.abc import Iterator
from typing import Final

import orjson

from treasuryd.core.model import UnixSeconds
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal
from treasuryd.store.queries import FOLDER, read_text

STORE_APPLICATION_ID: Final = 0x54525359  # "TRSY"
NO_TIME: Final = UnixSeconds(0.0)  # of an entry, where nobody looked at a clock
BIRTH: Final = "birth"  # verb of the first entry of a store's journal
MIGRATE: Final = "migrate"
UNTOLD: Final = "untold_migration"  # in meta: from which schema the store came, until its journal says so


def known() -> dict[int, str]:
    """Number and file name of each migration of this version."""
    names = sorted(entry.name for entry in FOLDER.iterdir() if entry.name[:4].isdigit())
    return {int(name[:4]): name for name in names}


def prepare(connection: Connection, *, chain_id: int, lineage: str, now: UnixSeconds = NO_TIME) -> int:
    """
    Bring the store to the newest schema; a verb, run once before any other, and before `reopening`, which tells of it.

    Args: chain_id of the chain that this store pays on, pinned at its birth (R15); lineage is a fresh random id, used
        only if the store is new (a restore, clone or promotion gives it another one, protocol.md §8); now is the wall
        clock, for the journal's entry.
    Returns: the schema version. Raises: Rejected when the file is of a newer version of this program or of another chain.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    steps = known()
    newest = max(steps)
    if version > newest:
        raise Rejected(
            f"the store has schema {version}, this version of treasuryd knows {newest}",
            hint="A newer treasuryd wrote it: run that one. Going back needs a backup from before the upgrade.",
            kind=Refusal.CONFLICT,
        )
    for number in range(version + 1, newest + 1):
        for statement in statements(read_text(steps[number])):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('schema_version', ?1) "
        "ON CONFLICT DO UPDATE SET value = ?1 WHERE value <> ?1",
        (str(newest),),
    )
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('lineage', ?)", (lineage,))
    connection.execute("INSERT OR IGNORE INTO chain (only, chain_id) VALUES (1, ?)", (chain_id,))
    pinned = int(connection.execute("SELECT chain_id FROM chain").fetchone()[0])
    if pinned != chain_id:
        raise Rejected(
            f"this store belongs to chain {pinned}, the settings name chain {chain_id}",
            hint="Another chain needs another state folder, signer ledger and paying account (protocol.md R15); "
            "keep this store as an archive.",
            kind=Refusal.CONFLICT,
        )
    if not version:
        body = {"schema": newest, "chain_id": chain_id, "lineage": lineage}
        journal.append(connection, journal.STORE, BIRTH, body, now)
    elif version < newest:
        connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", (UNTOLD, str(version)))
    return newest


def tell(connection: Connection, now: UnixSeconds) -> None:
    """
    Write into the journal that the schema is a newer one, where nobody has yet: within the running transaction.

    Only once the outside copy was looked at (protocol.md §8). A backup of an older schema was lost together with the
    entry of this very migration: told before the replay, it would be another one at the same place, and the copy forked.
    Replay runs statements of older schemas on the newest one, as it does from a store's birth on.
    """
    if connection.execute("DELETE FROM meta WHERE name = ?", (UNTOLD,)).rowcount == 0:
        return
    said = {row[0]: row[1] for row in connection.execute("SELECT name, value FROM meta")}
    chain_id = connection.execute("SELECT chain_id FROM chain").fetchone()[0]
    body = {"schema": int(said["schema_version"]), "chain_id": chain_id, "lineage": said["lineage"]}
    last = connection.execute(
        "SELECT body FROM journal WHERE chain = ? AND verb IN (?, ?) ORDER BY seq DESC LIMIT 1",
        (journal.STORE, MIGRATE, BIRTH),
    ).fetchone()
    if last is None or orjson.loads(last[0])["schema"] < body["schema"]:
        journal.append(connection, journal.STORE, MIGRATE, body, now)


def statements(script: str) -> Iterator[str]:
    """Cut a script into its statements; `executescript` would commit what came before it."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if sqlite3.complete_statement(pending + ";") and _has_code(pending):
        yield pending.strip()


def _has_code(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("--") for line in text.splitlines())
