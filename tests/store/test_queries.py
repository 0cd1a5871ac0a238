import re
from itertools import pairwise

from treasuryd.store import dependencies, items, queries, standing, view, voiding, work


def test_each_query_has_a_name_and_a_sentence() -> None:
    """Style rule 23: SQL can be read."""
    for file in ("queries", "view", "staging", "recording", "voiding", "dependencies", "ownership"):
        lines = queries.read_text(f"{file}.sql").splitlines()
        for line, after in pairwise(lines):
            if line.startswith("-- name: "):
                assert re.match(r"-- [A-Z].*[.,;:a-z)]$", after), f"{file}: {line}"


def test_no_fragment_is_left_open() -> None:
    """What a query shares with others is filled in when it is loaded."""
    for module in (view, items, standing, dependencies, voiding):
        assert not [name for name, sql in module.SQL.items() if "{" in sql]
    assert not [name for name, sql in work.OWNERSHIP.items() if "{" in sql]
