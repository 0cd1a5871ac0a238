"""
Limits that hold a payment and never cancel it: the cap per transfer, the range of an amount (protocol.md §3, R10).

The planner, the staging transaction and `explain` ask the same function. The signer's policy keeps its own limits on
its own counters; that both exist is the point.
"""

from treasuryd.core.model import MAX_AMOUNT, BaseUnits, Hold, Rules


def limit_to_hold(amount: BaseUnits, rules: Rules) -> Hold | None:
    """
    Name the limit that keeps a stored item from being staged now; None when none does.

    A cap that is lowered after intake holds the item; what no amount may be (stored garbage) is held, too.
    """
    over_cap = rules.max_transfer is not None and amount > rules.max_transfer
    return Hold.OVER_TRANSFER_LIMIT if over_cap or not 1 <= amount <= MAX_AMOUNT else None
