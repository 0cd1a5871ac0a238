"""What a batch refuses, with the words, the field and the class of each refusal, and where its bounds lie."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.replaying import rebuilt
from tests.store.deskworld import GOOD, NOW, DeskWorld, opened, refused, request

from treasuryd.core.model import Digest, UnixSeconds
from treasuryd.errors import Refusal
from treasuryd.sqlite.connect import transaction
from treasuryd.store import batches, desk_intake


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        yield found


async def begin(world: DeskWorld, name: str = "may", *parts: int) -> None:
    await world.desk.open_batch(name, now=NOW, expires_seconds=60)
    for part in parts:
        await world.desk.add_part(name, part, request(GOOD, key=f"{name}/{part}", whole=False), now=NOW)


async def test_each_refusal_says_what_where_and_of_which_class(world: DeskWorld) -> None:
    """interfaces.md §1: whoever sends a file decides by these whether to send again, and what."""
    name = "batch: a name is 1 to 150 printable ASCII characters without spaces"
    opening = world.desk.open_batch("", now=NOW, expires_seconds=60)
    assert await refused(opening) == (name, "batch", Refusal.INVALID)
    part = request(GOOD, key="may/1", whole=False)
    nowhere = world.desk.add_part("x" * 151, 1, part, now=NOW)
    assert await refused(nowhere) == (f"there is no batch {'x' * 150!r}", "batch", Refusal.NOT_FOUND)

    await begin(world, "may", 1)
    wrong = world.desk.add_part("may", 1_001, part, now=NOW)
    assert await refused(wrong) == ("part: must be 1 to 1000, got 1001", "part", Refusal.INVALID)
    other = world.desk.add_part("may", 1, request(GOOD, GOOD, key="may/1"), now=NOW)
    assert await refused(other) == ("part 1 of batch may was another one", "part", Refusal.CONFLICT)


@pytest.mark.parametrize(
    ("there", "announced", "words"),
    [
        ((2,), 2, "batch may holds 1 parts, 2 were announced; part 1 is missing"),
        ((1,), 2, "batch may holds 1 parts, 2 were announced; part 2 is missing"),
        ((1, 2), 1, "batch may holds 2 parts, 1 were announced"),
        ((), 0, "batch may holds 0 parts, 0 were announced"),
    ],
)
async def test_a_batch_is_sealed_with_exactly_the_parts_that_were_announced(
    world: DeskWorld, there: tuple[int, ...], announced: int, words: str
) -> None:
    """The first one that is missing is named; an empty batch is none."""
    await begin(world, "may", *there)
    sealing = world.desk.seal_batch("may", parts=announced, now=NOW)
    assert await refused(sealing) == (words, "parts", Refusal.CONFLICT)


async def test_a_sealed_batch_says_so_and_answers_again(world: DeskWorld) -> None:
    """A part that it did not have is refused; its own parts and its sealing are repeated for ever."""
    await begin(world, "may", 1)
    first = await world.desk.seal_batch("may", parts=1, now=NOW)
    assert (first.repeated, [item.idempotency_key for item in first.items]) == (False, ["may/1#0"])
    late = world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=NOW)
    assert await refused(late) == ("batch may is sealed without a part 2", "part", Refusal.CONFLICT)
    after = UnixSeconds(NOW + 1_000)
    again = await world.desk.seal_batch("may", parts=1, now=after)
    assert (again.repeated, again.items) == (True, first.items)
    assert await world.driver.read(batches.gather, "may") is None
    assert await world.driver.read(batches.gather, "june") is None
    assert await world.sql("SELECT sealed_at FROM batch") == [(NOW,)]
    [(kept,)] = await world.sql("SELECT items FROM part")
    assert kept in {"", "[]"}, "its content stands in the disbursements now"


async def test_a_batch_that_changed_while_it_was_read_is_sealed_again(world: DeskWorld) -> None:
    """Between reading and sealing a part came in, or nothing was read at all."""
    await begin(world, "may", 1)
    early = await world.driver.read(batches.gather, "may")
    await world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=NOW)
    words = ("batch may changed while it was read: seal it again", None, Refusal.CONFLICT)
    for gathered, parts in ((early, 2), (None, 2)):
        sealing = world.driver.write(
            batches.seal_batch, "may", gathered, parts=parts, now=NOW, satisfied_by_final=False
        )
        assert await refused(sealing) == words


async def test_what_is_gathered_is_one_request_over_all_parts(world: DeskWorld) -> None:
    """Named part by part; what needs other items is digested when their ids are known."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    waits = request(GOOD, GOOD | {"depends_on_refs": ["b"]}, key="may/1", whole=False)
    await world.desk.add_part("may", 1, waits, now=NOW)
    await world.desk.add_part("may", 2, request(GOOD | {"ref": "b"}, key="may/2", whole=False), now=NOW)
    found = await world.driver.read(batches.gather, "may")
    assert found is not None
    assert found.names == ("part 1: items[0].", "part 1: items[1].", "part 2: items[0].")
    assert [digest is None for digest in found.digests] == [False, True, False]
    assert (found.request.key, len(found.request.items), found.wrong) == ("batch:may", 3, None)


async def test_what_was_digested_while_it_was_read_is_not_digested_again(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is sealed everybody else waits: of 100,000 items that would be seconds."""
    (alike,) = await world.submit(GOOD)
    await begin(world, "may", 1)

    def again(_item: object) -> Digest:
        raise AssertionError("digested while everybody waits")

    monkeypatch.setattr(desk_intake, "payload_digest", again)
    (item,) = (await world.desk.seal_batch("may", parts=1, now=NOW)).items
    assert item.payload_digest == (await world.item(alike)).payload_digest


async def test_a_batch_grows_to_its_bound_and_no_further(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the item; and as many batches as there may be are under way."""
    monkeypatch.setattr(batches, "MAX_ITEMS", 2)
    monkeypatch.setattr(batches, "MAX_OPEN", 2)
    await begin(world, "may", 1)
    await begin(world, "june")
    two = world.desk.add_part("may", 2, request(GOOD, GOOD, key="may/2"), now=NOW)
    words = "batch may would hold 3 items, the limit is 2"
    assert await refused(two) == (words, None, Refusal.TOO_LARGE)
    assert await world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=NOW) == 2
    third = world.desk.open_batch("july", now=NOW, expires_seconds=60)
    full = "2 batches are on their way up already, the limit is 2"
    assert await refused(third) == (full, None, Refusal.CONFLICT)
    await world.desk.open_batch("june", now=NOW, expires_seconds=60)


async def test_a_batch_lives_until_its_time_and_not_longer(world: DeskWorld) -> None:
    """Sixty seconds from the opening; whoever asks later finds none, however they ask."""
    await begin(world, "may", 1)
    at_the_end, later = UnixSeconds(NOW + 59.9), UnixSeconds(NOW + 60.1)
    assert await world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=at_the_end) == 2
    gone = ("there is no batch 'may'", "batch", Refusal.NOT_FOUND)
    assert await refused(world.desk.add_part("may", 3, request(GOOD, key="may/3"), now=later)) == gone
    assert await world.sql("SELECT count(*) FROM batch") == [(1,)], "a refusal writes nothing"
    await world.desk.open_batch("june", now=later, expires_seconds=60)
    assert await world.sql("SELECT name FROM batch") == [("june",)]
    [opening, _] = await world.journal("open_batch")
    assert opening["batch"] == "may"


async def test_a_batch_that_a_replay_brought_back_answers_as_before(world: DeskWorld) -> None:
    """§3, §8.1: requests and their keys are rebuilt. Refused, a file is sent anew under another key, and paid twice."""
    await begin(world, "may", 1, 2)
    first = await world.desk.seal_batch("may", parts=2, now=NOW)
    into = await world.driver.read(rebuilt)
    part = request(GOOD, key="may/1", whole=False)
    assert transaction(into, batches.add_part, "may", 1, part, now=NOW) == 2
    again = transaction(into, batches.seal_batch, "may", None, parts=2, now=NOW, satisfied_by_final=False)
    assert (again.repeated, again.items) == (True, first.items)
    into.close()
