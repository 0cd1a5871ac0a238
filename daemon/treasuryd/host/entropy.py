"""Chance as the machine gives it: always the kernel's generator, never a seeded one."""

import secrets
from typing import Final

_MANTISSA_BITS: Final = 53  # what a float in [0, 1) can hold exactly


class SystemEntropy:
    """The `Entropy` port on this machine. Guarantees: unpredictable and independent across processes and forks."""

    def draw(self) -> float:
        """Draw a number in [0, 1), evenly."""
        return secrets.randbits(_MANTISSA_BITS) / (1 << _MANTISSA_BITS)

    def bits63(self) -> int:
        """Draw 63 random bits: they fit a signed 64-bit column."""
        return secrets.randbits(63)

    def new_id(self) -> str:
        """Make a fresh id of 128 random bits, as 32 lower-case hex digits."""
        return secrets.token_hex(16)
