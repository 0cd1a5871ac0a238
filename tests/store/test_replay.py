from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.replaying import rebuilt, replays
from tests.store.kit import CHAIN_ID, database, opened
from tests.world import ADA, History, new

from treasuryd.core.model import Evidence, UnixSeconds
from treasuryd.errors import Corrupt
from treasuryd.sqlite.connect import MEMORY, Connection, open_writer, transaction
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import journal, replay
from treasuryd.store.journal import PEOPLE, ROWS, STORE, Entry, _write, append, recorded
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.queries import load_all, writes
from treasuryd.store.recorder import NOT_REPLAYED

SECOND = UnixSeconds(2.0)


@pytest.fixture
async def paid(tmp_path: Path) -> AsyncIterator[History]:
    """A history with a payment, a cancelled item, two processes' terms and a breaker's word."""
    history = History(tmp_path, Evidence.HASH)
    history.mine(2)
    await history.start()
    rent, power = await history.submit(new("rent"), new("power", scheduled=1_000))
    await history.cancel(power)
    await history.finalized([rent])
    await history.crash()
    await history.run(3)
    yield history
    await history.close()


def _entries(connection: Connection) -> list[Entry]:
    return list(replay.stored(connection))


def _rebuild(entries: Iterable[Entry]) -> Connection:
    """A store made of these entries, each of which is counted."""
    into, whole = open_writer(database(MEMORY)), list(entries)
    assert transaction(into, replay.rebuild, whole) == len(whole)
    return into


# --- equal ------------------------------------------------------------------------------------------------------


async def test_the_journal_alone_rebuilds_the_store(paid: History) -> None:
    """Every table but those that are said to be left out, to the row."""
    await paid.sql.read(replays)
    into = await paid.sql.read(rebuilt)
    (statuses,) = [
        tuple(row[0] for row in into.execute("SELECT status FROM disbursement ORDER BY id").fetchall())
    ]
    into.close()
    assert statuses == ("finalized", "rolled_back")


async def test_the_outside_copy_alone_rebuilds_the_store(paid: History, tmp_path: Path) -> None:
    """Chain by chain in files of their own, it still says in which order things happened."""
    copy = JournalCopy(tmp_path / "journal")
    await paid.sql.write(copy)
    into = _rebuild(replay.copied(tmp_path / "journal"))
    assert await paid.sql.read(replay.differences, into) == []
    into.close()
    copy.close()


async def test_what_came_after_a_backup_is_applied_to_it(paid: History, tmp_path: Path) -> None:
    """§8.1: an old store takes up what its copy knows beyond it, and is then the new one."""
    entries = await paid.sql.read(_entries)
    middle = next(entry.number for entry in entries if entry.verb == "cancel")
    backup = _rebuild(entries[:middle])
    copy = JournalCopy(tmp_path / "journal")
    await paid.sql.write(copy)
    for entry in replay.copied(tmp_path / "journal", after=middle):
        assert replay.apply(backup, entry) == []
    assert await paid.sql.read(replay.differences, backup) == []
    backup.close()
    copy.close()


async def test_a_long_transaction_is_cut_into_entries_and_rebuilt(tmp_path: Path) -> None:
    """No entry is longer than a reader of the copy's end can hold."""
    history = await History(tmp_path).start()
    await history.submit(*(new(f"item {place}") for place in range(ROWS + 1)))
    entries = await history.sql.read(_entries)
    verbs = [entry.verb for entry in entries if entry.chain == PEOPLE]
    assert verbs == ["submit", "more", "more"]
    await history.sql.read(replays)
    with pytest.raises(Corrupt, match="cut short"):
        _rebuild(entries[:-1])
    await history.close()


# --- not equal ----------------------------------------------------------------------------------------------------


def _missing(entries: list[Entry]) -> list[Entry]:
    return entries[:5] + entries[6:]


def _reordered(entries: list[Entry]) -> list[Entry]:
    return [*entries[:5], entries[6], entries[5], *entries[7:]]


def _repeated(entries: list[Entry]) -> list[Entry]:
    return [*entries[:6], entries[5], *entries[6:]]


def _changed(entries: list[Entry]) -> list[Entry]:
    at = next(place for place, entry in enumerate(entries) if "tb1alice" in entry.body)
    thief = replace(entries[at], body=entries[at].body.replace("tb1alice", "tb1thief"))
    return [*entries[:at], thief, *entries[at + 1 :]]


def _beheaded(entries: list[Entry]) -> list[Entry]:
    return entries[1:]


def _emptied(entries: list[Entry]) -> list[Entry]:
    return []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_missing, "follows entry"),
        (_reordered, "follows entry"),
        (_repeated, "follows entry"),
        (_changed, "does not follow"),
        (_beheaded, "birth of a store"),
        (_emptied, "is empty"),
    ],
)
async def test_a_spoiled_journal_is_refused(
    paid: History, spoil: Callable[[list[Entry]], list[Entry]], says: str
) -> None:
    """Nothing is rebuilt from a journal that is not whole."""
    entries = await paid.sql.read(_entries)
    spoiled = spoil(entries)
    assert spoiled != entries
    with pytest.raises(Corrupt, match=says):
        _rebuild(spoiled)


@pytest.mark.parametrize(
    ("forgery", "says"),
    [
        (
            "UPDATE disbursement SET amount = amount + 1 WHERE id = 1",
            "disbursement 1: amount is 5000001 in the first and 5000000 in the second",
        ),
        ("DELETE FROM balance_event WHERE id = 1", "balance_event 1: only in the second"),
        (
            "INSERT INTO breaker_override VALUES ('*', 'send', 'forced_closed', '', 'nobody', 1.0)",
            "breaker_override *, send: only in the first",
        ),
    ],
)
async def test_a_row_changed_behind_the_journals_back_is_named(
    paid: History, forgery: str, says: str
) -> None:
    """Whoever writes into the database alone is found by comparing."""
    await paid.sql.write(lambda connection: connection.execute(forgery))
    into = await paid.sql.read(rebuilt)
    found = await paid.sql.read(replay.differences, into)
    assert [str(difference) for difference in found] == [says]
    assert await paid.sql.read(lambda connection: replay.differences(connection, into, limit=0)) == []
    into.close()


def test_a_difference_names_each_column_and_cuts_long_values() -> None:
    """One line for a person: what is the same is left out; of a value no more than sixty characters."""
    just, long = "x" * 58, "y" * 59  # with their quotes 60 and 61
    found = replay.Difference(
        table="meta", key=("a", 1), columns=("b", "c", "d"), first=(1, just, 0), second=(2, long, 0)
    )
    assert str(found) == (
        f"meta a, 1: b is 1 in the first and 2 in the second, "
        f"c is '{just}' in the first and '{'y' * 56}... in the second"
    )


def _say(connection: Connection, *statements: list[Any]) -> None:
    _write(connection, [(PEOPLE, "said", {"rows": list(statements)}, SECOND)])


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (["staging.void", [["judged", 1]], 1], "changed 1 rows then, 0 now"),
        (["desk.put_receipt", [[9, 0, "tb1x", 1]], 1], "refused by the rows that are there"),
        (["desk.drop_everything", [[]], 1], "not known to this version"),
    ],
)
async def test_a_statement_that_does_not_do_it_again_stops_the_replay(
    tmp_path: Path, statement: list[Any], says: str
) -> None:
    """A replay that goes on from another state would end in a state that never was."""
    driver = await opened(InlineDriver)
    if statement[0] == "staging.void":
        statement[0] = "voiding.void"
    await driver.write(_say, statement)
    entries = await driver.read(_entries)
    await driver.close()
    with pytest.raises(Corrupt, match=says):
        _rebuild(entries)


async def test_with_gaps_what_cannot_be_done_again_is_told(tmp_path: Path) -> None:
    """Only people's chain is synced: after a power cut entries of accounts may be missing from the copy."""
    history = History(tmp_path, Evidence.HASH)
    history.mine(2)
    await history.start()
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: history.desk.intents(item))
    await history.cancel(item)
    await history.desk.announce(history.accounts[0], new("x").amount, by=ADA)
    entries = await history.sql.read(_entries)
    await history.close()
    into = _rebuild(entries[:4])
    told = [
        said
        for entry in entries[4:]
        if entry.chain == PEOPLE
        for said in replay.apply(into, entry, gaps=True)
    ]
    assert len(told) == 1
    assert "desk.request_cancel changed 1 rows then, 0 now" in told[0]
    assert into.execute("SELECT count(*) FROM announced").fetchone()[0] == 1
    into.close()


async def test_with_gaps_nothing_is_done_twice_all_the_same(tmp_path: Path) -> None:
    """Entries may be missing, never repeated or out of order."""
    history = await History(tmp_path).start()
    entries = await history.sql.read(_entries)
    await history.close()
    into = _rebuild(entries)
    for again in entries[-2:]:
        with pytest.raises(Corrupt, match="follows entry"):
            replay.apply(into, again, gaps=True)
    into.close()


async def test_a_journal_of_any_length_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, also where the last page is full."""
    driver = await opened(InlineDriver)
    for _ in range(3):
        await driver.write(_say)
    for rows in (1, 2, 3, 4, 5):
        monkeypatch.setattr(replay, "COPY_ROWS", rows)
        assert [entry.number for entry in await driver.read(_entries)] == [1, 2, 3, 4]
    await driver.close()


async def test_what_changes_more_rows_than_it_has_parameters_stands_in_one_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut in two, nobody could say how many rows each half has to change; as many parameters as a page has are not cut."""
    monkeypatch.setattr(journal, "ROWS", 2)
    driver = await opened(InlineDriver)

    def makes(connection: Connection) -> None:
        create = load_all()["ownership.create_accounts"]
        connection.executemany(create, [('["a"]',), ('["b","c"]',)])

    await driver.write(recorded, SECOND, makes)
    (_, told) = await driver.read(_entries)
    assert told.content["rows"] == [["ownership.create_accounts", [['["a"]'], ['["b","c"]']], 3]]
    await driver.read(replays)
    await driver.close()


async def test_a_transaction_of_many_rows_is_cut_between_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, each as full as it may be; done again in that order."""
    monkeypatch.setattr(journal, "ROWS", 2)
    driver = await opened(InlineDriver)

    def makes(connection: Connection) -> None:
        known = load_all()
        connection.executemany(known["ownership.create_accounts"], [(f'["{name}"]',) for name in "abc"])
        connection.execute(known["ownership.create_leases"], ('["a"]',))

    await driver.write(recorded, SECOND, makes)
    (_, first, second) = await driver.read(_entries)
    assert (first.verb, first.content["rows"]) == (
        "makes", [["ownership.create_accounts", [['["a"]'], ['["b"]']], 2]]
    )  # fmt: skip
    assert (second.verb, second.content["rows"]) == (
        "more",
        [["ownership.create_accounts", [['["c"]']], 1], ["ownership.create_leases", [['["a"]']], 1]],
    )
    await driver.read(replays)
    await driver.close()


# --- what is recorded ---------------------------------------------------------------------------------------------


async def test_a_verb_that_says_nothing_of_what_it_changed_is_told_of_in_the_stores_chain() -> None:
    """Completeness does not rest on anybody's memory."""
    driver = await opened(InlineDriver)

    def silent(connection: Connection) -> None:
        connection.execute(load_all()["ownership.create_accounts"], ('["treasury"]',))

    await driver.write(recorded, SECOND, silent)
    (birth, told) = await driver.read(_entries)
    assert (birth.verb, birth.content["chain_id"]) == ("birth", CHAIN_ID)
    assert (told.chain, told.verb, told.at) == (STORE, "silent", SECOND)
    await driver.read(replays)
    await driver.close()


async def test_what_a_command_changed_stands_in_the_chain_that_is_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """§3: people's, all of it in a row, however late the verb says who ordered it; an account's entry has none of it."""
    monkeypatch.setattr(journal, "ROWS", 1)
    driver = await opened(InlineDriver)

    def ordered(connection: Connection) -> None:
        for table in ("accounts", "leases"):
            connection.execute(load_all()[f"ownership.create_{table}"], ('["treasury"]',))
        append(connection, "account:treasury", "create", {}, SECOND)
        append(connection, PEOPLE, "ordered", {}, SECOND)

    await driver.write(recorded, SECOND, ordered)
    (_, *told) = await driver.read(_entries)
    assert [(entry.chain, entry.verb, "rows" in entry.content) for entry in told] == [
        (PEOPLE, "ordered", True), (PEOPLE, "more", True), ("account:treasury", "create", False)
    ]  # fmt: skip
    await driver.close()


async def test_neighbours_of_one_name_are_one_statement_in_the_journal() -> None:
    """In the order in which they ran, with the rows of each and how many they changed together."""
    driver = await opened(InlineDriver)

    def makes(connection: Connection) -> None:
        create = load_all()["ownership.create_accounts"]
        for accounts in ('["a","b"]', '["b"]', '["c"]'):
            connection.execute(create, (accounts,))
        connection.execute(load_all()["ownership.create_leases"], ('["a"]',))
        connection.execute(create, ('["d"]',))

    await driver.write(recorded, SECOND, makes)
    (_, told) = await driver.read(_entries)
    assert told.content["rows"] == [
        ["ownership.create_accounts", [['["a","b"]'], ['["c"]']], 3],
        ["ownership.create_leases", [['["a"]']], 1],
        ["ownership.create_accounts", [['["d"]']], 1],
    ]
    await driver.close()


async def test_a_verb_that_changes_nothing_writes_no_entry() -> None:
    """Nor does a beat, the last tick's picture, or a part on its way up."""
    driver = await opened(InlineDriver)

    def idle(connection: Connection) -> None:
        connection.execute(load_all()["ownership.release"], ("[]",)).fetchall()
        connection.execute(load_all()["voiding.void"], ("judged", 1))
        connection.executemany(load_all()["voiding.void"], [])

    await driver.write(recorded, SECOND, idle)
    assert [entry.verb for entry in await driver.read(_entries)] == ["birth"]
    await driver.close()


async def test_a_statement_without_a_name_is_refused() -> None:
    """No replay could repeat it."""
    driver = await opened(InlineDriver)

    def crude(connection: Connection) -> None:
        connection.execute("\n update account set booked = 1")

    with pytest.raises(Corrupt, match="has no name"):
        await driver.write(recorded, SECOND, crude)
    await driver.close()


def test_what_is_not_replayed_exists() -> None:
    """A renamed statement would be recorded, or a recorded one lost, without anybody's will."""
    assert set(load_all()) >= NOT_REPLAYED
    assert all(writes(text) is not None for text in load_all().values())
