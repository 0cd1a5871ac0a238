"""
What people read: pages, details, dependents, history, facts. Each verb is one consistent reading, bounded in its work.

A page walks an index from its cursor downwards. Where a filter matches little, the walk goes on through wider and wider
windows of ids up to a bound, and an emptier page with a cursor says where to go on: no request reads a whole history.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from treasuryd.core.model import (
    MAX_AMOUNT,
    AccountId,
    BalanceEvent,
    BalanceKind,
    BaseUnits,
    BreakerMode,
    BreakerOverride,
    CallClass,
    Disbursement,
    DisbursementId,
    Endpoint,
    Filter,
    Hold,
    Intent,
    Page,
    Snapshot,
    Status,
    StoreFacts,
    UnixSeconds,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection, journal_mode
from treasuryd.store.queries import load
from treasuryd.store.rows import SHARED, disbursements_by_id, ids_json, intents

DESK: Final = load("queries.sql", "desk.sql")
MAX_PAGE: Final = 200
MAX_GET: Final = 10_000
MAX_ID: Final = 2**63 - 1
FIRST_WINDOW: Final = 2_000  # ids looked at first; then four times as many, and so on
WALK_BUDGET: Final = 400_000  # ids that one page may look at: about a tenth of a second

_RANGES: Final = (
    ("min_epoch", "scheduled_epoch >= ?"),
    ("max_epoch", "scheduled_epoch <= ?"),
    ("min_amount", "amount >= ?"),
    ("max_amount", "amount <= ?"),
    ("min_created_at", "created_at >= ?"),
    ("max_created_at", "created_at < ? + 1"),  # stored with fractions, asked in whole seconds
    ("min_status_ts", "status_at >= ?"),
    ("max_status_ts", "status_at < ? + 1"),
)


def get(connection: Connection, ids: Sequence[DisbursementId]) -> list[Disbursement | None]:
    """Disbursements in the order asked, None for each that does not exist."""
    if len(ids) > MAX_GET:
        raise Rejected(f"{len(ids)} ids, the limit is {MAX_GET} in one reading", kind=Refusal.TOO_LARGE)
    found = by_id(connection, ids)
    return [found.get(item) for item in ids]


def by_id(connection: Connection, ids: Sequence[DisbursementId]) -> dict[DisbursementId, Disbursement]:
    """Disbursements of these ids; what is no id of the store, however large a number, is merely not there."""
    return disbursements_by_id(connection, [item for item in ids if abs(item) <= MAX_ID])


def intents_of(connection: Connection, item: DisbursementId) -> list[Intent]:
    """All intents ever bound to a disbursement, oldest first, with their variants but without bytes."""
    ids = [row[0] for row in connection.execute(DESK["intent_ids_of"], (item,)).fetchall()]
    return intents(connection.execute(SHARED["intents_by_id_without_bytes"], (ids_json(ids),)).fetchall())


def find(connection: Connection, where: Filter) -> Page:
    """
    One page of disbursements, newest first, ids below the cursor.

    Raises: Rejected for a limit outside 1 … 200.
    Guarantees: work bounded by the limit and `WALK_BUDGET`. A page may hold fewer than `limit` items although
        more follow; only `next_cursor` None says that there are none.
    """
    if not 1 <= where.limit <= MAX_PAGE:
        raise Rejected(f"limit: must be 1 to {MAX_PAGE}, got {where.limit}", field="limit")
    high = _top(connection) + 1 if where.cursor is None else min(where.cursor, _top(connection) + 1)
    window, looked = FIRST_WINDOW, 0
    found: list[DisbursementId] = []
    while high > 1 and len(found) <= where.limit and looked < WALK_BUDGET:
        low = max(0, high - window) if _walks_ids(where) else 0
        sql, values = page_query(where, low=low, high=high, limit=where.limit + 1)
        rows = [DisbursementId(row[0]) for row in connection.execute(sql, values).fetchall()]
        found.extend(rows)
        looked += high - low
        high = low + 1
        window *= 4
    cut = found[: where.limit]
    held = disbursements_by_id(connection, cut)
    more = len(found) > where.limit or high > 1
    last = cut[-1] if len(found) > where.limit else DisbursementId(high)
    return Page(items=tuple(held[item] for item in cut), next_cursor=last if more else None)


def waiting(connection: Connection, cursor: DisbursementId | None, limit: int) -> Page:
    """
    What waits for a person, newest first, ids below the cursor; an item whose intent is ambiguous shows that as its hold.

    Raises: Rejected for a limit outside 1 … 200.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Rejected(f"limit: must be 1 to {MAX_PAGE}, got {limit}", field="limit")
    below = MAX_AMOUNT if cursor is None else cursor  # no id is above it
    rows = connection.execute(DESK["waiting"], (below, 2 * limit + 2)).fetchall()
    ids = list(dict.fromkeys(DisbursementId(item) for item, _ in rows))
    ambiguous = {item for item, unclear in rows if unclear}
    cut = ids[:limit]
    items = disbursements_by_id(connection, cut)
    shown = (replace(items[item], hold=Hold.AMBIGUOUS) if item in ambiguous else items[item] for item in cut)
    return Page(items=tuple(shown), next_cursor=cut[-1] if len(ids) > limit else None)


def _top(connection: Connection) -> int:
    return int(connection.execute(DESK["next_id"], ("disbursement",)).fetchone()[0]) - 1


def _walks_ids(where: Filter) -> bool:
    """Whether the page walks the ids themselves: no index narrows what is asked, or what it narrows may be refused."""
    return where.destination is None or bool(where.statuses) or len(_conditions(where)[0]) > 1


def page_query(where: Filter, *, low: int, high: int, limit: int) -> tuple[str, list[Any]]:
    """
    Write the query for the newest ids in `low` < id < `high` that match: one index walk, or one per unfinished status.

    The tests hold each shape of it against SQLite's plan.
    """
    conditions, values = _conditions(where)
    span = [*conditions, "id < ?", "id > ?"]
    values = [*values, high, low]
    statuses = sorted(set(where.statuses))
    if where.destination is not None or not statuses or Status.FINALIZED in statuses:
        if statuses:
            span.append("status IN (SELECT value FROM json_each(?))")
            values.append(ids_json(statuses))
        text = " AND ".join(span)
        return f"SELECT id FROM disbursement WHERE {text} ORDER BY id DESC LIMIT ?", [*values, limit]
    one = f"SELECT id FROM disbursement WHERE {' AND '.join(span)} AND status = ? AND status <> 'finalized'"
    walks = " UNION ALL ".join([f"SELECT id FROM ({one} ORDER BY id DESC LIMIT ?)"] * len(statuses))
    every: list[Any] = [value for status in statuses for value in (*values, status, limit)]
    return f"{walks} ORDER BY id DESC LIMIT ?", [*every, limit]


def _conditions(where: Filter) -> tuple[list[str], list[Any]]:
    asked: list[tuple[str, Any]] = []
    if where.destination is not None:
        asked.append(("destination = ?", where.destination))
    if where.account is not None:
        asked.append(("account = ?", where.account))
    for name, condition in _RANGES:
        bound = getattr(where, name)
        if bound is not None:
            asked.append((condition, max(-MAX_ID, min(MAX_ID, bound))))
    return [condition for condition, _ in asked], [value for _, value in asked]


def dependents(
    connection: Connection, item: DisbursementId, *, limit: int
) -> list[tuple[DisbursementId, int]]:
    """Who depends on `item`, directly or not, as (id, distance), nearest first, at most `limit`; level by level."""
    seen: set[int] = {item}
    found: list[tuple[DisbursementId, int]] = []
    level: list[int] = [item]
    distance = 0
    while level and len(found) < limit:
        distance += 1
        rows = connection.execute(DESK["dependents_of"], (ids_json(level), limit + len(seen))).fetchall()
        level = [row[0] for row in rows if row[0] not in seen]
        seen.update(level)
        found.extend((DisbursementId(dependent), distance) for dependent in level)
    return found[:limit]


def history(
    connection: Connection, account: AccountId | None, *, cursor: int | None, limit: int
) -> list[BalanceEvent]:
    """Balance events, newest first, ids below `cursor`."""
    below = MAX_ID if cursor is None else cursor
    most = max(0, min(limit, MAX_PAGE + 1))
    rows = (
        connection.execute(DESK["history"], (below, most)).fetchall()
        if account is None
        else connection.execute(DESK["history_of"], (below, most, account)).fetchall()
    )
    return [
        BalanceEvent(
            id=event,
            account=AccountId(owner),
            kind=BalanceKind(kind),
            delta=delta,
            fee=BaseUnits(fee),
            balance=balance,
            recorded_at=UnixSeconds(at),
            disbursement_id=item,
            height=height,
        )
        for event, owner, kind, delta, fee, balance, at, item, height in rows
    ]


def overrides(connection: Connection) -> list[BreakerOverride]:
    """People's words on breakers, those on `*` first, so that the last one per breaker counts."""
    rows = connection.execute(DESK["overrides"]).fetchall()
    return [
        BreakerOverride(
            endpoint=Endpoint(endpoint),
            call_class=CallClass(call_class),
            mode=BreakerMode(mode),
            reason=reason,
            who=who,
            at=UnixSeconds(at),
        )
        for endpoint, call_class, mode, reason, who, at in rows
    ]


def snapshot(connection: Connection) -> Snapshot:
    """The executor's last tick; empty before the first."""
    row = connection.execute(DESK["snapshot"]).fetchone()
    if row is None:
        return Snapshot()
    tick, success, failed, error, pending, staged, nonce = row
    return Snapshot(
        last_tick_at=tick,
        last_success_at=success,
        last_error_at=failed,
        last_error=error,
        pending_matured=pending,
        staged_intents=staged,
        last_submitted_nonce=nonce,
    )


def facts(connection: Connection) -> StoreFacts:
    """What `/health` says of the store; finalized items are counted as they become it, never scanned."""
    meta: dict[str, str] = dict(connection.execute(DESK["meta"]).fetchall())
    counts = dict.fromkeys(Status, 0)
    counts |= {Status(name): count for name, count in connection.execute(DESK["unfinished"]).fetchall()}
    counts[Status.FINALIZED] = _one(connection, "next_id", "finalized")
    return StoreFacts(
        sqlite_version=str(connection.execute(DESK["sqlite_version"]).fetchone()[0]),
        journal_mode=journal_mode(connection),
        schema_version=int(meta["schema_version"]),
        lineage=meta["lineage"],
        counts=counts,
        held_for_person=_one(connection, "held"),
        ambiguous=_one(connection, "ambiguous"),
    )


def _one(connection: Connection, name: str, *values: str) -> int:
    return int(connection.execute(DESK[name], values).fetchone()[0])
