"""
One gate for every way in: REST, JSON-RPC, command line, CSV and import all pass `check` (protocol.md D37's answer).

A request is judged whole: every error of every row is found, each naming its field, the value and the limit, so that
a person corrects a file once. What comes out is a valid `NewDisbursement`; only ids are still unknown to it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treasuryd.core.dependencies import find_cycle, memo_dependencies, trace
from treasuryd.core.fields import Fields, problem
from treasuryd.core.model import (
    MAX_AMOUNT,
    MAX_DEPENDENCIES,
    MAX_MEMO_BYTES,
    MAX_PPM,
    AccountId,
    Address,
    Attachment,
    BaseUnits,
    Digest,
    DisbursementId,
    Epoch,
    Evidence,
    ExpectedReceipt,
    NewDisbursement,
    Ppm,
    Proposal,
    Rules,
)
from treasuryd.core.reading import shown
from treasuryd.core.staging import item_digest, item_key, request_digest
from treasuryd.errors import Refusal, Rejected

MAX_ITEMS: Final = 1_000  # in one request (interfaces.md §1); longer files go up as a named batch
MAX_ID: Final = 2**63 - 1
MAX_EPOCH: Final = 2**63 - 1
MAX_WINDOW_EPOCHS: Final = 1_000_000  # two centuries of the chain's epochs: a typing error, not a plan
MAX_RECEIPTS: Final = 1_000
MAX_ATTACHMENTS: Final = 100
MAX_TITLE_BYTES: Final = 1_024
MAX_SUMMARY_BYTES: Final = 65_536
MAX_NAME_BYTES: Final = 2_048
MAX_ADDRESS_BYTES: Final = 256
MAX_KEY_LENGTH: Final = 200

ITEM_FIELDS: Final = frozenset(
    {
        "account", "destination", "amount", "memo", "scheduled_epoch", "expected_receipts",
        "proposal", "ref", "depends_on", "depends_on_refs",
    }
)  # fmt: skip
PROPOSAL_FIELDS: Final = frozenset(
    {
        "title", "summary", "deps", "attachments", "quorum",
        "vote_window_epochs", "timelock_epochs", "rollback_window_epochs",
    }
)  # fmt: skip
_REF: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What intake has to know of the configuration: rules, paying accounts, and what the chain can prove (§5.1)."""

    rules: Rules
    accounts: tuple[AccountId, ...]
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """
    A request after the gate: the valid items in input order, and every error found.

    Only a request without errors may be stored; `or_raise` is the short way to insist on that. `request_digest` covers
    the request as received and is empty while there are errors.
    """

    key: str
    request_digest: Digest
    items: tuple[NewDisbursement, ...]
    errors: tuple[Rejected, ...]

    def or_raise(self) -> "Checked":
        """Raise the first error, where there is one; its hint counts the others."""
        if not self.errors:
            return self
        first, more = self.errors[0], len(self.errors) - 1
        hint = f"{first.hint} {more} more errors in this request.".strip() if more else first.hint
        raise Rejected(first.message, hint=hint, field=first.field, kind=first.kind)


def items_of(body: object) -> list[object]:
    """Take the items out of a request: one object, an array of them, or an object with the array `items` alone."""
    if isinstance(body, list):
        return body
    if isinstance(body, dict):
        listed = body.get("items")
        if isinstance(listed, list) and len(body) == 1:
            return listed
        if "items" in body:
            raise Rejected("items: must be an array, and no other key may stand beside it", field="items")
        return [body]
    raise Rejected(
        f"the request must be an object or an array of objects, got {shown(body)}",
        hint='Send one disbursement as an object, many as {"items": [...]}.',
    )


def from_payload(payload: object) -> dict[str, object]:
    """
    Flatten the original's `{"disbursement": {…}, "proposal": {…}}` into one item; `check` judges the rest.

    Raises: Rejected when the two parts are not there or something stands beside them.
    """
    if not isinstance(payload, dict) or not isinstance(payload.get("disbursement"), dict):
        raise problem("payload", f'must be an object with the object "disbursement", got {shown(payload)}')
    beside = sorted(payload.keys() - {"disbursement", "proposal"})
    if beside:
        raise problem(f"payload.{shown(beside[0])[1:-1]}", "unknown field")
    item = payload["disbursement"]
    if "proposal" in item:
        raise problem(
            "payload.disbursement.proposal", "unknown field", hint="It stands beside the disbursement."
        )
    return item if payload.get("proposal") is None else {**item, "proposal": payload["proposal"]}


def check(
    items: Sequence[object],
    *,
    key: str | None,
    intake: Intake,
    places: Sequence[str] | None = None,
    whole: bool = True,
) -> Checked:
    """
    Validate the items of one request.

    Args: key is the idempotency key, None for "the request itself"; places name each row in messages (default
        `items[3].`); whole is False for a part of a named batch, whose refs may point into other parts.
    Returns: all items and no error, or every error with the items that are valid by themselves.
    Guarantees: never raises for any JSON value; equal requests get equal digests and accounts.
    Source: interfaces.md §1; the validation table of the original.
    """
    errors = _request_errors(items, key)
    if errors:
        return Checked(key=key or "", request_digest=Digest(""), items=(), errors=errors)
    names = places or [f"items[{row}]." for row in range(len(items))]
    found = [_check_item(item, where=names[row], intake=intake) for row, item in enumerate(items)]
    valid = [item for item, _ in found if item is not None]
    refused = [error for _, wrong in found for error in wrong]
    if len(valid) == len(items) or whole:
        refused += check_refs([item for item, _ in found], names, whole=whole)
    if refused:
        return Checked(key=key or "", request_digest=Digest(""), items=tuple(valid), errors=tuple(refused))
    digest = request_digest([item.request_digest for item in valid])
    base = key or digest
    keyed = tuple(_keyed(item, item_key(base, row)) for row, item in enumerate(valid))
    return Checked(key=base, request_digest=digest, items=keyed, errors=())


def _keyed(item: NewDisbursement, key: str) -> NewDisbursement:
    # `replace` costs three times as much, a thousand times per request
    return NewDisbursement(
        account=item.account,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        scheduled_epoch=item.scheduled_epoch,
        depends_on=item.depends_on,
        depends_on_refs=item.depends_on_refs,
        expected_receipts=item.expected_receipts,
        proposal=item.proposal,
        ref=item.ref,
        idempotency_key=key,
        request_digest=item.request_digest,
    )


def _request_errors(items: Sequence[object], key: str | None) -> tuple[Rejected, ...]:
    if key is not None and _KEY.fullmatch(key) is None:
        return (
            Rejected(
                f"Idempotency-Key: must be 1 to {MAX_KEY_LENGTH} printable ASCII characters without spaces, "
                f"got {shown(key)}",
                field="Idempotency-Key",
            ),
        )
    if not items:
        return (Rejected("items: must hold at least one disbursement, got none", field="items"),)
    if len(items) > MAX_ITEMS:
        return (
            Rejected(
                f"items: {len(items)} disbursements, the limit is {MAX_ITEMS} in one request",
                hint="Send longer files as a named batch in parts; `treasuryd submit` does it for you.",
                field="items",
                kind=Refusal.TOO_LARGE,
            ),
        )
    return ()


def check_refs(
    items: Sequence[NewDisbursement | None], names: Sequence[str], *, whole: bool = True
) -> list[Rejected]:
    """
    Judge the refs of one request, or of a whole named batch: unique, known, acyclic; None stands for a bad row.

    With `whole` False unknown refs pass, since another part may bring them.
    """
    rows: dict[str, int] = {}
    errors: list[Rejected] = []
    for row, item in enumerate(items):
        if item is None or item.ref is None:
            continue
        if item.ref in rows:
            first = names[rows[item.ref]].rstrip(".: ") or "the first item"
            errors.append(problem(f"{names[row]}ref", f"{shown(item.ref)} is the ref of {first} already"))
        rows.setdefault(item.ref, row)
    bad_rows = any(item is None for item in items)
    if whole and not bad_rows:  # a bad row may be the very one that carries the ref
        errors.extend(
            problem(
                f"{names[row]}depends_on_refs",
                f"no item of this request carries the ref {shown(ref)}",
                hint="Refs name items of the same request; stored disbursements are named by id in depends_on.",
            )
            for row, item in enumerate(items)
            if item is not None
            for ref in item.depends_on_refs
            if ref not in rows
        )
    return errors or _ref_cycle(items, names, rows)


def _ref_cycle(
    items: Sequence[NewDisbursement | None], names: Sequence[str], rows: Mapping[str, int]
) -> list[Rejected]:
    edges = {item.ref: item.depends_on_refs for item in items if item is not None and item.ref is not None}
    cycle = find_cycle(edges)
    if not cycle:
        return []
    text = "depends on itself" if len(cycle) == 1 else "the items depend on each other in a circle"
    return [
        problem(
            f"{names[rows[cycle[0]]]}depends_on_refs",
            f"{text}: {trace(cycle)}",
            hint="Nothing on a circle can ever be paid; take one of its refs out.",
        )
    ]


# --- one item ---------------------------------------------------------------------------------------------------


def _check_item(
    received: object, *, where: str, intake: Intake
) -> tuple[NewDisbursement | None, list[Rejected]]:
    errors: list[Rejected] = []
    if not isinstance(received, dict):
        place = where.rstrip(".: ") or "item"
        return None, [problem(place, f"must be a JSON object, got {shown(received)}")]
    fields = Fields(received, where=where, errors=errors)
    fields.only(ITEM_FIELDS)
    destination = fields.text("destination", limit=MAX_ADDRESS_BYTES, required=True)
    amount = fields.integer("amount", 1, MAX_AMOUNT, unit="base units", strings=True)
    memo = fields.text("memo", limit=MAX_MEMO_BYTES)
    scheduled = fields.integer("scheduled_epoch", 1, MAX_EPOCH, unit="epochs")
    receipts = _receipts(fields, amount)
    proposal = _proposal(fields, intake.rules)
    ref = _refs(fields, "ref", fields.optional("ref", [received.get("ref")]))
    depends_on, depends_on_refs = _dependencies(fields, proposal, memo, ref[0] if ref else None)
    named = _named_account(fields, intake)
    if not errors:
        _check_destination(fields, destination, intake)
    if errors:
        return None, errors
    digest = item_digest(received)
    account = named or _chosen_account(digest, destination, intake)
    _check_payee(fields, destination, account, intake)
    if errors:
        return None, errors
    return NewDisbursement(
        account=account,
        destination=Address(destination),
        amount=BaseUnits(amount),
        memo=memo,
        scheduled_epoch=Epoch(scheduled),
        depends_on=depends_on,
        depends_on_refs=depends_on_refs,
        expected_receipts=receipts,
        proposal=proposal,
        ref=ref[0] if ref else None,
        idempotency_key="",
        request_digest=digest,
    ), errors


def _receipts(fields: Fields, amount: int) -> tuple[ExpectedReceipt, ...]:
    listed = fields.array("expected_receipts", MAX_RECEIPTS)
    found: list[ExpectedReceipt] = []
    before = len(fields.errors)
    for row in fields.objects("expected_receipts", listed):
        row.only({"account", "amount"})
        account = row.text("account", limit=MAX_ADDRESS_BYTES, required=True)
        share = row.integer("amount", 1, MAX_AMOUNT, unit="base units", strings=True)
        found.append(ExpectedReceipt(account=account, amount=BaseUnits(share)))
    total = sum(receipt.amount for receipt in found)
    if found and len(fields.errors) == before and amount and total != amount:
        fields.wrong(
            "expected_receipts",
            f"expected receipts total {total} does not match disbursement amount {amount}",
        )
    return tuple(found)


def _proposal(fields: Fields, rules: Rules) -> Proposal | None:
    inner = fields.inner("proposal")
    if inner is None:
        if not rules.allow_treasury_initiated and not fields.present("proposal"):
            fields.wrong(
                "proposal",
                "is missing, and policy allows no treasury-initiated payments",
                hint="Send a proposal to be voted on, or allow them: allow_treasury_initiated.",
                kind=Refusal.FORBIDDEN,
            )
        return None
    inner.only(PROPOSAL_FIELDS)
    quorum = inner.inner("quorum")
    if quorum is not None:
        quorum.only({"operators_ppm", "builders_ppm"})
    operators, builders = (
        quorum.integer(name, 0, MAX_PPM, unit="ppm", default=0) if quorum else 0
        for name in ("operators_ppm", "builders_ppm")
    )
    vote, timelock, rollback = (
        inner.integer(f"{name}_epochs", 1, MAX_WINDOW_EPOCHS, unit="epochs", default=default)
        for name, default in (("vote_window", 4), ("timelock", 2), ("rollback_window", 1))
    )
    return Proposal(
        title=inner.text("title", limit=MAX_TITLE_BYTES, required=True),
        summary=inner.text("summary", limit=MAX_SUMMARY_BYTES, required=True),
        deps=_ids(inner, "deps"),
        attachments=_attachments(inner),
        operators_ppm=Ppm(operators),
        builders_ppm=Ppm(builders),
        vote_window_epochs=vote,
        timelock_epochs=timelock,
        rollback_window_epochs=rollback,
    )


def _attachments(fields: Fields) -> tuple[Attachment, ...]:
    listed = fields.array("attachments", MAX_ATTACHMENTS)
    found: list[Attachment] = []
    for row in fields.objects("attachments", listed):
        row.only({"name", "uri"})
        name = row.text("name", limit=MAX_NAME_BYTES, required=True)
        found.append(Attachment(name=name, uri=row.text("uri", limit=MAX_NAME_BYTES, required=True)))
    return tuple(found)


def _ids(fields: Fields, name: str) -> tuple[DisbursementId, ...]:
    """Ids of stored disbursements, sorted and unique; more than 100 different ones are refused, never cut."""
    listed = fields.array(name, None)
    unique = {
        fields.number(f"{name}[{at}]", item, 1, MAX_ID, unit="") for at, item in enumerate(listed[:MAX_ITEMS])
    }
    if len(unique) > MAX_DEPENDENCIES or len(listed) > MAX_ITEMS:
        fields.wrong(name, f"{len(listed)} dependencies, the limit is {MAX_DEPENDENCIES}")
        return ()
    return tuple(DisbursementId(item) for item in sorted(unique))


def _refs(fields: Fields, name: str, listed: Sequence[object]) -> tuple[str, ...]:
    unique: dict[str, None] = {}
    for at, item in enumerate(listed[: MAX_DEPENDENCIES + 1]):
        if isinstance(item, str) and _REF.fullmatch(item):
            unique[item] = None
        else:
            place = name if name == "ref" else f"{name}[{at}]"
            fields.wrong(place, f"must be 1 to 64 characters of A-Z a-z 0-9 . _ : -, got {shown(item)}")
    if len(listed) > MAX_DEPENDENCIES:
        fields.wrong(name, f"{len(listed)} refs, the limit is {MAX_DEPENDENCIES}")
    return tuple(unique)


def _dependencies(
    fields: Fields, proposal: Proposal | None, memo: str, ref: str | None
) -> tuple[tuple[DisbursementId, ...], tuple[str, ...]]:
    """Choose the one source that counts: `proposal.deps`, else `depends_on` with refs, else the memo."""
    explicit = _ids(fields, "depends_on")
    refs = _refs(fields, "depends_on_refs", fields.array("depends_on_refs", None))
    if ref is not None and ref in refs:
        fields.wrong("depends_on_refs", f"the item {shown(ref)} depends on itself: {trace((ref,))}")
        return (), ()
    if len(explicit) + len(refs) > MAX_DEPENDENCIES:
        fields.wrong(
            "depends_on",
            f"{len(explicit)} ids and {len(refs)} refs, the limit is {MAX_DEPENDENCIES} dependencies",
        )
    deps = proposal.deps if proposal is not None else ()
    if deps and (refs or (explicit and explicit != deps)):
        fields.wrong(
            "depends_on",
            f"differs from proposal.deps: {shown([*explicit, *refs])} against {shown(list(deps))}",
            hint="Name the dependencies in one of the two places.",
        )
    if deps:
        return deps, ()
    if explicit or refs:
        return explicit, refs
    found = memo_dependencies(memo)
    wrong = [item for item in found if not 1 <= item <= MAX_ID]
    if wrong:
        fields.wrong("memo", f"names the dependency {wrong[0]}, ids are 1 to {MAX_ID}")
    return found, ()


# --- who pays, who is paid ----------------------------------------------------------------------------------


def _named_account(fields: Fields, intake: Intake) -> AccountId | None:
    if not intake.accounts:
        fields.wrong("account", "no paying account is configured", kind=Refusal.UNAVAILABLE)
    name = fields.text("account", limit=MAX_ADDRESS_BYTES)
    if not fields.present("account"):
        return None
    account = AccountId(name)
    if name and account not in intake.accounts:
        known = ", ".join(sorted(intake.accounts)[:10])
        fields.wrong("account", f"{shown(name)} is no paying account of this treasury; they are: {known}")
    return account


def _chosen_account(digest: Digest, destination: str, intake: Intake) -> AccountId:
    """Choose by hash of the item as received, for good (interfaces.md §1); never the payee itself."""
    able = sorted(account for account in intake.accounts if account != destination) or sorted(intake.accounts)
    return able[int(digest[:16], 16) % len(able)]


def _check_destination(fields: Fields, destination: str, intake: Intake) -> None:
    pattern = intake.rules.destination_pattern
    if pattern and re.fullmatch(pattern, destination) is None:
        start = (
            "" if destination.startswith("tb1") or "tb1" not in pattern else "address must start with 'tb1', "
        )
        fields.wrong(
            "destination",
            f"invalid destination address: {start}got: {shown(destination)}, the pattern is {pattern}",
        )


def _check_payee(fields: Fields, destination: str, account: AccountId, intake: Intake) -> None:
    """Refuse what §5.1 could not tell apart: the payer itself, a sink, and our own accounts without look-up."""
    if destination == account:
        fields.wrong("destination", f"{shown(destination)} is the paying account itself")
    elif destination in {intake.rules.sink_of(other) for other in intake.accounts}:
        fields.wrong("destination", f"{shown(destination)} is the sink of one of our accounts")
    elif destination in intake.accounts and intake.evidence is not Evidence.HASH:
        fields.wrong(
            "destination",
            f"{shown(destination)} is an account of this treasury, and no endpoint can look transactions up",
            hint="Such payments need look-up (protocol.md §5.1): configure endpoints that offer it.",
        )
