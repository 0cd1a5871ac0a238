"""Small bodies and queries, read strictly."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.commands.fields import fields_of, ids, person, text, whole
from treasuryd.errors import Rejected

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 11, [1], {}])
def test_a_whole_number_is_nothing_else(value: Any) -> None:
    """No boolean, no float, no text, nothing out of range."""
    with pytest.raises(Rejected, match=r"^n "):
        whole(value, "n", most=10)


@pytest.mark.parametrize("value", ["1_0", " 1", "+1", "\u0661", "1.0", "", "0x1"])
def test_a_number_in_a_path_is_ascii_digits(value: str) -> None:
    """And nothing that `int` would be lenient about."""
    with pytest.raises(Rejected):
        whole(value, "n", from_text=True)
    assert whole("0012", "n", from_text=True) == 12


def refusal(read: Callable[[], object]) -> Rejected | None:
    try:
        read()
    except Rejected as error:
        return error
    return None


@given(ANYTHING)
def test_any_json_is_read_or_refused_by_name(value: Any) -> None:
    """Never another error than Rejected, and never without a field."""
    for read in (
        lambda: person(fields_of(value, allowed=("by", "reason"), required=("reason",))),
        lambda: ids({"ids": value}, limit=3),
        lambda: text({"t": value}, "t", limit=5),
    ):
        error = refusal(read)
        assert error is None or (error.field and error.message.encode())


def test_a_near_miss_is_named() -> None:
    """A typing error costs one look."""
    with pytest.raises(Rejected) as found:
        fields_of({"raeson": "x"}, allowed=("by", "reason"))
    assert "reason" in found.value.hint
