"""
Limits that hold a payment and never cancel it: the cap per transfer, the range of an amount (protocol.md §3, R10).
And one that intake keeps: how many wait for one item.

The planner, the staging transaction and `explain` ask the same function. The signer's policy keeps its own limits on
its own counters; that both exist is the point.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from treasuryd.core.model import MAX_AMOUNT, BaseUnits, DisbursementId, Hold, Rules

# What directly waits for one item is held or counted anew in the transaction that changes the item. 100,000 took 0.9 to
# 1.4 s on a busy machine with two cores; a lease has to be renewed within 6.5 s.
MAX_DEPENDENTS: Final = 100_000


def limit_to_hold(amount: BaseUnits, rules: Rules) -> Hold | None:
    """
    Name the limit that keeps a stored item from being staged now; None when none does.

    A cap that is lowered after intake holds the item; what no amount may be (stored garbage) is held, too.
    """
    over_cap = rules.max_transfer is not None and amount > rules.max_transfer
    return Hold.OVER_TRANSFER_LIMIT if over_cap or not 1 <= amount <= MAX_AMOUNT else None


def crowded(
    before: Mapping[DisbursementId, int], wanted: Iterable[tuple[int, DisbursementId]]
) -> tuple[int, DisbursementId] | None:
    """
    Find the first row of a request for whose dependency too many items would wait.

    Args: before: how many wait for each already; wanted: (row, what it is to wait for), in the order of the rows.
    """
    counts = Counter(before)
    for row, needed in wanted:
        counts[needed] += 1
        if counts[needed] > MAX_DEPENDENTS:
            return row, needed
    return None
