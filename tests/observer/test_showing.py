from hypothesis import given
from hypothesis import strategies as st

from treasuryd.observer.showing import Resolutions, Roster
from treasuryd.wire.theblock.market import Dispute


def ended(*rows: tuple[int, int, int | None]) -> list[Dispute]:
    return [Dispute(id=name, opened_at=opened, resolved_at=end) for name, opened, end in rows]


def test_nothing_of_before_the_first_look_is_counted() -> None:
    """It would count anew at every start."""
    first = Resolutions().after(ended((1, 10, 20), (2, 15, 30)))
    assert first.taken.counts[-1] == 0
    assert first.height == 30


def test_what_is_resolved_in_the_block_of_the_last_look_is_counted_by_its_id() -> None:
    """A block may end several disputes, of which the first look saw one."""
    found = Resolutions().after(ended((1, 10, 30)))
    found = found.after(ended((1, 10, 30), (2, 15, 30), (3, 5, 31), (4, 6, None)))
    assert (found.taken.counts[-1], found.taken.total) == (2, 15 + 26)
    assert found.after(ended((1, 10, 30), (2, 15, 30), (3, 5, 31))) == found


def test_an_old_dispute_that_is_resolved_now_is_counted() -> None:
    """By its end, wherever it stands in the list."""
    found = Resolutions().after(ended((5, 50, 60))).after(ended((1, 2, 70), (5, 50, 60)))
    assert (found.taken.counts[-1], found.taken.total) == (1, 68)


def test_the_first_one_ever_is_counted() -> None:
    """None at the first look, one at the second."""
    found = Resolutions().after([]).after(ended((1, 10, 20)))
    assert found.taken.total == 10


def test_a_list_that_was_empty_for_once_counts_nothing_twice() -> None:
    """A node that lost its list for a moment, or another node behind the address."""
    found = Resolutions().after(ended((1, 10, 20), (2, 20, 30)))
    assert found.after([]).after(ended((1, 10, 20), (2, 20, 30))).taken.counts[-1] == 0


def test_a_chain_that_went_back_is_looked_at_anew() -> None:
    """Heights that fall are no new resolutions; from there on new ones count again."""
    found = Resolutions().after(ended((1, 10, 2**63)))
    found = found.after(ended((1, 10, 20), (2, 15, 25)))
    assert (found.taken.counts[-1], found.height) == (0, 25)
    assert found.after(ended((1, 10, 20), (2, 15, 25), (3, 20, 27))).taken.total == 7


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 30)), max_size=6), max_size=8
    )
)
def test_counts_never_fall_whatever_the_node_says(looks: list[list[tuple[int, int, int]]]) -> None:
    """It is a counter to those who ask for rates."""
    found = Resolutions()
    for look in looks:
        after = found.after(ended(*((name, opened, opened + took) for name, opened, took in look)))
        assert all(a >= b for a, b in zip(after.taken.counts, found.taken.counts, strict=True))
        assert after.taken.total >= found.taken.total
        found = after


@given(
    st.lists(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)),
    st.integers(1, 5),
)
def test_the_roster_is_bounded_and_a_label_never_changes(names: list[str], at_most: int) -> None:
    """So many labels and `other`, and what was one stays it."""
    roster = Roster(at_most)
    first = [roster.label(name) for name in names]
    assert len({*first} - {"other"}) <= at_most
    assert first == [roster.label(name) for name in names]
    assert all(label in {name, "other"} for name, label in zip(names, first, strict=True))
    assert all(label.isascii() and 0 < len(label) <= 64 for label in first)
