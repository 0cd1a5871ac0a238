"""
The ports: everything that the driving code asks of the world, one protocol each. Read top-down, this is the architecture.

A verb takes a batch and answers one row per row, in order. What a port speaks of is defined in `core/`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from treasuryd.core.agreement import Agreement
from treasuryd.core.changes import Change
from treasuryd.core.events import Event
from treasuryd.core.model import (
    Account,
    AccountId,
    Address,
    Approval,
    BalanceEvent,
    BaseUnits,
    Binding,
    BootSeconds,
    BreakerOverride,
    BreakerReport,
    ChainState,
    Digest,
    Disbursement,
    DisbursementId,
    Draft,
    Epoch,
    Evidence,
    FeeQuote,
    Filter,
    Frame,
    FreezeCause,
    Head,
    Header,
    Height,
    Held,
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
    Owner,
    Page,
    Refused,
    Reply,
    Sighting,
    Signed,
    SignRequest,
    Snapshot,
    StoreFacts,
    Term,
    UnixSeconds,
    View,
    Vote,
)
from treasuryd.core.restore import Past, Reason, SealedPage, Standing, Witness

T = TypeVar("T")
Many: TypeAlias = Sequence[T]  # bounded by whoever builds it
Rows: TypeAlias = Sequence[T | NotWritten]  # one answer per row, in the order of the rows


def written(rows: Rows[T]) -> list[T]:
    """Keep the rows that were written (or vetted, or signed); what was not is a `NotWritten` or `Refused`."""
    return [row for row in rows if not isinstance(row, NotWritten)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a batch of changes came to: facts, many rows to one event, and the changes that were not written."""

    events: tuple[Event, ...] = ()
    unwritten: tuple[NotWritten, ...] = ()  # `row` is the place in the batch


class Store(Protocol):
    """
    What we intend and what came of it, for the executor. A verb takes a batch, is one transaction, durable on return.

    Guarantees: a row whose account has a newer term than `held` comes back NotWritten, and is not.
    Does not guarantee: that a verb which raised wrote nothing. The caller reads again, by key.
    Raises: Corrupt on every storage error: the process ends (protocol.md §7); Transient only where the file stayed
        locked by another process beyond the busy timeout and nothing was written.
    """

    # ownership: watch term and beat; take over with term + 1; release once the workers have stopped
    async def leases(self, accounts: Many[AccountId]) -> Many[LeaseSeen]:
        """Read (and create where missing) the lease rows, in the order asked."""
        ...

    async def claim(
        self, silent: Many[LeaseSeen], me: Owner, *, above: Mapping[AccountId, Term]
    ) -> Rows[Lease]:
        """Take each lease if (term, beat) still read as seen: term = max(stored, above) + 1 (§6.1)."""
        ...

    async def renew(self, held: Held) -> Many[Lease]:
        """Raise the beats in one statement; a lease missing from the answer is lost (§6.2)."""
        ...

    async def release(self, held: Held) -> None:
        """Mark our leases released, so that they are taken at once (§6.7)."""
        ...

    # the pipeline: one consistent read; check, then number; add signed bytes; compare-and-set
    async def chain_state(self) -> ChainState:
        """What is pinned and believed of the chain."""
        ...

    async def sealed_marks(self, accounts: Many[AccountId]) -> Mapping[AccountId, Marks]:
        """The highest nonce, disbursement and term whose bytes this store has sealed: the signer knows no less (R11)."""
        ...

    async def watched(self, held: Held, *, settled: Epoch, limit: int) -> Many[Address]:
        """Destinations of the open intents and of the next candidates: what a frame must show (§5.1)."""
        ...

    async def view(self, held: Held, *, at: Moment, limit: int) -> View:
        """
        Read what a tick decides from; every list at most `limit` rows per account, so that none starves another.

        Candidates leave out what only a person, a limit or funds can change (stored holds, amounts above
        `rules.max_transfer` or above the account's balance in the frame less what is promised), and accounts that
        are not active: nothing unaffordable stands before the affordable (D8).
        """
        ...

    async def stage(self, drafts: Many[Draft], held: Held, *, at: Moment) -> Rows[Intent]:
        """Check again inside (R10), number from our table (R2), bind; one row that fails falls out alone."""
        ...

    async def unstage(self, refused: Many[Refused], held: Held) -> "Recorded":
        """Void staged rows that the signer will never bind (R5 c): nonces return, the first is held `refused`."""
        ...

    async def seal(self, signed: Many[Signed], held: Held) -> Rows[Intent]:
        """Store the exact bytes of staged variants; answers the intents with all their variants, ready to send."""
        ...

    async def may_send(self, held: Held) -> frozenset[AccountId]:
        """
        The fence as a reading: accounts that are ours and that nobody, in whatever process, has stopped (R13, R14).

        None of them while the kill switch is on (§7).
        """
        ...

    async def record(self, changes: Many[Change], held: Held, *, at: Moment) -> "Recorded":
        """Write what was seen and decided, each change by compare-and-set; a change that changes nothing is silent."""
        ...

    async def note(self, snapshot: Snapshot) -> None:
        """Keep the executor's last tick for people."""
        ...

    # a store that may be older than the world (§8): found, unfenced; repaired, by whoever holds the lease
    async def past(self, told: Mapping[AccountId, Witness]) -> Past:
        """What the store says of its own past; `told` is what the signer was told of it, read before."""
        ...

    async def quarantine(self, reasons: Many[Reason]) -> None:
        """Quarantine every account of the store, whoever holds it, and turn the kill switch on."""
        ...

    async def unsigned(self, account: AccountId) -> Many[Intent]:
        """Staged intents."""
        ...

    async def take_back(self, intents: Many[IntentId], held: Held) -> None:
        """Void staged intents that the signer promised never to bind."""
        ...

    async def lowest_open(self, account: AccountId) -> Nonce:
        """Below it everything is settled here."""
        ...

    async def adopt(self, bindings: Many[Binding], judged: Collection[IntentId], held: Held) -> None:
        """Take in what the signer bound: broadcast, whatever stood here; `judged` are void by a person's word."""
        ...

    async def taken_up(self, account: AccountId, marks: Marks, held: Held) -> None:
        """End the repair: numbering lies above the signer's marks; what may be missing is held `restored`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """
    One request of new disbursements: its idempotency key (or its digest), its canonical digest, its items.

    `also` are further keys under which the same request may stand already: one that stands there is this one, or a clash.
    """

    key: str
    request_digest: Digest
    items: tuple[NewDisbursement, ...]
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The answer to a submission: the stored rows in input order; `repeated` when the same request came before."""

    items: tuple[Disbursement, ...]
    repeated: bool


class Desk(Protocol):
    """
    What people ask for and read: unfenced, compare-and-set on the row (R13); works while no executor runs.

    Every command is one transaction with its journal entry, and the journal's outside copy is synced before it
    returns. Raises Rejected (with a kind) where the request cannot be; Corrupt on storage errors.
    """

    async def submit(self, request: Submission, *, now: UnixSeconds) -> Submitted:
        """
        Store all items or none. Same key and digest: the first answer again; same key, other digest: CONFLICT.

        Resolves refs to ids, checks that dependencies exist (§2), computes each payload digest.
        """
        ...

    # long files: a named batch in parts, invisible until it is sealed whole; an unsealed one expires
    async def open_batch(self, name: str, *, now: UnixSeconds, expires_seconds: float) -> None: ...
    async def add_part(self, name: str, part: int, request: Submission, *, now: UnixSeconds) -> int: ...
    async def seal_batch(self, name: str, *, parts: int, now: UnixSeconds) -> Submitted: ...

    async def take_vote(self, vote: Vote, *, now: UnixSeconds) -> Event:
        """Store a verified vote; a lower or equal counter of the same key is a CONFLICT."""
        ...

    async def cancel(self, ids: Many[DisbursementId], *, by: Approval) -> Rows[Event]:
        """Roll back what has no live intent, durably request it where there is one (§2, R7)."""
        ...

    async def rollback(self, item: DisbursementId, *, by: Approval) -> Event:
        """Roll back an executed item whose intent is final and whose rollback window is open; moves no money."""
        ...

    async def release(self, ids: Many[DisbursementId], *, by: Approval) -> Rows[Event]:
        """End a stored hold (the signer was told first, R11)."""
        ...

    async def judgeable(self, ids: Many[DisbursementId], *, believed: Height) -> Rows[IntentId]:
        """Which ambiguous intents `resolve` would judge now: asked before the signer is told (R11)."""
        ...

    async def resolve(
        self, ids: Many[DisbursementId], *, paid: bool, by: Approval, believed: Height
    ) -> Rows[Event]:
        """Judge ambiguous intents at depth k: paid (executed, evidence PERSON) or void (R5 d)."""
        ...

    async def reopen(self, item: DisbursementId, *, by: Approval) -> Event:
        """A finalized item that a deep reorg lost: its intent is broadcast again, same bytes (§2, R9)."""
        ...

    async def fillable(self, account: AccountId, nonces: Many[Nonce]) -> None:
        """Refuse (Rejected) what `fill` would refuse: asked before the signer is told (R11)."""
        ...

    async def fill(self, account: AccountId, nonces: Many[Nonce], *, fee: BaseUnits, by: Approval) -> Event:
        """
        Stage a filler for each of these nonces, which pay nobody any more (R9, §8): one unit to the account's sink.

        `fee` is a cancellation's price now. One whose filler is under way already is left as it is.
        """
        ...

    async def freeze(self, account: AccountId, *, by: Approval) -> Event: ...
    async def thaw(
        self, account: AccountId, *, by: Approval, burned: Nonce, only: FreezeCause | None = None
    ) -> Event:
        """
        Refused while a foreign nonce is not yet burned, and where it is not frozen for `only` (R14).

        `burned` is the count burned at finality.
        """
        ...

    # leaving a quarantine (§8): by a person, once everything is decided
    async def quarantine_report(self) -> Mapping[str, Any]:
        """What was found, adopted and held, as the last quarantine wrote it; empty where there was none."""
        ...

    async def in_quarantine(self, account: AccountId, *, signer: Nonce, signer_lost: bool) -> Standing:
        """What has to be decided before an account leaves quarantine; Rejected where it is in none."""
        ...

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
        """
        The account acts again; Rejected (CONFLICT) with the open points until there are none.

        Args: give_up: another store that the signer served is lost for good; what it may have paid is held.
        """
        ...

    async def declare_restored(self, *, by: Approval) -> Many[Event]:
        """A person says that this store is an old one: every account is quarantined."""
        ...

    async def fill_unknown(self, account: AccountId, *, fee: BaseUnits, by: Approval) -> Event:
        """Stage fillers for the nonces whose bytes are lost (§8.4); the signer was told first."""
        ...

    async def sealed(self, account: AccountId, after: IntentId, *, limit: int) -> SealedPage:
        """What was ever sealed, by intent id: what a signer takes in that lost its memory (R11)."""
        ...

    async def sealed_marks(self, accounts: Many[AccountId]) -> Mapping[AccountId, Marks]:
        """As `Store.sealed_marks`."""
        ...

    async def released_void(self, account: AccountId) -> Many[IntentId]:
        """Void intents that a person released."""
        ...

    async def announce(self, account: AccountId, amount: BaseUnits, *, by: Approval) -> Event: ...
    async def force_breaker(self, override: BreakerOverride) -> Event: ...
    async def overrides(self) -> Many[BreakerOverride]: ...

    # reading
    async def get(self, ids: Many[DisbursementId]) -> Many[Disbursement | None]: ...
    async def find(self, where: Filter) -> Page: ...
    async def waiting(self, *, cursor: DisbursementId | None, limit: int) -> Page:
        """What waits for a person: stored holds, and ambiguous intents (shown as that hold); ids below the cursor."""
        ...

    async def votes(self, item: DisbursementId) -> Many[Vote]: ...
    async def intents(self, item: DisbursementId) -> Many[Intent]:
        """All intents ever bound to a disbursement, oldest first, with their variants (without bytes)."""
        ...

    async def dependents(self, item: DisbursementId, *, limit: int) -> Many[tuple[DisbursementId, int]]:
        """Direct and transitive dependents, as (id, distance), nearest first."""
        ...

    async def accounts(self) -> Many[Account]: ...
    async def lease_rows(self) -> Many[LeaseSeen]: ...
    async def chain_state(self) -> ChainState: ...
    async def history(
        self, account: AccountId | None, *, cursor: int | None, limit: int
    ) -> Many[BalanceEvent]:
        """Balance events, newest first, ids below `cursor`."""
        ...

    async def snapshot(self) -> Snapshot: ...
    async def facts(self) -> StoreFacts: ...
    async def meters(self, accounts: Many[AccountId]) -> Meters:
        """What metrics say of the store, and of these accounts."""
        ...


class Chain(Protocol):
    """
    A node or several. Answers come in the order asked; one bad item never raises for the batch.

    Guarantees: no send starts after `until`. Does not guarantee: that "accepted" is ever included.
    Raises: Transient when it cannot be read at all (breaker open, timeouts, no agreement).
    """

    @property
    def evidence(self) -> Evidence:
        """HASH where every endpoint has look-up, else BALANCE (protocol.md §5.1)."""
        ...

    async def heads(self) -> Many[Head]:
        """One per endpoint that answered; raises Transient when none did. Genesis is compared each time."""
        ...

    async def headers(self, heights: Many[Height]) -> Many[Header | None]:
        """Is what we saw still there? None where no such block is known or endpoints disagree (R9)."""
        ...

    async def frame(self, ids: Many[Address]) -> Frame:
        """One moment of the chain, that no other endpoint contradicts (R9); Transient when it kept moving."""
        ...

    async def quote(self) -> FeeQuote: ...

    async def broadcast(self, sealed: Many[Intent], *, until: BootSeconds) -> Many[Reply]:
        """Send each intent's `current()` variant, as stored (R3)."""
        ...

    async def sightings(self, sent: Many[Intent]) -> Many[Sighting]:
        """Look each up by the hashes of its sealed variants; empty where there is no look-up; `doubted`: too few agree."""
        ...

    def new_heads(self) -> AsyncIterator[Head]:
        """Wake-ups, never a source of truth."""
        ...

    def breakers(self) -> Many[BreakerReport]:
        """All breakers as they stand at this moment."""
        ...

    def force(self, overrides: Many[BreakerOverride]) -> None:
        """Apply people's words; the last one per breaker counts. Endpoint `*` means all."""
        ...

    async def heed(self, read: Callable[[], Awaitable[Many[BreakerOverride]]]) -> None:
        """Read people's words and apply them, one reading after the other: an older one never undoes a newer."""
        ...


class Signer(Protocol):
    """Binds disbursement and nonce to one digest, for ever: same request, same bytes (R11)."""

    async def vet(self, drafts: Many[Draft]) -> Rows[Draft]:
        """The policy alone; binds nothing."""
        ...

    async def sign(self, requests: Many[SignRequest], held: Held) -> Rows[Signed]:
        """Sign an account's rows in nonce order, up to the first Refused and all behind it."""
        ...

    async def marks(self) -> Mapping[AccountId, Marks]: ...

    async def recall(self, sealed: Mapping[AccountId, Marks]) -> Many[AccountId]:
        """
        Hold its marks against what the store has sealed; answers the accounts whose memory is behind (R11, §8).

        Such an account signs and attests nothing, across restarts too, until `adopt` has reached what was sealed.
        """
        ...

    async def bindings(self, account: AccountId, *, first: Nonce, limit: int) -> Many[Binding]:
        """What is bound from nonce `first` on, in nonce order."""
        ...

    async def never_bound(self, intents: Many[IntentId]) -> Many[bool]:
        """For each intent: True when it was refused for good and never signed (R5 c)."""
        ...

    async def abandon(self, intents: Many[Intent]) -> Many[bool]:
        """Promise never to bind those that are not bound: a stored refusal, for good. Answers as `never_bound`."""
        ...

    # a person's word, repeatable without harm: the first is void; remember these again (R11, §8)
    async def confirm_void(self, intents: Many[IntentId], *, by: Approval) -> Rows[IntentId]: ...
    async def confirm_fill(self, account: AccountId, nonces: Many[Nonce], *, by: Approval) -> None:
        """These nonces pay nobody any more: fillers are signed under them, and nothing else ever (R9, §8)."""
        ...

    async def adopt(
        self,
        account: AccountId,
        bindings: Many[Binding],
        *,
        by: Approval,
        give_up: bool = False,
        beyond_policy: Collection[Nonce] = (),
        old_keys: Collection[bytes] = (),
    ) -> None:
        """
        `give_up`: what is missing beyond these bindings is lost for good (§8.4).

        Only bytes under the account's own key that policy allows are believed, but for the nonces and keys named.
        """
        ...

    async def judged_void(self, intents: Many[IntentId]) -> Many[bool]:
        """Which of these a person declared void."""
        ...

    # what the store tells of itself, so that an old copy of it is recognised (§8)
    async def told(self) -> Mapping[AccountId, Witness]:
        """What it was last told."""
        ...

    async def tell(self, news: Mapping[AccountId, Witness]) -> None:
        """Remember the newest heads of the store's journal."""
        ...


class Clock(Protocol):
    """Time, injected: the simulator brings its own."""

    def unix_seconds(self) -> UnixSeconds:
        """Wall time: for records and people."""
        ...

    def boot_seconds(self) -> BootSeconds:
        """Never steps back, runs on in sleep."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Entropy(Protocol):
    """Chance, injected."""

    def draw(self) -> float:
        """A number in [0, 1)."""
        ...

    def bits63(self) -> int:
        """63 random bits, for replay nonces."""
        ...

    def new_id(self) -> str:
        """A fresh random id: 32 lower-case hex digits."""
        ...


class Observer(Protocol):
    """Is told of events; never blocks, never raises."""

    def saw(self, *events: Event) -> None: ...


Spawn: TypeAlias = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], None]  # name, task


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One of each port: what the driving code is handed."""

    store: Store
    desk: Desk
    chain: Chain
    signer: Signer
    clock: Clock
    entropy: Entropy
    observer: Observer


class Engine(Protocol):
    """What the running executor shows to web and commands; a plain object on the same loop."""

    def wake(self) -> None:
        """Tick now: something was submitted, or the head moved."""
        ...

    def halt(self, account: AccountId) -> None:
        """Sign and send nothing more of an account in the tick under way: it was just frozen."""
        ...

    def moment(self) -> Moment | None:
        """The epochs and heights of the last tick that read the chain; None before the first."""
        ...

    def leads(self) -> Mapping[AccountId, Lease]:
        """Leases surely ours at this moment."""
        ...

    def picture(self) -> Snapshot | None:
        """This process's own last tick, fresher than the stored one; None where it does not tick (a standby)."""
        ...

    def vitals(self) -> "Vitals":
        """What the health verdicts are made from."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The executor's own state of health at one moment; times by the boot clock."""

    started: bool
    stopping: bool
    task_alive: bool
    poll_seconds: float
    last_tick_age_seconds: float | None  # since the last finished tick (a standby's look counts)
    last_success_age_seconds: float | None
    last_error: str | None
    store_failing: bool
    reported_height: Height | None  # highest that any endpoint claims
    believed_height: Height | None
    chain_age_seconds: float | None  # since the believed head last rose
    loop_fed_age_seconds: float  # since the event loop last fed the watchdog
    agreement: Agreement | None = None  # of the nodes' heads, as the last tick saw it; None: we do not lead
    signer_waits: str = ""  # why the signer signs nothing until a person acts (R11)
    compared: bool  # whether the store was held against the signer's memory since this process opened it (§8)
    lease_left_seconds: float = 0.0  # how long what `leads` answers holds from now on; 0: nothing is held


Wake: TypeAlias = Callable[[], Awaitable[None]]
