"""What people may ask of disbursements: submit, queue, cancel, roll back, release, resolve, reopen (protocol.md §2)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office, Outcome, no_such, outcomes
from treasuryd.core.events import Event, EventKind
from treasuryd.core.intake import Checked, Intake, check
from treasuryd.core.model import (
    AccountState,
    Disbursement,
    DisbursementId,
    Height,
    Hold,
    Intent,
    IntentId,
    NotWritten,
    State,
    Status,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Submission, Submitted

QUEUE_LOOKS: Final = 20  # how often `queue` looks whether the tick has moved a draft
QUEUE_LOOK_SECONDS: Final = 0.05
MAX_BATCH_PARTS: Final = 1_000  # a sealed batch holds at most 100,000 items


class Unsound(Rejected):
    """A request with errors in its items: the first one as the refusal, all of them in `errors`."""

    def __init__(self, checked: Checked) -> None:
        first, more = checked.errors[0], len(checked.errors) - 1
        hint = f"{first.hint} {more} more errors in this request.".strip() if more else first.hint
        super().__init__(first.message, hint=hint, field=first.field, kind=first.kind)
        self.errors = checked.errors


def intake(office: Office) -> Intake:
    """What the gate has to know."""
    return Intake(rules=office.rules, accounts=office.accounts, evidence=office.world.chain.evidence)


def checked(
    office: Office,
    items: Sequence[object],
    *,
    key: str | None,
    whole: bool = True,
    places: Sequence[str] | None = None,
) -> Submission:
    """Take a request through the one gate; raises Unsound with every error."""
    result = check(items, key=key, intake=intake(office), whole=whole, places=places)
    if result.errors:
        raise Unsound(result)
    return Submission(key=result.key, request_digest=result.request_digest, items=result.items)


async def submit(
    office: Office,
    items: Sequence[object],
    *,
    key: str | None,
    places: Sequence[str] | None = None,
    also: tuple[str, ...] = (),
) -> Submitted:
    """
    Store all items of a request, or none.

    Args: key: the caller's idempotency key; None means that the request itself is the key. places: how messages
        name each item, by default `items[3].`. also: further keys under which the same request may stand already.
    Raises: Unsound with every error of every item; Rejected (CONFLICT) for a known key with another request,
        (UNAVAILABLE) while stopping, as every verb of intake here does.
    """
    _open(office)
    request = replace(checked(office, items, key=key, places=places), also=also)
    done = await office.world.desk.submit(request, now=office.world.clock.unix_seconds())
    _told(office, done)
    return done


async def open_batch(office: Office, name: str) -> None:
    """Begin a named batch: its parts stay invisible until it is sealed whole; unsealed it expires."""
    _open(office)
    now = office.world.clock.unix_seconds()
    await office.world.desk.open_batch(name, now=now, expires_seconds=office.batch_expires_seconds)


async def add_part(office: Office, name: str, part: int, items: Sequence[object]) -> int:
    """Add one part of a named batch; its refs may point into other parts. Answers the items stored so far."""
    _open(office)
    request = checked(office, items, key=f"{name}/{part}", whole=False)
    now = office.world.clock.unix_seconds()
    return await office.world.desk.add_part(name, part, request, now=now)


async def seal_batch(office: Office, name: str, *, parts: int) -> Submitted:
    """Make a named batch real: all of its parts at once, or nothing."""
    _open(office)
    done = await office.world.desk.seal_batch(name, parts=parts, now=office.world.clock.unix_seconds())
    _told(office, done)
    return done


def _open(office: Office) -> None:
    """A process that was asked to stop takes nothing in any more (protocol.md §6.7)."""
    if office.engine.vitals().stopping:
        raise Rejected(
            "this process is stopping: intake is closed",
            hint="Nothing was stored. Ask the next process, or repeat the request with the same key once it has started.",
            kind=Refusal.UNAVAILABLE,
        )
    office.compared()


def _told(office: Office, done: Submitted) -> None:
    if done.repeated:
        return
    ids = tuple(item.id for item in done.items[:20])
    office.told(Event(kind=EventKind.SUBMITTED, count=len(done.items), ids=ids))


async def queue(office: Office, item: DisbursementId) -> Disbursement:
    """
    Have a draft moved to voting (without a proposal: to timelocked), as the executor's tick does by itself.

    The lifecycle is written under the account's lease alone (protocol.md R13), so this wakes the tick and looks.
    Answers the item as it stands; one that is already past is answered as it is.
    Raises: Rejected for a rolled-back item; UNAVAILABLE when it is still a draft after about a second.
    """
    for _ in range(QUEUE_LOOKS):
        found = await _existing(office, item)
        if found.status is Status.ROLLED_BACK:
            raise Rejected(
                f"disbursement {item} was rolled back: {found.reason}", field="id", kind=Refusal.CONFLICT
            )
        if found.status is not Status.DRAFT:
            return found
        office.engine.wake()
        await office.world.clock.sleep(QUEUE_LOOK_SECONDS)
    raise Rejected(
        f"disbursement {item} is still a draft: no tick has moved it yet",
        field="id",
        hint="Nothing has to be repeated: the executor moves it by itself once it leads and reads the chain.",
        kind=Refusal.UNAVAILABLE,
    )


async def cancel(office: Office, ids: tuple[DisbursementId, ...], by: Person) -> tuple[Outcome, ...]:
    """Roll back what has no live intent; durably request it where there is one (protocol.md §2, R7)."""
    office.compared()
    rows = await office.world.desk.cancel(ids, by=office.approval(who=by.who, reason=by.reason))
    return outcomes(office, ids, rows)


async def rollback(office: Office, item: DisbursementId, by: Person) -> Event:
    """Roll back the books of an executed item in its rollback window; moves no money."""
    office.compared()
    event = await office.world.desk.rollback(item, by=office.approval(who=by.who, reason=by.reason))
    office.told(event)
    return event


async def reopen(office: Office, item: DisbursementId, by: Person) -> Event:
    """Send a finalized item's same bytes again after a reorg deeper than finality."""
    office.compared()
    event = await office.world.desk.reopen(item, by=office.approval(who=by.who, reason=by.reason))
    office.told(event)
    return event


async def release(office: Office, ids: tuple[DisbursementId, ...], by: Person) -> tuple[Outcome, ...]:
    """
    End stored holds: the signer is told first that earlier intents are void, then the store (protocol.md R11).

    An item whose intents the signer does not confirm stays held and says so. Repeating is harmless. In quarantine the
    store refuses it, and the signer hears nothing.
    """
    office.compared()
    approval = office.approval(who=by.who, reason=by.reason)
    void = {item.id: await _signed_void(office, item) for item in await _held(office, ids)}
    refused = await _confirm(office, void, by)
    going = tuple(item for item in ids if item not in refused)
    rows = await office.world.desk.release(going, by=approval) if going else ()
    return _merged(ids, outcomes(office, going, rows), refused)


async def resolve(
    office: Office, ids: tuple[DisbursementId, ...], *, paid: bool, by: Person
) -> tuple[Outcome, ...]:
    """
    Judge ambiguous items at the finality depth: paid, or void (protocol.md R5 d).

    For void the signer is told first, of what the store would judge and of nothing else: a signer that took an
    intent for void which may still be paid would refuse its further variants. Repeating is harmless: until the store
    has taken the judgement, the live intent there keeps anything new from being staged.
    """
    office.compared()
    approval = office.approval(who=by.who, reason=by.reason)
    # depth is counted on what was settled: on the lowest head of the endpoints (R9)
    settled = (await office.world.desk.chain_state()).settled_height
    believed = Height(settled + office.rules.finality_depth)
    asked = await office.world.desk.judgeable(ids, believed=believed)
    refused = {item: row for item, row in zip(ids, asked, strict=True) if isinstance(row, NotWritten)}
    if not paid:
        void = {item: [row] for item, row in zip(ids, asked, strict=True) if not isinstance(row, NotWritten)}
        refused |= await _confirm(office, void, by)
    going = tuple(item for item in ids if item not in refused)
    rows = await office.world.desk.resolve(going, paid=paid, by=approval, believed=believed) if going else ()
    return _merged(ids, outcomes(office, going, rows), refused)


async def _existing(office: Office, item: DisbursementId) -> Disbursement:
    (found,) = await office.world.desk.get([item])
    if found is None:
        raise no_such(item)
    return found


async def _held(office: Office, ids: Sequence[DisbursementId]) -> list[Disbursement]:
    """Those whose hold says that an earlier payment may have been signed, and that may be released at all."""
    found = await office.world.desk.get(ids)
    signed = {Hold.NEEDS_RELEASE, Hold.POISONED, Hold.RESTORED}
    held = [item for item in found if item is not None and item.hold in signed]
    accounts = await office.world.desk.accounts() if held else ()
    closed = {account.id for account in accounts if account.state is AccountState.QUARANTINED}
    return [item for item in held if item.account not in closed]


async def _signed_void(office: Office, item: Disbursement) -> list[IntentId]:
    """The void intents of an item that were signed: for these alone the signer needs a person's word."""
    return [intent.id for intent in await office.world.desk.intents(item.id) if _was_signed_and_void(intent)]


def _was_signed_and_void(intent: Intent) -> bool:
    return intent.state is State.VOID and any(variant.tx_hash is not None for variant in intent.variants)


async def _confirm(
    office: Office, intents: dict[DisbursementId, list[IntentId]], by: Person
) -> dict[DisbursementId, NotWritten]:
    """Tell the signer that these intents are void; answers the items of those that it does not confirm."""
    pairs = [(item, intent) for item, bound in intents.items() for intent in bound]
    if not pairs:
        return {}
    approval = office.approval(who=by.who, reason=by.reason)
    rows = await office.world.signer.confirm_void([intent for _, intent in pairs], by=approval)
    return {item: row for (item, _), row in zip(pairs, rows, strict=True) if isinstance(row, NotWritten)}


def _merged(
    ids: tuple[DisbursementId, ...],
    done: tuple[Outcome, ...],
    refused: dict[DisbursementId, NotWritten],
) -> tuple[Outcome, ...]:
    """One outcome per id, in the order asked."""
    by_id = {outcome.id: outcome for outcome in done} | {
        item: Outcome(id=item, done=False, what=row.reason, detail=row.detail)
        for item, row in refused.items()
    }
    return tuple(by_id[item] for item in ids)
