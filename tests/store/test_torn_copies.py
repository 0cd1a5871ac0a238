"""What a power cut leaves of the journal's outside copy: holes, torn lines, lines behind a hole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BufferedRandom, FileIO
from pathlib import Path
from typing import Any

import pytest
from tests.store.kit import opened

from treasuryd.core.model import UnixSeconds
from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import Connection, Driver
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import journal, journal_copy
from treasuryd.store.journal import append, entries
from treasuryd.store.journal_copy import JournalCopy, copy_tail, line_of, path_of, read_copy, set_aside

CHAIN = "account:a"
AT = UnixSeconds(1.0)


def _say(connection: Connection, *words: str) -> None:
    for word in words:
        append(connection, CHAIN, "said", {"word": word}, AT)


async def _written(folder: Path, file: Path, *words: str) -> None:
    """Start, let the copy catch up, say something, end."""
    copy = JournalCopy(folder)
    driver = await opened(InlineDriver, file, committed=copy)
    await driver.write(_say, *words)
    await driver.close()
    copy.close()


@pytest.mark.parametrize(
    "whole", [0, 1, 2], ids=["from the first entry on", "after the first", "after the second"]
)
async def test_a_hole_in_what_was_not_synced_is_written_anew(tmp_path: Path, whole: int) -> None:
    """§3: a power cut kept the last entries and lost those before; a start mends that, and takes it for no restore."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    await _written(folder, file, "a", "b", "c", "d", "e")
    copy = path_of(folder, CHAIN)
    lines = copy.read_bytes().splitlines(keepends=True)
    lost = b"".join(lines[whole:3])
    copy.write_bytes(b"".join(lines[:whole]) + bytes(len(lost)) + b"".join(lines[3:]))

    tail = copy_tail(folder, CHAIN)
    assert (0 if tail.head is None else tail.head.seq) == whole

    await _written(folder, file, "f")

    driver = await opened(InlineDriver, file)
    assert list(read_copy(folder, CHAIN)) == await driver.read(entries, CHAIN)
    assert set_aside(folder) == []
    await driver.close()


@pytest.mark.parametrize("behind", [None, 0, 2], ids=["nothing", "a repeat", "a lower one"])
async def test_an_entry_behind_a_hole_still_tells_of_a_restore(tmp_path: Path, behind: int | None) -> None:
    """§8: what the store does not know is evidence, whatever is torn before or repeated behind it; it is kept as it is."""
    folder = tmp_path / "journal"
    await _written(folder, tmp_path / "lost.db", "a", "b", "c", "d")
    copy = path_of(folder, CHAIN)
    lines = copy.read_bytes().splitlines(keepends=True)
    torn = lines[0] + bytes(len(lines[1] + lines[2])) + lines[3]
    torn += b"" if behind is None else lines[behind]
    copy.write_bytes(torn)

    await _written(folder, tmp_path / "restored.db", "a")

    [aside] = folder.glob("*.ahead")
    assert aside.read_bytes() == torn
    assert aside.name.split(".")[1].startswith("4-")


async def test_what_waits_to_be_synced_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start looks through a megabyte of each chain, not through its years: so no more may be torn."""
    monkeypatch.setattr(journal_copy, "UNSYNCED_BYTES", 1_000)
    synced: list[int] = []
    copy = JournalCopy(tmp_path / "journal", sync=lambda _: synced.append(size()))

    def size() -> int:
        path = path_of(tmp_path / "journal", CHAIN)
        return path.stat().st_size if path.exists() else 0

    driver = await opened(InlineDriver, committed=copy)
    for number in range(50):
        await driver.write(_say, f"word {number} " + "x" * (number * 40))
        assert size() - max(synced, default=0) <= max(1_000, 40 * number + 300)
    assert len(synced) > 20
    await driver.close()
    copy.close()


async def test_what_may_wait_does_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync costs milliseconds: there is one only where the next entry would be too much, to the byte."""
    await _written(tmp_path / "sample", tmp_path / "sample.db", "a")
    length = path_of(tmp_path / "sample", CHAIN).stat().st_size
    monkeypatch.setattr(journal_copy, "UNSYNCED_BYTES", 2 * length)
    synced: list[int] = []
    copy = JournalCopy(tmp_path / "journal", sync=synced.append)
    driver = await opened(InlineDriver, committed=copy)
    counts = []
    for word in "abcdef":
        await driver.write(_say, word)
        counts.append(len(synced))
    assert [count - counts[0] for count in counts] == [0, 0, 1, 1, 2, 2]
    await driver.close()
    copy.close()


async def test_the_name_of_a_new_copy_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not take a whole file whose entries were synced."""
    folder, file = tmp_path / "made" / "with the rest", tmp_path / "a.db"
    named: list[bool] = []
    monkeypatch.setattr(journal_copy, "_sync_folder", lambda one: named.append(path_of(one, CHAIN).exists()))
    await _written(folder, file, "a")
    assert named[-1:] == [True]
    once = len(named)
    await _written(folder, file, "b")
    assert len(named) == once


@pytest.mark.parametrize("longest", [journal_copy.TAIL_BYTES, 500], ids=["all is read", "its end is read"])
async def test_what_is_not_looked_through_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    """The window begins at a synced line; `read_copy` verifies what lies before it when it is needed."""
    monkeypatch.setattr(journal_copy, "UNSYNCED_BYTES", 200)
    monkeypatch.setattr(journal_copy, "TAIL_BYTES", longest)
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    await _written(folder, file, *"abcdefgh")
    copy = path_of(folder, CHAIN)
    content = copy.read_bytes()
    copy.write_bytes(b"x" + content[1:])

    tail = copy_tail(folder, CHAIN)

    assert (tail.head is not None and tail.head.seq, tail.beyond) == (8, None)
    assert [line[:3] for line in content[tail.checked :].splitlines()] == [b"[6,", b"[7,", b"[8,"]
    with pytest.raises(Corrupt):
        list(read_copy(folder, CHAIN))


async def test_a_start_writes_anew_what_may_not_be_synced_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§11: of what was lost in memory a sync says nothing; of what stands behind it somebody may be writing now."""
    monkeypatch.setattr(journal_copy, "UNSYNCED_BYTES", 200)
    monkeypatch.setattr(journal_copy, "TAIL_BYTES", 600)
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    await _written(folder, file, *"abcdefgh")
    copy = path_of(folder, CHAIN)
    lines = copy.read_bytes().splitlines(keepends=True)
    with copy.open("ab") as torn:
        torn.write(lines[7] + lines[7][:9])
    written: list[tuple[Path, int, bytes]] = []
    open_ = Path.open

    class Watched(BufferedRandom):
        def write(self, text: Any, /) -> int:
            written.append((Path(self.name), self.tell(), text))
            return super().write(text)

    def watching(path: Path, mode: str, **more: Any) -> Any:
        return Watched(FileIO(path, "r+")) if mode == "r+b" else open_(path, mode, **more)

    monkeypatch.setattr(Path, "open", watching)
    await _written(folder, file)

    assert [row for row in written if row[0] == copy] == [
        (copy, len(b"".join(lines[:6])), b"".join(lines[6:]))
    ]


@pytest.mark.parametrize("torn", [[5], [5, 6]], ids=["its first entry", "its first two"])
async def test_a_hole_where_what_was_not_synced_begins_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: list[int]
) -> None:
    """All that may wait was waiting: the entry behind the hole is not taken for the end of what is whole."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    await _written(folder, file, *"abcdefgh")
    copy = path_of(folder, CHAIN)
    lines = copy.read_bytes().splitlines(keepends=True)
    monkeypatch.setattr(journal_copy, "UNSYNCED_BYTES", len(b"".join(lines[5:])))
    copy.write_bytes(b"".join(bytes(len(line)) if at in torn else line for at, line in enumerate(lines)))

    await _written(folder, file)

    driver = await opened(InlineDriver, file)
    assert list(read_copy(folder, CHAIN)) == await driver.read(entries, CHAIN)
    await driver.close()


async def test_a_torn_entry_longer_than_what_may_wait_is_the_only_one_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits alone; the one before it was synced, and the copy goes on from there."""
    monkeypatch.setattr(journal_copy, "UNSYNCED_BYTES", 200)
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    await _written(folder, file, *"abcd", "e" * 500)
    copy = path_of(folder, CHAIN)
    lines = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(lines[:4]) + bytes(len(lines[4])))

    await _written(folder, file)

    assert [entry.seq for entry in read_copy(folder, CHAIN)] == [1, 2, 3, 4, 5]
    assert copy.read_bytes().count(b'"word":"a"') == 1


async def test_what_another_process_adds_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby that starts looks through the copy while the leader writes: a whole file is not cut."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    leading = JournalCopy(folder)
    leader = await opened(InlineDriver, file, committed=leading)
    await leader.write(_say, "a")
    standby = await opened(InlineDriver, file)
    assert isinstance(leader, InlineDriver)
    assert isinstance(standby, InlineDriver)
    look = journal_copy.copy_tail

    def while_the_leader_writes(folder: Path, chain: str) -> journal_copy.Tail:
        found = look(folder, chain)
        if chain == CHAIN:
            monkeypatch.setattr(journal_copy, "copy_tail", look)
            leader._writer.execute("BEGIN IMMEDIATE")
            _say(leader._writer, "b")
            leader._writer.execute("COMMIT")
            leading(leader._writer)
        return found

    monkeypatch.setattr(journal_copy, "copy_tail", while_the_leader_writes)
    sizes: list[int] = []
    write_anew = JournalCopy._write_anew

    def then_measured(copy: JournalCopy, chain: str, tail: journal_copy.Tail) -> None:
        before = path_of(folder, chain).stat().st_size
        write_anew(copy, chain, tail)
        sizes.append(path_of(folder, chain).stat().st_size - before)

    monkeypatch.setattr(JournalCopy, "_write_anew", then_measured)
    copy = JournalCopy(folder)
    copy(standby._writer)

    assert set(sizes) == {0}
    assert list(read_copy(folder, CHAIN)) == await leader.read(entries, CHAIN)
    for one in (leader, standby):
        await one.close()
    leading.close()
    copy.close()


async def test_what_a_killed_process_tore_is_made_good_by_the_other(tmp_path: Path) -> None:
    """Two daemons share the folder: one dies within a line, and the other's next line stands behind it."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    living = JournalCopy(folder)
    driver = await opened(InlineDriver, file, committed=living)
    await driver.write(_say, "a")
    dying = await opened(InlineDriver, file)  # committed, and died while it copied
    await dying.write(_say, "b")
    [line] = [line_of(entry) for entry in await dying.read(entries, CHAIN, after=1)]
    await dying.close()
    with path_of(folder, CHAIN).open("ab") as copy:
        copy.write(line[: len(line) // 2])

    await driver.write(_say, "c")

    stored = await driver.read(entries, CHAIN)
    assert list(read_copy(folder, CHAIN)) == stored
    tail = copy_tail(folder, CHAIN)
    assert (tail.head is not None and tail.head.hash, tail.beyond) == (stored[-1].hash, None)
    await driver.close()
    living.close()
    size = path_of(folder, CHAIN).stat().st_size
    await _written(folder, file)
    assert path_of(folder, CHAIN).stat().st_size == size  # what is made good is not written again


async def test_a_start_cuts_nothing_off_that_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds a torn line; while it looks, the leader writes behind it."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    leading = JournalCopy(folder)
    leader = await opened(InlineDriver, file, committed=leading)
    await leader.write(_say, "a")
    with path_of(folder, CHAIN).open("ab") as copy:
        copy.write(b"[2,1.0,")
    standby = await opened(InlineDriver, file)
    assert isinstance(standby, InlineDriver)
    look = journal_copy.copy_tail

    def while_the_leader_writes(folder: Path, chain: str) -> journal_copy.Tail:
        found = look(folder, chain)
        if chain == CHAIN:
            monkeypatch.setattr(journal_copy, "copy_tail", look)
            writer = leader._writer  # type: ignore[attr-defined]  # the inline one
            writer.execute("BEGIN IMMEDIATE")
            _say(writer, "b")
            writer.execute("COMMIT")
            leading(writer)
        return found

    monkeypatch.setattr(journal_copy, "copy_tail", while_the_leader_writes)
    starting = JournalCopy(folder)
    starting(standby._writer)

    assert list(read_copy(folder, CHAIN)) == await leader.read(entries, CHAIN)
    for one in (leader, standby):
        await one.close()
    leading.close()
    starting.close()


class Short:
    """Takes half of whatever it is given; `between` is what somebody else writes before the rest comes."""

    name = "short"

    def __init__(self, file: FileIO, between: bytes) -> None:
        self.file, self.between = file, between

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, text: bytes) -> int:
        size = self.file.write(text[: max(1, len(text) // 2)])
        with Path(str(self.file.name)).open("ab") as other:
            other.write(self.between)
        return size


class Full(Short):
    """It takes nothing, and says so without an error."""

    def write(self, text: Any, /) -> int:
        return 0


@asynccontextmanager
async def _spoilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Short], between: bytes
) -> AsyncIterator[Driver]:
    """A store with one entry in its copy, whose file does not take the next one as it should."""
    copy = JournalCopy(tmp_path / "journal")
    driver = await opened(InlineDriver, tmp_path / "a.db", committed=copy)
    await driver.write(_say, "a")
    monkeypatch.setitem(copy._files, CHAIN, kind(copy._files[CHAIN], between))
    yield driver
    await driver.close()
    copy.close()


async def test_a_write_that_comes_back_short_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    async with _spoilt(tmp_path, monkeypatch, Short, b"") as driver:
        await driver.write(_say, "b")
        assert [entry.seq for entry in read_copy(folder, CHAIN)] == [1, 2]
        assert len(path_of(folder, CHAIN).read_bytes().splitlines()) == 2


async def test_a_write_that_takes_nothing_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on for ever; a storage error is fatal, and the next start mends the copy."""
    async with _spoilt(tmp_path, monkeypatch, Full, b"") as driver:
        with pytest.raises(Corrupt, match="nothing was written"):
            await driver.write(_say, "b")
    assert [entry.seq for entry in read_copy(tmp_path / "journal", CHAIN)] == [1]


async def test_a_line_that_others_always_write_into_is_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written once more, a few times; then the process ends, and the next start mends the copy."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    async with _spoilt(tmp_path, monkeypatch, Short, b"?") as driver:
        with pytest.raises(Corrupt, match="somebody else wrote"):
            await driver.write(_say, "b")
    assert [entry.seq for entry in read_copy(folder, CHAIN)] == [1]

    await _written(folder, file, "c")

    assert [entry.seq for entry in read_copy(folder, CHAIN)] == [1, 2, 3]


async def test_of_two_that_start_one_sets_an_old_copy_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§8: both see a copy that goes on beyond the restored store; the second would put the new one in its place."""
    folder, file = tmp_path / "journal", tmp_path / "restored.db"
    await _written(folder, tmp_path / "lost.db", "a", "b", "c", "d")
    evidence = path_of(folder, CHAIN).read_bytes()
    drivers = [await opened(InlineDriver, file) for _ in range(2)]
    first, second = (driver._writer for driver in drivers if isinstance(driver, InlineDriver))
    copies = [JournalCopy(folder), JournalCopy(folder)]
    look = journal_copy.copy_tail

    def while_the_first_starts(folder: Path, chain: str) -> journal_copy.Tail:
        found = look(folder, chain)
        if chain == CHAIN:
            monkeypatch.setattr(journal_copy, "copy_tail", look)
            copies[0](first)
        return found

    monkeypatch.setattr(journal_copy, "copy_tail", while_the_first_starts)
    copies[1](second)

    [aside] = folder.glob("account*.ahead")
    assert aside.read_bytes() == evidence
    for driver, copy in zip(drivers, copies, strict=True):
        await driver.close()
        copy.close()


async def test_a_copy_that_failed_ends_without_a_second_error(tmp_path: Path) -> None:
    """The first error says what happened; closing says nothing on top, and the next start writes what is missing."""
    folder, file = tmp_path / "journal", tmp_path / "a.db"
    broken = [False]

    def sync(_: int) -> None:
        if broken[0]:
            raise OSError(5, "Input/output error")

    copy = JournalCopy(folder, sync=sync)
    driver = await opened(InlineDriver, file, committed=copy)
    broken[0] = True
    with pytest.raises(Corrupt, match="Input/output error"):
        await driver.write(lambda connection: append(connection, journal.PEOPLE, "said", {}, AT))
    await driver.close()
    copy.close()

    await _written(folder, file, "a")

    driver = await opened(InlineDriver, file)
    assert list(read_copy(folder, journal.PEOPLE)) == await driver.read(entries, journal.PEOPLE)
    await driver.close()
