"""The HTTP server as one eternal task: starts to listen, says on which port, stops gracefully and last."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import anyio
from aiohttp import web

from treasuryd.commands.office import Office
from treasuryd.errors import Rejected, Transient
from treasuryd.web import health, quarantine, rest, rpc
from treasuryd.web.bulk import KNOWN, STRANGERS
from treasuryd.web.envelope import FATAL, OFFICE, OPTIONS, WebOptions, envelope
from treasuryd.web.guard import Gate, guarded
from treasuryd.web.lookout import Lookout
from treasuryd.web.turns import Turns

BACKLOG: Final = 128  # connections that the system keeps for us while the loop is busy

__all__ = ["WebOptions", "application", "serve"]


def application(office: Office, options: WebOptions, fatal: "asyncio.Future[None]") -> web.Application:
    """Put the routes together; `fatal` is set when a request met an error that must end the process."""
    app = web.Application(middlewares=[envelope], client_max_size=options.max_body_bytes)
    app[OFFICE] = office
    app[OPTIONS] = options
    app[FATAL] = fatal
    app[KNOWN] = Turns(options.listings)
    app[STRANGERS] = Turns(options.listings)
    app[health.STORED] = Lookout()
    app[health.REFRESHED] = Lookout()
    app.add_routes([*health.ROUTES, *rest.ROUTES, *quarantine.ROUTES, *rpc.ROUTES])
    return app


async def serve(office: Office, options: WebOptions, *, ready: Callable[[int], None]) -> None:
    """
    Serve until cancelled.

    Args: ready: called once with the bound port (which `port=0` left to the system).
    Raises: as `not_bound` says when the address cannot be bound; Corrupt when a request met a storage error.
    Guarantees: on cancellation no new connection is taken, running requests have `grace_seconds` to end.
    """
    loop = asyncio.get_running_loop()
    fatal: asyncio.Future[None] = loop.create_future()
    runner = web.AppRunner(
        application(office, options, fatal),
        access_log=None,
        handle_signals=False,
        auto_decompress=False,
        keepalive_timeout=options.keepalive_seconds,
        lingering_time=1.0,
        max_line_size=options.max_header_bytes,
        max_field_size=options.max_header_bytes,
        max_headers=options.max_headers,
        shutdown_timeout=options.grace_seconds,
    )
    await runner.setup()
    try:
        async with _listening(runner, options) as port:
            ready(port)
            await fatal
    finally:
        with anyio.move_on_after(options.grace_seconds + 1.0, shield=True):
            await runner.cleanup()


@contextlib.asynccontextmanager
async def _listening(runner: web.AppRunner, options: WebOptions):  # type: ignore[no-untyped-def]
    """Bind the address for as long as the block runs; gives the port."""
    assert runner.server is not None
    gate = Gate(limits=options.limits)
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            guarded(runner.server, gate), options.host, options.port, backlog=BACKLOG, reuse_address=True
        )
    except OSError as error:
        raise not_bound(options.host, options.port, error) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def not_bound(host: str, port: int, error: OSError) -> Rejected | Transient:
    """
    Say what follows from an address that cannot be bound.

    Returns: Rejected where only another setting helps. Transient where the same start may succeed later (the address is
    taken, or the network not up yet), so that a service manager tries again.
    """
    said = f"cannot listen on {host}:{port}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return Rejected(said, field="http", hint="Choose an http.port above 1023.")
    hint = "Is another treasuryd running? Stop it, or choose another http.port; http.host is an address of this machine."
    return Transient(said, hint=hint)
