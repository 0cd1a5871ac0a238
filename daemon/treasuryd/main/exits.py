"""Which error ends in which exit code (interfaces.md §3)."""

import sqlite3

from treasuryd.errors import Corrupt, Exit, Fenced, Refusal, Rejected, Transient


def exit_for(problem: BaseException) -> Exit:
    """Map what ended the process; a group of errors counts as its first one."""
    match problem:
        case BaseExceptionGroup():
            return exit_for(problem.exceptions[0])
        case Fenced():
            return Exit.LEASE_LOST
        case Transient():
            return Exit.NOT_REACHED
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
