"""REST under `/treasury`: reads a request strictly, hands it to `commands/`, shows the answer flat."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from aiohttp import web

from treasuryd.commands import control, disbursements, proposals, queries
from treasuryd.commands.fields import fields_of, ids, person, text, whole
from treasuryd.commands.office import MAX_IDS, Outcome
from treasuryd.core.intake import items_of
from treasuryd.core.model import MAX_AMOUNT, AccountId, BaseUnits, CallClass, DisbursementId, Endpoint, Nonce
from treasuryd.core.reading import read_json, shown
from treasuryd.errors import Rejected
from treasuryd.web import shapes
from treasuryd.web.bulk import in_turn, page_of
from treasuryd.web.envelope import BODY, answer, of_app

_BATCH_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PERSON: Final = ("by", "reason")
MAX_CAUSE: Final = 64  # characters


def path_id(request: web.Request) -> DisbursementId:
    """The id in the path."""
    return DisbursementId(whole(request.match_info["id"], "id", least=1, from_text=True))


def query_of(request: web.Request, *known: str) -> Mapping[str, object]:
    """The query as one value per name; a name twice, or an unknown one, is refused."""
    found: dict[str, object] = {}
    for name, value in request.query.items():
        if known and name not in known:
            raise Rejected(
                f"unknown query parameter {shown(name)}", field=name[:80], hint=f"Known: {', '.join(known)}."
            )
        if name in found:
            raise Rejected(f"the query parameter {shown(name)} stands twice", field=name[:80])
        found[name] = value
    return found


def body_of(request: web.Request) -> object:
    """The body as strict JSON."""
    body: object = read_json(request[BODY])
    return body


def order_of(request: web.Request, *more: str, required: tuple[str, ...] = ()) -> Mapping[str, object]:
    """The body of a command: who, why, and its own fields."""
    return fields_of(body_of(request), allowed=(*_PERSON, *more), required=("reason", *required))


def many(rows: tuple[Outcome, ...]) -> web.Response:
    """The outcomes of a command over many; 200 when all were done, 409 when some were not."""
    done = sum(row.done for row in rows)
    status = 200 if done == len(rows) else 409
    return answer(shapes.many([shapes.outcome(row) for row in rows], done=done), status=status)


# --- disbursements ------------------------------------------------------------------------------------------


async def submit(request: web.Request) -> web.Response:
    """One or many, all or none."""
    office, _ = of_app(request)
    key = request.headers.get("Idempotency-Key")
    done = await disbursements.submit(office, items_of(body_of(request)), key=key)
    items = [shapes.disbursement(item) for item in done.items]
    return answer(shapes.many(items, repeated=done.repeated), status=200 if done.repeated else 201)


async def submit_one(request: web.Request) -> web.Response:
    """The short form: one disbursement in, one out."""
    office, _ = of_app(request)
    body = body_of(request)
    if not isinstance(body, dict):
        raise Rejected("a JSON object is needed: one disbursement", field="body")
    done = await disbursements.submit(office, [body], key=request.headers.get("Idempotency-Key"), places=[""])
    return answer(shapes.disbursement(done.items[0]), status=200 if done.repeated else 201)


async def intake(request: web.Request) -> web.Response:
    """What the gate checks by, so that a client can judge a long file before it sends any of it."""
    office, _ = of_app(request)
    return answer(shapes.intake(disbursements.intake(office)))


@in_turn
async def listing(request: web.Request) -> web.Response:
    """The list with the original's filters, newest first."""
    office, _ = of_app(request)
    where = queries.read_filter(query_of(request))
    items, following = await page_of(where, partial(queries.find, office), shapes.disbursement)
    return answer(shapes.many(items, next_cursor=following))


@in_turn
async def waiting(request: web.Request) -> web.Response:
    """What waits for a person, newest first."""
    office, _ = of_app(request)
    where = queries.read_waiting(query_of(request))
    items, following = await page_of(where, partial(queries.waiting, office), shapes.disbursement)
    return answer(shapes.many(items, next_cursor=following))


@in_turn
async def show(request: web.Request) -> web.Response:
    """One disbursement with its intents."""
    office, _ = of_app(request)
    return answer(shapes.detail(await queries.detail(office, path_id(request))))


@in_turn
async def explain(request: web.Request) -> web.Response:
    """Why it is not paid yet."""
    office, _ = of_app(request)
    item, said = await queries.explanation(office, path_id(request))
    return answer(shapes.explanation(item, said))


@in_turn
async def dependents(request: web.Request) -> web.Response:
    """Who waits for it."""
    office, _ = of_app(request)
    found = await queries.dependents(office, path_id(request))
    return answer(shapes.many([{"id": item, "distance": distance} for item, distance in found]))


@in_turn
async def votes(request: web.Request) -> web.Response:
    """What is voted on and how it stands."""
    office, _ = of_app(request)
    return answer(shapes.ballot(await proposals.ballot(office, path_id(request))))


async def vote(request: web.Request) -> web.Response:
    """Take one signed vote."""
    office, _ = of_app(request)
    item = path_id(request)
    await proposals.take(office, item, proposals.read_vote(body_of(request)))
    return answer(shapes.ballot(await proposals.ballot(office, item)), status=201)


async def cancel(request: web.Request) -> web.Response:
    """Cancel one item, or durably request it."""
    office, _ = of_app(request)
    return many(await disbursements.cancel(office, (path_id(request),), person(order_of(request))))


async def cancel_many(request: web.Request) -> web.Response:
    """Cancel many items."""
    office, _ = of_app(request)
    order = order_of(request, "ids", required=("ids",))
    return many(await disbursements.cancel(office, ids(order, limit=MAX_IDS), person(order)))


async def release(request: web.Request) -> web.Response:
    """End the stored hold of one item."""
    office, _ = of_app(request)
    return many(await disbursements.release(office, (path_id(request),), person(order_of(request))))


async def release_many(request: web.Request) -> web.Response:
    """End the stored holds of many items."""
    office, _ = of_app(request)
    order = order_of(request, "ids", required=("ids",))
    return many(await disbursements.release(office, ids(order, limit=MAX_IDS), person(order)))


async def resolve(request: web.Request) -> web.Response:
    """Judge one or many ambiguous items."""
    office, _ = of_app(request)
    order = order_of(request, "ids", "verdict", required=("ids", "verdict"))
    verdict = order["verdict"]
    if verdict not in ("paid", "void"):
        raise Rejected(f"verdict must be paid or void, this is {shown(verdict)}", field="verdict")
    items = ids(order, limit=MAX_IDS)
    return many(await disbursements.resolve(office, items, paid=verdict == "paid", by=person(order)))


async def rollback(request: web.Request) -> web.Response:
    """Roll back the books of one executed item."""
    office, _ = of_app(request)
    item = path_id(request)
    await disbursements.rollback(office, item, person(order_of(request)))
    return answer(shapes.disbursement(await queries.one(office, item)))


async def reopen(request: web.Request) -> web.Response:
    """Reopen one finalized item that a deep reorg lost."""
    office, _ = of_app(request)
    item = path_id(request)
    await disbursements.reopen(office, item, person(order_of(request)))
    return answer(shapes.disbursement(await queries.one(office, item)))


async def queue(request: web.Request) -> web.Response:
    """Have a draft moved on now; nobody's epoch is asked for (D21)."""
    office, _ = of_app(request)
    fields_of(body_of(request), allowed=())
    return answer(shapes.disbursement(await disbursements.queue(office, path_id(request))))


# --- named batches ------------------------------------------------------------------------------------------


def batch_name(request: web.Request) -> str:
    """The name of a batch in the path."""
    name = request.match_info["name"]
    if _BATCH_NAME.fullmatch(name) is None:
        raise Rejected(f"name must be 1 to 64 of A-Z a-z 0-9 . _ : -, this is {shown(name)}", field="name")
    return name


async def open_batch(request: web.Request) -> web.Response:
    """Begin a named batch."""
    office, _ = of_app(request)
    fields_of(body_of(request), allowed=())
    name = batch_name(request)
    await disbursements.open_batch(office, name)
    return answer({"name": name, "expires_seconds": office.batch_expires_seconds}, status=201)


async def add_part(request: web.Request) -> web.Response:
    """Add one part of a named batch."""
    office, _ = of_app(request)
    most = disbursements.MAX_BATCH_PARTS
    part = whole(request.match_info["part"], "part", least=1, most=most, from_text=True)
    stored = await disbursements.add_part(office, batch_name(request), part, items_of(body_of(request)))
    return answer({"name": batch_name(request), "part": part, "items": stored}, status=201)


async def seal_batch(request: web.Request) -> web.Response:
    """Make a named batch real; answers the ids alone, since the batch may be large."""
    office, _ = of_app(request)
    fields = fields_of(body_of(request), allowed=("parts",), required=("parts",))
    parts = whole(fields["parts"], "parts", least=1, most=disbursements.MAX_BATCH_PARTS)
    done = await disbursements.seal_batch(office, batch_name(request), parts=parts)
    ids_only = [item.id for item in done.items]
    return answer({"ids": ids_only, "repeated": done.repeated}, status=200 if done.repeated else 201)


# --- money, executor, accounts, breakers --------------------------------------------------------------------


async def balance(request: web.Request) -> web.Response:
    """Every account's money."""
    office, _ = of_app(request)
    return answer(shapes.many([shapes.balance(found) for found in await queries.balances(office)]))


@in_turn
async def balance_history(request: web.Request) -> web.Response:
    """Movements of the booked balance, newest first."""
    office, _ = of_app(request)
    query = query_of(request, "account", "cursor", "limit")
    account = query.get("account")
    cursor = query.get("cursor")
    limit = whole(query.get("limit", 0), "limit", most=queries.MAX_LIMIT, from_text=True)
    events, following = await queries.history(
        office,
        None if account is None else AccountId(str(account)),
        cursor=None if cursor is None else whole(cursor, "cursor", from_text=True),
        limit=limit or queries.DEFAULT_LIMIT,
    )
    return answer(shapes.many([shapes.balance_event(event) for event in events], next_cursor=following))


async def executor_status(request: web.Request) -> web.Response:
    """The executor's last tick and who owns what."""
    office, _ = of_app(request)
    return answer(shapes.executor_status(await queries.executor_status(office)))


async def breakers(request: web.Request) -> web.Response:
    """All circuit breakers as they stand."""
    office, _ = of_app(request)
    rows = [shapes.breaker(row) for row in queries.breakers(office)]
    return answer(shapes.many(rows, kill_switch=await queries.kill_switch(office)))


async def force_breaker(request: web.Request) -> web.Response:
    """Force a breaker open or closed, or give it back to the machine; endpoint `*` means all."""
    office, _ = of_app(request)
    order = order_of(request, "state", required=("state",))
    named, state = request.match_info["class"], order["state"]
    if named not in tuple(CallClass):
        raise Rejected(f"class must be send or read, this is {shown(named)}", field="class")
    if not isinstance(state, str) or state not in control.MODES:
        known = ", ".join(control.MODES)
        raise Rejected(f"state must be one of {known}, this is {shown(state)}", field="state")
    endpoint = Endpoint(request.match_info["endpoint"])
    rows = await control.force_breaker(
        office, endpoint, CallClass(named), control.MODES[state], person(order)
    )
    shown_rows = [shapes.breaker(row) for row in rows]
    return answer(shapes.many(shown_rows, kill_switch=await queries.kill_switch(office)))


async def accounts(request: web.Request) -> web.Response:
    """All paying accounts."""
    office, _ = of_app(request)
    return answer(shapes.many([shapes.account(row) for row in await office.world.desk.accounts()]))


async def account(request: web.Request) -> web.Response:
    """One paying account."""
    office, _ = of_app(request)
    return answer(shapes.account(await control.one_account(office, path_account(request))))


async def freeze(request: web.Request) -> web.Response:
    """Stop an account."""
    office, _ = of_app(request)
    await control.freeze(office, path_account(request), person(order_of(request)))
    return await account(request)


async def thaw(request: web.Request) -> web.Response:
    """Let an account act again."""
    office, _ = of_app(request)
    order = order_of(request, "cause")
    only = control.cause_of(text(order, "cause", limit=MAX_CAUSE, default=""))
    await control.thaw(office, path_account(request), person(order), only=only)
    return await account(request)


async def fill(request: web.Request) -> web.Response:
    """Have nonces filled that pay nobody any more."""
    office, _ = of_app(request)
    order = order_of(request, "nonces", required=("nonces",))
    nonces = [Nonce(number) for number in ids(order, "nonces", limit=MAX_IDS)]
    await control.fill(office, path_account(request), nonces, person(order))
    return await account(request)


async def announce(request: web.Request) -> web.Response:
    """Announce an expected deposit."""
    office, _ = of_app(request)
    order = order_of(request, "amount", required=("amount",))
    amount = whole(order["amount"], "amount", least=1, most=MAX_AMOUNT, from_text=True)
    await control.announce(office, path_account(request), BaseUnits(amount), person(order))
    return await account(request)


def path_account(request: web.Request) -> AccountId:
    """The account in the path."""
    return AccountId(request.match_info["account"])


_ITEM: Final = "/treasury/disbursements/{id}"
ROUTES: Final = (
    web.get("/treasury/intake", intake),
    web.post("/treasury/disbursement", submit_one),
    web.post("/treasury/disbursements", submit),
    web.get("/treasury/disbursements", listing),
    web.post("/treasury/disbursements/cancel", cancel_many),
    web.post("/treasury/disbursements/release", release_many),
    web.post("/treasury/disbursements/resolve", resolve),
    web.get("/treasury/disbursements/waiting", waiting),
    web.get(_ITEM, show),
    web.get(f"{_ITEM}/explain", explain),
    web.get(f"{_ITEM}/dependents", dependents),
    web.get(f"{_ITEM}/votes", votes),
    web.post(f"{_ITEM}/votes", vote),
    web.post(f"{_ITEM}/cancel", cancel),
    web.post(f"{_ITEM}/release", release),
    web.post(f"{_ITEM}/rollback", rollback),
    web.post(f"{_ITEM}/reopen", reopen),
    web.post(f"{_ITEM}/queue", queue),
    web.put("/treasury/batches/{name}", open_batch),
    web.put("/treasury/batches/{name}/parts/{part}", add_part),
    web.post("/treasury/batches/{name}/seal", seal_batch),
    web.get("/treasury/balance", balance),
    web.get("/treasury/balance/history", balance_history),
    web.get("/treasury/executor/status", executor_status),
    web.get("/treasury/breakers", breakers),
    web.post("/treasury/breakers/{endpoint}/{class}", force_breaker),
    web.get("/treasury/accounts", accounts),
    web.get("/treasury/accounts/{account}", account),
    web.post("/treasury/accounts/{account}/freeze", freeze),
    web.post("/treasury/accounts/{account}/thaw", thaw),
    web.post("/treasury/accounts/{account}/fill", fill),
    web.post("/treasury/accounts/{account}/announce", announce),
)
