"""
Programs that go on running after the command that started them: a pid file each, and a clean end.

A pid is used again after a while, so the file also holds when the process began, as the system tells it; what does not
agree is not ours and is left alone.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

END_SECONDS: Final = 10.0  # for a clean end; then it is killed
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program of a folder: its pid file and its log are named after it."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process, if it runs and is ours."""
        try:
            said = json.loads(self._file.read_text(encoding="utf-8"))
            pid, began = int(said["pid"]), str(said["began"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if _began(pid) == began else None

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start it in a session of its own, so that Ctrl-C in this terminal does not reach it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        process.returncode = 0  # it outlives this command: nobody here waits for it
        self._file.write_text(
            json.dumps({"pid": process.pid, "began": _began(process.pid)}), encoding="utf-8"
        )

    def reload(self) -> None:
        """Have it read its files again."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGHUP)

    def stop(self) -> bool:
        """End it; answers whether it ran."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not self._ended():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._ended()
        self._file.unlink(missing_ok=True)
        return pid is not None

    def tail(self, lines: int = 15) -> str:
        """Give the end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _ended(self) -> bool:
        deadline = time.monotonic() + END_SECONDS
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True


def _began(pid: int) -> str:
    """Say when a process began, in the system's words; empty where there is none, or only its remains."""
    if Path("/proc/self").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        fields = stat.rpartition(")")[2].split()  # from the third on: state, …, start time (proc(5))
        return "" if fields[0] in {"Z", "X"} else fields[19]
    ps = shutil.which("ps")
    if ps is None:
        return ""
    said = subprocess.run([ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return said.stdout.strip()
