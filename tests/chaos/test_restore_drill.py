"""The drill of the runbook with real processes: pay, back up, pay more, kill, put the old store back, go on."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.fleet import PAYER, Fleet
from tests.matrix import Row
from tests.reach import ask, until

PAY_SECONDS = 60.0


def cli(fleet: Fleet, *words: str) -> "subprocess.CompletedProcess[str]":
    """What a person types."""
    url = f"http://127.0.0.1:{fleet.daemons[0].port}"
    command = [sys.executable, "-m", "treasuryd", "--url", url, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def submitted(fleet: Fleet, memos: list[str]) -> list[int]:
    """Submit one item for each memo; answers the ids."""
    items = [
        {"destination": f"tb1{memo}", "amount": 5_000_000, "memo": memo, "scheduled_epoch": 1}
        for memo in memos
    ]
    status, said = ask(
        fleet.daemons[0].port, "POST", "/treasury/disbursements", {"items": items}, key=memos[0], seconds=20.0
    )
    assert status in {200, 201}, said
    return [item["id"] for item in said["items"]]


def statuses(fleet: Fleet, ids: list[int]) -> set[str]:
    """How they stand; `unanswered` where the daemon says 503: a disk that stands still for a second locks the store."""
    told = [
        ask(fleet.daemons[0].port, "GET", f"/treasury/disbursements/{item}", seconds=20.0) for item in ids
    ]
    assert {status for status, _ in told} <= {200, 503}, told
    return {said["status"] if status == 200 else "unanswered" for status, said in told}


def backed_up(fleet: Fleet, target: Path) -> None:
    """SQLite's own online backup, beside the running daemon."""
    source, copy = sqlite3.connect(fleet.store_file), sqlite3.connect(target)
    source.backup(copy)
    source.close()
    copy.close()


def paid(fleet: Fleet) -> Counter[str]:
    """How often the chain holds each memo."""
    rows: list[dict[str, Any]] = fleet.admin(show="transactions")["transactions"]
    return Counter(row["memo"] for row in rows if row["from"] == PAYER)


def shown(fleet: Fleet) -> Any:
    """`treasuryd quarantine show --json`."""
    told = cli(fleet, "quarantine", "show", "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.mark.timeout(300)
@pytest.mark.matrix(Row.RESTORED)
@pytest.mark.parametrize("journal", [True, False], ids=["journal kept", "journal lost"])
@pytest.mark.parametrize("lookup", [True, False], ids=["look-up", "balances"])
def test_an_old_store_is_put_back_and_everything_is_paid_once(
    tmp_path: Path, *, lookup: bool, journal: bool, injected: Callable[[int], None]
) -> None:
    """kill -9 in the middle of payments; what was paid after the backup is neither paid again nor lost."""
    with Fleet(tmp_path / "fleet", lookup=lookup, names="A") as fleet:
        before = submitted(fleet, [f"before{number}" for number in range(3)])
        until("paid", lambda: statuses(fleet, before) == {"finalized"}, seconds=PAY_SECONDS)
        backup = tmp_path / "backup.db"
        backed_up(fleet, backup)
        after = submitted(fleet, [f"after{number}" for number in range(3)])
        until("paid", lambda: statuses(fleet, after) == {"finalized"}, seconds=PAY_SECONDS)
        late = submitted(fleet, [f"late{number}" for number in range(3)])
        daemon = fleet.daemons[0]
        until(
            "signed",
            lambda: bool(daemon.life.lines) and "executed" in statuses(fleet, late),
            seconds=PAY_SECONDS,
        )

        daemon.kill()
        for path in fleet.store_file.parent.glob(f"{fleet.store_file.name}-*"):
            path.unlink()
        shutil.copyfile(backup, fleet.store_file)
        if not journal:
            shutil.rmtree(fleet.shared / "journal")
        daemon.started()
        injected(1)

        body = {"items": [{"destination": "tb1early", "amount": 1, "memo": "early", "scheduled_epoch": 1}]}
        status, _ = ask(daemon.port, "POST", "/treasury/disbursements", body, key="early", seconds=20.0)
        assert status == 503  # intake is closed
        until("taken up", lambda: all(row["taken_up"] for row in shown(fleet)["accounts"]), seconds=30)
        assert cli(fleet, "breaker", "reset", "--reason", "looked at the chain").returncode == 0
        _resolve(fleet)

        ids = submitted(fleet, ["anew"])
        until("paid", lambda: statuses(fleet, ids) == {"finalized"}, seconds=PAY_SECONDS)
        wanted = {f"{when}{number}" for when in ("before", "after", "late") for number in range(3)} | {"anew"}
        if not journal:
            _release_unpaid(fleet)
        until("all paid", lambda: wanted <= paid(fleet).keys() or not journal, seconds=PAY_SECONDS)
        assert set(paid(fleet).values()) == {1}, paid(fleet)
        # without the journal an item that the signer never saw is lost with it: it was submitted and not yet bound
        assert {f"before{n}" for n in range(3)} | {f"after{n}" for n in range(3)} | {"anew"} <= paid(
            fleet
        ).keys()


def _resolve(fleet: Fleet) -> None:
    """Judge by the chain what nothing proves, and try until nothing is open."""

    def resolved() -> bool:
        for row in shown(fleet)["accounts"]:
            for item in row["ambiguous"]:
                memo = ask(fleet.daemons[0].port, "GET", f"/treasury/disbursements/{item}")[1]["memo"]
                verdict = "--paid" if paid(fleet)[memo] else "--void"
                cli(fleet, "resolve", str(item), verdict, "--reason", "the chain shows it")
        return (
            cli(fleet, "quarantine", "resolve", PAYER, "--reason", "compared with the chain").returncode == 0
        )

    until("resolved", resolved, seconds=90)


def _release_unpaid(fleet: Fleet) -> None:
    """What the chain does not show is released, item by item."""
    rows = ask(fleet.daemons[0].port, "GET", "/treasury/disbursements/waiting")[1]["items"]
    for row in rows:
        if not paid(fleet)[row["memo"]]:
            cli(fleet, "release", str(row["id"]), "--reason", "the chain does not show it")
