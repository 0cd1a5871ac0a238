"""Histories with two endpoints that follow one chain, and with two executors on one store."""

import pytest
from tests.chain.world import rpc
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import PAYER, History, new

from treasuryd.chain.transport import Answer, Unreachable
from treasuryd.core.agreement import said
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import AccountState, DisbursementId, Evidence, State, Status
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.node import Node
from treasuryd.errors import Rejected
from treasuryd.executor.reconcile import check_chain


async def two(begin: Begin, evidence: Evidence) -> tuple[History, Node]:
    """A history over two endpoints of one and the same chain; answers the second one, too."""
    history = await begin(evidence, nodes=2)
    first, second = history.urls
    other = Node(history.config, history.nodes[first].ledger, lambda: history.clock.now)
    history.nodes.pop(second)  # only the first one mines
    history.transport.nodes = {first: history.nodes[first], second: other}
    await history.crash()
    return history, other


async def state(history: History, item: DisbursementId) -> State:
    return (await history.intent(item)).state


async def test_two_endpoints_pay_once(begin: Begin, evidence: Evidence) -> None:
    """Both follow one chain; everything is sent to one of them and paid once."""
    history, _ = await two(begin, evidence)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(4)))

    await history.finalized(items)

    assert [history.paid(f"pay {n}") for n in range(4)] == [1] * 4


async def test_one_endpoint_alone_buries_nothing(begin: Begin, evidence: Evidence) -> None:
    """R9: while the other lags, depth is not reached; when it has caught up it is."""
    history, other = await two(begin, evidence)
    (item,) = await history.submit(new("rent"))
    await history.run(4)
    settled = (await history.desk.chain_state()).settled_height
    other.switches.lag = 12

    await history.run(8)
    assert await state(history, item) is not State.FINAL
    assert (await history.desk.chain_state()).settled_height <= settled + 1
    assert (await history.account()).state is AccountState.ACTIVE
    other.switches.lag = 0
    await history.finalized([item])

    assert history.paid("rent") == 1


@pytest.mark.matrix(Row.ABSURD_HEAD)
async def test_an_absurd_height_of_one_endpoint_hastens_nothing(begin: Begin, evidence: Evidence) -> None:
    """R16: the honest one is what settling rests on, however long the other lies."""
    history, other = await two(begin, evidence)
    (item,) = await history.submit(new("later", scheduled=2))
    other.switches.absurd_index = 5_000_000
    while history.node.ledger.height < 2 * history.rules.epoch_blocks:
        assert await history.desk.intents(item) == []
        await history.step()
    other.switches.absurd_index = None

    await history.finalized([item])

    assert history.paid("later") == 1


async def test_while_one_endpoint_is_silent_nothing_new_begins(begin: Begin, evidence: Evidence) -> None:
    """R9: no verdict without agreement: it waits and says so, and goes on when the other is back."""
    history, _ = await two(begin, evidence)
    await history.run(3)
    history.transport.silent = frozenset(history.urls[1:])
    (item,) = await history.submit(new("rent"))
    await history.run(5)
    assert await history.desk.intents(item) == []
    assert "frame" in {event.reason for event in history.events(EventKind.CALL_FAILED)}

    history.transport.silent = frozenset()
    await history.finalized([item], seconds=200)

    assert history.paid("rent") == 1


async def test_a_first_endpoint_that_cannot_send_is_passed_over(begin: Begin, evidence: Evidence) -> None:
    """R3: the same bytes may go to any node: 500 from the first, accepted by the second, paid once."""
    history, _ = await two(begin, evidence)
    bad = iter(range(3))

    def broken(body: bytes) -> Answer | None:
        if b'"submit_tx"' in body and next(bad, None) is not None:
            return rpc(1, error=(-32603, "internal"), status=500)
        return None

    history.transport.before = broken
    (item,) = await history.submit(new("rent"))

    await history.finalized([item])

    assert history.paid("rent") == 1


async def test_a_content_is_poison_only_when_every_endpoint_refuses_it(
    begin: Begin, evidence: Evidence
) -> None:
    """R8: one refuses the content, the other is broken: nothing is replaced or held, and once it works it pays."""
    history, other = await two(begin, evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="BalanceOverflow", times=None)
    other.faults.add(Wrong.REFUSE, code=-32603, message="internal", times=None)
    (item,) = await history.submit(new("rent"))
    refusals = history.rules.poison_refusals
    await history.run(int(history.rules.resend_seconds) * (refusals + 2))
    assert history.node.faults.struck[Wrong.REFUSE] > refusals
    assert ((await history.item(item)).hold, (await history.intent(item)).refusals) == (None, 0)

    other.faults.clear()
    await history.finalized([item], seconds=300)  # past the open time of its send breaker

    assert history.paid("rent") == 1
    assert len((await history.intent(item)).variants) == 1


@pytest.mark.parametrize("still", [0, 1])
async def test_a_node_that_answers_and_stands_still_is_told(begin: Begin, still: int) -> None:
    """What waits for an epoch waits with it, as it should; no breaker opens, so the node is named in a page."""
    history, other = await two(begin, Evidence.HASH)
    if still == 0:
        history.transport.nodes = dict(zip(history.urls, (other, history.node), strict=True))
    await history.run(12)
    settled = (await history.desk.chain_state()).settled
    (item,) = await history.submit(new("later", to="tb1bob", scheduled=settled + 2))
    for _ in range(10):
        other.switches.lag += 20
        history.clock.now += 19
        await history.keeper.beat()
        await history.step(20)

    assert await history.desk.intents(item) == []
    (page,) = history.events(EventKind.ENDPOINTS_DIFFER)
    name = (await history.chain.heads())[still].endpoint
    assert (page.severity, page.reason) == (Severity.PAGE, "behind")
    assert page.detail.startswith(f"{name} answers 1")
    assert name in said(history.mind.agreement, history.rules)

    other.switches.lag = 0
    await history.finalized([item])
    assert (history.paid("later"), said(history.mind.agreement, history.rules)) == (1, "")
    assert len(history.events(EventKind.ENDPOINTS_DIFFER)) == 1


@pytest.mark.parametrize("ahead", [0, 1])
async def test_two_nodes_on_two_forks_are_told(begin: Begin, ahead: int) -> None:
    """
    R9: a payment that stands on one of them is not judged, however long it takes; a person has to choose.

    Where their heads cannot be compared, the counts show it.
    """
    history = await begin(Evidence.HASH, nodes=2)
    await history.run(12)
    first, second = (node.ledger for node in history.nodes.values())
    for _ in range(1 + ahead):
        second.mine(now=history.clock.now + 0.5)
    first.mine(now=history.clock.now)
    (item,) = await history.submit(new("rent"))
    for _ in range(16):
        history.clock.now += 9
        await history.step()

    assert await history.status(item) is not Status.FINALIZED
    pages = history.events(EventKind.ENDPOINTS_DIFFER)
    assert {page.severity for page in pages} == {Severity.PAGE}
    assert sorted(page.reason for page in pages) == (["disputed", "forked"], ["disputed"])[ahead]
    for told in ("different blocks", f"contradict each other about {PAYER}")[ahead:]:
        assert told in said(history.mind.agreement, history.rules)


async def test_two_executors_on_one_store_pay_once(begin: Begin, evidence: Evidence) -> None:
    """§6, §10: the lease goes back and forth between two processes that both believe in themselves; paid once."""
    history = await begin(evidence)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(6)))
    first = (history.mind, history.keeper, history.ticker)
    history.starts += 1
    history._executor()
    second = (history.mind, history.keeper, history.ticker)

    for round_ in range(60):
        history.clock.now += 1.0
        history.mine()
        mind, keeper, ticker = (first, second)[round_ // 3 % 2]
        await keeper.beat()  # `alone` holds for both: each takes the other for dead, again and again
        for _ in range(2):
            await first[2].once()
            await second[2].once()
        await history.check()
        del mind, ticker
        if all([await history.status(item) is Status.FINALIZED for item in items]):
            break

    assert [history.paid(f"pay {n}") for n in range(6)] == [1] * 6
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3, 4, 5, 6]
    assert {await history.status(item) for item in items} == {Status.FINALIZED}


@pytest.mark.matrix(Row.WRONG_CHAIN)
async def test_another_chain_refuses_to_start(begin: Begin) -> None:
    """R15: the header 0 that was pinned is compared before anything begins; a silent chain is compared by each tick."""
    history = await begin()
    await history.run(8)
    await check_chain(history.world)
    strange = await begin(genesis={"treasury": 1, "elsewhere": 7})
    strange.node.ledger.seed = 99
    other = History(history.folder, Evidence.HASH, config=history.config)
    other.node.ledger.seed = 99
    for _ in range(30):
        other.node.ledger.mine(now=history.clock.now)
    history.transport.nodes = dict.fromkeys(history.urls, other.node)
    with pytest.raises(Rejected, match="header 0"):
        await check_chain(history.world)
    history.transport.before = lambda _body: Unreachable("down")
    await check_chain(history.world)


@pytest.mark.matrix(Row.ABSURD_HEAD)
async def test_a_look_up_that_names_a_block_on_no_chain_is_no_reorg(begin: Begin) -> None:
    """R9: a sighting is bound to the header at its height, however old the block is that it names."""
    history = await begin(Evidence.HASH)
    (item,) = await history.submit(new("rent"))

    async def pooled() -> bool:
        return bool(history.pooled())

    await history.until(pooled)
    history.mine(8)
    history.node.faults.add(Wrong.WRONG_BLOCK)

    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.account()).state is AccountState.ACTIVE
    assert not history.events(EventKind.REORGED_CHAIN)
