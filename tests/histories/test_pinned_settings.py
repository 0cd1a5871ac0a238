"""Settings that a store was begun with, changed between two starts: the second one is refused, and nothing has happened."""

from dataclasses import replace

import pytest
from tests.auditing import audited
from tests.histories.conftest import Begin
from tests.histories.restoring import forget_pools, reached
from tests.world import CHAIN_ID, PAYER, RESERVE, RULES, SINK, History, new

from treasuryd.core.model import AccountState, Address, BaseUnits, Evidence, Rules, State, Status
from treasuryd.errors import Refusal, Rejected
from treasuryd.signer.policy import Policy


async def refused(history: History, rules: Rules) -> Rejected:
    """Die, and start with other settings; then with the old ones again."""
    begun, history.rules = history.rules, rules
    with pytest.raises(Rejected) as caught:
        await history.crash()
    history.rules = begun
    await history.crash()
    assert caught.value.kind is Refusal.CONFLICT
    return caught.value


async def test_shorter_epochs_hasten_nothing(begin: Begin) -> None:
    """§1: the settled epoch never falls, so one start with shorter ones would have every timelock end too early."""
    history = await begin(Evidence.HASH)
    await history.run(30)
    before = (await history.desk.chain_state()).settled
    await history.submit(new("rent", scheduled=before + 5))

    told = await refused(history, replace(history.rules, epoch_blocks=2))
    await history.run(5)

    assert "epochs of 10 blocks" in told.message
    assert (await history.desk.chain_state()).settled <= before + 1
    assert history.paid("rent") == 0


async def test_the_sink_of_a_cancellation_that_is_out_stays(begin: Begin, evidence: Evidence) -> None:
    """R7, §5.1: what may still leave pays the old sink, and it alone proves that the cancellation won."""
    history = await begin(evidence)
    await history.run(3)
    (rent,) = await history.submit(new("rent", amount=900))
    await history.until(lambda: reached(history, rent, State.BROADCAST), blocks=0)
    forget_pools(history)
    await history.cancel(rent)
    await history.run(3, blocks=0)

    told = await refused(history, replace(history.rules, sinks={PAYER: Address("tb1new")}))
    await history.run(60)

    assert "the sink of treasury is treasury-sink in this store, tb1new in the settings" in told.message
    assert await history.status(rent) is Status.ROLLED_BACK
    assert (await history.account()).state is AccountState.ACTIVE
    assert history.paid("rent") == 0


async def test_the_audit_knows_the_sink_of_an_account_that_is_led_elsewhere(begin: Begin) -> None:
    """§10: taken out of the settings, or another daemon's on this store: its cancellations paid the sink of then."""
    sinks = {PAYER: Address(SINK), RESERVE: Address("tb1sink")}
    history = await begin(
        Evidence.HASH,
        accounts=(PAYER, RESERVE),
        rules=replace(RULES, sinks=sinks),
        policy=Policy(sinks=sinks, max_fee=BaseUnits(50_000)),
    )
    await history.run(3)
    (rent,) = await history.submit(new("rent", account=RESERVE))
    await history.until(lambda: reached(history, rent, State.BROADCAST), blocks=0)
    forget_pools(history)
    await history.cancel(rent)
    await history.until(lambda: reached(history, rent, State.VOID))

    here = replace(history.rules, sinks={PAYER: Address(SINK)})
    assert await history.sql.read(audited, here, chain_id=CHAIN_ID) == []
