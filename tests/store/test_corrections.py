"""What corrects an unexplained fall, once the payment behind it is found, stands and falls with that payment."""

import pytest
from tests.store.kit import PAYER, RULES, Bench, block, opened, seen

from treasuryd.core.changes import BaselineMoved, BlockBuried, Booked, Rewound
from treasuryd.core.model import BalanceKind, Frame, Height, Intent, Nonce
from treasuryd.sqlite.inline import InlineDriver

EARLY, LATE = 1_060, 1_069


def shown(bench: Bench, height: int, nonce: int) -> Frame:
    bench.nonce = Nonce(nonce)
    return bench.frame(height=height)


async def found_late(bench: Bench) -> tuple[Intent, Frame, int]:
    """A frame showed its nonce consumed while no look-up knew it; a later block turns out to hold it."""
    await bench.adopt(PAYER)
    (staged,) = await bench.stage(await bench.insert())
    (intent,) = await bench.seal([staged])
    await bench.send([intent])
    cost = intent.amount + intent.variants[0].fee
    before = shown(bench, EARLY, intent.nonce)
    await bench.written(
        Booked(account=PAYER, kind=BalanceKind.UNEXPLAINED, delta=-cost, height=Height(EARLY)),
        BaselineMoved(account=PAYER, frame=before, keep_from=Height(0)),
    )
    await bench.written(
        seen(intent, LATE),
        Booked(
            account=PAYER, kind=BalanceKind.UNEXPLAINED, delta=cost, height=Height(LATE), intent_id=intent.id
        ),
        BaselineMoved(account=PAYER, frame=shown(bench, LATE + 9, intent.nonce), keep_from=Height(0)),
    )
    return intent, before, cost


async def booked(bench: Bench) -> int:
    ((found,),) = await bench.sql("SELECT booked FROM account WHERE id = ?", PAYER)
    return int(found)


@pytest.fixture
async def bench() -> Bench:
    return Bench(await opened(InlineDriver), RULES)


async def test_a_correction_stands_while_its_payment_is_final(bench: Bench) -> None:
    """R9, walk 30076: an ordinary reorg above a final payment takes nothing of it back, though no newer frame is kept."""
    _, before, _ = await found_late(bench)
    whole = await booked(bench)
    await bench.written(BlockBuried(account=PAYER, height=Height(LATE), block_hash=block(LATE)))
    await bench.written(Rewound(account=PAYER, to=before))
    assert await booked(bench) == whole


async def test_a_correction_falls_with_its_payment(bench: Bench) -> None:
    """The block left the chain: both are taken back, and the fall is unexplained again."""
    _, before, _ = await found_late(bench)
    whole = await booked(bench)
    await bench.written(Rewound(account=PAYER, to=before))
    assert await booked(bench) == whole
    assert await bench.sql("SELECT kind FROM balance_event WHERE reversed = 1") == [("unexplained",)]


async def test_a_correction_falls_with_the_frame_that_made_it_necessary(bench: Bench) -> None:
    """The baseline goes back to before the nonce was consumed: there the payment itself explains the next fall."""
    _, before, _ = await found_late(bench)
    await bench.written(BlockBuried(account=PAYER, height=Height(LATE), block_hash=block(LATE)))
    whole = await booked(bench)
    lower = shown(bench, EARLY - 1, 0)
    assert lower.height < before.height
    await bench.written(Rewound(account=PAYER, to=lower))
    assert await booked(bench) == whole
    assert await bench.sql("SELECT count(*) FROM balance_event WHERE reversed = 1") == [(2,)]
