"""`treasuryd metrics` and the script on top of it, against a server whose metrics a test chooses."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Told, serving
from tests.fakes import FakeWorld
from tests.telemetry.conftest import FakeOffice, listening

from treasuryd.errors import Exit
from treasuryd.telemetry import registry

ROOT = Path(__file__).parents[2]
Call = Callable[..., Told]


class Exporter:
    """What the daemon answers at `/metrics`."""

    def __init__(self) -> None:
        self.extra = ""
        self.telemetry = listening().telemetry
        self.telemetry.watch(FakeOffice())

    def exposition(self, accept: str) -> tuple[str, bytes]:
        kind, body = self.telemetry.exposition(accept)
        return kind, body + self.extra.encode()


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def url(exporter: Exporter) -> Iterator[str]:
    with serving(FakeWorld(), exposition=exporter.exposition, refresh=exporter.telemetry.refresh) as found:
        yield found


def check(call: Call, url: str, *more: Any) -> Told:
    folder, page = ROOT / "monitoring", ROOT / "docs" / "metrics.md"
    return call("--url", url, "metrics", "check", "--monitoring", folder, "--page", page, *more)


def test_a_daemon_that_exports_all_that_is_watched_passes(call: Call, url: str) -> None:
    """What may be absent is told and is no failure."""
    told = check(call, url)
    assert told.code == Exit.DONE, told.err
    assert "0 wrong." in told.out
    assert "absent while the observer is off" in told.out


def test_what_is_exported_and_not_declared_is_listed(call: Call, url: str, exporter: Exporter) -> None:
    """Exit 1, with the list."""
    exporter.extra = "smuggled_total 1\n"
    told = check(call, url)
    assert told.code == Exit.NOT_ALL
    assert "smuggled_total: exported, and the registry does not know it" in told.err


def test_what_is_watched_and_not_exported_is_listed(call: Call, url: str, tmp_path: Path) -> None:
    """The original's dashboards, for instance; without a page nothing is documented."""
    board = {"panels": [{"targets": [{"expr": "sum(treasury_disbursement_pipeline_total)"}]}]}
    (tmp_path / "board.json").write_text(json.dumps(board))
    told = call(
        "--url", url, "metrics", "check", "--monitoring", tmp_path, "--page", tmp_path / "none.md", "--json"
    )
    assert told.code == Exit.NOT_ALL
    found = json.loads(told.out)
    assert found["unknown"] == [
        "treasury_disbursement_pipeline_total: nothing exports or records it (board.json)"
    ]
    assert "treasury_kill_switch: exported, and not in the page" in found["undocumented"]
    assert set(found["unknown"]) < set(found["wrong"])


def test_a_daemon_that_is_away_is_no_coverage(call: Call) -> None:
    """Nor is something else that answers."""
    told = check(call, "http://127.0.0.1:9")
    assert told.code == Exit.NOT_REACHED


def test_a_server_without_metrics_is_no_daemon_of_ours(call: Call) -> None:
    """404 is an answer, and not the one."""
    with serving(FakeWorld()) as url:
        told = check(call, url)
    assert told.code == Exit.NOT_REACHED
    assert "status 404" in told.err


def test_the_list_names_every_metric_without_a_daemon(call: Call) -> None:
    """And the bound on series."""
    told = call("metrics", "list")
    assert told.code == Exit.DONE
    assert f"{len(registry.ALL)} metrics, at most {registry.SERIES_BOUND} series." in told.out
    found = json.loads(call("metrics", "list", "--json").out)
    assert [one["name"] for one in found["metrics"]] == [one.name for one in registry.ALL]
    assert found["bound"] == registry.SERIES_BOUND


@pytest.mark.parametrize("wrong", [False, True])
def test_the_script_says_the_same_by_its_exit_code(
    url: str, exporter: Exporter, wrong: bool, tmp_path: Path
) -> None:
    """For a pipeline that has a shell only."""
    program = tmp_path / "treasuryd"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT / "daemon"} exec {sys.executable} -m treasuryd "$@"\n')
    program.chmod(0o755)
    exporter.extra = "smuggled_total 1\n" if wrong else ""
    answer = subprocess.run(
        ["sh", ROOT / "monitoring" / "verify_metrics_coverage.sh", url],
        env={"PATH": "/usr/bin:/bin", "TREASURYD": str(program)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == (1 if wrong else 0), answer.stderr
    assert ("smuggled_total" in answer.stderr) is wrong
