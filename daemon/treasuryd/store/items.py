"""Changes of disbursements: their lifecycle by epochs and votes, their stored holds, their end (protocol.md §2)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from treasuryd.core.changes import Advanced, FinalizeDue, HoldSet
from treasuryd.core.events import EventKind
from treasuryd.core.lifecycle import DISBURSEMENT, Turn
from treasuryd.core.model import AccountId, DisbursementId, Hold, Status, UnixSeconds
from treasuryd.store import dependencies
from treasuryd.store.queries import load
from treasuryd.store.rows import ids_json
from treasuryd.store.work import Work, json_text

SQL: Final = load("recording.sql")
FINALIZE_ROWS: Final = 10_000  # in one statement
EPOCH_TURNS: Final = frozenset(
    {Turn.VOTE_OPENED, Turn.VOTE_PASSED, Turn.VOTE_FAILED, Turn.ACTIVATED, Turn.PERMITTED}
)
ENDS_BY_ITSELF: Final = frozenset(
    {
        Hold.APPROVAL_LOST,
        Hold.DEPENDENCY_FAILED,
        Hold.DEPENDENCY_MISSING,
        Hold.DEPENDENCY_CIRCULAR,
    }
)  # every other stored hold ends by a person's word alone


class Item:
    """A disbursement as it stands at the moment of a change."""

    __slots__ = ("account", "has_proposal", "hold", "id", "live_intent", "status")

    def __init__(self, row: Sequence[Any]) -> None:
        self.id: DisbursementId = row[0]
        self.account: AccountId = row[1]
        self.status = Status(row[2])
        self.hold = None if row[3] is None else Hold(row[3])
        self.live_intent = row[4]
        self.has_proposal = bool(row[5])


def read(work: Work, ids: Iterable[DisbursementId]) -> dict[DisbursementId, Item]:
    """Read disbursements; those that do not exist are missing from the answer."""
    rows = work.connection.execute(SQL["items"], (ids_json(set(ids)),)).fetchall()
    return {row[0]: Item(row) for row in rows}


def advance(work: Work, changes: Sequence[Advanced]) -> list[str | None]:
    """Move lifecycles on, each by compare-and-set on the status that the decision saw."""
    known = read(work, (change.disbursement_id for change in changes))
    reasons: list[str | None] = []
    rows: list[tuple[Any, ...]] = []
    lost: list[DisbursementId] = []
    for change in changes:
        item = known.get(change.disbursement_id)
        if item is None or not _may_advance(item, change):
            reasons.append("missing" if item is None else "changed")
            continue
        item.status = change.to
        rows.append(_advanced(work, change))
        if change.to is Status.ROLLED_BACK:
            lost.append(change.disbursement_id)
        work.note(
            change.account, "advanced", (change.disbursement_id, change.was, *rows[-1][0:1], *rows[-1][2:7])
        )
        kind = EventKind.ROLLED_BACK if change.to is Status.ROLLED_BACK else EventKind.ADVANCED
        work.fact(kind, change.account, change.reason or change.to, item=change.disbursement_id)
        reasons.append(None)
    work.many(SQL["advance"], rows)
    if lost:
        dependencies.fail_dependents_of(work, lost)
    return reasons


def _may_advance(item: Item, change: Advanced) -> bool:
    """Check the arrow in the table; without a proposal only policy opens it, and with one only a vote does (D20)."""
    arrows = DISBURSEMENT[item.status]
    turn = next((turn for turn, to in arrows.items() if turn in EPOCH_TURNS and to is change.to), None)
    return (
        turn is not None
        and item.status is change.was
        and item.account == change.account
        and item.hold is not Hold.RESTORED
        and item.has_proposal is (turn is not Turn.PERMITTED)
    )


def _advanced(work: Work, change: Advanced) -> tuple[Any, ...]:
    weights = (
        None
        if change.weights is None
        else json_text({str(house): weight for house, weight in change.weights.items()})
    )
    return (
        change.to,
        work.now,
        change.vote_deadline_epoch,
        weights,
        change.activation_epoch,
        change.ready_epoch,
        change.reason,
        change.disbursement_id,
        change.was,
    )


def set_holds(work: Work, changes: Sequence[HoldSet]) -> list[str | None]:
    """Store or end holds; one that only a person ends is neither ended nor replaced here."""
    known = read(work, (change.disbursement_id for change in changes))
    reasons: list[str | None] = []
    rows: list[tuple[Any, ...]] = []
    for change in changes:
        item = known.get(change.disbursement_id)
        reason = _not_holdable(item, change)
        reasons.append(reason)
        if reason is not None or item is None or item.hold is change.hold:
            continue
        rows.append((change.hold, change.detail, item.id))
        if change.hold is None:
            work.note(change.account, "released", (item.id, item.hold))
            work.fact(EventKind.RELEASED, change.account, str(item.hold), item=item.id)
        else:
            dependencies.held(work, item.id, item.account, change.hold, change.detail)
        item.hold = change.hold
    work.many(SQL["set_hold"], rows)
    return reasons


def _not_holdable(item: Item | None, change: HoldSet) -> str | None:
    if item is None:
        return "missing"
    over = item.status in (Status.EXECUTED, Status.FINALIZED, Status.ROLLED_BACK)
    busy = item.live_intent is not None and change.hold is not Hold.POISONED
    kept = item.hold not in (None, change.hold) and item.hold not in ENDS_BY_ITSELF
    return "changed" if item.account != change.account or over or busy or kept else None


def finalize(work: Work, changes: Sequence[FinalizeDue]) -> list[str | None]:
    """Finalize what is final and out of its rollback window; their dependents wait for them no longer."""
    for change in changes:
        while True:
            found = work.connection.execute(
                SQL["finalizable"], (change.account, change.settled, FINALIZE_ROWS)
            ).fetchall()
            if not found:
                break
            _finalized(work, change.account, dict(found))
    return [None] * len(changes)


def _finalized(work: Work, account: AccountId, executed: Mapping[DisbursementId, UnixSeconds | None]) -> None:
    ids = list(executed)
    changed = work.connection.execute(SQL["finalize"], (ids_json(ids), work.now)).rowcount
    assert changed == len(ids), f"{changed} of {len(ids)} items were finalized"
    work.connection.execute(SQL["count_finalized"], (len(ids),))
    dependencies.recount_dependents(work.connection, ids, work.rules)
    work.notes(account, "finalized", ids)
    steps = [work.now - at for at in executed.values() if at is not None]
    work.facts(EventKind.FINALIZED, account, "", ids, step_seconds=steps)
