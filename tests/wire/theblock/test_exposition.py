from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from treasuryd.wire.theblock.exposition import (
    MAX_LINE_CHARS,
    MAX_SAMPLES,
    MAX_VALUE,
    Sample,
    read_exposition,
)
from treasuryd.wire.theblock.replies import Malformed

WANTED = {"a", "b_total", "c"}


def read(text: str, **options: Any) -> list[Sample]:
    return read_exposition(text.encode("utf-8", "surrogateescape"), wanted=WANTED, **options)


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("a 1", {}, 1.0),
        ("a -1.5e3", {}, -1500.0),
        ("a\t+7 1700000000000", {}, 7.0),
        ("a{} .5", {}, 0.5),
        ('a{x="y"} 2 \r', {"x": "y"}, 2.0),
        ('a{x="y", z="w",} 2', {"x": "y", "z": "w"}, 2.0),
        ('a { x = "y" } 2', None, None),
        (r'a{x="a\"b\\n\n} 5"} 2', {"x": 'a"b\\n\n} 5'}, 2.0),
        ('a{x="}"} 3', {"x": "}"}, 3.0),
        ("a 18446744073709551615", {}, 2.0**64),
    ],
)
def test_a_wanted_line_is_read(line: str, labels: dict[str, str] | None, value: float | None) -> None:
    """Name, labels with their escapes, a number; a time behind it is not needed."""
    if labels is None:
        with pytest.raises(Malformed):
            read(f"{line}\n")
        return
    assert read(f"{line}\n") == [Sample("a", labels, value or 0.0)]


def test_what_nobody_asked_for_is_not_read() -> None:
    """However it looks: comments, blanks, other names, and nonsense under them."""
    assert read("# TYPE a counter\n\n# a 1\nother{{{ x\nab 1\n\U0001f600\nb_total 4\n") == [
        Sample("b_total", {}, 4.0)
    ]


@pytest.mark.parametrize("word", ["NaN", "+Inf", "-Inf", "Inf", "1e999", "-1e31", "nan"])
def test_what_is_no_number_is_left_out(word: str) -> None:
    """It is not zero: the series is not there."""
    assert read(f"a {word}\nc 1\n") == [Sample("c", {}, 1.0)]


def test_of_a_series_that_stands_there_twice_the_last_line_counts() -> None:
    """Whatever the order of its labels."""
    assert read('a{x="1",y="2"} 1\na{y="2",x="1"} 5\n') == [Sample("a", {"x": "1", "y": "2"}, 5.0)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a 1", id="cut off in its last line"),
        pytest.param("a\n", id="no value"),
        pytest.param("a one\n", id="a word"),
        pytest.param("a 0x10\n", id="a hexadecimal number"),
        pytest.param("a 1_0\n", id="an underscore"),
        pytest.param("a \uff11\n", id="a digit of another script"),
        pytest.param("a " + "1" * 41 + "\n", id="too many digits"),
        pytest.param("a 1 2 3\n", id="more than a time"),
        pytest.param('a{x="y" 1\n', id="braces left open"),
        pytest.param("a{x=y} 1\n", id="a label without quotes"),
        pytest.param('a{x="y""} 1\n', id="a quote too many"),
        pytest.param('a{x="1",x="2"} 1\n', id="a label twice"),
        pytest.param('a{x="\\t"} 1\n', id="an escape that there is not"),
        pytest.param("a{" + ",".join(f'l{n}="1"' for n in range(17)) + "} 1\n", id="too many labels"),
        pytest.param('a{x="' + "y" * MAX_LINE_CHARS + '"} 1\n', id="a line too long"),
        pytest.param("b" * (MAX_LINE_CHARS + 1) + "\n", id="a line too long of nobody"),
        pytest.param("\udcff\n", id="not UTF-8"),
        pytest.param("<html><body>a</body></html>", id="a page"),
    ],
)
def test_text_that_cannot_be_read_is_malformed(text: str) -> None:
    """Half of it would be wrong numbers that look right."""
    with pytest.raises(Malformed):
        read(text)


def test_text_beyond_its_bounds_is_malformed() -> None:
    """Bytes, and series."""
    assert read("", limit=0) == []
    with pytest.raises(Malformed, match="the limit is 9"):
        read("a 1\n# nothing\n", limit=9)
    many = "".join(f'a{{n="{n}"}} 1\n' for n in range(MAX_SAMPLES + 1))
    with pytest.raises(Malformed, match="more than"):
        read(many)
    assert len(read(many.replace("a{", "other{"))) == 0


@given(st.dictionaries(st.text(max_size=20), st.floats(-MAX_VALUE, MAX_VALUE), max_size=6))
def test_what_the_client_library_writes_is_read_back(values: dict[str, float]) -> None:
    """Every label value and every number of the format's own implementation."""
    registry = CollectorRegistry()
    gauge = Gauge("a", "help\nin two lines", ["x"], registry=registry)
    kept = {name: value for name, value in values.items() if "\r" not in name}
    for name, value in kept.items():
        gauge.labels(name).set(value)
    found = read_exposition(generate_latest(registry), wanted=WANTED)
    assert {sample.labels["x"]: sample.value for sample in found} == kept


@given(st.text(alphabet='a{}"=,\\ n1.\t\r', max_size=60))
def test_a_hostile_line_is_read_or_malformed(line: str) -> None:
    """Nothing else, and in no time."""
    try:
        found = read(f"a{line}\n")
    except Malformed:
        return
    assert all(abs(sample.value) < float("inf") for sample in found)
