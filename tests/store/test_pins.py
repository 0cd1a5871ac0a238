"""What a store was begun with, and what is refused where the settings say otherwise."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.replaying import replays
from tests.store.kit import FEE, OTHER, PAYER, RULES, Bench, opened

from treasuryd.core.changes import VariantStaged
from treasuryd.core.model import AccountId, Address, Nonce, Rules, Term, UnixSeconds, VariantKind
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import fillers, pins
from treasuryd.store.journal import STORE, entries
from treasuryd.store.reopening import reopen
from treasuryd.store.work import Work

AT = UnixSeconds(1.0)
OLD, NEW = Address("tb1old"), Address("tb1new")
BEGUN = replace(RULES, sinks={PAYER: OLD})
MOVED = replace(RULES, sinks={PAYER: NEW})
PINNED = {"epoch_blocks": "10", f"sink:{PAYER}": OLD}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A store that was begun with the old sink, and whose holder has given its leases back."""
    driver = await opened(InlineDriver)
    bench = Bench(driver, BEGUN)
    await start(bench)
    await bench.adopt(PAYER, OTHER)
    yield bench
    await driver.close()


async def start(bench: Bench, rules: Rules = BEGUN) -> None:
    """Open the store as each start does."""
    await reopen(bench.driver, rules, folder=None, place="", now=AT)


async def stop(bench: Bench) -> None:
    """Give all leases back, as a daemon does at SIGTERM."""
    await bench.store.release(bench.held)


async def pinned(bench: Bench) -> dict[str, str]:
    return dict(await bench.sql(pins.SQL["pinned"]))


async def refused(bench: Bench, rules: Rules) -> Rejected:
    """Start with other settings, which is refused and changes nothing."""
    before, said = await pinned(bench), await bench.sql("SELECT count(*) FROM journal")
    with pytest.raises(Rejected) as caught:
        await start(bench, rules)
    assert caught.value.kind is Refusal.CONFLICT
    assert (await pinned(bench), await bench.sql("SELECT count(*) FROM journal")) == (before, said)
    return caught.value


async def cancelled(bench: Bench, *, account: AccountId = PAYER) -> None:
    """An item was staged and sent, and then its cancel variant staged."""
    (intent,) = await bench.pay(await bench.insert(account=account))
    cancel = VariantStaged(account=account, intent_id=intent.id, number=2, kind=VariantKind.CANCEL, fee=FEE)
    await bench.written(cancel)


def _told(connection: Connection) -> list[dict[str, Any]]:
    return [dict(one.content["pins"]) for one in entries(connection, STORE) if one.verb == "pin"]


def _filled(connection: Connection) -> None:
    fillers.stage_fillers(Work(connection, BEGUN, AT), PAYER, [Nonce(1)], fee=FEE, term=Term(1))


async def test_a_new_store_keeps_what_it_was_begun_with(bench: Bench) -> None:
    """Told once in the journal, and never again."""
    await start(bench)
    assert await pinned(bench) == PINNED
    assert await bench.driver.read(_told) == [PINNED]


async def test_another_length_of_epochs_is_refused(bench: Bench) -> None:
    """Shorter or longer: what is stored was counted in the old one."""
    for blocks in (1, 11):
        told = await refused(bench, replace(BEGUN, epoch_blocks=blocks))
        assert (
            told.message
            == f"this store counts epochs of 10 blocks, the settings say {blocks} (chain.epoch_blocks)"
        )
        assert told.hint == (
            "Put chain.epoch_blocks = 10 back: with another one, what waits for an epoch would be due too early or too "
            "late. Another length of epochs needs another store."
        )
    await start(bench)


async def test_an_account_that_is_added_later_is_pinned_then(bench: Bench) -> None:
    """What was there before stays as it was."""
    await start(bench, replace(RULES, sinks={PAYER: OLD, OTHER: NEW}))
    assert await pinned(bench) == {**PINNED, f"sink:{OTHER}": NEW}
    assert await bench.driver.read(_told) == [PINNED, {f"sink:{OTHER}": NEW}]


async def test_an_account_that_is_removed_keeps_its_sink(bench: Bench) -> None:
    """Added again with another one it is refused like any other."""
    await cancelled(bench)
    await stop(bench)
    await start(bench, replace(RULES, sinks={}))
    assert await pinned(bench) == PINNED
    await refused(bench, MOVED)


async def test_a_sink_that_nothing_was_ever_sent_to_may_be_another_one(bench: Bench) -> None:
    """Payments alone, and another account's cancellations, are not in the way."""
    await bench.pay(await bench.insert())
    await cancelled(bench, account=OTHER)
    await stop(bench)
    await start(bench, MOVED)
    assert await pinned(bench) == {**PINNED, f"sink:{PAYER}": NEW}


async def test_a_sink_that_a_cancellation_may_pay_stays(bench: Bench) -> None:
    """Named are the account, both sinks, why, and what to do."""
    await cancelled(bench)
    await stop(bench)
    told = await refused(bench, MOVED)
    assert told.message == (
        "the sink of treasury is tb1old in this store, tb1new in the settings: cancellations or fillers of it are stored: "
        "bytes that pay the old one may be out, and what is stored is audited against it"
    )
    assert told.hint == (
        "Put the old sink back, sink = 'tb1old', in that account's settings. Another one needs another account or another "
        "store."
    )
    await start(bench)


@pytest.mark.parametrize("state", ["final", "void"])
async def test_a_cancellation_that_is_over_keeps_the_sink_too(bench: Bench, state: str) -> None:
    """It is audited for ever, whatever became of it."""
    await cancelled(bench)
    await stop(bench)
    rest = ", live = NULL, proof = 'judged'" if state == "void" else ""
    await bench.sql(f"UPDATE intent SET state = '{state}', step = NULL{rest}")
    assert "cancellations or fillers" in (await refused(bench, MOVED)).message


async def test_a_filler_keeps_the_sink(bench: Bench) -> None:
    """It has no disbursement, and a cancel variant alone."""
    await bench.driver.write(_filled)
    await stop(bench)
    assert "cancellations or fillers" in (await refused(bench, MOVED)).message


async def test_a_sink_stays_while_somebody_may_act_by_the_old_one(bench: Bench) -> None:
    """A second daemon over one store, or one that was killed: what it stages next pays the old sink."""
    told = await refused(bench, MOVED)
    assert "its lease was not given back" in told.message
    assert told.hint.endswith("with SIGTERM, which gives its lease back, and start again.")
    await stop(bench)
    await start(bench, MOVED)


async def test_a_sink_stays_while_the_store_may_have_forgotten(bench: Bench) -> None:
    """The signer may hold cancellations that this store is about to take in again (§8)."""
    await reopen(bench.driver, BEGUN, folder=None, place="here", now=AT)
    await stop(bench)
    with pytest.raises(Rejected, match="it is in quarantine") as caught:  # in the transaction that finds it
        await reopen(bench.driver, MOVED, folder=None, place="there", now=AT)
    assert caught.value.hint.endswith("; or leave the quarantine first, with the old one.")
    assert await bench.sql("SELECT state FROM account WHERE id = ?", PAYER) == [("active",)]


async def test_a_store_from_before_takes_what_the_settings_say(tmp_path: Path) -> None:
    """A backup that knows of no pins, with cancellations in it: nobody can say what it was begun with."""
    driver = await opened(InlineDriver, tmp_path / "a.db")
    bench = Bench(driver, BEGUN)
    await bench.adopt(PAYER)
    await cancelled(bench)
    await start(bench, MOVED)
    assert await pinned(bench) == {**PINNED, f"sink:{PAYER}": NEW}
    await driver.close()


async def test_the_journal_rebuilds_what_is_pinned(bench: Bench) -> None:
    """First pins, an account's that came later, and a sink that became another one."""
    await stop(bench)
    await start(bench, replace(RULES, sinks={PAYER: NEW, OTHER: OLD}))
    assert await bench.driver.read(_told) == [PINNED, {f"sink:{OTHER}": OLD, f"sink:{PAYER}": NEW}]
    await bench.driver.read(replays)


async def test_no_sink_is_where_an_open_payment_goes(bench: Bench) -> None:
    """R7: a cancellation would pay the payee, and balances could not tell the one from the other."""
    paid, back = await bench.insert(2, destination=NEW)
    await bench.pay([paid])
    await bench.sql("UPDATE disbursement SET status = 'finalized' WHERE id = ?", paid)
    await stop(bench)
    assert (await refused(bench, MOVED)).message == (
        f"the sink of {PAYER} is {NEW} in the settings, and disbursements that have not ended pay it"
    )
    await bench.sql("UPDATE disbursement SET status = 'rolled_back' WHERE id = ?", back)
    await start(bench, MOVED)
    assert (await pinned(bench))[f"sink:{PAYER}"] == NEW


async def test_a_sink_is_one_accounts_own(bench: Bench) -> None:
    """R7: two daemons on one store, or an account that was renamed: the settings of one name the sink of the other."""
    wrong = await refused(bench, replace(RULES, sinks={OTHER: OLD}))
    assert (
        wrong.message
        == f"the sink of {OTHER} is {OLD} in the settings, and so is that of {PAYER} in this store"
    )
    await start(bench, replace(RULES, sinks={OTHER: NEW}))
    assert await pinned(bench) == PINNED | {f"sink:{OTHER}": NEW}
