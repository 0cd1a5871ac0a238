"""
What every request goes through before a route sees it, and every answer on its way out.

In this order: request id, `Host` (DNS rebinding), token, content type (a foreign page's form cannot send JSON without
asking first), body under a size and a deadline, the route, and at the end each error as one JSON object.
"""

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from treasuryd.commands.disbursements import Unsound
from treasuryd.commands.office import Office
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.errors import Corrupt, Refusal, Rejected, TreasuryError
from treasuryd.web.guard import GuardLimits, guard_of
from treasuryd.web.turns import CLAIM, RETRY_SECONDS, Busy, TurnLimits

Json = dict[str, Any]
Exposition = Callable[[str], tuple[str, bytes]]
"""From the `Accept` header to (content type, body) of `/metrics`."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024  # interfaces.md §1
# Reading calls of `/rpc` need no token: strangers get a body that a thousand of them fit into.
MAX_STRANGER_BODY_BYTES: Final = 1024 * 1024
SLOWEST_ANSWER: Final = 4  # times `write_seconds`, for a long answer as a whole
MAX_ERRORS: Final = 100  # of one request, in one answer
WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
STATUS_OF: Final[Mapping[Refusal, int]] = {
    Refusal.INVALID: 400,
    Refusal.FORBIDDEN: 403,
    Refusal.NOT_FOUND: 404,
    Refusal.CONFLICT: 409,
    Refusal.TOO_LARGE: 413,
    Refusal.UNAVAILABLE: 503,
}
REQUEST_ID_HEADER: Final = "X-Request-Id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_TYPE: Final = "application/json"
_HTTP_CODES: Final[Mapping[int, str]] = {
    400: "invalid",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """
    How to serve; `main` fills it from the settings.

    `token` is asked at each request, since a reload may change it; None: writing is accepted on loopback in
    development only. `port` 0 asks the system for a free one.
    `allowed_hosts` are names beside `localhost` and the bound host under which a browser may reach us.
    """

    host: str = "127.0.0.1"
    port: int = 9477
    token: Callable[[], str | None] = field(default=lambda: None, repr=False)
    development: bool = False
    allowed_hosts: tuple[str, ...] = ()
    exposition: Exposition | None = None
    refresh: Callable[[], Awaitable[None]] | None = None  # awaited before each exposition: reads the store
    limits: GuardLimits = field(default_factory=GuardLimits)
    listings: TurnLimits = field(default_factory=TurnLimits)
    look_seconds: float = 2.0  # what a question about health may wait for the store
    body_seconds: float = 30.0
    keepalive_seconds: float = 15.0
    grace_seconds: float = 5.0
    max_body_bytes: int = MAX_BODY_BYTES
    max_header_bytes: int = 8_190
    max_headers: int = 64


OFFICE: Final = web.AppKey("office", Office)
OPTIONS: Final = web.AppKey("options", WebOptions)
FATAL: Final = web.AppKey("fatal", asyncio.Future[None])
REQUEST_ID: Final = web.RequestKey("request_id", str)
BODY: Final = web.RequestKey("body", bytes)


class Unauthorized(Rejected):
    """The token is missing or wrong; the answer is 401."""


def answer(payload: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Render one JSON answer."""
    body = orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type=_JSON_TYPE, headers=headers)


def failure(
    status: int,
    code: str,
    message: str,
    *,
    where: str | None = None,
    hint: str = "",
    close: bool = False,
    more: Json | None = None,
) -> web.Response:
    """Render one error; untrusted text in it is made valid UTF-8 and capped. `more` stands beside it."""
    problem = {"code": code, "message": sound(message), "field": where and sound(where), "hint": sound(hint)}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    response = answer({"error": problem, **(more or {})}, status=status, headers=headers)
    if close:
        response.force_close()
    return response


def sound(text: str, *, limit: int = 2_000) -> str:
    """Cap a text and replace what is no character, so that it can always be encoded."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def is_writing(request: web.Request) -> bool:
    """Whether a request needs a token as a whole; calls of `/rpc` are judged one by one."""
    return request.method in WRITING and request.path != "/rpc"


def authorized(request: web.Request) -> bool:
    """Whether the sender may write: the right token, or no token configured, in development, from this machine."""
    options = request.app[OPTIONS]
    token = options.token()
    if token is None:
        return options.development and from_loopback(request)
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    given = sent.strip().encode("utf-8", "surrogateescape")
    return scheme.lower() == "bearer" and hmac.compare_digest(given, token.encode())


def demand_token(request: web.Request) -> None:
    """Refuse a writing request of somebody who may not write; says what would be needed."""
    if authorized(request):
        return
    if request.app[OPTIONS].token() is None:
        raise Rejected(
            "writing is switched off: no token is configured",
            hint="Set http.token_file in the configuration; without one only development mode accepts writes, on loopback.",
            kind=Refusal.FORBIDDEN,
        )
    raise Unauthorized(
        "the bearer token is missing or wrong",
        field="Authorization",
        hint="Send `Authorization: Bearer <token>` with the content of the daemon's token file.",
        kind=Refusal.FORBIDDEN,
    )


def from_loopback(request: web.Request) -> bool:
    """Whether the peer is this machine; an unknown peer is not."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    try:
        return peer is not None and ipaddress.ip_address(peer[0]).is_loopback
    except ValueError:
        return False


def demand_host(request: web.Request) -> None:
    """
    Refuse a `Host` that we are not reached under: a web page could point its own name at us.

    An address needs no list, since a rebinding attack needs a name.
    """
    host = request.headers.get("Host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    options = request.app[OPTIONS]
    if name in {"localhost", options.host.lower(), *(other.lower() for other in options.allowed_hosts)}:
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Rejected(
            f"host {name[:100]!r} is not one of ours",
            field="Host",
            hint="Add it to http.allowed_hosts, or use an address.",
            kind=Refusal.FORBIDDEN,
        ) from None


async def read_body(request: web.Request) -> bytes:
    """Read the body of a writing request: JSON, not compressed, under the size limit and the deadline."""
    if request.content_type != _JSON_TYPE:
        raise web.HTTPUnsupportedMediaType(
            text=f"the content type is {request.content_type}, not {_JSON_TYPE}"
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="compressed bodies are not read")
    options = request.app[OPTIONS]
    limit = options.max_body_bytes if authorized(request) else MAX_STRANGER_BODY_BYTES
    try:
        async with asyncio.timeout(options.body_seconds):
            chunks, size = [], 0
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise web.HTTPRequestTimeout(
            text=f"the body was not complete after {options.body_seconds:g} s"
        ) from None
    return b"".join(chunks)


def too_large(limit: int) -> Rejected:
    """The refusal of a body above the limit."""
    return Rejected(
        f"the body is larger than {limit} bytes",
        field="body",
        hint="Send large files as a named batch in parts (`treasuryd submit` does).",
        kind=Refusal.TOO_LARGE,
    )


def check_length(request: web.Request) -> None:
    """Refuse an announced size above the limit before any of it is read."""
    options = request.app[OPTIONS]
    limit = options.max_body_bytes if authorized(request) else MAX_STRANGER_BODY_BYTES
    if (request.content_length or 0) > limit:
        raise too_large(limit)


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take a request through all that a route may rely on, and translate what it raises."""
    guard = guard_of(request.transport)
    if guard is not None:
        guard.head_complete()
    try:
        return await _enveloped(request, handler)
    finally:
        if CLAIM in request:
            request[CLAIM].release()
        if guard is not None:
            guard.over()


async def _enveloped(request: web.Request, handler: Handler) -> web.StreamResponse:
    sent = request.headers.get(REQUEST_ID_HEADER, "")
    request[REQUEST_ID] = sent if _REQUEST_ID.fullmatch(sent) else request.app[OFFICE].world.entropy.new_id()
    try:
        response = await _checked(request, handler)
    except web.HTTPException as error:
        response = _of_http(error)
    except TreasuryError as error:
        response = _of_ours(request, error)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001  (a bug in one request must not show its insides, nor end the daemon)
        response = _of_bug(request, error)
    response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if CLAIM in request:
        await _send(request, response)
    return response


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    """Send a long answer here, so that it counts until its client has read it; a client that dawdles is hung up on."""
    seconds = SLOWEST_ANSWER * request.app[OPTIONS].limits.write_seconds
    try:
        async with asyncio.timeout(seconds):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        return  # aiohttp meets the same, and ends the connection


async def _checked(request: web.Request, handler: Handler) -> web.StreamResponse:
    demand_host(request)
    if is_writing(request):
        demand_token(request)
    if request.method in WRITING:
        check_length(request)
        if authorized(request):
            _taken(request)
        request[BODY] = await read_body(request)
    _taken(request)
    return await handler(request)


def _taken(request: web.Request) -> None:
    """From here on the request's connection gives its place to nobody; a stranger's slow body is no reason to keep one."""
    guard = guard_of(request.transport)
    if guard is not None:
        guard.taken()


def _of_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals (no such route, wrong method, too large) in our shape."""
    code = _HTTP_CODES.get(error.status, "refused")
    hint = f"Allowed: {error.headers['Allow']}." if "Allow" in error.headers else ""
    response = failure(
        error.status, code, error.text or error.reason, hint=hint, close=error.status in {408, 413}
    )
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _of_ours(request: web.Request, error: TreasuryError) -> web.Response:
    match error:
        case Unauthorized():
            return failure(401, "unauthorized", error.message, where=error.field, hint=error.hint, close=True)
        case Busy():
            response = failure(503, "busy", error.message, hint=error.hint)
            response.headers["Retry-After"] = str(RETRY_SECONDS)
            return response
        case Rejected():
            status = STATUS_OF[error.kind]
            return failure(
                status,
                str(error.kind),
                error.message,
                where=error.field,
                hint=error.hint,
                close=error.kind is Refusal.TOO_LARGE,
                more=_errors(error),
            )
        case Corrupt():
            fatal = request.app[FATAL]
            if not fatal.done():
                fatal.set_exception(error)  # a storage error ends the process (protocol.md §7)
            return _of_bug(request, error)
        case _:
            return failure(503, "unavailable", error.message, hint=error.hint)


def _errors(error: Rejected) -> Json:
    """Every error of a request with bad items, the first hundred of them, so that a file is corrected once."""
    if not isinstance(error, Unsound):
        return {}
    listed = [
        {"field": one.field and sound(one.field), "message": sound(one.message), "hint": sound(one.hint)}
        for one in error.errors[:MAX_ERRORS]
    ]
    return {"errors": listed}


def _of_bug(request: web.Request, error: Exception) -> web.Response:
    """Tell the log everything and the caller an id to quote."""
    office = request.app[OFFICE]
    office.world.observer.saw(
        Event(
            kind=EventKind.REQUEST_FAILED,
            severity=Severity.WARNING,
            reason=type(error).__name__,
            detail=sound(str(error), limit=500),
            fields={"request_id": request[REQUEST_ID], "method": request.method},
        )
    )
    hint = f"Look for request_id {request[REQUEST_ID]} in the daemon's log."
    return failure(500, "internal", "an error of ours; the request may or may not have been done", hint=hint)


def of_app(request: web.Request) -> tuple[Office, WebOptions]:
    """The two values that every route works with."""
    return request.app[OFFICE], request.app[OPTIONS]
