"""
`treasuryd demo`: pays a sample to finality on the embedded chain, and checks against the chain that each was paid once.

The check asks the development chain itself, not our books: every transaction of our account on the canonical chain is
held against the disbursements that should have caused it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from treasuryd.commands.office import Office
from treasuryd.core.model import Disbursement, DisbursementId, Status
from treasuryd.main.development import ENDED, LOOK_SECONDS, Voter, cast, items_of, submit_all

PATIENCE_SECONDS: Final = 120.0

Paid = Mapping[str, int]  # transaction hash -> how often it stands on the canonical chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the summary: the item, and how many payments of it stand on the chain."""

    item: Disbursement
    payments: int

    @property
    def fine(self) -> bool:
        """Whether it was paid exactly once, to the end."""
        return self.item.status is Status.FINALIZED and self.payments == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What came of a demonstration."""

    lines: tuple[Line, ...]
    strangers: int  # transactions of our account that belong to no item
    seconds: float

    @property
    def fine(self) -> bool:
        """Whether every item was paid exactly once and nothing else left the account."""
        return bool(self.lines) and all(line.fine for line in self.lines) and self.strangers == 0


async def watch(
    office: Office,
    electorate: Sequence[Voter],
    ids: Sequence[DisbursementId],
    *,
    tell: Callable[[Disbursement], None],
) -> list[Disbursement]:
    """Vote on what is open and tell of every change, until all items have ended."""
    last: dict[int, Status] = {}
    while True:
        items = await items_of(office, ids)
        for item in items:
            if last.get(item.id) is not item.status:
                last[item.id] = item.status
                tell(item)
        if all(item.status in ENDED for item in items):
            return items
        await cast(office, electorate, items)
        await office.world.clock.sleep(LOOK_SECONDS)


async def demonstrate(
    office: Office,
    electorate: Sequence[Voter],
    path: Path,
    *,
    transactions: Callable[[], Sequence[Mapping[str, Any]]],
    tell: Callable[[Disbursement], None],
) -> Summary:
    """
    Submit, vote, follow to the end (at most two minutes), and audit the chain.

    Args: transactions gives those of the canonical chain, as the development chain's admin route does.
    """
    started = office.world.clock.boot_seconds()
    ids = await submit_all(office, path)
    with anyio.move_on_after(PATIENCE_SECONDS):
        await watch(office, electorate, ids, tell=tell)
    items = await items_of(office, ids)
    summary = audit(items, transactions(), accounts=set(office.accounts))
    seconds = office.world.clock.boot_seconds() - started
    return Summary(lines=summary.lines, strangers=summary.strangers, seconds=seconds)


def audit(
    items: Sequence[Disbursement], transactions: Sequence[Mapping[str, Any]], *, accounts: set[str]
) -> Summary:
    """Count for each item its payments on the chain, by sender, destination, amount and memo; and what is left over."""
    found = Counter(
        (row["from"], row["to"], row["amount"], row["memo"])
        for row in transactions
        if row["from"] in accounts
    )
    wanted = Counter((item.account, item.destination, item.amount, item.memo) for item in items)
    lines = [
        Line(
            item=item,
            payments=_share(found, wanted, (item.account, item.destination, item.amount, item.memo)),
        )
        for item in items
    ]
    strangers = sum((found - wanted).values())
    return Summary(lines=tuple(lines), strangers=strangers, seconds=0.0)


def _share(found: Counter[Any], wanted: Counter[Any], content: tuple[str, str, int, str]) -> int:
    """Count for one item: items with the same content share its payments, and as many as items is once each."""
    return max(0, found[content] - wanted[content] + 1)
