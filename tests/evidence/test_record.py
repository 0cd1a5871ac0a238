from pathlib import Path

import orjson
from tests.evidence.record import machine, write


def test_a_record_says_what_was_measured_where_and_how_to_do_it_again(tmp_path: Path) -> None:
    """The README of the records names these fields."""
    file = write("trial", "make trial", {"runs": 3, "broken": 0}, what="A trial.", folder=tmp_path / "new")
    record = orjson.loads(file.read_bytes())
    assert file.name == "trial.json"
    assert record["figures"] == {"runs": 3, "broken": 0}
    assert (record["what"], record["command"]) == ("A trial.", "make trial")
    assert set(record) == {"what", "command", "machine", "date", "python", "sqlite", "commit", "figures"}


def test_a_later_run_replaces_the_figures(tmp_path: Path) -> None:
    """A page that shows the best of several runs would lie."""
    write("trial", "make trial", {"broken": 1}, what="A trial.", folder=tmp_path)
    file = write("trial", "make trial", {"broken": 0}, what="A trial.", folder=tmp_path)
    assert orjson.loads(file.read_bytes())["figures"] == {"broken": 0}


def test_a_machine_is_described_by_its_processor() -> None:
    """Not by its name."""
    cores, *_, system = machine().split(", ")
    assert cores.endswith(" cores")
    assert system in {"Linux", "Darwin"}
