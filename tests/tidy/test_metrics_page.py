"""docs/metrics.md says what the registry declares, and nothing else."""

import re
import runpy
from pathlib import Path

from treasuryd.telemetry import registry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
PAGE = runpy.run_path(str(ROOT / "tools" / "metrics_page.py"))


def test_the_page_is_written_from_the_registry() -> None:
    """`make metrics` writes it; what somebody types there is found here."""
    assert PAGE["page"]() == TEXT


def test_every_metric_stands_in_one_table() -> None:
    """A part of the registry that the page forgets would leave its metrics undocumented."""
    rows = re.findall(r"^\| `([a-z_0-9]+)` \| (?:counter|gauge|histogram|info)", TEXT, flags=re.MULTILINE)
    assert sorted(rows) == sorted(family.name for family in registry.ALL)


def test_the_bound_is_published() -> None:
    """An operator plans Prometheus by it."""
    assert f"**{registry.SERIES_BOUND:,} series**" in TEXT
