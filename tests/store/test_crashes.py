"""A kill between any two statements leaves all of a verb or nothing of it."""

from collections.abc import Awaitable, Callable

import pytest
from tests.store.kit import (
    PAYER,
    RULES,
    Bench,
    block,
    depend,
    opened,
    seen,
    sent,
    signed,
)

from treasuryd.core.changes import BaselineMoved, BlockBuried, Change, FinalizeDue, Rewound
from treasuryd.core.model import Epoch, Height, Refused
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import COMMITTED, InlineDriver
from treasuryd.store.journal import chain_of, verify

STEPS = ("stage", "unstage", "seal", "sent", "seen", "rewound", "final")


class Killed(BaseException):
    """The process is gone: nothing after this point runs."""


class Executioner:
    """Kills at the n-th statement that it hears."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, sql: str) -> None:
        if self.left == 0:
            raise Killed(sql)
        self.left -= 1


async def _until(bench: Bench, step: str) -> Callable[[], Awaitable[object]]:
    """Bring a fresh store to just before a step; answers the verb that takes it."""
    await bench.adopt(PAYER)
    ids = await bench.insert(3)
    await bench.driver.write(depend, ids[2], ids[0])
    drafts = await bench.drafts(ids[:2])
    if step == "stage":
        return lambda: bench.store.stage(drafts, bench.held, at=bench.at())
    staged = await bench.stage(ids[:2])
    if step == "unstage":
        refused = [
            Refused(row=place, reason="no", intent_id=intent.id, final=True, first=place == 0)
            for place, intent in enumerate(staged)
        ]
        return lambda: bench.store.unstage(refused, bench.held)
    if step == "seal":
        return lambda: bench.store.seal(signed(staged), bench.held)
    sealed = await bench.seal(staged)
    if step == "sent":
        return lambda: bench.record([sent(intent) for intent in sealed])
    await bench.send(sealed)
    before = bench.frame()
    inclusions = [seen(intent, 1_051) for intent in sealed]
    moved = BaselineMoved(account=PAYER, frame=bench.frame(height=1_051), keep_from=Height(0))
    if step == "seen":
        return lambda: bench.record([*inclusions, moved])
    await bench.record([*inclusions, moved])
    if step == "rewound":
        return lambda: bench.record([Rewound(account=PAYER, to=before)])
    last: list[Change] = [
        BlockBuried(account=PAYER, height=Height(1_051), block_hash=block(1_051)),
        FinalizeDue(account=PAYER, settled=Epoch(200)),
    ]
    return lambda: bench.record(last)


async def _killed(act: Callable[[], Awaitable[object]]) -> str | None:
    """The statement before which it was killed; None when it ran to its end."""
    try:
        await act()
    except Killed as killed:
        return str(killed)
    return None


def _everything(connection: Connection) -> dict[str, list[object]]:
    """Every row of every table."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}


@pytest.mark.parametrize("step", STEPS)
async def test_a_kill_between_any_two_statements_leaves_all_or_nothing(step: str) -> None:
    """D2, D16: status, nonce, intent, bytes, balance event and journal of a change are one transaction."""
    kills = 0
    while True:
        driver = await opened(InlineDriver)
        assert isinstance(driver, InlineDriver)
        bench = Bench(driver, RULES)
        act = await _until(bench, step)
        before = await driver.read(_everything)
        driver.before_statement = Executioner(kills)
        last = await _killed(act)
        driver.before_statement = None
        after = await driver.read(_everything)
        await driver.read(verify, chain_of(PAYER))
        await driver.close()
        if last is None:
            break
        assert (after == before) is (last != COMMITTED)
        kills += 1
    assert kills > 5


@pytest.mark.parametrize("step", STEPS)
async def test_what_a_kill_undid_is_done_by_the_next_attempt(step: str) -> None:
    """D2: the item is not wedged, and neither is anything behind it."""
    driver = await opened(InlineDriver)
    assert isinstance(driver, InlineDriver)
    bench = Bench(driver, RULES)
    act = await _until(bench, step)
    driver.before_statement = Executioner(4)
    with pytest.raises(Killed):
        await act()
    driver.before_statement = None
    await act()
    assert len(await bench.pay(await bench.insert())) == 1
    await driver.close()
