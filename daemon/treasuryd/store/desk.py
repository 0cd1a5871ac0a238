"""The Desk port over SQLite: each verb is one function of this package, run whole by the driver as one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from treasuryd.core.events import Event
from treasuryd.core.model import (
    Account,
    AccountId,
    Approval,
    BalanceEvent,
    BaseUnits,
    BreakerOverride,
    ChainState,
    Disbursement,
    DisbursementId,
    Filter,
    FreezeCause,
    Height,
    Intent,
    IntentId,
    LeaseSeen,
    Marks,
    Meters,
    Nonce,
    NotWritten,
    Page,
    Rules,
    Snapshot,
    StoreFacts,
    UnixSeconds,
    Vote,
)
from treasuryd.core.restore import SealedPage, Standing
from treasuryd.ports import Submission, Submitted
from treasuryd.sqlite.connect import Driver
from treasuryd.store import (
    batches,
    desk_control,
    desk_intake,
    desk_items,
    desk_judgement,
    desk_queries,
    fillers,
    memories,
    ownership,
    quarantine,
    rows,
    sealing,
)
from treasuryd.store.calendar import Calendar
from treasuryd.store.journal import recorded
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.meters import Meter
from treasuryd.store.restore_report import report


class SqliteDesk:
    """
    What people ask for and read (see `ports.Desk`); works while no executor runs.

    Guarantees: a command has been journalled, and the driver's journal copy synced, when it returns. Nothing but the
    database is ever read as state.
    """

    def __init__(
        self,
        driver: Driver,
        rules: Rules,
        *,
        copy: JournalCopy | None = None,
        calendar: Calendar | None = None,
    ) -> None:
        self._driver = driver
        self._rules = rules
        self._meter = Meter(calendar or Calendar(), copy)
        self._frames = rows.Frames()  # for the reading thread alone

    def retune(self, rules: Rules) -> None:
        """Go on with other rules (SIGHUP)."""
        self._rules = rules

    async def submit(self, request: Submission, *, now: UnixSeconds) -> Submitted:
        """Store all items or none; the same request again gets the first answer."""
        return await self._driver.write(
            recorded,
            now,
            desk_intake.submit,
            request,
            now=now,
            satisfied_by_final=self._rules.dependency_satisfied_by_final,
        )

    async def open_batch(self, name: str, *, now: UnixSeconds, expires_seconds: float) -> None:
        """Begin a batch, or go on with it."""
        await self._driver.write(
            recorded, now, batches.open_batch, name, now=now, expires_seconds=expires_seconds
        )

    async def add_part(self, name: str, part: int, request: Submission, *, now: UnixSeconds) -> int:
        """Add one part; answers how many items the batch holds."""
        return await self._driver.write(recorded, now, batches.add_part, name, part, request, now=now)

    async def seal_batch(self, name: str, *, parts: int, now: UnixSeconds) -> Submitted:
        """Make a batch real, all parts at once."""
        gathered = await self._driver.read(batches.gather, name)
        return await self._driver.write(
            recorded,
            now,
            batches.seal_batch,
            name,
            gathered,
            parts=parts,
            now=now,
            satisfied_by_final=self._rules.dependency_satisfied_by_final,
        )

    async def take_vote(self, vote: Vote, *, now: UnixSeconds) -> Event:
        """Store a verified vote."""
        return await self._driver.write(recorded, now, desk_control.take_vote, vote, now=now)

    async def cancel(self, ids: Sequence[DisbursementId], *, by: Approval) -> Sequence[Event | NotWritten]:
        """Roll back, or durably request it."""
        return await self._driver.write(recorded, by.at, desk_items.cancel, ids, by=by)

    async def rollback(self, item: DisbursementId, *, by: Approval) -> Event:
        """Roll a paid item's books back in its window."""
        return await self._driver.write(recorded, by.at, desk_items.rollback, item, by=by, rules=self._rules)

    async def release(self, ids: Sequence[DisbursementId], *, by: Approval) -> Sequence[Event | NotWritten]:
        """End stored holds."""
        return await self._driver.write(recorded, by.at, desk_items.release, ids, by=by, rules=self._rules)

    async def judgeable(
        self, ids: Sequence[DisbursementId], *, believed: Height
    ) -> Sequence[IntentId | NotWritten]:
        """Which ambiguous intents may be judged now."""
        return await self._driver.read(desk_judgement.judgeable, ids, believed=believed, rules=self._rules)

    async def resolve(
        self, ids: Sequence[DisbursementId], *, paid: bool, by: Approval, believed: Height
    ) -> Sequence[Event | NotWritten]:
        """Judge ambiguous intents at finality depth."""
        return await self._driver.write(
            recorded,
            by.at,
            desk_judgement.resolve,
            ids,
            paid=paid,
            by=by,
            believed=believed,
            rules=self._rules,
        )

    async def reopen(self, item: DisbursementId, *, by: Approval) -> Event:
        """Send again what a deep reorg took."""
        return await self._driver.write(
            recorded, by.at, desk_judgement.reopen, item, by=by, rules=self._rules
        )

    async def fillable(self, account: AccountId, nonces: Sequence[Nonce]) -> None:
        """Refuse what `fill` would refuse."""
        await self._driver.read(fillers.check, account, nonces)

    async def fill(
        self, account: AccountId, nonces: Sequence[Nonce], *, fee: BaseUnits, by: Approval
    ) -> Event:
        """Stage fillers for nonces that pay nobody any more."""
        return await self._driver.write(
            recorded, by.at, fillers.fill, account, nonces, fee=fee, by=by, rules=self._rules
        )

    async def freeze(self, account: AccountId, *, by: Approval) -> Event:
        """Stop an account."""
        return await self._driver.write(recorded, by.at, desk_control.freeze, account, by=by)

    async def thaw(
        self, account: AccountId, *, by: Approval, burned: Nonce, only: FreezeCause | None = None
    ) -> Event:
        """Let a frozen account act again."""
        return await self._driver.write(
            recorded, by.at, desk_control.thaw, account, by=by, burned=burned, rules=self._rules, only=only
        )

    async def quarantine_report(self) -> Mapping[str, Any]:
        """What was found, adopted and held."""
        return await self._driver.read(report)

    async def in_quarantine(self, account: AccountId, *, signer: Nonce, signer_lost: bool) -> Standing:
        """What has to be decided before an account leaves quarantine."""
        return await self._driver.read(
            quarantine.standing, self._rules, account, signer=signer, signer_lost=signer_lost
        )

    async def leave_quarantine(
        self,
        account: AccountId,
        *,
        by: Approval,
        signer: Nonce,
        signer_lost: bool,
        lineage: str,
        give_up: bool = False,
    ) -> Event:
        """The account acts again, once everything is decided."""
        return await self._driver.write(
            recorded,
            by.at,
            quarantine.leave,
            self._rules,
            account,
            by=by,
            signer=signer,
            signer_lost=signer_lost,
            lineage=lineage,
            give_up=give_up,
        )

    async def declare_restored(self, *, by: Approval) -> Sequence[Event]:
        """A person says that this store is an old one."""
        return await self._driver.write(recorded, by.at, quarantine.declare, self._rules, by=by)

    async def fill_unknown(self, account: AccountId, *, fee: BaseUnits, by: Approval) -> Event:
        """Stage fillers for the nonces whose bytes are lost."""
        return await self._driver.write(
            recorded, by.at, quarantine.fill, self._rules, account, fee=fee, by=by
        )

    async def sealed(self, account: AccountId, after: IntentId, *, limit: int) -> SealedPage:
        """What was ever sealed, by intent id."""
        return await self._driver.read(memories.sealed, account, after, limit)

    async def sealed_marks(self, accounts: Sequence[AccountId]) -> Mapping[AccountId, Marks]:
        """The highest that was ever sealed for each account."""
        return await self._driver.read(sealing.sealed_marks, accounts)

    async def released_void(self, account: AccountId) -> Sequence[IntentId]:
        """Void intents that a person released."""
        return await self._driver.read(memories.released_void, account)

    async def announce(self, account: AccountId, amount: BaseUnits, *, by: Approval) -> Event:
        """Announce an expected deposit."""
        return await self._driver.write(recorded, by.at, desk_control.announce, account, amount, by=by)

    async def force_breaker(self, override: BreakerOverride) -> Event:
        """Store a word on a breaker."""
        return await self._driver.write(recorded, override.at, desk_control.force_breaker, override)

    async def overrides(self) -> Sequence[BreakerOverride]:
        """Words on breakers, those on `*` first."""
        return await self._driver.read(desk_queries.overrides)

    async def get(self, ids: Sequence[DisbursementId]) -> Sequence[Disbursement | None]:
        """Disbursements in the order asked."""
        return await self._driver.read(desk_queries.get, ids)

    async def find(self, where: Filter) -> Page:
        """One page, newest first."""
        return await self._driver.read(desk_queries.find, where)

    async def waiting(self, *, cursor: DisbursementId | None, limit: int) -> Page:
        """What waits for a person, newest first."""
        return await self._driver.read(desk_queries.waiting, cursor, limit)

    async def votes(self, item: DisbursementId) -> Sequence[Vote]:
        """The votes that count, by house and key."""
        return (await self._driver.read(rows.votes, [item])).get(item, ())

    async def intents(self, item: DisbursementId) -> Sequence[Intent]:
        """All intents ever bound to an item, without bytes."""
        return await self._driver.read(desk_queries.intents_of, item)

    async def dependents(self, item: DisbursementId, *, limit: int) -> Sequence[tuple[DisbursementId, int]]:
        """Direct and transitive dependents with their distance."""
        return await self._driver.read(desk_queries.dependents, item, limit=limit)

    async def accounts(self) -> Sequence[Account]:
        """All accounts with their frames."""
        return await self._driver.read(fillers.accounts, self._frames)

    async def lease_rows(self) -> Sequence[LeaseSeen]:
        """All leases."""
        return await self._driver.read(ownership.seen, None)

    async def chain_state(self) -> ChainState:
        """What is pinned and believed of the chain."""
        return await self._driver.read(rows.chain_state)

    async def history(
        self, account: AccountId | None, *, cursor: int | None, limit: int
    ) -> Sequence[BalanceEvent]:
        """Balance events, newest first."""
        return await self._driver.read(desk_queries.history, account, cursor=cursor, limit=limit)

    async def snapshot(self) -> Snapshot:
        """The executor's last tick."""
        return await self._driver.read(desk_queries.snapshot)

    async def facts(self) -> StoreFacts:
        """What `/health` says of the store."""
        return await self._driver.read(desk_queries.facts)

    async def meters(self, accounts: Sequence[AccountId]) -> Meters:
        """What metrics say of the store."""
        return await self._driver.read(self._meter.read, self._rules, accounts)
