"""
Branch coverage of the code that guards money: `make coverage` (further arguments go to pytest, such as `-n auto`).

What is named in GUARDED has every line and every branch run by the tests named in TESTS, or this fails and says where.
The figures are recorded for docs/evidence.md (`docs/evidence/coverage.json`).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "daemon/treasuryd/"
TESTS = ("tests/core", "tests/store", "tests/contracts", "tests/commands", "tests/executor", "tests/cli")
GUARDED: Mapping[str, Sequence[str]] = {
    "breaker": ("core/breaker.py",),
    "lease": ("core/lease.py",),
    "planner": ("core/planner.py", "core/submission.py"),
    "staging": ("core/staging.py", "core/eligibility.py", "core/limits.py"),
    "confirmation": (
        "core/confirmation.py",
        "core/by_hash.py",
        "core/by_balance.py",
        "core/evidence.py",
        "core/settling.py",
        "core/reorgs.py",
    ),
    "store": ("store/*.py",),
}


def main(arguments: Sequence[str]) -> int:
    """Measure, print what is not covered, record; answers 1 where a test failed or something is not covered."""
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        report = Path(folder) / "report.json"
        tests = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", *TESTS, "-q", "-p", "no:cacheprovider"),
                *(
                    "--cov=treasuryd.core",
                    "--cov=treasuryd.store",
                    "--cov-branch",
                    f"--cov-report=json:{report}",
                ),
                *arguments,
            ],
            cwd=ROOT,
            env=os.environ | {"COVERAGE_FILE": str(Path(folder) / "data")},
            check=False,
        )
        if tests.returncode:
            return tests.returncode
        files: Mapping[str, Any] = orjson.loads(report.read_bytes())["files"]
    rows = [row(name, patterns, files) for name, patterns in GUARDED.items()]
    missing = [place for patterns in GUARDED.values() for place in uncovered(patterns, files)]
    for place in missing:
        print(f"not covered: {place}")
    if not missing:
        from tests.evidence.record import write  # noqa: PLC0415  (only where something is recorded)

        what = "lines and branches of the code that guards money which its own tests run, in percent"
        write("coverage", "make coverage", {"guarded": rows}, what=what)
    return 1 if missing else 0


def row(name: str, patterns: Sequence[str], files: Mapping[str, Any]) -> dict[str, Any]:
    """Sum what was measured of one part."""
    sums = [file["summary"] for _, file in chosen(patterns, files)]
    lines, branches = sum(one["num_statements"] for one in sums), sum(one["num_branches"] for one in sums)
    run = sum(one["covered_lines"] + one["covered_branches"] for one in sums)
    return {
        "part": name,
        "modules": len(sums),
        "lines": lines,
        "branches": branches,
        "percent": round(100 * run / (lines + branches), 2),
    }


def uncovered(patterns: Sequence[str], files: Mapping[str, Any]) -> Iterator[str]:
    """Name each line and each branch that no test ran, and each pattern that names no module."""
    for pattern in patterns:
        if not any(fnmatchcase(name, PACKAGE + pattern) for name in files):
            yield f"{pattern}: no such module was measured"
    for name, file in chosen(patterns, files):
        excluded = file["excluded_lines"]
        yield from (f"{name}:{line} is kept out of the measurement" for line in excluded)
        yield from (f"{name}:{line}" for line in file["missing_lines"])
        # a branch out of a line that never ran is said with the line
        for start, end in file["missing_branches"]:
            if start not in file["missing_lines"]:
                yield f"{name}:{start} -> {'its end' if end < 0 else end}"


def chosen(patterns: Sequence[str], files: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The measured modules that the patterns name."""
    for name, file in sorted(files.items()):
        if any(fnmatchcase(name, PACKAGE + pattern) for pattern in patterns):
            yield name, file


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
