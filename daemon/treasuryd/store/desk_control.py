"""People's commands on votes, accounts and breakers: each one transaction with who, why and what in the journal."""

from typing import Final

import orjson

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    AccountState,
    Approval,
    BaseUnits,
    BreakerMode,
    BreakerOverride,
    FreezeCause,
    Height,
    Nonce,
    Rules,
    Status,
    UnixSeconds,
    Vote,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store import fillers, journal
from treasuryd.store.desk_items import blocks_left, one, tell
from treasuryd.store.desk_judgement import judge_fillers
from treasuryd.store.desk_queries import DESK
from treasuryd.store.rows import chain_state, ids_json

ALL_ENDPOINTS: Final = "*"
MAX_ANNOUNCED: Final = 1_000  # expected deposits of one account
NAMED: Final = 20  # lost payments, and lost nonces, in one refusal


def take_vote(connection: Connection, vote: Vote, *, now: UnixSeconds) -> Event:
    """
    Store a vote whose signature was verified; it replaces an older one of its key.

    Raises: Rejected (UNAVAILABLE) in quarantine; (CONFLICT) while no vote is open, from the deadline on (by the seen epoch
        that the vote carries), and for a counter that is not above the one stored.
    """
    item = one(connection, vote.disbursement_id)
    if connection.execute(DESK["quarantined"], (ids_json([item.account]),)).fetchone() is not None:
        raise Rejected(
            f"the account {item.account} is in quarantine: no votes are taken",
            hint="The store may be older than the world, and the vote with it: `treasuryd quarantine show`.",
            field="id",
            kind=Refusal.UNAVAILABLE,
        )
    deadline = item.vote_deadline_epoch
    if item.status is not Status.VOTING or deadline is None:
        raise _conflict(f"disbursement {item.id} is {item.status}: votes are taken while it is voting", "id")
    if vote.seen_epoch >= deadline:
        raise _conflict(
            f"disbursement {item.id}: the vote ended at epoch {deadline}, now it is epoch {vote.seen_epoch}",
            "id",
        )
    stored = connection.execute(DESK["vote_of_key"], (item.id, vote.house, vote.key)).fetchone()
    if stored is not None and stored[0] >= vote.counter:
        raise Rejected(
            f"counter: {vote.counter} is not above {stored[0]}, the counter of this key's last vote",
            hint=f"To vote anew, sign with the counter {stored[0] + 1}.",
            field="counter",
            kind=Refusal.CONFLICT,
        )
    row = (
        item.id, vote.house, vote.key, vote.counter, vote.decision, vote.signature, now, vote.seen_epoch,
    )  # fmt: skip
    connection.execute(DESK["put_vote"], row)
    body = {
        "id": item.id,
        "digest": item.payload_digest,
        "house": vote.house,
        "key": vote.key,
        "counter": vote.counter,
        "decision": vote.decision,
        "signature": vote.signature,
        "seen_epoch": vote.seen_epoch,
    }
    journal.append(connection, journal.PEOPLE, "vote", body, now)
    return Event(
        kind=EventKind.VOTED,
        account=item.account,
        ids=(item.id,),
        reason=str(vote.decision),
        fields={"house": str(vote.house), "key": vote.key, "counter": vote.counter},
    )


# --- accounts -------------------------------------------------------------------------------------------------------


def freeze(connection: Connection, account: AccountId, *, by: Approval) -> Event:
    """
    Stop an account; stored, survives restarts, left only by a person.

    Raises: Rejected (CONFLICT) where it does not act already: the first cause stands.
    """
    state, cause, *_ = _account(connection, account)
    if state is not AccountState.ACTIVE:
        raise _conflict(f"the account {account} is {state} already ({cause})", "account")
    connection.execute(DESK["freeze_account"], (account, FreezeCause.PERSON, by.reason))
    tell(connection, "freeze", by, {"account": account})
    return Event(
        kind=EventKind.ACCOUNT_FROZEN,
        severity=Severity.WARNING,
        account=account,
        reason=FreezeCause.PERSON,
        detail=by.reason,
    )


def thaw(
    connection: Connection,
    account: AccountId,
    *,
    by: Approval,
    burned: Nonce,
    rules: Rules,
    only: FreezeCause | None = None,
) -> Event:
    """
    Let a frozen account act again, above every nonce that the chain has burned (R14).

    Args: only lifts that cause and no other: something graver may have been found since the person looked.
    Raises: Rejected (CONFLICT) where it is not frozen, or for something else than `only`, while a foreign nonce is
        consumed and not yet burned, while something that a deep reorg took is neither reopened nor filled, and while
        what used the nonce of a filler is not final (R9): once it is, that filler is void.
    Guarantees: the next nonce never falls, and lies above `burned`.
    """
    state, cause, next_nonce, thaw_above, count = _account(connection, account)
    if state is AccountState.QUARANTINED:
        raise Rejected(
            f"the account {account} is in quarantine: it is not left by thawing",
            hint="The store may be older than the world: `treasuryd quarantine show`, docs/runbooks/quarantine.md.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    if state is not AccountState.FROZEN:
        raise _conflict(f"the account {account} is {state}, not frozen", "account")
    if only is not None and cause != only:
        raise Rejected(
            f"the account {account} is frozen for {cause}, not for {only}",
            hint="Something else was found since: `treasuryd account show`, docs/runbooks/frozen-account.md.",
            field="cause",
            kind=Refusal.CONFLICT,
        )
    above = None if next_nonce is None else max(next_nonce, burned + 1)
    shown, foreign = count or Nonce(0), thaw_above
    if above is not None and above <= shown:
        foreign = shown  # the highest foreign one may have left the chain, and a lower one not: ours go on above both
    if foreign is not None and burned < foreign <= shown:
        left = blocks_left(
            _consumed_at(connection, account, foreign), chain_state(connection).believed, rules
        )
        raise Rejected(
            f"the account {account}: the foreign nonce {foreign} is not burned yet, in {left} blocks",
            hint="Until it is at finality depth it may still leave the chain.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    _refuse_while_lost(connection, account)
    judge_fillers(connection, rules, account, by=by)
    connection.execute(DESK["thaw_account"], (account, above))
    tell(connection, "thaw", by, {"account": account, "burned": burned, "next_nonce": above, "cause": cause})
    return Event(
        kind=EventKind.ACCOUNT_THAWED,
        account=account,
        reason=cause,
        detail=by.reason,
    )


def _refuse_while_lost(connection: Connection, account: AccountId) -> None:
    """What a deep reorg took would freeze the account again at once, or leave a gap that nothing gets past (R9)."""
    lost = fillers.lost(connection, account)
    payments, nonces = lost.payments[:NAMED], lost.nonces[:NAMED]
    said, hints = [], []
    if payments:
        named = " ".join(map(str, payments))
        said.append(
            f"the chain has lost {_many(len(lost.payments), 'final payment')} (disbursements {named})"
        )
        hints.append("Send the payments again: `treasuryd reopen ID`.")
    if nonces:
        pays = "pays" if len(lost.nonces) == 1 else "pay"
        said.append(
            f"{_many(len(lost.nonces), 'nonce')} {pays} nobody any more ({' '.join(map(str, nonces))})"
        )
        flags = " ".join(f"--nonce {nonce}" for nonce in nonces)
        hints.append(f"Fill the nonces: `treasuryd account fill {account} {flags}`.")
    if said:
        raise Rejected(
            f"the account {account}: {' and '.join(said)}",
            hint=" ".join(hints),
            field="account",
            kind=Refusal.CONFLICT,
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _consumed_at(connection: Connection, account: AccountId, nonce: Nonce) -> Height | None:
    """Lowest kept height at which the chain shows `nonce` consumed."""
    for height, holdings in connection.execute(DESK["kept_frames"], (account,)).fetchall():
        held = orjson.loads(holdings).get(account)
        if held is not None and held[1] >= nonce:
            return Height(height)
    return None


def announce(connection: Connection, account: AccountId, amount: BaseUnits, *, by: Approval) -> Event:
    """Announce an expected deposit, so that it does not blur a payment's evidence (§5.1 item 3)."""
    _account(connection, account)
    if not 1 <= amount < 2**63:
        raise Rejected(f"amount: must be 1 to {2**63 - 1} base units, got {amount}", field="amount")
    if connection.execute(DESK["open_announced"], (account,)).fetchone()[0] >= MAX_ANNOUNCED:
        raise _conflict(f"{MAX_ANNOUNCED} announced deposits of {account} are expected already", "account")
    connection.execute(DESK["put_announced"], (account, amount, by.who, by.reason, by.at))
    tell(connection, "announce", by, {"account": account, "amount": amount})
    return Event(kind=EventKind.DEPOSIT_ANNOUNCED, account=account, amount=amount, detail=by.reason)


def _account(
    connection: Connection, account: AccountId
) -> tuple[AccountState, str, Nonce | None, Nonce | None, Nonce | None]:
    """State, cause, next nonce, foreign nonce to wait for, and the baseline's count."""
    row = connection.execute(DESK["account_row"], (account,)).fetchone()
    if row is None:
        raise Rejected(f"there is no account {account[:80]!r}", field="account", kind=Refusal.NOT_FOUND)
    state, cause, next_nonce, thaw_above, count, _ = row
    return AccountState(state), str(cause), next_nonce, thaw_above, count


# --- breakers -------------------------------------------------------------------------------------------------------


def force_breaker(connection: Connection, override: BreakerOverride) -> Event:
    """
    Store a person's word on a breaker; one on `*` replaces all words on its class.

    The send breaker of `*` forced open is the kill switch. `auto` gives the breaker back to the machine.
    """
    if override.endpoint == ALL_ENDPOINTS:
        connection.execute(DESK["clear_overrides"], (override.call_class,))
    connection.execute(
        DESK["put_override"],
        (override.endpoint, override.call_class, override.mode, override.reason, override.who, override.at),
    )
    by = Approval(who=override.who, reason=override.reason, at=override.at)
    body = {"endpoint": override.endpoint, "class": override.call_class, "mode": override.mode}
    tell(connection, "force_breaker", by, body)
    loud = override.mode in {BreakerMode.FORCED_OPEN, BreakerMode.FORCED_CLOSED}
    return Event(
        kind=EventKind.BREAKER_FORCED,
        severity=Severity.WARNING if loud else Severity.INFO,
        reason=str(override.mode),
        detail=override.reason,
        fields={"endpoint": str(override.endpoint), "class": str(override.call_class), "who": override.who},
    )


def _conflict(message: str, field: str) -> Rejected:
    return Rejected(message, field=field, kind=Refusal.CONFLICT)
