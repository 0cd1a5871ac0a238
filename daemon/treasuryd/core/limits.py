"""
What may be paid at all: the range of an amount, the cap per transfer, the kill switch (protocol.md §3, §7, R10).

The same functions judge at intake and inside the staging transaction. The signer's policy keeps its own limits on its
own counters; that both exist is the point.
"""

from treasuryd.core.model import MAX_AMOUNT, BaseUnits, Hold, Rules
from treasuryd.errors import Rejected


def check_amount(amount: int, rules: Rules, *, field: str) -> BaseUnits:
    """
    Judge an amount at intake, in base units of BLOCK.

    Args: field is its place in the request (`items[3].amount`).
    Raises: Rejected naming field, value and limit; u64 values above 2^63-1 among them, which no store could hold.
    """
    if not 1 <= amount <= MAX_AMOUNT:
        raise Rejected(
            f"{field}: must be 1 to {MAX_AMOUNT} base units, got {amount}",
            hint="Amounts are integers in base units of BLOCK; split a larger one.",
            field=field,
        )
    if rules.max_transfer is not None and amount > rules.max_transfer:
        raise Rejected(
            f"{field}: {amount} base units are above the limit of {rules.max_transfer} for one transfer",
            hint="Split it, or have the operator raise max_transfer.",
            field=field,
        )
    return BaseUnits(amount)


def limit_to_hold(amount: BaseUnits, rules: Rules, *, kill_switch: bool) -> Hold | None:
    """
    Name the limit that keeps a stored item from being staged now; None when none does.

    A cap that was lowered after intake holds the item; nothing is ever cancelled by a limit.
    """
    if kill_switch:
        return Hold.KILL_SWITCH
    over_cap = rules.max_transfer is not None and amount > rules.max_transfer
    return Hold.OVER_TRANSFER_LIMIT if over_cap or not 1 <= amount <= MAX_AMOUNT else None
