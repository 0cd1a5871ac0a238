import json
import logging
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.telemetry.logs import (
    MAX_TEXT_CHARACTERS,
    Level,
    LibraryHandler,
    LineWriter,
    Log,
    take_in_libraries,
)


def told(fields: dict[str, Any], *, level: Level = Level.INFO) -> dict[str, Any]:
    lines: list[bytes] = []
    Log("json", Level.DEBUG, lines.append).tell(level, "treasuryd.test", fields)
    (line,) = lines
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_is_one_json_object_with_time_level_and_name() -> None:
    """What a collector needs to sort it."""
    line = told({"account": "treasury", "count": 3})
    assert line["event"] == "treasuryd.test"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")
    assert (line["account"], line["count"]) == ("treasury", 3)


def test_what_is_below_the_level_is_not_written() -> None:
    """And the level may change while running."""
    lines: list[bytes] = []
    log = Log("json", Level.WARNING, lines.append)
    log.tell(Level.INFO, "treasuryd.a", {})
    log.level = Level.INFO
    log.tell(Level.INFO, "treasuryd.b", {})
    assert [json.loads(line)["event"] for line in lines] == ["treasuryd.b"]


def test_text_from_outside_is_cut_and_stays_on_its_line() -> None:
    """A node's reply can be megabytes of newlines and terminal commands."""
    line = told({"detail": "bad\n\x1b[2Jtext\u2028 " + "x" * 9_999})
    assert line["detail"].startswith("bad\\x0a\\x1b[2Jtext\\u2028 x")
    assert line["detail"].endswith(" characters)")
    assert len(line["detail"]) < MAX_TEXT_CHARACTERS + 60


def test_a_field_cannot_take_the_name_of_the_event() -> None:
    """Fields are data; event, level and time are ours."""
    line = told({"event": "forged", "level": "debug", "timestamp": "never", "self": 1, "fields": 2})
    assert line["event"] == "treasuryd.test"
    assert line["level"] == "info"
    assert (line["event_"], line["level_"], line["timestamp_"]) == ("forged", "debug", "never")


@pytest.mark.parametrize(
    "fields",
    [
        {"passphrase": "canary"},
        {"admin_token": "canary"},
        {"inner": {"Authorization": "canary"}},
        {"detail": "Authorization: Bearer canary"},
        {"detail": "cannot reach http://me:canary@node:3030/"},
        {"detail": "password=canary; other"},
        {"detail": '{"token": "canary"}'},
        {"detail": "-----BEGIN ENCRYPTED PRIVATE KEY-----\ncanary\n-----END ENCRYPTED PRIVATE KEY-----"},
        {"detail": "-----BEGIN PRIVATE KEY-----\ncanary"},
        {"list": ["ok", "token=canary"]},
    ],
)
def test_secrets_never_reach_a_line(fields: dict[str, Any]) -> None:
    """Whoever logged them, under whatever name."""
    assert "canary" not in json.dumps(told(fields))


@given(st.dictionaries(st.text(max_size=20), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
)))  # fmt: skip
def test_no_value_can_fail_or_split_a_line(fields: dict[str, Any]) -> None:
    """Surrogates, huge numbers, NaN, bytes, objects: something is written, on one line."""
    told(fields)


def test_the_console_is_one_line_too() -> None:
    """Development sees columns; hostile text still cannot start a line of its own."""
    lines: list[bytes] = []
    Log("console", Level.DEBUG, lines.append).tell(
        Level.WARNING, "treasuryd.test", {"detail": "a\nb", "count": 2}
    )
    (line,) = lines
    assert line.count(b"\n") == 1
    assert b"treasuryd.test" in line
    assert b"count=2" in line


# --- the writer ------------------------------------------------------------------------------------------------


class Stuck(BytesIO):
    """A reader that does not read, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, line: Any) -> int:
        self.go.wait(10)
        return super().write(line)


def test_a_reader_that_does_not_read_never_blocks_us() -> None:
    """Lines are dropped and counted, and the gap is told once there is room."""
    stream = Stuck()
    writer = LineWriter(stream, capacity=10)
    for number in range(100):
        writer.write(b"%d\n" % number)
    assert writer.dropped >= 89
    assert not writer.drain(0.01)
    stream.go.set()
    assert writer.drain(10)
    assert b"log_lines_dropped" in stream.getvalue()
    assert f'"count":{writer.dropped}'.encode() in stream.getvalue()


def test_a_closed_standard_error_ends_nothing() -> None:
    """The work goes on without a log."""
    stream = BytesIO()
    stream.close()
    writer = LineWriter(stream)
    writer.write(b"x\n")
    assert writer.drain(10)
    assert writer.dropped == 1


# --- libraries -------------------------------------------------------------------------------------------------


@pytest.fixture
def libraries() -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    take_in_libraries(Log("json", Level.DEBUG, lines.append))
    yield lines
    root.setLevel(before[0])
    for handler in [known for known in root.handlers if isinstance(known, LibraryHandler)]:
        root.removeHandler(handler)


def test_a_librarys_text_is_a_detail_and_no_event(libraries: list[bytes]) -> None:
    """Untrusted text is never an event name."""
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "GET /\nforged")
    (line,) = (json.loads(one) for one in libraries)
    assert line["event"] == "treasuryd.library"
    assert line["logger"] == "aiohttp.server"
    assert line["detail"] == "Error handling request from GET /\\x0aforged"
    assert line["level"] == "error"


def test_a_broken_format_and_an_exception_are_told_too() -> None:
    """A library's mistake must not cost the line."""
    lines: list[bytes] = []
    handler = LibraryHandler(Log("json", Level.DEBUG, lines.append))
    error = ValueError("reason")
    for text, arguments, info in (("%d apples", ("no",), None), ("failed", (), (ValueError, error, None))):
        handler.emit(logging.LogRecord("x", logging.WARNING, "x.py", 1, text, arguments, info))
    first, second = (json.loads(one) for one in lines)
    assert first["detail"] == "%d apples"
    assert second["error"] == "ValueError('reason')"


def test_taking_libraries_in_twice_writes_each_line_once(libraries: list[bytes]) -> None:
    """A second configuration replaces the first."""
    more: list[bytes] = []
    take_in_libraries(Log("json", Level.DEBUG, more.append))
    logging.getLogger("x").warning("once")
    assert (len(libraries), len(more)) == (0, 1)
