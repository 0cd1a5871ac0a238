"""What every command works with: the ports, the running executor and the operator's rules, in one value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from treasuryd.core.events import Event
from treasuryd.core.model import (
    AccountId,
    Address,
    Approval,
    BaseUnits,
    DisbursementId,
    FeeQuote,
    NotWritten,
    Rules,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Engine, Rows, World

MAX_IDS = 1_000  # items that one command may name


def base_fee_alone(quote: FeeQuote, account: AccountId, destination: Address, memo: str) -> BaseUnits | None:
    """The least that any payment costs: for an office that was told no price."""
    del account, destination, memo
    return quote.base_fee


Price: TypeAlias = Callable[[FeeQuote, AccountId, Address, str], BaseUnits | None]


@dataclass(slots=True, kw_only=True)
class Office:
    """
    Made once by `main`; on SIGHUP `main` alone puts other `rules` and `batch_expires_seconds` in.

    `accounts` are those of the configuration; the first pays what names none. `chain_id` is the configured one, which
    every vote is bound to. `batch_expires_seconds` is how long an unsealed batch is kept. `price` is the planner's: the
    fee of a payment under a quote, None above the ceiling.
    """

    world: World
    engine: Engine
    rules: Rules
    accounts: tuple[AccountId, ...]
    chain_id: int
    price: Price = base_fee_alone
    batch_expires_seconds: float = 3_600.0

    def approval(self, *, who: str, reason: str) -> Approval:
        """A person's word, as of now."""
        return Approval(who=who, reason=reason, at=self.world.clock.unix_seconds())

    def compared(self) -> None:
        """
        Refuse an order about payments while nobody knows whether this store is the newest (protocol.md §8).

        In an old one an id would be given out twice, and a person's word be about another payment.
        """
        if not self.engine.vitals().compared:
            raise Rejected(
                "the store has not been held against the signer's memory since this process opened it: no order is taken",
                hint="Nothing was stored. It is done within seconds, once the signer answers: repeat the request then.",
                kind=Refusal.UNAVAILABLE,
            )

    def told(self, *events: Event) -> None:
        """Tell the observer what a command did, and have the executor look at once."""
        self.world.observer.saw(*events)
        self.engine.wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item of a command over many."""

    id: DisbursementId
    done: bool
    what: str  # the event's name, or the machine word of the refusal
    detail: str = ""


def outcomes(office: Office, ids: tuple[DisbursementId, ...], rows: Rows[Event]) -> tuple[Outcome, ...]:
    """Pair the items of a command with its rows, and tell the observer of those that were done."""
    done = [row for row in rows if not isinstance(row, NotWritten)]
    if done:
        office.told(*done)
    return tuple(
        Outcome(id=item, done=False, what=row.reason, detail=row.detail)
        if isinstance(row, NotWritten)
        else Outcome(id=item, done=True, what=str(row.kind), detail=row.detail)
        for item, row in zip(ids, rows, strict=True)
    )


def no_such(item: int) -> Rejected:
    """The refusal for an id that the store does not hold."""
    return Rejected(f"disbursement {item} not found", field="id", kind=Refusal.NOT_FOUND)
