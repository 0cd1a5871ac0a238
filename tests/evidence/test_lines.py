"""What `--evidence` writes is what ran, however many processes it ran in."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from tests.evidence.record import ROOT

MARKED = "tests/histories/test_failure_rows.py::test_of_a_cancel_and_a_staging_at_the_same_moment_one_wins"


@pytest.mark.parametrize("processes", [pytest.param([], id="one"), pytest.param(["-n", "2"], id="two")])
def test_a_test_that_ran_once_is_counted_once(processes: list[str], tmp_path: Path) -> None:
    file = tmp_path / "lines"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *processes, MARKED]

    subprocess.run([*command, "--evidence", str(file)], cwd=ROOT, check=True, capture_output=True)

    told = [orjson.loads(line)["test"] for line in file.read_bytes().splitlines()]
    assert len(told) == 2  # with look-up and without
    assert len(set(told)) == len(told)
