"""A node with much to tell in its metrics: its base fee is read all the same (protocol.md §5.1 item 2)."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.histories.conftest import Begin
from tests.world import new

from treasuryd.chain.endpoint import BATCHED_METRICS_BYTES
from treasuryd.chain.transport import Answer
from treasuryd.core.model import Evidence
from treasuryd.devnet.config import NO_ABILITIES, Abilities


@pytest.mark.parametrize("abilities", [NO_ABILITIES, Abilities(tx_status=False)], ids=["stream", "accounts"])
async def test_a_long_text_of_metrics_makes_no_payment_ambiguous(begin: Begin, abilities: Abilities) -> None:
    """Without look-up nothing fits where the base fee is missing."""
    history = await begin(Evidence.BALANCE)
    for node in history.nodes.values():
        node.switches.abilities = abilities
    honest = history.transport.answer

    def long(url: str, parsed: Any) -> Answer:
        answer = honest(url, parsed)
        asked, rows = (x if isinstance(x, list) else [x] for x in (parsed, orjson.loads(answer.body)))
        for one, row in zip(asked, rows, strict=False):
            if one["method"] == "metrics" and isinstance(row.get("result"), str):
                row["result"] = "# much more\n" * (BATCHED_METRICS_BYTES // 12 + 1) + row["result"]
        return replace(
            answer, body=orjson.dumps(rows if isinstance(orjson.loads(answer.body), list) else rows[0])
        )

    history.transport.answer = long  # type: ignore[method-assign]
    await history.crash()
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
