import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from treasuryd.errors import Rejected
from treasuryd.signer.keys import (
    Key,
    find_secret,
    generate,
    load,
    make_secret,
    read_secret,
    write_once,
)

SECRET = b"correct horse"


def test_a_generated_key_can_be_read_again(tmp_path: Path) -> None:
    """Same public half, same signatures."""
    made = generate(tmp_path / "k", SECRET)
    read = load(tmp_path / "k", SECRET)
    assert made.public == read.public
    assert made.sign(b"message") == read.sign(b"message")
    Ed25519PublicKey.from_public_bytes(made.public).verify(read.sign(b"message"), b"message")


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_key_file_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Mode 0600 from the first moment, and nothing else is left in the folder."""
    before = os.umask(umask)
    try:
        generate(tmp_path / "k", SECRET)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["k"]


def test_a_key_file_is_encrypted(tmp_path: Path) -> None:
    """A stolen backup of it alone opens nothing."""
    generate(tmp_path / "k", SECRET)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "k").read_bytes()
    with pytest.raises(Rejected, match="not unlocked"):
        load(tmp_path / "k", b"wrong")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second `keys generate` must not cost the first key."""
    made = generate(tmp_path / "k", SECRET)
    with pytest.raises(Rejected, match="exists already"):
        generate(tmp_path / "k", SECRET)
    assert load(tmp_path / "k", SECRET).public == made.public
    assert [file.name for file in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o644])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """It may have been read already, so it is refused and not repaired."""
    generate(tmp_path / "k", SECRET)
    (tmp_path / "k").chmod(mode)
    with pytest.raises(Rejected, match=f"{mode:04o}"):
        load(tmp_path / "k", SECRET)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its owner could change it under us."""
    generate(tmp_path / "k", SECRET)
    os.chown(tmp_path / "k", 12_345, -1)
    with pytest.raises(Rejected, match="belongs to user 12345"):
        load(tmp_path / "k", SECRET)


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    """What was checked must be what is read; and a pipe would make the start wait for ever."""
    generate(tmp_path / "k", SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "k")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "."):
        with pytest.raises(Rejected):
            load(tmp_path / name, SECRET)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    """The hint is a command."""
    with pytest.raises(Rejected, match="no such file") as caught:
        load(tmp_path / "k", SECRET)
    assert "keys generate" in caught.value.hint
    with pytest.raises(Rejected, match="cannot be written"):
        generate(tmp_path / "nowhere" / "k", SECRET)


def test_other_keys_and_plain_keys_are_refused(tmp_path: Path) -> None:
    """Only an encrypted Ed25519 key is taken."""
    pkcs8, pem = PrivateFormat.PKCS8, Encoding.PEM
    plain = Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, NoEncryption())
    other = ed448.Ed448PrivateKey.generate().private_bytes(pem, pkcs8, BestAvailableEncryption(SECRET))
    for name, content, complaint in (
        ("plain", plain, "not encrypted"),
        ("other", other, "not an Ed25519 key"),
        ("garbage", b"garbage", "damaged"),
        ("huge", b"x" * 20_000, "larger than"),
    ):
        write_once(tmp_path / name, content)
        with pytest.raises(Rejected, match=complaint):
            load(tmp_path / name, SECRET)


def test_a_secret_file_is_made_and_read(tmp_path: Path) -> None:
    """256 random bits, as text, so that it can be carried by hand."""
    made = make_secret(tmp_path / "credential")
    assert read_secret(tmp_path / "credential") == made
    assert len(made) == 64
    (tmp_path / "credential").chmod(0o644)
    with pytest.raises(Rejected, match="0644"):
        read_secret(tmp_path / "credential")
    assert read_secret(tmp_path / "credential", managed=True) == made


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 1_025])
def test_an_empty_or_endless_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty passphrase is no passphrase."""
    write_once(tmp_path / "credential", content)
    with pytest.raises(Rejected):
        read_secret(tmp_path / "credential")


def test_the_secret_is_looked_for_in_order(tmp_path: Path) -> None:
    """Named file, service manager's folder, signer's folder."""
    managed, folder = tmp_path / "credentials", tmp_path / "signer"
    managed.mkdir()
    environment = {"CREDENTIALS_DIRECTORY": str(managed)}
    assert find_secret(tmp_path / "x", environment, folder=folder) == (tmp_path / "x", False)
    assert find_secret(managed / "x", environment, folder=folder) == (managed / "x", True)
    assert find_secret(None, environment, folder=folder) == (folder / "credential", False)
    (managed / "treasuryd-key").write_bytes(SECRET)
    assert find_secret(None, environment, folder=folder) == (managed / "treasuryd-key", True)
    assert find_secret(None, {}, folder=folder) == (folder / "credential", False)


def test_a_key_never_shows_itself() -> None:
    """Neither printed nor pickled."""
    raw = bytes(range(32))
    key = Key(Ed25519PrivateKey.from_private_bytes(raw))
    assert raw.hex() not in f"{key!r} {key} {[key]}"
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(key)
