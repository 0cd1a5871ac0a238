"""The settlement audit against a development chain: what the books say and the chain does not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.world import PAYER, History, new

from treasuryd.core.findings import Finding
from treasuryd.core.model import Evidence
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.node import Node
from treasuryd.main.audits import Report, audited
from treasuryd.settings import load
from treasuryd.sqlite.connect import Connection


@pytest.fixture
async def paid(tmp_path: Path) -> AsyncIterator[History]:
    """Two payments, final; the last block is the baseline."""
    history = History(tmp_path, Evidence.HASH)
    history.mine(2)
    await history.start()
    await history.finalized(await history.submit(new("rent"), new("power")))
    yield history
    await history.close()


async def report(history: History) -> Report:
    settings = load(None, {}, {"state_folder": history.folder})
    return await audited(settings, history.chain, limit=0, tell=lambda _: None)


async def forge(history: History, *statements: str) -> None:
    def forged(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await history.sql.write(forged)


async def test_books_that_are_the_chains_are_no_violation(paid: History) -> None:
    """Compared at a kept frame, each transaction looked up; then with a deposit that no tick has seen."""
    found = await report(paid)
    assert (found.violations, found.chain.look_ups, found.chain.unsure) == ([], 2, {})
    assert found.chain.accounts[PAYER].startswith("as the chain shows it")
    paid.mine()
    assert (await report(paid)).violations == []


@pytest.mark.parametrize(
    ("forgery", "finding"),
    [
        pytest.param(
            (
                "UPDATE variant SET tx_hash = replace(tx_hash, substr(tx_hash, 1, 4), 'dead') WHERE intent_id = 1",
            ),
            Finding.NOT_PAID,
            id="executed in the books, not on the chain",
        ),
        pytest.param(
            (
                "UPDATE disbursement SET status = 'timelocked' WHERE id = 1",
                "UPDATE intent SET state = 'broadcast', step = 'watch' WHERE id = 1",
            ),
            Finding.PAID_UNNOTICED,
            id="on the chain, missing in the books",
        ),
        pytest.param(("UPDATE intent SET cost = cost - 1 WHERE id = 1",), Finding.BOOKS, id="a wrong amount"),
        pytest.param(
            ("UPDATE frame SET holdings = replace(holdings, '\"treasury\":[', '\"treasury\":[1')",),
            Finding.CHAIN,
            id="a balance that the chain never had",
        ),
    ],
)
async def test_what_the_chain_does_not_show_is_a_violation(
    paid: History, forgery: tuple[str, ...], finding: Finding
) -> None:
    """Each one of the forged rows is named."""
    await forge(paid, *forgery)
    assert finding in {one.finding for one in (await report(paid)).violations}


async def test_a_chain_that_does_not_answer_is_said(paid: History) -> None:
    """What is stored is audited all the same."""
    paid.transport.silent = frozenset(paid.urls)
    found = await report(paid)
    assert (found.violations, found.chain.unreachable, found.items) == ([], True, 2)
    assert found.chain.not_asked


async def test_a_payment_that_one_node_of_two_does_not_show_is_said(paid: History) -> None:
    """R9: one alone proves it no more than a look-up without an answer; it is no violation either."""
    paid.urls.append("http://node-1")
    paid.nodes[paid.urls[1]] = Node(paid.config, paid.node.ledger, lambda: paid.clock.now)
    await paid.crash()
    paid.node.faults.add(Wrong.UNKNOWN_TX, times=None)
    found = await report(paid)
    assert (found.violations, found.chain.look_ups) == ([], 2)
    assert set(found.chain.unsure.values()) == {"not every node shows it"}
