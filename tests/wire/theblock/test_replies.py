import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.model import Meaning
from treasuryd.wire.theblock.replies import (
    BY_VERDICT,
    MAX_DETAIL_CHARS,
    MAX_REPLY_BYTES,
    Malformed,
    Result,
    RpcError,
    batch_bytes,
    meaning_of,
    meaning_of_http,
    read_batch,
    read_reply,
    request_bytes,
)


def reply(result: object, request_id: object = 7) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode()


def failure(code: object, message: object = "text", request_id: object = 7) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    ).encode()


def test_only_exactly_status_ok_is_accepted() -> None:
    """N9: every other shape is refused or unknown."""
    assert meaning_of(Result(value={"status": "ok"})).meaning == Meaning.ACCEPTED
    shapes: list[object] = [
        {"status": "OK"},
        {"status": "ok", "x": 1},
        "ok",
        None,
        True,
        [],
        {"status": ["ok"]},
        {},
    ]
    for value in shapes:
        assert meaning_of(Result(value=value)).meaning == Meaning.UNKNOWN


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_no_other_result_is_ever_accepted(value: Any) -> None:
    """N9, at length."""
    assert (value == {"status": "ok"}) == (meaning_of(Result(value=value)).meaning is Meaning.ACCEPTED)


@pytest.mark.parametrize(("name", "expected"), sorted(BY_VERDICT.items()))
def test_each_verdict_has_its_meaning(name: str, expected: Meaning) -> None:
    """N9: refusals come as successful results with HTTP 200."""
    said = meaning_of_http(200, reply({"error": name}), request_id=7)
    assert (expected, name) == (said.meaning, said.detail)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FeeTooLow", Meaning.FEE_TOO_LOW),
        ("InsufficientBalance", Meaning.INSUFFICIENT_FUNDS),
        ("Duplicate", Meaning.ALREADY_KNOWN),
        ("NonceGap", Meaning.NONCE_GAP),
        ("PendingLimitReached", Meaning.PENDING_LIMIT),
        ("MempoolFull", Meaning.POOL_FULL),
        ("BadSignature", Meaning.CONFIGURATION),
        ("UnknownSender", Meaning.CONFIGURATION),
        ("InvalidSelector", Meaning.CONTENT_REFUSED),
        ("FeeTooLarge", Meaning.CONTENT_REFUSED),
        ("lock poisoned", Meaning.NODE_BROKEN),
        ("SomethingNew", Meaning.UNKNOWN),
    ],
)
def test_the_table_says_what_the_payer_needs(name: str, expected: Meaning) -> None:
    """The classes of the node's admission verdicts; a new name is unknown, never a refusal."""
    assert expected == meaning_of(Result(value={"error": name})).meaning


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(200, failure(-32000), Meaning.REPLAYED, id="our replay nonce was used"),
        pytest.param(200, failure(-32001), Meaning.RATE_LIMITED, id="rate limited"),
        pytest.param(429, failure(-32002, "banned", None), Meaning.RATE_LIMITED, id="banned"),
        pytest.param(429, b"", Meaning.RATE_LIMITED, id="429 without a body"),
        pytest.param(200, failure(-32602), Meaning.CONFIGURATION, id="the node cannot read us"),
        pytest.param(200, failure(-32700, "parse error", None), Meaning.CONFIGURATION, id="parse error"),
        pytest.param(200, failure(-32603), Meaning.NODE_BROKEN, id="internal"),
        pytest.param(200, failure(-1), Meaning.UNKNOWN, id="a code of nobody"),
        pytest.param(503, b"", Meaning.NODE_BROKEN, id="503"),
        pytest.param(504, b"<html>", Meaning.NODE_BROKEN, id="504 of a proxy"),
        pytest.param(403, b"", Meaning.CONFIGURATION, id="host not allowed"),
        pytest.param(404, b"", Meaning.CONFIGURATION, id="not the RPC port"),
        pytest.param(200, b"", Meaning.UNKNOWN, id="an empty body"),
        pytest.param(200, reply({"status": "ok"})[:-3], Meaning.UNKNOWN, id="a truncated body"),
        pytest.param(200, reply({"status": "ok"}, 8), Meaning.UNKNOWN, id="another request's id"),
        pytest.param(200, reply({"status": "ok"}, True), Meaning.UNKNOWN, id="an id of another type"),
        pytest.param(200, reply({"status": "ok"}, None), Meaning.UNKNOWN, id="a result without an id"),
        pytest.param(200, b"x" * (MAX_REPLY_BYTES + 1), Meaning.UNKNOWN, id="too long"),
    ],
)
def test_each_answer_has_its_meaning(status: int, body: bytes, expected: Meaning) -> None:
    """HTTP status first, then the code; what cannot be read may have been accepted."""
    assert expected == meaning_of_http(status, body, request_id=7).meaning


def test_no_meaning_says_not_paid() -> None:
    """R4: no word of a node decides about a payment, so there is none for it."""
    assert not [meaning for meaning in Meaning if "paid" in meaning or "failed" in meaning]


@given(st.integers(100, 599), st.binary(max_size=300))
def test_no_answer_raises(status: int, body: bytes) -> None:
    """Whatever comes, a broadcast gets a meaning."""
    assert meaning_of_http(status, body, request_id=7).meaning in Meaning


def test_the_nodes_text_is_capped() -> None:
    """Untrusted text is bounded before it reaches anybody."""
    found = read_reply(failure(-1, "x" * 10_000), request_id=7)
    assert isinstance(found, RpcError)
    assert len(found.message) == MAX_DETAIL_CHARS


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b'{"id":7,"error":{"code":"1","message":"m"}}', id="a code that is text"),
        pytest.param(b'{"id":7,"error":{"code":1}}', id="no message"),
        pytest.param(b'{"id":7,"error":{"code":1,"message":"m"},"result":1}', id="both"),
        pytest.param(failure(-1, "m", 8), id="an error for another request"),
        pytest.param(b"nonsense", id="no JSON"),
    ],
)
def test_what_is_no_reply_is_malformed(body: bytes) -> None:
    """Strict reading of the envelope."""
    with pytest.raises(Malformed):
        read_reply(body, request_id=7)


def test_a_batch_is_read_in_the_order_of_the_requests() -> None:
    """Answers may come in any order; a row that is left out is None, and unknown."""
    body = b"[" + reply("b", 12) + b"," + failure(-32602, "invalid params", 11) + b"]"
    rows = read_batch(body, first_id=10, count=3)
    assert [None, RpcError(code=-32602, message="invalid params"), Result(value="b")] == rows
    assert meaning_of(rows[0]).meaning == Meaning.UNKNOWN


def test_a_batch_refused_as_a_whole_is_refused_for_each_row() -> None:
    """N17: an endpoint without the ability answers -32700 to the array."""
    rows = read_batch(failure(-32700, "parse error", None), first_id=1, count=2)
    assert [RpcError(code=-32700, message="parse error")] * 2 == rows


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" + reply("a", 3) + b"]", id="an id that was not asked"),
        pytest.param(b"[" + reply("a", 1) + b"," + reply("a", 1) + b"]", id="an id twice"),
        pytest.param(b"[1]", id="no envelope"),
        pytest.param(b"7", id="no list"),
    ],
)
def test_a_batch_with_a_wrong_row_is_malformed(body: bytes) -> None:
    """Rows are told apart by their ids alone, so these must be right."""
    with pytest.raises(Malformed):
        read_batch(body, first_id=1, count=2)


def test_requests_are_plain_json_rpc() -> None:
    """One request, and a batch whose ids count up."""
    assert json.loads(request_bytes("m", {"a": 1}, request_id=1)) == {
        "id": 1,
        "jsonrpc": "2.0",
        "method": "m",
        "params": {"a": 1},
    }
    assert [row["id"] for row in json.loads(batch_bytes([("m", {}), ("n", {})], first_id=5))] == [5, 6]
