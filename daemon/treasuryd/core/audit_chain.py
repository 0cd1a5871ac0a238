"""
What the chain says against the books, for the settlement audit on demand (protocol.md §10).

The chain is read at one frame, as old as the audit; the books are compared at a frame that they keep, and what was
consumed between both is in flight. Where there is look-up each decided intent is looked for by its hash, which the
audit of the store has compared with its bytes, and those with the disbursement.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treasuryd.core.audit_books import CANCEL_UNITS
from treasuryd.core.findings import Finding, Violation
from treasuryd.core.model import (
    AccountId,
    Address,
    Evidence,
    Frame,
    Height,
    Holding,
    Intent,
    Nonce,
    Sighting,
    State,
    VariantKind,
)

NOTHING: Final[tuple[int, int]] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """
    One account as the store keeps it, read after the chain's frame.

    `kept`: its frames, oldest first, the last one is the baseline. `most`: what the intent of each nonce above the oldest
    of them took, or may take at most. `final`: the highest nonce of an intent that was final at the chain's frame.
    """

    account: AccountId
    kept: Sequence[Frame]
    most: Mapping[Nonce, int]
    final: Nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of comparing one account: `said` for people, violations, and whether it could be compared at all."""

    said: str
    violations: tuple[Violation, ...] = ()
    done: bool = True


def of_account(books: Books, frame: Frame, gone: Collection[Height]) -> Compared:
    """
    Compare an account's books with the chain's frame.

    Args: gone: heights of kept frames whose header is not on the chain any more. Guarantees: what the executor has yet to
        book or to take back is said to be in flight, and is no violation.
    """
    known = [one for one in books.kept if one.height <= frame.height and one.height not in gone]
    if not known:
        return Compared(said=f"no kept frame is on the chain at or below height {frame.height}", done=False)
    then = known[-1]
    balance, nonce = _held(frame, books.account)
    before, count = _held(then, books.account)
    wrong: list[str] = []
    if books.final > nonce:
        wrong.append(f"nonce {books.final} is final in the books, and the chain counts {nonce}")
    if frame.height == then.height and (balance, nonce) != (before, count):
        wrong.append(
            f"the frame kept of height {then.height} shows {before} and nonce {count}, the chain {balance} and {nonce}"
        )
    elif nonce < count:
        wrong.append(f"the chain counts nonce {nonce}, and counted {count} at height {then.height}")
    else:
        wrong += _moved(books, balance - before, range(count + 1, nonce + 1), then.height)
    return Compared(
        said=_said(frame, then, balance - before, nonce - count),
        violations=tuple(
            Violation(finding=Finding.CHAIN, account=books.account, detail=f"{one} (height {frame.height})")
            for one in wrong
        ),
    )


def _moved(books: Books, delta: int, consumed: range, since: Height) -> list[str]:
    """What is wrong with a movement since a kept frame: a nonce without an intent, or a fall that they do not explain."""
    foreign = [nonce for nonce in consumed if Nonce(nonce) not in books.most]
    most = sum(books.most.get(Nonce(nonce), 0) for nonce in consumed)
    wrong = [f"nonce {nonce} is consumed, and no intent has it" for nonce in foreign[:1]]
    if -delta > most:
        wrong.append(
            f"the balance fell by {-delta} since height {since}, and our intents explain at most {most}"
        )
    return wrong


def _said(frame: Frame, then: Frame, delta: int, consumed: int) -> str:
    if not delta and not consumed:
        return f"as the chain shows it at height {frame.height}"
    return f"in flight between heights {then.height} and {frame.height}: {consumed} nonces, the balance by {delta}"


def _held(frame: Frame, account: AccountId) -> tuple[int, int]:
    held: Holding | None = frame.holdings.get(Address(account))
    return NOTHING if held is None else (held.balance, held.nonce)


# --- transactions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """An intent with what its account paid for it by the books; None where nothing is decided."""

    intent: Intent
    cost: int | None


def of_sighting(row: Decided, seen: Sighting | None, settled: Height) -> Violation | str | None:
    """
    Hold what a look-up found against what the books say of an intent.

    Args: settled: a block at or below this height is the executor's past; above it an open intent may be in flight.
    Returns: a violation; None where both agree; a sentence where the look-up says nothing for sure.
    """
    intent = row.intent
    if seen is None or (seen.variant is None and seen.as_of < (intent.height or 0)):
        return "no answer"
    if intent.state in (State.INCLUDED, State.FINAL):
        return _of_paid(row, seen)
    kind = next((one.kind for one in intent.variants if one.number == seen.variant), None)
    late = seen.height is not None and seen.height <= settled
    if kind is VariantKind.PAYMENT and (intent.state is State.VOID or late):
        detail = (
            f"intent {intent.id} is {intent.state}, and its payment is in the block at height {seen.height}"
        )
        return _violation(Finding.PAID_UNNOTICED, intent, detail)
    return None


def _of_paid(row: Decided, seen: Sighting) -> Violation | str | None:
    intent = row.intent
    final = intent.state is State.FINAL
    by_hash = intent.evidence is Evidence.HASH
    if seen.variant is None:
        if not final or intent.evidence is Evidence.PERSON:
            return "not on the chain" if final else "in flight"
        detail = (
            f"intent {intent.id} is final at height {intent.height}, and the chain does not know its hash"
        )
        return _violation(Finding.NOT_PAID, intent, detail)
    if by_hash and (seen.height, seen.block_hash) != (intent.height, intent.block_hash):
        if not final:
            return "in flight"
        detail = f"intent {intent.id} is final at height {intent.height}, and is in the block at height {seen.height}"
        return _violation(Finding.CHAIN, intent, f"{detail} ({seen.block_hash})")
    if intent.evidence is not Evidence.PERSON and seen.variant != intent.winner:
        detail = (
            f"intent {intent.id}: variant {seen.variant} is in the block, and the books say {intent.winner}"
        )
        return _violation(Finding.PAID_OTHERWISE, intent, detail)
    kind = next((one.kind for one in intent.variants if one.number == seen.variant), VariantKind.PAYMENT)
    took = (intent.amount if kind is VariantKind.PAYMENT else CANCEL_UNITS) + (seen.fee_charged or 0)
    if by_hash and row.cost != took:
        detail = f"intent {intent.id} took {row.cost} by the books, and {took} on the chain"
        return _violation(Finding.BOOKS, intent, detail)
    return "not every node shows it" if seen.doubted else None


def _violation(finding: Finding, intent: Intent, detail: str) -> Violation:
    return Violation(finding=finding, account=intent.account, item=intent.disbursement_id, detail=detail)
