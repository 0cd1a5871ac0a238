"""The `Observer` port: one event becomes one log line and what it adds to the metrics. It cannot fail the work."""

import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, Self

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import MAX_ACCOUNTS, AccountId, Hold, Meters
from treasuryd.errors import TreasuryError
from treasuryd.ports import Clock, Engine, World
from treasuryd.telemetry.labels import member
from treasuryd.telemetry.logs import Level, LineWriter, Log, take_in_libraries
from treasuryd.telemetry.metrics import Metrics
from treasuryd.telemetry.moment import MomentCollector, Picture
from treasuryd.telemetry.pulse import Pulse

REFRESH_SECONDS: Final = 1.0  # the store is asked at most so often, however many scrape
SHARE: Final = 50  # and no more than a fiftieth of the time: a reading that takes long is repeated later
LEVELS: Final = {
    Severity.DEBUG: Level.DEBUG,
    Severity.INFO: Level.INFO,
    Severity.WARNING: Level.WARNING,
    Severity.PAGE: Level.CRITICAL,
}
WAITING: Final = "waiting_"  # a tick names so many items per hold under this prefix


class Watched(Protocol):
    """What gauges are read from: the ports, the running executor, the configured accounts."""

    @property
    def world(self) -> World: ...  # noqa: D102
    @property
    def engine(self) -> Engine: ...  # noqa: D102
    @property
    def accounts(self) -> tuple[AccountId, ...]: ...  # noqa: D102


class Telemetry:
    """
    Logs and metrics of one process.

    Guarantees: `saw` never blocks and never raises; `exposition` shows breakers, leases and ages as of the call, and
    what `refresh` last read of the store.
    Does not guarantee: that every line is written when nobody reads our standard error.
    """

    def __init__(self, log: Log, *, writer: LineWriter | None = None) -> None:
        self.log = log
        self.metrics = Metrics()
        self._writer = writer
        self._watched: Watched | None = None
        self._waiting: Mapping[Hold, int] = {}
        self._meters: Meters | None = None
        self._read_again_at: float | None = None
        self._copied_at: float | None = None
        self._skewed = 0.0  # wall clock less boot clock, when watching began
        self._pulse = Pulse()
        self.metrics.registry.register(MomentCollector(self._picture))

    @classmethod
    def configured(cls, form: Literal["json", "console"], level: str) -> Self:
        """Log to standard error in a form, from a level on (`debug`, `info`, `warning`, `error`); libraries too."""
        writer = LineWriter(sys.stderr.buffer)
        log = Log(form, Level[level.upper()], writer.write, colors=sys.stderr.isatty())
        take_in_libraries(log)
        return cls(log, writer=writer)

    def watch(self, watched: Watched) -> None:
        """Read gauges from these from now on."""
        self._watched = watched
        self._skewed = _skew(watched.world.clock)

    async def pulse(self) -> None:
        """Feel how late the event loop is, for ever; a task of the process."""
        assert self._watched is not None
        await self._pulse.run(self._watched.world.clock)

    def set_level(self, level: str) -> None:
        """Change how much is written, at run time."""
        self.log.level = Level[level.upper()]

    def drain(self) -> None:
        """Wait, at most two seconds, until what was logged is written."""
        if self._writer is not None:
            self._writer.drain()

    def saw(self, *events: Event) -> None:
        """Take events in; what telemetry itself cannot digest is counted and dropped."""
        for event in events:
            try:
                self.metrics.count(event)
                if event.kind is EventKind.TICKED:
                    self._waiting = _waiting(event)
                self.log.tell(LEVELS[event.severity], f"treasuryd.{event.kind.value}", fields_of(event))
            except Exception:  # noqa: BLE001 - no fact is worth a payment
                self.metrics.failures.inc()

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Write all metrics as of now: the content type and the body, in the format that `accept` asks for."""
        return self.metrics.render(accept)

    async def refresh(self) -> None:
        """Read the store for the gauges; at most once a second, and without raising: a scrape is no reason to stop."""
        watched = self._watched
        if watched is None:
            return
        clock = watched.world.clock
        began = clock.boot_seconds()
        if self._read_again_at is not None and began < self._read_again_at:
            return
        self._read_again_at = began + REFRESH_SECONDS
        try:
            self._meters = await watched.world.desk.meters(watched.accounts[:MAX_ACCOUNTS])
        except (TreasuryError, OSError):  # its file system does not answer either
            self._meters = None  # `treasury_store_readable` is 0; the executor decides what that means
            self.metrics.failures.inc()
            return
        ended = clock.boot_seconds()
        self._read_again_at = max(self._read_again_at, ended + SHARE * (ended - began))
        self._copied(watched, self._meters)

    def _copied(self, watched: Watched, meters: Meters) -> None:
        """Remember when the journal's copy lacked nothing; a standby's is written by the leader."""
        if not watched.engine.leads() or meters.copy is None:
            self._copied_at = None
        elif self._copied_at is None or meters.copy.behind == 0:
            self._copied_at = watched.world.clock.unix_seconds()

    def _picture(self) -> Picture | None:
        """Look now: the running objects as they stand, over what was last read of the store."""
        watched = self._watched
        if watched is None:
            return None
        world, engine = watched.world, watched.engine
        return Picture(
            unix=world.clock.unix_seconds(),
            accounts=watched.accounts,
            breakers=tuple(world.chain.breakers()),
            leads=engine.leads(),
            vitals=engine.vitals(),
            moment=engine.moment(),
            waiting=self._waiting if engine.leads() else {},  # what a former leader once saw would never end
            loop_lag_seconds=self._pulse.worst_seconds(world.clock.boot_seconds()),
            clock_skew_seconds=_skew(world.clock) - self._skewed,
            own=engine.picture(),
            meters=self._meters,
            copied_at=self._copied_at,
        )


def fields_of(event: Event) -> dict[str, Any]:
    """Lay an event out as the fields of its log line; what is not there is left out."""
    fields: dict[str, Any] = {}
    if event.severity is Severity.PAGE:
        fields["page"] = True
    if event.account is not None:
        fields["account"] = event.account
    if event.ids:
        fields["ids"] = list(event.ids)
    if event.count != 1:
        fields["count"] = event.count
    if event.reason:
        fields["reason"] = str(event.reason)
    if event.amount is not None:
        fields["amount"] = event.amount
    if event.fee is not None:
        fields["fee"] = event.fee
    if event.detail:
        fields["detail"] = event.detail
    return {**event.fields, **fields}


def _waiting(event: Event) -> dict[Hold, int]:
    found: dict[Hold, int] = {}
    for name, value in event.fields.items():
        hold = member(Hold, name.removeprefix(WAITING)) if name.startswith(WAITING) else None
        if hold is not None and isinstance(value, int):
            found[hold] = value
    return found


def _skew(clock: Clock) -> float:
    return clock.unix_seconds() - clock.boot_seconds()
