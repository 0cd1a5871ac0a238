import signal
import subprocess
import sys
from pathlib import Path

import pytest

from treasuryd.errors import Corrupt
from treasuryd.host.lockfile import Standing, folder_id, machine_id, try_lock

HOLDER = """
import sys, pathlib
from treasuryd.host.lockfile import try_lock
lock = try_lock(pathlib.Path(sys.argv[1]))
print("held" if lock else "not held", flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_does_not_get_the_lock_and_does_not_wait(tmp_path: Path) -> None:
    """The holder may be stopped and wake up: whoever waits would pay beside it."""
    with holder(tmp_path) as process:
        assert try_lock(tmp_path) is None
        process.communicate("")


def test_a_killed_holder_leaves_the_lock_free_at_once(tmp_path: Path) -> None:
    """D14: holding the lock proves the previous process dead, however it died."""
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock = try_lock(tmp_path)
        assert lock is not None
        assert lock.held
        lock.close()


def test_a_standby_hears_of_the_holders_death_at_its_next_question(tmp_path: Path) -> None:
    """Two daemons on one folder: who waits for the other need not wait out the lease when the other dies."""
    with holder(tmp_path) as process:
        alone = Standing(tmp_path)
        assert not alone()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert alone()
    assert try_lock(tmp_path) is None
    alone.close()
    again = try_lock(tmp_path)
    assert again is not None
    again.close()


def test_a_lock_that_cannot_be_tried_again_is_not_ours(tmp_path: Path) -> None:
    """A folder that went away under a standby ends nothing: it stays an ordinary candidate."""
    with holder(tmp_path) as process:
        alone = Standing(tmp_path)
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").mkdir()
        assert not alone()
        alone.close()
        process.communicate("")


def test_a_stopped_holder_keeps_the_lock(tmp_path: Path) -> None:
    """SIGSTOP is not death."""
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        assert try_lock(tmp_path) is None
        process.send_signal(signal.SIGCONT)
        process.communicate("")


def test_closing_lets_go_and_may_be_repeated(tmp_path: Path) -> None:
    """The file itself stays."""
    first = try_lock(tmp_path)
    assert first is not None
    assert try_lock(tmp_path) is None
    first.close()
    first.close()
    assert not first.held
    second = try_lock(tmp_path)
    assert second is not None
    second.close()
    assert (tmp_path / "lock").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message carries the path."""
    with pytest.raises(Corrupt, match="nowhere"):
        try_lock(tmp_path / "nowhere")


def test_a_folder_keeps_its_name(tmp_path: Path) -> None:
    """The second start brings another random id and must not use it."""
    first = folder_id(tmp_path, new_id=lambda: "a" * 32)
    assert first == folder_id(tmp_path, new_id=lambda: "b" * 32)
    assert first.startswith("a" * 32)
    assert [path.name for path in tmp_path.iterdir()] == ["state.id"]


def test_a_copied_folder_has_another_name(tmp_path: Path) -> None:
    """The lock of the copy says nothing about the process that uses the original."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    name = folder_id(original, new_id=lambda: "a" * 32)
    (copy / "state.id").write_text((original / "state.id").read_text())
    assert name != folder_id(copy, new_id=lambda: "b" * 32)


def test_a_removed_lock_file_proves_nobody_dead(tmp_path: Path) -> None:
    """§6.6: whoever locks the new file must not take the holder of the old one for dead."""
    with holder(tmp_path) as process:
        before = folder_id(tmp_path, new_id=lambda: "a" * 32)
        assert before == folder_id(tmp_path, new_id=lambda: "b" * 32)
        (tmp_path / "lock").unlink()
        alone = Standing(tmp_path)
        assert alone()
        assert before != folder_id(tmp_path, new_id=lambda: "c" * 32)
        alone.close()
        process.communicate("")


def test_a_damaged_folder_id_is_refused_with_advice(tmp_path: Path) -> None:
    """Guessing a name could make two folders one."""
    (tmp_path / "state.id").write_text("no id")
    with pytest.raises(Corrupt, match=r"state\.id") as caught:
        folder_id(tmp_path, new_id=lambda: "a" * 32)
    assert "Remove the file" in caught.value.hint


def test_the_machine_keeps_its_name_and_its_secret(tmp_path: Path) -> None:
    """machine-id(5): the id itself is confidential, a hash of it is not."""
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    name = machine_id([tmp_path / "missing", file])
    assert name == machine_id([file])
    assert len(name) == 32
    assert "0123456789abcdef" not in name
    file.write_text("fedcba9876543210fedcba9876543210\n")
    assert name != machine_id([file])


@pytest.mark.parametrize("content", ["", "uninitialized\n"])
def test_a_machine_without_an_id_falls_back_on_its_hardware(tmp_path: Path, content: str) -> None:
    """Containers ship an empty file, first boots an uninitialised one."""
    file = tmp_path / "machine-id"
    file.write_text(content)
    assert machine_id([file], fallback=lambda: "this") != machine_id([file], fallback=lambda: "that")
    assert machine_id([file]) == machine_id([file])
