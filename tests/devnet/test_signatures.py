from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.devnet.world import KEY, signed

from treasuryd.devnet.signatures import is_genuine, judge_all, offer_of
from treasuryd.wire.theblock.transaction import (
    Payload,
    SignedTransaction,
    encode_payload,
    encode_rpc7,
    signing_message,
)


def test_the_vectors_signatures_are_genuine(vectors: dict[str, Any]) -> None:
    """And their ids are those that were published."""
    for row in vectors["transactions"]:
        offer = offer_of(bytes.fromhex(row["rpc7_hex"]))
        assert is_genuine(offer)
        assert row["tx_id_hex"] == offer.tx_id
        assert row["full9_len"] == offer.size


def test_one_flipped_bit_is_noticed() -> None:
    """In the signature, in the amount, in the key."""
    raw = signed()
    for place in (
        raw.index(b"ed25519") + 20,
        raw.index(b"amount_consumer") + 15,
        raw.index(b"public_key") + 20,
    ):
        spoilt = bytearray(raw)
        spoilt[place] ^= 1
        assert not is_genuine(offer_of(bytes(spoilt)))


def test_the_tip_may_be_replaced_and_the_fee_may_not() -> None:
    """N5: `tip` is unsigned; `max_fee` overwrites what was signed."""
    raw = signed()
    assert is_genuine(offer_of(raw, tip=9))
    assert offer_of(raw, tip=9).tip == 9
    changed = offer_of(raw, max_fee=5000)
    assert changed.fee == 5000
    assert not is_genuine(changed)


def test_a_key_or_signature_of_an_odd_length_is_not_genuine() -> None:
    """It decodes, and is refused where signatures are judged."""
    payload = Payload(from_="a", to="b", amount_consumer=1, fee=1, nonce=1)
    odd = SignedTransaction(payload=payload, public_key=bytes(31), signature=bytes(63))
    assert not is_genuine(offer_of(encode_rpc7(odd)))


def test_every_signer_of_several_must_be_genuine() -> None:
    """Each 64-byte piece of the aggregate belongs to the key at its place."""
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2)]
    payload = Payload(from_="a", to="b", amount_consumer=1, fee=1, nonce=1)
    message = signing_message(encode_payload(payload))
    pieces = [key.sign(message) for key in keys]
    for order, expected in ((pieces, True), (pieces[::-1], False)):
        several = SignedTransaction(
            payload=payload,
            public_key=bytes(32),
            signature=bytes(64),
            signer_pubkeys=tuple(key.public_key().public_bytes_raw() for key in keys),
            aggregate_signature=b"".join(order),
            threshold=2,
        )
        assert is_genuine(offer_of(encode_rpc7(several))) is expected


def test_a_batch_is_judged_one_by_one() -> None:
    """A bad one spoils no other."""
    other = signed(key=KEY)
    spoilt = bytearray(other)
    spoilt[other.index(b"ed25519") + 20] ^= 1
    offers = [offer_of(other), offer_of(bytes(spoilt)), offer_of(other)]
    judge_all(offers)
    assert [offer.genuine for offer in offers] == [True, False, True]
