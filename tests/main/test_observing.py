import contextlib
import json
import re
import socket
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.devnet.world import World
from tests.main.test_roots import ROOT, ask, command, free_port, running, stop, until, wait_for
from tests.observer.world import LIVING
from tests.telemetry.conftest import Heard, heard

from treasuryd.chain.config import EndpointConfig
from treasuryd.core.model import Endpoint
from treasuryd.devnet.server import Devnet
from treasuryd.host.clock import SystemClock
from treasuryd.host.entropy import SystemEntropy
from treasuryd.main.compose import Assembled
from treasuryd.main.observing import observer_config, observing
from treasuryd.settings import Settings
from treasuryd.settings.observer import ObserverSection

__all__ = ["heard"]  # a fixture
NODES = (
    EndpointConfig(name=Endpoint("a"), url="http://one:3030"),
    EndpointConfig(name=Endpoint("b"), url="http://two/"),
)


def settings(**observer: Any) -> Settings:
    return Settings(observer=ObserverSection(enabled=True, **observer))


def test_without_a_word_the_first_endpoint_is_asked_for_everything() -> None:
    """The text by the method `metrics`; the other bounds are those of the section."""
    found = observer_config(settings(), NODES, None)
    assert (found.rpc_url, found.metrics_url) == ("http://one:3030/", None)
    section = ObserverSection()
    for name in (
        "poll_seconds", "pause_seconds", "timeout_seconds", "max_age_seconds", "max_body_bytes", "max_rows",
        "max_providers",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(section, name), name
    assert found.ban_seconds == Settings().chain.ban_seconds


def test_what_is_set_wins_and_the_embedded_chain_stands_in() -> None:
    """Its listener, where no other one is named."""
    devnet = cast("Devnet", SimpleNamespace(metrics_url="http://127.0.0.1:9/metrics"))
    assert observer_config(settings(), NODES, devnet).metrics_url == "http://127.0.0.1:9/metrics"
    named = settings(rpc_url="http://x:1/", metrics_url="http://y:2/m")
    found = observer_config(named, NODES, devnet)
    assert (found.rpc_url, found.metrics_url) == ("http://x:1/", "http://y:2/m")


def test_the_section_s_bounds_are_ones_that_the_observer_takes() -> None:
    """At both ends of every range."""
    for changes in (
        {"poll_seconds": 0.1, "pause_seconds": 0, "timeout_seconds": 0.1, "max_age_seconds": 0.2},
        {"poll_seconds": 3_600, "pause_seconds": 60, "timeout_seconds": 60, "max_age_seconds": 86_400},
        {"max_body_bytes": 4_096, "max_rows": 250, "max_providers": 1},
        {"max_body_bytes": 67_108_864, "max_rows": 100_000, "max_providers": 32},
    ):
        replace(observer_config(settings(**changes), NODES, None))


# --- put together ------------------------------------------------------------------------------------------


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    chains = World()
    yield await chains.start(replace(LIVING, metrics_port=0, admin_token="s3cret"))
    await chains.stop()


def parts_at(devnet: Devnet) -> Assembled:
    clock, entropy = SystemClock(), SystemEntropy()
    endpoints = (EndpointConfig(name=Endpoint("devnet"), url=devnet.url),)
    return cast(
        "Assembled", SimpleNamespace(world=SimpleNamespace(clock=clock, entropy=entropy), endpoints=endpoints)
    )


async def test_off_there_is_none(devnet: Devnet, heard: Heard) -> None:
    """And nothing of it in the metrics."""
    async with observing(Settings(), parts_at(devnet), heard.telemetry, devnet) as observer:
        assert observer is None
    assert b"treasury_observer_" not in heard.telemetry.exposition("")[1]


async def test_its_series_are_there_as_long_as_it_is(devnet: Devnet, heard: Heard) -> None:
    """Read with the embedded chain's own token; at the end its connections are closed and its series gone."""
    async with observing(settings(pause_seconds=0), parts_at(devnet), heard.telemetry, devnet) as observer:
        assert observer is not None
        await observer.once()
        assert heard.sample("treasury_observer_up", source="rpc") == 1
        assert heard.sample("treasury_observer_up", source="metrics") == 1
        assert heard.sample("energy_provider_total") == 12
        before = heard.sample("treasury_telemetry_failures_total")
    assert heard.sample("energy_provider_total") is None
    assert heard.sample("treasury_telemetry_failures_total") == before
    await observer.once()  # a line that is closed is one more failure
    assert not any(observer.observed().series["treasury_observer_up"].values())


@pytest.mark.parametrize(
    ("content", "mode", "up"),
    [
        pytest.param("s3cret\n", 0o600, True, id="the right one"),
        pytest.param("another-one\n", 0o600, False, id="a wrong one"),
        pytest.param("s3cret\n", 0o644, False, id="one that others can read"),
        pytest.param("t\u00f6ken\n", 0o600, False, id="one that is not ASCII"),
        pytest.param(None, 0, False, id="none"),
    ],
)
async def test_the_token_s_file_is_read_in_each_round(
    devnet: Devnet, heard: Heard, tmp_path: Path, content: str | None, mode: int, up: bool
) -> None:
    """A bad one is a reading that fails, and gets better when the file does."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    section = settings(pause_seconds=0, token_file=file)
    async with observing(section, parts_at(devnet), heard.telemetry, devnet) as observer:
        assert observer is not None
        await observer.once()
        assert heard.sample("treasury_observer_up", source="rpc") == up
        assert heard.sample("treasury_observer_up", source="metrics") == 1
        if not up:
            unauthorised = {"reading": "credits", "reason": "unauthorised"}
            assert heard.sample("treasury_observer_failures_total", **unauthorised) == 1
        file.write_text("s3cret\n")
        file.chmod(0o600)
        await observer.once()
        assert heard.sample("treasury_observer_up", source="rpc") == 1


# --- as a process ----------------------------------------------------------------------------------------


class NoNode(BaseHTTPRequestHandler):
    """Says something wrong at once, to whatever it is asked."""

    def do_GET(self) -> None:
        self._say(b"energy_readings_total NaN\nenergy_readings_total{ 1\n")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(b'{"id": 1, "jsonrpc": "2.0", "result": [' + b'{"providers": -1},' * 500_000)

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def nowhere() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoNode)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def samples(port: int) -> dict[str, float]:
    text = ask(port, "/metrics")[1]
    return {
        name: float(value) for name, value in re.findall(r"^([a-z][^ ]*(?:\{[^}]*\})?) ([^ ]+)$", text, re.MULTILINE)
    }  # fmt: skip


def test_one_scrape_of_a_development_daemon_feeds_the_dashboards(tmp_path: Path) -> None:
    """Energy, receipts, economics and oracles beside the treasury's own; and a plain stop at the end."""
    said, port = tmp_path / "log", free_port()
    with running(command(tmp_path / "state", port, "--set", "observer.poll_seconds=0.2"), said) as process:
        wait_for(port, "/readyz", process, said)
        until(said, "observer_changed")
        found: dict[str, float] = {}
        while found.get('treasury_observer_reading_fresh{reading="metrics"}') != 1:
            assert process.poll() is None
            found = samples(port)
        assert found['energy_provider_status{status="active"}'] > 5
        assert 'receipt_emitted_total{market="ad"}' in found
        assert 'oracle_latency_seconds_bucket{le="+Inf"}' in found
        assert found["economics_block_reward_per_block"] == 1
        assert stop(process) == 0
    assert "Traceback" not in said.read_text()


def test_an_observer_that_meets_a_hostile_server_keeps_nobody_from_being_paid(
    tmp_path: Path, nowhere: str
) -> None:
    """The sample is paid to the end, no breaker has counted a failure, and the metrics say what is wrong."""
    said, port = tmp_path / "log", free_port()
    with running(
        command(
            tmp_path / "state",
            port,
            *("--set", f"observer.rpc_url={nowhere}", "--set", f"observer.metrics_url={nowhere}/metrics"),
            *("--set", "observer.poll_seconds=0.1", "--set", "observer.pause_seconds=0"),
            *("--submit", str(ROOT / "config" / "samples")),
        ),
        said,
    ) as process:
        wait_for(port, "/readyz", process, said)
        found: dict[str, float] = {}
        while not found.get('governance_disbursements_total{status="finalized"}'):
            assert process.poll() is None, said.read_text()
            found = samples(port)
        assert found['treasury_observer_up{source="rpc"}'] == 0
        assert found['treasury_observer_up{source="metrics"}'] == 0
        assert found['treasury_observer_failures_total{reading="market_state",reason="malformed"}'] > 0
        assert found['treasury_observer_failures_total{reading="metrics",reason="malformed"}'] > 0
        assert not [
            name for name in found if name.startswith(("energy_", "receipt", "economics_", "oracle_"))
        ]
        assert {v for name, v in found.items() if name.startswith("treasury_circuit_breaker_failures")} == {0}
        assert {v for name, v in found.items() if name.startswith("treasury_circuit_breaker_state")} == {0}
        assert ask(port, "/health")[1]["status"] in {"ok", "degraded"}
        assert stop(process) == 0
    assert said.read_text().count("observer_changed") == 2
    assert "Traceback" not in said.read_text()


def test_the_development_chain_alone_opens_its_listener_when_told(tmp_path: Path) -> None:
    """And says where."""
    said, port, metrics = tmp_path / "log", free_port(), free_port()
    line = [*command(tmp_path, port)[:3], "devnet", "--port", str(port), "--metrics-port", str(metrics)]
    with running(line, said) as process:
        until(said, f"its metrics are at http://127.0.0.1:{metrics}/metrics")
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10) as answer:
            assert b"receipts_per_block" in answer.read()
        question = json.dumps({"id": 1, "jsonrpc": "2.0", "method": "energy.credits", "params": {}}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", question, timeout=10) as answer:
            assert json.load(answer)["result"]["status"] == "ok"
        assert stop(process) == 0


def test_off_it_asks_nobody_and_shows_nothing(tmp_path: Path) -> None:
    """The default of production."""
    said, port = tmp_path / "log", free_port()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(1.5)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        line = command(
            tmp_path / "state",
            port,
            "--set",
            "observer.enabled=false",
            "--set",
            f"observer.metrics_url={url}",
        )
        with running(line, said) as process:
            wait_for(port, "/readyz", process, said)
            with pytest.raises(TimeoutError):
                listening.accept()
            text = ask(port, "/metrics")[1]
            assert "treasury_observer_" not in text
            assert "energy_" not in text
            assert stop(process) == 0
