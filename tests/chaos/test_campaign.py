"""What a campaign makes of a daemon that ended although nobody asked for it."""

import re
import sys
from pathlib import Path

import pytest
from tests.chaos.campaign import Campaign
from tests.chaos.fleet import Program


@pytest.mark.parametrize(
    ("code", "words", "violations"),
    [
        pytest.param(69, "the database a-1.db stayed locked", 0, id="a start while the file is locked"),
        pytest.param(75, "the lease ran out 3 s ago", 0, id="the watchdog"),
        pytest.param(69, "cannot listen on port 4711", 1, id="a start whose address is taken"),
        pytest.param(70, "a bug at line 1", 1, id="a bug"),
        pytest.param(0, "", 1, id="in order, and nobody asked"),
    ],
)
def test_an_end_that_nobody_asked_for_is_counted_with_its_words(
    code: int, words: str, violations: int, tmp_path: Path
) -> None:
    campaign = Campaign(tmp_path / "fleet", "seed", lookup=True, kills=1)
    one = Program("A", [sys.executable, "-c", ENDS, words, str(code)], 0, tmp_path / "log", ready="up")
    one.start().process.wait(timeout=30)

    campaign._note_end(one)

    assert campaign.tally.exits == {f"{code}: {re.sub('[0-9]+', 'N', words)}": 1}
    assert len(campaign.tally.violations) == violations
    assert all(words in one for one in campaign.tally.violations)  # with the tail of its log


def test_a_daemon_that_was_killed_by_us_did_not_end_by_itself(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "fleet", "seed", lookup=True, kills=1)
    one = Program("A", [sys.executable, "-c", "input()"], 0, tmp_path / "log", ready="up")
    one.start().killed = True
    one.life.process.wait(timeout=30)

    campaign._note_end(one)

    assert not campaign.tally.exits
    assert not campaign.tally.violations


ENDS = "import sys; print('treasuryd: ' + sys.argv[1]); sys.exit(int(sys.argv[2]))"
