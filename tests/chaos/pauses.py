"""
SIGSTOP: a leader that stands still past its lease, while another takes over, and wakes up.

While the woken one finds out, its successor is stopped in turn: whatever is written into the store or reaches the chain in
that time is the stale leader's, so "it wrote nothing" is seen and not concluded.
"""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tests.chaos.fleet import CANDIDATE_WAIT_SECONDS, PAYER, Fleet, Life, Program
from tests.chaos.witness import Witness
from tests.reach import until

TAKEOVER_SECONDS: Final = 4 * CANDIDATE_WAIT_SECONDS  # beside many other processes
DELAY_SECONDS: Final = CANDIDATE_WAIT_SECONDS + 2.5  # of a call that the node holds back
FINDS_OUT_SECONDS: Final = 5.0
TRIES: Final = 10
FENCED: Final = {"fenced", "renewal_refused"}  # reasons of a loss that came from the store's own answer


class Where(StrEnum):
    """In the middle of what the leader is stopped."""

    ANYWHERE = "anywhere"
    WRITING = (
        "in a write that waits for the file"  # it passed its own guard before the pause; the fence is left
    )
    SENDING = "in a send that the node has and has not handled"


class End(StrEnum):
    """How the woken leader found out."""

    FENCED = "a write of it was refused by the term"
    GUARDED = "it saw by its own clock that the lease was over"
    WATCHDOG = "its watchdog ended it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause and what came of it."""

    where: Where
    end: End
    takeover_seconds: float  # from the stop to the successor's claim
    stale_writes: int  # by the woken one, under its old term
    fresh_bytes: int  # transactions that only the woken one ever offered, after the takeover
    both_sent: int  # transactions that reached the node from both leaders


def pause(fleet: Fleet, witness: Witness, where: Where) -> Pause:
    """Stop whoever leads, past its lease; let it wake up beside a stopped successor; let both go on."""
    stale = leading(fleet, witness)
    life, mark = stale.life, len(stale.life.lines)
    stopped_at = _stop(fleet, stale, where)
    offered = len(witness.offered())
    until("another one leads", lambda: witness.leader() not in {life.pid, None}, seconds=TAKEOVER_SECONDS)
    took = time.monotonic() - stopped_at
    successor = fleet.by_pid(witness.leader() or 0)
    assert successor is not None
    term = _term(witness)
    time.sleep(0.6)  # it works: sends what was sealed
    with _file_held(fleet):
        successor.pause()
    before, sent = _prints(witness), witness.offered()
    if where is Where.SENDING:  # the node hands the old leader's call in, while the new one leads
        time.sleep(max(0.0, stopped_at + DELAY_SECONDS + 0.3 - time.monotonic()))
    late = witness.offered()[len(sent) :]
    try:
        stale.send(signal.SIGCONT)
        end = _finds_out(life, mark)
        time.sleep(0.1)
        after, all_ = _prints(witness), witness.offered()
    finally:
        successor.send(signal.SIGCONT)
    # what the node handed in late had left before the pause: the successor need not have sent it, too, by then
    known = {row["tx_id"] for row in (*sent, *late)}
    return Pause(
        where=where,
        end=end,
        takeover_seconds=took,
        stale_writes=sum(before[name] != after[name] for name in before) + (_term(witness) < term),
        fresh_bytes=len({row["tx_id"] for row in all_} - known),
        both_sent=len({row["tx_id"] for row in late} & {row["tx_id"] for row in sent[offered:]}),
    )


def leading(fleet: Fleet, witness: Witness) -> Program:
    """Whoever leads, once somebody does: the lease names a living process, and beats twice; once may be a late renewal."""
    seen: list[tuple[int | None, int]] = []

    def found() -> bool:
        pid = witness.leader()
        leader = fleet.by_pid(pid or 0)
        if leader is None or not leader.alive or not all(one.life.ready.is_set() for one in fleet.daemons):
            seen.clear()
            return False
        if seen and seen[0][0] != pid:
            seen.clear()
        seen.append((pid, _beat(witness)))
        return seen[-1][1] > seen[0][1] + 1

    until("somebody leads", found, seconds=TAKEOVER_SECONDS)
    leader = fleet.by_pid(seen[-1][0] or 0)
    assert leader is not None
    return leader


def _beat(witness: Witness) -> int:
    return int(witness.read(f"SELECT beat FROM beat WHERE account = '{PAYER}'")[0][0])


def _stop(fleet: Fleet, stale: Program, where: Where) -> float:
    """Stop it at the wanted place, and never inside a transaction; answers when."""
    if where is Where.SENDING:
        struck = _delays(fleet)
        fleet.admin(fault="delay", seconds=DELAY_SECONDS, method="submit_tx")
        until("a call is on its way", lambda: _delays(fleet) > struck, seconds=15.0)
    if where is Where.WRITING:
        _stop_waiting_writer(fleet, stale)
    else:
        with _file_held(fleet):
            stale.pause()
    return time.monotonic()


def _stop_waiting_writer(fleet: Fleet, stale: Program) -> None:
    """Stop it while a write of it waits for the file: past its own guard, before the fence."""
    for _ in range(TRIES):
        link = sqlite3.connect(fleet.store_file, isolation_level=None, timeout=5.0)
        link.execute("BEGIN IMMEDIATE")  # writers wait, readers do not
        time.sleep(0.55)  # longer than the renewals are apart, shorter than a verb waits for the file
        stale.pause()
        link.close()
        with contextlib.suppress(sqlite3.OperationalError), _file_held(fleet, seconds=0.3):
            return
        stale.send(signal.SIGCONT)  # it was stopped in the middle of a read, and held the file
        time.sleep(0.5)
    raise AssertionError("never stopped outside a transaction")


@contextlib.contextmanager
def _file_held(fleet: Fleet, *, seconds: float = 5.0) -> Iterator[None]:
    """
    Nobody is inside a transaction of store or ledger meanwhile; who wants to be waits for us.

    A process that is stopped inside one keeps the file locked until it wakes up or dies, and nobody can take over: the
    one pause that a lease in the same file cannot heal (docs/operations.md).
    """
    with contextlib.ExitStack() as stack:
        for file in (fleet.store_file, fleet.shared / "signer" / "ledger.db"):
            link = sqlite3.connect(file, isolation_level=None, timeout=seconds)
            stack.callback(link.close)
            link.execute("BEGIN EXCLUSIVE")
        yield


def _delays(fleet: Fleet) -> int:
    """How many calls the node has held back so far."""
    return int(fleet.admin(show="status")["struck"].get("delay", 0))


def _finds_out(life: Life, mark: int) -> End:
    """Wait until the woken leader says that it lost, or ends; and whether the store had to tell it."""
    until(
        "the woken leader finds out",
        lambda: bool(_reasons(life, mark)) or not life.alive,
        seconds=FINDS_OUT_SECONDS,
    )
    if not life.alive:
        assert life.process.returncode == 75, f"it ended with {life.process.returncode}"
        return End.WATCHDOG
    with contextlib.suppress(
        AssertionError
    ):  # its own clock tells the loop at once, the store a moment later
        until("it is told by the store", lambda: bool(_reasons(life, mark) & FENCED), seconds=0.6)
    return End.FENCED if _reasons(life, mark) & FENCED else End.GUARDED


def _reasons(life: Life, mark: int) -> set[str]:
    lost = [line for line in life.lines[mark:] if line.get("event") == "treasuryd.lease_lost"]
    return {str(line.get("reason")) for line in lost}


def _term(witness: Witness) -> int:
    return int(witness.read(f"SELECT term FROM lease WHERE account = '{PAYER}'")[0][0])


def _prints(witness: Witness) -> dict[str, Any]:
    """All that a leader may write, in short; the snapshot for people is a picture and is not fenced."""
    return {name: witness.read(sql) for name, sql in _PRINTS.items()}


_PRINTS: Final = {
    "journal": "SELECT chain, max(seq) FROM journal WHERE chain <> 'people' GROUP BY chain",
    "intents": "SELECT id, state, term, sent_at, height FROM intent ORDER BY id",
    "variants": "SELECT intent_id, number, tx_hash, attempts FROM variant ORDER BY intent_id, number",
    "accounts": "SELECT id, state, next_nonce, booked, chain_nonce, sealed_nonce FROM account",
    "frames": "SELECT account, max(height) FROM frame GROUP BY account",
    "chain": "SELECT believed, settled FROM chain",
    "lease": "SELECT account, term, holder, released FROM lease",
    "beats": "SELECT account, beat FROM beat",
}
