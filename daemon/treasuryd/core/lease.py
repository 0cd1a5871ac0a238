"""
Who may act for an account, as pure functions (protocol.md §6).

A candidate watches (term, beat) with its own boot clock; nobody's wall clock is ever compared, so no type of it is
even imported here. The lease buys order and progress. Safety does not rest on it: with two active leaders the unique
intent, the stored bytes and the nonce still give one payment.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from treasuryd.core.model import AccountId, BootSeconds, Held, Lease, LeaseSeen, Owner, Term
from treasuryd.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """
    The four times of a lease, in seconds of the boot clock.

    Guarantees: one renewal may fail without losing the lease; a holder stops acting before the lease is over; a
        candidate waits longer than a lease lasts, a quarter more for clocks that run apart.
    Raises: Rejected, naming the setting, when an inequality does not hold.
    """

    ttl_seconds: float = 10.0  # from before the renewal was sent to the end of the lease
    renew_seconds: float = 3.0  # how often it is renewed
    renew_deadline_seconds: float = 6.5  # so long after the last renewal nothing may start any more
    candidate_wait_seconds: float = 12.5  # an unchanged lease may be taken after this long

    def __post_init__(self) -> None:
        _require("renew_seconds", self.renew_seconds > 0, "above 0")
        twice = self.renew_deadline_seconds >= 2 * self.renew_seconds
        _require("renew_deadline_seconds", twice, f"at least twice renew_seconds ({self.renew_seconds} s)")
        longer = self.ttl_seconds > self.renew_deadline_seconds
        _require("ttl_seconds", longer, f"above renew_deadline_seconds ({self.renew_deadline_seconds} s)")
        waits = 1.25 * self.ttl_seconds <= self.candidate_wait_seconds < math.inf
        _require(
            "candidate_wait_seconds",
            waits,
            f"finite and at least 1.25 times ttl_seconds ({self.ttl_seconds} s)",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a candidate remembers of a lease: its value, and since when it has stood so by the candidate's clock."""

    term: Term
    beat: int
    since: BootSeconds


class Ground(StrEnum):
    """Why a lease may be taken now."""

    RELEASED = "released"  # nobody holds it, or its holder gave it back
    OURS = "ours"  # this very process claimed it and did not hear of it
    PREDECESSOR_DEAD = "predecessor_dead"  # we hold the lock of the folder that its holder held
    SILENT = "silent"  # unchanged for the candidate wait


def watch(
    watched: Mapping[AccountId, Watched], rows: Iterable[LeaseSeen], *, now: BootSeconds
) -> dict[AccountId, Watched]:
    """
    Remember the rows just read; an unchanged one keeps its time, a changed one starts anew.

    Args: now is taken after the rows were read, so that a silence is never counted longer than it was.
    Guarantees: accounts that are not among `rows` are forgotten, so memory is bounded by what is asked for.
    """
    after = {}
    for row in rows:
        before = watched.get(row.account)
        unchanged = before is not None and (before.term, before.beat) == (row.term, row.beat)
        after[row.account] = (
            before if before and unchanged else Watched(term=row.term, beat=row.beat, since=now)
        )
    return after


def ground_to_take(
    row: LeaseSeen, watched: Watched | None, me: Owner, *, alone: bool, timing: Timing, now: BootSeconds
) -> Ground | None:
    """
    Say why this lease may be taken now; None: it may not.

    Args: alone says whether this process holds the lock of its state folder.
    Does not guarantee: that taking it succeeds. The claim is a compare-and-swap on (term, beat).
    """
    if row.released:
        return Ground.RELEASED
    if row.incarnation == me.incarnation:
        return Ground.OURS
    if alone and row.folder != "" and (row.machine, row.folder) == (me.machine, me.folder):
        return Ground.PREDECESSOR_DEAD
    if watched is None or (watched.term, watched.beat) != (row.term, row.beat):
        return None
    return Ground.SILENT if now - watched.since >= timing.candidate_wait_seconds else None


def takeable(
    rows: Sequence[LeaseSeen],
    watched: Mapping[AccountId, Watched],
    me: Owner,
    *,
    held: Held,
    alone: bool,
    timing: Timing,
    now: BootSeconds,
) -> tuple[tuple[LeaseSeen, Ground], ...]:
    """Name the leases that may be taken now, each with why, in the order given; those held already are left alone."""
    found = (
        (row, ground_to_take(row, watched.get(row.account), me, alone=alone, timing=timing, now=now))
        for row in rows
        if row.account not in held.leases
    )
    return tuple((row, ground) for row, ground in found if ground is not None)


def claimant(me: Owner, *, alone: bool) -> Owner:
    """
    Say under which name to claim: without the folder's lock the folder is not named.

    Otherwise whoever does hold the lock (a process that was stopped and woke up) would take it as proof that the
    claimant is dead.
    """
    return me if alone else replace(me, folder="")


def claimed(held: Held, leases: Iterable[Lease], *, asked_at: BootSeconds, timing: Timing) -> Held:
    """
    Add leases just claimed; `asked_at` is the boot second before the claim was sent.

    Guarantees: with leases held before, the nearer of both deadlines counts until the next renewal.
    """
    added = {lease.account: lease for lease in leases}
    if not added:
        return held
    until = BootSeconds(asked_at + timing.renew_deadline_seconds)
    if not held.leases:
        return Held(leases=added, until=until)
    return Held(leases={**held.leases, **added}, until=min(held.until, until))


def renewed(
    held: Held, answered: Iterable[Lease], *, asked_at: BootSeconds, timing: Timing
) -> tuple[Held, frozenset[AccountId]]:
    """
    Take a renewal's answer: what is held now, and the accounts that were lost.

    Args: held is what the renewal was sent for; asked_at is the boot second before it was sent, however late its
        answer came.
    Guarantees: a lease that is missing from the answer, or stands there under another term, is not held any more; no
        deadline ever moves back.
    """
    kept = {lease.account: lease for lease in answered if held.leases.get(lease.account) == lease}
    until = BootSeconds(max(held.until, asked_at + timing.renew_deadline_seconds))
    return Held(leases=kept, until=until), frozenset(held.leases.keys() - kept.keys())


def without(held: Held, lost: Iterable[AccountId]) -> Held:
    """Narrow what is held: a row came back fenced, or an account is given up."""
    gone = frozenset(lost)
    return replace(
        held, leases={account: lease for account, lease in held.leases.items() if account not in gone}
    )


def _require(name: str, holds: bool, range_: str) -> None:  # noqa: FBT001  (a guard reads best positionally)
    if not holds:
        raise Rejected(
            f"lease: {name} must be {range_}",
            field=name,
            hint=f"Correct {name} in the configuration file, or remove it to use the default.",
        )
