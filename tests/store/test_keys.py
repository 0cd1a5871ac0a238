"""One namespace for keys: a whole request's and a batch's name, with the words and the class of each refusal."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.store.deskworld import GOOD, NOW, DeskWorld, opened, refused, request

from treasuryd.core.model import UnixSeconds
from treasuryd.errors import Refusal, Rejected
from treasuryd.store import keys

WHEN = "2023-11-14 22:13:20Z"


@pytest.fixture(autouse=True)
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine has another zone than the texts."""
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        yield found


async def begin(world: DeskWorld, name: str, *, parts: int = 1) -> None:
    await world.desk.open_batch(name, now=NOW, expires_seconds=60)
    for part in range(1, parts + 1):
        await world.desk.add_part(name, part, request(GOOD, key=f"{name}/{part}", whole=False), now=NOW)


def stored(key: str, other: str) -> tuple[str, str, Refusal]:
    return (
        f"the idempotency key {key!r} belongs to the request {other!r} of {WHEN}",
        "Idempotency-Key",
        Refusal.CONFLICT,
    )


async def test_a_sealed_batch_keeps_its_name_from_whole_requests(world: DeskWorld) -> None:
    """The shorter file would be paid beside the longer one; the batch itself is repeated as ever."""
    await begin(world, "may", parts=2)
    first = await world.desk.seal_batch("may", parts=2, now=NOW)
    with pytest.raises(Rejected) as caught:
        await world.desk.submit(request(GOOD, key="may"), now=UnixSeconds(NOW + 1_000))
    assert (caught.value.message, caught.value.field, caught.value.kind) == stored("may", "batch:may")
    assert caught.value.hint == (
        "Nothing was stored. That one became the disbursements 1 to 2; what is to be paid beside them needs a new key."
    )
    await begin(world, "may", parts=2)
    again = await world.desk.seal_batch("may", parts=2, now=NOW)
    assert (again.repeated, again.items) == (True, first.items)
    assert await world.sql("SELECT count(*) FROM disbursement") == [(2,)]


async def test_a_batch_on_its_way_up_keeps_its_name_until_it_expires(world: DeskWorld) -> None:
    """To the second; then the key is free again, and is that of the whole request for ever."""
    await begin(world, "may")
    with pytest.raises(Rejected) as caught:
        await world.desk.submit(request(GOOD, key="may"), now=UnixSeconds(NOW + 59))
    assert (caught.value.message, caught.value.field, caught.value.kind) == (
        f"the idempotency key 'may' belongs to the batch 'may', on its way up since {WHEN}",
        "Idempotency-Key",
        Refusal.CONFLICT,
    )
    assert caught.value.hint == (
        "Nothing was stored. Seal that batch, or let it expire unsealed; what is to be paid beside it needs a key of "
        "its own."
    )
    done = await world.desk.submit(request(GOOD, key="may"), now=UnixSeconds(NOW + 60))
    assert not done.repeated
    again = world.desk.open_batch("may", now=UnixSeconds(NOW + 60), expires_seconds=60)
    assert (await refused(again))[1:] == ("batch", Refusal.CONFLICT)


async def test_the_key_of_a_whole_request_is_no_name_for_a_batch(world: DeskWorld) -> None:
    """Refused at the first step; the request itself is repeated as ever."""
    ids = await world.submit(GOOD, key="may")
    with pytest.raises(Rejected) as caught:
        await begin(world, "may")
    words = f"the idempotency key 'may' belongs to the request 'may' of {WHEN}"
    assert (caught.value.message, caught.value.field, caught.value.kind) == (
        words,
        "batch",
        Refusal.CONFLICT,
    )
    assert "became the disbursements 1 to 1;" in caught.value.hint
    assert await world.sql("SELECT count(*) FROM batch") == [(0,)]
    assert await world.journal("open_batch") == []
    assert await world.submit(GOOD, key="may") == ids


async def test_a_batch_that_an_older_version_left_beside_a_whole_request_goes_no_further(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither opened again, nor added to, nor sealed; who repeats the whole request is answered."""
    await begin(world, "may")
    with monkeypatch.context() as older:
        older.setattr(keys, "check_whole", lambda *_, **__: None)
        ids = await world.submit(GOOD, key="may")
    words = (f"the idempotency key 'may' belongs to the request 'may' of {WHEN}", "batch", Refusal.CONFLICT)
    part = request(GOOD, key="may/1", whole=False)
    assert await refused(world.desk.open_batch("may", now=NOW, expires_seconds=60)) == words
    assert await refused(world.desk.add_part("may", 1, part, now=NOW)) == words
    assert await refused(world.desk.seal_batch("may", parts=1, now=NOW)) == words
    assert await world.submit(GOOD, key="may") == ids


async def test_a_store_that_has_both_already_answers_each_again(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version took both: what is there stays what it is, and nothing is stored a third time."""
    await begin(world, "may")
    with monkeypatch.context() as older:
        older.setattr(keys, "check_whole", lambda *_, **__: None)
        older.setattr(keys, "check_batch", lambda *_: None)
        ids = await world.submit(GOOD, key="may")
        sealed = await world.desk.seal_batch("may", parts=1, now=NOW)
    assert await world.submit(GOOD, key="may") == ids
    await begin(world, "may")
    again = await world.desk.seal_batch("may", parts=1, now=NOW)
    assert (again.repeated, again.items) == (True, sealed.items)


async def test_what_stands_under_a_further_key_is_answered_or_a_clash(world: DeskWorld) -> None:
    """A call that came in another form the first time; a new one is stored under its own key alone."""
    (first,) = await world.submit(GOOD, key="june.0")
    again = await world.desk.submit(replace(request(GOOD, key="june"), also=("june.0",)), now=NOW)
    assert (again.repeated, [item.id for item in again.items]) == (True, [first])
    other = replace(request(GOOD | {"amount": 101}, key="june"), also=("june.0",))
    words = "the idempotency key 'june.0' belongs to another request"
    assert await refused(world.desk.submit(other, now=NOW)) == (words, "Idempotency-Key", Refusal.CONFLICT)
    fresh = await world.desk.submit(replace(request(GOOD, key="july"), also=("july.0",)), now=NOW)
    assert [item.idempotency_key for item in fresh.items] == ["july#0"]
    assert await world.sql("SELECT key FROM request ORDER BY key") == [("july",), ("june.0",)]


async def test_a_key_that_looks_like_a_batchs_own_is_one_key_with_it(world: DeskWorld) -> None:
    """`batch:may` is where the batch `may` is stored: whoever comes first has it, and the second is told at once."""
    await begin(world, "may")
    whole = world.desk.submit(request(GOOD, key="batch:may"), now=NOW)
    assert await refused(whole) == (
        f"the idempotency key 'batch:may' belongs to the batch 'may', on its way up since {WHEN}",
        "Idempotency-Key",
        Refusal.CONFLICT,
    )
    await world.submit(GOOD, key="batch:june")
    for name in ("june", "batch:june"):
        words = f"the idempotency key {name!r} belongs to the request 'batch:june' of {WHEN}"
        opening = world.desk.open_batch(name, now=NOW, expires_seconds=60)
        assert await refused(opening) == (words, "batch", Refusal.CONFLICT)
    whole = world.desk.submit(request(GOOD, key="june"), now=NOW)
    assert await refused(whole) == stored("june", "batch:june")
    await begin(world, "batch:july")
    whole = world.desk.submit(request(GOOD, key="batch:july"), now=NOW)
    assert (await refused(whole))[0].startswith(
        "the idempotency key 'batch:july' belongs to the batch 'batch:july'"
    )
    await world.submit(GOOD, key="july")
