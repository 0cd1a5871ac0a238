"""An ability is absent when the node says so (-32601, -32700; interfaces.md §5), and not for any other error."""

import pytest
from tests.histories.conftest import Begin
from tests.world import new

from treasuryd.chain.endpoint import REPROBE_SECONDS
from treasuryd.core.model import Evidence, State
from treasuryd.core.settling import LOOKUP_PATIENCE
from treasuryd.devnet.faults import Wrong


@pytest.mark.parametrize("code", [-32000, -32005, -32602])
async def test_an_odd_error_to_a_probe_takes_no_look_up_away(begin: Begin, code: int) -> None:
    """§5.1: else what is out would be ambiguous long before the endpoint is probed again."""
    history = await begin(Evidence.HASH)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    assert history.pooled() == [1]
    history.clock.now += REPROBE_SECONDS
    history.node.faults.add(Wrong.REFUSE, method="tx_status", code=code, message="busy")

    await history.run(LOOKUP_PATIENCE * history.rules.finality_depth + 4)

    assert (await history.intent(item)).state is not State.AMBIGUOUS
    await history.finalized([item])
