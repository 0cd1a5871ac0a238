"""
Which height is believed, and the two epochs that follow from it (protocol.md §1, R16).

What opens a window is counted from the seen epoch, what ends one by the settled epoch. So a head that lies, lags or
is taken back may delay a payment and can never hasten one: the seen epoch never falls behind what was once believed,
the settled one follows the lowest head and, for a head that is beyond belief, stands still.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from treasuryd.core.model import (
    BlockHash,
    BootSeconds,
    ChainState,
    Epoch,
    Head,
    Height,
    Rules,
    UnixSeconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """
    What one reading of the heads comes to, and what the process remembers of it until the next, by its boot clock.

    `lowest` is the height that settling rests on in this reading; finality is judged from it. `excess` (blocks) is
    what an endpoint claims beyond belief, since `excess_since` without a pause. `spare` (0 … finality depth) is
    how many blocks the chain may still run ahead of its pace. How far endpoints are apart is told by `agreement`.
    """

    believed: Height
    settled: Epoch
    seen: Epoch
    reported: Height  # the highest claim
    lowest: Height
    risen_boot: BootSeconds  # when `believed` last rose
    spare: float = 0.0
    excess: int = 0
    excess_since: BootSeconds | None = None
    first: Height | None = None  # the first reading of a chain never seen before, until the second one
    genesis: BlockHash | None = None  # header 0 as all endpoints name it, while none is pinned
    genesis_at: Height | None = None  # and what was believed when they began to

    def age_seconds(self, now: BootSeconds) -> float:
        """Say how old the head is: how long ago the believed height last rose."""
        return now - self.risen_boot

    def excess_seconds(self, now: BootSeconds) -> float:
        """Say for how long some head has been beyond belief; past `head_max_age_seconds` it should page (R16)."""
        return 0.0 if self.excess_since is None else now - self.excess_since


def epoch_of(height: int, rules: Rules) -> Epoch:
    """Say in which epoch a chain of `height` blocks is."""
    return Epoch(height // rules.epoch_blocks)


def believe(
    stored: ChainState,
    heads: Sequence[Head],
    before: Belief | None,
    *,
    unix: UnixSeconds,
    boot: BootSeconds,
    rules: Rules,
) -> tuple[ChainState, Belief]:
    """
    Judge one reading of all answering endpoints' heads; with none, nothing moves.

    Args: `before` is the belief that this process came to last (None: it has just started).
    Believed height = min(reported, last believed + spare + max_blocks_per_second * seconds since it last rose), where
    the spare is at most the finality depth and is used up by every rise above that pace: a lie told at every tick
    gains the finality depth once, not once a tick. A chain never seen before is believed at its second reading, at
    the lower of the two: an absurd first height would otherwise stay for good.
    Guarantees: believed height, settled height and both epochs never fall; one absurd height moves no settled epoch.
    Does not guarantee: that a single endpoint which lies within the pace is found out.
    Source: protocol.md §1, §2, R15, R16.
    """
    reported = [head.height for head in heads]
    if stored.risen_at <= 0:
        state, belief = _first_sight(stored, reported, before, unix=unix, boot=boot, rules=rules)
    else:
        known = _remembered(stored, before, unix=unix, boot=boot, rules=rules)
        # of another chain nothing is believed, nor that a lagging head rose
        reported = reported or [known.lowest]
        state, belief = _judged(stored, reported, known, unix=unix, boot=boot, rules=rules)
    return _pinned(state, heads, before, belief, rules)


def wrong_genesis(stored: ChainState, heads: Sequence[Head]) -> BlockHash | None:
    """
    Name a header 0 that is not the one of our chain; None when all is well (R15).

    Before anything is pinned endpoints that disagree on a header 0 at finality depth are on different chains, too.
    """
    found = sorted({head.genesis for head in heads if head.genesis is not None})
    if stored.genesis is None:
        return found[-1] if len(found) > 1 and stored.settled_height >= 1 else None
    return next((genesis for genesis in found if genesis != stored.genesis), None)


def _judged(
    stored: ChainState,
    reported: Sequence[Height],
    known: Belief,
    *,
    unix: UnixSeconds,
    boot: BootSeconds,
    rules: Rules,
) -> tuple[ChainState, Belief]:
    budget = known.spare + rules.max_blocks_per_second * (boot - known.risen_boot)
    ceiling = Height(stored.believed + math.floor(budget))
    highest = min(max(reported), ceiling)
    # a head beyond belief proves nothing new: settling rests on what it rested on before, not on an earlier lie
    lowest = min((height for height in reported if height <= ceiling), default=known.lowest)
    state, spare, risen_boot = stored, known.spare, known.risen_boot
    if highest > stored.believed:
        state = replace(stored, believed=highest, risen_at=unix)
        spare = min(float(rules.finality_depth), budget - (highest - stored.believed))
        risen_boot = boot
    excess = max(0, max(reported) - ceiling)
    since = known.excess_since if known.excess_since is not None else boot
    return _settled(
        state,
        replace(
            known,
            believed=state.believed,
            reported=max(reported),
            lowest=lowest,
            risen_boot=risen_boot,
            spare=spare,
            excess=excess,
            excess_since=since if excess else None,
        ),
        rules,
    )


def _remembered(
    stored: ChainState, before: Belief | None, *, unix: UnixSeconds, boot: BootSeconds, rules: Rules
) -> Belief:
    """Go on by the boot clock; where this process has no time for the stored height, start from the wall clock."""
    if before is not None and before.first is None and before.believed == stored.believed:
        return before
    # a wall clock that was set back yields no time at all, and the pace goes on from here by the boot clock
    elapsed = max(0.0, unix - stored.risen_at)
    return Belief(
        believed=stored.believed,
        settled=stored.settled,
        seen=stored.settled,
        reported=stored.believed,
        lowest=Height(min(stored.believed, stored.settled_height + rules.finality_depth)),
        risen_boot=BootSeconds(boot - elapsed),
        spare=float(rules.finality_depth),
        excess_since=before.excess_since if before is not None else None,
    )


def _first_sight(
    stored: ChainState,
    reported: Sequence[Height],
    before: Belief | None,
    *,
    unix: UnixSeconds,
    boot: BootSeconds,
    rules: Rules,
) -> tuple[ChainState, Belief]:
    first = before.first if before is not None else None
    height, state = stored.believed, stored
    if first is not None and reported:
        height = Height(max(stored.believed, min(first, *reported)))
        state = replace(stored, believed=height, risen_at=unix)
        first = None
    elif reported:
        first = min(reported)
    belief = Belief(
        believed=height,
        settled=state.settled,
        seen=state.settled,
        reported=max(reported, default=height),
        lowest=height,
        risen_boot=boot,
        spare=float(rules.finality_depth),
        first=first,
    )
    return _settled(state, belief, rules)


def _settled(state: ChainState, belief: Belief, rules: Rules) -> tuple[ChainState, Belief]:
    """Move the settled height and epoch up, never down, and say both epochs."""
    height = Height(max(state.settled_height, belief.lowest - rules.finality_depth))
    settled = max(state.settled, epoch_of(height, rules))
    seen = max(epoch_of(state.believed, rules), settled)
    state = replace(state, settled_height=height, settled=settled)
    return state, replace(belief, settled=settled, seen=seen)


def _pinned(
    state: ChainState, heads: Sequence[Head], before: Belief | None, belief: Belief, rules: Rules
) -> tuple[ChainState, Belief]:
    """
    Pin header 0 once it is at finality depth, all endpoints that name one name the same, and the chain grew by that depth
    meanwhile (R15): one absurd height where the chain is short would pin a header that any reorg may replace.
    """
    if state.genesis is not None:
        return state, replace(belief, genesis=None)
    named = {head.genesis for head in heads if head.genesis is not None}
    found = named.pop() if len(named) == 1 else None
    known = None if before is None else before.genesis
    if found is None or found != known or before is None or before.genesis_at is None:
        believed = found if state.risen_at > 0 else None
        return state, replace(belief, genesis=believed, genesis_at=state.believed)
    belief = replace(belief, genesis=found, genesis_at=before.genesis_at)
    grown = state.believed - before.genesis_at
    if state.settled_height < 1 or grown < rules.finality_depth:
        return state, belief
    return replace(state, genesis=found), belief
