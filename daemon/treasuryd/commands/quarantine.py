"""What a person does about a store that may be older than the world: look, fill, have the signer import, end it (§8)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from treasuryd.commands.control import cancel_fee, one_account
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core import restore
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, AccountState, Binding, IntentId, Nonce
from treasuryd.core.restore import Standing
from treasuryd.errors import Refusal, Rejected

PAGE: Final = 1_000  # intents read at once
LISTED: Final = 20  # ids and nonces named in one event
MAX_IMPORTED: Final = 1_000_000  # bindings of one import, which is one transaction of the signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An account in quarantine: how it stands, and what has to be done before it acts again."""

    standing: Standing
    points: tuple[str, ...]
    next_nonce: Nonce


async def show(office: Office) -> tuple[Mapping[str, Any], tuple[Shown, ...]]:
    """The report of the last quarantine, and each account that is in one."""
    rows = []
    for account in await office.world.desk.accounts():
        if account.state is AccountState.QUARANTINED:
            standing = await _standing(office, account.id)
            points = tuple(restore.open_points(standing))
            rows.append(Shown(standing=standing, points=points, next_nonce=restore.next_nonce(standing)))
    return await office.world.desk.quarantine_report(), tuple(rows)


async def resolve(office: Office, account: AccountId, by: Person, *, give_up: bool = False) -> Event:
    """
    End an account's quarantine; it acts again, above every nonce that store, signer and chain know.

    Args: give_up: the signer served another store, which is lost for good. What that one signed is decided on the chain
        by then; the signer is told first that it binds no disbursement here, and every item it may have paid is held.
    Raises: Rejected (CONFLICT) with everything that is still open.
    """
    office.compared()
    mark, lost = await _signer(office, account)
    approval = office.approval(who=by.who, reason=by.reason)
    if give_up:
        now = await office.world.desk.in_quarantine(account, signer=mark, signer_lost=lost)
        if now.contradictions and not restore.open_points(now, give_up=True):
            others = [one.intent_id for one in now.contradictions]
            await office.world.signer.confirm_void(others, by=approval)
    event = await office.world.desk.leave_quarantine(
        account,
        by=approval,
        signer=mark,
        signer_lost=lost,
        lineage=office.world.entropy.new_id(),
        give_up=give_up,
    )
    office.told(event)
    return event


async def declare(office: Office, by: Person) -> None:
    """Say that this store was restored, where nothing outside it shows it: accounts are quarantined, items held."""
    approval = office.approval(who=by.who, reason=by.reason)
    office.told(*await office.world.desk.declare_restored(by=approval))


async def fill(office: Office, account: AccountId, by: Person) -> Event:
    """Have the nonces filled whose bytes are lost: the signer is told first, then the store; repeating is harmless."""
    office.compared()
    standing = await _standing(office, account)
    if not standing.taken_up:
        raise Rejected(
            f"the account {account} has not been taken up yet: the signer may know what is to be filled",
            hint="The executor does so within seconds, once it holds the lease; `treasuryd quarantine show`.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    if not standing.to_fill:
        raise Rejected(
            f"the account {account}: every nonce up to {standing.mark} is known, or used on the chain: nothing is to be "
            "filled",
            field="account",
            kind=Refusal.CONFLICT,
        )
    fee = await cancel_fee(office, account)
    approval = office.approval(who=by.who, reason=by.reason)
    await office.world.signer.confirm_fill(account, standing.unknown, by=approval)
    event = await office.world.desk.fill_unknown(account, fee=fee, by=approval)
    office.told(event)
    return event


async def import_bindings(
    office: Office,
    account: AccountId,
    by: Person,
    *,
    give_up: bool = False,
    beyond_policy: Collection[Nonce] = (),
    old_keys: Collection[bytes] = (),
) -> int:
    """
    Have a signer that lost its memory take in all that the store ever sealed; answers how many bindings (R11).

    Args: give_up says that what the store does not hold is lost for good; in quarantine alone, where every open item is
        held and unburned nonces are filled. beyond_policy and old_keys name the exceptions to what the signer believes.
    Raises: Rejected (from the signer, which imports nothing) where bytes are not what they should be, are under another key
        than the account's, beyond its policy, contradict what it knows, or end below what was sealed.
    """
    office.compared()
    found_account = await one_account(office, account)
    if give_up and found_account.state is not AccountState.QUARANTINED:
        raise Rejected(
            f"the account {account} is {found_account.state}: bindings are given up in quarantine alone",
            hint="If this store was restored, say so first: `treasuryd quarantine declare --reason …`.",
            field="give_up",
            kind=Refusal.CONFLICT,
        )
    desk, signer = office.world.desk, office.world.signer
    found: list[Binding] = []
    after = IntentId(0)
    while True:
        page = await desk.sealed(account, after, limit=PAGE)
        if page.last is None:
            break
        found += page.bindings
        after = page.last
        if len(found) > MAX_IMPORTED:
            raise Rejected(
                f"the account {account} has more than {MAX_IMPORTED} bindings",
                hint="This version imports no more at once.",
                field="account",
                kind=Refusal.TOO_LARGE,
            )
    approval = office.approval(who=by.who, reason=by.reason)
    void = await desk.released_void(account)
    fillers = sorted({one.request.nonce for one in found if one.request.disbursement_id is None})
    if fillers:
        await signer.confirm_fill(account, fillers, by=approval)
    if void:
        await signer.confirm_void(void, by=approval)
    await signer.adopt(
        account, found, by=approval, give_up=give_up, beyond_policy=beyond_policy, old_keys=old_keys
    )
    office.told(_imported(account, found, by, beyond_policy, old_keys))
    return len(found)


def _imported(
    account: AccountId,
    found: Sequence[Binding],
    by: Person,
    nonces: Collection[Nonce],
    old_keys: Collection[bytes],
) -> Event:
    """Say what was taken in on whose word, and louder what only that word made believable."""
    named = {one.request.disbursement_id for one in found if one.request.nonce in nonces}
    said = [f"{len(found)} signed transactions by {by.who}: {by.reason}"]
    if nonces:
        said.append(f"beyond policy, nonces {' '.join(map(str, sorted(nonces)[:LISTED]))}")
    if old_keys:
        said.append(f"under old keys {' '.join(key.hex() for key in old_keys)}")
    return Event(
        kind=EventKind.SIGNER_IMPORTED,
        severity=Severity.WARNING if nonces or old_keys else Severity.INFO,
        account=account,
        count=len(found),
        ids=tuple(sorted(one for one in named if one is not None)[:LISTED]),
        detail="; ".join(said),
    )


async def _standing(office: Office, account: AccountId) -> Standing:
    mark, lost = await _signer(office, account)
    return await office.world.desk.in_quarantine(account, signer=mark, signer_lost=lost)


async def _signer(office: Office, account: AccountId) -> tuple[Nonce, bool]:
    """The signer's highest nonce, and whether it knows less than was sealed."""
    await one_account(office, account)
    marks = (await office.world.signer.marks()).get(account)
    lost = await office.world.signer.recall(await office.world.desk.sealed_marks([account]))
    return Nonce(0) if marks is None else marks.nonce, account in lost
