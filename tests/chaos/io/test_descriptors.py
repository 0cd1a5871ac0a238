"""File descriptors run out: connections to the HTTP port take them all, or as many as its bound lets them."""

import contextlib
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.chaos.io.conftest import Figures
from tests.chaos.io.daemon import Chain, Payer
from tests.matrix import Row
from tests.reach import until

from treasuryd.errors import Exit

CONNECTIONS: Final = 400


def crowd(stack: contextlib.ExitStack, port: int, count: int) -> int:
    """Open connections that say nothing; answers how many were taken by the system."""
    opened = 0
    for _ in range(count):
        link = stack.enter_context(socket.socket())
        link.settimeout(0.5)
        with contextlib.suppress(OSError):
            link.connect(("127.0.0.1", port))
            opened += 1
    return opened


def descriptors(payer: Payer) -> int:
    assert payer.process is not None
    return len(list(Path(f"/proc/{payer.process.pid}/fd").iterdir()))


def limit(payer: Payer, most: int) -> None:
    assert payer.process is not None
    resource.prlimit(payer.process.pid, resource.RLIMIT_NOFILE, (most, most))


def test_the_bound_of_connections_leaves_descriptors_for_the_work(
    chain: Chain, tmp_path: Path, figures: Figures
) -> None:
    """Four hundred silent connections: 128 are kept, the others are turned away, and payments go on meanwhile."""
    with Payer(chain, tmp_path / "state", tmp_path) as payer, contextlib.ExitStack() as stack:
        payer.started()
        assert payer.submit(5)
        before = descriptors(payer)
        assert crowd(stack, payer.port, CONNECTIONS) > CONNECTIONS * 3 // 4
        until("they were turned away", lambda: descriptors(payer) <= before + 140, seconds=10)
        until("all is paid", lambda: sum(chain.payments(payer.account).values()) == 5, seconds=60)
        stack.close()
        payer.pays_everything_once()
        assert payer.stopped() == Exit.DONE
    figures["connections at once"] = {"opened": CONNECTIONS, "paid twice, lost or stuck": 0}


@pytest.mark.matrix(Row.DISK_FULL)
def test_without_descriptors_it_ends_in_order_or_lives_on(
    chain: Chain, tmp_path: Path, rounds: int, figures: Figures, injected: Callable[[int], None]
) -> None:
    """None left for the rollback journal or for the node: no payment is lost or doubled, whichever way it ends."""
    ends: list[str] = []
    with Payer(chain, tmp_path / "state", tmp_path) as payer:
        for spare in (0, 2, 1, 4)[: 1 + rounds]:
            payer.started()
            assert payer.submit(3)
            with contextlib.ExitStack() as stack:
                limit(payer, descriptors(payer) + spare)
                crowd(stack, payer.port, 30)
                assert payer.process is not None
                with contextlib.suppress(AssertionError):
                    payer.ended(seconds=3)
                ends.append(str(payer.process.poll()))
            if payer.process.poll() is None:
                limit(payer, 1024)
                payer.pays_everything_once()
                assert payer.stopped() == Exit.DONE
            else:
                assert payer.process.returncode == Exit.STORAGE, payer.said()
                assert "Traceback" not in payer.said()
        payer.started()
        payer.pays_everything_once()
    figures["descriptors exhausted"] = {"times": len(ends), "ends": ends, "paid twice, lost or stuck": 0}
    injected(len(ends))


def test_a_limit_too_low_for_its_own_bounds_is_raised_or_refused(chain: Chain, tmp_path: Path) -> None:
    """The connections that it would take must not be able to starve the store: said at the start, not at night."""
    with Payer(chain, tmp_path / "state", tmp_path) as payer:
        payer.start(before=("prlimit", "--nofile=100:100"))
        assert payer.ended() == Exit.CONFIGURATION, payer.said()
        assert "http.max_connections" in payer.said()
        payer.started(before=("prlimit", "--nofile=100:4096"))
        assert payer.process is not None
        soft, _ = resource.prlimit(payer.process.pid, resource.RLIMIT_NOFILE)
        assert soft > 128
        assert payer.stopped() == Exit.DONE
