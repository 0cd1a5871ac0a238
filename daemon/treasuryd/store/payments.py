"""Changes of intents: what may have left, what was seen in a block, what a reorg takes back (protocol.md R3 to R9)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from treasuryd.core.changes import BlockBuried, Burned, Rewound, Seen, Sent, Unproven, VariantStaged
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.lifecycle import Fact
from treasuryd.core.model import (
    AccountId,
    Address,
    BalanceKind,
    Frame,
    Hold,
    IntentId,
    Meaning,
    Proof,
    State,
    VariantKind,
)
from treasuryd.core.submission import may_be_pooled
from treasuryd.store import accounts, dependencies
from treasuryd.store.items import SQL
from treasuryd.store.rows import holdings_json, ids_json
from treasuryd.store.standing import SQL as STAGING
from treasuryd.store.standing import Bytes, Standing, standing
from treasuryd.store.voiding import void
from treasuryd.store.work import Work

CANCEL_UNITS: Final = 1  # what a cancel variant sends to its sink (R7)
FILLER: Final = "filler"  # as the reason of what is in a block, beside the kinds of variants
TURNED_AWAY: Final = (
    1.0  # as `last_sent_at`: no pool has it, so every view lists it and the planner decides when
)
OPEN: Final = frozenset({State.STAGED, State.SIGNED, State.BROADCAST})
CONTENT_SAYS: Final = {Meaning.CONTENT_REFUSED: 1, Meaning.ACCEPTED: 0, Meaning.ALREADY_KNOWN: 0}


def _read(
    work: Work, changes: Sequence[VariantStaged | Sent | Seen | Unproven | Burned]
) -> dict[IntentId, Standing]:
    return standing(work.connection, {change.intent_id for change in changes})


def _owned(known: dict[IntentId, Standing], intent_id: IntentId, account: AccountId) -> Standing | None:
    """The intent, if it is one of the account whose lease was checked."""
    found = known.get(intent_id)
    return found if found is not None and found.account == account else None


# --- before and after sending ---------------------------------------------------------------------------------


def stage_variants(work: Work, changes: Sequence[VariantStaged]) -> list[str | None]:
    """One more variant of a live intent, before anything of it is signed (R1, R6, R7)."""
    known = _read(work, changes)
    reasons: list[str | None] = []
    rows: list[tuple[Any, ...]] = []
    for change in changes:
        intent = _owned(known, change.intent_id, change.account)
        if intent is None or intent.state not in OPEN or change.number != intent.newest + 1:
            reasons.append("changed")
            continue
        intent.variants[change.number] = Bytes(change.kind, None)
        rows.append((change.intent_id, change.number, change.kind, change.fee, work.now))
        work.note(change.account, "variant", rows[-1][:4])
        work.fact(EventKind.VARIANT_STAGED, change.account, change.kind, item=intent.item)
        reasons.append(None)
    work.many(STAGING["insert_variant"], rows)
    work.many(SQL["stage_variant"], [(row[3], row[2], row[0]) for row in rows])
    return reasons


def sent(work: Work, changes: Sequence[Sent]) -> list[str | None]:
    """What may have left, has left (R4): the reply is kept as evidence and decides nothing."""
    known = _read(work, changes)
    reasons: list[str | None] = []
    variants: list[tuple[Any, ...]] = []
    intents: list[tuple[Any, ...]] = []
    for change in changes:
        intent = _owned(known, change.intent_id, change.account)
        variant = None if intent is None else intent.variants.get(change.variant)
        if intent is None or variant is None or variant.tx_hash is None or not intent.may(Fact.SENT):
            reasons.append("changed")
            continue
        intent.advance(Fact.SENT)
        pooled = may_be_pooled(change.meaning)
        variants.append((work.now, change.meaning, pooled, change.intent_id, change.variant))
        intents.append(
            (
                work.now,
                _next_step(intent, change),
                CONTENT_SAYS.get(change.meaning),
                change.intent_id,
                work.now if pooled else TURNED_AWAY,
            )
        )
        work.counted(change.account, f"sent {change.meaning}")
        told = work.fact(
            EventKind.SENT, change.account, change.meaning, item=intent.item, detail=change.detail
        )
        if intent.sent_at is None:
            intent.sent_at = work.now
            told.step_seconds.append(work.now - intent.staged_at)
        reasons.append(None)
    work.many(SQL["sent_variant"], variants)
    work.many(SQL["sent_intent"], intents)
    return reasons


def _next_step(intent: Standing, change: Sent) -> str:
    """What it waits for, once this variant has left."""
    if intent.unsealed:
        return "sign"
    return "watch" if change.variant == intent.newest else (intent.step or "watch")


# --- what the chain shows -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Inclusions:
    """Rows of one batch of sightings."""

    intents: list[tuple[Any, ...]] = field(default_factory=list)
    items: list[tuple[Any, ...]] = field(default_factory=list)
    movements: list[accounts.Movement] = field(default_factory=list)


def seen(work: Work, changes: Sequence[Seen]) -> list[str | None]:
    """A variant is in a block: booked, and the disbursement executed if it is a payment."""
    known = _read(work, changes)
    reasons: list[str | None] = []
    found = Inclusions()
    for change in changes:
        intent = _owned(known, change.intent_id, change.account)
        variant = None if intent is None else intent.variants.get(change.variant)
        if intent is None or variant is None or variant.tx_hash is None or not intent.may(Fact.SEEN):
            reasons.append("changed")
            continue
        intent.advance(Fact.SEEN)
        _include(work, change, intent, variant, found)
        reasons.append(None)
    work.many(SQL["include"], found.intents)
    work.many(SQL["execute"], found.items)
    accounts.move(work, found.movements)
    return reasons


def _include(work: Work, change: Seen, intent: Standing, variant: Bytes, found: Inclusions) -> None:
    pays = variant.kind is VariantKind.PAYMENT
    taken = intent.amount if pays else CANCEL_UNITS
    cost = taken + change.fee_charged
    found.intents.append(
        (change.variant, change.height, change.block_hash, change.evidence, cost, change.intent_id)
    )
    if pays and intent.item is not None:
        found.items.append(
            (
                work.now,
                variant.tx_hash,
                change.fee_charged,
                change.height,
                change.height // work.rules.epoch_blocks,
                change.evidence,
                work.rules.min_rollback_window_epochs,
                intent.item,
                intent.id,
            )
        )
    found.movements.append(
        accounts.Movement(
            account=change.account,
            kind=BalanceKind.EXECUTION if pays else BalanceKind.CANCELLATION,
            delta=-cost,
            fee=change.fee_charged,
            item=intent.item,
            intent=intent.id,
            height=change.height,
        )
    )
    # one list per block: its height and hash stand in the journal once, not once per payment
    block = f"included {change.height} {change.block_hash} {change.evidence}"
    work.note(change.account, block, (intent.id, change.variant, change.fee_charged))
    reason = FILLER if intent.item is None else variant.kind
    told = work.fact(
        EventKind.INCLUDED, change.account, reason, item=intent.item, amount=taken, fee=change.fee_charged
    )
    if pays and intent.ready_at is not None and intent.scheduled is not None:
        since = work.calendar.payable_since(intent.ready_at, intent.scheduled, work.rules)
        told.seconds.append(max(0.0, work.now - since))
        told.step_seconds.append(work.now - (intent.staged_at if intent.sent_at is None else intent.sent_at))


def unproven(work: Work, changes: Sequence[Unproven]) -> list[str | None]:
    """Keep the two frames of an interval that proves nothing, for the person who judges it (§5.1)."""
    known = _read(work, changes)
    reasons: list[str | None] = []
    for change in changes:
        intent = _owned(known, change.intent_id, change.account)
        if intent is None or not intent.may(Fact.UNPROVEN):
            reasons.append("changed")
            continue
        intent.advance(Fact.UNPROVEN)
        work.many(SQL["make_ambiguous"], [(intent.id,)])
        concerned = (intent.destination, Address(intent.account), work.rules.sink_of(intent.account))
        first, second = (_frame_json(frame, concerned) for frame in (change.first, change.second))
        one, two = change.first, change.second
        row = (intent.id, one.height, one.block_hash, two.height, two.block_hash, first, second, work.now)
        work.connection.execute(SQL["keep_frames"], row)
        work.note(change.account, "ambiguous", (intent.id, one.height, two.height))
        work.fact(
            EventKind.AMBIGUOUS,
            change.account,
            item=intent.item,
            severity=Severity.PAGE,
            detail=f"nonce {intent.nonce}: consumed between heights {one.height} and {two.height}, by what is unproven",
        )
        reasons.append(None)
    return reasons


def _frame_json(frame: Frame, concerned: Iterable[Address]) -> str:
    shown = {address: frame.holdings[address] for address in concerned if address in frame.holdings}
    base_fee = "null" if frame.base_fee is None else str(frame.base_fee)
    return f'{{"base_fee":{base_fee},"holdings":{holdings_json(shown)}}}'


def burned(work: Work, changes: Sequence[Burned]) -> list[str | None]:
    """At finality the nonce is somebody else's: void, and its disbursement waits for a person (R5 a)."""
    known = _read(work, changes)
    reasons: list[str | None] = []
    for change in changes:
        intent = _owned(known, change.intent_id, change.account)
        if intent is None or not intent.may(Fact.BURNED):
            reasons.append("changed")
            continue
        intent.advance(Fact.BURNED)
        void(work, intent, Proof.BURNED, hold=Hold.NEEDS_RELEASE, detail=change.detail)
        reasons.append(None)
    return reasons


def buried(work: Work, changes: Sequence[BlockBuried]) -> list[str | None]:
    """A block is at finality depth: its payments are final, its cancels void what they replaced (R5, R9)."""
    for change in changes:
        rows = work.connection.execute(
            SQL["buried"], (change.account, change.height, change.block_hash)
        ).fetchall()
        paid = [row for row in rows if row[2] == VariantKind.PAYMENT]
        if paid:
            _make_final(work, change, paid)
        cancelled = [row[0] for row in rows if row[2] != VariantKind.PAYMENT]
        for intent in standing(work.connection, cancelled).values() if cancelled else ():
            intent.advance(Fact.CANCEL_BURIED)
            void(work, intent, Proof.CANCELLED, hold=Hold.NEEDS_RELEASE, detail="its cancel variant is final")
    return [None] * len(changes)


def _make_final(work: Work, change: BlockBuried, paid: Sequence[Any]) -> None:
    ids = [row[0] for row in paid]
    changed = work.connection.execute(SQL["make_final"], (ids_json(ids),)).rowcount
    assert changed == len(ids), f"{changed} of {len(ids)} intents became final"
    items = [row[1] for row in paid]  # a filler has no payment, so each of these has a disbursement
    if work.rules.dependency_satisfied_by_final:
        dependencies.recount_dependents(work.connection, items, work.rules)
    work.note(change.account, "final", (change.height, change.block_hash, ids))
    work.facts(EventKind.FINAL, change.account, "", items)


# --- what a reorg takes back ----------------------------------------------------------------------------------


def rewound(work: Work, changes: Sequence[Rewound]) -> list[str | None]:
    """The baseline goes back and every verdict above it is withdrawn; what was booked above it is reversed (R9)."""
    for change in changes:
        account, height = change.account, change.to.height
        place = (account, height, change.to.block_hash)
        kept = work.connection.execute(SQL["frame_known"], place).fetchone()[0]
        _withdraw(work, change)
        _reverse_income(work, change)
        work.connection.execute(SQL["reopen_announced"], (account, height))
        accounts.set_baseline(work, account, change.to, drop_above=True)
        if not kept:
            work.connection.execute(SQL["seed_anew"], (account,))
            accounts.follow_ground(work, account, change.to)
        work.note(account, "rewound", (height, change.to.block_hash))
        work.fact(
            EventKind.BASELINE_MOVED,
            account,
            "rewound",
            severity=Severity.WARNING,
            detail=f"back to height {height}",
        )
    return [None] * len(changes)


def _withdraw(work: Work, change: Rewound) -> None:
    account, height = change.account, change.to.height
    place = (account, height, change.to.block_hash)
    included = work.connection.execute(SQL["rewound_included"], place).fetchall()
    _, count = accounts.held(change.to, account)
    ambiguous = work.connection.execute(SQL["rewound_ambiguous"], (account, height, count)).fetchall()
    ids = [row[0] for row in (*included, *ambiguous)]
    if not ids:
        return
    work.connection.execute(SQL["reopen_intents"], (ids_json(ids),))
    work.connection.execute(SQL["forget_ambiguity"], (ids_json(ids),))
    paid = [row[1] for row in included if row[3] == VariantKind.PAYMENT]  # fillers have none
    work.connection.execute(SQL["unexecute"], (ids_json(ids), work.now, ids_json(paid)))
    accounts.move(
        work,
        [
            accounts.Movement(
                account=account,
                kind=BalanceKind.REVERSAL,
                delta=row[2],
                item=row[1],
                intent=row[0],
                height=height,
            )
            for row in included
        ],
    )
    work.note(account, "reorged", ids)
    for row in (*included, *ambiguous):
        work.fact(EventKind.REORGED, account, item=row[1], severity=Severity.WARNING)


def _reverse_income(work: Work, change: Rewound) -> None:
    """After the verdicts were withdrawn: which corrections stand follows from the intents that are still placed."""
    account, height = change.account, change.to.height
    _, count = accounts.held(change.to, account)
    rows = work.connection.execute(SQL["rewound_income"], (account, height, count)).fetchall()
    work.many(SQL["mark_reversed"], [(row[0],) for row in rows])
    accounts.move(
        work,
        [
            accounts.Movement(account=account, kind=BalanceKind.REVERSAL, delta=-row[1], height=height)
            for row in rows
        ],
    )
