"""What a restore drill does to a history: backups, losses, clones, and a person who leaves the quarantine."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tests.world import ADA, CHAIN_ID, PAYER, History

from treasuryd.commands import disbursements, quarantine
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    AccountState,
    BreakerMode,
    BreakerOverride,
    CallClass,
    DisbursementId,
    Endpoint,
    Hold,
    State,
    Status,
    UnixSeconds,
)
from treasuryd.errors import Rejected

STORE, LEDGER = "treasuryd.db", "ledger.db"
PERSON = Person(who="ada", reason="compared with the chain")


def office(history: History) -> Office:
    """What commands work with, over the running history."""
    return Office(
        world=history.world,
        engine=history.mind,
        rules=history.rules,
        accounts=history.accounts,
        chain_id=CHAIN_ID,
        price=history.trade().price,
    )


@dataclass
class Backup:
    """Files as they were, taken by SQLite's own backup."""

    folder: Path

    @classmethod
    def of(cls, history: History, name: str = "backup") -> "Backup":
        """Copy store, ledger and the journal's copy."""
        import sqlite3  # noqa: PLC0415 - here alone a file is opened behind the daemon's back

        found = cls(history.folder / name)
        found.folder.mkdir()
        for file in (STORE, LEDGER):
            source, target = sqlite3.connect(history.folder / file), sqlite3.connect(found.folder / file)
            source.backup(target)
            source.close()
            target.close()
        if history.journal is not None:
            shutil.copytree(history.journal, found.folder / "journal")
        return found

    async def put_back(
        self, history: History, *, ledger: bool = False, journal: bool = False, moved: bool = False
    ) -> None:
        """
        End the process, put the old store back (and what else is named), and start again.

        By setting the content alone is put back, as a snapshot of the machine does it; `moved`: as another file.
        """
        await history.close()
        self._copy(history.folder, STORE, moved=moved)
        if ledger:
            self._copy(history.folder, LEDGER, moved=moved)
        if journal and history.journal is not None:
            shutil.rmtree(history.journal)
            shutil.copytree(self.folder / "journal", history.journal)
        history.clock.now += 60.0
        await history.start()

    def put_ledger_back(self, history: History) -> None:
        """Put the signer's ledger alone back; nothing may run."""
        self._copy(history.folder, LEDGER, moved=False)

    def _copy(self, folder: Path, name: str, *, moved: bool) -> None:
        for old in folder.glob(f"{name}-*"):
            old.unlink()
        if moved:
            shutil.copy2(self.folder / name, folder / f"{name}.new")
            (folder / f"{name}.new").replace(folder / name)
        else:
            shutil.copyfile(self.folder / name, folder / name)


async def lose_ledger(history: History) -> None:
    """The signer's memory is gone for good."""
    await history.close()
    for path in history.folder.glob(f"{LEDGER}*"):
        path.unlink()
    await history.start()


async def lose_journal(history: History) -> None:
    """The journal's copy is gone for good."""
    await history.close()
    assert history.journal is not None
    shutil.rmtree(history.journal)


def forget_pools(history: History) -> None:
    """Every mempool forgets what it holds."""
    for node in history.nodes.values():
        node.ledger.purge(now=history.clock.now + 1e9)


async def reached(history: History, item: Any, state: State) -> bool:
    """Whether the newest intent of an item is in that state."""
    found = await history.desk.intents(item)
    return bool(found) and found[-1].state is state


async def quarantined(history: History) -> bool:
    """Whether the paying account is in quarantine."""
    return (await history.account()).state is AccountState.QUARANTINED


async def reset_breaker(history: History) -> None:
    """A person ends the kill switch."""
    word = BreakerOverride(
        endpoint=Endpoint("*"),
        call_class=CallClass.SEND,
        mode=BreakerMode.AUTO,
        reason="looked",
        who="ada",
        at=UnixSeconds(1.0),
    )
    await history.desk.force_breaker(word)


async def judge_by_the_chain(history: History) -> None:
    """A person looks at the chain and judges what is ambiguous; refusals wait for the finality depth."""
    page = await history.desk.waiting(cursor=None, limit=100)
    chain = await history.desk.chain_state()
    for item in page.items:
        intent = (await history.desk.intents(item.id))[-1] if item.live_intent else None
        if intent is not None and intent.state == "ambiguous":
            paid = history.paid(item.memo) > 0
            await history.desk.resolve([item.id], paid=paid, by=ADA, believed=chain.believed)


async def leave(history: History, *, seconds: int = 120) -> None:
    """A person ends the kill switch, judges what is ambiguous by looking at the chain, and resolves."""
    await reset_breaker(history)
    said = ""
    for _ in range(seconds):
        await history.step()
        await judge_by_the_chain(history)
        try:
            await quarantine.resolve(office(history), PAYER, PERSON)
        except Rejected as refused:
            said = refused.message
            continue
        return
    raise AssertionError(f"still in quarantine: {said}")


async def release_unpaid(history: History) -> list[DisbursementId]:
    """A person reads every held item, and releases those that the chain does not show."""
    page = await history.desk.waiting(cursor=None, limit=100)
    held = [item for item in page.items if item.hold in {Hold.RESTORED, Hold.NEEDS_RELEASE}]
    unpaid = [item.id for item in held if not history.paid(item.memo) and not item.live_intent]
    if unpaid:
        await disbursements.release(office(history), tuple(unpaid), PERSON)
    return unpaid


async def settled(history: History, memos: Iterable[str], *, seconds: int = 60) -> None:
    """Everything is paid once on the chain, or held for a person; the books agree with the chain."""
    await history.run(seconds)
    await history.check()
    for memo in memos:
        assert history.paid(memo) == 1, f"{memo} was paid {history.paid(memo)} times"
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER), (booked, shown, history.balance(PAYER))


async def rows(history: History, sql: str) -> list[Any]:
    """Look into the store."""
    return cast("list[Any]", await history.sql.read(lambda connection: connection.execute(sql).fetchall()))


async def held(history: History, item: DisbursementId) -> bool:
    """Whether an item waits for a person, unpaid."""
    found = await history.item(item)
    return found.hold is Hold.RESTORED and found.status not in {Status.EXECUTED, Status.FINALIZED}


class Clone(History):
    """A second daemon on a copy of the store, beside the original: the same chain, the same signer's ledger."""

    def __init__(self, original: History) -> None:
        folder = original.folder / "clone"
        folder.mkdir()
        super().__init__(folder, accounts=original.accounts, rules=original.rules)
        self.original = original
        Backup.of(original, "cloned")
        shutil.copy2(original.folder / "cloned" / STORE, folder / STORE)
        (folder / LEDGER).symlink_to(original.folder / LEDGER)
        self.clock, self.nodes, self.urls = original.clock, original.nodes, original.urls
        self.transport, self.config = original.transport, original.config
        self.running = False

    async def step(self, blocks: int = 1) -> None:
        """Beat and tick; the original's step moves time and chain."""
        del blocks
        if not self.running:
            self.running = True
            await self.start()
        await self.keeper.beat()
        await self.tick()

    def quarantined(self) -> bool:
        """Whether it said so."""
        return bool(self.events(EventKind.ACCOUNT_QUARANTINED))

    async def stopped(self) -> bool:
        """Whether it is in quarantine now."""
        return await quarantined(self)
