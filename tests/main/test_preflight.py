"""What a start would stumble over is said before it, all of it at once, and nothing is made or changed by asking."""

import os
from pathlib import Path

import pytest

from treasuryd.errors import Refusal, Rejected
from treasuryd.main.preflight import preflight
from treasuryd.settings import Settings, load
from treasuryd.signer import keys

TEXT = """
state_folder = "state"
[[accounts]]
name = "treasury"
[[accounts]]
name = "grants"
[chain]
endpoints = [{ name = "node", url = "http://127.0.0.1:1" }]
[http]
token_file = "token"
[governance.operators]
keys = ["%s"]
[governance.builders]
keys = ["%s"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A machine on which everything is as it has to be."""
    folder = tmp_path / "state" / "signer"
    folder.mkdir(parents=True, mode=0o700)
    secret = keys.make_secret(folder / "credential")
    for account in ("treasury", "grants"):
        keys.generate(folder / f"{account}.key", secret)
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("0123456789abcdef\n")
    houses = [keys.generate(tmp_path / f"{name}.key", secret).public.hex() for name in ("ann", "ben")]
    file = tmp_path / "treasuryd.toml"
    file.write_text(TEXT % tuple(houses))
    return load(file, {}, {})


def refused(settings: Settings) -> Rejected:
    with pytest.raises(Rejected) as refusal:
        preflight(settings)
    return refusal.value


def there(folder: Path) -> list[tuple[str, int, int]]:
    """Everything under a folder, with its mode and when it was changed."""
    return sorted((str(one), one.stat().st_mode, one.stat().st_mtime_ns) for one in folder.rglob("*"))


def test_a_machine_in_order_passes_and_stays_as_it_is(settings: Settings, tmp_path: Path) -> None:
    """Folders that a start makes may be missing; no database, lock or folder comes into being."""
    before = there(tmp_path)
    assert preflight(settings) == ""
    assert there(tmp_path) == before


def test_everything_wrong_is_named_at_once(settings: Settings, tmp_path: Path) -> None:
    """A key, a token, a folder and a database: each with what to do next."""
    folder = settings.signer_folder
    (folder / "grants.key").unlink()
    (folder / "ledger.db").touch()
    (folder / "ledger.db").chmod(0o666)
    (tmp_path / "token").write_text("short")
    settings.state_folder.chmod(0o777)
    problem = refused(settings)
    assert problem.kind is Refusal.INVALID
    for said in ("grants.key: no such file", "ledger.db: mode 0666", "http.token_file", "state: mode 0777"):
        assert problem.message.count(said) == 1
    for next_step in ("keys generate", "chmod go-w", "openssl rand"):
        assert next_step in problem.message


def test_permissions_alone_are_a_refusal_of_permissions(settings: Settings) -> None:
    """As at the start: exit 77, not 78."""
    (settings.signer_folder / "credential").chmod(0o644)
    problem = refused(settings)
    assert problem.kind is Refusal.FORBIDDEN
    assert "credential" in problem.message


def test_a_credential_that_unlocks_another_key_is_found(settings: Settings, tmp_path: Path) -> None:
    """Each account's key is tried; what the other account's says is no matter."""
    other = settings.signer_folder / "grants.key"
    other.unlink()
    keys.generate(other, b"another secret")
    problem = refused(settings)
    assert "grants.key: not unlocked" in problem.message
    assert "treasury.key" not in problem.message
    assert str(tmp_path) in problem.message


def test_where_the_unit_alone_has_the_credential_the_check_says_what_it_did_not_try(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys' modes are looked at all the same; with the credential in the unit's folder everything is tried."""
    secret = settings.signer_folder / "credential"
    handed = settings.state_folder / "handed"
    handed.mkdir()
    secret.rename(handed / "treasuryd-key")
    assert "not tried" in preflight(settings)
    (settings.signer_folder / "grants.key").chmod(0o640)
    assert refused(settings).kind is Refusal.FORBIDDEN
    (settings.signer_folder / "grants.key").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert preflight(settings) == ""
    (handed / "treasuryd-key").write_text("another secret")
    assert "grants.key: not unlocked" in refused(settings).message


def test_a_credential_that_was_named_has_to_be_there(settings: Settings, tmp_path: Path) -> None:
    """Then no service manager has another one."""
    section = settings.signer.model_copy(update={"credential_file": tmp_path / "absent"})
    assert "absent: no such file" in refused(settings.model_copy(update={"signer": section})).message


@pytest.mark.parametrize(
    ("place", "said"),
    [
        pytest.param("flat", "flat: not a folder", id="in its place"),
        pytest.param("flat/journal", "flat/journal: cannot be looked at: Not a directory", id="above it"),
    ],
)
def test_a_file_where_a_folder_has_to_be_is_found(
    settings: Settings, tmp_path: Path, place: str, said: str
) -> None:
    """The start could not make the folder."""
    (tmp_path / "flat").touch()
    assert said in refused(settings.model_copy(update={"journal_folder": tmp_path / place})).message


def test_what_we_may_not_write_is_found(settings: Settings) -> None:
    """A disk that is read-only, a folder of root: the start would end there. A missing folder counts by where it comes."""
    settings.database_file.touch(0o600)
    asked: list[Path] = []

    def may(path: Path, mode: int) -> bool:
        asked.append(path)
        return not mode & os.W_OK

    with pytest.raises(Rejected) as refusal:
        preflight(settings, may=may)
    assert refusal.value.kind is Refusal.FORBIDDEN
    lines = [line for line in refusal.value.message.splitlines() if "we may not write" in line]
    assert lines == [
        f"{settings.state_folder}: we may not write in {settings.state_folder}",
        f"{settings.journal_path}: we may not write in {settings.state_folder}",
        f"{settings.signer_folder}: we may not write in {settings.signer_folder}",
        f"{settings.database_file}: we may not write it",
    ]
    assert not settings.journal_path.exists()


def test_the_observers_token_is_looked_at_where_the_observer_runs(settings: Settings, tmp_path: Path) -> None:
    """The node's token may be short, and is not asked for where nobody uses it."""
    section = settings.observer.model_copy(update={"token_file": tmp_path / "absent"})
    on, off = (section.model_copy(update={"enabled": value}) for value in (True, False))
    preflight(settings.model_copy(update={"observer": off}))
    assert "observer.token_file" in refused(settings.model_copy(update={"observer": on})).message


def test_development_makes_its_own_keys(settings: Settings) -> None:
    """So a missing one is no mistake there; a damaged one is."""
    development = settings.model_copy(update={"development": True})
    for file in settings.signer_folder.iterdir():
        file.unlink()
    assert preflight(development) == ""
    keys.make_secret(settings.signer_folder / "credential")
    (settings.signer_folder / "grants.key").touch(0o600)
    assert "grants.key" in refused(development).message
