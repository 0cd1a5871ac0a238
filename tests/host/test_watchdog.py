import threading

from treasuryd.core.model import AccountId, BootSeconds, Held, Incarnation, Lease, Term
from treasuryd.errors import Exit
from treasuryd.host.watchdog import Patience, Verdict, Watchdog

TREASURY = AccountId("treasury")
LEASES = {TREASURY: Lease(account=TREASURY, incarnation=Incarnation("one"), term=Term(3))}


class Bench:
    """A watchdog over a clock and a lease that the test moves."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.held = Held()
        self.said: list[str] = []
        self.ended: list[int] = []
        self.over = threading.Event()
        self.watchdog = Watchdog(
            now=lambda: BootSeconds(self.time),
            held=lambda: self.held,
            patience=Patience(lease_grace=3.5, silence=30, look=0.25),
            say=self.said.append,
            end=self.end,
        )

    def end(self, code: int) -> None:
        self.ended.append(code)
        self.over.set()

    def lead(self, *, until: float) -> None:
        self.held = Held(leases=LEASES, until=BootSeconds(until))

    def pass_time(self, seconds: float, *, fed: bool = True) -> Verdict | None:
        """Let time pass as the thread sees it, looking every quarter of a second; the last verdict."""
        verdict = None
        for _ in range(int(seconds / 0.25)):
            self.time += 0.25
            if fed:
                self.watchdog.feed()
            verdict = self.watchdog.look()
        return verdict


def test_a_loop_that_turns_and_leads_is_left_alone() -> None:
    """A valid lease and a fed watchdog: nothing happens."""
    bench = Bench()
    bench.lead(until=1_006.5)
    assert bench.pass_time(6) is None


def test_a_lease_that_ran_out_unnoticed_ends_the_process() -> None:
    """The guard's deadline is 6.5 s, the lease itself 10 s: at 10 s somebody else may lead."""
    bench = Bench()
    bench.lead(until=1_006.5)
    assert bench.pass_time(9.75) is None
    verdict = bench.pass_time(0.25)
    assert verdict is not None
    assert verdict.exit_code == Exit.LEASE_LOST
    assert "treasury" in verdict.reason


def test_a_process_that_no_longer_believes_it_leads_lives_on() -> None:
    """Losing a lease is ordinary: a standby has nothing to end for."""
    bench = Bench()
    bench.held = Held(leases={}, until=BootSeconds(1_006.5))
    assert bench.pass_time(60) is None


def test_a_silent_loop_ends_the_process_even_on_standby() -> None:
    """A loop that does not turn answers no health check either."""
    bench = Bench()
    assert bench.pass_time(29.75, fed=False) is None
    verdict = bench.pass_time(0.25, fed=False)
    assert verdict is not None
    assert verdict.exit_code == Exit.OUR_BUG


def test_after_a_sleep_of_the_machine_the_loop_may_notice_by_itself() -> None:
    """A woken laptop: the loop gets two looks to see that its lease is gone, and then no more."""
    bench = Bench()
    bench.lead(until=1_006.5)
    bench.time += 3_600
    assert bench.watchdog.look() is None
    bench.time += 0.25
    assert bench.watchdog.look() is None
    bench.time += 0.25
    verdict = bench.watchdog.look()
    assert verdict is not None
    assert verdict.exit_code == Exit.LEASE_LOST


def test_after_a_sleep_a_loop_that_noticed_goes_on() -> None:
    """The keeper dropped the lease within the two looks."""
    bench = Bench()
    bench.lead(until=1_006.5)
    bench.time += 3_600
    assert bench.watchdog.look() is None
    bench.held = Held()
    assert bench.pass_time(5) is None


def test_a_sleep_of_the_machine_is_no_silence_of_the_loop() -> None:
    """A standby that slept for an hour has as long to turn as any other loop."""
    bench = Bench()
    bench.time += 3_600
    assert bench.watchdog.look() is None
    assert bench.pass_time(29, fed=False) is None
    assert bench.pass_time(2, fed=False) is not None


def test_a_stuck_loop_is_pardoned_once_however_often_the_machine_stands_still() -> None:
    """§6.5: a starved machine, a process stopped again and again: the loop that never turned in between is ended."""
    bench = Bench()
    bench.lead(until=1_006.5)
    verdicts = []
    for _ in range(10):
        bench.time += 1.5  # this thread too was not run for so long
        verdicts.append(bench.watchdog.look())
    assert any(verdict is not None and verdict.exit_code == Exit.LEASE_LOST for verdict in verdicts)


def test_a_silent_standby_is_ended_however_often_the_machine_stands_still() -> None:
    """§6.5: each pause alone is forgiven, and the silence between them adds up."""
    bench = Bench()
    for _ in range(19):
        bench.time += 1.5
        assert bench.watchdog.look() is None
    bench.time += 3
    verdict = bench.watchdog.look()
    assert verdict is not None
    assert verdict.exit_code == Exit.OUR_BUG


def test_a_loop_that_turned_since_is_pardoned_again() -> None:
    """Two sleeps of a laptop are two: each time the loop may notice by itself."""
    bench = Bench()
    for _ in range(3):
        bench.lead(until=bench.time + 6.5)
        bench.time += 3_600
        assert bench.watchdog.look() is None
        bench.held = Held()
        assert bench.pass_time(2) is None


def test_the_thread_ends_a_stuck_process() -> None:
    """The real thread, with a lease that is over: it says why, and calls the end with the code."""
    bench = Bench()
    bench.watchdog = Watchdog(
        now=lambda: BootSeconds(bench.time),
        held=lambda: Held(leases=LEASES, until=BootSeconds(900)),
        patience=Patience(lease_grace=3.5, look=0.01),
        say=bench.said.append,
        end=bench.end,
    )
    bench.time += 0.001
    bench.watchdog.start()
    assert bench.over.wait(10)
    bench.watchdog.stop()
    assert bench.ended == [Exit.LEASE_LOST]
    assert "exit code 75" in bench.said[0]


def test_a_reader_that_stands_still_does_not_keep_a_stuck_process_alive() -> None:
    """Nobody reads our standard error any more: the last word is not waited for, the end comes."""
    bench, blocked = Bench(), threading.Event()
    bench.watchdog = Watchdog(
        now=lambda: BootSeconds(bench.time),
        held=lambda: Held(leases=LEASES, until=BootSeconds(900)),
        patience=Patience(lease_grace=3.5, look=0.01),
        say=lambda _text: blocked.wait(30),
        end=bench.end,
    )
    bench.time += 0.001
    bench.watchdog.start()
    ended = bench.over.wait(10)
    blocked.set()
    bench.watchdog.stop()
    assert ended
    assert bench.ended == [Exit.LEASE_LOST]


def test_a_stopped_watchdog_ends_nothing() -> None:
    """The shutdown releases the leases in peace."""
    bench = Bench()
    bench.watchdog.start()
    bench.watchdog.stop()
    bench.watchdog.stop()
    assert bench.ended == []
