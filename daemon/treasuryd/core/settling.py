"""
One account in one tick: what is known of it, and the few ways in which a conclusion about it is written down.

Shared by `confirmation`, `by_hash` and `by_balance`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from treasuryd.core import evidence, reorgs
from treasuryd.core.changes import BaselineMoved, Booked, Change, FrozenNow
from treasuryd.core.events import Event
from treasuryd.core.evidence import BaseFeeRule
from treasuryd.core.freezing import freezes
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    Announced,
    BalanceKind,
    Frame,
    FreezeCause,
    Height,
    Holding,
    IncludedBlock,
    Intent,
    IntentId,
    Interval,
    Moment,
    Nonce,
    Rules,
    Sighting,
)

LOOKUP_PATIENCE: Final = 4  # times the finality depth: how long what only look-up can tell is waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all accounts share in this tick. `claims` are by destination."""

    at: Moment
    frame: Frame
    rules: Rules
    headers: reorgs.Headers
    sightings: Mapping[int, Sighting]
    claims: Mapping[Address, Mapping[tuple[AccountId, Nonce], int]]
    highest_base_fee: BaseFeeRule

    @property
    def final(self) -> int:
        """Blocks at this height or below are at finality depth; a lagging frame or endpoint only makes it lower."""
        lowest = self.at.believed if self.at.lowest is None else self.at.lowest
        return min(self.at.believed, lowest, self.frame.height) - self.rules.finality_depth

    @property
    def sure(self) -> bool:
        """Whether the frame's block was still there after everything else was read: else nothing is held against us."""
        header = self.headers.get(self.frame.height)
        return self.frame.height == 0 or (header is not None and header.block_hash == self.frame.block_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One account in this tick: its baseline, its open consumed intents, what the store knows of the interval."""

    shared: Shared
    account: Account
    blocks: tuple[IncludedBlock, ...]
    consumed: tuple[Intent, ...]
    interval: Interval
    partial: bool  # whether a part of an interval may be settled: the store will say what that part cost
    announced: tuple[Announced, ...]

    @property
    def now(self) -> Holding:
        """What the frame says of the account."""
        return self.shared.frame.holdings.get(Address(self.account.id)) or reorgs.NOBODY

    def asked(self, staged: Intent) -> bool:
        """
        Whether the signer is asked what it bound to a staged intent whose nonce is consumed (R5).

        In quarantine it said so when the account was taken up; only a filler can have been staged since (§8).
        """
        return self.account.state is not AccountState.QUARANTINED or staged.disbursement_id is None


@dataclass(slots=True)
class Found:
    """What is concluded of one account, as it grows."""

    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ask_signer: list[Intent] = field(default_factory=list)
    needed: list[Height] = field(default_factory=list)  # of kept frames that a later verdict rests on
    deep: bool = False


def holding_of(frame: Frame | None, account: AccountId) -> Holding:
    """Say what a frame shows of a paying account; an absent one, or no frame at all, is nothing and nonce 0."""
    return (frame.holdings.get(Address(account)) if frame else None) or reorgs.NOBODY


def freeze(
    case: Case, cause: FreezeCause, detail: str, found: Found, thaw_above: Nonce | None = None
) -> None:
    """
    Freeze at first sight; a frozen account once more for a graver cause or a higher foreign nonce (R14).

    A fall is told in any case: it shows once, and a person may have thawed the account since it was read. The store
    weighs the causes once more.
    """
    account = case.account
    higher = thaw_above is not None and thaw_above > (account.thaw_above or 0)
    again = higher or cause is FreezeCause.UNEXPLAINED_FALL
    if freezes(account, cause) or (account.state is AccountState.FROZEN and again):
        found.changes.append(FrozenNow(account=account.id, cause=cause, detail=detail, thaw_above=thaw_above))


def account_for(case: Case, baseline: Frame, left: int, found: Found, *, explained: bool) -> None:
    """
    Book what no intent explains and move the baseline.

    A rise is funding and freezes nothing; a fall freezes, unless the account is frozen for something as grave (R14).
    """
    if left < 0:
        if not case.shared.sure:
            return
        found.changes.append(booked(case, BalanceKind.UNEXPLAINED, left))
        if not explained:
            detail = f"the balance fell by {-left} more than intents and fees explain"
            freeze(case, FreezeCause.UNEXPLAINED_FALL, detail, found)
    elif left > 0:
        _, ids = evidence.best_announced(case.announced, left)
        found.changes.append(booked(case, BalanceKind.FUNDING, left, ids))
    move(case, baseline, found)


def booked(
    case: Case,
    kind: BalanceKind,
    delta: int,
    announced: tuple[int, ...] = (),
    *,
    height: Height | None = None,
    intent_id: IntentId | None = None,
) -> Booked:
    """Book a movement that no intent explains, at the height of the frame that shows it: by setting that of this tick."""
    return Booked(
        account=case.account.id,
        kind=kind,
        delta=delta,
        height=case.shared.frame.height if height is None else height,
        announced=announced,
        intent_id=intent_id,
    )


def move(case: Case, baseline: Frame, found: Found) -> None:
    """Make the frame the baseline, unless it says nothing new."""
    frame = case.shared.frame
    if frame != baseline:
        heights = [kept.height for kept in (*reorgs.frames_of(case.account), frame)]
        lowest = min((reorgs.keep_from(heights, at_or_below=case.shared.final), *found.needed))
        found.changes.append(BaselineMoved(account=case.account.id, frame=frame, keep_from=lowest))
