"""Long answers: bounded each, bounded together, and never in the way of what is urgent."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import FakeDesk, FakeWorld, disbursement
from tests.web.conftest import TOKEN, Open, Site

from treasuryd.core.model import Filter, Page, Proposal
from treasuryd.web.guard import GuardLimits
from treasuryd.web.turns import Busy, Claim, TurnLimits, Turns

MANY = "/treasury/disbursements"
LIST = "gov.treasury.disbursements"
PAGE = 2 * 1024 * 1024
BATCH = 8 * 1024 * 1024
JSON = {"Content-Type": "application/json"}


PATIENT = GuardLimits(
    max_connections=16, head_seconds=20.0, write_seconds=20.0
)  # long answers on a busy machine


@pytest.fixture
async def site(open_site: Open) -> Site:
    found: Site = await open_site(limits=PATIENT, body_seconds=20.0)
    return found


class SlowDesk(FakeDesk):
    """A desk whose lists take until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.asked = 0

    async def find(self, where: Filter) -> Page:
        self.asked += 1
        self.begun.release()
        await self.go.wait()
        return await super().find(where)


async def until(asked: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, for some seconds at most."""
    for _ in range(500):
        if await asked():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def fill(site: Site, count: int, *, length: int) -> None:
    for number in range(1, count + 1):
        proposal = Proposal(title="t", summary="s" * length)
        site.world.desk.put(disbursement(number, proposal=proposal, hold="manual"))


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def deaf(site: Site) -> socket.socket:
    """Somebody who asks for a long answer and never reads."""
    batch = as_json(calls(100, limit=200))
    head = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    client = socket.socket()
    client.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096
    )  # for the server, what the system takes in is read
    client.connect(("127.0.0.1", site.port))
    client.sendall(f"{head}Content-Length: {len(batch)}\r\n\r\n".encode() + batch)
    return client


def calls(count: int, method: str = LIST, **params: object) -> list[Any]:
    return [{"jsonrpc": "2.0", "id": n, "method": method, "params": params} for n in range(count)]


@pytest.mark.parametrize("path", [MANY, f"{MANY}/waiting"])
async def test_a_page_is_bounded_by_bytes_and_goes_on_where_it_ended(site: Site, path: str) -> None:
    """Nothing is lost or told twice at the seam."""
    fill(site, 100, length=60_000)
    seen: list[int] = []
    cursor: int | None = 101
    while cursor is not None:
        answer = await site.get(f"{path}?limit=100&cursor={cursor}")
        assert len(answer.body) < PAGE + 70_000
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        assert cursor in (None, seen[-1])
    assert seen == list(range(100, 0, -1))


async def test_an_item_above_the_bound_stands_alone_in_its_page(site: Site) -> None:
    """A page that held nothing would end the list for its reader."""
    fill(site, 2, length=PAGE + 1)
    page = (await site.get(MANY)).json()
    assert ([item["id"] for item in page["items"]], page["next_cursor"]) == ([2], 2)
    page = (await site.get(f"{MANY}?cursor=2")).json()
    assert ([item["id"] for item in page["items"]], page["next_cursor"]) == ([1], None)


async def test_a_small_request_of_a_stranger_has_a_bounded_answer(site: Site) -> None:
    """A hundred long lists in one batch: those that fit are answered, each other call is told the limit."""
    fill(site, 40, length=50_000)
    answers = (await site.ask("POST", "/rpc", data=as_json(calls(100, limit=200)), headers=JSON)).json()
    assert [answer["id"] for answer in answers] == list(range(100))
    given = [answer for answer in answers if "result" in answer]
    refused = answers[len(given) :]
    assert 2 <= len(given) <= 5
    assert {answer["error"]["code"] for answer in refused} == {-32005}
    assert "8388608 bytes" in refused[0]["error"]["message"]
    assert "Send it again" in refused[0]["error"]["message"]
    assert len(as_json(answers)) < BATCH + PAGE + 100_000


async def test_one_record_after_the_other_has_the_same_bound(site: Site) -> None:
    """`disbursement` of one large record, a hundred times."""
    fill(site, 1, length=500_000)
    answers = (await site.post("/rpc", calls(100, "gov.treasury.disbursement", id=1))).json()
    assert sum("result" in answer for answer in answers) == BATCH // 500_000 + 1


async def test_an_order_behind_long_lists_is_done(site: Site) -> None:
    """What changes something is never refused for the length of what stands before it."""
    fill(site, 40, length=50_000)
    order = {"jsonrpc": "2.0", "id": "order", "method": "gov.treasury.rollback_disbursement"}
    batch = [*calls(10, limit=200), {**order, "params": {"id": 1, "reason": "x"}}]
    answers = (await site.post("/rpc", batch)).json()
    assert answers[9]["error"]["code"] == -32005
    assert answers[10]["result"]["ok"]


async def test_too_many_lists_at_once_are_turned_away_and_nothing_urgent_waits(open_site: Open) -> None:
    """One is made, one waits, the third gets 503; health, orders and the kill switch are answered meanwhile."""
    world = FakeWorld()
    desk = world.desk = SlowDesk()
    site: Site = await open_site(world, listings=TurnLimits(at_once=1, waiting=1))
    first = asyncio.create_task(site.get(MANY))
    await desk.begun.acquire()
    others = [asyncio.create_task(site.get(MANY)) for _ in range(2)]
    (refused,), (second,) = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    third = refused.result()
    assert (third.status, third.error["code"], third.headers["Retry-After"]) == (503, "busy", "1")
    assert "the limit" in third.error["message"]
    answer = (await site.ask("POST", "/rpc", data=as_json(calls(1)), headers=JSON)).json()[0]
    assert (answer["id"], answer["error"]["code"]) == (0, -32005)
    assert desk.asked == 1
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        assert (await site.get(path)).status in (200, 503)
    for path in ("/treasury/accounts/treasury/freeze", "/treasury/breakers/*/send"):
        assert (await site.post(path, {"state": "open", "reason": "x"})).status in (200, 400, 404)
    desk.go.set()
    assert [(await one).status for one in (first, second)] == [200, 200]
    assert (await site.get(MANY)).status == 200


async def test_who_has_the_token_waits_in_a_line_apart(open_site: Open) -> None:
    """Strangers can fill their own line only."""
    world = FakeWorld()
    desk = world.desk = SlowDesk()
    site: Site = await open_site(world, listings=TurnLimits(at_once=1, waiting=0))
    assert (await site.get(MANY)).status == 503
    site = await open_site(world, listings=TurnLimits(at_once=1, waiting=1))
    strangers = asyncio.create_task(site.get(MANY))
    await desk.begun.acquire()
    person = asyncio.create_task(site.post("/rpc", calls(1)))
    async with asyncio.timeout(5):
        await desk.begun.acquire()
    desk.go.set()
    assert "result" in (await person).json()[0]
    assert (await strangers).status == 200


async def test_an_answer_that_nobody_reads_counts_until_its_client_is_hung_up_on(open_site: Open) -> None:
    """Otherwise each client that does not read would hold one more of them."""
    site: Site = await open_site(listings=TurnLimits(held_bytes=7_000_000))
    fill(site, 200, length=60_000)
    client = deaf(site)

    async def refused() -> bool:
        answer = await site.get(f"{MANY}?limit=1")
        return answer.status == 503 and "yet to read" in answer.error["message"]

    async def served() -> bool:
        return (await site.get(f"{MANY}?limit=1")).status == 200

    await until(refused)
    await until(served)  # write_seconds is 0.3 here
    client.close()


async def test_who_does_not_read_keeps_no_person_out(open_site: Open) -> None:
    """At the cap, with nobody idle, the place of an answer that nobody reads is given away before its deadline."""
    few = replace(PATIENT, max_connections=2)
    site: Site = await open_site(limits=few, body_seconds=20.0, listings=TurnLimits(held_bytes=7_000_000))
    fill(site, 200, length=60_000)
    client = deaf(site)

    async def refused() -> bool:
        return (await site.get(f"{MANY}?limit=1")).status == 503

    await until(refused)
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n".encode())
    await asyncio.sleep(0.05)  # the head has to be read
    order = {"state": "open", "reason": "thief"}
    assert (await site.post("/treasury/breakers/*/send", order)).status == 200
    writer.close()
    client.close()


async def test_a_turn_and_a_claim_are_given_back_whatever_happens() -> None:
    """A failed or cancelled listing blocks nobody."""
    turns = Turns(TurnLimits(at_once=1, waiting=1, held_bytes=10))
    with pytest.raises(ValueError, match="broken"):
        async with turns.turn():
            raise ValueError("broken")
    async with turns.turn():
        waits = asyncio.create_task(turns.turn().__aenter__())
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
    claim = Claim(turns)
    claim.add(10)
    with pytest.raises(Busy):
        async with turns.turn():
            pass
    claim.release()
    async with turns.turn():
        assert turns.held == 0
