"""Changes of accounts and of the chain: baselines, books, freezes, what is believed (protocol.md §5, §8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from treasuryd.core import restore
from treasuryd.core.changes import Adopted, BaselineMoved, Booked, ChainMoved, FrozenNow, QuarantinedNow
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.freezing import AFTER_QUARANTINE, graver
from treasuryd.core.model import (
    AccountId,
    AccountState,
    Address,
    BalanceKind,
    BaseUnits,
    DisbursementId,
    Frame,
    FreezeCause,
    Height,
    IntentId,
    Nonce,
)
from treasuryd.errors import Corrupt
from treasuryd.store import restore_report
from treasuryd.store.items import SQL
from treasuryd.store.rows import SHARED, chain_state, holdings_json, ids_json
from treasuryd.store.work import Work

NOTHING: Final = BaseUnits(0)
SAID_BEFORE: Final = 500  # characters that are kept of why an account was frozen for less


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One movement of an account's booked balance; `delta` is signed."""

    account: AccountId
    kind: BalanceKind
    delta: int
    fee: BaseUnits = NOTHING
    item: DisbursementId | None = None
    intent: IntentId | None = None
    height: Height | int | None = None


def move(work: Work, movements: Sequence[Movement]) -> None:
    """Write balance events and what the booked balance comes to after each of them."""
    balances: dict[AccountId, int] = {}
    rows: list[tuple[Any, ...]] = []
    for each in movements:
        if each.account not in balances:
            balances[each.account] = work.connection.execute(SQL["booked"], (each.account,)).fetchone()[0]
        balances[each.account] += each.delta
        rows.append(
            (
                each.account,
                each.kind,
                each.delta,
                each.fee,
                balances[each.account],
                work.now,
                each.item,
                each.intent,
                each.height,
            )
        )
    work.many(SQL["insert_event"], rows)
    work.many(SQL["set_booked"], [(balance, account) for account, balance in balances.items()])


def book(work: Work, changes: Sequence[Booked]) -> list[str | None]:
    """What no intent explains: funding, or unexplained (R14)."""
    for change in changes:
        move(
            work,
            [
                Movement(
                    account=change.account,
                    kind=change.kind,
                    delta=change.delta,
                    intent=change.intent_id,
                    height=change.height,
                )
            ],
        )
        if change.announced:
            work.connection.execute(SQL["use_announced"], (ids_json(change.announced), change.height))
        work.note(change.account, "booked", (change.kind, change.delta, change.height, *change.announced))
        work.fact(EventKind.BALANCE_MOVED, change.account, change.kind, amount=abs(change.delta))
    return [None] * len(changes)


def move_baseline(work: Work, changes: Sequence[BaselineMoved]) -> list[str | None]:
    """A frame is accounted for; the baseline never goes back this way."""
    reasons: list[str | None] = []
    for change in changes:
        before = work.connection.execute(SQL["baseline"], (change.account,)).fetchone()
        if before is not None and change.frame.height < before[1]:
            reasons.append("changed")
            continue
        set_baseline(work, change.account, change.frame)
        work.connection.execute(
            SQL["drop_frames_below"], (change.account, min(change.keep_from, change.frame.height))
        )
        work.note(change.account, "baseline", (change.frame.height, change.frame.block_hash))
        work.fact(EventKind.BASELINE_MOVED, change.account, severity=Severity.DEBUG)
        reasons.append(None)
    return reasons


def set_baseline(work: Work, account: AccountId, frame: Frame, *, drop_above: bool = False) -> None:
    """Make a frame the newest one of an account. Raises: Corrupt for one that does not show it."""
    balance, nonce = held(frame, account)
    if drop_above:
        work.connection.execute(SQL["drop_frames_above"], (account, frame.height))
    work.connection.execute(SQL["drop_frame"], (account, frame.height))
    row = (account, frame.height, frame.block_hash, frame.base_fee, holdings_json(frame.holdings))
    work.connection.execute(SQL["insert_frame"], row)
    work.many(SQL["show_baseline"], [(balance, nonce, account)])


def held(frame: Frame, account: AccountId) -> tuple[int, int]:
    """
    What a baseline's frame shows of its account: balance and nonce; an absent one holds nothing.

    Raises: Corrupt for a frame that does not show the account: nothing could be held against it (R14).
    """
    if Address(account) not in frame.holdings:
        raise Corrupt(
            f"the frame at height {frame.height} does not show the account {account}, whose baseline it is to be",
            hint="This is our bug.",
        )
    holding = frame.holdings[Address(account)]
    return (0, 0) if holding is None else (holding.balance, holding.nonce)


def follow_ground(work: Work, account: AccountId, ground: Frame) -> None:
    """
    Take the books to a baseline that was never one before: no kept frame is on the chain any more.

    It holds what the oldest one showed, in which some of what was taken back may have been accounted for. What waits
    for a person is booked with the judgement, and until then books and baseline differ by it. What stays placed above
    the ground's count is the next frame's to account for.
    """
    if work.connection.execute(SQL["any_ambiguous"], (account,)).fetchone()[0]:
        return
    balance, nonce = held(ground, account)
    booked = work.connection.execute(SQL["booked"], (account,)).fetchone()[0]
    placed = work.connection.execute(SQL["placed_above"], (account, nonce)).fetchone()[0]
    delta = balance - placed - booked
    if delta:
        # without a height, as when an account is adopted: a later reorg takes none of it back
        move(work, [Movement(account=account, kind=BalanceKind.UNEXPLAINED, delta=delta)])


def adopt(work: Work, changes: Sequence[Adopted]) -> list[str | None]:
    """
    Begin an account's sequence at what the chain shows, or go on with it after a thaw (R2, R14).

    Its opening balance is booked as funding; after a thaw what moved meanwhile is booked as unexplained.
    """
    reasons: list[str | None] = []
    for change in changes:
        row = work.connection.execute(SQL["account"], (change.account,)).fetchone()
        known = work.connection.execute(SQL["baseline"], (change.account,)).fetchone()
        if row is None or _untouched(work, change.account) or (known is not None and row[1] is not None):
            reasons.append("changed")
            continue
        # what a reorg left is booked below: to go back to a frame from before would account for it twice
        set_baseline(work, change.account, change.baseline, drop_above=True)
        work.connection.execute(SQL["drop_frames_below"], (change.account, change.baseline.height))
        work.many(SQL["adopt"], [(change.next_nonce, change.account)])
        delta = held(change.baseline, change.account)[0] - row[3]
        if delta:
            kind = BalanceKind.FUNDING if known is None and delta > 0 else BalanceKind.UNEXPLAINED
            # without a height: what was there before we looked is never withdrawn with a block
            move(work, [Movement(account=change.account, kind=kind, delta=delta)])
        work.note(change.account, "adopted", (change.next_nonce, change.baseline.height))
        work.fact(EventKind.ACCOUNT_ADOPTED, change.account, detail=f"next nonce {change.next_nonce}")
        reasons.append(None)
    return reasons


def _untouched(work: Work, account: AccountId) -> bool:
    """Whether an account is in quarantine, and what the signer bound was not adopted yet (§8)."""
    [row] = work.connection.execute(SHARED["accounts_by_id"], (ids_json([account]),)).fetchall()
    return bool(row[1] == AccountState.QUARANTINED and row[2] != restore.TAKEN_UP)


def freeze(work: Work, changes: Sequence[FrozenNow]) -> list[str | None]:
    """
    Freeze at first sight; a graver cause replaces the one that stands, and pages as the first one did (R14).

    Of a less grave one only what thawing waits for is kept.
    """
    for found in changes:
        state, _, thaw_above, _, _, before, said = work.connection.execute(
            SQL["account"], (found.account,)
        ).fetchone()
        if state == AccountState.QUARANTINED and found.cause in AFTER_QUARANTINE:
            _freeze_afterwards(work, found)
        frozen = state == AccountState.FROZEN
        if state != AccountState.ACTIVE and not (frozen and graver(found.cause, before)):
            if found.thaw_above is not None and found.thaw_above > (thaw_above or 0):
                work.many(SQL["raise_thaw"], [(found.thaw_above, found.account)])
                work.note(found.account, "thaw_above", found.thaw_above)
            continue
        former = f" (frozen before: {before}: {said[:SAID_BEFORE]})" if frozen else ""
        change = replace(found, detail=f"{found.detail}{former}")
        work.many(SQL["freeze"], [(change.cause, change.detail, change.thaw_above, change.account)])
        work.note(change.account, "frozen", (change.cause, change.detail, change.thaw_above))
        work.fact(
            EventKind.ACCOUNT_FROZEN,
            change.account,
            change.cause,
            severity=Severity.PAGE,
            detail=change.detail,
        )
    return [None] * len(changes)


def _freeze_afterwards(work: Work, found: FrozenNow) -> None:
    """Keep for a person what was found of an account in quarantine, until it leaves; page once."""
    if restore_report.freeze_afterwards(work.connection, found.account, found.cause, found.detail):
        detail = f"{found.detail}; it is in quarantine, and frozen once it leaves"
        work.note(found.account, "frozen", (found.cause, detail, found.thaw_above))
        work.fact(EventKind.ACCOUNT_FROZEN, found.account, found.cause, severity=Severity.PAGE, detail=detail)


def freeze_unknown_counts(work: Work, moved: Sequence[AccountId]) -> None:
    """
    Freeze an active account whose new baseline shows more nonces consumed than we ever staged (R14), checked inside.

    Who decided may have seen the account frozen, and a person may have thawed it since: then nobody else freezes it, and
    with its next nonce below the chain's count it would never pay again.
    """
    for account in moved:
        state, next_nonce, count = work.connection.execute(SQL["counts"], (account,)).fetchone()
        if state == AccountState.ACTIVE and next_nonce is not None and count >= next_nonce:
            detail = f"nonce {count} was used by a stranger"
            cause = FreezeCause.FOREIGN_NONCE
            freeze(work, [FrozenNow(account=account, cause=cause, detail=detail, thaw_above=Nonce(count))])


def quarantine(work: Work, changes: Sequence[QuarantinedNow]) -> list[str | None]:
    """The store may be older than the world: stronger than frozen, left only by the way of §8."""
    for change in changes:
        row = work.connection.execute(SQL["account"], (change.account,)).fetchone()
        if row[0] == AccountState.QUARANTINED:
            continue
        work.many(SQL["quarantine"], [(change.detail, change.account)])
        work.note(change.account, "quarantined", change.detail)
        work.fact(EventKind.ACCOUNT_QUARANTINED, change.account, severity=Severity.PAGE, detail=change.detail)
    return [None] * len(changes)


def move_chain(work: Work, changes: Sequence[ChainMoved]) -> list[str | None]:
    """What is believed of the chain; what was settled never falls, and what was pinned is never replaced (R15)."""
    reasons: list[str | None] = []
    for change in changes:
        stored, new = chain_state(work.connection), change.chain
        other = stored.genesis is not None and new.genesis not in (None, stored.genesis)
        if other or new.chain_id != stored.chain_id:
            reasons.append("changed")
            continue
        reasons.append(None)
        if new == stored:
            continue
        row = (new.genesis, new.believed, new.risen_at, new.settled_height, new.settled)
        work.connection.execute(SQL["move_chain"], row)
        work.note(change.account, "chain", (new.believed, new.settled_height, new.settled, new.genesis))
        work.fact(EventKind.CHAIN_MOVED, None, severity=Severity.DEBUG, detail=f"height {new.believed}")
    return reasons
