"""
What the executor has the store write after it decided: one frozen class per kind of change.

`Store.record` takes a mixed batch and is one transaction; every change names its account, whose term fences it (R13).
A change is a compare-and-set: where the row no longer stands as the decision assumed, it comes back `NotWritten`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from treasuryd.core.model import (
    AccountId,
    BalanceKind,
    BaseUnits,
    BlockHash,
    ChainState,
    DisbursementId,
    Epoch,
    Evidence,
    Frame,
    FreezeCause,
    Height,
    Hold,
    HouseName,
    IntentId,
    Meaning,
    Nonce,
    Status,
    VariantKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """The lifecycle of a disbursement moved by epochs or votes (protocol.md §2); only the fields of `to` are set."""

    account: AccountId
    disbursement_id: DisbursementId
    was: Status
    to: Status
    vote_deadline_epoch: Epoch | None = None
    weights: Mapping[HouseName, int] | None = None
    activation_epoch: Epoch | None = None
    ready_epoch: Epoch | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSet:
    """A stored hold was found (or, with None, ended) on a disbursement without a live intent, or on a poisoned one."""

    account: AccountId
    disbursement_id: DisbursementId
    hold: Hold | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantStaged:
    """One more variant of a live intent is decided, before anything of it is signed (R1, R6, R7)."""

    account: AccountId
    intent_id: IntentId
    number: int
    kind: VariantKind
    fee: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One variant may have left: broadcast once, whatever the reply says (R4). NOT_SENT is never recorded."""

    account: AccountId
    intent_id: IntentId
    variant: int
    meaning: Meaning
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A variant is in a block: the intent is included, its disbursement executed if the variant is a payment."""

    account: AccountId
    intent_id: IntentId
    variant: int
    height: Height
    block_hash: BlockHash
    fee_charged: BaseUnits
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """The nonce is consumed and nothing proves by what (§5.1): ambiguous, with the two frames of the interval."""

    account: AccountId
    intent_id: IntentId
    first: Frame
    second: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Burned:
    """At finality the nonce belongs to none of this intent's variants (R5 a): void, its disbursement needs release."""

    account: AccountId
    intent_id: IntentId
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockBuried:
    """A block reached the finality depth: its included payments become final, its included cancels void (R5)."""

    account: AccountId
    height: Height
    block_hash: BlockHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """
    A reorg (R9): the baseline returns to `to`, every verdict above it is withdrawn.

    Included and ambiguous intents above `to.height` are broadcast again, their disbursements timelocked; what was
    booked above it is reversed.
    """

    account: AccountId
    to: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineMoved:
    """A frame is accounted for; `keep_from` is the lowest height of the kept frames after it (older ones are dropped)."""

    account: AccountId
    frame: Frame
    keep_from: Height


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """
    A movement of the account's balance that no intent explains: funding, or unexplained (R14).

    With an intent it corrects what was booked as unexplained before that intent was found in a block; it stands as long
    as the intent is placed under a nonce that the baseline shows as consumed.
    """

    account: AccountId
    kind: BalanceKind
    delta: int
    height: Height
    announced: tuple[int, ...] = ()  # announced deposits that this funding used up
    intent_id: IntentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenNow:
    """An account is frozen at first sight; stored in the transaction that found it."""

    account: AccountId
    cause: FreezeCause
    detail: str
    thaw_above: Nonce | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedNow:
    """The store is older than the signer's memory (R12, protocol.md §8): the account acts on nothing until resolved."""

    account: AccountId
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An account is seen for the first time, or thawed: its next nonce is seeded from the chain (R2)."""

    account: AccountId
    next_nonce: Nonce
    baseline: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeDue:
    """Executed items of the account with a final intent whose rollback window is over by `settled` are finalized."""

    account: AccountId
    settled: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainMoved:
    """What is believed of the chain; settled height and epoch never fall, whatever is written. Needs any held lease."""

    account: AccountId
    chain: ChainState


Change = (
    Advanced
    | HoldSet
    | VariantStaged
    | Sent
    | Seen
    | Unproven
    | Burned
    | BlockBuried
    | Rewound
    | BaselineMoved
    | Booked
    | FrozenNow
    | QuarantinedNow
    | Adopted
    | FinalizeDue
    | ChainMoved
)
