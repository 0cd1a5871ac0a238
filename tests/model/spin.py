"""Running Spin: one variant of one model, compiled in a folder of its own and searched to the end."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODELS: Final = Path(__file__).parent
DEPTH: Final = 200_000  # steps of the longest path; the deepest so far has 5,000
MEMORY_MIB: Final = 3_000
SECONDS: Final = 600  # of one search
INCOMPLETE: Final = (
    "max search depth too small",
    "out of memory",
    "memory limit",
    "VECTORSZ",
    "too many processes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model with some of its switches set, and one property of it."""

    model: str  # payment, cancel, restore or foreign
    says: str  # property by its name in the model
    switches: tuple[str, ...] = ()  # what is broken, what is taken away
    bounds: tuple[str, ...] = ()  # how many faults of a kind, where not as in the model

    @property
    def name(self) -> str:
        """Model, switches and property in one word."""
        return "-".join((self.model, *self.switches, *self.bounds, self.says))

    @property
    def lives(self) -> bool:
        """Whether the property is one of liveness, searched under weak fairness."""
        return self.says == "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search came to."""

    variant: Variant
    complete: bool  # every reachable state was seen
    broken: bool  # a path breaks the property
    unbounded: str  # an assertion of the model itself failed (it ran out of nonces): never right
    states: int
    depth: int
    seconds: float
    memory_mib: float
    unreached: frozenset[str]  # statements that no path executes, without those of the property
    output: str


def search(variant: Variant, folder: Path, *, quickly: bool = False) -> Search:
    """
    Make the verifier of this variant in `folder` and run it; `quickly` compiled, for a search that soon ends.

    Raises: CalledProcessError when Spin or the compiler refuses, TimeoutExpired after ten minutes.
    """
    defines = [f"-D{switch}" for switch in (*variant.switches, *variant.bounds)]
    model = MODELS / f"{variant.model}.pml"
    _call(["spin", *defines, "-a", str(model)], folder)
    kind = ["-DNFAIR=3"] if variant.lives else ["-DSAFETY"]
    _call(
        ["gcc", "-w", "-O0" if quickly else "-O2", *kind, f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c"],
        folder,
    )
    fair = ["-a", "-f"] if variant.lives else []
    return _read(variant, _call(["./pan", *fair, f"-m{DEPTH}", "-N", variant.says], folder))


def _call(command: list[str], folder: Path) -> str:
    """Run one tool with a bound on its time; answers what it printed."""
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=True)
    return run.stdout + run.stderr


def _read(variant: Variant, output: str) -> Search:
    errors = int(_figure(r"errors: (\d+)", output))
    found = re.search(r"^pan:1: (.*)$", output, re.MULTILINE)
    fault = found[1] if found else ""
    own = "assertion violated  !( !" in fault or fault.startswith("acceptance cycle")  # the property itself
    return Search(
        variant=variant,
        complete=not any(word in output for word in INCOMPLETE)
        and (errors > 0 or "Search not completed" not in output),
        broken=errors > 0 and own,
        unbounded="" if own else fault,
        states=int(float(_figure(r"([\d.e+]+) states, stored", output))),
        depth=int(_figure(r"depth reached (\d+)", output)),
        seconds=float(_figure(r"elapsed time ([\d.e+-]+) seconds", output)),
        memory_mib=float(_figure(r"([\d.]+)\s+total actual memory usage", output)),
        unreached=_unreached(variant.model, output),
        output=output,
    )


def _figure(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    assert found, f"no {pattern} in:\n{output[-2000:]}"
    return found[1]


def _unreached(model: str, output: str) -> frozenset[str]:
    """Statements as `line: text`, without the ends of processes and what the model marks as `broken only`."""
    source = (MODELS / f"{model}.pml").read_text(encoding="utf-8").splitlines()
    lines = re.findall(r'^\t\S*\.pml:(\d+), state \d+, "(.*)"$', output, re.MULTILINE)
    return frozenset(
        f"{line}: {text}"
        for line, text in lines
        if text != "-end-" and "/* broken only */" not in source[int(line) - 1]
    )
