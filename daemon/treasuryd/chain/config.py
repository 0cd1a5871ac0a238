"""What `main` hands the adapter: frozen values, checked once. Seconds by the boot clock, sizes in bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from treasuryd.core import urls
from treasuryd.core.breaker import QUEUED_SECONDS, BreakerSettings
from treasuryd.core.model import AccountId, Endpoint
from treasuryd.errors import Rejected
from treasuryd.wire.theblock.readings import MAX_FRAME_BYTES
from treasuryd.wire.theblock.replies import MAX_REPLY_BYTES
from treasuryd.wire.theblock.transaction import CHAIN_ID, PUBLIC_KEY_BYTES

NODE_BODY_BYTES: Final = 1_048_576  # the node resets the connection above it (theblock-node.md §2)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """One node: its configured name and the URL of its JSON-RPC port (http or https, no path of its own)."""

    name: Endpoint
    url: str

    def __post_init__(self) -> None:
        fault = urls.fault_of(self.url)
        if fault is not None:
            raise Rejected(f"chain endpoint {self.name}: the url {fault}", hint=urls.INSTEAD, field="url")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig:
    """
    Endpoints in order of preference, and every bound of the adapter.

    Raises: Rejected, naming the field, for a value out of its range.
    """

    endpoints: tuple[EndpointConfig, ...]
    chain_id: int = CHAIN_ID
    payers: Mapping[AccountId, bytes] = field(default_factory=dict)  # account -> public key, for fee probes
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    connect_seconds: float = 5.0
    read_seconds: float = 10.0  # the whole of one reading; the node takes 7 ms, a stalled one a second more
    send_seconds: float = 30.0  # the whole of one broadcast; a verdict alone takes up to 1.5 s
    slow_seconds: float = 8.0  # an answer later than this counts as slow (N16: well above the normal)
    max_requests_per_second: float = 80.0  # the node bans at 100
    burst: int = 16  # so that no second sees more than 80 + 16 requests
    limiter_wait_seconds: float = QUEUED_SECONDS  # a call that would queue longer than this is not made
    ban_seconds: float = 60.0  # silence after a 429 without Retry-After
    max_reply_bytes: int = MAX_REPLY_BYTES
    max_frame_bytes: int = MAX_FRAME_BYTES
    max_body_bytes: int = NODE_BODY_BYTES
    batch_rows: int = 500
    accounts_at_once: int = 4  # broadcasts in parallel where there is no batch; one account is always serial
    frame_attempts: int = 8
    quote_seconds: float = 2.0  # how long a quote stands
    learned_price_seconds: float = 30.0  # how long a price found by probing stands
    max_price_per_byte: int = (
        1024  # probing stops here; above the fee ceiling / 513 bytes it costs no payment
    )
    poll_seconds: float = 5.0  # of `new_heads`

    def __post_init__(self) -> None:
        _require(bool(self.endpoints), "endpoints", "at least one")
        names = [endpoint.name for endpoint in self.endpoints]
        _require(len(set(names)) == len(names), "endpoints", "names that differ")
        _require("*" not in names, "endpoints", "a name other than *, which means all of them")
        _require(self.chain_id == CHAIN_ID, "chain_id", f"{CHAIN_ID}: this build signs for no other chain")
        for account, key in self.payers.items():
            _require(len(key) == PUBLIC_KEY_BYTES, "payers", f"a key of 32 bytes for {account}")
        for name in _POSITIVE:
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, "a finite number above 0")
        longest = self.limiter_wait_seconds + max(self.read_seconds, self.send_seconds)
        _require(
            self.breaker.permit_secs > longest,
            "breaker.permit_secs",
            f"above {longest} s, the longest call with its queue",
        )


_POSITIVE: Final = (
    "connect_seconds", "read_seconds", "send_seconds", "slow_seconds", "max_requests_per_second", "burst",
    "limiter_wait_seconds", "ban_seconds", "max_reply_bytes", "max_frame_bytes", "max_body_bytes", "batch_rows",
    "accounts_at_once", "frame_attempts", "quote_seconds", "learned_price_seconds", "max_price_per_byte",
    "poll_seconds",
)  # fmt: skip


def _require(fine: bool, name: str, needed: str) -> None:  # noqa: FBT001  the condition is the message's subject
    if not fine:
        raise Rejected(f"chain setting {name} is out of range: it needs {needed}", field=name)
