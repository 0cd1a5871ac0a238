"""
What was offered to the node, whatever it answered: one line per `submit_tx`, in a file that survives SIGKILL.

The chain shows what was paid; this shows what was ever asked to be paid, which is what "the same bytes only" is judged by.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import orjson
from blake3 import blake3

from treasuryd.devnet.pool import Offer

NO_SIGNATURE: Final = bytes(64)  # a fee probe carries zeros and can never be paid (protocol.md R1)


class OfferedFile:
    """
    Appends offers to a file; several nodes, one after the other, may use the same.

    Guarantees: an offer is in the file before the node judges it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __call__(self, offer: Offer, raw: str) -> None:
        """Write one offer; `raw` is the transaction in hex as it came."""
        line = {
            "tx_id": offer.tx_id, "from": offer.sender, "nonce": offer.nonce, "to": offer.to, "amount": offer.amount,
            "fee": offer.fee, "memo": offer.memo.decode("utf-8", "backslashreplace"),
            "probe": offer.signature == NO_SIGNATURE, "bytes": blake3(raw.lower().encode()).hexdigest(),
        }  # fmt: skip
        os.write(self._descriptor, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
