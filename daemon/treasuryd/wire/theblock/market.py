"""
What a node says of its energy market, read strictly: the results of `energy.*` (theblock-node.md §15).

Every reader takes parsed JSON and gives a frozen value or raises `Malformed`: one bad row spoils its reading, for a sum
over the others would be a wrong number that looks right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from treasuryd.core.observed import SettlementMode
from treasuryd.wire.theblock.readings import json_object, u64_field
from treasuryd.wire.theblock.replies import Malformed

MAX_PAGE_ROWS: Final = 250  # the node's own limit
MAX_MARKET_PROVIDERS: Final = 10_000
MAX_ID_CHARS: Final = 256
UNAUTHORISED: Final = -33009  # a token is configured on the node, and ours is none or another


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider: what it has on offer (kWh, base units per kWh) and its reputation, 0 to 1."""

    id: str
    available_kwh: int
    delivered_kwh: int
    price_per_kwh: int
    reputation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketState:
    """The market at one moment; `mode` is None where the node has a word for it that we do not know."""

    mode: SettlementMode | None
    providers: tuple[Provider, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """One credit that is not settled yet."""

    amount_kwh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One dispute: when it was opened and, if it is, resolved (block heights)."""

    id: int | str
    opened_at: int
    resolved_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageHead:
    """How many rows there are in all, and the rows of this page, yet unread."""

    total: int
    rows: tuple[object, ...]


def read_market_state(value: object) -> MarketState:
    """Read the result of `energy.market_state`; its lists of credits, disputes and receipts are left unread."""
    fields = json_object(value, "a market")
    rows = fields.get("providers")
    if not isinstance(rows, list) or len(rows) > MAX_MARKET_PROVIDERS:
        raise Malformed(f"a market's providers: a list of at most {MAX_MARKET_PROVIDERS} belongs there")
    providers = tuple(_provider(row) for row in rows)
    if len({provider.id for provider in providers}) != len(providers):
        raise Malformed("a market names a provider twice")
    mode = json_object(fields.get("governance"), "a market's governance").get("mode")
    known = next((one for one in SettlementMode if one.value == mode), None)
    return MarketState(mode=known, providers=providers)


def read_page(value: object, name: str) -> PageHead:
    """Read one page of `energy.receipts`, `.credits` or `.disputes`; `name` is that of its list."""
    fields = json_object(value, "a page")
    rows = fields.get(name)
    if not isinstance(rows, list) or len(rows) > MAX_PAGE_ROWS:
        raise Malformed(f"{name}: a list of at most {MAX_PAGE_ROWS} belongs there")
    total = u64_field(fields, "total")
    if total < len(rows):
        raise Malformed(f"{name}: {len(rows)} rows of {total} in all")
    return PageHead(total=total, rows=tuple(rows))


def read_credit(value: object) -> Credit:
    """Read one credit."""
    return Credit(amount_kwh=u64_field(json_object(value, "a credit"), "amount_kwh"))


def read_dispute(value: object) -> Dispute:
    """Read one dispute; it cannot have been resolved before it was opened."""
    fields = json_object(value, "a dispute")
    name = fields.get("id")
    if not isinstance(name, str) or len(name) > MAX_ID_CHARS:
        name = u64_field(fields, "id")
    opened = u64_field(fields, "opened_at")
    resolved = None if fields.get("resolved_at") is None else u64_field(fields, "resolved_at")
    if resolved is not None and resolved < opened:
        raise Malformed(f"a dispute was opened at {opened} and resolved at {resolved}")
    return Dispute(id=name, opened_at=opened, resolved_at=resolved)


def _provider(value: object) -> Provider:
    fields = json_object(value, "a provider")
    name, reputation = fields.get("provider_id"), fields.get("reputation_score")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARS:
        raise Malformed(f"a provider's id is no text of 1 … {MAX_ID_CHARS} characters")
    if isinstance(reputation, bool) or not isinstance(reputation, int | float) or not 0 <= reputation <= 1:
        raise Malformed("a provider's reputation_score is no number of 0 … 1")
    return Provider(
        id=name,
        available_kwh=u64_field(fields, "available_kwh"),
        delivered_kwh=u64_field(fields, "total_delivered_kwh"),
        price_per_kwh=u64_field(fields, "price_per_kwh"),
        reputation=float(reputation),
    )
