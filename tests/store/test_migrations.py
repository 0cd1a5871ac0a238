from pathlib import Path

import pytest
from tests.store.kit import CHAIN_ID, database, opened

from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store.migrations import known, prepare, statements


async def test_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    """The lineage of a store is given once, at its birth."""
    driver = await opened(InlineDriver, tmp_path / "a.db")
    assert await driver.write(prepare, chain_id=CHAIN_ID, lineage="lineage-2") == max(known())
    meta = await driver.read(lambda connection: connection.execute("SELECT * FROM meta").fetchall())
    assert dict(meta) == {"lineage": "lineage-1", "schema_version": str(max(known()))}
    await driver.close()


async def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    """Going back needs a backup, not luck."""
    driver = await opened(InlineDriver, tmp_path / "a.db")
    await driver.write(_from_the_future)
    with pytest.raises(Rejected, match="schema 999") as caught:
        await driver.write(prepare, chain_id=CHAIN_ID, lineage="x")
    assert caught.value.kind is Refusal.CONFLICT
    assert "newer treasuryd" in caught.value.hint
    await driver.close()


async def test_another_chain_is_refused(tmp_path: Path) -> None:
    """R15: another chain means another state folder."""
    driver = await opened(InlineDriver, tmp_path / "a.db")
    with pytest.raises(Rejected, match=f"chain {CHAIN_ID}") as caught:
        await driver.write(prepare, chain_id=CHAIN_ID + 1, lineage="x")
    assert caught.value.kind is Refusal.CONFLICT
    assert "another state folder" in caught.value.hint
    await driver.close()


async def test_a_migration_that_fails_leaves_an_empty_file(tmp_path: Path) -> None:
    """All steps are one transaction."""
    driver = InlineDriver(database(tmp_path / "a.db"))

    def hook(sql: str) -> None:
        if "CREATE TABLE variant" in sql:
            raise InterruptedError

    driver.before_statement = hook
    with pytest.raises(InterruptedError):
        await driver.write(prepare, chain_id=CHAIN_ID, lineage="x")
    driver.before_statement = None
    assert await driver.read(_tables) == [(0,)]
    await driver.write(prepare, chain_id=CHAIN_ID, lineage="x")
    await driver.close()


def _from_the_future(connection: Connection) -> None:
    connection.execute("PRAGMA user_version = 999")


def _tables(connection: Connection) -> list[tuple[int]]:
    return connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()


def test_a_script_is_cut_at_its_semicolons_alone() -> None:
    """Not inside a string or a comment."""
    script = "-- one; two\nCREATE TABLE a (x); -- end\nINSERT INTO a VALUES ('p;q');\n\n  -- the end;\n"
    assert list(statements(script)) == [
        "-- one; two\nCREATE TABLE a (x); -- end",
        "INSERT INTO a VALUES ('p;q');",
    ]


def test_the_last_statement_needs_no_semicolon() -> None:
    """It is run like the others; to drop it in silence would leave half a schema."""
    assert list(statements("CREATE TABLE a (x);\nCREATE TABLE b (y)\n")) == [
        "CREATE TABLE a (x);",
        "CREATE TABLE b (y)",
    ]
