"""What is said to a store while no daemon runs on it: that the whole machine was set back (§8)."""

from pathlib import Path
from typing import Any

import click

from treasuryd.cli import screen
from treasuryd.cli.local import flags_of, load_settings, settings_flags
from treasuryd.cli.shared import reason, user_name


@click.command("declare-stopped")
@settings_flags
@reason
def declare_stopped(*, config: Path | None, reason: str, by: str | None, **chosen: Any) -> None:
    """Say it to the store of a daemon that is stopped: before its start, so that nothing leaves."""
    from treasuryd.main import stopped  # noqa: PLC0415 - heavy, and `treasuryd list` does not need it

    found = stopped.declare(load_settings(config, flags_of(**chosen)), who=by or user_name(), reason=reason)
    for one in found["found"]:
        screen.say(f"found: {screen.cell(one['detail'], limit=500)} ({one['sign']})")
    screen.say("The kill switch is on. Start the daemon, and go on with `treasuryd quarantine show`.")
