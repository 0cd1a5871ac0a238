"""What signed bytes say, for the audit: the chain's codec behind a plain function."""

from treasuryd.core.audit import Content
from treasuryd.core.model import AccountId, Address, Nonce, TxHash
from treasuryd.wire.theblock.binary import Undecodable
from treasuryd.wire.theblock.transaction import decode_rpc7, payload_of, transaction_id


def content_of(data: bytes) -> Content | None:
    """Read a sealed payment or cancel; None where the bytes are none that we would have signed."""
    try:
        found = decode_rpc7(data)
        memo = found.payload.memo.decode()
    except (Undecodable, UnicodeDecodeError):
        return None
    return Content(
        account=AccountId(found.payload.from_),
        destination=Address(found.payload.to),
        amount=found.payload.amount,
        memo=memo,
        nonce=Nonce(found.payload.nonce),
        tx_hash=TxHash(transaction_id(payload_of(data), found.public_key)),
    )
