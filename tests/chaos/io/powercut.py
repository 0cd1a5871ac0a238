"""
Power cuts of a whole history: the real core, executor, store, signer's ledger and journal copy over `disk.Disk`.

A program of its own, since its files are spoilt by a preloaded library (`shim.environment`); the tests start it:

    python -m tests.chaos.io.powercut --mode persist --synchronous FULL --cuts 150

It pays, loses power in the middle of some call (also while it recovers from the cut before), looks at what is left, and
goes on to the end. One JSON line tells what was found.
"""

import argparse
import asyncio
import errno
import json
import random
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pytest
from blake3 import blake3
from tests.chaos.io.disk import Disk, Fault
from tests.chaos.io.shim import Operation
from tests.world import PAYER, History, new

from treasuryd.core.model import DisbursementId, Evidence, Status
from treasuryd.errors import Exit, TreasuryError
from treasuryd.main.exits import exit_for
from treasuryd.signer.ledger import APPLICATION_ID as LEDGER_ID
from treasuryd.sqlite import connect
from treasuryd.sqlite.connect import Connection, Database, open_writer
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import journal, journal_copy
from treasuryd.store.migrations import STORE_APPLICATION_ID

P = ParamSpec("P")
R = TypeVar("R")

CUTS_OF_ONE: Final = 5  # power cuts of one history
CALLS: Final = 260  # a cut comes within so many calls
STEPS: Final = 250
NOTICED: Final = Operation.WRITE | Operation.SYNC  # whose failure must end the process
FILES: Final = {"treasuryd.db": STORE_APPLICATION_ID, "ledger.db": LEDGER_ID}
MEMOS: Final = ("one", "two", "three", "after one", "to be cancelled", "late")


class Broken(Exception):
    """A promise was not kept."""


class Sworn(InlineDriver):
    """A driver that remembers what its file held when a verb was last acknowledged, and what the verb under way leaves."""

    acknowledged = ""
    pending = ""
    people = 0  # entries of people's commands in the journal, when last acknowledged

    async def write(
        self, verb: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        found: dict[str, int] = {}

        def told(connection: Connection) -> R:
            result = verb(connection, *args, **kwargs)
            self.pending, found["people"] = content(connection), people(connection)
            return result

        result = await super().write(told)
        self.acknowledged, self.people = self.pending, found["people"]
        return result


def content(connection: Connection) -> str:
    """Digest of every row of every table."""
    digest = blake3()
    for (table,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall():
        digest.update(repr((table, connection.execute(f"SELECT * FROM {table}").fetchall())).encode())
    return digest.hexdigest()


def people(connection: Connection) -> int:
    """How many commands of people the journal holds; none in the signer's ledger."""
    try:
        row = connection.execute("SELECT max(seq) FROM journal WHERE chain = ?", (journal.PEOPLE,)).fetchone()
    except sqlite3.OperationalError:
        return 0
    return row[0] or 0


class Powered(History):
    """A history on a disk that may lose power."""

    def __init__(self, folder: Path, evidence: Evidence, disk: Disk) -> None:
        super().__init__(folder, evidence, journal=True)
        self.disk = disk
        self.sworn: dict[str, Sworn] = {}
        self.sent: set[str] = set()
        assert self.journal is not None
        self.outside = self.journal
        self.copies: list[journal_copy.JournalCopy] = []

    async def _driver(self, name: str, application_id: int) -> InlineDriver:
        before = self.sworn.get(name)
        committed = None
        if application_id == STORE_APPLICATION_ID:
            committed = journal_copy.JournalCopy(self.outside)
            self.copies.append(committed)
        driver = await Sworn.open(
            Database(path=self.folder / name, application_id=application_id), committed=committed
        )
        self.drivers.append(driver)
        if before is not None:
            driver.acknowledged, driver.pending, driver.people = (
                before.acknowledged,
                before.pending,
                before.people,
            )
        self.sworn[name] = driver
        return driver

    async def start(self) -> "Powered":
        await super().start()
        self.chain.broadcast = self._noted(self.chain.broadcast)  # type: ignore[method-assign, assignment]  # listened to
        return self

    async def close(self) -> None:
        await super().close()
        while self.copies:
            with suppress(OSError):  # without power nothing is written, and what was not written is gone
                self.copies.pop().close()

    def _noted(self, broadcast: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noted(sealed: Any, **more: Any) -> Any:
            self.sent.update(str(intent.current().tx_hash) for intent in sealed)
            return await broadcast(sealed, **more)

        return noted

    async def lose_power(self, draw: random.Random) -> None:
        """The process is gone; then what the disk kept is looked at, and held against what was promised."""
        await self.close()
        self.disk.power_on(draw)
        while draw.random() < 0.3:  # it goes again while the files recover
            self.disk.cut_in = draw.randrange(12)
            try:
                self.opened()
            except (sqlite3.Error, TreasuryError):
                if not self.disk.off:
                    raise
            if self.disk.off:
                self.disk.power_on(draw)
            self.disk.cut_in = -1
        self.opened(self.inspect)
        self.look_at_the_copy()

    def opened(self, look: Callable[[str, Connection], None] = lambda _name, _file: None) -> None:
        """Open each file that was ever written to, as the daemon does, and look at it."""
        for name, application_id in FILES.items():
            if (self.folder / name).exists():
                connection = open_writer(Database(path=self.folder / name, application_id=application_id))
                try:
                    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
                    look(name, connection)
                finally:
                    connection.close()
            elif name in self.sworn and self.sworn[name].acknowledged:
                raise Broken(f"{name} is not there any more")

    def inspect(self, name: str, connection: Connection) -> None:
        """Whole, and exactly what was acknowledged, or that and the transaction that was under way."""
        found = connection.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise Broken(f"{name}: {found[0][0]}")
        sworn = self.sworn.get(name)
        if sworn is None or not sworn.acknowledged:
            return
        now = content(connection)
        if now not in {sworn.acknowledged, sworn.pending}:
            raise Broken(f"{name} lost what was acknowledged")
        table, column = ("variant", "tx_hash") if name == "treasuryd.db" else ("signature", "tx_hash")
        kept = {row[0] for row in connection.execute(f"SELECT {column} FROM {table}").fetchall()}
        if not self.sent <= kept:
            raise Broken(f"{name} does not know what was sent")
        sworn.acknowledged = sworn.pending = now

    def look_at_the_copy(self) -> None:
        """Each command of a person that was answered stands in the outside copy."""
        store = self.sworn.get("treasuryd.db")
        head = journal_copy.copy_head(self.outside, journal.PEOPLE)
        copied = 0 if head is None else head.seq
        if store is not None and copied < store.people:
            raise Broken(f"the copy holds {copied} of {store.people} answered commands")

    async def whole_copy(self) -> None:
        """After a start the copy says what the journal says, to its end."""
        heads = await self.sql.read(
            lambda connection: connection.execute(
                "SELECT chain, max(seq) FROM journal GROUP BY chain"
            ).fetchall()
        )
        for chain, last in heads:
            copied = [entry.seq for entry in journal_copy.read_copy(self.outside, chain)]
            if copied[-1:] != [last]:
                raise Broken(f"the copy of {chain} ends at {copied[-1:]}, the journal at {last}")
        if journal_copy.set_aside(self.outside):
            raise Broken(f"the copy was set aside: {journal_copy.set_aside(self.outside)}")


class Story:
    """One history with its cuts: what people ask for, and the retry of what was cut off."""

    def __init__(
        self, folder: Path, seed: int, disk: Disk, *, wanted: int, failing_syncs: bool = False
    ) -> None:
        self.wanted = wanted  # power cuts
        self.draw = random.Random(seed)
        evidence = self.draw.choice((Evidence.HASH, Evidence.BALANCE))
        self.history = Powered(folder, evidence, disk)
        self.disk = disk
        self.items: dict[str, DisbursementId] = {}
        self.cancelled = False
        self.failing_syncs = failing_syncs
        self.cuts = self.faults = 0
        self.started = False

    async def run(self) -> None:
        self.history.mine(2)
        for step in range(STEPS):
            self._plan()
            try:
                done = await self._step(step)
            except Broken:
                raise
            except Exception as problem:
                if not self.disk.off and not (self.disk.faults and exit_for(problem) is Exit.STORAGE):
                    raise
                await self._died()
                continue
            if self.disk.faults and self.disk.fault and self.disk.fault.operations & NOTICED:
                raise Broken(f"nobody noticed {self.disk.fault}")
            if self.disk.off:
                await self._died()
            elif done:
                await self._end()
                return
        raise Broken("not paid within its time")

    def _plan(self) -> None:
        """Say when the power goes next, and which call fails before."""
        if self.started and (self.cuts >= self.wanted or self.disk.cut_in >= 0):
            return
        self.disk.cut_in = self.draw.randrange(CALLS) if self.cuts < self.wanted else -1
        if self.failing_syncs and self.draw.random() < 0.5:
            after = self.draw.randrange(CALLS // 4)
            self.disk.arm(Fault(Operation.SYNC, errno.EIO, after, self.draw.random() < 0.3))

    async def _died(self) -> None:
        """The power went, or a call failed and the process ended of it, in order or not, while the machine runs on."""
        self.started = False
        if self.disk.off:
            self.cuts += 1
            await self.history.lose_power(self.draw)
            return
        self.faults += 1
        left, self.disk.cut_in = self.disk.cut_in, -1
        self.disk.off = self.draw.random() < 0.5  # killed: nothing is closed
        await self.history.close()
        self.disk.off = False
        self.disk.arm(None)
        self.history.opened(self.history.inspect)
        self.disk.cut_in = left

    async def _step(self, step: int) -> bool:
        history = self.history
        if not self.started:
            await history.start()
            self.started = True
            await history.whole_copy()
        await self._people(step)
        await history.step()
        await history.check()
        return self.cuts >= self.wanted and await self._all_ended()

    async def _people(self, step: int) -> None:
        """Submissions at several moments, each asked again under its own key when its answer was cut off."""
        for place, memo in enumerate(MEMOS):
            if memo in self.items or step < place * 3:
                continue
            needs = [self.items["one"]] if memo == "after one" else []
            self.history.submissions = place
            (self.items[memo],) = await self.history.submit(
                new(memo, to=f"tb1{memo.replace(' ', '')}", depends_on=needs)
            )
        if not self.cancelled and "to be cancelled" in self.items and step > 14:
            await self.history.cancel(self.items["to be cancelled"])
            self.cancelled = True

    async def _all_ended(self) -> bool:
        ended = {Status.FINALIZED, Status.ROLLED_BACK}
        return len(self.items) == len(MEMOS) and all(
            [await self.history.status(item) in ended for item in self.items.values()]
        )

    async def _end(self) -> None:
        history = self.history
        for memo, item in self.items.items():
            paid, status = history.paid(memo), await history.status(item)
            if paid != (status is Status.FINALIZED) or (paid != 1 and memo != "to be cancelled"):
                raise Broken(f"{memo!r} is {status}, paid {paid} times")
        nonces = [nonce for nonce, _, _ in history.mined()]
        if nonces != sorted(set(nonces)):
            raise Broken(f"nonces {nonces}")
        if (await history.account()).state != "active":
            raise Broken(
                f"the account is {(await history.account()).state}: {(await history.account()).cause}"
            )
        booked, shown = await history.books()
        if not booked == shown == history.balance(PAYER):
            raise Broken(f"the books say {booked}, the chain {history.balance(PAYER)}")


@dataclass
class Found:
    """What became of many histories."""

    histories: int = 0
    cuts: int = 0
    failed_calls: int = 0
    broken: int = 0
    why: dict[str, int] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)


async def told(
    seed: int, found: Found, *, wanted: int, failing_syncs: bool = False, fault: Fault | None = None
) -> int:
    """Run one history, add what came of it, and answer how many of its calls failed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        disk = Disk(folder)
        disk.start()
        disk.arm(fault)
        story = Story(folder, seed, disk, wanted=wanted, failing_syncs=failing_syncs)
        try:
            await story.run()
        except Exception as problem:  # noqa: BLE001 - what a torn file makes of a store is what is counted
            found.broken += 1
            name = type(problem).__name__
            found.why[name] = found.why.get(name, 0) + 1
            found.failing.append(f"seed {seed}, {fault}: {type(problem).__name__}: {problem}")
        disk.off = True
        await story.history.close()
        disk.stop()
    found.histories += 1
    found.cuts += story.cuts
    found.failed_calls += story.faults
    return story.faults


async def cut(found: Found, given: argparse.Namespace) -> None:
    """Run histories until the power went as often as asked."""
    seed = given.first
    while found.cuts < given.cuts:
        await told(seed, found, wanted=CUTS_OF_ONE, failing_syncs=given.failing_syncs)
        seed += 1


async def sweep(found: Found, given: argparse.Namespace) -> None:
    """Fail each n-th call of each kind, n from `first` on in steps, until a history has no such call."""
    for operations, error, lasting in (
        (Operation.SYNC, errno.EIO, False),
        (Operation.SYNC, errno.EIO, True),
        (Operation.WRITE, errno.ENOSPC, True),
        (Operation.WRITE, errno.EIO, False),
        (Operation.TRUNCATE | Operation.CREATE | Operation.REMOVE, errno.EIO, False),
    ):
        after, reached = given.first, 1
        while reached:
            fault = Fault(operations, error, after, lasting)
            reached = await told(given.first, found, wanted=0, fault=fault)
            after += given.sweep


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--mode", choices=("persist", "wal"), required=True)
    asked.add_argument("--synchronous", choices=("FULL", "NORMAL", "OFF"), default="FULL")
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--cuts", type=int, default=150)
    asked.add_argument(
        "--failing-syncs", action="store_true", help="a sync fails now and then, before the cut"
    )
    asked.add_argument(
        "--sweep", type=int, default=0, help="no power cut: each n-th call fails, n in such steps"
    )
    given, found = asked.parse_args(), Found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "journal_mode_for", lambda _version: given.mode)
        if given.synchronous != "FULL":
            prepare = connect._prepare  # the one setting that is broken here on purpose

            def weaker(connection: Connection, database: Database) -> None:
                prepare(connection, database)
                connection.execute(f"PRAGMA synchronous = {given.synchronous}")

            patch.setattr(connect, "_prepare", weaker)
        asyncio.run(sweep(found, given) if given.sweep else cut(found, given))
    found.failing = found.failing[:20]
    print(json.dumps({"mode": given.mode, "synchronous": given.synchronous, **asdict(found)}))


if __name__ == "__main__":
    main()
