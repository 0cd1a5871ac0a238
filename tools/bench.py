"""
The end-to-end benchmark: daemon and development chain as two processes, N payouts from intake to final.

    make bench                       N = 1,000, 10,000 and 100,000 on profile `bench`, and one row on profile `real`
    make bench ARGS="-n 10000"       one size
    make bench ARGS="--profile dev"  another profile

Prints one row per run: payouts per second from the first request to the last final intent, p50 and p99 from staging to
inclusion, database commits, peak memory, processor seconds of daemon and chain, and the raw signing rate measured on
the same machine in the same minute, with the ratio to it. Compare ratios within one run; machines are noisy.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RECIPIENTS = 64
ITEMS_PER_REQUEST = 1_000
AMOUNT = 1_000
FUNDS = 10**15
PATIENCE_SECONDS = 1_800.0

DAEMON = """
development = true
state_folder = "{folder}/daemon"

[[accounts]]
name = "treasury"

[chain]
endpoints = [{{ name = "devnet", url = "http://127.0.0.1:{chain_port}" }}]
epoch_blocks = 10
finality_depth = {depth}
max_blocks_per_second = {pace}
max_unburned = {unburned}
max_requests_per_second = {rate}
follow_seconds = {follow}

[governance]
min_vote_window_epochs = 1
min_timelock_epochs = 1
min_rollback_window_epochs = 1
allow_treasury_initiated = true

[executor]
poll_seconds = 0.1

[log]
format = "json"
level = "warning"

[http]
port = {port}
"""


@dataclass(frozen=True)
class Shape:
    """What a profile of the chain admits, and what the daemon is told of it."""

    interval: float
    unburned: int
    rate: float
    follow: float
    pace: float
    depth: int


SHAPES = {
    "bench": Shape(0.02, 4_096, 100_000.0, 0.05, 200.0, 12),
    "dev": Shape(0.1, 16, 1_000.0, 0.05, 50.0, 3),
    # one block a second, 16 pending per account: 16 payouts a second are the most that this chain takes
    "real": Shape(1.0, 16, 80.0, 0.25, 2.0, 12),
}


@dataclass(frozen=True)
class Row:
    """One run."""

    profile: str
    count: int
    seconds: float
    staged_to_included: tuple[float, float]
    including_seconds: float  # from the first staging to the last inclusion
    commits: int
    peak_mib: float
    daemon_cpu: float
    chain_cpu: float
    signing_rate: float

    @property
    def rate(self) -> float:
        """Payouts per second, intake to final."""
        return self.count / self.seconds

    @property
    def inclusion_rate(self) -> float:
        """Payouts per second while payouts were under way: what a chain's own limits can be held against."""
        return self.count / self.including_seconds


def main() -> int:
    """Run the sizes asked for and print the table."""
    arguments = _arguments()
    print(f"machine: {machine()}; {time.strftime('%Y-%m-%d')}; Python {platform.python_version()}; "
          f"SQLite {sqlite3.sqlite_version}")  # fmt: skip
    for profile in dict.fromkeys(profile for profile, _ in arguments):
        shape = SHAPES[profile]
        print(f"profile {profile}: blocks every {shape.interval} s, {shape.unburned} transactions pending per account, "
              f"so at most {shape.unburned / shape.interval:,.0f} payouts/s; finality {shape.depth} blocks; "
              "signatures checked")  # fmt: skip
    rows = []
    for profile, count in arguments:
        print(f"running {count} payouts on profile {profile} …", file=sys.stderr, flush=True)
        row = measure(profile, count)
        rows.append(row)
        print(f"  {row.rate:.0f} payouts/s", file=sys.stderr, flush=True)
    _table(rows)
    return 0


def _arguments() -> list[tuple[str, int]]:
    parser = argparse.ArgumentParser(description="end-to-end benchmark")
    parser.add_argument("-n", type=int, action="append", help="payouts; may be repeated")
    parser.add_argument("--profile", choices=sorted(SHAPES), help="only this profile of the chain")
    parsed = parser.parse_args()
    if parsed.n or parsed.profile:
        return [(parsed.profile or "bench", count) for count in parsed.n or [1_000]]
    return [("bench", 1_000), ("bench", 10_000), ("bench", 100_000), ("real", 200)]


def measure(profile: str, count: int) -> Row:
    """Run one size on fresh state."""
    shape = SHAPES[profile]
    folder = Path(tempfile.mkdtemp(prefix="treasuryd-bench-"))
    try:
        bodies = [
            request_body(first, min(ITEMS_PER_REQUEST, count - first))
            for first in range(0, count, ITEMS_PER_REQUEST)
        ]
        chain_port, port = free_port(), free_port()
        daemon_file = folder / "daemon.toml"
        daemon_file.write_text(
            DAEMON.format(
                folder=folder,
                chain_port=chain_port,
                port=port,
                depth=shape.depth,
                pace=shape.pace,
                unburned=shape.unburned,
                rate=shape.rate,
                follow=shape.follow,
            )
        )
        signing = _signing_rate()
        with process(
            folder,
            "devnet",
            *("--profile", profile, "--port", str(chain_port), "--seed", "1"),
            *("--block-interval", str(shape.interval), "--fund", f"treasury={FUNDS}"),
            *("--state-folder", str(folder / "chain")),
        ) as chain:
            wait_for_port(chain_port)
            with process(folder, "run", "--config", str(daemon_file)) as daemon:
                wait_until_ready(port)
                idle = _cpu(daemon.pid), _cpu(chain.pid)
                started = time.perf_counter()
                for body in bodies:
                    post(port, body)
                wait_until_final(port, count)
                seconds = time.perf_counter() - started
                used = _cpu(daemon.pid) - idle[0], _cpu(chain.pid) - idle[1]
                peak = _peak_mib(daemon.pid)
        *latencies, including = _latencies(folder / "daemon" / "treasuryd.db")
        commits = sum(_changes(folder / "daemon" / name) for name in ("treasuryd.db", "signer/ledger.db"))
        return Row(
            profile=profile,
            count=count,
            seconds=seconds,
            staged_to_included=(latencies[0], latencies[1]),
            including_seconds=including,
            commits=commits,
            peak_mib=peak,
            daemon_cpu=used[0],
            chain_cpu=used[1],
            signing_rate=signing,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def request_body(first: int, count: int) -> bytes:
    """Make `count` payable items, numbered from `first`."""
    items = [
        {
            "destination": f"tb1bench{number % RECIPIENTS:02d}",
            "amount": AMOUNT + number % 7,
            "memo": f"payout {number}",
            "scheduled_epoch": 1,
        }
        for number in range(first, first + count)
    ]
    return json.dumps({"items": items}).encode()


# --- processes -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(folder: Path, command: str, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command of ours as long as the block runs; what it said is shown when the block fails."""
    said = folder / f"{command}.log"
    with said.open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "treasuryd", command, *options], stdout=log, stderr=log
        )
        try:
            yield running
        except BaseException:
            print(said.read_text()[-3_000:], file=sys.stderr)
            raise
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(timeout=30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def wait_until_ready(port: int) -> None:
    """Wait until the daemon leads and the chain has begun its first epoch: intake is then paid at once."""
    wait_for_port(port)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = get(port, "/treasury/executor/status")
        if status["leader"] and status["chain"]["settled_epoch"] >= 1:
            return
        time.sleep(0.1)
    raise TimeoutError("the daemon did not become ready")


def wait_until_final(port: int, count: int) -> None:
    """Wait until so many disbursements are finalized."""
    deadline, counts = time.monotonic() + PATIENCE_SECONDS, {}
    while time.monotonic() < deadline:
        counts = get(port, "/treasury/executor/status")["store"]["disbursements"]
        if counts.get("finalized", 0) >= count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"not all payouts became final: {counts}")


def get(port: int, path: str) -> Any:
    """Ask the daemon."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        link.request("GET", path)
        return json.loads(link.getresponse().read())
    finally:
        link.close()


def post(port: int, body: bytes, path: str = "/treasury/disbursements") -> None:
    """Order something of the daemon; RuntimeError when it refuses."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        link.request("POST", path, body, {"Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read()
        if answer.status not in {200, 201}:
            raise RuntimeError(f"{answer.status}: {text[:500]!r}")
    finally:
        link.close()


# --- readings --------------------------------------------------------------------------------------------------


def _cpu(pid: int) -> float:
    """Processor seconds of a process, user and system."""
    if not Path("/proc").exists():
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    if not Path("/proc").exists():
        return 0.0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _changes(database: Path) -> int:
    """Read the file change counter of the header: one for each committed transaction (rollback journal only)."""
    header = database.read_bytes()[:28]
    return int.from_bytes(header[24:28], "big")


def _latencies(database: Path) -> tuple[float, float, float]:
    """Read p50 and p99 of the seconds from staging to inclusion, and those from the first staging to the last inclusion."""
    link = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        query = "SELECT d.executed_at - i.staged_at FROM disbursement d JOIN intent i ON i.id = d.live_intent"
        found = sorted(row[0] for row in link.execute(query) if row[0] is not None)
        span = "SELECT (SELECT max(executed_at) FROM disbursement) - (SELECT min(staged_at) FROM intent)"
        including = float(link.execute(span).fetchone()[0])
    finally:
        link.close()
    return found[len(found) // 2], found[min(len(found) - 1, len(found) * 99 // 100)], including


def _signing_rate() -> float:
    """Ed25519 signatures of a payment's size per second on one core, in this minute."""
    key, message, count = Ed25519PrivateKey.generate(), bytes(220), 3_000
    started = time.perf_counter()
    for _ in range(count):
        key.sign(message)
    return count / (time.perf_counter() - started)


def machine() -> str:
    """Name the machine by its processor."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    return f"{os.cpu_count()} cores, {model}, {platform.system()}"


def _table(rows: list[Row]) -> None:
    print()
    print("| profile | payouts | seconds | payouts/s | included/s | staged to included p50 / p99 | commits | peak memory | "
          "daemon CPU s (µs each) | chain CPU s (µs each) | raw signing/s | ratio |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        p50, p99 = row.staged_to_included
        print(
            f"| {row.profile} | {row.count:,} | {row.seconds:.2f} | {row.rate:,.0f} | "
            f"{row.inclusion_rate:,.1f} | {p50:.2f} s / {p99:.2f} s | "
            f"{row.commits:,} | {row.peak_mib:.0f} MiB | {row.daemon_cpu:.2f} ({_each(row.daemon_cpu, row)}) | "
            f"{row.chain_cpu:.2f} ({_each(row.chain_cpu, row)}) | {row.signing_rate:,.0f} | "
            f"{row.rate / row.signing_rate:.3f} |"
        )


def _each(seconds: float, row: Row) -> str:
    return f"{seconds / row.count * 1e6:.0f}"


if __name__ == "__main__":
    sys.exit(main())
