"""Wakes the ticker when the head moved: its silence costs latency only (architecture.md §6)."""

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.errors import Transient
from treasuryd.executor.mind import Mind
from treasuryd.ports import World


async def follow(world: World, mind: Mind, *, retry_seconds: float) -> None:
    """Wake the ticker at each new head, for ever; after a failed read look again after `retry_seconds`."""
    while True:
        try:
            async for _head in world.chain.new_heads():
                mind.wake()
        except Transient as problem:
            world.observer.saw(
                Event(
                    kind=EventKind.CALL_FAILED, severity=Severity.DEBUG, reason="follow", detail=str(problem)
                )
            )
        await world.clock.sleep(retry_seconds)
