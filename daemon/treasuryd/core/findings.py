"""What an audit can find: a closed set, each with what a person does next."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from treasuryd.core.model import AccountId, DisbursementId


class Finding(StrEnum):
    """What can be wrong: a closed set, used as a label."""

    PAID_TWICE = "paid_twice"
    PAID_OTHERWISE = "paid_otherwise"  # bytes, intent and disbursement do not say the same
    NOT_APPROVED = "not_approved"
    NOT_PAID = "not_paid"  # executed or finalized, and nothing proves it
    PAID_AND_ROLLED_BACK = "paid_and_rolled_back"
    PAID_UNNOTICED = "paid_unnoticed"  # its payment is in a block, and the item says otherwise
    NONCE_TWICE = "nonce_twice"
    BOOKS = "books"  # balance events, costs and baseline do not add up
    CHAIN = "chain"  # what the chain shows now is not what the books say
    JOURNAL = "journal"  # an entry does not follow from the one before it


TO_DO: Final[Mapping[Finding, str]] = {
    Finding.PAID_TWICE: "Keep everything as it is, look for both hashes on the chain, and report it.",
    Finding.PAID_OTHERWISE: "Keep everything; `treasuryd journal replay` says which row was changed.",
    Finding.NOT_APPROVED: "Compare the votes with `treasuryd journal export`; ask who changed the store.",
    Finding.NOT_PAID: "Look for its hash on the chain; `treasuryd journal replay` says which row was changed.",
    Finding.PAID_AND_ROLLED_BACK: "The money has moved: find out whether the rollback or the payment is wrong.",
    Finding.PAID_UNNOTICED: "Do not pay it by other means: its payment is in a block.",
    Finding.NONCE_TWICE: "Keep everything; `treasuryd journal replay` says which row was changed.",
    Finding.BOOKS: "Compare `treasuryd balance` with the chain; `treasuryd journal replay` says which row was changed.",
    Finding.CHAIN: "Ask another endpoint the same; pay nothing by hand until hash, block and nonce are understood.",
    Finding.JOURNAL: "Run `treasuryd journal verify`, and compare with the outside copy before anything is paid.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that must not be; `account` None concerns them all."""

    finding: Finding
    detail: str
    account: AccountId | None = None
    item: DisbursementId | None = None

    @property
    def to_do(self) -> str:
        """What a person does next."""
        return TO_DO[self.finding]
