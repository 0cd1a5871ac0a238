"""How a command ends when it cannot be done: exit codes (interfaces.md §3), a sentence, and what to do next."""

from typing import Final

from treasuryd.errors import Corrupt, Exit, Fenced, Refusal, Rejected, Transient, TreasuryError

EXIT_HELP: Final = """
\b
Exit codes:
  0   done
  1   not everything was done (submit: rows refused; demo: not paid exactly once)
  2   wrong usage
  69  no daemon or no chain was reached, or it takes no orders now; a start: its address or its store is taken
  70  a bug of ours
  74  the store failed
  75  the lease was lost
  77  refused: token or permissions
  78  the configuration is wrong
"""


class Failure(Exception):
    """A command that cannot be done; nothing of it was done unless the message says so."""

    def __init__(self, code: Exit, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def of_error(error: TreasuryError, *, rejected: Exit = Exit.NOT_ALL) -> Failure:
    """
    Give an error of the package its exit code.

    Args: rejected: the code of a Rejected, which depends on what was asked (CONFIGURATION while settings are read).
    """
    match error:
        case Rejected(kind=Refusal.FORBIDDEN):
            code = Exit.REFUSED
        case Rejected():
            code = rejected
        case Transient():
            code = Exit.NOT_REACHED
        case Fenced():
            code = Exit.LEASE_LOST
        case Corrupt():
            code = Exit.STORAGE
        case _:
            code = Exit.OUR_BUG
    return Failure(code, error.message, hint=error.hint)
