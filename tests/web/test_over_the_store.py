"""The web over the real store: what the fakes promise is what the database does."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.fakes import PAYEE, FakeDesk, FakeWorld
from tests.store.deskworld import DeskWorld, opened
from tests.web.conftest import Open, Site

from treasuryd.core.model import Rules
from treasuryd.web.guard import GuardLimits

MANY = "/treasury/disbursements"
GOOD = {"destination": PAYEE, "amount": 1_000, "scheduled_epoch": 3, "memo": "rent"}


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path, kind="inline") as found:
        await found.account("treasury")
        yield found


@pytest.fixture
async def shop(stored: DeskWorld, open_site: Open) -> Site:
    world = FakeWorld(rules=Rules(allow_treasury_initiated=True))
    world.desk = cast("FakeDesk", stored.desk)
    patient = GuardLimits(max_connections=16, head_seconds=20.0, write_seconds=20.0)
    found: Site = await open_site(world, limits=patient, body_seconds=20.0)
    return found


async def ids_of(site: Site, query: str = "") -> list[int]:
    return [item["id"] for item in (await site.get(f"{MANY}{query}")).json()["items"]]


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/readyz",
        "/livez",
        "/metrics",
        "/treasury/disbursements",
        "/treasury/disbursements/1",
        "/treasury/disbursements/1/explain",
        "/treasury/disbursements/1/dependents",
        "/treasury/disbursements/1/votes",
        "/treasury/intake",
        "/treasury/balance",
        "/treasury/balance/history",
        "/treasury/executor/status",
        "/treasury/breakers",
        "/treasury/accounts",
        "/treasury/accounts/treasury",
    ],
)
async def test_every_question_is_answered(shop: Site, path: str) -> None:
    """D30: each route by a real HTTP call."""
    await shop.post(MANY, [GOOD])
    assert (await shop.get(path)).status == 200


@pytest.mark.parametrize("method", ["disbursements", "list_disbursements", "balance", "balance_history"])
async def test_every_reading_method_is_answered(shop: Site, method: str) -> None:
    """D30: the original's methods over the real store."""
    assert "result" in await shop.call(f"gov.treasury.{method}")


async def test_what_goes_in_comes_out_unchanged(shop: Site) -> None:
    """D25: the memo to the last byte; an amount at the limit; a proposal with everything."""
    item = {
        **GOOD,
        "amount": 2**63 - 1,
        "memo": "é\u0000\n{}" * 1_000,
        "proposal": {
            "title": "t",
            "summary": "s",
            "attachments": [{"name": "n", "uri": "u"}],
            "quorum": {"operators_ppm": 1, "builders_ppm": 2},
            "vote_window_epochs": 5,
            "timelock_epochs": 6,
            "rollback_window_epochs": 7,
        },
    }
    stored = (await shop.post("/treasury/disbursement", item)).json()
    found = (await shop.get(f"{MANY}/{stored['id']}")).json()
    assert found["memo"] == item["memo"]
    assert found["amount"] == 2**63 - 1
    assert found["proposal"] == {**cast("dict[str, Any]", item["proposal"]), "deps": []}


@pytest.mark.parametrize(
    "body",
    [
        [GOOD, {**GOOD, "memo": "2", "depends_on": [99]}],
        [{**GOOD, "ref": "a", "depends_on_refs": ["b"]}, {**GOOD, "ref": "b", "depends_on_refs": ["a"]}],
        [GOOD, {**GOOD, "amount": 0}],
        [{**GOOD, "memo": "depends_on=99"}],
    ],
)
async def test_a_refused_request_leaves_nothing_behind(shop: Site, stored: DeskWorld, body: Any) -> None:
    """Neither rows nor an idempotency key: the corrected request goes through under the same key."""
    refused = await shop.post(MANY, body, Idempotency_Key="june")
    assert 400 <= refused.status < 500
    assert refused.error["message"]
    assert await ids_of(shop) == []
    assert (await shop.post(MANY, [GOOD], Idempotency_Key="june")).status == 201


async def test_keys_belong_to_requests(shop: Site) -> None:
    """200 with the first answer, 409 for another request."""
    first = await shop.post(MANY, [GOOD], Idempotency_Key="k")
    again = await shop.post(MANY, [GOOD], Idempotency_Key="k")
    other = await shop.post(MANY, [{**GOOD, "amount": 1}], Idempotency_Key="k")
    assert [first.status, again.status, other.status] == [201, 200, 409]
    assert first.json()["items"] == again.json()["items"]


async def test_the_lists_filters_and_pages(shop: Site) -> None:
    """Newest first, by the database's own order."""
    await shop.post(MANY, [{**GOOD, "amount": number, "memo": str(number)} for number in range(1, 8)])
    assert await ids_of(shop, "?min_amount=3&max_amount=5") == [5, 4, 3]
    assert await ids_of(shop, "?status=Scheduled&limit=2") == [7, 6]
    assert await ids_of(shop, "?cursor=3") == [2, 1]
    assert await ids_of(shop, "?status=finalized") == []
    assert await ids_of(shop, f"?destination={PAYEE}&min_epoch=4") == []


async def test_a_key_is_one_whole_request_or_one_batch(shop: Site) -> None:
    """409 for whichever comes second; and what `submit` goes by to find a batch: 404, 409 with parts missing, its ids."""
    june = "/treasury/batches/june"
    nowhere = await shop.post(f"{june}/seal", {"parts": 1})
    assert (nowhere.status, nowhere.error["code"]) == (404, "not_found")
    await shop.post(june, {}, method="PUT")
    missing = await shop.post(f"{june}/seal", {"parts": 1})
    assert (missing.status, missing.error["code"]) == (409, "conflict")
    await shop.post(f"{june}/parts/1", [GOOD], method="PUT")
    for _ in ("on its way up", "sealed"):
        whole = await shop.post(MANY, [GOOD], Idempotency_Key="june")
        assert (whole.status, whole.error["field"]) == (409, "Idempotency-Key")
        assert (await shop.post(f"{june}/seal", {"parts": 1})).json()["ids"] == [1]
    await shop.post(MANY, [GOOD], Idempotency_Key="may")
    batch = await shop.post("/treasury/batches/may", {}, method="PUT")
    assert (batch.status, batch.error["field"]) == (409, "batch")
    assert await ids_of(shop) == [2, 1]


async def test_a_call_in_the_other_form_is_found_in_the_store(shop: Site) -> None:
    """One row for a call that came alone and then in an array, under one key."""
    payload = {"disbursement": GOOD}
    call = {"id": 1, "method": "gov.treasury.submit_disbursement", "params": {"payload": payload}}
    alone = (await shop.post("/rpc", call, Idempotency_Key="june")).json()
    (listed,) = (await shop.post("/rpc", [call], Idempotency_Key="june")).json()
    assert alone["result"] == listed["result"]
    assert await ids_of(shop) == [1]


async def test_a_batch_is_judged_whole_over_its_parts(shop: Site) -> None:
    """A circle over two parts is refused at the seal, and nothing becomes visible."""
    batch = "/treasury/batches/june"
    assert (await shop.post(f"{batch}/parts/1", [GOOD], method="PUT")).status == 404
    await shop.post(batch, {}, method="PUT")
    await shop.post(f"{batch}/parts/1", [{**GOOD, "ref": "a", "depends_on_refs": ["b"]}], method="PUT")
    await shop.post(f"{batch}/parts/2", [{**GOOD, "ref": "b", "depends_on_refs": ["a"]}], method="PUT")
    refused = await shop.post(f"{batch}/seal", {"parts": 2})
    assert (refused.status, "circle" in refused.error["message"]) == (400, True)
    assert await ids_of(shop) == []
    assert (await shop.post(f"{batch}/seal", {"parts": 3})).status == 409


async def test_cancelling_by_both_ways_in(shop: Site) -> None:
    """REST and JSON-RPC end in the same row."""
    await shop.post(MANY, [GOOD, {**GOOD, "memo": "2"}])
    assert (await shop.post(f"{MANY}/1/cancel", {"reason": "wrong"})).status == 200
    done = await shop.call("gov.treasury.rollback_disbursement", {"id": 2, "reason": "wrong"})
    assert done["result"]["ok"] is True
    assert [item["status"] for item in (await shop.get(MANY)).json()["items"]] == ["rolled_back"] * 2
    again = await shop.post(f"{MANY}/1/cancel", {"reason": "wrong"})
    assert (again.status, again.json()["items"][0]["done"]) == (409, False)
    assert (await shop.post(f"{MANY}/9/cancel", {"reason": "wrong"})).status in (404, 409)


async def test_frozen_and_thawed_by_a_persons_word(shop: Site) -> None:
    """The account's answer shows the state that the store holds now."""
    frozen = await shop.post("/treasury/accounts/treasury/freeze", {"reason": "incident"})
    assert (frozen.status, frozen.json()["state"]) == (200, "frozen")
    assert (await shop.get("/health")).status == 503
    other = {"reason": "over", "cause": "unexplained_fall"}
    assert (await shop.post("/treasury/accounts/treasury/thaw", other)).status == 409
    thawed = await shop.post("/treasury/accounts/treasury/thaw", {"reason": "over", "cause": "person"})
    assert (thawed.status, thawed.json()["state"]) == (200, "active")


async def test_a_rollback_before_payment_and_a_release_without_hold_are_refused(shop: Site) -> None:
    """4xx with the reason; the row stays as it is."""
    await shop.post(MANY, [GOOD])
    for verb in ("rollback", "release", "reopen"):
        answer = await shop.post(f"{MANY}/1/{verb}", {"reason": "x"})
        assert 400 <= answer.status < 500
    assert (await shop.get(f"{MANY}/1")).json()["status"] == "draft"


async def test_pages_bounded_by_bytes_hold_every_item_once(shop: Site) -> None:
    """The list read in slices from the database, by count and by bytes, is the list."""
    summary = {"title": "t", "summary": "s" * 65_000}
    for start in range(0, 60, 30):
        many = [{**GOOD, "memo": str(n), "proposal": summary} for n in range(start, start + 30)]
        assert (await shop.post(MANY, many)).status == 201
    every = list(range(60, 0, -1))
    page = await ids_of(shop, "?limit=200")
    assert 25 < len(page) < 60
    assert page + await ids_of(shop, f"?limit=200&cursor={page[-1]}") == every
    seen: list[int] = []
    cursor: int | None = None
    while cursor is not None or not seen:
        params = {"limit": 27, "cursor": cursor}
        found = (await shop.call("gov.treasury.disbursements", params))["result"]
        seen += [row["disbursement"]["id"] for row in found["disbursements"]]
        cursor = found["next_cursor"]
    assert seen == every


HOSTILE = (2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**39, -1)
BY = {"reason": "a test"}


@pytest.mark.parametrize("number", HOSTILE)
async def test_no_number_of_a_person_is_more_than_refused(shop: Site, number: int) -> None:
    """Ids, cursors, limits, amounts, nonces, counters, epochs: what no column holds is an answer with 4xx, never 5xx."""
    await shop.post(MANY, [GOOD])
    asked = [
        *(f"{MANY}/{number}{part}" for part in ("", "/explain", "/dependents", "/votes")),
        *(
            f"{MANY}?{name}={number}"
            for name in ("cursor", "limit", "min_amount", "max_amount", "min_epoch", "max_created_at")
        ),
        f"{MANY}/waiting?cursor={number}",
        f"/treasury/balance/history?cursor={number}",
        f"/treasury/balance/history?limit={number}",
    ]
    sent: list[tuple[str, object]] = [
        *((MANY, [{**GOOD, name: number, "memo": name}]) for name in ("amount", "scheduled_epoch")),
        (MANY, [{**GOOD, "memo": "deps", "depends_on": [number]}]),
        (MANY, [{**GOOD, "memo": f"depends_on={number}"}]),
        (MANY, [{**GOOD, "expected_receipts": [{"account": PAYEE, "amount": number}]}]),
        *(
            (MANY, [{**GOOD, "memo": name, "proposal": {"title": "t", "summary": "s", name: number}}])
            for name in ("vote_window_epochs", "timelock_epochs", "rollback_window_epochs", "deps")
        ),
        *((f"{MANY}/{verb}", {"ids": [number], **BY}) for verb in ("cancel", "release")),
        *((f"{MANY}/{number}/{verb}", BY) for verb in ("cancel", "release", "rollback", "reopen", "queue")),
        (f"{MANY}/resolve", {"ids": [number], "verdict": "paid", **BY}),
        (
            f"{MANY}/1/votes",
            {
                "house": "operators",
                "key": "0" * 64,
                "decision": "approve",
                "counter": number,
                "signature": "0" * 128,
            },
        ),
        ("/treasury/accounts/treasury/announce", {"amount": number, **BY}),
        ("/treasury/accounts/treasury/fill", {"nonces": [number], **BY}),
        ("/treasury/quarantine/treasury/fill", {"nonces": [number], **BY}),
    ]
    statuses = {path: (await shop.get(path)).status for path in asked}
    statuses |= {f"{path} {body}": (await shop.post(path, body)).status for path, body in sent}
    assert {place: status for place, status in statuses.items() if status >= 500} == {}
    for method in ("list_disbursements", "balance_history"):
        for name in ("cursor", "limit"):
            await shop.call(f"gov.treasury.{method}", {name: number})
    assert (await shop.get("/health")).status == 200
    assert await ids_of(shop)


@pytest.mark.parametrize("number", HOSTILE)
async def test_a_call_with_a_large_id_is_answered(shop: Site, number: int) -> None:
    """JSON-RPC gives the id back; one that no JSON number of 64 bits holds is refused."""
    body = b'{"jsonrpc":"2.0","id":%d,"method":"gov.treasury.balance","params":{}}' % number
    answered = await shop.post("/rpc", body)
    assert answered.status == 200
    said = answered.json()
    if number < 2**64:
        assert said["id"] == number
    else:
        assert said["error"]["code"] == -32600
