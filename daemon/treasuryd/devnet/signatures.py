"""Bytes to offers, and the one slow question of admission: is the signature genuine?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from treasuryd.devnet.pool import Offer
from treasuryd.wire.theblock.transaction import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Payload,
    SignedTransaction,
    decode_rpc7,
    encode_payload,
    payload_of,
    signing_message,
    size9_of_rpc7,
    transaction_id,
)

_NO_SIGNERS: Final = ()


def offer_of(raw: bytes, *, tip: int | None = None, max_fee: int | None = None) -> Offer:
    """
    Decode what `submit_tx` brought.

    Args: raw bytes; `tip` replaces the unsigned tip; `max_fee` overwrites the signed fee, after which no signature
        is genuine any more (a habit of the node).
    Raises: Undecodable.
    """
    transaction = decode_rpc7(raw)
    payload = transaction.payload
    if max_fee is not None:
        payload = _with_fee(payload, max_fee)
        encoded = encode_payload(payload)
    elif _is_plain(transaction):
        encoded = payload_of(raw)
    else:
        encoded = encode_payload(payload)
    return Offer(
        tx_id=transaction_id(encoded, transaction.public_key),
        sender=payload.from_,
        to=payload.to,
        amount=payload.amount_consumer + payload.amount_industrial,
        fee=payload.fee,
        tip=transaction.tip if tip is None else tip,
        nonce=payload.nonce,
        memo=payload.memo,
        size=size9_of_rpc7(raw),
        pct=payload.pct,
        signers_missing=transaction.threshold > len(transaction.signer_pubkeys),
        message=signing_message(encoded),
        public_key=transaction.public_key,
        signature=transaction.signature,
        co_signers=_co_signers(transaction) if transaction.threshold else _NO_SIGNERS,
    )


def _with_fee(payload: Payload, fee: int) -> Payload:
    return Payload(
        from_=payload.from_, to=payload.to, amount_consumer=payload.amount_consumer,
        amount_industrial=payload.amount_industrial, fee=fee, pct=payload.pct, nonce=payload.nonce, memo=payload.memo,
    )  # fmt: skip


def _is_plain(transaction: SignedTransaction) -> bool:
    several = transaction.signer_pubkeys or transaction.aggregate_signature
    whole = len(transaction.public_key) == PUBLIC_KEY_BYTES and len(transaction.signature) == SIGNATURE_BYTES
    return whole and not several


def _co_signers(transaction: SignedTransaction) -> tuple[tuple[bytes, bytes], ...]:
    aggregate = transaction.aggregate_signature
    chunks = [aggregate[at : at + SIGNATURE_BYTES] for at in range(0, len(aggregate), SIGNATURE_BYTES)]
    return tuple(zip(transaction.signer_pubkeys, chunks, strict=False))


def is_genuine(offer: Offer) -> bool:
    """Verify the signature (Ed25519, some 100 µs); with several signers, that of each of them."""
    pairs = offer.co_signers or ((offer.public_key, offer.signature),)
    try:
        for key, signature in pairs:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, offer.message)
    except (InvalidSignature, ValueError):
        return False
    return True


def judge_all(offers: Sequence[Offer]) -> None:
    """Fill in the verdict of each offer. Meant for a thread: the library lets others run while it verifies."""
    for offer in offers:
        offer.genuine = is_genuine(offer)
