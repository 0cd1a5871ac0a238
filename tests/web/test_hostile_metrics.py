"""
Whatever anybody says to the daemon, the number of its series stays under the published bound.

The original's error counter took a node's message as its label, and its energy counters a provider's id: whoever could make
up either could fill a Prometheus. Here requests, nodes, rows of a shared store and the observed market all lie.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import orjson
import pytest
from tests.chain.world import FOREVER, PAYER, Stage, intent, rpc
from tests.fakes import FakeDesk, FakeWorld
from tests.store.deskworld import DeskWorld, opened
from tests.telemetry.conftest import listening
from tests.web.conftest import Open, Site

from treasuryd.chain.transport import Answer, Lost, Unreachable
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import Address, Height
from treasuryd.core.observed import Observed
from treasuryd.devnet.config import profile
from treasuryd.errors import Transient
from treasuryd.telemetry import registry
from treasuryd.telemetry.observed import ObservedCollector
from treasuryd.telemetry.observer import Telemetry
from treasuryd.web import health, quarantine, rest

HOSTILE = (
    'x"} 1\nforged_total{a="',
    "circular dependency stale insufficient_funds",
    "\u202e\x00\x1b[2J" + "A" * 300,
    "../../metrics",
    "-9223372036854775809",
    "é" * 200,
    "treasury\\",
)
BODIES = (
    b"",
    b"\xff\xfe",
    b"[" * 5_000,
    b'{"account": "x\\"} 1\\nforged", "reason": "' + b"r" * 3_000 + b'", "by": "\\ud800"}',
    orjson.dumps(
        [
            {
                "account": text,
                "destination": text,
                "amount": 1,
                "memo": text,
                "scheduled_epoch": 1,
                "reason": text,
            }
            for text in HOSTILE
        ]
    ),
)


class Target:
    """A daemon's web, real store, real chain adapter and telemetry, and a way to count its series."""

    def __init__(self, site: Site, stage: Stage, telemetry: Telemetry, store: DeskWorld) -> None:
        self.site, self.stage, self.telemetry, self.store = site, stage, telemetry, store

    async def series(self) -> set[str]:
        """Every series, read as a scraper reads it; each one has to be declared, with its labels in their sets."""
        self.stage.clock.now += 10
        answer = await self.site.get("/metrics")
        lines = [line for line in answer.body.decode().splitlines() if line and not line.startswith("#")]
        for line in lines:
            name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()  # type: ignore[union-attr] # asserted so
            family = registry.BY_SAMPLE[name]
            given = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            given.pop("le", None)
            assert given.keys() == set(family.label_names), line
            for label in family.labels:
                assert not label.values or given[label.name] in label.values, line
        found = {line.rpartition(" ")[0] for line in lines}
        assert len(found) == len(lines), "a series twice"
        assert len(found) <= registry.SERIES_BOUND
        assert self.telemetry.metrics.registry.get_sample_value("treasury_telemetry_failures_total") == 0
        return found


@pytest.fixture
async def target(tmp_path: Path, open_site: Open) -> AsyncIterator[Target]:
    telemetry = listening().telemetry
    stage = Stage(profile("dev"), observer=telemetry)
    async with opened(tmp_path) as store:
        await store.account(PAYER)
        world = FakeWorld()
        world.desk, world.observer = cast("FakeDesk", store.desk), cast("Any", telemetry)
        world.chain, world.clock = cast("Any", stage.chain), cast("Any", stage.clock)
        telemetry.watch(world.office())
        site = await open_site(world, exposition=telemetry.exposition, refresh=telemetry.refresh)
        yield Target(site, stage, telemetry, store)


def asked(path: str, text: str) -> str:
    """A route's path with hostile text in each of its places and in a question."""
    return (
        re.sub(r"\{[^}]*\}", quote(text, safe=""), path) + "?cursor=" + quote(text) + "&status=" + quote(text)
    )


async def test_no_request_adds_a_series(target: Target) -> None:
    """Every route, with hostile paths, questions, headers and bodies."""
    before = await target.series()
    routes = {(route.method, route.path) for route in (*rest.ROUTES, *health.ROUTES, *quarantine.ROUTES)}
    for number, (method, path) in enumerate(sorted(routes)):
        for text in HOSTILE[number % 3 :: 3]:
            await target.site.post(
                asked(path, text),
                BODIES[number % len(BODIES)],
                method="POST" if method in {"GET", "HEAD"} and number % 2 else method,
                X_Request_Id=quote(text),
                Accept=quote(text),
            )
    for text in HOSTILE:
        await target.site.call(text, {text: text})
        await target.site.get("/" + quote(text, safe=""))
    assert await target.series() == before


def lies() -> list[Answer | BaseException]:
    """What a node may answer, whoever it is."""
    found: list[Answer | BaseException] = [
        Lost("gone\nforged 1"),
        Unreachable('x"} 1'),
        Answer(status=200, body=b"<html>"),
        Answer(status=200, body=b"[" * 5_000),
        Answer(status=429, body=b"{}", retry_after_seconds=1e300),
        Answer(status=503, body=HOSTILE[2].encode()),
        Answer(status=299, body=b"null"),
    ]
    found += [rpc(1, error=(code, text)) for code, text in enumerate(HOSTILE, start=-32_000)]
    found += [rpc(1, result=text) for text in HOSTILE]
    found += [rpc(1, result={"status": text, text: text, "tx_hash": text}) for text in HOSTILE]
    return found


async def test_no_node_adds_a_series(target: Target) -> None:
    """D26: the original took the message of a node for a label."""
    before = await target.series()
    chain, transport = target.stage.chain, target.stage.transport
    for lie in lies():
        transport.before = lambda _body, lie=lie: lie  # type: ignore[misc] # bound now
        target.stage.clock.now += 700  # an open breaker lets a probe through
        for call in (
            chain.heads,
            chain.quote,
            lambda: chain.frame((Address(PAYER),)),
            lambda: chain.headers((Height(1),)),
            lambda: chain.sightings((intent(1),)),
            lambda: chain.broadcast((intent(1),), until=FOREVER),
        ):
            with contextlib.suppress(Transient):
                await call()
    assert await target.series() == before
    calls = [report.calls for report in chain.breakers()]
    assert sum(sum(tally.outcomes.values()) for tally in calls) > 50, "the node was asked"


async def test_no_event_adds_a_series(target: Target) -> None:
    """Reasons and fields are data, even where a bug of ours lets foreign text become one."""
    before = await target.series()
    for kind in EventKind:
        for text in HOSTILE:
            target.telemetry.saw(
                Event(
                    kind=kind,
                    severity=Severity.PAGE,
                    account=cast("Any", text),
                    reason=text,
                    detail=text,
                    fields={text: text, f"waiting_{text}": 7, "endpoint": text},
                )
            )
    assert await target.series() == before


async def test_no_row_of_a_shared_store_adds_a_series(target: Target) -> None:
    """Another daemon's accounts, leases and payments lie in the same file; we tell of our own accounts."""
    before = await target.series()
    for number, text in enumerate(f"{text}{more}" for text in HOSTILE for more in range(30)):
        name = text.replace("\x00", "")
        await target.store.sql("INSERT INTO account (id, state, cause) VALUES (?, 'frozen', ?)", name, name)
        await target.store.sql("INSERT INTO lease (account, holder, term) VALUES (?, ?, 3)", name, name)
        await target.store.sql(
            "INSERT INTO disbursement (id, account, destination, amount, memo, scheduled_epoch, idempotency_key, "
            "request_digest, payload_digest, created_at, status, status_at, hold) "
            "VALUES (?, ?, ?, 1, ?, 0, ?, 'r', 'p', 1.0, 'timelocked', 1.0, 'refused')",
            number + 1, name, name, name, name,
        )  # fmt: skip
    assert await target.series() == before


async def test_no_market_adds_more_series_than_there_may_be(target: Target) -> None:
    """Ten thousand providers, statuses that nobody knows, a place of another shape: the bound holds for each metric."""
    before = await target.series()
    many = {
        family.name: {
            (*(HOSTILE[0] + str(number) for _ in family.labels),): float(number) for number in range(10_000)
        }
        | {("one", "too", "many"): 1.0}
        for family in registry.observed.FAMILIES
    }
    target.telemetry.metrics.registry.register(
        ObservedCollector(lambda: Observed(series=many), failed=target.telemetry.metrics.failures.inc)
    )
    after = await target.series()
    assert before < after
    for family in registry.observed.FAMILIES:
        found = [line for line in after if line.partition("{")[0] in family.sample_names]
        assert len(found) <= family.bound, family.name


def test_the_server_has_no_route_that_was_not_asked() -> None:
    """A new module of routes joins this test."""
    text = (Path(rest.__file__).parent / "app.py").read_text(encoding="utf-8")
    assert "[*health.ROUTES, *rest.ROUTES, *quarantine.ROUTES, *rpc.ROUTES]" in text
