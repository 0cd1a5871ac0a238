"""
Write docs/evidence.md from the records of docs/evidence/ (`make evidence`): figures are recorded, never typed.

Each record was written by the command that measured it (`tests/evidence/record.py`). A record that is missing is shown as
not run, with the command that makes it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "evidence"
PAGE = ROOT / "docs" / "evidence.md"
SEEDS = {"seed", "first seed", "failing seeds"}
ALREADY_SAID = {"what", "command", "machine", "date", "python", "sqlite", "commit", "figures"}


@dataclass(frozen=True)
class Section:
    """One record: the name of its file, its heading, what makes it."""

    name: str
    title: str
    command: str


SECTIONS = (
    Section("matrix", "Failure matrix", "make evidence-matrix"),
    Section("simulation", "Simulated histories", "make sim-long"),
    Section("bugs", "Planted bugs", "make bugs"),
    Section("crash", "A crash at every await and every statement", "make crash"),
    Section("chaos", "Killed and stopped processes", "make chaos"),
    Section("io-faults", "Failing disks, power cuts, clocks and descriptors", "make io-faults"),
    Section("model", "The model", "make model"),
    Section("fuzz", "Fuzzing", "make fuzz"),
    Section("coverage", "Branch coverage", "make coverage"),
    Section("mutation", "Mutation", "make mutation"),
)

HEAD = """# Evidence

What was measured of the promise in [protocol.md](protocol.md), and how anybody measures it again. This page is written by
`make evidence` from the records in [evidence/](evidence/README.md), which the commands themselves write; nothing is typed.
"""


def page(folder: Path) -> str:
    """Give the whole page, from the records of a folder."""
    parts = [HEAD]
    known = {section.name for section in SECTIONS}
    others = sorted(file.stem for file in folder.glob("*.json") if file.stem not in known)
    sections = (*SECTIONS, *(Section(name, name.replace("_", " ").capitalize(), "") for name in others))
    for section in sections:
        file = folder / f"{section.name}.json"
        parts.append(f"## {section.title}\n")
        if not file.exists():
            parts.append(f"*Not run* (`{section.command}`).\n")
            continue
        parts += _record(json.loads(file.read_text(encoding="utf-8")), section)
    return "\n".join(parts)


def _record(record: Mapping[str, Any], section: Section) -> Iterator[str]:
    yield f"{record.get('what', '')}\n"
    commit = record.get("commit")
    yield (
        f"`{record.get('command', section.command)}` · {record.get('date', '')} · {record.get('machine', '')} · "
        f"Python {record.get('python', '')} · SQLite {record.get('sqlite', '')}"
        + (f" · commit {commit}" if commit else "")
        + "\n"
    )
    figures: Mapping[str, Any] = record.get("figures", {})
    plain = [(name, value) for name, value in figures.items() if not _is_table(value)]
    if plain:
        yield _table(
            ("figure", "value"), [(name.replace("_", " "), _as_typed(name, value)) for name, value in plain]
        )
    for name, value in figures.items():
        if _is_table(value):
            columns = list(dict.fromkeys(column for row in value for column in row))
            if len(figures) > 1:
                yield f"**{name.replace('_', ' ').capitalize()}**\n"
            yield _table(
                [column.replace("_", " ") for column in columns],
                [[_as_typed(column, row.get(column)) for column in columns] for row in value],
            )


def _as_typed(name: str, value: Any) -> Any:
    """Give a seed as one types it into a command: it is a name and no quantity."""
    if name not in SEEDS or value is None:
        return value
    return [str(one) for one in value] if isinstance(value, list) else str(value)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """Write one value: numbers with separators, lists and mappings in one line."""
    match value:
        case None:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:,.2f}".rstrip("0").rstrip(".")
        case dict():
            text = ", ".join(f"{name} {_cell(each)}" for name, each in value.items()) or "none"
        case list():
            text = ", ".join(_cell(each) for each in value) or "none"
        case _:
            text = str(value)
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(FOLDER), encoding="utf-8")
