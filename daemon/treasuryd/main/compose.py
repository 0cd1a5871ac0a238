"""Assembles the world of one process from the settings: adapters behind ports, opened and closed in order."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.http import HttpTransport
from treasuryd.chain.theblock import TheBlock
from treasuryd.core import fees, proposals
from treasuryd.core.events import Event
from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    Endpoint,
    FeeQuote,
    Incarnation,
    Owner,
    Rules,
)
from treasuryd.errors import Corrupt
from treasuryd.executor.tick import Trade
from treasuryd.host.clock import SystemClock
from treasuryd.host.entropy import SystemEntropy
from treasuryd.host.lockfile import Standing, folder_id, machine_id
from treasuryd.main.development import Voter, voters, with_houses
from treasuryd.main.places import database_file, private_folder
from treasuryd.ports import Observer, World
from treasuryd.settings import Settings
from treasuryd.signer import keys
from treasuryd.signer.ledger import APPLICATION_ID as LEDGER_ID
from treasuryd.signer.local import LocalSigner
from treasuryd.signer.policy import NO_LIMIT, Policy
from treasuryd.sqlite.connect import Database
from treasuryd.sqlite.threaded import ThreadedDriver
from treasuryd.store.calendar import Calendar
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare
from treasuryd.store.reopening import reopen
from treasuryd.store.sqlite_store import SqliteStore
from treasuryd.wire.theblock.fees import base_fee_reachable
from treasuryd.wire.theblock.transaction import size9

VERIFIED_VOTES: Final = (
    10_000  # signatures remembered as valid, so that a recount costs no second verification
)
MAX_BUSY_SECONDS: Final = 5.0
MIN_BURST: Final = 16
BURST_SECONDS: Final = 0.2  # of the even pace may come at once: 80 and 16 a second stay below the node's 100
MIN_TOP_PRICE: Final = 1_024  # base units per byte: where probing for a price ends
EMBEDDED: Final = "http://127.0.0.1"  # stands for the embedded chain, which has no address before it runs
SMALLEST_PAYMENT_BYTES: Final = 513  # the form that the fee is counted by, without names and memo


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """One process's world and what only composition knows of it."""

    world: World
    store: SqliteStore
    desk: SqliteDesk
    chain: TheBlock
    signer: LocalSigner
    rules: Rules
    trade: Trade
    endpoints: tuple[EndpointConfig, ...]
    public_keys: Mapping[AccountId, bytes]
    owner: Owner
    alone: Standing
    electorate: tuple[Voter, ...]


def ledger_file(settings: Settings) -> Path:
    """Give the signer's own database."""
    return settings.signer_folder / "ledger.db"


def check(settings: Settings) -> None:
    """Refuse, before anything is opened, the settings that a start cannot work with. Raises: Rejected."""
    settings.check_run()
    chain_config(settings, endpoints_of(settings, EMBEDDED), {})


@asynccontextmanager
async def assembled(
    settings: Settings, *, observer: Observer, endpoints: tuple[EndpointConfig, ...]
) -> AsyncIterator[Assembled]:
    """
    Open everything in the order of architecture.md §6: lock, store, signer, chain.

    Raises: Rejected for what the operator has to correct, Corrupt for storage errors.
    Guarantees: what was opened is closed again, in reverse order, whatever happens in between.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    folder = private_folder(settings.state_folder)
    async with AsyncExitStack() as stack:
        alone = Standing(folder)
        stack.callback(alone.close)
        signer_keys, electorate = _keys(settings)
        rules = with_houses(settings.rules(), electorate)
        store, desk = await open_store(
            stack, settings, rules, clock=clock, entropy=entropy, observer=observer
        )
        signer = await _signer(stack, settings, signer_keys)
        chain = TheBlock(
            chain_config(settings, endpoints, signer.public_keys),
            transport=await stack.enter_async_context(HttpTransport(entropy)),
            clock=clock,
            entropy=entropy,
            observer=observer,
        )
        # before the first call: what a person closed stays closed over a restart
        await chain.heed(desk.overrides)
        await chain.start()
        yield Assembled(
            world=World(
                store=store,
                desk=desk,
                chain=chain,
                signer=signer,
                clock=clock,
                entropy=entropy,
                observer=observer,
            ),
            store=store,
            desk=desk,
            chain=chain,
            signer=signer,
            rules=rules,
            trade=trade_of(rules, chain_id=settings.chain.chain_id),
            endpoints=endpoints,
            public_keys=signer.public_keys,
            owner=Owner(
                holder=_holder(settings),
                incarnation=Incarnation(entropy.new_id()),
                machine=machine_id(),
                folder=folder_id(folder, new_id=entropy.new_id),
            ),
            alone=alone,
            electorate=electorate,
        )


def trade_of(rules: Rules, *, chain_id: int) -> Trade:
    """Bind the chain's prices and the voters' keys to the plain functions that a tick asks."""
    verify = proposals.remembering(VERIFIED_VOTES)

    def price(quote: FeeQuote, account: AccountId, destination: Address, memo: str) -> BaseUnits | None:
        size = size9(account, destination, memo.encode())
        return fees.fee_for(quote, size=size, ceiling=rules.fee_ceiling)

    return Trade(
        price=price,
        highest_base_fee=base_fee_reachable,
        approved=lambda item, votes: proposals.approved(item, votes, rules, chain_id=chain_id, verify=verify),
    )


def chain_config(
    settings: Settings, endpoints: tuple[EndpointConfig, ...], payers: Mapping[AccountId, bytes]
) -> ChainConfig:
    """Make the adapter's bounds of what is set."""
    chain = settings.chain
    return ChainConfig(
        endpoints=endpoints,
        chain_id=chain.chain_id,
        payers=payers,
        breaker=settings.breaker_settings(),
        connect_seconds=chain.connect_seconds,
        read_seconds=chain.read_seconds,
        send_seconds=chain.send_seconds,
        slow_seconds=chain.slow_seconds,
        max_requests_per_second=chain.max_requests_per_second,
        burst=max(MIN_BURST, int(chain.max_requests_per_second * BURST_SECONDS)),
        # a price above the ceiling has to be found for the hold to be shown, whatever the payment's size
        max_price_per_byte=max(MIN_TOP_PRICE, chain.fee_ceiling // SMALLEST_PAYMENT_BYTES + 1),
        ban_seconds=chain.ban_seconds,
        max_reply_bytes=chain.max_reply_bytes,
        max_frame_bytes=chain.frame_max_bytes,
        poll_seconds=chain.follow_seconds,
    )


def endpoints_of(settings: Settings, devnet_url: str | None) -> tuple[EndpointConfig, ...]:
    """Name the nodes: the configured ones, or the embedded development chain where there are none."""
    if settings.chain.endpoints:
        return tuple(
            EndpointConfig(name=Endpoint(endpoint.name), url=endpoint.url)
            for endpoint in settings.chain.endpoints
        )
    if devnet_url is None:
        raise Corrupt("no endpoint is configured and no development chain runs", hint="This is our bug.")
    return (EndpointConfig(name=Endpoint("devnet"), url=devnet_url),)


def busy_seconds(settings: Settings) -> float:
    """How long a verb waits for another process's transaction: half a lease at most, so that a renewal can fail in time."""
    return min(MAX_BUSY_SECONDS, settings.lease.ttl_seconds / 2)


# --- the parts ---------------------------------------------------------------------------------------------


class Deaf:
    """Nobody watches what one command does, as the daemon's telemetry would."""

    def saw(self, *events: Event) -> None:
        """Forget them: what matters comes back as an error."""


async def open_store(
    stack: AsyncExitStack,
    settings: Settings,
    rules: Rules,
    *,
    clock: SystemClock,
    entropy: SystemEntropy,
    observer: Observer,
) -> tuple[SqliteStore, SqliteDesk]:
    """Open the store with the journal's copy, repaired and looked at as each start does it (§8); closed by `stack`."""
    copy = JournalCopy(private_folder(settings.journal_path), now=clock.boot_seconds)
    stack.callback(copy.close)
    database = Database(
        path=database_file(settings.database_file),
        application_id=STORE_APPLICATION_ID,
        busy_timeout_seconds=busy_seconds(settings),
    )
    driver = await ThreadedDriver.open(database, committed=copy)
    stack.push_async_callback(driver.close)
    await driver.write(
        prepare, chain_id=settings.chain.chain_id, lineage=entropy.new_id(), now=clock.unix_seconds()
    )
    events = await reopen(
        driver,
        rules,
        folder=settings.journal_path,
        place=f"{settings.database_file.stat().st_ino:x}",  # a copy of the file has another one
        now=clock.unix_seconds(),
    )
    observer.saw(*events)
    calendar = Calendar()
    store = SqliteStore(
        driver,
        rules,
        now=clock.unix_seconds,
        told=lambda events: observer.saw(*events),
        calendar=calendar,
    )
    return store, SqliteDesk(driver, rules, copy=copy, calendar=calendar)


async def _signer(
    stack: AsyncExitStack, settings: Settings, signer_keys: Mapping[AccountId, keys.Key]
) -> LocalSigner:
    ledger = Database(
        path=database_file(ledger_file(settings)),
        application_id=LEDGER_ID,
        busy_timeout_seconds=busy_seconds(settings),
    )
    driver = await ThreadedDriver.open(ledger)
    stack.push_async_callback(driver.close)
    return await LocalSigner.open(driver, signer_keys, policy_of(settings))


def policy_of(settings: Settings) -> Policy:
    """Make the signer's own limits of what is set; where its fee's is not, that is the chain's ceiling, reloaded too."""
    return Policy(
        sinks=settings.sinks,
        max_fee=settings.max_fee,
        max_amount=BaseUnits(settings.signer.max_amount) if settings.signer.max_amount else NO_LIMIT,
        allow_list=frozenset(Address(one) for one in settings.signer.allow_list),
    )


def _keys(settings: Settings) -> tuple[dict[AccountId, keys.Key], tuple[Voter, ...]]:
    """Unlock each account's key; in development generate what is missing, the house keys too."""
    folder = private_folder(settings.signer_folder)
    place, managed = keys.find_secret(settings.signer.credential_file, os.environ, folder=folder)
    if settings.development and not managed and not place.exists():
        keys.make_secret(place)
    secret = keys.read_secret(place, managed=managed)
    found: dict[AccountId, keys.Key] = {}
    for account, path in settings.key_files.items():
        missing = settings.development and not path.exists()
        found[account] = keys.generate(path, secret) if missing else keys.load(path, secret)
    if not settings.development:
        return found, ()
    return found, tuple(voters(settings.state_folder / "houses", secret))


def _holder(settings: Settings) -> str:
    """Name ourselves for people; what decides is the incarnation."""
    accounts = ",".join(account.name for account in settings.accounts)
    return f"{accounts}-{os.getpid()}"
