from dataclasses import replace

import pytest
from tests.chain.world import FOREVER, Stage, intents, rpc
from tests.devnet.world import DEV, REAL

from treasuryd.chain.transport import Answer, Unreachable
from treasuryd.core.model import (
    Address,
    BreakerMode,
    BreakerOverride,
    BreakerState,
    CallClass,
    Endpoint,
    Height,
    Meaning,
)
from treasuryd.devnet.config import DevnetConfig
from treasuryd.errors import Disputed, Transient
from treasuryd.ports import Chain
from treasuryd.wire.theblock.readings import LARGEST

TREASURY = Address("treasury")


def down(stage: Stage, *places: int) -> None:
    """Let these endpoints answer nobody."""
    answer = stage.transport.answer
    gone = {f"http://node-{place}" for place in places}

    def reachable(url: str, parsed: object) -> Answer:
        if url.rstrip("/") in gone:
            raise Unreachable("down")
        return answer(url, parsed)

    stage.transport.answer = reachable  # type: ignore[method-assign]  # the fake line is cut


def fork(stage: Stage, place: int, depth: int) -> None:
    """Have one node follow another chain from `depth` blocks back."""
    node = stage.nodes[f"http://node-{place}"]
    node.ledger.reorg(depth, now=stage.clock.now, blocks=depth)


def test_the_adapter_is_the_port() -> None:
    """What the executor is handed is the protocol of ports.py."""
    chain: Chain = Stage(DEV).chain
    assert len(chain.breakers()) == 2


async def test_each_endpoint_that_answers_has_a_head() -> None:
    """In their order, those that are away left out; Transient when none answers."""
    stage = Stage(DEV, DEV, DEV)
    stage.mine(3)
    down(stage, 1)
    assert [head.endpoint for head in await stage.chain.heads()] == ["node-0", "node-2"]
    down(stage, 0, 1, 2)
    with pytest.raises(Transient, match="0 of 3"):
        await stage.chain.heads()


async def test_two_endpoints_have_to_agree_on_a_header() -> None:
    """R9: agreement of two; where they differ, None."""
    stage = Stage(DEV, DEV)
    stage.mine(10)
    fork(stage, 1, depth=3)
    found = await stage.chain.headers([Height(7), Height(8), Height(11)])
    assert [header and header.height for header in found] == [7, None, None]


async def test_of_three_endpoints_two_are_enough() -> None:
    """One on another chain, or one away, stops nothing."""
    stage = Stage(DEV, DEV, DEV)
    stage.mine(10)
    fork(stage, 2, depth=3)
    (header,) = await stage.chain.headers([Height(9)])
    assert header is not None
    assert header.block_hash == stage.node.ledger.block_hash(8)


async def test_four_endpoints_in_two_camps_agree_on_nothing() -> None:
    """A tie is no agreement."""
    stage = Stage(DEV, DEV, DEV, DEV)
    stage.mine(10)
    fork(stage, 2, depth=3)
    fork(stage, 3, depth=3)
    assert await stage.chain.headers([Height(9)]) == [None]


async def test_a_missing_answer_is_no_reorg() -> None:
    """With one of two away there is nobody to agree: Transient, not None, which would read as a changed header."""
    stage = Stage(DEV, DEV)
    stage.mine(10)
    down(stage, 1)
    with pytest.raises(Transient, match="1 of 2"):
        await stage.chain.headers([Height(9)])


async def test_a_lagging_second_endpoint_confirms_nothing_yet() -> None:
    """What it has not seen it cannot confirm."""
    stage = Stage(DEV, DEV)
    stage.mine(10)
    stage.nodes["http://node-1"].switches.lag = 4
    found = await stage.chain.headers([Height(6), Height(7)])
    assert [header and header.height for header in found] == [6, None]


@pytest.mark.parametrize("config", [DEV, REAL], ids=["look-up", "stream"])
async def test_one_endpoint_of_three_away_costs_nothing(config: DevnetConfig) -> None:
    """A quote is the first one's that can be read; of frames and look-ups two have to say the same (R9)."""
    stage = Stage(config, DEV, DEV)
    stage.mine()
    await stage.chain.start()
    down(stage, 0)
    assert (await stage.chain.quote()).per_byte == 2
    assert (await stage.chain.frame([TREASURY])).holdings[TREASURY] is not None
    assert len(await stage.chain.sightings(intents(1))) == (1 if config is DEV else 0)


async def test_with_one_of_two_away_there_is_no_frame() -> None:
    """R9: what one endpoint alone shows of an account decides nothing."""
    stage = Stage(DEV, DEV)
    stage.mine()
    down(stage, 0)
    with pytest.raises(Transient, match="1 of 2 endpoints answered, 2 are needed"):
        await stage.chain.frame([TREASURY])


@pytest.mark.parametrize("config", [DEV, REAL], ids=["look-up", "stream"])
@pytest.mark.parametrize("balance", [LARGEST + 1, 2**63, 2**64 - 1])
async def test_a_balance_that_could_not_be_kept_is_read_from_the_others(
    config: DevnetConfig, balance: int
) -> None:
    """One number of one node of three stops nothing: the frame is the other two's."""
    stage = Stage(config, DEV, DEV)
    stage.mine(3)
    honest = (await stage.chain.frame([TREASURY])).holdings[TREASURY]
    stage.node.ledger.accounts[TREASURY].balance = balance
    assert (await stage.chain.frame([TREASURY])).holdings[TREASURY] == honest


async def test_the_frame_is_the_first_ones_unless_another_contradicts_it() -> None:
    """R9: one that lags does not, before it gets there; an account that one of three forges is in none."""
    stage = Stage(DEV, DEV, DEV)
    stage.mine(10)
    stage.nodes["http://node-1"].switches.lag = 3
    assert (await stage.chain.frame([TREASURY])).height == 10
    honest = (await stage.chain.frame([TREASURY])).holdings[TREASURY]
    stage.node.ledger.accounts[TREASURY].nonce += 1

    found = await stage.chain.frame([TREASURY])

    assert (found.height, found.holdings[TREASURY]) == (7, honest)
    down(stage, 2)
    stage.nodes["http://node-1"].switches.lag = 0
    with pytest.raises(Disputed, match=r"about treasury: at height 10 it holds \d+ after nonce [01], at 10 "):
        await stage.chain.frame([TREASURY])
    stage.node.ledger.accounts[TREASURY].nonce -= 1
    assert (await stage.chain.frame([TREASURY])).holdings[TREASURY] == honest  # it has taken it back


async def test_what_one_endpoint_alone_finds_is_doubted() -> None:
    """R9, R5: until a second one names the same block; a third is not asked then."""
    stage = Stage(DEV, DEV, DEV)
    stage.mine()
    await stage.chain.start()
    sent = intents(1)
    (nothing,) = await stage.chain.sightings(sent)
    assert (nothing.variant, nothing.doubted) == (None, False)
    ledgers = [node.ledger for node in stage.nodes.values()]
    await stage.chain.broadcast(sent, until=FOREVER)  # to the first alone
    stage.mine()

    (alone,) = await stage.chain.sightings(sent)
    assert (alone.variant, alone.height, alone.doubted) == (1, 2, True)

    for node in stage.nodes.values():
        node.ledger = ledgers[0]
    stage.transport.forget()
    (both,) = await stage.chain.sightings(sent)
    assert (both.variant, both.height, both.doubted) == (1, 2, False)
    assert stage.transport.methods.count("tx_status") == 2

    down(stage, 0)
    (again,) = await stage.chain.sightings(sent)
    assert not again.doubted  # two of three answer, and agree
    down(stage, 0, 1)
    (again,) = await stage.chain.sightings(sent)
    assert again.doubted
    down(stage, 0, 1, 2)
    with pytest.raises(Transient):
        await stage.chain.sightings(sent)


async def test_with_every_endpoint_away_reading_is_transient_and_sending_is_told() -> None:
    """No exception for a broadcast, one for a reading; both name the endpoint."""
    stage = Stage(DEV, DEV)
    down(stage, 0, 1)
    for read in (stage.chain.quote, lambda: stage.chain.frame([TREASURY]), stage.chain.heads):
        with pytest.raises(Transient):
            await read()
    replies = await stage.chain.broadcast(intents(1), until=FOREVER)
    assert [reply.meaning for reply in replies] == [Meaning.NOT_SENT]


async def test_an_empty_question_asks_nobody() -> None:
    """Nothing to send, nothing to look up, no height to check: no request."""
    stage = Stage(DEV)
    assert list(await stage.chain.broadcast([], until=FOREVER)) == []
    assert list(await stage.chain.sightings([])) == []
    assert list(await stage.chain.headers([])) == []
    assert stage.transport.methods == []


async def test_new_heads_survives_an_outage() -> None:
    """Its silence costs latency only: it goes on polling, and speaks when there is something new."""
    stage = Stage(DEV, poll_seconds=5.0)
    stage.mine()
    heads = stage.chain.new_heads()
    assert (await anext(heads)).height == 1
    outage = iter([rpc(None, error=(-32603, "internal"))] * 2)
    stage.transport.before = lambda _body: next(outage, None)
    stage.mine()
    before = stage.clock.now
    assert (await anext(heads)).height == 2
    assert stage.clock.now - before >= 10.0
    await heads.aclose()  # type: ignore[attr-defined]  # it is a generator


def test_the_last_word_on_a_breaker_counts_and_star_means_all() -> None:
    """Forced states come from the store in the order in which people said them."""
    stage = Stage(DEV, DEV)
    opened = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="drill"
    )
    stage.chain.force([opened, replace(opened, endpoint=Endpoint("node-1"), mode=BreakerMode.FORCED_CLOSED)])
    shown = {(str(r.endpoint), r.call_class): (r.mode, r.state) for r in stage.chain.breakers()}
    assert shown["node-0", CallClass.SEND] == (BreakerMode.FORCED_OPEN, BreakerState.OPEN)
    assert shown["node-1", CallClass.SEND] == (BreakerMode.FORCED_CLOSED, BreakerState.CLOSED)
    assert shown["node-0", CallClass.READ][0] is BreakerMode.AUTO
