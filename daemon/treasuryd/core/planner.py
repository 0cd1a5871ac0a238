"""
decide(view, …) → Plan: what this tick advances, stages, signs, cancels, bumps and sends, oldest work first.

Pure and synchronous. The plan is performed in the order of its fields; every item of it is checked again where it is
written (protocol.md R10), so a plan that has grown stale costs time and never money.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from treasuryd.core import proposals, restore, staging, submission
from treasuryd.core.changes import (
    Adopted,
    Advanced,
    BaselineMoved,
    Burned,
    Change,
    FrozenNow,
    HoldSet,
    Rewound,
    Seen,
    Unproven,
    VariantStaged,
)
from treasuryd.core.confirmation import first_send_allowed
from treasuryd.core.eligibility import Surroundings, worldly_hold
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    BaseUnits,
    Disbursement,
    DisbursementId,
    Draft,
    Epoch,
    Evidence,
    Hold,
    Intent,
    Meaning,
    Moment,
    Nonce,
    Rules,
    State,
    Status,
    VariantKind,
    View,
    Vote,
)

Price = Callable[[AccountId, Address, str], BaseUnits | None]
"""Fee of one transaction from an account to a destination with a memo; None when it is above the ceiling."""

Approved = Callable[[Disbursement, tuple[Vote, ...]], bool]
"""
Whether the votes taken in time, their signatures verified anew, reach the quorum of both houses; without a proposal,
whether the policy allows that today.
"""

NO_FEE: Final = BaseUnits(0)
NO_PROPOSAL: Final = (
    "it has no proposal, and the policy does not allow that (governance.allow_treasury_initiated is false): cancel it, "
    "or, if it was meant to be paid without a vote, put the setting back and start again"
)
UNTIL_THE_NEXT_BLOCK: Final = frozenset(
    {Meaning.PENDING_LIMIT, Meaning.POOL_FULL, Meaning.NONCE_GAP, Meaning.REPLAYED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """What the planner asks of the fee quote and the votes, as plain functions."""

    price: Price
    approved: Approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one tick will do. `waiting` says why candidates that nothing is wrong with are not staged now."""

    changes: tuple[Change, ...] = ()  # lifecycle, holds, new variants: recorded before anything else
    drafts: tuple[Draft, ...] = ()  # to vet and stage
    sign: tuple[Intent, ...] = ()  # staged earlier, bytes missing
    send: tuple[Intent, ...] = ()  # due to go out: never sent, or due again; `sendable` has the last word
    waiting: Mapping[Hold, int] = field(default_factory=dict)
    least_fee: BaseUnits = NO_FEE  # the cheapest price of a candidate; 0 where none was priced


def decide(view: View, at: Moment, rules: Rules, *, pricing: Pricing) -> Plan:
    """
    Decide one tick from one view, after the view's consumed intents were settled.

    Guarantees: nothing of a frozen, quarantined or withdrawn account is staged, signed or sent, nothing at all while
        the kill switch is on, nothing at or below the count that baseline or frame show (R14), nothing new behind a
        staged intent whose nonce is consumed (R5 c); per account at most `rules.max_unburned` nonces above that count
        are in flight. Does not guarantee: that a row is still as the view
        says; the store checks inside each transaction.
    """
    acting, sending = _acting(view), _sending(view)
    returning = _returning(view, at)
    holds, drafts, waiting, least_fee = _stage(view, at, rules, acting, returning, pricing)
    return Plan(
        changes=(
            *_advance(view.advancing, view.votes, at, rules, pricing),
            *holds,
            *_variants(view, at, rules, acting, pricing),
        ),
        drafts=drafts,
        sign=tuple(
            intent
            for intent in view.unsealed
            if _may_be_signed(intent, acting, sending)
            and intent.nonce > _count(sending[intent.account], at)
            and not (intent.state is State.STAGED and intent.account in returning)
        ),
        send=tuple(_due(view, at, rules)),
        waiting=waiting,
        least_fee=least_fee,
    )


def next_batch(size: int, view: View, at: Moment, rules: Rules) -> int:
    """
    Say how many rows per list the next tick reads: twice as many while a list is cut, half while none is half full.

    Guarantees: between `rules.batch_min` and `rules.batch_max`; without look-up never fewer than the nonces that one
        interval holds or may hold, since an interval is judged whole (§5.1).
    """
    lists = (view.candidates, view.advancing, view.consumed, view.unsealed, view.unsent, view.resend)
    longest = max(len(rows) for rows in lists)
    wanted = 2 * size if view.more else size // 2 if longest <= size // 2 else size
    chosen = max(rules.batch_min, min(rules.batch_max, wanted))
    if at.evidence is not Evidence.BALANCE:
        return chosen
    # after a rewind one interval holds the nonces of several windows: of as many as there are blocks that may be replaced
    interval = max((interval.consumed for interval in view.intervals.values()), default=0)
    most = max(rules.batch_max, (rules.finality_depth + 1) * rules.max_unburned)
    return max(chosen, rules.max_unburned, min(most, interval))


def _acting(view: View) -> dict[AccountId, Account]:
    """Name the accounts that may act: none while the kill switch is on."""
    if view.kill_switch:
        return {}
    return {account.id: account for account in view.accounts if account.state is AccountState.ACTIVE}


def _sending(view: View) -> dict[AccountId, Account]:
    """Name the accounts whose bytes may leave: those that act, and those in quarantine whose bindings were adopted (§8)."""
    if view.kill_switch:
        return {}
    return _acting(view) | {account.id: account for account in view.accounts if restore.resends(account)}


def _may_be_signed(
    intent: Intent, acting: Mapping[AccountId, Account], sending: Mapping[AccountId, Account]
) -> bool:
    """In quarantine fillers alone are signed (§8.4)."""
    return intent.account in acting or (intent.account in sending and intent.disbursement_id is None)


def _returning(view: View, at: Moment) -> frozenset[AccountId]:
    """
    Name the accounts that have a staged intent under a consumed nonce (R5 c).

    Such a nonce comes back from the end of the sequence alone: bytes behind it would keep it there for ever.
    """
    counts = {account.id: _count(account, at) for account in view.accounts}
    return frozenset(
        intent.account
        for intent in view.unsealed
        if intent.state is State.STAGED
        and intent.account in counts  # else it was withdrawn in this tick
        and intent.nonce <= counts[intent.account]
    )


def _count(account: Account, at: Moment) -> Nonce:
    """Say up to which nonce the chain has consumed, by the baseline or by the frame of this tick."""
    shown = [
        frame.holdings.get(Address(account.id)) for frame in (account.baseline, at.frame) if frame is not None
    ]
    return max((holding.nonce for holding in shown if holding is not None), default=Nonce(0))


# --- ② stage -----------------------------------------------------------------------------------------------


def _stage(
    view: View,
    at: Moment,
    rules: Rules,
    acting: Mapping[AccountId, Account],
    returning: Container[AccountId],
    pricing: Pricing,
) -> tuple[list[Change], tuple[Draft, ...], dict[Hold, int], BaseUnits]:
    """
    Choose which candidates become drafts; an approval that no longer holds is written down.

    Places and funds that an earlier draft takes are gone for the later ones; what cannot be paid takes neither (D8).
    """
    holds: list[Change] = []
    drafts: list[Draft] = []
    waiting: Counter[Hold] = Counter()
    room = {
        account.id: rules.max_unburned - view.unburned.get(account.id, 0)
        if _rooted(account, at, rules) and account.id not in returning
        else 0
        for account in acting.values()
    }
    funds = {account: _funds(at, account) for account in acting}
    around = Surroundings(
        account_states={account.id: account.state for account in view.accounts},
        led=frozenset(account.id for account in view.accounts),
        kill_switch=view.kill_switch,
        reachable=at.frame is not None and at.quote is not None,
        room=room,
        funds=funds,
        fee=None,
    )
    at_fee = {around.fee: around}  # few sizes, few fees
    for item in view.candidates:
        if item.account not in around.led:
            continue  # its account was withdrawn in this tick
        fee = pricing.price(item.account, item.destination, item.memo) if around.reachable else None
        if fee not in at_fee:
            at_fee[fee] = replace(around, fee=fee)
        hold = worldly_hold(item, at_fee[fee])
        lost = _approval_lost(item, view, pricing) if hold is None else ""
        if lost:
            hold = Hold.APPROVAL_LOST
            holds.append(HoldSet(account=item.account, disbursement_id=item.id, hold=hold, detail=lost))
        if hold is not None or fee is None:
            waiting[hold or Hold.FEE_ABOVE_CEILING] += 1
            continue
        room[item.account] -= 1
        funds[item.account] = BaseUnits(funds[item.account] - item.amount - fee)
        drafts.append(staging.draft(item, fee=fee))
    least_fee = min((fee for fee in at_fee if fee is not None), default=NO_FEE)
    return holds, tuple(drafts), dict(waiting), least_fee


def _rooted(account: Account, at: Moment, rules: Rules) -> bool:
    """
    Whether our first nonce may follow on those that the chain had consumed when it was adopted (R2).

    Until they are burned a reorg may take them: a gap below ours would stay open for ever, for they are not ours to fill.
    """
    count = _count(account, at)
    if account.high_water > 0 or count == 0:
        return True
    shown = at.frame.holdings.get(Address(account.id)) if at.frame else None
    if (shown.nonce if shown else 0) < count:
        return False  # the chain takes back what the first nonce would follow on (R9)
    lowest = at.believed if at.lowest is None else at.lowest
    frames = account.kept if account.baseline is None else (*account.kept, account.baseline)
    return any(frame.height <= lowest - rules.finality_depth for frame in frames)


def _approval_lost(item: Disbursement, view: View, pricing: Pricing) -> str:
    """
    Say why an item is not approved as it stands; empty when it is.

    What was approved is the digest, so the content is digested anew: a row that was changed by hand in the database
    pays nobody. The votes, counted anew, must still carry it; without a proposal the policy of today must allow it (§2),
    whatever it was when the item became payable: an item that lost its proposal in the database looks no different.
    """
    if staging.payload_digest(item) != item.payload_digest:
        return "its stored content is not what was submitted and approved: the digest differs"
    if pricing.approved(item, view.votes.get(item.id, ())):
        return ""
    return NO_PROPOSAL if item.proposal is None else "the recount of the stored votes is below the quorum"


def _funds(at: Moment, account: AccountId) -> BaseUnits:
    """Balance of the account in the frame; what is already promised is deducted inside the staging transaction."""
    holding = at.frame.holdings.get(Address(account)) if at.frame else None
    return holding.balance if holding else BaseUnits(0)


# --- ① advance ---------------------------------------------------------------------------------------------


def _advance(
    items: Iterable[Disbursement],
    votes: Mapping[DisbursementId, tuple[Vote, ...]],
    at: Moment,
    rules: Rules,
    pricing: Pricing,
) -> Iterator[Change]:
    """Move what epochs move: what opens counts from the seen epoch, what ends ends by the settled one (§2)."""
    for item in items:
        change: Change
        match item.status:
            case Status.DRAFT if item.proposal is not None:
                if at.believed == 0:
                    continue  # in which epoch the chain is, nobody has seen yet: the window would be over at once
                change = _open_vote(item, at, rules)
            case Status.DRAFT if rules.allow_treasury_initiated:
                change = Advanced(
                    account=item.account,
                    disbursement_id=item.id,
                    was=Status.DRAFT,
                    to=Status.TIMELOCKED,
                    ready_epoch=item.scheduled_epoch,
                )
            case Status.DRAFT:
                change = HoldSet(
                    account=item.account,
                    disbursement_id=item.id,
                    hold=Hold.APPROVAL_LOST,
                    detail=NO_PROPOSAL,
                )
            case Status.VOTING if _reached(item.vote_deadline_epoch, at):
                change = _close_vote(
                    item, passed=pricing.approved(item, votes.get(item.id, ())), at=at, rules=rules
                )
            case Status.QUEUED if _reached(item.activation_epoch, at):
                change = Advanced(
                    account=item.account,
                    disbursement_id=item.id,
                    was=Status.QUEUED,
                    to=Status.TIMELOCKED,
                    ready_epoch=item.activation_epoch,
                )
            case _:
                continue
        yield change


def _reached(epoch: Epoch | None, at: Moment) -> bool:
    return epoch is not None and at.settled >= epoch


def _open_vote(item: Disbursement, at: Moment, rules: Rules) -> Change:
    window = proposals.windows(item.proposal, rules).vote
    return Advanced(
        account=item.account,
        disbursement_id=item.id,
        was=Status.DRAFT,
        to=Status.VOTING,
        vote_deadline_epoch=Epoch(at.seen + window),
        weights=proposals.weights(rules),
    )


def _close_vote(item: Disbursement, *, passed: bool, at: Moment, rules: Rules) -> Change:
    if not passed:
        return Advanced(
            account=item.account,
            disbursement_id=item.id,
            was=Status.VOTING,
            to=Status.ROLLED_BACK,
            reason="quorum_not_reached",
        )
    timelock = proposals.windows(item.proposal, rules).timelock
    return Advanced(
        account=item.account,
        disbursement_id=item.id,
        was=Status.VOTING,
        to=Status.QUEUED,
        activation_epoch=Epoch(at.seen + timelock),
    )


# --- ③ further variants: cancels, bumps, poison --------------------------------------------------------------


def _variants(
    view: View, at: Moment, rules: Rules, acting: Mapping[AccountId, Account], pricing: Pricing
) -> Iterator[Change]:
    """Order one more variant where a person asked for a cancel, the content is poison, or the price rose (R6-R8)."""
    alive = [
        intent
        for intent in _in_line((*view.unsent, *view.resend, *view.oldest_sent.values()))
        if intent.account in acting and intent.nonce > _count(acting[intent.account], at)
    ]
    asked = {intent.id for intent in view.cancelling}
    poison = [intent for intent in alive if intent.id not in asked and submission.poisoned(intent, rules)]
    yield from (_poisoned(intent) for intent in poison)
    yield from _cancels(_in_line((*view.cancelling, *poison)), view, at, rules, acting, pricing)
    replaced = asked | {intent.id for intent in poison}
    refused = {intent.account for intent in alive if _refused_for_its_fee(intent)}
    for intent in alive:
        if intent.id in replaced or _unsealed(intent):
            continue
        wanted = _price_now(intent, rules, pricing)
        fee = submission.due_for_bump(intent, at.unix, rules, wanted=wanted)
        if fee is None and intent.account in refused and intent.sent_at is None:
            # a nonce of this account was refused for its fee: what was priced with it would be, too
            fee = wanted if wanted is not None and wanted > intent.current().fee else None
        if fee is not None:
            yield _variant(intent, intent.current().kind, fee)


def _cancels(
    wanted: Iterable[Intent],
    view: View,
    at: Moment,
    rules: Rules,
    acting: Mapping[AccountId, Account],
    pricing: Pricing,
) -> Iterator[Change]:
    """
    Order cancel variants, the lowest nonce first; without look-up one per account at a time (R7).

    But for a lower nonce that no pool holds: its payment may not leave any more, and the one that has two payloads waits
    for it. Two in one interval can leave doubt, never a wrong verdict.
    """
    doubled = _doubled(view) if at.evidence is Evidence.BALANCE else {}
    for intent in wanted:
        account = acting.get(intent.account)
        if account is None or intent.nonce <= _count(account, at):
            continue
        other = doubled.get(intent.account)
        if other is not None and (intent.nonce > other or _pooled(intent)):
            continue
        fee = pricing.price(intent.account, rules.sink_of(intent.account), "")
        if fee is None:
            continue
        if at.evidence is Evidence.BALANCE:
            doubled[intent.account] = intent.nonce
        dearest = max(variant.fee for variant in intent.variants)
        yield _variant(intent, VariantKind.CANCEL, BaseUnits(max(fee, dearest)))


def _poisoned(intent: Intent) -> HoldSet:
    """Hold what every endpoint refuses for its content; its nonce is replaced at the same time (R8)."""
    assert intent.disbursement_id is not None  # a filler has no payment that could be refused
    return HoldSet(
        account=intent.account,
        disbursement_id=intent.disbursement_id,
        hold=Hold.POISONED,
        detail=f"its content was refused {intent.refusals} times",
    )


def _price_now(intent: Intent, rules: Rules, pricing: Pricing) -> BaseUnits | None:
    """What a transaction like the current variant costs now; None above the ceiling."""
    if intent.current().kind is VariantKind.CANCEL:
        return pricing.price(intent.account, rules.sink_of(intent.account), "")
    return pricing.price(intent.account, intent.destination, intent.memo)


def _refused_for_its_fee(intent: Intent) -> bool:
    return not _pooled(intent) and intent.current().last_meaning is Meaning.FEE_TOO_LOW


def _variant(intent: Intent, kind: VariantKind, fee: BaseUnits) -> VariantStaged:
    number = max(variant.number for variant in intent.variants) + 1
    return VariantStaged(account=intent.account, intent_id=intent.id, number=number, kind=kind, fee=fee)


def _unsealed(intent: Intent) -> bool:
    return any(variant.tx_hash is None for variant in intent.variants)


def _pooled(intent: Intent) -> bool:
    """Whether some pool may hold one of its variants."""
    return any(variant.pooled for variant in intent.variants)


def _in_line(intents: Iterable[Intent]) -> list[Intent]:
    """Each intent once, the first copy of it; account by account in nonce order."""
    found: dict[int, Intent] = {}
    for intent in intents:
        found.setdefault(intent.id, intent)
    return sorted(found.values(), key=lambda intent: (intent.account, intent.nonce))


def _doubled(view: View) -> dict[AccountId, Nonce]:
    """
    Name per account the lowest nonce that has two payloads out, or may soon (R7).

    A sealed payment counts as out although no sending of it is recorded: a crash may have come in between.
    """
    lowest: dict[AccountId, Nonce] = {}
    for intent in (*view.unsealed, *view.unsent, *view.resend, *view.oldest_sent.values()):
        kinds = {variant.kind for variant in intent.variants}
        if len(kinds) > 1:
            lowest[intent.account] = min(intent.nonce, lowest.get(intent.account, intent.nonce))
    return lowest


# --- ③ send ------------------------------------------------------------------------------------------------


def _due(view: View, at: Moment, rules: Rules) -> Iterator[Intent]:
    """What was never sent, and what is due again."""
    yield from view.unsent
    unsent = {intent.id for intent in view.unsent}
    for intent in view.resend:
        if intent.id not in unsent and (
            submission.due_for_resend(intent, at.unix, rules) or _waited_for_a_block(intent, view, at)
        ):
            yield intent


def _waited_for_a_block(intent: Intent, view: View, at: Moment) -> bool:
    """Whether it was turned away for what a block changes, and there was one since."""
    current = intent.current()
    return (
        current.tx_hash is not None
        and current.sent_at is not None
        and current.last_meaning in UNTIL_THE_NEXT_BLOCK
        # a rise in the future was seen before the wall clock was set back: it would call for a re-send in every tick
        and at.unix >= view.chain.risen_at > current.sent_at
    )


def sendable(due: Iterable[Intent], view: View, at: Moment, rules: Rules) -> tuple[Intent, ...]:
    """
    Name what may go out now of what is due, oldest unburned nonce first (R8), in the window that the endpoint takes.

    Guarantees: nothing of an account that does not act (but what was adopted in quarantine, §8.4), nothing while the
        kill switch is on, nothing at or below the chain's count (R14), nothing for the first time whose destination and
        sink do not stand in the baseline (§5.1),
        no payment whose cancel was asked for (R3), nothing behind a nonce that no pool can hold, and, without look-up,
        nothing behind a nonce that has two payloads out (R7).
    """
    if at.frame is None:
        return ()
    sending = _sending(view)
    leaving = {intent.id: intent for intent in due}
    known = (*leaving.values(), *view.unsealed, *view.unsent, *view.resend, *view.oldest_sent.values())
    lines: defaultdict[AccountId, list[Intent]] = defaultdict(list)
    for intent in _in_line(known):
        if intent.account in sending:
            lines[intent.account].append(intent)
    gates = _gates(view, at, rules)
    return tuple(
        intent
        for account, line in lines.items()
        for intent in _going(line, leaving.keys(), sending[account], at, rules, gates.get(account, _Gate()))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """What an account's cancels mean for its line: nothing passes `barrier`; `doubled` has two payloads out (R7)."""

    barrier: Nonce | None = None
    doubled: Nonce | None = None
    replaced: frozenset[int] = frozenset()  # intents whose payment is not wanted any more


def _gates(view: View, at: Moment, rules: Rules) -> dict[AccountId, _Gate]:
    doubled = _doubled(view) if at.evidence is Evidence.BALANCE else {}
    cancelling = {intent.id for intent in view.cancelling}
    asked: defaultdict[AccountId, list[Intent]] = defaultdict(list)
    for intent in _in_line((*view.cancelling, *view.unsent, *view.resend, *view.oldest_sent.values())):
        if intent.cancel_requested or submission.poisoned(intent, rules) or intent.id in cancelling:
            asked[intent.account].append(intent)
    gates: dict[AccountId, _Gate] = {}
    for account in doubled.keys() | asked.keys():
        nonces = [intent.nonce for intent in asked[account]] if at.evidence is Evidence.BALANCE else []
        nonces += [doubled[account]] if account in doubled else []
        gates[account] = _Gate(
            barrier=min(nonces, default=None),
            doubled=doubled.get(account),
            replaced=frozenset(intent.id for intent in asked[account]),
        )
    return gates


def _going(
    line: Iterable[Intent], leaving: Collection[int], account: Account, at: Moment, rules: Rules, gate: _Gate
) -> Iterator[Intent]:
    """Walk one account's line in nonce order, up to the first nonce that nothing can get past."""
    count = _count(account, at)
    for intent in line:
        if intent.nonce <= count:
            continue
        if intent.nonce > count + rules.max_unburned or (
            gate.barrier is not None and intent.nonce > gate.barrier
        ):
            return
        if intent.id in leaving and _may_leave(intent, account, at, rules, gate):
            yield intent
        elif not _pooled(intent):
            return  # what is behind it would only find a gap


def _may_leave(intent: Intent, account: Account, at: Moment, rules: Rules, gate: _Gate) -> bool:
    current = intent.current()
    if current.tx_hash is None or account.baseline is None:
        return False
    pays = current.kind is VariantKind.PAYMENT
    if pays and (intent.cancel_requested or intent.id in gate.replaced):
        # Its cancel variant goes alone (R3). But while a higher nonce has two payloads out it may have none (R7), and
        # that nonce waits for this one: what may be out already goes again.
        return _pooled(intent) and gate.doubled is not None and gate.doubled > intent.nonce
    first = intent.state in {State.STAGED, State.SIGNED} or (not pays and current.sent_at is None)
    return not first or first_send_allowed(intent, account.baseline, rules, at.evidence)


# --- what the settled part of this tick means for the rest of it ---------------------------------------------


def carry(view: View, changes: Iterable[Change]) -> View:
    """
    Give the view what this tick has just settled, so that it decides from it: baselines, freezes, withdrawn accounts.

    An account whose baseline was rewound acts on nothing more in this tick: its verdicts are open again.
    """
    accounts = {account.id: account for account in view.accounts}
    settled: set[int] = set()
    for change in changes:
        account = accounts.get(change.account)
        match change:
            case BaselineMoved() if account:
                accounts[account.id] = replace(account, baseline=change.frame)
            case Adopted() if account:
                accounts[account.id] = replace(
                    account, baseline=change.baseline, next_nonce=change.next_nonce
                )
            case FrozenNow() if account:
                accounts[account.id] = replace(account, state=AccountState.FROZEN, cause=change.cause)
            case Rewound():
                accounts.pop(change.account, None)
            case Seen() | Unproven() | Burned():
                settled.add(change.intent_id)
    return replace(
        view,
        accounts=tuple(accounts.values()),
        unsealed=_without(view.unsealed, settled),
        unsent=_without(view.unsent, settled),
        resend=_without(view.resend, settled),
        cancelling=_without(view.cancelling, settled),
        oldest_sent={
            account: intent for account, intent in view.oldest_sent.items() if intent.id not in settled
        },
    )


def _without(intents: Iterable[Intent], settled: Collection[int]) -> tuple[Intent, ...]:
    return tuple(intent for intent in intents if intent.id not in settled)
