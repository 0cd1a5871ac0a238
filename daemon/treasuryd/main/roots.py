"""The roots: `run`, `run_demo`, `run_devnet`. Each starts its own event loop and answers with an exit code."""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc

from treasuryd.commands.office import Office
from treasuryd.core import lease
from treasuryd.core.audit import Judge
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    Disbursement,
)
from treasuryd.devnet.config import DevnetConfig, profile
from treasuryd.devnet.server import Devnet
from treasuryd.devnet.server import serve as serve_devnet
from treasuryd.errors import Exit, Rejected, TreasuryError
from treasuryd.executor.auditor import Auditor
from treasuryd.executor.follower import follow
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.executor.mind import Mind
from treasuryd.executor.reconcile import check_chain
from treasuryd.executor.supervisor import Hurried, Supervisor
from treasuryd.host import descriptors, hangup
from treasuryd.host.clock import SystemClock
from treasuryd.host.notify import ServiceManager
from treasuryd.host.watchdog import Patience, Watchdog
from treasuryd.main.compose import (
    Assembled,
    assembled,
    chain_config,
    check,
    endpoints_of,
    policy_of,
    trade_of,
)
from treasuryd.main.demo import Summary, demonstrate, watch
from treasuryd.main.development import submit_all, with_houses
from treasuryd.main.exits import exit_for, first_of
from treasuryd.main.observing import observing
from treasuryd.main.reading import content_of
from treasuryd.main.tokens import token_of
from treasuryd.observer.chain_observer import ChainObserver
from treasuryd.settings import Settings, what_may_change
from treasuryd.store.auditing import Cursor
from treasuryd.telemetry.observer import Telemetry
from treasuryd.web.app import WebOptions, serve
from treasuryd.web.guard import GuardLimits

HEARTBEAT_SECONDS: Final = 1.0
OWNER_ALONE: Final = 0o077
GC_YOUNG: Final = 50_000  # values made between two looks for cycles: about one batch
Reread = Callable[[], Settings]
"""Reads the settings again, from the same file, environment and flags (SIGHUP)."""


def run(settings: Settings, *, submit: Path | None = None, reread: Reread | None = None) -> int:
    """
    Run the executor until a signal ends it.

    Args: submit is a batch that is submitted once ready (the same batch twice is the same submission); reread gives
        the settings anew for SIGHUP. Returns: the exit code.
    """
    return _ended(lambda: anyio.run(_run, settings, submit, reread))


def run_demo(settings: Settings, *, sample: Path, tell: Callable[[Disbursement], None]) -> Summary | int:
    """Pay a sample to finality, audit the chain and stop. Returns: the summary, or an exit code when it failed."""
    summary: list[Summary] = []
    code = _ended(lambda: anyio.run(_demo, settings, sample, tell, summary))
    return summary[0] if summary else code or Exit.NOT_ALL


def run_devnet(config: DevnetConfig, *, ready: Callable[[Devnet], None]) -> int:
    """Run a development chain alone until a signal ends it."""
    return _ended(lambda: anyio.run(_devnet_alone, config, ready))


# --- the executor ------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Process:
    """One running executor: what the duties share."""

    settings: Settings
    parts: Assembled
    telemetry: Telemetry
    manager: ServiceManager
    mind: Mind
    office: Office
    ticker: Ticker
    keeper: Keeper
    auditor: Auditor[Cursor]
    watchdog: Watchdog
    chain_observer: ChainObserver | None = None
    supervisor: Supervisor | None = None
    port: int = 0
    bound: anyio.Event = field(default_factory=anyio.Event)

    async def begin(self) -> None:
        """
        Look at the chain and ask for the leases, with the watchdogs fed.

        Taking up what the signer bound for a restored store may last longer than a stuck loop is given.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self.heartbeat, name="heartbeat")
            await check_chain(self.parts.world)
            await self.keeper.beat()
            group.cancel_scope.cancel()

    async def web(self) -> None:
        """Serve HTTP; ready once the port is bound."""
        options = web_options(self.settings, self.telemetry, token=lambda: read_token(self.settings))
        await serve(self.office, options, ready=self._ready)

    async def heartbeat(self) -> None:
        """Feed both watchdogs from the loop; the service manager's only while ticks end."""
        clock = self.parts.world.clock
        every = min(HEARTBEAT_SECONDS, (self.manager.watchdog_seconds or HEARTBEAT_SECONDS) / 3)
        while True:
            self.watchdog.feed()
            self.mind.fed_boot = clock.boot_seconds()
            executor = self.settings.executor  # a reload may have changed how long it rests
            limit = max(3 * executor.poll_seconds, executor.loop_silence_seconds)
            ticked = self.mind.ticked_boot
            if ticked is None or clock.boot_seconds() - ticked < limit:
                self.manager.alive()
            await clock.sleep(every)

    async def follower(self) -> None:
        """Wake the ticker at new heads."""
        await follow(self.parts.world, self.mind, retry_seconds=self.settings.executor.poll_seconds)

    def reload(self, reread: Reread | None) -> None:
        """SIGHUP: apply what may change, or refuse the whole file in the log and go on with the old one."""
        self.manager.reloading()
        observer = self.parts.world.observer
        try:
            if reread is None:
                raise Rejected("there is no file to read again", hint="Start with --config.")
            found = reread()
            changes = what_may_change(self.settings, found)
            if changes.refused:
                raise Rejected(
                    f"these need a restart: {', '.join(changes.refused)}", hint="Nothing was changed."
                )
            self._apply(found)
            observer.saw(Event(kind=EventKind.RELOADED, detail=", ".join(changes.allowed)))
        except TreasuryError as problem:
            observer.saw(
                Event(kind=EventKind.RELOAD_REFUSED, severity=Severity.WARNING, detail=problem.message)
            )
        finally:
            self.manager.ready("reloaded")

    def _apply(self, settings: Settings) -> None:
        """Hand every part its new values; nothing here can fail half-way but the first line, which checks them."""
        parts = self.parts
        parts.chain.retune(chain_config(settings, parts.endpoints, parts.public_keys))
        parts.signer.retune(policy_of(settings))
        rules = with_houses(settings.rules(), parts.electorate)
        parts.store.retune(rules)
        parts.desk.retune(rules)
        trade = trade_of(rules, chain_id=settings.chain.chain_id)
        self.ticker.rules, self.ticker.trade = rules, trade
        self.auditor.judge.rules = rules
        self.office.rules, self.office.price = rules, trade.price  # `explain` reads what the planner reads
        self.office.batch_expires_seconds = settings.intake.batch_expires_seconds
        self.mind.poll_seconds = settings.executor.poll_seconds
        if self.supervisor is not None:
            self.supervisor.grace_seconds = settings.executor.grace_seconds
        self.telemetry.set_level(settings.log.level)
        self.settings = settings

    def _ready(self, port: int) -> None:
        self.port = port
        self.mind.started = True
        self.bound.set()
        host = self.settings.http.host
        self.manager.ready(f"serving http://{host}:{port}")
        self.parts.world.observer.saw(
            Event(kind=EventKind.STARTED, fields={"url": f"http://{host}:{port}", "pid": os.getpid()})
        )


async def _run(settings: Settings, submit: Path | None, reread: Reread | None) -> None:
    async def after(process: Process, _devnet: Devnet | None) -> None:
        if submit is None:
            return
        office = process.office
        ids = await submit_all(office, submit)
        await watch(office, process.parts.electorate, ids, tell=lambda _: None)

    await _executor(settings, reread=reread, after=after)


async def _demo(
    settings: Settings, sample: Path, tell: Callable[[Disbursement], None], summary: list[Summary]
) -> None:
    async def after(process: Process, devnet: Devnet | None) -> None:
        if devnet is None:
            raise Rejected(
                "the demonstration needs the embedded development chain", hint="Set devnet.enabled."
            )

        def transactions() -> Sequence[Mapping[str, Any]]:
            rows: Sequence[Mapping[str, Any]] = devnet.apply({"show": "transactions"})["transactions"]
            return rows

        summary.append(
            await demonstrate(
                process.office, process.parts.electorate, sample, transactions=transactions, tell=tell
            )
        )
        raise Finished

    await _executor(settings, reread=None, after=after)


class Finished(Exception):
    """The demonstration is over: stop in order."""


After = Callable[[Process, Devnet | None], Any]


async def _executor(settings: Settings, *, reread: Reread | None, after: After) -> None:
    """Run until stopped; `after` runs once the port is bound, and stops everything by raising `Finished`."""
    check(settings)
    descriptors.reserve(settings.http.max_connections)
    os.umask(OWNER_ALONE)  # whatever is made from here on: database, ledger, journal, keys
    read_token(settings)  # a missing or open file is said before anything is opened or claimed
    telemetry = Telemetry.configured(settings.log_format, settings.log.level)
    async with anyio.create_task_group() as group:
        devnet: Devnet | None = None
        if settings.devnet.enabled and not settings.chain.endpoints:
            devnet = await group.start(_embedded, devnet_config(settings))
        endpoints = endpoints_of(settings, devnet.url if devnet else None)
        async with assembled(settings, observer=telemetry, endpoints=endpoints) as parts:
            process = _process(settings, parts, telemetry)
            _settle_memory()
            process.watchdog.start()
            try:
                await process.begin()
                async with observing(settings, parts, telemetry, devnet) as process.chain_observer:
                    await _supervised(process, devnet, reread, after)
            finally:
                process.watchdog.stop()
        group.cancel_scope.cancel()
    telemetry.saw(Event(kind=EventKind.STOPPED))


async def _supervised(process: Process, devnet: Devnet | None, reread: Reread | None, after: After) -> None:
    async def afterwards() -> None:
        await process.bound.wait()
        if hangup.came():
            process.reload(reread)
        with suppress(Finished):
            await after(process, devnet)
            await anyio.sleep_forever()
        supervisor.stop()

    supervisor = Supervisor(
        world=process.parts.world,
        mind=process.mind,
        ticker=process.ticker,
        keeper=process.keeper,
        grace_seconds=process.settings.executor.grace_seconds,
        duties={
            "web": process.web,
            "heartbeat": process.heartbeat,
            "follower": process.follower,
            "pulse": process.telemetry.pulse,
            "auditor": process.auditor.run,
            "afterwards": afterwards,
            **({} if process.chain_observer is None else {"observer": process.chain_observer.run}),
        },
        told=process.manager.stopping,
        reload=lambda: process.reload(reread),
    )
    process.supervisor = supervisor
    await supervisor.run()


def _process(settings: Settings, parts: Assembled, telemetry: Telemetry) -> Process:
    world, clock = parts.world, parts.world.clock
    mind = Mind(clock=clock, poll_seconds=settings.executor.poll_seconds, fed_boot=clock.boot_seconds())
    accounts = tuple(AccountId(account.name) for account in settings.accounts)
    timing = lease.Timing(**settings.lease.model_dump())
    office = Office(
        world=world,
        engine=mind,
        rules=parts.rules,
        accounts=accounts,
        chain_id=settings.chain.chain_id,
        price=parts.trade.price,
        batch_expires_seconds=settings.intake.batch_expires_seconds,
    )
    manager = ServiceManager(os.environ)
    telemetry.watch(office)
    return Process(
        settings=settings,
        parts=parts,
        telemetry=telemetry,
        manager=manager,
        mind=mind,
        office=office,
        ticker=Ticker(world=world, rules=parts.rules, trade=parts.trade, mind=mind),
        keeper=Keeper(
            world=world,
            mind=mind,
            owner=parts.owner,
            accounts=accounts,
            timing=timing,
            alone=parts.alone,
        ),
        auditor=auditor_of(parts, mind, settings),
        watchdog=Watchdog(
            now=clock.boot_seconds,
            held=lambda: mind.held,
            patience=patience_of(timing, settings),
            say=lambda text: print(text, file=sys.stderr, flush=True),  # noqa: T201 - the loop is stuck
        ),
    )


def patience_of(timing: lease.Timing, settings: Settings) -> Patience:
    """How long the watchdog looks on: to the end of the lease, and as long as a loop may stand still."""
    return Patience(
        lease_grace=timing.ttl_seconds - timing.renew_deadline_seconds,
        silence=settings.executor.loop_silence_seconds,
    )


def auditor_of(parts: Assembled, mind: Mind, settings: Settings) -> Auditor[Cursor]:
    """Let the settlement audit look at the store page by page."""
    return Auditor(
        world=parts.world,
        mind=mind,
        judge=Judge(rules=parts.rules, chain_id=settings.chain.chain_id, read=content_of),
        look=parts.store.audit_page,
        start=Cursor(),
        passes=lambda cursor: cursor.passes,
        interval_seconds=settings.audit.interval_seconds,
        page_items=settings.audit.page_items,
    )


def _settle_memory() -> None:
    """
    Tell the garbage collector what a batch is.

    A tick makes tens of thousands of small frozen values that form no cycles; looking for cycles every 700 of them
    is paid for by every payout, and what was made at the start is never garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 50)


def web_options(settings: Settings, telemetry: Telemetry, *, token: Callable[[], str | None]) -> WebOptions:
    """Make the server's bounds of what is set; the token is asked for at each request that writes."""
    http = settings.http
    return WebOptions(
        host=http.host,
        port=http.port,
        token=token,
        development=settings.development,
        allowed_hosts=http.allowed_hosts,
        exposition=telemetry.exposition,
        refresh=telemetry.refresh,
        limits=GuardLimits(
            max_connections=http.max_connections,
            head_seconds=http.head_seconds,
            write_seconds=http.write_seconds,
        ),
        body_seconds=http.body_seconds,
        max_body_bytes=http.max_body_bytes,
    )


# --- the development chain -----------------------------------------------------------------------------------


def devnet_config(settings: Settings) -> DevnetConfig:
    """Make the embedded chain's value of what is set."""
    section = settings.devnet
    return replace(
        profile(section.profile),
        port=section.port,
        metrics_port=section.metrics_port,
        market=section.profile == "dev",
        state_folder=settings.state_folder / "devnet",
        seed=section.seed,
        genesis=settings.genesis_funds,
        block_interval_seconds=section.block_interval_seconds,
        admin_token=section.admin_token.get_secret_value() or None,
    )


async def _embedded(
    config: DevnetConfig, *, task_status: anyio.abc.TaskStatus[Devnet] = anyio.TASK_STATUS_IGNORED
) -> None:
    clock = SystemClock()
    if config.state_folder is not None:
        config.state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    await serve_devnet(config, now=clock.boot_seconds, sleep=clock.sleep, ready=task_status.started)


async def _devnet_alone(config: DevnetConfig, ready: Callable[[Devnet], None]) -> None:
    async with anyio.create_task_group() as group:
        ready(await group.start(_embedded, config))
        await _a_signal()
        group.cancel_scope.cancel()


async def _a_signal() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as arriving:
        async for _ in arriving:
            return


# --- ends ----------------------------------------------------------------------------------------------------


def read_token(settings: Settings) -> str | None:
    """Read the bearer token that writing needs; None where none is configured."""
    path = settings.http.token_file
    return None if path is None else token_of(path, setting="http.token_file")


def _ended(body: Callable[[], object]) -> int:
    """Run to the end and turn what ended it into an exit code and one sentence for a person."""
    try:
        body()
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        return _told(first_of(group))
    except Exception as problem:  # noqa: BLE001 - the last frame before the shell
        return _told(problem)
    return Exit.DONE


def _told(problem: BaseException) -> int:
    if isinstance(problem, Hurried):
        return 128 + problem.number
    code = exit_for(problem)
    print(f"treasuryd: {problem}", file=sys.stderr)  # noqa: T201 - for the person at the terminal
    if isinstance(problem, TreasuryError) and problem.hint:
        print(f"  {problem.hint}", file=sys.stderr)  # noqa: T201
    elif code is Exit.OUR_BUG:
        traceback.print_exception(problem)
    return code
