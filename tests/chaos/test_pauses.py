"""A leader that stands still past its lease and wakes up: fenced, or ended by its watchdog; never a stale write."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.chaos.clients import Client
from tests.chaos.fleet import TTL_SECONDS, Fleet
from tests.chaos.pauses import End, Pause, Where, leading, pause
from tests.chaos.witness import Witness
from tests.matrix import Row
from tests.reach import until

EARLIEST_SECONDS = TTL_SECONDS - 0.4 - 0.55  # the last renewal, and the time that a writer was kept waiting
PAUSES = (Where.WRITING, Where.SENDING, Where.WRITING, Where.ANYWHERE, Where.WRITING)


def pauses_of(folder: Path, where: tuple[Where, ...], *, lookup: bool) -> list[Pause]:
    """Pause one leader after the other while payments are wanted; all that was approved is paid once in the end."""
    with Fleet(folder, lookup=lookup, names="AC") as fleet:
        witness = Witness(fleet)
        client = Client(fleet, f"pauses {lookup}", waiting=witness.waiting, seconds=(0.05, 0.2))
        client.start()
        found = [pause(fleet, witness, one) for one in where]
        client.finish()
        until("every order is answered", client.settle, seconds=30)
        until("every disbursement ended", witness.ended, seconds=60)
        assert witness.verdict([client]) == []
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Pause]:
    """Both fleets' pauses, made once for all tests here."""
    folder: Path = tmp_path_factory.mktemp("pauses")
    with ThreadPoolExecutor() as both:
        runs = [
            both.submit(pauses_of, folder / f"lookup {lookup}", PAUSES, lookup=lookup)
            for lookup in (True, False)
        ]
        return [one for run in runs for one in run.result()]


@pytest.mark.timeout(360)
@pytest.mark.matrix(Row.STALE_LEADER)
def test_a_leader_that_slept_past_its_lease_writes_nothing(
    found: list[Pause], injected: Callable[[int], None]
) -> None:
    """SIGSTOP, a takeover by the other, SIGCONT: what it had under way is fenced, and nothing of it is written."""
    assert len(found) == 2 * len(PAUSES)
    assert [one for one in found if one.stale_writes or one.fresh_bytes] == []
    assert all(one.takeover_seconds > EARLIEST_SECONDS for one in found)
    assert {one.end for one in found if one.where is Where.WRITING} == {End.FENCED}
    injected(len(found))


@pytest.mark.matrix(Row.BOTH_SEND)
def test_both_leaders_may_send_and_send_the_same_bytes(
    found: list[Pause], injected: Callable[[int], None]
) -> None:
    """The node held the old leader's call back until the new one had sent; each was paid once (`pauses_of` judged it)."""
    times = sum(one.both_sent for one in found)
    assert times > 0
    injected(times)


@pytest.mark.timeout(120)
@pytest.mark.matrix(Row.STALE_LEADER)
def test_a_leader_whose_loop_is_stuck_is_ended_by_its_watchdog(tmp_path: Path) -> None:
    """Its threads live on, and one of them ends it: with 75, in words, and before its successor's first payment."""
    with Fleet(tmp_path, lookup=True, names="AC") as fleet:
        witness = Witness(fleet)
        client = Client(fleet, "stuck", waiting=witness.waiting, seconds=(0.05, 0.2))
        client.start()
        stale = leading(fleet, witness)
        config = fleet.config_of(stale.name)
        text = config.read_text()
        config.unlink()
        os.mkfifo(config)  # a reload opens it and waits for ever, in the middle of the loop
        life = stale.life
        stale.send(signal.SIGHUP)
        until("the watchdog ends it", lambda: not life.alive, seconds=15.0)
        ended = time.monotonic()
        assert life.process.returncode == 75
        assert life.heard_out.wait(5.0)
        assert "the loop has not noticed" in stale.tail()
        until("the other one leads", lambda: witness.leader() not in {life.pid, None}, seconds=15.0)
        claims = [line for one in fleet.daemons for line in one.life.named("lease_claimed")]
        assert time.monotonic() - ended < 15.0
        assert claims
        config.unlink()
        config.write_text(text)
        stale.started()
        client.finish()
        until("every order is answered", client.settle, seconds=30)
        until("every disbursement ended", witness.ended, seconds=60)
        assert witness.verdict([client]) == []
