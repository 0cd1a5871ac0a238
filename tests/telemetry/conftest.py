import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from treasuryd.core.agreement import Agreement, Span
from treasuryd.core.model import (
    AccountId,
    AccountMeters,
    Address,
    BaseUnits,
    BlockHash,
    BootSeconds,
    BreakerMode,
    BreakerReport,
    BreakerState,
    CallClass,
    CallTally,
    CopyMeters,
    Endpoint,
    Epoch,
    Evidence,
    Frame,
    Head,
    Height,
    Hold,
    Holding,
    Incarnation,
    Lease,
    Meters,
    Moment,
    Nonce,
    Snapshot,
    Status,
    Term,
    UnixSeconds,
)
from treasuryd.ports import Vitals
from treasuryd.telemetry.logs import Level, Log
from treasuryd.telemetry.observer import Telemetry

TREASURY = AccountId("treasury")
FRAME = Frame(
    height=Height(120),
    block_hash=BlockHash("b" * 64),
    base_fee=BaseUnits(3),
    holdings={Address("treasury"): Holding(balance=BaseUnits(777), nonce=Nonce(4))},
)

APART = Agreement(
    heads=tuple(
        Head(
            endpoint=Endpoint(name), height=Height(height), block_hash=BlockHash(name), genesis=BlockHash("g")
        )
        for name, height in (("b", 100), ("a", 120))
    ),
    behind=Span(first=BootSeconds(10.0), last=BootSeconds(40.0), height=Height(100)),
)

ACCOUNT = AccountMeters(id=TREASURY, balance=777, high_water=Nonce(4), term=6, ambiguous=1)
STORED = Meters(
    counts={Status.QUEUED: 3, Status.ROLLED_BACK: 5},
    held={Hold.REFUSED: 2},
    accounts=(ACCOUNT,),
    oldest_payable_at=UnixSeconds(49_900.0),
    snapshot=Snapshot(pending_matured=7, staged_intents=5, last_submitted_nonce=Nonce(4)),
    kill_switch=True,
    journal_head=41,
    copy=CopyMeters(behind=0, size_bytes=900, took_seconds=0.25),
    size_bytes=4096,
    free_bytes=1_000_000,
    sqlite_version="3.40.1",
    journal_mode="persist",
    schema_version=1,
)


class Stopped(Exception):
    """The task is over."""


@dataclass
class FakeOffice:
    """The running objects that gauges are read from; a test moves them."""

    accounts: tuple[AccountId, ...] = (TREASURY,)
    boot: float = 1_000.0
    unix: float = 50_000.0
    state: BreakerState = BreakerState.CLOSED
    leading: bool = True
    tick_age: float | None = 2.0
    calls: CallTally = field(default_factory=CallTally)
    stored: Meters = STORED
    failing: Exception | None = None
    reading_seconds: float = 0.0  # how long the store takes to answer
    readings: int = 0
    delays: list[float] = field(
        default_factory=list
    )  # of the coming sleeps; none left: the sleeper is stopped

    @property
    def world(self) -> Any:
        return self

    chain = clock = engine = desk = world

    async def sleep(self, seconds: float) -> None:
        if not self.delays:
            raise Stopped
        self.boot += seconds + self.delays.pop(0)

    def boot_seconds(self) -> BootSeconds:
        return BootSeconds(self.boot)

    def unix_seconds(self) -> UnixSeconds:
        return UnixSeconds(self.unix)

    def breakers(self) -> Sequence[BreakerReport]:
        return [
            BreakerReport(
                endpoint=Endpoint("local"), call_class=CallClass.SEND, state=self.state, mode=BreakerMode.AUTO,
                failures=5, successes=2, rejections=9, transitions=1, calls=self.calls,
            )
        ]  # fmt: skip

    def leads(self) -> Mapping[AccountId, Lease]:
        lease = Lease(account=TREASURY, incarnation=Incarnation("one"), term=Term(6))
        return {TREASURY: lease} if self.leading else {}

    def moment(self) -> Moment | None:
        return Moment(
            unix=UnixSeconds(self.unix), boot=BootSeconds(self.boot), believed=Height(120), settled=Epoch(10),
            seen=Epoch(12), evidence=Evidence.HASH, frame=FRAME,
        )  # fmt: skip

    def picture(self) -> Snapshot | None:
        return None  # as of a standby: the stored one is shown

    def vitals(self) -> Vitals:
        return Vitals(
            started=True, stopping=False, task_alive=True, poll_seconds=5, last_tick_age_seconds=self.tick_age,
            last_success_age_seconds=None, last_error=None, store_failing=False, reported_height=Height(121),
            believed_height=Height(120), chain_age_seconds=1.5, loop_fed_age_seconds=0.1, compared=True,
            lease_left_seconds=6.5, agreement=APART,
        )  # fmt: skip

    async def meters(self, accounts: Sequence[AccountId]) -> Meters:
        self.readings += 1
        if self.failing is not None:
            raise self.failing
        self.boot += self.reading_seconds
        return self.stored

    def account(self, **changes: Any) -> None:
        self.stored = replace(self.stored, accounts=(replace(ACCOUNT, **changes),))


@dataclass
class Heard:
    """A telemetry whose lines are kept."""

    lines: list[bytes]
    telemetry: Telemetry

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def sample(self, name: str, **labels: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value(name, labels)


def listening(level: Level = Level.DEBUG) -> Heard:
    lines: list[bytes] = []
    return Heard(lines=lines, telemetry=Telemetry(Log("json", level, lines.append)))


@pytest.fixture
def heard() -> Heard:
    return listening()
