"""
One sentence on why a disbursement is not paid yet, from the predicates that the planner decides by.

Pure: `commands/queries.py` gathers what is known; nothing here is a second opinion on what may be paid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from treasuryd.core import restore
from treasuryd.core.eligibility import Surroundings, reason_to_hold, worldly_hold
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Disbursement,
    DisbursementId,
    Epoch,
    Height,
    Hold,
    HouseName,
    Intent,
    Rules,
    State,
    Status,
    VariantKind,
)
from treasuryd.core.proposals import windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    What is known around one disbursement at one moment.

    `settled`, `seen` and `believed` are None before the chain was first read. `intent` is the live one, or the last.
    `tallies` gives each house's approving and total weight, while a vote is open.
    """

    rules: Rules
    settled: Epoch | None
    seen: Epoch | None
    believed: Height | None
    statuses: Mapping[DisbursementId, Status] = field(default_factory=dict)
    satisfied: frozenset[DisbursementId] = frozenset()
    intent: Intent | None = None
    surroundings: Surroundings
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    tallies: Mapping[HouseName, tuple[int, int]] = field(default_factory=dict)
    last_error: str | None = None
    signer_waits: str = ""  # why the signer signs nothing until a person acts (R11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer: paid for good or not, the hold if there is one, and the sentence."""

    paid: bool
    hold: Hold | None
    sentence: str


_Say = Callable[[Disbursement, Known], str]


def explain(item: Disbursement, known: Known) -> Explanation:
    """Say where `item` stands and what it waits for."""
    if _lost(item, known):
        return Explanation(
            paid=False, hold=None, sentence=f"final, then lost by a deep reorg: `treasuryd reopen {item.id}`."
        )
    match item.status:
        case Status.DRAFT:
            return _waiting(Hold.NOT_APPROVED, _draft(item, known))
        case Status.VOTING:
            return _waiting(Hold.NOT_APPROVED, _voting(item, known))
        case Status.QUEUED:
            return _waiting(
                Hold.NOT_APPROVED,
                f"approved; its timelock ends when the settled epoch reaches {item.activation_epoch} "
                f"(it is {_or_unknown(known.settled)}).",
            )
        case Status.TIMELOCKED:
            return _timelocked(item, known)
        case Status.EXECUTED:
            return Explanation(paid=True, hold=None, sentence=_executed(item, known))
        case Status.FINALIZED:
            said = f"paid for good by {item.tx_hash} in block {item.executed_height}."
            return Explanation(paid=True, hold=None, sentence=said + _too_late(item))
        case Status.ROLLED_BACK:
            return Explanation(paid=False, hold=None, sentence=_rolled_back(item))


def rollback_ends(item: Disbursement, rules: Rules) -> Epoch | None:
    """First settled epoch at which an executed item's rollback window is over; None when it is not executed."""
    if item.executed_epoch is None:
        return None
    return Epoch(item.executed_epoch + windows(item.proposal, rules).rollback)


def blocks_until_final(height: Height, known: Known) -> int | None:
    """Blocks still missing on top of `height`; None while the chain is unknown."""
    if known.believed is None:
        return None
    return max(height + known.rules.finality_depth - known.believed, 0)


def _waiting(hold: Hold, sentence: str) -> Explanation:
    return Explanation(paid=False, hold=hold, sentence=sentence)


def _draft(item: Disbursement, known: Known) -> str:
    if item.proposal is not None:
        return "a draft; the executor's next tick opens its vote."
    if known.rules.allow_treasury_initiated:
        return "a draft without a proposal; the executor's next tick makes it payable from its scheduled epoch on."
    return "a draft without a proposal, and payments without a vote are not allowed here; cancel it and propose it anew."


def _voting(item: Disbursement, known: Known) -> str:
    counted = "; ".join(
        f"{house} {approving} of {total} in favour"
        for house, (approving, total) in sorted(known.tallies.items())
    )
    open_until = f"its vote is open until the settled epoch reaches {item.vote_deadline_epoch}"
    return f"{open_until} (it is {_or_unknown(known.settled)}); {counted or 'no votes counted'}."


def _timelocked(item: Disbursement, known: Known) -> Explanation:
    hold = reason_to_hold(
        item,
        settled=Epoch(0) if known.settled is None else known.settled,
        known=known.statuses,
        satisfied=known.satisfied,
        rules=known.rules,
    )
    if hold is Hold.IN_FLIGHT:
        return _in_flight(item, known)
    if hold is not None:
        return _waiting(hold, _ITEM[hold](item, known))
    hold = worldly_hold(item, known.surroundings)
    if hold is not None:
        return _waiting(hold, _WORLD[hold](item, known))
    return _waiting(Hold.NEXT_TICK, "nothing keeps it; the executor's next tick stages it.")


def _in_flight(item: Disbursement, known: Known) -> Explanation:
    intent = known.intent
    if intent is None:
        return _waiting(Hold.IN_FLIGHT, "it has a live payment that cannot be read at this moment.")
    wish = (
        " A cancellation was requested; if the payment wins, it has failed." if item.cancel_requested else ""
    )
    if intent.state is State.AMBIGUOUS:
        return _waiting(
            Hold.AMBIGUOUS,
            f"nonce {intent.nonce} is used up on the chain and nothing proves by what; look at the destination and say "
            f"`treasuryd resolve {item.id} --paid` or `--void`." + wish,
        )
    return _waiting(Hold.IN_FLIGHT, _progress(intent, known) + wish)


def _progress(intent: Intent, known: Known) -> str:
    match intent.state:
        case State.STAGED:
            waits = f"; the signer waits: {known.signer_waits}" if known.signer_waits else ""
            return f"bound to nonce {intent.nonce} of {intent.account}; not signed yet{waits}{_stopped(intent, known)}."
        case State.SIGNED:
            stopped = _stopped(intent, known)
            return f"signed under nonce {intent.nonce} of {intent.account}; not sent yet{stopped}{_because(known)}."
        case State.INCLUDED:
            assert intent.height is not None
            missing = blocks_until_final(intent.height, known)
            return f"included at height {intent.height}; final in {_many(missing, 'block')}."
        case _:
            attempts = sum(variant.attempts for variant in intent.variants)
            cancels = any(variant.kind is VariantKind.CANCEL for variant in intent.variants)
            what = "its cancellation is" if cancels else "in flight"
            pooled = _pooled(intent, known)
            sent = f"sent {_many(attempts, 'time')}"
            before = _open_before(intent, known) + _stopped(intent, known)
            return f"{what} at nonce {intent.nonce} of {intent.account}, {sent}{pooled}{before}{_because(known)}."


def _stopped(intent: Intent, known: Known) -> str:
    """What keeps a payment that is under way from being signed or sent, again or at all; as `planner` stops it."""
    account = known.accounts.get(intent.account)
    verb = "signed" if intent.state is State.STAGED else "sent"
    again = " again" if any(variant.attempts for variant in intent.variants) else ""
    causes = []
    if account is not None and account.state is AccountState.FROZEN:
        why = f"{account.cause} {account.detail}".strip()
        causes.append(f"account {account.id} is frozen ({why}): `treasuryd account show`")
    if account is not None and (
        restore.untouched(account) or (restore.resends(account) and intent.state is State.STAGED)
    ):
        causes.append(f"account {account.id} is in quarantine: `treasuryd quarantine show`")
    if known.surroundings.kill_switch:
        causes.append("the kill switch is on: `treasuryd breaker reset`")
    return f"; it is not {verb}{again} while {', and while '.join(causes)}" if causes else ""


def _lost(item: Disbursement, known: Known) -> bool:
    """Whether the chain no longer shows a payment that was final (R9)."""
    account = known.accounts.get(item.account)
    paid = item.status in {Status.EXECUTED, Status.FINALIZED}
    return paid and account is not None and item.id in account.lost_payments


def _too_late(item: Disbursement) -> str:
    return " Its cancellation came too late." if item.cancel_requested else ""


def _open_before(intent: Intent, known: Known) -> str:
    """A nonce before it that nothing will use: a deep reorg took what had it (protocol.md R9)."""
    account = known.accounts.get(intent.account)
    before = [nonce for nonce in account.lost_nonces if nonce < intent.nonce] if account else []
    if not before:
        return ""
    return (
        f"; nonce {before[0]} before it pays nobody any more and has to be filled: "
        f"`treasuryd account fill {intent.account} --nonce {before[0]}`"
    )


def _pooled(intent: Intent, known: Known) -> str:
    """A newer variant waits where the chain replaces nothing that is pooled (protocol.md R6)."""
    if len(intent.variants) < 2 or known.rules.replaces_pooled:
        return ""
    return (
        f"; its newer version waits until the pool drops the older one (up to {known.rules.pool_ttl_seconds:.0f} s "
        "after it was sent)"
    )


def _because(known: Known) -> str:
    return f"; the executor's last error: {known.last_error}" if known.last_error else ""


def _executed(item: Disbursement, known: Known) -> str:
    if item.executed_height is None:
        return f"judged paid by a person{_window(item, known)}."
    said = f"included at height {item.executed_height} by {item.tx_hash}"
    missing = blocks_until_final(item.executed_height, known)
    if missing != 0:
        wish = (
            " Its cancellation is too late, unless a reorg takes this block back."
            if item.cancel_requested
            else ""
        )
        return f"{said}; final in {_many(missing, 'block')}{_window(item, known)}.{wish}"
    return f"{said}; final on the chain{_window(item, known)}.{_too_late(item)}"


def _window(item: Disbursement, known: Known) -> str:
    ends = rollback_ends(item, known.rules)
    if ends is None or (known.settled is not None and known.settled >= ends):
        return ""
    return f"; its books can be rolled back until the settled epoch reaches {ends} (it is {_or_unknown(known.settled)})"


def _rolled_back(item: Disbursement) -> str:
    if item.prior_tx is not None:
        return f"rolled back after it was paid by {item.prior_tx}: {item.reason}. The money did not move back by that."
    return f"rolled back, never paid: {item.reason}."


def _or_unknown(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _many(count: int | None, what: str) -> str:
    return f"{_or_unknown(count)} {what}{'' if count == 1 else 's'}"


def _listed(item: Disbursement, known: Known, *wanted: Status | None) -> str:
    ids = [
        str(dependency)
        for dependency in item.depends_on
        if known.statuses.get(dependency) in wanted and dependency not in known.satisfied
    ]
    return ", ".join(ids[:20]) + (" …" if len(ids) > 20 else "")


def _pending(item: Disbursement, known: Known) -> str:
    unfinished = [status for status in Status if status not in {Status.FINALIZED, Status.ROLLED_BACK}]
    return f"it waits for {_listed(item, known, *unfinished)} to be finalized."


def _stored(what: str) -> _Say:
    """A hold that a person ends, with the detail that was stored with it."""

    def say(item: Disbursement, _: Known) -> str:
        detail = f" ({item.hold_detail})" if item.hold_detail else ""
        return f"{what}{detail}; when the cause is dealt with: `treasuryd release {item.id}`."

    return say


def _frozen(item: Disbursement, known: Known) -> str:
    account = known.accounts.get(item.account)
    cause = f": {account.cause} {account.detail}".rstrip() if account is not None else ""
    return f"account {item.account} is frozen{cause}; a person decides: `treasuryd account show`."


def _quarantined(item: Disbursement, known: Known) -> str:
    account = known.accounts.get(item.account)
    cause = f": {account.cause} {account.detail}".rstrip() if account is not None else ""
    return (
        f"account {item.account} is in quarantine{cause}; the store may be old: `treasuryd quarantine show`."
    )


def _funds(item: Disbursement, known: Known) -> str:
    have = known.surroundings.funds.get(item.account, 0)
    fee = known.surroundings.fee or 0
    return f"account {item.account} has {have} base units free, {item.amount} and a fee of {fee} are needed."


_ITEM: Mapping[Hold, _Say] = {
    Hold.NOT_APPROVED: lambda _item, _known: "it is not approved.",
    Hold.CANCEL_REQUESTED: lambda item, _known: f"a cancellation was requested: {item.cancel_requested}.",
    Hold.SCHEDULED_LATER: lambda item, known: (
        f"scheduled for epoch {item.scheduled_epoch}; the settled epoch is {_or_unknown(known.settled)}."
    ),
    Hold.OVER_TRANSFER_LIMIT: lambda item, known: (
        f"its amount {item.amount} is above the limit per transfer, {known.rules.max_transfer}."
    ),
    Hold.DEPENDENCY_PENDING: _pending,
    Hold.DEPENDENCY_FAILED: lambda item, known: (
        f"it depends on {_listed(item, known, Status.ROLLED_BACK) or 'an item'}, which was rolled back; cancel it, "
        "or submit it anew without that dependency."
    ),
    Hold.DEPENDENCY_MISSING: lambda item, known: (
        f"it depends on {_listed(item, known, None) or 'an item'}, which does not exist; cancel it and submit it anew."
    ),
    Hold.DEPENDENCY_CIRCULAR: lambda item, _known: (
        f"its dependencies lead back to {item.id} itself; cancel it and submit it anew."
    ),
    Hold.NEEDS_RELEASE: _stored(
        "its payment is proved void and a person must confirm that it may be paid anew"
    ),
    Hold.REFUSED: _stored("it was refused"),
    Hold.POISONED: _stored("every endpoint refused its content"),
    Hold.RESTORED: _stored("it came out of a restored backup and nobody has looked at it yet"),
    Hold.APPROVAL_LOST: _stored("its approval does not stand"),
    Hold.AMBIGUOUS: _stored("its nonce is used up and nothing proves by what"),
}

_WORLD: Mapping[Hold, _Say] = {
    Hold.ACCOUNT_FROZEN: _frozen,
    Hold.ACCOUNT_QUARANTINED: _quarantined,
    Hold.KILL_SWITCH: lambda _item, _known: "the kill switch is on; `treasuryd breaker reset` ends it.",
    Hold.NO_LEASE: lambda item, _known: (
        f"this process does not hold the lease of {item.account}; another one may pay it."
    ),
    Hold.CHAIN_UNREACHABLE: lambda _item, known: f"the chain cannot be read{_because(known)}.",
    Hold.BREAKER_OPEN: lambda _item, known: f"the circuit breaker for sending is open{_because(known)}.",
    Hold.FEE_ABOVE_CEILING: lambda _item, known: (
        f"the fee is above the ceiling of {known.rules.fee_ceiling} base units; it waits until the fee falls."
    ),
    Hold.PIPELINE_FULL: lambda item, known: (
        f"account {item.account} has {known.rules.max_unburned} payments in flight, as many as the endpoint takes."
    ),
    Hold.INSUFFICIENT_FUNDS: _funds,
}
