"""What a store looks at when it is opened: the journal's copy, and which file it is (protocol.md §8)."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.kit import CHAIN_ID, opened

from treasuryd.core.model import AccountId, Rules, UnixSeconds
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import journal, journal_copy, migrations, ownership, reopening
from treasuryd.store.journal_copy import JournalCopy, path_of
from treasuryd.store.restore_report import meta, report

AT = UnixSeconds(1.0)
BOTH = [AccountId("b"), AccountId("c")]  # made in one transaction


class Shop:
    """A store with its copy, opened and closed."""

    def __init__(self, folder: Path) -> None:
        self.file, self.journal = folder / "a.db", folder / "journal"

    async def lives(self, *accounts: str, place: str = "here") -> dict[str, Any]:
        """Open, look, make these accounts, one transaction each, close; answers the quarantine's report."""
        copy = JournalCopy(self.journal)
        driver = await opened(InlineDriver, self.file, committed=copy)
        await reopening.reopen(driver, Rules(), folder=self.journal, place=place, now=AT)
        for account in accounts:
            await driver.write(_made, AccountId(account))
        found = await driver.read(report)
        self.known = [row[0] for row in await driver.read(_accounts)]
        self.states = {row[0]: row[1] for row in await driver.read(_accounts)}
        self.heads = await driver.read(_heads)
        self.verbs = [row[0] for row in await driver.read(_verbs)]
        await driver.close()
        copy.close()
        return found

    async def writes(self, verb: Callable[..., Any], *args: Any) -> list[Any]:
        """Open, run one verb, close; answers the journal's heads."""
        copy = JournalCopy(self.journal)
        driver = await opened(InlineDriver, self.file, committed=copy)
        await driver.write(verb, *args)
        heads: list[Any] = await driver.read(_heads)
        await driver.close()
        copy.close()
        return heads

    def backup(self) -> Path:
        target = self.file.with_suffix(".backup")
        shutil.copyfile(self.file, target)
        return target

    def restore(self) -> None:
        for rest in self.file.parent.glob("a.db-*"):
            rest.unlink()
        shutil.copyfile(self.file.with_suffix(".backup"), self.file)

    def edit(self, chain: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
        path = path_of(self.journal, chain)
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def _made(connection: Connection, account: AccountId) -> None:
    journal.recorded(connection, AT, ownership.create, [account], AT)


def _accounts(connection: Connection) -> list[Any]:
    return connection.execute("SELECT id, state FROM account ORDER BY id").fetchall()


def _heads(connection: Connection) -> list[Any]:
    return connection.execute("SELECT id, chain, seq, hash FROM journal ORDER BY id").fetchall()


def _verbs(connection: Connection) -> list[Any]:
    return connection.execute("SELECT verb FROM journal ORDER BY id").fetchall()


async def test_a_store_that_lost_nothing_is_left_alone(tmp_path: Path) -> None:
    """Opened again at the same place: no word of a quarantine."""
    shop = Shop(tmp_path)
    assert await shop.lives("a") == {}
    assert await shop.lives() == {}
    assert shop.states == {"a": "active"}


async def test_what_the_copy_holds_beyond_it_is_done_again_hash_for_hash(tmp_path: Path) -> None:
    """The journal goes on as the lost one did; then every account is in quarantine, in the same transaction."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b", "c")
    lost = shop.heads
    shop.restore()

    said = await shop.lives()

    assert said["found"] == [
        {
            "sign": "journal_replayed",
            "detail": "the journal's copy went on beyond this store (account:b, account:c): 2 entries were replayed",
        }
    ]
    taken = sorted(path.name for path in shop.journal.glob("*.taken"))
    assert said["replayed"] == {
        "entries": 2,
        "verbs": {"create": 2},
        "not_replayed": [],
        "problem": "",
        "copies": taken,
    }
    assert len(taken) == 2
    assert shop.states == dict.fromkeys("abc", "quarantined")
    assert shop.heads[: len(lost)] == lost
    assert list(shop.journal.glob("*.ahead")) == []


async def test_a_copy_with_a_gap_is_replayed_up_to_it(tmp_path: Path) -> None:
    """A power cut took one chain's last entry: what came after it in another chain is named, not done."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b", "c", "d", "e")
    shop.edit("account:c", lambda _lines: [])
    shop.restore()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_lost"]
    assert shop.known == ["a", "b"]
    assert [row[1] for row in said["replayed"]["not_replayed"]] == ["account:d", "account:e"]


async def test_two_histories_are_not_mixed(tmp_path: Path) -> None:
    """The store went on without its copy: neither is the older one, nothing of the copy is done, and it says so."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b", "c")
    shop.restore()
    kept = shop.journal.rename(tmp_path / "aside")
    await shop.lives("x", place="")
    shutil.rmtree(shop.journal)
    kept.rename(shop.journal)

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_lost"]
    assert shop.known == ["a", "x"]
    assert set(shop.states.values()) == {"quarantined"}


@pytest.fixture
def old_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A version of the program that knows the first schema alone, until it is undone."""
    first = migrations.known()[1]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "known", lambda: {1: first})
        yield patch


async def test_a_backup_of_an_older_schema_is_replayed_across_the_migration(
    tmp_path: Path, old_program: pytest.MonkeyPatch
) -> None:
    """§8: the copy tells of the migration; the restored store tells of none of its own before, which would be a fork."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b")
    old_program.undo()
    await shop.lives("c")
    lost = shop.heads
    shop.restore()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_replayed"]
    assert said["replayed"]["verbs"] == {"create": 2, "migrate": 1}
    assert shop.states == dict.fromkeys("abc", "quarantined")
    assert shop.heads[: len(lost)] == lost
    assert shop.verbs.count("migrate") == 1


async def test_a_copy_from_before_the_migration_is_replayed_before_it_is_told(
    tmp_path: Path, old_program: pytest.MonkeyPatch
) -> None:
    """Restored by a newer program than the lost one: first what was lost, then that the schema is another one."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b")
    lost = shop.heads
    shop.restore()
    old_program.undo()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_replayed"]
    assert shop.heads[: len(lost)] == lost
    assert shop.verbs[len(lost) :] == ["migrate", "quarantine", "quarantine", "quarantine"]
    await shop.lives()
    assert shop.verbs.count("migrate") == 1


async def test_a_migration_is_told_once_whatever_died_before_it_was(
    tmp_path: Path, old_program: pytest.MonkeyPatch
) -> None:
    """The schema is there and nobody has told of it: the next opening does, with the lineage that the store has."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    old_program.undo()
    driver = await opened(InlineDriver, shop.file)
    assert await driver.read(meta, migrations.UNTOLD) == "1"
    await driver.close()

    assert await shop.lives() == {}
    await shop.lives()

    assert shop.verbs.count("migrate") == 1
    driver = await opened(InlineDriver, shop.file)
    [entry] = [one for one in await driver.read(journal.entries, journal.STORE) if one.verb == "migrate"]
    assert {name: said for name, said in entry.content.items() if name != "tx"} == {
        "schema": max(migrations.known()), "chain_id": CHAIN_ID, "lineage": "lineage-1"
    }  # fmt: skip
    assert await driver.read(meta, migrations.UNTOLD) is None
    await driver.close()


async def test_a_changed_copy_is_not_believed(tmp_path: Path) -> None:
    """A line that does not follow from the one before it ends the replay."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b")
    shop.edit("account:b", lambda lines: [line.replace(b"create", b"cheats") for line in lines])
    shop.restore()
    said = await shop.lives()
    assert [one["sign"] for one in said["found"]] == ["journal_lost"]
    assert shop.known == ["a"]


async def test_another_file_waits_for_a_person(tmp_path: Path) -> None:
    """Moved, restored or cloned: nothing is missing, and somebody has to say which of both goes on. Told once."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    said = await shop.lives(place="there")
    assert [one["sign"] for one in said["found"]] == ["moved"]
    assert await shop.lives(place="there") == said


async def test_one_chain_that_went_on_in_two_ways_is_not_believed(tmp_path: Path) -> None:
    """The copy and the store have another entry at the same place of the same chain: nothing of the copy is done."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b")
    shop.restore()
    kept = shop.journal.rename(tmp_path / "aside")
    await shop.lives("x", "b", place="")
    shutil.rmtree(shop.journal)
    kept.rename(shop.journal)

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_lost"]
    assert "account:b: entry 1 is another one here than in its copy" in said["found"][0]["detail"]
    assert set(shop.states.values()) == {"quarantined"}


async def test_what_the_store_holds_of_a_chain_is_not_done_twice(tmp_path: Path) -> None:
    """The copy of a chain begins with what the old store knows: only what stands behind that is done again."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    lost = await shop.writes(journal.append, journal.chain_of(AccountId("a")), "said", {}, AT)
    shop.restore()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_replayed"]
    assert said["replayed"]["entries"] == 1
    assert shop.heads[: len(lost)] == lost


async def test_half_a_transaction_is_not_done_again(tmp_path: Path) -> None:
    """A power cut took one of its two entries: the other alone would be a state that never was."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.writes(journal.recorded, AT, ownership.create, BOTH, AT)
    shop.edit("account:c", lambda _lines: [])
    shop.restore()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_lost"]
    problem = "1 of 2 entries of a transaction are missing"
    assert said["found"][0]["detail"].endswith(f"0 entries were replayed, 1 could not be: {problem}")
    assert said["replayed"]["problem"] == problem
    assert [row[1:] for row in said["replayed"]["not_replayed"]] == [["account:b", "create"]]
    assert shop.known == ["a"]


async def test_a_transaction_in_several_chains_is_done_again_as_one(tmp_path: Path) -> None:
    """Both of its entries are there, each in the copy of its own chain."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    lost = await shop.writes(journal.recorded, AT, ownership.create, BOTH, AT)
    shop.restore()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_replayed"]
    assert shop.known == ["a", "b", "c"]
    assert shop.heads[: len(lost)] == lost


async def test_an_entry_that_cannot_be_done_again_is_named_with_what_comes_behind_it(tmp_path: Path) -> None:
    """It speaks of a change that this store does not know how to make: nothing of it is kept, and nothing after it."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    unknown = {"rows": [["ownership.forget", [["a"]], 1]]}
    await shop.writes(journal.append, journal.chain_of(AccountId("a")), "forget", unknown, AT)
    await shop.lives("b")
    shop.restore()

    said = await shop.lives()

    assert [one["sign"] for one in said["found"]] == ["journal_lost"]
    assert "ownership.forget" in said["replayed"]["problem"]
    assert said["found"][0]["detail"].endswith(said["replayed"]["problem"])
    assert [row[2] for row in said["replayed"]["not_replayed"]] == ["forget", "create"]
    assert (said["replayed"]["entries"], said["replayed"]["verbs"]) == (0, {})
    assert shop.known == ["a"]
    assert "forget" not in shop.verbs


async def test_two_that_start_take_up_one_restored_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§8: while one has yet to read what was set aside, the other replays it and takes the files away."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    shop.backup()
    await shop.lives("b", "c")
    lost = shop.heads
    shop.restore()
    other = Shop(tmp_path)
    copy = JournalCopy(shop.journal)
    driver = await opened(InlineDriver, shop.file, committed=copy)
    write = driver.write

    async def after_the_other(*args: Any, **kwargs: Any) -> Any:
        await other.lives()
        return await write(*args, **kwargs)

    monkeypatch.setattr(driver, "write", after_the_other)

    assert await reopening.reopen(driver, Rules(), folder=shop.journal, place="here", now=AT) == ()

    said = await driver.read(report)
    assert [one["sign"] for one in said["found"]] == ["journal_replayed"]
    assert (await driver.read(_heads))[: len(lost)] == lost
    await driver.close()
    copy.close()


async def test_a_copy_that_vanishes_was_taken_by_another_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renamed after the other's commit: listed, and gone when it is opened."""
    shop = Shop(tmp_path)
    await shop.lives("a")
    gone = shop.journal / "account%3Ax.4-00000000.ahead"
    gone.touch()
    listed = journal_copy.longest

    def and_gone(copies: Iterable[Path]) -> dict[str, Path]:
        found = listed(copies)
        gone.unlink()
        return found

    monkeypatch.setattr(journal_copy, "longest", and_gone)
    assert await shop.lives() == {}
    assert shop.states == {"a": "active"}
