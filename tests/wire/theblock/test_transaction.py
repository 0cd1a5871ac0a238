from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.errors import Corrupt
from treasuryd.wire.theblock import transaction as codec
from treasuryd.wire.theblock.binary import MAX_TRANSACTION_BYTES, Undecodable, text, u8, u64
from treasuryd.wire.theblock.transaction import (
    FULL9_BASE,
    PAYLOAD_BASE,
    RPC7_BASE,
    Payload,
    SignedTransaction,
    decode_rpc7,
    encode_full9,
    encode_payload,
    encode_rpc7,
    payload_of,
    payment_bytes,
    probe_bytes,
    rpc7_from_parts,
    signing_message,
    size9,
    size9_of_rpc7,
    transaction_id,
)

U64 = st.integers(0, 2**64 - 1)
NAMES = st.text(max_size=40)
PAYLOADS = st.builds(
    Payload,
    from_=NAMES,
    to=NAMES,
    amount_consumer=U64,
    amount_industrial=U64,
    fee=U64,
    pct=st.integers(0, 255),
    nonce=U64,
    memo=st.binary(max_size=200),
)
PLAIN = st.builds(
    SignedTransaction,
    payload=PAYLOADS,
    public_key=st.binary(min_size=32, max_size=32),
    signature=st.binary(min_size=64, max_size=64),
    tip=U64,
)
SEVERAL = st.builds(
    SignedTransaction,
    payload=PAYLOADS,
    public_key=st.binary(max_size=40),
    signature=st.binary(max_size=70),
    tip=U64,
    signer_pubkeys=st.lists(st.binary(max_size=40), max_size=3).map(tuple),
    aggregate_signature=st.binary(max_size=130),
    threshold=st.integers(0, 255),
)


def payload_from(row: dict[str, Any]) -> Payload:
    fields = {name: value for name, value in row.items() if not name.startswith("memo")}
    return Payload(**fields, memo=bytes.fromhex(row["memo_hex"]))


def transaction_from(row: dict[str, Any]) -> SignedTransaction:
    return SignedTransaction(
        payload=payload_from(row["payload"]),
        public_key=bytes.fromhex(row["public_key_hex"]),
        signature=bytes.fromhex(row["signature_hex"]),
        tip=row["tip"],
        lane=row["lane"],
        version=row["version"],
    )


SAMPLE = SignedTransaction(
    payload=Payload(from_="treasury", to="tb1a", amount_consumer=5, fee=7, nonce=1, memo=b"m"),
    public_key=bytes(32),
    signature=bytes(64),
)


def test_every_vector_encodes_to_the_nodes_bytes(vectors: dict[str, Any]) -> None:
    """Payload, signed message, id and both forms, byte for byte."""
    for row in vectors["transactions"]:
        transaction = transaction_from(row)
        payload = encode_payload(transaction.payload)
        assert row["payload_hex"] == payload.hex()
        assert row["payload_len"] == len(payload)
        assert row["signed_message_hex"] == signing_message(payload).hex()
        assert row["tx_id_hex"] == transaction_id(payload, transaction.public_key)
        assert row["rpc7_hex"] == encode_rpc7(transaction).hex()
        assert row["rpc7_len"] == len(encode_rpc7(transaction))
        assert row["full9_hex"] == encode_full9(transaction).hex()
        assert row["full9_len"] == len(encode_full9(transaction))


def test_every_vectors_key_makes_its_signature(vectors: dict[str, Any]) -> None:
    """Plain Ed25519 over the domain tag and the payload, the secret being the 32-byte seed."""
    for row in vectors["transactions"]:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(row["seed_hex"]))
        assert row["public_key_hex"] == key.public_key().public_bytes_raw().hex()
        assert row["signature_hex"] == key.sign(bytes.fromhex(row["signed_message_hex"])).hex()


def test_every_vector_decodes_and_is_built_from_parts(vectors: dict[str, Any]) -> None:
    """The two fast paths give and take the same bytes as the general ones."""
    for row in vectors["transactions"]:
        raw = bytes.fromhex(row["rpc7_hex"])
        transaction = transaction_from(row)
        assert transaction == decode_rpc7(raw)
        payload = payload_of(raw)
        assert row["payload_hex"] == payload.hex()
        parts = rpc7_from_parts(payload, transaction.public_key, transaction.signature, tip=row["tip"])
        assert raw == parts


def test_the_constants_are_the_vectors(vectors: dict[str, Any]) -> None:
    """Domain tag, prefix of the id and base sizes."""
    constants = vectors["constants"]
    assert constants["domain_tag_hex"] == codec.DOMAIN_TAG.hex()
    assert constants["tx_id_prefix_hex"] == codec.TX_ID_PREFIX.hex()
    assert constants["chain_id"] == codec.CHAIN_ID
    sizes = (constants["payload_base_len"], constants["rpc7_base_len"], constants["full9_base_len"])
    assert sizes == (PAYLOAD_BASE, RPC7_BASE, FULL9_BASE)
    assert constants["full9_minus_rpc7_len"] == codec.LANE_AND_VERSION_BYTES


def test_the_size_for_the_fee_is_known_before_anything_is_signed(vectors: dict[str, Any]) -> None:
    """`size9` equals the length of the form with 9 fields, names and memo counted in UTF-8 bytes."""
    for row in vectors["transactions"]:
        payload = payload_from(row["payload"])
        assert row["full9_len"] == size9(payload.from_, payload.to, payload.memo)
        assert row["full9_len"] == size9_of_rpc7(bytes.fromhex(row["rpc7_hex"]))


def test_an_ordinary_payment_is_encoded_like_any_payload(vectors: dict[str, Any]) -> None:
    """The hot path differs from the general one in speed only."""
    payload = payload_from(vectors["transactions"][2]["payload"])
    assert encode_payload(payload) == payment_bytes(
        from_=payload.from_,
        to=payload.to,
        amount=payload.amount,
        fee=payload.fee,
        nonce=payload.nonce,
        memo=payload.memo,
    )


def test_a_probe_bears_no_signature() -> None:
    """R1: 64 zero bytes stand where the signature belongs, so a probe can never be a payment."""
    raw = probe_bytes(from_="treasury", to="tb1a", amount=5, fee=7, nonce=999, memo=b"", public_key=bytes(32))
    assert bytes(64) == decode_rpc7(raw).signature
    assert size9("treasury", "tb1a", b"") == size9_of_rpc7(raw)


def test_signature_and_tip_are_no_part_of_the_id() -> None:
    """N5: a relay can change the tip, and the id stays."""
    payload = encode_payload(SAMPLE.payload)
    raised = rpc7_from_parts(payload, bytes(32), bytes(64), tip=9)
    assert payload == payload_of(raised)
    assert decode_rpc7(raised).tip == 9


@given(PLAIN | SEVERAL)
def test_what_is_encoded_is_decoded(transaction: SignedTransaction) -> None:
    """Round trip, also for several signers and odd key lengths."""
    raw = encode_rpc7(transaction)
    assert transaction == decode_rpc7(raw)
    payload = transaction.payload
    assert FULL9_BASE + len(payload.memo) <= size9(payload.from_, payload.to, payload.memo)


@given(PLAIN)
def test_the_fast_decoder_agrees_with_the_general_one(transaction: SignedTransaction) -> None:
    """Two decoders, one meaning."""
    raw = encode_rpc7(transaction)
    assert codec._decode_plain(raw) == codec._decode_general(raw)


@given(st.binary(max_size=700))
def test_garbage_is_undecodable_and_nothing_else(data: bytes) -> None:
    """No other error leaves the decoder."""
    with pytest.raises(Undecodable):
        decode_rpc7(data)


@given(st.data())
def test_a_damaged_transaction_is_refused_or_canonical(data: st.DataObject) -> None:
    """Whatever is accepted encodes to the very bytes that were accepted."""
    raw = bytearray(encode_rpc7(SAMPLE))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(len(raw) - 2, len(raw)))])
    try:
        decoded = decode_rpc7(cut)
    except Undecodable:
        return
    assert cut == encode_rpc7(decoded)


RPC7 = encode_rpc7(SAMPLE)
TIP = text("tip") + u64(0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_full9(SAMPLE), id="the form with 9 fields"),
        pytest.param(RPC7 + b"\0", id="a trailing byte"),
        pytest.param(RPC7[:-1], id="a byte too few"),
        pytest.param(RPC7.replace(text("tip"), text("top")), id="an unknown field"),
        pytest.param(RPC7.replace(TIP, TIP + TIP), id="a repeated field"),
        pytest.param(RPC7.replace(TIP, b""), id="a missing field"),
        pytest.param(u64(8) + RPC7[8:].replace(TIP, TIP + TIP), id="a repeated field that is counted"),
        pytest.param(RPC7.replace(text("memo"), text("nemo")), id="an unknown payload field"),
        pytest.param(RPC7.replace(text("pct") + u8(100), b""), id="a missing payload field"),
        pytest.param(RPC7.replace(b"tb1a", b"\xff\xff\xff\xff"), id="a destination that is not UTF-8"),
        pytest.param(bytes(MAX_TRANSACTION_BYTES + 1), id="too long"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_the_decoder_refuses_what_the_node_refuses(data: bytes) -> None:
    """The node's reader knows exactly seven fields, once each, and nothing behind them."""
    with pytest.raises(Undecodable):
        decode_rpc7(data)


@pytest.mark.parametrize(
    "change", [{"amount": 2**64}, {"fee": -1}, {"nonce": 2**64}], ids=["amount", "fee", "nonce"]
)
def test_a_number_beyond_64_bits_is_our_bug(change: dict[str, int]) -> None:
    """Intake refuses such values; here they stop the process rather than be cut."""
    fields: dict[str, Any] = {
        "from_": "a",
        "to": "b",
        "amount": 1,
        "fee": 1,
        "nonce": 1,
        "memo": b"",
    } | change
    with pytest.raises(Corrupt, match="64 bits"):
        payment_bytes(**fields)


def test_a_key_of_the_wrong_length_is_our_bug() -> None:
    """Packing would pad or cut it silently."""
    with pytest.raises(Corrupt, match="31"):
        rpc7_from_parts(b"", bytes(31), bytes(64))
