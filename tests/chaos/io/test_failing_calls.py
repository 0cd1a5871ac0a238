"""A write or a sync of a real daemon fails: it ends with exit 74 and says why; the next start pays everything once."""

import errno
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.chaos.io import shim
from tests.chaos.io.conftest import Figures, spoilt
from tests.chaos.io.daemon import Chain, Payer
from tests.chaos.io.shim import Operation, Rule
from tests.matrix import Row
from tests.reach import until

from treasuryd.errors import Exit

AT_ONCE: Final = 2  # daemons beside each other


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to fail: which calls on which files, after how many of them, and what the daemon has to say of it."""

    part: str
    operations: Operation
    error: int
    says: str
    after: int = 0
    lasting: bool = False


STORE = "treasuryd.db"  # with its journal or log
LEDGER = "signer/ledger.db"
COPY = "state/journal/"
FULL = "disk is full"
FAULTS: Final = {
    "the store, one failed sync": Fault(
        part=STORE, operations=Operation.SYNC, error=errno.EIO, says="the database"
    ),
    "the store, syncs fail from the third on": Fault(
        part=STORE, operations=Operation.SYNC, error=errno.EIO, says="the database", after=2, lasting=True
    ),
    "the store, no room": Fault(
        part=STORE, operations=Operation.WRITE, error=errno.ENOSPC, says=FULL, after=3, lasting=True
    ),
    "the store, one failed write": Fault(
        part=STORE, operations=Operation.WRITE, error=errno.EIO, says="the database", after=5
    ),
    "the ledger, one failed sync": Fault(
        part=LEDGER, operations=Operation.SYNC, error=errno.EIO, says="the database", after=1
    ),
    "the ledger, no room": Fault(
        part=LEDGER, operations=Operation.WRITE, error=errno.ENOSPC, says=FULL, lasting=True
    ),
    "the copy, one failed sync": Fault(
        part=COPY, operations=Operation.SYNC, error=errno.EIO, says="the journal's copy"
    ),
    "the copy, no room": Fault(
        part=COPY, operations=Operation.WRITE, error=errno.ENOSPC, says="the journal's copy", after=4, lasting=True
    ),
}  # fmt: skip


@pytest.mark.timeout(3_600)
@pytest.mark.matrix(Row.DISK_FULL, Row.COMMIT_UNKNOWN)
@pytest.mark.parametrize("place", ["the store", "the ledger", "the copy"])
def test_a_storage_error_ends_the_daemon_and_the_next_start_pays_once(
    place: str,
    chain: Chain,
    library: Path,
    tmp_path: Path,
    rounds: int,
    figures: Figures,
    injected: Callable[[int], None],
) -> None:
    """§7: exit 74, one sentence and a hint; nothing more is written; what was answered is there, and paid once."""
    named = [(name, fault) for name, fault in FAULTS.items() if name.startswith(place)]
    draw = random.Random(place)
    faults = [
        (f"{name}, {number}", fault, fault.after if number == 0 else draw.randrange(60))
        for number in range(min(rounds, 6))
        for name, fault in named
    ]

    def suffer(one: tuple[str, Fault, int]) -> None:
        name, fault, after = one
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        _suffers(chain, library, folder, fault, after)

    _at_once(suffer, faults)
    figures[f"failing calls of a daemon, {place}"] = {"faults": len(faults), "paid twice, lost or stuck": 0}
    injected(len(faults))


def _at_once(do: Callable[[tuple[str, Fault, int]], None], faults: Iterable[tuple[str, Fault, int]]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(do, faults))


def _suffers(chain: Chain, library: Path, folder: Path, fault: Fault, after: int) -> None:
    rule = Rule(folder / "rule")
    state = folder / "state"
    with Payer(chain, state, folder) as payer:
        payer.started(shim.environment(library, folder, rule))
        assert payer.submit(3)
        payer.pays_everything_once()

        rule.arm(fault.operations, fault.part, error=fault.error, after=after, lasting=fault.lasting)
        until("it fails", lambda: not payer.submit(2) or rule.hits, seconds=30, else_show=payer.said)

        assert payer.ended() == Exit.STORAGE, payer.said()
        assert rule.hits >= 1
        last = payer.said().rsplit("treasuryd: ", 1)[-1]  # the sentence for a person, and its hint
        assert fault.says in last, last
        assert last.count("\n") >= 2, last
        assert "Traceback" not in payer.said()

        rule.disarm()
        payer.started()
        payer.pays_everything_once()
        assert payer.stopped() == Exit.DONE


@pytest.mark.matrix(Row.DISK_FULL)
def test_short_writes_are_finished(chain: Chain, library: Path, tmp_path: Path) -> None:
    """A write of half the bytes is no error: the rest is written behind it, of each of the three."""
    rule = Rule(tmp_path / "rule").arm(Operation.WRITE, error=0)
    with Payer(chain, tmp_path / "state", tmp_path) as payer:
        payer.started(shim.environment(library, tmp_path, rule))
        payer.submit(10)
        payer.pays_everything_once()
        assert payer.stopped() == Exit.DONE
        assert rule.hits > 100
        payer.started()
        payer.pays_everything_once()


@pytest.mark.timeout(3_600)
@pytest.mark.matrix(Row.DISK_FULL, Row.COMMIT_UNKNOWN)
@pytest.mark.parametrize(("mode", "stride"), [("persist", 240), ("wal", 120)])
def test_whichever_call_fails_the_process_ends_and_the_next_one_pays_once(
    mode: str,
    stride: int,
    library: Path,
    tmp_path: Path,
    rounds: int,
    figures: Figures,
    injected: Callable[[int], None],
) -> None:
    """In process, at the n-th sync, write, cut, making or removal of a file: no failed write or sync goes unnoticed."""
    found = spoilt(library, tmp_path, "--mode", mode, "--sweep", str(max(7, stride // rounds)))
    figures[f"failing calls in process, {mode}"] = {name: found[name] for name in ("failed_calls", "broken")}
    injected(found["failed_calls"])
    assert found["failed_calls"] >= 15
    assert found["failing"] == []
