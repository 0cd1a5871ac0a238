"""A node that lies about numbers: no number of its ends the process, and none is booked that cannot be."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.histories.conftest import Begin
from tests.world import PAYER, History, new

from treasuryd.chain.transport import Answer
from treasuryd.core.model import Evidence
from treasuryd.store import auditing
from treasuryd.wire.theblock.readings import LARGEST

HOSTILE: Final = (2**53, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -1)
BASE_FEE: Final = re.compile(r"(?m)^base_fee \d+")


def spoilt(value: Any, field: str, number: int) -> Any:
    """Put the number wherever the field is an integer, or into the text of metrics."""
    if isinstance(value, dict):
        return {
            name: number if name == field and type(inner) is int else spoilt(inner, field, number)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [spoilt(inner, field, number) for inner in value]
    if isinstance(value, str) and field == "base_fee":
        return BASE_FEE.sub(f"base_fee {number}", value)
    return value


def lie(history: History, monkeypatch: pytest.MonkeyPatch, field: str) -> Callable[[int | None], None]:
    """Give a switch: from a number on every answer says it of the field; from None on the node tells the truth."""
    told: list[int | None] = [None]
    honest = history.transport.stream_frame

    def after(_: bytes, answer: Answer) -> Answer:
        if told[0] is None or answer.status != 200:
            return answer
        said = spoilt(json.loads(answer.body), field, told[0])
        return Answer(status=answer.status, body=json.dumps(said).encode())

    async def stream_frame(url: str, **limits: Any) -> bytes:
        text = await honest(url, **limits)
        return text if told[0] is None else json.dumps(spoilt(json.loads(text), field, told[0])).encode()

    history.transport.after = after
    monkeypatch.setattr(history.transport, "stream_frame", stream_frame)
    return lambda number: told.__setitem__(0, number)


@pytest.mark.parametrize(
    "field", ["balance", "account_seq", "base_fee", "fee_charged", "height", "tip_height", "fee_floor"]
)
async def test_no_number_of_a_node_ends_the_process(
    begin: Begin, evidence: Evidence, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number beyond 63 bits ended it for all accounts, start after start: SQLite holds none."""
    history = await begin(evidence)
    await history.run(3)
    say = lie(history, monkeypatch, field)
    await history.submit(new("rent"))
    for number in HOSTILE:
        say(number)
        await history.run(2)
    say(None)
    await history.run(2)
    assert "64 bits" not in str(history.seen.events)


async def test_balances_that_come_and_go_are_summed_beyond_64_bits(
    begin: Begin, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is booked of one kind alone knows no bound; the audit says it to the unit all the same."""
    history = await begin(evidence)
    await history.run(3)
    say = lie(history, monkeypatch, "balance")
    for _ in range(5):
        say(LARGEST)
        await history.run(1)
        say(None)
        await history.run(1)
    totals = {kind: delta for _, kind, _, delta, _ in await history.sql.read(auditing.totals)}
    assert totals["funding"] - history.balance(PAYER) == -totals["unexplained"] > 2**64
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


@pytest.mark.parametrize("number", HOSTILE)
async def test_an_absurd_charge_is_waited_out_and_never_booked(
    begin: Begin, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.1: the look-up counts when it says what can be; then the payment is booked as charged, to the unit."""
    history = await begin(Evidence.HASH)
    say = lie(history, monkeypatch, "fee_charged")
    say(number)
    (item,) = await history.submit(new("rent"))
    await history.run(6)
    assert (await history.item(item)).fee_paid is None
    say(None)
    await history.finalized([item])
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)
