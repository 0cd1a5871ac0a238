"""
What several endpoints agree on (protocol.md R9): one alone, whichever it is, makes nothing final and nothing void.

Pure functions on what was answered. With one endpoint its word is all there is, and `needed` is 1.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from treasuryd.core.model import Address, Frame, Header, Holding, Sighting
from treasuryd.core.reorgs import NOBODY
from treasuryd.errors import Disputed, Transient

AGREEMENT: Final = 2  # endpoints that must say the same where there is more than one
_HINT: Final = "Find the node that is wrong and take it out of chain.endpoints: docs/runbooks/chain-lag.md"


def agreed_header(column: Sequence[Header | None], needed: int) -> Header | None:
    """Give the header that enough endpoints name; None when there is none or when two camps are equally large."""
    votes = Counter(header for header in column if header is not None).most_common(2)
    if not votes or votes[0][1] < needed:
        return None
    if len(votes) > 1 and votes[1][1] == votes[0][1]:
        return None
    return votes[0][0]


def agreed_frame(read: Sequence[Frame], needed: int) -> Frame:
    """
    Give the highest frame that enough endpoints bear out, itself among them.

    One of the same block bears out what is the same word for word. A higher one bears out counts that are not above its
    own, since counts only rise on one chain; of balances it can say nothing.
    Raises: where there is none, Disputed, naming the first account on which the two highest differ; Transient where they
    show two blocks at one height.
    """
    highest = sorted(read, key=lambda frame: (frame.height, frame.base_fee is not None), reverse=True)
    for frame in highest:
        if sum(_bears_out(other, frame) for other in read) >= needed:
            return frame
    first, second = highest[:2]
    if first.height == second.height and first.block_hash != second.block_hash:
        raise Transient(
            f"endpoints show blocks {first.block_hash} and {second.block_hash} at height {first.height}",
            hint=_HINT,
        )
    address = next(address for address in second.holdings if not _same(first, second, address))
    raise Disputed(
        f"endpoints contradict each other about {address}: at height {first.height} it {_said(first, address)}, "
        f"at {second.height} it {_said(second, address)}",
        hint=_HINT,
    )


def _bears_out(other: Frame, frame: Frame) -> bool:
    if other.height < frame.height or (other.height == frame.height and other.block_hash != frame.block_hash):
        return False
    return all(_same(other, frame, address) for address in frame.holdings)


def _same(other: Frame, frame: Frame, address: Address) -> bool:
    """Whether another frame, not lower than this one, does not contradict it about an account."""
    theirs, ours = _held(other, address), _held(frame, address)
    return theirs == ours if other.height == frame.height else theirs.nonce >= ours.nonce


def _held(frame: Frame, address: Address) -> Holding:
    return frame.holdings.get(address) or NOBODY


def _said(frame: Frame, address: Address) -> str:
    holding = _held(frame, address)
    return f"holds {holding.balance} after nonce {holding.nonce}"


def agreed_sighting(said: Sequence[Sighting], needed: int, *, silent: bool) -> Sighting:
    """
    Put the endpoints' words on one intent together; `silent`: one of them could not be asked.

    Guarantees: `doubted` where fewer than `needed` name the same block for it, and, of one that nobody found, where not
    every endpoint says that it does not know it either (protocol.md R5).
    """
    places = Counter(
        (one.variant, one.height, one.block_hash, one.fee_charged) for one in said if one.variant is not None
    )
    if not places:
        newest = max(said, key=lambda one: one.as_of)
        return replace(newest, doubted=silent or any(one.doubted for one in said))
    ((variant, height, block_hash, fee_charged), votes), *_ = places.most_common(1)
    return Sighting(
        intent_id=said[0].intent_id,
        as_of=max(one.as_of for one in said),
        variant=variant,
        height=height,
        block_hash=block_hash,
        fee_charged=fee_charged,
        doubted=votes < needed,
    )
