"""
A store that may be older than the world: stopped in the transaction that finds it, left by a person's word (§8).

What was found, what was repaired and what is missing stands in `meta`, as one report for people; what decides stands in
the accounts (`quarantined`, cause `restored` until the signer's bindings were adopted, then `taken_up`).
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from treasuryd.core import restore
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    AccountState,
    Approval,
    BaseUnits,
    BreakerMode,
    CallClass,
    Height,
    Nonce,
    Rules,
    Term,
    UnixSeconds,
)
from treasuryd.core.restore import Dispute, Past, Reason, Sign, Standing, Witness
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal
from treasuryd.store.desk_items import tell
from treasuryd.store.desk_judgement import judge_fillers
from treasuryd.store.desk_queries import DESK
from treasuryd.store.fillers import stage_fillers
from treasuryd.store.queries import load
from treasuryd.store.restore_report import meta, of_account, put_report, report, running
from treasuryd.store.rows import SHARED, chain_state
from treasuryd.store.work import Work, json_text

SQL: Final = load("quarantine.sql")
WHO: Final = "treasuryd"  # whose word it is, where no person spoke
LISTED: Final = 1_000  # rows of one kind that the report names
LINEAGE: Final = "lineage"
FORMER: Final = "former_lineages"
PLACE: Final = "place"  # which file the store was when it was opened last


# --- what the store says of itself ---------------------------------------------------------------------------


def past(connection: Connection, told: Mapping[AccountId, Witness]) -> Past:
    """Read what signer and copies are held against; `told` is what witnesses were told before this reading."""
    rows = connection.execute(SQL["pasts"]).fetchall()
    chains = (journal.PEOPLE, "store", *(journal.chain_of(row[0]) for row in rows))
    known = {row[0] for row in rows}
    asked = {head for account, one in told.items() if account in known for head in one.heads.items()}
    return Past(
        lineage=meta(connection, LINEAGE) or "",
        former=frozenset(orjson.loads(meta(connection, FORMER) or "[]")),
        heads={chain: head for chain in chains if (head := _head(connection, chain)) is not None},
        unknown=tuple(sorted(chain for chain, head in asked if not _holds(connection, chain, *head))),
        high_water={row[0]: Nonce(row[5]) for row in rows},
        terms={row[0]: Term(row[7]) for row in rows},
        last_disbursement=dict(connection.execute(SQL["counters"]).fetchall())["disbursement"] - 1,
        found=tuple(row[0] for row in rows if (row[1], row[2]) == (AccountState.QUARANTINED, restore.FOUND)),
    )


def _head(connection: Connection, chain: str) -> tuple[int, str] | None:
    row = connection.execute(SHARED["journal_head"], (chain,)).fetchone()
    return None if row is None else (row[0], row[1])


def _holds(connection: Connection, chain: str, seq: int, digest: str) -> bool:
    row = connection.execute(SQL["entry"], (chain, seq)).fetchone()
    return row is not None and row[0] == digest


# --- found ---------------------------------------------------------------------------------------------------


def find(
    connection: Connection,
    rules: Rules,
    reasons: Sequence[Reason],
    now: UnixSeconds,
    *,
    by: str = WHO,
    more: Mapping[str, Any] | None = None,
) -> tuple[Event, ...]:
    """
    Quarantine every account of the store, and turn the kill switch on: in one transaction, whoever holds the leases.

    Repeating it is harmless; a new sign of an account that was taken up has it taken up again. Args: more goes into the
    report.
    """
    before = report(connection)
    rows = connection.execute(SQL["pasts"]).fetchall()
    settled = chain_state(connection).settled_height
    nothing: dict[str, Any] = {"found_at": now, "found": [], "accounts": {}}
    kept = before if running(before) else nothing
    known = [(one["sign"], one["detail"]) for one in kept["found"]]
    untouched = all((row[1], row[2]) == (AccountState.QUARANTINED, restore.FOUND) for row in rows)
    fresh = [
        one
        for one in dict.fromkeys(reasons)
        if (str(one.sign), one.detail) not in known or (one.sign in restore.HAPPENED and not untouched)
    ]
    if not fresh:
        return ()
    work = Work(connection, rules, now)
    more_signs = f" ({len(fresh) - 1} more signs)" if len(fresh) > 1 else ""
    detail = f"{fresh[0].detail[:400]}{more_signs}"
    for row in rows:
        if row[1] != AccountState.QUARANTINED:  # what was said of it before it left an earlier one is over
            kept.setdefault("burned", {})[row[0]] = _burned(connection, row[0], settled)
            kept["accounts"].pop(row[0], None)
            kept.get("left", {}).pop(row[0], None)
        if row[1] == AccountState.FROZEN:  # it is frozen again once the quarantine is over
            of_account(kept, row[0])["frozen"] = [row[2], row[3]]
        _quarantine(work, row[0], detail)
    _kill(connection, detail, now)
    kept["found"] = [*kept["found"], *({"sign": str(one.sign), "detail": one.detail} for one in fresh)][
        :LISTED
    ]
    put_report(connection, {**kept, **(more or {})})
    words = {"found": [(one.sign, one.detail) for one in fresh]}
    tell(connection, "quarantine", Approval(who=by, reason=detail, at=now), words)
    return work.finish("quarantine")


def join(connection: Connection, fresh: Sequence[AccountId]) -> None:
    """Quarantine new accounts of a store that is in one: their items may be as old, and paid since (§8.2)."""
    said = report(connection)
    if fresh and running(said):
        detail = "it is new in a store that is older than the world (protocol.md §8)"
        connection.executemany(SQL["quarantine_account"], [(account, detail) for account in fresh])


def _quarantine(work: Work, account: AccountId, detail: str) -> None:
    work.many(
        SQL["quarantine_account"], [(account, f"{detail}: it is older than the world (protocol.md §8)")]
    )
    work.note(account, "quarantined", detail)
    work.fact(EventKind.ACCOUNT_QUARANTINED, account, severity=Severity.PAGE, detail=detail)


def _kill(connection: Connection, detail: str, now: UnixSeconds) -> None:
    """The kill switch starts on (§8.2): nothing leaves until a person has looked."""
    if not connection.execute(SHARED["kill_switch"]).fetchone()[0]:
        row = ("*", CallClass.SEND, BreakerMode.FORCED_OPEN, f"quarantine: {detail}", WHO, now)
        connection.execute(DESK["put_override"], row)


def declare(connection: Connection, rules: Rules, *, by: Approval) -> tuple[Event, ...]:
    """A person says that this store was restored, where nothing outside it remembers more than it does."""
    detail = f"declared by {by.who}: {by.reason}"
    reason = Reason(sign=Sign.DECLARED, detail=detail)
    return find(connection, rules, [reason], by.at, by=by.who)


# --- left ----------------------------------------------------------------------------------------------------


def standing(
    connection: Connection, rules: Rules, account: AccountId, *, signer: Nonce, signer_lost: bool
) -> Standing:
    """
    Say what has to be decided before an account leaves quarantine. `signer` is the signer's highest nonce.

    Raises: Rejected (NOT_FOUND, CONFLICT) for an account that does not exist, or is not in quarantine.
    """
    rows = {row[0]: row for row in connection.execute(SQL["pasts"]).fetchall()}
    if account not in rows:
        raise Rejected(f"there is no account {account[:80]!r}", field="account", kind=Refusal.NOT_FOUND)
    _, state, cause, _, _, high_water, consumed, _ = rows[account]
    if state != AccountState.QUARANTINED:
        raise Rejected(
            f"the account {account} is {state}, not in quarantine",
            hint="`treasuryd quarantine show` lists what is.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    chain = chain_state(connection)
    mark = Nonce(max(high_water, signer))
    burned = _burned(connection, account, chain.settled_height)
    read = connection.execute(SQL["baseline_of"], (account,)).fetchone()[0]
    included = connection.execute(SQL["highest_included"], (account, chain.settled_height)).fetchone()[0]
    said = report(connection).get("accounts", {}).get(account, {})
    return Standing(
        account=account,
        taken_up=cause == restore.TAKEN_UP,
        kill_switch=bool(connection.execute(SHARED["kill_switch"]).fetchone()[0]),
        mark=mark,
        signer_lost=signer_lost,
        open=tuple(row[0] for row in connection.execute(SQL["open_nonces"], (account, LISTED)).fetchall()),
        included=None if included is None else Height(included),
        ambiguous=tuple(
            row[0] for row in connection.execute(SQL["ambiguous_items"], (account, LISTED)).fetchall()
        ),
        unknown=_unknown(connection, account, mark, burned),
        contradictions=tuple(
            Dispute(intent_id=intent, nonce=nonce, item=item, detail=detail)
            for detail, (intent, nonce, item) in said.get("disputed", {}).items()
        ),
        read=None if read is None else Height(read),
        consumed=Nonce(consumed or 0),
        burned=burned,
        settled=chain.settled_height,
        believed=chain.believed,
        finality_depth=rules.finality_depth,
    )


def fill(connection: Connection, rules: Rules, account: AccountId, *, fee: BaseUnits, by: Approval) -> Event:
    """
    Stage a filler for each nonce up to the mark whose bytes nobody knows any more: its payment may be out (§8.4).

    Only where the signer lost its memory is there such a nonce. Whatever wins, nothing behind it waits for ever. One that
    the chain shows used needs none: nothing is signed under it (R14).
    """
    now = standing(connection, rules, account, signer=Nonce(0), signer_lost=False)
    work = Work(connection, rules, by.at)
    term = {row[0]: row[7] for row in connection.execute(SQL["pasts"]).fetchall()}[account]
    staged = stage_fillers(work, account, now.to_fill, fee=fee, term=Term(term))
    if staged:
        tell(connection, "fill_unknown", by, {"account": account, "fillers": staged})
    return Event(
        kind=EventKind.FILL_ORDERED,
        severity=Severity.WARNING,
        account=account,
        count=len(staged),
        detail=f"nonces {', '.join(str(row[1]) for row in staged[:20]) or 'none'}: {by.reason}",
    )


def _burned(connection: Connection, account: AccountId, settled: Height) -> Nonce:
    """The highest nonce that a kept frame at finality depth shows as used."""
    rows = connection.execute(SQL["frames_below"], (account, settled)).fetchall()
    shown = (orjson.loads(row[0]).get(account) for row in rows)
    return Nonce(max((holding[1] for holding in shown if holding), default=0))


def _unknown(connection: Connection, account: AccountId, mark: Nonce, burned: Nonce) -> tuple[Nonce, ...]:
    """Nonces above what is burned, up to the mark, that nothing here has: they may be signed, and their bytes are lost."""
    first = connection.execute(SQL["first_nonce"], (account,)).fetchone()[0]
    below = max(burned, 0 if first is None else first - 1)
    known = {row[0] for row in connection.execute(SQL["known_nonces"], (account, below)).fetchall()}
    missing = (nonce for nonce in range(below + 1, mark + 1) if nonce not in known)
    return tuple(map(Nonce, islice(missing, LISTED)))


def _forgotten(connection: Connection, account: AccountId, said: Mapping[str, Any], consumed: Nonce) -> bool:
    """
    Whether one of our nonces was used by what nobody here remembers, since this store knew of it as free.

    It may have been staged here, signed and sent later, and all of that forgotten with the whole machine (§8.2).
    """
    below = said.get("burned", {}).get(account, 0)
    return connection.execute(SQL["forgotten"], (account, below, consumed)).fetchone() is not None


def leave(
    connection: Connection,
    rules: Rules,
    account: AccountId,
    *,
    by: Approval,
    signer: Nonce,
    signer_lost: bool,
    lineage: str,
    give_up: bool,
) -> Event:
    """
    A person ends an account's quarantine: it goes on above every nonce that is known (§8.6), frozen where it was frozen.

    With the last account the store gets another lineage: a copy of it from before is another store to the signer.
    Args: give_up: another store that the signer served is lost for good; every item that it may have paid is held.
    Raises: Rejected (CONFLICT) with all open points until everything is decided.
    """
    now = standing(connection, rules, account, signer=signer, signer_lost=signer_lost)
    points = restore.open_points(now, give_up=give_up)
    if points:
        raise Rejected(
            f"the account {account} stays in quarantine: {'; '.join(points)}",
            hint="`treasuryd quarantine show` says it again, with what was found and adopted.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    following = restore.next_nonce(now)
    judge_fillers(connection, rules, account, by=by)
    said, warned = report(connection), ""
    if now.consumed > now.mark or _forgotten(connection, account, said, now.consumed):
        # somebody paid from this account what nobody here remembers: perhaps we did
        detail = "the chain shows payments of this account that nobody here remembers"
        connection.execute(SQL["hold_restored"], (account, detail))
        warned = f"; {detail}, up to nonce {now.consumed}: look there before anything is submitted again"
    if now.contradictions:
        detail = "the signer served another store too, which is lost: it may have paid this"
        connection.execute(SQL["hold_restored"], (account, detail))
        items = [(one.item, detail) for one in now.contradictions if one.item is not None]
        connection.executemany(SQL["hold_disputed"], items)
    frozen = said.get("accounts", {}).get(account, {}).get("frozen")
    state, cause, why = (AccountState.FROZEN, *frozen) if frozen else (AccountState.ACTIVE, "", "")
    assert connection.execute(SQL["leave"], (account, following, state, cause, why)).rowcount == 1
    others = any(row[1] == AccountState.QUARANTINED for row in connection.execute(SQL["pasts"]).fetchall())
    left = {**said.get("left", {}), account: {"by": by.who, "reason": by.reason, "at": by.at}}
    ended = {} if others else {"left_at": by.at}
    put_report(connection, {**said, "left": left, **ended})
    if not others:
        former = [*orjson.loads(meta(connection, FORMER) or "[]"), meta(connection, LINEAGE)]
        connection.execute(SQL["put_meta"], (FORMER, json_text(former)))
        connection.execute(SQL["put_meta"], (LINEAGE, lineage))
    given_up = {"given_up": [one.detail for one in now.contradictions]} if now.contradictions else {}
    tell(connection, "leave_quarantine", by, {"account": account, "next_nonce": following, **given_up})
    return Event(
        kind=EventKind.ACCOUNT_THAWED,
        severity=Severity.WARNING,
        account=account,
        reason="quarantine",
        detail=f"next nonce {following}: {by.reason}{warned}",
    )
