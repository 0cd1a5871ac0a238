"""
What a person says to a store that no daemon runs on: that the machine was set back as a whole (protocol.md §8).

Said to a running daemon it may come too late: nothing shows it that its memories are old, and it sends what is due.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio

from treasuryd.core.model import Approval
from treasuryd.errors import Refusal, Rejected
from treasuryd.host.clock import SystemClock
from treasuryd.host.entropy import SystemEntropy
from treasuryd.host.lockfile import Standing
from treasuryd.main.compose import Deaf, open_store
from treasuryd.main.places import private_folder
from treasuryd.settings import Settings


def declare(settings: Settings, *, who: str, reason: str) -> Mapping[str, Any]:
    """
    Quarantine every account of a store before its daemon starts; answers the report.

    Raises: Rejected where there is no store, a daemon runs on its folder, or others may write there; Corrupt for storage
        errors.
    Guarantees: stored before it answers, and the next start goes on from there; repeating it is harmless.
    """
    if not settings.database_file.exists():
        raise Rejected(
            f"{settings.database_file}: there is no store",
            hint="Name the daemon's configuration with --config, or its folder with --state-folder.",
            kind=Refusal.NOT_FOUND,
        )
    return anyio.run(_declare, settings, who, reason)


async def _declare(settings: Settings, who: str, reason: str) -> Mapping[str, Any]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        alone = Standing(private_folder(settings.state_folder))
        stack.callback(alone.close)
        if not alone():
            raise Rejected(
                f"{settings.state_folder}: a daemon runs on this folder",
                hint="Stop it first; one that has to go on is told by `treasuryd quarantine declare`.",
                kind=Refusal.CONFLICT,
            )
        _, desk = await open_store(
            stack, settings, settings.rules(), clock=clock, entropy=SystemEntropy(), observer=Deaf()
        )
        await desk.declare_restored(by=Approval(who=who, reason=reason, at=clock.unix_seconds()))
        return await desk.quarantine_report()
