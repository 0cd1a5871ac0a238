import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.model import BaseUnits, Holding, Nonce
from treasuryd.devnet.stream import refusal, state_json, text_frame, upgrade
from treasuryd.wire.theblock.readings import read_frame


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, "8100"), (125, "817d"), (126, "817e007e"), (65535, "817effff"), (65536, "817f0000000000010000")],
)
def test_a_frame_is_unmasked_and_has_the_shortest_length(size: int, head: str) -> None:
    """7, 16 and 64 bits."""
    frame = text_frame(b"x" * size)
    assert bytes.fromhex(head) == frame[: len(head) // 2]
    assert len(head) // 2 + size == len(frame)


def test_the_state_has_the_shape_that_was_observed(vectors: dict[str, Any]) -> None:
    """Same keys in the same order, same values; root and proofs have the observed shape and prove nothing."""
    seen = json.loads(vectors["state_stream_frame"]["text"])
    text = state_json({"treasury": (10_000_000, 0), "miner": (5, 0)}, sequence=0, tip_index=0)
    ours = json.loads(text)
    assert list(seen) == list(ours)
    for theirs, mine in zip(seen["accounts"], ours["accounts"], strict=True):
        assert list(theirs) == list(mine)
        assert {**theirs, "proof": None} == {**mine, "proof": None}
        assert [(len(node), side) for node, side in theirs["proof"]] == [
            (len(node), side) for node, side in mine["proof"]
        ]
    assert len(seen["root"]) == len(ours["root"])
    assert text.startswith(b'{"accounts":[{"account_seq":0,"address":"miner","balance":5,"proof":[[[')


@given(
    st.dictionaries(
        st.text(max_size=20), st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=9
    )
)
def test_the_adapters_reader_reads_every_state(holdings: dict[str, tuple[int, int]]) -> None:
    """The two sides of the wire agree."""
    found = read_frame(state_json(holdings, sequence=3, tip_index=7))
    assert found.tip_index == 7
    assert {
        name: Holding(balance=BaseUnits(balance), nonce=Nonce(nonce))
        for name, (balance, nonce) in holdings.items()
    } == found.holdings


def test_the_upgrade_is_answered_as_the_node_does() -> None:
    """`101 Unknown`, the right accept key (RFC 6455's example), and a stray content-length."""
    head = upgrade("dGhlIHNhbXBsZSBub25jZQ==").decode()
    assert head.startswith("HTTP/1.1 101 Unknown\r\n")
    assert "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert "content-length: 0\r\n" in head


def test_an_upgrade_needs_two_headers() -> None:
    """Neither the syntax of the key nor the version is looked at."""
    assert refusal({}) == "websocket upgrade failed: missing upgrade header"
    assert refusal({"upgrade": "x"}) == "websocket upgrade failed: missing Sec-WebSocket-Key"
    assert refusal({"upgrade": "x", "sec-websocket-key": "?"}) is None
