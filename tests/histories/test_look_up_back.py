"""Look-up that was away for a moment is asked for again in time (protocol.md §5.1)."""

from dataclasses import replace

from tests.histories.conftest import Begin
from tests.histories.test_lost_look_up import out

from treasuryd.core.model import Evidence, State
from treasuryd.core.settling import LOOKUP_PATIENCE


async def test_look_up_that_returns_is_found_before_patience_is_over(begin: Begin) -> None:
    """What was sent under it waits four times k blocks: 48 s of production, and an endpoint is probed every 300 s."""
    history, item = await out(begin)
    history.rules = history.ticker.rules = replace(history.rules, finality_depth=12)
    await history.run(2)
    assert history.chain.evidence is Evidence.BALANCE
    for node in history.nodes.values():
        node.switches.abilities = replace(node.switches.abilities, tx_status=True)

    await history.run(LOOKUP_PATIENCE * 12 + 5)

    assert (await history.intent(item)).state is not State.AMBIGUOUS
    await history.finalized([item])
    assert (await history.item(item)).evidence is Evidence.HASH
