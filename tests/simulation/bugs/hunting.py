"""
Hunts planted bugs: which seed first shows a broken promise that the same seed keeps without the bug.

A seed on which the product itself falls over (an error of its own, perhaps of the patch) is no finding: what counts is
what somebody outside of it would see.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from tests.evidence.record import FOLDER
from tests.simulation.bugs import planted, world_of
from tests.simulation.history import play

LIMIT = 2_000  # within so many seeds from the first each bug has to be found
OWN_FAULTS = ("ended by a bug", "nobody handled")  # of the process, not of what it promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one bug was found: the seed, what was broken, and at what price."""

    bug: str
    seed: int | None
    seeds: int  # played with the bug, up to the finding
    seconds: float
    broken: str = ""


def promise_broken(seed: int, bug: str) -> str:
    """Play one seed with a bug in the product; answers which promise was broken, empty for none."""
    with planted(bug):
        told = play(seed)
    kinds = ("AssertionError", "Runaway")
    broken = told.problem.startswith(kinds) and not any(fault in told.problem for fault in OWN_FAULTS)
    return told.problem if broken and not _of_the_product(told.cause) else ""


def _of_the_product(cause: BaseException | None) -> bool:
    """Whether the product itself noticed that something is wrong, in a command of people."""
    trace = None if cause is None else cause.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.startswith("treasuryd")


def shows(seed: int, bug: str) -> str:
    """As `promise_broken`, where the same seed in the same world ends well without the bug; else empty."""
    broken = promise_broken(seed, bug)
    if broken:
        with world_of(bug):
            return "" if play(seed).problem else broken
    return ""


def hunt(bug: str, seeds: Iterable[int]) -> Finding:
    """Play the seeds in their order until one shows the bug."""
    began, count = time.perf_counter(), 0
    for seed in seeds:
        count += 1
        broken = shows(seed, bug)
        if broken:
            seconds = time.perf_counter() - began
            return Finding(bug=bug, seed=seed, seeds=count, seconds=seconds, broken=broken)
    return Finding(bug=bug, seed=None, seeds=count, seconds=time.perf_counter() - began)


def hunt_one(asked: tuple[str, range]) -> Finding:
    """As `hunt`, for a pool of processes."""
    return hunt(*asked)


def recorded_rows() -> list[dict[str, Any]]:
    """Read the rows of docs/evidence/bugs.json, one per bug that was ever hunted."""
    file = FOLDER / "bugs.json"
    rows: list[dict[str, Any]] = (
        orjson.loads(file.read_bytes())["figures"]["catalogue"] if file.exists() else []
    )
    return rows


def recorded() -> dict[str, int]:
    """Name the seeds that the last recorded hunt found, by bug."""
    return {row["bug"]: row["first seed"] for row in recorded_rows() if row["first seed"] is not None}
