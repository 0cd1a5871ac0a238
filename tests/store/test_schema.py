"""What the schema itself refuses (protocol.md §3): the last line behind every check of the code."""

import sqlite3
from collections.abc import AsyncIterator

import pytest
from tests.store.kit import OTHER, PAYER, Bench, opened

from treasuryd.errors import Corrupt
from treasuryd.sqlite.inline import InlineDriver


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """One payer with three payable items: the first sealed, the second staged."""
    driver = await opened(InlineDriver)
    bench = Bench(driver)
    await bench.adopt(PAYER, OTHER)
    first, second, _ = await bench.insert(3)
    await bench.seal(await bench.stage([first]))
    await bench.stage([second])
    yield bench
    await driver.close()


INTENT = (
    "INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, step, "
    "staged_at) VALUES (99, '{account}', {nonce}, {item}, 'tb1payee', 1, 1, 1, 'staged', 1, 'sign', 1.0)"
)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        pytest.param(
            INTENT.format(account=OTHER, nonce=9, item=1), "intent.disbursement_id", id="a second live intent"
        ),
        pytest.param(
            INTENT.format(account=PAYER, nonce=1, item="NULL"), "intent.nonce", id="a second one on its nonce"
        ),
        pytest.param(INTENT.format(account=PAYER, nonce=0, item="NULL"), "nonce", id="a nonce of nought"),
        pytest.param(INTENT.format(account=PAYER, nonce=9, item=77), "FOREIGN KEY", id="of no disbursement"),
        pytest.param("UPDATE intent SET id = -1", "id", id="an id that nothing counts"),
        pytest.param("UPDATE intent SET amount = -1", "amount", id="a negative amount to pay"),
        pytest.param("UPDATE intent SET fee = -1", "fee", id="a negative fee"),
        pytest.param("UPDATE intent SET nonce = 'x'", "datatype", id="a nonce that is no number"),
        pytest.param("UPDATE intent SET nonce = 1.5", "datatype", id="half a nonce"),
        pytest.param("UPDATE intent SET state = 'paid'", "state", id="a state that the table does not know"),
        pytest.param(
            "UPDATE intent SET state = 'void', live = NULL, step = NULL", "proof", id="void without a proof"
        ),
        pytest.param("UPDATE intent SET proof = 'burned'", "proof", id="a proof of what is not void"),
        pytest.param("UPDATE intent SET step = NULL", "step", id="an open intent that waits for nothing"),
        pytest.param(
            "UPDATE variant SET attempts = 1 WHERE tx_bytes IS NULL",
            "attempts",
            id="sent before it was durable",
        ),
        pytest.param("UPDATE variant SET tx_bytes = NULL", "tx_bytes", id="a hash without its bytes"),
        pytest.param("UPDATE variant SET kind = 'gift'", "kind", id="a variant of another kind"),
        pytest.param("UPDATE disbursement SET amount = 0", "amount > 0", id="a payment of nothing"),
        pytest.param("UPDATE disbursement SET amount = 9223372036854775808", "datatype", id="above 63 bits"),
        pytest.param("UPDATE disbursement SET status = 'paid'", "status", id="a status of its own"),
        pytest.param(
            "UPDATE disbursement SET status = 'executed' WHERE id = 3",
            "live_intent",
            id="executed by nothing",
        ),
        pytest.param(
            "UPDATE disbursement SET status = 'queued' WHERE id = 1",
            "live_intent",
            id="queued with an intent",
        ),
        pytest.param("UPDATE disbursement SET hold = 'mood'", "hold", id="a hold of no known reason"),
        pytest.param(
            "UPDATE disbursement SET memo = hex(zeroblob(4097))",
            "memo",
            id="a memo that no transaction carries",
        ),
        pytest.param(
            "UPDATE disbursement SET idempotency_key = 'same'",
            "idempotency_key",
            id="one key for two payments",
        ),
        pytest.param(
            "UPDATE account SET next_nonce = 0", "next_nonce", id="a sequence that begins at nought"
        ),
        pytest.param("UPDATE account SET state = 'idle'", "state", id="an account in a state of its own"),
        pytest.param("UPDATE lease SET term = -1", "term", id="a term below the first"),
        pytest.param("UPDATE lease SET released = 2", "released", id="half released"),
        pytest.param(
            "INSERT INTO breaker_override VALUES ('*', 'send', 'ajar', '', '', 1.0)",
            "mode",
            id="a breaker ajar",
        ),
        pytest.param(
            "INSERT INTO chain (only, chain_id) VALUES (2, 1)", "only", id="a second chain in one store"
        ),
        pytest.param("UPDATE journal SET seq = 0", "seq", id="an entry before the first"),
    ],
)
async def test_what_must_never_be_stored_is_refused_by_the_file_itself(
    bench: Bench, sql: str, names: str
) -> None:
    """R10, R1: whatever a bug asks for; the process ends over it, and the transaction leaves nothing."""
    before = await bench.sql("SELECT * FROM intent JOIN variant ON intent_id = id")
    with pytest.raises(Corrupt) as caught:
        await bench.sql(sql)
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)
    said = str(caught.value.__cause__)
    assert names in said or ("datatype" in names and "cannot store" in said), said
    assert await bench.sql("SELECT * FROM intent JOIN variant ON intent_id = id") == before
