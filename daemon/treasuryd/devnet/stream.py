"""
`/state_stream`: the upgrade, and the frames that show every account once a second.

The node's own protocol error is kept: it answers `101 Unknown` with a stray `content-length: 0`, and it never reads.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Any, Final

import orjson
from blake3 import blake3

from treasuryd.devnet.ledger import Holding

STREAM_PATH: Final = "/state_stream"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT_FRAME: Final = 0x81  # final, text, unmasked
_LEAF: Final = struct.Struct("<QQ")


def refusal(headers: Mapping[str, str]) -> str | None:
    """Say why an upgrade cannot be; None when nothing is against it. Key syntax and version are not looked at."""
    if "upgrade" not in headers:
        return "websocket upgrade failed: missing upgrade header"
    if "sec-websocket-key" not in headers:
        return "websocket upgrade failed: missing Sec-WebSocket-Key"
    return None


def upgrade(key: str) -> bytes:
    """Write the node's answer to an upgrade."""
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
    return (
        "HTTP/1.1 101 Unknown\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        f"sec-websocket-accept: {accept}\r\ncontent-length: 0\r\n\r\n"
    ).encode()


def text_frame(payload: bytes) -> bytes:
    """Wrap a payload as one unmasked text frame, its length in 7, 16 or 64 bits."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT_FRAME, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", _TEXT_FRAME, 126, size) + payload
    return struct.pack(">BBQ", _TEXT_FRAME, 127, size) + payload


def state_json(holdings: Mapping[str, Holding], *, sequence: int, tip_index: int) -> bytes:
    """
    Write the state as the node does: keys sorted, each account with a Merkle path to the root.

    The tree is of our own making: no header carries the node's root, so a client can prove nothing by either.
    """
    rows = sorted(holdings.items())
    levels = _levels([blake3(address.encode() + _LEAF.pack(*holding)).digest() for address, holding in rows])
    accounts: list[dict[str, Any]] = [
        {"account_seq": nonce, "address": address, "balance": balance, "proof": _path(levels, place)}
        for place, (address, (balance, nonce)) in enumerate(rows)
    ]
    state = {
        "accounts": accounts, "compressed": False, "root": list(levels[-1][0]), "seq": sequence,
        "tip_height": tip_index,
    }  # fmt: skip
    return orjson.dumps(state, option=orjson.OPT_SORT_KEYS)


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    levels = [leaves or [bytes(32)]]
    while len(levels[-1]) > 1:
        below = levels[-1] + levels[-1][-1:] * (len(levels[-1]) % 2)
        levels.append([blake3(below[i] + below[i + 1]).digest() for i in range(0, len(below), 2)])
    return levels


def _path(levels: list[list[bytes]], place: int) -> list[tuple[list[int], bool]]:
    path = []
    for level in levels[:-1]:
        sibling = min(place ^ 1, len(level) - 1)
        path.append((list(level[sibling]), bool(place & 1)))
        place //= 2
    return path
