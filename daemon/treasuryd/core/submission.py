"""
③ What a reply means for the next step, and when the same bytes go again (protocol.md R3, R4, R6, R8).

No reply decides whether a payment counts as made. All that one can do is make us look, wait, price anew or call a person.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from treasuryd.core import fees
from treasuryd.core.changes import Sent
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    BaseUnits,
    Intent,
    Meaning,
    Reply,
    Rules,
    UnixSeconds,
    Variant,
    VariantKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    What follows from one meaning. Nothing here says "not paid" (protocol.md R4).

    may_have_left: the bytes may be on their way, so the attempt is recorded. may_be_pooled: some pool may hold them,
    so a chain that replaces nothing makes a new price wait (R6). stop_behind: higher nonces of this account would be
    refused or pile up, so the batch ends here for it. reprice, poison, page: as R6, R8 and a person are concerned.
    """

    may_have_left: bool = True
    may_be_pooled: bool = True
    stop_behind: bool = True
    reprice: bool = False
    poison: bool = False
    page: bool = False


# The columns are the picture, so the formatter keeps out.
# fmt: off
STEPS: Final[Mapping[Meaning, Step]] = {
    Meaning.ACCEPTED:           Step(stop_behind=False),
    Meaning.ALREADY_KNOWN:      Step(stop_behind=False),
    Meaning.NONCE_TOO_LOW:      Step(stop_behind=False),  # consumed, by whatever: the chain is asked
    Meaning.NONCE_GAP:          Step(may_be_pooled=False),  # a lower nonce is missing: it goes first (R8)
    Meaning.FEE_TOO_LOW:        Step(may_be_pooled=False, reprice=True),
    Meaning.INSUFFICIENT_FUNDS: Step(may_be_pooled=False),  # waiting, never a cancellation (§2)
    Meaning.PENDING_LIMIT:      Step(may_be_pooled=False),  # waits for a block
    Meaning.POOL_FULL:          Step(may_be_pooled=False),
    Meaning.CONTENT_REFUSED:    Step(may_be_pooled=False, poison=True),
    Meaning.CONFIGURATION:      Step(may_be_pooled=False, page=True),
    Meaning.REPLAYED:           Step(may_be_pooled=False),  # our replay nonce was stale, not our payment
    Meaning.NODE_BROKEN:        Step(page=True),
    Meaning.RATE_LIMITED:       Step(may_be_pooled=False),
    Meaning.UNKNOWN:            Step(),
    Meaning.NOT_SENT:           Step(may_have_left=False, may_be_pooled=False),
}
# fmt: on


def may_be_pooled(meaning: Meaning) -> bool:
    """Whether after this reply some pool may hold the bytes; `Variant.pooled` remembers if it ever was so."""
    return STEPS[meaning].may_be_pooled


def joined(before: Reply | None, after: Reply) -> Reply:
    """
    Join what two endpoints said of one broadcast: what the first may have taken stays so when the next one refuses (R4).

    NOT_SENT is no word on what was said before it.
    """
    if before is None:
        return after
    if after.meaning is Meaning.NOT_SENT:
        return before
    if not may_be_pooled(before.meaning) or may_be_pooled(after.meaning):
        return after
    said = f"{before.endpoint}: {before.detail}"[:200]
    return replace(after, meaning=Meaning.UNKNOWN, detail=f"{said}; {after.endpoint}: {after.meaning}")


def recorded(intents: Sequence[Intent], replies: Sequence[Reply]) -> tuple[list[Sent], list[Event]]:
    """
    Say what is recorded of one broadcast, and what a person should know of it now.

    Returns: one Sent for each intent whose bytes may have left; pages, among them every reply that names another
        hash than ours (R3). Guarantees: a refusal is recorded like an acceptance.
    """
    sent: list[Sent] = []
    events: list[Event] = []
    for intent, reply in zip(intents, replies, strict=True):
        variant, step = intent.current(), STEPS[reply.meaning]
        if step.may_have_left:
            sent.append(
                Sent(
                    account=intent.account,
                    intent_id=intent.id,
                    variant=variant.number,
                    meaning=reply.meaning,
                    detail=reply.detail,
                )
            )
        events += _alarms(intent, variant, reply, step)
    return sent, events


def _alarms(intent: Intent, variant: Variant, reply: Reply, step: Step) -> Iterator[Event]:
    ids = () if intent.disbursement_id is None else (intent.disbursement_id,)
    if reply.tx_hash is not None and reply.tx_hash != variant.tx_hash:
        yield Event(
            kind=EventKind.HASH_MISMATCH,
            severity=Severity.PAGE,
            account=intent.account,
            ids=ids,
            detail=f"nonce {intent.nonce}: we sent {variant.tx_hash}, {reply.endpoint} names {reply.tx_hash}",
        )
    if step.page:
        yield Event(
            kind=EventKind.CALL_FAILED,
            severity=Severity.PAGE,
            account=intent.account,
            ids=ids,
            reason=reply.meaning.value,
            detail=f"{reply.endpoint}: {reply.detail}",
        )


def due_for_resend(intent: Intent, now: UnixSeconds, rules: Rules) -> bool:
    """
    Whether the same bytes go again: sealed, sent before, and not seen in a block for `resend_seconds`.

    A step back of the wall clock makes it due early, never late for ever: the same bytes do no harm (R3).
    """
    variant = intent.current()
    if variant.tx_hash is None or variant.sent_at is None:
        return False
    return abs(now - variant.sent_at) >= rules.resend_seconds


def due_for_bump(
    intent: Intent, now: UnixSeconds, rules: Rules, *, wanted: BaseUnits | None
) -> BaseUnits | None:
    """
    Say the fee of the next variant on the same nonce, or None while there is none to make (R6).

    Args: `wanted` is what such a transaction costs now (base units), None above the ceiling or without a quote.
    Guarantees: never while a variant is unsealed, never at or below a fee tried before. What was refused for its fee
        and never pooled is priced anew at once; else the wait is `bump_seconds` where the chain replaces what is
        pooled (and then by as much as a replacement needs), `pool_ttl_seconds` where it does not, each once more for
        every variant there is.
    """
    kind = intent.current().kind
    tried = [variant for variant in intent.variants if variant.kind is kind]
    if wanted is None or any(variant.tx_hash is None for variant in intent.variants):
        return None
    if wanted <= max(variant.fee for variant in tried):
        return None
    if tried[-1].last_meaning is Meaning.FEE_TOO_LOW and not any(
        variant.pooled for variant in intent.variants
    ):
        return wanted
    if intent.sent_at is None:
        return None
    wait = rules.bump_seconds if rules.replaces_pooled else rules.pool_ttl_seconds
    if abs(now - intent.sent_at) <= wait * len(tried):
        return None
    if not rules.replaces_pooled:
        return wanted  # the pool has dropped the last one by now
    dearest = max(variant.fee for variant in tried)
    return fees.bumped(dearest, needed=wanted, ceiling=rules.fee_ceiling)


def poisoned(intent: Intent, rules: Rules) -> bool:
    """Whether its content was refused often enough to be replaced on its own nonce (R8); not once that is under way."""
    under_way = any(variant.kind is VariantKind.CANCEL for variant in intent.variants)
    return intent.refusals >= rules.poison_refusals and not under_way and not intent.cancel_requested


def head_is_late(oldest: Iterable[Intent], now: UnixSeconds, rules: Rules) -> list[Event]:
    """Page for each account whose oldest unburned nonce has waited longer than `head_wait_seconds` (R8)."""
    return [
        Event(
            kind=EventKind.HEAD_WAITS,
            severity=Severity.PAGE,
            account=intent.account,
            ids=() if intent.disbursement_id is None else (intent.disbursement_id,),
            seconds=(now - intent.sent_at,),
            detail=f"nonce {intent.nonce} is not in a block; what is behind it waits. `treasuryd explain` says why, "
            "`treasuryd cancel` orders its replacement.",
        )
        for intent in oldest
        if intent.sent_at is not None and now - intent.sent_at > rules.head_wait_seconds
    ]
