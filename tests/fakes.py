"""
Fakes behind the ports, for tests of what drives them: no clock runs, nothing is random, everything said is kept.

`FakeDesk` keeps the promises of `ports.Desk` that commands and web rely on, in memory; the real one has the contract
suite. Each fake is told what to answer by plain attributes.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from treasuryd.commands.office import Office
from treasuryd.core.events import Event, EventKind
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountMeters,
    Approval,
    BalanceEvent,
    BaseUnits,
    Binding,
    BlockHash,
    BreakerMode,
    BreakerOverride,
    BreakerReport,
    BreakerState,
    CallClass,
    ChainState,
    Disbursement,
    DisbursementId,
    Endpoint,
    Epoch,
    Evidence,
    FeeQuote,
    Filter,
    FreezeCause,
    Header,
    Height,
    Incarnation,
    Intent,
    IntentId,
    Lease,
    LeaseSeen,
    Marks,
    Meters,
    Moment,
    NewDisbursement,
    Nonce,
    NotWritten,
    Page,
    Rules,
    Snapshot,
    State,
    Status,
    StoreFacts,
    Term,
    UnixSeconds,
    Vote,
)
from treasuryd.core.model import BootSeconds as Boot
from treasuryd.core.restore import SealedPage, Standing, next_nonce, open_points
from treasuryd.core.staging import payload_digest
from treasuryd.errors import Corrupt, Refusal, Rejected, Transient
from treasuryd.ports import Chain, Clock, Entropy, Rows, Signer, Store, Submission, Submitted, Vitals, World

TREASURY = AccountId("treasury")
NOW = UnixSeconds(1_795_000_000.0)
PAYEE = "tb1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqe4tqx9"


class FakeClock:
    """Stands until it is moved; sleeping moves it."""

    def __init__(self, unix: float = NOW, boot: float = 1_000.0) -> None:
        self.unix = unix
        self.boot = boot
        self.slept: list[float] = []

    def unix_seconds(self) -> UnixSeconds:
        return UnixSeconds(self.unix)

    def boot_seconds(self) -> Boot:
        return Boot(self.boot)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.forward(seconds)

    def forward(self, seconds: float) -> None:
        self.unix += seconds
        self.boot += seconds


class FakeEntropy:
    """Counts instead of drawing."""

    def __init__(self) -> None:
        self.count = 0

    def draw(self) -> float:
        return 0.5

    def bits63(self) -> int:
        self.count += 1
        return self.count

    def new_id(self) -> str:
        self.count += 1
        return f"{self.count:032x}"


class FakeObserver:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def saw(self, *events: Event) -> None:
        self.events.extend(events)

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


@dataclass
class FakeChain:
    """The part of the chain that people see: breakers, and what it can prove."""

    evidence: Evidence = Evidence.HASH
    reports: list[BreakerReport] = field(default_factory=list)
    forced: list[BreakerOverride] = field(default_factory=list)

    asked: FeeQuote | None = None  # what `quote` answers; None: the chain cannot be read
    replaced: frozenset[int] = frozenset()  # heights at which another block stands now
    silent: bool = False  # no endpoint answers

    async def headers(self, heights: Sequence[Height]) -> Sequence[Header | None]:
        if self.silent:
            raise Transient("no endpoint answers")
        return [
            Header(height=height, block_hash=BlockHash(f"{height + (height in self.replaced):064x}"))
            for height in heights
        ]

    async def quote(self) -> FeeQuote:
        if self.asked is None:
            raise Transient("no endpoint answers")
        return self.asked

    def breakers(self) -> Sequence[BreakerReport]:
        return self.reports

    def force(self, overrides: Sequence[BreakerOverride]) -> None:
        self.forced = list(overrides)

    async def heed(self, read: Callable[[], Awaitable[Sequence[BreakerOverride]]]) -> None:
        self.force(await read())


@dataclass
class FakeSigner:
    """Takes a person's word that intents are void, unless told to refuse."""

    confirmed: list[IntentId] = field(default_factory=list)
    refuses: set[IntentId] = field(default_factory=set)
    to_fill: list[tuple[AccountId, tuple[Nonce, ...]]] = field(default_factory=list)
    imported: list[Binding] = field(default_factory=list)
    bound: dict[AccountId, Marks] = field(default_factory=dict)
    forgot: set[AccountId] = field(default_factory=set)
    excepted: tuple[tuple[Nonce, ...], tuple[bytes, ...]] = ((), ())  # nonces and keys of the last import

    async def marks(self) -> Mapping[AccountId, Marks]:
        return self.bound

    async def recall(self, sealed: Mapping[AccountId, Marks]) -> Sequence[AccountId]:
        del sealed
        return sorted(self.forgot)

    async def adopt(
        self,
        account: AccountId,
        bindings: Sequence[Binding],
        *,
        by: Approval,
        give_up: bool = False,
        beyond_policy: Collection[Nonce] = (),
        old_keys: Collection[bytes] = (),
    ) -> None:
        del by, give_up
        self.excepted = (tuple(beyond_policy), tuple(old_keys))
        self.imported += bindings
        self.forgot.discard(account)

    async def confirm_fill(self, account: AccountId, nonces: Sequence[Nonce], *, by: Approval) -> None:
        del by
        self.to_fill.append((account, tuple(nonces)))

    async def confirm_void(self, intents: Sequence[IntentId], *, by: Approval) -> Rows[IntentId]:
        del by
        rows: list[IntentId | NotWritten] = []
        for row, intent in enumerate(intents):
            if intent in self.refuses:
                rows.append(NotWritten(row=row, reason="unknown", detail="the signer never bound it"))
            else:
                self.confirmed.append(intent)
                rows.append(intent)
        return rows


def breaker(
    endpoint: str = "node-a",
    call_class: CallClass = CallClass.SEND,
    state: BreakerState = BreakerState.CLOSED,
    mode: BreakerMode = BreakerMode.AUTO,
    transitions: int = 0,
) -> BreakerReport:
    return BreakerReport(
        endpoint=Endpoint(endpoint),
        call_class=call_class,
        state=state,
        mode=mode,
        failures=0,
        successes=0,
        rejections=0,
        transitions=transitions,
    )


HEALTHY = Vitals(
    started=True,
    stopping=False,
    task_alive=True,
    poll_seconds=5.0,
    last_tick_age_seconds=1.0,
    last_success_age_seconds=1.0,
    last_error=None,
    store_failing=False,
    reported_height=Height(1_300),
    believed_height=Height(1_300),
    chain_age_seconds=1.0,
    loop_fed_age_seconds=0.1,
    compared=True,
)
AT = Moment(
    unix=NOW,
    boot=Boot(1_000.0),
    believed=Height(1_300),
    settled=Epoch(10),
    seen=Epoch(10),
    evidence=Evidence.HASH,
)


class FakeEngine:
    """A running executor that does nothing until `on_wake` is set."""

    def __init__(self) -> None:
        self.wakes = 0
        self.halted: set[AccountId] = set()
        self.at: Moment | None = AT
        self.state: Vitals = HEALTHY
        self.held: dict[AccountId, Lease] = {
            TREASURY: Lease(account=TREASURY, incarnation=Incarnation("me"), term=Term(3))
        }
        self.on_wake: Any = None
        self.last_tick: Snapshot | None = None

    def wake(self) -> None:
        self.wakes += 1
        if self.on_wake is not None:
            self.on_wake()

    def halt(self, account: AccountId) -> None:
        self.halted.add(account)

    def moment(self) -> Moment | None:
        return self.at

    def leads(self) -> Mapping[AccountId, Lease]:
        return self.held

    def picture(self) -> Snapshot | None:
        return self.last_tick

    def vitals(self) -> Vitals:
        return self.state


class FakeDesk:
    """The store as people see it, in memory. `broken` makes every verb fail as a storage error does."""

    def __init__(self) -> None:
        self.items: dict[DisbursementId, Disbursement] = {}
        self.bound: dict[DisbursementId, list[Intent]] = {}
        self.taken: dict[DisbursementId, list[Vote]] = {}
        self.requests: dict[str, tuple[str, list[DisbursementId]]] = {}
        self.batches: dict[str, dict[int, Submission]] = {}
        self.account_rows: list[Account] = [Account(id=TREASURY, next_nonce=Nonce(1))]
        self.lease_seen: list[LeaseSeen] = [lease_row()]
        self.chain = ChainState(
            chain_id=1, believed=Height(1_300), settled_height=Height(1_288), settled=Epoch(10)
        )
        self.events: list[BalanceEvent] = []
        self.forced: dict[tuple[str, CallClass], BreakerOverride] = {}
        self.last = Snapshot(last_tick_at=NOW, last_success_at=NOW)
        self.announced: list[tuple[AccountId, BaseUnits]] = []
        self.burned: list[Nonce] = []
        self.thawed_for: list[FreezeCause | None] = []
        self.filled: list[tuple[AccountId, tuple[Nonce, ...], BaseUnits]] = []
        self.unfillable: set[Nonce] = set()
        self.report: dict[str, Any] = {}
        self.standing: dict[AccountId, Standing] = {}
        self.sealed_rows: tuple[Binding, ...] = ()
        self.by: list[Approval] = []
        self.held_for_person = 0
        self.deep_at = Height(0)  # from which believed height on an ambiguous intent may be judged
        self.broken = False

    def put(self, item: Disbursement) -> Disbursement:
        self.items[item.id] = item
        return item

    def _check(self) -> None:
        if self.broken:
            raise Corrupt("disk I/O error")

    # --- submitting -------------------------------------------------------------------------------------

    async def submit(self, request: Submission, *, now: UnixSeconds) -> Submitted:
        self._check()
        for key in (request.key, *request.also):
            known = self.requests.get(key)
            if known is not None:
                if known[0] != request.request_digest:
                    raise Rejected(
                        f"the idempotency key {key} belongs to another request", kind=Refusal.CONFLICT
                    )
                return Submitted(items=tuple(self.items[item] for item in known[1]), repeated=True)
        stored = self._store(request.items, now)
        self.requests[request.key] = (request.request_digest, [item.id for item in stored])
        return Submitted(items=tuple(stored), repeated=False)

    def _store(self, new: Sequence[NewDisbursement], now: UnixSeconds) -> list[Disbursement]:
        first = max(self.items, default=0) + 1
        refs = {item.ref: DisbursementId(first + row) for row, item in enumerate(new) if item.ref}
        for row, item in enumerate(new):
            for dependency in item.depends_on:
                if dependency not in self.items:
                    raise Rejected(
                        f"items[{row}].depends_on: disbursement {dependency} does not exist",
                        field=f"items[{row}].depends_on",
                    )
        stored = []
        for row, item in enumerate(new):
            depends_on = tuple(sorted({*item.depends_on, *(refs[ref] for ref in item.depends_on_refs)}))
            found = Disbursement(
                id=DisbursementId(first + row),
                account=item.account,
                destination=item.destination,
                amount=item.amount,
                memo=item.memo,
                scheduled_epoch=item.scheduled_epoch,
                depends_on=depends_on,
                expected_receipts=item.expected_receipts,
                proposal=item.proposal,
                idempotency_key=item.idempotency_key,
                request_digest=item.request_digest,
                payload_digest=payload_digest(item, depends_on),
                created_at=now,
                status_at=now,
            )
            stored.append(self.put(found))
        return stored

    async def open_batch(self, name: str, *, now: UnixSeconds, expires_seconds: float) -> None:
        self._check()
        if name not in self.requests:  # one that was sealed stays as it is
            self.batches.setdefault(name, {})

    async def add_part(self, name: str, part: int, request: Submission, *, now: UnixSeconds) -> int:
        self._check()
        if name in self.requests:
            return len(self.requests[name][1])
        if name not in self.batches:
            raise Rejected(f"there is no open batch {name}", kind=Refusal.NOT_FOUND)
        self.batches[name][part] = request
        return sum(len(found.items) for found in self.batches[name].values())

    async def seal_batch(self, name: str, *, parts: int, now: UnixSeconds) -> Submitted:
        self._check()
        if name in self.requests:
            ids = self.requests[name][1]
            return Submitted(items=tuple(self.items[item] for item in ids), repeated=True)
        if name not in self.batches:
            raise Rejected(f"there is no open batch {name}", kind=Refusal.NOT_FOUND)
        found = self.batches[name]
        if sorted(found) != list(range(1, parts + 1)):
            raise Rejected(
                f"the batch {name} has parts {sorted(found)}, not 1 to {parts}", kind=Refusal.CONFLICT
            )
        stored = self._store([item for part in sorted(found) for item in found[part].items], now)
        self.requests[name] = ("", [item.id for item in stored])
        del self.batches[name]
        return Submitted(items=tuple(stored), repeated=False)

    # --- people's words ---------------------------------------------------------------------------------

    async def take_vote(self, vote: Vote, *, now: UnixSeconds) -> Event:
        self._check()
        votes = self.taken.setdefault(vote.disbursement_id, [])
        if any(old.key == vote.key and old.counter >= vote.counter for old in votes):
            raise Rejected("the counter was used before", field="counter", kind=Refusal.CONFLICT)
        votes.append(vote)
        return Event(kind=EventKind.VOTED, ids=(vote.disbursement_id,))

    async def cancel(self, ids: Sequence[DisbursementId], *, by: Approval) -> Rows[Event]:
        self._check()
        self.by.append(by)
        return [self._cancel_one(row, item, by) for row, item in enumerate(ids)]

    def _cancel_one(self, row: int, item: DisbursementId, by: Approval) -> Event | NotWritten:
        found = self.items.get(item)
        if found is None:
            return NotWritten(row=row, reason="missing", detail=f"disbursement {item} not found")
        if found.status in {Status.EXECUTED, Status.FINALIZED, Status.ROLLED_BACK}:
            return NotWritten(
                row=row, reason=str(found.status), detail=f"disbursement {item} is {found.status}"
            )
        if found.live_intent is not None:
            self.put(replace(found, cancel_requested=by.reason))
            return Event(kind=EventKind.CANCEL_REQUESTED, ids=(item,))
        self.put(replace(found, status=Status.ROLLED_BACK, reason=by.reason, rolled_back_at=by.at))
        return Event(kind=EventKind.ROLLED_BACK, ids=(item,))

    async def rollback(self, item: DisbursementId, *, by: Approval) -> Event:
        self._check()
        found = self.items[item]
        if found.status is not Status.EXECUTED:
            raise Rejected(f"disbursement {item} is {found.status}", kind=Refusal.CONFLICT)
        self.put(
            replace(
                found,
                status=Status.ROLLED_BACK,
                reason=by.reason,
                rolled_back_at=by.at,
                prior_tx=found.tx_hash,
            )
        )
        return Event(kind=EventKind.ROLLED_BACK, ids=(item,))

    async def release(self, ids: Sequence[DisbursementId], *, by: Approval) -> Rows[Event]:
        self._check()
        for item in ids:
            self.put(replace(self.items[item], hold=None, hold_detail=""))
        return [Event(kind=EventKind.RELEASED, ids=(item,)) for item in ids]

    async def judgeable(self, ids: Sequence[DisbursementId], *, believed: Height) -> Rows[IntentId]:
        self._check()
        found: list[IntentId | NotWritten] = []
        for row, item in enumerate(ids):
            open_ones = [one for one in self.bound.get(item, []) if one.state is State.AMBIGUOUS]
            if not open_ones:
                found.append(NotWritten(row=row, reason="not_ambiguous"))
            elif believed < self.deep_at:
                found.append(NotWritten(row=row, reason="not_deep", detail="can be judged later"))
            else:
                found.append(open_ones[0].id)
        return found

    async def resolve(
        self, ids: Sequence[DisbursementId], *, paid: bool, by: Approval, believed: Height
    ) -> Rows[Event]:
        self._check()
        state = State.FINAL if paid else State.VOID
        for item in ids:
            self.bound[item] = [replace(intent, state=state) for intent in self.bound[item]]
        return [Event(kind=EventKind.RESOLVED, ids=(item,)) for item in ids]

    async def reopen(self, item: DisbursementId, *, by: Approval) -> Event:
        self._check()
        self.put(replace(self.items[item], status=Status.TIMELOCKED))
        return Event(kind=EventKind.REOPENED, ids=(item,))

    async def freeze(self, account: AccountId, *, by: Approval) -> Event:
        self._check()
        self.by.append(by)
        return Event(kind=EventKind.ACCOUNT_FROZEN, account=account)

    async def thaw(
        self, account: AccountId, *, by: Approval, burned: Nonce, only: FreezeCause | None = None
    ) -> Event:
        self._check()
        self.thawed_for.append(only)
        self.burned.append(burned)
        return Event(kind=EventKind.ACCOUNT_THAWED, account=account)

    async def fillable(self, account: AccountId, nonces: Sequence[Nonce]) -> None:
        self._check()
        if self.unfillable.intersection(nonces):
            raise Rejected(f"{account}: a live payment holds it", field="nonces", kind=Refusal.CONFLICT)

    async def fill(
        self, account: AccountId, nonces: Sequence[Nonce], *, fee: BaseUnits, by: Approval
    ) -> Event:
        self._check()
        self.by.append(by)
        self.filled.append((account, tuple(nonces), fee))
        return Event(kind=EventKind.FILL_ORDERED, account=account, count=len(nonces))

    async def quarantine_report(self) -> Mapping[str, Any]:
        return self.report

    async def in_quarantine(self, account: AccountId, *, signer: Nonce, signer_lost: bool) -> Standing:
        found = self.standing.get(account)
        if found is None:
            raise Rejected(f"{account} is active, not in quarantine", kind=Refusal.CONFLICT)
        return replace(found, mark=Nonce(max(signer, found.mark)), signer_lost=signer_lost)

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
        del lineage
        now = await self.in_quarantine(account, signer=signer, signer_lost=signer_lost)
        points = open_points(now, give_up=give_up)
        if points:
            raise Rejected("; ".join(points), kind=Refusal.CONFLICT)
        self.by.append(by)
        del self.standing[account]
        return Event(kind=EventKind.ACCOUNT_THAWED, account=account, detail=f"next nonce {next_nonce(now)}")

    async def declare_restored(self, *, by: Approval) -> Sequence[Event]:
        self.by.append(by)
        return [Event(kind=EventKind.ACCOUNT_QUARANTINED, account=row.id) for row in self.account_rows]

    async def fill_unknown(self, account: AccountId, *, fee: BaseUnits, by: Approval) -> Event:
        self.by.append(by)
        self.filled.append((account, self.standing[account].unknown, fee))
        return Event(kind=EventKind.FILL_ORDERED, account=account)

    async def sealed(self, account: AccountId, after: IntentId, *, limit: int) -> SealedPage:
        del account, limit
        return (
            SealedPage(bindings=(), last=None)
            if after
            else SealedPage(bindings=self.sealed_rows, last=IntentId(1))
        )

    async def sealed_marks(self, accounts: Sequence[AccountId]) -> Mapping[AccountId, Marks]:
        return {account: Marks() for account in accounts}

    async def released_void(self, account: AccountId) -> Sequence[IntentId]:
        del account
        return []

    async def announce(self, account: AccountId, amount: BaseUnits, *, by: Approval) -> Event:
        self._check()
        self.announced.append((account, amount))
        return Event(kind=EventKind.DEPOSIT_ANNOUNCED, account=account, amount=amount)

    async def force_breaker(self, override: BreakerOverride) -> Event:
        self._check()
        self.forced[override.endpoint, override.call_class] = override
        return Event(kind=EventKind.BREAKER_FORCED)

    async def overrides(self) -> Sequence[BreakerOverride]:
        self._check()
        return list(self.forced.values())

    # --- reading ----------------------------------------------------------------------------------------

    async def get(self, ids: Sequence[DisbursementId]) -> Sequence[Disbursement | None]:
        self._check()
        return [self.items.get(item) for item in ids]

    async def find(self, where: Filter) -> Page:
        self._check()
        found = [item for item in reversed(self.items.values()) if _matches(item, where)]
        page = found[: where.limit]
        return Page(items=tuple(page), next_cursor=page[-1].id if len(found) > where.limit else None)

    async def waiting(self, *, cursor: DisbursementId | None, limit: int) -> Page:
        self._check()
        below = float("inf") if cursor is None else cursor
        held = [item for item in reversed(self.items.values()) if item.hold is not None and item.id < below]
        return Page(items=tuple(held[:limit]), next_cursor=held[limit - 1].id if len(held) > limit else None)

    async def votes(self, item: DisbursementId) -> Sequence[Vote]:
        self._check()
        return self.taken.get(item, [])

    async def intents(self, item: DisbursementId) -> Sequence[Intent]:
        self._check()
        return self.bound.get(item, [])

    async def dependents(self, item: DisbursementId, *, limit: int) -> Sequence[tuple[DisbursementId, int]]:
        self._check()
        return [(other.id, 1) for other in self.items.values() if item in other.depends_on][:limit]

    async def accounts(self) -> Sequence[Account]:
        self._check()
        return self.account_rows

    async def lease_rows(self) -> Sequence[LeaseSeen]:
        self._check()
        return self.lease_seen

    async def chain_state(self) -> ChainState:
        self._check()
        return self.chain

    async def history(
        self, account: AccountId | None, *, cursor: int | None, limit: int
    ) -> Sequence[BalanceEvent]:
        self._check()
        found = [
            event
            for event in reversed(self.events)
            if (account is None or event.account == account) and (cursor is None or event.id < cursor)
        ]
        return found[:limit]

    async def snapshot(self) -> Snapshot:
        self._check()
        return self.last

    async def facts(self) -> StoreFacts:
        self._check()
        counts = dict.fromkeys(Status, 0)
        for item in self.items.values():
            counts[item.status] += 1
        return StoreFacts(
            sqlite_version="3.51.3",
            journal_mode="wal",
            schema_version=1,
            lineage="0" * 32,
            counts=counts,
            held_for_person=self.held_for_person,
        )

    async def meters(self, accounts: Sequence[AccountId]) -> Meters:
        facts = await self.facts()
        return Meters(
            counts=facts.counts,
            held={},
            accounts=tuple(AccountMeters(id=account) for account in accounts),
            oldest_payable_at=None,
            snapshot=self.last,
            kill_switch=False,
            journal_head=0,
            copy=None,
            size_bytes=0,
            free_bytes=0,
            sqlite_version=facts.sqlite_version,
            journal_mode=facts.journal_mode,
            schema_version=facts.schema_version,
        )


def _matches(item: Disbursement, where: Filter) -> bool:
    return (
        (not where.statuses or item.status in where.statuses)
        and (where.destination is None or item.destination == where.destination)
        and (where.account is None or item.account == where.account)
        and (where.cursor is None or item.id < where.cursor)
        and (where.min_amount is None or item.amount >= where.min_amount)
        and (where.max_amount is None or item.amount <= where.max_amount)
        and (where.min_epoch is None or item.scheduled_epoch >= where.min_epoch)
        and (where.max_epoch is None or item.scheduled_epoch <= where.max_epoch)
    )


def lease_row(account: AccountId = TREASURY) -> LeaseSeen:
    return LeaseSeen(
        account=account,
        holder="treasuryd@a",
        incarnation=Incarnation("me"),
        machine="m",
        folder="f",
        term=Term(3),
        beat=7,
        released=False,
    )


@dataclass
class FakeWorld:
    """An office over fakes, with each fake at hand."""

    rules: Rules = field(default_factory=lambda: Rules(allow_treasury_initiated=True))
    desk: FakeDesk = field(default_factory=FakeDesk)
    engine: FakeEngine = field(default_factory=FakeEngine)
    clock: FakeClock = field(default_factory=FakeClock)
    entropy: FakeEntropy = field(default_factory=FakeEntropy)
    observer: FakeObserver = field(default_factory=FakeObserver)
    chain: FakeChain = field(default_factory=lambda: FakeChain(reports=[breaker()]))
    signer: FakeSigner = field(default_factory=FakeSigner)

    def office(self) -> Office:
        world = World(
            store=cast("Store", None),  # commands never speak to the executor's port
            desk=self.desk,
            chain=cast("Chain", self.chain),
            signer=cast("Signer", self.signer),
            clock=cast("Clock", self.clock),
            entropy=cast("Entropy", self.entropy),
            observer=self.observer,
        )
        return Office(world=world, engine=self.engine, rules=self.rules, accounts=(TREASURY,), chain_id=1)


def disbursement(number: int = 1, **changes: Any) -> Disbursement:
    """One disbursement to start a test from."""
    base = Disbursement(
        id=DisbursementId(number),
        account=TREASURY,
        destination=cast("Any", PAYEE),
        amount=BaseUnits(1_000),
        memo="rent",
        scheduled_epoch=Epoch(1),
        created_at=NOW,
        status_at=NOW,
    )
    item = replace(base, **changes)
    return replace(item, payload_digest=payload_digest(item))
