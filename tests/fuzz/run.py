"""
`make fuzz`: coverage-guided fuzzing of every target by atheris, TIME seconds each; figures to docs/evidence/fuzz.json.

Runs in an environment of its own (`requirements-fuzz.lock`), since atheris exists for Linux alone. An input that fails is
kept in `corpus/<target>/`, where `make test` meets it again.
"""

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.evidence.record import write
from tests.fuzz.corpus import FOLDER, keep
from tests.fuzz.seeds import HOSTILE, seeds
from tests.fuzz.targets import TARGETS

MAX_LENGTH: Final = 4_096  # bytes of one input
MEMORY_MIB: Final = 2_048
ONE_INPUT_SECONDS: Final = 10
CHILD: Final = """
import sys
import atheris
with atheris.instrument_imports(include=["treasuryd", "csv", "json", "tomllib", "_strptime"]):
    from tests.fuzz.targets import TARGETS
atheris.Setup(sys.argv[1:], TARGETS[{name!r}])
atheris.Fuzz()
"""


def main(arguments: list[str]) -> int:
    """Fuzz all targets or the named ones, two at a time; 1 where an input failed."""
    seconds, names = int(arguments[0]), arguments[1:] or sorted(TARGETS)
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda name: fuzz(name, seconds), names))
    for row in rows:
        print(
            f"{row['target']:22} {row['inputs']:>9} inputs {row['covered']:>6} edges {row['failed']} failed"
        )
    if names == sorted(TARGETS):
        figures = {"seconds_each": seconds, "targets": rows}
        write(
            "fuzz",
            f"make fuzz TIME={seconds}",
            figures,
            what="coverage-guided fuzzing of every parser of foreign input",
        )
    return 1 if any(row["failed"] for row in rows) else 0


def fuzz(name: str, seconds: int) -> dict[str, Any]:
    """Fuzz one target from its valid, hostile and kept inputs; what fails is kept."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "seeds").mkdir()
        (folder / "found").mkdir()
        for place, data in enumerate((*seeds()[name], *HOSTILE)):
            (folder / "seeds" / str(place)).write_bytes(data)
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        run = subprocess.run(
            [
                sys.executable, "-c", CHILD.format(name=name), str(folder / "found"), str(folder / "seeds"),
                str(FOLDER / name), f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}",
                f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={ONE_INPUT_SECONDS}", f"-artifact_prefix={folder}/failed-",
                "-print_final_stats=1", "-seed=1",
            ],
            capture_output=True, check=False, timeout=seconds + 300,
        )  # fmt: skip
        said = run.stderr.decode(errors="replace") + run.stdout.decode(errors="replace")
        failed = [keep(name, file.read_bytes()) for file in folder.glob("failed-*")]
        if failed or run.returncode:
            print(f"--- {name}: kept {[file.name for file in failed]}\n{said[-3_000:]}")
    return {
        "target": name,
        "inputs": _last(r"stat::number_of_executed_units:\s*(\d+)", said),
        "covered": _last(r"cov: (\d+)", said),
        "peak_rss_mib": _last(r"stat::peak_rss_mb:\s*(\d+)", said),
        "failed": len(failed) or int(run.returncode != 0),
    }


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
