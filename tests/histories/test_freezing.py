"""Freezes that come while a tick is under way: what it had decided does not leave (protocol.md R14, R13, §8)."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import OPENING, PAYER, RESERVE, Fused, History, new

from treasuryd.commands import control
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.model import (
    AccountState,
    BreakerMode,
    BreakerOverride,
    CallClass,
    Endpoint,
    Evidence,
    State,
)
from treasuryd.core.restore import Witness

EDWARD = Person(who="edward", reason="a person decided")


class Interrupted(Fused):
    """A port during one verb of which, once, somebody does something: right after it was done."""

    verb = ""
    meanwhile: Callable[[], Awaitable[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if name != self.verb:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = await found(*args, **kwargs)
            if self.meanwhile is not None:
                once, self.meanwhile = self.meanwhile, None
                await once()
            return answer

        return call


def office(history: History) -> Office:
    return Office(
        world=history.world, engine=history.mind, rules=history.rules, accounts=history.accounts, chain_id=1
    )


def interrupt(history: History, at: str, meanwhile: Callable[[], Awaitable[Any]]) -> None:
    """Do `meanwhile` once, right after the tick called the verb `at` of a port."""
    name, _, verb = at.partition(".")
    port = Interrupted(getattr(history, name), history.fuse, name)
    port.verb, port.meanwhile = verb, meanwhile
    history.ticker.world = replace(history.world, **{name: cast("Any", port)})


def sent(history: History) -> int:
    return history.transport.methods.count("submit_tx")


VERBS = ["store.view", "store.stage", "signer.sign", "store.seal"]


@pytest.mark.parametrize("at", VERBS)
async def test_what_a_tick_had_decided_does_not_leave_after_a_freeze(
    begin: Begin, evidence: Evidence, at: str
) -> None:
    """R14: a person's freeze was answered in the middle of a tick: nothing of the account leaves from then on."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    interrupt(history, at, lambda: control.freeze(office(history), PAYER, EDWARD))

    await history.run(6)

    assert (await history.account()).state is AccountState.FROZEN
    assert sent(history) == 0
    assert history.pooled() == []
    signed = [one for one in await history.desk.intents(item) if one.state is not State.STAGED]
    assert bool(signed) is (at in {"signer.sign", "store.seal"})  # what was signed by then is stored, too
    await control.thaw(office(history), PAYER, EDWARD)
    await history.finalized([item])
    assert history.paid("rent") == 1


async def test_a_freeze_in_the_middle_of_a_tick_stops_no_other_account(
    begin: Begin, evidence: Evidence
) -> None:
    """R14: the other account's payments of the same batch leave."""
    history = await begin(evidence, accounts=(PAYER, RESERVE), genesis={PAYER: OPENING, RESERVE: OPENING})
    await history.run(2)
    stopped, other = await history.submit(new("rent"), new("tax", to="tb1bob", account=RESERVE))
    interrupt(history, "store.seal", lambda: control.freeze(office(history), PAYER, EDWARD))

    await history.finalized([other])

    assert (history.paid("rent"), history.paid("tax")) == (0, 1)
    assert (await history.intent(stopped)).state is State.SIGNED


@pytest.mark.parametrize("at", [*VERBS, "store.may_send"])
async def test_a_freeze_through_another_process_is_heard_before_the_next_sending(
    begin: Begin, evidence: Evidence, at: str
) -> None:
    """R14: the store is asked once more right before a batch leaves; only one that was asked for already still does."""
    history = await begin(evidence)
    await history.run(2)
    first, _ = await history.submit(new("rent"), new("tax", to="tb1bob"))
    interrupt(
        history, at, lambda: history.desk.freeze(PAYER, by=office(history).approval(who="edward", reason="x"))
    )
    await history.step(blocks=0)
    (later,) = await history.submit(new("later", to="tb1carol"))
    left = history.pooled()

    await history.run(6, blocks=0)

    assert left == ([1, 2] if at == "store.may_send" else [])
    assert history.pooled() == left
    assert await history.desk.intents(later) == []
    assert (await history.account()).state is AccountState.FROZEN
    assert (await history.item(first)).hold is None


async def test_stored_bytes_do_not_go_again_after_a_freeze_by_another_process(
    begin: Begin, evidence: Evidence
) -> None:
    """R14: a re-send writes nothing before it, and is stopped all the same; after the thaw the same bytes go."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    assert history.pooled() == [1]
    history.node.ledger.lose_pool()
    sends = sent(history)
    word = office(history).approval(who="edward", reason="x")
    interrupt(history, "chain.quote", lambda: history.desk.freeze(PAYER, by=word))  # asked for once it is due

    await history.run(15, blocks=0)
    assert (await history.account()).state is AccountState.FROZEN
    assert sent(history) == sends
    await control.thaw(office(history), PAYER, EDWARD)
    await history.finalized([item])

    assert history.paid("rent") == 1


@pytest.mark.matrix(Row.RESTORED)
async def test_what_a_tick_had_decided_does_not_leave_after_a_quarantine(
    begin: Begin, evidence: Evidence
) -> None:
    """§8: the keeper finds the store to be an old one while a tick is under way."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))

    async def found() -> None:
        ahead = Witness(lineage="lineage", heads={f"account:{PAYER}": (1_000, "of a later store")})
        await history.signer.tell({PAYER: ahead})
        await history.keeper.beat()

    interrupt(history, "store.seal", found)
    await history.step(blocks=0)

    assert sent(history) == 0
    assert (await history.account()).state is AccountState.QUARANTINED
    assert (await history.intent(item)).variants[0].tx_hash is not None


@pytest.mark.parametrize("at", ["store.view", "store.seal"])
async def test_the_kill_switch_reaches_a_tick_under_way(begin: Begin, evidence: Evidence, at: str) -> None:
    """§7: asked per call, not per tick: a person's word is heard by the very next call of this process."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))

    def order(mode: BreakerMode) -> Callable[[], Awaitable[Any]]:
        return lambda: control.force_breaker(office(history), Endpoint("*"), CallClass.SEND, mode, EDWARD)

    interrupt(history, at, order(BreakerMode.FORCED_OPEN))
    await history.run(6)

    assert sent(history) == 0
    await order(BreakerMode.AUTO)()
    await history.finalized([item])
    assert history.paid("rent") == 1


async def test_a_kill_switch_of_another_process_is_heard_before_the_next_sending(
    begin: Begin, evidence: Evidence
) -> None:
    """§7: what its tick under way had sealed stays; the next one stages, signs and sends nothing; lifted, both are paid."""
    history = await begin(evidence)
    await history.run(2)
    (first,) = await history.submit(new("rent"))
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="a drill"
    )
    interrupt(history, "store.seal", lambda: history.desk.force_breaker(word))
    await history.step(blocks=0)
    (later,) = await history.submit(new("later", to="tb1bob"))

    await history.run(6, blocks=0)

    assert sent(history) == 0
    assert (await history.intent(first)).state is State.SIGNED
    assert await history.desk.intents(later) == []
    await history.desk.force_breaker(replace(word, mode=BreakerMode.AUTO))
    await history.finalized([first, later])
    assert (history.paid("rent"), history.paid("later")) == (1, 1)
