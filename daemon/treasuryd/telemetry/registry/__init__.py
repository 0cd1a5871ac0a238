"""
The one place that says what is exported: every metric with its type, unit, labels, bound, meaning and who fills it.

`docs/metrics.md` is written from it (`tools/metrics_page.py`), `treasuryd metrics check` holds rules, alerts, dashboards
and a running daemon against it, and nothing is exported under a name that stands in none of these files: `counted.py`
(grows with events), `looked.py` (read at the scrape), `observed.py` (the chain observer), `library.py` (the process).
"""

from typing import Final

from treasuryd.telemetry.registry import counted, library, looked, observed
from treasuryd.telemetry.registry.family import Family

ALL: Final[tuple[Family, ...]] = (
    *counted.FAMILIES,
    *looked.FAMILIES,
    *observed.FAMILIES,
    *library.FAMILIES,
)
BY_SAMPLE: Final = {name: family for family in ALL for name in family.sample_names}
SERIES_BOUND: Final = sum(family.bound for family in ALL)
"""No daemon exports more series than this, whatever it is told."""
