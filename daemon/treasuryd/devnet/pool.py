"""
The mempool of one lane: admitted transactions in order of arrival, and the window from which its fee floor comes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from treasuryd.wire.theblock.fees import PERCENTILE_WINDOW, percentile_floor


@dataclass(slots=True, kw_only=True)
class Offer:
    """
    One transaction as the ledger handles it: decoded when offered, priced when admitted.

    Mutable on purpose, because a relay may change `tip`, and admission fills in what it decides. `genuine` is the
    verdict on the signature, None while nobody has looked.
    """

    tx_id: str
    sender: str
    to: str
    amount: int
    fee: int
    tip: int
    nonce: int
    memo: bytes = b""
    size: int  # bytes of the full form, by which the fee is counted
    pct: int = 100
    lane: int = 0
    signers_missing: bool = False
    genuine: bool | None = None
    message: bytes = b""  # what the signature covers
    public_key: bytes = b""
    signature: bytes = b""
    co_signers: tuple[tuple[bytes, bytes], ...] = ()  # (key, signature) of a transaction with several signers
    base_fee: int = 0  # at admission
    admitted_at: float = 0.0
    rank: float = 0.0  # signed fee per byte

    @property
    def cost(self) -> int:
        """What admission sets aside: amount, tip and the base fee of that moment (base units)."""
        return self.amount + self.tip + self.base_fee


class FloorWindow:
    """
    The last admitted tips per byte of a lane.

    Guarantees: the floor is the percentile that `fees.percentile_floor` defines, in O(log n) per admission.
    """

    __slots__ = ("_arrived", "_sorted", "floor")

    def __init__(self) -> None:
        self._arrived: deque[int] = deque()
        self._sorted: list[int] = []
        self.floor = 0

    def add(self, tip_per_byte: int) -> None:
        """Take in one admitted transaction; the oldest falls out when the window is full."""
        if len(self._arrived) == PERCENTILE_WINDOW:
            oldest = self._arrived.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._arrived.append(tip_per_byte)
        insort(self._sorted, tip_per_byte)
        self.floor = percentile_floor(self._sorted)


class Pending:
    """What one sender has in the pools: by nonce, and how much is set aside for it (base units)."""

    __slots__ = ("by_nonce", "reserved")

    def __init__(self) -> None:
        self.by_nonce: dict[int, Offer] = {}
        self.reserved = 0


class Pool:
    """One lane. Iterates in order of arrival; every step is O(1) except finding the cheapest entry of a full pool."""

    __slots__ = ("_entries", "window")

    def __init__(self) -> None:
        self._entries: dict[str, Offer] = {}
        self.window = FloorWindow()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._entries.values())

    def __contains__(self, tx_id: object) -> bool:
        return tx_id in self._entries

    def add(self, offer: Offer) -> None:
        """Append one admitted transaction."""
        self._entries[offer.tx_id] = offer

    def remove(self, offer: Offer) -> None:
        """Take one out; no error when it is not there."""
        self._entries.pop(offer.tx_id, None)

    def cheapest(self) -> Offer:
        """Find the entry with the lowest signed fee per byte; the later arrival among equals."""
        return min(reversed(self._entries.values()), key=lambda offer: offer.rank)

    def older_than(self, moment: float) -> list[Offer]:
        """List the entries admitted before `moment`; they stand at the front."""
        expired: list[Offer] = []
        for offer in self._entries.values():
            if offer.admitted_at >= moment:
                break
            expired.append(offer)
        return expired
