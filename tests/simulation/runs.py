"""
Many seeds on all cores, or one seed again, bit for bit.

`python -m tests.simulation SEED [--loud] [--plant NAME]` replays one; `--first N --count N [--jobs N] [--json FILE]` runs
many, goes on after a failure, and names all failing seeds at its end.
"""

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import orjson
from tests.evidence.record import commit, write
from tests.simulation.history import play

CHUNK: Final = 20  # seeds that one process takes at once
TOLD_SECONDS: Final = 10.0  # between two lines of progress
WHAT: Final = "Histories of the whole executor in virtual time, each decided by its seed, with every fault of the world."
SHOWN: Final = 20  # failing seeds that are named with their problem


@dataclass(slots=True)
class Tally:
    """What many seeds came to; adds up."""

    seeds: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    virtual_seconds: float = 0.0
    steps: int = 0
    cpu_seconds: float = 0.0  # of the processes that played them

    def add(self, other: "Tally") -> None:
        """Take in what another part came to."""
        self.seeds += other.seeds
        self.failed += other.failed
        self.met += other.met
        self.virtual_seconds += other.virtual_seconds
        self.steps += other.steps
        self.cpu_seconds += other.cpu_seconds

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Tally":
        """Read one back that was written as JSON."""
        failed = [(seed, problem) for seed, problem in kept["failed"]]
        return cls(**{**kept, "failed": failed, "met": Counter(kept["met"])})

    @property
    def per_core(self) -> float:
        """Histories per second of one core."""
        return self.seeds / self.cpu_seconds if self.cpu_seconds else 0.0


def play_part(part: tuple[int, int]) -> Tally:
    """Play `count` seeds from `first` on, whatever becomes of each."""
    first, count = part
    gc.freeze()  # what was imported is never garbage
    gc.disable()  # a part makes less than a process may hold
    began, tally = time.process_time(), Tally(seeds=count)
    for seed in range(first, first + count):
        told = play(seed)
        tally.met += told.met
        tally.virtual_seconds += told.seconds
        tally.steps += told.steps
        if told.problem:
            tally.failed.append((seed, told.problem))
    gc.collect()
    tally.cpu_seconds = time.process_time() - began
    return tally


def play_many(
    first: int, count: int, *, jobs: int, tell: Callable[[Tally, int], None] = lambda _tally, _all: None
) -> Tally:
    """Play many seeds on several processes; `tell` hears how far it is after each part."""
    parts = [(at, min(CHUNK, first + count - at)) for at in range(first, first + count, CHUNK)]
    whole = Tally()
    for tally in _played(parts, jobs):
        whole.add(tally)
        tell(whole, count)
    whole.failed.sort()
    return whole


def _played(parts: list[tuple[int, int]], jobs: int) -> Iterator[Tally]:
    if jobs == 1:
        yield from map(play_part, parts)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(play_part, parts)


def replay_command(seed: int, plant: str | None = None) -> str:
    """Say how anybody replays a seed."""
    return f"python -m tests.simulation {seed} --loud" + (f" --plant {plant}" if plant else "")


def main() -> int:
    """Answer the command line; 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this seed alone")
    parser.add_argument("--loud", action="store_true", help="print each line of the replay as it happens")
    parser.add_argument("--plant", metavar="NAME", help="with a bug of tests/simulation/bugs")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=3_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what it came to; read by --after")
    parser.add_argument(
        "--after", type=Path, metavar="FILE", help="go on where this run ended, and count it in"
    )
    parser.add_argument("--again", action="store_true", help="with --after: first replay what failed there")
    parser.add_argument("--record", action="store_true", help="write docs/evidence/simulation.json")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed, loud=given.loud, plant=given.plant)
    return _many(given)


def _replay(seed: int, *, loud: bool, plant: str | None) -> int:
    with _planted(plant):
        told = play(seed, loud=loud, keep=True)
    if not loud:
        print("\n".join(told.lines[-40:]))
    if told.cause is not None:
        traceback.print_exception(told.cause, file=sys.stdout)
    print(f"seed {seed}: {told.problem or 'no promise was broken'}")
    print(f"digest {told.digest}, {told.steps} steps, {told.seconds:.1f} virtual seconds")
    return 1 if told.problem else 0


def _planted(name: str | None) -> Any:
    if name is None:
        return nullcontext()
    from tests.simulation.bugs import planted  # noqa: PLC0415  (the catalogue is needed for this alone)

    return planted(name)


def _many(given: argparse.Namespace) -> int:
    began = last = time.perf_counter()

    def tell(tally: Tally, count: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last > TOLD_SECONDS:
            last = now
            print(
                f"{tally.seeds:,} of {count:,} seeds, {len(tally.failed)} failed, {tally.per_core:.1f}/s/core, "
                f"{(count - tally.seeds) * (now - began) / tally.seeds:,.0f} s left",
                flush=True,
            )

    whole, spent, first = Tally(), 0.0, given.first
    parts: list[dict[str, Any]] = []  # of a run made in parts: which seeds were played on which commit
    mended: list[dict[str, Any]] = []  # seeds that failed in a part, and do not any more
    if given.after is not None:
        before = orjson.loads(given.after.read_bytes())
        whole, spent, first = Tally.of(before["tally"]), before["seconds"], before["first seed"]
        parts += before["parts"]
        mended += before["mended"]
        given.count -= whole.seeds
        given.first = first + whole.seeds
    if given.again:
        mended += _mended(whole)
    if given.count:
        parts.append({"first seed": given.first, "seeds": given.count, "commit": commit()})
        whole.add(play_many(given.first, given.count, jobs=given.jobs, tell=tell))
    seconds = spent + time.perf_counter() - began
    figures = figures_of(whole, first=first, jobs=given.jobs, seconds=seconds)
    figures["parts"] = parts
    figures["failed in a part, and mended"] = mended
    for name, value in figures.items():
        print(f"{name}: {value}")
    for seed, problem in whole.failed[:SHOWN]:
        print(f"seed {seed} failed: {problem[:300]}\n  replay: {replay_command(seed)}")
    if given.json is not None:
        kept = {
            "first seed": first,
            "seconds": seconds,
            "parts": parts,
            "mended": mended,
            "tally": {one.name: getattr(whole, one.name) for one in fields(whole)},
        }
        given.json.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")
    if given.record:
        write("simulation", "make sim-long", figures, what=WHAT)
    return 1 if whole.failed else 0


def _mended(tally: Tally) -> list[dict[str, Any]]:
    """Replay what failed in the parts before; what holds now counts as mended on this commit, and is named so."""
    failed, tally.failed = tally.failed, []
    mended = []
    for seed, problem in failed:
        told = play(seed)
        if told.problem:
            tally.failed.append((seed, told.problem))
        else:
            mended.append({"seed": seed, "commit": commit(), "problem": problem[:200]})
    return mended


def figures_of(tally: Tally, *, first: int, jobs: int, seconds: float) -> dict[str, Any]:
    """Name what a run came to, for people and for docs/evidence.md."""
    problems = [problem for _seed, problem in tally.failed]
    met = tally.met
    return {
        "seeds": tally.seeds,
        "first seed": first,
        "failing seeds": [seed for seed, _problem in tally.failed],
        "paid twice": sum("was paid" in problem for problem in problems),
        "lost": sum("not paid" in problem for problem in problems),
        "never final": sum("never final" in problem for problem in problems),
        "seconds": round(seconds, 1),
        "processes": jobs,
        "histories per second and core": round(tally.per_core, 1),
        "virtual hours": round(tally.virtual_seconds / 3600, 1),
        "payments final": met["intent_final"],
        "requests with a payment": met["sent"],
        "crashes": sum(times for name, times in met.items() if name.startswith("crash")),
        "pauses": met["pause"] + met["pause past the lease"],
        "reorgs": met["reorg"] + met["deep reorg"],
        "met": [{"what": name, "times": times} for name, times in sorted(met.items()) if times],
    }
