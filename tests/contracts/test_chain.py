"""
The contract of the `Chain` port, held over real sockets against a served development chain.

Each test runs twice: over an endpoint with look-up (evidence by hash) and over a faithful one, with all of the real
node's refusals, its rate limit and its frozen port, where inclusion shows in balances alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.chain.world import FOREVER, PAYER, PUBLIC_KEY, FakeClock, FakeEntropy, Seen, here, intent, intents
from tests.devnet.world import DEV, FUNDS, REAL

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.http import HttpTransport
from treasuryd.chain.theblock import TheBlock
from treasuryd.core.model import (
    Address,
    BootSeconds,
    BreakerMode,
    BreakerOverride,
    BreakerState,
    CallClass,
    Endpoint,
    Evidence,
    Height,
    Meaning,
)
from treasuryd.devnet.config import DevnetConfig
from treasuryd.devnet.ledger import Then
from treasuryd.devnet.server import Devnet, serve
from treasuryd.errors import Transient
from treasuryd.ports import Chain

TREASURY, DEST = Address("treasury"), Address("tb1dest")
LIMIT_SECONDS = 20
M = Meaning


class Line:
    """A served node and an adapter on it, on one clock that only the adapter's own waiting moves."""

    def __init__(self, chain: Chain, devnet: Devnet, clock: FakeClock, seen: Seen) -> None:
        self.chain = chain
        self.devnet = devnet
        self.clock = clock
        self.seen = seen
        self.ledger = devnet.node.ledger

    @property
    def looks_up(self) -> bool:
        return self.devnet.config.abilities.tx_status

    def tell(self, fault: str, **given: Any) -> dict[str, Any]:
        return self.devnet.apply({"fault": fault, **given})

    def mine(self, blocks: int = 1) -> None:
        self.tell("mine", blocks=blocks)

    async def warm_up(self) -> None:
        """Have both breakers take their first, cautious probe; a refusal is an answer, too."""
        await self.chain.heads()
        await self.chain.broadcast([intent(1, account="miner")], until=FOREVER)


@contextlib.asynccontextmanager
async def line(config: DevnetConfig, *, mined: int = 1, **settings: Any) -> AsyncIterator[Line]:
    clock, seen = FakeClock(), Seen()
    ready: asyncio.Future[Devnet] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(
        serve(config, now=lambda: clock.now, sleep=asyncio.sleep, ready=ready.set_result)
    )
    devnet = await ready
    try:
        async with HttpTransport(FakeEntropy()) as transport:
            chain = TheBlock(
                ChainConfig(
                    endpoints=(EndpointConfig(name=Endpoint("node"), url=devnet.url),),
                    payers={PAYER: PUBLIC_KEY},
                    **settings,
                ),
                transport=transport,
                clock=clock,
                entropy=FakeEntropy(),
                observer=seen,
                offload=here,
            )
            found = Line(chain, devnet, clock, seen)
            if mined:
                found.mine(mined)
            async with asyncio.timeout(LIMIT_SECONDS):
                yield found
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


KINDS = [pytest.param(DEV, id="by hash"), pytest.param(REAL, id="by balance")]


@pytest.fixture(params=KINDS)
async def at(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    async with line(request.param, read_seconds=2.0, send_seconds=1.0) as found:
        yield found


def meanings(replies: Any) -> list[Meaning]:
    return [reply.meaning for reply in replies]


async def test_an_empty_chain_is_height_nought_and_is_left_unharmed() -> None:
    """N2, N15: no block, no hash, no genesis; the first block changes all three."""
    for config in (DEV, REAL):
        async with line(replace(config, latest_header_panics=True), mined=0) as at:
            (head,) = await at.chain.heads()
            assert (head.height, head.block_hash, head.genesis) == (0, None, None)
            at.mine()
            (head,) = await at.chain.heads()
            assert (head.height, head.genesis) == (1, head.block_hash)
            assert not at.devnet.node.switches.poisoned


async def test_heads_and_headers_agree_with_the_chain(at: Line) -> None:
    """Height counts blocks; unknown heights are None; answers come in the order asked."""
    at.mine(449)
    (head,) = await at.chain.heads()
    assert (head.height, head.block_hash) == (450, at.ledger.block_hash(449))
    assert head.genesis == at.ledger.block_hash(0)
    found = await at.chain.headers([Height(450), Height(1), Height(451), Height(0)])
    assert [header and header.height for header in found] == [450, 1, None, None]


async def test_a_reorg_shows_as_another_header_and_a_shorter_chain_is_found(at: Line) -> None:
    """Is what we saw still there? (protocol.md R9)"""
    at.mine(9)
    await at.chain.heads()
    (before,) = await at.chain.headers([Height(8)])
    at.tell("reorg", depth=4, blocks=2, then=Then.NEVER)
    (head,) = await at.chain.heads()
    (after,) = await at.chain.headers([Height(8)])
    assert head.height == 8
    assert before is not None
    assert after is not None
    assert before.block_hash != after.block_hash


async def test_a_payment_goes_from_broadcast_to_evidence(at: Line) -> None:
    """Accepted proves nothing; afterwards the frame shows nonce and balances, and the look-up, where there is one."""
    sealed = intents(1, 2, 3)
    first = await at.chain.frame([TREASURY, DEST])
    assert (first.holdings[DEST], first.base_fee) == (None, 1)
    assert meanings(await at.chain.broadcast(sealed, until=FOREVER)) == [M.ACCEPTED] * 3
    assert (await at.chain.frame([DEST])).holdings[DEST] is None
    at.mine()
    second = await at.chain.frame([TREASURY, DEST])
    ours, theirs = second.holdings[TREASURY], second.holdings[DEST]
    assert ours is not None
    assert theirs is not None
    assert (ours.nonce, theirs.balance) == (3, 3000)
    assert ours.balance < FUNDS - 3000
    sightings = await at.chain.sightings(sealed)
    if at.looks_up:
        assert at.chain.evidence is Evidence.HASH
        assert [(s.variant, s.height, s.as_of) for s in sightings] == [(1, 2, 2)] * 3
        assert {s.block_hash for s in sightings} == {second.block_hash}
    else:
        assert at.chain.evidence is Evidence.BALANCE
        assert sightings == []


async def test_a_full_run_never_freezes_the_node(at: Line) -> None:
    """N1: with the freeze switch on, frames and payouts go on and not one byte is written on a stream."""
    at.tell("freeze_on_client_bytes", on=True)
    for nonce in range(1, 6):
        await at.chain.frame([TREASURY, DEST])
        assert meanings(await at.chain.broadcast(intents(nonce), until=FOREVER)) == [M.ACCEPTED]
        at.mine()
        await at.chain.heads()
    shown = at.devnet.apply({"show": "status"})
    assert (shown["freezes"], shown["stream_bytes"]) == (0, 0)
    held = (await at.chain.frame([TREASURY])).holdings[TREASURY]
    assert held is not None
    assert held.nonce == 5


async def test_frames_are_consistent_while_blocks_come() -> None:
    """A chain in motion: each frame's hash is that of its height, and money is neither made nor lost in it."""
    for config in (DEV, REAL):
        moving = replace(config, mining=True, block_interval_seconds=0.03, rate_limit=None)
        async with line(moving, max_requests_per_second=1e6) as at:
            seen = 0
            while seen < 10:
                with contextlib.suppress(Transient):
                    frame = await at.chain.frame([TREASURY, Address("miner")])
                    assert frame.block_hash == at.ledger.block_hash(frame.height - 1)
                    miner = frame.holdings[Address("miner")]
                    assert miner is not None
                    assert miner.balance == 5 + frame.height * config.rules.reward
                    seen += 1


async def test_a_lost_reply_is_unknown_and_the_same_bytes_are_known_later(at: Line) -> None:
    """Accepted, reply lost: look at the chain, else the same bytes (protocol.md §9)."""
    await at.warm_up()
    at.tell("drop_reply")
    assert meanings(await at.chain.broadcast(intents(1), until=FOREVER)) == [M.UNKNOWN]
    assert meanings(await at.chain.broadcast(intents(1, sent=True), until=FOREVER)) == [M.ALREADY_KNOWN]
    at.mine()
    assert len(at.ledger.transactions) == 1


@pytest.mark.parametrize(
    ("fault", "given", "expected"),
    [
        pytest.param("drop", {}, M.UNKNOWN, id="dropped before handling"),
        pytest.param("truncate", {}, M.UNKNOWN, id="a body cut in the middle"),
        pytest.param("wrong_id", {}, M.UNKNOWN, id="another id"),
        pytest.param("status", {"status": 503}, M.NODE_BROKEN, id="503"),
        pytest.param("hang", {}, M.UNKNOWN, id="no answer at all"),
        pytest.param("refuse", {"verdict": "FeeTooLow"}, M.FEE_TOO_LOW, id="a verdict"),
        pytest.param(
            "refuse", {"code": -32603, "message": "internal"}, M.NODE_BROKEN, id="an internal error"
        ),
    ],
)
async def test_a_fault_of_the_node_becomes_a_meaning_and_never_an_exception(
    at: Line, fault: str, given: dict[str, Any], expected: Meaning
) -> None:
    """N9: every shape has a meaning; the next attempt goes through."""
    await at.warm_up()
    at.tell(fault, method="submit_tx", **given)
    assert meanings(await at.chain.broadcast(intents(1), until=FOREVER)) == [expected]
    at.tell("clear")
    (again,) = meanings(await at.chain.broadcast(intents(1, sent=True), until=FOREVER))
    assert again in {M.ACCEPTED, M.ALREADY_KNOWN}


async def test_nothing_starts_after_until(at: Line) -> None:
    """No send starts after the lease's deadline (protocol.md §6.3)."""
    await at.chain.heads()
    replies = await at.chain.broadcast(intents(1, 2), until=BootSeconds(at.clock.now))
    assert meanings(replies) == [M.NOT_SENT] * 2
    assert at.ledger.admitted == 0


async def test_the_seventeenth_waits_for_a_block(at: Line) -> None:
    """N12: at most 16 pending per account; what is behind it goes out after the next block."""
    sealed = intents(*range(1, 19))
    found = meanings(await at.chain.broadcast(sealed, until=FOREVER))
    assert found[:16] == [M.ACCEPTED] * 16
    assert M.ACCEPTED not in found[16:]
    at.mine()
    assert meanings(await at.chain.broadcast(sealed[16:], until=FOREVER)) == [M.ACCEPTED] * 2


async def test_our_pace_earns_no_ban(at: Line) -> None:
    """N11: 300 requests as fast as the limiter lets them, at a node that bans above 100 a second."""
    for _ in range(150):
        await at.chain.heads()
    await at.chain.frame([TREASURY])
    assert all(report.failures == 0 for report in at.chain.breakers())


async def test_a_quote_is_enough_and_nothing_more(at: Line) -> None:
    """A payment priced by the quote is accepted; one base unit less is not."""
    quote = await at.chain.quote()
    size = 513 + len("treasury") + len("tb1dest")
    fee = quote.base_fee + quote.per_byte * size
    assert meanings(await at.chain.broadcast(intents(1, fee=fee - 1), until=FOREVER)) == [M.FEE_TOO_LOW]
    assert meanings(await at.chain.broadcast(intents(1, fee=fee), until=FOREVER)) == [M.ACCEPTED]


async def test_a_new_head_wakes_once_for_each_change(at: Line) -> None:
    """A poll that gives what changed, and nothing while nothing does."""
    heads = at.chain.new_heads()
    assert (await anext(heads)).height == 1
    at.mine(2)
    assert (await anext(heads)).height == 3
    await heads.aclose()  # type: ignore[attr-defined]  # every implementation is a generator


async def test_an_outage_is_transient_trips_the_breaker_and_heals(at: Line) -> None:
    """Five failures and the endpoint is left alone; after the open time one probe, then it flows again."""
    await at.chain.heads()
    at.tell("status", status=503, method="light.headers", times=5)
    for _ in range(5):
        with pytest.raises(Transient):
            await at.chain.heads()
    with pytest.raises(Transient, match="breaker"):
        await at.chain.heads()
    states = {report.call_class: report.state for report in at.chain.breakers()}
    assert states[CallClass.READ] is BreakerState.OPEN
    at.clock.now += 1000
    assert (await at.chain.heads())[0].height == 1


async def test_a_person_s_word_is_applied(at: Line) -> None:
    """The kill switch stops sending alone, for every endpoint, until it is lifted."""
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="drill"
    )
    at.chain.force([word])
    assert meanings(await at.chain.broadcast(intents(1), until=FOREVER)) == [M.NOT_SENT]
    await at.chain.frame([TREASURY])
    at.chain.force([replace(word, mode=BreakerMode.AUTO)])
    assert meanings(await at.chain.broadcast(intents(1), until=FOREVER)) == [M.ACCEPTED]


async def test_a_cancelled_call_gives_its_permit_back(at: Line) -> None:
    """D24's adapter side: cancelled calls are neither counted nor left hanging."""
    await at.chain.heads()
    at.tell("hang", method="submit_tx")
    sending = asyncio.create_task(_broadcast(at))
    for _ in range(1000):
        if at.devnet.node.faults.struck:
            break
        await asyncio.sleep(0.005)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    at.tell("clear")
    assert meanings(await at.chain.broadcast(intents(1), until=FOREVER)) == [M.ACCEPTED]
    sends = [report for report in at.chain.breakers() if report.call_class is CallClass.SEND]
    assert [(report.failures, report.state) for report in sends] == [(0, BreakerState.CLOSED)]


async def _broadcast(at: Line) -> object:
    return await at.chain.broadcast(intents(1), until=FOREVER)
