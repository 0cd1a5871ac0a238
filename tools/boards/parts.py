"""
What a Grafana board is made of, as values; `as_json` lays one out in the form that Grafana reads.

Every panel has a number that stays its own for good (people link to it, runbooks name it), a unit and a description. A
query is PromQL over recording rules and metrics of the daemon; raw metrics carry the job, because a node exports some
of the same names, and the two variables of the boards: instance and, where the metric has one, account.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Final

OURS: Final = 'job="treasury-executor"'
TAG: Final = "treasuryd"
COLUMNS: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION: Final = 39  # of Grafana 11; later ones read it and bring it up to date by themselves
Json = dict[str, Any]

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"


def own(name: str, *conditions: str) -> str:
    """Select a raw metric of the daemon on the chosen instances; conditions as in `reason="other"`."""
    chosen = ",".join((OURS, 'instance=~"$instance"', *conditions))
    return f"{name}{{{chosen}}}"


def of_account(name: str, *conditions: str) -> str:
    """Select a raw metric of the daemon that is told per account, on the chosen accounts too."""
    return own(name, 'account=~"$account"', *conditions)


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and the name of its series; `now` asks for the last value alone, `table` as rows of labels."""

    expr: str
    legend: str = "__auto"
    _: KW_ONLY
    now: bool = False
    table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """
    One panel.

    `steps` are thresholds: (from this value on, colour), the first from nothing. `words` name values of a state.
    """

    id: int
    title: str
    text: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    unit: str = "short"
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    width: int = 8
    height: int = 8
    stacked: bool = False
    least: float | None = None
    most: float | None = None
    time_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A headline and the panels under it, each as high up and as far left as there is room."""

    id: int
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard: `file` without its ending, `uid` as in links; a row without a title shows no headline."""

    file: str
    uid: str
    title: str
    text: str
    rows: Sequence[Row]
    since: str = "now-24h"
    refresh: str = "10s"
    by_account: bool = True

    def panels(self) -> Iterator[Panel]:
        """Every panel, in order."""
        for row in self.rows:
            yield from row.panels


def most(name: str, by: str = "", *, per_account: bool = False) -> str:
    """Take the largest over instances: gauges of the store are the same in a leader and its standbys."""
    chosen = of_account(name) if per_account else own(name)
    return f"max by ({by}) ({chosen})" if by else f"max({chosen})"


def increase(name: str, by: str = "", *conditions: str, over: str = "1h") -> str:
    """Say by how much a counter grew, all instances together."""
    grown = f"(increase({own(name, *conditions)}[{over}]))"
    return f"sum by ({by}) {grown}" if by else f"sum{grown}"


def rate(name: str, by: str, *conditions: str) -> str:
    """Per second, over what Grafana thinks right for the picture."""
    return f"sum by ({by}) (rate({own(name, *conditions)}[$__rate_interval]))"


def recently(rule: str, q: float, name: str, *by: str) -> str:
    """Take a recorded quantile; where nothing was counted in its time, the same one since the daemon's start."""
    since = f"histogram_quantile({q}, sum by ({', '.join((*by, 'le'))}) ({own(name + '_bucket')}))"
    return f"{rule} >= 0 or {since}"  # a quantile of nothing is NaN, which is not above 0


def stat(panel: Panel) -> Panel:
    """Show the last value in large letters."""
    queries = tuple(replace(query, now=True) for query in panel.queries)
    return replace(panel, kind="stat", queries=queries)


# --- Grafana's form ----------------------------------------------------------------------------------------------


def as_json(board: Board) -> Json:
    """Lay a board out as Grafana's dashboard JSON."""
    return {
        "annotations": {"list": [_ANNOTATIONS]},
        "description": board.text,
        "editable": False,  # it is generated; a change made by hand would be lost
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [_LINK],
        "panels": list(_laid_out(board)),
        "refresh": board.refresh,
        "schemaVersion": SCHEMA_VERSION,
        "tags": [TAG],
        "templating": {"list": list(_variables(by_account=board.by_account))},
        "time": {"from": board.since, "to": "now"},
        "timepicker": {},
        "timezone": "utc",
        "title": board.title,
        "uid": board.uid,
        "version": 1,
        "weekStart": "monday",
    }


_ANNOTATIONS: Final = {
    "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
}  # fmt: skip
_LINK: Final = {
    "asDropdown": False, "icon": "external link", "includeVars": True, "keepTime": True, "tags": [TAG],
    "targetBlank": False, "title": "", "tooltip": "The other boards of treasuryd", "type": "dashboards", "url": "",
}  # fmt: skip


def _variables(*, by_account: bool) -> Iterator[Json]:
    yield {
        "current": {"selected": False, "text": "default", "value": "default"}, "hide": 0, "includeAll": False,
        "label": "Prometheus", "multi": False, "name": "datasource", "options": [],
        "query": "prometheus", "refresh": 1, "regex": "", "type": "datasource",
    }  # fmt: skip
    yield _variable("instance", "Instance", f"label_values(up{{{OURS}}}, instance)")
    if by_account:
        names = f"label_values({own('treasury_executor_active')}, account)"
        yield _variable("account", "Account", names)


def _variable(name: str, label: str, query: str) -> Json:
    return {
        "allValue": ".+", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "datasource": SOURCE,
        "hide": 0, "includeAll": True, "label": label, "multi": True, "name": name, "options": [],
        "query": {"query": query, "refId": f"variable-{name}"}, "refresh": 2, "regex": "", "sort": 1, "type": "query",
    }  # fmt: skip


def _laid_out(board: Board) -> Iterator[Json]:
    y = 0
    for row in board.rows:
        if row.title:
            place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            yield {
                "collapsed": False, "gridPos": place, "id": row.id, "panels": [], "title": row.title, "type": "row",
            }  # fmt: skip
            y += 1
        filled = [y] * COLUMNS  # how far down each column is taken
        for panel in row.panels:
            x = min(range(COLUMNS - panel.width + 1), key=lambda x: max(filled[x : x + panel.width]))
            top = max(filled[x : x + panel.width])
            filled[x : x + panel.width] = [top + panel.height] * panel.width
            yield _panel(panel, {"h": panel.height, "w": panel.width, "x": x, "y": top})
        y = max(filled)


def _panel(panel: Panel, place: Json) -> Json:
    found: Json = {
        "datasource": SOURCE,
        "description": panel.text,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "gridPos": place,
        "id": panel.id,
        "options": _OPTIONS[panel.kind],
        "targets": [_target(query, number) for number, query in enumerate(panel.queries)],
        "title": panel.title,
        "type": panel.kind,
    }
    if panel.time_from is not None:
        found["timeFrom"] = panel.time_from
    return found


def _target(query: Query, number: int) -> Json:
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "format": "table" if query.table else "time_series",
        "instant": query.now,
        "legendFormat": query.legend,
        "range": not query.now,
        "refId": chr(ord("A") + number),
    }


def _defaults(panel: Panel) -> Json:
    steps = [{"color": color, "value": value} for value, color in panel.steps]
    found: Json = {
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "mappings": [_mapping(panel.words)] if panel.words else [],
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": panel.unit,
    }
    if panel.least is not None:
        found["min"] = panel.least
    if panel.most is not None:
        found["max"] = panel.most
    custom = _custom(panel)
    return found | ({"custom": custom} if custom else {})


def _mapping(words: Mapping[int, tuple[str, str]]) -> Json:
    options = {
        str(value): {"color": color, "index": place, "text": word}
        for place, (value, (word, color)) in enumerate(words.items())
    }
    return {"options": options, "type": "value"}


def _custom(panel: Panel) -> Json:
    match panel.kind:
        case "timeseries":
            return {
                "drawStyle": "line",
                "fillOpacity": 30 if panel.stacked else 8,
                "lineWidth": 1,
                "showPoints": "auto",
                "spanNulls": False,  # a gap is a gap: nothing was scraped
                "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
                "thresholdsStyle": {"mode": "line" if len(panel.steps) > 1 else "off"},
            }
        case "state-timeline":
            return {"fillOpacity": 70, "lineWidth": 0}
        case _:
            return {}


_OPTIONS: Final[Mapping[str, Json]] = {
    "timeseries": {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
        "percentChangeColorMode": "standard", "showPercentChange": False, "textMode": "auto", "wideLayout": True,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "state-timeline": {
        "alignValue": "left", "mergeValues": True, "rowHeight": 0.8, "showValue": "auto",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "bargauge": {
        "displayMode": "basic", "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 300, "namePlacement": "auto",
        "orientation": "horizontal", "showUnfilled": True, "sizing": "auto", "valueMode": "color",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "nodeGraph": {"edges": {}, "nodes": {}, "zoomMode": "cooperative", "layoutAlgorithm": "layered"},
}  # fmt: skip
