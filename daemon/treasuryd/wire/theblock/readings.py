"""
What a node says of its chain, read strictly: headers, stream frames, look-ups, accounts, pool statistics.

Every reader takes parsed JSON or bounded bytes and gives a value of the core or raises `Malformed`. Heights of the
node are indices of the last block; ours count blocks, and the one is turned into the other here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from treasuryd.core.model import Address, BaseUnits, BlockHash, Header, Height, Holding, Nonce
from treasuryd.wire.theblock.binary import U64_MAX
from treasuryd.wire.theblock.replies import Malformed, parse

MAX_FRAME_BYTES: Final = 32 * 1024 * 1024  # default bound of one stream frame (interfaces.md §5)
MAX_HEADERS: Final = 200  # the node's own limit for one call
MAX_ADDRESS_CHARS: Final = 1024
U64_DIGITS: Final = 20
# Of what is stored and added up: half of what a column holds, so that a difference and what was spent besides fit, too.
LARGEST: Final = 2**62 - 1
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFrame:
    """
    One frame of `/state_stream`: every account of the chain at one moment.

    `tip_index` is 0 both for an empty chain and for a chain of one block; only a header tells them apart.
    """

    tip_index: int
    holdings: dict[Address, Holding]


class TxState(StrEnum):
    """What a look-up by hash says of a transaction; `unknown` proves nothing."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    INCLUDED = "included"


@dataclass(frozen=True, slots=True, kw_only=True)
class TxStatus:
    """Answer to `tx_status`. Height counts blocks; height, hash and charge (base units) stand for `included` alone."""

    state: TxState
    height: Height | None = None
    block_hash: BlockHash | None = None
    fee_charged: BaseUnits | None = None


def read_headers(value: object, *, start: int, limit: int) -> tuple[Header, ...]:
    """
    Read the result of `light.headers` for indices from `start`, at most `limit`.

    Raises: Malformed for a gap, a header that was not asked for, or too many.
    Guarantees: consecutive, and the first one is the block with index `start` (our height `start` + 1).
    """
    if not isinstance(value, list) or len(value) > limit:
        raise Malformed(f"light.headers: a list of at most {limit} headers belongs there")
    headers = tuple(read_header(item) for item in value)
    for place, header in enumerate(headers):
        if header.height != start + place + 1:
            raise Malformed(f"light.headers: block {header.height - 1} where {start + place} was asked for")
    return headers


def read_header(value: object) -> Header:
    """Read one header object; our height is the node's index + 1."""
    fields = json_object(value, "a header")
    return Header(
        height=Height(kept_field(fields, "height") + 1), block_hash=BlockHash(_hash(fields, "hash"))
    )


def read_frame(text: bytes, *, limit: int = MAX_FRAME_BYTES, wanted: Container[Address] = ()) -> StreamFrame:
    """
    Read one text frame of `/state_stream`.

    Args: wanted are the accounts that are kept; what a stranger holds may be any number of 64 bits.
    Raises: Malformed, also for a compressed frame and for an address that appears twice.
    Does not guarantee: that proofs and root hold; no header carries the root, so they prove nothing.
    """
    fields = json_object(parse(text, limit=limit), "a frame")
    if fields.get("compressed") is not False:
        raise Malformed("a frame is compressed, which was not asked for")
    accounts = fields.get("accounts")
    if not isinstance(accounts, list):
        raise Malformed("a frame without its list of accounts")
    holdings: dict[Address, Holding] = {}
    for item in accounts:
        account = json_object(item, "an account")
        address = account.get("address")
        if not isinstance(address, str) or len(address) > MAX_ADDRESS_CHARS:
            raise Malformed(f"an account's address is no text of at most {MAX_ADDRESS_CHARS} characters")
        read = _holding if address in wanted else _strangers
        holdings[Address(address)] = read(account)
    if len(holdings) != len(accounts):
        raise Malformed("a frame names an address twice")
    return StreamFrame(tip_index=kept_field(fields, "tip_height"), holdings=holdings)


def read_account(value: object) -> Holding | None:
    """Read the result of the ability `account`; None when the chain does not know the address (a null result)."""
    return None if value is None else _holding(json_object(value, "an account"))


def read_balance(value: object) -> BaseUnits:
    """Read the result of `balance`. It is 0 for an unknown address, so 0 does not say that the account exists."""
    return BaseUnits(kept_field(json_object(value, "a balance"), "amount"))


def read_tx_status(value: object) -> TxStatus:
    """Read the result of the ability `tx_status`."""
    fields = json_object(value, "a look-up")
    try:
        state = TxState(str(fields.get("status")))
    except ValueError as error:
        raise Malformed("a look-up with an unknown status") from error
    if state is not TxState.INCLUDED:
        return TxStatus(state=state)
    return TxStatus(
        state=state,
        height=Height(kept_field(fields, "height") + 1),
        block_hash=BlockHash(_hash(fields, "block_hash")),
        fee_charged=BaseUnits(kept_field(fields, "fee_charged")),
    )


def read_fee_floor(value: object) -> int:
    """Read the percentile floor (base units per byte) from the result of `mempool.stats`."""
    return kept_field(json_object(value, "pool statistics"), "fee_floor")


def read_gauge(metrics: object, name: str) -> int | None:
    """Read one whole-numbered series without labels from the text of `metrics`; None when it is not there, or absurd."""
    if not isinstance(metrics, str):
        raise Malformed("metrics: text belongs there")
    prefix = name + " "
    for line in metrics.splitlines():
        if line.startswith(prefix):
            word = line[len(prefix) :].split(" ", 1)[0].removesuffix(".0")
            if not (word.isascii() and word.isdigit() and len(word) <= U64_DIGITS):
                return None  # thousands of digits are no number to Python either
            return value if (value := int(word)) <= LARGEST else None
    return None


def _holding(fields: dict[str, object]) -> Holding:
    return Holding(
        balance=BaseUnits(kept_field(fields, "balance")), nonce=Nonce(kept_field(fields, "account_seq"))
    )


def _strangers(fields: dict[str, object]) -> Holding:
    return Holding(
        balance=BaseUnits(u64_field(fields, "balance")), nonce=Nonce(u64_field(fields, "account_seq"))
    )


def json_object(value: object, what: str) -> dict[str, object]:
    """Take an object; Malformed, saying what should be one, for anything else."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} is {type(value).__name__}, an object belongs there")
    return value


def kept_field(fields: dict[str, object], name: str) -> int:
    """Take a whole number that is kept and added up: at most LARGEST; Malformed otherwise."""
    value = u64_field(fields, name)
    if value > LARGEST:
        raise Malformed(f"{name}: {value} is beyond 2^62-1, the most that is believed of a number")
    return value


def u64_field(fields: dict[str, object], name: str) -> int:
    """Take a field that is a whole number of 64 bits without a sign; Malformed otherwise."""
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= U64_MAX:  # `type is`: a boolean is an int, too
        raise Malformed(f"{name}: a whole number of 0 … 2^64-1 belongs there")
    return value


def _hash(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) != 64 or not _HEX.issuperset(value):
        raise Malformed(f"{name}: 64 lower-case hex digits belong there")
    return value
