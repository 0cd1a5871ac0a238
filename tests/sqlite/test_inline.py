from pathlib import Path

import pytest

from treasuryd.errors import Transient
from treasuryd.sqlite.connect import MEMORY, Connection, Database
from treasuryd.sqlite.inline import COMMITTED, InlineDriver


class Killed(BaseException):
    pass


def _fill(connection: Connection) -> None:
    connection.execute("INSERT INTO t VALUES (0)")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])


@pytest.fixture(params=["memory", "file"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> InlineDriver:
    path = MEMORY if request.param == "memory" else tmp_path / "a.db"
    driver = InlineDriver(Database(path=path, application_id=1))
    driver._writer.execute("CREATE TABLE t (x INTEGER) STRICT")
    return driver


async def test_the_hook_hears_every_statement_and_every_row(driver: InlineDriver) -> None:
    """So a simulator can stop a verb wherever a real process can die."""
    heard: list[str] = []
    driver.before_statement = heard.append
    await driver.write(_fill)
    row = "INSERT INTO t VALUES (?)"
    assert heard == ["BEGIN IMMEDIATE", "INSERT INTO t VALUES (0)", row, row, "COMMIT", COMMITTED]
    await driver.close()


@pytest.mark.parametrize("place", range(6))
async def test_a_crash_leaves_all_or_nothing(driver: InlineDriver, place: int) -> None:
    """Nothing before the commit, everything after it."""
    count = 0

    def hook(sql: str) -> None:
        nonlocal count
        if count == place:
            raise Killed
        count += 1

    driver.before_statement = hook
    with pytest.raises(Killed):
        await driver.write(_fill)
    driver.before_statement = None
    rows = await driver.read(lambda connection: connection.execute("SELECT count(*) FROM t").fetchone())
    assert rows == ((3,) if place == 5 else (0,))
    await driver.close()


async def test_a_number_beyond_64_bits_fails_its_verb_and_not_the_process(driver: InlineDriver) -> None:
    """Whoever let it in should have refused it; all the same nothing of it is written, and the next verb runs."""
    await driver.write(_fill)
    before = await driver.read(lambda connection: connection.execute("SELECT count(*) FROM t").fetchone())
    with pytest.raises(Transient, match="64 bits"):
        await driver.write(lambda connection: connection.execute("INSERT INTO t VALUES (?)", (2**63,)))
    with pytest.raises(Transient, match="64 bits"):
        await driver.read(lambda connection: connection.execute("SELECT ?", (2**63,)))
    assert (
        await driver.read(lambda connection: connection.execute("SELECT count(*) FROM t").fetchone())
        == before
    )
    await driver.close()
