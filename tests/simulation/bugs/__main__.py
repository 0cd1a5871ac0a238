"""
Hunt the whole catalogue from seed 0: `python -m tests.simulation.bugs [NAME …] [--seeds 2000] [--jobs 2] [--record]`.

Prints one row per bug: the first seed that finds it, how fast seeds were played, and what broke. A long hunt may be made in
parts: `--json FILE` keeps what was found, as it is found; `--after FILE` hunts the other bugs alone, and counts those in.
"""

import argparse
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import orjson
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found; read by --after")
    parser.add_argument("--after", type=Path, metavar="FILE", help="do not hunt again what is found in there")
    parser.add_argument("--record", action="store_true", help="write docs/evidence/bugs.json")
    given = parser.parse_args()
    rows = _rows_of(given.after) if given.after is not None and given.after.exists() else {}
    seeds = range(given.first, given.first + given.seeds)
    hunted = [(name, seeds) for name in given.names or BUGS if name not in rows]
    lost: list[str] = []
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.jobs, maxtasksperchild=8) as pool:
        for finding in pool.imap_unordered(hunt_one, hunted, chunksize=1):
            print(_row(finding), flush=True)
            lost += [finding.bug] if finding.seed is None else []
            rows[finding.bug] = _kept(finding)
            if given.json is not None:  # each at once: a hunt that is cut off has found what it has found
                given.json.write_bytes(orjson.dumps(list(rows.values()), option=orjson.OPT_INDENT_2) + b"\n")
    if given.record:
        _record({row["bug"]: row for row in recorded_rows()} | rows)
    print(f"{len(hunted)} bugs, {len(hunted) - len(lost)} found; not found: {', '.join(lost) or 'none'}")
    return min(1, len(lost))


def _rows_of(file: Path) -> dict[str, dict[str, Any]]:
    """What an earlier part has found; what it did not find is hunted again."""
    return {row["bug"]: row for row in orjson.loads(file.read_bytes()) if row["first seed"] is not None}


def _row(finding: Finding) -> str:
    bug, rate = BUGS[finding.bug], finding.seeds / max(finding.seconds, 1e-9)
    where = "not found" if finding.seed is None else str(finding.seed)
    return f"{bug.name:32} | {bug.rule:5} | {where:>9} | {rate:5.1f}/s | {_short(finding.broken)}"


def _short(text: str) -> str:
    return text.removeprefix("AssertionError: ").replace("\n", " ")[:SHOWN]


def _kept(finding: Finding) -> dict[str, Any]:
    bug = BUGS[finding.bug]
    return {
        "bug": bug.name,
        "rule": bug.rule,
        "story": bug.story,
        "world": ", ".join(f"{setting} {_said(value)}" for setting, value in bug.world.items()) or "any",
        "first seed": finding.seed,
        "what broke": _short(finding.broken),
    }


def _said(value: object) -> str:
    """Say a setting in words: what comes more often, by name."""
    return " ".join(str(one[0]) for one in value) if isinstance(value, tuple) else str(value)


def _record(rows: dict[str, dict[str, Any]]) -> None:
    """Write what was found; the rows of bugs that were not hunted this time stay as they were."""
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
