"""
`make model`: every variant, the wider bounds too, recorded in docs/evidence/model.json and shown in docs/model.md.
"""

import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.evidence.record import ROOT, write
from tests.model.spin import Search, Variant, search
from tests.model.variants import FAIL, HOLD, WIDER

PAGE: Final = ROOT / "docs" / "model.md"
BEGIN: Final = "<!-- figures: written by make model -->\n"
END: Final = "<!-- end of figures -->"


def table(figures: Mapping[str, Any]) -> str:
    """Draw the searches as the page shows them."""
    lines = [
        "| model | switched | property | result | states | depth | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {row['switched'] or 'nothing'} | `{row['property']}` | {row['result']} "
        f"| {row['states']:,} | {row['depth']:,} | {row['seconds']} |"
        for row in figures["searches"]
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Search all variants, two at a time; 1 where one came out differently from what it must."""
    cases = [(variant, True) for variant in (*HOLD, *WIDER)] + [(variant, False) for variant in FAIL]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        searches = list(pool.map(lambda case: _one(case[0], Path(folder)), cases))
    wrong = 0
    for found, (_, holds) in zip(searches, cases, strict=True):
        as_expected = found.complete and not found.unbounded and found.broken != holds
        wrong += not as_expected
        print(f"{found.variant.name:60} {_result(found):18} {'' if as_expected else 'UNEXPECTED'}")
    figures = {"searches": [_row(found) for found in searches], "unexpected": wrong}
    if not wrong:
        write("model", "make model", figures, what="the models of docs/model.md, searched to the end by Spin")
        page = PAGE.read_text(encoding="utf-8")
        head, _, rest = page.partition(BEGIN)
        PAGE.write_text(head + BEGIN + table(figures) + END + rest.partition(END)[2], encoding="utf-8")
    return 1 if wrong else 0


def _one(variant: Variant, folder: Path) -> Search:
    own = folder / variant.name.replace("=", "_")
    own.mkdir()
    found = search(variant, own)
    (own / "pan").unlink()
    return found


def _result(found: Search) -> str:
    if found.unbounded or not found.complete:
        return "not decided"
    return "broken" if found.broken else "holds"


def _row(found: Search) -> dict[str, Any]:
    variant = found.variant
    return {
        "name": variant.name,
        "model": variant.model,
        "switched": " ".join((*variant.switches, *variant.bounds)),
        "property": variant.says,
        "result": _result(found),
        "states": found.states,
        "depth": found.depth,
        "seconds": round(found.seconds, 1),
        "memory_mib": round(found.memory_mib),
    }


if __name__ == "__main__":
    sys.exit(main())
