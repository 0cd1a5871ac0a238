"""Garbage sent to what writes changes nothing: the journal's heads and the count of every table stay as they were."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes import FakeDesk, FakeWorld
from tests.fuzz.seeds import HOSTILE, ITEM, VOTE, seeds
from tests.fuzz.test_targets import VALUES, as_text
from tests.store.deskworld import DeskWorld, opened
from tests.web.conftest import Open, Site, open_site  # noqa: F401  (a fixture is found by its name)

from treasuryd.core.model import Rules
from treasuryd.web.guard import GuardLimits

WRITING: Final = (
    "/treasury/disbursement",
    "/treasury/disbursements",
    "/treasury/disbursements/cancel",
    "/treasury/disbursements/release",
    "/treasury/disbursements/resolve",
    "/treasury/disbursements/1/votes",
    "/treasury/disbursements/1/cancel",
    "/treasury/disbursements/1/queue",
    "/treasury/disbursements/1/rollback",
    "/treasury/disbursements/1/reopen",
    "/treasury/disbursements/99999999999999999999999/cancel",
    "/treasury/batches/x/seal",
    "/treasury/accounts/treasury/thaw",
    "/treasury/accounts/nobody/freeze",
    "/rpc",
)
RENT: Final = {**ITEM, "memo": "rent"}
VALID: Final = (
    orjson.dumps(RENT),
    orjson.dumps([RENT, RENT]),
    *seeds()["payload"],
    *seeds()["vote"],
    *seeds()["rpc_server"],
    *seeds()["csv"],
)


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path, kind="inline") as found:
        await found.account("treasury")
        yield found


@pytest.fixture
async def shop(stored: DeskWorld, open_site: Open) -> Site:  # noqa: F811
    world = FakeWorld(rules=Rules(allow_treasury_initiated=True))
    world.desk = cast("FakeDesk", stored.desk)
    patient = GuardLimits(max_connections=16, head_seconds=10, write_seconds=10)
    found: Site = await open_site(world, limits=patient, body_seconds=10)
    assert (await found.post("/treasury/disbursement", RENT)).status == 201
    return found


async def state_of(stored: DeskWorld) -> list[Any]:
    """Say how many rows each table has, and where each chain of the journal ends."""
    tables = await stored.sql("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    counts = [(name, (await stored.sql(f"SELECT count(*) FROM {name}"))[0][0]) for (name,) in tables]
    heads = await stored.sql("SELECT chain, max(seq), hash FROM journal GROUP BY chain ORDER BY chain")
    return [*counts, *heads]


async def refused_or_written(site: Site, stored: DeskWorld, path: str, body: bytes) -> None:
    before = await state_of(stored)
    answer = await site.post(path, body)
    assert answer.status < 500 or answer.status == 503, (path, body, answer.body)
    refused = answer.status >= 400 or (path == "/rpc" and b'"result"' not in answer.body)
    assert not refused or await state_of(stored) == before, (path, body, answer.body)


@pytest.mark.parametrize("path", WRITING)
async def test_hostile_bodies_change_nothing(shop: Site, stored: DeskWorld, path: str) -> None:
    for body in HOSTILE:
        before = await state_of(stored)
        answer = await shop.post(path, body)
        assert answer.status in {400, 404, 409, 413, 503} or path == "/rpc"
        assert answer.status < 500 or answer.status == 503  # the chain was not read yet
        assert await state_of(stored) == before, (path, body)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Garbage, or something valid with a piece replaced."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=40) | VALUES.map(as_text))
    data = draw(st.sampled_from(VALID))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 16)))
    return (
        data[:start]
        + draw(st.binary(max_size=4) | st.sampled_from([b"-1", b"null", b"{}", b"\0"]))
        + data[end:]
    )


async def test_whatever_is_refused_changed_nothing(shop: Site, stored: DeskWorld) -> None:
    asked: list[tuple[str, bytes]] = []

    @settings(
        max_examples=250,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(WRITING), bodies())
    def collect(path: str, body: bytes) -> None:
        asked.append((path, body))

    collect()
    for path, body in asked:
        await refused_or_written(shop, stored, path, body)


async def test_a_vote_that_is_refused_changes_nothing(shop: Site, stored: DeskWorld) -> None:
    """Well-formed, of a key that nobody has."""
    await stored.voting(cast("Any", 1), deadline=9)
    before = await state_of(stored)
    answer = await shop.post("/treasury/disbursements/1/votes", VOTE)
    assert 400 <= answer.status < 500
    assert await state_of(stored) == before
