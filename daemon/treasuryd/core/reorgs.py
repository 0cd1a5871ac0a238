"""
Is what we relied on still on the chain, and where does a baseline go back to? (protocol.md R9)

A header that changed at a kept height is a reorg. One that is merely not there is lag, and says nothing: an endpoint
that fell behind, or endpoints that disagree.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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

Headers = Mapping[Height, Header | None]
"""What the chain has now at each height that was asked for; None where that is not known."""

NOBODY: Final = Holding(balance=BaseUnits(0), nonce=Nonce(0))  # what an absent address holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorg:
    """
    A kept header changed. `to` is the frame that the baseline returns to, None while that cannot be known yet.

    `deep` says that it reaches the finality depth or deeper, as far as we had read the chain; `lowest` is the lowest
    height seen to have changed.
    """

    lowest: Height
    deep: bool
    to: Frame | None


def frames_of(account: Account) -> tuple[Frame, ...]:
    """List an account's kept frames and its baseline, oldest first."""
    return account.kept if account.baseline is None else (*account.kept, account.baseline)


def stands(height: Height, block_hash: BlockHash, headers: Headers) -> bool:
    """Whether a block is known to be on the chain now; the ground below the first block always is."""
    if height == 0 or not block_hash:
        return True
    header = headers.get(height)
    return header is not None and header.block_hash == block_hash


def changed(height: Height, block_hash: BlockHash, headers: Headers) -> bool:
    """Whether another block is known to stand at that height now."""
    return headers.get(height) is not None and not stands(height, block_hash, headers)


def find(
    account: Account, blocks: Iterable[IncludedBlock], headers: Headers, frame: Frame, *, depth: int
) -> Reorg | None:
    """
    Say whether the chain left what this account relied on, and how far back it has to go.

    Args: the blocks that hold its included intents; the frame of this tick; depth is the finality depth (blocks).
    Guarantees: the depth is counted from the baseline, which is how far this account had read; so a block that was
        replaced at the tip while nobody looked is an ordinary reorg, however long ago it was.
    """
    if account.baseline is None:
        return None
    frames = frames_of(account)
    gone = [kept.height for kept in frames if changed(kept.height, kept.block_hash, headers)]
    gone += [block.height for block in blocks if changed(block.height, block.block_hash, headers)]
    if not gone:
        return None
    lowest = min(gone)
    below = [kept for kept in frames if kept.height < lowest]
    standing = [kept for kept in below if stands(kept.height, kept.block_hash, headers)]
    if standing:
        to: Frame | None = standing[-1]
    else:
        to = None if below else _ground(account, lowest, frame, headers)
    return Reorg(lowest=lowest, deep=account.baseline.height - lowest >= depth, to=to)


def _ground(account: Account, lowest: Height, frame: Frame, headers: Headers) -> Frame:
    """
    Make a baseline out of what is still certain when no kept frame is on the chain any more.

    It knows the account alone: destinations are read anew, and what is consumed before that is ambiguous where there
    is no look-up. Its height is the oldest frame's, so that whatever happened after our first reading is withdrawn.
    """
    oldest = frames_of(account)[0]
    height = oldest.height if lowest >= oldest.height else Height(max(0, lowest - 1))
    header = headers.get(height)
    own = Address(account.id)
    was, now = oldest.holdings.get(own) or NOBODY, frame.holdings.get(own) or NOBODY
    return Frame(
        height=height,
        block_hash=header.block_hash if header else BlockHash(""),
        base_fee=None,
        holdings={own: now if now.nonce < was.nonce else was},
    )


def bare_ground(account: Account, frame: Frame) -> Frame:
    """Make a baseline from before everything that was read of the account: what the frame of this tick shows of it."""
    own = Address(account.id)
    before = Height(max(0, frames_of(account)[0].height - 1))
    return Frame(
        height=before, block_hash=BlockHash(""), base_fee=None, holdings={own: frame.holdings.get(own)}
    )


def burned_count(account: Account, headers: Headers, *, at_or_below: int) -> Nonce:
    """Say which nonces are known to be consumed at finality depth: all up to this one (0: none)."""
    counts = [
        (kept.holdings.get(Address(account.id)) or NOBODY).nonce
        for kept in frames_of(account)
        if kept.height <= at_or_below and stands(kept.height, kept.block_hash, headers)
    ]
    return max(counts, default=Nonce(0))


def keep_from(heights: Sequence[Height], *, at_or_below: int) -> Height:
    """Name the lowest height worth keeping: the newest at or below finality depth, else the lowest there is (§1)."""
    deep = [height for height in heights if height <= at_or_below]
    return max(deep) if deep else min(heights)
