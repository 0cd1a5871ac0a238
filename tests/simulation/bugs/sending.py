"""Bugs of sending, and of what a reply is taken to mean (protocol.md R3, R4, R6, R8)."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, reword, statement, swap, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.chain.theblock import TheBlock
from treasuryd.core import planner, submission
from treasuryd.core.changes import Seen, Sent
from treasuryd.core.model import BlockHash, Evidence, Meaning, Proof
from treasuryd.executor import perform
from treasuryd.executor.grip import Grip
from treasuryd.store import payments, view, work
from treasuryd.store.rows import chain_state
from treasuryd.store.standing import standing
from treasuryd.store.voiding import void

After = Callable[[Any, Any], None]  # (work, change): what a reply is made to do once it is recorded


def _on(patch: pytest.MonkeyPatch, meanings: set[Meaning], after: After) -> None:
    """Let a reply decide something, in the transaction that records it."""

    def make(right: Any) -> Any:
        def sent(work: Any, changes: Any) -> Any:
            reasons = right(work, changes)
            for change, reason in zip(changes, reasons, strict=True):
                if reason is None and change.meaning in meanings:
                    after(work, change)
            return reasons

        return sent

    wrap(patch, payments, "sent", make)


def _drop(work: Any, change: Any) -> None:
    """Give the intent up and let its disbursement begin anew: with another intent, under another nonce."""
    intent = standing(work.connection, [change.intent_id])[change.intent_id]
    if intent.state in payments.OPEN and intent.item is not None:
        void(work, intent, Proof.BURNED, hold=None, detail="")


def drop_on_timeout(patch: pytest.MonkeyPatch) -> None:
    _on(patch, {Meaning.UNKNOWN}, _drop)


def drop_without_funds(patch: pytest.MonkeyPatch) -> None:
    _on(patch, {Meaning.INSUFFICIENT_FUNDS}, _drop)


def drop_what_is_known(patch: pytest.MonkeyPatch) -> None:
    _on(patch, {Meaning.ALREADY_KNOWN}, _drop)


def new_nonce(patch: pytest.MonkeyPatch) -> None:
    """The Block has one word for a nonce that is too low and one that is too high."""
    _on(patch, {Meaning.NONCE_TOO_LOW, Meaning.NONCE_GAP}, _drop)


def cancel_for_its_fee(patch: pytest.MonkeyPatch) -> None:
    request = statement(
        patch,
        "UPDATE disbursement SET cancel_requested = 'its fee is too low' WHERE live_intent = ? "
        "AND status = 'timelocked' AND cancel_requested IS NULL",
    )
    _on(
        patch,
        {Meaning.FEE_TOO_LOW},
        lambda work, change: work.connection.execute(request, (change.intent_id,)),
    )


def execute_on_admission(patch: pytest.MonkeyPatch) -> None:
    def execute(work: Any, change: Any) -> None:
        fee = "SELECT fee FROM variant WHERE intent_id = ? AND number = ?"
        [(charged,)] = work.connection.execute(fee, (change.intent_id, change.variant)).fetchall()
        seen = Seen(
            account=change.account,
            intent_id=change.intent_id,
            variant=change.variant,
            height=chain_state(work.connection).believed,
            block_hash=BlockHash(""),
            fee_charged=charged,
            evidence=Evidence.HASH,
        )
        payments.seen(work, [seen])

    _on(patch, {Meaning.ACCEPTED}, execute)


def record_first(patch: pytest.MonkeyPatch) -> None:
    """What is recorded as accepted before it leaves is believed afterwards, so that a crash in between loses it."""

    def make(right: Any) -> Any:
        async def send(grip: Any, intents: Any) -> Any:
            rows = [intent for intent in intents if intent.account in grip.held().leases]
            changes = [
                Sent(
                    account=intent.account,
                    intent_id=intent.id,
                    variant=intent.current().number,
                    meaning=Meaning.ACCEPTED,
                )
                for intent in rows
            ]
            await grip.record(changes, grip.mind.at)
            return await right(grip, rows)

        return send

    wrap(patch, perform, "send", make)
    accepted_is_done(patch)


def accepted_is_done(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        submission,
        "due_for_resend",
        (
            "variant.tx_hash is None or variant.sent_at is None",
            "variant.tx_hash is None or variant.sent_at is None or variant.last_meaning is Meaning.ACCEPTED",
        ),
    )


def wait_for_the_clock(patch: pytest.MonkeyPatch) -> None:
    edit(patch, submission, "due_for_resend", ("abs(now - variant.sent_at)", "now - variant.sent_at"))
    reword(patch, view.SQL, "resend_ids", "(i.last_sent_at <= ?3 OR i.last_sent_at > ?5)",
           "i.last_sent_at <= ?3 AND ?5 IS NOT NULL")  # fmt: skip


def spin(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        planner,
        "_waited_for_a_block",
        ("at.unix >= view.chain.risen_at > current.sent_at", "view.chain.risen_at > current.sent_at"),
    )


def send_while_frozen(patch: pytest.MonkeyPatch) -> None:
    edit(patch, planner, "_acting", ("account.state is AccountState.ACTIVE", "True"))
    swap(patch, work, "may_send", lambda _connection, held: frozenset(held.leases))


def hear_people_once(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        def force(self: Any, overrides: Any) -> None:
            if overrides and not hasattr(self, "heard"):
                self.heard = True
                right(self, overrides)

        return force

    wrap(patch, TheBlock, "force", make)


def ignore_the_halt(patch: pytest.MonkeyPatch) -> None:
    edit(patch, Grip, "mine", ("self.held().leases.keys() - self.mind.halted", "self.held().leases.keys()"))


def poison_at_once(patch: pytest.MonkeyPatch) -> None:
    edit(patch, submission, "poisoned", ("intent.refusals >= rules.poison_refusals", "intent.refusals >= 1"))


def never_bump(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, submission, "due_for_bump", lambda _: lambda *_args, **_options: None)
    edit(
        patch,
        planner,
        "_variants",
        ("fee is None and intent.account in refused and intent.sent_at is None", "False"),
    )


BUGS: Final = (
    Bug(
        name="new_nonce_on_too_low",
        rule="R6",
        story='"nonce too low" makes a payment begin anew under another nonce',
        plant=new_nonce,
    ),
    Bug(
        name="dropped_on_timeout",
        rule="R4",
        story="a payment whose reply was lost is given up and begun anew",
        plant=drop_on_timeout,
        world={"often": (("disturb", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="dropped_without_funds",
        rule="R4",
        story='"insufficient funds" on a re-send makes a payment void',
        plant=drop_without_funds,
    ),
    Bug(
        name="dropped_as_duplicate",
        rule="R4",
        story='"already known" is an error, and makes a payment void',
        plant=drop_what_is_known,
        world={"often": (("fault", 12.0), ("ask", 10.0))},
    ),
    Bug(
        name="cancelled_for_its_fee",
        rule="R8",
        story="a payment that is refused for its fee is cancelled",
        plant=cancel_for_its_fee,
        world={"often": (("price", 10.0), ("stubborn", 8.0), ("ask", 10.0))},
    ),
    Bug(
        name="executed_on_admission",
        rule="R4",
        story="what a pool has admitted is executed",
        plant=execute_on_admission,
    ),
    Bug(
        name="recorded_before_sent",
        rule="R4",
        story="a payment is recorded as sent, and then sent",
        plant=record_first,
    ),
    Bug(
        name="accepted_is_done",
        rule="R3",
        story="what a pool accepted once is never sent again",
        plant=accepted_is_done,
    ),
    Bug(
        name="waits_for_the_wall_clock",
        rule="R3",
        story="a wall clock that was set back keeps sent payments from going again until it has caught up",
        plant=wait_for_the_clock,
        world={"often": (("lose_and_set_back", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="ticker_spins",
        rule="R3",
        story="a head that rose in the future, before the wall clock was set back, calls for a re-send in every tick",
        plant=spin,
        world={
            "accounts": 1,
            "executors": 1,
            "alike": True,
            "block_seconds": 3.0,
            "often": (("gap_and_set_back", 10.0),),
        },
    ),
    Bug(
        name="frozen_account_sends",
        rule="R14",
        story="a frozen account goes on sending",
        plant=send_while_frozen,
        world={"often": (("stubborn", 10.0), ("freeze_some", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="tick_ignores_halt",
        rule="R14",
        story="a tick under way goes on sending for an account that its own process was told to halt",
        plant=ignore_the_halt,
        world={"at_home": True, "often": (("freeze_in_its_work", 12.0), ("decide_some", 10.0))},
    ),
    Bug(
        name="one_refusal_is_poison",
        rule="R8",
        story="a payment is replaced after one refusal of its content",
        plant=poison_at_once,
        world={"often": (("fault", 15.0), ("ask", 10.0))},
    ),
    Bug(
        name="people_heard_once",
        rule="§7",
        story="what people say of the breakers through another process is not heard",
        plant=hear_people_once,
    ),
    Bug(
        name="no_fee_bump",
        rule="R6",
        story="what was refused for its fee keeps its price",
        plant=never_bump,
        world={"often": (("price", 8.0), ("ask", 10.0))},
    ),
)
