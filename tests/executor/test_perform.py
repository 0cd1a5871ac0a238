"""Effects in write-ahead order, each behind the guard, and rows of a lost account that fall out alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.executor.conftest import Begin
from tests.matrix import Row
from tests.world import PAYER, RESERVE, History, new

from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    AccountId,
    Binding,
    BootSeconds,
    Digest,
    Incarnation,
    Intent,
    Meaning,
    Nonce,
    Owner,
    Reply,
    SignRequest,
    State,
    Status,
    TxHash,
    VariantKind,
)
from treasuryd.errors import Fenced, Transient
from treasuryd.executor import perform
from treasuryd.executor.grip import Grip
from treasuryd.ports import written

EFFECTS = ("store.stage", "signer.sign", "store.seal", "chain.broadcast", "store.record", "store.unstage")
RIVAL = Owner(holder="rival", incarnation=Incarnation("f" * 32), machine="other", folder="other")


async def ready(begin: Begin, **options: Any) -> History:
    """An executor that has adopted its accounts."""
    history = await begin(**options)
    await history.run(3)
    history.fuse.calls.clear()
    return history


async def take_over(history: History, account: AccountId) -> None:
    """Somebody else claims the account behind the holder's back."""
    seen = await history.store.leases([account])
    assert written(await history.store.claim(seen, RIVAL, above={}))


def grip(history: History) -> Grip:
    return Grip(world=history.world, mind=history.mind, began_with=history.mind.held)


async def test_nothing_is_signed_or_sent_before_it_is_durable(begin: Begin) -> None:
    """R1: staged, then signed, then sealed, then sent, then recorded; each durable before the next."""
    history = await ready(begin)
    await history.submit(new("rent"), new("wages", to="tb1bob"))
    found: dict[str, list[State]] = {}

    def look(name: str, after: bool) -> None:
        if name in EFFECTS and not after:
            rows = history.drivers[0]._reader.execute("SELECT state FROM intent").fetchall()
            found.setdefault(name, [State(row[0]) for row in rows])

    history.fuse.watch = look
    await history.tick()
    await history.tick()

    order = [name for name in history.fuse.calls if name in EFFECTS]
    first = {
        name: order.index(name) for name in ("store.stage", "signer.sign", "store.seal", "chain.broadcast")
    }
    assert sorted(first, key=first.__getitem__) == [
        "store.stage",
        "signer.sign",
        "store.seal",
        "chain.broadcast",
    ]
    assert found["store.stage"] == []
    assert found["signer.sign"] == found["store.seal"] == [State.STAGED, State.STAGED]
    assert found["chain.broadcast"] == [State.SIGNED, State.SIGNED]


@pytest.mark.parametrize(
    "name",
    ["store.view", "chain.headers", "chain.quote", "signer.vet", "store.stage", "signer.sign", "store.seal"],
)
async def test_once_the_lease_may_be_over_no_effect_starts(begin: Begin, name: str) -> None:
    """§6.3: whichever call takes too long, the guard stands before the next effect; nothing follows it."""
    history = await ready(begin)
    await history.submit(new("rent"))
    passed: list[str] = []

    def pause(called: str, after: bool) -> None:
        if called == name and after and "pause" not in passed:
            history.clock.now += 60.0
            passed.append("pause")
        elif passed and not after:
            passed.append(called)

    history.fuse.watch = pause
    while await history.ticker.once():
        pass

    assert passed[0] == "pause"
    assert not set(passed) & set(EFFECTS)
    assert history.mind.held.leases == {}
    assert history.events(EventKind.LEASE_LOST)


async def test_a_renewal_in_the_middle_of_a_long_tick_keeps_it_going(begin: Begin) -> None:
    """The guard asks for what is held now: a tick longer than the renew deadline loses nothing while renewals come."""
    history = await ready(begin)
    (item,) = await history.submit(new("rent"))

    def slow(name: str, after: bool) -> None:
        if name == "signer.vet" and after:
            history.clock.now += 5.0
            history.mind.held = replace(history.mind.held, until=BootSeconds(history.clock.now + 6.5))
        if name == "signer.sign" and after:
            history.clock.now += 5.0

    history.fuse.watch = slow
    await history.tick()
    assert history.mind.held.leases
    history.fuse.watch = lambda _name, _after: None
    await history.finalized([item])


async def test_a_broadcast_is_told_until_when_it_may_begin_requests(begin: Begin) -> None:
    """§6.3: the renew deadline as it stands when the bytes leave: the chain adapter begins nothing after it."""
    history = await ready(begin)
    await history.submit(new("rent"))
    right, told = history.chain.broadcast, []

    async def broadcast(sealed: Sequence[Intent], *, until: BootSeconds) -> Sequence[Reply]:
        told.append((until, history.mind.held.until))
        return await right(sealed, until=until)

    def renewed(name: str, after: bool) -> None:
        if name == "store.seal" and after:
            history.mind.held = replace(history.mind.held, until=BootSeconds(history.clock.now + 6.0))

    history.fuse.watch = renewed
    history.chain.broadcast = broadcast  # type: ignore[method-assign]  # overheard
    before = history.mind.held.until
    await history.tick()
    assert told == [(history.mind.held.until, history.mind.held.until)]
    assert told[0][0] != before


@pytest.mark.matrix(Row.STALE_LEADER)
async def test_a_paused_holder_that_wakes_after_a_takeover_writes_nothing(begin: Begin) -> None:
    """D13: its lease looks valid to itself, and still no row is written and nothing is sent."""
    history = await ready(begin)
    (item,) = await history.submit(new("rent"))
    await take_over(history, PAYER)
    sends = history.transport.methods.count("submit_tx")

    await history.tick()
    await history.tick()

    assert await history.desk.intents(item) == []
    assert history.transport.methods.count("submit_tx") == sends
    assert history.mind.held.leases == {}
    assert [event.account for event in history.events(EventKind.LEASE_LOST)] == [PAYER]


async def test_a_takeover_after_sealing_pays_once_by_the_same_bytes(begin: Begin) -> None:
    """R13: the rival goes silent again; whoever leads next goes on from the stored bytes."""
    history = await ready(begin)
    (item,) = await history.submit(new("rent"))
    await history.tick()
    before = await history.intent(item)
    await take_over(history, PAYER)
    await history.step()
    assert history.mind.held.leases == {}

    await history.crash()
    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.intent(item)).variants[0].tx_hash == before.variants[0].tx_hash is not None
    assert [lease.term for lease in history.mind.held.leases.values()] == [3]


async def test_a_lost_account_falls_out_alone(begin: Begin) -> None:
    """§4.1: of two accounts one is taken over; its rows are not written, the other's are paid."""
    history = await ready(begin, accounts=(PAYER, RESERVE))
    await take_over(history, PAYER)
    lost, kept = await history.submit(new("lost"), new("kept", account=RESERVE, to="tb1bob"))
    history.keeper.accounts = (RESERVE,)

    await history.finalized([kept])

    assert await history.desk.intents(lost) == []
    assert set(history.mind.held.leases) == {RESERVE}


@pytest.mark.matrix(Row.REPLY_LOST)
async def test_a_broadcast_that_broke_off_may_have_left(begin: Begin) -> None:
    """R4: an error of the whole call says nothing of the rows: each is recorded as sent, with an unknown reply."""
    history = await ready(begin)
    (item,) = await history.submit(new("rent"))

    def cut(name: str, after: bool) -> None:
        if name == "chain.broadcast" and after:
            raise Transient("the link was cut")

    history.fuse.watch = cut
    await history.run(2, blocks=0)

    intent = await history.intent(item)
    assert (intent.state, intent.variants[0].last_meaning) == (State.BROADCAST, Meaning.UNKNOWN)
    assert [event.reason for event in history.events(EventKind.CALL_FAILED)] == ["broadcast"]
    history.fuse.watch = lambda _name, _after: None
    await history.finalized([item])
    assert history.paid("rent") == 1


async def test_staged_and_sealed_are_told(begin: Begin) -> None:
    """Facts are events: one per account and step."""
    history = await ready(begin)
    items = await history.submit(new("rent"), new("wages", to="tb1bob"))
    await history.run(2)
    for kind in (EventKind.STAGED, EventKind.SEALED):
        (event,) = history.events(kind)
        assert (event.account, event.count, event.ids) == (PAYER, 2, tuple(items))


async def test_every_stage_of_a_payment_is_timed_once(begin: Begin) -> None:
    """From payable to finalized, each step by the times of its ticks; together they are as long as the whole took."""
    history = await ready(begin)
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    steps = {
        kind: [seconds for event in history.events(kind) for seconds in event.step_seconds]
        for kind in (EventKind.STAGED, EventKind.SENT, EventKind.INCLUDED, EventKind.FINALIZED)
    }
    assert {kind: len(found) for kind, found in steps.items()} == dict.fromkeys(steps, 1)
    assert all(seconds >= 0 for found in steps.values() for seconds in found)
    (lag,) = (seconds for event in history.events(EventKind.INCLUDED) for seconds in event.seconds)
    before = (EventKind.STAGED, EventKind.SENT, EventKind.INCLUDED)
    assert lag == pytest.approx(sum(steps[kind][0] for kind in before))
    assert [event.fee for event in history.events(EventKind.INCLUDED)] != [None]


# --- what the signer is asked about consumed nonces --------------------------------------------------------------


async def staged(history: History) -> Intent:
    """A staged intent of one submitted item, nothing signed."""
    await history.submit(new("rent"))
    history.fuse.watch = _no_signatures
    await history.tick()
    history.fuse.watch = lambda _name, _after: None
    rows = await history.store.view(history.mind.held, at=_at(history), limit=10)
    (found,) = rows.unsealed
    return found


def _no_signatures(name: str, after: bool) -> None:
    if name == "signer.sign" and not after:
        raise Transient("the signer is busy")


def _at(history: History) -> Any:
    assert history.mind.at is not None
    return history.mind.at


async def test_bytes_that_the_signer_bound_are_sealed(begin: Begin) -> None:
    """R5: they may have left before a restore: sealed and proved like any other, never signed anew."""
    history = await ready(begin)
    intent = await staged(history)
    await history.signer.sign(perform.requests_of(intent), history.mind.held)

    await perform.ask_signer(grip(history), [intent], [intent])

    assert (await history.intent(_item(intent))).state is State.SIGNED


async def test_a_binding_of_another_history_is_not_sealed_under_our_intent(begin: Begin) -> None:
    """§8: the same intent id with other content is another history's: nothing is sealed, the row stays staged."""
    history = await ready(begin)
    intent = await staged(history)
    request = replace(perform.requests_of(intent)[0], payload_digest=Digest("e" * 64))

    class Strange:
        """A signer that remembers something else under this id."""

        async def bindings(self, account: AccountId, *, first: Nonce, limit: int) -> list[Binding]:
            return [Binding(request=request, tx_bytes=b"x", tx_hash=TxHash("x"))]

        async def abandon(self, intents: Any) -> list[bool]:
            return [False for _ in intents]

    holds = grip(history)
    holds.world = replace(history.world, signer=Strange())  # type: ignore[arg-type]
    await perform.ask_signer(holds, [intent], [intent])

    assert (await history.intent(_item(intent))).state is State.STAGED


async def test_past_its_lease_nobody_has_the_signer_refuse_for_good(begin: Begin) -> None:
    """§6.3: the guard stands before this effect too: by now another leader may be having the row signed."""
    history = await ready(begin)
    intent = await staged(history)

    def pause(name: str, after: bool) -> None:
        if name == "signer.bindings" and after:
            history.clock.now += 60.0

    history.fuse.watch = pause
    with pytest.raises(Fenced):
        await perform.ask_signer(grip(history), [intent], [intent])

    assert "signer.abandon" not in history.fuse.calls
    history.fuse.watch = lambda _name, _after: None
    await history.crash()
    await history.finalized([_item(intent)])


async def test_what_the_signer_will_never_bind_is_unstaged(begin: Begin) -> None:
    """R5 c: its stored refusal of this very intent voids it, and its nonce returns."""
    history = await ready(begin)
    intent = await staged(history)

    class Refusing:
        """A signer that refused it for good."""

        async def bindings(self, account: AccountId, *, first: Nonce, limit: int) -> list[Binding]:
            return []

        async def abandon(self, intents: Any) -> list[bool]:
            return [True for _ in intents]

    holds = grip(history)
    holds.world = replace(history.world, signer=Refusing())  # type: ignore[arg-type]
    await perform.ask_signer(holds, [intent], [intent])

    assert (await history.intent(_item(intent))).state is State.VOID
    assert (await history.account()).next_nonce == intent.nonce
    assert await history.status(_item(intent)) is Status.TIMELOCKED
    # §8: under a rolled-back machine it may have been paid: a person looks before it is paid anew
    assert (await history.item(_item(intent))).hold == "needs_release"


def _item(intent: Intent) -> Any:
    assert intent.disbursement_id is not None
    return intent.disbursement_id


async def test_requests_name_every_unsealed_variant_and_no_other(begin: Begin) -> None:
    """R11: requests carry intent, variant and content; what has bytes is not asked for again."""
    history = await ready(begin)
    intent = await staged(history)
    (request,) = perform.requests_of(intent)
    assert isinstance(request, SignRequest)
    assert (request.intent_id, request.variant, request.kind) == (intent.id, 1, VariantKind.PAYMENT)
    sealed = replace(intent, variants=(replace(intent.variants[0], tx_hash=TxHash("h")),))
    assert perform.requests_of(sealed) == []
