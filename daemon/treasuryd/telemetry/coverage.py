"""
Do rules, alerts and dashboards speak of what is exported, and is all that is exported documented?

Two thirds of the original's series were never emitted, and most of its alerts watched these (the defects D26, D35). So the
names in `monitoring/` are held against the registry and against what a running daemon answers.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from treasuryd.errors import Refusal, Rejected
from treasuryd.telemetry import registry

BY_PROMETHEUS: Final = frozenset({"up", "ALERTS", "ALERTS_FOR_STATE"})
SCRAPED: Final = (
    "scrape_",
    "prometheus_",
    "alertmanager_",
)  # what Prometheus says of a scrape, and of itself
OTHER_VARIABLES: Final = frozenset({"datasource", "custom", "interval", "textbox", "constant"})  # no queries
MAX_FILE_BYTES: Final = 16 * 2**20

_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
_NO_METRICS: Final = re.compile(  # ranges, label lists, variables of a dashboard
    r"\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\$\{[^}]*\}|\$\w+"
)
_NAME: Final = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS: Final = frozenset(
    {"and", "or", "unless", "bool", "offset", "atan2", "by", "without", "on", "ignoring", "group_left", "group_right",
     "inf", "nan", "start", "end"}
)  # fmt: skip
_AGGREGATION: Final = re.compile(
    r"\b(?:sum|min|max|avg|count|group|stddev|stdvar|topk|bottomk|quantile|count_values|limitk)\b(?=\s*(?:\(|$))"
)
_FIELD: Final = re.compile(r"^(?P<indent>\s*)(?P<item>- )?(?P<key>expr|record):\s*(?P<value>.*)$")
_BLOCK: Final = re.compile(r"[>|][+-]?")
_LABEL_QUERY: Final = re.compile(
    r"^\s*label_values\s*\(\s*(?P<expr>.*?)\s*,\s*(?P<label>\w+)\s*\)\s*$", re.DOTALL
)
_SELECTOR: Final = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER: Final = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
OF_THE_SCRAPE: Final = frozenset(
    {"job", "instance", "le", "__name__"}
)  # labels that every series may be asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A metric that a file speaks of."""

    name: str
    place: str  # the file
    labels: frozenset[str] = frozenset()  # that its selectors ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What is wrong, each as a list of sentences; `absent` is in order and worth knowing."""

    unknown: tuple[str, ...] = ()  # named, and neither recorded nor declared
    mislabelled: tuple[str, ...] = ()  # asked for by a label that it does not have
    silent: tuple[str, ...] = ()  # named and declared, and this daemon does not export it
    undeclared: tuple[str, ...] = ()  # exported, and in no file of the registry
    undocumented: tuple[str, ...] = ()  # exported, and not in the page
    absent: tuple[str, ...] = ()  # named, and absent just now for the reason that the registry gives
    names: int = 0
    exported: int = 0

    @property
    def wrong(self) -> tuple[str, ...]:
        """Everything that has to be put right."""
        return (*self.unknown, *self.mislabelled, *self.silent, *self.undeclared, *self.undocumented)


def compare(named: Iterable[Named], recorded: Collection[str], exposition: str, page: str) -> Coverage:
    """
    Hold the names of files, what a daemon exports and the documented page against each other.

    Args: recorded are names that recording rules make; exposition is the text that `/metrics` answers.
    """
    places: dict[str, list[str]] = {}
    named = list(named)
    for one in named:
        where = places.setdefault(one.name, [])
        if one.place not in where:
            where.append(one.place)
    exported = exported_names(exposition)
    unknown, silent, absent = [], [], []
    for name, files in sorted(places.items()):
        if name in recorded or name in BY_PROMETHEUS or name.startswith(SCRAPED):
            continue
        family = registry.BY_SAMPLE.get(name)
        if family is None:
            unknown.append(f"{name}: nothing exports or records it ({', '.join(files)})")
        elif name not in exported and family.absent:
            absent.append(f"{name}: absent {family.absent}")
        elif name not in exported:
            silent.append(f"{name}: declared, and this daemon does not export it ({', '.join(files)})")
    undeclared = sorted(exported - registry.BY_SAMPLE.keys())
    families = {registry.BY_SAMPLE[name].name for name in exported & registry.BY_SAMPLE.keys()}
    return Coverage(
        unknown=tuple(unknown),
        mislabelled=tuple(dict.fromkeys(sentence for one in named for sentence in _mislabelled(one))),
        silent=tuple(silent),
        undeclared=tuple(f"{name}: exported, and the registry does not know it" for name in undeclared),
        undocumented=tuple(
            f"{name}: exported, and not in the page" for name in sorted(families) if f"`{name}`" not in page
        ),
        absent=tuple(absent),
        names=len(places),
        exported=len(exported),
    )


def _mislabelled(one: Named) -> Iterator[str]:
    family = registry.BY_SAMPLE.get(one.name)
    if family is not None:
        for label in sorted(one.labels - OF_THE_SCRAPE - set(family.label_names)):
            yield f"{one.name}: has no label {label} ({one.place})"


def exported_names(exposition: str) -> frozenset[str]:
    """Names of all series in a text of metrics."""
    return frozenset(
        found[0]
        for line in exposition.splitlines()
        if not line.startswith("#") and (found := re.match(r"[a-zA-Z_:][\w:]*", line))
    )


# --- what files name -------------------------------------------------------------------------------------------


def names_in(expression: str) -> set[str]:
    """Every metric that a PromQL expression names, variables of a dashboard left out."""
    text = _STRINGS.sub('""', expression)
    text = re.sub(r"\{[^}]*\}", " ", re.sub(r"\$\{[^}]*\}", " ", text))
    text = _AGGREGATION.sub(" ", _NO_METRICS.sub(" ", text))
    return {name for name in _NAME.findall(text) if name.lower() not in _WORDS}


def labels_in(expression: str) -> dict[str, frozenset[str]]:
    """Labels that the selectors of an expression ask for, by metric."""
    text = re.sub(r"\$\{[^}]*\}", "", _STRINGS.sub('""', expression))
    found: dict[str, frozenset[str]] = {}
    for name, matchers in _SELECTOR.findall(text):
        found[name] = found.get(name, frozenset()) | frozenset(_MATCHER.findall(matchers))
    return found


def _named(expression: str, place: str) -> list[Named]:
    labels = labels_in(expression)
    return [
        Named(name=name, place=place, labels=labels.get(name, frozenset()))
        for name in sorted(names_in(expression))
    ]


def read_folder(folder: Path) -> tuple[list[Named], set[str]]:
    """
    Read all rule files and dashboards of a folder: the metrics that they name, and the names that rules record.

    Raises: Rejected where there are none, or one cannot be read.
    """
    named: list[Named] = []
    recorded: set[str] = set()
    for path in sorted([*folder.glob("*.yml"), *folder.glob("*.json")]):
        text = _text(path)
        if path.suffix == ".yml" and re.search(r"^groups:", text, flags=re.MULTILINE):
            for key, value in rule_fields(text):
                if key == "record":
                    recorded.add(value)
                else:
                    named += _named(value, path.name)
        elif path.suffix == ".json":
            for expression in expressions_of(_json(path, text)):
                named += _named(expression, path.name)
    if not named:
        raise Rejected(
            f"{folder}: there are neither rules nor dashboards in it",
            hint="Name the folder `monitoring` of the release with --monitoring.",
            kind=Refusal.NOT_FOUND,
        )
    return named, recorded


def rule_fields(text: str) -> Iterator[tuple[str, str]]:
    """
    Give `expr` and `record` of each rule, in order.

    As much of YAML as rules need: one line, quoted or not, or more lines that are indented further.
    """
    lines = text.splitlines()
    for place, line in enumerate(lines):
        found = _FIELD.match(line)
        if found is None:
            continue
        column = len(found["indent"]) + len(found["item"] or "")
        value = [] if _BLOCK.fullmatch(found["value"].strip()) else [found["value"].strip()]
        for more in lines[place + 1 :]:
            if more.strip() and len(more) - len(more.lstrip()) <= column:
                break
            value.append(more.strip())
        whole = " ".join(value).strip()
        quoted = len(whole) > 1 and whole[0] == whole[-1] and whole[0] in "'\""
        yield found["key"], whole[1:-1] if quoted else whole


def expressions_of(board: Any) -> Iterator[str]:
    """Give every query of a dashboard: of its panels, its variables and its annotations, however deep."""
    if isinstance(board, Mapping):
        for key, value in board.items():
            if key in {"query", "definition"} and board.get("type") in OTHER_VARIABLES:
                continue
            if key in {"expr", "query", "definition"} and isinstance(value, str):
                asked = _LABEL_QUERY.match(value)
                yield _asked(asked["expr"], asked["label"]) if asked else value
            else:
                yield from expressions_of(value)
    elif isinstance(board, list):
        for one in board:
            yield from expressions_of(one)


def _asked(expression: str, label: str) -> str:
    """A variable's `label_values(metric, label)` as a selector of that label."""
    return expression if "{" in expression else f'{expression}{{{label}=""}}'


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Rejected(f"{path}: larger than {MAX_FILE_BYTES} bytes", kind=Refusal.TOO_LARGE)
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected(f"{path}: cannot be read: {error}", kind=Refusal.INVALID) from error


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Rejected(f"{path}: is no JSON: {error}", kind=Refusal.INVALID) from error
