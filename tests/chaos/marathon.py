"""
`make chaos`: a thousand deaths and thirty pauses, with a line of progress, a summary, and a record for docs/evidence.md.

Two fleets at a time, one with look-up and one without, in stints of fifty deaths each; every stint is judged on its own.
"""

import argparse
import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.chaos.campaign import Campaign, Tally
from tests.chaos.pauses import End, Pause, Where
from tests.chaos.test_pauses import pauses_of
from tests.evidence import record

STINT: Final = 50  # deaths in the life of one fleet
PAUSES_OF_FLEET: Final = 15
COUNTS: Final = ("how", "grounds", "lost", "exits", "weather", "struck")
SUMS: Final = ("kills", "terms", "payments", "items", "rolled_back", "judged", "repeats")


class Marathon:
    """All stints, and what they came to."""

    def __init__(self, folder: Path, *, kills: int, pauses: int, seed: str) -> None:
        self.folder, self.kills, self.pauses, self.seed = folder, kills, pauses, seed
        self.tallies: list[Tally] = []
        self.found: list[Pause] = []
        self.failures: list[str] = []
        self._running: list[Campaign] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """Two fleets at a time until all is done; a line of progress every ten seconds."""
        jobs = [
            (lookup, number)
            for number, lookup in itertools.product(range(-(-self.kills // (2 * STINT))), (True, False))
        ]
        over = threading.Event()
        teller = threading.Thread(target=self._tell, args=(over,), daemon=True)
        teller.start()
        with ThreadPoolExecutor(2) as two:
            for stint in [two.submit(self._stint, lookup, number) for lookup, number in jobs]:
                stint.result()
            rounds = -(-self.pauses // (2 * PAUSES_OF_FLEET))
            for run in [
                two.submit(self._pauses, lookup, n) for n in range(rounds) for lookup in (True, False)
            ]:
                run.result()
        over.set()
        teller.join()

    def _stint(self, lookup: bool, number: int) -> None:
        seed = f"{self.seed}-{number}-{'hash' if lookup else 'balance'}"
        campaign = Campaign(self.folder / seed, seed, lookup=lookup, kills=min(STINT, -(-self.kills // 2)))
        self._running.append(campaign)
        try:
            tally = campaign.run()
            self.tallies.append(tally)
            found = [f"{seed}: {violation}" for violation in tally.violations]
            self.failures += found
            print("\n".join(found[:5]), flush=True) if found else None
        except Exception as problem:  # noqa: BLE001 - a stint that broke is a failure, and the others go on
            self.failures.append(f"{seed}: {type(problem).__name__}: {problem}")
        finally:
            self._running.remove(campaign)

    def _pauses(self, lookup: bool, number: int) -> None:
        where = tuple(itertools.islice(itertools.cycle(_PAUSES), PAUSES_OF_FLEET))
        try:
            found = pauses_of(self.folder / f"pauses-{number}-{lookup}", where, lookup=lookup)
        except Exception as problem:  # noqa: BLE001 - as above
            self.failures.append(f"pauses {number}, look-up {lookup}: {type(problem).__name__}: {problem}")
            return
        self.found += found
        self.failures += [f"stale: {one}" for one in found if one.stale_writes or one.fresh_bytes]
        self.failures += [
            f"not fenced: {one}" for one in found if one.where is Where.WRITING and one.end is not End.FENCED
        ]

    def _tell(self, over: threading.Event) -> None:
        while not over.wait(10.0):
            kills = sum(one.kills for one in self.tallies) + sum(
                one.tally.kills for one in list(self._running)
            )
            print(
                f"{time.monotonic() - self._began:5.0f} s  {kills} of {self.kills} killed, "
                f"{len(self.found)} of {self.pauses} paused, {len(self.failures)} failures",
                flush=True,
            )

    def figures(self) -> dict[str, Any]:
        """Sum up everything that was counted."""
        found: dict[str, Any] = {name: sum(getattr(one, name) for one in self.tallies) for name in SUMS}
        found["fleets"] = len(self.tallies)
        found["rows"] = {
            row.name: times for row, times in sum((one.rows for one in self.tallies), Counter()).items()
        }
        for name in COUNTS:
            found[name] = {
                str(key): n for key, n in sum((getattr(one, name) for one in self.tallies), Counter()).items()
            }
        found["pauses"] = len(self.found)
        found["pauses_ended"] = Counter(one.end.value for one in self.found)
        found["sent_by_both_leaders"] = sum(one.both_sent for one in self.found)
        found["stale_writes"] = sum(one.stale_writes for one in self.found)
        found["slowest_takeover_seconds"] = round(
            max((one.takeover_seconds for one in self.found), default=0.0), 1
        )
        found["paid_twice_lost_or_stuck"] = len(self.failures)
        found["seconds"] = round(time.monotonic() - self._began)
        return found


_PAUSES: Final = (Where.WRITING, Where.SENDING, Where.WRITING, Where.ANYWHERE, Where.WRITING)


def main() -> int:
    """Run, print the summary, record it; 1 when anything was not as it has to be."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--kills", type=int, default=1_000)
    reader.add_argument("--pauses", type=int, default=30)
    reader.add_argument("--seed", default="chaos")
    reader.add_argument("--folder", type=Path, help="Keep states and logs there.")
    reader.add_argument("--no-record", action="store_true", help="Leave docs/evidence/ as it is.")
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        marathon = Marathon(
            asked.folder or Path(temporary), kills=asked.kills, pauses=asked.pauses, seed=asked.seed
        )
        marathon.run()
    figures = marathon.figures()
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    print("\n".join(marathon.failures))
    if not asked.no_record and not marathon.failures:
        record.write("chaos", "make chaos", figures, what=WHAT)
    return 1 if marathon.failures else 0


WHAT: Final = (
    "Real processes: three daemons over one store and a chain that misbehaves, killed by SIGKILL and paused by SIGSTOP, "
    "half of the fleets without look-up; judged from outside by the chain's own record."
)

if __name__ == "__main__":
    sys.exit(main())
