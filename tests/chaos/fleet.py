"""
Real processes to be hard on: a development chain, several daemons over one store, and everything they said.

A fleet owns its processes: each has a group of its own, its standard error is read by a thread that hears every line as
it is written, and whatever happens in a test, nothing outlives the `with`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from tests.reach import AT_ONCE, START_SECONDS, ask, free_port, until

TAIL_LINES = 40  # of each log, shown when a test fails
PAYER = "treasury"
SINK = "treasury-sink"
FUNDS = 10**12
TTL_SECONDS = 2.0
CANDIDATE_WAIT_SECONDS = 2.5

CONFIG = f"""
development = true
[[accounts]]
name = "{PAYER}"
[chain]
epoch_blocks = 5
finality_depth = 3
max_blocks_per_second = 10.0
follow_seconds = 0.2
connect_seconds = 1.0
read_seconds = 2.0
send_seconds = 2.0
slow_seconds = 1.5
resend_seconds = 1.0
bump_seconds = 5.0
head_wait_seconds = 60.0
max_requests_per_second = 500.0
[executor]
poll_seconds = 0.2
grace_seconds = 5.0
[lease]
ttl_seconds = {TTL_SECONDS}
renew_seconds = 0.4
renew_deadline_seconds = 1.2
candidate_wait_seconds = {CANDIDATE_WAIT_SECONDS}
[breaker]
timeout_secs = 0.3
open_cap_secs = 1.0
{AT_ONCE}"""  # the lease's inequalities hold (protocol.md §6); a takeover by silence takes 2.5 s instead of 12.5

SAID = b"treasuryd: "  # what comes before the sentence for a person (main/roots.py)
Line = Mapping[str, Any]
Ear = Callable[[Line], None]


@dataclass(slots=True, kw_only=True)
class Life:
    """One start of a program, to its end."""

    process: "subprocess.Popen[bytes]"
    began: float
    killed: bool = False  # by us, with SIGKILL
    expected: tuple[int, ...] = ()  # exit codes that we asked for
    lines: list[Line] = field(default_factory=list)
    last_words: str = ""  # the sentence that it ended with, if it did by itself
    heard_out: threading.Event = field(
        default_factory=threading.Event
    )  # its standard error is read to the end
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def named(self, event: str) -> list[Line]:
        return [line for line in list(self.lines) if line.get("event") == f"treasuryd.{event}"]


class Program:
    """A program that is started again and again; its log goes on in one file."""

    def __init__(self, name: str, command: list[str], port: int, log: Path, *, ready: str) -> None:
        self.name = name
        self.command = command
        self.port = port
        self.log = log
        self.lives: list[Life] = []
        self.ears: list[Ear] = []
        self._ready = ready
        self._lock = threading.Lock()

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def alive(self) -> bool:
        return bool(self.lives) and self.life.alive

    def start(self) -> Life:
        with self._lock:
            assert not self.alive, f"{self.name} runs already"
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            life = Life(process=process, began=time.monotonic())
            self.lives.append(life)
        threading.Thread(target=self._listen, args=(life,), name=f"ear of {self.name}", daemon=True).start()
        return life

    def started(self) -> Life:
        life = self.start()
        self.wait_ready(life)
        return life

    def wait_ready(self, life: Life) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not life.ready.wait(0.05):
            assert life.alive, (
                f"{self.name} ended with {life.process.returncode} while it started\n{self.tail()}"
            )
            assert time.monotonic() < deadline, f"{self.name} did not start\n{self.tail()}"

    def kill(self) -> Life:
        """SIGKILL, and see it dead."""
        life = self.life
        life.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(life.pid, signal.SIGKILL)
        life.process.wait(timeout=30)
        return life

    def send(self, number: int) -> None:
        os.kill(self.life.pid, number)

    def pause(self) -> None:
        """SIGSTOP, and see every thread of it stand still: one in the middle of a call of the system ends that first."""
        self.send(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.life.pid}/task")
        if not tasks.exists():  # a system without /proc
            time.sleep(0.3)
            return
        until(
            f"{self.name} stands still", lambda: all(_stopped(one) for one in tasks.iterdir()), seconds=10.0
        )

    def tail(self, lines: int = TAIL_LINES) -> str:
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.name}: {self.log}", *text[-lines:]])

    def _listen(self, life: Life) -> None:
        stream = life.process.stdout
        assert stream is not None
        with self.log.open("ab") as log, stream:
            for raw in stream:
                log.write(raw)
                log.flush()
                if self._ready.encode() in raw:
                    life.ready.set()
                if raw.startswith(SAID):
                    life.last_words = raw.removeprefix(SAID).decode(errors="replace").strip()
                line = _parsed(raw)
                if line is not None:
                    life.lines.append(line)
                    for ear in list(self.ears):
                        ear(line)
        life.heard_out.set()


def _stopped(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}


def _parsed(raw: bytes) -> Line | None:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None


class Fleet:
    """
    One chain and daemons A and B on one state folder, C on a folder of its own, all on A's store and signer's ledger.

    Guarantees: ports of the system's choice, nothing shared with another fleet; every process is dead after the `with`.
    """

    def __init__(self, folder: Path, *, lookup: bool, block_seconds: float = 0.2, names: str = "ABC") -> None:
        self.folder = folder
        self.lookup = lookup
        folder.mkdir(parents=True, exist_ok=True)
        self.shared = folder / "shared"
        self.offered = folder / "offered.jsonl"
        port = free_port()
        self.devnet = Program(
            "chain", self._chain(port, block_seconds), port, folder / "chain.log", ready="listens on"
        )
        self.daemons = [self._daemon(name, self.shared if name in "AB" else folder / name) for name in names]
        self._configure(port)

    @property
    def store_file(self) -> Path:
        return self.shared / "treasuryd.db"

    def __enter__(self) -> Self:
        try:
            self.devnet.started()
            self.daemons[0].started()  # it makes store, keys and ledger
            rest = [(daemon, daemon.start()) for daemon in self.daemons[1:]]
            for daemon, life in rest:
                daemon.wait_ready(life)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is not None:
            print("\n".join(program.tail() for program in self.programs))

    @property
    def programs(self) -> list[Program]:
        return [self.devnet, *self.daemons]

    def close(self) -> None:
        for program in self.programs:
            if program.lives:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(program.life.pid, signal.SIGCONT)
                program.kill()

    def add(self, name: str) -> Program:
        """One more daemon, not started yet."""
        self.daemons.append(self._daemon(name, self.folder / name))
        return self.daemons[-1]

    def admin(self, **command: object) -> Any:
        """Tell the chain something; OSError when it is down."""
        status, said = ask(self.devnet.port, "POST", "/devnet/admin", command, seconds=10.0)
        assert status == 200, said
        return said

    def by_pid(self, pid: int) -> Program | None:
        return next((one for one in self.daemons if one.lives and one.life.pid == pid), None)

    def anyone(self) -> Iterator[Program]:
        """Those that should answer."""
        return (one for one in self.daemons if one.alive and one.life.ready.is_set())

    def _chain(self, port: int, block_seconds: float) -> list[str]:
        return [
            *(sys.executable, "-u", "-m", "treasuryd", "devnet", "--port", str(port), "--seed", "1"),
            *("--block-interval", str(block_seconds), "--state-folder", str(self.folder / "chain")),
            # a reorg that drops a nonce but not those behind it keeps the pool shut until they leave it
            *("--fund", f"{PAYER}={FUNDS}", "--offered", str(self.offered), "--pool-ttl", "5"),
            *(() if self.lookup else ("--bare",)),
        ]

    def _daemon(self, name: str, folder: Path) -> Program:
        port = free_port()
        command = [
            *(sys.executable, "-m", "treasuryd", "run", "--config", str(self.config_of(name))),
            *("--state-folder", str(folder), "--port", str(port)),
        ]
        return Program(name, command, port, self.folder / f"{name}.log", ready='"treasuryd.started"')

    def config_of(self, name: str) -> Path:
        return self.folder / f"{name}.toml"

    def _configure(self, port: int) -> None:
        """The store and the signer's folder are A's, whatever the state folder is; D alone has its own of both."""
        text = f'store_file = "{self.store_file}"\n{CONFIG}[signer]\nfolder = "{self.shared / "signer"}"\n'
        endpoint = f'[[chain.endpoints]]\nname = "devnet"\nurl = "http://127.0.0.1:{port}"\n'
        for name in "ABCD":
            self.config_of(name).write_text((CONFIG if name == "D" else text) + endpoint)
