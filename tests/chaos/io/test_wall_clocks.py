"""
The wall clock jumps by an hour and by a day, forward and back, while a real daemon runs and across its restarts.

libfaketime sets the wall clock of one process and leaves the boot clock real, as an administrator or a time server would.
Leases, the breaker and the pace of heads go by the boot clock; what is paid, and when, by blocks alone.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import pytest
from tests.chaos.io.conftest import Figures
from tests.chaos.io.daemon import Chain, Payer
from tests.reach import UNREACHED, ask, until

from treasuryd.errors import Exit

LIBRARIES: Final = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
HOUR: Final = 3_600
JUMPS: Final = (HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 0)
LATER: Final = 2_000_000  # an epoch that this chain does not reach

pytestmark = pytest.mark.skipif(
    not LIBRARIES and not os.environ.get("CI"), reason="faketime is not installed (.ci/debian-packages)"
)


class Clock:
    """The wall clock of processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    def set(self, offset: int) -> None:
        """Let it be so many seconds off, from now on."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{offset:+d}\n")
        draft.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def health(payer: Payer) -> tuple[int, dict[str, str]]:
    """Status, and each check's verdict."""
    with contextlib.suppress(*UNREACHED):
        status, said = ask(payer.port, "GET", "/health")
        return status, {check["name"]: check["verdict"] for check in said["checks"]}
    return 0, {}


def term(payer: Payer) -> int:
    _, said = ask(payer.port, "GET", "/treasury/executor/status")
    found: int = said["lease_term"]
    return found


def pays_under(payer: Payer, offset: int) -> None:
    """Two payments go through, the one for later does not, and the daemon is well."""
    count = len(payer.memos) + 2
    assert payer.submit(2)
    until(
        f"two more are paid, {offset} s off",
        lambda: sum(item["status"] == "finalized" for item in payer.items()) == count - 1,
        seconds=60,
        else_show=payer.said,
    )
    until("it is well", lambda: health(payer)[0] == 200, seconds=20, else_show=lambda: str(health(payer)))
    assert health(payer)[1]["chain"] == "ok"


@pytest.mark.timeout(300)
def test_jumps_of_the_wall_clock_pay_nothing_early_late_or_twice(
    chain: Chain, tmp_path: Path, figures: Figures
) -> None:
    """§6.1, R16: the lease is held throughout, the head stays believed, the breaker asks on, nothing gets stuck."""
    clock = Clock(tmp_path)
    with Payer(chain, tmp_path / "state", tmp_path) as payer:
        payer.started(clock.environment)
        assert payer.submit(1, scheduled=LATER)
        held = term(payer)
        for offset in JUMPS:
            clock.set(offset)
            pays_under(payer, offset)
        assert term(payer) == held  # nobody lost it, nobody took it
        assert "lease_lost" not in payer.said()

        for offset in JUMPS[3:]:
            assert payer.stopped() == Exit.DONE
            clock.set(offset)
            payer.started(clock.environment)
            pays_under(payer, offset)

        assert "Traceback" not in payer.said()
        paid = chain.payments(payer.account)
        assert dict(paid) == dict.fromkeys(payer.memos[1:], 1)
        (later,) = [item for item in payer.items() if item["memo"] == payer.memos[0]]
        assert later["status"] in {"draft", "timelocked"}
        assert payer.stopped() == Exit.DONE
    figures["jumps of the wall clock"] = {
        "while running": len(JUMPS),
        "across restarts": len(JUMPS[3:]),
        "paid early, twice or stuck": 0,
    }
