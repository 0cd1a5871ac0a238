"""
The closed sets that metric labels come from.

A label never carries text from outside: each value is a member of an enum or a name of the configuration, and what is
neither is `other`. Error classes come from types and members, never from the wording of a message.
"""

from enum import StrEnum
from typing import Final, TypeVar

from treasuryd.core.model import Hold, Meaning

OTHER: Final = "other"
Member = TypeVar("Member", bound=StrEnum)


class ExecutionError(StrEnum):
    """Why a payment did not go on, in the words that operators of the original know."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    INVALID_TARGET = "invalid_target"
    STALE_DEPENDENCY = "stale_dependency"
    CIRCULAR_DEPENDENCY = "circular_dependency"
    EXECUTION_FAILED = "execution_failed"
    QUORUM_NOT_REACHED = "quorum_not_reached"
    EPOCH_EXPIRED = "epoch_expired"
    REFUSED = "refused"  # ours: the signer's policy
    OTHER = OTHER


class DependencyFailure(StrEnum):
    """What is wrong with a dependency."""

    CIRCULAR = "circular"
    MISSING = "missing"
    STALE = "stale"
    ROLLED_BACK = "rolled_back_dependency"
    OTHER = OTHER


class TickError(StrEnum):
    """Why a tick failed."""

    FENCED = "fenced"
    CHAIN = "chain"
    STORE = "store"
    SIGNER_WAITS = "signer_waits"
    SIGNER_FORGOT = "signer_forgot"
    SIGNER_REFUSED = "signer_refused"
    SIGNER = "signer"
    OTHER = OTHER


class Result(StrEnum):
    """How the executor's work on an item ended."""

    SUCCESS = "success"
    CANCELLED = "cancelled"
    ERROR = "error"


class CallError(StrEnum):
    """Why a call to a node failed."""

    UNREACHABLE = "unreachable"
    LOST = "lost"
    MALFORMED = "malformed"
    LOCK_POISONED = "lock_poisoned"
    FRAME = "frame"
    QUOTE = "quote"
    FOLLOW = "follow"
    CONFIGURATION = Meaning.CONFIGURATION.value
    NODE_BROKEN = Meaning.NODE_BROKEN.value
    RATE_LIMITED = Meaning.RATE_LIMITED.value
    UNKNOWN = Meaning.UNKNOWN.value
    OTHER = OTHER


class FeeKind(StrEnum):
    """What a fee was paid for."""

    PAYMENT = "payment"
    CANCEL = "cancel"
    FILLER = "filler"


class Stage(StrEnum):
    """How far a payment has come; each is measured from the one before, the first from payable."""

    STAGED = "staged"
    SENT = "sent"
    INCLUDED = "included"
    FINALIZED = "finalized"


class LeaseChange(StrEnum):
    """What became of a lease of this process."""

    CLAIMED = "claimed"
    LOST = "lost"
    RELEASED = "released"


class BackupKind(StrEnum):
    """What a backup holds."""

    JOURNAL = "journal"  # the copy outside the store


EXECUTION_ERROR_OF_HOLD: Final = {
    Hold.DEPENDENCY_FAILED: ExecutionError.STALE_DEPENDENCY,
    Hold.DEPENDENCY_MISSING: ExecutionError.STALE_DEPENDENCY,
    Hold.DEPENDENCY_CIRCULAR: ExecutionError.CIRCULAR_DEPENDENCY,
    Hold.INSUFFICIENT_FUNDS: ExecutionError.INSUFFICIENT_FUNDS,
    Hold.POISONED: ExecutionError.INVALID_TARGET,
    Hold.REFUSED: ExecutionError.REFUSED,
    Hold.APPROVAL_LOST: ExecutionError.QUORUM_NOT_REACHED,
    Hold.AMBIGUOUS: ExecutionError.EXECUTION_FAILED,
    Hold.NEEDS_RELEASE: ExecutionError.EXECUTION_FAILED,
}
DEPENDENCY_FAILURE_OF_HOLD: Final = {
    Hold.DEPENDENCY_FAILED: DependencyFailure.ROLLED_BACK,
    Hold.DEPENDENCY_MISSING: DependencyFailure.MISSING,
    Hold.DEPENDENCY_CIRCULAR: DependencyFailure.CIRCULAR,
}
EXECUTION_ERROR_OF_MEANING: Final = {
    Meaning.INSUFFICIENT_FUNDS: ExecutionError.INSUFFICIENT_FUNDS,
    Meaning.CONTENT_REFUSED: ExecutionError.INVALID_TARGET,
}


def member(kind: type[Member], text: str) -> Member | None:
    """Find the member of an enum with this value; None for every other text."""
    return kind._value2member_map_.get(text)  # type: ignore[return-value]


def label(kind: type[Member], text: str) -> str:
    """Turn text into a label: a member's value, or `other`."""
    found = member(kind, text)
    return OTHER if found is None else found.value
