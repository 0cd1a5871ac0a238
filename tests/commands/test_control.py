"""Orders about accounts and breakers, over fakes."""

from dataclasses import replace

import pytest
from tests.fakes import TREASURY, FakeWorld

from treasuryd.commands import control
from treasuryd.commands.fields import Person
from treasuryd.core.model import (
    Account,
    AccountId,
    Address,
    BaseUnits,
    BlockHash,
    BreakerMode,
    CallClass,
    Endpoint,
    FeeQuote,
    Frame,
    Height,
    Holding,
    Nonce,
)
from treasuryd.errors import Refusal, Rejected

ANN = Person(who="ann", reason="incident 7")


def frame(height: int, nonce: int | None) -> Frame:
    holding = None if nonce is None else Holding(balance=BaseUnits(0), nonce=Nonce(nonce))
    return Frame(
        height=Height(height),
        block_hash=BlockHash(f"{height:064x}"),
        base_fee=None,
        holdings={Address(TREASURY): holding},
    )


@pytest.mark.parametrize(
    ("settled", "burned"),
    [(99, 0), (100, 5), (107, 5), (108, 7), (118, 9)],
    ids=["nothing deep yet", "the oldest", "one block early", "the second", "the baseline"],
)
def test_burned_is_what_a_frame_at_finality_depth_shows(settled: int, burned: int) -> None:
    """protocol.md R14: a count that may still be reorganised away thaws nothing."""
    account = Account(id=TREASURY, kept=(frame(100, 5), frame(108, 7)), baseline=frame(118, 9))
    assert control.burned_count(account, settled=Height(settled)) == burned


def test_an_account_that_the_chain_does_not_know_has_burned_nothing() -> None:
    """Absent is not empty, and no frame is none."""
    assert control.burned_count(Account(id=TREASURY), settled=Height(99)) == 0
    assert control.burned_count(Account(id=TREASURY, baseline=frame(1, None)), settled=Height(99)) == 0


async def test_thawing_hands_the_store_what_is_burned_at_depth() -> None:
    """The believed height is the stored one, never a caller's."""
    world = FakeWorld()
    world.desk.account_rows = [Account(id=TREASURY, kept=(frame(1_200, 4),), baseline=frame(1_299, 6))]
    await control.thaw(world.office(), TREASURY, ANN)
    assert world.desk.burned == [Nonce(4)]


async def test_thawing_passes_over_no_nonce_whose_block_has_left_the_chain() -> None:
    """R14: a frame that a reorg took counts nothing as burned, though no tick has seen the reorg yet."""
    world = FakeWorld()
    world.desk.account_rows = [Account(id=TREASURY, kept=(frame(1_100, 3), frame(1_200, 4)))]
    world.chain.replaced = frozenset({1_200})
    await control.thaw(world.office(), TREASURY, ANN)
    assert world.desk.burned == [Nonce(3)]


async def test_thawing_waits_for_the_chain() -> None:
    """R14: what is burned is asked, not remembered."""
    world = FakeWorld()
    world.desk.account_rows = [Account(id=TREASURY, kept=(frame(1_200, 4),))]
    world.chain.silent = True
    with pytest.raises(Rejected, match="cannot be asked what is burned") as found:
        await control.thaw(world.office(), TREASURY, ANN)
    assert found.value.kind is Refusal.UNAVAILABLE
    assert world.desk.burned == []


async def test_an_unknown_account_is_refused_with_those_that_exist() -> None:
    """A freeze that hits nothing must not look done."""
    with pytest.raises(Rejected, match="no account 'treasurry'") as found:
        await control.freeze(FakeWorld().office(), AccountId("treasurry"), ANN)
    assert found.value.kind is Refusal.NOT_FOUND
    assert "treasury" in found.value.hint


async def test_a_freeze_halts_the_tick_under_way_once_it_is_stored() -> None:
    """R14: what that tick had decided does not leave; a refused one halts nobody."""
    world = FakeWorld()
    office = world.office()
    await control.freeze(office, TREASURY, ANN)
    assert world.engine.halted == {TREASURY}
    assert world.engine.wakes == 1
    world.engine.halted.clear()
    with pytest.raises(Rejected):
        await control.freeze(office, AccountId("treasurry"), ANN)
    assert world.engine.halted == set()


async def test_a_forced_breaker_is_stored_before_it_is_applied() -> None:
    """It survives a restart, with who, why and when."""
    world = FakeWorld()
    await control.force_breaker(
        world.office(), control.ALL_ENDPOINTS, CallClass.SEND, BreakerMode.FORCED_OPEN, ANN
    )
    (stored,) = world.desk.forced.values()
    assert (stored.who, stored.reason, stored.at) == ("ann", "incident 7", world.clock.unix_seconds())
    assert world.chain.forced == [stored]
    assert world.engine.wakes == 1


async def test_an_order_that_is_not_stored_is_not_applied() -> None:
    """A storage error leaves the breaker as it was."""
    world = FakeWorld()
    world.desk.broken = True
    with pytest.raises(Exception, match="disk I/O"):
        await control.force_breaker(
            world.office(), Endpoint("node-a"), CallClass.SEND, BreakerMode.FORCED_OPEN, ANN
        )
    assert world.chain.forced == []


async def test_filling_tells_the_signer_first() -> None:
    """R9, R11: what the store would refuse never reaches the signer; the fee is a cancellation's price now."""
    world = FakeWorld()
    world.desk.account_rows = [Account(id=TREASURY)]
    world.chain.asked = FeeQuote(base_fee=BaseUnits(7), per_byte=1)
    await control.fill(world.office(), TREASURY, [Nonce(2), Nonce(5)], ANN)
    assert world.signer.to_fill == [(TREASURY, (2, 5))]
    assert world.desk.filled == [(TREASURY, (2, 5), 7)]
    assert world.desk.by[0].reason == "incident 7"
    assert world.engine.wakes == 1

    world.desk.unfillable = {Nonce(6)}
    with pytest.raises(Rejected, match="a live payment holds it"):
        await control.fill(world.office(), TREASURY, [Nonce(6)], ANN)
    assert len(world.signer.to_fill) == len(world.desk.filled) == 1


async def test_filling_waits_for_a_price() -> None:
    """Neither without a chain nor above the ceiling is anything ordered."""
    world = FakeWorld()
    world.desk.account_rows = [Account(id=TREASURY)]
    with pytest.raises(Rejected, match="cannot be asked what a transaction costs") as found:
        await control.fill(world.office(), TREASURY, [Nonce(2)], ANN)
    assert found.value.kind is Refusal.UNAVAILABLE
    world.chain.asked = FeeQuote(base_fee=BaseUnits(7), per_byte=1)
    office = replace(world.office(), price=lambda *_: None)
    with pytest.raises(Rejected, match="more than the ceiling"):
        await control.fill(office, TREASURY, [Nonce(2)], ANN)
    assert world.signer.to_fill == []
