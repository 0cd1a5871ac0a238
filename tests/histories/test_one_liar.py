"""One endpoint of two forges what it says of us: nothing becomes final by it, and people are told (R9)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.histories.conftest import Begin
from tests.histories.test_endpoints import two
from tests.histories.test_two_opinions import pooled
from tests.world import AMOUNT, PAYER, History

from treasuryd.chain.transport import Answer
from treasuryd.core.events import EventKind
from treasuryd.core.model import AccountState, Evidence, State

Forge = Callable[[str, dict[str, Any], dict[str, Any]], None]  # method, parameters, the answer's row


def forging(history: History, place: int, forge: Forge) -> None:
    """From now on this endpoint's answers pass through `forge`."""
    liar, honest = history.urls[place], history.transport.answer

    def answer(url: str, parsed: Any) -> Answer:
        said = honest(url, parsed)
        rows = orjson.loads(said.body)
        if url.rstrip("/") == liar and isinstance(rows, list) == isinstance(parsed, list):
            pairs = zip(parsed, rows, strict=True) if isinstance(parsed, list) else [(parsed, rows)]
            for asked, row in pairs:
                forge(asked["method"], asked["params"], row)
        return replace(said, body=orjson.dumps(rows))

    history.transport.answer = answer  # type: ignore[method-assign]


async def wait(history: History, seconds: int = 140) -> None:
    """Let blocks come in which nothing is mined."""
    for _ in range(seconds):
        history.clock.now += 1.0
        history.node.ledger.mine(now=history.clock.now, empty=True)
        await history.keeper.beat()
        await history.tick()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("proof", [Evidence.HASH, Evidence.BALANCE])
async def test_one_endpoint_alone_makes_nothing_final(begin: Begin, place: int, proof: Evidence) -> None:
    """It kept the payment for itself and forges count, balance and look-up; the other one knows nothing of it."""
    history, other = await two(begin, Evidence.HASH)
    if proof is Evidence.BALANCE:
        for node in (history.node, other):
            node.switches.abilities = replace(node.switches.abilities, tx_status=False)
        await history.crash()
    item = await pooled(history)
    honest, ledger = history.transport.answer, history.node.ledger
    at = ledger.height

    def forge(method: str, params: dict[str, Any], row: dict[str, Any]) -> None:
        if method == "account" and params["address"] == PAYER:
            row["result"]["account_seq"] += 1
            row["result"]["balance"] -= AMOUNT + 1_000
        elif method == "tx_status" and proof is Evidence.HASH:
            block = {"height": at, "block_hash": ledger.block_hash(at), "fee_charged": 1_000}
            row["result"] = {"status": "included", **block}

    forging(history, place, forge)
    await wait(history)

    assert history.paid("rent") == 0
    assert (await history.intent(item)).state is State.BROADCAST
    (page,) = history.events(EventKind.ENDPOINTS_DIFFER)
    assert page.detail.startswith("nodes contradict each other")
    assert PAYER in page.detail

    history.transport.answer = honest  # type: ignore[method-assign]
    await history.finalized([item])
    assert history.paid("rent") == 1
    assert (await history.account()).state is AccountState.ACTIVE


async def test_one_endpoint_alone_hides_no_theft_behind_our_payment(begin: Begin) -> None:
    """A stranger's transaction used the nonce, as both show; one says that it was ours."""
    history, _ = await two(begin, Evidence.HASH)
    item = await pooled(history)
    honest, ledger = history.transport.answer, history.node.ledger
    ledger.lose_pool()
    ledger.foreign_spend(PAYER, to="tb1thief", amount=AMOUNT, fee=1_067)
    history.mine()
    at = ledger.height - 1

    def forge(method: str, _params: dict[str, Any], row: dict[str, Any]) -> None:
        if method == "tx_status":
            block = {"height": at, "block_hash": ledger.block_hash(at), "fee_charged": 1_067}
            row["result"] = {"status": "included", **block}

    forging(history, 0, forge)
    await wait(history)

    assert (await history.intent(item)).state is State.BROADCAST
    (page,) = history.events(EventKind.ENDPOINTS_DIFFER)
    assert f"show intent {(await history.intent(item)).id} in the block" in page.detail

    history.transport.answer = honest  # type: ignore[method-assign]
    await wait(history, 2)
    assert (await history.account()).state is AccountState.FROZEN
    assert history.paid("rent") == 0
