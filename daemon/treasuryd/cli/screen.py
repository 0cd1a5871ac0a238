"""What a person sees: tables and sentences, with untrusted text stripped of everything that a terminal would obey."""

import datetime as dt
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 200  # columns where there is no terminal to ask
_UNSAFE: Final = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
)  # control, format (bidi), surrogate, line separators
_STYLES: Final[Mapping[str, str]] = {
    "finalized": "green",
    "executed": "green",
    "ok": "green",
    "closed": "green",
    "active": "green",
    "rolled_back": "dim",
    "degraded": "yellow",
    "half_open": "yellow",
    "voting": "cyan",
    "queued": "cyan",
    "fail": "bold red",
    "open": "bold red",
    "frozen": "bold red",
    "quarantined": "bold red",
}


def console(*, stderr: bool = False) -> Console:
    """A console for this call; tests swap the streams, so none is kept."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def clean(value: object, *, limit: int = 200) -> str:
    """Make a text harmless for a terminal: nothing that moves the cursor, hides or turns around; capped."""
    text = "" if value is None else str(value)
    shown = text if len(text) <= limit else text[:limit] + "…"
    return "".join("\ufffd" if unicodedata.category(char) in _UNSAFE else char for char in shown)


def cell(value: object, *, limit: int = 60) -> Text:
    """One cell of a table: plain text, never markup; the words of a status are coloured."""
    text = clean(value, limit=limit)
    return Text(text, style=_STYLES.get(text, ""))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    grid = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        grid.add_column(
            column, overflow="fold", justify="right" if column in {"amount", "fee", "delta"} else "left"
        )
    for row in rows:
        grid.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    console().print(grid)


def pairs(found: Mapping[str, object]) -> None:
    """Print names and values, one a line; what is null is left out."""
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in found.items():
        if value is not None and value != "":
            grid.add_row(Text(name), cell(value, limit=8_192))
    console().print(grid)


def say(text: object) -> None:
    """Print a sentence."""
    console().print(Text(clean(text, limit=10_000)), soft_wrap=True)


def complain(text: object, hint: object = "") -> None:
    """Print what went wrong, and what to do next, on the error stream; line by line."""
    out = console(stderr=True)
    for line in str(text).split("\n"):
        out.print(Text(clean(line, limit=2_000), style="red"), soft_wrap=True)
    for line in str(hint).split("\n") if hint else ():
        out.print(Text(clean(line, limit=2_000)), soft_wrap=True)


def as_json(value: Any) -> None:
    """Print JSON, ASCII only, so that it cannot steer a terminal either."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def many(count: int, one: str, more: str = "") -> str:
    """A count and its noun: `1 entry`, `2 entries`."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def moment(seconds: object) -> str:
    """Unix seconds as UTC, to the second."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds < 10**11:
        return ""
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
