"""Bugs of cancelling what is staged already (protocol.md §2, R3, R7)."""

from dataclasses import replace
from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, statement, swap, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.chain import sending
from treasuryd.core import planner
from treasuryd.core.events import EventKind
from treasuryd.core.model import Evidence, Status, VariantKind
from treasuryd.store import desk_items, voiding


def cancel_at_any_time(patch: pytest.MonkeyPatch) -> None:
    give_up = statement(
        patch, "UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = 'cancelled' WHERE id = ?"
    )
    roll_back = statement(
        patch,
        "UPDATE disbursement SET status = 'rolled_back', live_intent = NULL, reason = ?2, rolled_back_at = ?3, "
        "status_at = ?3 WHERE id = ?1",
    )

    def make(right: Any) -> Any:
        def cancel(connection: Any, row: int, item: Any, stored: Any, by: Any, *more: Any) -> Any:
            if stored is None or stored.live_intent is None or stored.status is not Status.TIMELOCKED:
                return right(connection, row, item, stored, by, *more)
            connection.execute(give_up, (stored.live_intent,))
            connection.execute(roll_back, (item, by.reason, by.at))
            return desk_items.event(EventKind.ROLLED_BACK, stored, "cancelled")

        return cancel

    wrap(patch, desk_items, "_cancel", make)


def request_on_the_intent(patch: pytest.MonkeyPatch) -> None:
    forget = statement(patch, "UPDATE disbursement SET cancel_requested = NULL WHERE id = ?")

    def make(right: Any) -> Any:
        def void(work: Any, intent: Any, proof: Any, *, hold: Any, detail: str = "") -> None:
            work.connection.execute(forget, (intent.item,))
            right(work, intent, proof, hold=hold, detail=detail)

        return void

    wrap(patch, voiding, "void", make)


def one_cancel_at_a_time(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        planner,
        "_cancels",
        ("other is not None and (intent.nonce > other or _pooled(intent))", "other is not None"),
    )


def nothing_waits(patch: pytest.MonkeyPatch) -> None:
    swap(patch, planner, "_gates", lambda *_: {})


def pay_beside_the_cancel(patch: pytest.MonkeyPatch) -> None:
    """Every other broadcast of what is being cancelled sends the payment once more."""
    turns: dict[int, int] = {}

    def make(right: Any) -> Any:
        def outgoing(sealed: Any) -> Any:
            rows = []
            for intent in sealed:
                payments = [
                    one for one in intent.variants if one.kind is VariantKind.PAYMENT and one.tx_bytes
                ]
                turns[intent.id] = turns.get(intent.id, 0) + 1
                second = intent.current().kind is VariantKind.CANCEL and turns[intent.id] % 2 == 0
                rows.append(replace(intent, variants=tuple(payments)) if second and payments else intent)
            return right(rows)

        return outgoing

    wrap(patch, sending, "_outgoing", make)


def never_replace(patch: pytest.MonkeyPatch) -> None:
    swap(patch, planner, "_cancels", lambda *_: iter(()))


BUGS: Final = (
    Bug(
        name="cancelled_at_any_time",
        rule="§2",
        story="a cancel rolls back what has a live intent, at once",
        plant=cancel_at_any_time,
    ),
    Bug(
        name="cancel_kept_on_the_intent",
        rule="R7",
        story="the request to cancel is kept on the intent and lost with it",
        plant=request_on_the_intent,
    ),
    Bug(
        name="cancels_wait_for_each_other",
        rule="R7",
        story="without look-up a lower nonce is not replaced while a higher one has two payloads out",
        plant=one_cancel_at_a_time,
        world={
            "kind": Evidence.BALANCE,
            "accounts": 1,
            "alike": True,
            "often": (("refuse_and_cancel", 10.0),),
        },
    ),
    Bug(
        name="nothing_waits_for_a_cancel",
        rule="R7",
        story="without look-up what is behind a nonce with two payloads is sent",
        plant=nothing_waits,
        world={
            "kind": Evidence.BALANCE,
            "accounts": 1,
            "block_seconds": 1.2,
            "often": (("cancel_some", 15.0), ("ask", 12.0)),
        },
    ),
    Bug(
        name="payment_beside_its_cancel",
        rule="R3",
        story="after its cancel variant the payment is sent once more",
        plant=pay_beside_the_cancel,
    ),
    Bug(
        name="cancel_never_replaces",
        rule="R7",
        story="no cancel variant is ever ordered",
        plant=never_replace,
    ),
)
