"""The durable decision to pay: intents, their variants, and what is asked of the signer."""

from dataclasses import dataclass, field
from typing import Final

from treasuryd.core.model.ids import (
    AccountId,
    Address,
    BaseUnits,
    BlockHash,
    Digest,
    DisbursementId,
    Height,
    IntentId,
    Nonce,
    Term,
    TxHash,
    UnixSeconds,
)
from treasuryd.core.model.words import Evidence, Meaning, State, VariantKind


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
    payable_at: UnixSeconds | None = field(
        default=None, compare=False
    )  # told by staging, for people; not kept
    refusals: int = 0  # content refusals in a row (R8)
    cancel_requested: bool = False  # of its disbursement
    winner: int | None = None  # number of the variant in the block
    height: Height | None = None
    block_hash: BlockHash | None = None
    evidence: Evidence | None = None

    def current(self) -> Variant:
        """
        The variant that goes out: the cancel variant once there is one, else the newest payment (R3).

        Of either kind the newest that has bytes: one that the signer will not sign keeps none of the older ones back.
        """
        if len(self.variants) == 1:  # nearly always
            return self.variants[0]
        for kind in (VariantKind.CANCEL, VariantKind.PAYMENT):
            found = [variant for variant in self.variants if variant.kind is kind]
            if found:
                return next((one for one in reversed(found) if one.tx_hash is not None), found[-1])
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
    intent_id: IntentId = IntentId(0)  # that it bound or refused, for whichever account: all share one count


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


CONSUMED: Final = (
    "consumed"  # reason of a row that the signer never bound, and whose nonce the chain has consumed
)


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
