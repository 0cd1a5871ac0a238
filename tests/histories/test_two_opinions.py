"""Histories in which one of two endpoints is wrong about an account, or has nothing to say of a payment (R5, R9)."""

from dataclasses import replace
from typing import Any

import orjson
from tests.histories.conftest import Begin
from tests.histories.test_endpoints import two
from tests.world import AMOUNT, PAYER, History, new

from treasuryd.chain.transport import Answer
from treasuryd.core.events import EventKind
from treasuryd.core.model import DisbursementId, Evidence, State
from treasuryd.devnet.faults import Wrong


async def pooled(history: History) -> DisbursementId:
    """A payment in the pool of both."""
    await history.run(3)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert history.pooled() == [1]
    return item


async def test_not_found_at_one_endpoint_voids_nothing_while_another_cannot_say(begin: Begin) -> None:
    """R5 (a): no other endpoint may know it; one that answers the look-up with an error may. Later it says that it does."""
    history, other = await two(begin, Evidence.HASH)
    item = await pooled(history)
    history.node.faults.add(Wrong.UNKNOWN_TX, times=None)  # it has lost its index
    other.faults.add(Wrong.REFUSE, method="tx_status", code=-32603, message="internal", times=None)
    history.node.ledger.deposit(PAYER, AMOUNT)  # in the same interval: our fall is no more than a fee
    await history.run(10)

    assert history.paid("rent") == 1
    assert (await history.intent(item)).state is State.BROADCAST
    assert history.events(EventKind.ACCOUNT_FROZEN)  # R14: at first sight it does

    other.faults.clear()
    history.node.faults.clear()
    await history.finalized([item])


async def test_one_endpoint_alone_voids_nothing_that_still_waits_in_a_pool(begin: Begin) -> None:
    """R9, R5 (a): the header is no word about an account; what a node has in its pool may still be in the next block."""
    history, _ = await two(begin, Evidence.HASH)
    item = await pooled(history)
    first, honest = history.urls[0], history.transport.answer

    def lying(url: str, parsed: Any) -> Answer:
        answer = honest(url, parsed)
        rows = orjson.loads(answer.body)
        if url.rstrip("/") == first and isinstance(parsed, list) and isinstance(rows, list):
            for asked, row in zip(parsed, rows, strict=True):
                if asked["method"] == "account" and asked["params"]["address"] == PAYER:
                    row["result"]["account_seq"] += 1
        return replace(answer, body=orjson.dumps(rows))

    history.transport.answer = lying  # type: ignore[method-assign]
    for _ in range(10):
        history.clock.now += 1.0
        history.node.ledger.mine(now=history.clock.now, empty=True)
        await history.keeper.beat()
        await history.tick()
    assert (await history.intent(item)).state is State.BROADCAST

    history.transport.answer = honest  # type: ignore[method-assign]
    await history.finalized([item])

    assert history.paid("rent") == 1
