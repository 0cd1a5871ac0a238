"""
④ Settle an account by the balances of two frames, where the chain has no look-up (protocol.md §5.1, `BALANCE`).

The interval runs from the baseline to the frame of this tick; `evidence` weighs what can have happened in it.
"""

from collections.abc import Iterable, Iterator, Sequence

from treasuryd.core import evidence, restore
from treasuryd.core.changes import Change, Seen, Unproven
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    Address,
    BalanceKind,
    Frame,
    FreezeCause,
    Intent,
    Nonce,
    State,
)
from treasuryd.core.settling import (
    LOOKUP_PATIENCE,
    Case,
    Found,
    account_for,
    booked,
    freeze,
    holding_of,
    move,
)


def by_balance(case: Case, baseline: Frame, found: Found) -> None:
    """Settle an account by the balances of two frames (§5.1)."""
    shared, account, count = case.shared, case.account, holding_of(baseline, case.account.id).nonce
    if restore.untouched(account):
        return  # the backup's baseline is kept until the signer's bindings are adopted (§8)
    fresh = tuple(intent for intent in case.consumed if intent.nonce > count)
    found.ask_signer += [
        intent for intent in case.consumed if intent.state is State.STAGED and case.asked(intent)
    ]
    if any(intent.state is State.STAGED for intent in fresh) or len(fresh) < case.interval.consumed:
        return
    if _awaits_lookup(case, baseline, fresh, found):
        return
    strangers = case.now.nonce - count - case.interval.placed - len(fresh)
    if shared.sure:
        found.changes += _undatable(case, baseline, count)
    left = case.now.balance - holding_of(baseline, account.id).balance + case.interval.cost
    if strangers <= 0 and (fresh or left >= 0) and _awaits_base_fee(case, baseline):
        return
    if fresh:
        _judge(case, baseline, fresh, max(0, strangers), found)
        return
    if strangers > 0:
        if not shared.sure:
            return
        detail = f"{strangers} consumed nonces up to {case.now.nonce} belong to no intent of ours"
        freeze(case, FreezeCause.FOREIGN_NONCE, detail, found, case.now.nonce)
    account_for(case, baseline, left, found, explained=strangers > 0)


def _awaits_lookup(case: Case, baseline: Frame, fresh: Sequence[Intent], found: Found) -> bool:
    """
    Whether intents that were sent while there was look-up still wait for it to return (interfaces.md §5).

    Their destinations do not stand in the baseline, so balances prove nothing of them. They wait for a few times the
    finality depth, then they are ambiguous.
    """
    missing = [intent for intent in fresh if intent.destination not in baseline.holdings]
    read = (
        case.shared.rules.sink_of(case.account.id) in baseline.holdings
    )  # not the bare ground after a reorg
    patience = LOOKUP_PATIENCE * case.shared.rules.finality_depth
    if not missing or not read or case.shared.frame.height - baseline.height > patience:
        return False
    found.events.append(
        Event(
            kind=EventKind.LOOKUP_MISSING,
            severity=Severity.WARNING,
            account=case.account.id,
            count=len(missing),
            ids=tuple(
                intent.disbursement_id for intent in missing[:20] if intent.disbursement_id is not None
            ),
            detail="sent while there was look-up; their destinations do not stand in the baseline",
        )
    )
    return True


def _awaits_base_fee(case: Case, baseline: Frame) -> bool:
    """
    Whether a frame whose base fee could not be read is passed over: nothing fits where a reading is missing (§5.1 item 2).

    One that follows may have it. After a few times the finality depth it is taken as it is.
    """
    patience = LOOKUP_PATIENCE * case.shared.rules.finality_depth
    missing = case.shared.frame.base_fee is None and baseline.base_fee is not None
    return missing and case.shared.frame.height - baseline.height <= patience


def _undatable(case: Case, baseline: Frame, count: Nonce) -> Iterator[Change]:
    """Give to a person what was consumed before the baseline: no interval can tell by what."""
    for intent in case.consumed:
        if intent.nonce <= count and intent.state is not State.STAGED:
            yield Unproven(account=intent.account, intent_id=intent.id, first=baseline, second=baseline)


def _judge(case: Case, baseline: Frame, fresh: tuple[Intent, ...], strangers: int, found: Found) -> None:
    """Weigh the hypotheses over one interval, and write down what they agree on."""
    shared, account = case.shared, case.account
    judgement = evidence.judge(
        evidence.Span(
            account=account.id,
            sink=shared.rules.sink_of(account.id),
            first=baseline,
            second=shared.frame,
            consumed=fresh,
            placed_cost=case.interval.cost,
            elsewhere=_elsewhere(case, baseline, fresh),
            announced=case.announced,
            strangers=strangers,
        ),
        shared.rules,
        shared.highest_base_fee,
    )
    if judgement.ambiguous and not shared.sure:
        return
    found.changes += [_placed(shared.frame, placed) for placed in judgement.placed]
    found.changes += [
        Unproven(account=account.id, intent_id=intent.id, first=baseline, second=shared.frame)
        for intent in judgement.ambiguous
    ]
    if judgement.funding:
        found.changes.append(booked(case, BalanceKind.FUNDING, judgement.funding, judgement.announced))
    if judgement.frozen is not None:
        cause, detail = judgement.frozen
        freeze(case, cause, detail, found, case.now.nonce)
    move(case, baseline, found)


def _placed(frame: Frame, placed: evidence.Placed) -> Seen:
    return Seen(
        account=placed.intent.account,
        intent_id=placed.intent.id,
        variant=placed.variant.number,
        height=frame.height,
        block_hash=frame.block_hash,
        fee_charged=placed.fee_charged,
        evidence=placed.evidence,
    )


def _elsewhere(case: Case, baseline: Frame, fresh: Iterable[Intent]) -> dict[Address, int]:
    """
    Sum what other intents of this store may have brought to our destinations in the interval (§5.1 item 1).

    What a frame does not show of their accounts counts against us: a rise is never credited twice.
    """
    own = {(intent.account, intent.nonce) for intent in fresh}
    sums: dict[Address, int] = {}
    for destination in {intent.destination for intent in fresh}:
        sums[destination] = sum(
            amount
            for (account, nonce), amount in case.shared.claims[destination].items()
            if (account, nonce) not in own and _consumed_between(baseline, case.shared.frame, account, nonce)
        )
    return sums


def _consumed_between(first: Frame, second: Frame, account: AccountId, nonce: Nonce) -> bool:
    address = Address(account)
    before = address in first.holdings and nonce <= holding_of(first, account).nonce
    after = address in second.holdings and nonce > holding_of(second, account).nonce
    return not before and not after
