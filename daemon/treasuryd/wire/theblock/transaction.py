"""
The Block's signed transaction: what is signed, what is sent, what it is called.

A transaction exists in two forms: the node's own with 9 fields, whose size the fee is counted by, and the form with
7 fields (`rpc7`) that `submit_tx` reads. Lane and version stand only in the former. The id covers the payload and
the public key, neither the signature nor the tip, so a relay can change the tip and not the id.

A single payment is the hot path: its constant bytes are packed beforehand and one `struct` call fills the gaps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from treasuryd.errors import Corrupt
from treasuryd.wire.theblock.binary import (
    MAX_TRANSACTION_BYTES,
    Reader,
    Undecodable,
    blob,
    text,
    u8,
    u32,
    u64,
)

CHAIN_ID: Final = 1
DOMAIN_TAG: Final = b"THE_BLOCKv2|" + u32(CHAIN_ID)
TX_ID_PREFIX: Final = b"TX\x02"
PCT_ALL_CONSUMER: Final = 100  # percent of the fee booked to the consumer lane
SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32
UNSIGNED: Final = bytes(SIGNATURE_BYTES)  # a probe can never be a payment (protocol.md R1)

PAYLOAD_BASE: Final = 183  # bytes, without sender, destination and memo
RPC7_BASE: Final = 478
FULL9_BASE: Final = 513
LANE_AND_VERSION_BYTES: Final = FULL9_BASE - RPC7_BASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The signed part. Amounts and fee in base units (u64), pct in percent, nonce counted from 1."""

    from_: str
    to: str
    amount_consumer: int
    amount_industrial: int = 0
    fee: int
    pct: int = PCT_ALL_CONSUMER
    nonce: int
    memo: bytes = b""

    @property
    def amount(self) -> int:
        """Value transferred: the lanes are labels of one token."""
        return self.amount_consumer + self.amount_industrial


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """
    A payload with its signature.

    Does not guarantee: that the signature is true, or that tip, lane and lists are what the signer saw; the
    signature covers the payload alone.
    """

    payload: Payload
    public_key: bytes
    signature: bytes
    tip: int = 0
    signer_pubkeys: tuple[bytes, ...] = ()
    aggregate_signature: bytes = b""
    threshold: int = 0
    lane: int = 0
    version: int = 0


# Constant bytes between the values. `N` is the name of the field that follows.
_PAYLOAD_FROM: Final = u64(8) + text("from_")
_TO: Final = text("to")
_N_AMOUNT_CONSUMER: Final = text("amount_consumer")
_N_AMOUNT_INDUSTRIAL: Final = text("amount_industrial")
_N_FEE: Final = text("fee")
_N_PCT: Final = text("pct")
_N_NONCE: Final = text("nonce")
_N_MEMO: Final = text("memo")
_MIDDLE: Final = struct.Struct(
    f"<{len(_N_AMOUNT_CONSUMER)}sQ{len(_N_AMOUNT_INDUSTRIAL)}sQ{len(_N_FEE)}sQ{len(_N_PCT)}sB"
    f"{len(_N_NONCE)}sQ{len(_N_MEMO)}sQ"
)
_N_PUBLIC_KEY: Final = text("public_key") + u64(PUBLIC_KEY_BYTES)
_N_SIGNATURE: Final = text("signature") + u64(1) + text("ed25519") + u64(SIGNATURE_BYTES)
_N_TIP: Final = text("tip")
# no further signers, no aggregate, threshold 0
_SINGLE: Final = (
    text("signer_pubkeys") + u64(0) + text("aggregate_signature") + u64(0) + text("threshold") + u8(0)
)
_RPC7_HEAD: Final = u64(7) + text("payload")
_FULL9_HEAD: Final = u64(9) + text("payload")
_TAIL: Final = struct.Struct(
    f"<{len(_N_PUBLIC_KEY)}s{PUBLIC_KEY_BYTES}s{len(_N_SIGNATURE)}s{SIGNATURE_BYTES}s{len(_N_TIP)}sQ{len(_SINGLE)}s"
)
_U64_AT: Final = struct.Struct("<Q").unpack_from
_RPC7_PAYLOAD_AT: Final = len(_RPC7_HEAD)
_FROM_LENGTH_AT: Final = _RPC7_PAYLOAD_AT + len(_PAYLOAD_FROM)


def payment_bytes(*, from_: str, to: str, amount: int, fee: int, nonce: int, memo: bytes) -> bytes:
    """
    Encode the payload of one ordinary payment.

    Args: sender and destination; amount and fee in base units, 0 … 2^64-1; nonce counted from 1; memo bytes.
    Returns: the payload, PAYLOAD_BASE + the lengths of the two names in UTF-8 and of the memo.
    Raises: Corrupt when a number does not fit in 64 bits: intake refuses such values, so it is our bug.
    """
    return _payload(from_, to, (amount, 0, fee, PCT_ALL_CONSUMER, nonce), memo)


def encode_payload(payload: Payload) -> bytes:
    """Encode any payload; as `payment_bytes`, with both amounts and the fee split free."""
    numbers = (payload.amount_consumer, payload.amount_industrial, payload.fee, payload.pct, payload.nonce)
    return _payload(payload.from_, payload.to, numbers, payload.memo)


def _payload(from_: str, to: str, numbers: tuple[int, int, int, int, int], memo: bytes) -> bytes:
    sender = from_.encode()
    destination = to.encode()
    consumer, industrial, fee, pct, nonce = numbers
    try:
        middle = _MIDDLE.pack(
            _N_AMOUNT_CONSUMER, consumer, _N_AMOUNT_INDUSTRIAL, industrial, _N_FEE, fee,
            _N_PCT, pct, _N_NONCE, nonce, _N_MEMO, len(memo),
        )  # fmt: skip
    except struct.error as error:
        raise Corrupt(
            f"payload to {to!r}, nonce {nonce}: a number is outside the 64 bits (pct: 8) of its field"
        ) from error
    return b"".join(
        (_PAYLOAD_FROM, u64(len(sender)), sender, _TO, u64(len(destination)), destination, middle, memo)
    )


def signing_message(payload: bytes) -> bytes:
    """Say what the Ed25519 key signs: the chain's domain tag and the encoded payload."""
    return DOMAIN_TAG + payload


def transaction_id(payload: bytes, public_key: bytes) -> str:
    """Name a transaction: 64 lower-case hex digits. Neither signature nor tip is part of it."""
    return blake3(TX_ID_PREFIX + payload + public_key).hexdigest()


def rpc7_from_parts(payload: bytes, public_key: bytes, signature: bytes, *, tip: int = 0) -> bytes:
    """Encode the form that `submit_tx` reads from an encoded payload, a 32-byte key and a 64-byte signature."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise Corrupt(
            f"a key of {len(public_key)} and a signature of {len(signature)} bytes, 32 and 64 are needed"
        )
    tail = _TAIL.pack(_N_PUBLIC_KEY, public_key, _N_SIGNATURE, signature, _N_TIP, tip, _SINGLE)
    return b"".join((_RPC7_HEAD, payload, tail))


def encode_rpc7(transaction: SignedTransaction) -> bytes:
    """Encode the form with 7 fields; lane and version are lost (the node reads them as 0)."""
    return _RPC7_HEAD + _seven(transaction)


def encode_full9(transaction: SignedTransaction) -> bytes:
    """Encode the node's own form with 9 fields: the one by whose size the fee is counted."""
    lane = text("lane") + u32(transaction.lane)
    return _FULL9_HEAD + _seven(transaction) + lane + text("version") + u32(transaction.version)


def _seven(transaction: SignedTransaction) -> bytes:
    signers = b"".join(blob(key) for key in transaction.signer_pubkeys)
    return b"".join(
        (
            encode_payload(transaction.payload),
            text("public_key"), blob(transaction.public_key),
            text("signature"), u64(1), text("ed25519"), blob(transaction.signature),
            _N_TIP, u64(transaction.tip),
            text("signer_pubkeys"), u64(len(transaction.signer_pubkeys)), signers,
            text("aggregate_signature"), blob(transaction.aggregate_signature),
            text("threshold"), u8(transaction.threshold),
        )
    )  # fmt: skip


def probe_bytes(
    *, from_: str, to: str, amount: int, fee: int, nonce: int, memo: bytes, public_key: bytes
) -> bytes:
    """
    Encode a fee probe: the payment's bytes with 64 zero bytes where the signature stands.

    Under a nonce far ahead the node answers `NonceGap` when the fee suffices and `FeeTooLow` when not.
    Guarantees: no node takes it for a payment. Source: protocol.md R1.
    """
    payload = payment_bytes(from_=from_, to=to, amount=amount, fee=fee, nonce=nonce, memo=memo)
    return rpc7_from_parts(payload, public_key, UNSIGNED)


def size9(from_: str, to: str, memo: bytes) -> int:
    """Say how many bytes the node counts for a payment's fee: the form with 9 fields."""
    return FULL9_BASE + len(from_.encode()) + len(to.encode()) + len(memo)


def size9_of_rpc7(rpc7: bytes) -> int:
    """Say how many bytes the node counts for this transaction: lane and version come on top."""
    return len(rpc7) + LANE_AND_VERSION_BYTES


def payload_of(rpc7: bytes) -> bytes:
    """Cut the encoded payload out of a plain transaction that was decoded or built here."""
    return rpc7[_RPC7_PAYLOAD_AT : len(rpc7) - _TAIL.size]


def decode_rpc7(data: bytes) -> SignedTransaction:
    """
    Decode the form with 7 fields, strictly.

    Raises: Undecodable for the form with 9 fields, bytes behind the end, an unknown, repeated, missing or misplaced
        field, a string that is not UTF-8, and anything longer than MAX_TRANSACTION_BYTES.
    Guarantees: `encode_rpc7(decode_rpc7(data)) == data`.
    """
    if len(data) > MAX_TRANSACTION_BYTES:
        raise Undecodable(f"a transaction of {len(data)} bytes, the limit is {MAX_TRANSACTION_BYTES}")
    return _decode_plain(data) or _decode_general(data)


def _decode_plain(data: bytes) -> SignedTransaction | None:
    """Decode by comparing the constant bytes in bulk; None when the transaction is not of the plain form."""
    size = len(data)
    if size < RPC7_BASE or not data.startswith(_RPC7_HEAD + _PAYLOAD_FROM):
        return None
    sender_at = _FROM_LENGTH_AT + 8
    sender_end = sender_at + _U64_AT(data, _FROM_LENGTH_AT)[0]
    to_at = sender_end + len(_TO) + 8
    if to_at > size or data[sender_end : to_at - 8] != _TO:
        return None
    to_end = to_at + _U64_AT(data, to_at - 8)[0]
    memo_at = to_end + _MIDDLE.size
    if memo_at > size:
        return None
    name1, consumer, name2, industrial, name3, fee, name4, pct, name5, nonce, name6, memo_size = (
        _MIDDLE.unpack_from(data, to_end)
    )
    memo_end = memo_at + memo_size
    if memo_end + _TAIL.size != size or (name1, name2, name3, name4, name5, name6) != _MIDDLE_NAMES:
        return None
    before_key, public_key, before_signature, signature, before_tip, tip, rest = _TAIL.unpack_from(
        data, memo_end
    )
    if (before_key, before_signature, before_tip, rest) != _TAIL_NAMES:
        return None
    try:
        sender, destination = data[sender_at:sender_end].decode(), data[to_at:to_end].decode()
    except UnicodeDecodeError:
        return None
    payload = Payload(
        from_=sender, to=destination, amount_consumer=consumer, amount_industrial=industrial,
        fee=fee, pct=pct, nonce=nonce, memo=data[memo_at:memo_end],
    )  # fmt: skip
    return SignedTransaction(payload=payload, public_key=public_key, signature=signature, tip=tip)


_MIDDLE_NAMES: Final = (_N_AMOUNT_CONSUMER, _N_AMOUNT_INDUSTRIAL, _N_FEE, _N_PCT, _N_NONCE, _N_MEMO)
_TAIL_NAMES: Final = (_N_PUBLIC_KEY, _N_SIGNATURE, _N_TIP, _SINGLE)


def _decode_general(data: bytes) -> SignedTransaction:
    """Decode field by field: several signers, odd key lengths, and everything that has to be refused."""
    reader = Reader(data)
    reader.fields(7)
    reader.field("payload")
    payload = _read_payload(reader)
    reader.field("public_key")
    public_key = reader.blob()
    reader.field("signature")
    reader.fields(1)
    reader.field("ed25519")
    signature = reader.blob()
    reader.field("tip")
    tip = reader.u64()
    reader.field("signer_pubkeys")
    signer_pubkeys = reader.blobs()
    reader.field("aggregate_signature")
    aggregate_signature = reader.blob()
    reader.field("threshold")
    threshold = reader.u8()
    reader.end()
    return SignedTransaction(
        payload=payload, public_key=public_key, signature=signature, tip=tip, signer_pubkeys=signer_pubkeys,
        aggregate_signature=aggregate_signature, threshold=threshold,
    )  # fmt: skip


def _read_payload(reader: Reader) -> Payload:
    reader.fields(8)
    reader.field("from_")
    from_ = reader.text()
    reader.field("to")
    to = reader.text()
    reader.field("amount_consumer")
    amount_consumer = reader.u64()
    reader.field("amount_industrial")
    amount_industrial = reader.u64()
    reader.field("fee")
    fee = reader.u64()
    reader.field("pct")
    pct = reader.u8()
    reader.field("nonce")
    nonce = reader.u64()
    reader.field("memo")
    return Payload(
        from_=from_, to=to, amount_consumer=amount_consumer, amount_industrial=amount_industrial,
        fee=fee, pct=pct, nonce=nonce, memo=reader.blob(),
    )  # fmt: skip
