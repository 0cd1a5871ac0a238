"""
A simulator that cannot see a planted bug does not test the rule that the bug breaks.

`make bugs` hunts the whole catalogue from seed 0 and records what it took (docs/evidence/bugs.json). Here the bugs that
show at once are hunted in every run of the tests: within so many seeds that no change of the histories hides them.
"""

import pytest
from tests.simulation.bugs import BUGS, planted
from tests.simulation.bugs.hunting import hunt

AT_ONCE = (
    "sent_before_sealed", "votes_not_counted", "schedule_ignored", "windows_end_by_seen_epoch",
    "rolled_back_dependency_met", "second_payload_signed", "cancel_kept_on_the_intent", "payment_beside_its_cancel",
    "lease_taken_at_first_sight", "half_open_admits_all",
)  # fmt: skip
SEEDS = 120


def test_there_are_enough_ways_to_break_the_protocol() -> None:
    """Each has a name, a rule and one sentence."""
    assert len(BUGS) >= 24
    for bug in BUGS.values():
        assert bug.rule[0] in "R§", bug.name
        assert bug.story == bug.story.strip(" ."), bug.name


@pytest.mark.parametrize("name", BUGS)
def test_each_can_still_be_planted(name: str) -> None:
    """What a bug changes is still there."""
    with planted(name):
        pass


@pytest.mark.parametrize("name", AT_ONCE)
def test_the_simulator_finds_it(name: str) -> None:
    """A broken promise, on a seed that keeps it without the bug."""
    assert hunt(name, range(SEEDS)).seed is not None
