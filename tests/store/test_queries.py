import re
from itertools import pairwise

import pytest

from treasuryd.errors import Corrupt
from treasuryd.store import dependencies, items, queries, standing, view, voiding, work


def test_each_query_has_a_name_and_a_sentence() -> None:
    """Style rule 23: SQL can be read."""
    for file in ("queries", "view", "staging", "recording", "voiding", "dependencies", "ownership"):
        lines = queries.read_text(f"{file}.sql").splitlines()
        for line, after in pairwise(lines):
            if line.startswith("-- name: "):
                assert re.match(r"-- [A-Z].*[.,;:a-z)]$", after), f"{file}: {line}"


def test_a_block_is_known_by_its_name_and_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal tells of a statement that writes by its name; one that reads needs none."""
    for known in ("_names", "_texts"):
        monkeypatch.setattr(queries, known, {})
    files = {
        "queries.sql": "Said to the reader.\n-- fragment: which\nWHERE id = ?1\n",
        "trial.sql": "-- name: put\n-- Writes.\nUPDATE a SET b = 2\n-- of one\n{which};\n"
        "\n-- name: look\nSELECT 1 FROM a {which};\n",
    }
    monkeypatch.setattr(queries, "read_text", files.__getitem__)
    put, look = "UPDATE a SET b = 2\nWHERE id = ?1", "SELECT 1 FROM a WHERE id = ?1"
    assert queries.load(*files) == {"put": put, "look": look}
    assert (queries.writes(put), queries.writing("trial.put")) == ("trial.put", put)
    assert queries.writes(look) is None
    with pytest.raises(Corrupt, match=r"statement trial\.look is not known") as caught:
        queries.writing("trial.look")
    assert "newer version" in caught.value.hint


def test_no_fragment_is_left_open() -> None:
    """What a query shares with others is filled in when it is loaded."""
    for module in (view, items, standing, dependencies, voiding):
        assert not [name for name, sql in module.SQL.items() if "{" in sql]
    assert not [name for name, sql in work.OWNERSHIP.items() if "{" in sql]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("-- name: a\nSELECT {nowhere};", id="a fragment that is not there"),
        pytest.param("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", id="one name, two queries"),
        pytest.param("-- fragment: a\nx\n-- name: a\nSELECT 2;", id="a fragment and a query of one name"),
    ],
)
def test_a_file_that_contradicts_itself_is_found_at_import(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No statement is run that nobody meant."""
    monkeypatch.setattr(queries, "read_text", lambda _: text)
    with pytest.raises(Corrupt, match="a: unknown fragment, or the name stands twice"):
        queries.load("trial.sql")
