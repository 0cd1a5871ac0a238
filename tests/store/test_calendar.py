from dataclasses import replace

from treasuryd.core.model import Epoch, Rules, UnixSeconds
from treasuryd.store.calendar import REMEMBERED, Calendar

RULES = Rules(epoch_blocks=120, max_blocks_per_second=2.0)


def since(calendar: Calendar, scheduled: int, *, ready_at: float = 0.0) -> float:
    return calendar.payable_since(UnixSeconds(ready_at), Epoch(scheduled), RULES)


def seen(*epochs: tuple[int, float]) -> Calendar:
    calendar = Calendar()
    for settled, at in epochs:
        calendar.note(Epoch(settled), UnixSeconds(at))
    return calendar


def test_an_epoch_came_when_it_was_first_seen_settled() -> None:
    """One that was leapt over came with the next; seen again it came no later, and a lower reading says nothing."""
    calendar = seen((10, 1_000.0), (11, 1_120.0), (11, 1_150.0), (10, 1_160.0), (14, 1_500.0))
    assert since(calendar, 11) == 1_120
    assert since(calendar, 13) == 1_500
    assert since(calendar, 14) == 1_500


def test_an_item_that_was_ready_later_waits_since_then() -> None:
    """Its vote took longer than its schedule."""
    assert since(seen((10, 1_000.0), (11, 1_120.0)), 11, ready_at=1_400.0) == 1_400


def test_an_epoch_before_the_first_reading_is_told_by_the_chains_pace() -> None:
    """Two epochs of 120 blocks, a block a second: a restart makes a stuck payout no younger."""
    calendar = seen((10, 1_000.0))
    assert since(calendar, 10) == 1_000
    assert since(calendar, 8) == 760
    assert since(calendar, 8, ready_at=900.0) == 900
    faster = replace(RULES, max_blocks_per_second=4.0)
    assert calendar.payable_since(UnixSeconds(0.0), Epoch(8), faster) == UnixSeconds(880.0)


def test_of_an_epoch_that_nobody_saw_nothing_is_said() -> None:
    """The item's own time stands."""
    assert since(Calendar(), 3, ready_at=77.0) == 77
    assert since(seen((10, 1_000.0)), 11, ready_at=77.0) == 77


def test_an_epoch_that_is_seen_in_every_tick_takes_no_other_ones_place() -> None:
    """A tick is seconds, an epoch is minutes."""
    calendar = seen((10, 1_000.0), (11, 1_120.0), *((11, 1_121.0 + tick) for tick in range(REMEMBERED)))
    assert since(calendar, 10) == 1_000
    assert since(calendar, 11) == 1_120


def test_memory_is_bounded() -> None:
    """What fell out of it is told by the pace again."""
    calendar = seen(*((epoch, 120.0 * epoch) for epoch in range(2 * REMEMBERED)))
    assert since(calendar, REMEMBERED) == 120 * REMEMBERED
    assert since(calendar, REMEMBERED - 10) == 120 * (REMEMBERED - 10)
