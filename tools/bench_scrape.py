"""
What a scrape costs: a daemon over N disbursements, all waiting and then all finished, and how long `/metrics` takes.

    make bench-scrape                     N = 100,000
    make bench-scrape ARGS="-n 10000"
    make bench-scrape ARGS="--profile real --waiting-only"    the same beside a block a second instead of fifty

Sending is switched off first, so that everything submitted is payable and waits: the store counts every unfinished item.
Then it is switched on, and the same is measured over finished ones. Scrapes are two seconds apart, so that each one reads
the store anew; `/livez` beside it shows what the machine and HTTP themselves take.
"""

import argparse
import http.client
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from tools import bench

SCRAPES = 25
APART_SECONDS = 2.0
KILL_SWITCH = "/treasury/breakers/*/send"


def main() -> int:
    """Measure and print one row for each state."""
    parser = argparse.ArgumentParser(description="what a scrape costs")
    parser.add_argument("-n", type=int, default=100_000, help="disbursements")
    parser.add_argument("--profile", choices=sorted(bench.SHAPES), default="bench", help="of the chain")
    parser.add_argument("--waiting-only", action="store_true", help="do not pay them afterwards")
    parsed = parser.parse_args()
    print(f"machine: {bench.machine()}; {time.strftime('%Y-%m-%d')}; Python {platform.python_version()}; "
          f"SQLite {sqlite3.sqlite_version}")  # fmt: skip
    print("| disbursements | series | bytes | `/metrics` best / p50 / worst | `/livez` best / p50 / worst |")
    print("|---|---:|---:|---:|---:|")
    folder = Path(tempfile.mkdtemp(prefix="treasuryd-bench-"))
    try:
        _measure(folder, parsed.profile, parsed.n, waiting_only=parsed.waiting_only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _measure(folder: Path, profile: str, count: int, *, waiting_only: bool) -> None:
    shape, chain_port, port = bench.SHAPES[profile], bench.free_port(), bench.free_port()
    config = folder / "daemon.toml"
    config.write_text(
        bench.DAEMON.format(
            folder=folder, chain_port=chain_port, port=port, depth=shape.depth, pace=shape.pace,
            unburned=shape.unburned, rate=shape.rate, follow=shape.follow,
        )
    )  # fmt: skip
    with bench.process(
        folder, "devnet", "--profile", profile, "--port", str(chain_port), "--seed", "1", "--block-interval",
        str(shape.interval), "--fund", f"treasury={bench.FUNDS}", "--state-folder", str(folder / "chain"),
    ):  # fmt: skip
        bench.wait_for_port(chain_port)
        with bench.process(folder, "run", "--config", str(config)):
            bench.wait_until_ready(port)
            bench.post(port, b'{"state": "open", "reason": "bench"}', KILL_SWITCH)
            for first in range(0, count, bench.ITEMS_PER_REQUEST):
                bench.post(port, bench.request_body(first, min(bench.ITEMS_PER_REQUEST, count - first)))
            _wait_until_waiting(port, count)
            _row(f"{count:,} that wait", port)
            if not waiting_only:
                bench.post(port, b'{"state": "auto", "reason": "bench"}', KILL_SWITCH)
                bench.wait_until_final(port, count)
                _row(f"{count:,} finalized", port)


def _wait_until_waiting(port: int, count: int) -> None:
    """Wait until every item is timelocked: payable, but for the switch."""
    deadline = time.monotonic() + bench.PATIENCE_SECONDS
    while time.monotonic() < deadline:
        counts = bench.get(port, "/treasury/executor/status")["store"]["disbursements"]
        if counts.get("timelocked", 0) >= count:
            return
        time.sleep(0.5)
    raise TimeoutError("not all items came to wait")


def _row(what: str, port: int) -> None:
    scrapes, beside, body = [], [], b""
    for _ in range(SCRAPES):
        time.sleep(APART_SECONDS)
        seconds, body = _timed(port, "/metrics")
        scrapes.append(seconds)
        beside.append(_timed(port, "/livez")[0])
    series = sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))
    print(f"| {what} | {series:,} | {len(body):,} | {_spread(scrapes)} | {_spread(beside)} |", flush=True)


def _spread(seconds: list[float]) -> str:
    found = sorted(seconds)
    return " / ".join(f"{one * 1e3:.1f} ms" for one in (found[0], found[len(found) // 2], found[-1]))


def _timed(port: int, path: str) -> tuple[float, bytes]:
    """One request as a scraper makes it, connection and all."""
    started = time.perf_counter()
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        link.request("GET", path, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        body = link.getresponse().read()
    finally:
        link.close()
    return time.perf_counter() - started, body


if __name__ == "__main__":
    sys.exit(main())
