"""
Hunt the whole catalogue from seed 0: `python -m tests.simulation.bugs [NAME …] [--seeds 2000] [--jobs 2] [--record]`.

Prints one row per bug: the first seed that finds it, how fast seeds were played, and what broke.
"""

import argparse
import multiprocessing
import sys

from tests.evidence.record import write
from tests.simulation.bugs import BUGS
from tests.simulation.bugs.hunting import LIMIT, Finding, hunt_one, recorded_rows

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
            if given.record:
                _record(found)  # each at once: a hunt that is cut off has found what it has found
    lost = [finding.bug for finding in found if finding.seed is None]
    print(f"{len(found)} bugs, {len(found) - len(lost)} found; not found: {', '.join(lost) or 'none'}")
    return min(1, len(lost))


def _row(finding: Finding) -> str:
    bug, rate = BUGS[finding.bug], finding.seeds / max(finding.seconds, 1e-9)
    where = "not found" if finding.seed is None else str(finding.seed)
    return f"{bug.name:32} | {bug.rule:5} | {where:>9} | {rate:5.1f}/s | {_short(finding.broken)}"


def _short(text: str) -> str:
    return text.removeprefix("AssertionError: ").replace("\n", " ")[:SHOWN]


def _record(found: list[Finding]) -> None:
    """Write what was found; the rows of bugs that were not hunted this time stay as they were."""
    rows = {row["bug"]: row for row in recorded_rows()}
    for finding in found:
        rows[finding.bug] = {
            "bug": finding.bug,
            "rule": BUGS[finding.bug].rule,
            "story": BUGS[finding.bug].story,
            "first seed": finding.seed,
            "seeds played": finding.seeds,
            "seeds per second": round(finding.seeds / max(finding.seconds, 1e-9), 1),
            "what broke": _short(finding.broken),
        }
    catalogue = [rows[name] for name in BUGS if name in rows]
    figures = {
        "bugs in the catalogue": len(BUGS),
        "found": sum(row["first seed"] is not None for row in catalogue),
        "not found yet": [name for name in BUGS if name not in rows or rows[name]["first seed"] is None],
        "seeds allowed": LIMIT,
        "catalogue": catalogue,
    }
    what = "Every planted bug, hunted by the simulator: the first seed on which a promise is broken that it keeps without."
    write("bugs", "make bugs", figures, what=what)


if __name__ == "__main__":
    sys.exit(main())
