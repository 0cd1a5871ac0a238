"""A real daemon of its own account on a real development chain, for the tests that spoil its files, sockets and clock."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.reach import AT_ONCE, START_SECONDS, UNREACHED, ask, free_port, until

PAY_SECONDS: Final = 60.0
AMOUNT: Final = 5_000
ACCOUNTS: Final = 60

CONFIG: Final = """
development = true
[[accounts]]
name = "{account}"
[[chain.endpoints]]
name = "devnet"
url = "http://127.0.0.1:{chain}"
[chain]
epoch_blocks = 3
finality_depth = 3
max_blocks_per_second = 50.0
follow_seconds = 0.1
resend_seconds = 1.0
bump_seconds = 10.0
max_requests_per_second = 500.0
[executor]
poll_seconds = 0.2
grace_seconds = 5.0
[http]
port = {port}
{at_once}
{more}
"""


class Chain:
    """One development chain with many funded accounts, for all tests of a module."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._used = 0
        funds = [word for number in range(ACCOUNTS) for word in ("--fund", f"payer{number}=1000000000000")]
        self._log = folder / "chain.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "treasuryd", "devnet", "--port", str(self.port)),
                    *("--block-interval", "0.1", *funds),
                ],
                stdout=log,
                stderr=log,
            )
        until("the chain starts", self._answers, seconds=START_SECONDS)

    def account(self) -> str:
        """An account that no other test uses."""
        self._used += 1
        return f"payer{self._used - 1}"

    def payments(self, account: str) -> Counter[str]:
        """How often each memo was paid from an account, by the canonical chain."""
        _, said = ask(self.port, "POST", "/devnet/admin", {"show": "transactions"}, seconds=20.0)
        return Counter(row["memo"] for row in said["transactions"] if row["from"] == account)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(*UNREACHED):
            return ask(self.port, "POST", "/devnet/admin", {"show": "transactions"})[0] == 200
        return False


class Payer:
    """
    A daemon that is started again and again over one state folder.

    Args: settings are further lines of the configuration; `folder` is the state folder, `aside` holds the log and
        the configuration.
    """

    def __init__(self, chain: Chain, folder: Path, aside: Path, settings: str = "") -> None:
        self.chain, self.folder = chain, folder
        self.account, self.port = chain.account(), free_port()
        self.log, self.config = aside / f"{self.account}.log", aside / f"{self.account}.toml"
        self.config.write_text(
            CONFIG.format(
                account=self.account, chain=chain.port, port=self.port, at_once=AT_ONCE, more=settings
            )
        )
        self.memos: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._said = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)

    # --- life

    def start(self, environment: Mapping[str, str] | None = None, *, before: Sequence[str] = ()) -> "Payer":
        """Start it, and do not wait; `before` is a command that starts it in turn."""
        self._said = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(*before, sys.executable, "-m", "treasuryd", "run"),
                    *("--config", str(self.config), "--state-folder", str(self.folder)),
                ],
                env=dict(environment or os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def started(self, environment: Mapping[str, str] | None = None, *, before: Sequence[str] = ()) -> "Payer":
        """Start it, and wait until it serves and leads."""
        self.start(environment, before=before)
        until("it starts", self.leads, seconds=START_SECONDS, else_show=self.said)
        return self

    def leads(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended with {self.process.returncode}\n{self.said()}"
        with contextlib.suppress(*UNREACHED):
            status, said = ask(self.port, "GET", "/readyz")
            return status == 200 and said.get("leader", True) is not False
        return False

    def ended(self, *, seconds: float = 60.0) -> int:
        """Wait for its end, and answer the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end\n{self.said()}") from None

    def stopped(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def said(self) -> str:
        """What it said since its last start."""
        return self.log.read_bytes()[self._said :].decode(errors="replace")

    # --- paying

    def submit(self, count: int = 1, *, scheduled: int = 1, size: int = 0) -> bool:
        """Submit payments of one memo each; says whether it was answered. Unanswered, it may be stored all the same."""
        memos = [f"{self.account} {len(self.memos) + number}" + "x" * size for number in range(count)]
        items = [
            {"destination": f"tb1io{number}", "amount": AMOUNT, "memo": memo, "scheduled_epoch": scheduled}
            for number, memo in enumerate(memos)
        ]
        with contextlib.suppress(*UNREACHED):
            status, said = ask(self.port, "POST", "/treasury/disbursements", {"items": items})
            if status in {200, 201}:
                self.memos += memos
                return True
            assert status >= 500, said
        return False

    def items(self) -> list[Mapping[str, Any]]:
        """All that it knows of."""
        found: list[Mapping[str, Any]] = []
        cursor = ""
        while True:
            status, said = ask(self.port, "GET", f"/treasury/disbursements?limit=200{cursor}")
            assert status == 200, said
            found += said["items"]
            if not said["next_cursor"]:
                return found
            cursor = f"&cursor={said['next_cursor']}"

    def all_finalized(self) -> bool:
        """Whether everything that was answered, and everything else that is stored, was paid to the end."""
        with contextlib.suppress(*UNREACHED):
            found = self.items()
            assert set(self.memos) <= {item["memo"] for item in found}, "it lost what it had answered"
            return all(item["status"] == "finalized" for item in found)
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        return False

    def pays_everything_once(self) -> None:
        """Wait until all is paid, and ask the chain itself."""
        until("everything is paid", self.all_finalized, seconds=PAY_SECONDS, else_show=self.said)
        paid = self.chain.payments(self.account)
        assert {item["memo"]: 1 for item in self.items()} == dict(paid)
        _, said = ask(self.port, "GET", "/treasury/accounts")
        (account,) = said["items"]
        assert account["state"] == "active", account


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Mount something on a folder for as long as the block runs; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    assert done.returncode == 0, (
        f"this test mounts a small file system and needs root: {done.stderr.decode()}"
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
