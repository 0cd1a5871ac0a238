"""Bugs of what the chain is taken to prove (protocol.md §5.1, R5, R9, R14)."""

from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, reword, swap, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.core import by_hash, confirmation, reorgs, settling
from treasuryd.core import evidence as weighing
from treasuryd.core.changes import Burned
from treasuryd.core.lifecycle import INTENT, Fact
from treasuryd.core.model import Evidence, FreezeCause, State, VariantKind
from treasuryd.store import accounts, desk_control, items, payments


def void_what_is_not_found(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        by_hash,
        "_burn",
        ("intent.nonce > burned", "False"),
        ("frame = _may_have_paid(case, intent)", "frame = None"),
    )


def let_a_deposit_hide_it(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        by_hash,
        "_may_have_paid",
        ("0 <= 2 * (before - after) <= intent.amount", "2 * (before - after) <= intent.amount"),
    )


def void_what_is_staged(patch: pytest.MonkeyPatch) -> None:
    """The arrow from staged to void by a consumed nonce, which the table does not have."""
    patch.setitem(INTENT, State.STAGED, {**INTENT[State.STAGED], Fact.BURNED: State.VOID})

    def make(right: Any) -> Any:
        def settle(case: Any) -> Any:
            found = right(case)
            burned = [
                Burned(account=intent.account, intent_id=intent.id, detail="its nonce is consumed")
                for intent in found.ask_signer
            ]
            found.changes += burned
            found.ask_signer = []
            return found

        return settle

    wrap(patch, confirmation, "_settle_one", make)


def by_the_nonce_alone(patch: pytest.MonkeyPatch) -> None:
    def judge(span: Any, _rules: Any, _rule: Any) -> Any:
        placed = []
        for intent in span.consumed:
            sealed = [one for one in intent.variants if one.tx_hash and one.kind is VariantKind.PAYMENT]
            placed.append(
                weighing.Placed(
                    intent=intent, variant=sealed[-1], fee_charged=sealed[-1].fee, evidence=Evidence.BALANCE
                )
            )
        return weighing.Judgement(placed=tuple(placed))

    swap(patch, weighing, "judge", judge)


def by_our_balance_alone(patch: pytest.MonkeyPatch) -> None:
    swap(patch, weighing, "_destinations_rose", lambda *_: True)
    swap(patch, weighing, "_cancels_show", lambda *_: True)


def part_of_the_rise(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        weighing,
        "_unpaid",
        (
            "rise is not None and rise < spend.intent.amount and (not _moved(span, destination))",
            "rise is not None and rise - _paid(way).get(destination, 0) < spend.intent.amount",
        ),
    )


def final_at_sight(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        settling.Shared,
        "final",
        ("min(self.at.believed, lowest, self.frame.height) - self.rules.finality_depth", "self.frame.height"),
    )


def keep_the_verdict(patch: pytest.MonkeyPatch) -> None:
    swap(patch, payments, "_withdraw", lambda *_: None)


def keep_the_ambiguous(patch: pytest.MonkeyPatch) -> None:
    found = "(a.second_height > ?2 OR i.nonce > ?3)"
    reword(patch, items.SQL, "rewound_ambiguous", found, "a.second_height > ?2 AND i.nonce > ?3 AND 0")


def lag_is_a_reorg(patch: pytest.MonkeyPatch) -> None:
    swap(patch, reorgs, "changed", lambda height, block, headers: not reorgs.stands(height, block, headers))


def bury_what_is_contradicted(patch: pytest.MonkeyPatch) -> None:
    edit(patch, confirmation, "_settle_one", ("and (not _contradicted(case))", ""))


def overlook_strangers(patch: pytest.MonkeyPatch) -> None:
    """Two guards, each of which would do for most strangers: what the tick finds, and the count that is stored."""
    swap(patch, settling, "freeze", lambda *_args, **_options: None)
    swap(patch, accounts, "freeze_unknown_counts", lambda *_: None)


def overlook_the_thawed(patch: pytest.MonkeyPatch) -> None:
    swap(patch, accounts, "freeze_unknown_counts", lambda *_: None)


def freeze_in_memory(patch: pytest.MonkeyPatch) -> None:
    reword(patch, items.SQL, "freeze", "state = 'frozen'", "state = state")


def freeze_for_dust(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        def account_for(case: Any, baseline: Any, left: int, found: Any, *, explained: bool) -> None:
            if left > 0:
                settling.freeze(case, FreezeCause.UNEXPLAINED_FALL, "the balance moved", found)
            right(case, baseline, left, found, explained=explained)

        return account_for

    wrap(patch, settling, "account_for", make)


def thaw_at_once(patch: pytest.MonkeyPatch) -> None:
    edit(patch, desk_control, "thaw", ("foreign is not None and burned < foreign <= shown", "False"))


def thaw_above_one(patch: pytest.MonkeyPatch) -> None:
    edit(patch, desk_control, "thaw", ("above is not None and above <= shown", "False"))


def adopt_twice(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        accounts,
        "adopt",
        ("set_baseline(work, change.account, change.baseline, drop_above=True)",
         "set_baseline(work, change.account, change.baseline)"),
        ("work.connection.execute(SQL['drop_frames_below'], (change.account, change.baseline.height))", "pass"),
    )  # fmt: skip


def believe_any_index(patch: pytest.MonkeyPatch) -> None:
    edit(patch, by_hash, "_sight", ("sighting.as_of >= frame.height and shared.sure", "True"))


def look_up_what_is_recorded(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        confirmation,
        "asks",
        ("intent.state in {State.SIGNED, State.BROADCAST}", "intent.state is State.BROADCAST"),
    )


BUGS: Final = (
    Bug(
        name="void_on_not_found",
        rule="R5",
        story='"not found" makes a payment void',
        plant=void_what_is_not_found,
        world={"kind": Evidence.HASH, "often": (("forget_what_was_mined", 10.0),)},
    ),
    Bug(
        name="deposit_hides_a_payment",
        rule="R5",
        story="a deposit in the interval of a payment that no look-up knows makes it void",
        plant=let_a_deposit_hide_it,
        world={"kind": Evidence.HASH, "often": (("hide", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="staged_void_by_consumed_nonce",
        rule="R5",
        story="a staged row whose nonce is consumed is void",
        plant=void_what_is_staged,
        world={"thieves": True, "often": (("crash_at_sealing", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="inclusion_by_nonce_alone",
        rule="§5.1",
        story="without look-up a consumed nonce means that its payment was made",
        plant=by_the_nonce_alone,
    ),
    Bug(
        name="inclusion_by_our_balance_alone",
        rule="§5.1",
        story="without look-up our fall alone decides, whoever got it",
        plant=by_our_balance_alone,
        world={
            "kind": Evidence.BALANCE,
            "thieves": True,
            "often": (("steal_the_amount", 15.0), ("ask", 15.0)),
        },
    ),
    Bug(
        name="cancel_by_part_of_the_rise",
        rule="§5.1",
        story="of a destination's rise only what no other payment explains speaks against a cancel",
        plant=part_of_the_rise,
        world={
            "kind": Evidence.BALANCE,
            "accounts": 1,
            "alike": True,
            "max_unburned": 16,
            "block_seconds": 3.0,
            "often": (("rob_the_one_before", 12.0),),
        },
    ),
    Bug(
        name="final_at_first_sight",
        rule="R9",
        story="what is in a block is final",
        plant=final_at_sight,
    ),
    Bug(
        name="verdict_kept_after_a_reorg",
        rule="R9",
        story="a reorg takes no verdict back",
        plant=keep_the_verdict,
    ),
    Bug(
        name="ambiguous_kept_after_a_reorg",
        rule="R9",
        story="what was ambiguous and left the chain stays ambiguous",
        plant=keep_the_ambiguous,
        world={"kind": Evidence.BALANCE, "often": (("pay_in", 15.0), ("reorganise", 15.0), ("ask", 10.0))},
    ),
    Bug(
        name="lag_taken_for_a_reorg",
        rule="R9",
        story="a header that is not there counts as changed",
        plant=lag_is_a_reorg,
        world={"often": (("bend", 12.0), ("reorganise", 0.0), ("fault", 0.0))},
    ),
    Bug(
        name="final_while_contradicted",
        rule="R9",
        story="blocks become final while an endpoint contradicts itself",
        plant=bury_what_is_contradicted,
        world={"kind": Evidence.BALANCE, "accounts": 1, "alike": True, "often": (("boast", 10.0),)},
    ),
    Bug(
        name="strangers_overlooked",
        rule="R14",
        story="a foreign movement freezes nothing",
        plant=overlook_strangers,
        world={"thieves": True, "often": (("steal", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="thawed_meanwhile_overlooked",
        rule="R14",
        story="a count above ours that a tick saw while the account was frozen freezes it no more once it was thawed",
        plant=overlook_the_thawed,
        world={"thieves": True, "accounts": 1, "executors": 1, "often": (("steal_again", 10.0),)},
    ),
    Bug(
        name="freeze_not_stored",
        rule="R14",
        story="a freeze is told and not stored",
        plant=freeze_in_memory,
    ),
    Bug(
        name="dust_freezes",
        rule="R14",
        story="a deposit that nobody announced freezes the account",
        plant=freeze_for_dust,
    ),
    Bug(
        name="thawed_at_once",
        rule="R14",
        story="a person may thaw while a foreign nonce can still leave the chain",
        plant=thaw_at_once,
        world={
            "thieves": True,
            "follows": True,
            "block_seconds": 1.2,
            "often": (("steal", 10.0), ("decide_some", 20.0)),
        },
    ),
    Bug(
        name="thawed_above_one",
        rule="R14",
        story="thawing waits for the highest foreign nonce alone, which may have left the chain",
        plant=thaw_above_one,
        world={"thieves": True, "accounts": 1, "often": (("steal_two", 10.0),)},
    ),
    Bug(
        name="adopted_over_old_frames",
        rule="R9",
        story="an adopted account keeps the frames from before, and accounts for their blocks twice",
        plant=adopt_twice,
        world={"thieves": True, "often": (("steal", 10.0), ("reorganise", 10.0), ("decide_some", 12.0))},
    ),
    Bug(
        name="old_answers_count",
        rule="R5",
        story='a look-up that is older than the frame is believed when it says "not found"',
        plant=believe_any_index,
        world={"kind": Evidence.HASH, "accounts": 1, "often": (("lag_at_the_lookup", 10.0),)},
    ),
    Bug(
        name="only_recorded_looked_up",
        rule="R4",
        story="what was not recorded as sent is not looked for on the chain",
        plant=look_up_what_is_recorded,
        world={"kind": Evidence.HASH, "often": (("crash_at_recording", 12.0), ("ask", 12.0))},
    ),
)
