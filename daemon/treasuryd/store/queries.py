"""
Reads the named queries of `sql/sqlite/*.sql`: to each a name, a sentence and one statement for the whole batch.

A file is made of blocks. `-- name: x` begins a query; `-- fragment: x` a piece of text that later queries of the file
(and of `queries.sql`, which is read first) may use as `{x}`. Lines that begin with `--` are for the reader.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from treasuryd.errors import Corrupt

FOLDER: Final = files("treasuryd.store") / "sql" / "sqlite"
HEAD: Final = re.compile(r"-- (name|fragment): (\S+)")  # of a block
WRITING: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE")  # how a statement that writes begins

# text -> name of each loaded statement that writes, None for one that reads; and back, of those that write
_names: dict[str, str | None] = {}
_texts: dict[str, str] = {}


def read_text(name: str) -> str:
    """One file of the package's SQL."""
    return (FOLDER / name).read_bytes().decode()


def load(*names: str) -> Mapping[str, str]:
    """
    Read the queries of the files, in order.

    Raises: Corrupt when a name stands twice or a fragment is unknown: our bug, found at import.
    """
    fragments: dict[str, str] = {}
    queries: dict[str, str] = {}
    for file, (kind, name, text) in ((one, block) for one in names for block in _blocks(read_text(one))):
        for fragment, body in fragments.items():
            text = text.replace(f"{{{fragment}}}", body)  # noqa: PLW2901 — the text grows step by step
        if "{" in text or name in fragments or name in queries:
            raise Corrupt(f"SQL {kind} {name}: unknown fragment, or the name stands twice")
        (fragments if kind == "fragment" else queries)[name] = text
        if kind == "name":
            full = f"{file.removesuffix('.sql')}.{name}" if text.startswith(WRITING) else None
            _names[text] = full
            if full is not None:
                _texts[full] = text
    return queries


def writes(sql: str) -> str | None:
    """
    Name a statement that writes, `<file>.<name>`; None for one that only reads.

    Raises: Corrupt for one that writes and stands in no file of ours.
    """
    if sql not in _names and sql.lstrip().upper().startswith(WRITING):
        raise Corrupt(f"a statement that writes has no name: {sql}", hint="This is our bug.")
    return _names.get(sql)


def writing(name: str) -> str:
    """
    Find the text of a statement that writes, by the name that `writes` gave.

    Raises: Corrupt for a name that this version does not know.
    """
    found = _texts.get(name)
    if found is None:
        raise Corrupt(
            f"the statement {name} is not known to this version of treasuryd",
            hint="A newer version wrote it: use that one.",
        )
    return found


@cache
def load_all() -> Mapping[str, str]:
    """Load every file; answers each statement that writes, by name: all that a journal may tell of."""
    for entry in FOLDER.iterdir():
        if entry.name.endswith(".sql") and entry.name != "queries.sql":  # a migration has no blocks
            load("queries.sql", entry.name)
    return _texts


def _blocks(text: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, list[str]]] = []
    for line in text.splitlines():
        head = HEAD.fullmatch(line)
        if head is not None:
            found.append((head[1], head[2], []))
        elif found and not line.startswith("--"):
            found[-1][2].append(line)
    return [(kind, name, "\n".join(lines).strip().removesuffix(";")) for kind, name, lines in found]
