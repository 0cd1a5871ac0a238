"""
④ What the chain shows of our intents: included, gone again, final, burned, ambiguous (protocol.md R5, R9, R14).

`asks` says what has to be read, `settle` turns what was read into changes. Each account is judged for itself: what is
wrong with one never stops another; only a reorg deeper than finality is about the chain, and freezes them all.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treasuryd.core import reorgs, restore
from treasuryd.core.by_balance import by_balance
from treasuryd.core.by_hash import by_hash
from treasuryd.core.changes import Adopted, BlockBuried, Change, FrozenNow, Rewound
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.evidence import BaseFeeRule
from treasuryd.core.freezing import freezes
from treasuryd.core.model import (
    Account,
    AccountId,
    Address,
    Claim,
    Evidence,
    Frame,
    FreezeCause,
    Height,
    IncludedBlock,
    Intent,
    Interval,
    Moment,
    Nonce,
    Rules,
    Sighting,
    State,
    View,
)
from treasuryd.core.settling import Case, Found, Shared, freeze, holding_of

__all__ = ["Asks", "BaseFeeRule", "Verdict", "asks", "first_send_allowed", "settle"]

OPEN: Final = frozenset({State.STAGED, State.SIGNED, State.BROADCAST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What has to be read before a verdict: intents to look up by hash, heights whose headers are compared."""

    lookups: tuple[Intent, ...] = ()
    heights: tuple[Height, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    What one tick concludes. Iterating it gives the changes, in the order in which they are to be written.

    events: what a person should know and no change says. ask_signer: staged intents whose nonce is consumed; the
    signer is asked what it bound, and the answer is sealed or unstaged (protocol.md R5). rooted: whether each count that
    our first nonce would follow on is known to stand (R2); where it is not, nothing new is begun.
    """

    changes: tuple[Change, ...] = ()
    events: tuple[Event, ...] = ()
    ask_signer: tuple[Intent, ...] = ()
    rooted: bool = True

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)


def asks(view: View, at: Moment, rules: Rules) -> Asks:
    """
    Say what the chain has to be asked, after the frame was read and before anything is concluded.

    Guarantees: at most `rules.batch_max` distinct heights: the frame's, the baselines', without which nothing goes on, then
        those of kept frames before those of blocks, the oldest first; look-ups only where there is look-up, and only of
        bytes that can have left.
    """
    if at.frame is None:
        return Asks()
    baselines = (account.baseline.height for account in view.accounts if account.baseline is not None)
    kept = {frame.height for account in view.accounts for frame in reorgs.frames_of(account)}
    blocks = sorted(block.height for block in view.blocks)
    wanted = dict.fromkeys((at.frame.height, *baselines, *_ends(sorted(kept), rules), *blocks))
    wanted.pop(Height(0), None)  # nothing stands there that could change
    lookups: tuple[Intent, ...] = ()
    if at.evidence is Evidence.HASH:
        lookups = tuple(intent for intent in view.consumed if intent.state in {State.SIGNED, State.BROADCAST})
    return Asks(lookups=lookups, heights=tuple(wanted)[: rules.batch_max])


def _ends(kept: Sequence[Height], rules: Rules) -> Sequence[Height]:
    """
    Choose among the heights of kept frames: where finality stands still they pile up, and blocks have to be asked, too.

    The oldest ones show a deep reorg, the newest ones where to go back to after an ordinary one; some are named twice.
    """
    end = max(1, rules.batch_max // 4)
    return (*kept[:end], *kept[-end:])


def heights(asked: Asks, sightings: Iterable[Sighting], at: Moment, rules: Rules) -> tuple[Height, ...]:
    """
    Name the headers to compare: those asked for, and those of the blocks that a look-up has just named.

    A sighting is bound to the header at its height (R9): one whose block is on no chain would look like a reorg later,
    as deep as the chain has grown since.
    """
    top = at.frame.height if at.frame is not None else 0
    named = sorted({sighting.height for sighting in sightings if sighting.height is not None})
    wanted = dict.fromkeys((*asked.heights, *(height for height in named if 0 < height <= top)))
    return tuple(wanted)[: max(rules.batch_max, len(asked.heights))]


def settle(
    view: View,
    at: Moment,
    *,
    sightings: Iterable[Sighting],
    headers: reorgs.Headers,
    rules: Rules,
    highest_base_fee: BaseFeeRule,
) -> Verdict:
    """
    Hold every open intent of the view against the chain.

    Args: the answers to `asks`, the sightings in any order, a height that is missing from `headers` is unknown; the
        chain's rule for how high its base fee can have been between two readings.
    Guarantees: nothing is concluded from an endpoint that lags or contradicts itself; after a rewind nothing else is
        concluded of that account in this tick; a frozen account is read and confirmed like any other.
    """
    if at.frame is None:
        return Verdict()
    shared = Shared(
        at=at,
        frame=at.frame,
        rules=rules,
        headers=headers,
        sightings={sighting.intent_id: sighting for sighting in sightings},
        claims=_claims(view) if at.evidence is Evidence.BALANCE else {},
        highest_base_fee=highest_base_fee,
    )
    cases = tuple(_cases(view, shared))
    found = [_settle_one(case) for case in cases]
    changes = [change for one in found for change in one.changes]
    if any(one.deep for one in found):
        changes += _freeze_all(view.accounts, changes)
    return Verdict(
        changes=tuple(changes),
        events=tuple(event for one in found for event in one.events),
        ask_signer=tuple(intent for one in found for intent in one.ask_signer),
        rooted=all(_ground_stands(case) for case in cases),
    )


def _ground_stands(case: Case) -> bool:
    """Whether the frames that show a count as burned, which is not ours, are known to be on the chain (R2)."""
    account = case.account
    return account.high_water > 0 or all(
        holding_of(frame, account.id).nonce == 0
        or reorgs.stands(frame.height, frame.block_hash, case.shared.headers)
        for frame in reorgs.frames_of(account)
    )


def first_send_allowed(intent: Intent, baseline: Frame, rules: Rules, proof: Evidence) -> bool:
    """
    Whether an intent may leave for the first time (protocol.md §5.1, R14).

    Its account must stand in the baseline and its nonce be free there; without look-up its destination and sink must
    stand there too, an absent account as absent: what they held before is what an inclusion is proved with.
    """
    own = baseline.holdings.get(Address(intent.account))
    if own is None or intent.nonce <= own.nonce:
        return False
    needed = {intent.destination, rules.sink_of(intent.account)}
    return proof is Evidence.HASH or needed <= baseline.holdings.keys()


# --- what is judged ------------------------------------------------------------------------------------------


def _cases(view: View, shared: Shared) -> Iterator[Case]:
    """Sort the view by account, once."""
    consumed: defaultdict[AccountId, list[Intent]] = defaultdict(list)
    for intent in view.consumed:
        if intent.state in OPEN:
            consumed[intent.account].append(intent)
    blocks: defaultdict[AccountId, list[IncludedBlock]] = defaultdict(list)
    for block in view.blocks:
        blocks[block.account].append(block)
    for account in view.accounts:
        count = holding_of(account.baseline, account.id).nonce
        listed = sum(intent.nonce > count for intent in consumed[account.id])
        yield Case(
            shared=shared,
            account=account,
            blocks=tuple(blocks[account.id]),
            consumed=tuple(consumed[account.id]),
            interval=view.intervals.get(account.id, Interval(consumed=listed)),
            partial=account.id in view.intervals,
            announced=tuple(deposit for deposit in view.announced if deposit.account == account.id),
        )


def _claims(view: View) -> Mapping[Address, Mapping[tuple[AccountId, Nonce], int]]:
    """Index by destination what any intent of the store may have paid to it."""
    claims: defaultdict[Address, dict[tuple[AccountId, Nonce], int]] = defaultdict(dict)
    listed = (intent for intent in view.consumed if intent.state in OPEN)
    entries: Iterable[Claim | Intent] = (*view.claims, *listed)
    for entry in entries:
        claims[entry.destination][entry.account, entry.nonce] = entry.amount
    return claims


# --- one account ---------------------------------------------------------------------------------------------


def _settle_one(case: Case) -> Found:
    """Judge one account: reorgs first, then blocks at depth, then what the frame shows of the open intents."""
    found, shared, account = Found(), case.shared, case.account
    reorg = reorgs.find(account, case.blocks, shared.headers, shared.frame, depth=shared.rules.finality_depth)
    if reorg is not None:
        _rewind(case, reorg, found)
        return found
    found.changes += [
        BlockBuried(account=account.id, height=block.height, block_hash=block.block_hash)
        for block in case.blocks
        if block.height <= shared.final
        and reorgs.stands(block.height, block.block_hash, shared.headers)
        and not _contradicted(case)  # nothing becomes final on the word of an endpoint that takes it back
    ]
    header = shared.headers.get(shared.frame.height)
    replaced = header is not None and not shared.sure
    if replaced or Address(account.id) not in shared.frame.holdings:
        return found
    if account.baseline is None or account.next_nonce is None:
        _adopt(case, found)
    elif _comparable(case, account.baseline, found):
        _lost_finals(case, found)
        if shared.at.evidence is Evidence.HASH:
            by_hash(case, account.baseline, found)
        else:
            by_balance(case, account.baseline, found)
    return found


def _adopt(case: Case, found: Found) -> None:
    """Seed an account from the chain, the first time it is seen or after a thaw (R2, R14)."""
    account = case.account
    if restore.untouched(account):
        return
    free = Nonce(max(account.next_nonce or 0, case.now.nonce + 1))
    found.changes.append(Adopted(account=account.id, next_nonce=free, baseline=case.shared.frame))


def _comparable(case: Case, baseline: Frame, found: Found) -> bool:
    """
    Whether the frame says anything new on the chain that the baseline belongs to.

    A lower frame is lag. A fallen nonce under unchanged headers is a lying endpoint: no verdict, and a page (R9); when
    it stays fallen, the verdicts that rest on the higher one are withdrawn.
    """
    shared = case.shared
    same = (shared.frame.height, shared.frame.block_hash) == (baseline.height, baseline.block_hash)
    stands = same or reorgs.stands(baseline.height, baseline.block_hash, shared.headers)
    if shared.frame.height < baseline.height or not stands:
        return False
    was, now = holding_of(baseline, case.account.id).nonce, case.now.nonce
    if not _contradicted(case):
        return True
    found.events.append(
        Event(
            kind=EventKind.ENDPOINT_CONTRADICTS,
            severity=Severity.PAGE,
            account=case.account.id,
            detail=f"nonce {was} at height {baseline.height}, {now} at {shared.frame.height}, and no header changed: "
            "an endpoint is wrong about the account or about the headers (protocol.md R9)",
        )
    )
    before = _before_the_lie(case, baseline, now)
    if before is not None:
        found.changes.append(Rewound(account=case.account.id, to=before))
    return False


def _contradicted(case: Case) -> bool:
    """Whether the frame shows fewer nonces than a baseline that it does not lie behind."""
    baseline, frame = case.account.baseline, case.shared.frame
    shown = baseline is not None and Address(case.account.id) in frame.holdings
    if baseline is None or not shown or frame.height < baseline.height:
        return False
    return case.now.nonce < holding_of(baseline, case.account.id).nonce


def _before_the_lie(case: Case, baseline: Frame, count: Nonce) -> Frame | None:
    """
    Name the newest kept frame that agrees with a nonce that stays fallen for the finality depth; None before that, and
    where there is none though something of ours was staged.

    Then it was the baseline that lied: its balances were ahead of its header, and their blocks have left the chain
    since. Should the endpoint lie now, all that follows is that the same bytes go again.
    """
    shared = case.shared
    if not shared.sure or shared.frame.height - baseline.height < shared.rules.finality_depth:
        return None
    agreeing = [
        kept
        for kept in case.account.kept
        if holding_of(kept, case.account.id).nonce <= count
        and reorgs.stands(kept.height, kept.block_hash, shared.headers)
    ]
    if agreeing:
        return agreeing[-1]
    # it lied when the account was adopted: as long as nothing of ours follows on that count, it is counted anew (R2)
    return reorgs.bare_ground(case.account, shared.frame) if case.account.high_water == 0 else None


# --- reorgs ----------------------------------------------------------------------------------------------------


def _rewind(case: Case, reorg: reorgs.Reorg, found: Found) -> None:
    """Take back what was concluded above the fork; freeze when that reaches what counted as final (R9)."""
    account, depth = case.account, case.shared.rules.finality_depth
    found.deep = reorg.deep and freezes(account, FreezeCause.DEEP_REORG)
    found.events.append(
        Event(
            kind=EventKind.REORGED_CHAIN,
            severity=Severity.PAGE if reorg.deep else Severity.WARNING,
            account=account.id,
            reason="deep" if reorg.deep else "ordinary",
            detail=f"the block at height {reorg.lowest} was replaced",
            fields={"lowest": reorg.lowest, "to": reorg.to.height if reorg.to else None},
        )
    )
    if reorg.deep:
        detail = f"the block at height {reorg.lowest} was replaced, {depth} blocks deep or deeper"
        freeze(case, FreezeCause.DEEP_REORG, detail, found)
    if reorg.to is not None:
        found.changes.append(Rewound(account=account.id, to=reorg.to))


def _lost_finals(case: Case, found: Found) -> None:
    """Notice a final nonce that the chain no longer shows, where no kept header betrayed the reorg (R9)."""
    shared, burned = case.shared, case.interval.burned
    if case.now.nonce < burned and shared.sure and shared.frame.height >= shared.at.believed:
        detail = f"nonce {burned} was final, the chain shows {case.now.nonce}"
        found.deep = freezes(case.account, FreezeCause.DEEP_REORG)
        freeze(case, FreezeCause.DEEP_REORG, detail, found)


def _freeze_all(accounts: Sequence[Account], changes: Sequence[Change]) -> list[Change]:
    """A reorg deeper than finality is about the chain: every account of it stops, until a person has looked (R9)."""
    deep = FreezeCause.DEEP_REORG
    frozen = {change.account for change in changes if isinstance(change, FrozenNow) and change.cause is deep}
    return [
        FrozenNow(
            account=account.id,
            cause=FreezeCause.DEEP_REORG,
            detail="another account of this chain found a reorg deeper than finality",
        )
        for account in accounts
        if freezes(account, FreezeCause.DEEP_REORG) and account.id not in frozen
    ]
