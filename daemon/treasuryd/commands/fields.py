"""
Small request bodies and queries, read strictly: every field has a type, a range and a name in the refusal.

The content of disbursements is read by `core/intake.py`, which collects every error; here the first one is raised.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from treasuryd.core.fields import Fields
from treasuryd.core.model import DisbursementId
from treasuryd.core.reading import is_whole_number, shown
from treasuryd.errors import Rejected

MAX_ID: Final = 2**63 - 1
MAX_REASON: Final = 500  # characters
MAX_NAME: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who gives an order and why, as said in the request."""

    who: str
    reason: str


def fields_of(
    source: object, *, allowed: Collection[str], required: Collection[str] = ()
) -> Mapping[str, object]:
    """
    Read a JSON object with these fields and no others.

    Raises: Rejected, naming the field that is unknown (with those that exist) or missing.
    """
    if not isinstance(source, dict):
        raise Rejected(f"a JSON object is needed, this is {shown(source)}", field="body")
    if "" in source:
        raise Rejected("unknown field '': a field has a name", field="body")
    wrong: list[Rejected] = []
    Fields(source, where="", errors=wrong).only(allowed)
    if wrong:
        raise wrong[0]
    for name in required:
        if source.get(name) is None:
            raise Rejected(f"the field {name} is missing", field=name)
    return source


def text(fields: Mapping[str, object], name: str, *, limit: int, default: str | None = None) -> str:
    """Read one text of 1 to `limit` printable characters; `default` None makes it required."""
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value.strip():
        raise Rejected(f"{name} must be a text that is not empty, this is {shown(value)}", field=name)
    if len(value) > limit:
        raise Rejected(f"{name} has {len(value)} characters, the limit is {limit}", field=name)
    if not value.isprintable():
        raise Rejected(f"{name} holds characters that cannot be printed: {shown(value)}", field=name)
    return value.strip()


def whole(value: object, name: str, *, least: int = 0, most: int = MAX_ID, from_text: bool = False) -> int:
    """
    Read one integer from `least` to `most`; a boolean, a float and (unless `from_text`) a text are none.

    Args: from_text: the value stands in a path, a query or a CSV cell, where everything is text.
    """
    if isinstance(value, str) and from_text and is_whole_number(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Rejected(f"{name} must be a whole number, this is {shown(value)}", field=name)
    if not least <= value <= most:
        raise Rejected(f"{name} is {shown(value)}, it must be from {least} to {most}", field=name)
    return value


def ids(fields: Mapping[str, object], name: str = "ids", *, limit: int) -> tuple[DisbursementId, ...]:
    """Read a list of 1 to `limit` distinct ids."""
    value = fields.get(name)
    if not isinstance(value, list) or not value:
        raise Rejected(f"{name} must be a list of ids that is not empty, this is {shown(value)}", field=name)
    if len(value) > limit:
        raise Rejected(f"{name} has {len(value)} entries, the limit is {limit}", field=name)
    found = tuple(DisbursementId(whole(one, f"{name}[{row}]", least=1)) for row, one in enumerate(value))
    if len(set(found)) != len(found):
        raise Rejected(f"{name} names an id twice", field=name)
    return found


def person(fields: Mapping[str, object]) -> Person:
    """Read who and why: `reason` is required, `by` is a name as the sender states it."""
    return Person(
        who=text(fields, "by", limit=MAX_NAME, default="api"), reason=text(fields, "reason", limit=MAX_REASON)
    )
