import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.model import Address, BaseUnits, BlockHash, Header, Height, Holding, Nonce
from treasuryd.wire.theblock.readings import (
    LARGEST,
    TxState,
    TxStatus,
    read_account,
    read_balance,
    read_fee_floor,
    read_frame,
    read_gauge,
    read_header,
    read_headers,
    read_tx_status,
)
from treasuryd.wire.theblock.replies import Malformed

HASH = "ab" * 32


def header(index: int) -> dict[str, Any]:
    return {"difficulty": 1, "hash": HASH, "height": index}


def frame(**change: Any) -> bytes:
    account = {"account_seq": 2, "address": "treasury", "balance": 10, "proof": []}
    whole = {"accounts": [account], "compressed": False, "root": [], "seq": 0, "tip_height": 47}
    return json.dumps(whole | change).encode()


def test_the_observed_frame_is_read(vectors: dict[str, Any]) -> None:
    """The text that a live node sent."""
    found = read_frame(vectors["state_stream_frame"]["text"].encode())
    assert found.tip_index == 0
    assert {
        "miner": Holding(balance=BaseUnits(5), nonce=Nonce(0)),
        "treasury": Holding(balance=BaseUnits(10_000_000), nonce=Nonce(0)),
    } == found.holdings


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(frame(compressed=True), id="compressed"),
        pytest.param(frame(tip_height=True), id="a boolean for a height"),
        pytest.param(frame(tip_height=-1), id="a negative height"),
        pytest.param(frame(tip_height=1.0), id="a float"),
        pytest.param(frame(accounts={}), id="accounts that are no list"),
        pytest.param(frame(accounts=[{"address": "a", "balance": 1}]), id="no nonce"),
        pytest.param(
            frame(accounts=[{"address": "a" * 2000, "balance": 1, "account_seq": 1}]), id="an endless address"
        ),
        pytest.param(
            frame(accounts=[{"address": 1, "balance": 1, "account_seq": 1}]), id="an address that is a number"
        ),
        pytest.param(
            frame(accounts=[{"address": "a", "balance": 2**64, "account_seq": 1}]), id="beyond 64 bits"
        ),
        pytest.param(
            frame(accounts=[{"address": "a", "balance": 1, "account_seq": 1}] * 2), id="an address twice"
        ),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"\xff", id="no JSON"),
    ],
)
def test_what_is_no_frame_is_malformed(text: bytes) -> None:
    """Strict: a frame decides what was paid."""
    with pytest.raises(Malformed):
        read_frame(text)


def test_a_frame_is_bounded() -> None:
    """Beyond its bound it is not even parsed."""
    with pytest.raises(Malformed, match="the limit is 10"):
        read_frame(frame(), limit=10)


@given(st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(text: bytes) -> None:
    """No other error leaves the reader."""
    with pytest.raises(Malformed):
        read_frame(text)


def test_headers_count_blocks_where_the_node_counts_from_zero() -> None:
    """N15: index 47 is our height 48."""
    assert Header(height=Height(48), block_hash=BlockHash(HASH)) == read_header(header(47))
    assert [row.height for row in read_headers([header(2), header(3)], start=2, limit=200)] == [3, 4]
    assert read_headers([], start=0, limit=1) == ()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([header(2), header(4)], id="a gap"),
        pytest.param([header(3)], id="another one than was asked for"),
        pytest.param([header(2), header(3), header(4)], id="too many"),
        pytest.param([{"hash": HASH.upper(), "height": 2}], id="an upper-case hash"),
        pytest.param([{"hash": HASH[1:], "height": 2}], id="a short hash"),
        pytest.param([{"height": 2}], id="no hash"),
        pytest.param({}, id="no list"),
    ],
)
def test_wrong_headers_are_malformed(value: object) -> None:
    """What was not asked for is not taken for what was."""
    with pytest.raises(Malformed):
        read_headers(value, start=2, limit=2)


def test_a_look_up_is_read() -> None:
    """Block, hash and charge stand for an included transaction alone."""
    found = {"status": "included", "height": 4, "block_hash": HASH, "fee_charged": 1057}
    assert TxStatus(
        state=TxState.INCLUDED, height=Height(5), block_hash=BlockHash(HASH), fee_charged=BaseUnits(1057)
    ) == read_tx_status(found)
    assert TxStatus(state=TxState.PENDING) == read_tx_status({"status": "pending", "height": None})
    assert TxStatus(state=TxState.UNKNOWN) == read_tx_status({"status": "unknown"})


@pytest.mark.parametrize(
    "value",
    [
        {"status": "mined"},
        {"status": "included"},
        {"status": "included", "height": 1, "block_hash": "x", "fee_charged": 1},
        7,
    ],
)
def test_a_wrong_look_up_is_malformed(value: object) -> None:
    """An inclusion without its block is none."""
    with pytest.raises(Malformed):
        read_tx_status(value)


def test_a_missing_account_is_absent_and_not_empty() -> None:
    """N15: null is "absent"; `balance` cannot say so and answers 0."""
    assert read_account(None) is None
    assert Holding(balance=BaseUnits(0), nonce=Nonce(3)) == read_account({"balance": 0, "account_seq": 3})
    assert read_balance({"amount": 0}) == 0
    with pytest.raises(Malformed):
        read_account({"balance": "1", "account_seq": 3})
    with pytest.raises(Malformed):
        read_balance({"amount": None})


def test_fee_floor_and_gauges_are_read() -> None:
    """The two places where the node says what it wants."""
    assert read_fee_floor({"fee_floor": 2}) == 2
    text = "# TYPE base_fee gauge\nbase_fee 7\nbase_fee_total 9\nfloat 3.0\nnan NaN\n"
    assert [read_gauge(text, name) for name in ("base_fee", "float", "nan", "missing")] == [7, 3, None, None]
    with pytest.raises(Malformed):
        read_gauge(None, "base_fee")
    assert read_gauge("base_fee " + "9" * 5_000, "base_fee") is None


HOSTILE = (-1, LARGEST + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64)


@pytest.mark.parametrize("number", HOSTILE)
def test_a_number_that_could_not_be_kept_is_no_reading(number: int) -> None:
    """It would end the process where it is stored, or where it is added to another; the largest that is believed fits."""
    readers: list[Callable[[int], object]] = [
        lambda value: read_account({"balance": value, "account_seq": 1}),
        lambda value: read_account({"balance": 1, "account_seq": value}),
        lambda value: read_balance({"amount": value}),
        lambda value: read_fee_floor({"fee_floor": value}),
        lambda value: read_header(header(value)),
        lambda value: read_frame(frame(tip_height=value)),
        lambda value: read_tx_status(
            {"status": "included", "height": value, "block_hash": HASH, "fee_charged": 1}
        ),
        lambda value: read_tx_status(
            {"status": "included", "height": 1, "block_hash": HASH, "fee_charged": value}
        ),
    ]
    for read in readers:
        read(LARGEST)
        with pytest.raises(Malformed):
            read(number)
    assert read_gauge(f"base_fee {number}", "base_fee") is None
    assert read_gauge(f"base_fee {LARGEST}", "base_fee") == LARGEST


@pytest.mark.parametrize("field", ["balance", "account_seq"])
def test_a_strangers_account_may_hold_what_ours_may_not(field: str) -> None:
    """The stream shows everybody: one large account of somebody else must not make the chain unreadable."""
    row = {"address": "whale", "balance": 1, "account_seq": 1, field: 2**64 - 1}
    text = frame(accounts=[row])
    assert list(read_frame(text).holdings) == ["whale"]
    with pytest.raises(Malformed, match=field):
        read_frame(text, wanted=[Address("whale")])


def test_an_address_of_another_script_is_kept() -> None:
    """Addresses are free-form names."""
    row = {"address": "tb1zürich-日本", "balance": 1, "account_seq": 1}
    assert [Address("tb1zürich-日本")] == list(read_frame(frame(accounts=[row])).holdings)
