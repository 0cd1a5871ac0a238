"""Histories in which finality stands still for longer than one tick can compare headers."""

from dataclasses import replace

import pytest
from tests.histories.conftest import Begin
from tests.world import RULES, History, new

from treasuryd.core.model import Evidence
from treasuryd.devnet.node import Node


async def three(begin: Begin, evidence: Evidence, batch_max: int) -> tuple[History, Node]:
    """Three endpoints of one chain; answers the last one, too."""
    rules = replace(RULES, batch_min=8, batch_max=batch_max)
    history = await begin(evidence, nodes=3, rules=rules)
    first, *others = history.urls
    ledger = history.nodes[first].ledger
    nodes = {url: Node(history.config, ledger, lambda: history.clock.now) for url in others}
    for url in others:
        history.nodes.pop(url)  # only the first one mines
    history.transport.nodes = {first: history.nodes[first], **nodes}
    await history.crash()
    return history, nodes[others[-1]]


@pytest.mark.parametrize("in_flight", [False, True])
async def test_an_endpoint_that_stood_still_for_long_stops_nobody_for_good(
    begin: Begin, evidence: Evidence, in_flight: bool
) -> None:
    """R9: two of three agree, the third stands still; frames pile up, since nothing is final. It comes back: paid."""
    history, third = await three(begin, evidence, batch_max=20)
    await history.run(6)
    items = await history.submit(new("early")) if in_flight else []
    for _ in range(30):
        third.switches.lag += 1
        await history.step()

    third.switches.lag = 0
    items += await history.submit(new("rent"))
    await history.finalized(items)

    assert history.paid("rent") == 1
