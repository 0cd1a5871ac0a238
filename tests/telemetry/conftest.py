import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    BaseUnits,
    BlockHash,
    BootSeconds,
    BreakerMode,
    BreakerOverride,
    BreakerReport,
    BreakerState,
    CallClass,
    Endpoint,
    Epoch,
    Evidence,
    Frame,
    FreezeCause,
    Height,
    Holding,
    Incarnation,
    Lease,
    LeaseSeen,
    Moment,
    Nonce,
    Snapshot,
    Status,
    StoreFacts,
    Term,
    UnixSeconds,
)
from treasuryd.errors import Corrupt
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


ACTIVE = Account(id=TREASURY, baseline=FRAME, high_water=Nonce(4))


@dataclass
class FakeOffice:
    """The running objects that gauges are read from; a test moves them."""

    accounts: tuple[AccountId, ...] = (TREASURY,)
    boot: float = 1_000.0
    unix: float = 50_000.0
    state: BreakerState = BreakerState.CLOSED
    leading: bool = True
    tick_age: float | None = 2.0
    counts: dict[Status, int] = field(default_factory=lambda: {Status.QUEUED: 3, Status.FINALIZED: 99})
    stored: Account = ACTIVE
    failing: bool = False
    readings: int = 0

    @property
    def world(self) -> Any:
        return self

    chain = clock = engine = world

    @property
    def desk(self) -> Any:
        return FakeDesk(self)

    def boot_seconds(self) -> BootSeconds:
        return BootSeconds(self.boot)

    def unix_seconds(self) -> UnixSeconds:
        return UnixSeconds(self.unix)

    def breakers(self) -> Sequence[BreakerReport]:
        return [
            BreakerReport(
                endpoint=Endpoint("local"), call_class=CallClass.SEND, state=self.state, mode=BreakerMode.AUTO,
                failures=5, successes=2, rejections=9, transitions=1,
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
            believed_height=Height(120), chain_age_seconds=1.5, loop_fed_age_seconds=0.1,
        )  # fmt: skip

    async def facts(self) -> StoreFacts:
        self.readings += 1
        if self.failing:
            raise Corrupt("the disk is gone")
        return StoreFacts(
            sqlite_version="3.40.1", journal_mode="persist", schema_version=1, lineage="x", counts=self.counts,
            held_for_person=2, ambiguous=1,
        )  # fmt: skip

    async def snapshot(self) -> Snapshot:
        return Snapshot(pending_matured=7, staged_intents=5, last_submitted_nonce=Nonce(4))

    async def lease_rows(self) -> Sequence[LeaseSeen]:
        return [
            LeaseSeen(
                account=TREASURY, holder="h", incarnation=Incarnation("one"), machine="m", folder="f", term=Term(6),
                beat=1, released=False,
            )
        ]  # fmt: skip

    async def overrides(self) -> Sequence[BreakerOverride]:
        return [
            BreakerOverride(
                endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="stop"
            )
        ]

    def freeze(self, cause: FreezeCause) -> None:
        self.stored = Account(id=TREASURY, state=AccountState.FROZEN, cause=cause.value, baseline=FRAME)


# `accounts` is both the office's configured names and a verb of the desk; the desk is a view of its own.
class FakeDesk:
    def __init__(self, office: FakeOffice) -> None:
        self.office = office
        self.facts, self.snapshot = office.facts, office.snapshot
        self.lease_rows, self.overrides = office.lease_rows, office.overrides

    async def accounts(self) -> Sequence[Account]:
        return [self.office.stored]


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
