"""What several endpoints agree on: words of headers, accounts and look-ups put together."""

from dataclasses import replace
from itertools import permutations

import pytest

from treasuryd.chain.agreeing import REMEMBERED, Shown, agreed_frame, agreed_header, agreed_sighting
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
from treasuryd.errors import Disputed

OURS, SINK = Address("ours"), Address("sink")


def header(block: str) -> Header:
    return Header(height=Height(5), block_hash=BlockHash(block))


def frame(height: int, nonce: int, balance: int = 100, *, block: str = "") -> Frame:
    return Frame(
        height=Height(height),
        block_hash=BlockHash(block or f"hash-{height}"),
        base_fee=None,
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
    assert not agreed_sighting([sighting(5)], 1, silent=False).doubted


def shown(*frames: Frame) -> Shown:
    """What an endpoint shows that was read in this sequence."""
    found = Shown(now=frames[0])
    for one in frames[1:]:
        found = found.then(one)
    return found


def test_frames_of_one_block_have_to_be_the_same_word_for_word() -> None:
    """Of two that differ in a count or in a balance there is none; of three the odd one is left out, wherever it stands."""
    honest = shown(frame(9, 4))
    assert agreed_frame([honest, honest]) == frame(9, 4)
    for forged in (frame(9, 5), frame(9, 3), frame(9, 4, 99)):
        with pytest.raises(
            Disputed, match="about ours: at height 9 it holds 100 after nonce 4, at 9 it holds"
        ):
            agreed_frame([honest, shown(forged)])
        for place in range(3):
            said = [honest, honest]
            said.insert(place, shown(forged))
            assert agreed_frame(said) == frame(9, 4)


def test_four_in_two_camps_agree_on_nothing() -> None:
    """As of headers."""
    camps = [shown(frame(9, 4)), shown(frame(9, 4)), shown(frame(9, 5)), shown(frame(9, 5))]
    with pytest.raises(Disputed):
        agreed_frame(camps)


def test_an_account_that_is_not_known_holds_nothing() -> None:
    """A node may name an empty account or leave it out: it is the same. What one alone was asked for is not compared."""
    empty = {**frame(9, 4).holdings, SINK: Holding(balance=BaseUnits(0), nonce=Nonce(0))}
    one, other = frame(9, 4), replace(frame(9, 4), holdings=empty)
    assert agreed_frame([shown(one), shown(other)]) == one
    assert agreed_frame([shown(other), shown(one)]) == other
    alone = replace(frame(8, 4), holdings={OURS: frame(8, 4).holdings[OURS]})
    assert agreed_frame([shown(alone), shown(one)]) == alone


def test_one_that_lags_contradicts_nothing_that_it_has_not_reached() -> None:
    """The newest frame of the first one counts, be it ahead or behind: counts only rise on one chain."""
    assert agreed_frame([shown(frame(9, 4)), shown(frame(7, 3, 150))]).height == 9
    assert agreed_frame([shown(frame(7, 3, 150)), shown(frame(9, 4))]).height == 7
    assert agreed_frame([shown(frame(5_000, 4)), shown(frame(9, 4))]).height == 5_000
    with pytest.raises(
        Disputed, match="at height 7 it holds 100 after nonce 5, at 9 it holds 100 after nonce 4"
    ):
        agreed_frame([shown(frame(7, 5)), shown(frame(9, 4))])
    with pytest.raises(Disputed):
        agreed_frame([shown(frame(9, 4)), shown(frame(7, 5))])


def test_what_was_said_ahead_of_another_is_held_against_it_when_that_one_gets_there() -> None:
    """R9: by k blocks after a forged count, or at once after a forged balance, the other one has been there, too."""
    liar = shown(frame(7, 5), frame(8, 5), frame(9, 5))
    assert agreed_frame([liar, shown(frame(6, 4))]).height == 9
    with pytest.raises(
        Disputed, match="at height 7 it holds 100 after nonce 5, at 7 it holds 100 after nonce 4"
    ):
        agreed_frame([liar, shown(frame(7, 4))])
    with pytest.raises(Disputed):
        agreed_frame([shown(frame(7, 4, 1), frame(8, 4), frame(9, 4)), shown(frame(7, 4), frame(9, 4))])
    assert agreed_frame([liar, shown(frame(7, 5)), shown(frame(7, 4))]).height == 9


def test_what_an_endpoint_takes_back_itself_is_not_held_against_it() -> None:
    """After a reorg its counts are lower, or its blocks others; where it lags for a while it takes nothing back."""
    other = shown(frame(8, 4))
    assert agreed_frame([shown(frame(7, 5), frame(8, 4)), other]).height == 8
    assert agreed_frame([shown(frame(8, 4, 99), frame(8, 4)), other]).height == 8
    with pytest.raises(Disputed):
        agreed_frame([shown(frame(8, 5), frame(6, 4)), other])


def test_only_so_many_readings_are_remembered() -> None:
    """A bound: what is older was told and paged long ago."""
    long = shown(*(frame(height, 4) for height in range(1, REMEMBERED + 9)))
    assert [one.height for one in long.before] == list(range(8, REMEMBERED + 8))


def test_two_blocks_at_one_height_are_a_fork_and_no_dispute_about_an_account() -> None:
    """The heads tell of it, and headers have to agree before anything is judged."""
    said = [shown(frame(9, 4, block="a")), shown(frame(9, 3, block="b"))]
    assert agreed_frame(said).block_hash == "a"


def test_of_three_the_one_that_nobody_contradicts_comes_first() -> None:
    """A liar beside the lower honest one, which contradicts it: the higher honest one's frame is given."""
    liar, high, low = shown(frame(8, 4, 1)), shown(frame(9, 4)), shown(frame(8, 4))
    for said in permutations([liar, high, low]):
        assert agreed_frame(said) in (high.now, low.now)
    assert agreed_frame([liar, high, low]) == high.now


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
