"""Puts the chain observer together: its settings, a line of its own to the node, and a place in the metrics."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from treasuryd.chain.config import EndpointConfig
from treasuryd.chain.http import HttpTransport
from treasuryd.devnet.server import Devnet
from treasuryd.main.compose import Assembled
from treasuryd.main.tokens import token_of
from treasuryd.observer.chain_observer import ChainObserver
from treasuryd.observer.config import ObserverConfig
from treasuryd.settings import Settings
from treasuryd.telemetry.observed import ObservedCollector
from treasuryd.telemetry.observer import Telemetry


@asynccontextmanager
async def observing(
    settings: Settings, parts: Assembled, telemetry: Telemetry, devnet: Devnet | None
) -> AsyncIterator[ChainObserver | None]:
    """Give the observer with its own connections open and its series registered; None where it is off."""
    if not settings.observer.enabled:
        yield None
        return

    def token() -> str | None:
        # the embedded chain asks for its own
        return observer_token(settings) or (None if devnet is None else devnet.config.admin_token)

    async with HttpTransport(parts.world.entropy) as line:
        observer = ChainObserver(
            observer_config(settings, parts.endpoints, devnet),
            line,
            clock=parts.world.clock,
            observer=telemetry,
            token=token,
        )
        collector = ObservedCollector(observer.observed, failed=telemetry.metrics.failures.inc)
        telemetry.metrics.registry.register(collector)
        try:
            yield observer
        finally:
            telemetry.metrics.registry.unregister(collector)


def observer_token(settings: Settings) -> str | None:
    """Read the node's bearer token, as short as its operator chose it; None where none is configured."""
    path = settings.observer.token_file
    return None if path is None else token_of(path, setting="observer.token_file", shortest=1)


def observer_config(
    settings: Settings, endpoints: Sequence[EndpointConfig], devnet: Devnet | None
) -> ObserverConfig:
    """Make the observer's bounds of what is set; the embedded chain's listener stands in for what is not."""
    section = settings.observer
    return ObserverConfig(
        rpc_url=(section.rpc_url or endpoints[0].url).rstrip("/") + "/",
        metrics_url=section.metrics_url or (None if devnet is None else devnet.metrics_url),
        poll_seconds=section.poll_seconds,
        pause_seconds=section.pause_seconds,
        timeout_seconds=section.timeout_seconds,
        max_age_seconds=section.max_age_seconds,
        ban_seconds=settings.chain.ban_seconds,
        max_body_bytes=section.max_body_bytes,
        max_rows=section.max_rows,
        max_providers=section.max_providers,
    )
