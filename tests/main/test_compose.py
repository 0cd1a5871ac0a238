"""One process's world as it is assembled: what was stored counts before the first call."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fakes import FakeObserver

from treasuryd.chain.config import EndpointConfig
from treasuryd.core.model import BreakerMode, BreakerOverride, BreakerState, CallClass, Endpoint
from treasuryd.main.compose import assembled, chain_config
from treasuryd.settings import load

CONFIG = Path(__file__).parents[2] / "config" / "dev.toml"


class Door:
    """A port that counts who knocks, and answers nobody."""

    def __init__(self) -> None:
        self.knocks = 0

    async def opened(self) -> asyncio.Server:
        return await asyncio.start_server(self._knocked, "127.0.0.1", 0)

    async def _knocked(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocks += 1
        writer.close()


def test_what_is_set_for_the_chain_reaches_its_adapter() -> None:
    """§7: breakers, times and bounds as configured, for every endpoint."""
    breaker = {"failure_threshold": 9, "window_secs": 301.0}
    times = {"send_seconds": 29.0, "read_seconds": 9.0, "slow_seconds": 7.0, "ban_seconds": 59.0}
    settings = load(
        CONFIG,
        {},
        {f"breaker.{name}": value for name, value in breaker.items()}
        | {f"chain.{name}": value for name, value in times.items()},
    )
    config = chain_config(settings, (EndpointConfig(name=Endpoint("a"), url="http://127.0.0.1:1"),), {})
    assert config.breaker == settings.breaker_settings()
    assert (config.breaker.failure_threshold, config.breaker.window_secs) == (9, 301.0)
    assert {name: getattr(config, name) for name in times} == times


@pytest.mark.parametrize(
    ("forced", "knocked", "expected"),
    [
        pytest.param([], True, BreakerState.OPEN, id="nobody said a word"),
        pytest.param([CallClass.READ, CallClass.SEND], False, BreakerState.OPEN, id="forced open"),
    ],
)
async def test_a_forced_breaker_holds_from_the_first_call_of_a_new_start_on(
    forced: Sequence[CallClass], knocked: bool, expected: BreakerState, tmp_path: Path
) -> None:
    """§7: forced states survive a restart: the abilities of an endpoint that a person shut off are not probed either."""
    settings = load(CONFIG, {}, {"state_folder": tmp_path / "state"})
    door = Door()
    server = await door.opened()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    endpoints = (EndpointConfig(name=Endpoint("node"), url=url),)
    async with assembled(settings, observer=FakeObserver(), endpoints=endpoints) as parts:
        for call_class in forced:
            word = BreakerOverride(
                endpoint=Endpoint("*"), call_class=call_class, mode=BreakerMode.FORCED_OPEN, reason="a drill"
            )
            await parts.desk.force_breaker(word)
    door.knocks = 0

    async with assembled(settings, observer=FakeObserver(), endpoints=endpoints) as parts:
        shown = {report.call_class: report for report in parts.chain.breakers()}
        assert bool(door.knocks) is knocked
        if forced:
            assert {report.mode for report in shown.values()} == {BreakerMode.FORCED_OPEN}
        assert shown[CallClass.READ].state is expected
    server.close()
    await server.wait_closed()
