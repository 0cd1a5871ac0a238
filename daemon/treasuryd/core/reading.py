"""
Text from people, read strictly: JSON and CSV become plain values, or a refusal that names the place.

What a lenient parser would guess at (the second of two equal keys, a rounded number, half a character) is refused here,
since the value that is guessed may be an amount.
"""

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from treasuryd.errors import Refusal, Rejected

MAX_BODY_BYTES: Final = 16 * 1024 * 1024  # interfaces.md §1
MAX_DEPTH: Final = 32  # the deepest request of ours has 5 levels
MAX_DIGITS: Final = 40  # u64 has 20
MAX_CELLS: Final = 64
SHOWN: Final = 80  # characters of an offending value that a message repeats

CSV_COLUMNS: Final = ("ref", "account", "destination", "amount", "memo", "scheduled_epoch", "depends_on")
CSV_REQUIRED: Final = ("destination", "amount", "scheduled_epoch")

# A whole string, or an unfinished one up to the end, so that no position is looked at twice.
_STRING: Final = re.compile(r'"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?:"|\Z)', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def shown(value: object) -> str:
    """Repeat an untrusted value in a message: printable and short."""
    text = json.dumps(value, default=ascii)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def read_json(text: bytes, *, limit: int = MAX_BODY_BYTES) -> Any:
    """
    Read one JSON document that a person or a program of theirs wrote.

    Args: limit is the longest text accepted, in bytes.
    Raises: Rejected, naming place and limit: too long, not UTF-8, malformed, a key twice in one object, NaN or an
        infinity, a number of more than 40 digits, more than 32 levels, half a surrogate pair.
    Guarantees: every string can be encoded as UTF-8. Numbers with a fraction or an exponent stay floats, so that a
        field which wants an integer can refuse them.
    """
    source = _decoded(text, limit=limit, what="the request body")
    _check_depth(source)
    try:
        value = json.loads(
            source,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as error:
        raise Rejected(
            f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            hint="Check commas, quotes and brackets at that place.",
        ) from error
    if _SURROGATE.search(source):
        _check_unicode(value)
    return value


def _decoded(text: bytes, *, limit: int, what: str) -> str:
    if len(text) > limit:
        raise Rejected(
            f"{what} is {len(text)} bytes long, the limit is {limit} bytes",
            hint="Send it in parts as a named batch.",
            kind=Refusal.TOO_LARGE,
        )
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected(f"{what} is not UTF-8: byte {error.start} is 0x{text[error.start]:02x}") from error


def _check_depth(source: str) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", source)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise Rejected(f"JSON is nested more than {MAX_DEPTH} levels deep, the limit is {MAX_DEPTH}")


def _check_unicode(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Rejected(
            "JSON text holds half a surrogate pair (\\ud800 to \\udfff), which is no character"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Rejected(f"the key {shown(name)} stands twice in one JSON object", field=name[:SHOWN])
        found[name] = value
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise Rejected(f"{constant} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Rejected(f"a number of {len(digits)} digits: {shown(digits)}, the limit is {MAX_DIGITS} digits")
    return int(digits)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Rejected(f"the number {shown(text)} is out of range")
    return value


# --- CSV ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """One data row: the line it ends on, the item as JSON would say it, and what is wrong with its cells."""

    line: int
    item: dict[str, Any]
    errors: tuple[Rejected, ...] = field(default=())


def read_csv(text: bytes, *, limit: int = MAX_BODY_BYTES) -> tuple[CsvRow, ...]:
    """
    Read a CSV file with a header; columns of interfaces.md §1, in any order. An empty cell is an absent field.

    Returns: one row for each data row, bad ones with their errors (`field` is `line 7: amount`), so that a person sees
        them all at once. Whether the values make sense is intake's question.
    Raises: Rejected when the file as a whole cannot be read: too long, not UTF-8, header missing, unknown or double.
    """
    source = _decoded(text, limit=limit, what="the CSV file")
    reader = csv.reader(io.StringIO(source, newline=""), strict=True)
    rows: list[CsvRow] = []
    try:
        columns = _header(next(reader, []))
        rows.extend(_row(columns, cells, line=reader.line_num) for cells in reader if cells)
    except csv.Error as error:
        raise Rejected(f"line {reader.line_num}: not valid CSV: {error}", hint="Check the quotes.") from error
    return tuple(rows)


def _header(cells: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip() for cell in cells[:MAX_CELLS])
    known = ", ".join(CSV_COLUMNS)
    for column in columns:
        if column not in CSV_COLUMNS:
            raise Rejected(
                f"line 1: unknown column {shown(column)}",
                hint=f"The first line names the columns: {known}.",
                field="line 1",
            )
        if columns.count(column) > 1:
            raise Rejected(f"line 1: the column {column} stands twice", field=f"line 1: {column}")
    absent = [column for column in CSV_REQUIRED if column not in columns]
    if absent:
        raise Rejected(
            f"line 1: the column {absent[0]} is missing",
            hint=f"The first line names the columns: {known}.",
            field="line 1",
        )
    return columns


def _row(columns: Sequence[str], cells: Sequence[str], *, line: int) -> CsvRow:
    if len(cells) != len(columns):
        wrong = Rejected(
            f"line {line}: {len(cells)} cells, the header has {len(columns)}",
            hint="A comma inside a cell needs quotes around the cell.",
            field=f"line {line}",
        )
        return CsvRow(line=line, item={}, errors=(wrong,))
    errors: list[Rejected] = []
    item: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if column == "depends_on":
            errors.extend(_read_dependencies(cell, item, line=line))
        elif column == "scheduled_epoch":
            item[column] = int(cell) if is_whole_number(cell) else cell
        else:
            item[column] = cell
    return CsvRow(line=line, item=item, errors=tuple(errors))


def _read_dependencies(cell: str, item: dict[str, Any], *, line: int) -> list[Rejected]:
    """Put ids and @refs of one cell into their fields; answers what is neither."""
    tokens = cell.split(" ")
    ids = [int(token) for token in tokens if is_whole_number(token)]
    refs = [token[1:] for token in tokens if token.startswith("@")]
    if ids:
        item["depends_on"] = ids
    if refs:
        item["depends_on_refs"] = refs
    return [
        Rejected(
            f"line {line}: depends_on: {shown(token)} is neither an id nor a ref",
            hint="Write ids and refs separated by spaces, a ref with a leading @: `12 @rent`.",
            field=f"line {line}: depends_on",
        )
        for token in tokens
        if token and not token.startswith("@") and not is_whole_number(token)
    ]


def is_whole_number(text: str) -> bool:
    """Whether `text` is nothing but ASCII digits, at most 40 of them."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
