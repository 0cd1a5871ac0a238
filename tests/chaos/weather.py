"""The chain's moods: what it does wrong, drawn from a seed, told over its admin route until the weather is over."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from tests.chaos.fleet import PAYER, Fleet
from tests.reach import UNREACHED

DEPTH: Final = 3  # the finality depth of the fleet's settings: deeper reorgs freeze, which is another test
DUST: Final = 3  # base units; all that comes in one interval stays far below half of any amount
FALSE_WORDS: Final = (
    "Duplicate",
    "NonceGap",
    "MempoolFull",
    "FeeTooLow",
    "InsufficientBalance",
    "PendingLimitReached",
)
METHODS: Final = ("submit_tx", "*")

Mood = Callable[[random.Random], dict[str, Any]]
MOODS: Final[tuple[tuple[int, Mood], ...]] = (
    (6, lambda draw: {"fault": "reorg", "depth": draw.randint(1, DEPTH), "then": draw.choice(("again", "later"))}),
    (3, lambda draw: {"fault": "reorg", "depth": draw.randint(1, DEPTH), "then": "never"}),
    (6, lambda _: {"fault": "lose_pool"}),
    (2, lambda _: {"fault": "restart"}),
    (4, lambda draw: {"fault": "status", "status": draw.choice((500, 503)), "times": draw.randint(1, 4),
                      "method": draw.choice(METHODS)}),
    (3, lambda draw: {"fault": "delay", "seconds": draw.uniform(0.1, 1.5), "method": draw.choice(METHODS)}),
    (3, lambda draw: {"fault": "delay_reply", "seconds": draw.uniform(0.1, 2.5)}),
    (6, lambda draw: {"fault": "drop_reply", "times": draw.randint(1, 3)}),
    (3, lambda draw: {"fault": "drop", "times": draw.randint(1, 3), "method": draw.choice(METHODS)}),
    (2, lambda _: {"fault": "truncate"}),
    (2, lambda draw: {"fault": "wrong_id", "method": draw.choice(METHODS)}),
    (1, lambda draw: {"fault": "hang", "method": draw.choice(METHODS)}),
    (4, lambda _: {"fault": "duplicate"}),
    (5, lambda draw: {"fault": "refuse", "verdict": draw.choice(FALSE_WORDS)}),
    (2, lambda _: {"fault": "raise_tip"}),
    (4, lambda draw: {"fault": "lag", "blocks": draw.randint(1, 6)}),
    (1, lambda _: {"fault": "absurd_height", "height": 10**9}),
    (2, lambda draw: {"fault": "mining", "on": False}),
    (3, lambda draw: {"fault": "dust", "to": PAYER, "amount": draw.randint(1, DUST)}),
)  # fmt: skip
LASTING: Final = frozenset({"lag", "absurd_height", "mining", "lose_pool"})  # taken back a moment later
LOOKUP_MOODS: Final = (
    "wrong_block",
)  # a look-up that forgets a payment freezes by design (R14): not among these


class Weather:
    """Changes the chain's mood at random intervals, on a thread of its own; `clear` ends it for good."""

    def __init__(self, fleet: Fleet, seed: str, *, seconds: tuple[float, float] = (0.1, 0.9)) -> None:
        self.fleet = fleet
        self.told: Counter[str] = Counter()
        self.lost = 0  # transactions that fell out of pools
        self.struck: Counter[str] = Counter()  # faults that met a call
        self._draw = random.Random(f"weather {seed}")
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def clear(self) -> None:
        """Fair weather from now on."""
        self._over.set()
        self._thread.join(30)
        self.note()
        self.fleet.admin(fault="clear")
        self.fleet.admin(fault="mining", on=True)

    def note(self) -> None:
        """Add up what struck so far; also asked for before the chain's process dies, which forgets it."""
        try:
            self.struck += Counter(self.fleet.admin(show="status")["struck"])
        except UNREACHED:
            return

    def _run(self) -> None:
        while not self._over.wait(self._draw.uniform(*self._seconds)):
            command = self._mood()
            try:
                if command["fault"] == "lose_pool":  # once there is something in it
                    self.fleet.admin(fault="mining", on=False)
                    self._over.wait(self._draw.uniform(0.2, 0.8))
                said = self.fleet.admin(**command)
                self.told[command["fault"]] += 1
                self.lost += said.get("lost", 0)
                if command["fault"] in LASTING:
                    self._over.wait(self._draw.uniform(0.3, 1.5))
                    self.fleet.admin(fault="mining", on=True)
                    self.fleet.admin(fault="lag", blocks=0)
                    self.fleet.admin(fault="absurd_height", height=None)
            except UNREACHED:
                continue  # the chain's process is down: weather enough

    def _mood(self) -> dict[str, Any]:
        if self.fleet.lookup and self._draw.random() < 0.05:
            return {"fault": self._draw.choice(LOOKUP_MOODS)}
        weights = [weight for weight, _ in MOODS]
        ((_, mood),) = self._draw.choices(MOODS, weights)
        return mood(self._draw)
