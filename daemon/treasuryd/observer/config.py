"""What `main` hands the observer: frozen values, checked once. Seconds by the boot clock, sizes in bytes."""

import math
from dataclasses import dataclass
from typing import Final

from treasuryd.core import urls
from treasuryd.core.observed import MAX_PROVIDERS
from treasuryd.errors import Rejected
from treasuryd.wire.theblock.market import MAX_PAGE_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverConfig:
    """
    Where to read, how often, and every bound.

    Args: rpc_url is a JSON-RPC port; metrics_url the node's metrics as text, None where the RPC method `metrics` is asked.
    Raises: Rejected, naming the field, for a value out of its range.
    """

    rpc_url: str
    metrics_url: str | None = None
    poll_seconds: float = 15.0  # between the end of a round and the next
    pause_seconds: float = (
        0.5  # between two requests: payments share our address, and its limit of 100 a second
    )
    timeout_seconds: float = 5.0  # of one request, answer included
    max_age_seconds: float = 60.0  # an older reading is shown no longer
    ban_seconds: float = 60.0  # silence after the node said that we ask too much
    max_body_bytes: int = 4 * 1024 * 1024
    max_rows: int = 2_000  # read of one list
    max_providers: int = 20  # with a label of their own

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        _require_url("rpc_url", self.rpc_url)
        if self.metrics_url is not None:
            _require_url("metrics_url", self.metrics_url, path=True)
        for name in _POSITIVE:
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, "a finite number above 0")
        _require(self.pause_seconds >= 0, "pause_seconds", "0 or more")
        _require(self.max_rows >= MAX_PAGE_ROWS, "max_rows", f"{MAX_PAGE_ROWS} or more, a page of the node")
        _require(self.max_providers <= MAX_PROVIDERS, "max_providers", f"{MAX_PROVIDERS} at most")


_POSITIVE: Final = (
    "poll_seconds", "timeout_seconds", "max_age_seconds", "ban_seconds", "max_body_bytes", "max_rows", "max_providers",
)  # fmt: skip


def _require(fine: bool, name: str, needed: str) -> None:  # noqa: FBT001  the condition is the message's subject
    if not fine:
        raise Rejected(f"observer setting {name} is out of range: it needs {needed}", field=name)


def _require_url(name: str, url: str, *, path: bool = False) -> None:
    fault = urls.fault_of(url, path=path)
    if fault is not None:
        raise Rejected(
            f"observer.{name} {fault}",
            hint=f"{urls.INSTEAD} A token belongs into observer.token_file.",
            field=name,
        )
