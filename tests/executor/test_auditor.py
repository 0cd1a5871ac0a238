"""The audit beside the work: it freezes the account of what is wrong, once, and stops nothing that is right."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.world import ADA, CHAIN_ID, PAYER, RESERVE, History, new

from treasuryd.core.audit import Judge
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.findings import Finding
from treasuryd.core.model import AccountState, Evidence, Nonce, Status
from treasuryd.errors import Transient
from treasuryd.executor.auditor import Auditor
from treasuryd.main.reading import content_of
from treasuryd.store import auditing
from treasuryd.store.auditing import Cursor

PAYMENT = "id = (SELECT min(id) FROM balance_event WHERE account = 'treasury' AND kind = 'execution')"
FIRST = "(SELECT min(id) FROM intent WHERE account = 'treasury')"


class Watched:
    """A history with an auditor that looks at it."""

    def __init__(self, history: History, page_items: int = 2) -> None:
        self.history = history
        self.auditor: Auditor[Cursor] = Auditor(
            world=history.world,
            mind=history.mind,
            judge=Judge(rules=history.rules, chain_id=CHAIN_ID, read=content_of),
            look=history.store.audit_page,
            start=Cursor(),
            passes=lambda cursor: cursor.passes,
            interval_seconds=5.0,
            page_items=page_items,
        )

    async def passes(self, count: int = 4) -> list[Finding]:
        return [found.finding for _ in range(count) for found in await self.auditor.once()]

    async def sql(self, text: str) -> None:
        await self.history.sql.write(lambda connection: connection.execute(text))


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    history = History(tmp_path, Evidence.HASH, accounts=(PAYER, RESERVE))
    history.mine(2)
    await history.start()
    items = await history.submit(new("rent"), new("power"), new("water", account=RESERVE))
    await history.finalized(items)
    yield Watched(history)
    await history.close()


async def test_what_is_right_is_looked_at_again_and_again(watched: Watched) -> None:
    """Each pass ends in one quiet fact; nothing is frozen."""
    assert await watched.passes(6) == []
    passed = watched.history.events(EventKind.AUDITED)
    assert [(event.severity, event.count) for event in passed] == [(Severity.DEBUG, 3)] * 3
    assert (await watched.history.account()).state is AccountState.ACTIVE


@pytest.mark.parametrize(
    ("forgery", "finding", "cause"),
    [
        ("UPDATE disbursement SET destination = 'tb1thief' WHERE id = 1", Finding.PAID_OTHERWISE, "audit"),
        (
            "UPDATE disbursement SET status = 'rolled_back' WHERE id = 1",
            Finding.PAID_AND_ROLLED_BACK,
            "audit",
        ),
        (f"UPDATE balance_event SET delta = delta + 1 WHERE {PAYMENT}", Finding.BOOKS, "conservation"),
        ("UPDATE account SET booked = booked + 1 WHERE id = 'treasury'", Finding.BOOKS, "conservation"),
        (
            "UPDATE journal SET at = at + 1 WHERE chain = 'account:treasury' AND seq = 3",
            Finding.JOURNAL,
            "audit",
        ),
    ],
)
async def test_a_forged_row_freezes_its_account_and_pages(
    watched: Watched, forgery: str, finding: Finding, cause: str
) -> None:
    """The other account works on."""
    await watched.sql(forgery)
    assert finding in await watched.passes()
    account = await watched.history.account(PAYER)
    assert (account.state, account.cause) == (AccountState.FROZEN, cause)
    assert watched.history.mind.halted == {PAYER}  # a tick under way decided before it
    assert (await watched.history.account(RESERVE)).state is AccountState.ACTIVE
    assert watched.history.events(EventKind.ACCOUNT_FROZEN)
    told = watched.history.events(EventKind.AUDIT_VIOLATION)
    assert {(event.severity, event.account) for event in told} == {(Severity.PAGE, PAYER)}
    (item,) = await watched.history.submit(new("later"))
    await watched.history.run(5)
    assert await watched.history.status(item) is Status.TIMELOCKED


async def test_what_concerns_everybody_freezes_all_that_is_held(watched: Watched) -> None:
    """Whoever rewrites what people ordered may have rewritten anything."""
    await watched.sql(
        "UPDATE journal SET body = replace(body, '\"items\":3', '\"items\":4') WHERE verb = 'submit'"
    )
    assert await watched.passes() == [Finding.JOURNAL]
    for account in (PAYER, RESERVE):
        assert (await watched.history.account(account)).state is AccountState.FROZEN


async def test_a_person_who_thaws_in_spite_of_it_is_heeded(watched: Watched) -> None:
    """It was told; telling it again at each pass would only teach people to look away."""
    await watched.sql(f"UPDATE balance_event SET fee = fee + 1 WHERE {PAYMENT}")
    assert await watched.passes() == [Finding.BOOKS]
    await watched.history.desk.thaw(PAYER, by=ADA, burned=Nonce(2))
    assert await watched.passes() == []
    assert (await watched.history.account(PAYER)).state is AccountState.ACTIVE


async def test_a_freeze_that_could_not_be_written_is_tried_again(watched: Watched) -> None:
    """Before the first tick, while the lease is another's, after a locked file."""
    await watched.sql(f"UPDATE balance_event SET fee = fee + 1 WHERE {PAYMENT}")
    mind = watched.history.mind
    held, at = mind.held, mind.at
    mind.at = None
    assert await watched.passes() == [Finding.BOOKS]
    mind.at, mind.held = at, replace(held, leases={})
    assert await watched.passes() == []
    assert (await watched.history.account(PAYER)).state is AccountState.ACTIVE
    mind.held = held
    watched.history.clock.now += 0.1
    assert await watched.passes(1) == []
    assert (await watched.history.account(PAYER)).state is AccountState.FROZEN


async def test_it_goes_on_after_a_locked_file_and_rests_between_pages(watched: Watched) -> None:
    """Transient means that nothing was read; anything else ends the process."""
    looks: list[Any] = []

    async def look(cursor: Cursor, limit: int) -> Any:
        looks.append(watched.history.clock.now)
        if len(looks) == 1:
            raise Transient("locked")
        if len(looks) == 3:
            raise ZeroDivisionError
        return await watched.history.store.audit_page(cursor, limit)

    watched.auditor.look = look
    with pytest.raises(ZeroDivisionError):
        await watched.auditor.run()
    assert [later - sooner for sooner, later in pairwise(looks)] == [5.0, 5.0]


async def test_a_page_costs_the_same_however_much_is_finished(watched: Watched) -> None:
    """Bounded by the page, in rows and in journal bytes."""
    cursor, pages = Cursor(), []
    for _ in range(2):
        page, cursor = await watched.history.sql.read(auditing.page, cursor, 2)
        pages.append((len(page.cases), len(page.movements)))
    assert pages == [(2, 2), (1, 2)]


async def test_a_long_journal_is_read_in_pieces(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tampered entry far behind the first piece is found in a later one."""
    monkeypatch.setattr(auditing, "JOURNAL_BYTES", 1)
    await watched.sql("UPDATE journal SET at = at + 1 WHERE id = 20")
    page, cursor = await watched.history.sql.read(auditing.page, Cursor(), 2)
    assert (page.broken, cursor.entry) == ([], 1)
    assert await watched.passes(30) == [Finding.JOURNAL]


@pytest.mark.parametrize(
    "forgery",
    [
        pytest.param(f"UPDATE intent SET cost = cost + 1 WHERE id = {FIRST}", id="what an intent took"),
        pytest.param(
            "UPDATE balance_event SET intent_id = NULL, kind = 'unexplained', fee = 0 "
            f"WHERE intent_id = {FIRST}",
            id="an intent whose event is gone",
        ),
    ],
)
async def test_an_intents_events_come_to_what_it_took(watched: Watched, forgery: str) -> None:
    """Summed by the intent, beside the work; a correction is no part of it."""
    await watched.sql(forgery)
    assert await watched.passes(2) == [Finding.BOOKS]
    assert (await watched.history.account()).state is AccountState.FROZEN


async def test_two_payments_under_one_nonce_are_found(watched: Watched) -> None:
    """§10: also where one of them is void; what the signer never bound has returned its nonce by right."""
    await watched.sql("DROP INDEX intent_one_per_nonce")
    await watched.sql("UPDATE intent SET nonce = 1 WHERE account = 'treasury'")
    found = [one for _ in range(2) for one in await watched.auditor.once()]
    told = [one.detail for one in found if one.finding is Finding.NONCE_TWICE]
    assert len(told) == 2
    assert all(detail.endswith("have both payments signed under nonce 1") for detail in told)
    assert (await watched.history.account()).state is AccountState.FROZEN


async def test_what_is_found_in_a_quarantine_freezes_the_account_that_leaves_it(watched: Watched) -> None:
    """R14: a quarantine hides a freeze; whoever ends it has not answered for what the audit found meanwhile."""
    history = watched.history
    await history.desk.declare_restored(by=ADA)
    await history.run(2)
    await watched.sql(f"UPDATE balance_event SET fee = fee + 1 WHERE {PAYMENT}")
    assert await watched.passes() == [Finding.BOOKS]
    assert (await history.account()).state is AccountState.QUARANTINED
    mark = (await history.signer.marks())[PAYER].nonce
    await history.desk.leave_quarantine(PAYER, by=ADA, signer=mark, signer_lost=False, lineage="another")
    assert await watched.passes() == []
    assert (await history.account()).state is AccountState.FROZEN
