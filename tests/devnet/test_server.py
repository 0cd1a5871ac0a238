import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.devnet.world import DEV, FUNDS, REAL, Answer, Client, World, settle, signed

from treasuryd.devnet.config import Abilities, profile
from treasuryd.devnet.server import Devnet
from treasuryd.devnet.signatures import offer_of
from treasuryd.errors import Rejected
from treasuryd.wire.theblock.readings import read_frame
from treasuryd.wire.theblock.replies import read_batch
from treasuryd.wire.theblock.transaction import probe_bytes, size9

TOKEN = "a-token"
FRESH = "energy read with token, fresh node"


async def told(client: Client, item: dict[str, Any]) -> Answer:
    """Send one request of the transcripts."""
    request = item["request"]
    headers = {name: value.replace("<token>", TOKEN) for name, value in request.get("headers", {}).items()}
    await client.send(request["method"], request["path"], request["body"].encode(), **headers)
    return await client.receive()


def matches(item: dict[str, Any], answer: Answer, devnet: Devnet) -> None:
    body = item["body"]
    if "hash differs per chain" in item["name"]:
        seen = json.loads(body)["result"]["hash"]
        body = body.replace(seen, devnet.node.ledger.block_hash(47))
    assert (item["status"], body) == (answer.status, answer.body.decode()), item["name"]
    if "connection" in item:
        assert item["connection"] == answer.headers["connection"], item["name"]


async def test_every_transcript_is_reproduced_byte_for_byte(world: World, vectors: dict[str, Any]) -> None:
    """Profile `real`, from the first call on an empty chain to the ban."""
    devnet = await world.start(replace(REAL, admin_token=TOKEN))
    client = await world.connect(devnet)
    for item in vectors["rpc_transcripts"]["items"]:
        if "48 blocks" in item["name"]:
            devnet.apply({"fault": "mine", "blocks": 48})
        if item["name"] == "rate limit, first refusal":
            await world.time.advance(60.0)
            client = await world.connect(devnet)
            for _ in range(100):
                assert (await told(client, item)).status == 200
        if item["name"] == "rate limit, while banned":
            client = await world.connect(devnet)
        answer = await told(client, item)
        matches(item, answer, devnet)
        if answer.headers["connection"] == "close":
            assert await client.dropped()
            client = await world.connect(devnet)


async def test_every_decoder_rejection_is_reproduced(world: World, vectors: dict[str, Any]) -> None:
    """Nine fields, a prefix, a trailing byte: `invalid params`."""
    client = await world.connect(await world.start(REAL))
    row = vectors["transactions"][0]
    texts = [row["full9_hex"], "0x" + row["rpc7_hex"], row["rpc7_hex"] + "00"]
    cases = vectors["decoder_rejections"]["cases"]
    for nonce, (case, text) in enumerate(zip(cases, texts, strict=True)):
        assert case["error"] == await client.rpc("submit_tx", tx=text, nonce=nonce), case["case"]
    for nonce, text in enumerate([row["rpc7_hex"] + " ", "zz", 7, None, "", "é"]):
        assert await client.rpc("submit_tx", tx=text, nonce=100 + nonce) == {
            "code": -32602,
            "message": "invalid params",
        }


async def test_the_verdicts_that_need_a_socket_are_reproduced(world: World, vectors: dict[str, Any]) -> None:
    """Upper-case hex is fine, one flipped bit is not, neither is the same nonce again nor the 17th pending one."""
    client = await world.connect(await world.start(REAL))
    said = {row["case"]: row["result"] for row in vectors["admission_verdicts"]["cases"]}
    flipped = bytearray(signed())
    flipped[flipped.index(b"ed25519") + 20] ^= 1
    assert said["one signature bit flipped"] == await client.submit(bytes(flipped))
    upper = await client.rpc("submit_tx", tx=signed().hex().upper(), nonce=1)
    assert said["same, hex in upper case"] == upper
    assert said["same nonce again with a higher fee"] == await client.submit(signed(fee=9000))
    for nonce in range(2, 17):
        assert await client.submit(signed(nonce=nonce)) == {"status": "ok"}
    assert said["17th pending transaction of one account"] == await client.submit(signed(nonce=17))


async def test_a_tip_can_be_replaced_and_a_fee_cannot(world: World) -> None:
    """N5: parameters of `submit_tx` beside the transaction; the id does not change."""
    devnet = await world.start(REAL)
    client = await world.connect(devnet)
    raw = signed(fee=5000, tip=1100)
    assert await client.submit(raw, max_fee=6000) == {"error": "BadSignature"}
    assert await client.submit(raw, tip=2000) == {"status": "ok"}
    devnet.apply({"fault": "mine"})
    assert devnet.node.ledger.transactions[offer_of(raw).tx_id].charge == 2001
    assert await client.submit(raw, tip=-1) == {"code": -32602, "message": "invalid params"}


async def test_a_body_over_the_limit_resets_the_connection(world: World) -> None:
    """1 MiB, judged from the announced length."""
    client = await world.connect(await world.start(REAL))
    await client.send("POST", "/", b"", Content_Length=str(1024 * 1024 + 1))
    assert await client.dropped()


async def test_requests_in_one_packet_are_answered_in_order(world: World) -> None:
    """Pipelined, behind one that has to wait."""
    devnet = await world.start(DEV)
    client = await world.connect(devnet)
    devnet.apply({"fault": "delay", "seconds": 5, "method": "balance"})
    for number in range(3):
        body = json.dumps({"id": number, "method": "balance", "params": {}}).encode()
        await client.send("POST", "/", body)
    await settle()
    await world.time.advance(5)
    assert [(await client.receive()).json["id"] for _ in range(3)] == [0, 1, 2]


async def test_a_client_may_ask_before_it_sends_its_body(world: World) -> None:
    """`Expect: 100-continue`, as curl does for large bodies."""
    client = await world.connect(await world.start(DEV))
    body = json.dumps({"id": 1, "method": "balance"}).encode()
    client.writer.write(
        b"POST / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        % len(body)
    )
    assert (await client.receive()).status == 100
    client.writer.write(body)
    assert (await client.receive()).status == 200


async def test_garbage_is_answered_and_closed(world: World) -> None:
    """And the next client is served."""
    devnet = await world.start(DEV)
    client = await world.connect(devnet)
    client.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await client.receive()).status == 400
    assert await client.dropped()
    assert await (await world.connect(devnet)).rpc("balance", address="treasury") == {"amount": FUNDS}


async def test_debug_methods_need_the_token(world: World) -> None:
    """With it they mine and stop; the replay nonce is theirs, too."""
    devnet = await world.start(replace(REAL, admin_token=TOKEN))
    client = await world.connect(devnet)
    body = {"id": 1, "method": "start_mining", "params": {"nonce": 1, "miner": "m"}}
    assert (await client.post(body)).json["error"]["code"] == -32601
    assert (await client.post(body, Authorization="Bearer wrong")).json["error"]["code"] == -32601
    assert (await client.post(body, Authorization=f"Bearer {TOKEN}")).json["result"] == {"status": "ok"}
    assert devnet.node.switches.mining
    assert (await client.post(body, Authorization=f"Bearer {TOKEN}")).json["error"]["code"] == -32000
    body["method"] = "stop_mining"
    await client.post(body, Authorization=f"Bearer {TOKEN}")
    assert not devnet.node.switches.mining


async def test_blocks_come_on_the_interval(world: World) -> None:
    """By the injected clock, only while mining is on."""
    devnet = await world.start(replace(DEV, mining=True, block_interval_seconds=0.5))
    await world.time.advance(5.1)
    assert devnet.node.ledger.height == 10
    devnet.apply({"fault": "mining", "on": False})
    await world.time.advance(5)
    assert devnet.node.ledger.height == 10


# --- the stream ------------------------------------------------------------------------------------------


async def open_stream(client: Client, **headers: str) -> bytes:
    key = base64.b64encode(b"0123456789abcdef").decode()
    given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key} | headers
    await client.send("GET", "/state_stream", b"", **given)
    async with asyncio.timeout(10):
        return await client.reader.readuntil(b"\r\n\r\n")


async def next_frame(client: Client) -> bytes:
    async with asyncio.timeout(10):
        first, size = await client.reader.readexactly(2)
        assert first == 0x81
        if size == 126:
            size = int.from_bytes(await client.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await client.reader.readexactly(8), "big")
        return await client.reader.readexactly(size)


async def test_the_stream_sends_one_frame_at_once_and_then_each_second(world: World) -> None:
    """`101 Unknown` with a stray content-length; frames count up per connection and show mined state alone."""
    devnet = await world.start(REAL)
    client, other = await world.connect(devnet), await world.connect(devnet)
    head = await open_stream(client)
    assert head.startswith(b"HTTP/1.1 101 Unknown\r\n")
    assert b"content-length: 0\r\n" in head
    first = json.loads(await next_frame(client))
    assert (first["seq"], first["tip_height"], first["compressed"]) == (0, 0, False)
    await other.submit(signed())
    await world.time.advance(1)
    second = await next_frame(client)
    assert json.loads(second)["seq"] == 1
    assert read_frame(second).holdings == read_frame(json.dumps(first).encode()).holdings
    devnet.apply({"fault": "mine", "blocks": 2})
    await world.time.advance(1)
    third = read_frame(await next_frame(client))
    assert (third.tip_index, third.holdings["treasury"].nonce) == (1, 1)  # type: ignore[index] # plain text key


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Upgrade": ""}, 101, id="an empty upgrade header is one"),
        pytest.param({"Host": "evil"}, 403, id="another host"),
    ],
)
async def test_the_stream_has_the_ports_gates(world: World, headers: dict[str, str], status: int) -> None:
    """Host check first; what the headers say is hardly looked at."""
    client = await world.connect(await world.start(REAL))
    assert f" {status} ".encode() in await open_stream(client, **headers)


async def test_an_upgrade_without_its_headers_is_refused_by_a_sentence(world: World) -> None:
    """400, in plain text, and the connection closes."""
    devnet = await world.start(REAL)
    for headers, reason in (
        ({}, b"missing upgrade header"),
        ({"Upgrade": "websocket"}, b"missing Sec-WebSocket-Key"),
    ):
        client = await world.connect(devnet)
        await client.send("GET", "/state_stream", b"", **headers)
        answer = await client.receive()
        assert (answer.status, answer.body.endswith(reason)) == (400, True)


async def answered(client: Client) -> bool:
    """Whether the RPC port answers now."""
    await client.send("POST", "/", b'{"id":1,"method":"balance"}')
    await settle()
    try:
        async with asyncio.timeout(0.05):
            await client.reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        return False
    return True


def says(stream: Client) -> None:
    stream.writer.write(b"\x89\x80\0\0\0\0")  # a ping


def half_closes(stream: Client) -> None:
    stream.writer.write_eof()


@pytest.mark.parametrize("mistake", [says, half_closes])
async def test_a_client_that_is_not_silent_freezes_the_port(
    world: World, mistake: Callable[[Client], None]
) -> None:
    """N1: one byte or a half-close, until that socket is wholly closed; then what waited is answered."""
    devnet = await world.start(REAL)
    stream, client = await world.connect(devnet), await world.connect(devnet)
    await open_stream(stream)
    mistake(stream)
    await settle()
    await world.time.advance(0.5)
    assert not await answered(client)
    assert devnet.apply({"show": "status"})["freezes"] == 1
    stream.writer.transport.abort()
    async with asyncio.timeout(10):
        while devnet.frozen:
            await world.time.advance(1)
        await client.reader.readuntil(b"\r\n\r\n")


async def test_a_silent_client_that_closes_freezes_nothing(world: World) -> None:
    """N1: one frame, nothing written, both directions closed: the way to read it."""
    devnet = await world.start(REAL)
    for _ in range(3):
        stream = await world.connect(devnet)
        await open_stream(stream)
        await next_frame(stream)
        stream.close()
        async with asyncio.timeout(10):
            await settle()
            while devnet.frozen:
                await world.time.advance(0.1)
    status = devnet.apply({"show": "status"})
    assert (status["freezes"], status["stream_bytes"]) == (0, 0)
    assert await answered(await world.connect(devnet))


async def test_with_the_switch_off_a_noisy_client_is_only_counted(world: World) -> None:
    """Profile `dev`: kind, and the mistake can still be seen."""
    devnet = await world.start(DEV)
    stream = await world.connect(devnet)
    await open_stream(stream)
    says(stream)
    await settle()
    assert await answered(await world.connect(devnet))
    assert devnet.apply({"show": "status"})["stream_bytes"] == 6


async def test_the_empty_chain_panics_over_its_latest_header(world: World) -> None:
    """N2: the connection drops, the lock is poisoned, `balance` still works; a restart heals it."""
    devnet = await world.start(REAL)
    client = await world.connect(devnet)
    await client.send("POST", "/", b'{"id":1,"method":"light.latest_header"}')
    assert await client.dropped()
    client = await world.connect(devnet)
    assert await client.submit(signed()) == {"error": "lock poisoned"}
    assert await client.rpc("balance", address="treasury") == {"amount": FUNDS}
    assert (await client.rpc("mempool.stats"))["size"] == 0
    await client.send("POST", "/", b'{"id":1,"method":"light.headers"}')
    assert await client.dropped()
    devnet.node.switches.mining = True
    devnet.node.tick()
    assert devnet.node.ledger.height == 0
    devnet.apply({"fault": "restart"})
    assert await (await world.connect(devnet)).submit(signed()) == {"status": "ok"}


async def test_the_kind_profile_says_not_found_instead(world: World) -> None:
    """Off: a refusal, and nothing is poisoned."""
    client = await world.connect(await world.start(DEV))
    assert (await client.rpc("light.latest_header"))["code"] == -32003
    assert await client.submit(signed()) == {"status": "ok"}


# --- abilities -------------------------------------------------------------------------------------------


async def test_abilities_are_there_or_answer_as_absent(world: World) -> None:
    """N17: -32601 and -32700, switched at run time."""
    devnet = await world.start(DEV)
    client = await world.connect(devnet)
    assert await client.rpc("account", address="treasury") == {"account_seq": 0, "balance": FUNDS}
    assert await client.rpc("account", address="nobody") is None
    assert isinstance((await client.post([{"id": 1, "method": "balance"}])).json, list)
    devnet.apply({"fault": "abilities", "on": False})
    assert Abilities(batch=False, tx_status=False, account=False) == devnet.node.switches.abilities
    assert (await client.rpc("account", address="treasury"))["code"] == -32601
    assert (await client.rpc("tx_status", tx_hash="00"))["code"] == -32601
    assert (await client.post([{"id": 1, "method": "balance"}])).json["error"]["code"] == -32700


async def test_a_transaction_is_looked_up_by_its_hash(world: World) -> None:
    """Unknown, pending, included with block and charge, and unknown again after a reorg that dropped it."""
    devnet = await world.start(DEV)
    client = await world.connect(devnet)
    raw = signed()
    name = offer_of(raw).tx_id
    assert (await client.rpc("tx_status", tx_hash=name))["status"] == "unknown"
    await client.submit(raw)
    assert (await client.rpc("tx_status", tx_hash=name))["status"] == "pending"
    devnet.apply({"fault": "mine"})
    found = await client.rpc("tx_status", tx_hash=name)
    ledger = devnet.node.ledger
    charge = ledger.transactions[name].charge
    assert {
        "block_hash": ledger.block_hash(0),
        "fee_charged": charge,
        "height": 0,
        "status": "included",
    } == found
    devnet.apply({"fault": "reorg", "depth": 1, "then": "never"})
    assert (await client.rpc("tx_status", tx_hash=name))["status"] == "unknown"


async def test_a_large_batch_is_judged_row_by_row(world: World) -> None:
    """Signatures are checked in the thread; a bad row, a repeated one and an undecodable one spoil no other."""
    rules = replace(DEV.rules, pending_per_account=100)
    devnet = await world.start(replace(DEV, rules=rules))
    client = await world.connect(devnet)
    raws = [signed(nonce=nonce) for nonce in range(1, 31)]
    spoilt = bytearray(raws[29])
    spoilt[spoilt.index(b"ed25519") + 20] ^= 1
    texts = [raw.hex() for raw in raws[:29]] + [bytes(spoilt).hex(), raws[0].hex(), "00"]
    rows = [
        {"id": place, "method": "submit_tx", "params": {"tx": text, "nonce": place}}
        for place, text in enumerate(texts)
    ]
    answer = await client.post([*rows, {"id": 32, "method": "balance", "params": {"address": "treasury"}}, 7])
    found = answer.json
    assert found[-1]["error"] == {"code": -32700, "message": "parse error"}
    replies = read_batch(json.dumps(found[:-1]).encode(), first_id=0, count=33)
    values = [getattr(reply, "value", getattr(reply, "code", None)) for reply in replies]
    assert values[:29] == [{"status": "ok"}] * 29
    assert values[29:] == [{"error": "BadSignature"}, {"error": "Duplicate"}, -32602, {"amount": FUNDS}]


# --- the state folder ------------------------------------------------------------------------------------


async def test_a_killed_chain_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    """N3: mined blocks survive, the pool does not, and a torn last record costs that block."""
    config = replace(DEV, state_folder=tmp_path)
    devnet = await world.start(config)
    client = await world.connect(devnet)
    await client.submit(signed())
    devnet.apply({"fault": "mine", "blocks": 2})
    await client.submit(signed(nonce=2))
    header = await client.rpc("light.headers", start=0, limit=1)
    await world.stop()
    file = tmp_path / "blocks.log"
    file.write_bytes(file.read_bytes()[:-3])
    devnet = await world.start(config)
    client = await world.connect(devnet)
    assert header == await client.rpc("light.headers", start=0, limit=9)
    assert await client.rpc("account", address="treasury") == {
        "account_seq": 1,
        "balance": FUNDS - 1000 - 1057,
    }
    assert (await client.rpc("mempool.stats"))["size"] == 0
    assert await client.submit(signed(nonce=2, per_byte=1)) == {"status": "ok"}


async def test_a_port_that_is_taken_is_an_error(world: World) -> None:
    """It ends the start, and is not swallowed."""
    devnet = await world.start(DEV)
    with pytest.raises(Rejected, match=r"cannot listen on .* in use"):
        await world.start(replace(DEV, port=devnet.port))


async def test_a_replay_nonce_is_consumed_by_a_failing_call_and_counts_for_everybody(world: World) -> None:
    """N10: per method, for all clients, until the node restarts."""
    devnet = await world.start(replace(REAL, admin_token=TOKEN))
    first, other = await world.connect(devnet), await world.connect(devnet)
    assert (await first.rpc("submit_tx", tx="zz", nonce=5))["code"] == -32602
    replayed = {"code": -32000, "message": "replayed nonce"}
    assert replayed == await other.rpc("submit_tx", tx=signed().hex(), nonce=5)
    devnet.apply({"fault": "restart"})
    assert await other.rpc("submit_tx", tx=signed().hex(), nonce=5) == {"status": "ok"}


async def test_a_burst_of_requests_earns_a_ban(world: World) -> None:
    """N11: by requests, whatever they ask; admin commands are not counted, and after 60 s all is well."""
    devnet = await world.start(REAL)
    client = await world.connect(devnet)
    for _ in range(100):
        await client.post({"method": "nope"})
        await client.post({"show": "status"}, path="/devnet/admin")
    assert (await client.post({"method": "nope"})).json["error"]["message"] == "rate limited"
    assert (await (await world.connect(devnet)).post({"method": "nope"})).json["error"]["message"] == "banned"
    await world.time.advance(60)
    assert (await (await world.connect(devnet)).post({"method": "balance"})).status == 200


async def test_the_bench_profile_stays_cheap_when_blocks_are_full(world: World) -> None:
    """4,096 pending of one payer fit in one block, and neither base fee nor lane price moves."""
    config = replace(profile("bench"), genesis={"treasury": 10**12}, mining=False, check_signatures=False)
    devnet = await world.start(config)
    client = await world.connect(devnet)
    for round_ in range(2):
        rows = [
            {"id": nonce, "method": "submit_tx", "params": {"tx": fast(nonce).hex(), "nonce": nonce}}
            for nonce in range(round_ * 4096 + 1, round_ * 4096 + 4097)
        ]
        found = (await client.post(rows)).json
        assert [row["result"] for row in found] == [{"status": "ok"}] * 4096
        devnet.apply({"fault": "mine"})
    ledger = devnet.node.ledger
    assert (len(ledger.transactions), ledger.base_fee, ledger.lane_price(0)) == (8192, 1, 2)


def fast(nonce: int) -> bytes:
    """A payment that nobody signed, for a chain that does not look."""
    return probe_bytes(
        from_="treasury", to="tb1dest", amount=1, fee=1 + 2 * size9("treasury", "tb1dest", b""), nonce=nonce,
        memo=b"", public_key=bytes(32),
    )  # fmt: skip


async def test_nobody_is_allowed_from_another_origin(world: World) -> None:
    """`OPTIONS` answers 403 unless an origin is allowed, and none is."""
    client = await world.connect(await world.start(REAL))
    await client.send("OPTIONS", "/", b"", Origin="http://evil")
    assert (await client.receive()).status == 403


async def test_a_panic_drops_the_connection_under_a_fault_too(world: World) -> None:
    """N2: whatever else strikes."""
    devnet = await world.start(REAL)
    client = await world.connect(devnet)
    devnet.apply({"fault": "wrong_id", "method": "light.latest_header"})
    await client.send("POST", "/", b'{"id":1,"method":"light.latest_header"}')
    assert await client.dropped()


async def test_the_admin_route_takes_posts_from_this_machine_only(world: World) -> None:
    """Another method is not found, another address not allowed."""
    devnet = await world.start(DEV)
    client = await world.connect(devnet)
    await client.send("GET", "/devnet/admin")
    assert (await client.receive()).status == 404
    next(iter(devnet._connections)).peer = "192.0.2.1"
    assert (await client.post({"show": "status"}, path="/devnet/admin")).status == 403


async def test_too_many_clients_are_turned_away(world: World) -> None:
    """The number of connections is bounded."""
    devnet = await world.start(replace(DEV, max_connections=1))
    first = await world.connect(devnet)
    assert await first.rpc("balance") == {"amount": 0}
    assert await (await world.connect(devnet)).dropped()
    assert await first.rpc("balance") == {"amount": 0}
