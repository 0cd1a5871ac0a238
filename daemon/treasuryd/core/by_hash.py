"""
④ Settle an account where every endpoint has look-up (protocol.md §5.1, `HASH`).

A look-up by hash says in which block a transaction is and what it was charged. It holds only if it is not older than
the frame and of the same chain; "not found" alone proves nothing (R5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from treasuryd.core import evidence, reorgs, restore
from treasuryd.core.changes import Burned, Seen, Unproven
from treasuryd.core.model import (
    MAX_AMOUNT,
    AccountState,
    Address,
    BalanceKind,
    Evidence,
    Frame,
    FreezeCause,
    Height,
    Intent,
    IntentId,
    Nonce,
    State,
    Variant,
    VariantKind,
)
from treasuryd.core.settling import LOOKUP_PATIENCE, Case, Found, account_for, booked, freeze, holding_of


class _Look(Enum):
    """What a look-up leaves open."""

    ABSENT = auto()  # its nonce is consumed in the frame, and no block up to there holds bytes of it
    LATER = (
        auto()
    )  # the answer is missing, older than the frame, one endpoint's alone, of another fork, or impossible


@dataclass(slots=True)
class _Looked:
    """The open intents of an account after the look-up; `fresh` ones lie above the baseline's count."""

    seen: list[Seen] = field(default_factory=list)
    absent: list[Intent] = field(default_factory=list)
    staged: list[Intent] = field(default_factory=list)
    cost: int = 0  # of the fresh ones seen
    # of those that an earlier frame had consumed as a stranger's: the cost, and at which height it is corrected
    late_costs: dict[IntentId, tuple[Height, int]] = field(default_factory=dict)
    fresh_open: int = 0
    nonces: set[Nonce] = field(default_factory=set)


def by_hash(case: Case, baseline: Frame, found: Found) -> None:
    """Settle an account where every endpoint has look-up."""
    account, count = case.account, holding_of(baseline, case.account.id).nonce
    looked = _look_up(case, count)
    decided = looked.fresh_open == 0 and len(looked.nonces) >= case.interval.consumed
    if restore.untouched(account):
        found.changes += looked.seen if case.partial else []
        return  # the rest waits: the backup's baseline is kept until the signer's bindings are adopted (§8)
    found.ask_signer += filter(case.asked, looked.staged)
    if decided or case.partial:
        found.changes += looked.seen
    foreign = _foreign(case, looked.nonces, count, [intent.nonce for intent in looked.absent])
    _burn(case, looked.absent, found)
    if foreign is not None:
        freeze(case, FreezeCause.FOREIGN_NONCE, f"nonce {foreign} was used by a stranger", found, foreign)
    if decided or case.partial:
        found.changes += [
            booked(case, BalanceKind.UNEXPLAINED, cost, height=height, intent_id=intent_id)
            for intent_id, (height, cost) in looked.late_costs.items()
        ]
    if decided:
        left = case.now.balance - holding_of(baseline, account.id).balance + case.interval.cost + looked.cost
        account_for(case, baseline, left, found, explained=foreign is not None)


def _look_up(case: Case, count: Nonce) -> _Looked:
    """Sort the consumed intents by what the look-up says of them."""
    looked = _Looked()
    for intent in case.consumed:
        fresh = intent.nonce > count
        if fresh:
            looked.nonces.add(intent.nonce)
        if intent.state is State.STAGED:
            looked.staged.append(intent)
            looked.fresh_open += fresh
            continue
        sight = _sight(case, intent)
        if sight is _Look.LATER:
            looked.fresh_open += fresh
        elif sight is _Look.ABSENT:
            looked.absent.append(intent)
        else:
            seen, variant = sight
            looked.seen.append(seen)
            amount = intent.amount if variant.kind is VariantKind.PAYMENT else evidence.CANCEL_UNITS
            if fresh:
                looked.cost += seen.fee_charged + amount
            else:
                height = max(seen.height, _consumed_at(case, intent.nonce))  # it falls with either of both
                looked.late_costs[intent.id] = (height, seen.fee_charged + amount)
    return looked


def _consumed_at(case: Case, nonce: Nonce) -> Height:
    """
    Say at which kept frame a nonce was first consumed, where its cost was booked as unexplained.

    What corrects that booking has to fall with it when a reorg takes the frame back, and not before.
    """
    return _around(case, nonce)[-1].height


def _sight(case: Case, intent: Intent) -> tuple[Seen, Variant] | _Look:
    """Judge one look-up: it counts only if it is not older than the frame, of the same chain, and can be true."""
    shared, frame = case.shared, case.shared.frame
    sighting = shared.sightings.get(intent.id)
    if sighting is None:
        return _Look.LATER
    if sighting.variant is None:
        return _Look.ABSENT if sighting.as_of >= frame.height and shared.sure else _Look.LATER
    if sighting.doubted:
        return _Look.LATER  # one endpoint alone makes nothing final (R9)
    variant = next((variant for variant in intent.variants if variant.number == sighting.variant), None)
    height, block_hash, charged = sighting.height, sighting.block_hash, sighting.fee_charged
    if variant is None or not height or not block_hash or charged is None or height > frame.height:
        return _Look.LATER
    # another block, or none that enough endpoints show yet: what it names may be on no chain
    if not reorgs.stands(height, block_hash, shared.headers):
        return _Look.LATER
    if charged > min(_dearest(case, variant, height), MAX_AMOUNT - intent.amount):
        return _Look.LATER
    seen = Seen(
        account=intent.account,
        intent_id=intent.id,
        variant=variant.number,
        height=height,
        block_hash=block_hash,
        fee_charged=charged,
        evidence=Evidence.HASH,
    )
    return seen, variant


def _dearest(case: Case, variant: Variant, height: Height) -> int:
    """
    Bound what the block at a height can have charged for a variant (§5.1 item 2).

    A relay may raise the unsigned tip to the signed fee, and that block's base fee comes on top. The chain's rule bounds
    it between the readings around the block; where one is missing, or says more, what the account was seen to hold
    does: the chain takes a charge from what is there.
    """
    frames = (*reorgs.frames_of(case.account), case.shared.frame)
    held = max(holding_of(frame, case.account.id).balance for frame in frames)
    first = next((frame for frame in reversed(frames) if frame.height < height), None)
    second = next(frame for frame in frames if frame.height >= height)
    if first is None or first.base_fee is None or second.base_fee is None:
        return variant.fee + held
    highest = case.shared.highest_base_fee(first.base_fee, second.base_fee, second.height - first.height)
    return variant.fee + min(highest, held)


def _foreign(case: Case, listed: set[Nonce], count: Nonce, absent: Sequence[Nonce]) -> Nonce | None:
    """Name the highest consumed nonce that may be a stranger's; None when all are ours or nothing is sure."""
    if not case.shared.sure:
        return None
    nobodys = case.now.nonce - count - case.interval.placed - max(case.interval.consumed, len(listed))
    if nobodys <= 0:
        return max(absent, default=None)
    highest = next(nonce for nonce in range(case.now.nonce, count, -1) if nonce not in listed)
    return Nonce(max(highest, *absent, 0))


def _burn(case: Case, absent: Iterable[Intent], found: Found) -> None:
    """
    Void what a stranger's nonce has made impossible for good: consumed at finality depth, and still unknown (R5 a).

    "Not found" alone proves nothing (R5): an endpoint may have lost its index. Where the balance does not contradict it,
    who was paid is for a person to judge; so it is where an endpoint leaves it open for longer than it is waited for, since
    the frames that tell are dropped then.
    """
    burned = reorgs.burned_count(case.account, case.shared.headers, at_or_below=case.shared.final)
    patience = LOOKUP_PATIENCE * case.shared.rules.finality_depth
    for intent in absent:
        if intent.nonce > burned:
            continue
        if case.shared.sightings[intent.id].doubted:  # some endpoint may still know it
            around = _around(case, intent.nonce)
            if case.shared.frame.height - around[-1].height <= patience:
                found.needed.append(around[0].height)
            continue
        frame = _may_have_paid(case, intent)
        if (
            frame is None
            and case.account.state is AccountState.QUARANTINED
            and intent.disbursement_id is not None
        ):
            frame = case.shared.frame  # nothing that pays is judged void there: a person looks (§8)
        if frame is not None:
            found.changes.append(
                Unproven(account=intent.account, intent_id=intent.id, first=frame, second=frame)
            )
            continue
        found.changes.append(
            Burned(
                account=intent.account,
                intent_id=intent.id,
                detail=f"nonce {intent.nonce} is burned, and no block holds any of its {len(intent.variants)} variants",
            )
        )


def _around(case: Case, nonce: Nonce) -> tuple[Frame, ...]:
    """Name the frames between which a nonce was consumed, the later one alone where what was before is not known."""
    frames, own = reorgs.frames_of(case.account), Address(case.account.id)
    at = next(
        place
        for place, frame in enumerate(frames)
        if (frame.holdings.get(own) or reorgs.NOBODY).nonce >= nonce
    )
    return frames[max(0, at - 1) : at + 1]


def _may_have_paid(case: Case, intent: Intent) -> Frame | None:
    """
    Name the frame that first showed the nonce consumed, unless our fall up to it is between 0 and half the amount.

    A rise may hide any payment behind a deposit. Also named where what was before it is not known any more; a filler
    pays nobody. Residual risk: endpoints that do not know our payment, at first sight and at depth, while a deposit of
    about its amount came in the same interval.
    """
    if intent.disbursement_id is None:
        return None
    first, *second = _around(case, intent.nonce)
    if not second:
        return first
    before, after = (holding_of(frame, case.account.id).balance for frame in (first, *second))
    return None if 0 <= 2 * (before - after) <= intent.amount else second[0]
