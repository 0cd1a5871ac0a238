"""
Time as the machine tells it.

Leases are measured by a clock that never steps back and runs on while the machine sleeps: CLOCK_BOOTTIME on Linux,
CLOCK_MONOTONIC_RAW on macOS. `time.monotonic()` stops during sleep on both, and a woken laptop would believe that it
still leads (protocol.md §6.1).
"""

import asyncio
import sys
import time

from treasuryd.core.model import BootSeconds, UnixSeconds

if sys.platform == "darwin":
    _BOOT_CLOCK = time.CLOCK_MONOTONIC_RAW
else:
    _BOOT_CLOCK = time.CLOCK_BOOTTIME


class SystemClock:
    """
    The `Clock` port on this machine.

    Guarantees: `boot_seconds` never falls within one boot. Does not guarantee: anything across boots, nor that
    `unix_seconds` rises: people and time servers set it.
    """

    def unix_seconds(self) -> UnixSeconds:
        """Say the wall time in seconds since 1970, for records and people."""
        return UnixSeconds(time.time())

    def boot_seconds(self) -> BootSeconds:
        """Say the seconds since boot, those asleep included."""
        return BootSeconds(time.clock_gettime(_BOOT_CLOCK))

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds` (>= 0) of the loop's clock; cancellable."""
        await asyncio.sleep(seconds)
