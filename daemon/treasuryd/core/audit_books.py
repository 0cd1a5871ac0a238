"""The books, for the settlement audit: each balance event, what an intent took, what an account has (protocol.md §10)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from treasuryd.core.findings import Finding, Violation
from treasuryd.core.model import AccountId, DisbursementId, IntentId

CANCEL_UNITS: Final = 1  # what a cancel variant moves (R7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One balance event with what it claims, and what the booked balance was before it."""

    id: int
    account: AccountId
    kind: str
    delta: int
    fee: int
    balance: int
    before: int
    item: DisbursementId | None
    # of the intent that it names; None: it names none
    of_item: DisbursementId | None = None
    of_amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """
    One account's books as they stand.

    `placed` is what decided intents above the baseline's count took; `open` says that something consumed waits for its
    verdict, so that baseline and books differ by right.
    """

    account: AccountId
    booked: int
    shown: int | None  # the balance of the baseline
    placed: int
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncosted:
    """An intent whose balance events come to something else than what it took."""

    intent: IntentId
    account: AccountId
    item: DisbursementId | None
    moved: int
    cost: int


def of_movement(found: Movement) -> Iterable[Violation]:
    """A balance event against the one before it and the intent that it names."""
    said = []
    if found.balance != found.before + found.delta:
        said.append(f"the balance after it is {found.balance}, {found.before} and {found.delta} make another")
    if found.kind in {"execution", "cancellation"}:
        moved = found.of_amount if found.kind == "execution" else CANCEL_UNITS
        if moved is None or found.of_item != found.item:
            said.append("it names no intent of its disbursement")
        elif -found.delta != moved + found.fee:
            said.append(f"it took {-found.delta}, amount and fee are {moved + found.fee}")
    for one in said:
        detail = f"balance event {found.id}: {one}"
        yield Violation(finding=Finding.BOOKS, detail=detail, account=found.account, item=found.item)


def of_ledger(found: Ledger) -> Iterable[Violation]:
    """Paid and fees are the fall of the chain's balance, less what came in: booked is what the baseline shows (§10)."""
    if found.open or found.shown is None or found.booked == found.shown - found.placed:
        return
    yield Violation(
        finding=Finding.BOOKS,
        account=found.account,
        detail=f"booked {found.booked}, the baseline shows {found.shown}, of which {found.placed} was taken since",
    )


def of_intent(found: Uncosted) -> Violation:
    """What an intent took is what its balance events come to, those of a reorg and of a correction among them."""
    detail = f"intent {found.intent} took {found.cost}, its balance events come to {found.moved}"
    return Violation(finding=Finding.BOOKS, account=found.account, item=found.item, detail=detail)
