"""
Log lines: JSON for machines in production, columns for people in development; one line per fact.

Text from outside (a node's reply, a library's message) is data: it stands in a field, cut to a bound and without
control characters, and is never the name of an event. What looks like a secret is blanked, whoever logged it.
"""

import atexit
import logging
import queue
import re
import threading
from collections.abc import Callable, Mapping, MutableMapping
from enum import IntEnum
from typing import Any, BinaryIO, Final, Literal

import orjson
import structlog

MAX_TEXT_CHARACTERS: Final = 500  # of one value
MAX_ITEMS: Final = 50  # of one list or table in a line
MAX_QUEUED_LINES: Final = 10_000  # beyond it lines are dropped and counted: the loop never waits for a reader
DRAIN_SECONDS: Final = 2.0
BLANK: Final = "***"

Line = MutableMapping[str, Any]


class Level(IntEnum):
    """How much is written: this level and above."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


class LineWriter:
    """
    Writes lines on a thread of its own.

    Guarantees: `write` never blocks and never raises. Does not guarantee: that a line is written when the reader of
    our standard error does not read; what was dropped is counted, and told as soon as there is room.
    """

    def __init__(self, stream: BinaryIO, *, capacity: int = MAX_QUEUED_LINES) -> None:
        self._stream = stream
        self._lines: queue.Queue[bytes] = queue.Queue(capacity)
        self._untold = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.drain)

    def write(self, line: bytes) -> None:
        """Hand over one line, its end included."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            self._untold += 1

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until everything is written, at most `seconds`; answers whether it was."""
        with self._lines.all_tasks_done:
            return self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, seconds)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._stream.write(line)
                if self._untold:
                    told, self._untold = self._untold, 0
                    self._stream.write(
                        orjson.dumps({"event": "treasuryd.log_lines_dropped", "count": told}) + b"\n"
                    )
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += 1  # standard error is gone; the work goes on without it
            finally:
                self._lines.task_done()


class Log:
    """
    The log of the process.

    Guarantees: `tell` never raises on values of any kind; a line is one line; `level` may be changed at any time.
    """

    def __init__(
        self,
        form: Literal["json", "console"],
        level: Level,
        write: Callable[[bytes], object],
        *,
        colors: bool = False,
    ) -> None:
        self.level = level
        self._logger = structlog.wrap_logger(
            _Sink(write),
            processors=[
                _unfold,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                blank_secrets,
                bound_text,
                _as_json if form == "json" else _as_columns(colors=colors),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def tell(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line; `event` is a name of ours, everything else stands in `fields`."""
        if level < self.level:
            return
        getattr(self._logger, level.name.lower())(event, fields=fields)


class LibraryHandler(logging.Handler):
    """Takes the lines of libraries (aiohttp, asyncio) in: their text is a detail of our event."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record; what cannot be formatted is told unformatted."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's format string is not ours to trust
            text = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name, "detail": text}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
        level = max((known for known in Level if known <= record.levelno), default=Level.DEBUG)
        self._log.tell(level, "treasuryd.library", fields)


def take_in_libraries(log: Log) -> None:
    """Route the standard library's logging, of which there is one in a process, into `log`."""
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(LibraryHandler(log))
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # a scrape every few seconds is no news


# --- processors ------------------------------------------------------------------------------------------------

_SECRET_NAME: Final = re.compile(
    r"passphrase|password|passwd|secret|token|credential|private|authorization|cookie|seed|mnemonic",
    re.IGNORECASE,
)
_SECRET_TEXT: Final = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        BLANK,
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), rf"\1 {BLANK}"),
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{BLANK}@"),
    (
        re.compile(r"(?i)\b(password|passphrase|secret|token)(['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"),
        rf"\1\2{BLANK}",
    ),
)
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


_OURS: Final = frozenset({"event", "level", "timestamp"})


def _unfold(_logger: object, _method: str, line: Line) -> Line:
    """Lay the fields beside the event; one that carries a name of ours gets an underscore."""
    fields = {(f"{name}_" if name in _OURS else name): value for name, value in line["fields"].items()}
    return {"event": line["event"], **fields}


def blank_secrets(_logger: object, _method: str, line: Line) -> Line:
    """Blank what is named like a secret, and what looks like one inside any text."""
    return {name: BLANK if _SECRET_NAME.search(name) else _blanked(value) for name, value in line.items()}


def _blanked(value: object) -> object:
    match value:
        case str():
            for pattern, instead in _SECRET_TEXT:
                value = pattern.sub(instead, value[: 4 * MAX_TEXT_CHARACTERS])
            return value
        case Mapping():
            return {
                name: BLANK if _SECRET_NAME.search(str(name)) else _blanked(inner)
                for name, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_blanked(inner) for inner in value]
        case _:
            return value


def bound_text(_logger: object, _method: str, line: Line) -> Line:
    """Cut every value to its bound and spell control characters out, so that a line stays one line."""
    return {_text(str(name)): _bounded(value) for name, value in line.items()}


def _bounded(value: object) -> object:
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else _text(str(value))  # what JSON readers can hold
        case Mapping():
            return {_text(str(name)): _bounded(inner) for name, inner in list(value.items())[:MAX_ITEMS]}
        case list() | tuple() | set() | frozenset():
            return [_bounded(inner) for inner in list(value)[:MAX_ITEMS]]
        case _:
            return _text(value if isinstance(value, str) else repr(value))


def _text(text: str) -> str:
    kept = text[:MAX_TEXT_CHARACTERS].encode("utf-8", "backslashreplace").decode().translate(_CONTROL)
    return f"{kept}… ({len(text)} characters)" if len(text) > MAX_TEXT_CHARACTERS else kept


def _as_json(_logger: object, _method: str, line: Line) -> bytes:
    return orjson.dumps(line, default=repr, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _as_columns(*, colors: bool) -> Callable[[object, str, Line], bytes]:
    render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=34, sort_keys=False)

    def columns(logger: object, method: str, line: Line) -> bytes:
        line["timestamp"] = str(line["timestamp"])[11:23]  # of the day, to the millisecond
        return f"{render(logger, method, line)}\n".encode()

    return columns


class _Sink:
    """What structlog calls at the end of its chain; every level goes the same way."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write
