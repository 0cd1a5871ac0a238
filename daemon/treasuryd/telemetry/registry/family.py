"""What the registry says of one exported metric: name, type, unit, labels and their bounds, meaning, who fills it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import prod

from treasuryd.core.model import MAX_ACCOUNTS, MAX_ENDPOINTS
from treasuryd.errors import Corrupt


class Kind(StrEnum):
    """The type of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Unit(StrEnum):
    """What a value counts. Times are seconds, money is base units."""

    SECONDS = "seconds"
    UNIX_SECONDS = "Unix seconds"
    BASE_UNITS = "base units"
    BYTES = "bytes"
    KWH = "kWh"
    BLOCKS = "blocks"
    EPOCHS = "epochs"
    PPM = "ppm"
    BASIS_POINTS = "basis points"
    TRUTH = "0 or 1"
    RATIO = "ratio, 0 to 1"
    FACTOR = "ratio"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """
    One label: either a closed set of values, or names from elsewhere of which there are at most so many.

    `of` says in words what the values are.
    """

    name: str
    of: str
    values: tuple[str, ...] = ()
    at_most: int = 0

    @property
    def bound(self) -> int:
        """How many values there can be."""
        return len(self.values) or self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """
    One metric as it is exported; counters end in `_total`, facts in `_info`.

    `absent` says when it is not exported at all; empty: a running daemon always exports it, every value of closed labels
    included.
    """

    name: str
    kind: Kind
    unit: Unit
    help: str  # one sentence, the same in `/metrics` and in docs/metrics.md
    filled_by: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds, without infinity
    absent: str = ""
    since: str = "0.1.0"

    def __post_init__(self) -> None:
        """Refuse what cannot be exported under this name: our bug, found by the first import."""
        wrong = (
            (self.kind is Kind.COUNTER) != self.name.endswith("_total")
            and self.name not in GAUGES_NAMED_TOTAL
        ) or bool(self.buckets) != (self.kind is Kind.HISTOGRAM)
        if wrong or not all(label.bound for label in self.labels):
            raise Corrupt(f"metric {self.name}: type, name, buckets and bounds of its labels do not agree")

    @property
    def base(self) -> str:
        """The name that the client library is given; it appends `_total` and `_info` by itself."""
        ending = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")
        return self.name.removesuffix(ending)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of its labels, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Under which names its series appear."""
        if self.kind is Kind.HISTOGRAM:
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)

    @property
    def bound(self) -> int:
        """How many series it can have at most; a histogram has its buckets, infinity, sum and count."""
        each = len(self.buckets) + 3 if self.kind is Kind.HISTOGRAM else 1
        return each * prod(label.bound for label in self.labels)

    def places(self) -> Iterable[tuple[str, ...]]:
        """Every combination of closed labels; those that exist from the start."""
        return product(*(label.values for label in self.labels))


# The original's gauges whose names end like a counter's; operators know them so.
GAUGES_NAMED_TOTAL = frozenset(
    {
        "energy_provider_total",
        "energy_pending_credits_total",
        "energy_receipt_total",
        "energy_active_disputes_total",
    }
)


def closed(name: str, kind: type[StrEnum]) -> Label:
    """Make a label of an enum: its members are all the values there are."""
    return Label(name=name, of=f"`{kind.__name__}`", values=tuple(member.value for member in kind))


def chosen(name: str, members: Iterable[StrEnum]) -> Label:
    """Make a label of some members of an enum."""
    found = tuple(members)
    return Label(name=name, of=f"of `{type(found[0]).__name__}`", values=tuple(one.value for one in found))


def capped(name: str, *, of: str, at_most: int) -> Label:
    """Make a label of names from elsewhere: whoever fills it lets at most so many through."""
    return Label(name=name, of=of, at_most=at_most)


ACCOUNT = capped("account", of="accounts of the configuration", at_most=MAX_ACCOUNTS)
ENDPOINT = capped("endpoint", of="endpoints of the configuration", at_most=MAX_ENDPOINTS)
