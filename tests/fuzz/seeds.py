"""Valid examples of every foreign input, and hostile ones that every text parser has to survive: where mutation starts."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from tests.fakes import PAYEE
from tests.fuzz.targets import KEY, SECRET, TARGETS

from treasuryd.chain.stream import accept_for
from treasuryd.store.journal import GENESIS, link
from treasuryd.wire.theblock.transaction import payment_bytes, rpc7_from_parts

ITEM: Final = {"destination": PAYEE, "amount": 1_000, "scheduled_epoch": 3, "memo": "depends_on=7,8"}
PROPOSAL: Final = {"title": "Rent", "summary": "For May", "quorum": {"operators_ppm": 600_000}}
HASH: Final = "ab" * 32
HEADER: Final = {"height": 0, "hash": HASH}
ACCOUNT: Final = {"address": PAYEE, "balance": 5, "account_seq": 2}
TEXT: Final = b'{"compressed":false,"tip_height":4,"accounts":[' + orjson.dumps(ACCOUNT) + b"]}"
PROVIDER: Final = {
    "provider_id": "energy-0x00000000", "available_kwh": 40, "price_per_kwh": 120, "reputation_score": 0.9,
    "total_delivered_kwh": 7,
}  # fmt: skip
VOTE: Final = {
    "house": "operators",
    "key": "11" * 32,
    "counter": 0,
    "decision": "approve",
    "signature": "22" * 64,
}
DEEP: Final = 5_000  # beyond every recursion limit

HOSTILE: Final = (
    b"",
    b"\0",
    b"[" * DEEP,
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"a=" + b"[" * DEEP,
    b"a=" + b"{a=" * DEEP,
    b"9" * DEEP,
    b"a=" + b"9" * DEEP,
    b"NaN",
    b"[Infinity,-Infinity,1e999,-0]",
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b'{"\\udfff":1}',
    b"\xed\xa0\x80",
    b"\xff\xfe\0\0",
    '{"amount":"١٢٣","height":"²"}'.encode(),
    b"\xef\xbb\xbf{}",
    b'"' + b"\\" * DEEP,
    b'"abcde"',
    b"[1,2,3,4,5]",
)


def seeds() -> dict[str, list[bytes]]:
    """Valid examples of each target."""
    found = {
        "memo": [b'{"depends_on":[1,"2",3.0]}', b"depends_on=1, 2,+3", b"depends_on: 9", b"rent"],
        "payload": [
            orjson.dumps(ITEM),
            orjson.dumps([ITEM, {**ITEM, "ref": "b", "depends_on_refs": ["a"]}, {**ITEM, "ref": "a"}]),
            orjson.dumps({"disbursement": ITEM, "proposal": PROPOSAL}),
            orjson.dumps({"items": [{**ITEM, "amount": "17", "proposal": PROPOSAL}]}),
        ],
        "csv": [
            b"destination,amount,scheduled_epoch\n" + PAYEE.encode() + b",5,1\n",
            b'ref,account,destination,amount,memo,scheduled_epoch,depends_on\r\na,,tb1q,5,"x,y",1,12 @b\r\n',
        ],
        "vote": [orjson.dumps(VOTE)],
        "replies": [*_envelopes({"status": "ok"}), *_envelopes({"error": "FeeTooLow"}), _batch()],
        "results": [
            envelope
            for result in (
                [HEADER],
                HEADER,
                ACCOUNT,
                {"amount": 7},
                {"status": "included", "height": 3, "block_hash": HASH, "fee_charged": 2},
                {"fee_floor": 1},
                "# HELP\nblock_height 12.0\n",
                "block_height " + "9" * DEEP,
            )
            for envelope in _envelopes(result)
        ],
        "frame": [TEXT, b'{"compressed":false,"tip_height":0,"accounts":[]}'],
        "exposition": [
            (
                b'# TYPE energy_settlement_total counter\nenergy_settlement_total{provider="energy-0x1"} 7 1700000000000\n'
                b'energy_slashing_total{provider="a\\"\\\\\\n",reason="quorum"} 1\nreceipts_ad_total 2.5e3\n'
            ),
            (
                b'oracle_reading_latency_seconds_bucket{le="0.5"} 2\noracle_reading_latency_seconds_bucket{le="+Inf"} 3\n'
                b"oracle_reading_latency_seconds_sum 4.5\noracle_reading_latency_seconds_count 3\n"
            ),
            b"economics_realized_inflation_bps -1e30\nreceipts_per_block NaN\n",
        ],
        "market": [
            orjson.dumps(
                {"governance": {"mode": "batch"}, "providers": [PROVIDER, {**PROVIDER, "provider_id": "b"}]}
            ),
            orjson.dumps({"total": 2, "credits": [{"amount_kwh": 2**64 - 1}, {"amount_kwh": 0}]}),
            orjson.dumps({"total": 1, "disputes": [{"id": 3, "opened_at": 4, "resolved_at": 9}]}),
        ],
        "stream": [_upgrade() + b"\x81" + bytes([len(TEXT)]) + TEXT, _upgrade() + b"\x81\x7e\x00\x05hello"],
        "transaction": [_transaction(b""), _transaction(b"\0memo")],
        "settings_file": [
            b'[http]\nport = 9477\n\n[[accounts]]\nname = "treasury"\n',
            b'development = true\n[chain]\nendpoints = ["http://127.0.0.1:1"]\nfinality_depth = 3\n',
        ],
        "settings_environment": [
            b"HTTP__PORT=9477",
            b'CHAIN__ENDPOINTS=["http://127.0.0.1:1"]\nHTTP__PORT=x',
            b"CHAIN__ENDPOINTS=" + b"[" * DEEP,
            b"CHAIN__ENDPOINTS=[" + b"9" * DEEP + b"]",
        ],
        "devnet": [
            b"POST /rpc HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}GET / HTTP/1.1\r\nexpect: 100-continue\r\n\r\n"
        ],
        "journal": [_lines()],
        "key_file": [_pem(), SECRET + b"\n"],
        "rpc_server": [*_calls()],
    }
    assert found.keys() == TARGETS.keys()
    return found


def _envelopes(result: Any) -> list[bytes]:
    whole = orjson.dumps({"id": 1, "jsonrpc": "2.0", "result": result})
    return [
        whole,
        orjson.dumps({"id": 1, "error": {"code": -32_601, "message": "no such method"}}),
        orjson.dumps(result),
    ]


def _batch() -> bytes:
    return orjson.dumps([{"id": row, "jsonrpc": "2.0", "result": row} for row in (3, 1)])


def _upgrade() -> bytes:
    return f"HTTP/1.1 101 Unknown\r\ncontent-length: 0\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\n\r\n".encode()


def _transaction(memo: bytes) -> bytes:
    payload = payment_bytes(from_="treasury", to=PAYEE, amount=5, fee=7, nonce=1, memo=memo)
    return rpc7_from_parts(payload, b"\x01" * 32, b"\x02" * 64)


def _lines() -> bytes:
    lines, before = b"", GENESIS
    for seq in (1, 2):
        body = orjson.dumps({"id": seq})
        digest = link(before, "people", seq, 1.5, "submit", body)
        lines += orjson.dumps([seq, 1.5, "submit", digest])[:-1] + b"," + body + b"]\n"
        before = digest
    return lines


def _pem() -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET))


def _calls() -> Iterator[bytes]:
    for method, params in (
        ("gov.treasury.submit_disbursement", {"payload": {"disbursement": ITEM, "proposal": None}}),
        ("gov.treasury.disbursement", {"id": 1}),
        ("gov.treasury.list_disbursements", {"limit": 5, "status": "draft"}),
        ("gov.treasury.queue_disbursement", {"id": 1, "current_epoch": 4}),
        ("gov.treasury.rollback_disbursement", {"id": 1, "reason": "x"}),
        ("gov.treasury.balance_history", {"limit": 3}),
    ):
        yield orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    yield orjson.dumps([{"id": None, "method": "gov.treasury.balance"}, 5, {"id": True, "method": "x"}])
