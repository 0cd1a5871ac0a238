"""Draw docs/lifecycle.md from the transition tables: `python tools/lifecycle_diagram.py` writes it."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from treasuryd.core.lifecycle import DISBURSEMENT, INTENT

PAGE = Path(__file__).parent.parent / "docs" / "lifecycle.md"


Where = TypeVar("Where", bound=StrEnum)
What = TypeVar("What", bound=StrEnum)


def draw(table: Mapping[Where, Mapping[What, Where]], first: Where) -> str:
    """Give one table as a mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    for where, arrows in table.items():
        lines += [f"    {where} --> {there}: {what}" for what, there in arrows.items()]
        if not arrows:
            lines.append(f"    {where} --> [*]")
    return "\n".join([*lines, "```"])


def page() -> str:
    """Give the whole page."""
    return "\n".join(
        [
            "# Lifecycles",
            "",
            "Drawn from the tables of `core/lifecycle.py` by `tools/lifecycle_diagram.py`; a test holds both together.",
            "The rules behind the arrows are in `protocol.md` §2, §3 and R5.",
            "",
            "## A disbursement",
            "",
            draw(DISBURSEMENT, next(iter(DISBURSEMENT))),
            "",
            "## An intent",
            "",
            draw(INTENT, next(iter(INTENT))),
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
