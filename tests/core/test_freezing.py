"""Tests for which cause stands, where an account is frozen for two."""

from itertools import pairwise

import pytest

from treasuryd.core.freezing import GRAVITY, freezes, graver
from treasuryd.core.model import Account, AccountId, AccountState, FreezeCause


def test_every_cause_has_its_place() -> None:
    """R14: a cause that is added later is put somewhere."""
    assert sorted(GRAVITY) == sorted(FreezeCause)


def test_a_graver_cause_replaces_a_lesser_one_and_never_the_other_way_round() -> None:
    """R14: nor does the same cause replace itself, else each tick would page."""
    for less, more in pairwise(GRAVITY):
        assert graver(more, less)
        assert not graver(less, more)
        assert not graver(less, less)


def test_whatever_is_found_is_graver_than_a_cause_that_nobody_knows() -> None:
    """A store of an older version may hold another word."""
    assert graver(FreezeCause.PERSON, "of another version")


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [
        pytest.param(AccountState.ACTIVE, "", True, id="at first sight"),
        pytest.param(AccountState.FROZEN, "person", True, id="a person knew nothing of it"),
        pytest.param(AccountState.FROZEN, "unexplained_fall", False, id="for its cause already"),
        pytest.param(AccountState.FROZEN, "deep_reorg", False, id="something graver keeps it still"),
        pytest.param(AccountState.QUARANTINED, "restored", True, id="it is frozen once it leaves quarantine"),
    ],
)
def test_a_fall_freezes_what_stands_still_for_less(state: AccountState, cause: str, expected: bool) -> None:
    """R14: the decision of one tick, from what the store says of the account."""
    account = Account(id=AccountId("payer"), state=state, cause=cause)
    assert freezes(account, FreezeCause.UNEXPLAINED_FALL) is expected


def test_what_shows_again_is_not_kept_through_a_quarantine() -> None:
    """A foreign nonce is waited for there, and a wrong chain shows in each tick; the audit tells of a finding once."""
    account = Account(id=AccountId("payer"), state=AccountState.QUARANTINED, cause="taken_up")
    kept = {cause for cause in FreezeCause if freezes(account, cause)}
    assert kept == {
        FreezeCause.DEEP_REORG,
        FreezeCause.UNEXPLAINED_FALL,
        FreezeCause.AUDIT,
        FreezeCause.CONSERVATION,
    }
