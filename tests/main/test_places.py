"""Folders and files that others may write are not taken for ours: whoever changes the ledger decides what is paid."""

import os
from pathlib import Path

import pytest
from tests.fakes import FakeObserver

from treasuryd.errors import Corrupt, Refusal, Rejected
from treasuryd.main.compose import assembled
from treasuryd.main.exits import exit_for
from treasuryd.main.places import check_ours, database_file, private_folder
from treasuryd.settings import Settings, load

CONFIG = Path(__file__).parents[2] / "config" / "dev.toml"


def made(path: Path, mode: int) -> Path:
    if path.suffix:
        path.touch()
    else:
        path.mkdir()
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_folder_that_others_may_only_read_is_taken_as_it_is(tmp_path: Path, mode: int) -> None:
    """An ordinary umask makes such ones; nothing is changed without a word."""
    folder = made(tmp_path / "state", mode)
    assert private_folder(folder) == folder
    assert folder.stat().st_mode & 0o7777 == mode


def test_a_new_folder_is_ours_alone(tmp_path: Path) -> None:
    """Whatever the umask."""
    assert private_folder(tmp_path / "deep" / "state").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("name", ["state", "store.db"])
@pytest.mark.parametrize("mode", [0o770, 0o666, 0o602, 0o1777])
def test_what_others_may_write_is_refused_and_left_as_it_is(tmp_path: Path, name: str, mode: int) -> None:
    """The message names path and mode, the hint what to run, and the exit code is that of an open key file."""
    path = made(tmp_path / name, mode)
    with pytest.raises(Rejected, match=f"{path}: mode {mode:04o} lets others write") as refusal:
        check_ours(path)
    assert refusal.value.kind is Refusal.FORBIDDEN
    assert exit_for(refusal.value) == 77
    assert f"`chmod go-w {path}`" in refusal.value.hint
    assert path.stat().st_mode & 0o7777 == mode


def test_the_command_in_the_hint_stands_a_blank_in_the_name(tmp_path: Path) -> None:
    path = made(tmp_path / "my state", 0o777)
    with pytest.raises(Rejected) as refusal:
        private_folder(path)
    assert f"`chmod go-w '{path}'`" in refusal.value.hint


def test_what_belongs_to_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner may write it whatever its mode; root may anyhow."""
    folder = made(tmp_path / "state", 0o755)
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr("treasuryd.main.places._ROOT", owner)
    assert private_folder(folder) == folder
    monkeypatch.setattr("treasuryd.main.places._ROOT", owner + 2)
    with pytest.raises(Rejected, match=f"belongs to user {owner}, we run as user {owner + 1}") as refusal:
        private_folder(folder)
    assert refusal.value.kind is Refusal.FORBIDDEN
    assert f"`chown {owner + 1} {folder}`" in refusal.value.hint


def test_a_database_is_looked_at_with_the_folder_it_lies_in(tmp_path: Path) -> None:
    """What is missing is made later; a folder that others may write has them plant what SQLite rolls back from."""
    assert database_file(tmp_path / "none" / "store.db") == tmp_path / "none" / "store.db"
    folder = made(tmp_path / "shared", 0o777)
    with pytest.raises(Rejected, match=f"{folder}: mode 0777"):
        database_file(folder / "store.db")


def test_a_place_that_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(Corrupt, match="cannot be looked at"):
        check_ours(loop)


async def start(settings: Settings) -> None:
    async with assembled(settings, observer=FakeObserver(), endpoints=()):
        pass


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("state", 0o775),
        ("state/signer", 0o770),
        ("state/signer/ledger.db", 0o666),
        ("state/journal", 0o777),
        ("state/treasuryd.db", 0o660),
    ],
)
async def test_a_start_looks_at_every_place_it_keeps(tmp_path: Path, place: str, mode: int) -> None:
    """State, signer's and journal's folder, ledger and store."""
    for folder in ("state", "state/signer", "state/journal"):
        made(tmp_path / folder, 0o755)
    path = tmp_path / place
    if path.suffix:
        path.touch()
    path.chmod(mode)
    with pytest.raises(Rejected, match=f"{path}: mode {mode:04o}"):
        await start(load(CONFIG, {}, {"state_folder": tmp_path / "state"}))
