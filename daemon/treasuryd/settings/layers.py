"""
Read the settings: file < environment < flags, and complain about everything that is wrong at once.

pydantic-settings by itself lets an unknown variable pass and takes a boolean for a number; here each is refused, with
the file and line or the variable named, and the nearest known name beside it (interfaces.md §4).
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from treasuryd.errors import Rejected
from treasuryd.settings.root import Settings

PREFIX: Final = "TREASURYD_"
FOR_THE_COMMAND_LINE: Final = frozenset(
    {"TREASURYD_CONFIG", "TREASURYD_URL", "TREASURYD_TOKEN_FILE", "TREASURYD_PYTHON"}  # the last is for make
)
MAX_FILE_BYTES: Final = 1_048_576
MAX_SHOWN_CHARACTERS: Final = 80
HINT: Final = "`treasuryd config check` repeats this; config/treasuryd.toml describes every setting."

Step: TypeAlias = str | int
Place: TypeAlias = tuple[Step, ...]  # http, port · chain, endpoints, 0, url


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source: its nested values, how it calls each place, and what was wrong with it already."""

    values: Mapping[str, Any]
    names: Mapping[Place, str]
    complaints: tuple[str, ...] = ()

    def name_of(self, place: Place) -> str | None:
        """Say where the place, or what encloses it, was set; None when this layer says nothing of it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.names:
                rest = dotted(place[length:])
                return self.names[place[:length]] + (rest if rest.startswith("[") or not rest else f".{rest}")
        return None


def load(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, object] | None = None
) -> Settings:
    """
    Read and merge all layers.

    Args: file (named by a person, so it must exist; None: none); environment (all variables of the process); flags
        (dotted names, `http.port`; None as a value means not given).
    Raises: Rejected with every complaint, one a line; `main` turns it into exit code 78.
    Guarantees: paths in the file are relative to the file's folder, all others to the working directory.
    """
    layers = (_from_file(file), _from_environment(environment), _from_flags(flags or {}))
    complaints = [complaint for layer in layers for complaint in layer.complaints]
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer.values)
    # pydantic-settings takes some of these for itself
    for name in sorted(name for name in merged if name.startswith("_")):
        del merged[name]
        where = next(found for layer in reversed(layers) if (found := layer.name_of((name,))))
        complaints.append(f"{where}: unknown setting")
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        complaints += [_complaint(detail, layers) for detail in error.errors(include_url=False)]
        raise Rejected("\n".join(complaints), hint=HINT) from None
    if complaints:
        raise Rejected("\n".join(complaints), hint=HINT)
    return settings


# --- the three layers ------------------------------------------------------------------------------------


def _from_file(file: Path | None) -> Layer:
    if file is None:
        return Layer(values={}, names={})
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Rejected(f"{file}: cannot be read: {error.strerror}", hint=HINT) from error
    if len(raw) > MAX_FILE_BYTES:
        raise Rejected(f"{file}: larger than {MAX_FILE_BYTES} bytes", hint=HINT)
    try:
        text = raw.decode()
        values = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also a number of thousands of digits, thousands of brackets
        raise Rejected(f"{file}: not valid TOML: {error}", hint=HINT) from error
    lines = toml_lines(text)
    names = {place: f"{file}:{line}: {dotted(place)}" for place, line in lines.items()}
    return Layer(values=_anchored(values, Settings, file.parent), names=names)


def _from_environment(environment: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    names: dict[Place, str] = {}
    complaints: list[str] = []
    known = {PREFIX + "__".join(place).upper(): place for place in known_places(Settings)}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in FOR_THE_COMMAND_LINE:
            continue
        place = known.get(variable)
        if place is None:
            complaints.append(f"{variable}: unknown variable{_suggestion(variable, known)}")
            continue
        names[place] = variable
        try:
            _put(values, place, _from_text(place, text))
        except ValueError as error:
            complaints.append(f"{variable}: {error}")
    return Layer(values=values, names=names, complaints=tuple(complaints))


def _from_flags(flags: Mapping[str, object]) -> Layer:
    values: dict[str, Any] = {}
    names: dict[Place, str] = {}
    for name, value in flags.items():
        if value is not None:
            place = tuple(name.split("."))
            names[place] = f"flag {name}"
            _put(values, place, value)
    return Layer(values=values, names=names)


def _from_text(place: tuple[str, ...], text: str) -> object:
    """Read one variable: lists and tables are written as JSON, everything else as it stands."""
    if get_origin(_annotation(place)) not in {tuple, list, dict, frozenset}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON, which lists and tables are written in: {error}") from error


def _put(values: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    for step in place[:-1]:
        below = values.setdefault(step, {})
        if not isinstance(below, dict):
            return  # the model complains about the section that is no table
        values = below
    values[place[-1]] = value


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay one layer over the others: tables merge, everything else (lists too) replaces."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _anchored(values: Mapping[str, Any], model: type[BaseModel], folder: Path) -> dict[str, Any]:
    """Make the paths of a file relative to its folder; what is not of the expected shape is left to the model."""
    anchored = dict(values)
    for name, field in model.model_fields.items():
        value = anchored.get(name)
        below = _section(field.annotation)
        if below is not None and isinstance(value, dict):
            anchored[name] = _anchored(value, below, folder)
        elif below is not None and isinstance(value, list):
            anchored[name] = [
                _anchored(item, below, folder) if isinstance(item, dict) else item for item in value
            ]
        elif Path in (field.annotation, *get_args(field.annotation)) and isinstance(value, str) and value:
            anchored[name] = os.path.normpath(folder / value)
    return anchored


# --- what there is ---------------------------------------------------------------------------------------


def known_places(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """List the places of all single settings, as (section, …, name)."""
    for name, field in model.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            yield from known_places(below, (*above, name))
        else:
            yield (*above, name)


def dotted(place: Place) -> str:
    """Write a place as people do: `chain.endpoints[0].url`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def _annotation(place: tuple[str, ...]) -> object:
    model: type[BaseModel] = Settings
    for step in place[:-1]:
        below = model.model_fields[step].annotation
        assert isinstance(below, type)
        assert issubclass(below, BaseModel)
        model = below
    return model.model_fields[place[-1]].annotation


def _section(annotation: object) -> type[BaseModel] | None:
    """Name the section that a field holds, alone or in a list."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _siblings(place: Place) -> list[str]:
    """Name the settings that stand beside a place; nothing where there are none."""
    model: type[BaseModel] | None = Settings
    for step in place[:-1]:
        if model is not None and isinstance(step, str):
            field = model.model_fields.get(step)
            model = _section(field.annotation) if field else None
    return list(model.model_fields) if model else []


# --- complaints ------------------------------------------------------------------------------------------


def _complaint(detail: ErrorDetails, layers: tuple[Layer, ...]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    place = _blamed(detail["loc"], message, layers)
    name = next((name for layer in reversed(layers) if (name := layer.name_of(place))), None) or dotted(place)
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown setting{_suggestion(str(place[-1]), _siblings(place))}"
    shown = "" if isinstance(detail.get("input"), Mapping | BaseModel) else _shown(detail, place)
    return f"{name}: {message[:1].lower()}{message[1:]}{shown}"


def _blamed(place: Place, message: str, layers: tuple[Layer, ...]) -> Place:
    """The place that is wrong: a rule of a whole section begins with the setting's name, which some layer may have set."""
    first = _WORD.match(message)
    inner = place if first is None else (*place, first[0])
    return inner if any(inner in layer.names for layer in layers) else place


def _shown(detail: ErrorDetails, place: Place) -> str:
    """Show what stands there, capped; secrets and what may hold a password are not repeated."""
    text = repr(detail.get("input"))
    if place[-1:] == ("admin_token",) or str(place[-1]).endswith("url") or "://" in text:
        return ""
    return f", not {text[:MAX_SHOWN_CHARACTERS]}{'…' if len(text) > MAX_SHOWN_CHARACTERS else ''}"


def _suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_WORD: Final = re.compile(r"[a-z_]+")
_STEP: Final = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def toml_lines(text: str) -> dict[Place, int]:
    """
    Say on which line each table and key of a TOML text stands, counted from 1.

    Does not guarantee: anything about text inside multi-line strings and lists; there it may name a line too many,
    which misplaces a complaint and nothing else. `tomllib` reads the values.
    """
    lines: dict[Place, int] = {}
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            table = _steps(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            place = table
            for step in _steps(key[1]):
                place = (*place, step)
                lines.setdefault(place, number)
    return lines


def _steps(key: str) -> Place:
    return tuple(step.strip("\"'") for step in _STEP.findall(key))
