"""
Reads the named queries of `sql/sqlite/*.sql`: to each a name, a sentence and one statement for the whole batch.

A file is made of blocks. `-- name: x` begins a query; `-- fragment: x` a piece of text that later queries of the file
(and of `queries.sql`, which is read first) may use as `{x}`. Lines that begin with `--` are for the reader.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from treasuryd.errors import Corrupt

FOLDER: Final = files("treasuryd.store") / "sql" / "sqlite"


def read_text(name: str) -> str:
    """One file of the package's SQL."""
    return (FOLDER / name).read_text(encoding="utf-8")


def load(*names: str) -> Mapping[str, str]:
    """
    Read the queries of the files, in order.

    Raises: Corrupt when a name stands twice or a fragment is unknown: our bug, found at import.
    """
    fragments: dict[str, str] = {}
    queries: dict[str, str] = {}
    for kind, name, text in (block for file in names for block in _blocks(read_text(file))):
        for fragment, body in fragments.items():
            text = text.replace(f"{{{fragment}}}", body)  # noqa: PLW2901 — the text grows step by step
        if "{" in text or name in fragments or name in queries:
            raise Corrupt(f"SQL {kind} {name}: unknown fragment, or the name stands twice")
        (fragments if kind == "fragment" else queries)[name] = text
    return queries


def _blocks(text: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, list[str]]] = []
    for line in text.splitlines():
        head, _, name = line.removeprefix("-- ").partition(": ")
        if line.startswith("-- ") and head in ("name", "fragment"):
            found.append((head, name.strip(), []))
        elif found and not line.startswith("--"):
            found[-1][2].append(line)
    return [(kind, name, "\n".join(lines).strip().removesuffix(";")) for kind, name, lines in found]
