"""What people may ask: lists, one item with all its intents, why it waits, balances, the executor's state, health facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio

from treasuryd.commands.control import ALL_ENDPOINTS
from treasuryd.commands.fields import MAX_ID, whole
from treasuryd.commands.office import Office, no_such
from treasuryd.commands.proposals import tallies
from treasuryd.core.agreement import said
from treasuryd.core.eligibility import Surroundings
from treasuryd.core.explain import Explanation, Known, explain
from treasuryd.core.health import Facts, Health, judge
from treasuryd.core.model import (
    Account,
    AccountId,
    Address,
    BalanceEvent,
    BaseUnits,
    BreakerMode,
    BreakerReport,
    BreakerState,
    CallClass,
    ChainState,
    Disbursement,
    DisbursementId,
    FeeQuote,
    Filter,
    Intent,
    Lease,
    LeaseSeen,
    Moment,
    Page,
    Snapshot,
    State,
    Status,
    StoreFacts,
    Vote,
)
from treasuryd.core.reading import shown
from treasuryd.errors import Rejected, TreasuryError

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_DEPENDENTS: Final = 1_000
QUOTE_SECONDS: Final = 2.0  # what an explanation may wait for the chain's price

# Both spellings of interfaces.md §3, and the original's two group names (theblock-node.md §9, §11).
_STATUS_WORDS: Final[Mapping[str, tuple[Status, ...]]] = {
    **{status.value: (status,) for status in Status},
    **{status.value.replace("_", ""): (status,) for status in Status},
    "scheduled": (Status.DRAFT, Status.VOTING, Status.QUEUED, Status.TIMELOCKED),
    "cancelled": (Status.ROLLED_BACK,),
}
_BOUNDS: Final = tuple(
    f"{end}_{what}" for what in ("epoch", "amount", "created_at", "status_ts") for end in ("min", "max")
)
FILTER_FIELDS: Final = ("status", "cursor", "limit", "destination", "account", *_BOUNDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One disbursement with every intent ever bound to it, oldest first."""

    item: Disbursement
    intents: tuple[Intent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """
    One account's money in base units: on the chain as last read (None: not yet), and booked by us.

    They differ by what has moved since the baseline and is not accounted for yet.
    """

    account: AccountId
    chain: BaseUnits | None
    booked: int
    height: int | None
    last: BalanceEvent | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStatus:
    """The executor's last tick and who owns what (the original's snapshot fields among them)."""

    snapshot: Snapshot
    leases: tuple[LeaseSeen, ...]
    led: Mapping[AccountId, Lease]
    accounts: tuple[Account, ...]
    chain: ChainState
    moment: Moment | None
    facts: StoreFacts
    kill_switch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What health needs of the store, read together."""

    accounts: tuple[Account, ...]
    facts: StoreFacts
    leases: tuple[LeaseSeen, ...]
    chain: ChainState


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The judgement and what it was made from; the stored parts are None when the store did not answer."""

    verdict: Health
    facts: Facts
    leases: tuple[LeaseSeen, ...]
    led: Mapping[AccountId, Lease]
    store: StoreFacts | None
    chain: ChainState | None
    moment: Moment | None


def read_filter(fields: Mapping[str, object], *, clamp: bool = False) -> Filter:
    """
    Read the filters of the list from a query or from JSON-RPC params; absent and null mean no filter.

    Args: clamp: a limit above 200 becomes 200, as in the original, instead of a refusal.
    """
    for name in fields:
        if name not in FILTER_FIELDS:
            raise Rejected(
                f"unknown filter {shown(name)}", field=name[:80], hint=f"Known: {', '.join(FILTER_FIELDS)}."
            )
    numbers = {
        name: whole(fields[name], name, most=MAX_ID, from_text=True)
        for name in (*_BOUNDS, "cursor", "limit")
        if fields.get(name) is not None
    }
    limit = numbers.get("limit", 0) or DEFAULT_LIMIT
    if limit > MAX_LIMIT and not clamp:
        raise Rejected(f"limit is {limit}, it must be from 0 to {MAX_LIMIT}", field="limit")
    cursor = numbers.get("cursor")
    return Filter(
        statuses=_statuses(fields.get("status")),
        destination=_text(fields, "destination"),
        account=None if (account := _text(fields, "account")) is None else AccountId(account),
        cursor=None if cursor is None else DisbursementId(cursor),
        limit=min(limit, MAX_LIMIT),
        **{name: numbers.get(name) for name in _BOUNDS},
    )


def _statuses(value: object) -> tuple[Status, ...]:
    if value is None:
        return ()
    found = _STATUS_WORDS.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise Rejected(
            f"unknown status {shown(value)}",
            field="status",
            hint=f"Known: {', '.join(Status)}, scheduled, cancelled.",
        )
    return found


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise Rejected(f"{name} must be a text, this is {shown(value)}", field=name)
    return value


async def find(office: Office, where: Filter) -> Page:
    """One page of disbursements, newest first."""
    return await office.world.desk.find(where)


def read_waiting(fields: Mapping[str, object]) -> Filter:
    """Read what the list of those waiting takes: `cursor` and `limit`."""
    unknown = next((name for name in fields if name not in {"cursor", "limit"}), None)
    if unknown is not None:
        raise Rejected(f"unknown filter {shown(unknown)}", field=unknown[:80], hint="Known: cursor, limit.")
    return read_filter(fields)


async def waiting(office: Office, where: Filter) -> Page:
    """What waits for a person, newest first; of the filter cursor and limit count."""
    return await office.world.desk.waiting(cursor=where.cursor, limit=where.limit)


async def one(office: Office, item: DisbursementId) -> Disbursement:
    """One disbursement; refuses an id that the store does not hold."""
    (found,) = await office.world.desk.get([item])
    if found is None:
        raise no_such(item)
    return found


async def detail(office: Office, item: DisbursementId) -> Detail:
    """One disbursement with its intents."""
    found = await one(office, item)
    return Detail(item=found, intents=tuple(await office.world.desk.intents(item)))


async def dependents(office: Office, item: DisbursementId) -> Sequence[tuple[DisbursementId, int]]:
    """Who waits for it, directly and through others, nearest first; at most 1,000."""
    await one(office, item)
    return await office.world.desk.dependents(item, limit=MAX_DEPENDENTS)


async def explanation(office: Office, item: DisbursementId) -> tuple[Disbursement, Explanation]:
    """One sentence on why it is not paid yet, by the planner's own predicates."""
    found = await one(office, item)
    return found, explain(found, await _known(office, found))


async def _known(office: Office, item: Disbursement) -> Known:
    desk = office.world.desk
    moment = office.engine.moment()
    chain = await desk.chain_state()
    dependencies = await desk.get(item.depends_on)
    found = [dependency for dependency in dependencies if dependency is not None]
    intents = await desk.intents(item.id)
    accounts = {account.id: account for account in await desk.accounts()}
    vitals = office.engine.vitals()
    votes: Sequence[Vote] = await desk.votes(item.id) if item.status is Status.VOTING else ()
    return Known(
        rules=office.rules,
        settled=chain.settled if moment is None else moment.settled,
        seen=None if moment is None else moment.seen,
        believed=chain.believed if moment is None else moment.believed,
        statuses={dependency.id: dependency.status for dependency in found},
        satisfied=await _satisfied(office, found),
        intent=intents[-1] if intents else None,
        surroundings=await _surroundings(office, item, accounts, moment),
        accounts=accounts,
        tallies=tallies(office, item, votes),
        last_error=vitals.last_error,
        signer_waits=vitals.signer_waits,
    )


async def _satisfied(office: Office, dependencies: Sequence[Disbursement]) -> frozenset[DisbursementId]:
    """Dependencies that count by setting because their intent is final already."""
    if not office.rules.dependency_satisfied_by_final:
        return frozenset()
    executed = [item.id for item in dependencies if item.status is Status.EXECUTED]
    intents = {item: await office.world.desk.intents(item) for item in executed}
    return frozenset(
        item for item, bound in intents.items() if any(intent.state is State.FINAL for intent in bound)
    )


async def _surroundings(
    office: Office, item: Disbursement, accounts: Mapping[AccountId, Account], moment: Moment | None
) -> Surroundings:
    """
    What the world puts in the way of `item` now, as far as people can see it.

    Funds and room are the last frame's: payments decided since then are not deducted, so the sentence may be a tick
    ahead of the planner, and never holds what the planner would pay.
    """
    chain = office.world.chain
    sending = [report.state for report in chain.breakers() if report.call_class is CallClass.SEND]
    frame = None if moment is None else moment.frame
    funds: dict[AccountId, BaseUnits] = {}
    room: dict[AccountId, int] = {}
    for account in accounts.values():
        holding = None if frame is None else frame.holdings.get(Address(account.id))
        if holding is not None:
            funds[account.id] = holding.balance
            ahead = 0 if account.next_nonce is None else account.next_nonce - 1 - holding.nonce
            room[account.id] = office.rules.max_unburned - ahead
    quote = None if frame is None else await _quote(office, item, moment)
    price = None if quote is None else office.price(quote, item.account, item.destination, item.memo)
    return Surroundings(
        account_states={account.id: account.state for account in accounts.values()},
        led=frozenset(office.engine.leads()),
        kill_switch=await kill_switch(office),
        breaker_open=bool(sending) and all(state is BreakerState.OPEN for state in sending),
        reachable=quote is not None,
        room=room,
        funds=funds,
        fee=price if price is not None and price <= office.rules.fee_ceiling else None,
    )


async def _quote(office: Office, item: Disbursement, moment: Moment | None) -> FeeQuote | None:
    """The tick's quote, or, since an idle tick asks for none, the chain's own; None when it does not say."""
    if moment is not None and moment.quote is not None:
        return moment.quote
    if item.status is not Status.TIMELOCKED or item.live_intent is not None:
        return None  # nothing would be priced
    try:
        with anyio.fail_after(QUOTE_SECONDS):
            return await office.world.chain.quote()
    except (TreasuryError, TimeoutError):
        return None


async def kill_switch(office: Office) -> bool:
    """Whether a person has forced every send breaker open."""
    return any(
        override.endpoint == ALL_ENDPOINTS
        and override.call_class is CallClass.SEND
        and override.mode is BreakerMode.FORCED_OPEN
        for override in await office.world.desk.overrides()
    )


async def balances(office: Office) -> tuple[Balance, ...]:
    """The money of every account."""
    moment = office.engine.moment()
    frame = None if moment is None else moment.frame
    found = []
    for account in await office.world.desk.accounts():  # a handful: those of the configuration
        newest = frame if frame is not None else account.baseline
        holding = None if newest is None else newest.holdings.get(Address(account.id))
        events = await office.world.desk.history(account.id, cursor=None, limit=1)
        found.append(
            Balance(
                account=account.id,
                chain=None if holding is None else holding.balance,
                booked=events[0].balance if events else 0,
                height=None if newest is None else newest.height,
                last=events[0] if events else None,
            )
        )
    return tuple(found)


async def history(
    office: Office, account: AccountId | None, *, cursor: int | None, limit: int
) -> tuple[Sequence[BalanceEvent], int | None]:
    """Balance events, newest first, and the cursor of the next page."""
    found = await office.world.desk.history(account, cursor=cursor, limit=limit + 1)
    page = found[:limit]
    return page, page[-1].id if len(found) > limit else None


async def executor_status(office: Office) -> ExecutorStatus:
    """The executor's last tick, leases, accounts and chain."""
    desk = office.world.desk
    return ExecutorStatus(
        snapshot=office.engine.picture() or await desk.snapshot(),
        leases=tuple(await desk.lease_rows()),
        led=office.engine.leads(),
        accounts=tuple(await desk.accounts()),
        chain=await desk.chain_state(),
        moment=office.engine.moment(),
        facts=await desk.facts(),
        kill_switch=await kill_switch(office),
    )


def breakers(office: Office) -> Sequence[BreakerReport]:
    """All breakers as they stand at this moment."""
    return office.world.chain.breakers()


def vital_facts(office: Office) -> Facts:
    """What liveness and readiness are judged from: memory alone, no store."""
    vitals = office.engine.vitals()
    return Facts(
        started=vitals.started,
        stopping=vitals.stopping,
        task_alive=vitals.task_alive,
        poll_seconds=vitals.poll_seconds,
        last_tick_age_seconds=vitals.last_tick_age_seconds,
        last_error=vitals.last_error,
        store_failing=vitals.store_failing,
        signer_waits=vitals.signer_waits,
        compared=vitals.compared,
        loop_fed_age_seconds=vitals.loop_fed_age_seconds,
        reported_height=vitals.reported_height,
        believed_height=vitals.believed_height,
        chain_age_seconds=vitals.chain_age_seconds,
        chain_max_age_seconds=office.rules.head_max_age_seconds,
        endpoints_differ="" if vitals.agreement is None else said(vitals.agreement, office.rules),
        breakers=breakers(office),
        owned=office.accounts,
        led=frozenset(office.engine.leads()),
    )


async def stored(office: Office) -> Stored:
    """What health needs of the store."""
    desk = office.world.desk
    return Stored(
        accounts=tuple(await desk.accounts()),
        facts=await desk.facts(),
        leases=tuple(await desk.lease_rows()),
        chain=await desk.chain_state(),
    )


def health_report(office: Office, found: Stored | str) -> HealthReport:
    """Judge the daemon's health now, from memory and what the store said, or why it said nothing."""
    facts = vital_facts(office)
    if isinstance(found, str):
        facts = replace(facts, store_error=found[:200])
    else:
        facts = replace(
            facts,
            accounts=found.accounts,
            held_for_person=found.facts.held_for_person,
            ambiguous=found.facts.ambiguous,
        )
    return HealthReport(
        verdict=judge(facts),
        facts=facts,
        leases=() if isinstance(found, str) else found.leases,
        led=office.engine.leads(),
        store=None if isinstance(found, str) else found.facts,
        chain=None if isinstance(found, str) else found.chain,
        moment=office.engine.moment(),
    )
