"""
The text in which a node exposes its metrics (Prometheus text format 0.0.4), read strictly and only as far as wanted.

Lines of series that nobody asked for cost a look at their name. Numbers that are none (NaN, infinity, or as good as it)
are left out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from treasuryd.wire.theblock.replies import Malformed

MAX_EXPOSITION_BYTES: Final = 4 * 1024 * 1024
MAX_LINE_CHARS: Final = 4_096
MAX_SAMPLES: Final = 20_000  # of wanted series
MAX_LABELS: Final = 16
MAX_NUMBER_CHARS: Final = 40
MAX_VALUE: Final = 1e30  # far above what a node counts, and far enough below infinity to be added up

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# After the name: labels in braces, a value, perhaps a time. The last closing brace of the line ends the labels.
_REST: Final = re.compile(r"(?:\{(.*)\})?[ \t]+([^ \t{}]+)(?:[ \t]+-?[0-9]{1,20})?[ \t]*")
_LABEL: Final = re.compile(
    r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\[\\"n])*)"[ \t]*(?:,|\Z)'
)
_ESCAPED: Final = re.compile(r'\\([\\"n])')
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_NO_NUMBERS: Final = frozenset({"nan", "inf", "+inf", "-inf"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: name, labels as the node wrote them, and a finite number."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float = 0.0


def read_exposition(
    text: bytes, *, wanted: Container[str], limit: int = MAX_EXPOSITION_BYTES
) -> list[Sample]:
    """
    Read the wanted series.

    Raises: Malformed for text that is too long, not UTF-8, cut off in a line, or has a wanted line that cannot be read.
    Guarantees: no value is beyond `MAX_VALUE`; of a series that stands there twice the last line counts.
    """
    if len(text) > limit:
        raise Malformed(f"metrics of {len(text)} bytes, the limit is {limit}")
    if text and not text.endswith(b"\n"):
        raise Malformed("metrics end in the middle of a line")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("metrics are not UTF-8") from error
    found: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}
    for sample in _samples(lines, wanted):
        found[sample.name, frozenset(sample.labels.items())] = sample
        if len(found) > MAX_SAMPLES:
            raise Malformed(f"metrics with more than {MAX_SAMPLES} series that are wanted")
    return list(found.values())


def _samples(lines: list[str], wanted: Container[str]) -> Iterator[Sample]:
    for line in lines:
        if len(line) > MAX_LINE_CHARS:
            raise Malformed(f"metrics with a line of more than {MAX_LINE_CHARS} characters")
        name = _NAME.match(line)
        if name is None or name[0] not in wanted:
            continue  # a comment, a blank, or somebody else's
        rest = _REST.fullmatch(line.rstrip("\r"), name.end())
        if rest is None:
            raise Malformed(f"metrics with a line of {name[0]} that cannot be read")
        value = _number(rest[2], name[0])
        if value is not None:
            yield Sample(name[0], _labels(rest[1] or "", name[0]), value)


def _labels(text: str, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        label = _LABEL.match(text, at)
        if label is None or label[1] in found or len(found) == MAX_LABELS:
            raise Malformed(f"metrics with labels of {name} that cannot be read")
        found[label[1]] = _ESCAPED.sub(lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), label[2])
        at = label.end()
    return found


def _number(word: str, name: str) -> float | None:
    """Read a finite number; None for what is no number, or too large for one."""
    if word.lower() in _NO_NUMBERS:
        return None
    if len(word) > MAX_NUMBER_CHARS or not _NUMBER.fullmatch(word):
        raise Malformed(f"metrics with a value of {name} that is no number")
    value = float(word)
    return value if abs(value) <= MAX_VALUE else None
