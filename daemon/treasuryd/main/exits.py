"""Exit codes (interfaces.md §3), and which error ends in which."""

import sqlite3
from enum import IntEnum

from treasuryd.errors import Corrupt, Fenced, Refusal, Rejected, Transient


class Exit(IntEnum):
    """What the process says when it ends; the service manager's unit refers to these."""

    DONE = 0
    NOT_ALL_DONE = 1
    USAGE = 2
    UNAVAILABLE = 69
    OUR_BUG = 70
    STORAGE = 74
    LEASE_LOST = 75
    REFUSED = 77
    CONFIGURATION = 78


def exit_for(problem: BaseException) -> Exit:
    """Map what ended the process; a group of errors counts as its first one."""
    match problem:
        case BaseExceptionGroup():
            return exit_for(problem.exceptions[0])
        case Fenced():
            return Exit.LEASE_LOST
        case Transient():
            return Exit.UNAVAILABLE
        case Rejected(kind=Refusal.FORBIDDEN):
            return Exit.REFUSED
        case Rejected():
            return Exit.CONFIGURATION
        case Corrupt() if isinstance(problem.__cause__, sqlite3.Error | OSError):
            return Exit.STORAGE
        case OSError() | sqlite3.Error():
            return Exit.STORAGE
        case _:
            return Exit.OUR_BUG


def first_of(problem: BaseException) -> BaseException:
    """Unwrap groups of errors to the first error in them."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
