from typing import Any

import orjson
import pytest
from tests.chain.world import FOREVER, Stage, intents, rpc
from tests.devnet.world import REAL

from treasuryd.core.model import BreakerMode, BreakerOverride, BreakerState, CallClass, Endpoint, Meaning
from treasuryd.errors import Transient
from treasuryd.wire.theblock.fees import fee_for
from treasuryd.wire.theblock.readings import LARGEST
from treasuryd.wire.theblock.transaction import decode_rpc7, size9


def stage_at(lane_price: int, **settings: Any) -> Stage:
    """A node whose lane price, which it shows nowhere, is this."""
    stage = Stage(REAL, **settings)
    stage.mine(2)
    ledger = stage.node.ledger
    ledger.lane_price = lambda lane: lane_price  # type: ignore[method-assign]  # stands for a loaded lane
    return stage


async def refuse_one(stage: Stage) -> None:
    """Have a payment refused for its fee."""
    (reply,) = await stage.chain.broadcast(intents(1), until=FOREVER)
    assert reply.meaning is Meaning.FEE_TOO_LOW


def probes(stage: Stage) -> list[bytes]:
    return [
        bytes.fromhex(body["params"]["tx"])
        for body in stage.transport.bodies
        if body["method"] == "submit_tx"
    ]


async def test_before_the_first_block_the_price_is_already_that_of_afterwards() -> None:
    """N14: the lane price is 1 before the first block and 2 after it; 2 is asked for from the start."""
    stage = Stage(REAL)
    quote = await stage.chain.quote()
    assert (quote.base_fee, quote.per_byte) == (1, 2)


async def test_a_price_refused_after_a_restart_is_found_anew() -> None:
    """N14: the price resets and rises with the process; the next quote is what the node takes now."""
    stage = stage_at(2)
    assert (await stage.chain.quote()).per_byte == 2
    stage.node.ledger.lane_price = lambda lane: 3  # type: ignore[method-assign]
    await refuse_one(stage)
    assert (await stage.chain.quote()).per_byte == 3


async def test_the_percentile_floor_is_followed_and_not_raised() -> None:
    """N13: never more than the floor asks for, so that our own payments do not push it up."""
    stage = stage_at(2)
    stage.node.ledger.pools[0].window.add(17)
    assert (await stage.chain.quote()).per_byte == 17
    await stage.chain.broadcast(intents(1, per_byte=17), until=FOREVER)
    stage.clock.now += 10
    assert (await stage.chain.quote()).per_byte == 17


@pytest.mark.parametrize("price", [3, 4, 5, 31, 32, 33, 100, 1023, 1024])
async def test_after_a_refusal_the_lowest_price_taken_is_found(price: int) -> None:
    """Doubling, then halving: exact, in a bounded number of probes."""
    stage = stage_at(price)
    await refuse_one(stage)
    stage.transport.forget()
    assert (await stage.chain.quote()).per_byte == price
    assert len(probes(stage)) <= 21
    taken = (await stage.chain.broadcast(intents(1, per_byte=price), until=FOREVER))[0]
    assert taken.meaning is Meaning.ACCEPTED


async def test_no_probe_can_be_a_payment() -> None:
    """R1: 64 zero bytes as signature, a nonce no account reaches; none of them is ever pooled or mined."""
    stage = stage_at(50)
    await refuse_one(stage)
    stage.transport.forget()
    await stage.chain.quote()
    decoded = [decode_rpc7(raw) for raw in probes(stage)]
    assert decoded
    assert {(one.signature, one.payload.nonce) for one in decoded} == {(bytes(64), 2**63 - 1)}
    stage.mine()
    assert not stage.node.ledger.transactions
    assert stage.node.ledger.admitted == 0


async def test_above_the_ceiling_the_quote_says_so_and_probing_ends() -> None:
    """The caller holds the item with a reason (fee above ceiling); nothing probes for ever."""
    stage = stage_at(10_000, max_price_per_byte=100)
    await refuse_one(stage)
    stage.transport.forget()
    assert (await stage.chain.quote()).per_byte == 101
    assert len(probes(stage)) <= 8


async def test_an_absurd_floor_is_no_price_and_is_not_probed() -> None:
    """Its fee would not even fit into a transaction: the quote says only that it is above the maximum."""
    stage = stage_at(40)
    await refuse_one(stage)
    stage.node.ledger.pools[0].window.floor = LARGEST
    stage.transport.forget()
    assert (await stage.chain.quote()).per_byte >= LARGEST
    assert probes(stage) == []


async def test_a_learnt_price_is_let_go_when_it_is_no_longer_needed() -> None:
    """Never overpay: after a while the advertised price is tried again."""
    stage = stage_at(40)
    await refuse_one(stage)
    assert (await stage.chain.quote()).per_byte == 40
    stage.node.ledger.lane_price = lambda lane: 2  # type: ignore[method-assign]
    stage.clock.now += 20
    assert (await stage.chain.quote()).per_byte == 40
    stage.clock.now += 20
    assert (await stage.chain.quote()).per_byte == 2


async def test_a_quote_stands_for_a_short_time() -> None:
    """One tick after another does not ask again; a refusal makes it ask at once."""
    stage = stage_at(2)
    await stage.chain.quote()
    stage.transport.forget()
    await stage.chain.quote()
    assert stage.transport.methods == []
    stage.clock.now += 2.1
    await stage.chain.quote()
    assert "mempool.stats" in stage.transport.methods


async def test_a_full_pipeline_does_not_hide_the_price() -> None:
    """A probe refused for what the node judges after the fee has shown that the fee suffices."""
    stage = stage_at(2)
    replies = await stage.chain.broadcast(intents(*range(1, 18)), until=FOREVER)
    assert replies[-1].meaning is Meaning.PENDING_LIMIT
    stage.chain._pricing[stage.endpoint.name].refused()
    assert (await stage.chain.quote()).per_byte == 2


async def test_without_a_key_to_probe_with_the_price_rises_step_by_step() -> None:
    """No payer configured: each refusal doubles the price, and it is let go after a while."""
    stage = Stage(REAL, payers={})
    stage.mine(2)
    stage.node.ledger.lane_price = lambda lane: 8  # type: ignore[method-assign]
    for expected in (4, 8):
        await refuse_one(stage)
        assert (await stage.chain.quote()).per_byte == expected
    stage.clock.now += 31
    assert (await stage.chain.quote()).per_byte == 2


async def test_an_error_instead_of_a_verdict_is_not_taken_for_a_price() -> None:
    """N9: only a verdict speaks of the fee; anything else leaves the price open."""
    stage = stage_at(5)
    await refuse_one(stage)
    stage.transport.before = lambda body: (
        rpc(orjson.loads(body)["id"], error=(-32602, "invalid params")) if b"submit_tx" in body else None
    )
    with pytest.raises(Transient):
        await stage.chain.quote()
    stage.transport.before = lambda body: (
        rpc(orjson.loads(body)["id"], result={"error": "lock poisoned"}) if b"submit_tx" in body else None
    )
    with pytest.raises(Transient, match="probe"):
        await stage.chain.quote()


async def test_a_used_replay_nonce_of_a_probe_is_replaced() -> None:
    """N10: -32000 is tried again with another nonce and counts nowhere."""
    stage = stage_at(2)
    await stage.chain.start()
    stage.entropy.first = [77]
    await stage.chain.broadcast(intents(1), until=FOREVER)
    before = stage.failures(CallClass.READ)
    stage.chain._pricing[stage.endpoint.name].refused()
    stage.entropy.first = [77]
    assert (await stage.chain.quote()).per_byte == 2
    assert stage.failures(CallClass.READ) == before


async def test_probing_is_reading_and_goes_on_under_the_kill_switch() -> None:
    """Quotes pass the read breaker: what people forced open is sending."""
    stage = stage_at(3)
    await refuse_one(stage)
    stage.chain.force(
        [
            BreakerOverride(
                endpoint=Endpoint("*"),
                call_class=CallClass.SEND,
                mode=BreakerMode.FORCED_OPEN,
                reason="drill",
            )
        ]
    )
    assert (await stage.chain.quote()).per_byte == 3
    assert stage.state(CallClass.READ) is BreakerState.CLOSED


async def test_the_price_covers_exactly_the_bytes_that_the_node_counts() -> None:
    """fee = base + price x size of the full form: one unit less is refused, N13's floor stays where it is."""
    stage = stage_at(2)
    quote = await stage.chain.quote()
    fee = fee_for(quote.base_fee, quote.per_byte, size9("treasury", "tb1dest", b""))
    assert stage.node.ledger.lane_price(0) == 2
    for offered, expected in ((fee - 1, Meaning.FEE_TOO_LOW), (fee, Meaning.ACCEPTED)):
        (reply,) = await stage.chain.broadcast(intents(1, fee=offered), until=FOREVER)
        assert reply.meaning is expected
    assert stage.node.ledger.pools[0].window.floor == 2
