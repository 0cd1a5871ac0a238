"""
The task: rounds of readings, each of which comes, fails and grows old by itself.

Nothing here reaches a payment. It has a line of its own to the node, asks slowly, and whatever goes wrong in it ends in a
counter and one line of the log; the executor neither waits for it nor reads it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeAlias

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BootSeconds
from treasuryd.core.observed import Observed, ObservedReading, ObservedSource, ReadingFailure
from treasuryd.observer import showing
from treasuryd.observer.asking import Asking, NotRead, Offload, in_a_thread
from treasuryd.observer.config import ObserverConfig
from treasuryd.observer.line import Line
from treasuryd.observer.showing import Resolutions, Roster
from treasuryd.ports import Clock, Observer
from treasuryd.wire.theblock.market import (
    MAX_PAGE_ROWS,
    Dispute,
    read_credit,
    read_dispute,
    read_market_state,
)
from treasuryd.wire.theblock.replies import Malformed

Reader: TypeAlias = Callable[[], Awaitable[Observed]]

_FRESH: Final = "treasury_observer_reading_fresh"
_UP: Final = "treasury_observer_up"
_LAST: Final = "treasury_observer_last_success_timestamp_seconds"
_FAILURES: Final = "treasury_observer_failures_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A reading, and the boot second at which it was asked for."""

    observed: Observed
    asked: BootSeconds


class ChainObserver:
    """
    Reads the node's markets and metrics for ever.

    Guarantees: `run` ends with its cancellation and with nothing else; `observed` shows no reading that is older than
        `max_age_seconds`, and nothing that the node does not offer.
    Does not guarantee: that the readings of a round belong to one block.
    """

    def __init__(
        self,
        config: ObserverConfig,
        line: Line,
        *,
        clock: Clock,
        observer: Observer,
        token: Callable[[], str | None] = lambda: None,
        offload: Offload = in_a_thread,
    ) -> None:
        self._config = config
        self._clock = clock
        self._observer = observer
        self._asking = Asking(config, line, clock, token=token, offload=offload)
        self._roster = Roster(config.max_providers)
        self._resolutions = Resolutions()
        self._kept: dict[ObservedReading, Kept] = {}
        self._up: dict[ObservedSource, bool] = {}
        self._last_success: dict[ObservedSource, float] = {}
        self._failures = dict.fromkeys(product(ObservedReading, ReadingFailure), 0)
        # providers get their labels from the market first, where their size is known
        self._readers: Mapping[ObservedReading, Reader] = {
            ObservedReading.MARKET_STATE: self._market_state,
            ObservedReading.RECEIPTS: self._receipts,
            ObservedReading.CREDITS: self._credits,
            ObservedReading.DISPUTES: self._disputes,
            ObservedReading.METRICS: self._metrics,
        }

    async def run(self) -> None:
        """Read, rest, and so on."""
        while True:
            await self.once()
            await self._clock.sleep(self._config.poll_seconds)

    async def once(self) -> None:
        """Make one round; what fails is counted and told once, and never raised."""
        ended: dict[ObservedReading, NotRead | None] = {}
        silent: dict[
            ObservedSource, NotRead
        ] = {}  # where nobody answers, nothing more is asked in this round
        for reading, reader in self._readers.items():
            problem = silent.get(reading.source) or await self._read(reading, reader)
            ended[reading] = problem
            if problem is not None:
                self._failures[reading, problem.reason] += 1
                if problem.reason is ReadingFailure.NO_ANSWER:
                    silent[reading.source] = problem
        for source in ObservedSource:
            self._judge(source, {reading: end for reading, end in ended.items() if reading.source is source})

    async def _read(self, reading: ObservedReading, reader: Reader) -> NotRead | None:
        """Make one reading, whatever happens; answers what went wrong."""
        asked = self._clock.boot_seconds()
        try:
            self._kept[reading] = Kept(observed=await reader(), asked=asked)
        except NotRead as problem:
            if problem.reason is ReadingFailure.NOT_OFFERED:
                self._kept.pop(reading, None)
            return problem
        except Malformed as problem:
            return NotRead(ReadingFailure.MALFORMED, f"{reading}: {problem.message}")
        except Exception as problem:  # noqa: BLE001 - a picture on a wall is no reason to stop paying
            return NotRead(ReadingFailure.OTHER, f"{reading}: {type(problem).__name__}: {problem}")
        return None

    def _judge(self, source: ObservedSource, ended: Mapping[ObservedReading, NotRead | None]) -> None:
        """Say whether a source is up, and tell it when that changed."""
        problems = [problem for problem in ended.values() if problem is not None]
        wrong = [problem for problem in problems if problem.reason is not ReadingFailure.NOT_OFFERED]
        up = not wrong and len(problems) < len(ended)
        if up:
            self._last_success[source] = self._clock.unix_seconds()
        if self._up.get(source) is up:
            return
        self._up[source] = up
        problem = next(iter([*wrong, *problems]), None)
        self._observer.saw(
            Event(
                kind=EventKind.OBSERVER_CHANGED,
                severity=Severity.INFO if up else Severity.WARNING,
                reason="" if up or problem is None else problem.reason.value,
                detail="" if up or problem is None else problem.message,
                fields={"source": source.value, "up": up},
            )
        )

    # --- the readings -------------------------------------------------------------------------------------

    async def _market_state(self) -> Observed:
        return showing.of_market(
            read_market_state(await self._asking.call("energy.market_state")), self._roster
        )

    async def _receipts(self) -> Observed:
        page = await self._asking.page("energy.receipts", "receipts", size=1)
        return showing.of_receipts(page.total)

    async def _credits(self) -> Observed:
        first = await self._asking.page("energy.credits", "credits")
        rows = [*first.rows]
        if first.total <= self._config.max_rows:
            for number in range(1, -(-first.total // MAX_PAGE_ROWS)):
                rows += (await self._asking.page("energy.credits", "credits", page=number)).rows
        return showing.of_credits(first.total, [read_credit(row) for row in rows])

    async def _disputes(self) -> Observed:
        active = (await self._asking.page("energy.disputes", "disputes", size=1, status="open")).total
        self._resolutions = self._resolutions.after(await self._resolved())
        return showing.of_disputes(active, self._resolutions)

    async def _resolved(self) -> list[Dispute]:
        """Read the resolved disputes: of more than `max_rows` those at the end, where new ones come."""
        first = await self._asking.page("energy.disputes", "disputes", status="resolved")
        rows = [*first.rows]
        pages = -(-first.total // MAX_PAGE_ROWS)
        for number in range(max(1, pages - self._config.max_rows // MAX_PAGE_ROWS + 1), pages):
            rows += (
                await self._asking.page("energy.disputes", "disputes", page=number, status="resolved")
            ).rows
        return [read_dispute(row) for row in rows]

    async def _metrics(self) -> Observed:
        return showing.of_metrics(await self._asking.metrics(), self._roster)

    # --- what is shown ------------------------------------------------------------------------------------

    def observed(self) -> Observed:
        """Give what is fresh now; where two readings know a number, the one by JSON-RPC counts."""
        oldest = self._clock.boot_seconds() - self._config.max_age_seconds
        fresh = {reading: kept for reading, kept in self._kept.items() if kept.asked >= oldest}
        shown = self._itself(fresh)
        for reading in self._readers:  # the metrics come last, and lie below
            if reading in fresh:
                shown = shown.over(fresh[reading].observed)
        return shown

    def _itself(self, fresh: Mapping[ObservedReading, Kept]) -> Observed:
        return Observed(
            series={
                _FRESH: {(reading.value,): float(reading in fresh) for reading in ObservedReading},
                _UP: {(source.value,): float(self._up.get(source, False)) for source in ObservedSource},
                _LAST: {(source.value,): self._last_success.get(source, 0.0) for source in ObservedSource},
                _FAILURES: {
                    (reading.value, reason.value): float(count)
                    for (reading, reason), count in self._failures.items()
                },
            }
        )
