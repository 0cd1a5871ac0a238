"""What SIGHUP may change while the daemon runs, and what needs a restart: each setting says so where it is declared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from treasuryd.settings.root import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The dotted names of the settings that differ, in the order of the file."""

    allowed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def what_may_change(old: Settings, new: Settings) -> Changes:
    """
    Compare the running settings with those read again.

    Guarantees: a name stands in exactly one of the two lists. The caller applies nothing unless it applies all of
    `allowed`; where `refused` is not empty, it says so and goes on with `old`.
    """
    allowed: list[str] = []
    refused: list[str] = []
    for name, reloads in _differences(old, new):
        (allowed if reloads else refused).append(name)
    return Changes(allowed=tuple(allowed), refused=tuple(refused))


def _differences(old: BaseModel, new: BaseModel, above: str = "") -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            found += _differences(before, after, f"{above}{name}.")
        elif before != after:
            extra: Any = field.json_schema_extra
            found.append((f"{above}{name}", isinstance(extra, Mapping) and bool(extra.get("reload"))))
    return found
