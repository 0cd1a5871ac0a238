"""
The settlement audit as a command: everything that is stored, judged at once, with what the books come to.

Unless it is told otherwise it asks the chain too, at one frame, read before the store is: so that every nonce which the
chain counts is one that the store has bound already.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from treasuryd.chain.http import HttpTransport
from treasuryd.chain.theblock import TheBlock
from treasuryd.core.audit import Judge
from treasuryd.core.audit_chain import of_account, of_sighting
from treasuryd.core.findings import Finding, Violation
from treasuryd.core.model import (
    MAX_AMOUNT,
    AccountId,
    Address,
    BlockHash,
    DisbursementId,
    Evidence,
    Frame,
    Head,
    Height,
    IntentId,
)
from treasuryd.errors import Transient
from treasuryd.host.clock import SystemClock
from treasuryd.host.entropy import SystemEntropy
from treasuryd.main.compose import Deaf, chain_config, endpoints_of
from treasuryd.main.reading import content_of
from treasuryd.main.snapshot import database, snapshot
from treasuryd.ports import Chain
from treasuryd.settings import Settings
from treasuryd.sqlite.connect import Connection, open_reader, storage_errors
from treasuryd.store import auditing
from treasuryd.store.auditing import Cursor
from treasuryd.store.rows import chain_state

PAGE_ITEMS: Final = 1_000
LOOK_UPS: Final = 200  # intents looked up at once
DOUBTS: Final = 1_000  # look-ups without an answer that are remembered by name
NOT_CONFIGURED: Final = "no endpoint is configured"


@dataclass(slots=True, kw_only=True)
class Asked:
    """
    What the chain was asked. `accounts`: of each, what came of comparing it. `unsure`: intents whose look-up says nothing
    for sure, or that are in flight, with why.
    """

    not_asked: str = ""
    unreachable: bool = False
    height: Height | None = None
    accounts: dict[AccountId, str] = field(default_factory=dict)
    look_ups: int = 0
    unsure: dict[IntentId, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Report:
    """
    What an audit came to.

    `doubts` are paid items whose votes cannot be recounted with the keys that are configured now. `totals`: account, kind
    of movement, how many, what they come to, and the fees among it.
    """

    items: int = 0
    movements: int = 0
    violations: list[Violation] = field(default_factory=list)
    doubts: list[DisbursementId] = field(default_factory=list)
    totals: list[tuple[AccountId, str, int, int, int]] = field(default_factory=list)
    chain: Asked = field(default_factory=Asked)


Tell = Callable[[str], None]


def audit(settings: Settings, *, offline: bool, limit: int, tell: Tell) -> Report:
    """
    Judge a still picture of the store, and ask the chain; what is right beside a running daemon is right without one.

    Args: limit: how many transactions are looked up, the newest first; 0 means all. tell is told how far it is.
    """
    if settings.chain.endpoints and not offline:
        return anyio.run(_online, settings, limit, tell)
    with snapshot(settings) as connection:
        report = _judged(settings, connection)
    report.chain.not_asked = "--offline" if offline else NOT_CONFIGURED
    return report


async def _online(settings: Settings, limit: int, tell: Tell) -> Report:
    entropy = SystemEntropy()
    async with HttpTransport(entropy) as transport:
        config = chain_config(settings, endpoints_of(settings, None), {})
        chain = TheBlock(config, transport=transport, clock=SystemClock(), entropy=entropy, observer=Deaf())
        await chain.start()
        return await audited(settings, chain, limit=limit, tell=tell)


async def audited(settings: Settings, chain: Chain, *, limit: int, tell: Tell) -> Report:
    """Audit the store, and hold it against the chain, if that answers."""
    frame: Frame | None = None
    heads: Sequence[Head] = ()
    problem = ""
    try:
        heads = await chain.heads()
        frame = await chain.frame(_addresses(settings))
    except Transient as error:
        problem = error.message
    with snapshot(settings) as connection:
        report = _judged(settings, connection)
        other = _another(connection, [head.genesis for head in heads])
        if other is not None:
            report.violations.append(other)
        elif frame is not None:
            try:
                await _ask(connection, chain, frame, report, limit=limit, tell=tell)
            except Transient as error:
                problem = error.message
    if problem:
        report.chain.not_asked, report.chain.unreachable = problem, True
    return report


def _judged(settings: Settings, connection: Connection) -> Report:
    judge = Judge(rules=settings.rules(), chain_id=settings.chain.chain_id, read=content_of)
    violations = _all(connection, judge)
    return Report(
        items=judge.items,
        movements=judge.movements,
        violations=violations,
        doubts=judge.doubts,
        totals=auditing.totals(connection),
    )


def _addresses(settings: Settings) -> list[Address]:
    """The paying accounts of the store, read on their own: the picture is taken after the frame."""
    file = settings.database_file
    if not file.exists():
        return []  # the picture says so
    with storage_errors(file), closing(open_reader(database(file))) as connection:
        try:
            return [Address(row[0]) for row in connection.execute("SELECT id FROM account").fetchall()]
        except sqlite3.OperationalError:
            return []  # no schema of ours: the picture says so


def _another(connection: Connection, genesis: Sequence[BlockHash | None]) -> Violation | None:
    """R15: an endpoint of another chain says nothing about this store."""
    pinned = chain_state(connection).genesis
    other = next((one for one in genesis if None not in (one, pinned) and one != pinned), None)
    if other is None:
        return None
    detail = f"an endpoint follows another chain: its first block is {other}, the pinned one {pinned}"
    return Violation(finding=Finding.CHAIN, detail=detail)


async def _ask(
    connection: Connection, chain: Chain, frame: Frame, report: Report, *, limit: int, tell: Tell
) -> None:
    asked = report.chain
    asked.height = frame.height
    all_books = auditing.books(connection, frame.height)
    heights = sorted({one.height for books in all_books for one in books.kept if one.height <= frame.height})
    headers = dict(zip(heights, await chain.headers(heights), strict=True))
    for books in all_books:
        gone = set()
        for one in books.kept:
            header = headers.get(one.height)
            if header is None or header.block_hash != one.block_hash:
                gone.add(one.height)
        compared = of_account(books, frame, gone)
        asked.accounts[books.account] = compared.said
        report.violations += compared.violations
        if not compared.done:
            asked.unreachable = True
    if chain.evidence is Evidence.HASH:
        # what an open intent's block is at depth by every baseline, the executor has had the time to book
        newest = min((books.kept[-1].height for books in all_books), default=Height(0))
        settled = min(newest, chain_state(connection).settled_height)
        await _look_up(connection, chain, report, Height(settled), limit=limit, tell=tell)


async def _look_up(
    connection: Connection, chain: Chain, report: Report, settled: Height, *, limit: int, tell: Tell
) -> None:
    """Look up what the chain has decided, newest first, a bounded number at once."""
    asked, before = report.chain, IntentId(MAX_AMOUNT)
    while not limit or asked.look_ups < limit:
        count = min(LOOK_UPS, limit - asked.look_ups) if limit else LOOK_UPS
        rows = auditing.decided(connection, before=before, limit=count)
        if not rows:
            return
        seen = {one.intent_id: one for one in await chain.sightings([row.intent for row in rows])}
        for row in rows:
            verdict = of_sighting(row, seen.get(row.intent.id), settled)
            if isinstance(verdict, Violation):
                report.violations.append(verdict)
            elif verdict is not None and len(asked.unsure) < DOUBTS:
                asked.unsure[row.intent.id] = verdict
        asked.look_ups += len(rows)
        before = rows[-1].intent.id
        tell(f"{asked.look_ups} transactions looked up, down to intent {before}")


def _all(connection: Connection, judge: Judge) -> list[Violation]:
    """Every page of disbursements, movements and journal, each file to its end once; then what only the whole shows."""
    found: list[Violation] = []
    cursor = Cursor()
    todo = {"item", "movement", "entry"}
    while todo:
        page, after = auditing.page(connection, cursor, PAGE_ITEMS)
        once = replace(  # a file that came to its end began anew
            page,
            cases=page.cases if "item" in todo else (),
            movements=page.movements if "movement" in todo else (),
            broken=page.broken if "entry" in todo else (),
        )
        found += judge.judge(once)
        todo = {name for name in todo if getattr(after, name)}
        cursor = after
    return list(dict.fromkeys([*found, *auditing.whole(connection)]))
