"""A disk that is full, or read-only, for real: small file systems are mounted, which needs root (the pipeline is)."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.chaos.io.conftest import Figures
from tests.chaos.io.daemon import Chain, Payer, mounted
from tests.matrix import Row
from tests.reach import until

from treasuryd.errors import Exit

KIB = 1024
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"),  # in the pipeline a missing right is a failure
    reason="mounting a small file system needs root",
)


def fill(folder: Path, leave: int) -> Path:
    """Use up a small file system but for some bytes; answers the file that does it."""
    filler = folder / "filler"
    size = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - leave
    with filler.open("wb") as file:
        file.write(bytes(max(0, size)))
    return filler


@pytest.mark.matrix(Row.DISK_FULL)
@pytest.mark.parametrize(
    ("what", "setting", "says"),
    [
        pytest.param("state", "", "disk is full", id="the state folder, all in it"),
        pytest.param("signer", '[signer]\nfolder = "{full}"', "disk is full", id="the signer's ledger alone"),
        pytest.param("journal", "", "Make room on that disk", id="the journal's copy alone"),
    ],
)
def test_a_full_disk_ends_the_daemon_and_room_lets_it_go_on(
    what: str,
    setting: str,
    says: str,
    chain: Chain,
    tmp_path: Path,
    figures: Figures,
    injected: Callable[[int], None],
) -> None:
    """Filled while it pays: it ends with exit 74 and says what to do; with room again all is paid once."""
    full, state = tmp_path / "small", tmp_path / "state"
    with (
        mounted(full, "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs"),
        Payer(chain, full if what == "state" else state, tmp_path, setting.format(full=full)) as payer,
    ):
        if what == "journal":
            state.mkdir(mode=0o700)
            (state / "journal").symlink_to(full)
        payer.started()
        assert payer.submit(3)
        payer.pays_everything_once()

        filler = fill(full, leave=48 * KIB)
        until(
            "the disk is full",
            lambda: not payer.submit(4, size=2_000),
            seconds=30,
            else_show=payer.said,
        )
        assert payer.ended() == Exit.STORAGE, payer.said()
        assert says in payer.said().rsplit("treasuryd: ", 1)[-1]

        filler.unlink()
        payer.started()
        payer.pays_everything_once()
        assert payer.stopped() == Exit.DONE
    figures[f"full disks, {what}"] = {"times": 1, "paid twice, lost or stuck": 0}
    injected(1)


@pytest.mark.matrix(Row.DISK_FULL)
def test_a_read_only_disk_is_told_of_at_the_start(chain: Chain, tmp_path: Path) -> None:
    """A mount that failed half-way must not look like a bug: exit 74, and where to look."""
    state = tmp_path / "state"
    with Payer(chain, state, tmp_path) as payer:
        payer.started()
        assert payer.submit(2)
        payer.pays_everything_once()
        assert payer.stopped() == Exit.DONE
        with mounted(state, "--bind", str(state)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(state)], check=True)
            payer.start()
            assert payer.ended() == Exit.STORAGE, payer.said()
            last = payer.said().rsplit("treasuryd: ", 1)[-1]
            assert "Check that the state folder exists" in last or "local disk" in last, last
            assert "Traceback" not in payer.said()
        payer.started()
        payer.pays_everything_once()


@pytest.mark.matrix(Row.DISK_FULL)
def test_a_disk_that_turns_read_only_ends_the_daemon(chain: Chain, tmp_path: Path) -> None:
    """What Linux does to a failing disk (`errors=remount-ro`), while it pays; writable again, all is paid once."""
    state = tmp_path / "state"
    with Payer(chain, state, tmp_path) as payer:
        payer.started()
        assert payer.submit(3)
        payer.pays_everything_once()
        with mounted(state, "--bind", str(state)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(state)], check=True)
            payer.submit(3)
            assert payer.ended() == Exit.STORAGE, payer.said()
            assert "Traceback" not in payer.said()
        payer.started()
        payer.pays_everything_once()
        assert payer.stopped() == Exit.DONE
