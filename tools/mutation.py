"""
Mutation run over the code that guards money: `make mutation`, or `make mutation ARGS="--only breaker lease"`.

Each target's modules are changed one small place at a time (mutmut) and the target's own tests run against each change
(tools/mutants.py). A change that no test notices is a survivor; it is either one of text alone (a message, a hint: people
read those, no rule rests on them), or explained in tests/mutation.toml, or a failure of this run. `--json FILE` records
the figures; `--after FILE` keeps there what an earlier run measured of other targets. The store has thousands of changes:
those that the type checker refuses are counted and not tested, and its slowest tests are left out, which can only make
survivors. `--modules` names the modules of one target to look at alone; they are recorded under their own names.
"""

import argparse
import ast
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SQL = re.compile(r"(XX)?(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b", re.IGNORECASE)
EXPLAINED = ROOT / "tests" / "mutation.toml"
COPIED = (
    "tests",
    "config",
    "docs",
    "systemd",
    "launchd",
    "monitoring",
    "tools",
    "README.md",
    "CHANGELOG.md",
    "Makefile",
)
SLOW_OR_TWICE = (  # of the store's tests: what takes seconds, and each contract's second run in a thread
    "threaded",
    "between_any_two_statements",
    "five_thousand",
    "ten_thousand",
    "a_tick_costs_the_same",
)


@dataclass(frozen=True, slots=True)
class Target:
    """
    Modules to change (below treasuryd/), and the tests that have to notice.

    `without` names tests that are left out; where `typed`, a change that the type checker refuses is not tested.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()
    typed: bool = False


TARGETS = {
    "breaker": Target(
        ("core/breaker.py",), ("tests/core/test_breaker.py",), without=("runTest",)
    ),  # the random one
    "lease": Target(("core/lease.py",), ("tests/core/test_lease.py",)),
    "planner": Target(
        ("core/planner.py", "core/submission.py"),
        ("tests/core/test_planner.py", "tests/core/test_submission.py"),
    ),
    "staging": Target(
        ("core/staging.py", "core/eligibility.py", "core/limits.py"),
        ("tests/core/test_staging.py", "tests/core/test_eligibility.py", "tests/core/test_limits.py"),
    ),
    "confirmation": Target(
        (
            "core/confirmation.py",
            "core/by_hash.py",
            "core/by_balance.py",
            "core/evidence.py",
            "core/settling.py",
            "core/reorgs.py",
        ),
        (
            "tests/core/test_confirmation.py",
            "tests/core/test_by_hash.py",
            "tests/core/test_by_balance.py",
            "tests/core/test_evidence.py",
            "tests/core/test_settling.py",
            "tests/core/test_reorgs.py",
        ),
        without=("thousands",),
    ),
    "store": Target(
        ("store/*.py",),
        (
            "tests/store",
            "tests/contracts/test_store.py",
            "tests/contracts/test_desk.py",
            "tests/commands",
            "tests/cli",
            "tests/executor/test_auditor.py",
        ),
        without=SLOW_OR_TWICE,
        typed=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Survivor:
    """A change that no test noticed: where, the line before and the line after, whitespace folded."""

    function: str
    was: str
    now: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets asked for; answers 1 where a survivor is not explained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--modules", nargs="+", help="of one target, these alone: store/staging.py")
    parser.add_argument("--json", type=Path, help="record the figures here")
    parser.add_argument(
        "--after", type=Path, nargs="+", default=[], help="records of other targets, of before"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long changes are tested")
    parser.add_argument("--enough", type=float, default=math.inf, help="seconds of tests for one change")
    parser.add_argument("--children", type=int, default=2, help="mutants tested at the same time")
    given = parser.parse_args(arguments)
    explained = {
        Survivor(row["function"], row["was"], row["now"]): row["why"]
        for row in tomllib.loads(EXPLAINED.read_text())["survivor"]
    }
    ran: list[Part] = []
    for name in given.only:
        target, label = TARGETS[name], name
        if given.modules:
            target = replace(target, modules=tuple(given.modules))
            label = f"{name}: {', '.join(Path(module).stem for module in given.modules)}"
        ran.append(run(label, target, explained, given))
    if given.json:
        from tests.evidence.record import write  # noqa: PLC0415  (only where something is recorded)

        write(
            "mutation",
            "make mutation",
            tables(ran, [json.loads(file.read_text())["figures"] for file in given.after if file.exists()]),
            what="changes of the code that its own tests notice, target by target; why nothing has to notice some",
            folder=given.json.resolve().parent,
        )
    return int(any(part.row["unexplained"] for part in ran))


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one target, or of some modules of it: a row of figures, and the changes that nobody noticed."""

    row: dict[str, Any]
    explained: list[dict[str, str]]
    unexplained: list[dict[str, str]]


def tables(ran: Sequence[Part], before: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Put parts together with those that were recorded before and not run again now."""
    anew = {part.row["target"] for part in ran}
    found: dict[str, list[dict[str, Any]]] = {"targets": [], "unexplained": [], "explained": []}
    for record in before:
        for name, rows in found.items():
            rows += [row for row in record.get(name, ()) if row["target"] not in anew]
    for part in ran:
        found["targets"].append(part.row)
        found["unexplained"] += part.unexplained
        found["explained"] += part.explained
    return found


def run(label: str, target: Target, explained: dict[Survivor, str], given: argparse.Namespace) -> Part:
    """Mutate one target in a copy of the tree; prints and answers what came of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        lay_out(copy, target)
        out = copy / "out.json"
        command = [sys.executable, "tools/mutants.py", f"--out={out}", f"--children={given.children}"]
        command += [f"--enough={given.enough}", f"--seconds={given.seconds}"]
        command += ["--typed"] if target.typed else []
        command += ["-k", " and ".join(f"not {test}" for test in target.without)] if target.without else []
        done = subprocess.run([*command, *target.tests], cwd=copy, check=False)
        if done.returncode:  # its tests fail, or could not be run, without any change
            raise SystemExit(f"{label}: nothing was tested (exit code {done.returncode})")
        told = json.loads(out.read_text())
    counts: dict[str, int] = told["counts"]
    found = [survivor(mutant, diff) for mutant, diff in told["unnoticed"].items()]
    text = [one for one in found if only_text(one)]
    known = [one for one in found if one in explained and one not in text]
    open_ = [one for one in found if one not in explained and one not in text]
    seconds = time.monotonic() - started
    print(
        f"{label}: {counts} in {seconds:.0f} s; of the unnoticed {len(text)} are text, {len(known)} explained"
    )
    for one in open_:
        print(f"  not noticed in {one.function}:\n    - {one.was}\n    + {one.now}")
    row = {
        "target": label,
        "changes": sum(counts.values()),
        "refused_by_types": counts.get("typed", 0),
        "noticed": counts.get("killed", 0) + counts.get("timeout", 0),
        "text_alone": len(text),
        "explained": len(known),
        "unexplained": len(open_),
        "not_run": counts.get("not run", 0),
        "seconds": round(seconds),
        "commit": commit(),
    }
    return Part(
        row,
        [{"target": label, **asdict(one), "why": explained[one]} for one in known],
        [{"target": label, **asdict(one)} for one in open_],
    )


def commit() -> str | None:
    """Name the commit that was changed; None outside of a repository."""
    said = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or None


def lay_out(copy: Path, target: Target) -> None:
    """Copy the tree as mutmut wants it: the package below src/."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "daemon", copy / "src", ignore=ignore)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, copy / name)
    settings = (ROOT / "pyproject.toml").read_text().replace('"daemon"', '"src"').replace("daemon/", "src/")
    modules = [f"src/treasuryd/{module}" for module in target.modules]
    rings = sorted({f"src/treasuryd/{module.split('/')[0]}" for module in target.modules})
    settings += "\n[tool.mutmut]\n" + "".join(
        f"{key} = {value!r}\n"
        for key, value in {
            "source_paths": rings,
            "only_mutate": modules,
            "also_copy": ["src", *COPIED],
        }.items()
    )
    (copy / "pyproject.toml").write_text(settings)


def survivor(name: str, diff: str) -> Survivor:
    """Describe one change by the lines it changed."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    return Survivor(
        function=re.sub(r"\.x_|\.xǁ|ǁ", ".", name).rsplit("__mutmut_", 1)[0].removeprefix("treasuryd."),
        was=folded(line[1:] for line in lines if line.startswith("-")),
        now=folded(line[1:] for line in lines if line.startswith("+")),
    )


def folded(lines: Iterator[str]) -> str:
    """One line of them, with single spaces."""
    return " ".join(" ".join(lines).split())


def only_text(one: Survivor) -> bool:
    """Say whether the change is one of words for people: the letters of a sentence, a hint, a range in words."""
    return (one.now in {"", ")"} and one.was.startswith("hint=")) or bare(one.was) == bare(one.now)


class Unworded(ast.NodeTransformer):
    """Takes sentences out of the code: what is left is what it does. SQL stays, in one case: it is no sentence."""

    def visit(self, node: ast.AST) -> ast.AST:
        """Leave words such as a state or a column; only what has a space, or is put together, is a sentence."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            return ast.Constant(node.value.casefold() if SQL.match(node.value) else None)
        if isinstance(node, ast.JoinedStr):
            return ast.Constant(None)
        if isinstance(node, ast.Call):
            node.keywords = [one for one in node.keywords if one.arg != "hint"]
        return super().visit(node)  # type: ignore[no-any-return]


def bare(code: str) -> str:
    """The code without its sentences; as it stands where it is no whole piece of code."""
    for form in (code, f"f({code})", f"f({code}", f"{code}\n pass"):
        try:
            return ast.dump(Unworded().visit(ast.parse(form)))
        except SyntaxError:
            continue
    return code


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
