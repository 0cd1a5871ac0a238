"""One endpoint of two forges what it says of us: nothing becomes final by it, and people are told (R9)."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.histories.conftest import Begin
from tests.histories.test_endpoints import two
from tests.histories.test_two_opinions import pooled
from tests.world import AMOUNT, PAYER, RULES, History, new

from treasuryd.chain.transport import Answer
from treasuryd.core.events import EventKind
from treasuryd.core.model import AccountState, Evidence, State
from treasuryd.devnet.node import Node

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


async def over_two(begin: Begin, proof: Evidence) -> tuple[History, Node]:
    """Two nodes on one chain that show accounts one by one; BALANCE: without look-up."""
    history, other = await two(begin, Evidence.HASH)
    if proof is Evidence.BALANCE:
        for node in (history.node, other):
            node.switches.abilities = replace(node.switches.abilities, tx_status=False)
        await history.crash()
    return history, other


@pytest.mark.parametrize(("place", "lag"), [(0, 0), (0, 1), (0, 2), (1, 0)])
@pytest.mark.parametrize("proof", [Evidence.HASH, Evidence.BALANCE])
async def test_one_endpoint_alone_makes_nothing_final(
    begin: Begin, place: int, lag: int, proof: Evidence
) -> None:
    """It kept the payment for itself and forges count, balance and look-up; the other, perhaps behind, knows nothing."""
    history, other = await over_two(begin, proof)
    item = await pooled(history)
    other.switches.lag = lag
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
    other.switches.lag = 0
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


async def test_one_that_lags_and_has_no_look_up_passes_no_theft_off_as_our_payment(begin: Begin) -> None:
    """The second one shows the payee's balance as if we had paid; without look-up that would be the evidence (§5.1)."""
    history, other = await two(begin, Evidence.HASH)
    other.switches.abilities = replace(other.switches.abilities, tx_status=False)
    other.switches.lag = 1
    await history.crash()
    await history.run(4)
    item = await pooled(history)
    stolen: list[int] = []

    def forge(method: str, params: dict[str, Any], row: dict[str, Any]) -> None:
        if method == "account" and params["address"] == "tb1alice" and stolen:
            row["result"] = {"balance": AMOUNT, "account_seq": 0}

    forging(history, 1, forge)
    history.node.ledger.lose_pool()
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=AMOUNT, fee=1_067)
    history.mine()
    stolen.append(history.node.ledger.height)
    await wait(history, 40)

    assert history.paid("rent") == 0
    assert (await history.intent(item)).state is not State.FINAL


async def test_headers_that_lag_behind_their_accounts_shorten_no_depth(begin: Begin) -> None:
    """R5 a: a nonce counts as burned k blocks after the first one showed it, not after the header beside which one did."""
    history, other = await over_two(begin, Evidence.HASH)
    await history.run(8)
    other.switches.lag = RULES.finality_depth

    def forge(method: str, params: dict[str, Any], row: dict[str, Any]) -> None:
        if method == "account":
            held = history.node.ledger.holding(params["address"])
            row["result"] = None if held is None else {"balance": held[0], "account_seq": held[1]}

    forging(history, 1, forge)
    await history.run(5)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert history.pooled() == [1]
    history.node.ledger.lose_pool()
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=1, fee=1_067)
    await history.step()
    other.switches.lag = 0
    await history.step(blocks=0)

    assert (await history.intent(item)).state is State.BROADCAST


async def test_an_honest_one_that_lags_without_a_base_fee_delays_nothing(begin: Begin) -> None:
    """§5.1: the base fee is the first one's; without look-up a payment could not be judged without it."""
    history, other = await over_two(begin, Evidence.BALANCE)

    def forge(method: str, _params: dict[str, Any], row: dict[str, Any]) -> None:
        if method == "metrics":
            row["result"] = re.sub(r"(?m)^base_fee \d+\n", "", row["result"])

    forging(history, 1, forge)
    other.switches.lag = 1
    await history.crash()
    (item,) = await history.submit(new("rent"))

    await history.finalized([item])

    assert history.paid("rent") == 1
