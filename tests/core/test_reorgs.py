from dataclasses import replace

from tests.core.chainlab import DEPTH, TREASURY, frame

from treasuryd.core import reorgs
from treasuryd.core.model import (
    Account,
    Address,
    BaseUnits,
    BlockHash,
    Frame,
    Header,
    Height,
    Holding,
    IncludedBlock,
    Nonce,
)

OWN = Address(TREASURY)


def reading(height: int, nonce: int = 0, *, fork: int = 0) -> Frame:
    return frame(height, {TREASURY: (100 + height, nonce)}, fork=fork)


def account(*heights: int) -> Account:
    frames = [reading(height, nonce) for nonce, height in enumerate(heights)]
    return Account(id=TREASURY, next_nonce=Nonce(1), baseline=frames[-1], kept=tuple(frames[:-1]))


def headers(*, fork: int, changed_from: int, upto: int) -> dict[Height, Header | None]:
    """A chain that was replaced from a height on."""
    return {
        Height(at): Header(
            height=Height(at), block_hash=BlockHash(f"{fork if at >= changed_from else 0}:{at}")
        )
        for at in range(1, upto + 1)
    }


def block(height: int) -> IncludedBlock:
    return IncludedBlock(
        account=TREASURY, height=Height(height), block_hash=BlockHash(f"0:{height}"), count=1
    )


def test_unchanged_and_missing_headers_are_no_reorg() -> None:
    """R9: a lagging node knows no header at our height; that is not another header."""
    one = account(4, 6, 8)
    assert reorgs.find(one, [block(7)], {}, reading(9), depth=DEPTH) is None
    same = headers(fork=0, changed_from=99, upto=9)
    assert reorgs.find(one, [block(7)], same, reading(9), depth=DEPTH) is None
    assert reorgs.find(replace(one, baseline=None, kept=()), [block(7)], {}, reading(9), depth=DEPTH) is None


def test_the_baseline_goes_back_to_the_newest_frame_that_stands() -> None:
    """R9: kept frames above the fork are worthless, the newest below it is the ground to stand on."""
    found = reorgs.find(
        account(4, 6, 8), [], headers(fork=1, changed_from=7, upto=9), reading(9), depth=DEPTH
    )
    assert found is not None
    assert (found.lowest, found.deep) == (8, False)
    assert found.to is not None
    assert found.to.height == 6


def test_a_changed_block_between_two_frames_takes_the_baseline_below_it() -> None:
    """R9: a sighting is bound to the header at its height."""
    found = reorgs.find(
        account(4, 6, 8), [block(5)], headers(fork=1, changed_from=5, upto=9), reading(9), depth=9
    )
    assert found is not None
    assert found.to is not None
    assert (found.lowest, found.to.height) == (5, 4)


def test_where_the_ground_is_not_known_nothing_is_taken_back_yet() -> None:
    """R9: below the fork stands a frame whose header cannot be read just now."""
    partly = headers(fork=1, changed_from=8, upto=9)
    partly[Height(6)] = None
    del partly[Height(4)]
    found = reorgs.find(account(4, 6, 8), [], partly, reading(9), depth=DEPTH)
    assert found is not None
    assert found.to is None


def test_depth_is_counted_from_how_far_we_had_read() -> None:
    """R9: the tip replaced while nobody looked is an ordinary reorg, however far the chain has grown since."""
    long_after = headers(fork=1, changed_from=8, upto=4_000)
    found = reorgs.find(account(4, 6, 8), [], long_after, reading(4_000), depth=DEPTH)
    assert found is not None
    assert not found.deep
    deep = reorgs.find(
        account(4, 6, 8), [block(5)], headers(fork=1, changed_from=5, upto=9), reading(9), depth=DEPTH
    )
    assert deep is not None
    assert deep.deep


def test_a_young_account_whose_first_reading_is_gone_starts_from_what_is_certain() -> None:
    """Adopted above the fork: its own count and balance stay, no destination does, and no fee bound."""
    replaced = headers(fork=1, changed_from=3, upto=9)
    found = reorgs.find(account(4, 6), [], replaced, reading(7, 5), depth=DEPTH)
    assert found is not None
    assert found.to == Frame(
        height=Height(4),
        block_hash=BlockHash("1:4"),
        base_fee=None,
        holdings={OWN: reading(4).holdings[OWN]},
    )
    kept = account(4, 6)
    assert kept.baseline is not None
    fell = reorgs.find(replace(kept, kept=(reading(4, 3),)), [], replaced, reading(7, 1), depth=DEPTH)
    assert fell is not None
    assert fell.to is not None
    assert fell.to.holdings == {OWN: reading(7, 1).holdings[OWN]}


def test_a_block_below_the_first_reading_takes_the_ground_below_itself() -> None:
    """A look-up may name a block older than our first frame: what it held is withdrawn too."""
    found = reorgs.find(
        account(4), [block(3)], headers(fork=1, changed_from=3, upto=9), reading(9), depth=DEPTH
    )
    assert found is not None
    assert found.to is not None
    assert (found.to.height, found.to.block_hash) == (2, "0:2")
    blind = {Height(3): Header(height=Height(3), block_hash=BlockHash("1:3"))}
    unknown = reorgs.find(account(4), [block(3)], blind, reading(9), depth=DEPTH)
    assert unknown is not None
    assert unknown.to is not None
    assert unknown.to.block_hash == ""
    assert reorgs.stands(unknown.to.height, unknown.to.block_hash, blind), (
        "an unnamed ground is not questioned again"
    )


def test_below_the_first_block_nothing_can_change() -> None:
    """R9: that ground stands always; the first block has to be known like any other."""
    assert reorgs.stands(Height(0), BlockHash("x"), {})
    assert not reorgs.stands(Height(1), BlockHash("x"), {})
    first = reorgs.find(
        account(4), [block(1)], headers(fork=1, changed_from=1, upto=9), reading(9), depth=DEPTH
    )
    assert first is not None
    assert first.to is not None
    assert first.to.height == 0


def test_the_ground_keeps_the_older_balance_while_the_count_did_not_fall() -> None:
    """R9: what happened since the first reading is withdrawn and told anew."""
    found = reorgs.find(
        account(4, 6), [], headers(fork=1, changed_from=3, upto=9), reading(7, 0), depth=DEPTH
    )
    assert found is not None
    assert found.to is not None
    assert found.to.holdings == {OWN: reading(4).holdings[OWN]}


def test_only_frames_at_depth_that_stand_say_what_is_burned() -> None:
    """R5 a: consumed is not burned; the newest frame at finality depth tells."""
    one = account(4, 6, 8)  # nonces 0, 1, 2
    known = headers(fork=0, changed_from=99, upto=9)
    assert reorgs.burned_count(one, known, at_or_below=3) == 0
    assert reorgs.burned_count(one, known, at_or_below=6) == 1
    assert reorgs.burned_count(one, {}, at_or_below=6) == 0
    assert reorgs.burned_count(one, known, at_or_below=9) == 2


def test_the_newest_frame_at_depth_and_all_above_it_are_kept() -> None:
    """protocol.md §1: kept are the frames of the last k blocks and the newest one below them."""
    heights = [Height(height) for height in (2, 4, 6, 8)]
    assert reorgs.keep_from(heights, at_or_below=5) == 4
    assert reorgs.keep_from(heights, at_or_below=1) == 2
    assert Holding(balance=reorgs.NOBODY.balance, nonce=Nonce(0)) == reorgs.NOBODY


def test_bare_ground_lies_below_all_that_was_read_and_knows_the_account_alone() -> None:
    """R2: counted anew, as this tick's frame shows it; its block is not known."""
    now = frame(9, {TREASURY: (50, 2), "tb1alice": (1, 0)})
    assert reorgs.bare_ground(account(4, 6, 8), now) == Frame(
        height=Height(3),
        block_hash=BlockHash(""),
        base_fee=None,
        holdings={OWN: Holding(balance=BaseUnits(50), nonce=Nonce(2))},
    )
    assert reorgs.bare_ground(account(0), frame(9, {})).height == 0
    assert reorgs.bare_ground(account(4), frame(9, {})).holdings == {OWN: None}
