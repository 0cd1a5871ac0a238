from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from treasuryd.core.epochs import Belief, believe, epoch_of, wrong_genesis
from treasuryd.core.model import (
    BlockHash,
    BootSeconds,
    ChainState,
    Endpoint,
    Epoch,
    Head,
    Height,
    Rules,
    UnixSeconds,
)

RULES = Rules(epoch_blocks=10, finality_depth=12, max_blocks_per_second=2.0)
ABSURD = 10**15
WALL = 1_800_000_000.0


def head(height: int, *, endpoint: str = "a", genesis: str | None = "g0") -> Head:
    return Head(
        endpoint=Endpoint(endpoint),
        height=Height(height),
        block_hash=BlockHash(f"hash-{height}") if height else None,
        genesis=BlockHash(genesis) if height and genesis else None,
    )


class Watcher:
    """A process that reads heads: its stored state, its belief and its two clocks, moved by hand."""

    def __init__(self, **stored: Any) -> None:
        known: dict[str, Any] = {
            "believed": Height(1_000),
            "risen_at": UnixSeconds(WALL),
            "settled_height": Height(988),
            "settled": Epoch(98),
            "genesis": BlockHash("g0"),
        }
        self.state = ChainState(chain_id=1, **(known | stored))
        self.belief: Belief | None = None
        self.boot = 50.0
        self.wall = WALL

    def reads(self, *heights: int, after: float = 0.0) -> Belief:
        self.boot += after
        self.wall += after
        heads = [head(height, endpoint=f"e{number}") for number, height in enumerate(heights)]
        return self.reads_heads(heads)

    def reads_heads(self, heads: list[Head]) -> Belief:
        self.state, self.belief = believe(
            self.state,
            heads,
            self.belief,
            unix=UnixSeconds(self.wall),
            boot=BootSeconds(self.boot),
            rules=RULES,
        )
        return self.belief

    def restarts(self, *, away: float = 0.0, wall_step: float = 0.0) -> None:
        self.belief = None
        self.boot = 3.0
        self.wall += away + wall_step


def test_a_reading_without_heads_settles_nothing_that_a_lagging_one_holds_back() -> None:
    """R15: heads of another chain are left out of a reading; what waits for an epoch waits on."""
    watcher = Watcher()
    watcher.reads(1_100, 1_000, after=60.0)
    before = watcher.state
    watcher.reads(after=1.0)
    assert watcher.state == before
    assert watcher.state.settled_height == 988


def fresh() -> Watcher:
    return Watcher(
        believed=Height(0),
        risen_at=UnixSeconds(0.0),
        settled_height=Height(0),
        settled=Epoch(0),
        genesis=None,
    )


# --- a plausible head ---------------------------------------------------------------------------------------------


def test_an_ordinary_head_is_believed_whole() -> None:
    """Believed = reported; settled comes from the finality depth below it, seen from the head itself."""
    belief = Watcher().reads(1_005, after=5.0)
    assert (belief.believed, belief.seen, belief.settled, belief.excess) == (1_005, 100, 99, 0)


def test_the_believed_height_is_the_formula_of_the_protocol() -> None:
    """R16: min(reported, last believed + k + max_blocks_per_second * time since it last rose)."""
    watcher = Watcher()
    belief = watcher.reads(ABSURD, after=10.0)
    assert belief.believed == 1_000 + 12 + 2 * 10
    assert belief.excess == ABSURD - 1_032


def test_one_absurd_height_hastens_nothing() -> None:
    """§9: the settled epoch, by which everything ends, is where it would be without the lie."""
    honest, deceived = Watcher(), Watcher()
    for reading in range(40):
        height = 1_000 + reading
        truth = honest.reads(height, after=1.0)
        told = deceived.reads(ABSURD if reading == 20 else height, after=1.0)
        assert told.settled <= truth.settled
        assert deceived.state.settled_height <= honest.state.settled_height
    assert deceived.state.settled_height == honest.state.settled_height


def test_a_lie_told_at_every_tick_gains_the_finality_depth_once() -> None:
    """Otherwise ten ticks a second would let a lie run away by 120 blocks a second."""
    watcher = Watcher()
    for _ in range(100):
        watcher.reads(ABSURD, after=0.1)
    assert watcher.state.believed <= 1_000 + 12 + 2 * 10


def test_a_plausible_lie_told_again_and_again_keeps_the_pace() -> None:
    """A liar who always claims exactly what is believed gains no more than one who claims too much."""
    watcher = Watcher()
    for _ in range(100):
        watcher.reads(watcher.state.believed + 12, after=0.1)
    assert watcher.state.believed <= 1_000 + 12 + 2 * 10


def test_a_disbelieved_head_heals_by_itself() -> None:
    """A chain that truly ran ahead is believed as time passes, and the alarm ends."""
    watcher = Watcher()
    assert watcher.reads(1_100, after=1.0).excess > 0
    persisting = watcher.reads(1_100, after=30.0)
    assert persisting.excess > 0
    assert persisting.excess_seconds(BootSeconds(watcher.boot)) == 30.0
    healed = watcher.reads(1_100, after=20.0)
    assert (healed.believed, healed.excess, healed.excess_since) == (1_100, 0, None)
    assert healed.excess_seconds(BootSeconds(watcher.boot)) == 0.0
    assert watcher.state.settled_height == 1_088


def test_a_long_outage_costs_no_belief() -> None:
    """After an hour without a word the chain is an hour further."""
    belief = Watcher().reads(1_000 + 3_600, after=3_600.0)
    assert (belief.believed, belief.excess) == (4_600, 0)


# --- lag, reorgs and several endpoints ------------------------------------------------------------------------------


def test_a_lower_head_takes_nothing_back() -> None:
    """R9: lag, or a reorg to fewer blocks; epochs never fall."""
    watcher = Watcher()
    before = watcher.reads(1_010, after=10.0)
    after = watcher.reads(900, after=1.0)
    assert (after.believed, after.seen, after.settled) == (before.believed, before.seen, before.settled)
    assert after.lowest == 900


def test_a_lagging_endpoint_delays_settling_and_nothing_else() -> None:
    """Settled follows the lowest believed head, seen the highest."""
    belief = Watcher().reads(1_010, 995, after=10.0)
    assert (belief.believed, belief.lowest) == (1_010, 995)
    assert (belief.seen, belief.settled) == (101, 98)


def test_an_absurd_head_told_again_settles_nothing_either() -> None:
    """What was believed because of one lie is no ground to settle on for the next one, nor after a restart."""
    watcher = Watcher()
    watcher.reads(1_000)
    watcher.reads(1_000, after=1.0)
    for restart in (False, False, True, False):
        if restart:
            watcher.belief = None
        watcher.reads(ABSURD, after=60.0)
        assert watcher.state.settled_height == 988
    assert watcher.state.believed > 1_000


def test_beside_an_honest_endpoint_a_liar_settles_nothing() -> None:
    """The lowest believed head counts, however long the other one lies."""
    watcher = Watcher()
    for reading in range(300):
        watcher.reads(1_000 + reading, ABSURD, after=1.0)
        assert watcher.state.settled_height <= max(988, 1_000 + reading - 12)
    assert watcher.state.settled_height == 1_299 - 12


def test_the_age_of_the_head_is_the_time_since_it_rose() -> None:
    """A node that answers quickly with the same old head is stale all the same."""
    watcher = Watcher()
    watcher.reads(1_001, after=1.0)
    belief = watcher.reads(1_001, after=40.0)
    assert belief.age_seconds(BootSeconds(watcher.boot)) == 40.0


def test_without_a_head_nothing_moves() -> None:
    """No endpoint answered."""
    watcher = Watcher()
    before = watcher.state
    belief = watcher.reads(after=60.0)
    assert watcher.state == before
    assert (belief.believed, belief.settled, belief.excess) == (1_000, 98, 0)


# --- a chain never seen before --------------------------------------------------------------------------------------


def test_an_empty_chain_waits() -> None:
    """N15: height 0 means no block, and time starts to count at the first sight of it."""
    watcher = fresh()
    for _ in range(3):
        belief = watcher.reads(0, after=1.0)
        assert (belief.believed, belief.seen, belief.settled) == (0, 0, 0)
    assert watcher.state.risen_at > 0
    assert watcher.reads(2, after=1.0).believed == 2
    assert watcher.reads(ABSURD, after=1.0).believed <= 2 + 12 + 4


def test_an_absurd_first_height_does_not_stay_for_good() -> None:
    """Nothing is known to judge it by, so the first reading waits for the second."""
    watcher = fresh()
    assert watcher.reads(ABSURD).believed == 0
    assert watcher.reads(5_000, after=0.2).believed == 5_000
    assert watcher.state.settled_height == 4_988


def test_a_first_height_is_believed_at_the_second_reading() -> None:
    """An absurd second reading hastens nothing either; the lowest endpoint counts."""
    watcher = fresh()
    watcher.reads(5_000, 4_990)
    belief = watcher.reads(ABSURD, 5_001, after=0.2)
    assert (belief.believed, watcher.state.settled_height) == (4_990, 4_978)


def test_a_first_reading_that_nobody_answered_is_none() -> None:
    """Silence is not height 0."""
    watcher = fresh()
    watcher.reads(5_000)
    watcher.reads(after=1.0)
    assert watcher.reads(5_000, after=1.0).believed == 5_000


# --- restarts and clocks ----------------------------------------------------------------------------------------------


def test_across_a_restart_the_wall_clock_counts() -> None:
    """R16: the process was away for 100 seconds."""
    watcher = Watcher()
    watcher.reads(1_001, after=1.0)
    watcher.restarts(away=100.0)
    assert watcher.reads(ABSURD).believed == 1_001 + 12 + 200


def test_a_wall_clock_set_back_yields_no_time_and_heals_by_the_boot_clock() -> None:
    """The stored time lies in the future: from here the pace goes on by our own clock."""
    watcher = Watcher()
    watcher.restarts(wall_step=-86_400.0)
    assert watcher.reads(1_500).believed == 1_012
    assert watcher.reads(1_500, after=244.0).believed == 1_500


def test_while_it_runs_a_stepped_wall_clock_means_nothing() -> None:
    """Only the boot clock counts."""
    watcher = Watcher()
    watcher.reads(1_000)
    watcher.wall += 86_400.0
    assert watcher.reads(ABSURD, after=1.0).believed == 1_000 + 12 + 2


def test_what_another_process_stored_is_taken_over() -> None:
    """A standby's own memory is about an older height; the stored time counts, and a running alarm goes on."""
    watcher = Watcher()
    watcher.reads(ABSURD, after=1.0)
    alarm = watcher.belief.excess_since if watcher.belief else None
    watcher.state = replace(watcher.state, believed=Height(1_200), risen_at=UnixSeconds(watcher.wall + 50.0))
    belief = watcher.reads(ABSURD, after=60.0)
    assert belief.believed == 1_200 + 12 + 20
    assert belief.excess_since == alarm


# --- the right chain ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [1, 1_000])
def test_header_0_is_pinned_once_the_chain_grew_by_the_finality_depth(height: int) -> None:
    """R15: not before, since a young chain may still be reorganised away, and a height alone is a claim."""
    watcher = fresh()
    watcher.reads(height)
    pinned = []
    for grown in range(14):
        watcher.reads(height + grown, after=1.0)
        pinned.append(watcher.state.genesis)
    assert pinned == [None] * 12 + ["g0"] * 2


def test_a_header_0_that_is_replaced_meanwhile_begins_anew() -> None:
    """R15, walk 40145: an absurd height near the genesis pins no header that an ordinary reorg may replace."""
    watcher = fresh()
    for _ in range(20):
        watcher.reads(39, after=1.0)
    assert watcher.state.genesis is None
    for height in range(4, 52):
        watcher.reads_heads([head(height, genesis="g1")])
        watcher.wall += 1.0
        watcher.boot += 1.0
        assert watcher.state.genesis == ("g1" if height >= 39 + 12 else None)


def test_a_process_that_starts_anew_counts_anew() -> None:
    """R15: what another one saw of an unpinned header 0 is not remembered."""
    watcher = Watcher(genesis=None)
    for height in range(1_000, 1_011):
        watcher.reads(height, after=1.0)
    watcher.restarts(away=1.0)
    for height in range(1_011, 1_023):
        watcher.reads(height, after=1.0)
    assert watcher.state.genesis is None
    watcher.reads(1_023, after=1.0)
    assert watcher.state.genesis == "g0"


def test_endpoints_that_disagree_on_header_0_pin_nothing() -> None:
    """R15: one of them is on another chain, and nobody can say which."""
    watcher = Watcher(genesis=None)
    heads = [head(1_001, endpoint="a", genesis="g0"), head(1_001, endpoint="b", genesis="g1")]
    watcher.reads_heads(heads)
    assert watcher.state.genesis is None
    assert wrong_genesis(watcher.state, heads) is not None


def test_a_pinned_chain_is_never_pinned_anew() -> None:
    """R15: another chain means another state folder."""
    watcher = Watcher()
    watcher.reads_heads([head(1_001, genesis="g1")])
    assert watcher.state.genesis == "g0"


@pytest.mark.parametrize(
    ("pinned", "found", "expected"),
    [
        pytest.param("g0", ["g0"], None, id="the right chain"),
        pytest.param("g0", ["g0", "g1"], "g1", id="one endpoint is elsewhere"),
        pytest.param("g0", [None], None, id="an empty chain names none"),
        pytest.param(None, ["g1"], None, id="nothing is pinned yet"),
    ],
)
def test_another_header_0_is_named(pinned: str | None, found: list[str | None], expected: str | None) -> None:
    """R15: compared with every head read."""
    state = Watcher(genesis=pinned).state
    assert expected == wrong_genesis(state, [head(5, genesis=genesis) for genesis in found])


def test_a_young_chain_may_still_disagree() -> None:
    """Before finality depth two endpoints may follow two first blocks for a moment."""
    state = fresh().state
    assert wrong_genesis(state, [head(1, genesis="g0"), head(1, genesis="g1")]) is None


def test_epochs_are_whole_divisions_of_the_height() -> None:
    """A boundary's block begins the new epoch."""
    assert [epoch_of(height, RULES) for height in (0, 9, 10, 19, 20)] == [0, 0, 1, 1, 2]


# --- any history ------------------------------------------------------------------------------------------------------


class HeadsOfAllKinds(RuleBasedStateMachine):
    """An honest chain within its pace, beside it a head that says anything, restarts and wall clocks that step."""

    @initialize(honest_first=st.booleans())
    def start(self, honest_first: bool) -> None:
        self.watcher = Watcher()
        self.truth = 1_000.0
        self.elapsed = 0.0
        self.restarted = 0
        self.best = (0, 0, 0)

    def _settle(self, before: ChainState, belief: Belief) -> None:
        now = (self.watcher.state.believed, self.watcher.state.settled_height, belief.seen)
        assert all(new >= old for new, old in zip(now, self.best, strict=True))
        assert belief.settled <= belief.seen
        assert belief.settled == self.watcher.state.settled >= before.settled
        self.best = now

    def _grow(self, seconds: float, blocks: float) -> None:
        self.elapsed += seconds
        self.truth += min(blocks, 2.0 * seconds)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 60.0]), pace=st.floats(0, 2), lie=st.integers(0, 10_000))
    def an_honest_endpoint_answers_beside_another(self, seconds: float, pace: float, lie: int) -> None:
        self._grow(seconds, pace * seconds)
        before = self.watcher.state
        belief = self.watcher.reads(int(self.truth), lie, after=seconds)
        self._settle(before, belief)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 60.0]), pace=st.floats(0, 2))
    def all_are_honest(self, seconds: float, pace: float) -> None:
        self._grow(seconds, pace * seconds)
        before = self.watcher.state
        belief = self.watcher.reads(int(self.truth), after=seconds)
        self._settle(before, belief)
        assert belief.lowest <= self.truth

    @rule()
    def the_process_restarts(self) -> None:
        self.watcher.restarts()
        self.restarted += 1

    @invariant()
    def nothing_is_hastened(self) -> None:
        if not hasattr(self, "watcher"):
            return
        state = self.watcher.state
        assert state.settled_height <= max(988, self.truth - RULES.finality_depth)
        # the finality depth is the grace of each process start, the rest is the pace
        grace = RULES.finality_depth * (1 + self.restarted)
        assert state.believed <= 1_000 + grace + 2.0 * self.elapsed + 1e-6

    def teardown(self) -> None:
        """Whatever was told: once only the truth is told, it is believed in the time its pace takes."""
        if not hasattr(self, "watcher"):
            return
        self.truth += 10
        belief = self.watcher.reads(int(self.truth), after=3_600.0)
        assert belief.excess == 0
        assert self.watcher.state.believed >= int(self.truth)
        assert self.watcher.state.settled_height == int(self.truth) - RULES.finality_depth


HeadsOfAllKinds.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestHeadsOfAllKinds = HeadsOfAllKinds.TestCase
