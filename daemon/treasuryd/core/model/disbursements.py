"""What is to be paid, who voted on it, and the rules that the operator configured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treasuryd.core.model.ids import (
    AccountId,
    Address,
    BaseUnits,
    Digest,
    DisbursementId,
    Epoch,
    Height,
    IntentId,
    Ppm,
    TxHash,
    UnixSeconds,
)
from treasuryd.core.model.words import Decision, Evidence, Hold, HouseName, Status


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
