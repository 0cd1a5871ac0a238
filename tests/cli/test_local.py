"""Commands of this machine: keys, configuration, and what `run` and `demo` are started with."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Told

Call = Callable[..., Told]

CONFIG = """
development = true
state_folder = "state"
[[accounts]]
name = "treasury"
[[accounts]]
name = "grants"
[devnet]
enabled = true
admin_token = "hush"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "treasuryd.toml"
    path.write_text(CONFIG)
    return path


def test_a_key_file_is_made_once_and_for_its_owner_alone(call: Call, tmp_path: Path) -> None:
    """Mode 0600, the credential beside it, never overwritten; only the public half is shown."""
    path = tmp_path / "keys" / "ann.key"
    made = json.loads(call("keys", "generate", path, "--json").out)["items"][0]
    assert [stat.S_IMODE(file.stat().st_mode) for file in (path, path.with_name("credential"))] == [
        0o600,
        0o600,
    ]
    assert (
        json.loads(call("keys", "show", path, "--json").out)["items"][0]["public_key"] == made["public_key"]
    )
    again = call("keys", "generate", path)
    assert (again.code, "never overwritten" in again.err) == (1, True)


def test_missing_keys_of_all_accounts_are_made(call: Call, config: Path) -> None:
    """And shown; a second time there is nothing to make."""
    made = json.loads(call("keys", "generate", "--config", config, "--json").out)["items"]
    assert [row["account"] for row in made] == ["treasury", "grants"]
    shown = json.loads(call("keys", "show", "--config", config, "--json").out)["items"]
    assert shown == made
    assert call("keys", "generate", "--config", config).code == 1


def test_a_missing_key_file_is_said(call: Call, tmp_path: Path) -> None:
    """With the command that makes one."""
    said = call("keys", "show", tmp_path / "absent.key")
    assert (said.code, "keys generate" in said.err) == (1, True)


def test_a_good_configuration_is_in_order(call: Call, config: Path) -> None:
    """Exit code 0 and a sentence."""
    said = call("config", "check", "--config", config)
    assert (said.code, said.out) == (0, "the configuration is in order.\n")


def test_the_files_of_a_configuration_are_looked_at_when_asked(
    call: Call, config: Path, tmp_path: Path
) -> None:
    """A folder that others may write is refused as by the start (77), without the flag it is no matter."""
    said = call("config", "check", "--files", "--config", config)
    assert (said.code, said.out) == (0, "the configuration and its files are in order.\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    said = call("config", "check", "--files", "--config", config)
    assert (said.code, f"chmod go-w {tmp_path / 'state'}" in said.err) == (77, True)
    assert call("config", "check", "--config", config).code == 0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[htpp]\nport = 1\n", "did you mean http"),
        ("[http]\nport = true\n", "http.port"),
        ("[http]\nport = 70000\n", "http.port"),
        ('development = "maybe"\n', "development"),
        ("= 1\n", "not valid TOML"),
        ("", "accounts"),
    ],
)
@pytest.mark.parametrize("command", [["config", "check"], ["run"]])
def test_a_bad_configuration_is_78_with_its_place(
    call: Call, tmp_path: Path, command: list[str], text: str, named: str
) -> None:
    """File, line and the nearest name; `run` refuses what `config check` refuses."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    said = call(*command, "--config", path)
    assert said.code == 78
    assert named in said.err


@pytest.mark.parametrize("command", [["config", "check"], ["run"]])
def test_a_chain_that_we_cannot_sign_for_is_78(
    call: Call, config: Path, tmp_path: Path, command: list[str]
) -> None:
    """Said before anything is opened: a store would be pinned to that chain for good."""
    state = tmp_path / "of another chain"
    said = call(*command, "--config", config, "--set", "chain.chain_id=2", "--state-folder", state)
    assert (said.code, state.exists()) == (78, False)
    assert "chain_id is out of range: it needs 1" in said.err


def test_a_missing_file_and_unknown_variables_are_78(
    call: Call, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is guessed."""
    said = call("config", "check", "--config", tmp_path / "absent.toml")
    assert (said.code, "absent.toml" in said.err) == (78, True)
    monkeypatch.setenv("TREASURYD_HTPP__PORT", "1")
    said = call("config", "check", "--config", config)
    assert (said.code, "TREASURYD_HTPP__PORT" in said.err) == (78, True)


def test_flags_are_stronger_than_environment_and_file(
    call: Call, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File < environment < flags; secrets are masked."""
    monkeypatch.setenv("TREASURYD_HTTP__PORT", "1001")
    monkeypatch.setenv("TREASURYD_LOG__LEVEL", "debug")
    options = ("--config", config, "--port", 1002, "--set", "executor.poll_seconds=7")
    shown = json.loads(call("config", "show", *options, "--json").out)
    assert (shown["http"]["port"], shown["log"]["level"], shown["executor"]["poll_seconds"]) == (
        1002,
        "debug",
        7.0,
    )
    plain = call("config", "show", *options).out
    assert "http.port = 1002" in plain
    assert "hush" not in plain
    assert "hush" not in json.dumps(shown)


def test_a_flag_without_a_value_is_a_usage_error(call: Call, config: Path) -> None:
    """`--set name` alone says nothing."""
    assert call("config", "check", "--config", config, "--set", "http.port").code == 2


def test_the_version_names_what_a_bug_report_needs(call: Call) -> None:
    """Own, Python's, SQLite's."""
    said = call("--version")
    assert said.code == 0
    assert [word in said.out for word in ("treasuryd 0.", "Python 3.", "SQLite 3.")] == [True] * 3


def test_the_help_lists_commands_and_exit_codes(call: Call) -> None:
    """Everything that the issue names, and what each exit code means."""
    said = call("--help")
    for word in (
        "run", "devnet", "demo", "submit", "list", "show", "explain", "vote", "cancel", "release", "resolve",
        "account", "balance", "status", "breaker", "keys", "config",
    ):  # fmt: skip
        assert f"\n  {word} " in said.out
    for code in ("  0 ", "  1 ", "  2 ", "  69 ", "  70 ", "  74 ", "  75 ", "  77 ", "  78 "):
        assert code in said.out


def test_every_command_has_a_help(call: Call) -> None:
    """That reads as a sentence."""
    for command in (
        "run", "devnet", "demo", "submit", "list", "show", "explain", "vote", "cancel", "release", "resolve",
        "rollback", "reopen", "account freeze", "account thaw", "account announce", "account show", "balance",
        "status", "breaker show", "breaker open", "breaker close", "breaker reset", "keys generate", "keys show",
        "config check", "config show",
    ):  # fmt: skip
        said = call(*command.split(), "--help")
        assert said.code == 0
        assert said.out.startswith("Usage: treasuryd ")


def test_reading_commands_all_have_json(call: Call) -> None:
    """For scripts."""
    for command in (
        "list", "show", "explain", "balance", "status", "account show", "breaker show", "keys show", "config show",
    ):  # fmt: skip
        assert "--json" in call(*command.split(), "--help").out


def test_unknown_commands_and_options_are_usage_errors(call: Call) -> None:
    """Exit code 2."""
    assert [call("pay").code, call("list", "--all").code, call("show").code] == [2, 2, 2]


@pytest.mark.parametrize("pair", ["treasury", "=5", "a=-1", "a=1.5"])
def test_the_development_chain_is_funded_by_whole_amounts(call: Call, pair: str) -> None:
    """NAME=AMOUNT, base units."""
    assert call("devnet", "--fund", pair).code == 2


def test_a_demonstration_outside_a_checkout_says_what_it_needs(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """78, and how to name a configuration."""
    monkeypatch.chdir(tmp_path)
    said = call("demo")
    assert (said.code, "--config" in said.err) == (78, True)
