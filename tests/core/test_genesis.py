"""Pinning the chain."""

from dataclasses import replace

from treasuryd.core.genesis import pinned, stranger
from treasuryd.core.model import BlockHash, ChainState, Endpoint, Head, Height

OURS = BlockHash("a" * 64)
OTHER = BlockHash("b" * 64)
SETTLED = ChainState(chain_id=1, settled_height=Height(1))


def head(name: str, genesis: BlockHash | None = OURS) -> Head:
    return Head(endpoint=Endpoint(name), height=Height(20), block_hash=BlockHash("c" * 64), genesis=genesis)


def test_header_zero_is_pinned_once_it_is_settled() -> None:
    """R15: not before the finality depth, since header 0 of a young chain may still be reorganised."""
    assert OURS == pinned(SETTLED, [head("a")]).genesis
    assert pinned(replace(SETTLED, settled_height=Height(0)), [head("a")]).genesis is None


def test_nothing_is_pinned_while_endpoints_disagree() -> None:
    """R15: two answers are no answer."""
    assert pinned(SETTLED, [head("a"), head("b", OTHER)]).genesis is None
    assert pinned(SETTLED, [head("a"), head("b", None)]).genesis is None
    assert pinned(SETTLED, []).genesis is None


def test_what_is_pinned_stays() -> None:
    """R15: there is no pinning anew."""
    state = replace(SETTLED, genesis=OURS)
    assert state == pinned(state, [head("a", OTHER)])


def test_a_head_of_another_chain_is_named() -> None:
    """R15: one endpoint on another chain is enough; an empty or unpinned one is none."""
    state = replace(SETTLED, genesis=OURS)
    assert OTHER == stranger(state, [head("a"), head("b", OTHER)])
    assert stranger(state, [head("a"), head("b", None)]) is None
    assert stranger(SETTLED, [head("a", OTHER)]) is None
