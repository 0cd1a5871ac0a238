"""What a payment took, stage by stage, and what it cost: figures for people, told with the facts themselves."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.store.kit import FEE, PAYER, RULES, Bench, depend, opened, seen

from treasuryd.core.changes import VariantStaged
from treasuryd.core.events import Event, EventKind
from treasuryd.core.model import BaseUnits, DisbursementId, Epoch, Height, Intent, UnixSeconds, VariantKind
from treasuryd.ports import Recorded
from treasuryd.sqlite.inline import InlineDriver

PACE = replace(RULES, max_blocks_per_second=2.0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    driver = await opened(InlineDriver)
    found = Bench(driver, rules=PACE)
    await found.adopt(PAYER)
    found.unix = UnixSeconds(100_000.0)
    yield found
    await driver.close()


def only(recorded: Recorded, kind: EventKind) -> Event:
    (event,) = [event for event in recorded.events if event.kind is kind]
    return event


async def staged(bench: Bench, item: DisbursementId) -> Intent:
    (intent,) = await bench.stage([item])
    return intent


async def test_each_stage_is_told_with_the_time_since_the_one_before(bench: Bench) -> None:
    """Payable at 99,000; staged 1,000 s later, sent after 5, in a block after 30, finalized after 400."""
    [item] = await bench.insert(1, status_at=99_000.0)
    intent = await staged(bench, item)
    assert intent.payable_at == UnixSeconds(99_000.0)
    (intent,) = await bench.seal([intent])
    bench.unix = UnixSeconds(100_005.0)
    assert only(await bench.send([intent]), EventKind.SENT).step_seconds == (5.0,)
    bench.unix = UnixSeconds(100_035.0)
    included = only(await bench.include([intent]), EventKind.INCLUDED)
    assert (included.step_seconds, included.seconds) == ((30.0,), (1_035.0,))
    assert (included.reason, included.amount, included.fee) == ("payment", 1_000, FEE)
    await bench.bury()
    bench.unix = UnixSeconds(100_435.0)
    finalized = only(await bench.finalize(settled=200), EventKind.FINALIZED)
    assert finalized.step_seconds == (400.0,)
    assert (await bench.item(item)).finalized_at == 100_435.0


async def test_only_the_first_sending_is_a_stage(bench: Bench) -> None:
    """Sent again it is as late as before."""
    [intent] = await bench.pay(await bench.insert(1))
    bench.unix = UnixSeconds(100_060.0)
    assert only(await bench.send([intent]), EventKind.SENT).step_seconds == ()
    bench.unix = UnixSeconds(100_090.0)
    assert only(await bench.include([intent]), EventKind.INCLUDED).step_seconds == (90.0,)


async def test_the_wait_for_an_epoch_is_no_delay_of_ours(bench: Bench) -> None:
    """Approved long ago; the executor saw its epoch settle 40 s ago."""
    [item] = await bench.insert(1, scheduled_epoch=100, status_at=1.0)
    for settled, at in ((99, 99_000.0), (100, 99_960.0), (100, 99_980.0)):
        bench.settled, bench.unix = Epoch(settled), UnixSeconds(at)
        await bench.store.view(bench.held, at=bench.at(), limit=10)
    bench.unix = UnixSeconds(100_000.0)
    intent = await staged(bench, item)
    assert intent.payable_at == UnixSeconds(99_960.0)
    (intent,) = await bench.seal([intent])
    await bench.send([intent])
    assert only(await bench.include([intent]), EventKind.INCLUDED).seconds == (40.0,)


async def test_the_wait_for_a_dependency_is_no_delay_of_ours(bench: Bench) -> None:
    """It was over when the last of them was finalized."""
    [first, last] = [
        (await bench.insert(1, status="rolled_back", status_at=at))[0] for at in (99_100.0, 99_900.0)
    ]
    await bench.pay(await bench.insert(1))
    [item] = await bench.insert(1, status_at=99_000.0)
    await bench.driver.write(depend, item, first, last, recount=False)
    await bench.sql(
        "UPDATE disbursement SET status = 'finalized', live_intent = 1\n        WHERE id IN (?, ?)",
        first,
        last,
    )
    assert (await staged(bench, item)).payable_at == UnixSeconds(99_900.0)


async def test_what_was_adopted_and_never_sent_by_us_counts_from_its_staging(bench: Bench) -> None:
    """A block may show what no sending of ours was recorded for."""
    (intent,) = await bench.seal([await staged(bench, (await bench.insert(1))[0])])
    bench.unix = UnixSeconds(100_007.0)
    assert only(await bench.include([intent]), EventKind.INCLUDED).step_seconds == (7.0,)


async def test_a_cancel_in_a_block_costs_its_fee_and_has_no_latency(bench: Bench) -> None:
    """Nothing was to be paid."""
    (intent,) = await bench.pay(await bench.insert(1))
    await bench.written(
        VariantStaged(
            account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.CANCEL, fee=BaseUnits(300)
        )
    )
    await bench.sql("UPDATE variant SET tx_bytes = x'00', tx_hash = 'c' WHERE number = 2")
    recorded = await bench.written(seen(intent, Height(1_050), variant=2, fee=300))
    event = only(recorded, EventKind.INCLUDED)
    assert (event.reason, event.fee, event.amount) == ("cancel", 300, 1)
    assert (event.seconds, event.step_seconds) == ((), ())


async def test_a_filler_in_a_block_is_told_as_one(bench: Bench) -> None:
    """It pays nobody and costs a fee, too."""
    (intent,) = await bench.pay(await bench.insert(1))
    await bench.sql("UPDATE disbursement SET live_intent = NULL")
    await bench.sql("UPDATE intent SET disbursement_id = NULL")
    await bench.sql("UPDATE variant SET kind = 'cancel'")
    event = only(await bench.written(seen(intent, Height(1_050), fee=9)), EventKind.INCLUDED)
    assert (event.reason, event.fee, event.ids) == ("filler", 9, ())
    assert (event.seconds, event.step_seconds) == ((), ())


async def test_each_payment_of_a_block_is_told_with_its_own_delay_and_none_is_negative(bench: Bench) -> None:
    """Two in one block; the second was payable only after this very moment, as a clock that was set back tells it."""
    items = [*await bench.insert(1, status_at=99_000.0), *await bench.insert(1, status_at=100_500.0)]
    included = only(await bench.include(await bench.pay(items)), EventKind.INCLUDED)
    assert included.seconds == (1_000.0, 0.0)
