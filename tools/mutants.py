"""
Tests small changes of the code, all within one process: tools/mutation.py starts it in a copy of the tree.

mutmut writes the changes: they stand in the copied modules together, each behind a switch. pytest collects the tests
once. Then a fork per change switches it on and runs the tests that reach the changed function, until one fails: first
those that noticed another change of it, then those that speak of it, then those that noticed one of its module.
(A start of pytest for each change costs more than its tests do.)
"""

import argparse
import contextlib
import gc
import json
import math
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2s
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest
from mutmut.__main__ import collect_source_file_mutation_data, create_mutants
from mutmut.mutation.data import MutantLineSpans
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd, copy_also_copy_files, copy_src_dir, setup_source_paths
from mutmut.utils.format_utils import get_mutant_name, mangled_name_from_mutant_name

GRACE_SECONDS = 10.0  # of the processor; a change that makes a loop endless ends here
PATIENCE_SECONDS = 600.0  # by the clock, for a test or a change: other work on the machine is no failure
SLOWER = 3.0  # times its tests without a change: so much of the processor may a change take
MEMORY_BYTES = 8 << 30
TELL_EVERY = 100
NO_COMPLAINT = (  # of what mutmut writes around the changes
    "--no-warn-unused-ignores",
    "--disable-error-code=ignore-without-code",
)


@dataclass(frozen=True, slots=True)
class Running:
    """A fork under way: its change, when it is given up, its scratch folder."""

    mutant: str
    process: int
    until: float
    folder: str


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Plugin:
    """Takes the place of pytest's loop over the tests."""

    mutants: Sequence[str]
    children: int
    enough: float  # processor seconds of tests that one change may cost
    seconds_given: float  # after which no further change is tested
    ends: dict[str, str] = field(default_factory=dict)
    clean: bool = False
    failed: list[str] = field(default_factory=list)
    reached: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=dict)
    noticed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def pytest_configure(self) -> None:
        """
        Let random tests be satisfied with any failing example, and keep none for the next change.

        Nor is being slow a failure: a busy machine must not look like a change that was noticed.
        """
        from hypothesis import HealthCheck, Phase, settings  # noqa: PLC0415  (pytest sees to its assertions first)

        settings.register_profile(
            "mutants",
            phases=[Phase.explicit, Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure, in a fork."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests unchanged, then against each change."""
        items = {item.nodeid: item for item in session.items}
        gc.freeze()
        self.survey(items)
        if self.clean and self.fails(items):
            self.test(items)
        return True

    def survey(self, items: dict[str, pytest.Item]) -> None:
        """Learn which test reaches which function and how long it takes; all have to pass."""
        here, there = connection.Pipe(duplex=False)
        with tempfile.TemporaryDirectory() as folder:
            process = os.fork()
            if process == 0:
                self.ready(items, "stats", folder)
                told = []
                for item in items.values():
                    seen = state()._stats  # noqa: SLF001  (where mutmut notes what ran)
                    seen.clear()
                    started = time.process_time()
                    self.one(item, None)
                    told.append((item.nodeid, time.process_time() - started, set(seen)))
                there.send_bytes(pickle.dumps((told, self.failed)))
                os._exit(0)
            there.close()
            told, failed = pickle.loads(here.recv_bytes())
            os.waitpid(process, 0)
        for name, seconds, functions in told:
            self.seconds[name] = seconds
            for function in functions:
                self.reached[function].append(name)
        self.clean = not failed
        for name in failed:
            print(f"fails without any change: {name}")
        print(f"{len(items)} tests in {sum(self.seconds.values()):.0f} s", flush=True)

    def fails(self, items: dict[str, pytest.Item]) -> bool:
        """Say whether a change can be noticed at all: with every switch broken, a test has to fail."""
        name = min((name for names in self.reached.values() for name in names), default=None)
        if name is None:
            print("no test reaches the code")
            return False
        with tempfile.TemporaryDirectory() as folder:
            process = os.fork()
            if process == 0:
                self.ready(items, "fail", folder)
                self.one(items[name], None)
                os._exit(1 if self.failed else 0)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 1

    def test(self, items: dict[str, pytest.Item]) -> None:
        """Test every change, some at the same time."""
        started = time.monotonic()
        running: dict[connection.Connection, Running] = {}
        # in no order of modules, so that what a run has no time for is spread over all of them
        waiting = sorted(self.mutants, key=lambda name: blake2s(name.encode()).digest())
        while waiting or running:
            if time.monotonic() > started + self.seconds_given:
                self.ends |= dict.fromkeys(waiting, "not run")
                waiting.clear()
            while waiting and len(running) < self.children:
                mutant = waiting.pop()
                if not self.reached.get(mangled_name_from_mutant_name(mutant)):
                    self.ended(mutant, "no tests", started)
                    continue
                pipe, one = self.start(items, mutant)
                running[pipe] = one
            soon = max(0.0, min((one.until for one in running.values()), default=0.0) - time.monotonic())
            ready = connection.wait(list(running), soon)
            for pipe in [pipe for pipe in running if pipe in ready or running[pipe].until < time.monotonic()]:
                one = running.pop(pipe)
                self.ended(one.mutant, self.end(pipe, one), started)

    def start(self, items: dict[str, pytest.Item], mutant: str) -> tuple[connection.Connection, Running]:
        """Fork: the change is switched on, and tests run until one fails."""
        function = mangled_name_from_mutant_name(mutant)
        of_function, of_module = self.noticed[function], self.noticed[function.rpartition(".")[0]]
        names = sorted(
            self.reached[function],
            key=lambda name: (
                -of_function[name] / (0.01 + self.seconds[name]),  # the cheap ones first
                -speaks_of(function, name),
                -of_module[name],
                self.seconds[name],
                name,
            ),
        )
        names = self.affordable(names)
        here, there = connection.Pipe(duplex=False)
        folder = tempfile.mkdtemp(prefix="mutant-")
        process = os.fork()
        if process == 0:
            here.close()
            self.ready(items, mutant, folder)
            most = math.ceil(GRACE_SECONDS + SLOWER * sum(self.seconds[name] for name in names))
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
            for name, after in zip(names, [*names[1:], None], strict=True):
                self.one(items[name], items[after] if after else None)
                if self.failed:
                    break
            there.send_bytes(pickle.dumps(self.failed[:1]))
            os._exit(0)
        there.close()
        return here, Running(mutant, process, time.monotonic() + PATIENCE_SECONDS, folder)

    def affordable(self, names: Sequence[str]) -> list[str]:
        """As many of the tests as `enough` seconds allow, one at least; what is left out could only notice more."""
        spent, chosen = 0.0, list[str]()
        for name in names:
            if chosen and spent + self.seconds[name] > self.enough:
                continue
            spent += self.seconds[name]
            chosen.append(name)
        return chosen

    def end(self, pipe: connection.Connection, one: Running) -> str:
        """Say how a fork ended, and clear away after it."""
        if not pipe.poll():
            os.kill(one.process, signal.SIGKILL)
            end = "timeout"
        else:
            try:
                noticed = pickle.loads(pipe.recv_bytes())
            except EOFError:
                end = "timeout"  # its share of the processor was spent, or it died of the change
            else:
                end = "killed" if noticed else "survived"
                function = mangled_name_from_mutant_name(one.mutant)
                for place in (function, function.rpartition(".")[0]):
                    self.noticed[place].update(noticed)
        os.waitpid(one.process, 0)
        pipe.close()
        shutil.rmtree(one.folder, ignore_errors=True)
        return end

    def ended(self, mutant: str, end: str, started: float) -> None:
        """Note how a change ended; now and then tell how far the run is."""
        self.ends[mutant] = end
        if end != "killed":
            print(f"{end}: {mutant}", flush=True)
        if len(self.ends) % TELL_EVERY == 0:
            spent = time.monotonic() - started
            print(
                f"{len(self.ends)} of {len(self.mutants)} in {spent:.0f} s: {Counter(self.ends.values())}",
                flush=True,
            )

    def ready(self, items: dict[str, pytest.Item], mutant: str, folder: str) -> None:
        """Make a fork fit to run tests by itself: silent, bounded, with a scratch folder of its own."""
        config = next(iter(items.values())).config
        config.pluginmanager.unregister(name="terminalreporter")
        config._tmp_path_factory._basetemp = Path(folder)  # type: ignore[attr-defined]  # noqa: SLF001
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        set_mutant_under_test(mutant)

    def one(self, item: pytest.Item, after: pytest.Item | None) -> None:
        """Run one test; what pytest itself cannot bear is a failure too."""
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        except BaseException:  # noqa: BLE001  (an exit out of the code under test would end the fork)
            self.failed.append(item.nodeid)


def speaks_of(function: str, test: str) -> int:
    """How many words of a function's and its module's name stand in that of a test."""
    words = re.findall(r"[a-z]{4,}", function.removeprefix("treasuryd.").lower())
    return sum(word.rstrip("s") in test for word in words)


def typed(files: set[str]) -> set[str]:
    """Name the changes that the type checker refuses, by the lines of each in the written files."""
    command = [sys.executable, "-m", "mypy", "--output=json", *NO_COMPLAINT, *sorted(files)]
    said = subprocess.run(command, cwd="mutants", capture_output=True, text=True, check=False)
    complaints = defaultdict[str, set[int]](set)
    for line in filter(str.strip, said.stdout.splitlines()):
        row = json.loads(line)
        complaints[row["file"]].add(row["line"])
    found = set[str]()
    for file, lines in complaints.items():
        spans = MutantLineSpans.load(file)
        for function, span in ({} if spans is None else spans.span_by_function_name).items():
            if any(span.start <= line <= span.end for line in lines):
                found.add(get_mutant_name(Path(file), function))
    print(f"the type checker refuses {len(found)}", flush=True)
    return found


def main() -> int:
    """Make the changes, test them, and write how each ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--children", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long changes are tested")
    parser.add_argument("--enough", type=float, default=math.inf, help="seconds of tests for one change")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--typed", action="store_true", help="do not test what the type checker refuses")
    given, tests = parser.parse_known_args()
    out = given.out.resolve()
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir()
    with Path("mutmut.log").open("w") as log, contextlib.redirect_stdout(log):
        copy_src_dir()
        copy_also_copy_files()
        setup_source_paths()
        create_mutants(given.children)
    changes, _ = collect_source_file_mutation_data(mutant_names=())
    paths = {name: data.path for data, name, _ in changes}
    refused = typed(set(map(str, paths.values()))) if given.typed else set[str]()
    plugin = Plugin(
        [name for name in paths if name not in refused], given.children, given.enough, given.seconds
    )
    quiet = [
        "-q",
        "--tb=native",
        "--capture=sys",
        "-p",
        "no:cacheprovider",
        "-o",
        f"timeout={PATIENCE_SECONDS}",
        "--rootdir=.",
    ]
    with change_cwd("mutants"):
        code = pytest.main([*quiet, *tests], plugins=[plugin])
    if not plugin.ends:
        print(f"nothing was tested (exit code {int(code)})")
        return 1
    unnoticed = [name for name, end in plugin.ends.items() if end in {"survived", "no tests"}]
    told: dict[str, Any] = {
        "counts": {"typed": len(refused)} | Counter(plugin.ends.values()),
        "unnoticed": {name: get_diff_for_mutant(name, path=paths[name]) for name in unnoticed},
    }
    out.write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
