"""A filler that was signed and not sealed when the process died, and whose nonce is used meanwhile (R5, R9)."""

import pytest
from tests.histories.conftest import Begin
from tests.histories.test_deep_reorgs import ADA, bytes_of, intents, lose, office, paid_cancelled_paid
from tests.world import PAYER, Crash

from treasuryd.commands import control
from treasuryd.core.model import Evidence, Nonce


@pytest.mark.parametrize("stranger", [False, True])
async def test_a_signed_filler_whose_nonce_was_used_is_taken_in(
    begin: Begin,
    evidence: Evidence,
    stranger: bool,
) -> None:
    """R5: the signer is asked what it bound; that the nonce had another intent before hides nothing."""
    history = await begin(evidence)
    first, gone, last = await paid_cancelled_paid(history)
    cancel = await history.sql.read(
        lambda connection: connection.execute(
            "SELECT tx_bytes FROM variant WHERE intent_id = (SELECT id FROM intent WHERE disbursement_id = ?) "
            "AND kind = 'cancel'",
            (gone,),
        ).fetchone()[0]
    )
    await lose(history)
    for item in (first, last):
        await history.desk.reopen(item, by=office(history).approval(who="ada", reason="lost"))
    await control.fill(office(history), PAYER, [Nonce(2)], ADA)
    await control.thaw(office(history), PAYER, ADA)
    history.fuse.at = "store.seal"
    with pytest.raises(Crash):
        await history.run(3)
    history.fuse.at = None
    if stranger:
        for _ in range(2):
            history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=1, fee=1_000)
    else:  # what the reorg took was in somebody's pool
        for row in (await bytes_of(history, first), bytes(cancel)):
            params = {"nonce": history.entropy.bits63(), "tx": row.hex()}
            request = {"jsonrpc": "2.0", "id": 1, "method": "submit_tx", "params": params}
            history.transport.answer(history.urls[0], request)
    history.mine()
    await history.crash()
    await history.run(25)

    (filler,) = [row for row in await intents(history) if row[1]]
    assert filler[2] != "staged"
    if not stranger:
        await history.finalized([first, last])
        assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3]
