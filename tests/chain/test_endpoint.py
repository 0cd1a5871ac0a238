import math
import threading
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest
from tests.chain.world import Stage, rpc
from tests.devnet.world import DEV, REAL

from treasuryd.chain.endpoint import Abilities, in_a_thread
from treasuryd.chain.transport import Answer, HttpRefused, Lost, NotMade, Unreachable
from treasuryd.core.breaker import MAX_RETRY_AFTER_SECONDS, BreakerSettings, Outcome
from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    BreakerMode,
    BreakerOverride,
    BreakerState,
    CallClass,
    Endpoint,
    Evidence,
    Height,
)
from treasuryd.devnet import config as devnet
from treasuryd.errors import Transient
from treasuryd.wire.theblock.readings import StreamFrame
from treasuryd.wire.theblock.replies import Malformed, RpcError


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("tx_status", [True, False])
@pytest.mark.parametrize("account", [True, False])
async def test_abilities_are_probed_and_never_assumed(*, batch: bool, tx_status: bool, account: bool) -> None:
    """N17: what answers -32601 or -32700 is switched off, without a failure on any breaker."""
    has = devnet.Abilities(batch=batch, tx_status=tx_status, account=account)
    stage = Stage(replace(DEV, abilities=has))
    await stage.chain.start()
    found = stage.endpoint.abilities
    assert found == Abilities(batch=batch, tx_status=tx_status, account=account, metrics=True)
    assert stage.failures(CallClass.READ) == 0
    assert stage.state(CallClass.READ) is BreakerState.CLOSED
    assert stage.chain.evidence is (Evidence.HASH if tx_status else Evidence.BALANCE)


async def test_evidence_is_balance_until_every_endpoint_is_known_to_look_up() -> None:
    """One endpoint without look-up, or one that was never reached, is enough (protocol.md §5.1)."""
    stage = Stage(DEV, REAL)
    assert stage.chain.evidence is Evidence.BALANCE
    await stage.chain.start()
    assert stage.chain.evidence is Evidence.BALANCE
    both = Stage(DEV, DEV)
    await both.chain.start()
    assert both.chain.evidence is Evidence.HASH


async def test_a_probe_of_an_absent_node_stops_nothing_and_is_repeated() -> None:
    """The start goes on; the first use probes again."""
    stage = Stage(DEV)
    stage.transport.before = lambda _body: Unreachable("down")
    await stage.chain.start()
    assert not stage.endpoint.probed
    stage.transport.before = lambda _body: None
    stage.clock.now += 100
    await stage.chain.heads()
    assert stage.endpoint.abilities.tx_status


async def test_what_was_known_stays_while_the_node_is_away_and_is_asked_again_after() -> None:
    """Evidence does not flap with an outage; another process may answer afterwards."""
    stage = Stage(DEV)
    await stage.chain.start()
    stage.transport.before = lambda _body: Lost("gone")
    with pytest.raises(Transient):
        await stage.chain.heads()
    assert stage.chain.evidence == "hash"
    stage.transport.before = lambda _body: None
    stage.node.switches.abilities = devnet.NO_ABILITIES
    await stage.chain.heads()
    assert stage.chain.evidence is Evidence.BALANCE


async def test_a_batch_that_is_refused_as_a_whole_goes_out_one_by_one() -> None:
    """N17: an ability lost at run time is noticed by its answer, and the calls are made all the same."""
    stage = Stage(DEV)
    stage.mine(5)
    await stage.chain.heads()
    stage.node.switches.abilities = replace(stage.node.switches.abilities, batch=False)
    found = await stage.chain.headers([Height(1), Height(5)])
    assert all(found)
    heads = await stage.chain.heads()
    assert heads[0].height == 5
    assert not stage.endpoint.abilities.batch
    assert stage.failures(CallClass.READ) == 0


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        pytest.param(Unreachable("no"), Unreachable, "unreachable", id="refused connection"),
        pytest.param(Lost("no"), Lost, "lost", id="lost reply"),
        pytest.param(Answer(status=503, body=b""), HttpRefused, "node_broken", id="503"),
        pytest.param(Answer(status=404, body=b""), HttpRefused, "configuration", id="404"),
        pytest.param(Answer(status=200, body=b"{"), Malformed, "malformed", id="half a body"),
        pytest.param(rpc("other", result=[]), Malformed, "malformed", id="another id"),
        pytest.param(rpc(None, result=[]), Malformed, "malformed", id="no id"),
    ],
)
async def test_a_failing_endpoint_is_a_transient_error_an_event_and_a_count(
    answer: Answer | BaseException, error: type[Transient], reason: str
) -> None:
    """What counts as a failure (protocol.md §7); five in a row and the endpoint is left alone."""
    stage = Stage(DEV)
    await stage.chain.start()
    stage.transport.before = lambda _body: answer
    for _ in range(5):
        with pytest.raises(error):
            await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
    assert stage.failures(CallClass.READ) == 5
    assert {event.reason for event in stage.seen.of(EventKind.CALL_FAILED)} == {reason}
    with pytest.raises(NotMade):
        await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})


@pytest.mark.parametrize(
    ("answer", "silence"),
    [
        pytest.param(rpc(None, error=(-32001, "rate limited"), status=429), 60.0, id="429"),
        pytest.param(rpc(None, error=(-32002, "banned"), status=429), 60.0, id="banned"),
        pytest.param(rpc(None, error=(-32002, "banned")), 60.0, id="banned, the status hidden by a proxy"),
        pytest.param(Answer(status=429, body=b"", retry_after_seconds=7.0), 7.0, id="429 with Retry-After"),
        pytest.param(
            Answer(status=429, body=b"", retry_after_seconds=math.inf),
            MAX_RETRY_AFTER_SECONDS,
            id="nobody silences us for good",
        ),
        pytest.param(Answer(status=429, body=b"", retry_after_seconds=math.nan), 60.0, id="nonsense"),
        pytest.param(Answer(status=429, body=b"", retry_after_seconds=-7.0), 60.0, id="a time gone by"),
    ],
)
async def test_after_a_ban_it_is_silent_until_the_ban_is_over(answer: Answer, silence: float) -> None:
    """N11: not one request goes out while the ban lasts, of whatever class."""
    stage = Stage(DEV)
    await stage.chain.start()
    stage.transport.before = lambda _body: answer
    with pytest.raises(HttpRefused):
        await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
    stage.transport.before = lambda _body: None
    stage.transport.forget()
    stage.clock.now += silence - 0.1
    for _ in range(20):
        with pytest.raises(NotMade):
            await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
        with pytest.raises(NotMade):
            await stage.endpoint.stream()
    assert stage.transport.methods == []
    assert stage.transport.streams == 0
    stage.clock.now += 0.2
    await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})


async def test_an_endpoint_that_asks_for_time_gets_it() -> None:
    """§7: one 503 with Retry-After, far from the threshold, and its breaker is open for as long; no longer."""
    stage = Stage(DEV)
    await stage.chain.start()
    stage.transport.before = lambda _body: Answer(status=503, body=b"", retry_after_seconds=300.0)
    with pytest.raises(HttpRefused):
        await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
    stage.transport.before = lambda _body: None
    stage.transport.forget()
    stage.clock.now += 299.9
    with pytest.raises(NotMade):
        await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
    assert stage.transport.methods == []
    stage.clock.now += 0.2
    await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})


async def test_our_own_pace_never_meets_the_ban() -> None:
    """N11: the adapter's limiter stays below 100 a second, so a faithful node never bans it."""
    patient = BreakerSettings(permit_secs=2e6)
    stage = Stage(DEV, max_requests_per_second=80.0, burst=16, limiter_wait_seconds=1e6, breaker=patient)
    left: list[float] = []
    stage.transport.then = lambda _body: left.append(stage.clock.now)
    for _ in range(400):
        await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
    for place, first in enumerate(left):
        assert len([moment for moment in left[place:] if moment < first + 1.0]) < 100


async def test_other_thresholds_reach_every_breaker_while_running() -> None:
    """SIGHUP: the breakers of each endpoint and class are retuned."""
    stage = Stage(DEV, DEV)
    await stage.chain.start()
    for node in stage.chain._nodes:
        for kind in CallClass:
            await node.exchange(kind, b"[]", lambda _: (None, Outcome.SUCCESS))
    stage.chain.retune(replace(stage.config, breaker=BreakerSettings(failure_threshold=2)))
    stage.transport.before = lambda _body: Lost("gone")
    for node in stage.chain._nodes:
        for kind in CallClass:
            for _ in range(2):
                with pytest.raises(Lost):
                    await node.exchange(kind, b"[]", lambda _: (None, Outcome.SUCCESS))
    states = [report.state for report in stage.chain.breakers()]
    assert states == [BreakerState.OPEN] * 4


async def test_each_endpoint_has_breakers_of_its_own() -> None:
    """§7: one that is dead costs the other nothing."""
    stage = Stage(DEV, DEV)
    await stage.chain.start()
    first, second = stage.chain._nodes
    stage.transport.before = lambda _body: Lost("gone")
    for _ in range(5):
        with pytest.raises(Lost):
            await first.ask("light.headers", {"start": 0, "limit": 1})
    stage.transport.before = lambda _body: None
    with pytest.raises(NotMade):
        await first.ask("light.headers", {"start": 0, "limit": 1})
    await second.ask("light.headers", {"start": 0, "limit": 1})


async def test_reads_and_sends_have_a_breaker_each() -> None:
    """Confirmation goes on while sending is broken: five dead reads leave the send breaker as it was."""
    stage = Stage(DEV)
    await stage.chain.start()
    before = stage.state(CallClass.SEND)
    stage.transport.before = lambda _body: Lost("gone")
    for _ in range(5):
        with pytest.raises(Lost):
            await stage.endpoint.ask("light.headers", {"start": 0, "limit": 1})
    assert stage.state(CallClass.READ) is BreakerState.OPEN
    assert stage.state(CallClass.SEND) is before


async def test_a_frame_of_the_stream_is_a_reading() -> None:
    """§4.2: under the kill switch frames are read on; with reading shut off by a person none is."""
    stage = Stage(DEV)
    stage.mine()
    await stage.chain.start()
    stopped = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="drill"
    )
    stage.chain.force([stopped])
    assert (await stage.endpoint.stream()).tip_index == 0
    stage.chain.force([stopped, replace(stopped, call_class=CallClass.READ)])
    with pytest.raises(NotMade):
        await stage.endpoint.stream()
    assert stage.transport.streams == 1


async def test_an_internal_error_of_the_node_is_its_failure() -> None:
    """§7, what counts: it answered well-formed and still cannot be read; five in a row and it is left alone."""
    stage = Stage(DEV)
    await stage.chain.start()
    stage.transport.before = lambda body: rpc(orjson.loads(body)["id"], error=(-32603, "internal"))
    for _ in range(5):
        assert isinstance(await stage.endpoint.ask("account", {"address": "a"}), RpcError)
    assert (stage.failures(CallClass.READ), stage.state(CallClass.READ)) == (5, BreakerState.OPEN)


async def test_a_long_frame_is_parsed_where_the_caller_says() -> None:
    """A long list of accounts must not hold up the loop; a short one is not worth the way."""
    many = {f"tb1n{number}": 1 for number in range(5000)}
    handed: list[int] = []

    async def count(work: Callable[[], StreamFrame]) -> StreamFrame:
        handed.append(1)
        return work()

    for genesis, expected in (({"treasury": 1}, 0), (many, 1)):
        stage = Stage(replace(REAL, genesis=genesis))
        stage.endpoint._offload = count
        stage.mine()
        assert len((await stage.endpoint.stream()).holdings) == len(genesis) + 1
        assert len(handed) == expected


async def test_the_usual_place_for_parsing_is_a_thread() -> None:
    """Off the event loop, and the value comes back."""
    frame = StreamFrame(tip_index=1, holdings={})
    loops = threading.get_ident()
    seen: list[int] = []

    def parse() -> StreamFrame:
        seen.append(threading.get_ident())
        return frame

    assert await in_a_thread(parse) is frame
    assert seen != [loops]


async def test_an_ability_that_is_absent_says_nothing_of_the_endpoint() -> None:
    """N17, N10: -32601 and -32000 are neither failure nor success; a cautious breaker waits for a real answer."""
    stage = Stage(REAL)
    for _ in range(10):
        await stage.endpoint.ask("tx_status", {"tx_hash": "0" * 64})
    shown = {report.call_class: report for report in stage.chain.breakers()}[CallClass.READ]
    assert (shown.state, shown.failures, shown.successes) == (BreakerState.HALF_OPEN, 0, 0)
