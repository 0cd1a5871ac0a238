"""
Reads expressions of Prometheus far enough to say which series they select and which labels their results carry.

Not a whole parser: what is not written in our rules is refused, so that nothing passes unread. The labels follow
Prometheus' own rules of aggregation and vector matching; operands whose labels can never match are an error here,
where Prometheus would silently answer nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<range>\[[0-9a-z: ]+\])
    |(?P<duration>\d+(?:ms|[smhdwy])\b)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>==|!=|<=|>=|=~|!~|[-+*/%^<>=(){},]))""",
    re.VERBOSE,
)
AGGREGATIONS = {"sum", "max", "min", "avg", "count", "topk", "bottomk", "stddev", "group"}
KEEPING = {  # functions whose result carries the labels of their argument
    "rate", "increase", "delta", "deriv", "idelta", "irate", "abs", "ceil", "clamp_max", "clamp_min", "round", "resets",
    "changes", "avg_over_time", "max_over_time", "min_over_time", "sum_over_time", "stddev_over_time", "last_over_time",
    "predict_linear", "timestamp", "count_over_time",
}  # fmt: skip
LEVELS = (("or",), ("and", "unless"), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"), ("^",))
SETS = {"or", "and", "unless"}
Labels = frozenset[str] | None  # of a vector; None: a scalar


class Wrong(Exception):
    """An expression that means nothing, or that can never have a result."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector."""

    label: str
    sign: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """One series that is asked for, with its conditions."""

    name: str
    matchers: tuple[Matcher, ...]


@dataclass(slots=True)
class Reading:
    """An expression: what it selects, and the labels of its result."""

    labels: Labels
    selectors: list[Selector] = field(default_factory=list)


def read(expression: str, labels_of: Callable[[str], frozenset[str] | None]) -> Reading:
    """Read an expression; `labels_of` tells the labels of a series by its name, None where there is no such series."""
    reader = _Reader(expression, labels_of)
    labels = reader.binary(0)
    if reader.at < len(reader.tokens):
        raise Wrong(f"left over: {reader.tokens[reader.at :]}")
    return Reading(labels, reader.selectors)


def matching(matcher: Matcher, values: tuple[str, ...]) -> str | None:
    """Say what a condition asks for that none of the `values` can satisfy; None when each of its words finds one."""
    text = matcher.value.replace("\\\\", "\\")
    words = text.split("|") if matcher.sign in {"=~", "!~"} and re.fullmatch(r"[\w|]+", text) else [text]
    for word in words:
        found = [value for value in values if re.fullmatch(word, value)]
        if not found if matcher.sign in {"=~", "!~"} else word not in values:
            return word
    return None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise Wrong(f"cannot read {text[at : at + 30]!r}")
        at = found.end()
        kind = found.lastgroup or ""
        yield kind, found[kind]


class _Reader:
    def __init__(self, text: str, labels_of: Callable[[str], frozenset[str] | None]) -> None:
        self.tokens = list(_tokens(text))
        self.labels_of = labels_of
        self.selectors: list[Selector] = []
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        found = self.peek()
        if wanted and found not in wanted:
            raise Wrong(f"expected {wanted}, found {found!r}")
        self.at += 1
        return found

    def names(self) -> frozenset[str]:
        """Labels in parentheses."""
        self.take("(")
        found: list[str] = []
        while self.peek() != ")":
            found.append(self.take())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return frozenset(found)

    def binary(self, level: int) -> Labels:
        if level == len(LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in LEVELS[level]:
            sign = self.take()
            if self.peek() == "bool":
                self.take()
            on = None
            if self.peek() == "on":
                self.take()
                on = self.names()
            left = _joined(sign, left, self.binary(level + 1), on)
        return left

    def unary(self) -> Labels:
        if self.peek() == "-":
            self.take()
            return self.unary()
        found = self.primary()
        while self.kind() == "range" or self.peek() == "offset":
            if self.take() == "offset":
                self.take()
        return found

    def primary(self) -> Labels:
        kind, text = self.kind(), self.take()
        if kind in {"number", "string"}:
            return None
        if text == "(":
            inner = self.binary(0)
            self.take(")")
            return inner
        if kind != "name":
            raise Wrong(f"did not expect {text!r}")
        if text in AGGREGATIONS:
            return self.aggregation(text)
        return self.function(text) if self.peek() == "(" else self.selector(text)

    def aggregation(self, name: str) -> Labels:
        way = self.take() if self.peek() in {"by", "without"} else ""
        named = self.names() if way else frozenset[str]()
        (*_, labels) = self.arguments()
        if labels is None:
            raise Wrong(f"{name} over a scalar")
        if not named <= labels:
            raise Wrong(f"{name} {way} {sorted(named - labels)}: the operand carries {sorted(labels)} only")
        if name in {"topk", "bottomk"}:
            return labels
        return labels - named if way == "without" else named

    def function(self, name: str) -> Labels:
        start = self.at
        before = len(self.selectors)
        arguments = self.arguments()
        if name in {"time", "scalar"}:
            return None
        if name == "vector":
            return frozenset()
        if name == "absent":
            (selector,) = self.selectors[before:]
            return frozenset(one.label for one in selector.matchers if one.sign == "=")
        labels = arguments[1 if name == "histogram_quantile" else 0]
        if labels is None:
            raise Wrong(f"{name} of a scalar")
        if name == "histogram_quantile":
            if "le" not in labels:
                raise Wrong("histogram_quantile without le")
            return labels - {"le"}
        if name == "label_replace":
            return labels | {
                [text for kind, text in self.tokens[start : self.at] if kind == "string"][-4].strip('"')
            }
        if name not in KEEPING:
            raise Wrong(f"unknown function {name}")
        return labels

    def arguments(self) -> list[Labels]:
        self.take("(")
        found: list[Labels] = []
        while self.peek() != ")":
            found.append(self.binary(0))
            if self.peek() == ",":
                self.take()
        self.take(")")
        return found

    def selector(self, name: str) -> Labels:
        matchers: list[Matcher] = []
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                label, sign, value = self.take(), self.take("=", "!=", "=~", "!~"), self.take()
                matchers.append(Matcher(label, sign, value[1:-1]))
                if self.peek() == ",":
                    self.take()
            self.take("}")
        self.selectors.append(Selector(name, tuple(matchers)))
        labels = self.labels_of(name)
        if labels is None:
            raise Wrong(f"no series {name}")
        unknown = {one.label for one in matchers} - labels
        if unknown:
            raise Wrong(f"{name} has no label {sorted(unknown)}, it carries {sorted(labels)}")
        return labels


def _joined(sign: str, left: Labels, right: Labels, on: frozenset[str] | None) -> Labels:
    """The labels of two operands together; refused where no pair of their series can match."""
    if left is None or right is None:
        if sign in SETS:
            raise Wrong(f"{sign} with a scalar")
        return right if left is None else left
    if on is None and left != right:
        raise Wrong(f"{sign} between {sorted(left)} and {sorted(right)}")
    if on is not None and not (on <= left and on <= right):
        raise Wrong(f"{sign} on {sorted(on)} between {sorted(left)} and {sorted(right)}")
    return left if on is None or sign in SETS else on


def by_name(
    recorded: Mapping[str, frozenset[str]], raw: Callable[[str], frozenset[str] | None]
) -> Callable[[str], frozenset[str] | None]:
    """Look a series up among recorded ones, then among raw ones."""
    return lambda name: recorded[name] if name in recorded else raw(name)
