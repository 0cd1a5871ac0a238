"""
A hundred deaths by SIGKILL in two fleets at once, half of them without look-up: every disbursement is paid once.

What each death left behind is read from the store and the chain, and counted as the row of the failure matrix that it is.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.chaos.campaign import Campaign, Tally
from tests.matrix import Row

pytestmark = pytest.mark.timeout(
    600
)  # two minutes on two idle cores, for whichever test is first; this bounds what hangs

KILLS = 50  # of each fleet

Tallies = dict[bool, Tally]


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> Tallies:
    """Both campaigns, run once for all tests here; two at a time use two cores, and starts overlap with work."""
    folder: Path = tmp_path_factory.mktemp("kills")
    with ThreadPoolExecutor() as both:
        runs = {
            lookup: both.submit(
                Campaign(folder / f"lookup {lookup}", f"kills {lookup}", lookup=lookup, kills=KILLS).run
            )
            for lookup in (True, False)
        }
        return {lookup: run.result() for lookup, run in runs.items()}


@pytest.mark.parametrize("lookup", [True, False], ids=["evidence HASH", "evidence BALANCE"])
def test_fifty_kills_pay_every_disbursement_once(lookup: bool, tallies: Tallies) -> None:
    """D2, N3: two daemons on one folder and a third on its own, a chain that lies, loses and reorganises: §10 holds."""
    tally = tallies[lookup]
    assert tally.violations == []
    assert tally.kills >= KILLS
    assert tally.payments > KILLS  # there was work to die in
    assert tally.items == tally.payments + tally.rolled_back
    assert tally.terms > 5  # the leaders were among the dead


def test_the_killer_struck_everywhere(tallies: Tallies) -> None:
    """In starts, all at once, in the middle of payments, and the chain's own process."""
    how = sum((tally.how for tally in tallies.values()), Counter[str]())
    assert {"at any moment", "all at once", "chain"} <= how.keys()
    assert any(kind.startswith("at intent_") for kind in how)
    assert how["in its start"] + how["in its first 100 ms"] > 0
    grounds = sum((tally.grounds for tally in tallies.values()), Counter[str]())
    assert (
        grounds["predecessor_dead"] > 0
    )  # the folder's lock; the candidate wait has a test in test_takeovers
    assert sum(tally.struck.total() for tally in tallies.values()) > 20


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.matrix(row), id=row.value)
        for row in (
            Row.BEFORE_STAGING,
            Row.STAGED_NOT_SEALED,
            Row.SEALED_NOT_SENT,
            Row.ACCEPTED_NOT_RECORDED,
            Row.INCLUDED_NOT_RECORDED,
            Row.CANCELLATION_CRASH,
            Row.REPLY_LOST,
            Row.DROPPED,
            Row.REORGED,
        )
    ],
)
def test_the_dead_left_this_behind_and_it_was_paid_once(
    row: Row, tallies: Tallies, injected: Callable[[int], None]
) -> None:
    """Counted where it was seen: in the store of a leader just killed, in the chain's own count, in the log."""
    times = sum(tally.rows[row] for tally in tallies.values())
    assert times > 0
    assert [tally.violations for tally in tallies.values()] == [[], []]
    injected(times)
