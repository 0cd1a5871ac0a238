"""One tick: look at the world once, settle what is open, decide, perform, report (protocol.md §4)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from treasuryd.core import agreement, confirmation, epochs, planner, submission
from treasuryd.core.changes import BlockBuried, ChainMoved, Change, FinalizeDue, FrozenNow
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.freezing import freezes
from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    BlockHash,
    BootSeconds,
    ChainState,
    Evidence,
    FeeQuote,
    Frame,
    FreezeCause,
    Held,
    Intent,
    Meaning,
    Moment,
    Nonce,
    Rules,
    View,
)
from treasuryd.errors import Disputed, Transient
from treasuryd.executor import perform
from treasuryd.executor.grip import Grip
from treasuryd.executor.mind import Mind
from treasuryd.ports import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """What a tick needs to know of the chain's rules and the voters, as plain functions handed in by `main`."""

    price: Callable[[FeeQuote, AccountId, Address, str], BaseUnits | None]
    highest_base_fee: confirmation.BaseFeeRule
    approved: planner.Approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one tick did; the log line, the snapshot and the tests are renderings of it."""

    at: Moment
    settled: int = 0  # changes that were seen or advanced
    staged: int = 0
    sealed: int = 0
    sent: int = 0
    more: bool = False  # work remains: tick again at once
    in_flight: int = 0
    last_nonce: Nonce | None = None  # the highest that was sent in this tick
    events: tuple[Event, ...] = ()
    waiting: dict[str, int] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nothing left and nothing happened that is worth a line: a chain that only grew is not."""
        quiet = all(event.severity is Severity.DEBUG for event in self.events)
        return quiet and not (self.staged or self.sealed or self.sent)


async def tick(world: World, rules: Rules, trade: Trade, mind: Mind, held: Held) -> Report:
    """
    Serve all accounts held, once.

    Raises: Transient when the chain cannot be read at all; Fenced when no lease is ours any more; Corrupt when the
        store failed, which ends the process. Guarantees: a crash anywhere in it is answered by the next tick; an
        account that was lost in between falls out alone.
    """
    grip = Grip(world=world, mind=mind, began_with=held)
    mind.halted.clear()  # before the store is read: whatever was frozen until now, the view shows
    at, view, changes = await look(grip, rules)
    mind.at = at
    settled, sure = await settle(grip, rules, trade, view, at)
    changes += settled
    view = planner.carry(view, changes)
    at = await _priced(grip, view, at if sure else replace(at, frame=None))
    plan = planner.decide(view, at, rules, pricing=_pricing(trade, at))
    changes += [*plan.changes, *_finalize(mind, at, view, held, changes)]
    await grip.record(changes, at)
    finalized = any(event.kind is EventKind.FINALIZED for event in grip.events)

    staged, refused = await perform.stage(grip, plan.drafts, at=at)
    sealed = await perform.sign(grip, [*plan.sign, *staged])
    due = planner.sendable(_newest(sealed, plan.send), view, at, rules)
    sent = await perform.send(grip, due)
    await grip.record([*refused, *sent], at)

    _page_late_heads(grip, view, at, rules)
    mind.waiting = plan.waiting
    mind.least_fee = plan.least_fee
    mind.batch = planner.next_batch(mind.batch, view, at, rules)
    work = view.more or plan.changes or finalized or len(due) > len(sent)
    return Report(
        at=at,
        settled=len(changes),
        staged=len(staged),
        sealed=len(sealed),
        sent=len(sent),
        more=bool(work) and grip.done > 0,
        in_flight=sum(view.unburned.values()) + len(staged),
        last_nonce=max((intent.nonce for intent in due), default=None) if sent else None,
        events=tuple(grip.events),
        waiting={hold.value: count for hold, count in plan.waiting.items()},
    )


# --- look --------------------------------------------------------------------------------------------------


async def look(grip: Grip, rules: Rules) -> tuple[Moment, View, list[Change]]:
    """Read the world once: heads, then one frame, then the store (protocol.md §4.2)."""
    world, held, size = grip.world, grip.held(), grip.mind.batch or rules.batch_min
    stored = await world.store.chain_state()
    chain, moment, wrong = await _heads(grip, stored, rules)
    if wrong is None:
        frame = await _frame(grip, moment, rules, size)
        if frame is not None and frame.height > moment.believed:
            # a block came in between: a second look at the heads says whether it is to be believed (R16)
            chain, moment, wrong = await _heads(grip, chain, rules)
        if frame is not None and frame.height <= moment.believed and wrong is None:
            moment = replace(moment, frame=frame)
    changes: list[Change] = []
    if wrong is None and chain != stored:
        changes.append(ChainMoved(account=next(iter(held.leases)), chain=chain))
    view = await world.store.view(held, at=moment, limit=size)
    if wrong is not None:
        changes += [
            _wrong_chain(account.id, stored, wrong)
            for account in view.accounts
            if freezes(account, FreezeCause.WRONG_CHAIN)
        ]
    return moment, view, changes


async def _heads(grip: Grip, stored: ChainState, rules: Rules) -> tuple[ChainState, Moment, BlockHash | None]:
    """
    Read all heads, and say what is believed after it.

    Of another chain nothing is believed: epochs and heights stay as they were stored (R15).
    """
    world, mind = grip.world, grip.mind
    heads = await world.chain.heads()
    unix, boot = world.clock.unix_seconds(), world.clock.boot_seconds()
    wrong = epochs.wrong_genesis(stored, heads)
    chain, belief = epochs.believe(
        stored, heads if wrong is None else (), mind.belief, unix=unix, boot=boot, rules=rules
    )
    mind.belief = belief
    _tell_unbelieved(grip, belief, rules, boot)
    seen = agreement.compare(
        mind.agreement, heads if wrong is None else (), believed=belief.believed, boot=boot, rules=rules
    )
    _note_agreement(grip, seen, rules)
    moment = Moment(
        unix=unix,
        boot=boot,
        believed=chain.believed,
        lowest=belief.lowest,
        settled=chain.settled,
        seen=belief.seen,
        evidence=world.chain.evidence,
        least_fee=mind.least_fee,
    )
    return chain, moment, wrong


async def _frame(grip: Grip, at: Moment, rules: Rules, size: int) -> Frame | None:
    """Read one frame of all addresses that matter now; None where the chain is empty or kept moving."""
    if at.believed == 0:
        return None  # an empty chain waits
    world, held = grip.world, grip.held()
    ids = [Address(account) for account in held.leases]
    ids += [rules.sink_of(account) for account in held.leases]
    if at.evidence is Evidence.BALANCE:
        ids += await world.store.watched(held, settled=at.settled, limit=size)
    try:
        return await world.chain.frame(tuple(dict.fromkeys(ids)))
    except Transient as problem:
        grip.tell(_call_failed("frame", problem))
        if isinstance(problem, Disputed):
            _note_dispute(grip, problem.message, at, rules)
        return None


def _wrong_chain(account: AccountId, stored: ChainState, found: BlockHash) -> FrozenNow:
    return FrozenNow(
        account=account,
        cause=FreezeCause.WRONG_CHAIN,
        detail=f"header 0 is {found}, pinned is {stored.genesis} (protocol.md R15)",
    )


def _tell_unbelieved(grip: Grip, belief: epochs.Belief, rules: Rules, now: BootSeconds) -> None:
    if belief.excess > 0:
        seconds = belief.excess_seconds(now)
        persists = seconds > rules.head_max_age_seconds
        grip.tell(
            Event(
                kind=EventKind.HEAD_NOT_BELIEVED,
                severity=Severity.PAGE if persists else Severity.WARNING,
                fields={"reported": belief.reported, "excess": belief.excess, "seconds": round(seconds, 1)},
            )
        )


def _note_agreement(grip: Grip, now: agreement.Agreement, rules: Rules) -> None:
    """Keep it for health and metrics; it decides nothing."""
    grip.tell(*agreement.news(grip.mind.agreement, now, rules))
    grip.mind.agreement = now


def _note_dispute(grip: Grip, about: str | None, at: Moment, rules: Rules) -> None:
    """Keep what endpoints contradict each other about (R9), or that they do not."""
    found = agreement.dispute(grip.mind.agreement, about, height=at.believed, boot=at.boot)
    _note_agreement(grip, found, rules)


# --- settle ------------------------------------------------------------------------------------------------


async def settle(grip: Grip, rules: Rules, trade: Trade, view: View, at: Moment) -> tuple[list[Change], bool]:
    """
    Hold every open intent against the chain before anything new is begun (protocol.md §4.3).

    Returns: what follows, and whether the chain answered, also for what our first nonce stands on (R2): when it did not,
    nothing new is begun in this tick.
    """
    if at.frame is None:
        return [], False
    asks = confirmation.asks(view, at, rules)
    try:
        sightings = await grip.world.chain.sightings(asks.lookups) if asks.lookups else ()
        heights = confirmation.heights(asks, sightings, at, rules)
        headers = await grip.world.chain.headers(heights) if heights else ()
    except Transient as problem:
        grip.tell(_call_failed("settle", problem))
        return [], False
    alone = next((one for one in sightings if one.doubted and one.variant is not None), None)
    about = (
        f"not enough of them show intent {alone.intent_id} in the block at height {alone.height}"
        if alone
        else None
    )
    _note_dispute(grip, about, at, rules)
    unknown = [height for height, header in zip(heights, headers, strict=True) if header is None]
    _note_agreement(grip, agreement.doubt(grip.mind.agreement, unknown, boot=at.boot), rules)
    verdict = confirmation.settle(
        view,
        at,
        sightings=sightings,
        headers=dict(zip(heights, headers, strict=True)),
        rules=rules,
        highest_base_fee=trade.highest_base_fee,
    )
    grip.tell(*verdict.events)
    await perform.ask_signer(grip, verdict.ask_signer, view.unsealed)
    return list(verdict.changes), verdict.rooted


# --- decide and report -------------------------------------------------------------------------------------


async def _priced(grip: Grip, view: View, at: Moment) -> Moment:
    """Ask for a quote only when something would be priced."""
    to_price = view.candidates or view.cancelling or view.resend or view.unsent
    refused = any(
        intent.current().last_meaning is Meaning.FEE_TOO_LOW for intent in view.oldest_sent.values()
    )
    if at.frame is None or view.kill_switch or not (to_price or refused):
        return at
    try:
        return replace(at, quote=await grip.world.chain.quote())
    except Transient as problem:
        grip.tell(_call_failed("quote", problem))
        return at


def _pricing(trade: Trade, at: Moment) -> planner.Pricing:
    def price(account: AccountId, destination: Address, memo: str) -> BaseUnits | None:
        return None if at.quote is None else trade.price(at.quote, account, destination, memo)

    return planner.Pricing(price=price, approved=trade.approved)


def _finalize(mind: Mind, at: Moment, view: View, held: Held, changes: Iterable[Change]) -> list[Change]:
    """Look for items to finalize when the settled epoch rose, something became final, or the lease is a new one."""
    buried = {change.account for change in changes if isinstance(change, BlockBuried)}
    due: list[Change] = []
    for account in view.accounts:
        now = (held.leases[account.id].term, at.settled)
        if account.id in buried or mind.finalized_by.get(account.id) != now:
            mind.finalized_by[account.id] = now
            due.append(FinalizeDue(account=account.id, settled=at.settled))
    return due


def _page_late_heads(grip: Grip, view: View, at: Moment, rules: Rules) -> None:
    """Page for a head of line that waits too long (R8), once in `head_wait_seconds` for one nonce."""
    paged = grip.mind.paged
    for account, oldest in view.oldest_sent.items():
        before = paged.get(account)
        if before is not None and before[0] == oldest.id and at.boot - before[1] < rules.head_wait_seconds:
            continue
        pages = submission.head_is_late([oldest], at.unix, rules)
        if pages:
            paged[account] = (oldest.id, at.boot)
            grip.tell(*pages)


def _newest(sealed: Iterable[Intent], due: Iterable[Intent]) -> Iterable[Intent]:
    """What was sealed just now stands in for the same intent in the view."""
    fresh = {intent.id: intent for intent in sealed}
    return (*fresh.values(), *(intent for intent in due if intent.id not in fresh))


def _call_failed(reason: str, problem: Transient) -> Event:
    return Event(
        kind=EventKind.CALL_FAILED, severity=Severity.WARNING, reason=reason, detail=problem.message[:200]
    )
