"""The command line: talks to a running daemon over HTTP, and starts one. `main` is the console script."""

import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; see `root.main`. A daemon outlives a SIGHUP from here on, a second before it can reload."""
    if "run" in (sys.argv[1:] if args is None else args):
        from treasuryd.host import hangup  # noqa: PLC0415 - no other command needs it

        hangup.keep()
    from treasuryd.cli import root  # noqa: PLC0415 - the heavy imports come after the signal

    return root.main(args)


__all__ = ["main"]
