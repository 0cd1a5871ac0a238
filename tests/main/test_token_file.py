"""The file of the bearer token: a bad one is said before anything is opened."""

import subprocess
from pathlib import Path

import pytest

from treasuryd.cli.client import Daemon
from treasuryd.errors import Rejected
from treasuryd.main import run
from treasuryd.main.tokens import SHORTEST, token_of
from treasuryd.settings import load

CONFIG = Path(__file__).parents[2] / "config" / "dev.toml"
WORD = "0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "mode", "code", "said"),
    [
        pytest.param(None, 0o600, 78, "no such file", id="missing"),
        pytest.param(b"secret", 0o644, 77, "others", id="open to others"),
        pytest.param(b"s\xc3\xa4cret", 0o600, 78, "not ASCII", id="no token"),
        pytest.param(b"secret\n", 0o600, 78, f"at least {SHORTEST}", id="too short"),
    ],
)
def test_a_bad_token_file_ends_the_start_before_anything_is_opened(
    content: bytes | None, mode: int, code: int, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The message names the setting, the file and how to make one; no store, no key, no lease came into being."""
    token, state = tmp_path / "token", tmp_path / "state"
    if content is not None:
        token.write_bytes(content)
        token.chmod(mode)
    flags = {"http.token_file": str(token), "http.port": 0, "devnet.port": 0, "state_folder": state}

    ended = run(load(CONFIG, {}, flags))

    complaint = capfd.readouterr().err
    assert (code, state.exists()) == (ended, False)
    for word in ("http.token_file", str(token), said, "openssl rand"):
        assert word in complaint


@pytest.mark.parametrize("mode", [None, 0o644])
def test_the_hint_mends_what_it_names(mode: int | None, tmp_path: Path) -> None:
    """Run as it stands: writing into a file that is there keeps its mode, so the command changes that first."""
    token = tmp_path / "our token"
    if mode is not None:
        token.write_text(WORD * 2)
        token.chmod(mode)
    with pytest.raises(Rejected) as refusal:
        token_of(token, setting="http.token_file")
    assert ("could read it" in refusal.value.hint) is (mode is not None)
    command = refusal.value.hint.split("`")[1]
    assert "openssl rand -hex 32 >" in command
    command = command.replace("openssl rand -hex 32", "echo 0123456789abcdef0123456789abcdef")
    subprocess.run(["/bin/sh", "-c", f"umask 022; {command}"], check=True)
    assert token_of(token, setting="http.token_file") == WORD * 2


def private(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("around", ["{}", "{}\n", "{} \n", " {}\n", "{}\t\n", "{}\n\n", "{}\r\n", "\n{}\n"])
def test_blanks_around_a_token_are_no_part_of_it(around: str, tmp_path: Path) -> None:
    """The daemon reads what the command line sends: a blank at the end locked everybody out, the kill switch included."""
    file = private(tmp_path / "token", around.format(WORD))
    assert token_of(file, setting="http.token_file") == WORD
    assert Daemon(token_file=file)._authorization() == {"Authorization": f"Bearer {WORD}"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(f"{WORD}\n#the old one\n", "4 words or lines", id="two lines"),
        pytest.param(f"{WORD} {WORD}\n", "2 words or lines", id="two words"),
        pytest.param(" \t\n", "0 words or lines", id="blanks alone"),
        pytest.param("\x00" * 16, "cannot be printed", id="no characters"),
        pytest.param(WORD[1:], "15 characters", id="guessed easily"),
    ],
)
def test_what_is_not_one_long_word_is_no_token(content: str, said: str, tmp_path: Path) -> None:
    """And the complaint does not tell what the file holds."""
    file = private(tmp_path / "token", content)
    with pytest.raises(Rejected, match=said) as refusal:
        token_of(file, setting="http.token_file")
    assert WORD[1:] not in str(refusal.value)


def test_a_token_that_another_server_chose_may_be_short(tmp_path: Path) -> None:
    """The node's, which the observer sends: no shorter one than a character."""
    assert (
        token_of(private(tmp_path / "token", "s3cret\n"), setting="observer.token_file", shortest=1)
        == "s3cret"
    )
    with pytest.raises(Rejected, match="0 words"):
        token_of(private(tmp_path / "token", " \n"), setting="observer.token_file", shortest=1)
