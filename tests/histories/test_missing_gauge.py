"""One reading of the base fee that did not come makes no payment ambiguous (protocol.md §5.1 item 2)."""

import pytest
from tests.histories.conftest import Begin
from tests.world import new

from treasuryd.core.model import Evidence, State
from treasuryd.devnet.config import NO_ABILITIES, Abilities
from treasuryd.devnet.faults import Wrong


@pytest.mark.parametrize("abilities", [NO_ABILITIES, Abilities(tx_status=False)], ids=["stream", "accounts"])
async def test_a_base_fee_that_could_not_be_read_once_is_read_again(
    begin: Begin, abilities: Abilities
) -> None:
    """It waits for a frame that has it, instead of for a person; an idle account keeps the frame that has it."""
    history = await begin(Evidence.BALANCE)
    for node in history.nodes.values():
        node.switches.abilities = abilities
    await history.crash()
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert history.pooled() == [1]
    history.node.faults.add(Wrong.REFUSE, method="metrics", code=-32005, message="busy")
    await history.run(2)
    assert (await history.intent(item)).state is not State.AMBIGUOUS
    await history.finalized([item])
