"""
A campaign: payments wanted, bad weather, daemons that die by SIGKILL, until so many have died; then calm, and judgement.

Half of the deaths are aimed: the killer hears the victim's log and kills at a line that says where in a payment it is. The
others come at any moment: in a start, in its first tenth of a second, all daemons at once, the chain's own process.
"""

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.clients import Client
from tests.chaos.fleet import Fleet, Line, Program
from tests.chaos.weather import Weather
from tests.chaos.witness import Witness
from tests.matrix import Row
from tests.reach import UNREACHED, until

CALM_SECONDS: Final = 90.0
AIMS: Final[dict[Row, tuple[str, float]]] = {  # which line to kill at, and how many seconds later at most
    Row.BEFORE_STAGING: ("disbursement_advanced", 0.005),
    Row.STAGED_NOT_SEALED: ("intent_staged", 0.004),
    Row.SEALED_NOT_SENT: ("intent_sealed", 0.001),
    Row.ACCEPTED_NOT_RECORDED: ("intent_sealed", 0.03),
    Row.INCLUDED_NOT_RECORDED: ("intent_sent", 0.3),
    Row.REORGED: ("intent_reorged", 0.05),
    Row.CANCELLATION_CRASH: ("variant_staged", 0.15),
}
MORE_KILLS: Final = 25  # at most, until every row of AIMS was seen
LEADER_SECONDS: Final = 6.0  # how long somebody is given to take the lease before the next death
AIM_SECONDS: Final = 1.5  # how long a line is waited for
CHAIN_EVERY: Final = 25  # one death in so many is the chain's own


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one campaign came to."""

    kills: int = 0
    how: Counter[str] = field(default_factory=Counter)
    rows: Counter[Row] = field(default_factory=Counter)
    grounds: Counter[str] = field(default_factory=Counter)  # why leases were taken
    lost: Counter[str] = field(default_factory=Counter)  # why leases were lost
    exits: Counter[str] = field(default_factory=Counter)  # ends that nobody asked for: code, last words
    weather: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    terms: int = 0
    payments: int = 0
    items: int = 0
    repeats: int = 0
    rolled_back: int = 0
    seconds: float = 0.0
    judged: int = 0
    calm_seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class Campaign:
    """One fleet's campaign; `run` answers what it came to, and never raises for what the daemons did wrong."""

    def __init__(self, folder: Path, seed: str, *, lookup: bool, kills: int) -> None:
        self.seed = seed
        self.kills = kills
        self.fleet = Fleet(folder, lookup=lookup)
        self.witness = Witness(self.fleet)
        self.client = Client(self.fleet, seed, waiting=self.witness.waiting)
        self.weather = Weather(self.fleet, seed)
        self.tally = Tally()
        self.judged: set[int] = set()  # items whose outcome a person had to tell
        self._draw = random.Random(f"killer {seed}")
        self._later: list[tuple[float, Program]] = []  # who is started again, and when

    def run(self, progress: Callable[[], None] = lambda: None) -> Tally:
        """Kill, calm down, judge."""
        began = time.monotonic()
        with self.fleet:
            self.client.start()
            self.weather.start()
            try:
                while self._goes_on():
                    self._strike()
                    self._start_again()
                    progress()
            finally:
                self.client.finish()
                self.weather.clear() if self.fleet.devnet.alive else None
            calm = time.monotonic()
            self._calm_down()
            self.tally.calm_seconds = time.monotonic() - calm
            self._judge()
            if self.tally.violations:
                print("\n".join(program.tail() for program in self.fleet.programs))
        self.tally.seconds = time.monotonic() - began
        return self.tally

    def _goes_on(self) -> bool:
        missing = any(not self.tally.rows[row] for row in AIMS if row is not Row.REORGED)
        return self.tally.kills < self.kills or (missing and self.tally.kills < self.kills + MORE_KILLS)

    # --- killing

    def _strike(self) -> None:
        """One death, or several at once; mostly when somebody leads, so that there is work to die in."""
        if self._draw.random() < 0.85:
            self._wait_for_leader()
        chance = self._draw.random()
        how = self.tally.how
        if how["chain"] < self.tally.kills // CHAIN_EVERY:
            self._kill_chain()
        elif not how["all at once"] and self.tally.kills >= self.kills // 2:
            self._all_at_once()
        elif chance < 0.62:
            self._aimed()
        elif chance < 0.72:
            self._newborn()
        elif chance < 0.77:
            self._all_at_once()
        else:
            self._wait(self._draw.uniform(0.0, 0.8))
            victim = self._leader() if self._draw.random() < 0.6 else self._anybody()
            if victim is not None:
                self._kill(victim, "at any moment")

    def _aimed(self) -> None:
        """Kill the leader at a line of its log that leads to a row of the failure matrix, those not seen yet first."""
        victim = self._leader()
        if victim is None:
            self._wait(0.1)
            return
        rows = sorted(AIMS, key=lambda row: (self.tally.rows[row] > 0, self._draw.random()))[:2]
        within = {f"treasuryd.{event}": seconds for event, seconds in (AIMS[row] for row in rows)}
        heard: list[str] = []
        hit = threading.Event()

        def ear(line: Line) -> None:
            if line.get("event") in within and not hit.is_set():
                heard.append(str(line["event"]))
                hit.set()

        victim.ears.append(ear)
        try:
            if Row.CANCELLATION_CRASH in rows:
                self._provoke_cancellation()
            found = hit.wait(AIM_SECONDS)
        finally:
            victim.ears.remove(ear)
        if found:
            time.sleep(self._draw.uniform(0.0, within[heard[0]]))
        if Row.CANCELLATION_CRASH in rows:
            with contextlib.suppress(*UNREACHED):
                self.fleet.admin(fault="mining", on=True)
        if victim.alive:
            self._kill(victim, f"at {heard[0].partition('.')[2]}" if found else "at any moment")

    def _provoke_cancellation(self) -> None:
        """Blocks stop for a moment, and what is on its way is cancelled: it needs a second payload on its nonce."""
        with contextlib.suppress(*UNREACHED):
            self.fleet.admin(fault="mining", on=False)
            deadline = time.monotonic() + AIM_SECONDS
            while not self.witness.on_their_way() and time.monotonic() < deadline:
                time.sleep(0.05)
            self.client.cancel(self.witness.on_their_way())

    def _newborn(self) -> None:
        """Kill somebody in its start: within its first tenth of a second, or anywhere in it."""
        victim = self._anybody()
        if victim is None:
            return
        if victim.alive:
            self._kill(victim, "at any moment", again=False)
        early = self._draw.random() < 0.4
        victim.start()
        time.sleep(self._draw.uniform(0.0, 0.1) if early else self._draw.uniform(0.1, 2.0))
        self._kill(victim, "in its first 100 ms" if early else "in its start")

    def _all_at_once(self) -> None:
        there = [one for one in self.fleet.daemons if one.alive]
        threads = [threading.Thread(target=one.kill) for one in there]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for one in there:
            self._count(one, "all at once", again=True)

    def _kill_chain(self) -> None:
        """The node's process dies with its pool; it comes back with the blocks that it kept."""
        self.weather.note()
        self.fleet.devnet.kill()
        self._wait(self._draw.uniform(0.0, 1.0))
        self.fleet.devnet.started()
        self.tally.how["chain"] += 1

    def _kill(self, victim: Program, how: str, *, again: bool = True) -> None:
        pid = victim.life.pid
        led = self.witness.leader() == pid
        victim.kill()
        if led:
            with contextlib.suppress(*UNREACHED):
                self.tally.rows += self.witness.left_behind(pid)
        self._count(victim, how, again=again)

    def _count(self, victim: Program, how: str, *, again: bool) -> None:
        self.tally.kills += 1
        self.tally.how[how] += 1
        if again:
            soon = self._draw.random() < 0.75
            self._later.append((time.monotonic() + (0.0 if soon else self._draw.uniform(0.2, 2.5)), victim))

    # --- who is there

    def _wait_for_leader(self) -> None:
        deadline = time.monotonic() + LEADER_SECONDS
        while self._leader() is None and time.monotonic() < deadline:
            self._start_again()

    def _leader(self) -> Program | None:
        pid = self.witness.leader()
        found = None if pid is None else self.fleet.by_pid(pid)
        return found if found is not None and found.alive else None

    def _anybody(self) -> Program | None:
        there = [one for one in self.fleet.daemons if one.alive]
        return self._draw.choice(there) if there else None

    def _start_again(self) -> None:
        """Start whom it is time for, and whoever ended by itself; and let somebody come up before the next death."""
        now = time.monotonic()
        for at, one in list(self._later):
            if at <= now:
                self._later.remove((at, one))
                if not one.alive:
                    one.start()
        waiting = [one for _, one in self._later]
        for one in self.fleet.daemons:
            if not one.alive and one not in waiting:
                self._note_end(one)
                one.start()
        self._wait(self._draw.uniform(0.0, 0.4))

    def _note_end(self, one: Program) -> None:
        """Count an end that nobody asked for by its exit code and its words; one that has no reason here is a failure."""
        if one.life.killed:
            return
        one.life.heard_out.wait(10.0)
        words = re.sub("[0-9]+", "N", one.life.last_words.replace(f"{self.fleet.folder}/", ""))
        said = f"{one.life.process.returncode}: {words}"
        self.tally.exits[said] += 1
        if not MAY_END.match(said):
            self.tally.violations.append(f"{one.name} ended by itself with {said}\n{one.tail()}")

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self.witness.look()

    # --- the end

    def _calm_down(self) -> None:
        """Everybody comes up, nobody dies, the weather is fair: all that was approved comes to its end."""
        for one in self.fleet.daemons:
            if not one.alive:
                self._note_end(one)
                one.start()
        for one in self.fleet.daemons:
            one.wait_ready(one.life)
        try:
            until("every order is answered", self.client.settle, seconds=CALM_SECONDS)
            until("every disbursement ended", self._ended, seconds=CALM_SECONDS)
            time.sleep(0.5)
        except AssertionError as late:
            self.tally.violations.append(str(late))

    def _ended(self) -> bool:
        self.witness.look()
        time.sleep(0.1)
        if self.witness.ended():
            return True
        self._decide()
        return False

    def _decide(self) -> None:
        """People do what is theirs: a reorg may leave an intent whose outcome balances do not tell (protocol.md §5.1)."""
        doubtful, held = self.witness.for_people()
        if doubtful:
            self.judged |= doubtful.keys()
            self.client.judge(doubtful)
        if held:
            self.client.release(held)

    def _judge(self) -> None:
        tally = self.tally
        self.witness.look()
        tally.violations += self.witness.verdict([self.client])
        for one in self.fleet.daemons:
            if not one.alive:
                self._note_end(one)
            for life in one.lives:
                tally.grounds += Counter(str(line.get("ground")) for line in life.named("lease_claimed"))
                tally.lost += Counter(str(line.get("reason")) for line in life.named("lease_lost"))
                tally.rows[Row.REORGED] += sum(line.get("count", 1) for line in life.named("intent_reorged"))
        tally.weather, tally.struck = self.weather.told, self.weather.struck
        tally.rows[Row.REPLY_LOST] += self.weather.struck["drop_reply"] + self.weather.struck["delay_reply"]
        tally.rows[Row.DROPPED] += self.weather.lost
        tally.terms = len(self.witness.terms)
        tally.payments = sum(1 for row in self.witness.mined() if row["memo"])
        tally.items = len(self.witness.read("SELECT id FROM disbursement"))
        tally.rolled_back = self.witness.read(
            "SELECT count(*) FROM disbursement WHERE status = 'rolled_back'"
        )[0][0]
        tally.repeats = self.client.repeats
        tally.judged = len(self.judged)


MAY_END: Final = re.compile(
    r"69: .* stayed locked|75: "
)  # a start beside a disk that stands still; the watchdog
