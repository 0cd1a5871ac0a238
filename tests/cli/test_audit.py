"""`treasuryd audit` over a store that a history left behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Told
from tests.world import History, new

from treasuryd.core.model import Evidence
from treasuryd.main import audits
from treasuryd.sqlite.connect import Connection


@pytest.fixture
async def paid(tmp_path: Path) -> AsyncIterator[History]:
    """Three payments and an item that still waits."""
    history = History(tmp_path, Evidence.HASH)
    history.mine(2)
    await history.start()
    items = await history.submit(new("rent"), new("power"), new("water"))
    await history.submit(new("later", scheduled=1_000))
    await history.finalized(items)
    yield history
    await history.close()


async def test_an_audit_says_what_the_books_come_to(
    paid: History, call: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages, each row judged once; nothing is wrong."""
    monkeypatch.setattr(audits, "PAGE_ITEMS", 2)
    told = call("audit", "--state-folder", paid.folder, "--json")
    found = json.loads(told.out)
    assert (told.code, found["violations"], found["items"], found["movements"]) == (0, [], 4, 4)
    # the settings of this call do not allow payments without a proposal: what was allowed then cannot be recounted
    assert found["doubts"] == [1, 2, 3]
    (booked,) = await paid.sql.read(
        lambda connection: connection.execute("SELECT booked FROM account").fetchone()
    )
    assert sum(delta for _, _, _, delta, _ in found["totals"]) == booked
    assert (
        "4 disbursements, 4 balance events, 0 violations" in call("audit", "--state-folder", paid.folder).out
    )


@pytest.mark.parametrize(
    ("forgery", "finding"),
    [
        ("UPDATE disbursement SET amount = 1 WHERE id = 1", "paid_otherwise"),
        ("UPDATE intent SET cost = cost + 1 WHERE id = 1", "books"),
        ("DROP INDEX intent_one_per_nonce; UPDATE intent SET nonce = 1 WHERE id = 2", "nonce_twice"),
        ("UPDATE journal SET verb = 'x' WHERE id = 5", "journal"),
    ],
)
async def test_a_violation_is_told_with_what_to_do(
    paid: History, call: Callable[..., Told], forgery: str, finding: str
) -> None:
    """Exit code 1; the item, what is wrong, the next step."""

    def forge(connection: Connection) -> None:
        for statement in forgery.split("; "):
            connection.execute(statement)

    await paid.sql.write(forge)
    told = call("audit", "--state-folder", paid.folder)
    assert (told.code, f"{finding}: " in told.err) == (1, True)
    found = json.loads(call("audit", "--state-folder", paid.folder, "--json").out)["violations"]
    assert all(one["to_do"] for one in found)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        pytest.param((), 69, "chain not asked: ", id="asked by default"),
        pytest.param(("--offline",), 0, "chain not asked: --offline", id="left out"),
    ],
)
def test_an_endpoint_that_does_not_answer_ends_it_with_69(
    call: Callable[..., Told], tmp_path: Path, flags: tuple[str, ...], code: int, said: str
) -> None:
    """The store is audited all the same, and says that nothing is wrong in it."""
    file = tmp_path / "a.toml"
    file.write_text('[[chain.endpoints]]\nname = "gone"\nurl = "http://127.0.0.1:9"\n')

    async def made() -> None:
        history = History(tmp_path, Evidence.HASH)
        await history.start()
        await history.close()

    asyncio.run(made())
    told = call("audit", "--config", file, "--state-folder", tmp_path, *flags)
    assert (told.code, said in told.out + told.err) == (code, True), told
    assert "0 violations" in told.out
