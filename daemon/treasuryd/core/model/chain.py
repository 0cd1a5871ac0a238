"""What an endpoint says of the chain."""

from collections.abc import Mapping
from dataclasses import dataclass

from treasuryd.core.model.ids import Address, BaseUnits, BlockHash, Endpoint, Height, IntentId, Nonce, TxHash
from treasuryd.core.model.words import Meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an endpoint says of the chain: height = number of blocks, hash of the last one, hash of the first one."""

    endpoint: Endpoint
    height: Height
    block_hash: BlockHash | None  # None on an empty chain
    genesis: BlockHash | None  # hash of header 0; None on an empty chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One block of the chain that an endpoint follows now."""

    height: Height
    block_hash: BlockHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the chain says of one address: balance (base units) and the nonce of its last mined transaction."""

    balance: BaseUnits
    nonce: Nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """
    One consistent reading of the chain (protocol.md §1): the header at its height read the same before and after it.

    `holdings` has one entry for each address that was asked for; None means that the chain does not know it.
    `base_fee` is None where it could not be read.
    """

    height: Height
    block_hash: BlockHash
    base_fee: BaseUnits | None
    holdings: Mapping[Address, Holding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeQuote:
    """What a transaction costs now: base fee per transaction, price per byte of its full form; base units."""

    base_fee: BaseUnits
    per_byte: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One node's word on one broadcast: evidence of what was said, never of what was paid (R4)."""

    meaning: Meaning
    endpoint: Endpoint
    detail: str = ""  # capped, for people
    tx_hash: TxHash | None = None  # the node's, when it names one; a different one is an alarm (R3)
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """
    What a look-up by hash says of one intent.

    `variant` is the number of the variant that is in a block, None when none of those asked for is.
    `as_of` is the height of the same endpoint when it answered: an answer older than a frame proves nothing about it.
    `doubted`, of one that was found: fewer endpoints than have to agree name that block; of one that nobody found: some
    endpoint could not say so, or has it in its pool.
    """

    intent_id: IntentId
    as_of: Height
    variant: int | None = None
    height: Height | None = None
    block_hash: BlockHash | None = None
    fee_charged: BaseUnits | None = None
    doubted: bool = False
