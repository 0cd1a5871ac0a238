import os
from pathlib import Path

import pytest

from treasuryd.core.model import AccountId
from treasuryd.errors import Rejected
from treasuryd.settings import Settings, load
from treasuryd.settings.layers import known_places, toml_lines


def written(folder: Path, text: str) -> Path:
    file = folder / "treasuryd.toml"
    file.write_text(text)
    return file


def complaints(
    file: Path | None = None,
    environment: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> list[str]:
    with pytest.raises(Rejected) as caught:
        load(file, environment or {}, flags)
    assert "config check" in caught.value.hint
    return caught.value.message.split("\n")


def test_without_any_source_the_defaults_stand() -> None:
    """Reading settings never looks at the environment by itself."""
    assert load(None, {}) == Settings()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    """The order of strength, from weak to strong."""
    file = written(tmp_path, "[http]\nport = 1\nmax_connections = 1\nmax_body_bytes = 5000\n")
    environment = {"TREASURYD_HTTP__PORT": "2", "TREASURYD_HTTP__MAX_CONNECTIONS": "2"}
    settings = load(file, environment, {"http.port": 3, "http.host": None})
    assert (settings.http.port, settings.http.max_connections, settings.http.max_body_bytes) == (3, 2, 5000)
    assert settings.http.host == "127.0.0.1"


def test_variables_of_others_are_left_alone() -> None:
    """Only ours are judged, and those that the command line reads are known."""
    load(
        None,
        {
            "PATH": "/bin",
            "TREASURY": "x",
            "TREASURYD_CONFIG": "x",
            "TREASURYD_URL": "x",
            "TREASURYD_PYTHON": "x",
        },
    )


def test_lists_and_tables_are_json_in_the_environment() -> None:
    """A list replaces the whole list of a weaker layer."""
    settings = load(
        None,
        {
            "TREASURYD_ACCOUNTS": '[{"name":"one"},{"name":"two","sink":"drain"}]',
            "TREASURYD_DEVNET__GENESIS": '{"one": 5}',
        },
    )
    assert settings.sinks == {"one": "one-sink", "two": "drain"}
    assert settings.devnet.genesis == {"one": 5}


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    """So that the file means the same from every working directory; variables and flags are the shell's."""
    file = written(
        tmp_path, 'state_folder = "../state"\n[signer]\nfolder = "keys"\n[[accounts]]\nname = "a/b"\n'
    )
    settings = load(file, {"TREASURYD_HTTP__TOKEN_FILE": "token"})
    assert settings.state_folder == tmp_path.parent / "state"
    assert settings.key_files == {AccountId("a/b"): tmp_path / "keys" / "a%2Fb.key"}
    assert settings.http.token_file == Path("token")
    assert settings.journal_path == tmp_path.parent / "state" / "journal"


def test_the_store_may_lie_elsewhere_than_the_state_folder(tmp_path: Path) -> None:
    """Two daemons with folders of their own work on one store; by default each has its own."""
    file = written(tmp_path, 'state_folder = "two"\nstore_file = "shared/treasuryd.db"\n')
    assert load(file, {}).database_file == tmp_path / "shared" / "treasuryd.db"
    assert load(None, {}).database_file == Path("/var/lib/treasuryd/treasuryd.db")


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """Running on defaults instead would lift limits that somebody set."""
    (only,) = complaints(tmp_path / "treasuryd.toml")
    assert "treasuryd.toml: cannot be read: No such file" in only


@pytest.mark.parametrize(
    "content",
    [b"[http\n", b"\xff\xfe", b"port = 1\nport = 2\n", b"a = " + b"[" * 5_000, b"a = " + b"9" * 5_000],
    ids=["open", "not UTF-8", "twice", "deep", "long"],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    """The reader's own word on the place is kept."""
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    (only,) = complaints(file)
    assert "x.toml: not valid TOML" in only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "development = true\n\n[http]\nprot = 1\n",
            "treasuryd.toml:4: http.prot: unknown setting; did you mean port?",
            id="unknown key in a section",
        ),
        pytest.param(
            "[htpp]\nport = 1\n", "treasuryd.toml:1: htpp: unknown setting; did you mean http?", id="section"
        ),
        pytest.param(
            '[[chain.endpoints]]\nname="a"\n[[chain.endpoints]]\nulr="x"\n',
            "treasuryd.toml:4: chain.endpoints[1].ulr: unknown setting; did you mean url?",
            id="unknown key in a list of sections",
        ),
        pytest.param(
            "[chain]\n# comment\nmax_unburned = true\n",
            "treasuryd.toml:3: chain.max_unburned: a boolean where a number stands, not True",
            id="boolean for a whole number",
        ),
        pytest.param(
            "[lease]\nttl_seconds = false\n",
            "treasuryd.toml:2: lease.ttl_seconds: a boolean where a number stands, not False",
            id="boolean for a number",
        ),
        pytest.param(
            "[devnet]\ngenesis = { a = true }\n",
            "treasuryd.toml:2: devnet.genesis.a: a boolean where a number stands, not True",
            id="boolean inside a table",
        ),
        pytest.param(
            "http.port = 70000\n",
            "treasuryd.toml:1: http.port: input should be less than or equal to 65535, not 70000",
            id="out of range, dotted key",
        ),
        pytest.param(
            '[[chain.endpoints]]\nurl = "localhost:3030"\n',
            "treasuryd.toml:2: chain.endpoints[0].url: is not a URL such as http://127.0.0.1:3030. "
            "Write it like http://127.0.0.1:3030; where a node wants a secret, let a proxy on this host add it.",
            id="no URL",
        ),
        pytest.param(
            "[lease]\nttl_seconds = nan\n",
            "treasuryd.toml:2: lease.ttl_seconds: input should be a finite number, not nan",
            id="not a number",
        ),
        pytest.param(
            "http = 5\n",
            "treasuryd.toml:1: http: input should be a valid dictionary or instance of HttpSection, not 5",
            id="a section that is none",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    """File, line, setting, what is wrong, and the nearest known name."""
    (only,) = complaints(written(tmp_path, text))
    assert only == f"{tmp_path}/{expected}"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param(
            "TREASURYD_HTTP__PROT", "1", "unknown variable; did you mean TREASURYD_HTTP__PORT?", id="nested"
        ),
        pytest.param(
            "TREASURYD_DEVELOPMNT", "1", "unknown variable; did you mean TREASURYD_DEVELOPMENT?", id="flat"
        ),
        pytest.param("TREASURYD_HTTP_PORT", "1", "unknown variable; did you mean TREASURYD_HTTP__PORT?"),
        pytest.param("TREASURYD_HTTP", "{}", "unknown variable", id="a whole section"),
        pytest.param("TREASURYD_ZZZ", "{}", "unknown variable", id="nothing near"),
        pytest.param("TREASURYD_ACCOUNTS", "[", "not valid JSON", id="broken JSON"),
        pytest.param("TREASURYD_ACCOUNTS", "[" * 5_000, "not valid JSON", id="deep JSON"),
        pytest.param("TREASURYD_HTTP__PORT", "true", "input should be a valid integer", id="boolean"),
        pytest.param("TREASURYD_CHAIN__CHAIN_ID", "", "input should be a valid integer", id="empty"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(
    variable: str, value: str, expected: str
) -> None:
    """A typing error must not switch a limit off."""
    (only,) = complaints(environment={variable: value})
    assert only.startswith(f"{variable}: {expected}")


def test_a_mistake_in_a_flag_is_named() -> None:
    """The command line's own parser catches most; the ranges are ours."""
    assert complaints(flags={"http.port": -1})[0].startswith("flag http.port: ")
    assert complaints(flags={"http.prot": 1})[0].startswith("flag http.prot: unknown setting")


def test_a_rule_of_a_section_blames_the_layer_that_broke_it(tmp_path: Path) -> None:
    """An empty variable over a good file was blamed on the file's line of the section."""
    file = tmp_path / "treasuryd.toml"
    file.write_text('[http]\nhost = "127.0.0.1"\n')
    named = {
        "TREASURYD_HTTP__HOST: host: ": (file, {"TREASURYD_HTTP__HOST": ""}, {}),
        "flag http.host: host: ": (file, {}, {"http.host": ""}),
    }
    for start, layers in named.items():
        with pytest.raises(Rejected) as refusal:
            load(*layers)
        assert refusal.value.message.startswith(start)
    file.write_text('[http]\nport = 9000\nhost = ""\n')
    with pytest.raises(Rejected, match=r"treasuryd\.toml:3: http\.host: host: an address"):
        load(file, {}, {})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """A person corrects a file once, not five times."""
    file = written(tmp_path, "typo = 1\n[http]\nport = true\n[lease]\nttl_seconds = 1\n")
    found = complaints(file, {"TREASURYD_NOWHERE": "1"})
    assert len(found) == 4
    assert any("lease: renew_deadline_seconds must be below ttl_seconds" in line for line in found)


def test_a_long_value_is_cut_in_the_complaint() -> None:
    """Whatever stands in a file may end in a log."""
    (only,) = complaints(environment={"TREASURYD_HTTP__PORT": "9" * 500 + "x"})
    assert len(only) < 250


@pytest.mark.parametrize(
    ("environment", "secret"),
    [
        ({"TREASURYD_CHAIN__ENDPOINTS": '[{"url": "ftp://user:canary@host"}]'}, "canary"),
        ({"TREASURYD_CHAIN__ENDPOINTS": '[{"url": "http://user:canary@host"}]'}, "canary"),
        ({"TREASURYD_CHAIN__ENDPOINTS": '[{"url": "http://:canary@host"}]'}, "canary"),
        ({"TREASURYD_CHAIN__ENDPOINTS": '[{"url": "http://host/v1/canary"}]'}, "canary"),
        ({"TREASURYD_CHAIN__ENDPOINTS": '[{"url": "http://host/#canary"}]'}, "canary"),
        ({"TREASURYD_CHAIN__ENDPOINTS": '["http://:canary@host"]'}, "canary"),
        ({"TREASURYD_OBSERVER__RPC_URL": "http://host/canary"}, "canary"),
        ({"TREASURYD_OBSERVER__METRICS_URL": "http://host/metrics?key=canary"}, "canary"),
        ({"TREASURYD_DEVNET__ADMIN_TOKEN": '["canary"]', "TREASURYD_HTTP__PORT": "x"}, "canary"),
    ],
)
def test_a_complaint_repeats_no_secret(environment: dict[str, str], secret: str) -> None:
    """What is no URL of a node may hold a password; `config check` refuses it as `run` does."""
    assert all(secret not in line for line in complaints(environment=environment))


def test_every_setting_has_a_variable() -> None:
    """Nothing can be set in the file alone."""
    for place in known_places(Settings):
        variable = "TREASURYD_" + "__".join(place).upper()
        environment = {variable: "{" if variable.endswith("S") else "\0"}
        try:
            load(None, environment)
        except Rejected as error:
            assert "unknown" not in error.message  # noqa: PT017 - most values do not fit, all names do


def test_lines_are_found_in_toml() -> None:
    """Headers, lists of tables, dotted and quoted keys."""
    text = 'a = 1\n[b]\n\n"c d" = 2\ne.f = 3\n[[g.h]]\ni = 4\n[[g.h]] # again\ni = 5\n'
    lines = toml_lines(text)
    assert lines["a",] == 1
    assert lines["b",] == 2
    assert lines["b", "c d"] == 4
    assert lines["b", "e", "f"] == 5
    assert lines["g", "h", 0, "i"] == 7
    assert lines["g", "h", 1, "i"] == 9


def test_the_process_environment_can_be_handed_in() -> None:
    """`os.environ` is a mapping like any other; here it holds nothing of ours."""
    ours = {name for name in os.environ if name.startswith("TREASURYD_")}
    load(None, {name: value for name, value in os.environ.items() if name not in ours})


@pytest.mark.parametrize("name", ["_env_file", "_cli_parse_args", "_build_sources", "__pydantic_self__"])
def test_a_name_that_the_library_keeps_for_itself_is_no_setting(tmp_path: Path, name: str) -> None:
    """Nothing unknown passes, and a reload that meets it goes on with the old file."""
    file = tmp_path / "treasuryd.toml"
    file.write_text(f"{name} = 1\n")
    with pytest.raises(Rejected, match=f"{file}:1: {name}: unknown setting"):
        load(file, {})
