"""The file of the bearer token: a bad one is said before anything is opened."""

from pathlib import Path

import pytest

from treasuryd.main import run
from treasuryd.settings import load

CONFIG = Path(__file__).parents[2] / "config" / "dev.toml"


@pytest.mark.parametrize(
    ("content", "mode", "code", "said"),
    [
        pytest.param(None, 0o600, 78, "no such file", id="missing"),
        pytest.param(b"secret", 0o644, 77, "others", id="open to others"),
        pytest.param(b"s\xc3\xa4cret", 0o600, 78, "not ASCII", id="no token"),
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
