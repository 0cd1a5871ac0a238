"""
Holds the store against what outside memories know of it, and repairs what can be repaired (protocol.md §8).

At every claim, every renewal and every signing reply. What is found stops every account of the store; then the signer's
bindings are adopted, and a person decides the rest.
"""

from collections.abc import Callable, Sequence
from typing import Final

from treasuryd.core import restore
from treasuryd.core.model import AccountId, Held, Nonce, Refused
from treasuryd.core.restore import Past, Reason, Sign, Witness
from treasuryd.errors import Fenced
from treasuryd.ports import Many, World

PAGE: Final = 500  # bindings read, and adopted in one transaction
PEOPLE: Final = "people"
STORE: Final = "store"
PROVES_ANOTHER: Final = frozenset({"nonce_taken", "second_payload"})


async def compare(world: World) -> list[Reason]:
    """
    Say what shows that this store is older than the signer's memory, or another one.

    The signer is asked first: what it knew by then was durable in the store before (in one history).
    """
    told, marks = await world.signer.told(), await world.signer.marks()
    return restore.reasons(await world.store.past(told), marks, told)


def nobody() -> None:
    """Nothing is under way that would have to stop."""


async def watch(
    world: World, held: Held, *, found: Sequence[Reason] = (), stop: Callable[[], None] = nobody
) -> None:
    """
    Compare; quarantine what was found; take up accounts that we hold; tell the signer the newest heads.

    Args: found is what somebody else has found already; stop is called as soon as the quarantine is stored: a tick under
    way decided before it. Guarantees: repeating it is harmless, wherever it was cut off.
    """
    reasons = [*found, *await compare(world)]
    if reasons:
        await world.store.quarantine(reasons)
        stop()
    told = await world.signer.told()
    past = await world.store.past(told)
    waiting = [account for account in past.found if account in held.leases]
    if waiting:
        lost = await world.signer.recall(await world.store.sealed_marks(waiting))
        for account in waiting:
            if account not in lost:  # a person has it import first: it could not say what it bound
                await _take_up(world, account, held)
        past = await world.store.past(told)
    news = {
        account: Witness(lineage=past.lineage, heads=_heads(past, account))
        for account in held.leases
        if account not in past.found
    }
    fresh = {account: one for account, one in news.items() if one.heads and told.get(account) != one}
    if fresh:
        await world.signer.tell(fresh)


async def after_signing(world: World, refused: Many[Refused]) -> None:
    """
    Look at every signing reply: another store's payload under our nonce, or marks beyond ours (§8).

    Raises: Fenced when the store is quarantined by it: nothing of this tick may leave.
    """
    reasons = [
        Reason(sign=Sign.SIGNER_REFUSED, detail=row.detail or row.reason)
        for row in refused
        if row.reason in PROVES_ANOTHER
    ]
    reasons += await compare(world)
    if reasons:
        await world.store.quarantine(reasons)
        raise Fenced(
            f"this store is older than the signer's memory, or another one: {reasons[0].detail}",
            hint="All accounts are in quarantine: `treasuryd quarantine show`.",
        )


def _heads(past: Past, account: AccountId) -> dict[str, tuple[int, str]]:
    """Heads of the chains that concern an account."""
    chains = (f"account:{account}", PEOPLE, STORE)
    return {chain: past.heads[chain] for chain in chains if chain in past.heads}


async def _take_up(world: World, account: AccountId, held: Held) -> None:
    """Adopt what the signer bound, and return what it never will (§8.1, §8.4)."""
    store, signer = world.store, world.signer
    mark = (await signer.marks())[account]
    unsigned = await store.unsigned(account)
    if unsigned:
        attested = await signer.abandon(unsigned)
        never = [intent.id for intent, refused in zip(unsigned, attested, strict=True) if refused]
        await store.take_back(never, held)
    nonce = await store.lowest_open(account)
    while True:
        page = await signer.bindings(account, first=nonce, limit=PAGE)
        if not page:
            break
        ids = list(dict.fromkeys(one.request.intent_id for one in page))
        judged = await signer.judged_void(ids)
        void = frozenset(intent for intent, said in zip(ids, judged, strict=True) if said)
        await store.adopt(page, void, held)
        last = page[-1].request.nonce
        # a nonce may have several intents, fillers among them: a full page may have cut them, and repeating is harmless
        nonce = last if len(ids) == PAGE and last > nonce else Nonce(last + 1)
    await store.taken_up(account, mark, held)
