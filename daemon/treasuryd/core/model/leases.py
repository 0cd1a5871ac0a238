"""Who may act for an account."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treasuryd.core.model.ids import AccountId, BootSeconds, Incarnation, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    """A lease row as a candidate reads it; only changes of (term, beat) mean anything (protocol.md §6.1)."""

    account: AccountId
    holder: str
    incarnation: Incarnation
    machine: str
    folder: str
    term: Term
    beat: int
    released: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who asks for a lease: a name for people, this start's incarnation, machine and state-folder ids."""

    holder: str
    incarnation: Incarnation
    machine: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to act for an account under a term."""

    account: AccountId
    incarnation: Incarnation
    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the keeper last proved: the leases, and the boot second until which they are surely ours."""

    leases: Mapping[AccountId, Lease] = field(default_factory=dict)
    until: BootSeconds = BootSeconds(0.0)

    def valid(self, now: BootSeconds) -> bool:
        """Whether an effect may start now (protocol.md §6.3)."""
        return bool(self.leases) and now < self.until
