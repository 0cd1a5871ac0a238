from dataclasses import replace
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chain.world import FOREVER, Stage, intent, intents, raw, rpc, unsealed
from tests.devnet.world import DEV, REAL

from treasuryd.chain.sending import outcome_of
from treasuryd.chain.transport import Answer, Lost, Unreachable
from treasuryd.core.breaker import Outcome
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    BootSeconds,
    BreakerMode,
    BreakerOverride,
    BreakerState,
    CallClass,
    Endpoint,
    Meaning,
    Reply,
)
from treasuryd.devnet import config as devnet
from treasuryd.devnet.config import DevnetConfig
from treasuryd.wire.theblock.replies import Said

KINDS = [pytest.param(DEV, id="batch"), pytest.param(REAL, id="one by one")]
M = Meaning


def meanings(replies: object) -> list[Meaning]:
    assert isinstance(replies, list)
    return [reply.meaning for reply in replies if isinstance(reply, Reply)]


def sent_txs(stage: Stage) -> list[str]:
    rows = [row for body in stage.transport.bodies for row in (body if isinstance(body, list) else [body])]
    return [row["params"]["tx"] for row in rows if row["method"] == "submit_tx"]


def result(body: bytes, value: object) -> Answer:
    """Answer every row of a request with this result."""
    parsed = orjson.loads(body)
    if isinstance(parsed, list):
        return Answer(status=200, body=orjson.dumps([{"id": row["id"], "result": value} for row in parsed]))
    return rpc(parsed["id"], result=value)


def submits(body: bytes) -> bool:
    return b'"submit_tx"' in body


@pytest.mark.parametrize("config", KINDS)
async def test_the_stored_bytes_leave_in_nonce_order_and_are_accepted(config: DevnetConfig) -> None:
    """R3: exactly the sealed bytes, as lower-case hex."""
    stage = Stage(config)
    stage.mine()
    sealed = intents(1, 2, 3)
    assert meanings(await stage.chain.broadcast(sealed, until=FOREVER)) == [M.ACCEPTED] * 3
    assert sent_txs(stage) == [raw(one) for one in sealed]
    assert stage.node.ledger.admitted == 3


@pytest.mark.parametrize("config", KINDS)
async def test_a_verdict_inside_a_successful_result_is_no_acceptance(config: DevnetConfig) -> None:
    """N9: only exactly {"status":"ok"} counts as accepted; every other shape is refused or unknown."""
    stage = Stage(config)
    stage.mine()
    shapes: list[tuple[object, Meaning]] = [
        ({"error": "BadSignature"}, M.CONFIGURATION),
        ({"error": "FeeTooLow"}, M.FEE_TOO_LOW),
        ({"status": "ok", "error": "NonceGap"}, M.UNKNOWN),
        ({"status": "OK"}, M.UNKNOWN),
        ({"error": "NeverHeardOf"}, M.UNKNOWN),
        (True, M.UNKNOWN),
        (None, M.UNKNOWN),
    ]
    for value, expected in shapes:
        stage.transport.before = lambda body, value=value: result(body, value) if submits(body) else None  # type: ignore[misc]
        (reply,) = await stage.chain.broadcast(intents(1), until=FOREVER)
        assert reply.meaning is expected, value
        stage.clock.now += 2000


@pytest.mark.parametrize("config", KINDS)
async def test_every_attempt_carries_a_fresh_replay_nonce(config: DevnetConfig) -> None:
    """N10: replay nonces are consumed even by failing calls."""
    stage = Stage(config)
    stage.mine()
    for _ in range(5):
        await stage.chain.broadcast(intents(1, 2, 3), until=FOREVER)
    rows = [row for body in stage.transport.bodies for row in (body if isinstance(body, list) else [body])]
    nonces = [row["params"]["nonce"] for row in rows if row["method"] == "submit_tx"]
    assert len(set(nonces)) == len(nonces) >= 15


@pytest.mark.parametrize("config", KINDS)
async def test_a_collision_is_retried_with_another_and_counts_nowhere(config: DevnetConfig) -> None:
    """N10: -32000 on the first of three leaves all three accepted, and the breaker saw no failure."""
    stage = Stage(config)
    stage.mine()
    stage.entropy.first = [5]
    await stage.chain.broadcast([intent(1, account="miner")], until=FOREVER)
    stage.entropy.first = [5]
    assert meanings(await stage.chain.broadcast(intents(1, 2, 3), until=FOREVER)) == [M.ACCEPTED] * 3
    assert stage.failures(CallClass.SEND) == 0


@pytest.mark.parametrize("config", KINDS)
async def test_a_node_that_calls_every_nonce_used_is_left_after_three(config: DevnetConfig) -> None:
    """Retries are bounded; the reply says what it was."""
    stage = Stage(config)
    stage.mine()
    await stage.chain.start()

    def replayed(body: bytes) -> Answer | None:
        if not submits(body):
            return None
        parsed = orjson.loads(body)
        if not isinstance(parsed, list):
            return rpc(parsed["id"], error=(-32000, "replayed nonce"))
        error = {"code": -32000, "message": "replayed nonce"}
        return Answer(status=200, body=orjson.dumps([{"id": row["id"], "error": error} for row in parsed]))

    stage.transport.before = replayed
    stage.transport.forget()
    replies = await stage.chain.broadcast(intents(1, 2), until=FOREVER)
    assert meanings(replies)[0] is M.REPLAYED
    assert len(stage.transport.bodies) == 3
    assert stage.failures(CallClass.SEND) == 0


async def test_the_seventeenth_waits_for_a_block_and_counts_nowhere() -> None:
    """N12: `PendingLimitReached` stops the account for this round; it is no failure and no alarm."""
    stage = Stage(REAL)
    stage.mine()
    replies = await stage.chain.broadcast(intents(*range(1, 21)), until=FOREVER)
    assert meanings(replies) == [M.ACCEPTED] * 16 + [M.PENDING_LIMIT] + [M.NOT_SENT] * 3
    assert len(sent_txs(stage)) == 17
    assert stage.failures(CallClass.SEND) == 0
    assert stage.state(CallClass.SEND) is BreakerState.CLOSED


@pytest.mark.parametrize("config", KINDS)
async def test_a_poisoned_lock_opens_the_send_breaker_pages_once_and_decides_nothing(
    config: DevnetConfig,
) -> None:
    """N2: `lock poisoned` until a restart; what stopped is sending, and the payments go out after it."""
    stage = Stage(config)
    stage.mine()
    await stage.chain.start()
    stage.node.switches.poisoned = True
    for _ in range(6):
        replies = await stage.chain.broadcast(intents(1, 2), until=FOREVER)
        assert set(meanings(replies)) <= {M.NODE_BROKEN, M.NOT_SENT}
    assert stage.state(CallClass.SEND) is BreakerState.OPEN
    pages = [event for event in stage.seen.events if event.severity is Severity.PAGE]
    assert [event.reason for event in pages] == ["lock_poisoned"]
    stage.node.restart()
    stage.clock.now += 1000
    assert meanings(await stage.chain.broadcast(intents(1, 2), until=FOREVER)) == [M.ACCEPTED] * 2


@pytest.mark.parametrize("config", KINDS)
async def test_no_request_starts_after_the_deadline(config: DevnetConfig) -> None:
    """Each request is checked, not the batch (protocol.md §6.3); what did not leave is NOT_SENT."""
    stage = Stage(config, batch_rows=2)
    stage.mine()
    await stage.chain.start()
    stage.transport.takes_seconds = 1.0
    until = BootSeconds(stage.clock.now + 1.5)
    replies = await stage.chain.broadcast(intents(1, 2, 3, 4, 5, 6), until=until)
    left = len(sent_txs(stage))
    assert 0 < left < 6
    assert meanings(replies) == [M.ACCEPTED] * left + [M.NOT_SENT] * (6 - left)
    assert stage.transport.connects[-1] <= 0.5
    late = await stage.chain.broadcast(intents(3), until=BootSeconds(stage.clock.now))
    assert meanings(late) == [M.NOT_SENT]
    assert stage.failures(CallClass.SEND) == 0


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(Unreachable("no"), M.NOT_SENT, id="no connection"),
        pytest.param(Lost("no"), M.UNKNOWN, id="lost reply"),
        pytest.param(Answer(status=504, body=b""), M.NODE_BROKEN, id="504"),
        pytest.param(Answer(status=200, body=b"]"), M.UNKNOWN, id="malformed"),
        pytest.param(rpc("x", result={"status": "ok"}), M.UNKNOWN, id="another id"),
    ],
)
async def test_what_may_have_left_is_told_apart_from_what_did_not(
    config: DevnetConfig, error: Answer | BaseException, expected: Meaning
) -> None:
    """NOT_SENT is said only of what surely stayed here; later nonces of the account stay, too."""
    stage = Stage(config, batch_rows=2)
    stage.mine()
    await stage.chain.start()
    stage.transport.before = lambda body: error if submits(body) else None
    replies = await stage.chain.broadcast(intents(1, 2, 3), until=FOREVER)
    assert meanings(replies)[0] is expected
    assert meanings(replies)[2] is M.NOT_SENT
    assert stage.failures(CallClass.SEND) == 1


@pytest.mark.parametrize("config", KINDS)
async def test_a_refusal_of_a_first_send_keeps_the_later_nonces_here(config: DevnetConfig) -> None:
    """They would only find a gap; another account is not held up."""
    stage = Stage(replace(config, genesis={"treasury": 10**7, "second": 10**7}), batch_rows=1)
    stage.mine()
    batch = [intent(1, fee=1), intent(2), intent(1, account="second"), intent(3)]
    replies = await stage.chain.broadcast(batch, until=FOREVER)
    assert meanings(replies) == [M.FEE_TOO_LOW, M.NOT_SENT, M.ACCEPTED, M.NOT_SENT]


@pytest.mark.parametrize("config", KINDS)
async def test_a_refusal_of_a_re_send_says_nothing_of_the_nonces_behind_it(config: DevnetConfig) -> None:
    """N4: what is in a block already may earn any verdict; the next nonce goes out all the same."""
    stage = Stage(config, batch_rows=1)
    stage.mine()
    await stage.chain.broadcast(intents(1), until=FOREVER)
    stage.mine()
    batch = [intent(1, sent=True, fee=1), intent(2)]
    assert meanings(await stage.chain.broadcast(batch, until=FOREVER)) == [M.FEE_TOO_LOW, M.ACCEPTED]


@pytest.mark.parametrize("config", KINDS)
async def test_the_pool_lost_the_same_bytes_go_again_oldest_first(config: DevnetConfig) -> None:
    """N3: after the node lost its pool a re-send is accepted, and a re-send of what is pooled is `already known`."""
    stage = Stage(config)
    stage.mine()
    sealed = intents(1, 2, 3)
    await stage.chain.broadcast(sealed, until=FOREVER)
    again = [replace(one, sent_at=stage.clock.unix_seconds()) for one in sealed]
    assert meanings(await stage.chain.broadcast(again, until=FOREVER)) == [M.ALREADY_KNOWN] * 3
    stage.node.ledger.lose_pool()
    stage.transport.forget()
    assert meanings(await stage.chain.broadcast(again, until=FOREVER)) == [M.ACCEPTED] * 3
    assert sent_txs(stage) == [raw(one) for one in sealed]


@pytest.mark.parametrize("config", KINDS)
async def test_another_hash_in_a_reply_is_an_alarm(config: DevnetConfig) -> None:
    """R3: the hash is computed here; a node that names another one is told of, loudly."""
    stage = Stage(config)
    stage.mine()
    stage.transport.before = lambda body: (
        result(body, {"status": "ok", "tx_hash": "e" * 64}) if submits(body) else None
    )
    (reply,) = await stage.chain.broadcast(intents(1), until=FOREVER)
    (event,) = stage.seen.of(EventKind.HASH_MISMATCH)
    assert event.severity is Severity.PAGE
    assert reply.tx_hash == "e" * 64


async def test_our_own_hash_in_a_reply_is_none() -> None:
    """The alarm is for a different name only."""
    stage = Stage(DEV)
    stage.mine()
    (one,) = intents(1)
    ours = one.current().tx_hash
    stage.transport.before = lambda body: (
        result(body, {"status": "ok", "tx_hash": ours}) if submits(body) else None
    )
    (reply,) = await stage.chain.broadcast([one], until=FOREVER)
    assert stage.seen.of(EventKind.HASH_MISMATCH) == []
    assert reply.tx_hash == ours


async def test_an_unsealed_variant_never_leaves_nor_what_is_behind_it() -> None:
    """R1: only stored bytes leave; one bad row does not raise for the others."""
    stage = Stage(replace(DEV, genesis={"treasury": 10**7, "second": 10**7}))
    stage.mine()
    batch = [intent(1), unsealed(intent(2)), intent(3), intent(1, account="second")]
    replies = await stage.chain.broadcast(batch, until=FOREVER)
    assert meanings(replies) == [M.ACCEPTED, M.NOT_SENT, M.NOT_SENT, M.ACCEPTED]


async def test_the_kill_switch_sends_nothing_and_goes_on_reading() -> None:
    """The send breaker forced open by a person: watching and confirming go on (protocol.md §7)."""
    stage = Stage(DEV)
    stage.mine()
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="drill"
    )
    stage.chain.force([word])
    assert meanings(await stage.chain.broadcast(intents(1), until=FOREVER)) == [M.NOT_SENT]
    assert sent_txs(stage) == []
    assert (await stage.chain.heads())[0].height == 1
    stage.chain.force([word, replace(word, mode=BreakerMode.AUTO)])
    assert meanings(await stage.chain.broadcast(intents(1), until=FOREVER)) == [M.ACCEPTED]


async def test_while_half_open_one_send_is_under_way_and_the_other_accounts_follow_it() -> None:
    """§7: one probe at a time, also where several accounts send side by side; its success lets the rest of the round go."""
    stage = Stage(REAL)
    stage.mine()
    await stage.chain.start()
    under_way, most = 0, 0
    made = stage.transport.call

    async def call(url: str, body: bytes, **limits: Any) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.lowlevel.checkpoint()  # others may begin meanwhile
        answer = await made(url, body, **limits)
        under_way -= 1
        return answer

    stage.transport.call = call  # type: ignore[method-assign]  # counted
    batch = [intent(1, account=name) for name in ("treasury", "miner", "another")]
    replies = await stage.chain.broadcast(batch, until=FOREVER)
    assert most == 1
    assert M.NOT_SENT not in meanings(replies)
    assert len(sent_txs(stage)) == len(batch)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        pytest.param([M.ACCEPTED], Outcome.SUCCESS, id="taken"),
        pytest.param([M.ALREADY_KNOWN, M.UNKNOWN], Outcome.SUCCESS, id="one taken is a node that works"),
        pytest.param([M.FEE_TOO_LOW], Outcome.SUCCESS, id="a refusal of the fee"),
        pytest.param([M.NONCE_GAP], Outcome.SUCCESS, id="of the nonce"),
        pytest.param([M.NONCE_TOO_LOW], Outcome.SUCCESS, id="of a used nonce"),
        pytest.param([M.INSUFFICIENT_FUNDS], Outcome.SUCCESS, id="of the funds"),
        pytest.param([M.CONTENT_REFUSED], Outcome.SUCCESS, id="of the destination"),
        pytest.param([M.NODE_BROKEN], Outcome.FAILURE, id="it cannot"),
        pytest.param([M.RATE_LIMITED], Outcome.FAILURE, id="it will not"),
        pytest.param([M.UNKNOWN], Outcome.FAILURE, id="nobody can read it"),
        pytest.param([M.UNKNOWN, M.FEE_TOO_LOW], Outcome.FAILURE, id="half a failure is one"),
        pytest.param([M.PENDING_LIMIT], Outcome.IGNORED, id="our own queue in its pool (N12)"),
        pytest.param([M.REPLAYED], Outcome.IGNORED, id="our own replay nonce (N10)"),
        pytest.param([M.PENDING_LIMIT, M.FEE_TOO_LOW], Outcome.SUCCESS, id="it judged one row"),
    ],
)
def test_what_a_broadcast_says_of_its_endpoint(said: list[Meaning], outcome: Outcome) -> None:
    """§7, what counts: a well-formed refusal is the answer of a node that works."""
    assert outcome_of([Said(meaning=meaning) for meaning in said]) is outcome


async def test_the_kill_switch_keeps_what_waits_for_its_turn() -> None:
    """§7: a send that our own limiter held back when a person ordered the stop does not leave after it."""
    stage = Stage(REAL, max_requests_per_second=1.0, burst=1)
    stage.mine()
    await stage.chain.broadcast(intents(1), until=FOREVER)  # its first, cautious probe
    stage.transport.forget()
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="drill"
    )
    sleep = stage.clock.sleep

    async def ordered_meanwhile(seconds: float) -> None:
        stage.chain.force([word])
        await sleep(seconds)

    stage.clock.sleep = ordered_meanwhile  # type: ignore[method-assign]  # while it waits
    assert meanings(await stage.chain.broadcast(intents(2), until=FOREVER)) == [M.NOT_SENT]
    assert sent_txs(stage) == []


async def test_a_dead_endpoint_costs_a_handful_of_calls_and_not_one_per_payment() -> None:
    """D24: up to 95 more calls hit a dead endpoint; here it is asked per call and left alone after five."""
    stage = Stage(REAL)
    stage.mine()
    await stage.chain.broadcast([intent(1, account="miner")], until=FOREVER)
    stage.transport.before = lambda body: Lost("gone") if submits(body) else None
    stage.transport.forget()
    for _ in range(20):
        await stage.chain.broadcast([intent(1, account=f"a{n}") for n in range(5)], until=FOREVER)
    assert len(sent_txs(stage)) <= 5 + stage.config.accounts_at_once


@pytest.mark.parametrize("config", KINDS)
async def test_the_next_endpoint_takes_what_the_first_could_not(config: DevnetConfig) -> None:
    """The same bytes may go to any number of nodes (R3)."""
    stage = Stage(config, config)
    stage.mine()
    await stage.chain.start()
    first = iter([Lost("gone")])
    stage.transport.before = lambda body: next(first, None) if submits(body) else None
    replies = await stage.chain.broadcast(intents(1, 2), until=FOREVER)
    assert meanings(replies) == [M.ACCEPTED] * 2
    assert {reply.endpoint for reply in replies} == {"node-1"}


@pytest.mark.parametrize("config", KINDS)
async def test_what_one_endpoint_may_have_taken_is_never_called_not_sent(config: DevnetConfig) -> None:
    """Lost at the first, no connection to the second: it may have left."""
    stage = Stage(config, config)
    stage.mine()
    await stage.chain.start()
    errors = iter([Lost("gone"), Unreachable("down")])
    stage.transport.before = lambda body: next(errors, None) if submits(body) else None
    (reply,) = await stage.chain.broadcast(intents(1), until=FOREVER)
    assert reply.meaning is M.UNKNOWN


@pytest.mark.parametrize("config", KINDS)
async def test_a_refusal_is_not_shopped_around(config: DevnetConfig) -> None:
    """A verdict on the transaction is an answer; only a node's own failure moves on to the next."""
    stage = Stage(config, config)
    stage.mine()
    replies = await stage.chain.broadcast(intents(1, fee=1), until=FOREVER)
    assert meanings(replies) == [M.FEE_TOO_LOW]
    assert len(sent_txs(stage)) == 1


@pytest.mark.parametrize("config", KINDS)
async def test_a_content_is_refused_only_when_every_endpoint_refuses_it(config: DevnetConfig) -> None:
    """R8: the next endpoint is asked; what it says counts. Nothing behind it overtakes meanwhile."""
    stage = Stage(config, config)
    stage.mine()
    await stage.chain.start()
    words = iter([{"error": "BalanceOverflow"}] * 2)

    def refuses(body: bytes) -> Answer | None:
        word = next(words, None) if submits(body) else None
        return None if word is None else result(body, word)

    stage.transport.before = refuses
    (both,) = await stage.chain.broadcast(intents(1), until=FOREVER)
    assert (both.meaning, both.endpoint) == (M.CONTENT_REFUSED, "node-1")
    words = iter([{"error": "BalanceOverflow"}])
    first, second = await stage.chain.broadcast(intents(1, 2), until=FOREVER)
    assert (first.meaning, first.endpoint) == (M.ACCEPTED, "node-1")
    assert second.meaning in {M.NOT_SENT, M.CONTENT_REFUSED, M.ACCEPTED}


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize("trouble", [Lost("gone"), Unreachable("down")], ids=["lost", "unreachable"])
@pytest.mark.parametrize("first", [True, False], ids=["refused first", "refused last"])
async def test_an_endpoint_that_did_not_answer_has_refused_no_content(
    config: DevnetConfig, trouble: Exception, first: bool
) -> None:
    """R8: one refused, the other was not heard: that is no refusal by every endpoint, and some pool may hold it."""
    stage = Stage(config, config)
    stage.mine()
    await stage.chain.start()
    words: list[Exception | None] = [None, trouble] if first else [trouble, None]
    left = iter(words)

    def answers(body: bytes) -> Answer | Exception | None:
        if not submits(body):
            return None
        return next(left) or result(body, {"error": "BalanceOverflow"})

    stage.transport.before = answers
    (reply,) = await stage.chain.broadcast(intents(1), until=FOREVER)
    assert reply.meaning is M.UNKNOWN


@pytest.mark.parametrize("config", KINDS)
async def test_what_one_endpoint_may_have_taken_stays_so_when_another_refuses(config: DevnetConfig) -> None:
    """R4, R6: lost at the first, too cheap for the second: the first one's pool may hold it."""
    stage = Stage(config, config)
    stage.mine()
    await stage.chain.start()
    first = iter([Lost("gone")])
    stage.transport.before = lambda body: next(first, None) if submits(body) else None
    (reply,) = await stage.chain.broadcast(intents(1, fee=1), until=FOREVER)
    assert reply.meaning is M.UNKNOWN
    assert "node-1" in reply.detail


async def test_a_batch_that_the_endpoint_no_longer_knows_goes_one_by_one() -> None:
    """N17: -32700 as a whole means that nothing was read; nothing is lost and no failure is counted."""
    stage = Stage(DEV)
    stage.mine()
    await stage.chain.start()
    stage.node.switches.abilities = devnet.NO_ABILITIES
    assert meanings(await stage.chain.broadcast(intents(1, 2, 3), until=FOREVER)) == [M.ACCEPTED] * 3
    assert stage.failures(CallClass.SEND) == 0


async def test_a_row_left_out_of_a_batch_is_unknown_alone() -> None:
    """One bad item never raises for the batch."""
    stage = Stage(DEV)
    stage.mine()

    def leave_out(body: bytes, answer: Answer) -> Answer:
        if not submits(body):
            return answer
        return Answer(status=200, body=orjson.dumps(orjson.loads(answer.body)[:-1]))

    stage.transport.after = leave_out
    assert meanings(await stage.chain.broadcast(intents(1, 2), until=FOREVER)) == [M.ACCEPTED, M.UNKNOWN]


async def test_bodies_stay_below_the_node_s_limit() -> None:
    """The node resets the connection above 1 MiB: chunks are bounded by bytes as well as by rows."""
    stage = Stage(
        replace(DEV, rules=replace(DEV.rules, pending_per_account=1000), genesis={"treasury": 10**12})
    )
    stage.mine()
    sizes: list[int] = []
    stage.transport.then = lambda body: sizes.append(len(body))
    replies = await stage.chain.broadcast([intent(n, memo=b"m" * 8192) for n in range(1, 120)], until=FOREVER)
    assert meanings(replies) == [M.ACCEPTED] * 119
    assert max(sizes) <= stage.config.max_body_bytes
    assert len([size for size in sizes if size > 10_000]) == 3


@settings(max_examples=60, deadline=None)
@given(data=st.data())
async def test_whatever_goes_wrong_each_row_has_a_reply_and_no_nonce_overtakes(data: st.DataObject) -> None:
    """Faults of any kind, several accounts, both ways of sending: order holds, and NOT_SENT never left."""
    accounts = ["a", "b", "c"]
    config = replace(
        DEV,
        genesis=dict.fromkeys(accounts, 10**9),
        abilities=devnet.Abilities(batch=data.draw(st.booleans())),
    )
    stage = Stage(config, config, batch_rows=data.draw(st.integers(1, 4)))
    stage.mine()
    await stage.chain.start()
    faults = data.draw(
        st.lists(
            st.sampled_from(["ok", "ok", "lost", "unreachable", "503", "garbage", "replayed"]), max_size=12
        )
    )
    left: list[str] = []

    def strike(body: bytes) -> Answer | BaseException | None:
        if not submits(body):
            return None
        fault = faults.pop(0) if faults else "ok"
        parsed = orjson.loads(body)
        rows = parsed if isinstance(parsed, list) else [parsed]
        if fault != "unreachable":
            left.extend(row["params"]["tx"] for row in rows)
        errors: dict[str, Answer | BaseException] = {
            "lost": Lost("x"),
            "unreachable": Unreachable("x"),
            "503": Answer(status=503, body=b""),
        }
        if fault == "garbage":
            return Answer(status=200, body=b"<html>")
        if fault == "replayed":
            error = {"code": -32000, "message": "replayed nonce"}
            said = [{"id": row["id"], "error": error} for row in rows]
            return Answer(status=200, body=orjson.dumps(said if isinstance(parsed, list) else said[0]))
        return errors.get(fault)

    stage.transport.before = strike
    batch = [intent(nonce, account=account, hashed=False) for nonce in range(1, 5) for account in accounts]
    replies = await stage.chain.broadcast(batch, until=FOREVER)
    assert len(replies) == len(batch)
    for one, reply in zip(batch, replies, strict=True):
        assert (reply.meaning is M.NOT_SENT) <= (raw(one) not in left)
    for account in accounts:
        own = [one for one in batch if one.account == AccountId(account)]
        firsts = [left.index(raw(one)) for one in own if raw(one) in left]
        assert firsts == sorted(firsts)
