"""`treasuryd submit`: judged whole before any of it is sent; nothing half-submitted."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from tests.cli.conftest import Town
from tests.fakes import PAYEE

from treasuryd.cli.submitting import ranges


def item(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "destination": PAYEE,
        "amount": number + 1,
        "scheduled_epoch": 1,
        "memo": f"row {number}",
        **changes,
    }


def written(folder: Path, content: object, name: str = "batch.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_json_file_goes_up_whole(town: Town, tmp_path: Path) -> None:
    """The ids are told as ranges; the same file again submits nothing twice."""
    path = written(tmp_path, {"items": [item(row) for row in range(3)]})
    said = town.call("submit", path)
    assert (said.code, said.out) == (0, "submitted 3 disbursements: 1-3\n")
    again = town.call("submit", path)
    assert (again.code, "nothing was submitted twice: 1-3" in again.out) == (0, True)
    assert len(town.world.desk.items) == 3
    assert json.loads(town.call("submit", path, "--json").out) == {"ids": [1, 2, 3], "repeated": True}


def test_a_csv_file_goes_up_whole(town: Town, tmp_path: Path) -> None:
    """Columns in any order, refs with a leading @."""
    text = (
        f"amount,destination,scheduled_epoch,ref,depends_on,memo\n5,{PAYEE},1,a,,\n6,{PAYEE},1,,@a,second\n"
    )
    said = town.call("submit", written(tmp_path, text, "batch.csv"))
    assert said.code == 0
    assert [found.depends_on for found in town.world.desk.items.values()] == [(), (1,)]


def test_standard_input_is_a_file_too(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-`, JSON unless told otherwise."""

    class Stdin:
        buffer = io.BytesIO(json.dumps(item(1)).encode())

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert town.call("submit", "-").code == 0
    assert len(town.world.desk.items) == 1


def test_bad_rows_are_told_by_line_and_nothing_is_sent(town: Town, tmp_path: Path) -> None:
    """Every error of every row, at once; exit code 1."""
    text = (
        f"destination,amount,scheduled_epoch\n{PAYEE},5,1\nbc1,5,1\n{PAYEE},1.5,1\n{PAYEE},5\n{PAYEE},0,1\n"
    )
    said = town.call("submit", written(tmp_path, text, "batch.csv"))
    assert said.code == 1
    for place in ("line 3: destination", "line 4: amount", "line 5: 2 cells", "line 6: amount"):
        assert place in said.err
    assert "nothing was submitted" in said.err
    assert town.world.desk.items == {}
    assert town.world.engine.wakes == 0


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.json", '{"amount":1,"amount":2}', "twice"),
        ("a.json", "[]", "no disbursement"),
        ("a.json", '"x"', "object"),
        ("a.json", json.dumps([item(1, amount=True)]), "items[0].amount"),
        ("a.json", json.dumps([item(1, surprise=1)]), "surprise"),
        ("a.csv", "", "line 1"),
        ("a.csv", "destination,amount,scheduled_epoch\n", "no disbursement"),
        ("a.csv", "destination,amount\ntb1a,1\n", "scheduled_epoch is missing"),
        ("a.csv", "destination,amount,scheduled_epoch,wage\n", "unknown column"),
        ("a.csv", "destination,amount,amount,scheduled_epoch\n", "twice"),
        ("a.csv", 'destination,amount,scheduled_epoch\n"tb1a,1,1\n', "CSV"),
        ("a.csv", f"destination,amount,scheduled_epoch,depends_on\n{PAYEE},1,1,x\n", "depends_on"),
    ],
)
def test_a_bad_file_is_refused_by_name(town: Town, tmp_path: Path, name: str, text: str, named: str) -> None:
    """D37: the same gate as the server's, on this side."""
    said = town.call("submit", written(tmp_path, text, name))
    assert said.code == 1
    assert named in said.err
    assert town.world.desk.items == {}


def test_all_errors_are_there_as_json(town: Town, tmp_path: Path) -> None:
    """The screen shows fifty, JSON all."""
    path = written(tmp_path, [item(row, amount=0) for row in range(60)])
    said = town.call("submit", path)
    assert "… and 10 more" in said.err
    assert len(json.loads(town.call("submit", path, "--json").out)["errors"]) == 60


def test_a_missing_file_is_a_usage_error(town: Town, tmp_path: Path) -> None:
    """Exit code 2."""
    assert town.call("submit", tmp_path / "absent.json").code == 2


def test_a_dry_run_sends_nothing(town: Town, tmp_path: Path) -> None:
    """Judged, not sent."""
    assert town.call("submit", written(tmp_path, [item(1)]), "--dry-run").code == 0
    assert town.world.desk.items == {}


def test_a_long_file_goes_up_as_a_sealed_batch(town: Town, tmp_path: Path) -> None:
    """2,500 items in three parts, refs across them; invisible until sealed, and repeatable."""
    rows = [
        item(row, ref=f"r{row}", depends_on_refs=[f"r{row + 1}"] if row < 2_499 else [])
        for row in range(2_500)
    ]
    path = written(tmp_path, rows)
    said = town.call("submit", path)
    assert (said.code, said.out) == (0, "submitted 2500 disbursements: 1-2500\n")
    assert town.world.desk.items[1].depends_on == (2,)  # type: ignore[index]  # an id is an integer
    assert town.world.desk.batches == {}


def test_a_long_file_saved_anew_is_the_same_submission(town: Town, tmp_path: Path) -> None:
    """Its rows are its key: with other ends of lines and a BOM, by another program, nothing is submitted twice."""
    lines = ["destination,amount,scheduled_epoch", *(f"{PAYEE},{row + 1},1" for row in range(1_001)), ""]
    first = town.call("submit", written(tmp_path, "\n".join(lines), "unix.csv"), "--json")
    again = tmp_path / "dos.csv"
    again.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    said = json.loads(town.call("submit", again, "--json").out)
    assert said == {**json.loads(first.out), "repeated": True}
    other = "\n".join([*lines[:-2], f"{PAYEE},1001,2", ""])
    assert json.loads(town.call("submit", written(tmp_path, other, "other.csv"), "--json").out) == {
        "ids": list(range(1_002, 2_003)),
        "repeated": False,
    }


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "on its way up"])
def test_a_long_file_that_went_up_under_its_bytes_is_found_there(
    town: Town, tmp_path: Path, *, sealed: bool
) -> None:
    """So an older version named it: what it sealed is not submitted again, what it left open is taken up."""
    path = written(tmp_path, [item(row) for row in range(1_200)])
    named = f"file-{blake3(path.read_bytes()).hexdigest()[:48]}"
    if sealed:
        town.call("submit", path, "--key", named)
    else:
        town.world.desk.batches[named] = {}
    said = json.loads(town.call("submit", path, "--json").out)
    assert said == {"ids": list(range(1, 1_201)), "repeated": sealed}
    assert (list(town.world.desk.requests), town.world.desk.batches) == ([named], {})


def test_one_bad_row_of_a_long_file_keeps_all_of_it_back(town: Town, tmp_path: Path) -> None:
    """The last row, an unknown ref, a circle over parts: nothing is opened or sent."""
    rows = [item(row) for row in range(1_200)]
    for bad in (
        [*rows, item(1_200, amount=0)],
        [*rows, item(1_200, depends_on_refs=["nobody"])],
        [item(0, ref="a", depends_on_refs=["b"]), *rows, item(1_201, ref="b", depends_on_refs=["a"])],
    ):
        assert town.call("submit", written(tmp_path, bad)).code == 1
    assert (town.world.desk.items, town.world.desk.batches) == ({}, {})


def test_ids_are_told_as_ranges() -> None:
    """As people write them."""
    assert ranges([1, 2, 3, 9, 11, 12]) == "1-3, 9, 11-12"
    assert ranges([]) == ""
