"""
May this be signed? Decided from what was signed before: one request at a time, in nonce order.

Pure: `ledger.py` loads what is known, asks here, and writes what came of it in the same transaction. The rules are
those of protocol.md R11.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    Digest,
    DisbursementId,
    IntentId,
    Marks,
    Nonce,
    SignRequest,
    Term,
    TxHash,
    VariantKind,
)
from treasuryd.signer.policy import Objection, Policy, objection


class Waiting(StrEnum):
    """Why a request is refused without a final word: nothing is void, the row stays staged, and pages."""

    NO_LEASE = "no_lease"  # nobody shows a lease for this account
    STALE_TERM = "stale_term"  # a newer holder has been here
    LOST_MEMORY = "lost_memory"  # the store has sealed what this ledger does not know
    SECOND_PAYLOAD = "second_payload"  # this intent, or this variant of it, was signed with other content
    NONCE_TAKEN = "nonce_taken"  # the nonce belongs to another intent, or to be filled, for ever
    NOT_ORDERED = "not_ordered"  # nobody ordered this nonce to be filled
    UNCONFIRMED = "unconfirmed"  # an earlier payment of the disbursement may still count
    JUDGED_VOID = "judged_void"  # a person declared this intent void
    FILLER_PAYS = "filler_pays"  # an intent without a disbursement may only cancel
    NO_KEY = "no_key"
    BEHIND = "behind"  # an earlier row of the same request was refused


Why: TypeAlias = Waiting | Objection


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is bound to an intent for ever; fee and kind may vary from variant to variant."""

    account: AccountId
    nonce: Nonce
    disbursement_id: DisbursementId | None
    destination: Address
    amount: BaseUnits
    memo: str
    payload_digest: Digest
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One variant as it was signed."""

    kind: VariantKind
    fee: BaseUnits
    tx_bytes: bytes
    tx_hash: TxHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The signer's no. `lasting`: stored, for good; it attests that the intent is not and will not be bound (R5 c)."""

    why: Why
    detail: str
    lasting: bool = False
    first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """Nothing speaks against signing this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMemory:
    """An account's marks, and the highest that the store was told to have sealed while the ledger knew less."""

    marks: Marks = field(default_factory=Marks)
    sealed: Marks = field(default_factory=Marks)

    @property
    def lost(self) -> bool:
        """Whether the store remembers more than we do."""
        return is_behind(self.marks, self.sealed)


NOTHING: Final = AccountMemory()  # of an account that never signed


@dataclass(slots=True, kw_only=True)
class Known:
    """
    What the ledger knows that bears on one batch; grows while the batch is judged.

    `others` are the intents of each disbursement; `void` those that a person declared void. `fillers` are the intents
    without a disbursement under each nonce; `to_fill` the nonces that a person ordered to be filled.
    """

    accounts: dict[AccountId, AccountMemory] = field(default_factory=dict)
    contents: dict[IntentId, Content] = field(default_factory=dict)
    signatures: dict[tuple[IntentId, int], Signature] = field(default_factory=dict)
    by_nonce: dict[tuple[AccountId, Nonce], IntentId] = field(default_factory=dict)
    fillers: dict[tuple[AccountId, Nonce], set[IntentId]] = field(default_factory=dict)
    to_fill: set[tuple[AccountId, Nonce]] = field(default_factory=set)
    others: dict[DisbursementId, set[IntentId]] = field(default_factory=dict)
    refusals: dict[IntentId, Refusal] = field(default_factory=dict)
    void: set[IntentId] = field(default_factory=set)

    def remember(self, request: SignRequest, signature: Signature, content: Content) -> None:
        """Take in what was just signed, so that the next row of the batch is judged by it."""
        self.contents[request.intent_id] = content
        self.signatures[request.intent_id, request.variant] = signature
        place = (request.account, request.nonce)
        if request.disbursement_id is None:
            self.fillers.setdefault(place, set()).add(request.intent_id)
        else:
            self.by_nonce[place] = request.intent_id
            self.others.setdefault(request.disbursement_id, set()).add(request.intent_id)


def is_behind(marks: Marks, sealed: Marks) -> bool:
    """Whether the first pair of marks is below the second; terms grow without signatures and say nothing here."""
    return marks.nonce < sealed.nonce or marks.disbursement_id < sealed.disbursement_id


def content_of(request: SignRequest) -> Content:
    """Take from a request what is bound for ever."""
    return Content(
        account=request.account,
        nonce=request.nonce,
        disbursement_id=request.disbursement_id,
        destination=request.destination,
        amount=request.amount,
        memo=request.memo,
        payload_digest=request.payload_digest,
        idempotency_key=request.idempotency_key,
    )


def judge(
    request: SignRequest,
    content: Content,
    known: Known,
    *,
    term: Term | None,
    policy: Policy,
    accounts: AbstractSet[AccountId],
) -> Fresh | Signature | Refusal:
    """
    Answer one request.

    Args: term is that of the lease its sender holds, None for none; accounts those whose keys we have.
    Returns: the bytes of the same request as signed before, a refusal, or leave to sign.
    Guarantees: leave is given at most once for one variant; two payments of one disbursement, or under one nonce, only
        under the exceptions of R11.
    """
    refused = _stale(request, known, term)
    if refused is not None:
        return refused
    signed = known.signatures.get((request.intent_id, request.variant))
    bound = known.contents.get(request.intent_id)
    if signed is not None and bound == content and (signed.kind, signed.fee) == (request.kind, request.fee):
        return signed
    if bound is None and request.intent_id in known.refusals:
        return known.refusals[request.intent_id]
    return (
        _second(request, content, bound, signed, known)
        or _unpayable(request, accounts)
        or _objectionable(request, policy, lasting=bound is None)
        or Fresh()
    )


def behind(first: Refusal, request: SignRequest, known: Known) -> Refusal:
    """Refuse a row because one before it was refused; for good only where that was, and where nothing is bound."""
    stored = known.refusals.get(request.intent_id)
    if stored is not None:
        return stored
    bound = request.intent_id in known.contents
    return Refusal(
        why=Waiting.BEHIND,
        detail=f"behind a refused payment of the same request ({first.why})",
        lasting=first.lasting and not bound,
        first=False,
    )


def _stale(request: SignRequest, known: Known, term: Term | None) -> Refusal | None:
    memory = known.accounts.get(request.account, NOTHING)
    if term is None:
        return Refusal(why=Waiting.NO_LEASE, detail=f"no lease for {request.account} was shown")
    if term < memory.marks.term or request.term > term:
        highest = max(memory.marks.term, request.term)
        return Refusal(
            why=Waiting.STALE_TERM, detail=f"term {term} of {request.account}; term {highest} was seen"
        )
    if memory.lost:
        return Refusal(
            why=Waiting.LOST_MEMORY,
            detail=f"the store has sealed up to nonce {memory.sealed.nonce} of {request.account}, this ledger knows "
            f"{memory.marks.nonce}: a person imports the bindings first, `treasuryd signer import {request.account}`",
        )
    return None


def _second(
    request: SignRequest, content: Content, bound: Content | None, signed: Signature | None, known: Known
) -> Refusal | None:
    """A second payload for the same intent, nonce or disbursement."""
    if signed is not None or (bound is not None and bound != content):
        what = f"variant {request.variant} of intent {request.intent_id}"
        return Refusal(why=Waiting.SECOND_PAYLOAD, detail=f"{what} was signed with other content")
    if request.intent_id in known.void:
        return Refusal(
            why=Waiting.JUDGED_VOID, detail=f"intent {request.intent_id} was declared void by a person"
        )
    if request.disbursement_id is None:
        return _unordered(request, known)
    place = (request.account, request.nonce)
    taken = known.by_nonce.get(place, request.intent_id)
    if taken != request.intent_id:
        return Refusal(
            why=Waiting.NONCE_TAKEN,
            detail=f"nonce {request.nonce} of {request.account} belongs to intent {taken}",
        )
    if place in known.to_fill or place in known.fillers:
        return Refusal(
            why=Waiting.NONCE_TAKEN,
            detail=f"nonce {request.nonce} of {request.account} is to be filled: it pays nobody any more",
        )
    open_ones = known.others.get(request.disbursement_id, set()) - known.void - {request.intent_id}
    if open_ones:
        return Refusal(
            why=Waiting.UNCONFIRMED,
            detail=f"disbursement {request.disbursement_id} is bound to intent {min(open_ones)}, which nobody has "
            "declared void",
        )
    return None


def _unordered(request: SignRequest, known: Known) -> Refusal | None:
    """
    A filler is signed under a person's confirmation alone, whoever had the nonce before: it cancels and never pays (R11).
    """
    if request.kind is VariantKind.PAYMENT:
        return Refusal(
            why=Waiting.FILLER_PAYS, detail=f"intent {request.intent_id} has no disbursement to pay"
        )
    if (request.account, request.nonce) in known.to_fill:
        return None
    return Refusal(
        why=Waiting.NOT_ORDERED,
        detail=f"nobody ordered nonce {request.nonce} of {request.account} to be filled",
    )


def _unpayable(request: SignRequest, accounts: AbstractSet[AccountId]) -> Refusal | None:
    if request.account not in accounts:
        return Refusal(why=Waiting.NO_KEY, detail=f"no key for {request.account}")
    return None


def _objectionable(request: SignRequest, policy: Policy, *, lasting: bool) -> Refusal | None:
    objected = objection(policy, request)
    if objected is None:
        return None
    return Refusal(why=objected.why, detail=objected.detail, lasting=lasting)
