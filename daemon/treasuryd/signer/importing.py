"""
What a signer that forgot believes of an import (protocol.md R11).

Whoever can write into the store can put bytes there that no signer of ours ever made. So each binding has to say what its
request says, under the account's own key and within today's policy, unless a person names the exception.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from treasuryd.core.model import AccountId, Binding, Nonce, SignRequest, VariantKind
from treasuryd.errors import Refusal as Kind
from treasuryd.errors import Rejected
from treasuryd.signer.policy import Policy, objection
from treasuryd.wire.theblock.binary import Undecodable
from treasuryd.wire.theblock.transaction import (
    SignedTransaction,
    decode_rpc7,
    payload_of,
    signing_message,
    transaction_id,
)

CANCEL_AMOUNT: Final = 1  # base unit, to the account's own sink (protocol.md R7)
SHOWN: Final = 10  # exceptions named in one refusal
_UNCHANGED: Final = "Nothing was imported. Take the bindings from the store and the journal, unchanged."


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """By what bindings of one account are judged: its keys (the present one, and those that a person named), and policy."""

    account: AccountId
    keys: frozenset[bytes]
    policy: Policy
    beyond_policy: frozenset[Nonce]


def belief(
    account: AccountId,
    own: Mapping[AccountId, bytes],
    policy: Policy,
    *,
    beyond_policy: Collection[Nonce],
    old_keys: Collection[bytes],
) -> Belief:
    """Put the signer's own knowledge and a person's exceptions together."""
    keys = {*old_keys, own[account]} if account in own else set(old_keys)
    return Belief(
        account=account, keys=frozenset(keys), policy=policy, beyond_policy=frozenset(beyond_policy)
    )


def check_bytes(account: AccountId, binding: Binding) -> None:
    """Raises: Rejected unless the bytes say what their request says, and carry a true signature under some key."""
    request = binding.request
    place = _place(request)
    try:
        transaction = decode_rpc7(binding.tx_bytes)
        payload = payload_of(binding.tx_bytes)
        Ed25519PublicKey.from_public_bytes(transaction.public_key).verify(
            transaction.signature, signing_message(payload)
        )
    except (Undecodable, InvalidSignature, ValueError) as error:
        raise Rejected(
            f"{place}: not a signed transaction of this chain", hint=_UNCHANGED, kind=Kind.CONFLICT
        ) from error
    if transaction_id(payload, transaction.public_key) != binding.tx_hash:
        raise Rejected(f"{place}: the bytes have another hash", hint=_UNCHANGED, kind=Kind.CONFLICT)
    if request.account != account or _said(transaction) != _meant(request, transaction):
        raise Rejected(
            f"{place}: the bytes pay something else than their request", hint=_UNCHANGED, kind=Kind.CONFLICT
        )


def check_ours(bindings: Sequence[Binding], belief: Belief) -> None:
    """
    Judge what the ledger does not know yet, after `check_bytes`.

    Raises: Rejected for a signature under a key that is not the account's, and for what policy forbids today, unless a
        person named that key, or that nonce.
    """
    for binding in bindings:
        key = decode_rpc7(binding.tx_bytes).public_key
        if key not in belief.keys:
            raise Rejected(
                f"{_place(binding.request)}: signed by the key {key.hex()}, which is not that of {belief.account}",
                hint="Nothing was imported. Somebody may have written into the store: keep it, and look for who could. "
                "Only where the account's key was replaced, and this was it before: `treasuryd signer import --old-key`.",
                kind=Kind.FORBIDDEN,
            )
    beyond = {
        binding.request.nonce: f"{_place(binding.request)}: {objected.detail}"
        for binding in bindings
        if binding.request.nonce not in belief.beyond_policy
        and (objected := objection(belief.policy, binding.request)) is not None
    }
    if beyond:
        listed = [*list(beyond.values())[:SHOWN], *(["…"] if len(beyond) > SHOWN else [])]
        raise Rejected(
            f"the signer would not sign {len(beyond)} of these today: {'; '.join(listed)}",
            hint="Nothing was imported. Find each in your own books. Those that are yours are named, each with "
            "`--beyond-policy NONCE`; or set the signer's limits for the import as they were when it signed.",
            kind=Kind.FORBIDDEN,
        )


def _place(request: SignRequest) -> str:
    item = "filler" if request.disbursement_id is None else f"disbursement {request.disbursement_id}"
    return f"nonce {request.nonce} ({item}, intent {request.intent_id}, variant {request.variant})"


def _said(transaction: SignedTransaction) -> tuple[object, ...]:
    payload = transaction.payload
    return (
        payload.from_, payload.nonce, payload.fee, payload.to, payload.amount_consumer, payload.amount_industrial,
        payload.memo,
    )  # fmt: skip


def _meant(request: SignRequest, transaction: SignedTransaction) -> tuple[object, ...]:
    """Say what the bytes should say; where a cancellation's unit went is the configuration's of that day."""
    if request.kind is VariantKind.CANCEL:
        to, amount, memo = transaction.payload.to, CANCEL_AMOUNT, b""
    else:
        to, amount, memo = str(request.destination), int(request.amount), request.memo.encode()
    return (request.account, request.nonce, request.fee, to, amount, 0, memo)
