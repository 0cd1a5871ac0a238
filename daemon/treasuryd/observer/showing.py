"""What readings are worth showing, as numbers under our names; a sum over rows that were not all read is none."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from treasuryd.core.observed import (
    OTHER,
    RESOLUTION_BLOCKS,
    Distribution,
    Observed,
    ProviderStatus,
    SettlementMode,
)
from treasuryd.wire.theblock.market import Credit, Dispute, MarketState
from treasuryd.wire.theblock.series import BY_PROVIDER

_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MODES: Final = tuple(SettlementMode)


class Roster:
    """
    Which providers have a label of their own: the first ones seen, for the life of the process.

    Guarantees: at most so many labels and `other`, whatever the node says; a provider never changes its label, so that
        no counter falls because another provider came.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._names: set[str] = set()

    def label(self, provider: str) -> str:
        """Give a provider its label."""
        if provider in self._names:
            return provider
        if len(self._names) < self._at_most and provider != OTHER and _NAME.fullmatch(provider):
            self._names.add(provider)
            return provider
        return OTHER


def of_market(state: MarketState, roster: Roster) -> Observed:
    """Show the market: its providers, the largest first, and what is on offer."""
    active = sum(1 for provider in state.providers if provider.available_kwh > 0)
    offered = sum(provider.available_kwh for provider in state.providers)
    reputation: dict[tuple[str, ...], float] = {}
    for provider in sorted(state.providers, key=lambda one: (-one.delivered_kwh, one.id)):
        place = (roster.label(provider.id),)
        reputation[place] = min(provider.reputation, reputation.get(place, 1.0))
    series: dict[str, dict[tuple[str, ...], float]] = {
        "energy_provider_status": {
            (ProviderStatus.ACTIVE.value,): active,
            (ProviderStatus.IDLE.value,): len(state.providers) - active,
        },
        "energy_provider_total": {(): len(state.providers)},
        "energy_market_volume_current": {(): offered},
    }
    if reputation:
        series["energy_reputation_score"] = reputation
    if offered:
        worth = sum(provider.price_per_kwh * provider.available_kwh for provider in state.providers)
        series["energy_market_price_current"] = {(): worth / offered}
    if state.mode is not None:
        series["energy_settlement_mode"] = {(): _MODES.index(state.mode)}
    return Observed(series=series)


def of_receipts(total: int) -> Observed:
    """Show how many receipts the node keeps."""
    return Observed(series={"energy_receipt_total": {(): total}})


def of_credits(total: int, credits_: Sequence[Credit]) -> Observed:
    """Show the pending credits; their energy only where every one of them was read."""
    series: dict[str, dict[tuple[str, ...], float]] = {"energy_pending_credits_total": {(): total}}
    if len(credits_) == total:
        series["energy_pending_credits_kwh"] = {(): sum(credit.amount_kwh for credit in credits_)}
    return Observed(series=series)


def of_disputes(active: int, resolutions: "Resolutions") -> Observed:
    """Show the open disputes, and how long those took that were resolved while we looked."""
    return Observed(
        series={"energy_active_disputes_total": {(): active}},
        distributions={"energy_dispute_resolution_blocks": resolutions.taken},
    )


def of_metrics(found: Observed, roster: Roster) -> Observed:
    """Cap the labels that name providers, the largest first; what comes under `other` adds up."""
    series = dict(found.series)
    for name in BY_PROVIDER & series.keys():
        capped: dict[tuple[str, ...], float] = {}
        for place, value in sorted(series[name].items(), key=lambda item: (-item[1], item[0])):
            under = (roster.label(place[0]), *place[1:])
            capped[under] = capped.get(under, 0.0) + value
        series[name] = capped
    return replace(found, series=series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolutions:
    """
    How many blocks disputes took, counted from the first look on.

    Guarantees: counts never fall; each dispute that is resolved between two looks counts once.
    Does not guarantee: those that were resolved before the first look (they would count anew at every start), nor those
    of blocks that were taken back while another one was resolved.
    """

    taken: Distribution = field(default_factory=lambda: Distribution.empty(RESOLUTION_BLOCKS))
    height: int | None = None  # the latest block in which one was resolved; None: not looked yet
    ids: frozenset[int | str] = frozenset()  # of the disputes resolved in it

    def after(self, disputes: Iterable[Dispute]) -> "Resolutions":
        """Look at the disputes that are resolved now."""
        ends = {one.id: (one.opened_at, one.resolved_at) for one in disputes if one.resolved_at is not None}
        if not ends:
            # none at the first look: all that come are new; none any more: the next look is a first one
            return replace(self, height=None if self.height else 0, ids=frozenset())
        newest = max(end for _, end in ends.values())
        taken = self.taken
        if self.height is not None:
            for name, (opened, end) in ends.items():
                if end > self.height or (end == self.height and name not in self.ids):
                    taken = taken.plus(float(end - opened))
        at_newest = frozenset(name for name, (_, end) in ends.items() if end == newest)
        return Resolutions(taken=taken, height=newest, ids=at_newest)
