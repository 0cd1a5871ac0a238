"""When a lease is claimed: hold the store against the signer before anything is signed (protocol.md R11, R12, §8)."""

from collections.abc import Sequence

from treasuryd.core import epochs
from treasuryd.core.changes import Change, QuarantinedNow
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, Held, Moment, Nonce
from treasuryd.errors import Rejected, Transient
from treasuryd.ports import World


async def check_chain(world: World) -> None:
    """
    Refuse to start on another chain (R15); a chain that does not answer is looked at by every tick.

    Raises: Rejected when an endpoint shows another header 0 than the pinned one.
    """
    stored = await world.store.chain_state()
    try:
        heads = await world.chain.heads()
    except Transient:
        return
    wrong = epochs.wrong_genesis(stored, heads)
    if wrong is not None:
        raise Rejected(
            f"header 0 of the chain is {wrong}, this store was pinned to {stored.genesis}",
            hint="Another chain needs another state folder, signer ledger and paying account (protocol.md R15). If an "
            "endpoint is wrong, correct the endpoints.",
            field="chain.endpoints",
        )


async def reconcile(
    world: World, accounts: Sequence[AccountId], held: Held, *, at: Moment, lost: str = ""
) -> None:
    """
    Quarantine every account whose store is older than the signer's memory, and tell the signer what was sealed.

    Staging is durable before the signer is asked, so in one history the store always knows at least as much as the
    signer: less means that the store was restored, cloned or failed over. The reverse, a signer that knows less than
    was sealed, is the signer's to refuse (R11); it is told the marks so that it can.

    Args: lost says what the store is known to have lost by other witnesses; empty: nothing.
    """
    staged = {account.id: account.high_water for account in await world.desk.accounts()}
    marks = await world.signer.marks()
    behind = {
        account: f"the signer bound nonce {marks[account].nonce}, this store knows {staged.get(account, 0)}"
        for account in accounts
        if account in marks and marks[account].nonce > staged.get(account, Nonce(0))
    }
    if lost:
        behind = dict.fromkeys(accounts, lost) | behind
    changes: list[Change] = [
        QuarantinedNow(account=account, detail=f"{detail}: it is older than the world (protocol.md §8)")
        for account, detail in behind.items()
    ]
    if changes:
        recorded = await world.store.record(changes, held, at=at)
        world.observer.saw(*recorded.events)
    forgetful = await world.signer.recall(await world.store.sealed_marks(accounts))
    world.observer.saw(*(_forgetful(account) for account in forgetful))


def _forgetful(account: AccountId) -> Event:
    return Event(
        kind=EventKind.TICK_FAILED,
        severity=Severity.PAGE,
        account=account,
        reason="signer_forgot",
        detail="the signer knows less than this store has sealed: it signs nothing until it has imported (R11)",
    )
