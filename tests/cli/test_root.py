"""How errors become exit codes, and that a bug never shows a stack trace."""

import pytest
from tests.cli.conftest import Told

from treasuryd.cli import root
from treasuryd.cli.failures import of_error
from treasuryd.errors import Corrupt, Fenced, Refusal, Rejected, Transient, TreasuryError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Rejected("x"), 1),
        (Rejected("x", kind=Refusal.FORBIDDEN), 77),
        (Transient("x"), 69),
        (Fenced("x"), 75),
        (Corrupt("x"), 74),
        (TreasuryError("x"), 70),
    ],
)
def test_each_answer_to_what_now_has_its_exit_code(error: TreasuryError, code: int) -> None:
    """interfaces.md §3."""
    assert of_error(error).code == code


def test_a_bug_of_ours_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """70, the error's name, and where to report it."""

    @root.cli.command("crash", hidden=True)
    def crash() -> None:
        raise ZeroDivisionError("of\x1b[31mcourse")

    try:
        code = root.main(["crash"])
    finally:
        del root.cli.commands["crash"]
    said = Told(code, *capsys.readouterr())
    assert (said.code, said.out) == (70, "")
    assert "a bug of ours: ZeroDivisionError" in said.err
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    """As a shell expects."""

    @root.cli.command("wait", hidden=True)
    def wait() -> None:
        raise KeyboardInterrupt

    try:
        assert root.main(["wait"]) == 130
    finally:
        del root.cli.commands["wait"]
    assert "interrupted" in capsys.readouterr().err
