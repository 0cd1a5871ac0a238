"""
The settlement audit: does what the store says of payments, approvals and books hold together (protocol.md §10)?

It judges what is stored, not what was meant: every rule is checked anew on the rows, by other code than that which wrote
them. What it finds is a value with the item, what is wrong, and what to do; whoever called it freezes and pages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from treasuryd.core.audit_books import (
    CANCEL_UNITS,
    Ledger,
    Movement,
    Uncosted,
    of_intent,
    of_ledger,
    of_movement,
)
from treasuryd.core.findings import Finding, Violation
from treasuryd.core.model import (
    MAX_PPM,
    AccountId,
    Address,
    Decision,
    Disbursement,
    DisbursementId,
    Evidence,
    HouseName,
    Intent,
    IntentId,
    Nonce,
    Rules,
    State,
    Status,
    TxHash,
    Variant,
    VariantKind,
    Vote,
)
from treasuryd.core.proposals import Verify, count, last_words, signature_valid
from treasuryd.core.staging import payload_digest

IN_BLOCK: Final = frozenset({State.INCLUDED, State.FINAL})
PAID_STATUSES: Final = frozenset({Status.EXECUTED, Status.FINALIZED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What signed bytes say, read by the chain's codec."""

    account: AccountId
    destination: Address
    amount: int
    memo: str
    nonce: Nonce
    tx_hash: TxHash


Read: TypeAlias = Callable[[bytes], Content | None]
"""Reads signed bytes; None where they are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One disbursement with everything that was ever bound to it, bytes included."""

    item: Disbursement
    intents: tuple[Intent, ...]
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Two intents with one nonce of one account, both with the bytes of a payment; a fee bump is one intent's own."""

    account: AccountId
    nonce: Nonce
    item: DisbursementId | None
    intents: tuple[IntentId, IntentId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A bounded part of the store, read at one moment."""

    cases: Sequence[Case] = ()
    movements: Sequence[Movement] = ()
    ledgers: Sequence[Ledger] = ()
    uncosted: Sequence[Uncosted] = ()
    rivals: Sequence[Rivals] = ()
    broken: Sequence[tuple[AccountId | None, str]] = ()  # entries of the journal that do not follow
    sinks: Mapping[AccountId, Address] = field(default_factory=dict)  # pinned in the store, configured or not
    restored: bool = False  # the store was once taken up from a backup: what it lost of votes proves nothing


@dataclass(slots=True, kw_only=True)
class Judge:
    """
    Judges pages.

    Guarantees: pure, but for counting what it saw. `doubts` are items whose votes cannot be recounted for sure, because the
    configuration's keys or weights are no longer those of the vote: no violation, and told to whoever asks.
    """

    rules: Rules
    chain_id: int
    read: Read
    verify: Verify = signature_valid
    items: int = 0
    movements: int = 0
    doubts: list[DisbursementId] = field(default_factory=list)

    def judge(self, page: Page) -> list[Violation]:
        """Everything that is wrong in a page."""
        self.items += len(page.cases)
        self.movements += len(page.movements)
        found = [
            Violation(finding=Finding.JOURNAL, detail=said, account=account) for account, said in page.broken
        ]
        for case in page.cases:
            found += self._case(case, page)
        for movement in page.movements:
            found += of_movement(movement)
        for ledger in page.ledgers:
            found += of_ledger(ledger)
        found += [of_intent(uncosted) for uncosted in page.uncosted]
        found += [_rivals(rivals) for rivals in page.rivals]
        return found

    def _case(self, case: Case, page: Page) -> list[Violation]:
        item = case.item
        sink = page.sinks.get(item.account, self.rules.sink_of(item.account))
        paid = [intent for intent in case.intents if _pays(intent)]
        said = [*self._bytes(case, sink), *_standing(item, case.intents, paid)]
        if paid:
            said += self._approval(case, restored=page.restored)
        return [
            Violation(finding=finding, detail=detail, account=item.account, item=item.id)
            for finding, detail in said
        ]

    def _bytes(self, case: Case, sink: Address) -> Iterable[tuple[Finding, str]]:
        """Every intent and every sealed variant of it, in a block or not: they may all still leave (R6, R7)."""
        item = case.item
        for intent in case.intents:
            same = (intent.account, intent.destination, intent.amount)
            if same != (item.account, item.destination, item.amount):
                yield (
                    Finding.PAID_OTHERWISE,
                    f"intent {intent.id} pays {intent.amount} to {intent.destination}",
                )
            for variant in intent.variants:
                if variant.tx_bytes is not None:
                    wrong = self._variant(item, intent, variant, sink)
                    if wrong:
                        yield Finding.PAID_OTHERWISE, f"intent {intent.id}, variant {variant.number}: {wrong}"

    def _variant(self, item: Disbursement, intent: Intent, variant: Variant, sink: Address) -> str:
        found = None if variant.tx_bytes is None else self.read(variant.tx_bytes)
        if found is None:
            return "its bytes cannot be read"
        pays = variant.kind is VariantKind.PAYMENT
        destination = item.destination if pays else sink
        expected: dict[str, object] = {
            "account": item.account,
            "destination": destination,
            "amount": item.amount if pays else CANCEL_UNITS,
            "nonce": intent.nonce,
            "hash": variant.tx_hash,
        }
        said: dict[str, object] = {
            "account": found.account,
            "destination": found.destination,
            "amount": found.amount,
            "nonce": found.nonce,
            "hash": found.tx_hash,
        }
        if pays:
            expected["memo"], said["memo"] = item.memo, found.memo
        wrong = [name for name, value in expected.items() if said[name] != value]
        return f"its bytes say another {', '.join(wrong)}" if wrong else ""

    def _approval(self, case: Case, *, restored: bool) -> Iterable[tuple[Finding, str]]:
        item = case.item
        imported = (
            not item.request_digest
        )  # from the signer, which keeps the digest and not all that went into it
        if not imported and payload_digest(item) != item.payload_digest:
            yield Finding.NOT_APPROVED, "it was paid, and its content is not what its digest was made of"
        verdict = self._approved(case)
        if verdict is False and not (restored or imported):
            yield Finding.NOT_APPROVED, "it was paid, and the stored votes do not approve it"
        elif verdict is not True:
            self.doubts.append(item.id)

    def _approved(self, case: Case) -> bool | None:
        """Recount by the weights that were fixed; None where today's configuration cannot say."""
        item = case.item
        if item.proposal is None:
            return True if self.rules.allow_treasury_initiated else None
        if not item.weights or item.vote_deadline_epoch is None:
            return False
        counts = count(item, case.votes, self.rules, chain_id=self.chain_id, verify=self.verify)
        asked = {
            HouseName.OPERATORS: item.proposal.operators_ppm,
            HouseName.BUILDERS: item.proposal.builders_ppm,
        }
        short = {
            house
            for house, ppm in asked.items()
            if counts[house].approving * MAX_PPM < ppm * item.weights.get(house, 0)
        }
        if not short:
            return True
        # Keys and weights may be others today: of a house of which anybody approved the configuration of then may have
        # made that enough. Where nobody did, none can have.
        words = last_words(item, case.votes, chain_id=self.chain_id, verify=self.verify)
        heard = {house for (house, _), decision in words.items() if decision is Decision.APPROVE}
        return None if short <= heard else False


def _pays(intent: Intent) -> bool:
    """Whether a payment variant of it is in a block, as the store says."""
    if intent.state not in IN_BLOCK:
        return False
    winner = next((one for one in intent.variants if one.number == intent.winner), None)
    return winner is None or winner.kind is VariantKind.PAYMENT


def _standing(
    item: Disbursement, intents: Sequence[Intent], paid: Sequence[Intent]
) -> Iterable[tuple[Finding, str]]:
    """The item's status against what its intents say."""
    if len(paid) > 1:
        yield Finding.PAID_TWICE, f"intents {', '.join(str(intent.id) for intent in paid)} are in blocks"
    live = next((intent for intent in intents if intent.id == item.live_intent), None)
    proved = live is not None and _pays(live)
    if item.status in PAID_STATUSES and not proved:
        yield Finding.NOT_PAID, f"it is {item.status}, and no intent of it is in a block"
    if item.status in PAID_STATUSES and live is not None and proved and not _hash_agrees(item, live):
        yield Finding.PAID_OTHERWISE, "its hash is not that of the variant in the block"
    if item.status is Status.FINALIZED and live is not None and live.state is not State.FINAL:
        yield Finding.NOT_PAID, f"it is finalized, and its intent {live.id} is {live.state}"
    if item.status is Status.ROLLED_BACK and paid and item.prior_tx is None:
        yield Finding.PAID_AND_ROLLED_BACK, f"intent {paid[0].id} is in a block, and no prior hash is kept"
    if item.status not in {*PAID_STATUSES, Status.ROLLED_BACK} and paid:
        yield Finding.PAID_UNNOTICED, f"intent {paid[0].id} is in a block, and it is {item.status}"


def _hash_agrees(item: Disbursement, intent: Intent) -> bool:
    """A person's judgement names every hash that it may have been; anything else names the one."""
    if item.tx_hash is None or item.evidence is Evidence.PERSON:
        return True
    return item.tx_hash in {one.tx_hash for one in intent.variants if one.number == intent.winner}


def _rivals(found: Rivals) -> Violation:
    one, two = sorted(found.intents)
    detail = f"intents {one} and {two} have both payments signed under nonce {found.nonce}"
    return Violation(finding=Finding.NONCE_TWICE, account=found.account, item=found.item, detail=detail)
