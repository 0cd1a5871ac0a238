"""Answers that may be long: pages bounded by bytes as well as by count, each built in its turn."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Final

import orjson
from aiohttp import web

from treasuryd.core.model import Disbursement, DisbursementId, Filter, Page
from treasuryd.web.envelope import authorized
from treasuryd.web.turns import CLAIM, Claim, Turns

PAGE_BYTES: Final = 2 * 1024 * 1024  # 200 items with the longest memos fit
SLICE: Final = 25  # items read from the store at once: the largest have about a megabyte each
KNOWN: Final = web.AppKey("known", Turns)
STRANGERS: Final = web.AppKey("strangers", Turns)

Route = Callable[[web.Request], Awaitable[web.Response]]


def claim_of(request: web.Request) -> Claim:
    """The request's claim, in the group that it belongs to; the envelope releases it."""
    if CLAIM not in request:
        request[CLAIM] = Claim(request.app[KNOWN if authorized(request) else STRANGERS])
    return request[CLAIM]


def in_turn(route: Route) -> Route:
    """Have a route wait for its turn, and its answer count until it is sent."""

    @wraps(route)
    async def waits(request: web.Request) -> web.Response:
        claim = claim_of(request)
        async with claim.turns.turn():
            response = await route(request)
            claim.add(response.content_length or 0)
        return response

    return waits


async def page_of(
    where: Filter,
    read: Callable[[Filter], Awaitable[Page]],
    shape: Callable[[Disbursement], dict[str, Any]],
    *,
    option: int = 0,
) -> tuple[list[orjson.Fragment], DisbursementId | None]:
    """
    Read and render one page: at most `where.limit` items and about `PAGE_BYTES`, and at least one item if one is there.

    Args: option: orjson's, for each item.
    Returns: the items as JSON, and the cursor under which the list goes on (None: that was all of it).
    """
    rows: list[orjson.Fragment] = []
    size, cursor = 0, where.cursor
    while True:
        wanted = min(SLICE, where.limit - len(rows))
        found = await read(replace(where, cursor=cursor, limit=wanted))
        for item in found.items:
            text = orjson.dumps(shape(item), option=option)
            if rows and size + len(text) > PAGE_BYTES:
                return rows, cursor
            rows.append(orjson.Fragment(text))
            size += len(text)
            cursor = item.id
        cursor = found.next_cursor
        # A short slice with a cursor: the store looked as far as one reading may.
        if cursor is None or len(found.items) < wanted or len(rows) >= where.limit:
            return rows, cursor
