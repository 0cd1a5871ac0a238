"""The closed sets: states, holds, causes, meanings. The same word stands in the database, the API and the log."""

from enum import StrEnum


class Status(StrEnum):
    """Where a disbursement stands (protocol.md §2); also the metric label."""

    DRAFT = "draft"
    VOTING = "voting"
    QUEUED = "queued"
    TIMELOCKED = "timelocked"
    EXECUTED = "executed"
    FINALIZED = "finalized"
    ROLLED_BACK = "rolled_back"


class State(StrEnum):
    """Where an intent stands (protocol.md §3)."""

    STAGED = "staged"  # nonce and payload are bound and durable; nothing is signed
    SIGNED = "signed"  # exactly these bytes are durable and may leave
    BROADCAST = "broadcast"  # in some mempool, perhaps for ever
    INCLUDED = "included"  # in a block that may still be reorganised away
    AMBIGUOUS = "ambiguous"  # its nonce is consumed and nothing proves by what: a person decides, at depth
    FINAL = "final"  # below the finality depth: paid; only a reorg deeper than that reopens it
    VOID = "void"  # proved not paid (protocol.md R5)


class VariantKind(StrEnum):
    """What one set of signed bytes does: pay, or consume the nonce without paying (protocol.md R7)."""

    PAYMENT = "payment"
    CANCEL = "cancel"


class Evidence(StrEnum):
    """How an inclusion was proved (protocol.md §5.1); HASH and BALANCE are also what an adapter offers."""

    HASH = "hash"
    BALANCE = "balance"
    PAYER = "payer"
    PERSON = "person"


class Proof(StrEnum):
    """Why an intent is void (protocol.md R5)."""

    BURNED = "burned"  # (a) at finality its nonce belongs to a hash that is no payment variant of it
    CANCELLED = "cancelled"  # (a), (b) its cancel variant is final
    NEVER_BOUND = "never_bound"  # (c) the signer attests that it never bound it
    JUDGED = "judged"  # (d) a person decided
    FILLED = (
        "filled"  # it was void by one of these; a deep reorg opened its nonce, which a filler has now (R9)
    )


class Hold(StrEnum):
    """Why a disbursement is not being paid right now. A closed set: shown to people, used as a label."""

    # of the item; those marked * are stored with it and end by a person's word or by what is named
    NOT_APPROVED = "not_approved"
    SCHEDULED_LATER = "scheduled_later"
    DEPENDENCY_PENDING = "dependency_pending"
    DEPENDENCY_FAILED = "dependency_failed"  # * a dependency was rolled back
    DEPENDENCY_MISSING = "dependency_missing"  # * stored data names an id that does not exist
    DEPENDENCY_CIRCULAR = "dependency_circular"  # * stored data depends on itself
    CANCEL_REQUESTED = "cancel_requested"
    NEEDS_RELEASE = "needs_release"  # * its intent became void (R5 a, b, d): a person releases it
    REFUSED = "refused"  # * the signer's policy refused it, or nothing would prove that it was paid (§5.1)
    POISONED = "poisoned"  # * every endpoint refused its content
    RESTORED = "restored"  # * came out of a restore and could not be replayed
    APPROVAL_LOST = "approval_lost"  # * recount below quorum; ends when keys change or a person releases it
    AMBIGUOUS = "ambiguous"  # nonce consumed, nothing proves by what
    OVER_TRANSFER_LIMIT = "over_transfer_limit"
    # of the world
    INSUFFICIENT_FUNDS = "insufficient_funds"
    FEE_ABOVE_CEILING = "fee_above_ceiling"
    KILL_SWITCH = "kill_switch"
    BREAKER_OPEN = "breaker_open"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_QUARANTINED = "account_quarantined"
    NO_LEASE = "no_lease"
    CHAIN_UNREACHABLE = "chain_unreachable"
    PIPELINE_FULL = "pipeline_full"  # as many nonces are in flight as the endpoint takes
    NEXT_TICK = "next_tick"  # nothing keeps it: the next tick stages it
    IN_FLIGHT = "in_flight"  # it has a live intent: staged, signed, broadcast or included


class AccountState(StrEnum):
    """Whether an account may act (protocol.md §1, R14, §8)."""

    ACTIVE = "active"
    FROZEN = "frozen"
    QUARANTINED = "quarantined"


class FreezeCause(StrEnum):
    """Why an account is frozen: a closed set, used as a label."""

    FOREIGN_NONCE = "foreign_nonce"  # a consumed nonce that is not ours (R14)
    UNEXPLAINED_FALL = "unexplained_fall"  # the balance fell by more than intents and fees explain (R14)
    DEEP_REORG = "deep_reorg"  # deeper than the finality depth (R9)
    WRONG_CHAIN = "wrong_chain"  # chain id or genesis differs (R15)
    CONSERVATION = "conservation"  # the audit found books and chain apart
    AUDIT = "audit"  # the audit found another rule broken: paid twice, unapproved, otherwise than signed …
    PERSON = "person"


class Meaning(StrEnum):
    """What a node's reply to a broadcast tells us. No member says "not paid" (protocol.md R4)."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"  # duplicate: sender and nonce are pooled
    NONCE_TOO_LOW = "nonce_too_low"
    NONCE_GAP = "nonce_gap"
    FEE_TOO_LOW = "fee_too_low"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    PENDING_LIMIT = "pending_limit"
    POOL_FULL = "pool_full"
    CONTENT_REFUSED = "content_refused"  # destination, overflow, selector: poison (R8)
    CONFIGURATION = "configuration"  # bad signature, unknown sender, missing signatures: page
    REPLAYED = "replayed"  # our replay nonce was used before: again with a fresh one
    NODE_BROKEN = "node_broken"  # lock poisoned, internal error, 5xx
    RATE_LIMITED = "rate_limited"  # 429 or banned
    UNKNOWN = "unknown"  # timeout, lost link, malformed: it may have been accepted
    NOT_SENT = "not_sent"  # the breaker, the limiter or the deadline kept it here


class BreakerState(StrEnum):
    """State of one circuit breaker; the metric's value is its place: 0, 1, 2."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CallClass(StrEnum):
    """One breaker per endpoint and class (protocol.md §7)."""

    SEND = "send"
    READ = "read"


class CallOutcome(StrEnum):
    """What came of a call to a node, for metrics."""

    SUCCESS = "success"  # it answered, slowly or not
    FAILURE = "failure"
    IGNORED = "ignored"  # says nothing of the node: never sent, given up, an ability it lacks
    REJECTED = "rejected"  # our breaker refused it


class BreakerMode(StrEnum):
    """Who decides: the machine, or a person (persisted and audited)."""

    AUTO = "auto"
    FORCED_OPEN = "forced_open"  # the kill switch
    FORCED_CLOSED = "forced_closed"
    METRICS_ONLY = "metrics_only"


class Decision(StrEnum):
    """What a vote says."""

    APPROVE = "approve"
    REJECT = "reject"


class HouseName(StrEnum):
    """The two houses that vote (interfaces.md §2)."""

    OPERATORS = "operators"
    BUILDERS = "builders"


class BalanceKind(StrEnum):
    """Why the booked balance of an account moved."""

    FUNDING = "funding"
    EXECUTION = "execution"  # amount and fee of a payment
    CANCELLATION = "cancellation"  # fee and the one unit of a cancel variant
    REVERSAL = "reversal"  # an execution or cancellation taken back by a reorg
    UNEXPLAINED = "unexplained"
