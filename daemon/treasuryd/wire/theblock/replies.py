"""
The node's word and what it means: envelopes of JSON-RPC, verdict names, error codes, HTTP statuses.

One table for each of them. No meaning says "not paid" (protocol.md R4): a reply decides when we look and when we
send again, never what happened. Nothing but exactly `{"status":"ok"}` counts as accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from treasuryd.core.model import Meaning
from treasuryd.errors import Transient

MAX_DETAIL_CHARS: Final = 200  # what of a node's text reaches logs and people
MAX_REPLY_BYTES: Final = 1024 * 1024

PARSE_ERROR: Final = -32700
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603
REPLAYED_NONCE: Final = -32000
CODE_RATE_LIMITED: Final = -32001
CODE_BANNED: Final = -32002

ABSENT_ABILITY: Final = frozenset({METHOD_NOT_FOUND, PARSE_ERROR})  # an ability the endpoint does not have
ACCEPTED_RESULT: Final = {"status": "ok"}
LOCK_POISONED: Final = "lock poisoned"

BY_VERDICT: Final[Mapping[str, Meaning]] = {
    "UnknownSender": Meaning.CONFIGURATION,
    "InsufficientBalance": Meaning.INSUFFICIENT_FUNDS,
    "NonceGap": Meaning.NONCE_GAP,  # both too high and already mined: the node has one word for them
    "InvalidSelector": Meaning.CONTENT_REFUSED,
    "BadSignature": Meaning.CONFIGURATION,
    "Duplicate": Meaning.ALREADY_KNOWN,
    "NotFound": Meaning.UNKNOWN,
    "BalanceOverflow": Meaning.CONTENT_REFUSED,
    "FeeOverflow": Meaning.CONTENT_REFUSED,
    "FeeTooLow": Meaning.FEE_TOO_LOW,
    "MempoolFull": Meaning.POOL_FULL,
    "LockPoisoned": Meaning.NODE_BROKEN,
    LOCK_POISONED: Meaning.NODE_BROKEN,
    "PendingLimitReached": Meaning.PENDING_LIMIT,
    "FeeTooLarge": Meaning.CONTENT_REFUSED,
    "PendingSignatures": Meaning.CONFIGURATION,
    "SessionExpired": Meaning.CONFIGURATION,
}
BY_CODE: Final[Mapping[int, Meaning]] = {
    PARSE_ERROR: Meaning.CONFIGURATION,
    -32600: Meaning.CONFIGURATION,
    METHOD_NOT_FOUND: Meaning.CONFIGURATION,
    INVALID_PARAMS: Meaning.CONFIGURATION,  # our encoding and the node's differ: no payment will get through
    INTERNAL: Meaning.NODE_BROKEN,
    REPLAYED_NONCE: Meaning.REPLAYED,
    CODE_RATE_LIMITED: Meaning.RATE_LIMITED,
    CODE_BANNED: Meaning.RATE_LIMITED,
}


class Malformed(Transient):
    """The endpoint answered something that is not of the protocol: it may have acted all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A successful JSON-RPC reply. On this chain refusals of a transaction are successful, too."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcError:
    """A JSON-RPC error: code and text, the text capped."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a reply to a broadcast means, and the node's words for people (capped)."""

    meaning: Meaning
    detail: str = ""


def request_bytes(method: str, params: Mapping[str, object], *, request_id: int) -> bytes:
    """Write one JSON-RPC request."""
    return orjson.dumps({"id": request_id, "jsonrpc": "2.0", "method": method, "params": params})


def batch_bytes(calls: Sequence[tuple[str, Mapping[str, object]]], *, first_id: int) -> bytes:
    """Write a JSON-RPC batch whose ids count up from `first_id`; only for endpoints that have the ability."""
    return orjson.dumps(
        [
            {"id": first_id + place, "jsonrpc": "2.0", "method": method, "params": params}
            for place, (method, params) in enumerate(calls)
        ]
    )


def read_reply(body: bytes, *, request_id: int, limit: int = MAX_REPLY_BYTES) -> Result | RpcError:
    """
    Read the reply to one request.

    Raises: Malformed when it is not JSON, not an envelope, too long, or bears another request's id.
    Guarantees: an error may bear `null` as its id (the node does so when it did not read the request), a result not.
    """
    return _envelope(parse(body, limit=limit), request_id)


def read_batch(
    body: bytes, *, first_id: int, count: int, limit: int = MAX_REPLY_BYTES
) -> list[Result | RpcError | None]:
    """
    Read the reply to a batch, in the order of the requests; None where the node left one out.

    Raises: Malformed when it is not a list of envelopes, or one of them bears an id that was not asked or twice.
    Returns: the same RpcError for every row when the node answered the batch as a whole with one error.
    """
    found = parse(body, limit=limit)
    if isinstance(found, dict):
        whole = _envelope(found, None)
        return [whole] * count
    if not isinstance(found, list):
        raise Malformed(f"a batch was answered with {type(found).__name__}")
    rows: list[Result | RpcError | None] = [None] * count
    for item in found:
        place = item.get("id") if isinstance(item, dict) else None
        if type(place) is not int or not first_id <= place < first_id + count:
            raise Malformed("a batch was answered with an id that was not asked")
        if rows[place - first_id] is not None:
            raise Malformed(f"a batch was answered twice for id {place}")
        rows[place - first_id] = _envelope(item, place)
    return rows


def parse(body: bytes, *, limit: int = MAX_REPLY_BYTES) -> Any:
    """Read JSON of at most `limit` bytes; Malformed otherwise."""
    if len(body) > limit:
        raise Malformed(f"a reply of {len(body)} bytes, the limit is {limit}")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"a reply of {len(body)} bytes is not JSON") from error


def _envelope(found: object, request_id: int | None) -> Result | RpcError:
    if not isinstance(found, dict):
        raise Malformed(f"a reply is {type(found).__name__}, an object belongs there")
    error, answered = found.get("error"), found.get("id")
    if isinstance(error, dict) and "result" not in found:
        code, message = error.get("code"), error.get("message")
        if type(code) is not int or not isinstance(message, str):
            raise Malformed("a reply bears an error without code and message")
        if answered is not None and answered != request_id:
            raise Malformed("a reply bears the id of another request")
        return RpcError(code=code, message=message[:MAX_DETAIL_CHARS])
    if error is not None or "result" not in found:
        raise Malformed("a reply bears neither a result nor an error, or both")
    if type(answered) is not int or answered != request_id:
        raise Malformed("a reply bears the id of another request")
    return Result(value=found["result"])


def meaning_of(reply: Result | RpcError | None) -> Said:
    """Say what the answer to `submit_tx` means; None (a row left out of a batch) is unknown."""
    match reply:
        case RpcError(code=code, message=message):
            return Said(meaning=BY_CODE.get(code, Meaning.UNKNOWN), detail=f"{message} ({code})")
        case Result(value=value):
            return _verdict(value)
        case None:
            return Said(meaning=Meaning.UNKNOWN, detail="no answer to this row of the batch")


def _verdict(value: object) -> Said:
    if value == ACCEPTED_RESULT:
        return Said(meaning=Meaning.ACCEPTED)
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("error"), str):
        name: str = value["error"]
        return Said(meaning=BY_VERDICT.get(name, Meaning.UNKNOWN), detail=name[:MAX_DETAIL_CHARS])
    return Said(meaning=Meaning.UNKNOWN, detail="a result of an unknown shape")


def meaning_of_http(status: int, body: bytes, *, request_id: int) -> Said:
    """
    Say what a whole HTTP answer to one `submit_tx` means.

    Guarantees: never raises; an answer that cannot be read is UNKNOWN, for the node may have accepted.
    """
    refused = meaning_of_status(status, body)
    if refused is not None:
        return refused
    try:
        return meaning_of(read_reply(body, request_id=request_id))
    except Malformed as error:
        return Said(meaning=Meaning.UNKNOWN, detail=error.message)


def meaning_of_status(status: int, body: bytes) -> Said | None:
    """Say what an HTTP status means by itself; None for 200, where the body speaks."""
    if status == 200:
        return None
    if status == 429:
        return Said(
            meaning=Meaning.RATE_LIMITED, detail="banned" if b'"banned"' in body[:1024] else "rate limited"
        )
    if status >= 500:
        return Said(meaning=Meaning.NODE_BROKEN, detail=f"HTTP {status}")
    return Said(
        meaning=Meaning.CONFIGURATION,
        detail=f"HTTP {status}: not a node's RPC port, or our Host is not allowed",
    )
