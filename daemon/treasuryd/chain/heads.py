"""
Finding the newest header with `light.headers` alone.

`light.latest_header` is never called: on an empty chain it panics and poisons the node's chain lock (N2). The usual
case is one request from the last known tip on. Far behind, the search gallops (steps that double) and then halves
what is left, so that first contact with a chain of a million blocks takes some twenty-five requests, not five thousand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from treasuryd.core.model import Header
from treasuryd.errors import Transient
from treasuryd.wire.theblock.binary import U64_MAX
from treasuryd.wire.theblock.readings import MAX_HEADERS

Ask: TypeAlias = Callable[[int], Awaitable[Sequence[Header]]]  # headers from an index on, at most MAX_HEADERS

MAX_STEPS: Final = 140  # 64 doublings, 64 halvings and some: more means that the chain runs away from us


async def find_tip(ask: Ask, first: Sequence[Header], start: int) -> Header | None:
    """
    Find the last header, given what was answered from index `start` on.

    Args: ask, which gives at most MAX_HEADERS headers from an index on; first, its answer for `start`.
    Returns: None on an empty chain.
    Raises: Transient when the chain grew faster than it could be followed; whatever `ask` raises.
    """
    steps = 0
    stride = MAX_HEADERS
    known, beyond = -1, -1  # last index known to exist; lowest known not to; -1 is neither
    found, at = first, start
    newest: Header | None = None
    while steps < MAX_STEPS:
        steps += 1
        if 0 < len(found) < MAX_HEADERS:
            return found[-1]
        if found:
            known, newest = at + len(found) - 1, found[-1]
        else:
            beyond = at
        if beyond == known + 1:
            return newest
        at, stride = _next(known, beyond, stride)
        found = await ask(at)
    raise Transient(
        "the chain's newest header could not be reached", hint="It grows faster than it can be read."
    )


def _next(known: int, beyond: int, stride: int) -> tuple[int, int]:
    """Choose the index to ask next, between what exists and what does not; gives it and the next stride."""
    if beyond < 0:  # still below the tip: leap ahead
        return min(U64_MAX, known + stride), stride * 2
    if known < 0:  # the chain is shorter than we knew: leap back
        return max(0, beyond - stride), stride * 2
    if beyond - known <= MAX_HEADERS:
        return known + 1, stride
    return (known + beyond) // 2, stride
