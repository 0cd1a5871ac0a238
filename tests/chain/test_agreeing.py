"""What several endpoints agree on: words of headers, accounts and look-ups put together."""

from dataclasses import replace

import pytest

from treasuryd.chain.agreeing import agreed_frame, agreed_header, agreed_sighting
from treasuryd.core.model import (
    Address,
    BaseUnits,
    BlockHash,
    Frame,
    Header,
    Height,
    Holding,
    IntentId,
    Nonce,
    Sighting,
)
from treasuryd.errors import Disputed, Transient

OURS, SINK = Address("ours"), Address("sink")


def header(block: str) -> Header:
    return Header(height=Height(5), block_hash=BlockHash(block))


def frame(
    height: int, nonce: int, balance: int = 100, *, block: str = "", base_fee: int | None = None
) -> Frame:
    return Frame(
        height=Height(height),
        block_hash=BlockHash(block or f"hash-{height}"),
        base_fee=None if base_fee is None else BaseUnits(base_fee),
        holdings={OURS: Holding(balance=BaseUnits(balance), nonce=Nonce(nonce)), SINK: None},
    )


def sighting(height: int | None, *, block: str = "", as_of: int = 50, doubted: bool = False) -> Sighting:
    if height is None:
        return Sighting(intent_id=IntentId(7), as_of=Height(as_of), doubted=doubted)
    return Sighting(
        intent_id=IntentId(7),
        as_of=Height(as_of),
        variant=1,
        height=Height(height),
        block_hash=BlockHash(block or f"hash-{height}"),
        fee_charged=BaseUnits(3),
    )


def test_a_header_needs_two_and_no_second_camp_of_the_same_size() -> None:
    """R9."""
    a, b = header("a"), header("b")
    assert agreed_header([a, None, a], 2) == a
    assert agreed_header([a, a, b], 2) == a
    for column in ([a, b], [a, None], [None, None], [a, a, b, b]):
        assert agreed_header(column, 2) is None


def test_the_word_of_a_single_endpoint_is_all_there_is() -> None:
    """With one endpoint configured it is believed."""
    assert agreed_frame([frame(9, 4)], 1) == frame(9, 4)
    assert not agreed_sighting([sighting(5)], 1, silent=False).doubted


def test_frames_of_one_block_have_to_be_the_same_word_for_word() -> None:
    """Two that are give a frame; one that differs in a count or in a balance gives none."""
    honest = frame(9, 4)
    assert agreed_frame([honest, frame(9, 4)], 2) == honest
    for forged in (frame(9, 5), frame(9, 3), frame(9, 4, 99)):
        with pytest.raises(
            Disputed, match="about ours: at height 9 it holds 100 after nonce 4, at 9 it holds"
        ):
            agreed_frame([honest, forged], 2)
        assert agreed_frame([forged, honest, honest], 2) == honest


def test_an_account_that_is_not_known_holds_nothing() -> None:
    """A node may name an empty account or leave it out: it is the same."""
    empty = {**frame(9, 4).holdings, SINK: Holding(balance=BaseUnits(0), nonce=Nonce(0))}
    one, other = frame(9, 4), replace(frame(9, 4), holdings=empty)
    assert agreed_frame([one, other], 2) == one
    assert agreed_frame([other, one], 2) == other


def test_of_two_at_different_heights_the_lower_one_counts_if_the_higher_one_bears_it_out() -> None:
    """Counts only rise on one chain; a balance may have moved since, which the higher one cannot tell."""
    assert agreed_frame([frame(9, 4), frame(7, 4, 150)], 2).height == 7
    assert agreed_frame([frame(7, 3), frame(9, 4)], 2).height == 7
    with pytest.raises(
        Disputed, match="at height 9 it holds 100 after nonce 4, at 7 it holds 100 after nonce 5"
    ):
        agreed_frame([frame(7, 5), frame(9, 4)], 2)


def test_of_three_the_highest_that_two_bear_out_counts() -> None:
    """One that claims an absurd height, or lags, keeps nobody from the newest reading of the others."""
    assert agreed_frame([frame(5_000, 4), frame(9, 4), frame(9, 4)], 2).height == 9
    assert agreed_frame([frame(3, 1), frame(9, 4), frame(9, 4)], 2).height == 9
    assert agreed_frame([frame(3, 1), frame(8, 4), frame(9, 4)], 2).height == 8


def test_two_blocks_at_one_height_are_a_fork_and_no_dispute_about_an_account() -> None:
    """The heads tell of it already."""
    with pytest.raises(Transient, match="blocks a and b at height 9") as caught:
        agreed_frame([frame(9, 4, block="a"), frame(9, 4, block="b")], 2)
    assert not isinstance(caught.value, Disputed)


def test_of_the_same_block_the_one_with_a_base_fee_is_given() -> None:
    """§5.1: without it a verdict by balances has to wait."""
    assert agreed_frame([frame(9, 4), frame(9, 4, base_fee=2)], 2).base_fee == 2


def test_a_block_that_too_few_name_is_doubted() -> None:
    """R9: one alone, or one each; two that say the same are enough against a third."""
    for said in ([sighting(5)], [sighting(5), sighting(None)], [sighting(5), sighting(6)]):
        found = agreed_sighting(said, 2, silent=False)
        assert (found.variant, found.height, found.doubted) == (1, 5, True)
    found = agreed_sighting([sighting(5, block="other"), sighting(5), sighting(5)], 2, silent=True)
    assert (found.block_hash, found.doubted) == ("hash-5", False)
    dearer = replace(sighting(5), fee_charged=BaseUnits(4))
    assert agreed_sighting([sighting(5), dearer], 2, silent=False).doubted


def test_what_nobody_finds_is_doubted_while_one_is_silent_or_unsure() -> None:
    """R5: the newest answer counts, and any endpoint may still know it."""
    said = [sighting(None, as_of=40), sighting(None, as_of=50)]
    assert agreed_sighting(said, 2, silent=False) == sighting(None, as_of=50)
    assert agreed_sighting(said, 2, silent=True).doubted
    assert agreed_sighting([sighting(None), sighting(None, doubted=True)], 2, silent=False).doubted
