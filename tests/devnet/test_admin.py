import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.devnet.world import DEV, FUNDS, Client, World, settle, signed

from treasuryd.devnet.server import Devnet
from treasuryd.devnet.signatures import offer_of
from treasuryd.errors import Rejected
from treasuryd.wire.theblock.readings import read_headers

OK = {"status": "ok"}


@pytest.fixture
async def devnet(world: World) -> Devnet:
    return await world.start(DEV)


@pytest.fixture
async def client(world: World, devnet: Devnet) -> Client:
    return await world.connect(devnet)


async def command(client: Client, **fields: Any) -> Any:
    answer = await client.post(fields, path="/devnet/admin")
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_delay_holds_the_call_back(world: World, client: Client, devnet: Devnet) -> None:
    """Nothing is handled before its time."""
    await command(client, fault="delay", seconds=3)
    asked = asyncio.create_task(client.submit(signed()))
    await settle()
    await world.time.advance(2.9)
    assert devnet.node.ledger.admitted == 0
    await world.time.advance(0.2)
    assert await asked == OK


async def test_a_delayed_reply_is_handled_at_once(world: World, client: Client, devnet: Devnet) -> None:
    """Admitted now, answered later."""
    await command(client, fault="delay_reply", seconds=3)
    asked = asyncio.create_task(client.submit(signed()))
    await settle()
    await world.time.advance(0.1)
    assert devnet.node.ledger.admitted == 1
    assert not asked.done()
    await world.time.advance(3)
    assert await asked == OK


@pytest.mark.parametrize(("name", "admitted"), [("drop", 0), ("drop_reply", 1)])
async def test_a_dropped_connection_says_nothing(
    client: Client, devnet: Devnet, name: str, admitted: int
) -> None:
    """Before or after the transaction was admitted: the client cannot know."""
    await command(client, fault=name)
    await client.send(
        "POST", "/", b'{"id":1,"method":"submit_tx","params":{"nonce":1,"tx":"%s"}}' % signed().hex().encode()
    )
    assert await client.dropped()
    assert devnet.node.ledger.admitted == admitted


async def test_a_hang_ends_with_the_client(client: Client, devnet: Devnet, world: World) -> None:
    """Others are served meanwhile."""
    await command(client, fault="hang")
    asked = asyncio.create_task(client.submit(signed()))
    await settle()
    other = await world.connect(devnet)
    assert await other.rpc("balance", address="treasury") == {"amount": FUNDS}
    await world.time.advance(1000)
    assert not asked.done()
    client.writer.transport.abort()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asked
    assert devnet.node.ledger.admitted == 0


async def test_an_http_error_is_answered_instead(client: Client, devnet: Devnet) -> None:
    """n times, then all is well."""
    await command(client, fault="status", status=503, method="balance", times=2)
    body = {"id": 1, "method": "balance"}
    assert [(await client.post(body)).status for _ in range(3)] == [503, 503, 200]


async def test_a_refusal_has_the_name_or_code_that_was_asked_for(client: Client, devnet: Devnet) -> None:
    """As a result, or as a JSON-RPC error."""
    await command(client, fault="refuse", verdict="FeeTooLow")
    await command(client, fault="refuse", code=-32603, message="internal")
    await command(client, fault="refuse", code=-32000, message="x", method="balance")
    assert await client.submit(signed()) == {"error": "FeeTooLow"}
    assert await client.submit(signed()) == {"code": -32603, "message": "internal"}
    assert await client.rpc("balance") == {"code": -32000, "message": "x"}
    assert await client.submit(signed()) == OK


async def test_a_duplicate_delivery_is_answered_as_duplicate_although_it_was_admitted(
    client: Client, devnet: Devnet
) -> None:
    """R4: the refusal hides an admission."""
    await command(client, fault="duplicate")
    assert await client.submit(signed()) == {"error": "Duplicate"}
    assert devnet.node.ledger.admitted == 1


@pytest.mark.parametrize(("asked", "charged"), [({}, 5000), ({"tip": 3000}, 3001)])
async def test_a_relay_raises_the_tip_up_to_the_signed_fee(
    client: Client, devnet: Devnet, asked: Mapping[str, int], charged: int
) -> None:
    """N5: the id is ours, the charge is higher."""
    await command(client, fault="raise_tip", **asked)
    raw = signed(fee=5000, tip=1100)
    assert await client.submit(raw) == OK
    await command(client, fault="mine")
    assert devnet.node.ledger.transactions[offer_of(raw).tx_id].charge == charged


async def test_a_wrong_id_and_a_truncated_body_follow_a_real_admission(
    client: Client, devnet: Devnet
) -> None:
    """Strict reading makes both unknown."""
    await command(client, fault="wrong_id")
    answer = await client.post({"id": 1, "method": "submit_tx", "params": {"nonce": 1, "tx": signed().hex()}})
    assert (answer.json["id"], answer.json["result"]) == ("another", OK)
    await command(client, fault="truncate")
    with pytest.raises(asyncio.IncompleteReadError):
        await client.submit(signed(nonce=2))
    assert devnet.node.ledger.admitted == 2


async def test_a_look_up_can_lie(client: Client, devnet: Devnet) -> None:
    """A block that is on no chain; a transaction that it does not want to know."""
    raw = signed()
    await client.submit(raw)
    await command(client, fault="mine")
    name = offer_of(raw).tx_id
    await command(client, fault="wrong_block")
    assert (await client.rpc("tx_status", tx_hash=name))["block_hash"] != devnet.node.ledger.block_hash(0)
    await command(client, fault="unknown_tx")
    assert (await client.rpc("tx_status", tx_hash=name))["status"] == "unknown"
    assert (await client.rpc("tx_status", tx_hash=name))["block_hash"] == devnet.node.ledger.block_hash(0)


async def test_a_lagging_node_shows_an_older_view_everywhere(client: Client, devnet: Devnet) -> None:
    """Headers, balances, accounts, look-ups and stream; the hashes below stay the same."""
    raw = signed()
    await client.submit(raw)
    await command(client, fault="mine", blocks=3)
    headers = await client.rpc("light.headers", start=0, limit=200)
    await command(client, fault="lag", blocks=3)
    assert await client.rpc("light.headers", start=0, limit=200) == []
    assert await client.rpc("balance", address="treasury") == {"amount": FUNDS}
    assert (await client.rpc("tx_status", tx_hash=offer_of(raw).tx_id))["status"] == "pending"
    await command(client, fault="lag", blocks=1)
    assert headers[:2] == await client.rpc("light.headers", start=0, limit=200)
    assert (await client.rpc("light.latest_header"))["height"] == 1
    await command(client, fault="clear")
    assert headers == await client.rpc("light.headers", start=0, limit=200)


async def test_an_absurd_height_is_told_consistently_until_cleared(client: Client, devnet: Devnet) -> None:
    """R16: a liar who even has headers for it."""
    await command(client, fault="mine", blocks=3)
    await command(client, fault="absurd_height", height=10**12)
    tip = await client.rpc("light.latest_header")
    assert tip["height"] == 10**12 - 1
    found = await client.rpc("light.headers", start=tip["height"], limit=1)
    assert tip["hash"] == read_headers(found, start=tip["height"], limit=1)[0].block_hash
    assert (
        devnet.node.ledger.block_hash(0) == (await client.rpc("light.headers", start=0, limit=1))[0]["hash"]
    )
    await command(client, fault="absurd_height", height=None)
    assert (await client.rpc("light.latest_header"))["height"] == 2


async def test_a_foreign_spend_with_a_deposit_happens_in_one_block(client: Client) -> None:
    """N8: the zero-value spend on our nonce while the destination has our amount from elsewhere."""
    deposit = {"to": "tb1dest", "amount": 1000}
    await command(
        client, fault="foreign_spend", **{"from": "treasury"}, to="thief", fee=1057, deposit=deposit
    )
    await command(client, fault="mine")
    assert await client.rpc("account", address="treasury") == {"account_seq": 1, "balance": FUNDS - 1057}
    assert await client.rpc("balance", address="tb1dest") == {"amount": 1000}
    rows = (await command(client, show="transactions"))["transactions"]
    assert [(row["from"], row["to"], row["amount"], row["nonce"], row["charge"]) for row in rows] == [
        ("treasury", "thief", 0, 1, 1057)
    ]


@pytest.mark.parametrize("name", ["deposit", "dust", "fund"])
async def test_money_from_nowhere_arrives_with_the_next_block(client: Client, name: str) -> None:
    """N7: and not before."""
    await command(client, fault=name, to="tb1new", amount=7)
    assert await client.rpc("account", address="tb1new") is None
    await command(client, fault="mine")
    assert await client.rpc("account", address="tb1new") == {"account_seq": 0, "balance": 7}


async def test_a_lost_pool_and_a_reorg_by_command(client: Client) -> None:
    """What is gone is named."""
    raw = signed()
    await client.submit(raw)
    assert (await command(client, fault="lose_pool"))["lost"] == 1
    await client.submit(raw)
    await command(client, fault="mine", blocks=2)
    said = await command(client, fault="reorg", depth=2, then="later", blocks=2)
    assert {"ok": True, "gone": [offer_of(raw).tx_id], "height": 2} == said
    assert [row["nonce"] for row in (await command(client, show="mempool"))["transactions"]] == [1]


async def test_a_slow_signature_delays_submissions_alone(
    world: World, client: Client, devnet: Devnet
) -> None:
    """N16: the node takes up to 1.5 s to judge one."""
    await command(client, fault="signature_delay", seconds=1.5)
    assert await client.rpc("balance") == {"amount": 0}
    asked = asyncio.create_task(client.submit(signed()))
    await settle()
    await world.time.advance(1.4)
    assert not asked.done()
    await world.time.advance(0.2)
    assert await asked == OK


async def test_what_was_paid_can_be_audited(client: Client) -> None:
    """Who paid whom, with memo, nonce and charge, in which block; accounts and blocks beside it."""
    raw = signed(memo=b"rent")
    await client.submit(raw)
    await command(client, fault="mine", blocks=2)
    (row,) = (await command(client, show="transactions"))["transactions"]
    name = offer_of(raw).tx_id
    assert (name, "rent", 1000, 1, 0) == (
        row["tx_id"],
        row["memo"],
        row["amount"],
        row["nonce"],
        row["index"],
    )
    assert (await command(client, show="transactions", after=1))["transactions"] == []
    blocks = (await command(client, show="blocks"))["blocks"]
    assert [[name], []] == [block["tx_ids"] for block in blocks]
    accounts = {
        row["address"]: row["balance"] for row in (await command(client, show="accounts"))["accounts"]
    }
    assert accounts["tb1dest"] == 1000
    assert (await command(client, show="status"))["height"] == 2


async def test_what_struck_is_counted_by_its_name(client: Client) -> None:
    """A fault that met a call can be asked for, over the route too."""
    await command(client, fault="duplicate")
    await client.submit(signed())
    status = await command(client, show="status")
    assert (status["struck"], status["waiting"]) == ({"duplicate": 1}, [])
    assert status["rejections"] == {"Duplicate": 1}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"fault": "nonsense"}, "fault"),
        ({"fault": None}, "fault"),
        ({"show": "nonsense"}, "show"),
        ({"fault": "reorg", "depth": 99}, "depth"),
        ({"fault": "reorg", "depth": True}, "depth"),
        ({"fault": "reorg", "depth": 0, "then": "maybe"}, "then"),
        ({"fault": "delay", "seconds": -1}, "seconds"),
        ({"fault": "delay", "seconds": "1"}, "seconds"),
        ({"fault": "delay", "method": 7}, "method"),
        ({"fault": "delay", "times": -1}, "times"),
        ({"fault": "deposit", "amount": 5}, "to"),
        ({"fault": "deposit", "to": "a", "amount": 1.5}, "amount"),
        ({"fault": "foreign_spend", "from": "a", "to": "b", "deposit": 5}, "deposit"),
        ({"fault": "mining", "on": 1}, "on"),
        ({"fault": "clear", "name": "nonsense"}, "name"),
        ({"fault": "absurd_height", "height": 0}, "height"),
    ],
)
async def test_a_wrong_command_is_refused_by_its_field_and_does_nothing(
    client: Client, devnet: Devnet, fields: dict[str, Any], field: str
) -> None:
    """400 with the field; the same as an error to a caller in the process."""
    answer = await client.post(fields, path="/devnet/admin")
    assert (400, field) == (answer.status, answer.json["field"])
    with pytest.raises(Rejected):
        devnet.apply(fields)
    assert not devnet.node.faults
    devnet.apply({"fault": "mine"})
    assert {"miner", "treasury"} == set(devnet.node.ledger.accounts)


@pytest.mark.parametrize("body", [b"nonsense", b"[]", b"7"])
async def test_a_command_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    """400, not a stack trace."""
    assert (await client.post(body, path="/devnet/admin")).status == 400


async def test_switches_can_be_set_by_command(client: Client, devnet: Devnet) -> None:
    """Each of them, seen where it is read."""
    for name in ("freeze_on_client_bytes", "latest_header_panics", "poison", "mining"):
        await command(client, fault=name, on=True)
    switches = devnet.node.switches
    assert all(
        (switches.freeze_on_client_bytes, switches.latest_header_panics, switches.poisoned, switches.mining)
    )
    await command(client, fault="abilities", batch=False)
    assert (switches.abilities.batch, switches.abilities.tx_status) == (False, True)
