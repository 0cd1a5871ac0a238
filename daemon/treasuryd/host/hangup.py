"""
SIGHUP before anybody listens for it: kept, where its default would end the process.

A service manager, or a person, may ask for a reload while the daemon is still starting. Standard library only: this is
imported before everything else.
"""

import signal

_came = False


def keep() -> None:
    """Remember a SIGHUP from now on; called by the first line of the program, on the main thread."""
    signal.signal(signal.SIGHUP, _remember)


def came() -> bool:
    """Whether one came since; asking forgets it. Whoever listens by then hears the later ones."""
    global _came
    found, _came = _came, False
    return found


def _remember(_number: int, _frame: object) -> None:
    global _came  # noqa: PLW0603 - as above
    _came = True
