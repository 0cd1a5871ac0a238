"""
Make the record of the failure matrix: `python -m tests.evidence.collect` (`make evidence-matrix`).

Runs every test that is marked with a row, then each row's proof without its rule, and writes docs/evidence/matrix.json.
`--after FILE`: the marked tests ran already, in a run of all: `make test ARGS="--evidence FILE"`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from tests.evidence.record import ROOT, write
from tests.evidence.rules import PROOFS
from tests.matrix import Row

COMMAND = "make evidence-matrix"


def main() -> int:
    """Run everything; answers 1 when a test failed or a row was not proved."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--after", type=Path, metavar="FILE", help="what the marked tests told in a run of all"
    )
    given = parser.parse_args()
    marked = _by_row(given.after) if given.after is not None else _marked()
    proved = _proved()
    rows = [
        _row(proof.row, marked[proof.row.name], proof, proved.get(proof.row.name, {})) for proof in PROOFS
    ]
    figures = {
        "rows": len(rows),
        "rows without a passing test": [row["row"] for row in rows if row["result"] != "passed"],
        "rows that no test misses without their rule": [row["row"] for row in rows if not row["noticed"]],
        "injections": sum(row["times"] for row in rows),
        "matrix": rows,
    }
    what = "Each row of the failure matrix (protocol.md §9): the tests that inject it, and one that fails without its rule."
    write("matrix", COMMAND, figures, what=what)
    return int(any(row["result"] != "passed" or not row["noticed"] for row in rows))


def _marked() -> dict[str, list[dict[str, Any]]]:
    """Run all marked tests; answers what they told, by row."""
    with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
        file = Path(folder) / "lines"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "matrix",
            "-q",
            "-p",
            "no:cacheprovider",
            "--evidence",
            str(file),
        ]
        subprocess.run(command, cwd=ROOT, check=False)
        return _by_row(file)


def _by_row(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Read what marked tests told, a line each."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in file.read_bytes().splitlines() if file.exists() else ():
        told = orjson.loads(line)
        for row in told["rows"]:
            found[row].append(told)
    return found


def _proved() -> dict[str, dict[str, Any]]:
    """Run the proofs, two processes side by side."""
    names = [proof.row.name for proof in PROOFS]

    def run(part: list[str]) -> str:
        command = [sys.executable, "-m", "tests.evidence.removal", *part]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    with ThreadPoolExecutor(2) as pool:
        said = "\n".join(pool.map(run, (names[::2], names[1::2])))
    lines = [orjson.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {line["row"]: line for line in lines}


def _row(row: Row, told: list[dict[str, Any]], proof: Any, run: dict[str, Any]) -> dict[str, Any]:
    tests: defaultdict[str, int] = defaultdict(int)
    for each in told:
        tests[each["test"].partition("[")[0]] += each["times"]
    bad = sorted({each["test"] for each in told if each["outcome"] != "passed"})
    return {
        "row": row.value,
        "injected by": [f"`{test}` x {times}" for test, times in sorted(tests.items())],
        "times": sum(tests.values()),
        "result": ("passed" if not bad else f"failed: {', '.join(bad)}") if told else "no test",
        "rule removed by": proof.bug,
        "noticed": bool(run.get("proved")),
        "to reproduce": f"`pytest {proof.test}`, and with `--plant {proof.bug}`",
    }


if __name__ == "__main__":
    sys.exit(main())
