"""The Store port over SQLite: each method runs one verb on a driver (architecture.md §5)."""

from collections.abc import Callable, Collection, Mapping
from typing import Concatenate, ParamSpec, TypeVar

from treasuryd.core.audit import Page
from treasuryd.core.changes import Change
from treasuryd.core.events import Event
from treasuryd.core.model import (
    AccountId,
    Address,
    Binding,
    ChainState,
    Draft,
    Epoch,
    Held,
    Intent,
    IntentId,
    Lease,
    LeaseSeen,
    Marks,
    Moment,
    Nonce,
    Owner,
    Refused,
    Rules,
    Signed,
    Snapshot,
    Term,
    UnixSeconds,
    View,
)
from treasuryd.core.restore import Past, Reason, Witness
from treasuryd.ports import Many, Recorded, Rows
from treasuryd.sqlite.connect import Connection, Driver
from treasuryd.store import auditing, journal, ownership, quarantine, recording, sealing, staging, view
from treasuryd.store import bindings as bindings_
from treasuryd.store.auditing import Cursor
from treasuryd.store.calendar import Calendar
from treasuryd.store.items import SQL
from treasuryd.store.rows import Frames, chain_state
from treasuryd.store.work import may_send

P = ParamSpec("P")
R = TypeVar("R")


class SqliteStore:
    """
    What we intend and what came of it; implements `ports.Store`.

    Args: driver of a prepared file (`migrations.prepare`); rules as configured; now is the wall clock, for records;
        told receives the events of verbs whose answer has no room for them (an item held or released in passing).
    Guarantees: as the port says. Transient is raised only where nothing was written (the file stayed locked).
    """

    def __init__(
        self,
        driver: Driver,
        rules: Rules,
        *,
        now: Callable[[], UnixSeconds],
        told: Callable[[tuple[Event, ...]], None] = lambda _: None,
        calendar: Calendar | None = None,
    ) -> None:
        self._driver = driver
        self._rules = rules
        self._now = now
        self._told = told
        self._frames = Frames()
        self._calendar = calendar or Calendar()

    async def _write(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a verb with everything that it writes in the journal."""
        return await self._driver.write(journal.recorded, self._now(), verb, *args, **kwargs)

    def retune(self, rules: Rules) -> None:
        """Go on with other rules (SIGHUP); a verb that has begun ends with the old ones."""
        self._rules = rules

    # --- ownership

    async def leases(self, accounts: Many[AccountId]) -> Many[LeaseSeen]:
        """Read (and create where missing) the lease rows, in the order asked."""
        found = await self._driver.read(ownership.seen, accounts)
        return (
            found
            if len(found) == len(accounts)
            else await self._write(ownership.create, accounts, self._now())
        )

    async def claim(
        self, silent: Many[LeaseSeen], me: Owner, *, above: Mapping[AccountId, Term]
    ) -> Rows[Lease]:
        """Take each lease if (term, beat) still read as seen."""
        answers, events = await self._write(ownership.claim, self._rules, silent, me, above, self._now())
        self._told(events)
        return answers

    async def renew(self, held: Held) -> Many[Lease]:
        """Raise the beats; a lease missing from the answer is lost."""
        return await self._driver.write(ownership.renew, held)

    async def release(self, held: Held) -> None:
        """Mark our leases released."""
        await self._write(ownership.release, self._rules, held, self._now())

    # --- the pipeline

    async def chain_state(self) -> ChainState:
        """What is pinned and believed of the chain."""
        return await self._driver.read(chain_state)

    async def sealed_marks(self, accounts: Many[AccountId]) -> Mapping[AccountId, Marks]:
        """The highest that was ever sealed for each account."""
        return await self._driver.read(sealing.sealed_marks, accounts)

    async def watched(self, held: Held, *, settled: Epoch, limit: int) -> Many[Address]:
        """What a frame must show; the accounts and their sinks are among it."""
        return await self._driver.read(view.watched, self._rules, held, settled, limit)

    async def view(self, held: Held, *, at: Moment, limit: int) -> View:
        """Read what a tick decides from."""
        self._calendar.note(at.settled, at.unix)
        return await self._driver.read(view.view, self._rules, self._frames, held, at, limit)

    async def stage(self, drafts: Many[Draft], held: Held, *, at: Moment) -> Rows[Intent]:
        """Check inside, number, bind."""
        answers, events = await self._write(staging.stage, self._rules, drafts, held, at, self._calendar)
        self._told(events)
        return answers

    async def unstage(self, refused: Many[Refused], held: Held) -> Recorded:
        """Void what the signer will never bind; its nonces return."""
        return await self._write(staging.unstage, self._rules, refused, held, self._now())

    async def may_send(self, held: Held) -> frozenset[AccountId]:
        """Accounts that are ours and not stopped, by what is committed now."""
        return await self._driver.read(may_send, held)

    async def seal(self, signed: Many[Signed], held: Held) -> Rows[Intent]:
        """Store the exact bytes."""
        return await self._write(sealing.seal, self._rules, signed, held, self._now())

    async def record(self, changes: Many[Change], held: Held, *, at: Moment) -> Recorded:
        """Write what was seen and decided."""
        return await self._write(recording.record, self._rules, changes, held, at, self._calendar)

    # --- the settlement audit

    async def audit_page(self, cursor: Cursor, limit: int) -> tuple[Page, Cursor]:
        """What the auditor judges next."""
        return await self._driver.read(auditing.page, cursor, limit)

    # --- a store that may be older than the world

    async def past(self, told: Mapping[AccountId, Witness]) -> Past:
        """What the store says of its own past."""
        return await self._driver.read(quarantine.past, told)

    async def quarantine(self, reasons: Many[Reason]) -> None:
        """Quarantine every account of the store."""
        self._told(await self._write(quarantine.find, self._rules, reasons, self._now()))

    async def unsigned(self, account: AccountId) -> Many[Intent]:
        """Staged intents."""
        return await self._driver.read(bindings_.unsigned, account)

    async def take_back(self, intents: Many[IntentId], held: Held) -> None:
        """Void staged intents that the signer promised never to bind."""
        self._told(await self._write(bindings_.take_back, self._rules, intents, held, self._now()))

    async def lowest_open(self, account: AccountId) -> Nonce:
        """Below it everything is settled here."""
        return await self._driver.read(bindings_.lowest_open, account)

    async def adopt(self, bindings: Many[Binding], judged: Collection[IntentId], held: Held) -> None:
        """Take in what the signer bound."""
        self._told(await self._write(bindings_.adopt, self._rules, bindings, judged, held, self._now()))

    async def taken_up(self, account: AccountId, marks: Marks, held: Held) -> None:
        """End the repair of one account."""
        self._told(await self._write(bindings_.taken_up, self._rules, account, marks, held, self._now()))

    async def note(self, snapshot: Snapshot) -> None:
        """Keep the executor's last tick for people."""
        await self._driver.write(_note, snapshot)


def _note(connection: Connection, snapshot: Snapshot) -> None:
    connection.execute(
        SQL["note"],
        (
            snapshot.last_tick_at,
            snapshot.last_success_at,
            snapshot.last_error_at,
            snapshot.last_error,
            snapshot.pending_matured,
            snapshot.staged_intents,
            snapshot.last_submitted_nonce,
        ),
    )
