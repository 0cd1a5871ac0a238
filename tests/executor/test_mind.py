"""What the executor shows of itself."""

from tests.fakes import FakeClock

from treasuryd.core.epochs import Belief
from treasuryd.core.model import (
    AccountId,
    BootSeconds,
    Epoch,
    Height,
    Held,
    Incarnation,
    Lease,
    Snapshot,
    Term,
    UnixSeconds,
)
from treasuryd.executor.mind import Mind


def belief(*, believed: int, reported: int) -> Belief:
    return Belief(
        believed=Height(believed),
        settled=Epoch(0),
        seen=Epoch(0),
        reported=Height(reported),
        lowest=Height(believed),
        risen_boot=BootSeconds(0.0),
    )


def test_claimed_and_believed_height_are_of_one_reading() -> None:
    """In the middle of a tick, with the new head read and the tick not done, nothing looks unbelieved."""
    clock = FakeClock()
    mind = Mind(clock=clock, poll_seconds=5.0, fed_boot=clock.boot_seconds())
    mind.belief = belief(believed=160, reported=160)  # `mind.at` still is the tick before, or none at all

    vitals = mind.vitals()

    assert (vitals.reported_height, vitals.believed_height) == (160, 160)


def test_a_claim_beyond_belief_shows() -> None:
    """R16: the excess is visible to people."""
    clock = FakeClock()
    mind = Mind(clock=clock, poll_seconds=5.0, fed_boot=clock.boot_seconds())
    mind.belief = belief(believed=160, reported=9_000)

    vitals = mind.vitals()

    assert (vitals.reported_height, vitals.believed_height) == (9_000, 160)


def test_only_a_leader_tells_whether_nodes_agree() -> None:
    """A standby reads no heads: what it saw when it led would never end."""
    clock = FakeClock()
    mind = Mind(clock=clock, poll_seconds=1, fed_boot=clock.boot_seconds())
    assert mind.vitals().agreement is None
    lease = Lease(account=AccountId("treasury"), incarnation=Incarnation("me"), term=Term(1))
    mind.held = Held(leases={lease.account: lease}, until=BootSeconds(clock.boot_seconds() + 5))
    assert mind.vitals().agreement == mind.agreement


def test_only_a_leader_has_a_picture_of_its_own() -> None:
    """A standby ticks nothing: what people see of it is the stored snapshot."""
    clock = FakeClock()
    mind = Mind(clock=clock, poll_seconds=1, fed_boot=clock.boot_seconds())
    mind.snapshot = Snapshot(last_tick_at=UnixSeconds(5.0))
    assert mind.picture() is None
    lease = Lease(account=AccountId("treasury"), incarnation=Incarnation("me"), term=Term(1))
    mind.held = Held(leases={lease.account: lease}, until=BootSeconds(clock.boot_seconds() + 5))
    assert mind.picture() == mind.snapshot


def test_only_a_leader_tells_what_its_signer_waits_for() -> None:
    """Whoever lost its lease within a tick was refused for its term: no person has to act on that, and no tick ends it."""
    clock = FakeClock()
    mind = Mind(clock=clock, poll_seconds=1, fed_boot=clock.boot_seconds())
    lease = Lease(account=AccountId("treasury"), incarnation=Incarnation("me"), term=Term(1))
    mind.held = Held(leases={lease.account: lease}, until=BootSeconds(clock.boot_seconds() + 5))
    mind.signer_waits = "term 1 of treasury; term 2 was seen"
    assert mind.vitals().signer_waits == mind.signer_waits
    mind.held = Held()
    assert mind.vitals().signer_waits == ""
