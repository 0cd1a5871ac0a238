"""Real processes, killed with SIGKILL at random moments, in both kinds of evidence: every disbursement is paid once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STORIES = 4
KILLS_PER_STORY = 5
FINISH_SECONDS = 90


def batch(story: int) -> dict[str, Any]:
    """Write a batch with a chain of dependencies, a vote and many equal moments to die in."""
    items: list[dict[str, Any]] = [
        {
            "ref": f"r{number}",
            "destination": f"tb1kill{story}x{number % 5}",
            "amount": 1_000 * (number + 1),
            "memo": f"story {story}, item {number}",
            "scheduled_epoch": 1 + number // 6,
        }
        for number in range(24)
    ]
    items[20]["depends_on_refs"] = ["r0", "r19"]
    items[21]["depends_on_refs"] = ["r20"]
    items[23]["proposal"] = {
        "title": "Voted on while processes die",
        "summary": "Its window is long enough for several restarts.",
        "quorum": {"operators_ppm": 500_000, "builders_ppm": 500_000},
        "vote_window_epochs": 6,
        "timelock_epochs": 1,
        "rollback_window_epochs": 1,
    }
    return {"items": items}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("profile", ["dev", "real"], ids=["evidence HASH", "evidence BALANCE"])
def test_twenty_kills_pay_every_disbursement_once(profile: str, tmp_path: Path) -> None:
    """D2, N3: SIGKILL at any moment, the chain's pool lost with it, and after the last start everything is paid once."""
    draw = random.Random(f"kills on {profile}")
    killed = 0
    for story in range(STORIES):
        folder = tmp_path / f"story{story}"
        sample = tmp_path / f"story{story}.json"
        sample.write_text(json.dumps(batch(story)))
        for _ in range(KILLS_PER_STORY):
            killed += _killed_after(draw.uniform(0.8, 2.6), profile, folder, sample)
        _finishes(profile, folder, sample)
    assert killed >= STORIES * KILLS_PER_STORY - 4  # a story may end before its last kill, seldom


def _command(profile: str, folder: Path, sample: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "treasuryd", "demo", "--json"),
        *("--config", str(ROOT / "config" / "dev.toml")),
        *("--state-folder", str(folder), "--sample", str(sample), "--set", f"devnet.profile={profile}"),
    ]


def _killed_after(seconds: float, profile: str, folder: Path, sample: Path) -> bool:
    """Start, wait, kill; says whether there was anything left to kill."""
    process = subprocess.Popen(
        _command(profile, folder, sample), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ
    )
    time.sleep(seconds)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert alive or process.returncode == 0, said.decode()
    return alive


def _finishes(profile: str, folder: Path, sample: Path) -> None:
    done = subprocess.run(
        _command(profile, folder, sample), capture_output=True, timeout=FINISH_SECONDS, check=False
    )
    assert done.returncode == 0, f"{done.stdout.decode()}\n{done.stderr.decode()}"
    summary = json.loads(done.stdout)
    assert summary["fine"] is True
    assert summary["strangers"] == 0
    assert {1} == {item["payments_on_chain"] for item in summary["items"]}
    assert {"finalized"} == {item["status"] for item in summary["items"]}
