"""The effects, in write-ahead order: only stored bytes leave, and only after they are stored (protocol.md §4, R1)."""

from collections.abc import Iterable, Sequence

from treasuryd.core import submission
from treasuryd.core.changes import Change, HoldSet
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    Draft,
    Held,
    Hold,
    Intent,
    Moment,
    NotWritten,
    Refused,
    Signed,
    SignRequest,
)
from treasuryd.errors import Fenced
from treasuryd.ports import Many, World, written


def guard(world: World, held: Held) -> None:
    """
    Stand before every effect (protocol.md §6.3).

    Raises: Fenced when the lease could have passed to somebody else; nothing is done after it.
    """
    if not held.valid(world.clock.boot_seconds()):
        raise Fenced(
            "the lease was not renewed in time; this executor stops acting",
            hint="Nothing is lost: the next holder continues from the stored state. If this repeats, look for a "
            "slow disk or a blocked event loop: `treasuryd status`.",
        )


async def stage(
    world: World, drafts: Many[Draft], held: Held, *, at: Moment
) -> tuple[list[Intent], list[Change]]:
    """
    Vet, then bind: what policy refuses never gets a nonce (R11).

    Returns: the staged intents in nonce order, and the holds of what the signer's policy refused.
    """
    vetted = await world.signer.vet(drafts)
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
    guard(world, held)
    return written(await world.store.stage(written(vetted), held, at=at)), refused


async def sign(world: World, intents: Iterable[Intent], held: Held) -> list[Intent]:
    """
    Have every variant without bytes signed, and seal what was signed (R1, R11).

    Refusals for good are unstaged in one transaction; any other refusal leaves its row staged and pages.
    """
    requests = [request for intent in intents for request in requests_of(intent)]
    if not requests:
        return []
    guard(world, held)
    answers = await world.signer.sign(requests, held)
    refused = [row for row in answers if isinstance(row, Refused)]
    world.observer.saw(*_refusals(refused))
    final = [row for row in refused if row.final]
    if final:
        await world.store.unstage(final, held)
    signed = written(answers)
    return written(await world.store.seal(signed, held)) if signed else []


async def ask_signer(world: World, intents: Sequence[Intent], held: Held) -> None:
    """
    Ask what the signer bound for staged intents whose nonce is consumed (R5): nothing is signed anew under such a nonce.

    Bytes that it bound may have left before a restore: they are sealed, and proved like any other. What it refused for
    good is unstaged. Where it says neither, the row stays staged.
    """
    if not intents:
        return
    bound: list[Signed] = []
    wanted = {intent.id: intent for intent in intents}
    for account in {intent.account for intent in intents}:
        lowest = min(intent.nonce for intent in intents if intent.account == account)
        bindings = await world.signer.bindings(account, first=lowest, limit=len(intents) + 1)
        bound += [
            Signed(
                intent_id=binding.request.intent_id,
                variant=binding.request.variant,
                tx_bytes=binding.tx_bytes,
                tx_hash=binding.tx_hash,
            )
            for binding in bindings
            if binding.request.intent_id in wanted
        ]
    guard(world, held)
    if bound:
        await world.store.seal(bound, held)
    unbound = [intent for intent in intents if intent.id not in {one.intent_id for one in bound}]
    attested = await world.signer.never_bound([intent.id for intent in unbound])
    never = [intent for intent, refused in zip(unbound, attested, strict=True) if refused]
    if never:
        await world.store.unstage(
            [
                Refused(
                    row=row,
                    reason="never_bound",
                    intent_id=intent.id,
                    disbursement_id=intent.disbursement_id,
                    final=True,
                )
                for row, intent in enumerate(never)
            ],
            held,
        )


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


async def send(world: World, intents: Sequence[Intent], held: Held) -> list[Change]:
    """Broadcast sealed bytes; what may have left is a change to record, whatever the reply says (R4)."""
    if not intents:
        return []
    guard(world, held)
    replies = await world.chain.broadcast(intents, until=held.until)
    sent, alarms = submission.recorded(intents, replies)
    world.observer.saw(*alarms)
    return list(sent)


def _refusals(refused: Sequence[Refused]) -> list[Event]:
    """One page for each row that the signer refused itself; the rows behind it are refused with it."""
    return [
        Event(
            kind=EventKind.UNSTAGED if row.final else EventKind.TICK_FAILED,
            severity=Severity.PAGE,
            reason="signer_refused" if row.final else "signer_waits",
            ids=(row.disbursement_id,) if row.disbursement_id else (),
            detail=row.detail or row.reason,
        )
        for row in refused
        if row.first
    ]
