"""The settlement audit as a command: everything that is stored, judged at once, with what the books come to."""

from dataclasses import dataclass, field, replace
from typing import Final

from treasuryd.core.audit import Judge
from treasuryd.core.findings import Violation
from treasuryd.core.model import AccountId, DisbursementId
from treasuryd.main.reading import content_of
from treasuryd.main.snapshot import snapshot
from treasuryd.settings import Settings
from treasuryd.sqlite.connect import Connection
from treasuryd.store import auditing
from treasuryd.store.auditing import Cursor

PAGE_ITEMS: Final = 1_000


@dataclass(slots=True, kw_only=True)
class Report:
    """
    What an audit came to.

    `doubts` are paid items whose votes cannot be recounted with the keys that are configured now. `totals`: account, kind
    of movement, how many, what they come to, and the fees among it.
    """

    items: int = 0
    movements: int = 0
    violations: list[Violation] = field(default_factory=list)
    doubts: list[DisbursementId] = field(default_factory=list)
    totals: list[tuple[AccountId, str, int, int, int]] = field(default_factory=list)


def audit(settings: Settings) -> Report:
    """Judge a still picture of the store; what is right beside a running daemon is right without one."""
    judge = Judge(rules=settings.rules(), chain_id=settings.chain.chain_id, read=content_of)
    with snapshot(settings) as connection:
        violations = _all(connection, judge)
        return Report(
            items=judge.items,
            movements=judge.movements,
            violations=violations,
            doubts=judge.doubts,
            totals=auditing.totals(connection),
        )


def _all(connection: Connection, judge: Judge) -> list[Violation]:
    """Every page of disbursements, movements and journal, each file to its end once; then what only the whole shows."""
    found: list[Violation] = []
    cursor = Cursor()
    todo = {"item", "movement", "entry"}
    while todo:
        page, after = auditing.page(connection, cursor, PAGE_ITEMS)
        once = replace(  # a file that came to its end began anew
            page,
            cases=page.cases if "item" in todo else (),
            movements=page.movements if "movement" in todo else (),
            broken=page.broken if "entry" in todo else (),
        )
        found += judge.judge(once)
        todo = {name for name in todo if getattr(after, name)}
        cursor = after
    return list(dict.fromkeys([*found, *auditing.whole(connection)]))
