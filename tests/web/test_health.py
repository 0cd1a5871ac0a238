"""What the health routes say, and when (interfaces.md §3)."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import AT, HEALTHY, NOW, FakeWorld, breaker
from tests.web.conftest import Open, Site

from treasuryd.core.agreement import Agreement, Span
from treasuryd.core.model import (
    Account,
    AccountState,
    BlockHash,
    BootSeconds,
    BreakerState,
    Endpoint,
    Head,
    Height,
)
from treasuryd.core.model import AccountId as Id

APART = Agreement(
    heads=(
        Head(endpoint=Endpoint("a"), height=Height(9), block_hash=BlockHash("h"), genesis=BlockHash("g")),
    ),
    behind=Span(first=BootSeconds(0.0), last=BootSeconds(121.0), height=Height(9)),
)


async def test_everything_in_order_is_ok_with_all_that_an_operator_asks_for(site: Site) -> None:
    """Status, checks with reasons, lease holder and term, breakers, store version and mode, chain height and lag."""
    answer = await site.get("/health")
    body = answer.json()
    assert answer.status == 200
    assert body["status"] == "ok"
    assert {check["verdict"] for check in body["checks"]} == {"ok"}
    assert all(check["reason"] for check in body["checks"])
    assert body["leases"][0]["holder"] == "treasuryd@a"
    assert body["leases"][0]["term"] == 3
    assert body["leader"] is True
    assert body["breakers"][0]["state"] == "closed"
    assert (body["store"]["sqlite_version"], body["store"]["journal_mode"]) == ("3.51.3", "wal")
    assert (body["chain"]["height"], body["chain"]["head_age_seconds"]) == (1_300, 1.0)


async def test_a_dead_executor_is_seen_at_once(site: Site) -> None:
    """D35: the original died silently and looked healthy; here health is 503 as soon as the task is gone."""
    site.world.engine.state = replace(HEALTHY, task_alive=False)
    answer = await site.get("/health")
    assert answer.status == 503
    assert answer.json()["status"] == "fail"
    assert "gone" in next(check["reason"] for check in answer.json()["checks"] if check["name"] == "executor")


@pytest.mark.parametrize(
    ("change", "status", "verdict"),
    [
        pytest.param({"last_tick_age_seconds": 14.9}, 200, "ok", id="the third poll is not over"),
        pytest.param({"last_tick_age_seconds": 15.1}, 503, "fail", id="last tick older than three polls"),
        pytest.param({"store_failing": True}, 503, "fail", id="store failing"),
        pytest.param({"started": False}, 503, "fail", id="starting"),
        pytest.param({"stopping": True}, 503, "fail", id="stopping"),
        pytest.param({"chain_age_seconds": 121.0}, 200, "degraded", id="chain lagging"),
        pytest.param({"reported_height": Height(9_999_999)}, 200, "degraded", id="head not believed"),
        pytest.param({"agreement": APART}, 200, "degraded", id="a node stands still"),
    ],
)
async def test_the_executors_state_decides_the_verdict(
    site: Site, change: dict[str, object], status: int, verdict: str
) -> None:
    """One row of interfaces.md §3 each."""
    site.world.engine.state = replace(HEALTHY, **change)  # type: ignore[arg-type]  # the parameters name its fields
    answer = await site.get("/health")
    assert (answer.status, answer.json()["status"]) == (status, verdict)


async def test_an_open_breaker_degrades(site: Site) -> None:
    """Payments wait, nothing is wrong with the daemon."""
    site.world.chain.reports = [breaker(), breaker("node-b", state=BreakerState.OPEN)]
    answer = await site.get("/health")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")


async def test_a_standby_is_degraded_and_ready(site: Site) -> None:
    """It does not lead, and says so; a balancer may still send it questions."""
    site.world.engine.held = {}
    answer = await site.get("/health")
    assert (answer.status, answer.json()["status"], answer.json()["leader"]) == (200, "degraded", False)
    ready = await site.get("/readyz")
    assert (ready.status, ready.json()["leader"]) == (200, False)


async def test_items_held_for_a_person_degrade(site: Site) -> None:
    """Somebody has to look at them."""
    site.world.desk.held_for_person = 2
    assert (await site.get("/health")).json()["status"] == "degraded"


@pytest.mark.parametrize("state", [AccountState.FROZEN, AccountState.QUARANTINED])
async def test_a_stopped_account_fails(site: Site, state: AccountState) -> None:
    """It pays nothing until a person decides."""
    site.world.desk.account_rows = [Account(id=Id("treasury"), state=state, cause="foreign_nonce")]
    answer = await site.get("/health")
    assert answer.status == 503
    assert "foreign_nonce" in answer.body.decode()


async def test_a_store_that_cannot_be_read_fails_health_and_answers_still(site: Site) -> None:
    """The question itself must not need the store."""
    site.world.desk.broken = True
    answer = await site.get("/health")
    assert answer.status == 503
    assert answer.json()["store"] is None
    assert "disk I/O error" in answer.body.decode()
    assert not site.task.done()


async def test_a_store_that_hangs_does_not_hang_health_or_metrics(open_site: Open) -> None:
    """A stuck disk is told within seconds; scrapes go on with what is in memory."""
    world, go = FakeWorld(), asyncio.Event()
    look = world.desk.accounts

    async def stuck() -> Any:
        await go.wait()
        return await look()

    world.desk.accounts = stuck  # type: ignore[method-assign]  # a disk that does not answer
    site: Site = await open_site(world, refresh=go.wait, look_seconds=0.05)
    answer = await site.get("/health")
    assert (answer.status, "no answer within" in answer.body.decode()) == (503, True)
    assert (await site.get("/metrics")).status == 200
    go.set()
    assert (await site.get("/health")).status == 200


async def test_healthz_is_health(site: Site) -> None:
    """Two names, since operators try both."""
    assert (await site.get("/healthz")).json()["status"] == (await site.get("/health")).json()["status"]


async def test_liveness_asks_whether_the_watchdog_was_fed(site: Site) -> None:
    """A loop that answers is alive, unless its watchdog is about to end it."""
    assert (await site.get("/livez")).status == 200
    site.world.engine.state = replace(HEALTHY, loop_fed_age_seconds=11.0)
    assert (await site.get("/livez")).status == 503


@pytest.mark.parametrize(
    "change",
    [{"started": False}, {"stopping": True}, {"store_failing": True}],
    ids=lambda change: next(iter(change)),
)
async def test_not_ready_while_starting_stopping_or_failing(site: Site, change: dict[str, bool]) -> None:
    """The three reasons of interfaces.md §3."""
    site.world.engine.state = replace(HEALTHY, **change)  # type: ignore[arg-type]  # the parameters name its fields
    assert (await site.get("/readyz")).status == 503


async def test_metrics_come_in_the_format_that_was_asked_for(site: Site) -> None:
    """Content negotiation is the exporter's; its type and bytes pass unchanged."""
    answer = await site.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body == b"# asked for application/openmetrics-text\ntreasury_up 1\n"


async def test_before_the_chain_was_read_health_degrades(open_site: Open) -> None:
    """An unread chain is a waiting state, never a failure."""
    world = FakeWorld()
    world.engine.at = None
    world.engine.state = replace(HEALTHY, believed_height=None, chain_age_seconds=None)
    answer = await (await open_site(world)).get("/health")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    assert AT.unix == NOW
