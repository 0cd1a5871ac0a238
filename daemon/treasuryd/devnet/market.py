"""
The development chain's energy market: providers, receipts, credits, disputes. No I/O, no clock, no chance of its own.

Everything is a function of seed and height, so that it survives restarts and reorgs without being stored; counters never
fall while the chain grows. Nothing of it is in the ledger: it is there to be looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from blake3 import blake3

PROVIDERS: Final = 12
SETTLED_KEPT: Final = 300  # receipts that the node keeps
DISPUTE_BLOCKS: Final = 300  # one is opened every so often
LONGEST_DISPUTE: Final = 440
SLASHED_EVERY: Final = 7  # of the disputes
SLASH_REASONS: Final = ("quorum", "expiry", "conflict")  # by provider: 12 providers, 3 reasons
FEE_PPM: Final = 25_000
PAGE_ROWS: Final = 25

Row = dict[str, Any]


def grown(height: int, mean: float, *, swing: float = 0.5, period: float = 3_000.0) -> int:
    """Count up to a height: `mean` for each block, more and less by `swing` (0 to 1) in waves, and never falling."""
    wave = swing * period / math.tau * (1.0 - math.cos(math.tau * height / period))
    return math.floor(mean * (height + wave))


def between(low: float, high: float, height: int, period: float, phase: float = 0.0) -> float:
    """Go up and down between two values."""
    return low + (high - low) * (0.5 + 0.5 * math.sin(math.tau * height / period + phase))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyMarket:
    """The market at one height."""

    seed: int
    height: int

    def state(self, provider: str | None = None) -> Row:
        """Answer `energy.market_state`: everything that is open or on offer."""
        governance = {
            "expiry_blocks": 2_000, "min_stake": 1000, "mode": "real_time", "oracle_timeout_blocks": 30,
            "quorum_threshold_ppm": 666_000,
        }  # fmt: skip
        rows = {
            "credits": self.credits(),
            "disputes": [self._dispute(number) for number in self._open()],
            "providers": self.providers(),
            "receipts": self.receipts(),
        }
        chosen = {
            name: [row for row in found if provider is None or provider in _parties(row)]
            for name, found in rows.items()
        }
        return {**chosen, "governance": governance, "status": "ok"}

    def providers(self) -> list[Row]:
        """List who sells energy; one of them has none on offer most of the time."""
        return [self._provider(number) for number in range(PROVIDERS)]

    def _provider(self, number: int) -> Row:
        capacity, phase = 400 + 150 * number, float(number)
        floor = -0.6 if number == PROVIDERS - 1 else 0.2
        return {
            "provider_id": provider_id(number),
            "owner": f"owner-{number}",
            "jurisdiction": ("DE", "US", "SG")[number % 3],
            "capacity_kwh": capacity,
            "available_kwh": max(0, int(capacity * between(floor, 0.9, self.height, 9_000, phase))),
            "price_per_kwh": round(between(80, 140, self.height, 20_000, phase)),
            "reputation_score": round(between(0.82, 0.99, self.height, 30_000, phase), 4),
            "meter_address": f"meter-{number}",
            "total_delivered_kwh": self.settlements(number) * self._kwh(number),
            "staked_balance": 1_000 + 250 * number,
        }

    def settlements(self, number: int) -> int:
        """Count a provider's settlements; the first ones have the most."""
        return self.height // (5 + 3 * number)

    def _kwh(self, number: int) -> int:
        return 20 + 2 * number

    # --- receipts and credits -----------------------------------------------------------------------------

    def receipts(self) -> Sequence[Row]:
        """List the receipts that are kept, the oldest first: one for each third block."""
        newest = self.height // 3
        return [self._receipt(number) for number in range(max(0, newest - SETTLED_KEPT), newest)]

    def _receipt(self, number: int) -> Row:
        seller, kwh = number % PROVIDERS, 20 + self._drawn("receipt", number) % 60
        paid = kwh * round(between(80, 140, number * 3, 20_000, float(seller)))
        return {
            "buyer": f"buyer-{number % 40}", "seller": provider_id(seller), "kwh_delivered": kwh, "price_paid": paid,
            "block_settled": number * 3 + 3, "treasury_fee": paid * FEE_PPM // 1_000_000, "slash_applied": 0,
            "meter_hash": self._hash("receipt", number),
        }  # fmt: skip

    def credits(self) -> list[Row]:
        """List credits that are not settled: a dozen at most."""
        count = round(between(2, 12, self.height, 4_000))
        first = self.height // 10
        return [
            {
                "provider": provider_id((first + number) % PROVIDERS),
                "amount_kwh": 10 + self._drawn("credit", first + number) % 90,
                "timestamp": max(0, self.height - 10 * number),
                "meter_hash": self._hash("credit", first + number),
            }
            for number in range(count)
        ]

    # --- disputes -------------------------------------------------------------------------------------------

    @property
    def disputes_opened(self) -> int:
        """How many disputes there were."""
        return self.height // DISPUTE_BLOCKS

    @property
    def disputes_resolved(self) -> int:
        """How many have ended."""
        return self.disputes_opened - len(self._open())

    @property
    def slashed(self) -> int:
        """How many of them ended with a slash."""
        ended = [number for number in self._open() if self._is_slashing(number)]
        return (self.disputes_opened + SLASHED_EVERY - 4) // SLASHED_EVERY - len(ended)

    def slashes(self) -> dict[tuple[str, str], int]:
        """Count them by provider and reason."""
        return {
            (provider_id(number), SLASH_REASONS[number % 3]): (self.slashed + PROVIDERS - 1 - number) // PROVIDERS
            for number in range(PROVIDERS)
        }  # fmt: skip

    def disputes(self, status: str | None) -> Iterator[int]:
        """Number the disputes of a status (`open`, `resolved`, None: all), the oldest first."""
        still = self._open()
        if status == "open":
            return iter(still)
        return (n for n in range(self.disputes_opened) if status is None or n not in still)

    def _open(self) -> list[int]:
        oldest = max(0, (self.height - LONGEST_DISPUTE) // DISPUTE_BLOCKS - 1)
        return [number for number in range(oldest, self.disputes_opened) if self._end(number) > self.height]

    def _end(self, number: int) -> int:
        return (number + 1) * DISPUTE_BLOCKS + 40 + self._drawn("dispute", number) % (LONGEST_DISPUTE - 40)

    def _is_slashing(self, number: int) -> bool:
        return number % SLASHED_EVERY == 3

    def _dispute(self, number: int) -> Row:
        ended = self._end(number) <= self.height
        note = ("slashed" if self._is_slashing(number) else "reading confirmed") if ended else None
        return {
            "id": number, "provider_id": provider_id(number % PROVIDERS), "meter_hash": self._hash("dispute", number),
            "reporter": f"buyer-{number % 40}", "reason": ("low reading", "outlier")[number % 2],
            "status": "resolved" if ended else "open", "opened_at": (number + 1) * DISPUTE_BLOCKS,
            "resolved_at": self._end(number) if ended else None, "resolution_note": note,
            "resolver": "oracle-1" if ended else None,
        }  # fmt: skip

    # --- pages ----------------------------------------------------------------------------------------------

    def page(self, name: str, params: Mapping[str, Any], *, page: int, size: int) -> Row:
        """Answer `energy.receipts`, `.credits` or `.disputes`: one page, and how many rows there are."""
        wanted = params.get("provider_id")
        rows: Sequence[Row]
        if name == "disputes":
            numbers = list(self.disputes(params.get("status")))
            if wanted is not None:
                numbers = [number for number in numbers if provider_id(number % PROVIDERS) == wanted]
            total = len(numbers)
            rows = [self._dispute(number) for number in islice(numbers, page * size, (page + 1) * size)]
        else:
            found = self.receipts() if name == "receipts" else self.credits()
            found = [row for row in found if wanted is None or wanted in _parties(row)]
            total, rows = len(found), found[page * size : (page + 1) * size]
        return {"page": page, "page_size": size, "status": "ok", "total": total, name: rows}

    # --- chance, of the seed --------------------------------------------------------------------------------

    def _hash(self, what: str, number: int) -> str:
        return blake3(f"market:{self.seed}:{what}:{number}".encode()).hexdigest()

    def _drawn(self, what: str, number: int) -> int:
        return int(self._hash(what, number)[:8], 16)


def _parties(row: Row) -> tuple[object, ...]:
    return row.get("provider_id"), row.get("provider"), row.get("seller")


def provider_id(number: int) -> str:
    """Name a provider as the node does."""
    return f"energy-0x{number:08x}"


def empty_state() -> Row:
    """Answer `energy.market_state` as a fresh node does."""
    governance = {
        "expiry_blocks": 0, "min_stake": 1000, "mode": "real_time", "oracle_timeout_blocks": 0, "quorum_threshold_ppm": 0,
    }  # fmt: skip
    return {
        "credits": [], "disputes": [], "governance": governance, "providers": [], "receipts": [], "status": "ok",
    }  # fmt: skip


def empty_page(name: str, *, page: int, size: int) -> Row:
    """Answer for a market in which nothing happened yet."""
    return {"page": page, "page_size": size, "status": "ok", "total": 0, name: []}
