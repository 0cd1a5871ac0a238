"""The command line: talks to a running daemon over HTTP, and starts one. `main` is the console script."""

from treasuryd.cli.root import main

__all__ = ["main"]
