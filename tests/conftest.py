"""What every test may use: evidence of the failure matrix, and planted bugs (`--plant`)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.matrix import Row

INJECTED = "injected"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--evidence", metavar="FILE", help="write what the marked tests injected to FILE (JSON lines)"
    )
    parser.addoption("--plant", metavar="NAME", help="run with a bug of tests/simulation/bugs planted")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "matrix(*rows): the rows of the failure matrix that this test injects")


@pytest.fixture(scope="session", autouse=True)
def _planted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Break one rule for the whole run, so that a test can be seen to fail without it."""
    name = request.config.getoption("--plant")
    if not name:
        yield
        return
    from tests.simulation.bugs import planted  # noqa: PLC0415  (the catalogue is needed for this alone)

    with planted(name):
        yield


@pytest.fixture(scope="session", autouse=True)
def _ordinary_umask() -> Iterator[None]:
    """What a test makes is no folder that others may write, whoever runs it: a daemon refuses those."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Tell how many times a marked test injected its rows; a test that says nothing did so once."""

    def tell(times: int) -> None:
        request.node.user_properties.append((INJECTED, times))

    return tell


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        rows = [row.name for mark in item.iter_markers("matrix") for row in mark.args if isinstance(row, Row)]
        report.matrix_rows = rows
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("matrix"):
            if not mark.args or not all(isinstance(row, Row) for row in mark.args):
                raise pytest.UsageError(f"{item.nodeid}: matrix() names rows of tests.matrix.Row")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write one line per marked test that ran: what it injected, how often, and how it ended."""
    target = config.getoption("--evidence")
    if not target or hasattr(config, "workerinput"):
        return  # a worker's tests are told by the process that began it, too
    with Path(target).open("ab") as file:
        for outcome in ("passed", "failed", "error"):
            for report in terminalreporter.stats.get(outcome, []):
                rows = getattr(report, "matrix_rows", None)
                if rows:
                    times = sum(value for name, value in report.user_properties if name == INJECTED) or 1
                    line = {"test": report.nodeid, "rows": rows, "times": times, "outcome": outcome}
                    file.write(orjson.dumps(line) + b"\n")
