"""The effects, in write-ahead order: only stored bytes leave, and only after they are stored (protocol.md §4, R1)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from treasuryd.core import submission
from treasuryd.core.changes import Change, HoldSet
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    CONSUMED,
    AccountId,
    Binding,
    Draft,
    Endpoint,
    Hold,
    Intent,
    IntentId,
    Meaning,
    Moment,
    Nonce,
    NotWritten,
    Refused,
    Reply,
    Signed,
    SignRequest,
    State,
)
from treasuryd.errors import Transient
from treasuryd.executor import quarantine
from treasuryd.executor.grip import Grip
from treasuryd.ports import Many, written

MAX_IDS = 20  # how many an event names


async def stage(grip: Grip, drafts: Many[Draft], *, at: Moment) -> tuple[list[Intent], list[Change]]:
    """
    Vet, then bind: what policy refuses never gets a nonce (R11).

    Returns: the staged intents in nonce order, and the holds of what the signer's policy refused.
    """
    if not drafts:
        return [], []
    vetted = await grip.world.signer.vet(drafts)
    refused: list[Change] = [
        HoldSet(
            account=drafts[row.row].account,
            disbursement_id=drafts[row.row].disbursement_id,
            hold=Hold.REFUSED,
            detail=row.detail or row.reason,
        )
        for row in vetted
        if isinstance(row, NotWritten)
    ]
    passed = written(vetted)
    if not passed:
        return [], refused
    answers = await grip.world.store.stage(passed, grip.held(), at=at)
    grip.heed(answers, [draft.account for draft in passed])
    staged = written(answers)
    grip.wrote(_facts(EventKind.STAGED, staged))
    return staged, refused


async def sign(grip: Grip, intents: Iterable[Intent]) -> list[Intent]:
    """
    Have every variant without bytes signed, and seal what was signed (R1, R11).

    Refusals for good are unstaged in one transaction; any other refusal leaves its row staged and pages.
    Returns: what was sealed, with the bytes.
    """
    wanted = grip.mine(intents, lambda intent: intent.account)
    requests = [request for intent in wanted for request in requests_of(intent)]
    if not requests:
        grip.mind.signer_waits = ""
        return []
    answers = await grip.world.signer.sign(requests, grip.held())
    refused = [row for row in answers if isinstance(row, Refused)]
    await quarantine.after_signing(grip.world, refused)
    grip.tell(*_refusals(refused, before=grip.mind.signer_waits))
    grip.mind.signer_waits = next((_why(row) for row in refused if row.first and not row.final), "")
    accounts = {intent.id: intent.account for intent in wanted}
    await _unstage(grip, [row for row in refused if row.final], accounts)
    return await _seal(grip, written(answers), accounts)


async def ask_signer(grip: Grip, intents: Sequence[Intent], unsigned: Iterable[Intent]) -> None:
    """
    Ask what the signer bound for staged intents whose nonce is consumed (R5): nothing is signed anew under such a nonce.

    Bytes that it bound may have left before a restore: they are sealed, and proved like any other. What it refused for
    good is unstaged. What it does neither know nor refuse it is asked to refuse, and with it what is staged behind:
    such a nonce can only come back from the end of the sequence. What was to be paid under a consumed nonce is held for a
    person: where the whole machine was rolled back, it may have been paid in what nobody remembers (§8).

    Args: unsigned is everything that waits for the signer.
    """
    if not intents:
        return
    signer, accounts = grip.world.signer, {intent.id: intent.account for intent in intents}
    bound: list[Signed] = []
    for account in sorted(set(accounts.values())):
        own = {intent.id: intent for intent in intents if intent.account == account}
        nonces = [intent.nonce for intent in own.values()]
        first = Nonce(min(nonces))
        # the limit counts intents: a nonce that was filled has several, of which one is asked about here
        limit = quarantine.PAGE + max(nonces) - first
        bindings = await signer.bindings(account, first=first, limit=limit)
        bound += [
            Signed(
                intent_id=binding.request.intent_id,
                variant=binding.request.variant,
                tx_bytes=binding.tx_bytes,
                tx_hash=binding.tx_hash,
            )
            for binding in bindings
            if _is_of(binding, own)
        ]
    if bound:
        await _seal(grip, bound, accounts)
    known = {one.intent_id for one in bound}
    lowest = {intent.account: intent.nonce for intent in reversed(intents) if intent.id not in known}
    behind = [
        intent
        for intent in unsigned
        if intent.state is State.STAGED and intent.nonce >= lowest.get(intent.account, math.inf)
    ]
    unbound = list({intent.id: intent for intent in (*intents, *behind) if intent.id not in known}.values())
    if unbound:
        grip.held()  # what it refuses for good binds whoever leads by then
    attested = await signer.abandon(unbound) if unbound else []
    never = [intent for intent, refused in zip(unbound, attested, strict=True) if refused]
    consumed = {intent.id for intent in intents}
    refused = [
        Refused(
            row=row,
            reason=CONSUMED if intent.id in consumed else "never_bound",
            intent_id=intent.id,
            disbursement_id=intent.disbursement_id,
            final=True,
        )
        for row, intent in enumerate(never)
    ]
    await _unstage(grip, refused, accounts)


def requests_of(intent: Intent) -> list[SignRequest]:
    """One request for each variant of an intent that has no bytes yet."""
    return [
        SignRequest(
            intent_id=intent.id,
            variant=variant.number,
            kind=variant.kind,
            account=intent.account,
            nonce=intent.nonce,
            disbursement_id=intent.disbursement_id,
            destination=intent.destination,
            amount=intent.amount,
            memo=intent.memo,
            fee=variant.fee,
            payload_digest=intent.payload_digest,
            idempotency_key=intent.idempotency_key,
            term=intent.term,
        )
        for variant in intent.variants
        if variant.tx_hash is None
    ]


async def send(grip: Grip, intents: Sequence[Intent]) -> list[Change]:
    """
    Broadcast sealed bytes; what may have left is a change to record, whatever the reply says (R4).

    The store is asked once more, once per batch: another process may have frozen an account since it was read (R14).
    """
    if not intents:
        return []
    may_send = await grip.world.store.may_send(grip.held())
    leaving = [one for one in grip.mine(intents, lambda intent: intent.account) if one.account in may_send]
    if not leaving:
        return []
    try:
        replies = await grip.world.chain.broadcast(leaving, until=grip.held().until)
    except Transient as problem:
        # nobody knows how far it came: what may have left, has left
        unknown = Reply(meaning=Meaning.UNKNOWN, endpoint=Endpoint(""), detail=problem.message[:200])
        replies = [unknown] * len(leaving)
        grip.tell(_call_failed("broadcast", problem))
    sent, alarms = submission.recorded(leaving, replies)
    grip.tell(*alarms)
    return list(sent)


async def _seal(grip: Grip, signed: Many[Signed], accounts: dict[IntentId, AccountId]) -> list[Intent]:
    if not signed:
        return []
    answers = await grip.world.store.seal(signed, grip.held())
    grip.heed(answers, [accounts.get(row.intent_id) for row in signed])
    grip.tell(*_other_bytes(answers, signed))
    sealed = list({intent.id: intent for intent in written(answers)}.values())
    grip.wrote(_facts(EventKind.SEALED, sealed))
    return sealed


async def _unstage(grip: Grip, refused: Sequence[Refused], accounts: dict[IntentId, AccountId]) -> None:
    if not refused:
        return
    recorded = await grip.world.store.unstage(refused, grip.held())
    grip.wrote(recorded.events)
    owners = [None if row.intent_id is None else accounts.get(row.intent_id) for row in refused]
    grip.heed(recorded.unwritten, owners)


def _is_of(binding: Binding, own: dict[IntentId, Intent]) -> bool:
    """Whether what the signer bound is what the store staged: ids alone could be of another history (§8)."""
    request, intent = binding.request, own.get(binding.request.intent_id)
    return intent is not None and (
        request.nonce, request.disbursement_id, request.destination, request.amount, request.payload_digest,
    ) == (intent.nonce, intent.disbursement_id, intent.destination, intent.amount, intent.payload_digest)  # fmt: skip


# --- what is told -----------------------------------------------------------------------------------------------


def _facts(kind: EventKind, intents: Sequence[Intent]) -> list[Event]:
    """One event per account."""
    counted = Counter(intent.account for intent in intents)
    return [
        Event(
            kind=kind,
            account=account,
            count=count,
            ids=tuple(
                intent.disbursement_id
                for intent in intents
                if intent.account == account and intent.disbursement_id is not None
            )[:MAX_IDS],
            step_seconds=tuple(
                intent.staged_at - intent.payable_at
                for intent in intents
                if intent.account == account and intent.payable_at is not None
            ),
        )
        for account, count in counted.items()
    ]


def _why(row: Refused) -> str:
    return row.detail or row.reason


def _refusals(refused: Sequence[Refused], *, before: str) -> list[Event]:
    """
    One page for each row that the signer refused itself; the rows behind it are refused with it.

    What it waits for pages once, not at every tick: `before` is what it waited for at the last one.
    """
    return [
        Event(
            kind=EventKind.UNSTAGED if row.final else EventKind.TICK_FAILED,
            severity=Severity.PAGE,
            reason="signer_refused" if row.final else "signer_waits",
            ids=(row.disbursement_id,) if row.disbursement_id else (),
            detail=_why(row),
        )
        for row in refused
        if row.first and (row.final or _why(row) != before)
    ]


def _other_bytes(answers: Sequence[object], signed: Many[Signed]) -> list[Event]:
    """The signer gave other bytes for what is sealed: it must never happen, and nothing was stored (R11)."""
    return [
        Event(
            kind=EventKind.HASH_MISMATCH,
            severity=Severity.PAGE,
            reason="signer",
            detail=f"intent {signed[row.row].intent_id}: the signer answered other bytes than those sealed",
        )
        for row in answers
        if isinstance(row, NotWritten) and row.reason == "other_bytes"
    ]


def _call_failed(reason: str, problem: Transient) -> Event:
    return Event(
        kind=EventKind.CALL_FAILED, severity=Severity.WARNING, reason=reason, detail=problem.message[:200]
    )
