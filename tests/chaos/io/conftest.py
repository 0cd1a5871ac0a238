"""What the I/O faults share: the compiled library, how many rounds are run, and the record of the long form."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.io import shim
from tests.chaos.io.daemon import Chain
from tests.evidence import record

Figures = dict[str, Any]
ROOT = Path(__file__).parents[3]


def spoilt(library: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Run `powercut.py` with its files in a folder, and answer what it found."""
    environment = {**shim.environment(library, folder), "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.io.powercut", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def rounds() -> int:
    """1 in `make test`; `make io-faults` runs many more."""
    return int(os.environ.get("IO_FAULTS_ROUNDS", "1"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`faults.c`, compiled; where that cannot be, in the pipeline it is a failure."""
    able = sys.platform == "linux" and shutil.which("cc")
    if not able and not os.environ.get("CI"):
        pytest.skip(
            "calls on files are made to fail on Linux, by a library that gcc compiles (.ci/debian-packages)"
        )
    return shim.compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One development chain for all daemons."""
    found = Chain(tmp_path_factory.mktemp("chain"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def figures() -> Iterator[Figures]:
    """What the tests counted, kept as evidence where that is asked for."""
    found: Figures = {}
    yield found
    if os.environ.get("IO_FAULTS_RECORD"):
        what = "Faults of the disk, file descriptors and clock: how often each was injected, and what came of it."
        times = os.environ.get("IO_FAULTS_ROUNDS", "1")
        record.write("io-faults", f"make io-faults ROUNDS={times}", found, what=what)
