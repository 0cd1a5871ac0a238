"""
The values that everything speaks of: one NewType for each id and quantity, one frozen class for each thing.

A value that exists is a valid one; a change is `dataclasses.replace`. Amounts are integers in base units of BLOCK.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType

AccountId = NewType("AccountId", str)  # the paying account; on The Block also its address
Address = NewType("Address", str)
DisbursementId = NewType("DisbursementId", int)  # 1 … 2^63-1, assigned by the store, never used again
IntentId = NewType("IntentId", int)
Nonce = NewType("Nonce", int)  # place in an account's sequence; the first payment of an account has nonce 1
BaseUnits = NewType("BaseUnits", int)  # 0 … 2^63-1
Height = NewType("Height", int)  # number of blocks: 0 on an empty chain, the first block has height 1
Epoch = NewType("Epoch", int)  # height // epoch_blocks
Term = NewType("Term", int)  # the lease's fencing number
Incarnation = NewType("Incarnation", str)  # random id of one process start
Digest = NewType("Digest", str)  # 64 lower-case hex digits, BLAKE3-256
TxHash = NewType("TxHash", str)  # 64 lower-case hex digits
BlockHash = NewType("BlockHash", str)
UnixSeconds = NewType("UnixSeconds", float)  # wall clock: for records and people, never for a decision
BootSeconds = NewType("BootSeconds", float)  # never steps back, runs on in sleep
Ppm = NewType("Ppm", int)  # 0 … 1,000,000
Endpoint = NewType("Endpoint", str)  # configured name of a node

MAX_AMOUNT: Final = 2**63 - 1  # protocol.md §3: larger u64 values are refused at intake
MAX_MEMO_BYTES: Final = 8_192
MAX_DEPENDENCIES: Final = 100
MAX_PPM: Final = 1_000_000


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
    REFUSED = "refused"  # * the signer's policy refused it
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedReceipt:
    """One receipt that the payer expects; their sum equals the amount."""

    account: str
    amount: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A document that a proposal points to."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is voted on. Quorums in ppm of each house's weight, windows in epochs."""

    title: str
    summary: str
    deps: tuple[DisbursementId, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    operators_ppm: Ppm = Ppm(0)
    builders_ppm: Ppm = Ppm(0)
    vote_window_epochs: int = 4
    timelock_epochs: int = 2
    rollback_window_epochs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDisbursement:
    """
    One validated item of a request, before the store gave it an id.

    `depends_on` are stored ids, `depends_on_refs` refs of the same request; at most one source was chosen
    already (interfaces.md §1). `request_digest` is over the item as received.
    """

    account: AccountId
    destination: Address
    amount: BaseUnits
    memo: str
    scheduled_epoch: Epoch
    depends_on: tuple[DisbursementId, ...] = ()
    depends_on_refs: tuple[str, ...] = ()
    expected_receipts: tuple[ExpectedReceipt, ...] = ()
    proposal: Proposal | None = None
    ref: str | None = None
    idempotency_key: str
    request_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Disbursement:
    """One payment, its payload (immutable) and where it stands. Times in Unix seconds."""

    id: DisbursementId
    account: AccountId
    destination: Address
    amount: BaseUnits
    memo: str
    scheduled_epoch: Epoch
    depends_on: tuple[DisbursementId, ...] = ()
    expected_receipts: tuple[ExpectedReceipt, ...] = ()
    proposal: Proposal | None = None
    idempotency_key: str = ""
    request_digest: Digest = Digest("")
    payload_digest: Digest = Digest("")
    status: Status = Status.DRAFT
    created_at: UnixSeconds = UnixSeconds(0.0)
    status_at: UnixSeconds = UnixSeconds(0.0)
    vote_deadline_epoch: Epoch | None = None
    weights: Mapping[HouseName, int] | None = None  # each house's weight, fixed when the vote opened
    activation_epoch: Epoch | None = None
    ready_epoch: Epoch | None = None
    queued_at: UnixSeconds | None = None
    live_intent: IntentId | None = None
    cancel_requested: str | None = None  # the reason given; set for good once requested
    hold: Hold | None = None  # stored holds only (marked * in Hold)
    hold_detail: str = ""
    tx_hash: TxHash | None = None
    fee_paid: BaseUnits | None = None
    executed_height: Height | None = None
    executed_epoch: Epoch | None = None
    executed_at: UnixSeconds | None = None
    evidence: Evidence | None = None
    finalized_at: UnixSeconds | None = None
    rolled_back_at: UnixSeconds | None = None
    reason: str | None = None  # why it was rolled back
    prior_tx: TxHash | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One signed vote as received (interfaces.md §2); `key` and `signature` in hex."""

    disbursement_id: DisbursementId
    house: HouseName
    key: str
    counter: int
    decision: Decision
    signature: str
    taken_at: UnixSeconds = UnixSeconds(0.0)
    seen_epoch: Epoch = Epoch(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Who votes: public keys in hex with their weights; a retired key's old votes count, new ones do not."""

    name: HouseName
    keys: Mapping[str, int] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    min_quorum_ppm: Ppm = Ppm(500_000)

    @property
    def weight(self) -> int:
        """Sum of the weights of all keys; 0 for an empty house, which meets no quorum."""
        return sum(self.keys.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What the operator configured of the protocol: one frozen value, handed in by `main`, read everywhere.

    Blocks, epochs, seconds and base units as the names say; defaults are production's (interfaces.md §4).
    """

    houses: Mapping[HouseName, House] = field(default_factory=dict)
    epoch_blocks: int = 120
    finality_depth: int = 12
    max_blocks_per_second: float = 2.0
    head_max_age_seconds: float = 120.0
    min_vote_window_epochs: int = 4
    min_timelock_epochs: int = 2
    min_rollback_window_epochs: int = 1
    allow_treasury_initiated: bool = False
    dependency_satisfied_by_final: bool = False  # True: a final intent is enough, else `finalized`
    destination_pattern: str = r"^tb1[a-zA-Z0-9]+$"
    max_transfer: BaseUnits | None = None
    fee_ceiling: BaseUnits = BaseUnits(100_000)  # per transaction
    fee_uncertainty_max: BaseUnits = BaseUnits(100_000)
    max_unburned: int = 16
    resend_seconds: float = 30.0  # a sent transaction not seen in a block is sent again
    bump_seconds: float = 300.0  # and after this long priced anew, where the chain replaces
    pool_ttl_seconds: float = 1800.0  # how long the chain's pool keeps what it replaces by nothing
    replaces_pooled: bool = False  # whether the chain replaces a pooled transaction by a dearer one
    head_wait_seconds: float = 600.0
    poison_refusals: int = 3
    movers: frozenset[Address] = frozenset()  # destinations that move by themselves all the time (§5.1)
    sinks: Mapping[AccountId, Address] = field(default_factory=dict)
    batch_min: int = 16
    batch_max: int = 1_000

    def sink_of(self, account: AccountId) -> Address:
        """Where a cancel variant of `account` sends its one unit (protocol.md R7)."""
        return self.sinks.get(account, Address(f"{account}-sink"))


# --- the chain -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an endpoint says of the chain: height = number of blocks, hash of the last one, hash of the first one."""

    endpoint: Endpoint
    height: Height
    block_hash: BlockHash | None  # None on an empty chain
    genesis: BlockHash | None  # hash of header 0; None on an empty chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One block of the chain that an endpoint follows now."""

    height: Height
    block_hash: BlockHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the chain says of one address: balance (base units) and the nonce of its last mined transaction."""

    balance: BaseUnits
    nonce: Nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """
    One consistent reading of the chain (protocol.md §1): the header at its height read the same before and after it.

    `holdings` has one entry for each address that was asked for; None means that the chain does not know it.
    `base_fee` is None where it could not be read.
    """

    height: Height
    block_hash: BlockHash
    base_fee: BaseUnits | None
    holdings: Mapping[Address, Holding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeQuote:
    """What a transaction costs now: base fee per transaction, price per byte of its full form; base units."""

    base_fee: BaseUnits
    per_byte: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One node's word on one broadcast: evidence of what was said, never of what was paid (R4)."""

    meaning: Meaning
    endpoint: Endpoint
    detail: str = ""  # capped, for people
    tx_hash: TxHash | None = None  # the node's, when it names one; a different one is an alarm (R3)
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """
    What a look-up by hash says of one intent.

    `variant` is the number of the variant that is in a block, None when none of those asked for is.
    `as_of` is the height of the same endpoint when it answered: an answer older than a frame proves nothing about it.
    """

    intent_id: IntentId
    as_of: Height
    variant: int | None = None
    height: Height | None = None
    block_hash: BlockHash | None = None
    fee_charged: BaseUnits | None = None


# --- the pipeline ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One set of signed bytes of an intent; `tx_bytes` is None between staging and sealing."""

    number: int  # 1, 2, … within its intent
    kind: VariantKind
    fee: BaseUnits
    tx_bytes: bytes | None = None
    tx_hash: TxHash | None = None
    sent_at: UnixSeconds | None = None  # last time it may have left
    attempts: int = 0
    last_meaning: Meaning | None = None  # what the last reply to it meant; None before the first
    pooled: bool = False  # some reply left open whether a pool holds it (core/submission.may_be_pooled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The durable decision to pay one disbursement (None: a filler) from one account under one nonce."""

    id: IntentId
    account: AccountId
    nonce: Nonce
    disbursement_id: DisbursementId | None
    destination: Address
    amount: BaseUnits
    memo: str
    payload_digest: Digest
    idempotency_key: str
    term: Term  # that staged it
    state: State = State.STAGED
    variants: tuple[Variant, ...] = ()
    staged_at: UnixSeconds = UnixSeconds(0.0)
    sent_at: UnixSeconds | None = None  # first time anything of it may have left
    refusals: int = 0  # content refusals in a row (R8)
    cancel_requested: bool = False  # of its disbursement
    winner: int | None = None  # number of the variant in the block
    height: Height | None = None
    block_hash: BlockHash | None = None
    evidence: Evidence | None = None

    def current(self) -> Variant:
        """The variant that goes out: the cancel variant once there is one, else the newest payment (R3)."""
        for kind in (VariantKind.CANCEL, VariantKind.PAYMENT):
            found = [variant for variant in self.variants if variant.kind is kind]
            if found:
                return found[-1]
        raise AssertionError(f"intent {self.id} has no variant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A disbursement about to be staged: content, fee of the first payment variant; no nonce yet."""

    disbursement_id: DisbursementId
    account: AccountId
    destination: Address
    amount: BaseUnits
    memo: str
    fee: BaseUnits
    payload_digest: Digest
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """What the signer is asked: one variant of one staged intent, with the content it checks for itself (R11)."""

    intent_id: IntentId
    variant: int
    kind: VariantKind
    account: AccountId
    nonce: Nonce
    disbursement_id: DisbursementId | None
    destination: Address  # of the payment, also where `kind` is CANCEL (then the sink receives one unit)
    amount: BaseUnits
    memo: str
    fee: BaseUnits
    payload_digest: Digest
    idempotency_key: str
    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The signer's answer: exactly these bytes, for ever."""

    intent_id: IntentId
    variant: int
    tx_bytes: bytes
    tx_hash: TxHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The highest that the signer ever bound for an account (R11)."""

    nonce: Nonce = Nonce(0)
    disbursement_id: DisbursementId = DisbursementId(0)
    term: Term = Term(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One thing the signer remembers: this nonce of this account belongs to this request, with these bytes."""

    request: SignRequest
    tx_bytes: bytes
    tx_hash: TxHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's word: who, why, when."""

    who: str
    reason: str
    at: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWritten:
    """A row of a batch that was not written, and why; `row` is its place in the batch."""

    row: int
    reason: str  # a short machine word: fenced, changed, held:<hold>, missing …
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(NotWritten):
    """
    The signer's refusal of one row (R11).

    `final` is True for a refusal by policy, stored by the signer for good: the row is unstaged and its nonce
    returned. False (stale term, missing confirmation) voids nothing: the row stays staged and pages.
    `first` marks the row that was refused itself; the rows behind it are refused with it.
    """

    intent_id: IntentId | None = None
    disbursement_id: DisbursementId | None = None
    final: bool = False
    first: bool = False


# --- ownership -------------------------------------------------------------------------------------------


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


# --- what one tick decides from ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One paying account as stored."""

    id: AccountId
    state: AccountState = AccountState.ACTIVE
    cause: str = ""  # FreezeCause value, or the reason of a quarantine
    detail: str = ""
    next_nonce: Nonce | None = None  # None: not adopted yet, the chain's count seeds it (R2)
    high_water: Nonce = Nonce(0)  # the highest nonce ever staged
    baseline: Frame | None = None
    kept: tuple[Frame, ...] = ()  # older kept frames, oldest first, the baseline not among them
    thaw_above: Nonce | None = None  # highest foreign nonce seen; thawing waits until it is burned or gone


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """The chain as stored: what is pinned and what is believed (R15, R16)."""

    chain_id: int
    genesis: BlockHash | None = None
    believed: Height = Height(0)
    risen_at: UnixSeconds = UnixSeconds(0.0)  # wall time when `believed` last rose
    settled_height: Height = Height(0)
    settled: Epoch = Epoch(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """
    When a decision is taken: epochs, heights, clocks and the frame of this tick.

    `believed` is the highest believed head of the endpoints, `lowest` (None: as `believed`) the one that finality is
    judged from (R9: where more than one is configured, one of them alone buries nothing).
    """

    unix: UnixSeconds
    boot: BootSeconds
    believed: Height
    settled: Epoch
    seen: Epoch
    evidence: Evidence
    frame: Frame | None = None  # None: the chain could not be read consistently in this tick
    quote: FeeQuote | None = None
    lowest: Height | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludedBlock:
    """All included intents of one account in one block: they become final, or are taken back, together."""

    account: AccountId
    height: Height
    block_hash: BlockHash
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """
    What the store knows of one account's nonces above its baseline's count and up to the frame's.

    Together they say which consumed nonces are a stranger's although `View.consumed` may be cut and some were placed
    before: by a partly settled tick, or by a baseline that a reorg took back.
    """

    consumed: int = 0  # staged, signed and broadcast ones; `View.consumed` may list fewer
    placed: int = 0  # included, final and ambiguous ones, and void ones whose nonce was burned
    cost: int = 0  # of the placed: amounts and fees charged, for a cancel its one unit and fee (base units)
    burned: Nonce = Nonce(0)  # the highest nonce of this account that is final, or void by a burned nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    What one more intent may have paid to a destination in the interval (§5.1 item 1).

    One for each intent (of every account of the store, this one's placed ones too; live, included or final) to a
    destination of `View.consumed` that is not listed there itself, with a nonce above the one that the lowest
    baseline shows of its account.
    """

    account: AccountId
    nonce: Nonce
    destination: Address
    amount: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A deposit into an account that a person has announced (§5.1 item 3)."""

    id: int
    account: AccountId
    amount: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """
    One consistent reading of the store for the accounts of one tick; every list is bounded by the tick's limit.

    Intents carry their variants; `tx_bytes` are loaded only in `unsent` and `resend`.
    """

    accounts: tuple[Account, ...] = ()
    chain: ChainState
    kill_switch: bool = False
    advancing: tuple[Disbursement, ...] = ()  # draft; voting at its deadline; queued at its activation
    candidates: tuple[Disbursement, ...] = ()  # timelocked, due, nothing stored keeps them, no live intent
    votes: Mapping[DisbursementId, tuple[Vote, ...]] = field(default_factory=dict)  # of the two above
    unsealed: tuple[Intent, ...] = ()  # live intents with a variant that has no bytes yet, nonce order
    unsent: tuple[Intent, ...] = ()  # signed, or with a sealed variant never sent; nonce order
    resend: tuple[
        Intent, ...
    ] = ()  # broadcast, unconsumed, last sent before the resend threshold; nonce order
    consumed: tuple[Intent, ...] = ()  # live and not included, nonce <= the frame's count; nonce order
    cancelling: tuple[Intent, ...] = ()  # live, cancel requested, no cancel variant yet
    blocks: tuple[IncludedBlock, ...] = ()
    intervals: Mapping[AccountId, Interval] = field(default_factory=dict)  # of the accounts that have a baseline
    claims: tuple[Claim, ...] = ()  # what else may have paid the destinations of `consumed`
    announced: tuple[Announced, ...] = ()
    unburned: Mapping[AccountId, int] = field(
        default_factory=dict
    )  # live, not included, above the frame's count
    oldest_sent: Mapping[AccountId, Intent] = field(default_factory=dict)  # head of line: oldest unconsumed
    more: bool = False  # some list was cut: tick again at once


# --- what people read ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The original's filters of the disbursement list (issue: REST list). Bounds are inclusive."""

    statuses: tuple[Status, ...] = ()
    destination: str | None = None
    account: AccountId | None = None
    min_epoch: int | None = None
    max_epoch: int | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    min_created_at: int | None = None
    max_created_at: int | None = None
    min_status_ts: int | None = None
    max_status_ts: int | None = None
    cursor: DisbursementId | None = None  # ids below it, newest first
    limit: int = 50  # 1 … 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of disbursements, newest first."""

    items: tuple[Disbursement, ...]
    next_cursor: DisbursementId | None


class BalanceKind(StrEnum):
    """Why the booked balance of an account moved."""

    FUNDING = "funding"
    EXECUTION = "execution"  # amount and fee of a payment
    CANCELLATION = "cancellation"  # fee and the one unit of a cancel variant
    REVERSAL = "reversal"  # an execution or cancellation taken back by a reorg
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceEvent:
    """One movement of an account's booked balance; `delta` is signed, `balance` is the booked balance after it."""

    id: int
    account: AccountId
    kind: BalanceKind
    delta: int
    fee: BaseUnits
    balance: int
    recorded_at: UnixSeconds
    disbursement_id: DisbursementId | None = None
    height: Height | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReport:
    """One breaker, for people and metrics."""

    endpoint: Endpoint
    call_class: CallClass
    state: BreakerState
    mode: BreakerMode
    failures: int
    successes: int
    rejections: int
    transitions: int
    reopens_in_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOverride:
    """A person's word on one breaker; persisted and audited."""

    endpoint: Endpoint
    call_class: CallClass
    mode: BreakerMode
    reason: str
    who: str = ""
    at: UnixSeconds = UnixSeconds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The executor's last tick, for people and dashboards (the original's snapshot fields); never an input."""

    last_tick_at: UnixSeconds | None = None
    last_success_at: UnixSeconds | None = None
    last_error_at: UnixSeconds | None = None
    last_error: str | None = None
    pending_matured: int = 0
    staged_intents: int = 0
    last_submitted_nonce: Nonce | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What `/health` says of the store."""

    sqlite_version: str
    journal_mode: str
    schema_version: int
    lineage: str
    counts: Mapping[Status, int] = field(default_factory=dict)
    held_for_person: int = 0
    ambiguous: int = 0
