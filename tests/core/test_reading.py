"""What people send is read strictly: refused with its place, or read exactly."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.reading import MAX_DEPTH, read_csv, read_json, shown
from treasuryd.errors import Refusal, Rejected

HEADER = "ref,account,destination,amount,memo,scheduled_epoch,depends_on\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b'{"amount":1,"amount":2}', '"amount" stands twice', id="duplicate keys"),
        pytest.param(b'{"a":{"b":1,"\\u0062":2}}', '"b" stands twice', id="duplicates in disguise"),
        pytest.param(b'{"amount":NaN}', "NaN is not a JSON number", id="NaN"),
        pytest.param(b'{"amount":-Infinity}', "-Infinity is not a JSON number", id="an infinity"),
        pytest.param(b'{"amount":1e400}', 'the number "1e400" is out of range', id="an infinity in disguise"),
        pytest.param(b'{"amount":' + b"1" * 41 + b"}", "a number of 41 digits", id="too many digits"),
        pytest.param(b"9" * 100_000, "a number of 100000 digits", id="a digit bomb"),
        pytest.param(b'{"memo":"\\ud800"}', "half a surrogate pair", id="half a character"),
        pytest.param(b'{"\\udfff":1}', "half a surrogate pair", id="half a character as a key"),
        pytest.param(b'{"memo":"\xff"}', "byte 9 is 0xff", id="not UTF-8"),
        pytest.param(b"[" * (MAX_DEPTH + 1), "more than 32 levels", id="a depth bomb"),
        pytest.param(b"[" * 1_000_000, "more than 32 levels", id="a large depth bomb"),
        pytest.param(b'{"a":1,}', "line 1, column", id="a trailing comma"),
        pytest.param(b'{"a":1}\n{"b":2}', "line 2, column 1", id="two documents"),
        pytest.param(b"", "line 1, column 1", id="nothing"),
        pytest.param(b'"\\' * 50_000, "not valid JSON", id="an endless string"),
        pytest.param(b"'a'", "not valid JSON", id="single quotes"),
    ],
)
def test_a_dubious_text_is_refused_with_its_place(text: bytes, said: str) -> None:
    """Nothing is guessed: the message names what and where."""
    with pytest.raises(Rejected) as caught:
        read_json(text)
    assert said in caught.value.message
    assert caught.value.kind is Refusal.INVALID


def test_an_oversized_body_is_refused_by_its_size() -> None:
    """The limit and the size are named; the body is not parsed."""
    with pytest.raises(Rejected) as caught:
        read_json(b"[" * 101, limit=100)
    assert caught.value.kind is Refusal.TOO_LARGE
    assert "101 bytes long, the limit is 100 bytes" in caught.value.message


def test_brackets_inside_strings_are_not_levels() -> None:
    """A memo may hold whatever it likes."""
    memo = "[{" * 500 + '\\"' + "[" * 100
    assert memo == read_json(json.dumps({"memo": memo}).encode())["memo"]


def test_a_whole_surrogate_pair_and_a_byte_order_mark_are_fine() -> None:
    """Escaped emoji are characters; editors on Windows put a mark in front."""
    assert read_json(b'\xef\xbb\xbf{"memo":"\\ud83d\\ude00"}') == {"memo": "\U0001f600"}


TREE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(TREE)
def test_every_ordinary_document_is_read_exactly(tree: Any) -> None:
    """What a JSON writer wrote comes back as it was, types included."""
    found = read_json(json.dumps(tree).encode())
    assert tree == found
    assert repr(tree) == repr(found)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\1eE+-.a ', max_size=60).map(str.encode))
def test_no_text_raises_anything_but_a_refusal(text: bytes) -> None:
    """Whatever arrives: a value, or Rejected."""
    for read in (read_json, read_csv):
        with suppress(Rejected):
            read(text)


def test_a_shown_value_is_short_and_printable() -> None:
    """Messages repeat untrusted text: no control characters, no half page."""
    assert shown("\x1b[31m\n") == '"\\u001b[31m\\n"'
    assert len(shown("x" * 10_000)) < 120
    assert shown(True) == "true"


# --- CSV --------------------------------------------------------------------------------------------------------


def test_a_csv_file_becomes_items_as_json_would_say_them() -> None:
    """Ids and @refs go to their fields, empty cells are absent, quotes and line breaks in a memo survive."""
    text = HEADER + 'rent,ops,tb1a,100,"May, ""flat""\nnext line",3,\n,,tb1b,007,,4,12 @rent 13\n'
    first, second = read_csv(text.encode())
    assert first.item == {
        "ref": "rent",
        "account": "ops",
        "destination": "tb1a",
        "amount": "100",
        "memo": 'May, "flat"\nnext line',
        "scheduled_epoch": 3,
    }
    assert second.item == {
        "destination": "tb1b",
        "amount": "007",
        "scheduled_epoch": 4,
        "depends_on": [12, 13],
        "depends_on_refs": ["rent"],
    }
    assert (first.line, second.line) == (3, 4)
    assert first.errors == second.errors == ()


def test_the_columns_may_come_in_any_order_and_optional_ones_may_be_absent() -> None:
    """The header says which is which."""
    (row,) = read_csv(b"scheduled_epoch,amount,destination\r\n1,5,tb1a\r\n\r\n")
    assert row.item == {"scheduled_epoch": 1, "amount": "5", "destination": "tb1a"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "column destination is missing", id="an empty file"),
        pytest.param("destination,amount\n", "column scheduled_epoch is missing", id="a missing column"),
        pytest.param(
            "destination,amount,scheduled_epoch,note\n", 'unknown column "note"', id="an unknown column"
        ),
        pytest.param(
            "amount,destination,amount,scheduled_epoch\n", "amount stands twice", id="a double column"
        ),
        pytest.param("tb1a,100,3\n", 'unknown column "tb1a"', id="no header"),
        pytest.param(HEADER + 'a,"b\n', "not valid CSV", id="an open quote"),
    ],
)
def test_a_file_without_a_sound_frame_is_refused_whole(text: str, said: str) -> None:
    """Without a header nothing can be read row by row."""
    with pytest.raises(Rejected, match=said):
        read_csv(text.encode())


def test_bad_rows_are_reported_each_with_its_line() -> None:
    """A person sees every bad row at once, and the good ones are still read."""
    rows = read_csv((HEADER + "a,,tb1a,1,,1,\nb,,tb1b,1,1\nc,,tb1c,1,,x,1_0 @a -4\n").encode())
    assert [len(row.errors) for row in rows] == [0, 1, 2]
    assert rows[1].errors[0].message == "line 3: 5 cells, the header has 7"
    assert [error.field for error in rows[2].errors] == ["line 4: depends_on"] * 2
    assert rows[2].item["scheduled_epoch"] == "x", "intake says what is wrong with it"
