"""One tick: look at the world once, settle what is open, decide, perform, report (protocol.md §4)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from treasuryd.core import confirmation, epochs, planner
from treasuryd.core.changes import BlockBuried, ChainMoved, Change, FinalizeDue, FrozenNow
from treasuryd.core.events import Event, EventKind, Severity
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
    Moment,
    Nonce,
    Rules,
    View,
)
from treasuryd.errors import Transient
from treasuryd.executor import perform
from treasuryd.executor.mind import Mind
from treasuryd.ports import Many, World


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

    Raises: Transient when the chain cannot be read at all; Fenced when the lease ran out in between; Corrupt when the
        store failed, which ends the process. Guarantees: a crash anywhere in it is answered by the next tick.
    """
    at, view, changes = await look(world, rules, mind, held)
    changes += await settle(world, rules, trade, view, at, held)
    view = planner.carry(view, changes)
    at = await _priced(world, view, at)
    plan = planner.decide(view, at, rules, pricing=_pricing(trade, at))
    changes += [*plan.changes, *_finalize(mind, at, view, changes)]
    events = await _record(world, changes, held, at)

    staged, refused = await perform.stage(world, plan.drafts, held, at=at) if plan.drafts else ([], [])
    sealed = await perform.sign(world, [*plan.sign, *staged], held)
    due = planner.sendable(_newest(sealed, plan.send), view, at, rules)
    sent = await perform.send(world, due, held)
    events += await _record(world, [*refused, *sent], held, at)

    mind.at, mind.waiting = at, plan.waiting
    return Report(
        at=at,
        settled=len(events),
        staged=len(staged),
        sealed=len(sealed),
        sent=len(sent),
        more=view.more or bool(plan.changes) or len(due) > len(sent),
        in_flight=sum(view.unburned.values()) + len(staged),
        last_nonce=max((intent.nonce for intent in due), default=None) if sent else None,
        events=tuple(events),
        waiting={hold.value: count for hold, count in plan.waiting.items()},
    )


# --- look --------------------------------------------------------------------------------------------------


async def look(world: World, rules: Rules, mind: Mind, held: Held) -> tuple[Moment, View, list[Change]]:
    """Read the world once: heads, then one frame, then the store (protocol.md §4.2)."""
    stored = await world.store.chain_state()
    heads = await world.chain.heads()
    unix, boot = world.clock.unix_seconds(), world.clock.boot_seconds()
    chain, belief = epochs.believe(stored, heads, mind.belief, unix=unix, boot=boot, rules=rules)
    mind.belief = belief
    _tell_unbelieved(world, belief, rules, boot)
    moment = Moment(
        unix=unix,
        boot=boot,
        believed=chain.believed,
        settled=chain.settled,
        seen=belief.seen,
        evidence=world.chain.evidence,
    )
    changes: list[Change] = []
    wrong = epochs.wrong_genesis(stored, heads)
    if wrong is not None:
        changes = [_wrong_chain(account, stored, wrong) for account in held.leases]
    else:
        moment = replace(moment, frame=await _frame(world, moment, rules, held))
        if chain != stored:
            changes = [ChainMoved(account=next(iter(held.leases)), chain=chain)]
    view = await world.store.view(held, at=moment, limit=rules.batch_max)
    return moment, view, changes


async def _frame(world: World, at: Moment, rules: Rules, held: Held) -> Frame | None:
    """
    Read one frame of all addresses that matter now; None where there is none that may be believed.

    A frame above the believed height is not used (R16): it would date what it shows into the future.
    """
    if at.believed == 0:
        return None  # an empty chain waits
    ids = [Address(account) for account in held.leases]
    ids += [rules.sink_of(account) for account in held.leases]
    if at.evidence is Evidence.BALANCE:
        ids += await world.store.watched(held, settled=at.settled, limit=rules.batch_max)
    try:
        frame = await world.chain.frame(tuple(dict.fromkeys(ids)))
    except Transient as problem:
        world.observer.saw(
            Event(kind=EventKind.CALL_FAILED, severity=Severity.WARNING, reason="frame", detail=str(problem))
        )
        return None
    return frame if frame.height <= at.believed else None


def _wrong_chain(account: AccountId, stored: ChainState, found: BlockHash) -> FrozenNow:
    return FrozenNow(
        account=account,
        cause=FreezeCause.WRONG_CHAIN,
        detail=f"header 0 is {found}, pinned is {stored.genesis} (protocol.md R15)",
    )


def _tell_unbelieved(world: World, belief: epochs.Belief, rules: Rules, now: BootSeconds) -> None:
    if belief.excess > 0:
        seconds = belief.excess_seconds(now)
        persists = seconds > rules.head_max_age_seconds
        world.observer.saw(
            Event(
                kind=EventKind.HEAD_NOT_BELIEVED,
                severity=Severity.PAGE if persists else Severity.WARNING,
                fields={"reported": belief.reported, "excess": belief.excess, "seconds": round(seconds, 1)},
            )
        )


# --- settle ------------------------------------------------------------------------------------------------


async def settle(
    world: World, rules: Rules, trade: Trade, view: View, at: Moment, held: Held
) -> list[Change]:
    """Hold every open intent against the chain before anything new is begun (protocol.md §4.3)."""
    if at.frame is None:
        return []
    asks = confirmation.asks(view, at, rules)
    sightings = await world.chain.sightings(asks.lookups) if asks.lookups else ()
    headers = await world.chain.headers(asks.heights) if asks.heights else ()
    verdict = confirmation.settle(
        view,
        at,
        sightings=sightings,
        headers=dict(zip(asks.heights, headers, strict=True)),
        rules=rules,
        highest_base_fee=trade.highest_base_fee,
    )
    world.observer.saw(*verdict.events)
    await perform.ask_signer(world, verdict.ask_signer, held)
    return list(verdict.changes)


# --- decide and record -------------------------------------------------------------------------------------


async def _priced(world: World, view: View, at: Moment) -> Moment:
    """Ask for a quote only when something would be priced."""
    if at.frame is None or not (view.candidates or view.cancelling or view.resend or view.unsent):
        return at
    try:
        return replace(at, quote=await world.chain.quote())
    except Transient as problem:
        world.observer.saw(
            Event(kind=EventKind.CALL_FAILED, severity=Severity.WARNING, reason="quote", detail=str(problem))
        )
        return at


def _pricing(trade: Trade, at: Moment) -> planner.Pricing:
    def price(account: AccountId, destination: Address, memo: str) -> BaseUnits | None:
        return None if at.quote is None else trade.price(at.quote, account, destination, memo)

    return planner.Pricing(price=price, approved=trade.approved)


def _finalize(mind: Mind, at: Moment, view: View, changes: Iterable[Change]) -> list[Change]:
    """Look for items to finalize when the settled epoch rose, or when something became final."""
    buried = {change.account for change in changes if isinstance(change, BlockBuried)}
    due = [account.id for account in view.accounts if account.id in buried or mind.finalized_by != at.settled]
    mind.finalized_by = at.settled
    return [FinalizeDue(account=account, settled=at.settled) for account in due]


async def _record(world: World, changes: Many[Change], held: Held, at: Moment) -> list[Event]:
    if not changes:
        return []
    perform.guard(world, held)
    recorded = await world.store.record(changes, held, at=at)
    world.observer.saw(*recorded.events)
    return list(recorded.events)


def _newest(sealed: Iterable[Intent], due: Iterable[Intent]) -> Iterable[Intent]:
    """What was sealed just now stands in for the same intent in the view."""
    fresh = {intent.id: intent for intent in sealed}
    return (*fresh.values(), *(intent for intent in due if intent.id not in fresh))
