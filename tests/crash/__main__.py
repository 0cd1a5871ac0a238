"""`make crash`: every scene with a death at every point that makes a difference, at many between, and at pairs of them."""

import argparse
import sys
import time
from collections import Counter
from typing import Any

from tests.crash.runs import Death, counted, dies
from tests.crash.scenes import SCENES
from tests.evidence import record

from treasuryd.core.model import Evidence

STRIDE = 100  # of the points between two changes, which all leave the same files
PAIRS = 10  # per scene and kind of evidence


def main() -> int:
    """Run; answers 1 when something did not hold."""
    given = _arguments()
    evidences = [Evidence(given.evidence)] if given.evidence else [Evidence.HASH, Evidence.BALANCE]
    scenes = [scene for scene in SCENES if given.scene in {None, scene.name}]
    total: Counter[str] = Counter()
    failed: list[str] = []
    began = time.perf_counter()
    for scene in scenes:
        for evidence in evidences:
            points = counted(scene, evidence)
            every = points.deaths(stride=given.stride)
            apart = max(1, len(every) // given.most) if given.most else 1
            deaths = _chosen(given) or [
                *every[given.offset % apart :: apart],
                *points.pairs(given.pairs, offset=given.offset),
            ]
            for death in deaths:
                try:
                    total["deaths"] += dies(scene, evidence, death)
                except AssertionError as problem:
                    failed.append(str(problem))
                    print(problem, file=sys.stderr)
            total["awaits"] += points.awaits
            total["statements"] += points.statements
            total["lives"] += len(deaths)
            total["pairs"] += sum(death.again >= 0 for death in deaths)
            print(
                f"{scene.name}, {evidence}: {points.awaits} awaits, {points.statements} statements, "
                f"{len(deaths)} lives with a death",
                flush=True,
            )
    figures: dict[str, Any] = dict(total) | {
        "scenes": len(scenes) * len(evidences),
        "stride": given.stride,
        "most": given.most,
        "failed": len(failed),
        "seconds": round(time.perf_counter() - began),
    }
    print(figures)
    if given.record:
        what = "Short histories lived again with a death before and after each change of what is durable, and between."
        flags = " ".join(flag for flag in sys.argv[1:] if flag != "--record")
        record.write("crash", f'make crash ARGS="{flags}"' if flags else "make crash", figures, what=what)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--scene", choices=[scene.name for scene in SCENES])
    parser.add_argument("--evidence", choices=["hash", "balance"])
    parser.add_argument("--stride", type=int, default=STRIDE, help="1: every await and every statement")
    parser.add_argument("--most", type=int, default=0, help="of a scene, spread over it; 0: all")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--offset", type=int, default=0, help="which of them, with --most; which pairs")
    parser.add_argument("--await", dest="at_await", type=int, default=-1)
    parser.add_argument("--statement", dest="at_statement", type=int, default=-1)
    parser.add_argument("--again", type=int, default=-1)
    parser.add_argument("--record", action="store_true", help="write docs/evidence/crash.json")
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> list[Death]:
    """The one death that was asked for, if one was."""
    if given.at_await < 0 and given.at_statement < 0:
        return []
    return [Death(at_await=given.at_await, at_statement=given.at_statement, again=given.again)]


if __name__ == "__main__":
    sys.exit(main())
