"""The right chain: what is pinned, and when a head speaks of another one (protocol.md R15)."""

from collections.abc import Sequence
from dataclasses import replace

from treasuryd.core.model import BlockHash, ChainState, Head


def stranger(state: ChainState, heads: Sequence[Head]) -> BlockHash | None:
    """Give the first genesis hash that is not the pinned one; None while nothing is pinned or all agree."""
    if state.genesis is None:
        return None
    others = (head.genesis for head in heads if head.genesis is not None and head.genesis != state.genesis)
    return next(others, None)


def pinned(state: ChainState, heads: Sequence[Head]) -> ChainState:
    """
    Pin header 0 once it is at the finality depth; there is no pinning anew.

    Guarantees: nothing is pinned while two endpoints disagree, or before the settled height reaches the first block.
    """
    if state.genesis is not None or state.settled_height < 1:
        return state
    named = {head.genesis for head in heads}
    if len(named) != 1:
        return state
    return replace(state, genesis=named.pop())
