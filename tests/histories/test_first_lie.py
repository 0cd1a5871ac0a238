"""The very first reading of an account is a lie: nothing is staged on it, and nobody is stuck with it (R2, R9)."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.histories.conftest import Begin
from tests.world import PAYER, History, new

from treasuryd.chain.transport import Answer
from treasuryd.core.events import EventKind
from treasuryd.core.model import Evidence


def lie(history: History, more: int) -> None:
    """From now on the account's count is shown higher than it is."""
    honest = history.transport.answer

    def answer(url: str, parsed: Any) -> Answer:
        said = honest(url, parsed)
        rows = orjson.loads(said.body)
        if isinstance(parsed, list) and isinstance(rows, list):
            for asked, row in zip(parsed, rows, strict=True):
                if asked["method"] == "account" and asked["params"]["address"] == PAYER:
                    row["result"]["account_seq"] += more
        return replace(said, body=orjson.dumps(rows))

    history.transport.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("more", [5, 2**40])
async def test_a_count_that_was_a_lie_when_the_account_was_adopted_is_read_anew(
    begin: Begin, more: int
) -> None:
    """R2: nothing follows on a count that the chain takes back; when it stays fallen for k blocks it is counted anew."""
    history = await begin(Evidence.HASH)
    honest = history.transport.answer
    lie(history, more)
    while (await history.account()).baseline is None:
        await history.step()
    history.transport.answer = honest  # type: ignore[method-assign]
    (item,) = await history.submit(new("rent"))
    await history.run(2)
    assert history.events(EventKind.ENDPOINT_CONTRADICTS)
    assert await history.desk.intents(item) == []

    await history.finalized([item])

    assert [nonce for nonce, _, _ in history.mined()] == [1]
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)
