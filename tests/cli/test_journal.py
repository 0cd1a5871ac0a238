"""`treasuryd journal`: verify, export and replay over a store that a history left behind."""

import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from blake3 import blake3
from tests.cli.conftest import Told
from tests.world import History, new

from treasuryd.core.model import Evidence
from treasuryd.store.journal import PEOPLE
from treasuryd.store.journal_copy import JournalCopy, path_of


@dataclass
class Left:
    """A state folder, and the commands over it."""

    history: History
    copy: JournalCopy
    run: Callable[..., Told]

    @property
    def journal(self) -> Path:
        return self.history.folder / "journal"

    async def sql(self, text: str) -> Any:
        return await self.history.sql.write(lambda connection: connection.execute(text).fetchall())


@pytest.fixture
async def left(tmp_path: Path, call: Callable[..., Told]) -> AsyncIterator[Left]:
    """A payment and a cancel, with the copy written."""
    history = History(tmp_path, Evidence.HASH)
    history.mine(2)
    await history.start()
    rent, power = await history.submit(new("rent"), new("power", scheduled=1_000))
    await history.cancel(power)
    await history.finalized([rent])
    copy = JournalCopy(tmp_path / "journal")
    await history.sql.write(copy)
    yield Left(history, copy, lambda *words: call("journal", *words, "--state-folder", tmp_path))
    await history.close()
    copy.close()


async def test_a_whole_journal_verifies_beside_its_writer(left: Left) -> None:
    """Every chain of store and copy; the heads are shown, so that somebody may write them down."""
    told = left.run("verify", "--json")
    found = json.loads(told.out)
    assert (told.code, found["problems"], found["remarks"]) == (0, [], [])
    assert [head["chain"] for head in found["heads"]] == ["account:treasury", "people", "store"]
    assert "0 problems" in left.run("verify").out


@pytest.mark.parametrize(
    ("forgery", "says"),
    [
        ("UPDATE journal SET body = replace(body, 'ada', 'eve') WHERE verb = 'cancel'", "does not follow"),
        ("DELETE FROM journal WHERE verb = 'cancel'", "is number"),
        ("UPDATE journal SET id = 1000 WHERE id = 3", "is number"),
        ("DELETE FROM journal WHERE id > 6", "the last entries are missing"),
        ("DELETE FROM journal WHERE id > 6", "the store ends at"),
        ("UPDATE journal SET body = '{}' WHERE id = 1", "does not follow"),
    ],
)
async def test_a_spoiled_store_is_found(left: Left, forgery: str, says: str) -> None:
    """Tampered, missing, reordered, truncated: said where, and exit code 1."""
    await left.sql(forgery)
    told = left.run("verify")
    assert (told.code, says in told.err) == (1, True)


async def test_an_entry_without_its_place_is_found(left: Left) -> None:
    """Linked as it should be, and still none that could be replayed."""
    left.history.sql._writer.execute("DELETE FROM journal")
    from treasuryd.store.journal import STORE, link  # noqa: PLC0415

    digest = link("0" * 64, STORE, 1, 1e12, "birth", b"{}")
    await left.sql(f"INSERT INTO journal VALUES (1, 'store', 1, 1e12, 'birth', '{{}}', '{digest}')")
    told = left.run("verify")
    assert (told.code, "does not say where it stands" in told.err) == (1, True)


async def test_a_spoiled_copy_is_found(left: Left) -> None:
    """Gone, changed, cut short, written anew, set aside."""
    file = path_of(left.journal, PEOPLE)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for content, code, says in (
        (None, 1, "there is none of people"),
        (whole.replace(b"ada", b"eve"), 1, "does not follow"),
        (
            b"".join(lines[:-1]),
            0,
            "people is 1 entry behind; the daemon writes it within moments, or at its next start",
        ),
        (b"nothing of ours\n", 1, "none of ours"),
    ):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        told = left.run("verify")
        assert (told.code, says in told.out + told.err) == (code, True), says
    file.write_bytes(whole)
    (left.journal / "people.3-abc.ahead").write_bytes(b"")
    assert "set aside" in left.run("verify").err


async def test_a_forked_copy_is_found(left: Left, tmp_path: Path) -> None:
    """Both are whole, and they do not say the same."""
    other = History(tmp_path / "other", Evidence.HASH)
    other.folder.mkdir()
    other.mine(2)
    await other.start()
    await other.submit(new("other"))
    copy = JournalCopy(tmp_path / "other" / "journal")
    await other.sql.write(copy)
    copy.close()
    await other.close()
    path_of(left.journal, PEOPLE).write_bytes(path_of(tmp_path / "other" / "journal", PEOPLE).read_bytes())
    told = left.run("verify")
    assert (told.code, "another one than the store's" in told.err) == (1, True)


# --- export -------------------------------------------------------------------------------------------------------


async def test_an_export_is_verified_with_blake3_alone(left: Left, tmp_path: Path) -> None:
    """The four lines that a third party needs, and our own command on the same file."""
    file = tmp_path / "journal.jsonl"
    assert left.run("export", "--output", file).code == 0
    last: dict[str, str] = {}
    for row in map(orjson.loads, file.read_bytes().splitlines()):
        assert blake3((row["before"] + row["head"] + row["body"]).encode()).hexdigest() == row["hash"]
        chain = orjson.loads(row["head"])[0]
        assert last.get(chain, "0" * 64) == row["before"]
        last[chain] = row["hash"]
    told = left.run("verify", "--export", file, "--json")
    assert (told.code, json.loads(told.out)["problems"]) == (0, [])
    assert {head["chain"]: head["hash"] for head in json.loads(told.out)["heads"]} == last
    again = left.run("export", "--output", file)
    assert (again.code, "is there already" in again.err) == (1, True), "an export never replaces a file"


async def test_a_part_of_an_export_is_verified_too(left: Left, tmp_path: Path) -> None:
    """It begins at what stands before its first entry."""
    file = tmp_path / "part.jsonl"
    left.run("export", "--chain", "account:treasury", "--from", 3, "--to", 5, "--output", file)
    assert [orjson.loads(orjson.loads(line)["head"])[1] for line in file.read_bytes().splitlines()] == [
        3,
        4,
        5,
    ]
    assert left.run("verify", "--export", file).code == 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: [lines[0].replace(b"tx", b"TX"), *lines[1:]], "was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "does not follow"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "does not follow"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "does not follow"),
        (lambda lines: [*lines, b"x\n"], "is no entry"),
    ],
)
async def test_a_spoiled_export_is_found(
    left: Left, tmp_path: Path, spoil: Callable[[list[bytes]], list[bytes]], says: str
) -> None:
    """Changed, missing, reordered, repeated, nonsense."""
    file = tmp_path / "journal.jsonl"
    left.run("export", "--output", file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(spoil(lines)))
    told = left.run("verify", "--export", file)
    assert (told.code, says in told.err) == (1, True)


# --- replay -------------------------------------------------------------------------------------------------------


async def test_the_journal_rebuilds_the_store_from_either_side(left: Left, tmp_path: Path) -> None:
    """From the store's own entries, and from the copy, into a file that is kept."""
    told = left.run("replay")
    assert (told.code, "equal" in told.out) == (0, True)
    told = left.run("replay", "--from", left.journal, "--into", tmp_path / "new.db", "--json")
    assert (told.code, json.loads(told.out)["differences"]) == (0, [])
    assert left.run("replay", "--into", tmp_path / "new.db").code == 1


async def test_what_differs_is_named(left: Left) -> None:
    """Exit code 1, and one line for each row."""
    await left.sql("UPDATE disbursement SET amount = 7 WHERE id = 1")
    told = left.run("replay")
    assert (told.code, "disbursement 1: amount is 7 in the first and 5000000" in told.err) == (1, True)
    await left.sql("DELETE FROM journal WHERE id = 4")
    told = left.run("replay")
    assert (told.code, "follows entry 3" in told.err) == (1, True)


def test_without_a_store_there_is_nothing_to_verify(call: Callable[..., Told], tmp_path: Path) -> None:
    """And nothing is made."""
    told = call("journal", "verify", "--state-folder", tmp_path / "nowhere")
    assert (told.code, "there is no store" in told.err) == (1, True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("words", [("export", "--output"), ("replay", "--into")])
async def test_what_is_taken_out_of_the_store_is_ours_alone(
    left: Left, tmp_path: Path, words: tuple[str, str]
) -> None:
    """Whatever the umask: it tells what is paid to whom."""
    file = tmp_path / "taken"
    before = os.umask(0)
    try:
        assert left.run(*words, file).code == 0
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
