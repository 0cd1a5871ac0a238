"""When a lease is claimed: hold the store against the signer before anything is signed (protocol.md R11, R12, §8)."""

from collections.abc import Callable, Sequence

from treasuryd.core import epochs
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, Held
from treasuryd.core.restore import Reason
from treasuryd.errors import Rejected, Transient
from treasuryd.executor import quarantine
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
    world: World,
    accounts: Sequence[AccountId],
    held: Held,
    *,
    found: Sequence[Reason] = (),
    stop: Callable[[], None] = quarantine.nobody,
) -> None:
    """
    Quarantine a store that is older than what the signer knows of it, and tell the signer what was sealed.

    The reverse, a signer that knows less than was sealed, is the signer's to refuse (R11); it is told the marks so that
    it can. Args: found is what shows already that the store is an old one; stop is called when it is quarantined.
    """
    await quarantine.watch(world, held, found=found, stop=stop)
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
