"""
④ Which of our transactions were in the blocks between two readings, where the chain has no look-up (protocol.md §5.1).

All that can be seen are nonces and balances. A hypothesis says of every intent consumed in the interval whether its
payment or its cancel variant was; it must explain every destination, the sink and our own fall to within a bound.
What no hypothesis explains is never called paid: it is ambiguous, and frozen where a stranger must have been at work.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from treasuryd.core.model import (
    AccountId,
    Address,
    Announced,
    BaseUnits,
    Evidence,
    Frame,
    FreezeCause,
    Intent,
    Rules,
    Variant,
    VariantKind,
)
from treasuryd.core.reorgs import NOBODY

BaseFeeRule = Callable[[int, int, int], int]
"""Highest base fee between two readings so many unseen blocks apart, by the chain's own rule (§5.1 item 2)."""

CANCEL_UNITS: Final = 1  # what a cancel variant sends to the sink (R7)
MAX_FORKS: Final = (
    4  # intents with two payloads out (R7 allows one): 2 ** 4 hypotheses, more are not told apart
)
MAX_ANNOUNCED: Final = 10  # announced deposits looked at together: 2 ** 10 sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    One account between two frames.

    consumed: its undecided intents whose nonces the second frame shows consumed and the first does not. placed_cost:
    base units that earlier verdicts of the same interval already explain. elsewhere: what other payments of this store
    in the interval may have brought to each destination. strangers: how many consumed nonces belong to no intent.
    """

    account: AccountId
    sink: Address
    first: Frame
    second: Frame
    consumed: tuple[Intent, ...]
    placed_cost: int = 0
    elsewhere: Mapping[Address, int] = field(default_factory=dict)
    announced: tuple[Announced, ...] = ()
    strangers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One intent of which all fitting hypotheses say the same."""

    intent: Intent
    variant: Variant
    fee_charged: BaseUnits
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """
    What an interval proves.

    Guarantees: if nothing is ambiguous, funding less the amounts and charged fees of `placed` is the change of the
    balance, to the unit. `frozen` names the cause and the finding when a stranger must have been at work (R14).
    """

    placed: tuple[Placed, ...] = ()
    ambiguous: tuple[Intent, ...] = ()
    funding: int = 0
    announced: tuple[int, ...] = ()
    frozen: tuple[FreezeCause, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spend:
    """One intent under one hypothesis: what it sends, and between which bounds it is charged."""

    intent: Intent
    kind: VariantKind
    variants: tuple[Variant, ...]  # of this kind, cheapest first
    high: int  # the most it can have been charged

    @property
    def amount(self) -> int:
        return self.intent.amount if self.kind is VariantKind.PAYMENT else CANCEL_UNITS

    @property
    def low(self) -> int:
        return self.variants[0].fee


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hypothesis:
    """One way in which the consumed nonces may have been used, with its sums (base units)."""

    spends: tuple[_Spend, ...]
    amounts: int
    low: int
    high: int

    @property
    def doubt(self) -> int:
        """How far apart the fees can be that it would explain."""
        return self.high - self.low


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leftover:
    """What must have been deposited if a hypothesis is true, at least, and what was announced of it."""

    least: int
    announced: int
    ids: tuple[int, ...]


def judge(span: Span, rules: Rules, highest_base_fee: BaseFeeRule) -> Judgement:
    """
    Judge one interval that consumed nonces.

    Guarantees: an intent is placed only if every hypothesis that fits says the same of it. Does not guarantee: to see
        a foreign spend that lowers our balance, deposits deducted, by more than half and at most all of amount and
        fee while the destination has our amount from elsewhere; nor one against an amount within twice the fee's
        doubt with such income. A look-up by hash removes both (protocol.md §5.1, residual risk).
    """
    base_fee = _highest(span, highest_base_fee)
    ways = list(_hypotheses(span, base_fee or 0))
    fitting: list[tuple[_Hypothesis, _Leftover]] = []
    if base_fee is not None and not span.strangers:
        for way in ways:
            leftover = _fits(span, way, rules)
            if leftover is not None:
                fitting.append((way, leftover))
    if fitting:
        return _agreed(span, fitting, rules)
    dearest = None if base_fee is None else max((way.amounts + way.high for way in ways), default=None)
    return Judgement(ambiguous=span.consumed, frozen=_stranger(span, rules, dearest))


def best_announced(announced: Sequence[Announced], most: int) -> tuple[int, tuple[int, ...]]:
    """
    Choose announced deposits that arrived together: the largest sum that `most` base units can hold.

    Returns: their sum and ids; (0, ()) when none fits. Looks at the first MAX_ANNOUNCED only.
    """
    sums: dict[int, tuple[int, ...]] = {0: ()}
    for deposit in announced[:MAX_ANNOUNCED]:
        for total, ids in list(sums.items()):
            if total + deposit.amount <= most:
                sums.setdefault(total + deposit.amount, (*ids, deposit.id))
    best = max(sums)
    return best, sums[best]


# --- the hypotheses ----------------------------------------------------------------------------------------


def kinds_out(intent: Intent) -> list[VariantKind]:
    """Name what may be on the chain of an intent: only sealed bytes can have left (R1)."""
    sealed = {variant.kind for variant in intent.variants if variant.tx_hash is not None}
    return [kind for kind in VariantKind if kind in sealed]


def _hypotheses(span: Span, base_fee: int) -> Iterator[_Hypothesis]:
    """List every way to read the consumed nonces; none at all when there are too many to tell apart."""
    choices = [[_spend(intent, kind, base_fee) for kind in kinds_out(intent)] for intent in span.consumed]
    if sum(len(choice) > 1 for choice in choices) > MAX_FORKS:
        return
    for spends in product(*choices):
        yield _Hypothesis(
            spends=spends,
            amounts=sum(spend.amount for spend in spends),
            low=sum(spend.low for spend in spends),
            high=sum(spend.high for spend in spends),
        )


def _spend(intent: Intent, kind: VariantKind, base_fee: int) -> _Spend:
    """
    Bound one charge: from the cheapest signed fee up to the dearest, raised to a tip, in the dearest block.

    The tip is unsigned: a relay may raise it to the signed fee, and the including block's base fee comes on top.
    """
    sealed = [variant for variant in intent.variants if variant.kind is kind and variant.tx_hash is not None]
    cheapest_first = tuple(sorted(sealed, key=lambda variant: variant.fee))
    return _Spend(intent=intent, kind=kind, variants=cheapest_first, high=cheapest_first[-1].fee + base_fee)


def _highest(span: Span, rule: BaseFeeRule) -> int | None:
    """Say the highest base fee that any unseen block can have charged; None where a reading is missing."""
    first, second = span.first.base_fee, span.second.base_fee
    if first is None or second is None:
        return None
    return rule(first, second, span.second.height - span.first.height)


# --- does one fit? -----------------------------------------------------------------------------------------


def _fits(span: Span, way: _Hypothesis, rules: Rules) -> _Leftover | None:
    """Hold one hypothesis against the three conditions; None when it fails one of them."""
    fall = _fall(span)
    if way.doubt > rules.fee_uncertainty_max or fall > way.amounts + way.high:
        return None
    if not (_destinations_rose(span, way, rules) and _cancels_show(span, way, rules)):
        return None
    least = max(0, way.amounts + way.low - fall)
    most = way.amounts + way.high - fall
    announced, ids = best_announced(span.announced, most) if least else (0, ())
    stakes = [spend.intent.amount for spend in way.spends if not _filler(spend) and not _small(spend, way)]
    if stakes and 2 * (most - announced) >= min(stakes):
        return None
    return _Leftover(least=least, announced=announced, ids=ids)


def _destinations_rose(span: Span, way: _Hypothesis, rules: Rules) -> bool:
    """Condition 1: each destination got at least what all payments of this store to it come to."""
    for destination, owed in _paid(way).items():
        if destination in rules.movers:
            continue
        rise = _rise(span, destination)
        if rise is None or rise < owed + span.elsewhere.get(destination, 0):
            return False
    # of a destination that moves all the time only our own fall can tell, and it tells nothing of a small amount
    return not any(_small(spend, way) and spend.intent.destination in rules.movers for spend in way.spends)


def _cancels_show(span: Span, way: _Hypothesis, rules: Rules) -> bool:
    """Condition 1 for cancels: the sink rose, and the destination neither rose by the amount nor moved."""
    cancels = [spend for spend in way.spends if spend.kind is VariantKind.CANCEL]
    forked = [spend for spend in way.spends if len(kinds_out(spend.intent)) > 1]
    if not cancels and not forked:
        return True
    sink = _rise(span, span.sink)
    if sink is None or sink < len(cancels):
        return False
    # within the fee's doubt the fall cannot tell: exactly one of destination and sink must have risen
    if sink > len(cancels) and any(_small(spend, way) for spend in forked):
        return False
    return all(_unpaid(span, spend, way, rules) for spend in cancels if not _filler(spend))


def _unpaid(span: Span, spend: _Spend, way: _Hypothesis, rules: Rules) -> bool:
    """
    Whether a destination looks as if nothing had come from this intent.

    Its whole rise counts, also what another payment of ours explains: else a stranger on that one's nonce could make
    a paid intent look cancelled. For the same reason one that moves all the time must not be paid besides.
    """
    destination = spend.intent.destination
    if destination in rules.movers:
        return not any(paid in rules.movers for paid in _paid(way))
    rise = _rise(span, destination)
    return rise is not None and rise < spend.intent.amount and not _moved(span, destination)


def _paid(way: _Hypothesis) -> Counter[Address]:
    """Sum what a hypothesis has us pay to each destination."""
    owed: Counter[Address] = Counter()
    for spend in way.spends:
        if spend.kind is VariantKind.PAYMENT:
            owed[spend.intent.destination] += spend.intent.amount
    return owed


def _small(spend: _Spend, way: _Hypothesis) -> bool:
    """Whether an amount is within twice the fee's doubt, so that our fall says nothing of it."""
    return not _filler(spend) and spend.intent.amount <= 2 * way.doubt


def _filler(spend: _Spend) -> bool:
    """Whether nothing is at stake: a filler pays nobody."""
    return spend.intent.disbursement_id is None


# --- the verdict -------------------------------------------------------------------------------------------


def _agreed(span: Span, fitting: Sequence[tuple[_Hypothesis, _Leftover]], rules: Rules) -> Judgement:
    """Place what all fitting hypotheses agree on, and book what was really charged in sum."""
    way, leftover = fitting[0]
    funding = max(leftover.least, leftover.announced)
    charges = _charges(way, _fall(span) + funding - way.amounts - way.low)
    placed: list[Placed] = []
    ambiguous: list[Intent] = []
    for at, spend in enumerate(way.spends):
        if any(other.spends[at].kind is not spend.kind for other, _ in fitting):
            ambiguous.append(spend.intent)
            continue
        payer = spend.kind is VariantKind.PAYMENT and spend.intent.destination in rules.movers
        placed.append(
            Placed(
                intent=spend.intent,
                variant=_variant_for(spend, charges[at]),
                fee_charged=BaseUnits(charges[at]),
                evidence=Evidence.PAYER if payer else Evidence.BALANCE,
            )
        )
    if ambiguous:  # what is left over is the person's to book, who judges them
        return Judgement(placed=tuple(placed), ambiguous=tuple(ambiguous))
    return Judgement(placed=tuple(placed), funding=funding, announced=leftover.ids)


def _charges(way: _Hypothesis, extra: int) -> list[int]:
    """Spread what was charged beyond the cheapest fees, first over those that were bumped (D36: to the unit)."""
    charges = [spend.low for spend in way.spends]
    widest = sorted(range(len(charges)), key=lambda at: way.spends[at].low - way.spends[at].high)
    for at in widest:
        if not extra:
            break
        more = min(extra, way.spends[at].high - charges[at])
        charges[at] += more
        extra -= more
    return charges


def _variant_for(spend: _Spend, charged: int) -> Variant:
    """Name the variant that the charge speaks for: the dearest that costs no more."""
    return [variant for variant in spend.variants if variant.fee <= charged][-1]


def _stranger(span: Span, rules: Rules, dearest: int | None) -> tuple[FreezeCause, str] | None:
    """Say whether somebody else must have been at work, where nothing fits (the table of §5.1)."""
    if span.strangers:
        return FreezeCause.FOREIGN_NONCE, f"{span.strangers} consumed nonces belong to no intent of ours"
    sink = _rise(span, span.sink)
    owed: Counter[Address] = Counter()
    for intent in span.consumed:
        kinds = kinds_out(intent)
        if VariantKind.CANCEL in kinds and (sink is None or sink >= CANCEL_UNITS):
            continue  # the cancel variant may have been it
        if VariantKind.PAYMENT not in kinds:
            finding = f"nonce {intent.nonce} was to be filled, and the sink did not rise"
            return FreezeCause.FOREIGN_NONCE, finding
        owed[intent.destination] += intent.amount
    for destination, amount in owed.items():
        rise = _rise(span, destination)
        still = rise is not None and destination not in rules.movers and not _moved(span, destination)
        if still and rise is not None and rise < amount:
            finding = f"{destination} rose by {rise} and is owed {amount}, without having moved"
            return FreezeCause.FOREIGN_NONCE, finding
    if dearest is not None and _fall(span) > dearest:
        finding = f"the balance fell by {_fall(span)}, amounts and fees come to at most {dearest}"
        return FreezeCause.UNEXPLAINED_FALL, finding
    return None


# --- what the frames show ----------------------------------------------------------------------------------


def _fall(span: Span) -> int:
    """Our fall in the interval that is still to be explained (base units; negative: we rose)."""
    own = Address(span.account)
    before, after = span.first.holdings.get(own) or NOBODY, span.second.holdings.get(own) or NOBODY
    return before.balance - after.balance - span.placed_cost


def _rise(span: Span, address: Address) -> int | None:
    """By how much an address rose (an absent one holds nothing); None where a frame does not show it."""
    if address not in span.first.holdings or address not in span.second.holdings:
        return None
    before, after = span.first.holdings[address] or NOBODY, span.second.holdings[address] or NOBODY
    return after.balance - before.balance


def _moved(span: Span, address: Address) -> bool:
    """Whether an address spent something itself in the interval."""
    before, after = span.first.holdings.get(address) or NOBODY, span.second.holdings.get(address) or NOBODY
    return before.nonce != after.nonce
