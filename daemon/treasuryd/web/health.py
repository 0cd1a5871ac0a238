"""`/health` (also `/healthz`), `/livez`, `/readyz` and `/metrics`: asked often, answered cheaply."""

from contextlib import suppress
from typing import Final

from aiohttp import web

import treasuryd
from treasuryd.commands import queries
from treasuryd.core.health import Check, Verdict, live, ready
from treasuryd.errors import TreasuryError
from treasuryd.web import shapes
from treasuryd.web.envelope import answer, of_app
from treasuryd.web.lookout import Lookout

STORED: Final = web.AppKey("stored", Lookout[queries.Stored])
REFRESHED: Final = web.AppKey("refreshed", Lookout[None])


async def health(request: web.Request) -> web.Response:
    """The whole picture: every check with its reason; 503 when one failed (interfaces.md §3)."""
    office, options = of_app(request)
    try:
        found: queries.Stored | str = await request.app[STORED].look(
            lambda: queries.stored(office), seconds=options.look_seconds
        )
    except (TreasuryError, TimeoutError) as error:
        found = str(error)
    report = queries.health_report(office, found)
    return answer(
        {
            "status": report.verdict.verdict,
            "version": treasuryd.__version__,
            "checks": [shapes.check(check) for check in report.verdict.checks],
            "leader": bool(report.led),
            "leases": [shapes.lease(row, report.led) for row in report.leases],
            "breakers": [shapes.breaker(row) for row in report.facts.breakers],
            "store": None if report.store is None else shapes.store(report.store),
            "chain": shapes.chain(report.chain, report.moment, report.facts),
        },
        status=report.verdict.http_status,
    )


async def livez(request: web.Request) -> web.Response:
    """The loop answers, and the watchdog has been fed."""
    return _verdict(live(queries.vital_facts(of_app(request)[0])))


async def readyz(request: web.Request) -> web.Response:
    """Started and in order; a standby is ready too and says that it does not lead."""
    office, _ = of_app(request)
    return _verdict(ready(queries.vital_facts(office)), leader=bool(office.engine.leads()))


async def metrics(request: web.Request) -> web.Response:
    """
    The metrics as of this moment, in the format that the scraper asked for.

    A store that does not answer keeps no scrape waiting: what is in memory (tick age, breakers, leases) is told as it is.
    """
    _, options = of_app(request)
    if options.exposition is None:
        raise web.HTTPNotFound(text="this daemon exports no metrics")
    if options.refresh is not None:
        with suppress(TreasuryError, TimeoutError):
            await request.app[REFRESHED].look(options.refresh, seconds=options.look_seconds)
    content_type, body = options.exposition(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def _verdict(check: Check, **more: bool) -> web.Response:
    status = 503 if check.verdict is Verdict.FAIL else 200
    return answer({"status": check.verdict, "reason": check.reason, **more}, status=status)


ROUTES: Final = (
    web.get("/health", health),
    web.get("/healthz", health),
    web.get("/livez", livez),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
)
