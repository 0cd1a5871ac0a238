"""Rows of the failure matrix (protocol.md §9) that no other history injects alone, each in the shortest history."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import AMOUNT, PAYER, Crash, Fused, History, new

from treasuryd.commands import disbursements
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.model import BaseUnits, DisbursementId, Evidence, State, Status, VariantKind
from treasuryd.devnet.faults import Wrong
from treasuryd.errors import Corrupt
from treasuryd.sqlite.inline import COMMITTED

EDWARD = Person(who="edward", reason="a person decided")


async def dies(history: History, name: str, *, after: bool = False) -> None:
    """Run until a port is called, die before or right after that call, and start anew."""

    def cut(called: str, done: bool) -> None:
        if (called, done) == (name, after):
            raise Crash(called)

    history.fuse.watch = cut
    with pytest.raises(Crash):
        await history.run(6, blocks=0)
    history.fuse.watch = lambda _name, _after: None
    await history.crash()


async def dies_at_a_statement(history: History, wanted: Callable[[str], bool]) -> None:
    """Run until the store is about to run a statement, die there, and start anew."""

    def cut(sql: str) -> None:
        if wanted(sql):
            history.sql.before_statement = None
            raise Crash(sql.strip()[:40])

    history.sql.before_statement = cut
    with pytest.raises(Crash):
        await history.run(6, blocks=0)
    await history.crash()


async def paid_once(history: History, item: DisbursementId) -> None:
    """To the end: one payment, one intent, no gap before it, and books that are the chain's."""
    await history.finalized([item])
    assert history.paid("rent") == 1
    assert [nonce for nonce, _, _ in history.mined()] == [1]
    assert [one.state for one in await history.desk.intents(item)] == [State.FINAL]
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


@pytest.mark.matrix(Row.BEFORE_STAGING)
async def test_a_crash_before_staging_leaves_nothing_behind(begin: Begin, evidence: Evidence) -> None:
    """R1: decided, vetted, and not staged: the next process decides anew."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))

    await dies(history, "store.stage")

    assert await history.desk.intents(item) == []
    await paid_once(history, item)


@pytest.mark.matrix(Row.INSIDE_STAGING)
@pytest.mark.parametrize("table", ["intent", "variant", "disbursement", "account"])
async def test_a_crash_inside_the_staging_transaction_uses_no_nonce(
    begin: Begin, evidence: Evidence, table: str
) -> None:
    """R1: intent, nonce and disbursement are bound together or not at all."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    begun = {"staging": False}

    def wanted(sql: str) -> bool:
        begun["staging"] |= "INSERT INTO intent" in sql
        return begun["staging"] and (f"INTO {table} " in sql or f"UPDATE {table} " in sql)

    await dies_at_a_statement(history, wanted)

    assert await history.desk.intents(item) == []
    await paid_once(history, item)


@pytest.mark.matrix(Row.COMMIT_UNKNOWN)
async def test_a_staging_that_was_committed_and_not_heard_of_is_found_again(
    begin: Begin, evidence: Evidence
) -> None:
    """§7: nobody heard of the commit; the next process reads what is there and goes on from it."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    begun = {"staging": False}

    def wanted(sql: str) -> bool:
        begun["staging"] |= "INSERT INTO intent" in sql
        return begun["staging"] and sql == COMMITTED

    await dies_at_a_statement(history, wanted)

    assert [one.state for one in await history.desk.intents(item)] == [State.STAGED]
    await paid_once(history, item)


@pytest.mark.matrix(Row.STAGED_NOT_SEALED)
@pytest.mark.parametrize("at", ["signer.sign", "store.seal"])
async def test_what_was_staged_and_not_sealed_is_signed_again(
    begin: Begin, evidence: Evidence, at: str
) -> None:
    """R11: the signer answers the same request with the same bytes, whether it had signed already or not."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))

    await dies(history, at)

    assert (await history.intent(item)).state is State.STAGED
    await paid_once(history, item)


@pytest.mark.matrix(Row.SEALED_NOT_SENT)
async def test_sealed_bytes_that_never_left_are_sent(begin: Begin, evidence: Evidence) -> None:
    """R3: the next process sends what is stored, and signs nothing."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))

    await dies(history, "chain.broadcast")

    before = (await history.intent(item)).variants
    assert history.pooled() == []
    await paid_once(history, item)
    assert (await history.intent(item)).variants[0].tx_hash == before[0].tx_hash is not None


@pytest.mark.matrix(Row.ACCEPTED_NOT_RECORDED)
async def test_accepted_and_not_recorded_is_sent_again_and_stays_one_payment(
    begin: Begin, evidence: Evidence
) -> None:
    """R4: the pool has it, the store does not know: "already known" is fine."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))

    await dies(history, "chain.broadcast", after=True)

    assert (history.pooled(), (await history.intent(item)).state) == ([1], State.SIGNED)
    await history.run(2, blocks=0)
    await paid_once(history, item)


@pytest.mark.matrix(Row.INCLUDED_NOT_RECORDED)
async def test_what_was_included_while_nobody_looked_is_adopted(begin: Begin, evidence: Evidence) -> None:
    """R4, §5.1: it left, nobody wrote that down, and it is in a block when the next process starts."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await dies(history, "chain.broadcast", after=True)
    history.mine(2)

    await paid_once(history, item)


class Meanwhile(Fused):
    """A store at which a person cancels just before something is staged."""

    asked = False

    async def stage(self, *args: Any, **kwargs: Any) -> Any:
        await self.cancel()
        self.asked = True
        return await self._port.stage(*args, **kwargs)  # type: ignore[attr-defined]  # the port's own verb

    cancel: Callable[[], Any]


@pytest.mark.matrix(Row.CANCEL_AND_STAGING)
async def test_of_a_cancel_and_a_staging_at_the_same_moment_one_wins(
    begin: Begin, evidence: Evidence
) -> None:
    """R10: decided and vetted, then a person cancels: the staging transaction sees it."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    store = Meanwhile(history.store, history.fuse, "store")
    store.cancel = lambda: history.cancel(item)
    history.ticker.world = replace(history.world, store=cast("Any", store))

    await history.run(2, blocks=0)

    assert store.asked
    assert await history.status(item) is Status.ROLLED_BACK
    assert (history.pooled(), await history.desk.intents(item)) == ([], [])
    await history.run(20)
    assert (history.paid("rent"), await history.desk.intents(item)) == (0, [])


@pytest.mark.matrix(Row.REFUSED_AND_RELEASED)
async def test_refused_corrected_and_released_is_paid(begin: Begin, evidence: Evidence) -> None:
    """R11: the refusal was for one intent and for good; the next intent of the item is a new question."""
    history = await begin(evidence)
    await history.run(2)
    generous = history.policy
    history.policy = replace(generous, max_amount=BaseUnits(AMOUNT - 1))
    await history.crash()
    lenient = cast("Any", Blind(history.signer, history.fuse, "signer"))
    history.ticker.world = replace(history.world, signer=lenient)
    (item,) = await history.submit(new("rent"))
    await history.run(2)
    assert ((await history.item(item)).hold, (await history.intent(item)).state) == ("refused", State.VOID)

    history.policy = generous
    await history.crash()
    await disbursements.release(_office(history), (item,), EDWARD)

    await history.finalized([item])
    assert [nonce for nonce, _, _ in history.mined()] == [1]


class Blind(Fused):
    """A signer whose vetting sees nothing."""

    async def vet(self, drafts: Any) -> Any:
        return drafts


def _office(history: History) -> Office:
    return Office(
        world=history.world, engine=history.mind, rules=history.rules, accounts=history.accounts, chain_id=1
    )


@pytest.mark.matrix(Row.CANCELLATION_CRASH)
@pytest.mark.parametrize("at", ["store.record", "signer.sign", "store.seal", "chain.broadcast"])
async def test_a_crash_in_the_middle_of_a_cancellation_cancels(
    begin: Begin, evidence: Evidence, at: str
) -> None:
    """R7: the request is stored; whatever of the replacement was lost is done again, and the final one decides."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    (item,) = await history.submit(new("rent"))
    await history.run(2)
    assert (await history.intent(item)).state is State.BROADCAST
    await history.cancel(item)
    history.node.faults.clear()

    await dies(history, at)

    async def rolled_back() -> bool:
        return await history.status(item) is Status.ROLLED_BACK

    await history.until(rolled_back)
    assert history.paid("rent") == 0
    assert {one.kind for one in (await history.intent(item)).variants} == {
        VariantKind.PAYMENT,
        VariantKind.CANCEL,
    }


@pytest.mark.matrix(Row.BOTH_SEND)
async def test_what_two_leaders_send_is_one_payment(begin: Begin, evidence: Evidence) -> None:
    """R3: the first leader's request is still on its way when the next one sends: the same bytes, one inclusion."""
    history = await begin(evidence)
    late: list[bytes] = []

    def hold(body: bytes) -> None:
        if b"submit_tx" in body and not late:
            late.append(body)
            raise Crash("its request is on its way")

    history.transport.before = hold
    (item,) = await history.submit(new("rent"))
    with pytest.raises(Crash):
        await history.run(6, blocks=0)
    await history.crash()
    await history.run(2, blocks=0)
    sent = [row.offer.tx_id for row in history.node.ledger.transactions.values()]
    assert (history.pooled(), sent) == ([1], [])

    history.transport.answer(history.urls[0], orjson.loads(late[0]))

    await paid_once(history, item)
    assert (await history.item(item)).tx_hash == (await history.intent(item)).variants[0].tx_hash


@pytest.mark.matrix(Row.BOTH_SEND)
async def test_a_late_request_of_the_last_leader_is_the_next_ones_payment(
    begin: Begin, evidence: Evidence
) -> None:
    """R3: it arrives before the next leader has sent anything; what that one sends is known already."""
    history = await begin(evidence)
    late: list[bytes] = []

    def hold(body: bytes) -> None:
        if b"submit_tx" in body and not late:
            late.append(body)
            raise Crash("its request is on its way")

    history.transport.before = hold
    (item,) = await history.submit(new("rent"))
    with pytest.raises(Crash):
        await history.run(6, blocks=0)
    history.transport.answer(history.urls[0], orjson.loads(late[0]))
    await history.crash()

    await paid_once(history, item)


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """No file of this process grows: the kernel itself refuses the write (`RLIMIT_FSIZE`; Python ignores its signal)."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)


@pytest.mark.matrix(Row.DISK_FULL)
async def test_a_disk_that_takes_no_more_ends_the_process(begin: Begin, evidence: Evidence) -> None:
    """§7: the write of a tick fails for real: nothing is caught, nothing leaves, and the next process pays once."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))

    with no_room(), pytest.raises(Corrupt):
        await history.ticker.once()

    assert history.mind.vitals().store_failing
    assert history.transport.methods.count("submit_tx") == 0
    await history.crash()
    assert await history.desk.intents(item) == []
    await paid_once(history, item)
