import inspect
import typing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from treasuryd.core import lease as lease_module
from treasuryd.core.lease import (
    Ground,
    Timing,
    Watched,
    claimant,
    claimed,
    ground_to_take,
    renewed,
    takeable,
    watch,
    without,
)
from treasuryd.core.model import (
    AccountId,
    BootSeconds,
    Held,
    Incarnation,
    Lease,
    LeaseSeen,
    Owner,
    Term,
    UnixSeconds,
)
from treasuryd.errors import Rejected

TREASURY = AccountId("treasury")
PAYROLL = AccountId("payroll")
TIMING = Timing()
ME = Owner(holder="a", incarnation=Incarnation("me"), machine="m1", folder="f1")


def at(seconds: float) -> BootSeconds:
    return BootSeconds(seconds)


def row(**changes: Any) -> LeaseSeen:
    seen = LeaseSeen(
        account=TREASURY,
        holder="b",
        incarnation=Incarnation("other"),
        machine="m2",
        folder="f2",
        term=Term(7),
        beat=40,
        released=False,
    )
    return replace(seen, **changes)


def lease_of(account: AccountId = TREASURY, term: int = 7) -> Lease:
    return Lease(account=account, incarnation=ME.incarnation, term=Term(term))


def ground(seen: LeaseSeen, watched: Watched | None, now: float, *, alone: bool = False) -> Ground | None:
    return ground_to_take(seen, watched, ME, alone=alone, timing=TIMING, now=at(now))


# --- when it may be taken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "expected"), [(112.4, None), (112.5, Ground.SILENT)])
def test_an_unchanged_lease_is_taken_after_the_candidate_wait(now: float, expected: Ground | None) -> None:
    """§6.1: TTL and a quarter, by the candidate's own clock."""
    watched = watch({}, [row()], now=at(100.0))
    watched = watch(watched, [row()], now=at(111.0))
    assert ground(row(), watched[TREASURY], now) == expected


@pytest.mark.parametrize("change", [{"beat": 41}, {"term": Term(8)}])
def test_a_lease_that_moved_is_watched_anew(change: dict[str, Any]) -> None:
    """§6.1: only changes of (term, beat) mean anything."""
    watched = watch({}, [row()], now=at(100.0))
    moved = row(**change)
    watched = watch(watched, [moved], now=at(112.0))
    assert ground(moved, watched[TREASURY], 113.0) is None
    assert ground(moved, watched[TREASURY], 124.5) is Ground.SILENT


def test_a_lease_never_watched_is_not_taken() -> None:
    """The first look proves no silence, however late it comes."""
    assert ground(row(), None, 1e9) is None


def test_a_watch_of_an_older_value_proves_nothing() -> None:
    """The row moved between the watch and the decision."""
    assert ground(row(beat=41), Watched(term=Term(7), beat=40, since=at(0.0)), 1e9) is None


def test_what_is_no_longer_asked_for_is_forgotten() -> None:
    """The memory of a candidate is as large as its question."""
    watched = watch({}, [row(), row(account=PAYROLL)], now=at(1.0))
    assert watch(watched, [row()], now=at(2.0)).keys() == {TREASURY}


def test_a_released_lease_is_taken_at_once() -> None:
    """D14: the original never released on SIGTERM; a clean stop hands over at once."""
    assert ground(row(released=True), None, 0.0) is Ground.RELEASED


def test_two_starts_of_the_same_name_are_two_owners() -> None:
    """D14: identity was account and process id; here each start has its own incarnation, so one of two holds."""
    twin = row(holder=ME.holder, machine=ME.machine, folder=ME.folder)
    assert ground(twin, None, 5.0) is None


def test_a_killed_process_is_replaced_at_once_on_its_own_folder() -> None:
    """D14: a restart waited out its own TTL; here holding the folder's lock proves the predecessor dead."""
    dead = row(machine=ME.machine, folder=ME.folder)
    assert ground(dead, None, 0.0, alone=True) is Ground.PREDECESSOR_DEAD


@pytest.mark.parametrize(
    ("change", "alone"),
    [
        pytest.param({}, True, id="another machine and folder"),
        pytest.param({"machine": "m1"}, True, id="another folder on this machine"),
        pytest.param({"folder": "f1"}, True, id="a copied folder on another machine"),
        pytest.param({"machine": "m1", "folder": "f1"}, False, id="our folder, but the lock is not ours"),
        pytest.param({"machine": "m1", "folder": ""}, True, id="claimed by a process without the lock"),
    ],
)
def test_the_lock_proves_nothing_about_anybody_else(change: dict[str, Any], alone: bool) -> None:
    """§6.6: machine and folder must both be ours, and so must the lock."""
    assert ground(row(**change), None, 0.0, alone=alone) is None


def test_an_empty_folder_id_is_nobodys() -> None:
    """Two processes that know no folder must not prove each other dead."""
    me = replace(ME, folder="")
    seen = row(machine="m1", folder="")
    assert ground_to_take(seen, None, me, alone=True, timing=TIMING, now=at(0.0)) is None


def test_whoever_has_no_lock_claims_without_naming_the_folder() -> None:
    """A stopped process that wakes with the lock must not take the living claimant for dead."""
    without_lock = claimant(ME, alone=False)
    assert (without_lock.folder, without_lock.incarnation) == ("", ME.incarnation)
    assert claimant(ME, alone=True) == ME


def test_a_claim_whose_answer_was_lost_is_taken_again() -> None:
    """§9, lost link: the row names this very process, so nobody else can be acting under it."""
    assert ground(row(incarnation=ME.incarnation), None, 0.0) is Ground.OURS


def test_what_is_held_is_not_claimed_again() -> None:
    """Else each beat would raise the term of our own lease."""
    held = Held(leases={TREASURY: lease_of()}, until=at(5.0))
    rows = [row(incarnation=ME.incarnation), row(account=PAYROLL, released=True)]
    found = takeable(rows, {}, ME, held=held, alone=False, timing=TIMING, now=at(0.0))
    assert found == ((rows[1], Ground.RELEASED),)


# --- what is held -------------------------------------------------------------------------------------------------


def test_a_renewal_counts_from_before_it_was_sent() -> None:
    """§6.2, §6.3: however late the answer comes."""
    held = Held(leases={TREASURY: lease_of()}, until=at(5.0))
    held, lost = renewed(held, [lease_of()], asked_at=at(100.0), timing=TIMING)
    assert held.until == 106.5
    assert held.valid(at(106.4))
    assert not held.valid(at(106.5))
    assert not lost


def test_a_lease_missing_from_the_renewal_is_lost_alone() -> None:
    """§4.1: the rows of a lost account fall out alone."""
    held = Held(leases={TREASURY: lease_of(), PAYROLL: lease_of(PAYROLL)}, until=at(5.0))
    held, lost = renewed(held, [lease_of(PAYROLL)], asked_at=at(1.0), timing=TIMING)
    assert held.leases.keys() == {PAYROLL}
    assert lost == {TREASURY}


@pytest.mark.parametrize("answer", [lease_of(term=8), replace(lease_of(), incarnation=Incarnation("other"))])
def test_a_renewal_under_another_term_or_start_is_a_loss(answer: Lease) -> None:
    """D13: a paused holder learns from its first renewal that the lease has passed on."""
    held = Held(leases={TREASURY: lease_of()}, until=at(5.0))
    after, lost = renewed(held, [answer], asked_at=at(20.0), timing=TIMING)
    assert not after.valid(at(20.0))
    assert lost == {TREASURY}


def test_a_late_answer_never_moves_the_deadline_back() -> None:
    """Two renewals may overtake each other."""
    held = Held(leases={TREASURY: lease_of()}, until=at(50.0))
    held, _ = renewed(held, [lease_of()], asked_at=at(40.0), timing=TIMING)
    assert held.until == 50.0


def test_the_first_claim_sets_the_deadline() -> None:
    """An old deadline of leases lost since says nothing about it."""
    held = claimed(Held(until=at(3.0)), [lease_of()], asked_at=at(100.0), timing=TIMING)
    assert held == Held(leases={TREASURY: lease_of()}, until=at(106.5))


def test_a_further_claim_keeps_the_nearer_deadline() -> None:
    """One deadline stands for all leases, so it must be true of each of them."""
    held = Held(leases={PAYROLL: lease_of(PAYROLL)}, until=at(102.0))
    held = claimed(held, [lease_of()], asked_at=at(100.0), timing=TIMING)
    assert held.leases.keys() == {TREASURY, PAYROLL}
    assert held.until == 102.0


def test_a_claim_that_took_nothing_changes_nothing() -> None:
    """Somebody else was faster."""
    held = Held(leases={PAYROLL: lease_of(PAYROLL)}, until=at(102.0))
    assert claimed(held, [], asked_at=at(100.0), timing=TIMING) is held


def test_narrowing_drops_what_was_fenced_and_keeps_the_rest() -> None:
    """R13: zero rows means fenced: stop acting for that account."""
    held = Held(leases={TREASURY: lease_of(), PAYROLL: lease_of(PAYROLL)}, until=at(5.0))
    assert without(held, [TREASURY, AccountId("unknown")]) == Held(
        leases={PAYROLL: lease_of(PAYROLL)}, until=at(5.0)
    )


# --- settings -----------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_protocol() -> None:
    """TTL 10, renewed every 3, guarded until 6.5, taken after 12.5 seconds."""
    assert (
        Timing(ttl_seconds=10, renew_seconds=3, renew_deadline_seconds=6.5, candidate_wait_seconds=12.5)
        == Timing()
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"renew_seconds": 0.0}, "renew_seconds"),
        ({"renew_seconds": 3.3}, "renew_deadline_seconds"),
        ({"renew_deadline_seconds": 10.0}, "ttl_seconds"),
        ({"ttl_seconds": 10.1}, "candidate_wait_seconds"),
        ({"candidate_wait_seconds": float("inf")}, "candidate_wait_seconds"),
        ({"ttl_seconds": float("nan")}, "ttl_seconds"),
    ],
)
def test_an_inequality_that_does_not_hold_is_named(change: dict[str, float], named: str) -> None:
    """§6: all are settings, their inequalities are checked at start."""
    with pytest.raises(Rejected, match=named) as caught:
        Timing(**change)
    assert caught.value.field == named


# --- clocks -------------------------------------------------------------------------------------------------------


def test_the_ends_of_each_range_are_allowed() -> None:
    """A range says what is allowed, its ends included."""
    least = Timing(renew_seconds=0.5, renew_deadline_seconds=1.0, ttl_seconds=1.2, candidate_wait_seconds=1.5)
    assert replace(least, candidate_wait_seconds=100.0).ttl_seconds == 1.2


def test_all_that_may_be_taken_is_named_each_by_its_own_watch() -> None:
    """One lease silent, one that was never watched, one whose holder is proved dead by the folder's lock."""
    dead = row(account=PAYROLL, machine="m1", folder="f1")
    rows = [row(), row(account=AccountId("new")), dead]
    seen = watch({}, rows[:1], now=at(0.0))
    found = takeable(
        rows, seen, ME, held=Held(leases={}, until=at(0.0)), alone=True, timing=TIMING, now=at(12.5)
    )
    assert [(one.account, why) for one, why in found] == [
        (TREASURY, Ground.SILENT),
        (PAYROLL, Ground.PREDECESSOR_DEAD),
    ]


def test_no_wall_clock_comes_near_a_lease() -> None:
    """D15: the original compared stored wall-clock seconds, so a stepped clock moved the lease."""
    functions = [
        value
        for _, value in inspect.getmembers(lease_module, inspect.isfunction)
        if value.__module__ == lease_module.__name__
    ]
    hints = [hint for one in functions for hint in typing.get_type_hints(one).values()]
    assert len(functions) >= 7
    assert UnixSeconds not in hints
    assert not any("unix" in name for one in functions for name in inspect.signature(one).parameters)


# --- several processes against each other ---------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Row:
    """The store's row: a compare-and-swap on (term, beat), nothing more."""

    owner: Owner | None = None
    term: int = 0
    beat: int = 0
    released: bool = True
    moved_at: float = 0.0  # true time of the last change, for the checks alone

    def seen(self) -> LeaseSeen:
        owner = self.owner or Owner(holder="", incarnation=Incarnation(""), machine="", folder="")
        return LeaseSeen(
            account=TREASURY,
            holder=owner.holder,
            incarnation=owner.incarnation,
            machine=owner.machine,
            folder=owner.folder,
            term=Term(self.term),
            beat=self.beat,
            released=self.released,
        )


@dataclass(slots=True, kw_only=True)
class Process:
    """One process: its own boot clock (an offset, and a rate that is a little wrong), what it holds and remembers."""

    owner: Owner
    lock: bool
    offset: float
    rate: float
    alive: bool = True
    held: Held = field(default_factory=Held)
    watched: dict[AccountId, Watched] = field(default_factory=dict)
    # a question that is on its way: its kind, when it was asked by the own clock, the row as it was read
    asked: tuple[str, float, LeaseSeen | None] | None = None

    def boot(self, now: float) -> BootSeconds:
        return BootSeconds(self.offset + self.rate * now)


class LeaseAmongProcesses(RuleBasedStateMachine):
    """
    Three processes, pauses and late answers anywhere, wall clocks that nobody reads.

    Two of them share a machine and a state folder, whose lock is with whoever of them started first.
    """

    @initialize(rates=st.lists(st.sampled_from([0.92, 1.0, 1.08]), min_size=3, max_size=3))
    def start(self, rates: list[float]) -> None:
        self.now = 0.0
        self.row = Row()
        self.started = 0
        self.rates = rates
        self.places = [("m1", "f1"), ("m1", "f1"), ("m2", "f2")]
        self.locks: dict[tuple[str, str], Process] = {}
        self.processes = [self._new(number) for number in range(3)]

    def _new(self, number: int) -> Process:
        self.started += 1
        machine, folder = self.places[number]
        holder = self.locks.get((machine, folder))
        free = holder is None or not holder.alive
        process = Process(
            owner=Owner(
                holder="same name",
                incarnation=Incarnation(f"start-{self.started}"),
                machine=machine,
                folder=folder,
            ),
            lock=free,
            offset=1_000.0 * self.started,
            rate=self.rates[number],
        )
        if free:
            self.locks[machine, folder] = process
        return process

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 6.0, 13.0, 40.0]))
    def time_passes_and_nobody_runs(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(0, 2), cleanly=st.booleans())
    def a_process_ends_and_starts_anew(self, number: int, cleanly: bool) -> None:
        process = self.processes[number]
        if cleanly and process.held.leases and self._holder() == process.owner.incarnation:
            self.row.released = True
            self.row.beat += 1
            self.row.moved_at = self.now
        process.alive = False
        self.processes[number] = self._new(number)

    @rule(number=st.integers(0, 2))
    def a_process_beats(self, number: int) -> None:
        self.a_process_asks(number)
        self.the_store_answers(number)

    @rule(number=st.integers(0, 2), times=st.integers(1, 4))
    def a_process_beats_on_time_while_another_is_away(self, number: int, times: int) -> None:
        for _ in range(times):
            self.a_process_beats(number)
            self.now += TIMING.renew_seconds

    @rule(number=st.integers(0, 2))
    def a_process_asks(self, number: int) -> None:
        """Send a renewal, or a claim if it may; nothing has reached the store yet."""
        process = self.processes[number]
        if process.held.leases:
            process.asked = ("renew", process.boot(self.now), None)
            return
        seen = self.row.seen()
        process.watched = watch(process.watched, [seen], now=process.boot(self.now))
        found = takeable(
            [seen],
            process.watched,
            process.owner,
            held=process.held,
            alone=process.lock,
            timing=TIMING,
            now=process.boot(self.now),
        )
        if found:
            self._check_ground(process, found[0][1])
            process.asked = ("claim", process.boot(self.now), seen)

    def _check_ground(self, process: Process, why: Ground) -> None:
        holder = self.row.owner
        living = [
            one for one in self.processes if one.alive and one.owner.incarnation != process.owner.incarnation
        ]
        if why is Ground.SILENT:
            silent = (self.now - self.row.moved_at) * process.rate
            assert silent >= TIMING.candidate_wait_seconds - 1e-6
        if why is Ground.PREDECESSOR_DEAD:
            assert holder is not None
            assert holder.incarnation not in {one.owner.incarnation for one in living}

    @rule(number=st.integers(0, 2))
    def the_store_answers(self, number: int) -> None:
        """The question reaches the store and its answer the process, however late both are."""
        process = self.processes[number]
        if process.asked is None:
            return
        kind, asked_at, seen = process.asked
        process.asked = None
        if kind == "renew":
            self._renew(process, asked_at)
        elif seen is not None and (self.row.term, self.row.beat) == (seen.term, seen.beat):
            self.row = Row(
                owner=claimant(process.owner, alone=process.lock),
                term=Term(self.row.term + 1),
                beat=self.row.beat + 1,
                released=False,
                moved_at=self.now,
            )
            new = Lease(account=TREASURY, incarnation=process.owner.incarnation, term=Term(self.row.term))
            process.held = claimed(process.held, [new], asked_at=at(asked_at), timing=TIMING)

    def _renew(self, process: Process, asked_at: float) -> None:
        mine = process.held.leases.get(TREASURY)
        ours = mine is not None and self.row.owner is not None and not self.row.released
        answer = []
        if ours and mine is not None and (self.row.term, self._holder()) == (mine.term, mine.incarnation):
            self.row.beat += 1
            self.row.moved_at = self.now
            answer = [mine]
        process.held, lost = renewed(process.held, answer, asked_at=at(asked_at), timing=TIMING)
        assert bool(lost) == (mine is not None and not answer)

    def _holder(self) -> Incarnation | None:
        return self.row.owner.incarnation if self.row.owner else None

    @invariant()
    def at_most_one_may_act(self) -> None:
        """D13, D15: no pause and no clock lets two processes act at the same moment."""
        if not hasattr(self, "processes"):
            return
        acting = [one for one in self.processes if one.alive and one.held.valid(one.boot(self.now))]
        assert len(acting) <= 1


LeaseAmongProcesses.TestCase.settings = settings(max_examples=200, stateful_step_count=80, deadline=None)
TestLeaseAmongProcesses = LeaseAmongProcesses.TestCase
