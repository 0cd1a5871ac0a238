"""What an operator may order about accounts and breakers: freeze, thaw, announce, force, release (protocol.md R14, §7)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core import reorgs
from treasuryd.core.events import Event
from treasuryd.core.model import (
    Account,
    AccountId,
    Address,
    BaseUnits,
    BreakerMode,
    BreakerOverride,
    BreakerReport,
    CallClass,
    Endpoint,
    FreezeCause,
    Height,
    Nonce,
)
from treasuryd.core.reading import shown
from treasuryd.errors import Refusal, Rejected, Transient

ALL_ENDPOINTS: Final = Endpoint("*")
MODES: Final = {
    "open": BreakerMode.FORCED_OPEN,
    "closed": BreakerMode.FORCED_CLOSED,
    "auto": BreakerMode.AUTO,
    "metrics_only": BreakerMode.METRICS_ONLY,
}


def cause_of(word: str) -> FreezeCause | None:
    """
    Read the cause that a person means; none where nothing was said.

    Raises: Rejected for a word that is none of them.
    """
    try:
        return FreezeCause(word) if word else None
    except ValueError as error:
        raise Rejected(
            f"cause must be one of {', '.join(FreezeCause)}, this is {shown(word)}", field="cause"
        ) from error


async def freeze(office: Office, account: AccountId, by: Person) -> Event:
    """
    Stop staging, signing and sending for an account; stored, survives restarts.

    Guarantees: once it returns, this process begins no staging, no signing and no broadcast of the account; a broadcast
    under way ends. Another process that holds the lease hears of it before it sends its next batch.
    """
    await one_account(office, account)
    event = await office.world.desk.freeze(account, by=office.approval(who=by.who, reason=by.reason))
    office.engine.halt(account)
    office.told(event)
    return event


async def thaw(office: Office, account: AccountId, by: Person, *, only: FreezeCause | None = None) -> Event:
    """
    Let a frozen account act again; where `only` is named, from that cause alone.

    Raises: Rejected (from the store) while a foreign nonce is neither burned nor gone from the chain, "in n blocks";
        UNAVAILABLE where the chain cannot be asked whether what counts as burned is still there.
    """
    office.compared()
    found = await one_account(office, account)
    chain = await office.world.desk.chain_state()
    found = await _standing(office, found, chain.settled_height)
    burned = burned_count(found, settled=chain.settled_height)
    approval = office.approval(who=by.who, reason=by.reason)
    event = await office.world.desk.thaw(account, by=approval, burned=burned, only=only)
    office.told(event)
    return event


async def _standing(office: Office, account: Account, settled: Height) -> Account:
    """
    Keep those frames at finality depth that are on the chain at this moment.

    A reorg that no tick has seen yet may have taken one: the nonces that it showed would be passed over for ever.
    """
    frames = [frame for frame in reorgs.frames_of(account) if frame.height <= settled]
    heights = [frame.height for frame in frames if frame.height > 0]
    try:
        headers = (
            dict(zip(heights, await office.world.chain.headers(heights), strict=True)) if heights else {}
        )
    except Transient as problem:
        raise Rejected(
            f"the account {account.id}: the chain cannot be asked what is burned ({problem})",
            hint="Try again when /health shows the chain.",
            field="account",
            kind=Refusal.UNAVAILABLE,
        ) from problem
    kept = tuple(frame for frame in frames if reorgs.stands(frame.height, frame.block_hash, headers))
    return replace(account, kept=kept, baseline=None)


async def fill(office: Office, account: AccountId, nonces: Sequence[Nonce], by: Person) -> Event:
    """
    Have nonces filled that pay nobody any more, after a reorg deeper than finality (protocol.md R9): the signer is told
    first, then the store; repeating either is harmless (R11).

    Raises: Rejected for a nonce that the chain has consumed or a live payment holds, UNAVAILABLE without a price.
    """
    office.compared()
    await one_account(office, account)
    await office.world.desk.fillable(account, nonces)
    fee = await cancel_fee(office, account)
    approval = office.approval(who=by.who, reason=by.reason)
    await office.world.signer.confirm_fill(account, nonces, by=approval)
    event = await office.world.desk.fill(account, nonces, fee=fee, by=approval)
    office.told(event)
    return event


async def cancel_fee(office: Office, account: AccountId) -> BaseUnits:
    """What a cancellation of an account costs now; Rejected where the chain does not say, or above the ceiling."""
    try:
        quote = await office.world.chain.quote()
    except Transient as problem:
        raise Rejected(
            f"the account {account}: the chain cannot be asked what a transaction costs ({problem})",
            hint="Try again when /health shows the chain.",
            field="account",
            kind=Refusal.UNAVAILABLE,
        ) from problem
    fee = office.price(quote, account, office.rules.sink_of(account), "")
    if fee is None:
        raise Rejected(
            f"the account {account}: a transaction costs more than the ceiling of {office.rules.fee_ceiling} now",
            hint="Try again when the fee has fallen, or raise chain.fee_ceiling (reload), and signer.max_fee "
            "where it is set (restart).",
            field="account",
            kind=Refusal.CONFLICT,
        )
    return fee


def burned_count(account: Account, *, settled: Height) -> Nonce:
    """The highest nonce of `account` that a kept frame at or below the finality depth shows as used; 0 without one."""
    frames = (*account.kept, *((account.baseline,) if account.baseline is not None else ()))
    holdings = [frame.holdings.get(Address(account.id)) for frame in frames if frame.height <= settled]
    return max((holding.nonce for holding in holdings if holding is not None), default=Nonce(0))


async def announce(office: Office, account: AccountId, amount: BaseUnits, by: Person) -> Event:
    """Announce an expected deposit, so that it does not cast doubt on a payment (protocol.md §5.1 item 3)."""
    await one_account(office, account)
    approval = office.approval(who=by.who, reason=by.reason)
    event = await office.world.desk.announce(account, amount, by=approval)
    office.told(event)
    return event


async def force_breaker(
    office: Office, endpoint: Endpoint, call_class: CallClass, mode: BreakerMode, by: Person
) -> Sequence[BreakerReport]:
    """
    Force a breaker open or closed, or give it back to the machine; `*` means every endpoint.

    The send breaker of `*` forced open is the kill switch. The order is stored first, then applied.
    Answers with all breakers as they stand afterwards.
    """
    known = sorted({report.endpoint for report in office.world.chain.breakers()})
    if endpoint != ALL_ENDPOINTS and endpoint not in known:
        raise Rejected(
            f"there is no endpoint {endpoint[:80]!r}",
            field="endpoint",
            hint=f"Known endpoints: {', '.join(known)}; * means all.",
            kind=Refusal.NOT_FOUND,
        )
    approval = office.approval(who=by.who, reason=by.reason)
    override = BreakerOverride(
        endpoint=endpoint,
        call_class=call_class,
        mode=mode,
        reason=approval.reason,
        who=approval.who,
        at=approval.at,
    )
    event = await office.world.desk.force_breaker(override)
    await office.world.chain.heed(office.world.desk.overrides)
    office.told(event)
    return office.world.chain.breakers()


async def one_account(office: Office, account: AccountId) -> Account:
    """The account as stored; refuses a name that the store does not know, naming those it does."""
    accounts = await office.world.desk.accounts()
    for found in accounts:
        if found.id == account:
            return found
    known = ", ".join(sorted(found.id for found in accounts)) or "none yet"
    raise Rejected(
        f"there is no account {account[:80]!r}",
        field="account",
        hint=f"Known accounts: {known}.",
        kind=Refusal.NOT_FOUND,
    )
