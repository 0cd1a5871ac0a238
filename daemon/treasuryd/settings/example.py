"""
The commented configuration file, written from the classes, so that it can never describe what does not exist.

`config/treasuryd.toml` is this text; a test compares them. Every value in it is commented out and is the default.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr

from treasuryd.settings.root import Settings

WIDTH: Final = 110
_HEAD: Final = """\
# Configuration of treasuryd: every setting, with its unit, its range and why its default is what it is.
#
# A line with `#` directly before a name shows the default; remove the `#` to change it. Strength, from weak to strong:
# this file, then the environment (TREASURYD_HTTP__PORT=9000 is http.port), then flags. Paths in this file are relative to
# its folder. "(reload)" marks what `systemctl reload treasuryd` (SIGHUP) may change; all else needs a restart.
# Check a file with `treasuryd config check --config FILE`.
"""


def example() -> str:
    """Write the whole file."""
    lines = [_HEAD.rstrip()]
    sections: list[str] = []
    for name, field in Settings.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            sections += _section(below, name)
        elif _item(below) is not None:
            sections += _list_section(name, field.description or "", _item(below))
        else:
            lines += ["", *_setting(name, field)]
    return "\n".join([*lines, *sections]) + "\n"


def _section(model: type[BaseModel], path: str) -> Iterator[str]:
    yield ""
    yield ""
    yield from _comment(_sentence(model))
    yield f"[{path}]"
    later: list[str] = []
    for name, field in model.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            later += _section(below, f"{path}.{name}")
        elif _item(below) is not None:
            later += _list_section(f"{path}.{name}", field.description or "", _item(below))
        else:
            yield ""
            yield from _setting(name, field)
    yield from later


def _list_section(path: str, description: str, model: type[BaseModel] | None) -> Iterator[str]:
    assert model is not None
    yield ""
    yield ""
    yield from _comment(f"{description} {_sentence(model)} Repeat the block for each.")
    yield f"#[[{path}]]"
    for name, field in model.model_fields.items():
        yield from _comment(field.description or "")
        yield f"#{name} = {_toml(field.default)}"


def _setting(name: str, field: Any) -> Iterator[str]:
    reload = " (reload)" if field.json_schema_extra["reload"] else ""
    yield from _comment(f"{field.description}{reload}")
    yield f"#{name} = {_toml(field.default)}"


def _item(annotation: object) -> type[BaseModel] | None:
    """Name the section that a list is made of; None when it is no list of sections."""
    found = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    return found[0] if found else None


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _toml(value: object) -> str:
    """Write one default; the few shapes that defaults have are the same in JSON and TOML."""
    match value:
        case Path():
            return json.dumps(str(value))
        case SecretStr():
            return '""'
        case tuple() | frozenset():
            return "[]"
        case dict():
            return "{}"
        case float():
            return repr(value)
        case int() if not isinstance(value, bool) and value >= 10_000:
            return f"{value:_}"
        case _:
            return json.dumps(value)
