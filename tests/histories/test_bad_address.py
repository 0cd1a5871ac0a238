"""One address that a node will not look at stops nobody else (protocol.md §2: one bad record never stops another)."""

from dataclasses import replace
from typing import Any

import orjson
from tests.histories.conftest import Begin
from tests.world import new

from treasuryd.chain.transport import Answer
from treasuryd.core.model import Evidence
from treasuryd.devnet.config import Abilities


async def test_an_address_that_a_node_refuses_to_look_at_stops_no_other_payment(begin: Begin) -> None:
    """Without `tx_status` a frame holds every destination: the stream is read where one row is answered with an error."""
    history = await begin(Evidence.BALANCE)
    for node in history.nodes.values():
        node.switches.abilities = Abilities(tx_status=False)
    await history.crash()
    honest = history.transport.answer

    def picky(url: str, parsed: Any) -> Answer:
        answer = honest(url, parsed)
        rows = orjson.loads(answer.body)
        if isinstance(parsed, list) and isinstance(rows, list):
            for place, asked in enumerate(parsed):
                if asked["method"] == "account" and asked["params"]["address"] == "tb1bad":
                    error = {"code": -32602, "message": "invalid params"}
                    rows[place] = {"id": asked["id"], "jsonrpc": "2.0", "error": error}
        return replace(answer, body=orjson.dumps(rows))

    history.transport.answer = picky  # type: ignore[method-assign]
    await history.run(3)
    await history.submit(new("bad", to="tb1bad"))
    await history.run(3)
    (good,) = await history.submit(new("good", to="tb1good"))

    await history.finalized([good])

    assert history.paid("good") == 1
