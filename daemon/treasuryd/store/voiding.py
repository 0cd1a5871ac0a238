"""What happens when an intent is proved not to pay: one function, whoever proved it (protocol.md R5, §2)."""

from typing import Final

from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import Hold, Proof
from treasuryd.store import dependencies
from treasuryd.store.queries import load
from treasuryd.store.standing import Standing
from treasuryd.store.work import Work

SQL: Final = load("voiding.sql")


def void(work: Work, intent: Standing, proof: Proof, *, hold: Hold | None, detail: str) -> None:
    """
    Void an intent and decide on its disbursement.

    A cancel that was requested is carried out now; otherwise it is held by `hold`, or eligible again where that is None.
    """
    work.many(SQL["void"], [(proof, intent.id)])
    work.note(intent.account, "voided", (intent.id, proof, hold))
    work.fact(
        EventKind.UNSTAGED if proof is Proof.NEVER_BOUND else EventKind.VOIDED,
        intent.account,
        proof,
        item=intent.item,
        severity=Severity.WARNING,
        detail=detail,
    )
    if intent.item is None:
        return
    [(cancel_requested,)] = work.connection.execute(SQL["cancel_requested"], (intent.item,)).fetchall()
    if cancel_requested is not None:
        work.many(SQL["roll_back"], [(work.now, intent.item, intent.id)])
        work.note(intent.account, "rolled_back", (intent.item,))
        work.fact(EventKind.ROLLED_BACK, intent.account, "cancelled", item=intent.item)
        dependencies.fail_dependents_of(work, [intent.item])
        return
    work.many(SQL["unbind"], [(hold, detail, intent.item, intent.id)])
    if hold is not None:
        dependencies.held(work, intent.item, intent.account, hold, detail)
