"""Take a rule away, and a test of its row of the failure matrix has to fail: it proves that the tests test."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from tests.evidence.rules import PROOFS, Proof
from tests.matrix import Row
from tests.simulation.bugs import BUGS

ROOT = Path(__file__).parents[2]
SIDE_BY_SIDE = 2
SECONDS = 280


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a module on its own, from the root."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_each_row_has_a_proof() -> None:
    """The table is complete, and names bugs that are in the catalogue."""
    assert [proof.row for proof in PROOFS] == list(Row)
    assert {proof.bug for proof in PROOFS} <= BUGS.keys()


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.row.name.lower())
def test_each_row_is_marked_on_the_test_that_proves_it(proof: Proof) -> None:
    """`@pytest.mark.matrix(Row.…)` stands on it, so that docs/evidence.md names it, too."""
    file, _, name = proof.test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    above = re.search(rf"((?:^[@ )].*\n)+)(?:async )?def {name}\(", text, flags=re.MULTILINE)
    assert above, proof.test
    assert f"Row.{proof.row.name}" in above[1], proof.test


def test_with_every_rule_in_place_they_all_pass() -> None:
    """One run of all of them."""
    ended = run(
        "pytest", "-p", "no:cacheprovider", "-q", "-x", *dict.fromkeys(proof.test for proof in PROOFS)
    )
    assert ended.returncode == 0, ended.stdout[-3_000:]


@pytest.mark.timeout(300)
def test_without_its_rule_each_fails() -> None:
    """Two processes share the rows between them."""
    rows = [proof.row.name for proof in PROOFS]
    parts = [rows[first::SIDE_BY_SIDE] for first in range(SIDE_BY_SIDE)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        runs = list(pool.map(lambda part: run("tests.evidence.removal", *part), parts))
    said = [
        orjson.loads(line) for ended in runs for line in ended.stdout.splitlines() if line.startswith("{")
    ]
    assert {line["row"] for line in said} == set(rows), [ended.stderr[-2_000:] for ended in runs]
    assert [line for line in said if not line["proved"]] == []
