"""Looking at what may hang, without hanging with it."""

import asyncio

import pytest

from treasuryd.web.lookout import Lookout


async def test_a_look_that_hangs_is_answered_in_time_and_joined_by_the_next() -> None:
    """One look at a time, however many ask; once it ends, the next question looks anew."""
    began: list[int] = []
    go = asyncio.Event()

    async def hang() -> int:
        began.append(1)
        await go.wait()
        return len(began)

    lookout: Lookout[int] = Lookout()
    for _ in range(3):
        with pytest.raises(TimeoutError, match="no answer within"):
            await lookout.look(hang, seconds=0.01)
    assert len(began) == 1
    go.set()
    assert await lookout.look(hang, seconds=1.0) == 1
    assert await lookout.look(hang, seconds=1.0) == 2


async def test_what_a_look_raises_reaches_who_asked() -> None:
    """And a failure that nobody waited for is no warning."""

    async def fail() -> None:
        raise ValueError("no")

    lookout: Lookout[None] = Lookout()
    with pytest.raises(ValueError, match="no"):
        await lookout.look(fail, seconds=1.0)


async def test_a_failure_after_the_time_is_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """Nobody waits for it any more."""
    go = asyncio.Event()

    async def fail_late() -> None:
        await go.wait()
        raise ValueError("late")

    lookout: Lookout[None] = Lookout()
    with pytest.raises(TimeoutError):
        await lookout.look(fail_late, seconds=0.01)
    go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [str(warning.message) for warning in recwarn] == []
