"""
JSON-RPC 2.0 at `/rpc`: the original's `gov.treasury.*` methods, in its shapes and with its error codes (D30).

Reading methods need no token. Batches are bounded, notifications are done and not answered. Every answer is HTTP 200,
as in the original, except an empty one (204).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import orjson
from aiohttp import web

from treasuryd.commands import disbursements, queries
from treasuryd.commands.fields import MAX_REASON, Person, fields_of, text, whole
from treasuryd.commands.office import Office
from treasuryd.core.events import EventKind
from treasuryd.core.intake import from_payload
from treasuryd.core.model import DisbursementId, Status
from treasuryd.core.reading import read_json, shown
from treasuryd.errors import Corrupt, Refusal, Rejected, TreasuryError
from treasuryd.web import original
from treasuryd.web.bulk import claim_of, page_of
from treasuryd.web.envelope import BODY, authorized, of_app, sound
from treasuryd.web.turns import Busy

MAX_BATCH: Final = 100  # calls in one request
MAX_BATCH_ANSWER: Final = 8 * 1024 * 1024  # bytes; the answer that crosses it is still given
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
NO_METHOD: Final = -32601
INVALID_PARAMS: Final = -32602
NOT_FOUND: Final = -32001  # of `disbursement` only, as in the original
STORE_REFUSED: Final = -32092  # every refusal of the treasury's store
LIMITED: Final = -32005  # too much asked for: of one batch, or by everybody at once
UNAUTHORIZED: Final = -33009  # the one code that the original calls "unauthorized"

SORTED: Final = orjson.OPT_SORT_KEYS
_TOO_LONG: Final = (
    f"the answers before this one reach the limit of {MAX_BATCH_ANSWER} bytes for one batch: this call was not done. "
    "Send it again, with the rest, in the next request."
)

Json = dict[str, Any]
Params = Mapping[str, object]


class Fault(Exception):
    """A JSON-RPC error: code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """
    One method: the params it knows, what it does, and the code under which a command's refusal is told.

    `writes` asks for the token. `long` has its answer wait for its turn and count to the batch's limit: what changes
    something or is short does neither. A refusal while params are read is -32602 (of `submit_disbursement` -32600).
    """

    run: Callable[[Office, Params], Awaitable[object]]
    params: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    refused: int = STORE_REFUSED
    invalid: int = INVALID_PARAMS
    writes: bool = False
    long: bool = False


async def rpc(request: web.Request) -> web.Response:
    """Answer one call or a batch of them."""
    try:
        body = read_json(request[BODY])
    except Rejected as error:
        return _reply(_error(None, PARSE_ERROR, f"parse error: {error.message}"))
    if not isinstance(body, list):
        answered = await _call(request, body, row=None)
        if answered is None:
            return web.Response(status=204)
        return _reply(orjson.Fragment(_encoded(request, answered)))
    if not body or len(body) > MAX_BATCH:
        message = f"invalid request: a batch holds 1 to {MAX_BATCH} calls, this one {len(body)}"
        return _reply(_error(None, INVALID_REQUEST, message))
    kept = []
    for row, call in enumerate(body):
        answered = await _call(request, call, row=row)
        if answered is not None:
            kept.append(orjson.Fragment(_encoded(request, answered)))
    return _reply(kept) if kept else web.Response(status=204)


def _encoded(request: web.Request, answered: Json) -> bytes:
    """Render one answer of a batch, and count it to what the request holds."""
    text = orjson.dumps(answered, option=SORTED)
    claim_of(request).add(len(text))
    return text


def _reply(payload: object) -> web.Response:
    return web.Response(body=orjson.dumps(payload, option=SORTED), content_type="application/json")


def _error(call_id: object, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": call_id, "error": {"code": code, "message": sound(message)}}


async def _call(request: web.Request, call: object, *, row: int | None) -> Json | None:
    """Do one call; None answers a notification."""
    call_id = call.get("id") if isinstance(call, dict) else None
    if isinstance(call_id, (bool, list, dict)):
        return _error(None, INVALID_REQUEST, "invalid request: id must be a string, a number or null")
    if isinstance(call_id, int) and not -(2**63) <= call_id < 2**64:  # it could not be given back
        return _error(None, INVALID_REQUEST, "invalid request: id must be a number of 64 bits, or a string")
    wants_answer = not isinstance(call, dict) or "id" in call or "method" not in call
    try:
        answered = {"jsonrpc": "2.0", "id": call_id, "result": await _dispatch(request, call, row=row)}
    except Fault as fault:
        answered = _error(call_id, fault.code, fault.message)
    return answered if wants_answer else None


async def _dispatch(request: web.Request, call: object, *, row: int | None) -> object:
    office, _ = of_app(request)
    try:
        parts = fields_of(call, allowed=("jsonrpc", "id", "method", "params", "badge"), required=("method",))
    except Rejected as error:
        raise Fault(INVALID_REQUEST, f"invalid request: {error.message}") from error
    if parts.get("jsonrpc", "2.0") != "2.0":
        raise Fault(
            INVALID_REQUEST, f"invalid request: jsonrpc must be 2.0, this is {shown(parts['jsonrpc'])}"
        )
    method = METHODS.get(parts["method"]) if isinstance(parts["method"], str) else None
    if method is None:
        raise Fault(NO_METHOD, f"method not found: {shown(parts['method'])}")
    if method.writes and not authorized(request):
        raise Fault(UNAUTHORIZED, "unauthorized: this method needs the daemon's bearer token")
    keys = _keys(request.headers.get("Idempotency-Key"), row)
    if not method.long:
        return await _run(office, method, parts.get("params"), keys=keys)
    claim = claim_of(request)
    if claim.size >= MAX_BATCH_ANSWER:
        raise Fault(LIMITED, _TOO_LONG)
    try:
        async with claim.turns.turn():
            return await _run(office, method, parts.get("params"), keys=keys)
    except Busy as error:
        raise Fault(LIMITED, f"{error.message}. {error.hint}") from error


def _keys(given: str | None, row: int | None) -> tuple[str, ...]:
    """
    Name a call by its own key, then by that of the other form in which it may have come: alone, or first of a batch.

    Whoever repeats it in that other form means the same call.
    """
    if given is None:
        return ()
    if row is None:
        return given, f"{given}.0"
    return (f"{given}.0", given) if row == 0 else (f"{given}.{row}",)


async def _run(office: Office, method: Method, params: object, *, keys: tuple[str, ...]) -> object:
    try:
        known = fields_of({} if params is None else params, allowed=method.params, required=method.required)
    except Rejected as error:
        raise Fault(INVALID_PARAMS, f"invalid params: {error.message}") from error
    try:
        return await method.run(office, {**known, _KEYS: keys})
    except BadParams as error:
        raise Fault(method.invalid, f"invalid params: {error.message}") from error
    except Corrupt:
        raise
    except Rejected as error:
        missing = error.kind is Refusal.NOT_FOUND and method.refused == NOT_FOUND
        raise Fault(NOT_FOUND if missing else method.refused, error.message) from error
    except TreasuryError as error:
        raise Fault(STORE_REFUSED, error.message) from error


class BadParams(Rejected):
    """A param of the wrong type or out of range."""


_KEYS: Final = "\0keys"  # the idempotency keys travel beside the params, under a name that no client can send


def _id(params: Params) -> DisbursementId:
    try:
        return DisbursementId(whole(params["id"], "id", least=1))
    except Rejected as error:
        raise BadParams(error.message, field="id") from error


# --- the methods --------------------------------------------------------------------------------------------


async def submit(office: Office, params: Params) -> Json:
    """`{payload: {proposal, disbursement}}` → `{id, created_at}`; `signature` is read and ignored, as ever."""
    item = from_payload(params["payload"])
    keys = cast("tuple[str, ...]", params[_KEYS])
    done = await disbursements.submit(
        office, [item], key=keys[0] if keys else None, places=["disbursement."], also=keys[1:]
    )
    return {"id": done.items[0].id, "created_at": original.seconds(done.items[0].created_at)}


async def listing(office: Office, params: Params) -> Json:
    """The original's list with its filters; a limit above 200 counts as 200."""
    try:
        where = queries.read_filter({name: params[name] for name in params if name != _KEYS}, clamp=True)
    except Rejected as error:
        raise BadParams(error.message, field=error.field) from error
    records, following = await page_of(where, partial(queries.find, office), original.record, option=SORTED)
    return {"disbursements": records, "next_cursor": following}


async def one(office: Office, params: Params) -> Json:
    """One record."""
    return {"disbursement": original.record(await queries.one(office, _id(params)))}


async def queue(office: Office, params: Params) -> Json:
    """Move a draft on. The caller's epoch is ignored: epochs come from the chain (D21)."""
    item = await disbursements.queue(office, _id(params))
    name = original.STATUS_NAMES[item.status]
    return {"ok": True, "message": f"disbursement {item.id} advanced to {name}"}


async def execute(office: Office, params: Params) -> Json:
    """Nobody executes by request."""
    item = await queries.one(office, _id(params))
    raise Rejected(f"disbursement {item.id} cannot be executed by request: the executor alone executes")


async def rollback(office: Office, params: Params) -> Json:
    """Cancel what is not paid yet; roll back the books of what is, in its window."""
    item = _id(params)
    try:
        by = Person(who="rpc", reason=text(params, "reason", limit=MAX_REASON))
    except Rejected as error:
        raise BadParams(error.message, field="reason") from error
    found = await queries.one(office, item)
    if found.status in {Status.EXECUTED, Status.FINALIZED}:
        await disbursements.rollback(office, item, by)
        return {"ok": True, "message": f"disbursement {item} cancelled"}
    (outcome,) = await disbursements.cancel(office, (item,), by)
    if not outcome.done:
        raise Rejected(
            f"disbursement {item} not cancelled: {outcome.detail or outcome.what}", kind=Refusal.CONFLICT
        )
    if outcome.what == EventKind.CANCEL_REQUESTED:
        message = f"disbursement {item}: cancellation requested; its payment may still win"
        return {"ok": True, "message": message}
    return {"ok": True, "message": f"disbursement {item} cancelled"}


async def balance(office: Office, _: Params) -> Json:
    """The booked balance of all accounts, the last event, the executor's snapshot."""
    found = await queries.balances(office)
    events, _more = await queries.history(office, None, cursor=None, limit=1)
    status = await queries.executor_status(office)
    return {
        "balance": sum(account.booked for account in found),
        "last_snapshot": original.snapshot(events[0]) if events else None,
        "executor": None if status.snapshot.last_tick_at is None else original.executor(status),
    }


async def balance_history(office: Office, params: Params) -> Json:
    """Balance events, newest first."""
    try:
        given = {
            name: whole(params[name], name) for name in ("cursor", "limit") if params.get(name) is not None
        }
    except Rejected as error:
        raise BadParams(error.message, field=error.field) from error
    limit = min(given.get("limit", 0) or queries.DEFAULT_LIMIT, queries.MAX_LIMIT)
    events, following = await queries.history(office, None, cursor=given.get("cursor"), limit=limit)
    found = await queries.balances(office)
    return {
        "snapshots": [original.snapshot(event) for event in events],
        "next_cursor": following,
        "current_balance": sum(account.booked for account in found),
    }


_LIST: Final = Method(run=listing, params=queries.FILTER_FIELDS, long=True)
METHODS: Final[Mapping[str, Method]] = {
    "gov.treasury.submit_disbursement": Method(
        run=submit,
        params=("payload", "signature"),
        required=("payload",),
        refused=INVALID_REQUEST,
        invalid=INVALID_REQUEST,
        writes=True,
    ),
    "gov.treasury.disbursements": _LIST,
    "gov.treasury.list_disbursements": _LIST,
    "gov.treasury.disbursement": Method(
        run=one, params=("id",), required=("id",), refused=NOT_FOUND, long=True
    ),
    "gov.treasury.queue_disbursement": Method(
        run=queue, params=("id", "current_epoch", "signature"), required=("id",), writes=True
    ),
    "gov.treasury.execute_disbursement": Method(
        run=execute, params=("id", "tx_hash", "receipts", "signature"), required=("id",)
    ),
    "gov.treasury.rollback_disbursement": Method(
        run=rollback, params=("id", "reason", "signature"), required=("id", "reason"), writes=True
    ),
    "gov.treasury.balance": Method(run=balance),
    "gov.treasury.balance_history": Method(run=balance_history, params=("cursor", "limit"), long=True),
}

ROUTES: Final = (web.post("/rpc", rpc),)
