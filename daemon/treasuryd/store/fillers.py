"""
Nonces that pay nobody any more, and the fillers that a person orders for them (protocol.md R9, §8).

A reorg deeper than finality may take a cancellation, or a stranger's transaction, from under a void intent. Its nonce is
open again, and everything behind it waits for it. A filler takes it: one unit to the account's own sink.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.evidence import CANCEL_UNITS
from treasuryd.core.lifecycle import INTENT, Fact, advance
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Approval,
    BalanceKind,
    BaseUnits,
    DisbursementId,
    IntentId,
    Nonce,
    Rules,
    State,
    Term,
    VariantKind,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store.accounts import Movement, move
from treasuryd.store.desk_items import tell
from treasuryd.store.desk_queries import DESK
from treasuryd.store.queries import load
from treasuryd.store.rows import Frames, ids_json, take_ids
from treasuryd.store.rows import accounts as rows_of_accounts
from treasuryd.store.standing import SQL as STAGING
from treasuryd.store.work import Work

SQL: Final = load("fillers.sql")
MAX_FILLED: Final = 1_000  # nonces in one command, and that one answer names
MAX_LIVE: Final = 10_000  # live intents that are looked through for gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What the chain took from an account: final payments to reopen, and nonces that pay nobody any more."""

    payments: tuple[DisbursementId, ...] = ()
    nonces: tuple[Nonce, ...] = ()


def lost(connection: Connection, account: AccountId) -> Lost:
    """Name what stands between the chain's count and our next nonce and will not go out by itself; bounded."""
    row = connection.execute(DESK["account_row"], (account,)).fetchone()
    if row is None or row[2] is None:
        return Lost()
    next_nonce, count = row[2], row[4] or 0
    payments = connection.execute(SQL["lost_payments"], (account, count, MAX_FILLED)).fetchall()
    given_up = {row[0] for row in payments if row[2]}
    live = connection.execute(SQL["live_above"], (account, count, MAX_LIVE)).fetchall()
    ends = live[-1][0] + 1 if len(live) == MAX_LIVE else next_nonce
    bound = {row[0] for row in live} - given_up
    open_ones: list[Nonce] = []
    for nonce in range(count + 1, ends):
        if nonce not in bound:
            open_ones.append(Nonce(nonce))
        if len(open_ones) == MAX_FILLED:
            break
    return Lost(payments=tuple(row[1] for row in payments if not row[2]), nonces=tuple(open_ones))


def accounts(connection: Connection, frames: Frames) -> list[Account]:
    """Every account, with what the chain took from it."""
    found = []
    for account in rows_of_accounts(connection, frames):
        taken = lost(connection, account.id)
        found.append(replace(account, lost_payments=taken.payments, lost_nonces=taken.nonces))
    return found


def check(connection: Connection, account: AccountId, nonces: Sequence[Nonce]) -> list[Nonce]:
    """
    Say which of these nonces still need a filler; those that have one already are left out.

    Raises: Rejected where the account is unknown, in quarantine (which has its own way), or not adopted; for a nonce that
        the chain has consumed, that we never gave, or that a live payment holds.
    """
    row = connection.execute(DESK["account_row"], (account,)).fetchone()
    if row is None:
        raise Rejected(f"there is no account {account[:80]!r}", field="account", kind=Refusal.NOT_FOUND)
    state, _, next_nonce, _, count, _ = row
    if state == AccountState.QUARANTINED:
        raise Rejected(
            f"the account {account} is in quarantine: its nonces are filled by the way out of it",
            hint="docs/runbooks/quarantine.md says how to leave quarantine.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    if not 1 <= len(nonces) <= MAX_FILLED or len(set(nonces)) != len(nonces):
        raise Rejected(f"nonces: 1 to {MAX_FILLED} different nonces, got {len(nonces)}", field="nonces")
    bound = dict(connection.execute(SQL["bound_nonces"], (account, ids_json(nonces))).fetchall())
    wanted = []
    for nonce in nonces:
        if nonce in bound and bound[nonce] is None:
            continue  # it has its filler
        reason = _unfillable(nonce, count or 0, next_nonce, bound.get(nonce))
        if reason:
            raise Rejected(
                f"nonce {nonce} of {account}: {reason}",
                hint="Only a nonce between the chain's count and our next one that no live payment holds is filled: "
                "`treasuryd account show` names them.",
                field="nonces",
                kind=Refusal.CONFLICT,
            )
        wanted.append(nonce)
    return wanted


def _unfillable(nonce: int, count: int, next_nonce: int | None, item: DisbursementId | None) -> str:
    if item is not None:
        return f"it is bound to disbursement {item}, whose own bytes go out under it"
    if nonce <= count:
        return f"the chain has consumed it (its count is {count})"
    if next_nonce is None or nonce >= next_nonce:
        return f"it was never given (the next one is {next_nonce})"
    return ""


def fill(
    connection: Connection,
    account: AccountId,
    nonces: Sequence[Nonce],
    *,
    fee: BaseUnits,
    by: Approval,
    rules: Rules,
) -> Event:
    """
    Stage a filler for each nonce, in one transaction; the next tick of an active account has it signed and sends it.

    Args: fee of a cancellation now (base units). A nonce that was cancelled before is filled at that cancellation's fee:
        so the filler has the same bytes, and it does not matter which of both the chain takes.
    """
    wanted = check(connection, account, nonces)
    term = Term(connection.execute(SQL["term_of"], (account,)).fetchone()[0])
    work = Work(connection, rules, by.at)
    staged = stage_fillers(work, account, wanted, fee=fee, term=term)
    if staged:
        tell(connection, "fill", by, {"account": account, "fillers": staged})
    return Event(
        kind=EventKind.FILL_ORDERED,
        severity=Severity.WARNING,
        account=account,
        count=len(wanted),
        detail=f"nonces {', '.join(str(nonce) for nonce in wanted[:20]) or 'none'}: {by.reason}",
    )


def stage_fillers(
    work: Work, account: AccountId, nonces: Collection[Nonce], *, fee: BaseUnits, term: Term
) -> list[tuple[int, int, int]]:
    """Bind each nonce to a filler and take back what its void intents cost; answers (intent, nonce, fee) of each."""
    connection, sink = work.connection, work.rules.sink_of(account)
    first = take_ids(connection, "intent", len(nonces))
    staged: list[tuple[int, int, int]] = []
    intents: list[tuple[Any, ...]] = []
    for intent, nonce in enumerate(sorted(nonces), first):
        _give_up(work, account, nonce)
        before = connection.execute(SQL["had_the_nonce"], (account, nonce)).fetchall()
        price = max((row[2] for row in before if row[2] is not None), default=fee)
        move(work, [_given_back(account, row[0], row[1]) for row in before if row[1]])
        work.many(SQL["give_up_nonce"], [(row[0],) for row in before])
        intents.append((intent, account, nonce, sink, CANCEL_UNITS, price, term, work.now))
        staged.append((intent, nonce, price))
    work.many(SQL["insert_filler"], intents)
    work.many(SQL["filled_up_to"], [(account, nonce) for _, nonce, _ in staged])  # the signer will know it
    work.many(
        STAGING["insert_variant"],
        [(intent, 1, VariantKind.CANCEL, price, work.now) for intent, _, price in staged],
    )
    return staged


def _give_up(work: Work, account: AccountId, nonce: Nonce) -> None:
    """Void a final payment that the chain lost, where its books were rolled back since: it is not wanted any more."""
    for intent, item, cost in work.connection.execute(SQL["given_up"], (account, nonce)).fetchall():
        advance(INTENT, State.FINAL, Fact.GIVEN_UP)
        move(work, [_given_back(account, intent, cost)])
        work.many(SQL["give_up_payment"], [(intent,)])
        work.many(SQL["unbind_rolled_back"], [(item, intent)])


def _given_back(account: AccountId, intent: IntentId, cost: int) -> Movement:
    """What the chain took back with a cancellation; booked without a height, as a person's word withdraws it."""
    return Movement(account=account, kind=BalanceKind.REVERSAL, delta=cost, intent=intent)
