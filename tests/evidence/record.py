"""
Records of what was measured: one JSON file per command under docs/evidence/, from which docs/evidence.md is made.

A figure reaches the page through `write` alone, called by the command that measured it; nobody types one.
"""

import contextlib
import os
import platform
import runpy
import sqlite3
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "evidence"

Figures = Mapping[str, Any]


def write(name: str, command: str, figures: Figures, *, what: str, folder: Path = FOLDER) -> Path:
    """
    Record the figures of one run, over those of the run before.

    Args: name of the file without `.json`; command that anybody can type to measure again, from the root of the
        repository; figures, of anything JSON holds; what was measured, in one sentence.
    Answers: the file. docs/evidence.md is written anew with it: both are committed together.
    """
    record = {
        "what": what,
        "command": command,
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": commit(),
        "figures": dict(figures),
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    if folder == FOLDER:  # the page is made from the records, so it follows at once
        runpy.run_path(str(ROOT / "tools" / "evidence.py"), run_name="__main__")
    return file


def machine() -> str:
    """Describe the machine by its processor alone: never its name."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    return f"{os.cpu_count()} cores, {model}, {platform.system()}"


def commit() -> str | None:
    """Name the commit that is measured; with a `+` where something in the tree was not committed."""
    said = []
    for asked in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            answer = subprocess.run(("git", *asked), cwd=ROOT, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None  # a source archive
        said.append(answer.stdout.strip())
    return said[0] + ("+" if said[1] else "")
