"""
decide(view, …) → Plan: what this tick advances, stages, signs, cancels, bumps and sends, oldest work first.

Pure and synchronous. The plan is performed in the order of its fields; every item of it is checked again where it is
written (protocol.md R10), so a plan that has grown stale costs time and never money.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from treasuryd.core import proposals, submission
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
    Moment,
    Nonce,
    Rules,
    State,
    Status,
    Variant,
    VariantKind,
    View,
    Vote,
)

Price = Callable[[AccountId, Address, str], BaseUnits | None]
"""Fee of one transaction from an account to a destination with a memo; None when it is above the ceiling."""

Approved = Callable[[Disbursement, tuple[Vote, ...]], bool]
"""Whether the votes taken in time, their signatures verified anew, reach the quorum of both houses."""


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


def decide(view: View, at: Moment, rules: Rules, *, pricing: Pricing) -> Plan:
    """
    Decide one tick from one view, after the view's consumed intents were settled.

    Guarantees: nothing of a frozen or quarantined account is staged, signed or sent; per account at most
        `rules.max_unburned` nonces above the frame's count are in flight. Does not guarantee: that a row is still as
        the view says; the store checks inside each transaction.
    """
    acting = {account.id: account for account in view.accounts if account.state is AccountState.ACTIVE}
    staged, drafts, waiting = _stage(view, at, rules, acting, pricing)
    variants = tuple(_variants(view, at, rules, acting, pricing))
    return Plan(
        changes=(*_advance(view.advancing, view.votes, at, rules, pricing), *staged, *variants),
        drafts=drafts,
        sign=tuple(intent for intent in view.unsealed if intent.account in acting),
        send=tuple(_due(view, at, rules)),
        waiting=waiting,
    )


# --- ② stage -----------------------------------------------------------------------------------------------


def _stage(
    view: View, at: Moment, rules: Rules, acting: Mapping[AccountId, Account], pricing: Pricing
) -> tuple[list[Change], tuple[Draft, ...], dict[Hold, int]]:
    """Choose which candidates become drafts; an approval that no longer holds is written down."""
    holds: list[Change] = []
    drafts: list[Draft] = []
    waiting: Counter[Hold] = Counter()
    room = {account: rules.max_unburned - view.unburned.get(account, 0) for account in acting}
    around = Surroundings(
        account_states={account.id: account.state for account in view.accounts},
        led=frozenset(account.id for account in view.accounts),
        kill_switch=view.kill_switch,
        reachable=at.frame is not None and at.quote is not None,
        room=room,
        funds={account: _funds(at, account) for account in acting},
        fee=BaseUnits(0),
    )
    for item in view.candidates:
        fee = pricing.price(item.account, item.destination, item.memo) if around.reachable else None
        hold = worldly_hold(item, around) or (Hold.FEE_ABOVE_CEILING if fee is None else None)
        if (
            hold is None
            and item.proposal is not None
            and not pricing.approved(item, view.votes.get(item.id, ()))
        ):
            hold = Hold.APPROVAL_LOST
            holds.append(
                HoldSet(
                    account=item.account,
                    disbursement_id=item.id,
                    hold=hold,
                    detail="the recount of the stored votes is below the quorum",
                )
            )
        if hold is not None or fee is None:
            waiting[hold or Hold.FEE_ABOVE_CEILING] += 1
            continue
        room[item.account] -= 1
        drafts.append(_draft(item, fee))
    return holds, tuple(drafts), dict(waiting)


def _funds(at: Moment, account: AccountId) -> BaseUnits:
    """Balance of the account in the frame; what is already promised is deducted inside the staging transaction."""
    holding = at.frame.holdings.get(Address(account)) if at.frame else None
    return holding.balance if holding else BaseUnits(0)


def _draft(item: Disbursement, fee: BaseUnits) -> Draft:
    return Draft(
        disbursement_id=item.id,
        account=item.account,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        fee=fee,
        payload_digest=item.payload_digest,
        idempotency_key=item.idempotency_key,
    )


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
        change: Change | None = None
        match item.status:
            case Status.DRAFT if item.proposal is not None:
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
                    detail="the policy no longer allows disbursements without a proposal",
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
    """Order one more variant where a person asked for a cancel, the price rose, or the content is poison (R6-R8)."""
    # Without look-up at most one nonce per account has two payloads out (R7).
    undecided = _accounts_with_cancel_out(view)
    for intent in view.cancelling:
        if intent.account not in acting or (at.evidence is Evidence.BALANCE and intent.account in undecided):
            continue
        fee = pricing.price(intent.account, rules.sink_of(intent.account), "")
        if fee is not None:
            undecided.add(intent.account)
            dearest = max((variant.fee for variant in intent.variants), default=BaseUnits(0))
            yield _variant(intent, VariantKind.CANCEL, BaseUnits(max(fee, dearest)))
    cancelling = {intent.id for intent in view.cancelling}
    for intent in _in_flight(view):
        if intent.account in acting and intent.id not in cancelling and not _unsealed(intent):
            yield from _bumped(intent, at, rules, pricing)


def _bumped(intent: Intent, at: Moment, rules: Rules, pricing: Pricing) -> Iterator[Change]:
    if intent.disbursement_id is not None and submission.poisoned(intent, rules):
        yield HoldSet(
            account=intent.account,
            disbursement_id=intent.disbursement_id,
            hold=Hold.POISONED,
            detail=f"its content was refused {intent.refusals} times",
        )
        return
    current = intent.current()
    to, memo = (
        (intent.destination, intent.memo)
        if current.kind is VariantKind.PAYMENT
        else (rules.sink_of(intent.account), "")
    )
    wanted = pricing.price(intent.account, to, memo)
    fee = submission.due_for_bump(intent, at.unix, rules, wanted=wanted)
    if fee is not None:
        yield _variant(intent, current.kind, fee)


def _variant(intent: Intent, kind: VariantKind, fee: BaseUnits) -> VariantStaged:
    number = max((variant.number for variant in intent.variants), default=0) + 1
    return VariantStaged(account=intent.account, intent_id=intent.id, number=number, kind=kind, fee=fee)


def _unsealed(intent: Intent) -> bool:
    return any(variant.tx_hash is None for variant in intent.variants)


def _in_flight(view: View) -> Iterator[Intent]:
    seen: set[int] = set()
    for intent in (*view.unsent, *view.resend):
        if intent.id not in seen:
            seen.add(intent.id)
            yield intent


def _accounts_with_cancel_out(view: View) -> set[AccountId]:
    intents = (*view.unsealed, *view.unsent, *view.resend, *view.oldest_sent.values())
    return {intent.account for intent in intents if _cancel(intent) is not None}


def _cancel(intent: Intent) -> Variant | None:
    return next((variant for variant in intent.variants if variant.kind is VariantKind.CANCEL), None)


# --- ③ send ------------------------------------------------------------------------------------------------


def _due(view: View, at: Moment, rules: Rules) -> Iterator[Intent]:
    """What was never sent, and what is due again."""
    yield from view.unsent
    unsent = {intent.id for intent in view.unsent}
    for intent in view.resend:
        if intent.id not in unsent and submission.due_for_resend(intent, at.unix, rules):
            yield intent


def sendable(due: Iterable[Intent], view: View, at: Moment, rules: Rules) -> tuple[Intent, ...]:
    """
    Name what may go out now of what is due, oldest unburned nonce first (R8), in the window that the endpoint takes.

    Guarantees: nothing of an account that does not act, nothing at or below the chain's count (R14), nothing for the
        first time whose destination and sink do not stand in the baseline (§5.1), and, without look-up, nothing
        behind a nonce that has two payloads out (R7).
    """
    if view.kill_switch or at.frame is None:
        return ()
    accounts = {account.id: account for account in view.accounts if account.state is AccountState.ACTIVE}
    barriers = _barriers(view, at)
    return tuple(
        intent
        for intent in sorted(due, key=lambda intent: (intent.account, intent.nonce))
        if intent.account in accounts
        and not _unsealed(intent)
        and intent.nonce <= barriers.get(intent.account, intent.nonce)
        and _in_window(intent, accounts[intent.account], at, rules)
    )


def _in_window(intent: Intent, account: Account, at: Moment, rules: Rules) -> bool:
    if account.baseline is None or at.frame is None:
        return False
    first = intent.state in {State.STAGED, State.SIGNED}
    if first and not first_send_allowed(intent, account.baseline, rules, at.evidence):
        return False
    holding = at.frame.holdings.get(Address(account.id))
    count = holding.nonce if holding else 0
    return count < intent.nonce <= count + rules.max_unburned


def _barriers(view: View, at: Moment) -> dict[AccountId, Nonce]:
    """Without look-up nothing behind a nonce with two payloads out is sent until it is decided (R7)."""
    if at.evidence is Evidence.HASH:
        return {}
    barriers: dict[AccountId, Nonce] = {}
    for intent in (*view.unsealed, *view.unsent, *view.resend, *view.oldest_sent.values()):
        if _cancel(intent) is not None:
            lowest = min(intent.nonce, barriers.get(intent.account, intent.nonce))
            barriers[intent.account] = lowest
    return barriers


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
            case _:
                pass
    open_still = {
        name: tuple(intent for intent in getattr(view, name) if intent.id not in settled)
        for name in ("unsealed", "unsent", "resend", "cancelling")
    }
    return replace(view, accounts=tuple(accounts.values()), **open_still)
