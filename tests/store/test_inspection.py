"""Store, copy and export are followed entry by entry: what does not follow is said, with its place."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from blake3 import blake3
from tests.store.kit import PAYER, Bench, opened

from treasuryd.core.model import UnixSeconds
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store.inspection import compare, exported, inspect_export, inspect_store, read_copies
from treasuryd.store.journal import GENESIS, PEOPLE, STORE, append
from treasuryd.store.journal_copy import JournalCopy, path_of

OURS = f"account:{PAYER}"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A store with three entries of people beside those of its account, all of them copied."""
    copy = JournalCopy(tmp_path)
    driver = await opened(InlineDriver, committed=copy)
    found = Bench(driver)
    await found.adopt(PAYER)
    for word in ("one", "two", "three"):
        await driver.write(append, PEOPLE, "say", {"word": word}, UnixSeconds(1.0))
    yield found
    await driver.close()
    copy.close()


async def lines(bench: Bench, **part: Any) -> list[bytes]:
    return await bench.driver.read(lambda connection: list(exported(connection, **part)))


def places(export: list[bytes]) -> list[tuple[str, int]]:
    """Chain and number of each line."""
    return [tuple(orjson.loads(orjson.loads(line)["head"])[:2]) for line in export]


def anew(line: bytes, **changed: Any) -> bytes:
    """A line that says something else, with the hash that belongs to it."""
    row = orjson.loads(line)
    chain, seq, at, verb = orjson.loads(row["head"])
    row["before"] = changed.get("before", row["before"])
    row["head"] = orjson.dumps([chain, changed.get("seq", seq), at, verb]).decode()
    row["hash"] = blake3((row["before"] + row["head"] + row["body"]).encode()).hexdigest()
    return orjson.dumps(row) + b"\n"


async def test_an_export_holds_every_chain_from_its_first_entry(bench: Bench) -> None:
    """Or from and up to a number, within each chain; each part proves itself."""
    whole = await lines(bench)
    assert {chain for chain, _ in places(whole)} == {OURS, PEOPLE, STORE}
    assert [seq for chain, seq in places(whole) if chain == PEOPLE] == [1, 2, 3]
    first = await lines(bench, last=1)
    assert places(first) == [(OURS, 1), (PEOPLE, 1), (STORE, 1)]
    for part, count in (
        (whole, len(whole)),
        (first, 3),
        (await lines(bench, chain=PEOPLE, first=2), 2),
        (await lines(bench, chain=PEOPLE, first=3), 1),
    ):
        found = inspect_export(part)
        assert (found.entries, found.problems) == (count, [])


async def test_a_line_that_is_no_entry_is_named_and_the_others_are_looked_at(bench: Bench) -> None:
    """Lines are counted from one; all of them were looked at."""
    whole = await lines(bench, chain=PEOPLE)
    found = inspect_export([b"{}", *whole, b"x"])
    first, last = found.problems
    assert first.startswith("line 1 is no entry: ")
    assert last.startswith("line 5 is no entry: ")
    assert (found.entries, found.heads[PEOPLE].seq) == (5, 3)


async def test_an_export_that_was_hashed_anew_is_found_by_what_it_follows(bench: Bench) -> None:
    """Each line is right in itself: a number that leaps, another line before it, a first entry that follows something."""
    one, two, three = await lines(bench, chain=PEOPLE)
    follows = "people: entry {} does not follow from entry 1"
    for export, says in (
        ([one, anew(two, seq=3)], [f"line 2: {follows.format(3)}"]),
        ([one, anew(two, before="f" * 64)], [f"line 2: {follows.format(2)}"]),
        (
            [anew(one, before="f" * 64)],
            ["line 1: people: entry 1 has no predecessor although it is the first"],
        ),
        ([anew(two, before="f" * 64)], []),
        ([two, three], []),
    ):
        assert inspect_export(export).problems == says


async def test_rows_without_any_entry_are_missed_entries(bench: Bench) -> None:
    """However old they are."""
    await bench.insert(1, status_at=1.0)
    await bench.sql("DELETE FROM journal")
    found = await bench.driver.read(inspect_store)
    says = (
        "store: disbursement has a row of 1.000, the newest entry is of 0.000: the last entries are missing"
    )
    assert (found.entries, found.problems[0]) == (0, says)


async def test_a_copy_is_held_against_the_store_chain_by_chain(bench: Bench, tmp_path: Path) -> None:
    """An empty one lacks every entry; one that the store knows nothing of goes on beyond its end."""
    path_of(tmp_path, PEOPLE).write_bytes(b"")
    await bench.sql("DELETE FROM journal WHERE chain = ?", OURS)
    copies = read_copies(tmp_path)
    assert (copies.heads[PEOPLE].seq, copies.heads[PEOPLE].hash) == (0, GENESIS)

    def inspect(connection: Any) -> Any:
        found = inspect_store(connection)
        found.problems.clear()
        compare(connection, found, copies)
        return found

    found = await bench.driver.read(inspect)
    assert found.remarks == [
        "copy: people is 3 entries behind; the daemon writes them within moments, or at its next start"
    ]
    (problem,) = found.problems
    assert problem.startswith(f"copy: {OURS} goes on to entry 3, the store ends at 0: ")


async def test_a_copy_that_is_behind_is_held_against_its_own_last_entry(bench: Bench, tmp_path: Path) -> None:
    """The store goes on beyond it, which is no fork."""
    file = path_of(tmp_path, PEOPLE)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:1]))

    def inspect(connection: Any) -> Any:
        found = inspect_store(connection)
        compare(connection, found, read_copies(tmp_path))
        return found

    found = await bench.driver.read(inspect)
    assert (found.problems, len(found.remarks)) == ([], 1)
