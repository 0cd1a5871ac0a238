"""Whoever wants payments: submits with idempotency keys until answered, sometimes twice, and cancels some."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.fleet import Fleet
from tests.reach import UNREACHED, ask

PAYEES: Final = 7
AMOUNTS: Final = (1_000_000, 9_000_000)  # base units: far above any doubt about fees (protocol.md §5.1)
MAX_WAITING: Final = 40  # disbursements on their way; more are not asked for, so that the end is near


@dataclass(slots=True, kw_only=True)
class Order:
    """One request: its key, its items, and the ids that it was answered."""

    key: str
    items: list[dict[str, Any]]
    ids: list[int] = field(default_factory=list)


class Client:
    """
    Submits, retries, cancels, on a thread of its own.

    Every item has a memo of its own, by which the chain tells who was paid; the same order is sent again, sometimes even
    after it was answered, to whichever daemon is there.
    """

    def __init__(
        self,
        fleet: Fleet,
        seed: str,
        *,
        waiting: Callable[[], int],
        seconds: tuple[float, float] = (0.15, 0.6),
    ) -> None:
        self.fleet = fleet
        self.orders: list[Order] = []
        self.cancelled: set[int] = set()  # asked for; the payment may still win
        self.repeats = 0
        self.refused: list[str] = []
        self._seed = seed
        self._draw = random.Random(f"client {seed}")
        self._seconds = seconds
        self._waiting = waiting
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """No new orders; those without an answer are sent until they have one."""
        self._over.set()
        self._thread.join(60)

    @property
    def unanswered(self) -> list[Order]:
        return [order for order in self.orders if not order.ids]

    def settle(self) -> bool:
        """Send again what was never answered; whether all has its answer now."""
        for order in self.unanswered:
            self._send(order)
        return not self.unanswered

    def cancel(self, items: Iterable[int]) -> None:
        """Ask for these to be cancelled; whatever the answer is, it was asked."""
        for item in items:
            self.cancelled.add(item)  # before it is asked for: the answer may get lost
            self._ask(f"/treasury/disbursements/{item}/cancel", {"reason": "changed our mind"})

    def judge(self, outcomes: Mapping[int, bool]) -> None:
        """
        A person says what balances cannot: who was paid, by the chain itself; what was not may be paid anew.

        It is said again until it is taken: below finality depth it is refused.
        """
        for verdict, wanted in (("paid", True), ("void", False)):
            items = [item for item, paid in outcomes.items() if paid is wanted]
            if items:
                self._say("resolve", {"ids": items, "verdict": verdict, "reason": "looked at the chain"})

    def release(self, items: Sequence[int]) -> None:
        """A person lets these be paid anew."""
        self._say("release", {"ids": list(items), "reason": "looked at the chain"})

    def _say(self, verb: str, order: dict[str, Any]) -> None:
        there = list(self.fleet.anyone())
        if there:
            with contextlib.suppress(*UNREACHED):
                ask(there[0].port, "POST", f"/treasury/disbursements/{verb}", order, seconds=3.0)

    def _run(self) -> None:
        while not self._over.wait(self._draw.uniform(*self._seconds)):
            waiting = self.unanswered
            if len(waiting) < 5 and self._waiting() < MAX_WAITING:
                self.orders.append(self._order())
                waiting = [*waiting, self.orders[-1]]
            if waiting:
                self._send(self._draw.choice(waiting))
            if self._draw.random() < 0.1 and self.orders:
                self.repeats += 1
                self._send(self._draw.choice(self.orders))
            if self._draw.random() < 0.25:
                self._cancel()

    def _order(self) -> Order:
        number = len(self.orders)
        items = [
            {
                "destination": self._payee(f"{number}x{place}"),
                "amount": self._draw.randint(*AMOUNTS),
                "memo": f"{self._seed} order {number} item {place}",
                "scheduled_epoch": 1,
            }
            for place in range(self._draw.randint(1, 4))
        ]
        return Order(key=f"{self._seed.replace(' ', '-')}-{number}", items=items)

    def _payee(self, own: str) -> str:
        """
        Choose who is paid: with look-up some again and again, without it everybody once.

        Balances that several payments and a cancellation of one interval move together may leave an intent ambiguous
        (protocol.md §5.1), which waits for a person: rarely is what the campaign wants.
        """
        return f"tb1payee{self._draw.randrange(PAYEES) if self.fleet.lookup else own}"

    def _send(self, order: Order) -> None:
        said = self._ask("/treasury/disbursements", {"items": order.items}, key=order.key)
        if said is None:
            return
        ids = [item["id"] for item in said["items"]]
        assert order.ids in ([], ids), f"{order.key} was answered {order.ids}, then {ids}"
        order.ids = ids

    def _cancel(self) -> None:
        known = [item for order in self.orders[-6:] for item in order.ids]
        if known:
            self.cancel([self._draw.choice(known)])

    def _ask(self, path: str, body: object, *, key: str = "") -> Any:
        there = list(self.fleet.anyone())
        if not there:
            return None
        try:
            status, said = ask(self._draw.choice(there).port, "POST", path, body, key=key, seconds=3.0)
        except UNREACHED:
            return None
        if status in {200, 201}:
            return said
        if status < 500 and status != 409:  # 409: too late to cancel
            self.refused.append(f"{status} {path}: {said}")
        return None
