"""
A simulator that cannot see a planted bug does not test the rule that the bug breaks.

`make bugs` hunts the whole catalogue from seed 0 and records what it took (docs/evidence/bugs.json). Here the recorded seed
of each bug is played again, with the bug and without: a broken promise, and none. Where the histories have changed since,
so that another seed shows it now, some more are searched.
"""

import pytest
from tests.simulation.bugs import BUGS, planted
from tests.simulation.bugs.hunting import LIMIT, hunt, recorded, shows

FURTHER = 120  # seeds that are searched where the recorded one shows the bug no more


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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BUGS)
def test_the_simulator_finds_it(name: str) -> None:
    """Within the seeds allowed: a broken promise, on a seed that keeps it without the bug."""
    again = f"make bugs ARGS={name}"
    seed = recorded().get(name)
    assert seed is not None, f"no hunt has found it: {again}"
    assert seed < LIMIT, again
    if not shows(seed, name):
        assert hunt(name, range(FURTHER)).seed is not None, f"seed {seed} shows it no more: {again}"
