"""Thawing after a foreign nonce (protocol.md R14): burned or gone, and nothing of ours at or below the chain's count."""

import pytest
from tests.histories.conftest import Begin
from tests.histories.test_freezing import office
from tests.matrix import Row
from tests.world import PAYER, History, new

from treasuryd.commands import control
from treasuryd.commands.fields import Person
from treasuryd.core.model import AccountState, Evidence, Nonce
from treasuryd.devnet.ledger import Then
from treasuryd.errors import Rejected

ADA = Person(who="ada", reason="the key was changed")


async def robbed(begin: Begin, evidence: Evidence) -> History:
    """A stranger spends from an idle account."""
    history = await begin(evidence)
    await history.run(2)
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=5, fee=1_067)
    await history.run(2)
    assert (await history.account()).state is AccountState.FROZEN
    return history


async def bound(history: History) -> list[Nonce]:
    return [one.request.nonce for one in await history.signer.bindings(PAYER, first=Nonce(1), limit=20)]


@pytest.mark.matrix(Row.THAWED)
async def test_a_burned_foreign_nonce_is_passed_over(begin: Begin, evidence: Evidence) -> None:
    """Refused with the blocks that are missing, until it is burned; then ours go on above it: no lower one is signed."""
    history = await robbed(begin, evidence)
    (item,) = await history.submit(new("rent"))
    with pytest.raises(Rejected, match=r"the foreign nonce 1 is not burned yet, in 2 blocks"):
        await control.thaw(office(history), PAYER, ADA)
    await history.step()
    with pytest.raises(Rejected, match=r"in 1 blocks"):
        await control.thaw(office(history), PAYER, ADA)
    await history.step()
    await control.thaw(office(history), PAYER, ADA)

    await history.finalized([item])

    assert await bound(history) == [2]
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2]


@pytest.mark.matrix(Row.THAWED)
async def test_a_foreign_nonce_that_left_the_chain_is_ours_again(begin: Begin, evidence: Evidence) -> None:
    """A reorg takes it: that thaws nothing by itself; a person does, and no gap stays where it was."""
    history = await robbed(begin, evidence)
    (item,) = await history.submit(new("rent"))
    history.clock.now += 1.0
    history.node.ledger.reorg(2, now=history.clock.now, then=Then.NEVER)
    await history.run(6)
    assert (await history.account()).state is AccountState.FROZEN
    assert await history.desk.intents(item) == []
    await control.thaw(office(history), PAYER, ADA)

    await history.finalized([item])

    assert await bound(history) == [1]
    assert [nonce for nonce, _, _ in history.mined()] == [1]


@pytest.mark.matrix(Row.STRANGER)
async def test_nothing_is_signed_under_a_nonce_that_a_stranger_just_took(
    begin: Begin, evidence: Evidence
) -> None:
    """The tick that stages sees the baseline of before: the one that signs sees the count, and signs nothing below it."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))

    def cut(name: str, after: bool) -> None:
        if name == "signer.sign" and not after:
            raise ConnectionError

    history.fuse.watch = cut
    with pytest.raises(ConnectionError):
        await history.step(blocks=0)
    history.fuse.watch = lambda _name, _after: None
    assert (await history.intent(item)).nonce == 1
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_067)
    await history.crash()
    sends = history.transport.methods.count("submit_tx")

    await history.run(8)

    assert await bound(history) == []
    assert history.transport.methods.count("submit_tx") == sends
    assert (await history.account()).state is AccountState.FROZEN
