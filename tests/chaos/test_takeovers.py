"""Ends that are asked for, and who goes on: SIGTERM under load, a killed holder, a chain that is away."""

import signal
import time
from pathlib import Path

import pytest
from tests.chaos.clients import Client
from tests.chaos.fleet import CANDIDATE_WAIT_SECONDS, Fleet, Program
from tests.chaos.pauses import leading
from tests.chaos.witness import Witness
from tests.reach import until


def finishes(fleet: Fleet, witness: Witness, client: Client) -> None:
    client.finish()
    until("every order is answered", client.settle, seconds=30)
    until("every disbursement ended", witness.ended, seconds=60)
    assert witness.verdict([client]) == []


def claimed_by(one: Program, ground: str) -> bool:
    return any(line.get("ground") == ground for line in one.life.named("lease_claimed"))


@pytest.mark.timeout(180)
def test_whoever_leads_may_be_stopped_in_order_or_killed_at_any_time(tmp_path: Path) -> None:
    """
    Three ends of a leader under load, in one fleet: SIGTERM, SIGKILL, the chain's absence.

    In order: exit 0, the lease given back, the next one at once. Killed on a shared folder: the lock says so at once.
    Without a chain: nobody ends, nothing is lost.
    """
    with Fleet(tmp_path, lookup=True, names="AB") as fleet:
        witness = Witness(fleet)
        client = Client(fleet, "takeovers", waiting=witness.waiting, seconds=(0.02, 0.1))
        client.start()
        first, second = fleet.daemons

        assert leading(fleet, witness) is first
        first.send(signal.SIGTERM)
        life = first.life
        assert life.process.wait(timeout=15) == 0
        assert life.heard_out.wait(5.0)
        events = [str(line["event"]) for line in life.lines]
        assert events.index("treasuryd.stopping") < events.index("treasuryd.lease_released")
        assert events[-1] == "treasuryd.stopped"
        took = until("the successor leads", lambda: claimed_by(second, "released"), seconds=10)
        assert took < CANDIDATE_WAIT_SECONDS

        first.started()
        leader = leading(fleet, witness)  # both are ready: a starved leader may have stepped back meanwhile
        (heir,) = [one for one in fleet.daemons if one is not leader]
        leader.kill()
        took = until("the lock tells of the death", lambda: claimed_by(heir, "predecessor_dead"), seconds=10)
        assert took < CANDIDATE_WAIT_SECONDS

        fleet.devnet.kill()
        time.sleep(2.0)
        assert heir.alive
        fleet.devnet.started()
        leader.started()
        finishes(fleet, witness, client)
        assert len(witness.offered()) >= len(witness.mined()) > 0


@pytest.mark.timeout(180)
def test_a_standby_on_another_folder_waits_until_the_lease_is_silent(tmp_path: Path) -> None:
    """§6.1: no lock tells it of the death; it takes over what nobody renewed for the candidate wait, and not before."""
    with Fleet(tmp_path, lookup=False, names="AC") as fleet:
        witness = Witness(fleet)
        client = Client(fleet, "silence", waiting=witness.waiting, seconds=(0.02, 0.1))
        client.start()
        leader = leading(fleet, witness)
        (other,) = [one for one in fleet.daemons if one is not leader]
        leader.kill()
        died = time.monotonic()
        until("the lease was silent for long enough", lambda: claimed_by(other, "silent"), seconds=20)
        assert time.monotonic() - died > CANDIDATE_WAIT_SECONDS / 2
        leader.started()
        finishes(fleet, witness, client)
