import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chain.world import FakeClock

from treasuryd.chain.limiter import Limiter
from treasuryd.chain.transport import NotMade, TooLate
from treasuryd.core.model import BootSeconds, Endpoint


def limiter(clock: FakeClock, *, per_second: float = 80.0, burst: int = 16, wait: float = 5.0) -> Limiter:
    return Limiter(clock, Endpoint("node"), per_second=per_second, burst=burst, wait_seconds=wait)


async def test_a_burst_passes_at_once_and_the_next_request_waits_its_turn() -> None:
    """The even pace starts where the burst ends."""
    clock = FakeClock()
    one = limiter(clock)
    for _ in range(16):
        await one.take()
    assert clock.slept == []
    await one.take()
    assert [pytest.approx(1 / 80)] == clock.slept


@given(gaps=st.lists(st.floats(min_value=0, max_value=0.2), min_size=1, max_size=300))
async def test_no_second_ever_sees_more_than_rate_and_burst(gaps: list[float]) -> None:
    """N11: 100 requests in a second earn a ban; ours stay at 96 whatever the callers do."""
    clock = FakeClock()
    one = limiter(clock, wait=1e9)
    left: list[float] = []
    for gap in gaps:
        clock.now += gap
        await one.take()
        left.append(clock.now)
    for place, first in enumerate(left):
        assert len([moment for moment in left[place:] if moment < first + 1.0]) <= 96


async def test_silence_makes_no_request_until_it_is_over() -> None:
    """N11: after a ban it is silent until the ban is over, and speaks again then."""
    clock = FakeClock()
    one = limiter(clock)
    one.silence(60.0)
    one.silence(5.0)
    clock.now += 59.9
    with pytest.raises(NotMade, match="silent"):
        await one.take()
    clock.now += 0.2
    await one.take()


async def test_a_request_that_could_only_start_too_late_is_not_queued() -> None:
    """The lease's deadline counts while waiting, too (protocol.md §6.3), and the place in the queue is not used up."""
    clock = FakeClock()
    one = limiter(clock, per_second=1.0, burst=1)
    await one.take()
    with pytest.raises(TooLate):
        await one.take(until=BootSeconds(clock.now + 0.5))
    await one.take(until=BootSeconds(clock.now + 1.5))
    assert [pytest.approx(1.0)] == clock.slept


async def test_a_queue_longer_than_the_bound_is_refused() -> None:
    """Everything has a bound: a call that would wait longer says so at once."""
    clock = FakeClock()
    one = limiter(clock, per_second=1.0, burst=1, wait=0.5)
    await one.take()
    with pytest.raises(NotMade, match="queued"):
        await one.take()


async def test_a_ban_that_arrives_while_waiting_keeps_the_request_here() -> None:
    """Whoever slept looks again before it leaves."""
    clock = FakeClock()
    one = limiter(clock, per_second=1.0, burst=1)
    await one.take()
    slept = clock.sleep

    async def banned_meanwhile(seconds: float) -> None:
        await slept(seconds)
        one.silence(60.0)

    clock.sleep = banned_meanwhile  # type: ignore[method-assign]  # the fake's own clock, not the code's
    with pytest.raises(NotMade, match="silent"):
        await one.take()
