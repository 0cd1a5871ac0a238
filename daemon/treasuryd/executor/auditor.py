"""
The settlement audit beside the work: a bounded page at a time, for ever (protocol.md §10, architecture.md §6).

A page costs the same however much the store holds; a pass over everything takes as long as it takes, and then begins anew.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from treasuryd.core.audit import Judge, Page
from treasuryd.core.changes import FrozenNow
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.findings import Finding, Violation
from treasuryd.core.model import AccountId, FreezeCause
from treasuryd.errors import Transient
from treasuryd.executor.mind import Mind
from treasuryd.ports import World

C = TypeVar("C")
REMEMBERED: Final = 10_000  # violations that were told already


@dataclass(slots=True, kw_only=True)
class Auditor(Generic[C]):
    """
    Judges pages, and freezes the account of what is wrong.

    Args: look reads the page at a cursor, and answers where the next one begins; start is where a pass begins.
    Guarantees: a violation is told once in the life of the process, so that a person who thaws an account in spite of it
        is heeded until the next start; a freeze that could not be written is tried again at the next page.
    Does not guarantee: a freeze where another process holds the lease: its own auditor finds the same.
    """

    world: World
    mind: Mind
    judge: Judge
    look: Callable[[C, int], Awaitable[tuple[Page, C]]]
    start: C
    passes: Callable[[C], int]  # how many passes a cursor has behind it
    interval_seconds: float
    page_items: int
    _cursor: C | None = None
    _known: deque[Violation] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _to_freeze: dict[AccountId, FrozenNow] = field(default_factory=dict)

    async def run(self) -> None:
        """Audit for ever; a page that could not be read is read again."""
        while True:
            await self.world.clock.sleep(self.interval_seconds)
            try:
                await self.once()
            except Transient:
                continue  # the file stayed locked: nothing was read, nothing is known

    async def once(self) -> list[Violation]:
        """Judge one page; answers what was not known yet."""
        cursor = self.start if self._cursor is None else self._cursor
        page, after = await self.look(cursor, self.page_items)
        new = [found for found in self.judge.judge(page) if found not in self._known]
        self._cursor = after
        for found in new:
            self._known.append(found)
            self._tell(found)
        await self._freeze()
        if self.passes(after) > self.passes(cursor):
            self.world.observer.saw(
                Event(kind=EventKind.AUDITED, severity=Severity.DEBUG, count=self.judge.items)
            )
            self.judge.items = self.judge.movements = 0
            self.judge.doubts.clear()
        return new

    def _tell(self, found: Violation) -> None:
        self.world.observer.saw(
            Event(
                kind=EventKind.AUDIT_VIOLATION,
                severity=Severity.PAGE,
                account=found.account,
                ids=() if found.item is None else (found.item,),
                reason=found.finding,
                detail=f"{found.detail}. {found.to_do}",
            )
        )
        cause = FreezeCause.CONSERVATION if found.finding is Finding.BOOKS else FreezeCause.AUDIT
        item = "" if found.item is None else f"disbursement {found.item}: "
        concerned = self.mind.held.leases if found.account is None else (found.account,)
        for account in concerned:
            frozen = FrozenNow(account=account, cause=cause, detail=f"{found.finding}: {item}{found.detail}")
            self._to_freeze.setdefault(account, frozen)

    async def _freeze(self) -> None:
        """Freeze what is ours; what another process holds it finds for itself."""
        at = self.mind.at
        if at is None or not self._to_freeze:
            return
        leads = self.mind.leads()
        changes = [change for account, change in self._to_freeze.items() if account in leads]
        if not changes:
            return
        recorded = await self.world.store.record(changes, self.mind.held, at=at)
        self.world.observer.saw(*recorded.events)
        unwritten = {row.row for row in recorded.unwritten}
        for place, change in enumerate(changes):
            if place not in unwritten:
                self.mind.halt(change.account)
                del self._to_freeze[change.account]
