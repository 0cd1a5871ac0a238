import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.wire.theblock.binary import MAX_LIST_ITEMS, Reader, Undecodable, blob, text, u8, u32, u64


def test_integers_are_little_endian_and_of_fixed_width() -> None:
    """The widths of the node's primitives."""
    assert (u8(1), u32(1), u64(1)) == (b"\x01", b"\x01\0\0\0", b"\x01" + bytes(7))


@given(st.text(), st.binary(), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_what_is_written_is_read(word: str, raw: bytes, long: int, middle: int, short: int) -> None:
    """Each primitive comes back as it was, and nothing is left."""
    reader = Reader(text(word) + blob(raw) + u64(long) + u32(middle) + u8(short))
    assert (reader.text(), reader.blob(), reader.u64(), reader.u32(), reader.u8()) == (
        word,
        raw,
        long,
        middle,
        short,
    )
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(u64(2**63) + b"x", id="a length far beyond the input"),
        pytest.param(u64(2) + b"x", id="a length one beyond the input"),
        pytest.param(b"\x01", id="half a length"),
        pytest.param(u64(2) + b"\xff\xfe", id="not UTF-8"),
    ],
)
def test_a_string_that_is_none_is_refused(data: bytes) -> None:
    """No length is believed before it is compared with what is left."""
    with pytest.raises(Undecodable):
        Reader(data).text()


def test_a_list_is_bounded() -> None:
    """A count is refused before anything is read for it."""
    with pytest.raises(Undecodable, match="the limit is 1024"):
        Reader(u64(MAX_LIST_ITEMS + 1)).blobs()


def test_leftovers_are_refused() -> None:
    """A value ends where the input ends."""
    with pytest.raises(Undecodable, match="1 bytes behind the end"):
        Reader(b"x").end()


def test_a_field_has_its_name_and_a_struct_its_count() -> None:
    """Unknown, repeated and missing fields all fail here."""
    with pytest.raises(Undecodable, match="field"):
        Reader(text("fee")).field("tip")
    with pytest.raises(Undecodable, match="9 fields where 7"):
        Reader(u64(9)).fields(7)
