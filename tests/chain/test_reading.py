from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.chain.world import FOREVER, Stage, intents, rpc
from tests.devnet.world import DEV, FUNDS, REAL

from treasuryd.chain.transport import Answer, FrameTooLarge
from treasuryd.core.events import EventKind
from treasuryd.core.model import Address, CallClass, Height, Holding, Nonce, TxHash
from treasuryd.devnet import config as devnet
from treasuryd.devnet.config import DevnetConfig
from treasuryd.devnet.faults import Wrong
from treasuryd.errors import Transient

TREASURY, DEST = Address("treasury"), Address("tb1dest")
KINDS = [pytest.param(DEV, id="look-up"), pytest.param(REAL, id="stream")]


@pytest.mark.parametrize("config", KINDS)
async def test_an_empty_chain_waits_and_is_not_touched_where_it_hurts(config: DevnetConfig) -> None:
    """N2: `light.latest_header` panics on an empty chain and is never called. N15: an empty chain waits."""
    stage = Stage(replace(config, latest_header_panics=True))
    (head,) = await stage.chain.heads()
    assert (head.height, head.block_hash, head.genesis) == (0, None, None)
    with pytest.raises(Transient, match="no block yet"):
        await stage.chain.frame([TREASURY])
    assert await stage.chain.headers([Height(0), Height(1)]) == [None, None]
    stage.mine(3)
    await stage.chain.heads()
    await stage.chain.frame([TREASURY])
    assert "light.latest_header" not in stage.transport.methods
    assert not stage.node.switches.poisoned


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize("blocks", [1, 2, 250])
async def test_height_counts_blocks_and_genesis_is_the_first_header(
    config: DevnetConfig, blocks: int
) -> None:
    """N15: `tip_height` is 0 for none and for one block; header 0 is the chain's name."""
    stage = Stage(config)
    stage.mine(blocks)
    (head,) = await stage.chain.heads()
    ledger = stage.node.ledger
    assert head.height == blocks
    assert head.block_hash == ledger.block_hash(blocks - 1)
    assert head.genesis == ledger.block_hash(0)
    frame = await stage.chain.frame([TREASURY])
    assert (frame.height, frame.block_hash) == (blocks, head.block_hash)


@pytest.mark.parametrize("config", KINDS)
async def test_a_missing_account_is_absent_and_not_empty(config: DevnetConfig) -> None:
    """N15: `balance` would answer 0 for it; the frame says None."""
    stage = Stage(config)
    stage.mine()
    frame = await stage.chain.frame([TREASURY, DEST])
    assert frame.holdings == {TREASURY: Holding(balance=FUNDS, nonce=Nonce(0)), DEST: None}  # type: ignore[arg-type]
    assert frame.base_fee == 1
    assert "balance" not in stage.transport.methods


@pytest.mark.parametrize("config", KINDS)
async def test_a_frame_is_one_moment_although_blocks_come_in_between(config: DevnetConfig) -> None:
    """The header at its height reads the same before and after (protocol.md §1); a moved chain is read again."""
    stage = Stage(config)
    stage.mine(2)
    await stage.chain.start()
    moves = iter([True, True])

    def mine_once(*_: Any) -> None:
        if next(moves, False):
            stage.mine()

    if config is REAL:
        stage.transport.on_stream = mine_once
    stage.transport.then = lambda body: mine_once() if b"account" in body else None
    frame = await stage.chain.frame([TREASURY])
    assert frame.block_hash == stage.node.ledger.block_hash(frame.height - 1)
    assert frame.base_fee is not None


async def test_a_frame_between_two_readings_of_another_block_does_not_count() -> None:
    """A reorg while reading: the same height, another hash; what was read in between is thrown away."""
    stage = Stage(REAL)
    stage.mine(5)
    reorgs = iter([True])

    def reorg() -> None:
        if next(reorgs, False):
            stage.node.ledger.reorg(2, now=stage.clock.now, blocks=2)

    stage.transport.on_stream = reorg
    frame = await stage.chain.frame([TREASURY])
    assert frame.block_hash == stage.node.ledger.block_hash(frame.height - 1)
    assert stage.transport.streams == 2


async def test_a_chain_that_keeps_moving_is_transient() -> None:
    """Retries are bounded."""
    stage = Stage(REAL)
    stage.mine()
    await stage.chain.start()
    stage.transport.then = lambda _body: stage.mine()
    with pytest.raises(Transient, match="moved during each"):
        await stage.chain.frame([TREASURY])
    assert stage.transport.streams <= stage.config.frame_attempts


async def test_the_account_ability_lost_at_run_time_falls_back_to_the_stream() -> None:
    """N17: -32601 in the middle of work is no failure."""
    stage = Stage(DEV)
    stage.mine()
    await stage.chain.frame([TREASURY])
    stage.node.switches.abilities = replace(stage.node.switches.abilities, account=False)
    frame = await stage.chain.frame([TREASURY])
    assert frame.holdings[TREASURY] is not None
    assert stage.transport.streams == 1


async def test_more_addresses_than_a_batch_serves_come_from_the_stream() -> None:
    """One frame holds all accounts of the chain at one moment, however many were asked for."""
    stage = Stage(DEV)
    stage.mine()
    many = [Address(f"tb1n{number}") for number in range(2000)]
    frame = await stage.chain.frame([TREASURY, *many])
    assert len(frame.holdings) == 2001
    assert stage.transport.streams == 1


async def test_a_frame_beyond_the_bound_says_what_to_do() -> None:
    """Bounded, and the way out is named; with the ability `account` it is taken."""
    stage = Stage(REAL, max_frame_bytes=100)
    stage.mine()
    with pytest.raises(FrameTooLarge):
        await stage.chain.frame([TREASURY])
    rich = Stage(DEV, max_frame_bytes=100)
    rich.mine()
    many = [Address(f"tb1n{number}") for number in range(2000)]
    assert len((await rich.chain.frame([TREASURY, *many])).holdings) == 2001


async def test_the_base_fee_is_kept_for_its_block_alone() -> None:
    """Metrics are read once per block; another block on the same height has its own."""
    stage = Stage(DEV)
    stage.mine(3)
    for _ in range(3):
        await stage.chain.frame([TREASURY])
    stage.transport.forget()
    await stage.chain.frame([TREASURY])
    assert "metrics" not in stage.transport.methods
    stage.node.ledger.reorg(1, now=stage.clock.now, blocks=1)
    stage.node.ledger.base_fee = 9
    assert (await stage.chain.frame([TREASURY])).base_fee == 9


async def test_without_metrics_the_base_fee_is_not_known() -> None:
    """None, never a guess: without a reading nothing fits (protocol.md §5.1)."""
    stage = Stage(DEV)
    stage.mine()
    stage.transport.before = lambda body: (
        rpc(orjson.loads(body)["id"], error=(-32601, "method not found")) if b'"metrics"' in body else None
    )
    assert (await stage.chain.frame([TREASURY])).base_fee is None
    assert (await stage.chain.quote()).base_fee == 1


async def test_headers_are_asked_for_in_few_calls() -> None:
    """Neighbours share a call; what is unknown is None, in the order asked."""
    stage = Stage(REAL)
    stage.mine(500)
    await stage.chain.heads()
    stage.transport.forget()
    asked = [Height(n) for n in (500, 1, 2, 199, 501, 0, 450)]
    found = await stage.chain.headers(asked)
    ledger = stage.node.ledger
    expected = [ledger.block_hash(height - 1) if 0 < height <= 500 else None for height in asked]
    assert [header and header.block_hash for header in found] == expected
    assert len(stage.transport.methods) == 2


async def test_one_bad_row_of_a_look_up_proves_nothing_and_spoils_no_other() -> None:
    """Errors stay in their row: its `as_of` is older than every frame, so it cannot void a payment."""
    stage = Stage(DEV)
    stage.mine()
    sent = intents(1, 2, 3)
    await stage.chain.broadcast(sent, until=FOREVER)
    stage.mine()

    def spoil(body: bytes, answer: Answer) -> Answer:
        if b"tx_status" not in body:
            return answer
        rows = orjson.loads(answer.body)
        rows[1]["result"] = {"status": "included", "height": -1}
        return Answer(status=200, body=orjson.dumps(rows))

    stage.transport.after = spoil
    first, second, third = await stage.chain.sightings(sent)
    assert (first.variant, third.variant) == (1, 1)
    assert (second.variant, second.as_of) == (None, 0)


async def test_a_look_up_bears_the_height_from_before_it_was_asked() -> None:
    """An answer older than a frame proves nothing about it, so the height is taken first."""
    stage = Stage(DEV)
    stage.mine(4)
    sent = intents(1)
    await stage.chain.heads()
    stage.transport.then = lambda body: stage.mine() if b"headers" in body else None
    (sighting,) = await stage.chain.sightings(sent)
    assert (sighting.as_of, sighting.variant) == (4, None)


async def test_look_up_lost_at_run_time_changes_the_evidence() -> None:
    """N17: -32601 on the look-up is no failure; evidence is BALANCE from then on."""
    stage = Stage(DEV)
    stage.mine()
    await stage.chain.heads()
    stage.node.switches.abilities = devnet.NO_ABILITIES
    assert await stage.chain.sightings(intents(1)) == []
    assert stage.chain.evidence.value == "balance"
    assert stage.failures(CallClass.READ) == 0


async def test_a_look_up_that_lies_about_the_block_is_passed_on_with_its_hash() -> None:
    """The header hash is given, so that the caller can compare it with the header at that height (R9)."""
    stage = Stage(DEV)
    stage.mine()
    sent = intents(1)
    await stage.chain.broadcast(sent, until=FOREVER)
    stage.mine()
    stage.node.faults.add(Wrong.WRONG_BLOCK)
    (sighting,) = await stage.chain.sightings(sent)
    (header,) = await stage.chain.headers([sighting.height or Height(0)])
    assert header is not None
    assert sighting.block_hash != header.block_hash


async def test_each_sealed_variant_is_looked_up() -> None:
    """Any of them may be in the block; the unsealed one has no name yet."""
    stage = Stage(DEV)
    stage.mine()
    (one,) = intents(1)
    await stage.chain.broadcast([one], until=FOREVER)
    stage.mine()
    (paid,) = one.variants
    dearer = replace(paid, number=2, tx_hash=TxHash("f" * 64))
    unsealed = replace(paid, number=3, tx_bytes=None, tx_hash=None)
    (sighting,) = await stage.chain.sightings([replace(one, variants=(paid, dearer, unsealed))])
    assert sighting.variant == 1
    (nothing,) = await stage.chain.sightings([replace(one, variants=(unsealed,))])
    assert (nothing.variant, nothing.as_of) == (None, 0)


async def test_a_look_up_that_speaks_of_another_transaction_is_an_alarm_and_proves_nothing() -> None:
    """R3: a hash that is not the one asked for is told of, and taken for no answer."""
    stage = Stage(DEV)
    stage.mine()
    sent = intents(1)
    await stage.chain.broadcast(sent, until=FOREVER)
    stage.mine()

    def rename(body: bytes, answer: Answer) -> Answer:
        if b"tx_status" not in body:
            return answer
        said = orjson.loads(answer.body)
        said["result"]["tx_hash"] = "e" * 64
        return Answer(status=200, body=orjson.dumps(said))

    stage.transport.after = rename
    (sighting,) = await stage.chain.sightings(sent)
    assert (sighting.variant, sighting.as_of) == (None, 0)
    assert len(stage.seen.of(EventKind.HASH_MISMATCH)) == 1


async def test_a_batch_that_a_block_falls_into_is_no_frame() -> None:
    """Nothing says that a node handles a batch at one moment: tip before and after have to be the same."""
    stage = Stage(DEV)
    stage.mine(2)
    await stage.chain.start()
    moves = iter([True, True])

    def pay_in_between(method: str) -> None:
        if method == "account" and next(moves, False):
            stage.node.ledger.deposit(DEST, 500)
            stage.mine()

    stage.transport.between = pay_in_between
    frame = await stage.chain.frame([DEST, TREASURY])
    held = frame.holdings[DEST]
    assert held is not None
    assert (frame.height, held.balance) == (4, 1000)


async def test_a_base_fee_of_another_block_is_never_given() -> None:
    """When metrics can no longer be had the reading is missing; the last one was another block's."""
    stage = Stage(DEV)
    stage.mine()
    assert (await stage.chain.frame([TREASURY])).base_fee == 1
    stage.endpoint.lose(metrics=False)
    stage.mine()
    assert (await stage.chain.frame([TREASURY])).base_fee is None
