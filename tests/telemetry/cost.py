"""
What a scrape costs in processor time, without HTTP: `python -m tests.telemetry.cost [N]`, part of `make bench-scrape`.

Processor time, so that the figure holds on a machine that does other work, too. The store's part runs on its reading
thread, beside the event loop; the writing of the text runs on the loop.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.store.kit import OTHER, PAYER, Bench, insert, opened
from tests.telemetry.conftest import FakeOffice, listening

from treasuryd.sqlite.threaded import ThreadedDriver
from treasuryd.store.desk import SqliteDesk

TIMES = 20


async def main(count: int) -> None:
    """Print one row for each part."""
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="treasuryd-cost-") as folder:
        driver = await opened(ThreadedDriver, Path(folder) / "store.db")
        try:
            bench = Bench(driver)
            await bench.adopt(PAYER, OTHER)
            await driver.write(insert, count, {})
            desk = SqliteDesk(driver, bench.rules)
            for _ in range(TIMES):
                await bench.pay(await bench.insert(1))
                for what in ("the store, an item changed", "the store at rest"):
                    began = time.process_time()
                    await desk.meters((PAYER, OTHER))
                    rows.setdefault(what, []).append(time.process_time() - began)
        finally:
            await driver.close()
    telemetry = listening().telemetry
    telemetry.watch(FakeOffice())
    await telemetry.refresh()
    for what, accept in (("text", "text/plain"), ("OpenMetrics", "application/openmetrics-text")):
        rows[f"written as {what}"] = [_took(lambda: telemetry.exposition(accept)) for _ in range(TIMES)]  # noqa: B023 - called at once
    print(f"| part, at {count:,} waiting disbursements | best | median | worst |\n|---|---:|---:|---:|")
    for what, found in rows.items():
        best, *_ = ordered = sorted(found)
        shown = (best, ordered[len(ordered) // 2], ordered[-1])
        print(f"| {what} | {' | '.join(f'{seconds * 1e3:.1f} ms' for seconds in shown)} |")


def _took(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
