"""The memo parser against the original's vectors, the graph against a naive model."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.dependencies import (
    Graph,
    canonical,
    dependencies_first,
    find_cycle,
    memo_dependencies,
    trace,
)
from treasuryd.core.model import MAX_DEPENDENCIES, DisbursementId

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "theblock.json").read_text())[
    "dependency_parser_vectors"
]
CHAIN = 100_000


def ids(*numbers: int) -> tuple[DisbursementId, ...]:
    return tuple(DisbursementId(number) for number in numbers)


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: row["memo"] or "empty")
def test_a_memo_is_read_as_the_original_reads_it(row: dict[str, Any]) -> None:
    """Each published case of the parser."""
    assert ids(*row["deps"]) == memo_dependencies(row["memo"])


def test_the_generated_vectors_are_read_as_the_original_reads_them() -> None:
    """A hundred entries count, an over-long memo counts for nothing, explicit dependencies win."""
    many, long, explicit, fallback = VECTORS["generated"]
    assert many["deps_count"] == len(memo_dependencies("depends_on=" + ",".join(map(str, range(150)))))
    assert ids(*long["deps"]) == memo_dependencies("depends_on=" + "1," * 10_000)
    for row in (explicit, fallback):
        assert ids(*row["canonical"]) == canonical(ids(*row["proposal_deps"]), row["memo"])


@pytest.mark.parametrize(
    ("memo", "expected"),
    [
        pytest.param('  {"depends_on":[2.0, 1e1, -0.0]}\n', (0, 2, 10), id="integral floats count"),
        pytest.param(
            '{"depends_on":[1.5, -1, true, false, [3], {"a":4}, 5]}', (5,), id="the rest is skipped"
        ),
        pytest.param(
            '{"depends_on":["+7","-7"," 08 ","1_0","\u0661","","0x1"]}', (7, 8), id="decimal strings only"
        ),
        pytest.param(
            '{"depends_on":[18446744073709551615, 18446744073709551616, 1e30]}', (2**64 - 1,), id="u64"
        ),
        pytest.param('{"depends_on":[NaN, 1]}', (), id="NaN is no JSON"),
        pytest.param('{"depends_on":[Infinity, 1]}', (), id="Infinity is no JSON"),
        pytest.param('{"depends_on":[1e999, 1]}', (1,), id="too large a float is no id"),
        pytest.param('{"depends_on":[1]} tail', (), id="trailing text"),
        pytest.param("[1, 2]", (), id="an array is no object"),
        pytest.param("depends_on=", (), id="an empty list"),
        pytest.param("depends_on=5,,6,+7,-8,9.0,  10\t", (5, 6, 7, 10), id="unparsable entries are skipped"),
        pytest.param("depends_on = 5", (), id="the prefix is exact"),
        pytest.param("see depends_on=5", (), id="a prefix stands in front"),
        pytest.param("\u2003depends_on:3\u3000", (3,), id="white space of any alphabet is trimmed"),
        pytest.param("\x1cdepends_on:3", (), id="a separator is not white space"),
        pytest.param("depends_on=" + "0" * 60 + "4", (4,), id="leading zeros"),
        pytest.param("depends_on=" + "9" * 60, (), id="sixty nines"),
        pytest.param('{"depends_on":[' + "1" * 5000 + "]}", (), id="a number of 5,000 digits"),
        pytest.param('{"depends_on":' + "[" * 4000 + "]" * 4000 + "}", (), id="a depth bomb"),
        pytest.param('{"a":' * 1600, (), id="a depth bomb of objects"),
        pytest.param("\ud800depends_on=1", (), id="half a surrogate pair"),
    ],
)
def test_an_odd_memo_is_read_without_failing(memo: str, expected: tuple[int, ...]) -> None:
    """What the original keeps is kept; what it skips is skipped; nothing raises."""
    assert ids(*expected) == memo_dependencies(memo)


def test_only_the_first_hundred_entries_are_looked_at() -> None:
    """The cut comes before the reading: entry 101 does not take the place of a bad one."""
    assert ids(2) == memo_dependencies(json.dumps({"depends_on": ["x"] * 99 + [2, 3]}))
    assert ids(2) == memo_dependencies("depends_on=" + "x," * 99 + "2,3")


TREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    memo=st.text()
    | st.builds(
        lambda prefix, tail: prefix + tail, st.sampled_from(["depends_on=", "depends_on:", "{"]), st.text()
    )
    | st.builds(lambda tree: json.dumps({"depends_on": tree}), TREE | st.lists(TREE))
)
def test_the_parser_answers_every_text(memo: str) -> None:
    """Whatever is written into a memo, the answer is a short sorted list of distinct u64 values."""
    found = memo_dependencies(memo)
    assert len(found) <= MAX_DEPENDENCIES
    assert list(found) == sorted(set(found))
    assert all(type(item) is int and 0 <= item < 2**64 for item in found)


@given(st.lists(st.integers(0, 2**64 - 1) | st.floats(0, 2**53).map(math.floor), max_size=100))
def test_both_notations_say_the_same(numbers: list[int]) -> None:
    """A list is read alike as JSON, as JSON strings and after a prefix."""
    expected = ids(*sorted(set(numbers)))
    assert expected == memo_dependencies(json.dumps({"depends_on": numbers}))
    assert expected == memo_dependencies(json.dumps({"depends_on": [f" {number} " for number in numbers]}))
    assert expected == memo_dependencies("depends_on=" + ",".join(map(str, numbers)))


# --- order and cycles -----------------------------------------------------------------------------------------


def test_the_order_is_dependencies_first() -> None:
    """D28: what is depended on comes before its dependents, and equals come by id."""
    assert ids(2, 9, 1, 5, 7) == dependencies_first(
        {
            DisbursementId(node): ids(*below)
            for node, below in {7: (5,), 5: (1,), 1: (9,), 9: (), 2: ()}.items()
        }
    )


def test_the_cycle_named_is_a_cycle() -> None:
    """D28: only the nodes on the cycle are named, each depending on the next, not those that lead to it."""
    edges = {1: [2], 2: [3], 3: [4], 4: [5], 5: [3], 6: [1]}
    assert find_cycle(edges) == (3, 4, 5)
    assert trace(find_cycle(edges)) == "3 → 4 → 5 → 3"


def test_a_cycle_of_names_is_found_too() -> None:
    """Refs of one request are checked by the same function."""
    assert find_cycle({"b": ["a"], "a": ["c"], "c": ["b"], "d": ["b"]}) == ("a", "c", "b")


def test_a_chain_of_100000_works() -> None:
    """D28: neither order nor cycle search nor impact depends on the recursion limit."""
    graph = Graph()
    for number in range(1, CHAIN + 1):
        graph.add(DisbursementId(number), ids(number - 1) if number > 1 else ())
    assert tuple(range(1, CHAIN + 1)) == graph.order()
    assert graph.cycle() == ()
    assert graph.impact(DisbursementId(1))[-1] == (CHAIN, CHAIN - 1)
    assert ids(1) == graph.ready()
    graph.add(DisbursementId(1), ids(CHAIN))
    assert len(graph.cycle()) == CHAIN
    assert len(trace(graph.cycle())) < 200


def test_ready_excludes_what_is_finished() -> None:
    """D28: a satisfied item is done, and not ready for anything."""
    graph = Graph()
    graph.add(DisbursementId(1), ())
    graph.add(DisbursementId(2), ids(1))
    assert ids(1) == graph.ready()
    graph.satisfy(DisbursementId(1))
    assert ids(2) == graph.ready()
    graph.unsatisfy(DisbursementId(1))
    assert ids(1) == graph.ready()
    assert ids(1) == graph.pending(DisbursementId(2))


def test_the_declared_dependencies_count_and_no_words() -> None:
    """D28: the graph knows edges and facts, and reads no memo; a failed-sounding item is as good as any other."""
    graph = Graph()
    graph.add(DisbursementId(2), ids(1))
    assert ids(1) == graph.missing(DisbursementId(2))
    assert graph.ready() == ()
    graph.add(DisbursementId(1), ())
    assert graph.missing(DisbursementId(2)) == ()
    assert ids(1) == graph.ready()


def test_an_item_that_depends_on_itself_is_a_cycle_and_never_ready() -> None:
    """D38: a self-reference is found by name instead of waiting for ever without a word."""
    graph = Graph()
    graph.add(DisbursementId(4), ids(4))
    assert ids(4) == graph.cycle()
    assert trace(graph.cycle()) == "4 → 4"
    assert graph.ready() == ()
    graph.remove(DisbursementId(4))
    assert graph.cycle() == ()


# --- against a naive model ------------------------------------------------------------------------------------

NODE = st.integers(1, 8)
STEP = st.one_of(
    st.tuples(st.just("add"), NODE, st.frozensets(NODE, max_size=4)),
    st.tuples(st.just("satisfy"), NODE, st.just(frozenset[int]())),
    st.tuples(st.just("unsatisfy"), NODE, st.just(frozenset[int]())),
    st.tuples(st.just("remove"), NODE, st.just(frozenset[int]())),
)


def reached(edges: dict[int, frozenset[int]], start: int) -> dict[int, int]:
    """Naive shortest distances over the reversed edges, by repeated sweeps over everything."""
    found = {start: 0}
    for _ in edges:
        for node, needs in edges.items():
            for needed in needs & found.keys():
                found[node] = min(found.get(node, 99), found[needed] + 1)
    return found


@given(st.lists(STEP, max_size=30))
def test_the_graph_agrees_with_a_naive_model(steps: list[tuple[str, int, frozenset[int]]]) -> None:
    """After any sequence of changes all answers are those of a model that looks at everything each time."""
    graph, edges, done = Graph(), dict[int, frozenset[int]](), set[int]()
    for verb, node, needs in steps:
        if verb == "add":
            graph.add(DisbursementId(node), ids(*needs))
            edges[node] = needs
            done.discard(node)
        elif verb == "satisfy":
            graph.satisfy(DisbursementId(node))
            done |= {node} & edges.keys()
        elif verb == "unsatisfy":
            graph.unsatisfy(DisbursementId(node))
            done.discard(node)
        else:
            graph.remove(DisbursementId(node))
            edges.pop(node, None)
            done.discard(node)
    assert sorted(node for node in edges if node not in done and edges[node] <= done) == list(graph.ready())
    for node in edges:
        assert sorted(edges[node] - done) == list(graph.pending(DisbursementId(node)))
        assert sorted(other for other in edges if node in edges[other]) == list(
            graph.dependents(DisbursementId(node))
        )
        distances = {DisbursementId(o): far for o, far in reached(edges, node).items() if o != node}
        assert distances == dict(graph.impact(DisbursementId(node)))
    cycle = graph.cycle()
    if cycle:
        assert all(below in edges[node] for node, below in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert len(set(cycle)) == len(cycle)
        assert len(graph.order()) < len(edges)
    else:
        order = graph.order()
        assert sorted(edges) == sorted(order)
        place = {node: at for at, node in enumerate(order)}
        assert all(
            place[DisbursementId(b)] < place[DisbursementId(a)]
            for a in edges
            for b in edges[a] & edges.keys()
        )
