from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.kit import PAYER, Bench, opened

from treasuryd.core.model import UnixSeconds
from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import MEMORY, Connection, Driver
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store.journal import (
    BEFORE_THE_FIRST,
    COPY_ROWS,
    GENESIS,
    PEOPLE,
    Entry,
    JournalHead,
    append,
    chain_of,
    entries,
    link,
    recorded,
    verify,
)
from treasuryd.store.journal_copy import (
    JournalCopy,
    copy_head,
    copy_tail,
    entry_of,
    line_of,
    longest,
    path_of,
    read_copy,
    read_lines,
    set_aside,
)

AT = UnixSeconds(1.0)


class Copied:
    """A driver with a copy, closed together."""

    def __init__(self, driver: Driver, copy: JournalCopy) -> None:
        self.write, self.read, self.copy = driver.write, driver.read, copy
        self._driver = driver

    async def close(self) -> None:
        await self._driver.close()
        self.copy.close()


async def _copied(folder: Path, path: Path | str = MEMORY) -> Copied:
    copy = JournalCopy(folder)
    return Copied(await opened(InlineDriver, path, committed=copy), copy)


def _say(connection: Connection, *words: str, chain: str = PEOPLE) -> None:
    for word in words:
        append(connection, chain, "said", {"word": word}, AT)


async def test_a_chain_verifies_and_a_changed_entry_does_not() -> None:
    """§10: whoever changes one entry would have to change all behind it, and the copy outside."""
    for change in (
        'UPDATE journal SET body = \'{"word":"x"}\' WHERE seq = 2',
        "UPDATE journal SET at = 2.0 WHERE seq = 1",
        "DELETE FROM journal WHERE seq = 1",
    ):
        driver = await opened(InlineDriver)
        await driver.write(_say, "a", "b", "c")
        assert await driver.read(verify, PEOPLE) == 3
        await driver.write(_change, change)
        with pytest.raises(Corrupt, match="does not follow"):
            await driver.read(verify, PEOPLE)
        await driver.close()


def _change(connection: Connection, sql: str) -> None:
    connection.execute(sql)


async def test_every_verb_of_the_executor_leaves_one_entry_per_account() -> None:
    """One entry per verb carries every row's change."""
    driver = await opened(InlineDriver)
    bench = Bench(driver)
    await bench.adopt(PAYER)
    await bench.include(await bench.pay(await bench.insert(3)))
    await bench.bury()
    await bench.finalize(settled=200)
    found = await driver.read(entries, chain_of(PAYER))
    assert [entry.verb for entry in found] == [
        "create", "claim", "record", "stage", "seal", *["record"] * 4
    ]  # fmt: skip
    assert await driver.read(verify, chain_of(PAYER)) == len(found)
    await driver.close()


async def test_the_copy_follows_every_commit(tmp_path: Path) -> None:
    """And says the same, entry for entry."""
    driver = await _copied(tmp_path / "journal")
    await driver.write(_say, "a", "b")
    await driver.write(_say, "c", chain="account:we/ird")
    for chain in (PEOPLE, "account:we/ird"):
        assert list(read_copy(tmp_path / "journal", chain)) == await driver.read(entries, chain)
    await driver.close()


async def test_a_copy_follows_a_commit_of_any_length(tmp_path: Path) -> None:
    """Page by page: as many entries as a page holds, and one more."""
    driver = await _copied(tmp_path / "journal")
    for count in (COPY_ROWS, 2 * COPY_ROWS + 1):
        await driver.write(_say, *map(str, range(count)))
        copied = list(read_copy(tmp_path / "journal", PEOPLE))
        assert len(copied) == await driver.read(verify, PEOPLE)
    await driver.close()


async def test_what_json_cannot_say_is_not_half_written() -> None:
    """A body that cannot be kept takes its change with it: nothing happens that no journal tells."""
    driver = await opened(InlineDriver)
    for body, says in (({"word": object()}, "object"), ({"word": {1: "a"}}, "must be str")):
        with pytest.raises(TypeError, match=says):
            await driver.write(append, PEOPLE, "said", body, AT)
    assert await driver.read(entries, PEOPLE) == []
    await driver.close()


async def test_a_word_that_changed_nothing_is_kept_without_rows() -> None:
    """A command may end in "nothing to do": who asked for it is journalled all the same."""
    driver = await opened(InlineDriver)
    await driver.write(recorded, AT, _say, "nothing to do")
    [entry] = await driver.read(entries, PEOPLE)
    assert entry.content["word"] == "nothing to do"
    assert "rows" not in entry.content
    await driver.close()


@pytest.mark.parametrize("cut", [1, 3], ids=["its end", "some of it"])
async def test_a_copy_is_read_up_to_its_torn_end(tmp_path: Path, cut: int) -> None:
    """The process may be writing it at this moment; a chain without a file has no entries."""
    driver = await _copied(tmp_path)
    await driver.write(_say, "a", "b")
    await driver.close()
    path = path_of(tmp_path, PEOPLE)
    path.write_bytes(path.read_bytes()[:-cut])
    assert [entry.content["word"] for entry in read_copy(tmp_path, PEOPLE)] == ["a"]
    assert list(read_copy(tmp_path, "account:nobody")) == []


async def test_what_a_crash_left_out_is_caught_up(tmp_path: Path) -> None:
    """The store committed, the copy was not written: the next start writes it; a torn line is cut off."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    driver = await _copied(folder, file)
    await driver.write(_say, "a")
    await driver.close()
    crashed = await opened(InlineDriver, file)
    await crashed.write(_say, "b", "c")
    await crashed.close()
    with path_of(folder, PEOPLE).open("ab") as copy:
        copy.write(b'[2,1.0,"said","torn')
    driver = await _copied(folder, file)
    await driver.write(_say, "d")
    assert list(read_copy(folder, PEOPLE)) == await driver.read(entries, PEOPLE)
    assert path_of(folder, PEOPLE).read_bytes().count(b'"word":"a"') == 1, "it stood there already"
    await driver.close()


async def test_a_copy_that_is_ahead_of_the_store_is_set_aside_and_named(tmp_path: Path) -> None:
    """§8: an old store was restored; the entries beyond it are kept for the replay, never written over."""
    folder = tmp_path / "journal"
    driver = await _copied(folder)
    await driver.write(_say, "a", "b", "c")
    await driver.close()
    restored = await _copied(folder)
    await restored.write(_say, "a", "other")
    assert {chain: head.seq for chain, head in restored.copy.ahead.items()} == {PEOPLE: 3}
    [aside] = folder.glob("*.ahead")
    assert [name.split(".")[0] for name in set_aside(folder)] == [PEOPLE]
    assert aside.read_bytes().count(b"\n") == 3
    assert list(read_copy(folder, PEOPLE)) == await restored.read(entries, PEOPLE)
    await restored.close()


class Disk:
    """Counts what is synced, and fails when it is told to."""

    def __init__(self) -> None:
        self.synced = 0
        self.full = False

    def sync(self, handle: int) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.synced += 1


async def test_peoples_entries_are_synced_and_a_failing_copy_is_no_secret(tmp_path: Path) -> None:
    """A command returns only when its entry stands on the other disk; where it cannot, it says so."""
    disk = Disk()
    copy = JournalCopy(tmp_path / "journal", sync=disk.sync)
    driver = await opened(InlineDriver, committed=copy)
    at_start = disk.synced
    for word in "wx":
        await driver.write(_say, word, chain="account:a")
    assert disk.synced == at_start
    await driver.write(_say, "y")
    assert disk.synced == at_start + 1
    disk.full = True
    with pytest.raises(Corrupt, match="No space left") as caught:
        await driver.write(_say, "z")
    assert str(tmp_path / "journal") in caught.value.message
    assert "Make room" in caught.value.hint
    disk.full = False
    await driver.close()
    copy.close()


async def test_how_long_copying_takes_is_measured(tmp_path: Path) -> None:
    """It is part of every commit: a slow disk under the copy is a slow daemon."""
    times = iter([10.0, 10.5, 20.0, 23.5])
    copy = JournalCopy(tmp_path, now=lambda: next(times))
    driver = await opened(InlineDriver, committed=copy)
    assert copy.took_seconds == 0.5
    await driver.write(_say, "a")
    assert copy.took_seconds == 3.5
    await driver.close()
    copy.close()


@given(word=st.text(), seq=st.integers(1, 2**53), at=st.floats(0, 1e10))
@settings(max_examples=50)
def test_a_line_reads_back_as_it_was(word: str, seq: int, at: float) -> None:
    """Byte for byte, or its hash would not verify."""
    try:
        body = orjson.dumps({"word": word})
    except TypeError:  # a lone surrogate is no text
        return
    entry = Entry(
        chain="c",
        seq=seq,
        at=UnixSeconds(at),
        verb="said",
        body=body.decode(),
        hash=link(GENESIS, "c", seq, at, "said", body),
    )
    assert entry_of("c", line_of(entry)) == entry


@pytest.mark.parametrize(
    "line", [b'"abcde"', b"[1,2,3,4,5]", b'["a",1.0,"v","h",{}]', b'[true,1.0,"v","h",{}]', b'{"a":1}']
)
def test_a_line_of_another_shape_is_none_of_ours(line: bytes) -> None:
    with pytest.raises(Corrupt, match="none of ours"):
        entry_of(PEOPLE, line + b"\n")


def test_a_copy_of_nothing_has_no_head(tmp_path: Path) -> None:
    """No file, an empty one, and one with half a line."""
    assert copy_head(tmp_path, PEOPLE) is None
    for text in (b"", b"[1,"):
        path_of(tmp_path, PEOPLE).write_bytes(text)
        assert copy_head(tmp_path, PEOPLE) is None
    with pytest.raises(Corrupt, match="none of ours: unexpected"):
        entry_of(PEOPLE, b"hello\n")


@pytest.mark.parametrize("number", [b"0", b"3", b"17"])
def test_an_entry_of_the_copy_whose_number_was_changed_does_not_follow(tmp_path: Path, number: bytes) -> None:
    """Found by fuzzing: the hash covers the number that belongs there, so the one that stands there is compared, too."""
    first = _linked(BEFORE_THE_FIRST, "a")
    second = _linked(first, "b")
    changed = line_of(second).replace(b"[2,", b"[" + number + b",", 1)
    path_of(tmp_path, PEOPLE).write_bytes(line_of(first) + changed)

    if number == b"0":  # it reads as a repeat of what stands there already
        assert list(read_copy(tmp_path, PEOPLE)) == [first]
    else:
        with pytest.raises(Corrupt, match="does not follow"):
            list(read_copy(tmp_path, PEOPLE))
    assert copy_tail(tmp_path, PEOPLE).head == JournalHead(seq=1, hash=first.hash)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param("2", "entry 2 does not follow from 0", id="without its first entry"),
        pytest.param("1 3 4", "entry 3 does not follow from 1", id="without one in between"),
        pytest.param("1 3 2 3 5", "entry 5 does not follow from 3", id="made good, and then without another"),
        pytest.param("? ?", "it holds lines that are none of ours", id="of something else"),
        pytest.param("? 2", "it holds lines that are none of ours", id="its beginning overwritten"),
    ],
)
def test_a_copy_that_is_not_whole_is_refused_with_what_is_wrong(lines: str, says: str) -> None:
    """§3: whoever cuts, reorders or replaces entries of the copy is found by whoever reads it."""
    with pytest.raises(Corrupt, match=f"^the journal's copy of {PEOPLE}: {says}$"):
        list(read_lines(_lines(lines), PEOPLE))


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param("", [], id="nothing yet"),
        pytest.param("1 2 1 2 3", [1, 2, 3], id="repeats"),
        pytest.param("1 3 2 3", [1, 2, 3], id="written once more behind a hole"),
        pytest.param("? 1", [1], id="a torn first line"),
        pytest.param("? 1 ? 2 ?", [1, 2], id="torn lines"),
    ],
)
def test_a_copy_that_was_made_good_is_read_whole(lines: str, found: list[int]) -> None:
    """What several processes and their ends leave in it is no change of it."""
    assert [entry.seq for entry in read_lines(_lines(lines), PEOPLE)] == found


def test_a_first_entry_that_is_being_written_is_none_yet() -> None:
    """Whoever reads at that moment sees half a line without its end."""
    assert list(read_lines([_lines("1")[0][:-9]], PEOPLE)) == []


def test_of_copies_that_were_set_aside_the_longest_is_read() -> None:
    """By number, not by letter; an account may be called like a file, with dots in its name."""
    paths = [
        Path(f"{name}.{seq}-{hash_}.ahead")
        for name, seq, hash_ in (
            ("account%3Aa.b", 9, "ffffffff"),
            ("account%3Aa.b", 10, "00000000"),
            ("account%3Aa.b", 2, "eeeeeeee"),
            ("people", 1, "00000000"),
        )
    ]
    assert longest(paths) == {"account:a.b": paths[1], "people": paths[3]}


def _lines(which: str) -> list[bytes]:
    """Lines of people's chain by number; "?" is a torn one."""
    chain = [_linked(BEFORE_THE_FIRST, "a")]
    for word in "bcde":
        chain.append(_linked(chain[-1], word))
    return [b'[1,1.0,"sa\n' if one == "?" else line_of(chain[int(one) - 1]) for one in which.split()]


def _linked(before: Entry | JournalHead, word: str) -> Entry:
    """Make the entry that follows on another."""
    body = orjson.dumps({"word": word})
    seq, at = before.seq + 1, UnixSeconds(1.0)
    digest = link(before.hash, PEOPLE, seq, at, "said", body)
    return Entry(chain=PEOPLE, seq=seq, at=at, verb="said", body=body.decode(), hash=digest)
