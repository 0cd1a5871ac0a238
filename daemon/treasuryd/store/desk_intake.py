"""
How disbursements come in: whole requests, and named batches in parts that are invisible until they are sealed whole.

Everything of a request is in one transaction, or nothing; each statement runs once for all rows. The id of a
disbursement is above every id ever given, in input order.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from treasuryd.core.limits import MAX_DEPENDENTS, crowded
from treasuryd.core.model import (
    AccountId,
    Address,
    Attachment,
    BaseUnits,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    ExpectedReceipt,
    NewDisbursement,
    Ppm,
    Proposal,
    State,
    Status,
    UnixSeconds,
)
from treasuryd.core.staging import canonical_json, payload_digest, proposal_json, receipts_json
from treasuryd.errors import Corrupt, Refusal, Rejected
from treasuryd.ports import Submission, Submitted
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal, keys
from treasuryd.store.dependencies import count_dependents
from treasuryd.store.desk_queries import DESK
from treasuryd.store.rows import disbursements_by_id, ids_json, take_ids

LOOKUP_ROWS: Final = 1_000

Standing: TypeAlias = Mapping[DisbursementId, tuple[Status, State | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """One item with everything that its rows say."""

    item: NewDisbursement
    id: DisbursementId
    depends_on: tuple[DisbursementId, ...]
    digest: Digest
    unmet: int


def submit(
    connection: Connection, request: Submission, *, now: UnixSeconds, satisfied_by_final: bool
) -> Submitted:
    """
    Store all items of a request, or none.

    Same key and digest: the first answer again. Raises: Rejected for a known key with another digest and a key that is
    a batch's (CONFLICT), a dependency that does not exist or was rolled back, and while an account of it is in
    quarantine (UNAVAILABLE).
    """
    for key in (request.key, *request.also):
        known = answered(connection, key, request.request_digest)
        if known is not None:
            return known
    keys.check_whole(connection, request.key, now=now)
    names = [f"items[{row}]." for row in range(len(request.items))]
    return store(connection, request, names, now=now, satisfied_by_final=satisfied_by_final)


def answered(connection: Connection, key: str, digest: Digest) -> Submitted | None:
    """
    Give the first answer of a request again; None when its key is new.

    Raises: Rejected (CONFLICT) when the key belongs to another request.
    """
    row = connection.execute(DESK["request_by_key"], (key,)).fetchone()
    if row is None:
        return None
    stored, first, count = row
    if stored != digest:
        raise Rejected(
            f"the idempotency key {key!r} belongs to another request",
            hint=f"That one became the disbursements {first} to {first + count - 1}. A new request needs a new key.",
            field="Idempotency-Key",
            kind=Refusal.CONFLICT,
        )
    ids = [DisbursementId(item) for item in range(first, first + count)]
    found = disbursements_by_id(connection, ids)
    return Submitted(items=tuple(found[item] for item in ids if item in found), repeated=True)


def store(
    connection: Connection,
    request: Submission,
    names: Sequence[str],
    *,
    now: UnixSeconds,
    satisfied_by_final: bool,
    digests: Sequence[Digest | None] = (),
) -> Submitted:
    """
    Write a request whose key is new.

    Args: names say where each item stands, for messages; digests are those that somebody has computed beforehand.
    """
    _check_open(connection, {item.account for item in request.items})
    first = take_ids(connection, "disbursement", len(request.items))
    standing = _standing(connection, request.items)
    ready = _resolved(request.items, names, digests, first, standing, by_final=satisfied_by_final)
    _check_crowds(connection, ready, names, standing)
    _insert(connection, ready, now=now)
    connection.execute(DESK["put_request"], (request.key, request.request_digest, first, len(ready), now))
    body = {
        "key": request.key,
        "request_digest": request.request_digest,
        "first": first,
        "items": len(ready),
    }
    journal.append(connection, journal.PEOPLE, "submit", body, now)
    return Submitted(items=tuple(_disbursement(one, now=now) for one in ready), repeated=False)


def _check_open(connection: Connection, accounts: Iterable[AccountId]) -> None:
    """In quarantine intake is closed: what comes in could have come in before (protocol.md §8)."""
    closed = connection.execute(DESK["quarantined"], (ids_json(sorted(accounts)),)).fetchone()
    if closed is not None:
        raise Rejected(
            f"the account {closed[0]} is in quarantine: intake is closed",
            hint="The store may be older than the world: `treasuryd quarantine show`, docs/runbooks/quarantine.md.",
            field="account",
            kind=Refusal.UNAVAILABLE,
        )


def _standing(connection: Connection, items: Sequence[NewDisbursement]) -> Standing:
    wanted = sorted({needed for item in items for needed in item.depends_on})
    found: dict[DisbursementId, tuple[Status, State | None]] = {}
    for start in range(0, len(wanted), LOOKUP_ROWS):
        rows = connection.execute(
            DESK["standing_of"], (ids_json(wanted[start : start + LOOKUP_ROWS]),)
        ).fetchall()
        found.update(
            {
                DisbursementId(item): (Status(status), State(state) if state else None)
                for item, status, state in rows
            }
        )
    return found


def _resolved(
    items: Sequence[NewDisbursement],
    names: Sequence[str],
    digests: Sequence[Digest | None],
    first: int,
    standing: Standing,
    *,
    by_final: bool,
) -> list[_Ready]:
    """Turn refs into ids, check what is depended on, count what is not satisfied yet, digest."""
    by_ref = {item.ref: DisbursementId(first + row) for row, item in enumerate(items) if item.ref is not None}
    ready: list[_Ready] = []
    for row, item in enumerate(items):
        own = DisbursementId(first + row)
        unmet = 0
        for needed in item.depends_on:
            unmet += not _satisfied(standing, needed, own=own, place=names[row], by_final=by_final)
        depends_on = item.depends_on
        if item.depends_on_refs:
            fresh = {by_ref[ref] for ref in item.depends_on_refs}
            unmet += len(fresh)
            depends_on = tuple(sorted({*depends_on, *fresh}))
        known = digests[row] if digests else None
        digest = known or payload_digest(item, depends_on)
        ready.append(_Ready(item=item, id=own, depends_on=depends_on, digest=digest, unmet=unmet))
    return ready


def _satisfied(
    standing: Standing, needed: DisbursementId, *, own: DisbursementId, place: str, by_final: bool
) -> bool:
    """
    Whether a dependency is satisfied already (protocol.md §2).

    Raises: Rejected for one that can never be: itself, unknown, rolled back.
    """
    found = standing.get(needed)
    if found is None:
        raise Rejected(
            f"{place}depends_on: the item would become disbursement {own} and depend on itself"
            if needed == own
            else f"{place}depends_on: there is no disbursement {needed}",
            hint="Stored disbursements are named by id, items of the same request by ref (depends_on_refs).",
            field=f"{place}depends_on",
        )
    status, state = found
    if status is Status.ROLLED_BACK:
        raise Rejected(
            f"{place}depends_on: disbursement {needed} was rolled back and will never be paid",
            hint="Leave it out, or submit what it was for anew and depend on that.",
            field=f"{place}depends_on",
        )
    return status is Status.FINALIZED or (by_final and status is Status.EXECUTED and state is State.FINAL)


def _check_crowds(
    connection: Connection, ready: Sequence[_Ready], names: Sequence[str], standing: Standing
) -> None:
    """
    Bound what the transaction that pays, reopens or rolls back an item has to touch.

    A finalized one is left out: nobody waits for it any more. Raises: Rejected for the first row that is one too many.
    """
    over = {item for item, (status, _) in standing.items() if status is Status.FINALIZED}
    before = count_dependents(connection, standing.keys() - over)
    wanted = (
        (row, needed) for row, one in enumerate(ready) for needed in one.depends_on if needed not in over
    )
    found = crowded(before, wanted)
    if found is not None:
        row, needed = found
        raise Rejected(
            f"{names[row]}depends_on: disbursement {needed} would have more than {MAX_DEPENDENTS} direct dependents",
            hint="Let the further ones depend on one of those that depend on it, or wait until it is finalized.",
            field=f"{names[row]}depends_on",
            kind=Refusal.CONFLICT,
        )


def _insert(connection: Connection, ready: Sequence[_Ready], *, now: UnixSeconds) -> None:
    rows = [
        (
            one.id, one.item.account, one.item.destination, one.item.amount, one.item.memo,
            one.item.scheduled_epoch, one.item.idempotency_key, one.item.request_digest, one.digest, now, one.unmet,
        )
        for one in ready
    ]  # fmt: skip
    try:
        connection.executemany(DESK["put_disbursement"], rows)
    except sqlite3.IntegrityError as error:
        raise _clash(connection, ready) from error
    connection.executemany(
        DESK["put_dependency"], [(one.id, needed) for one in ready for needed in one.depends_on]
    )
    connection.executemany(
        DESK["put_receipt"],
        [
            (one.id, place, receipt.account, receipt.amount)
            for one in ready
            for place, receipt in enumerate(one.item.expected_receipts)
        ],
    )
    connection.executemany(
        DESK["put_proposal"],
        [_proposal_row(one.id, one.item.proposal) for one in ready if one.item.proposal is not None],
    )


def _clash(connection: Connection, ready: Sequence[_Ready]) -> Exception:
    """Say which key exists already; anything else that a constraint refused is our bug."""
    own = {one.id for one in ready}
    named = ids_json(one.item.idempotency_key for one in ready)
    for item, key in connection.execute(DESK["ids_by_key"], (named,)).fetchall():
        if item not in own:
            return Rejected(
                f"the item key {key!r} belongs to disbursement {item}",
                hint="A request or batch with such a name was submitted before; choose another key.",
                field="Idempotency-Key",
                kind=Refusal.CONFLICT,
            )
    return Corrupt("a new disbursement breaks a constraint of the store", hint="This is our bug.")


def _proposal_row(item: DisbursementId, proposal: Proposal) -> tuple[Any, ...]:
    shape = proposal_json(proposal)
    return (
        item,
        proposal.title,
        proposal.summary,
        canonical_json(shape["deps"]).decode(),
        canonical_json(shape["attachments"]).decode(),
        proposal.operators_ppm,
        proposal.builders_ppm,
        proposal.vote_window_epochs,
        proposal.timelock_epochs,
        proposal.rollback_window_epochs,
    )


def _disbursement(one: _Ready, *, now: UnixSeconds) -> Disbursement:
    item = one.item
    return Disbursement(
        id=one.id,
        account=item.account,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        scheduled_epoch=item.scheduled_epoch,
        depends_on=one.depends_on,
        expected_receipts=item.expected_receipts,
        proposal=item.proposal,
        idempotency_key=item.idempotency_key,
        request_digest=item.request_digest,
        payload_digest=one.digest,
        created_at=now,
        status_at=now,
    )


# --- one item as JSON: in the parts of a batch ------------------------------------------------


def written_item(item: NewDisbursement) -> dict[str, Any]:
    """One validated item as JSON."""
    return {
        "account": item.account,
        "destination": item.destination,
        "amount": item.amount,
        "memo": item.memo,
        "scheduled_epoch": item.scheduled_epoch,
        "depends_on": item.depends_on,
        "depends_on_refs": item.depends_on_refs,
        "expected_receipts": receipts_json(item.expected_receipts),
        "proposal": None if item.proposal is None else proposal_json(item.proposal),
        "ref": item.ref,
        "key": item.idempotency_key,
        "request_digest": item.request_digest,
    }


def read_item(written: Mapping[str, Any]) -> NewDisbursement:
    """Read back what `written_item` wrote."""
    proposal = written["proposal"]
    return NewDisbursement(
        account=AccountId(written["account"]),
        destination=Address(written["destination"]),
        amount=BaseUnits(written["amount"]),
        memo=written["memo"],
        scheduled_epoch=Epoch(written["scheduled_epoch"]),
        depends_on=tuple(DisbursementId(item) for item in written["depends_on"]),
        depends_on_refs=tuple(written["depends_on_refs"]),
        expected_receipts=tuple(
            ExpectedReceipt(account=receipt["account"], amount=BaseUnits(receipt["amount"]))
            for receipt in written["expected_receipts"]
        ),
        proposal=None if proposal is None else _read_proposal(proposal),
        ref=written["ref"],
        idempotency_key=written["key"],
        request_digest=Digest(written["request_digest"]),
    )


def _read_proposal(written: Mapping[str, Any]) -> Proposal:
    return Proposal(
        title=written["title"],
        summary=written["summary"],
        deps=tuple(DisbursementId(item) for item in written["deps"]),
        attachments=tuple(Attachment(name=one["name"], uri=one["uri"]) for one in written["attachments"]),
        operators_ppm=Ppm(written["quorum"]["operators_ppm"]),
        builders_ppm=Ppm(written["quorum"]["builders_ppm"]),
        vote_window_epochs=written["vote_window_epochs"],
        timelock_epochs=written["timelock_epochs"],
        rollback_window_epochs=written["rollback_window_epochs"],
    )
