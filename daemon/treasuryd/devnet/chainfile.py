"""
Where mined blocks are kept: one append-only file, which survives SIGKILL at any byte.

A record is its length, a checksum and JSON. The first names the chain (seed, genesis); then come blocks and cuts, in
the order in which they happened. Reading stops at the first record that is not whole, and the file is shortened to
what was: a kill in the middle of an append costs that block and nothing else. The mempool is not kept, as on the node.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from blake3 import blake3

from treasuryd.devnet.ledger import Block, Ledger, Mined
from treasuryd.devnet.pool import Offer
from treasuryd.errors import Corrupt, Refusal, Rejected

FILE_NAME: Final = "blocks.log"
FORMAT: Final = 1
MAX_RECORD_BYTES: Final = 256 * 1024 * 1024
_HEAD: Final = struct.Struct("<I8s")


class ChainFile:
    """
    The file of one chain, open for appending.

    Raises: Rejected when another process has it open: two chains in one file are none.
    Guarantees: what `append` returned from is still there after the process was killed. Does not guarantee: that it
        survives a power cut; a development chain is not synced to disk.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._path = path
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise Rejected(
                f"{path}: another development chain that runs writes this file",
                hint="Stop it, or name another --state-folder; a second daemon may talk to the first one's chain "
                "(chain.endpoints).",
                kind=Refusal.CONFLICT,
            ) from error

    def records(self) -> Iterator[Any]:
        """Give the stored records in order, and cut off what a kill left torn at the end."""
        data = self._path.read_bytes()
        at = 0
        while (payload := _record(data, at)) is not None:
            yield orjson.loads(payload)
            at += _HEAD.size + len(payload)
        if at < len(data):
            os.ftruncate(self._descriptor, at)

    def append(self, record: object) -> None:
        """Add one record."""
        payload = orjson.dumps(record)
        whole = _HEAD.pack(len(payload), _checksum(payload)) + payload
        while whole:
            whole = whole[os.write(self._descriptor, whole) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _record(data: bytes, at: int) -> bytes | None:
    """Cut the record at an offset out of the file; None when it is not whole."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    payload = data[at + _HEAD.size : at + _HEAD.size + length]
    whole = length <= MAX_RECORD_BYTES and len(payload) == length and _checksum(payload) == checksum
    return payload if whole else None


def _checksum(payload: bytes) -> bytes:
    return blake3(payload).digest(length=8)


def open_ledger(
    file: ChainFile | None,
    build: Callable[[int, Mapping[str, int]], Ledger],
    *,
    seed: int,
    genesis: Mapping[str, int],
) -> Ledger:
    """
    Build the ledger of a stored chain, or of a new one, and let it record every further block.

    Args: `build` makes a ledger from a seed and a genesis; those of the file win over those given here.
    Raises: Corrupt when the stored blocks do not follow from each other.
    """
    if file is None:
        return build(seed, genesis)
    records = file.records()
    first = next(records, None)
    if first is None:
        file.append({"format": FORMAT, "seed": seed, "genesis": dict(genesis)})
        ledger = build(seed, genesis)
    else:
        ledger = _restored(first, records, build)
    ledger.journal = lambda entry: file.append(entry if isinstance(entry, int) else _row(entry))
    return ledger


def _restored(
    first: Any, records: Iterator[Any], build: Callable[[int, Mapping[str, int]], Ledger]
) -> Ledger:
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise Corrupt("the chain file is of another format", hint="Start the devnet with a new state folder.")
    ledger = build(first["seed"], first["genesis"])
    for record in records:
        if isinstance(record, int):
            ledger.cut(ledger.height - record)
        else:
            block = _block(record)
            if block.index != ledger.height:
                raise Corrupt(
                    f"the chain file holds block {block.index} where {ledger.height} belongs",
                    hint="Start the devnet with a new state folder.",
                )
            ledger.replay(block)
    return ledger


def _row(block: Block) -> list[object]:
    """Write what cannot be derived: the hash follows from the rest, and an idle block takes some 40 bytes."""
    transactions = [
        [
            mined.charge, mined.offer.tx_id, mined.offer.sender, mined.offer.to, mined.offer.amount, mined.offer.fee,
            mined.offer.tip, mined.offer.nonce, mined.offer.memo.hex(), mined.offer.size, mined.offer.lane,
        ]
        for mined in block.mined
    ]  # fmt: skip
    return [block.index, block.time_ms, block.fork, block.base_fee, block.credits, transactions]


def _block(row: list[Any]) -> Block:
    index, time_ms, fork, base_fee, credits_, transactions = row
    mined = [
        Mined(
            index=index,
            charge=charge,
            offer=Offer(
                tx_id=tx_id, sender=sender, to=to, amount=amount, fee=fee, tip=tip, nonce=nonce,
                memo=bytes.fromhex(memo), size=size, lane=lane, base_fee=base_fee, rank=fee / size,
            ),
        )
        for charge, tx_id, sender, to, amount, fee, tip, nonce, memo, size, lane in transactions
    ]  # fmt: skip
    return Block(
        index=index, time_ms=time_ms, fork=fork, base_fee=base_fee, mined=mined,
        credits=[(address, amount) for address, amount in credits_],
    )  # fmt: skip
