"""The four answers to "what now?": each error class tells its caller what to do next, and carries a hint for a person."""

from enum import IntEnum, StrEnum


class TreasuryError(Exception):
    """
    What every error of ours has in common: a sentence on what happened, and a hint on what to do.

    Guarantees: `str(error)` is the sentence alone, safe to log once untrusted text in it was capped.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Transient(TreasuryError):
    """The outside did not answer as hoped: the same call may succeed later. Nothing was decided by it."""


class Disputed(Transient):
    """Endpoints answer and contradict each other (protocol.md R9): nothing follows from it until they agree."""


class Refusal(StrEnum):
    """Why a request is rejected; the web ring maps each onto one status or JSON-RPC code."""

    INVALID = "invalid"  # 400: the content is wrong, and stays wrong
    FORBIDDEN = "forbidden"  # 403: no or a wrong token, or policy
    NOT_FOUND = "not_found"  # 404
    CONFLICT = "conflict"  # 409: it clashes with what is stored
    TOO_LARGE = "too_large"  # 413
    UNAVAILABLE = "unavailable"  # 503: quarantine, stopping, intake closed


class Rejected(TreasuryError):
    """
    A person asked for what may not be: tell them; retrying the same request is useless.

    `field` names the place in the request (`items[3].amount`), `kind` the class of the refusal.
    """

    def __init__(
        self, message: str, *, hint: str = "", field: str | None = None, kind: Refusal = Refusal.INVALID
    ) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.kind = kind


class Fenced(TreasuryError):
    """Somebody else owns the account now (protocol.md R13): stop acting for it, do not retry."""


class Corrupt(TreasuryError):
    """What must be true is not: a storage error, a broken invariant, our bug. The process ends (protocol.md §7)."""


class Exit(IntEnum):
    """What a process of ours says when it ends (interfaces.md §3); unit files and scripts decide by it."""

    DONE = 0
    NOT_ALL = 1  # rows refused, or something not paid exactly once
    USAGE = 2
    NOT_REACHED = 69  # no daemon, or no chain
    OUR_BUG = 70
    STORAGE = 74
    LEASE_LOST = 75
    REFUSED = 77  # token or permissions
    CONFIGURATION = 78
    INTERRUPTED = 130
