"""
What several endpoints agree on (protocol.md R9): one alone, whichever it is, makes nothing final and nothing void.

Pure functions on what was answered. With one endpoint its word is all there is, and `needed` is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from treasuryd.core.model import Address, Frame, Header, Holding, Sighting
from treasuryd.core.reorgs import NOBODY
from treasuryd.errors import Disputed

AGREEMENT: Final = 2  # endpoints that must say the same where there is more than one
REMEMBERED: Final = 32  # readings of an endpoint that are held against those of the others
_HINT: Final = "Find the node that is wrong and take it out of chain.endpoints: docs/runbooks/chain-lag.md"


def agreed_header(column: Sequence[Header | None], needed: int) -> Header | None:
    """Give the header that enough endpoints name; None when there is none or when two camps are equally large."""
    votes = Counter(header for header in column if header is not None).most_common(2)
    if not votes or votes[0][1] < needed:
        return None
    if len(votes) > 1 and votes[1][1] == votes[0][1]:
        return None
    return votes[0][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one endpoint shows of accounts, and what it showed in its last readings and has not taken back itself."""

    now: Frame
    before: tuple[Frame, ...] = ()

    def then(self, frame: Frame) -> Shown:
        """Go on with a newer reading: it takes back what was said of that height, and counts above its own from there."""
        kept = [old for old in (*self.before, self.now) if not _takes_back(frame, old)]
        return Shown(now=frame, before=tuple(kept[-REMEMBERED:]))


def agreed_frame(said: Sequence[Shown]) -> Frame:
    """
    Give the newest frame of the first endpoint that no other contradicts, or only the smaller part of them.

    One that lags behind contradicts nothing by what it has not reached yet: what it says when it gets there is held against
    what the other one said then. Of balances that shows only where both were read at that very block.
    Raises: Disputed, naming an account on which two differ.
    """
    against = [sum(_contradiction(one, other) is not None for other in said) for one in said]
    least = min(against)
    if 2 * least < len(said):
        return said[against.index(least)].now
    contradictions = (_contradiction(one, other) for one, other in combinations(said, 2))
    raise next(Disputed(found, hint=_HINT) for found in contradictions if found is not None)


def _contradiction(one: Shown, other: Shown) -> str | None:
    """Say in what two endpoints contradict each other; None where both can be true."""
    theirs = {(frame.height, frame.block_hash): frame for frame in (*other.before, other.now)}
    pairs = [
        (claim, theirs[claim.height, claim.block_hash])
        for claim in (*one.before, one.now)
        if (claim.height, claim.block_hash) in theirs
    ]
    pairs += [(claim, other.now) for claim in (*one.before, one.now)]
    pairs += [(claim, one.now) for claim in (*other.before, other.now)]
    for claim, frame in pairs:
        address = _broken(claim, frame)
        if address is not None:
            return (
                f"endpoints contradict each other about {address}: at height {claim.height} it {_said(claim, address)}, "
                f"at {frame.height} it {_said(frame, address)}"
            )
    return None


def _takes_back(frame: Frame, old: Frame) -> bool:
    return frame.height == old.height or (frame.height > old.height and _broken(old, frame) is not None)


def _broken(claim: Frame, frame: Frame) -> Address | None:
    """
    Name an address of which both cannot be true on one chain; None where there is none, or the claim is the higher one.

    In one block everything has to be the same, later the count may have risen alone. Of two blocks at one height nothing
    can be said: that they are two is told by the heads.
    """
    same = frame.block_hash == claim.block_hash
    if frame.height < claim.height or (frame.height == claim.height and not same):
        return None
    for address in claim.holdings:
        if address not in frame.holdings:
            continue
        before, after = _held(claim, address), _held(frame, address)
        if before != after if same else after.nonce < before.nonce:
            return address
    return None


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
