"""
What the chain observer shows of the node's markets: closed sets of labels, and plain numbers under names of ours.

It decides nothing about money. A number that is not known is not in here: nothing stands in its place, least of all zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from treasuryd.errors import Corrupt

OTHER: Final = "other"  # where a label's value is none of ours
MAX_PROVIDERS: Final = 32  # the most that the settings let have a label of their own; the rest is `other`

Places: TypeAlias = Mapping[
    tuple[str, ...], float
]  # values by their labels, in the registry's order of labels


class ObservedSource(StrEnum):
    """Where the observer reads: the node's JSON-RPC, the text of its metrics."""

    RPC = "rpc"
    METRICS = "metrics"


class ObservedReading(StrEnum):
    """What it reads; each comes, fails and grows old by itself."""

    MARKET_STATE = "market_state"
    RECEIPTS = "receipts"
    CREDITS = "credits"
    DISPUTES = "disputes"
    METRICS = "metrics"

    @property
    def source(self) -> ObservedSource:
        """Where it comes from."""
        return ObservedSource.METRICS if self is ObservedReading.METRICS else ObservedSource.RPC


class ReadingFailure(StrEnum):
    """Why a reading came to nothing."""

    NO_ANSWER = "no_answer"  # no connection, none in time, or it broke
    HTTP_STATUS = "http_status"
    MALFORMED = "malformed"  # not of the protocol, or beyond a bound
    NOT_OFFERED = "not_offered"  # the node does not have this method: an ability that is absent
    UNAUTHORISED = "unauthorised"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"  # another error of the node
    OTHER = OTHER  # an error of ours


class Market(StrEnum):
    """The chain's four markets."""

    STORAGE = "storage"
    COMPUTE = "compute"
    ENERGY = "energy"
    AD = "ad"


class ProviderStatus(StrEnum):
    """Whether a provider has energy on offer."""

    ACTIVE = "active"
    IDLE = "idle"


class SettlementMode(StrEnum):
    """How the energy market settles; the order gives the number that the node's gauge shows."""

    BATCH = "batch"
    REAL_TIME = "real_time"


class ReadingReject(StrEnum):
    """Why the node refused a meter reading or an oracle's submission."""

    INVALID_READING = "invalid_reading"
    STALE_TIMESTAMP = "stale_timestamp"
    AUTHORIZATION_FAILED = "authorization_failed"
    BAD_SIGNATURE = "bad_signature"
    OTHER = OTHER


class SlashReason(StrEnum):
    """Why a provider was slashed."""

    QUORUM = "quorum"
    EXPIRY = "expiry"
    CONFLICT = "conflict"
    OTHER = OTHER


class DisputeState(StrEnum):
    """What became of a dispute."""

    OPEN = "open"
    RESOLVED = "resolved"
    SLASHED = "slashed"
    OTHER = OTHER


class AdRecipient(StrEnum):
    """Who shares in an advertisement's price."""

    PLATFORM = "platform"
    USER = "user"
    PUBLISHER = "publisher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A histogram without labels: how many were at most each bound, cumulative, the last one for infinity; their sum."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float

    def __post_init__(self) -> None:
        """Refuse what is no histogram: our bug."""
        rising = all(before <= after for before, after in zip(self.counts, self.counts[1:], strict=False))
        if len(self.counts) != len(self.bounds) + 1 or not rising:
            raise Corrupt("a histogram whose counts do not fit its bounds", hint="This is a bug: report it.")

    @classmethod
    def empty(cls, bounds: tuple[float, ...]) -> "Distribution":
        """Begin with nothing counted."""
        return cls(bounds=bounds, counts=(0.0,) * (len(bounds) + 1), total=0.0)

    def plus(self, value: float) -> "Distribution":
        """Count one value more."""
        counts = [
            count + (value <= bound)
            for count, bound in zip(self.counts, (*self.bounds, float("inf")), strict=True)
        ]
        return Distribution(bounds=self.bounds, counts=tuple(counts), total=self.total + value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Numbers by the names under which they are exported; a name or a place that is not known is not there."""

    series: Mapping[str, Places] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)

    def over(self, other: "Observed") -> "Observed":
        """Lay this over another one: where both know a name, this one's word counts."""
        return Observed(
            series={**other.series, **self.series},
            distributions={**other.distributions, **self.distributions},
        )


# Of a dispute, in blocks. 3,600 and 7,200 are an hour and two at a block a second, the objective and its alarm.
RESOLUTION_BLOCKS: Final = (
    10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0,
)  # fmt: skip
# The node's default, and beyond its top of 10 s, so that a threshold of 30 s can be told from one of 10 s.
ORACLE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
