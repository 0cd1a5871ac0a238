"""What shows that a store is an old one, and what keeps an account in quarantine."""

from dataclasses import replace
from typing import Any

import pytest

from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    DisbursementId,
    Height,
    IntentId,
    Marks,
    Nonce,
    Term,
)
from treasuryd.core.restore import (
    Dispute,
    Past,
    Sign,
    Standing,
    Witness,
    hold_all,
    next_nonce,
    open_points,
    reasons,
    resends,
    untouched,
)

PAYER = AccountId("treasury")
PAST = Past(
    lineage="now",
    former=frozenset({"before"}),
    heads={"account:treasury": (9, "h9")},
    unknown=(),
    high_water={PAYER: Nonce(7)},
    terms={PAYER: Term(3)},
    last_disbursement=DisbursementId(12),
)
EVEN = Marks(nonce=Nonce(7), disbursement_id=DisbursementId(12), term=Term(3))
TWO = Dispute(intent_id=IntentId(3), nonce=Nonce(8), item=None, detail="nonce 8 is two things")
DONE = Standing(
    account=PAYER,
    taken_up=True,
    kill_switch=False,
    mark=Nonce(9),
    signer_lost=False,
    open=(),
    included=None,
    ambiguous=(),
    unknown=(),
    contradictions=(),
    read=Height(70),
    consumed=Nonce(9),
    burned=Nonce(8),
    settled=Height(68),
    believed=Height(80),
    finality_depth=12,
)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        pytest.param(EVEN, [], id="the signer knows as much: the same history"),
        pytest.param(Marks(), [], id="less: the signer lost its memory, the store is not old"),
        pytest.param(replace(EVEN, nonce=Nonce(8)), [Sign.SIGNER_NONCE], id="a nonce more"),
        pytest.param(
            replace(EVEN, disbursement_id=DisbursementId(13)), [Sign.SIGNER_DISBURSEMENT], id="an item more"
        ),
        pytest.param(replace(EVEN, term=Term(4)), [Sign.SIGNER_TERM], id="another store claimed"),
    ],
)
def test_a_signer_that_knows_more_shows_an_old_store(marks: Marks, expected: list[Sign]) -> None:
    """Everything that it knows was durable in the store before."""
    assert expected == [one.sign for one in reasons(PAST, {PAYER: marks}, {})]


def test_accounts_of_other_stores_say_nothing_of_this_one() -> None:
    """One ledger may know more accounts than one store."""
    other = AccountId("other")
    told = {other: Witness(lineage="theirs")}
    assert reasons(PAST, {other: Marks(nonce=Nonce(99), disbursement_id=DisbursementId(99))}, told) == []


@pytest.mark.parametrize(
    ("lineage", "expected"), [("now", []), ("before", []), ("another", [Sign.SIGNER_WITNESS])]
)
def test_a_signer_that_serves_another_store_is_noticed(lineage: str, expected: list[Sign]) -> None:
    """A former lineage is this store's own, from before a restore was confirmed."""
    assert expected == [one.sign for one in reasons(PAST, {}, {PAYER: Witness(lineage=lineage)})]


def test_a_head_that_the_store_does_not_hold_shows_an_old_store() -> None:
    """Nothing has to have been signed since."""
    [found] = reasons(replace(PAST, unknown=("people",)), {}, {})
    assert found.sign is Sign.SIGNER_WITNESS
    assert "people" in found.detail


def test_items_are_held_unless_nothing_of_the_past_is_missing() -> None:
    """A replayed journal and a moved file leave nothing unknown."""
    complete = {Sign.JOURNAL_REPLAYED, Sign.MOVED}
    assert not hold_all(complete)
    for sign in set(Sign) - complete:
        assert hold_all({sign, Sign.MOVED}), sign


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, "", id="nothing is open"),
        pytest.param({"taken_up": False}, "not been taken up", id="not repaired"),
        pytest.param({"signer_lost": True}, "treasuryd signer import treasury", id="the signer forgot"),
        pytest.param(
            {"unknown": (Nonce(9),), "consumed": Nonce(8)}, "quarantine fill treasury", id="lost bytes"
        ),
        pytest.param(
            {"unknown": (Nonce(9),)},
            "nonce 9 used, which nobody here knows",
            id="lost bytes, or a stranger's",
        ),
        pytest.param({"open": (Nonce(9),)}, "not in a block yet: the nonces 9 (sent again)", id="open"),
        pytest.param(
            {"open": (Nonce(9),), "kill_switch": True},
            "treasuryd breaker reset",
            id="open, nothing may leave",
        ),
        pytest.param({"ambiguous": (DisbursementId(4),)}, "treasuryd resolve 4 --paid", id="ambiguous"),
        pytest.param({"included": Height(75)}, "in 7 blocks", id="not final"),
        pytest.param({"read": None}, "has not been read", id="the chain was never read"),
        pytest.param({"read": Height(67)}, "last read at height 67", id="the backup's reading"),
        pytest.param({"consumed": Nonce(10)}, "nonce 10 used, which nobody here knows", id="a stranger's"),
        pytest.param({"consumed": Nonce(10), "burned": Nonce(10)}, "", id="a stranger's, final"),
        pytest.param(
            {"contradictions": (TWO,)}, "two things: find the store that belongs", id="two histories"
        ),
        pytest.param(
            {"contradictions": (TWO,)}, "resolve treasury --give-up", id="two histories, what to do"
        ),
        pytest.param(
            {"contradictions": (replace(TWO, nonce=Nonce(9)),)},
            "nonce 9 is not final",
            id="two histories, open",
        ),
    ],
)
def test_each_open_point_names_what_to_do(change: dict[str, Any], expected: str) -> None:
    """The refusal of `resolve` and `quarantine show` say the same."""
    points = open_points(replace(DONE, **change))
    assert len(points) == (1 if expected else 0)
    assert expected in "".join(points)


def test_another_store_is_given_up_once_what_it_signed_is_final() -> None:
    """A person's word alone ends it, and never while its bytes may be out; what else is open stays open."""
    assert len(open_points(replace(DONE, contradictions=(TWO,)))) == 1
    assert open_points(replace(DONE, contradictions=(TWO,)), give_up=True) == []
    early = replace(TWO, nonce=Nonce(9))
    (point,) = open_points(replace(DONE, contradictions=(TWO, early)), give_up=True)
    assert "nonce 9 is not final" in point
    assert len(open_points(replace(DONE, contradictions=(TWO,), open=(Nonce(9),)), give_up=True)) == 1


def test_nothing_is_filled_that_the_signer_may_know() -> None:
    """§8.4: what it bound is adopted first."""
    free = replace(DONE, unknown=(Nonce(9), Nonce(10)), mark=Nonce(10))
    assert free.to_fill == (10,)
    assert replace(free, taken_up=False).to_fill == ()


def test_what_the_chain_shows_used_is_waited_for_and_not_filled() -> None:
    """R14: nothing is signed under a consumed nonce; a filler there would keep the account in quarantine for ever."""
    now = replace(DONE, mark=Nonce(12), consumed=Nonce(10), unknown=tuple(map(Nonce, (9, 10, 11, 12))))
    assert (now.to_fill, now.used) == ((11, 12), 10)
    fill, wait = open_points(now)
    assert "the nonces 11 12:" in fill
    assert "nonce 10 used" in wait


def test_long_lists_are_cut() -> None:
    """Twenty are enough for a person to begin with."""
    [point] = open_points(replace(DONE, open=tuple(Nonce(one) for one in range(1, 31))))
    assert "20 and 10 more" in point


def test_numbering_goes_on_above_everything_known() -> None:
    """Signer, journal and chain (§8.6)."""
    assert next_nonce(DONE) == 10
    assert next_nonce(replace(DONE, consumed=Nonce(14))) == 15


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [
        (AccountState.ACTIVE, "", (False, False)),
        (AccountState.FROZEN, "taken_up", (False, False)),
        (AccountState.QUARANTINED, "restored", (True, False)),
        (AccountState.QUARANTINED, "taken_up", (False, True)),
    ],
)
def test_adopted_bytes_leave_only_once_they_were_adopted(
    state: AccountState, cause: str, expected: tuple[bool, bool]
) -> None:
    """Before that nothing is concluded and nothing is sent."""
    account = Account(id=PAYER, state=state, cause=cause)
    assert (untouched(account), resends(account)) == expected
