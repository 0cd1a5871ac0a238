"""Exit codes."""

import sqlite3

import pytest

from treasuryd.errors import Corrupt, Exit, Fenced, Refusal, Rejected, Transient
from treasuryd.main.exits import exit_for, first_of


def caused(problem: Exception, cause: BaseException) -> Exception:
    problem.__cause__ = cause
    return problem


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        pytest.param(Rejected("x"), Exit.CONFIGURATION, id="what the operator wrote"),
        pytest.param(Rejected("x", kind=Refusal.FORBIDDEN), Exit.REFUSED, id="permissions"),
        pytest.param(Fenced("x"), Exit.LEASE_LOST, id="lease lost"),
        pytest.param(Transient("x"), Exit.NOT_REACHED, id="nobody answers"),
        pytest.param(caused(Corrupt("x"), sqlite3.OperationalError("disk")), Exit.STORAGE, id="database"),
        pytest.param(caused(Corrupt("x"), OSError("full")), Exit.STORAGE, id="file"),
        pytest.param(OSError("full"), Exit.STORAGE, id="bare file error"),
        pytest.param(Corrupt("x"), Exit.OUR_BUG, id="a broken invariant"),
        pytest.param(ValueError("x"), Exit.OUR_BUG, id="a bug"),
        pytest.param(ExceptionGroup("g", [ExceptionGroup("h", [Fenced("x")])]), Exit.LEASE_LOST, id="group"),
    ],
)
def test_each_end_has_its_code(problem: BaseException, expected: Exit) -> None:
    """interfaces.md §3: the service manager's unit decides by it."""
    assert expected is exit_for(problem)


def test_the_first_error_of_a_group_is_told() -> None:
    """A task group wraps; a person wants the sentence."""
    inner = Fenced("lost")
    assert inner is first_of(ExceptionGroup("g", [ExceptionGroup("h", [inner]), ValueError("later")]))
