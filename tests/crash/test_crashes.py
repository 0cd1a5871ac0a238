"""
A process may die at each of its awaits and statements, and the next one goes on (protocol.md §9, §10).

A sample, another one each day; `make crash` takes them all. What fails names the command that repeats it.
"""

import datetime as dt
import os
from collections.abc import Callable, Sequence

import pytest
from tests.crash.runs import Counted, Death, counted, dies
from tests.crash.scenes import SCENES, Scene
from tests.matrix import Row

from treasuryd.core.model import Evidence

OFFSET = int(os.environ.get("CRASH_OFFSET", dt.datetime.now(dt.UTC).date().toordinal()))
KINDS = [Evidence.HASH, Evidence.BALANCE]


def _sample(points: Counted) -> list[Death]:
    """Four awaits, three statements and two pairs: where something changes, and elsewhere tomorrow."""
    awaits, statements = points.await_edges, points.statement_edges
    return [
        *(Death(at_await=at) for at in _spread(awaits, 4)),
        *(Death(at_statement=at) for at in _spread(statements, 3)),
        *points.pairs(2, offset=OFFSET),
    ]


def _spread(edges: Sequence[int], number: int) -> Sequence[int]:
    apart = len(edges) // number
    return edges[OFFSET % apart :: apart][:number]


@pytest.mark.matrix(
    Row.BEFORE_STAGING,
    Row.STAGED_NOT_SEALED,
    Row.INSIDE_STAGING,
    Row.COMMIT_UNKNOWN,
    Row.SEALED_NOT_SENT,
    Row.ACCEPTED_NOT_RECORDED,
    Row.INCLUDED_NOT_RECORDED,
)
@pytest.mark.parametrize("evidence", KINDS, ids=["look-up", "balances"])
@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
def test_a_death_anywhere_is_answered_by_the_next_process(
    scene: Scene, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """D2, D16: paid once, books true, journal whole, nothing sent that was not stored."""
    points = counted(scene, evidence)
    assert points.awaits > 500, "the listener hears nothing"
    assert points.statements > 100
    print(f"{points.awaits} awaits, {points.statements} statements, offset {OFFSET}")
    injected(sum(dies(scene, evidence, death) for death in _sample(points)))
