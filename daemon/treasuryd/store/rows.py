"""From rows to values. Each reader takes a batch; the order of columns is that of the fragments in `queries.sql`."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    Attachment,
    BaseUnits,
    BlockHash,
    ChainState,
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Evidence,
    ExpectedReceipt,
    Frame,
    Height,
    Hold,
    Holding,
    HouseName,
    Intent,
    Meaning,
    Nonce,
    Proposal,
    State,
    Status,
    Variant,
    VariantKind,
    Vote,
)
from treasuryd.sqlite.connect import Connection
from treasuryd.store.queries import load

SHARED: Final = load("queries.sql")
Row = Sequence[Any]
K = TypeVar("K")
V = TypeVar("V")
FRAMES_REMEMBERED: Final = 4_096  # parsed frames: a few per account; beyond it all are parsed anew

STATUSES: Final = {status.value: status for status in Status}
STATES: Final = {state.value: state for state in State}
MEANINGS: Final = {meaning.value: meaning for meaning in Meaning}
KINDS: Final = {kind.value: kind for kind in VariantKind}


def ids_json(ids: Iterable[Any]) -> str:
    """Write ids (or names) as the one JSON array that a query takes."""
    return orjson.dumps(list(ids)).decode()


def grouped(rows: Iterable[Row], make: Callable[[Row], V]) -> dict[Any, tuple[V, ...]]:
    """Group rows by their first column."""
    found: dict[Any, list[V]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(make(row))
    return {key: tuple(values) for key, values in found.items()}


# --- disbursements --------------------------------------------------------------------------------------------


def disbursements_by_id(
    connection: Connection, ids: Iterable[DisbursementId]
) -> dict[DisbursementId, Disbursement]:
    """Read disbursements whole; those that do not exist are missing from the answer."""
    rows = connection.execute(SHARED["disbursements_by_id"], (ids_json(ids),)).fetchall()
    return {item.id: item for item in disbursements(connection, rows)}


def disbursements(connection: Connection, rows: Sequence[Row]) -> list[Disbursement]:
    """Make disbursements of rows with the columns of `{disbursement}`, in their order, with what belongs to them."""
    if not rows:
        return []
    ids = ids_json(row[0] for row in rows)
    needs = grouped(connection.execute(SHARED["dependencies_of"], (ids,)), lambda row: DisbursementId(row[1]))
    receipts = grouped(
        connection.execute(SHARED["receipts_of"], (ids,)),
        lambda row: ExpectedReceipt(account=row[1], amount=row[2]),
    )
    proposals = {row[0]: _proposal(row) for row in connection.execute(SHARED["proposals_of"], (ids,))}
    return [
        _disbursement(row, needs.get(row[0], ()), receipts.get(row[0], ()), proposals.get(row[0]))
        for row in rows
    ]


def _disbursement(
    row: Row,
    needs: tuple[DisbursementId, ...],
    receipts: tuple[ExpectedReceipt, ...],
    proposal: Proposal | None,
) -> Disbursement:
    return Disbursement(
        id=row[0],
        account=row[1],
        destination=row[2],
        amount=row[3],
        memo=row[4],
        scheduled_epoch=row[5],
        idempotency_key=row[6],
        request_digest=row[7],
        payload_digest=row[8],
        status=STATUSES[row[9]],
        created_at=row[10],
        status_at=row[11],
        vote_deadline_epoch=row[12],
        weights=None if row[13] is None else _weights(json.loads(row[13])),
        activation_epoch=row[14],
        ready_epoch=row[15],
        queued_at=row[16],
        live_intent=row[17],
        cancel_requested=row[18],
        hold=None if row[19] is None else Hold(row[19]),
        hold_detail=row[20],
        tx_hash=row[21],
        fee_paid=row[22],
        executed_height=row[23],
        executed_epoch=row[24],
        executed_at=row[25],
        evidence=None if row[26] is None else Evidence(row[26]),
        finalized_at=row[27],
        rolled_back_at=row[28],
        reason=row[29],
        prior_tx=row[30],
        depends_on=needs,
        expected_receipts=receipts,
        proposal=proposal,
    )


def _proposal(row: Row) -> Proposal:
    return Proposal(
        title=row[1],
        summary=row[2],
        deps=_deps(json.loads(row[3])),
        attachments=_attachments(json.loads(row[4])),
        operators_ppm=row[5],
        builders_ppm=row[6],
        vote_window_epochs=row[7],
        timelock_epochs=row[8],
        rollback_window_epochs=row[9],
    )


# Stored JSON of a shape that this program never writes reads as empty: then the digest of the content differs from the
# one that was approved, and the item is held alone instead of failing the view of all (protocol.md §2, D9).


def _deps(stored: Any) -> tuple[DisbursementId, ...]:
    return (
        tuple(DisbursementId(item) for item in stored if type(item) is int)
        if isinstance(stored, list)
        else ()
    )


def _attachments(stored: Any) -> tuple[Attachment, ...]:
    sound = isinstance(stored, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("uri"), str)
        for item in stored
    )
    return tuple(Attachment(name=item["name"], uri=item["uri"]) for item in stored) if sound else ()


def _weights(stored: Any) -> dict[HouseName, int]:
    """Read the weights fixed when a vote opened; of another shape they are none, and no quorum is met."""
    found = stored.items() if isinstance(stored, dict) else ()
    return {
        HouseName(house): weight for house, weight in found if house in set(HouseName) and type(weight) is int
    }


def votes(connection: Connection, ids: Iterable[DisbursementId]) -> dict[DisbursementId, tuple[Vote, ...]]:
    """The stored votes of disbursements, one per key."""
    return grouped(connection.execute(SHARED["votes_of"], (ids_json(ids),)), _vote)


def _vote(row: Row) -> Vote:
    return Vote(
        disbursement_id=row[0],
        house=HouseName(row[1]),
        key=row[2],
        counter=row[3],
        decision=Decision(row[4]),
        signature=row[5],
        taken_at=row[6],
        seen_epoch=row[7],
    )


# --- intents --------------------------------------------------------------------------------------------------


def intents(rows: Iterable[Row]) -> list[Intent]:
    """
    Make intents of rows with the columns of `{intent}` and the bytes, one row per variant.

    The rows of one intent follow each other in the order of its variants.
    """
    found: list[Intent] = []
    last: Row | None = None
    variants: list[Variant] = []
    for row in rows:
        if last is not None and row[0] != last[0]:
            found.append(_intent(last, tuple(variants)))
            variants = []
        last = row
        variants.append(_variant(row))
    if last is not None:
        found.append(_intent(last, tuple(variants)))
    return found


def _variant(row: Row) -> Variant:
    return Variant(
        number=row[19],
        kind=KINDS[row[20]],
        fee=row[21],
        tx_hash=row[22],
        sent_at=row[23],
        attempts=row[24],
        last_meaning=None if row[25] is None else MEANINGS[row[25]],
        pooled=bool(row[26]),
        tx_bytes=row[27],
    )


def _intent(row: Row, variants: tuple[Variant, ...]) -> Intent:
    filler = row[3] is None
    return Intent(
        id=row[0],
        account=row[1],
        nonce=row[2],
        disbursement_id=row[3],
        destination=row[4],
        amount=row[5],
        term=row[6],
        state=STATES[row[7]],
        staged_at=row[8],
        sent_at=row[9],
        refusals=row[10],
        winner=row[11],
        height=row[12],
        block_hash=row[13],
        evidence=None if row[14] is None else Evidence(row[14]),
        memo="" if filler else row[15],
        payload_digest=Digest("") if filler else row[16],
        idempotency_key=f"filler/{row[1]}/{row[2]}" if filler else row[17],
        cancel_requested=row[18] is not None,
        variants=variants,
    )


# --- accounts and chain ---------------------------------------------------------------------------------------


class Frames:
    """
    Remembers parsed frames by their row's id; a row never changes, so it is parsed once and not in every tick.

    Guarantees: bounded. Does not guarantee: anything across threads; a store has one for its reader.
    """

    def __init__(self) -> None:
        self._known: dict[int, Frame] = {}

    def of(self, connection: Connection, accounts: Iterable[AccountId]) -> dict[AccountId, tuple[Frame, ...]]:
        """The kept frames of accounts, oldest first."""
        wanted = connection.execute(SHARED["frame_ids"], (ids_json(accounts),)).fetchall()
        missing = [row[1] for row in wanted if row[1] not in self._known]
        read = {
            row[0]: frame_of(row) for row in connection.execute(SHARED["frames_by_id"], (ids_json(missing),))
        }
        known = {row[1]: self._known.get(row[1]) or read[row[1]] for row in wanted}
        self._known = dict(list(known.items())[-FRAMES_REMEMBERED:])
        return grouped(wanted, lambda row: known[row[1]])


def frame_of(row: Row) -> Frame:
    """A frame from (id, height, hash, base fee, holdings)."""
    return Frame(
        height=Height(row[1]),
        block_hash=BlockHash(row[2]),
        base_fee=row[3],
        holdings={
            Address(address): None
            if held is None
            else Holding(balance=BaseUnits(held[0]), nonce=Nonce(held[1]))
            for address, held in orjson.loads(row[4]).items()
        },
    )


def holdings_json(holdings: Mapping[Address, Holding | None]) -> str:
    """Write what a frame shows, compactly: address -> [balance, nonce], or null where the chain knows no such one."""
    return orjson.dumps(
        {address: None if held is None else (held.balance, held.nonce) for address, held in holdings.items()}
    ).decode()


def accounts(connection: Connection, frames: Frames, ids: Sequence[AccountId] | None = None) -> list[Account]:
    """Read accounts (all where no ids are given), with their frames."""
    rows = (
        connection.execute(SHARED["all_accounts"]).fetchall()
        if ids is None
        else connection.execute(SHARED["accounts_by_id"], (ids_json(ids),)).fetchall()
    )
    kept = frames.of(connection, [row[0] for row in rows])
    return [_account(row, kept.get(row[0], ())) for row in rows]


def _account(row: Row, kept: tuple[Frame, ...]) -> Account:
    return Account(
        id=row[0],
        state=AccountState(row[1]),
        cause=row[2],
        detail=row[3],
        next_nonce=row[4],
        high_water=row[5],
        thaw_above=row[6],
        baseline=kept[-1] if kept else None,
        kept=kept[:-1],
    )


def chain_state(connection: Connection) -> ChainState:
    """What is pinned and believed of the chain; its row was written when the store was made."""
    row = connection.execute(SHARED["chain"]).fetchone()
    return ChainState(
        chain_id=row[0],
        genesis=row[1],
        believed=row[2],
        risen_at=row[3],
        settled_height=row[4],
        settled=row[5],
    )


def take_ids(connection: Connection, kind: str, count: int) -> int:
    """Reserve `count` ids of a kind (`disbursement`, `intent`) inside the transaction; answers the first."""
    after: int = connection.execute(SHARED["take_ids"], (kind, count)).fetchone()[0]
    return after - count
