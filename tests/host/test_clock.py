import subprocess
import sys
import time

import pytest

from treasuryd.host.clock import SystemClock


def test_the_boot_clock_never_steps_back() -> None:
    """Leases are measured by it."""
    clock = SystemClock()
    readings = [clock.boot_seconds() for _ in range(1_000)]
    assert sorted(readings) == readings


def test_the_boot_clock_is_the_same_for_every_process() -> None:
    """It counts from the boot of the machine, not from the start of the process."""
    before = SystemClock().boot_seconds()
    program = "from treasuryd.host.clock import SystemClock; print(SystemClock().boot_seconds())"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert before <= float(answer.stdout) <= SystemClock().boot_seconds()


def test_the_boot_clock_counts_the_time_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """§6.1: `time.monotonic()` stands still while a laptop sleeps: a woken one would believe that it still leads."""
    asked: list[int] = []

    def read(clock: int) -> float:
        asked.append(clock)
        return 1.0

    monkeypatch.setattr(time, "clock_gettime", read)
    SystemClock().boot_seconds()
    assert asked == [time.CLOCK_MONOTONIC_RAW if sys.platform == "darwin" else time.CLOCK_BOOTTIME]


def test_wall_time_is_that_of_this_century() -> None:
    """Records carry Unix seconds."""
    assert SystemClock().unix_seconds() > 1_600_000_000


async def test_sleeping_gives_way_and_comes_back() -> None:
    """A sleep of nothing ends at once."""
    clock = SystemClock()
    before = clock.boot_seconds()
    await clock.sleep(0)
    assert clock.boot_seconds() - before < 1
