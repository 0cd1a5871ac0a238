"""A store of its own for a test, and short words for what an executor does with it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from treasuryd.core.changes import Adopted, BlockBuried, Change, FinalizeDue, Seen, Sent
from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    BlockHash,
    BootSeconds,
    Digest,
    Disbursement,
    DisbursementId,
    Draft,
    Epoch,
    Evidence,
    Frame,
    Height,
    Held,
    Holding,
    Incarnation,
    Intent,
    Lease,
    Meaning,
    Moment,
    Nonce,
    NotWritten,
    Owner,
    Rules,
    Signed,
    Term,
    TxHash,
    UnixSeconds,
)
from treasuryd.ports import Recorded, written
from treasuryd.sqlite.connect import MEMORY, Connection, Database, Driver
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.sqlite.threaded import ThreadedDriver
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare
from treasuryd.store.rows import disbursements_by_id
from treasuryd.store.sqlite_store import SqliteStore

PAYER = AccountId("treasury")
OTHER = AccountId("reserve")
CHAIN_ID = 7
RULES = Rules(epoch_blocks=10, finality_depth=3, min_rollback_window_epochs=1, allow_treasury_initiated=True)
ME = Owner(holder="one", incarnation=Incarnation("a" * 32), machine="m", folder="f")
RIVAL = Owner(holder="two", incarnation=Incarnation("b" * 32), machine="n", folder="g")
FEE = BaseUnits(100)


def database(path: Path | str = MEMORY, **more: Any) -> Database:
    return Database(path=path, application_id=STORE_APPLICATION_ID, **more)


async def opened(
    kind: type[InlineDriver] | type[ThreadedDriver],
    path: Path | str = MEMORY,
    *,
    committed: Callable[[Connection], None] | None = None,
) -> Driver:
    """A driver over a prepared file."""
    driver = await kind.open(database(path), committed=committed)
    await driver.write(prepare, chain_id=CHAIN_ID, lineage="lineage-1")
    return driver


class Bench:
    """One executor's hands on a store: leases held, a clock and a height that the test moves."""

    def __init__(self, driver: Driver, rules: Rules = RULES, me: Owner = ME) -> None:
        self.driver, self.rules, self.me = driver, rules, me
        self.unix = UnixSeconds(1_000.0)
        self.store = SqliteStore(driver, rules, now=lambda: self.unix)
        self.held = Held(until=BootSeconds(1e9))
        self.settled = Epoch(100)
        self.height = Height(1_050)
        self.balance = BaseUnits(10**12)
        self.nonce = Nonce(0)

    async def claim(self, *accounts: AccountId, above: int = 0) -> list[Lease | NotWritten]:
        """Take leases and remember them."""
        seen = await self.store.leases(accounts)
        answers = list(await self.store.claim(seen, self.me, above=dict.fromkeys(accounts, Term(above))))
        leases = {lease.account: lease for lease in written(answers)}
        self.held = replace(self.held, leases={**self.held.leases, **leases})
        return answers

    async def adopt(self, *accounts: AccountId) -> None:
        """Claim accounts and seed their sequences at nonce 1."""
        await self.claim(*accounts)
        frame = self.frame(*accounts)
        await self.record(
            [Adopted(account=account, next_nonce=Nonce(1), baseline=frame) for account in accounts]
        )

    def frame(self, *accounts: AccountId, height: int | None = None, **more: int) -> Frame:
        """A frame that shows accounts with the bench's balance and nonce, and other addresses with a balance."""
        at = self.height if height is None else Height(height)
        holdings: dict[Address, Holding | None] = {
            Address(account): Holding(balance=self.balance, nonce=self.nonce)
            for account in accounts or (PAYER,)
        }
        holdings |= {
            Address(name): Holding(balance=BaseUnits(balance), nonce=Nonce(0))
            for name, balance in more.items()
        }
        return Frame(height=at, block_hash=block(at), base_fee=BaseUnits(1), holdings=holdings)

    def at(self, frame: Frame | None = None, evidence: Evidence = Evidence.HASH) -> Moment:
        return Moment(
            unix=self.unix,
            boot=BootSeconds(0.0),
            believed=self.height,
            settled=self.settled,
            seen=self.settled,
            evidence=evidence,
            frame=frame,
        )

    async def record(self, changes: Sequence[Change]) -> Recorded:
        return await self.store.record(changes, self.held, at=self.at())

    async def written(self, *changes: Change) -> Recorded:
        """Record changes, all of which have to be written."""
        recorded = await self.record(changes)
        assert recorded.unwritten == ()
        return recorded

    # --- disbursements, as the desk would store them

    async def insert(self, count: int = 1, **columns: Any) -> list[DisbursementId]:
        """Store payable items; `columns` replace what they would be."""
        return await self.driver.write(insert, count, columns)

    async def item(self, id_: DisbursementId) -> Disbursement:
        found = await self.driver.read(disbursements_by_id, [id_])
        return found[id_]

    async def drafts(self, ids: Iterable[DisbursementId], fee: BaseUnits = FEE) -> list[Draft]:
        wanted = list(ids)
        found = await self.driver.read(disbursements_by_id, wanted)
        return [draft_of(found[id_], fee) for id_ in wanted]

    # --- the pipeline

    async def stage(self, ids: Iterable[DisbursementId]) -> list[Intent]:
        """Stage items, all of which have to be bound."""
        answers = await self.store.stage(await self.drafts(ids), self.held, at=self.at())
        assert [row for row in answers if isinstance(row, NotWritten)] == []
        return written(answers)

    async def seal(self, intents: Iterable[Intent]) -> list[Intent]:
        answers = await self.store.seal(signed(intents), self.held)
        assert [row for row in answers if isinstance(row, NotWritten)] == []
        return written(answers)

    async def send(self, intents: Iterable[Intent], meaning: Meaning = Meaning.ACCEPTED) -> Recorded:
        return await self.written(*(sent(intent, meaning) for intent in intents))

    async def include(self, intents: Iterable[Intent], height: int | None = None) -> Recorded:
        at = self.height if height is None else Height(height)
        return await self.written(*(seen(intent, at) for intent in intents))

    async def bury(self, account: AccountId = PAYER, height: int | None = None) -> Recorded:
        at = self.height if height is None else Height(height)
        return await self.written(BlockBuried(account=account, height=at, block_hash=block(at)))

    async def finalize(self, account: AccountId = PAYER, settled: int | None = None) -> Recorded:
        at = self.settled if settled is None else Epoch(settled)
        return await self.written(FinalizeDue(account=account, settled=at))

    async def pay(self, ids: Sequence[DisbursementId]) -> list[Intent]:
        """Take items to the chain: staged, sealed, sent."""
        sealed = await self.seal(await self.stage(ids))
        await self.send(sealed)
        return sealed

    async def sql(self, text: str, *values: Any) -> list[Any]:
        """Look into the file, or write behind the back of everybody."""
        return await self.driver.write(lambda connection: connection.execute(text, values).fetchall())


def insert(connection: Connection, count: int, columns: dict[str, Any]) -> list[DisbursementId]:
    """Rows as a finished intake would leave them, without dependencies."""
    first = (
        connection.execute(
            "UPDATE counter SET next = next + ? WHERE name = 'disbursement' RETURNING next", (count,)
        ).fetchone()[0]
        - count
    )
    ids = [DisbursementId(first + place) for place in range(count)]
    base = {
        "account": PAYER,
        "destination": "tb1payee",
        "amount": 1_000,
        "memo": "rent",
        "scheduled_epoch": 1,
        "request_digest": "r",
        "created_at": 1.0,
        "status": "timelocked",
        "status_at": 1.0,
        **columns,
    }
    names = ", ".join(("id", "idempotency_key", "payload_digest", *base))
    marks = ", ".join("?" * (len(base) + 3))
    connection.executemany(
        f"INSERT INTO disbursement ({names}) VALUES ({marks})",
        [(id_, f"key-{id_}", f"{id_:064x}", *base.values()) for id_ in ids],
    )
    return ids


def depend(connection: Connection, item: int, *needs: int, recount: bool = True) -> None:
    """Let one item wait for others, as intake does."""
    connection.executemany("INSERT INTO dependency VALUES (?, ?)", [(item, need) for need in needs])
    if recount:
        connection.execute("UPDATE disbursement SET unmet = ? WHERE id = ?", (len(needs), item))


def draft_of(item: Disbursement, fee: BaseUnits = FEE) -> Draft:
    return Draft(
        disbursement_id=item.id,
        account=item.account,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        fee=fee,
        payload_digest=item.payload_digest,
        idempotency_key=item.idempotency_key,
    )


def signed(intents: Iterable[Intent]) -> list[Signed]:
    """Bytes for every variant that has none: the same request gives the same bytes."""
    return [
        Signed(
            intent_id=intent.id,
            variant=variant.number,
            tx_bytes=f"{intent.account}/{intent.nonce}/{variant.number}/{variant.kind}".encode() * 12,
            tx_hash=TxHash(f"{intent.id:056x}{variant.number:08x}"),
        )
        for intent in intents
        for variant in intent.variants
        if variant.tx_hash is None
    ]


def sent(intent: Intent, meaning: Meaning = Meaning.ACCEPTED) -> Sent:
    return Sent(account=intent.account, intent_id=intent.id, variant=intent.current().number, meaning=meaning)


def seen(intent: Intent, height: int, variant: int | None = None, fee: int = FEE) -> Seen:
    return Seen(
        account=intent.account,
        intent_id=intent.id,
        variant=intent.current().number if variant is None else variant,
        height=Height(height),
        block_hash=block(height),
        fee_charged=BaseUnits(fee),
        evidence=Evidence.HASH,
    )


def block(height: int) -> BlockHash:
    return BlockHash(f"{height:064x}")


def digest(number: int) -> Digest:
    return Digest(f"{number:064x}")
