"""
What waits for what: dependencies written in a memo, and the graph over the declared ones.

The parser accepts what the original accepts and never fails; the graph is iterative and kept up to date by each change,
so that its cost is that of the change and not that of the graph.
"""

import heapq
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NoReturn, TypeVar

from treasuryd.core.model import MAX_DEPENDENCIES, MAX_MEMO_BYTES, DisbursementId

K = TypeVar("K", bound=int | str)  # ids of the store, or refs of one request

MEMO_PREFIXES: Final = ("depends_on=", "depends_on:")
MAX_U64_DIGITS: Final = 20
MAX_U64: Final = 2**64 - 1  # what the original's ids can be; intake refuses those that ours cannot
# White space as the original's language trims it; Python's own strip() would take U+001C to U+001F too.
WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def canonical(explicit: Iterable[DisbursementId], memo: str) -> tuple[DisbursementId, ...]:
    """Dependencies of a payload: the explicit ones where there are any, else those of its memo; sorted, unique, ≤ 100."""
    return tuple(sorted(set(explicit))[:MAX_DEPENDENCIES]) or memo_dependencies(memo)


def memo_dependencies(memo: str) -> tuple[DisbursementId, ...]:
    """
    Read the dependencies that a memo declares: `{"depends_on": […]}`, `depends_on=…` or `depends_on:…`.

    Returns: at most 100 ids, 0 … 2^64-1, sorted and unique; none where the memo is malformed or over 8,192 bytes.
    Guarantees: never raises, whatever the text. Does not guarantee: that the ids exist; 0 and self-reference pass.
    Source: interfaces.md §1; the parser of the original, with its vectors.
    """
    text = memo.strip(WHITE_SPACE)
    if not text or len(text.encode("utf-8", "surrogatepass")) > MAX_MEMO_BYTES:
        return ()
    if text.startswith("{"):
        return _unique(_listed(text))
    for prefix in MEMO_PREFIXES:
        if text.startswith(prefix):
            entries = text.removeprefix(prefix).split(",")
            return _unique(_decimal(entry) for entry in entries[:MAX_DEPENDENCIES])
    return ()


def _listed(text: str) -> list[int | None]:
    """Items of the array `depends_on` of a JSON object, None for those that are no id."""
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):  # malformed, thousands of digits, thousands of brackets
        return []
    found = parsed.get("depends_on") if isinstance(parsed, dict) else None
    return [_id_of(item) for item in found[:MAX_DEPENDENCIES]] if isinstance(found, list) else []


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _id_of(item: object) -> int | None:
    """One JSON value as an id: integers, integral floats and decimal strings, none of them negative."""
    if isinstance(item, str):
        return _decimal(item)
    if isinstance(item, bool) or not isinstance(item, int | float):
        return None
    if isinstance(item, float) and not item.is_integer():
        return None  # infinities are no integers either
    return int(item) if 0 <= item <= MAX_U64 else None


def _decimal(text: str) -> int | None:
    digits = text.strip(WHITE_SPACE).removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    significant = digits.lstrip("0") or "0"
    value = int(significant) if len(significant) <= MAX_U64_DIGITS else MAX_U64 + 1
    return value if value <= MAX_U64 else None


def _unique(found: Iterable[int | None]) -> tuple[DisbursementId, ...]:
    return tuple(DisbursementId(item) for item in sorted({item for item in found if item is not None}))


# --- order and cycles over any edges ---------------------------------------------------------------------


def find_cycle(edges: Mapping[K, Collection[K]]) -> tuple[K, ...]:
    """
    Find one cycle among `edges` (node → what it depends on); empty when there is none.

    Returns: the nodes of the cycle, each depending on the next and the last on the first, the smallest first.
    Guarantees: iterative and deterministic; edges to nodes that are no key lead nowhere.
    """
    done: set[K] = set()
    for root in sorted(edges):
        if root not in done:
            cycle = _walk(root, edges, done)
            if cycle:
                first = cycle.index(min(cycle))
                return (*cycle[first:], *cycle[:first])
    return ()


def _walk(root: K, edges: Mapping[K, Collection[K]], done: set[K]) -> list[K]:
    """Go down from `root`, depth first; answers the part of the path that bites its own tail, if any does."""
    path: list[K] = [root]
    place = {root: 0}
    ahead = [iter(sorted(edges[root]))]
    while path:
        below = next(ahead[-1], None)
        if below is None:
            ahead.pop()
            left = path.pop()
            del place[left]
            done.add(left)
        elif below in place:
            return path[place[below] :]
        elif below in edges and below not in done:
            place[below] = len(path)
            path.append(below)
            ahead.append(iter(sorted(edges[below])))
    return []


def dependencies_first(edges: Mapping[K, Collection[K]]) -> tuple[K, ...]:
    """
    Order the nodes of `edges` so that each follows everything it depends on; among equals the smaller comes first.

    Guarantees: deterministic and iterative. Nodes on a cycle, and those that wait for one, are left out.
    """
    waiting: dict[K, list[K]] = {}
    unmet: dict[K, int] = {}
    for node, below in edges.items():
        known = {other for other in below if other in edges}
        unmet[node] = len(known)
        for other in known:
            waiting.setdefault(other, []).append(node)
    heap = [node for node, count in unmet.items() if not count]
    heapq.heapify(heap)
    order: list[K] = []
    while heap:
        node = heapq.heappop(heap)
        order.append(node)
        for dependent in waiting.get(node, ()):
            unmet[dependent] -= 1
            if not unmet[dependent]:
                heapq.heappush(heap, dependent)
    return tuple(order)


def trace(cycle: Sequence[K]) -> str:
    """Write a cycle out for a person: `1 → 2 → 1`; of a long one its beginning and its end."""
    names = [str(node) for node in (*cycle, *cycle[:1])]
    if len(names) > 20:
        names = [*names[:10], f"… {len(names) - 19} more …", *names[-9:]]
    return " → ".join(names)


# --- the graph, kept up to date -----------------------------------------------------------------------------


class Graph:
    """
    The declared dependencies of the items that somebody still waits for or works on.

    Guarantees: `add`, `satisfy`, `unsatisfy` and `remove` cost as much as the item has edges; what is ready is known at
    any time. An item on a cycle, or with a dependency that is missing, is never ready.
    Does not guarantee: that there is no cycle; ask `cycle`.
    """

    def __init__(self) -> None:
        self._needs: dict[DisbursementId, frozenset[DisbursementId]] = {}
        self._needed_by: dict[DisbursementId, set[DisbursementId]] = {}  # also of ids that are not here (yet)
        self._satisfied: set[DisbursementId] = set()
        self._unmet: dict[DisbursementId, int] = {}
        self._ready: set[DisbursementId] = set()

    def __len__(self) -> int:
        return len(self._needs)

    def __contains__(self, item: DisbursementId) -> bool:
        return item in self._needs

    def add(
        self, item: DisbursementId, depends_on: Iterable[DisbursementId], *, satisfied: bool = False
    ) -> None:
        """Put an item with its dependencies in, or put it anew; what it needs may come later."""
        if item in self._needs:
            self.remove(item)
        needs = frozenset(depends_on)
        self._needs[item] = needs
        for needed in needs:
            self._needed_by.setdefault(needed, set()).add(item)
        self._unmet[item] = sum(needed not in self._satisfied for needed in needs)
        self._judge(item)
        if satisfied:
            self.satisfy(item)

    def satisfy(self, item: DisbursementId) -> None:
        """Whoever waits for this item need not any more (it is finalized, or final by setting)."""
        if item not in self._needs or item in self._satisfied:
            return
        self._satisfied.add(item)
        self._tell(item, -1)

    def unsatisfy(self, item: DisbursementId) -> None:
        """Take it back: a reorg reopened the item, or it was rolled back in its window."""
        if item in self._satisfied:
            self._satisfied.remove(item)
            self._tell(item, +1)

    def remove(self, item: DisbursementId) -> None:
        """Forget an item; those that depend on it wait for a missing one from now on."""
        self.unsatisfy(item)
        for needed in self._needs.pop(item, frozenset()):
            self._needed_by[needed].discard(item)
            if not self._needed_by[needed]:
                del self._needed_by[needed]
        self._unmet.pop(item, None)
        self._ready.discard(item)

    def ready(self) -> tuple[DisbursementId, ...]:
        """Items that wait for nothing and are not done, by id."""
        return tuple(sorted(self._ready))

    def pending(self, item: DisbursementId) -> tuple[DisbursementId, ...]:
        """What `item` still waits for, by id; missing items among them."""
        return tuple(sorted(self._needs.get(item, frozenset()) - self._satisfied))

    def missing(self, item: DisbursementId) -> tuple[DisbursementId, ...]:
        """Dependencies of `item` that are not in the graph, by id."""
        return tuple(sorted(needed for needed in self._needs.get(item, ()) if needed not in self._needs))

    def dependents(self, item: DisbursementId) -> tuple[DisbursementId, ...]:
        """Who depends on `item` directly, by id."""
        return tuple(sorted(self._needed_by.get(item, ())))

    def impact(self, item: DisbursementId) -> tuple[tuple[DisbursementId, int], ...]:
        """Who depends on `item`, directly or not, as (id, shortest distance), nearest first; never `item` itself."""
        found: dict[DisbursementId, int] = {item: 0}
        level = [item]
        while level:
            above = {up for node in level for up in self._needed_by.get(node, ()) if up not in found}
            found.update(dict.fromkeys(above, found[level[0]] + 1))
            level = sorted(above)
        del found[item]
        return tuple(sorted(found.items(), key=lambda pair: (pair[1], pair[0])))

    def order(self) -> tuple[DisbursementId, ...]:
        """All items, dependencies first, then by id; items on a cycle and those behind one are left out."""
        return dependencies_first(self._needs)

    def cycle(self) -> tuple[DisbursementId, ...]:
        """One cycle, each item depending on the next and the last on the first; empty when there is none."""
        return find_cycle(self._needs)

    def _tell(self, item: DisbursementId, step: int) -> None:
        for dependent in self._needed_by.get(item, ()):
            self._unmet[dependent] += step
            self._judge(dependent)
        self._judge(item)

    def _judge(self, item: DisbursementId) -> None:
        if self._unmet[item] == 0 and item not in self._satisfied:
            self._ready.add(item)
        else:
            self._ready.discard(item)
