"""
What the development chain can be told to do wrong.

Two kinds: a *fault* strikes a call a number of times, a *switch* stays as it is set. Both are plain data that the
node asks at named points, so that tests, the simulator and the admin route use the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from treasuryd.devnet.config import Abilities, DevnetConfig


class Wrong(StrEnum):
    """What can go wrong with a call. Each is taken at one place in the path of a request."""

    # on the way in
    DELAY = "delay"  # seconds: the call is handled that much later
    HANG = "hang"  # nothing is handled and nothing answered, until the client goes
    STATUS = "status"  # status: an HTTP error instead of handling
    DROP = "drop"  # the connection is closed instead of handling
    REFUSE = "refuse"  # verdict: a refusal as a result; or code and message: a JSON-RPC error
    DUPLICATE = "duplicate"  # the transaction is delivered twice; the second verdict is answered
    RAISE_TIP = "raise_tip"  # a relay raises the unsigned tip, by setting to what the signed fee allows
    # on the way out, after the call was handled
    DROP_REPLY = "drop_reply"  # the connection is closed instead of answering
    DELAY_REPLY = "delay_reply"  # seconds
    TRUNCATE = "truncate"  # the body ends in the middle
    WRONG_ID = "wrong_id"  # the answer bears another id
    WRONG_BLOCK = "wrong_block"  # a look-up names a block hash that is on no chain
    UNKNOWN_TX = "unknown_tx"  # a look-up does not know what it has


ON_CONNECTION = frozenset(
    {Wrong.DELAY, Wrong.HANG, Wrong.STATUS, Wrong.DROP, Wrong.DROP_REPLY, Wrong.DELAY_REPLY, Wrong.TRUNCATE,
     Wrong.WRONG_ID}
)  # fmt: skip
DEFAULT_METHOD = {Wrong.WRONG_BLOCK: "tx_status", Wrong.UNKNOWN_TX: "tx_status"}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault: what, for which method (None: any), how often yet (None: until cleared)."""

    wrong: Wrong
    method: str | None = "submit_tx"
    times: int | None = 1
    given: Mapping[str, Any] = field(default_factory=dict)


class Faults:
    """
    The faults that wait to strike.

    Guarantees: `take` gives the oldest that fits and counts it down; one that is used up is gone.
    """

    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self.struck: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def add(self, wrong: Wrong, *, method: str | None = None, times: int | None = 1, **given: Any) -> Fault:
        """Let `wrong` strike the next `times` calls of `method` (default: `submit_tx`, look-ups for their faults)."""
        chosen = None if method == "*" else method or DEFAULT_METHOD.get(wrong, "submit_tx")
        fault = Fault(wrong=wrong, method=chosen, times=times, given=given)
        self.waiting.append(fault)
        return fault

    def take(self, wrong: Wrong, method: str) -> Fault | None:
        """Give the fault that strikes this call at this place; None when there is none."""
        return self.take_any((wrong,), {method})

    def take_any(self, wrongs: tuple[Wrong, ...], methods: set[str]) -> Fault | None:
        """Give the oldest fault of one of these kinds that fits one of these methods."""
        for fault in self.waiting:
            if fault.wrong in wrongs and (fault.method is None or fault.method in methods):
                self.struck[fault.wrong] = self.struck.get(fault.wrong, 0) + 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.waiting.remove(fault)
                return fault
        return None

    def clear(self, wrong: Wrong | None = None) -> None:
        """Lift all faults, or those of one kind."""
        self.waiting = [fault for fault in self.waiting if wrong is not None and fault.wrong is not wrong]


@dataclass(slots=True, kw_only=True)
class Switches:
    """
    How the node behaves until told otherwise.

    `lag`: blocks that every reading lies behind. `absurd_index`: tip index reported instead of the true one.
    `poisoned`: the chain lock is poisoned: `submit_tx` says so, headers drop the connection, stream and mining stop.
    `market_stalls_at`: the height at which the energy market and the dashboards' series stand still; None: they live.
    """

    abilities: Abilities
    mining: bool
    signature_delay_seconds: float
    latest_header_panics: bool
    freeze_on_client_bytes: bool
    lag: int = 0
    absurd_index: int | None = None
    poisoned: bool = False
    market_stalls_at: int | None = None

    @classmethod
    def of(cls, config: DevnetConfig) -> Switches:
        """Take the switches' first positions from the configuration."""
        return cls(
            abilities=config.abilities,
            mining=config.mining,
            signature_delay_seconds=config.signature_delay_seconds,
            latest_header_panics=config.latest_header_panics,
            freeze_on_client_bytes=config.freeze_on_client_bytes,
        )
