"""
From a quote to a fee, and to the next fee on the same nonce (protocol.md R6, §2).

A fee above the ceiling is no error and no cancellation: it is None, and the payment waits.
"""

from typing import Final

from treasuryd.core.model import BaseUnits, FeeQuote
from treasuryd.errors import Corrupt

# Nodes that replace ask for a tenth more; an eighth is surely above it and is a shift, not a division of floats.
BUMP_DIVISOR: Final = 8


def fee_for(quote: FeeQuote, *, size: int, ceiling: BaseUnits) -> BaseUnits | None:
    """
    Price one transaction at the quote; None when it is above the ceiling.

    Args: size of its full signed form in bytes (> 0); ceiling in base units per transaction.
    Raises: Corrupt for a size or a quote below zero: our own arithmetic, or an adapter that let nonsense through.
    """
    if size <= 0 or quote.base_fee < 0 or quote.per_byte < 0:
        raise Corrupt(
            f"fees: asked to price {size} bytes at a base fee of {quote.base_fee} and {quote.per_byte} per byte",
            hint="This is a bug in treasuryd: report it with this line.",
        )
    return _under(quote.base_fee + quote.per_byte * size, ceiling)


def bumped(dearest: BaseUnits, *, needed: BaseUnits | None, ceiling: BaseUnits) -> BaseUnits | None:
    """
    Say the fee of the next variant on the same nonce; None when it would be above the ceiling, or nothing is known.

    Args: dearest fee of the variants so far; needed is what the chain asks now, as `fee_for` priced it (None: that is
        already above the ceiling).
    Guarantees: strictly above `dearest`, by an eighth of it at least, and not below `needed`.
    """
    if needed is None:
        return None
    step = max(1, -(-dearest // BUMP_DIVISOR))  # rounded up: an eighth at least
    return _under(max(dearest + step, needed), ceiling)


def _under(fee: int, ceiling: BaseUnits) -> BaseUnits | None:
    return BaseUnits(fee) if fee <= ceiling else None
