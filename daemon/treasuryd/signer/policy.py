"""
What the signer refuses for its content, whoever asks: a second pair of eyes on its own configuration.

Pure. The same limits stand in the executor's rules too; that is the point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from treasuryd.core.model import (
    MAX_AMOUNT,
    MAX_MEMO_BYTES,
    AccountId,
    Address,
    BaseUnits,
    Draft,
    SignRequest,
    VariantKind,
)

SHOWN_CHARACTERS: Final = 80
NO_LIMIT: Final = BaseUnits(MAX_AMOUNT)


class Objection(StrEnum):
    """Why a payment is refused for its content. A closed set: stored, shown, used as a label."""

    AMOUNT_ZERO = "amount_zero"
    AMOUNT_TOO_LARGE = "amount_too_large"
    FEE_TOO_LARGE = "fee_too_large"
    MEMO_TOO_LONG = "memo_too_long"
    DESTINATION_EMPTY = "destination_empty"
    DESTINATION_IS_PAYER = "destination_is_payer"
    DESTINATION_IS_SINK = "destination_is_sink"
    DESTINATION_NOT_LISTED = "destination_not_listed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The signer's limits. `sinks` names every own account with its sink; amounts and fee in base units.

    An empty allow-list means that any destination may be paid.
    """

    sinks: Mapping[AccountId, Address]
    max_fee: BaseUnits
    max_amount: BaseUnits = NO_LIMIT
    max_memo_bytes: int = MAX_MEMO_BYTES
    allow_list: frozenset[Address] = field(default_factory=frozenset)

    def sink_of(self, account: AccountId) -> Address:
        """Where a cancel variant of `account` sends its one unit; the configured one or the derived one."""
        return self.sinks.get(account, Address(f"{account}-sink"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objected:
    """One objection with its sentence: value and limit."""

    why: Objection
    detail: str


def objection(policy: Policy, asked: Draft | SignRequest) -> Objected | None:
    """
    Name the first thing in `asked` that policy forbids; None when nothing does.

    A cancel variant pays one unit to our own sink, so that only its fee is judged.
    """
    if asked.fee > policy.max_fee:
        return _objected(
            Objection.FEE_TOO_LARGE, f"a fee of {asked.fee}, the signer's limit is {policy.max_fee}"
        )
    if isinstance(asked, SignRequest) and asked.kind is VariantKind.CANCEL:
        return None
    return _amount(policy, asked) or _memo(policy, asked) or _destination(policy, asked)


def _amount(policy: Policy, asked: Draft | SignRequest) -> Objected | None:
    if asked.amount < 1:
        return _objected(Objection.AMOUNT_ZERO, f"an amount of {asked.amount}, at least 1 base unit is paid")
    if asked.amount > policy.max_amount:
        return _objected(
            Objection.AMOUNT_TOO_LARGE,
            f"an amount of {asked.amount}, the signer's limit is {policy.max_amount}",
        )
    return None


def _memo(policy: Policy, asked: Draft | SignRequest) -> Objected | None:
    size = len(asked.memo.encode())
    if size > policy.max_memo_bytes:
        return _objected(
            Objection.MEMO_TOO_LONG, f"a memo of {size} bytes, the limit is {policy.max_memo_bytes}"
        )
    return None


def _destination(policy: Policy, asked: Draft | SignRequest) -> Objected | None:
    destination = asked.destination
    shown = repr(destination[:SHOWN_CHARACTERS])
    if not destination:
        return _objected(Objection.DESTINATION_EMPTY, "no destination")
    if str(destination) == str(asked.account):
        return _objected(Objection.DESTINATION_IS_PAYER, f"{shown} is the paying account itself")
    if destination == policy.sink_of(asked.account) or destination in policy.sinks.values():
        return _objected(Objection.DESTINATION_IS_SINK, f"{shown} is a sink, which only cancellations pay to")
    if policy.allow_list and destination not in policy.allow_list:
        return _objected(Objection.DESTINATION_NOT_LISTED, f"{shown} is not on the signer's allow-list")
    return None


def _objected(why: Objection, detail: str) -> Objected:
    return Objected(why=why, detail=detail)
