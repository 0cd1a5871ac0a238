"""Since when nodes that answer differ, and that it is told once."""

import pytest

from treasuryd.core.agreement import Agreement, Discord, compare, dispute, doubt, news, said
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BlockHash, BootSeconds, Endpoint, Head, Height, Rules

RULES = Rules(epoch_blocks=10, finality_depth=12, head_max_age_seconds=120.0)


def head(endpoint: str, height: int, block: str = "") -> Head:
    return Head(
        endpoint=Endpoint(endpoint),
        height=Height(height),
        block_hash=BlockHash(block or f"hash-{height}"),
        genesis=BlockHash("g0"),
    )


class Reader:
    """Compares reading after reading, ten seconds apart, and keeps what was told."""

    def __init__(self) -> None:
        self.now, self.found, self.told = 50.0, Agreement(), list[Event]()

    def reads(
        self, *heads: Head, believed: int = 1_000, times: int = 1, doubted: tuple[int, ...] = ()
    ) -> None:
        for _ in range(times):
            boot, before = BootSeconds(self.now), self.found
            after = compare(before, heads, believed=Height(believed), boot=boot, rules=RULES)
            after = doubt(after, [Height(height) for height in doubted], boot=boot)
            self.told += news(before, after, RULES)
            self.found = after
            self.now += 10.0

    @property
    def said(self) -> str:
        return said(self.found, RULES)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_a_node_that_stands_still_is_told_once_and_named(reader: Reader) -> None:
    """It answers, so no breaker opens; the limit is that of a late head."""
    reader.reads(head("a", 1_000), head("b", 980), times=13)
    assert (reader.found.lag, reader.found.seconds, reader.said, reader.told) == (20, 120.0, "", [])

    reader.reads(head("a", 1_000), head("b", 980), times=40)

    (told,) = reader.told
    assert (told.kind, told.severity, told.reason) == (
        EventKind.ENDPOINTS_DIFFER, Severity.PAGE, Discord.BEHIND,
    )  # fmt: skip
    assert told.detail.startswith("b answers 20 blocks behind for 130 s (b at 980, a at 1000): ")
    assert "chain.endpoints" in told.detail
    assert reader.said.startswith("b answers 20 blocks behind for 520 s")


def test_a_node_that_catches_up_begins_anew(reader: Reader) -> None:
    """Time behind is not summed up."""
    for _ in range(5):
        reader.reads(head("a", 1_000), head("b", 980), times=10)
        reader.reads(head("a", 1_000), head("b", 988))  # at the finality depth: it delays nobody for long
    assert (reader.told, reader.found.seconds) == ([], 0.0)


def test_a_node_that_does_not_answer_is_not_behind(reader: Reader) -> None:
    """Its breaker tells; settling goes on without it."""
    reader.reads(head("a", 1_000), head("b", 980), times=10)
    reader.reads(head("a", 1_000), times=40)
    assert (reader.told, reader.found.lag, reader.found.behind) == ([], 0, None)


def test_against_a_head_beyond_belief_nobody_is_behind(reader: Reader) -> None:
    """R16 tells of that one; the honest node is not accused."""
    reader.reads(head("a", 10**15), head("b", 990), times=40)
    assert (reader.told, reader.found.lag) == ([], 0)


def test_before_anything_is_believed_nothing_differs(reader: Reader) -> None:
    """A chain never seen before is believed at the second reading."""
    reader.reads(head("a", 500), head("b", 300), believed=0, times=40)
    assert (reader.told, reader.found.seconds) == ([], 0.0)


def test_two_forks_of_one_height_are_told_once(reader: Reader) -> None:
    """Each follows its own chain for ever: nothing is judged, and no height shows it."""
    for height in range(900, 940):
        reader.reads(head("a", height), head("b", height, "other"))

    (told,) = reader.told
    assert (told.reason, told.severity) == (Discord.FORKED, Severity.PAGE)
    assert told.detail.startswith(
        "nodes name different blocks at height 913 for 130 s (a at 913, b at 913): "
    )
    assert "different blocks at height 939" in reader.said


def test_an_ordinary_fork_is_not_told(reader: Reader) -> None:
    """All name the same last block again: it has ended."""
    for _ in range(5):
        reader.reads(head("a", 900), head("b", 900, "other"), times=10)
        reader.reads(head("a", 901), head("b", 901))
    assert (reader.told, reader.found.forked) == ([], None)


def test_a_fork_of_unequal_heights_shows_in_a_kept_header(reader: Reader) -> None:
    """A header that both must have, and on which they do not agree."""
    reader.reads(head("a", 901), head("b", 900), doubted=(880, 890), times=14)
    (told,) = reader.told
    assert told.detail.startswith(
        "nodes name different blocks at height 880 for 130 s (b at 900, a at 901): "
    )


def test_a_header_that_one_node_cannot_have_yet_says_nothing(reader: Reader) -> None:
    """Above the lowest head, or with one node alone: no block is no fork."""
    reader.reads(head("a", 901), head("b", 900), doubted=(901,), times=20)
    reader.reads(head("a", 901), doubted=(880,), times=20)
    assert (reader.told, reader.found.forked) == ([], None)


def test_a_fork_that_shows_no_more_is_forgotten(reader: Reader) -> None:
    """One node stays a block ahead, so that nothing can be compared: the limit's time is enough."""
    reader.reads(head("a", 900), head("b", 900, "other"), times=14)
    assert len(reader.told) == 1
    reader.reads(head("a", 902), head("b", 901), times=12)
    assert reader.said
    reader.reads(head("a", 902), head("b", 901))
    assert (reader.said, reader.found.seconds) == ("", 0.0)


def test_of_another_chain_nothing_is_compared(reader: Reader) -> None:
    """R15 has frozen the accounts by then; the reading is handed in empty."""
    reader.reads(head("a", 1_000), head("b", 980), times=20)
    reader.reads()
    assert (reader.found.heads, reader.found.lag, reader.said) == ((), 0, "")


def test_what_nodes_contradict_each_other_about_is_told_once_and_ends_when_they_agree(reader: Reader) -> None:
    """R9: what one alone says is not judged; people are told what it is about, after the limit of a late head."""
    heads = (head("a", 900), head("b", 901))

    def disputes(about: str | None, times: int) -> None:
        for _ in range(times):
            before = reader.found
            boot = BootSeconds(reader.now)
            reader.found = dispute(before, about, height=Height(900), boot=boot)
            reader.told += news(before, reader.found, RULES)
            reader.reads(*heads)

    disputes("intent 7", 13)
    assert (reader.found.seconds, reader.said, reader.told) == (120.0, "", [])

    disputes("intent 8", 5)

    (told,) = reader.told
    assert (told.severity, told.reason) == (Severity.PAGE, Discord.DISPUTED)
    assert told.detail.startswith(
        "nodes contradict each other for 130 s (a at 900, b at 901): intent 8: it is not judged"
    )
    disputes(None, 1)
    assert (reader.found.disputed, reader.found.seconds, reader.said) == (None, 0.0, "")


def test_a_dispute_that_was_not_heard_again_is_forgotten(reader: Reader) -> None:
    """Two moments with a long silence in between are no dispute of hours."""
    reader.found = dispute(reader.found, "intent 7", height=Height(900), boot=BootSeconds(reader.now))
    reader.reads(head("a", 900), head("b", 901), times=13)
    assert reader.found.disputed is not None
    reader.reads(head("a", 900), head("b", 901))
    assert (reader.found.seconds, reader.told) == (0.0, [])
