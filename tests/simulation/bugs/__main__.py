"""
Hunt the whole catalogue from seed 0: `python -m tests.simulation.bugs [NAME …] [--seeds 2000] [--jobs 2] [--record]`.

Prints one row per bug: the first seed that finds it, how fast seeds were played, and what broke.
"""

import argparse
import multiprocessing
import sys

from tests.evidence.record import write
from tests.simulation.bugs import BUGS
from tests.simulation.bugs.hunting import Finding, hunt_one

LIMIT = 2_000  # within so many seeds each has to be found
SHOWN = 110


def main() -> int:
    """Hunt what is asked for; answers 1 when one was not found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs; all by default")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=LIMIT)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="write docs/evidence/bugs.json")
    given = parser.parse_args()
    hunted = [(name, range(given.first, given.first + given.seeds)) for name in given.names or BUGS]
    found: list[Finding] = []
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.jobs, maxtasksperchild=8) as pool:
        for finding in pool.imap_unordered(hunt_one, hunted, chunksize=1):
            found.append(finding)
            print(_row(finding), flush=True)
    lost = [finding.bug for finding in found if finding.seed is None]
    print(f"{len(found)} bugs, {len(found) - len(lost)} found; not found: {', '.join(lost) or 'none'}")
    if given.record:
        _record(found)
    return min(1, len(lost))


def _row(finding: Finding) -> str:
    bug, rate = BUGS[finding.bug], finding.seeds / max(finding.seconds, 1e-9)
    where = "not found" if finding.seed is None else str(finding.seed)
    return f"{bug.name:32} | {bug.rule:5} | {where:>9} | {rate:5.1f}/s | {_short(finding.broken)}"


def _short(text: str) -> str:
    return text.removeprefix("AssertionError: ").replace("\n", " ")[:SHOWN]


def _record(found: list[Finding]) -> None:
    order = list(BUGS)
    rows = [
        {
            "bug": finding.bug,
            "rule": BUGS[finding.bug].rule,
            "story": BUGS[finding.bug].story,
            "first seed": finding.seed,
            "seeds per second": round(finding.seeds / max(finding.seconds, 1e-9), 1),
            "what broke": _short(finding.broken),
        }
        for finding in sorted(found, key=lambda one: order.index(one.bug))
    ]
    figures = {
        "bugs": len(rows),
        "found": sum(row["first seed"] is not None for row in rows),
        "seeds allowed": LIMIT,
        "catalogue": rows,
    }
    what = "Every planted bug, hunted by the simulator from seed 0 on: the first seed on which a promise is broken that "
    write(
        "bugs",
        "python -m tests.simulation.bugs --record",
        figures,
        what=what + "the same seed keeps without the bug.",
    )


if __name__ == "__main__":
    sys.exit(main())
