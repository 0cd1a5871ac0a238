"""
Write docs/metrics.md from the registry (`make metrics`): names, types, labels and bounds are declared once, never typed.

`tests/tidy/test_metrics_page.py` holds the page to it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from treasuryd.telemetry import registry
from treasuryd.telemetry.registry import counted, library, looked, observed
from treasuryd.telemetry.registry.family import Family, Kind, Label

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
SHOWN_VALUES = 12  # more values of one label are told by the name of their enum, and listed at the end

HEAD = """# Metrics

Every metric that a daemon exports at `/metrics`, in the text format 0.0.4 or in OpenMetrics 1.0, as the scraper asks.
This page is written by `make metrics` from `daemon/treasuryd/telemetry/registry/`, the one place that declares them; a
test holds it to that.

- **Labels** are members of closed sets, names of the configuration, or capped: no text of a node or of a request is
  ever one. No daemon exports more than **{bound} series**, whatever it is told; one with one account and one endpoint,
  without the observer, about {usual}.
- **Counters and histograms** grow with events and begin at 0 with the process; every value of a closed label exists
  from the start, so that `rate` misses nothing. What is counted per breaker is read from it at the scrape.
- **Gauges** are read at the scrape, from the running objects and from the store as it was at most a second ago (longer
  where reading it takes long: it never takes more than a fiftieth of the time). None keeps a value from before the
  executor died. What is not known is absent, never 0.
- **A standby** exports the store's gauges as the leader does, and its counters stand still: aggregate gauges with `max`,
  counters with `sum`.

`treasuryd metrics list` prints this table; `treasuryd metrics check` holds rules, alerts and dashboards against a
running daemon.
"""
PARTS: Sequence[tuple[str, str, Sequence[Family]]] = (
    ("Counted", "What grows with events.", counted.FAMILIES),
    ("Looked at", "What is read at the scrape.", looked.FAMILIES),
    (
        "Observed",
        "What the chain observer reads from the node; all absent while it is off.",
        observed.FAMILIES,
    ),
    ("The process", "What the client library says of it.", library.FAMILIES),
)


def page() -> str:
    """Give the whole page."""
    usual = sum(_usual(family) for family in (*counted.FAMILIES, *looked.FAMILIES, *library.FAMILIES))
    lines = [HEAD.format(bound=f"{registry.SERIES_BOUND:,}", usual=f"{round(usual, -1):,}")]
    for title, sentence, families in PARTS:
        lines += [
            f"## {title}",
            "",
            sentence,
            "",
            "| metric | type, unit | labels | meaning | filled by | series |",
        ]
        lines += ["|---|---|---|---|---|---:|", *map(_row, families), ""]
    lines += ["## Histogram buckets", "", "| metric | upper bounds |", "|---|---|"]
    for family in registry.ALL:
        if family.kind is Kind.HISTOGRAM:
            lines.append(f"| `{family.name}` | {', '.join(f'{bound:g}' for bound in family.buckets)} |")
    return "\n".join([*lines, "", "## Labels", "", *_labels()]).rstrip() + "\n"


def _usual(family: Family) -> int:
    """How many series it has with one account and one endpoint."""
    names = family.bound
    for label in family.labels:
        names = names // label.bound * (len(label.values) or 1)
    return names


def _row(family: Family) -> str:
    labels = "<br>".join(f"`{label.name}`: {_values(label)}" for label in family.labels) or "none"
    kind = family.kind.value if family.kind is Kind.INFO else f"{family.kind.value}, {family.unit.value}"
    meaning = family.help + (f" *Absent {family.absent}.*" if family.absent else "")
    cells = (f"`{family.name}`", kind, labels, meaning, family.filled_by, f"{family.bound:,}")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(label: Label) -> str:
    if not label.values:
        return f"{label.of}, at most {label.at_most}" if label.at_most > 1 else label.of
    if len(label.values) > SHOWN_VALUES:
        return f"{len(label.values)} values, {label.of}"
    return ", ".join(f"`{value}`" for value in label.values)


def _labels() -> Iterator[str]:
    """The long closed sets, once each."""
    yield "Closed sets that are too long for the tables:"
    yield ""
    yield "| label | values |"
    yield "|---|---|"
    told = set()
    for family in registry.ALL:
        for label in family.labels:
            if len(label.values) > SHOWN_VALUES and (label.of, label.values) not in told:
                told.add((label.of, label.values))
                values = ", ".join(f"`{value}`" for value in label.values)
                yield f"| `{label.name}`, {label.of} | {values} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(registry.ALL)} metrics, at most {registry.SERIES_BOUND:,} series")
