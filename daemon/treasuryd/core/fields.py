"""Reading typed fields out of a JSON object from people, collecting every error instead of stopping at the first."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from treasuryd.core.reading import MAX_DIGITS, shown
from treasuryd.errors import Refusal, Rejected

_DIGITS: Final = re.compile(r"[0-9]{1,40}")


def problem(field: str, message: str, *, hint: str = "", kind: Refusal = Refusal.INVALID) -> Rejected:
    """Make the refusal of one field; the message begins with its place."""
    return Rejected(f"{field}: {message}", hint=hint, field=field, kind=kind)


class Fields:
    """
    One object of a request and the place where it stands (`items[3].`).

    Guarantees: a reading method never raises; what is wrong goes to `errors`, and a harmless value comes back.
    `null` counts as absent.
    """

    __slots__ = ("errors", "received", "where")

    def __init__(self, received: Mapping[str, Any], *, where: str, errors: list[Rejected]) -> None:
        self.received = received
        self.where = where
        self.errors = errors

    def wrong(self, name: str, message: str, *, hint: str = "", kind: Refusal = Refusal.INVALID) -> None:
        """Note an error of the field `name`."""
        self.errors.append(problem(self.where + name, message, hint=hint, kind=kind))

    def only(self, known: Collection[str]) -> None:
        """Refuse unknown fields; a near miss is named."""
        for name in self.received:
            if name not in known:
                near = get_close_matches(name[:64], known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Known fields: {', '.join(sorted(known))}."
                self.wrong(shown(name)[1:-1], "unknown field", hint=hint)

    def present(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.received.get(name) is not None

    def optional(self, name: str, otherwise: Sequence[object]) -> Sequence[object]:
        """`otherwise` where the field is present, nothing where it is not."""
        return otherwise if self.present(name) else ()

    def text(self, name: str, *, limit: int, required: bool = False) -> str:
        """A string of at most `limit` UTF-8 bytes, never cut; a required one may not be blank."""
        value = self.received.get(name)
        if value is None:
            if required:
                self.wrong(name, "is missing")
            return ""
        if not isinstance(value, str):
            self.wrong(name, f"must be a string, got {shown(value)}")
            return ""
        if len(value) * 4 > limit or not value.isascii():
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                self.wrong(name, f"holds half a surrogate pair: {shown(value)}")
                return ""
            if size > limit:
                self.wrong(name, f"length {size} exceeds the maximum of {limit} bytes")
                return ""
        if required and not value.strip():
            self.wrong(name, f"must not be empty, got {shown(value)}")
        return value

    def integer(
        self,
        name: str,
        least: int,
        most: int,
        *,
        unit: str,
        default: int | None = None,
        strings: bool = False,
    ) -> int:
        """An integer field of `least` … `most`; missing is an error without a default; 0 comes back for errors."""
        value = self.received.get(name)
        if value is None:
            if default is None:
                self.wrong(name, f"is missing, it must be an integer of {least} to {most} {unit}".rstrip())
            return default or 0
        return self.number(name, value, least, most, unit=unit, strings=strings)

    def number(
        self, name: str, value: object, least: int, most: int, *, unit: str, strings: bool = False
    ) -> int:
        """One integer of `least` … `most`; booleans and floats are none, decimal strings only where `strings`."""
        if strings and isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            also = ", or a string of ASCII digits" if strings else ""
            self.wrong(
                name,
                f"must be an integer of {least} to {most} {unit}".rstrip() + f"{also}, got {shown(value)}",
            )
            return 0
        if not least <= value <= most:
            said = "must be greater than zero, " if value <= 0 < least else ""
            self.wrong(
                name, f"{said}must be {least} to {most} {unit}".rstrip() + f", got {shown_number(value)}"
            )
            return 0
        return value

    def array(self, name: str, limit: int | None) -> Sequence[Any]:
        """An array of at most `limit` items; empty when absent or wrong."""
        value = self.received.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.wrong(name, f"must be an array, got {shown(value)}")
            return ()
        if limit is not None and len(value) > limit:
            self.wrong(name, f"{len(value)} items, the limit is {limit}")
            return ()
        return value

    def inner(self, name: str) -> "Fields | None":
        """An object inside this one; None when absent or wrong."""
        value = self.received.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong(name, f"must be an object, got {shown(value)}")
            return None
        return Fields(value, where=f"{self.where}{name}.", errors=self.errors)

    def objects(self, name: str, listed: Sequence[object]) -> Iterator["Fields"]:
        """Objects inside an array; what is none is an error and skipped."""
        for at, value in enumerate(listed):
            if isinstance(value, dict):
                yield Fields(value, where=f"{self.where}{name}[{at}].", errors=self.errors)
            else:
                self.wrong(f"{name}[{at}]", f"must be an object, got {shown(value)}")


def shown_number(value: int) -> str:
    """Write an integer, of a monstrous one the number of bits (its digits would cost time and say nothing)."""
    return str(value) if value.bit_length() <= MAX_DIGITS * 4 else f"a number of {value.bit_length()} bits"
