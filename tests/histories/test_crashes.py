"""The process dies between any two calls of its ports, and everything is paid once all the same (protocol.md §9)."""

from collections.abc import Sequence

import pytest
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import Crash, History, new

from treasuryd.core.model import DisbursementId, Evidence, Status

MEMOS = ("one", "two", "three", "after one")
MOST_CALLS = 2_000
STRIDE = 3  # three tests share the calls between them
# between two of these nothing changes anywhere, so that a crash among readings is a crash before the next of them
STEPS = {
    "store.stage",
    "signer.sign",
    "store.seal",
    "store.unstage",
    "chain.broadcast",
    "store.record",
    "store.renew",
}


async def scene(history: History) -> list[DisbursementId]:
    """Three payments and one that waits for the first."""
    items = await history.submit(*(new(memo, to=f"tb1{memo}") for memo in MEMOS[:3]))
    return [*items, *await history.submit(new(MEMOS[3], to="tb1after", depends_on=items[:1]))]


async def to_the_end(history: History, items: Sequence[DisbursementId], *, restarts: int = 0) -> int:
    """Go on to the end; a crash is answered by a new process. Answers how often it crashed."""
    for _ in range(150):
        try:
            await history.step()
        except Crash:
            restarts += 1
            await history.crash()
        await history.check()
        if all([await history.status(item) is Status.FINALIZED for item in items]):
            return restarts
    raise AssertionError(f"not paid: {[await history.status(item) for item in items]}")


async def paid_once(history: History) -> None:
    assert [history.paid(memo) for memo in MEMOS] == [1] * len(MEMOS)
    nonces = [nonce for nonce, _, _ in history.mined()]
    assert nonces == sorted(set(nonces))
    booked, shown = await history.books()
    assert booked == shown == history.balance("treasury")
    assert (await history.account()).state == "active"


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("offset", range(STRIDE))
async def test_a_crash_between_any_two_steps_pays_everything_once(
    begin: Begin, evidence: Evidence, after: bool, offset: int
) -> None:
    """D2, D16: whichever port call the process dies at, the next process goes on from the stored state."""
    whole = await begin(evidence)
    items = await scene(whole)
    whole.fuse.calls.clear()
    await to_the_end(whole, items)
    await paid_once(whole)
    interesting = [place for place, name in enumerate(whole.fuse.calls) if name in STEPS]
    assert len(interesting) < MOST_CALLS

    for place in interesting[offset::STRIDE]:
        history = await begin(evidence)
        items = await scene(history)
        history.fuse.left, history.fuse.after = place, after
        assert await to_the_end(history, items) == 1
        await paid_once(history)
        await history.close()


@pytest.mark.matrix(Row.SEALED_NOT_SENT, Row.STAGED_NOT_SEALED)
@pytest.mark.parametrize("every", [7, 11, 23])
async def test_a_process_that_crashes_again_and_again_pays_everything_once(
    begin: Begin, evidence: Evidence, every: int
) -> None:
    """D2: each new process dies after a few calls more; what is done stays done."""
    history = await begin(evidence)
    items = await scene(history)
    crashes = 0
    for _ in range(60):
        if history.fuse.left < 0:
            history.fuse.left, history.fuse.after = every + crashes % 5, bool(crashes % 2)
        try:
            await history.step()
        except Crash:
            crashes += 1
            await history.crash()
        await history.check()
    history.fuse.left = -1

    await to_the_end(history, items)

    assert crashes > 10
    await paid_once(history)


async def test_a_restart_finds_its_lease_and_its_work(begin: Begin, evidence: Evidence) -> None:
    """D14: a new start of the same folder takes over at once, under a higher term."""
    history = await begin(evidence)
    items = await scene(history)
    before = history.mind.held.leases

    await history.crash()

    assert history.mind.held.leases.keys() == before.keys()
    for account, lease in history.mind.held.leases.items():
        assert lease.term > before[account].term
    await to_the_end(history, items)
    await paid_once(history)
