"""What one tick reads: each list to its bound, what an account can pay, and what its intervals come to."""

from dataclasses import replace
from typing import Any

import pytest
from tests.store.kit import FEE, OTHER, PAYER, RIVAL, RULES, Bench, seen

from treasuryd.core.changes import BlockBuried, Burned, FrozenNow, QuarantinedNow
from treasuryd.core.model import (
    Address,
    Announced,
    BaseUnits,
    BlockHash,
    Claim,
    Decision,
    DisbursementId,
    Epoch,
    Evidence,
    FreezeCause,
    HouseName,
    Interval,
    Nonce,
    Rules,
    UnixSeconds,
    View,
    Vote,
)


async def more(bench: Bench, limit: int, rules: Rules = RULES, **at: Any) -> bool:
    """Whether a reading says that it left something out."""
    bench.store.retune(rules)
    return (await bench.store.view(bench.held, at=replace(bench.at(bench.frame()), **at), limit=limit)).more


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"status": "draft"}, id="drafts"),
        pytest.param({"status": "voting", "vote_deadline_epoch": 100}, id="votes that close"),
        pytest.param({"status": "queued", "activation_epoch": 100}, id="items to activate"),
        pytest.param({}, id="candidates"),
    ],
)
async def test_a_list_that_is_full_may_have_been_cut(payer: Bench, columns: dict[str, Any]) -> None:
    """§4: with as many rows as were asked for there may be more, with fewer there are none."""
    await payer.insert(3, **columns)
    assert await more(payer, 3)
    assert not await more(payer, 4)


async def test_candidates_that_fill_the_window_are_all_that_can_be_staged(payer: Bench) -> None:
    """R8: more rows of them would be of no use in this tick, with what is in flight counted."""
    await payer.pay(await payer.insert(1))
    await payer.insert(3)
    assert not await more(payer, 3, replace(RULES, max_unburned=4))
    assert await more(payer, 3, replace(RULES, max_unburned=5))


async def test_what_waits_for_the_signer_or_its_sending_may_be_cut(payer: Bench) -> None:
    """§4: unsealed rows always; unsent ones where the window is wider than the list."""
    staged = await payer.stage(await payer.insert(3))
    assert await more(payer, 3)
    assert not await more(payer, 4)
    await payer.seal(staged)
    assert await more(payer, 3)
    assert not await more(payer, 3, replace(RULES, max_unburned=3))
    assert not await more(payer, 4)


async def test_a_filler_is_read_with_a_key_of_its_own(payer: Bench) -> None:
    """R9: it pays no disbursement, so it has none's content and none's key; the signer knows it by its nonce."""
    _, intent = await payer.stage(await payer.insert(2))
    await payer.sql("UPDATE disbursement SET live_intent = NULL WHERE live_intent = ?", intent.id)
    await payer.sql("UPDATE intent SET disbursement_id = NULL WHERE id = ?", intent.id)
    _, filler = (await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed
    assert (filler.memo, filler.payload_digest, filler.idempotency_key) == ("", "", f"filler/{PAYER}/2")


async def test_what_is_consumed_may_be_cut(payer: Bench) -> None:
    """§5.1: an interval is judged whole, so the next reading is a longer one."""
    await payer.pay(await payer.insert(3))
    payer.nonce = Nonce(3)
    assert await more(payer, 3)
    assert not await more(payer, 4)
    assert not await more(payer, 3, frame=None), "without a frame nothing is known to be consumed"


async def test_what_is_to_be_replaced_is_never_cut_for_good(payer: Bench) -> None:
    """R7: a full list of cancels asks for no longer one: the next tick orders what is behind these."""
    await payer.pay(await payer.insert(3))
    await payer.sql("UPDATE disbursement SET cancel_requested = 'x'")
    assert not await more(payer, 3)


async def test_what_is_sent_again_is_never_cut_for_good(payer: Bench) -> None:
    """R3: those that went out go to the end of the line; neither these nor two payloads under a nonce ask for more."""
    intents = await payer.pay(await payer.insert(3))
    due = UnixSeconds(payer.unix + RULES.resend_seconds)
    assert not await more(payer, 3, unix=due)
    await payer.sql("UPDATE disbursement SET cancel_requested = 'x'")
    await payer.sql("UPDATE variant SET kind = 'cancel'")
    assert not await more(payer, 3)
    assert [one.id for one in (await view(payer)).resend] == [one.id for one in intents], "due or not (R7)"


async def test_an_account_that_stands_still_keeps_nobody_busy(payer: Bench) -> None:
    """A full list of a frozen account asks for no longer one."""
    await payer.stage(await payer.insert(3))
    await payer.insert(3)
    await payer.written(FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="drill"))
    assert not await more(payer, 3)


@pytest.mark.parametrize(("over", "listed"), [(0, True), (1, False)])
async def test_what_an_account_can_pay_is_counted_to_the_unit(
    payer: Bench, over: int, *, listed: bool
) -> None:
    """D8: balance of the frame, less what is promised and the least fee; what costs more is not looked at."""
    await payer.stage(await payer.insert(1, amount=500))
    payer.balance = BaseUnits(10_000)
    least = 70
    largest = payer.balance - 500 - FEE - least
    await payer.insert(1, amount=largest + over)
    at = replace(payer.at(payer.frame()), least_fee=BaseUnits(least))
    assert bool((await payer.store.view(payer.held, at=at, limit=9)).candidates) is listed


async def test_without_a_frame_the_baseline_says_what_an_account_can_pay(payer: Bench) -> None:
    """D8: as it was read last; a frame that shows it as absent says that there is nothing."""
    most = await payer.insert(1, amount=payer.balance)
    await payer.insert(1, amount=payer.balance + 1)

    async def candidates(**at: Any) -> list[DisbursementId]:
        view = await payer.store.view(payer.held, at=replace(payer.at(), **at), limit=9)
        return [item.id for item in view.candidates]

    assert await candidates() == most
    assert await candidates(frame=payer.frame(OTHER)) == most, "it does not show the account"
    payer.store.retune(replace(RULES, max_transfer=BaseUnits(payer.balance - 1)))
    assert await candidates() == []
    await payer.insert(1, amount=1)
    assert await candidates(frame=replace(payer.frame(), holdings={Address(PAYER): None})) == []


async def view(bench: Bench, **at: Any) -> View:
    return await bench.store.view(bench.held, at=replace(bench.at(bench.frame()), **at), limit=9)


async def test_an_interval_adds_up_what_was_placed_in_it(payer: Bench) -> None:
    """§5.1: open, placed and void nonces between baseline and frame, what they cost, and the highest final one."""
    one, two, three, four, five = await payer.pay(await payer.insert(5))
    payer.nonce = Nonce(4)
    assert (await view(payer)).intervals == {PAYER: Interval(consumed=4, placed=0, cost=0, burned=Nonce(0))}
    await payer.include([one], height=1_050)
    await payer.written(seen(two, 1_051, fee=130))
    await payer.written(Burned(account=PAYER, intent_id=three.id))
    found = Interval(consumed=1, placed=3, cost=2 * 1_000 + FEE + 130, burned=Nonce(3))
    assert (await view(payer)).intervals == {PAYER: found}
    await payer.bury(height=1_050)
    assert (await view(payer)).intervals == {PAYER: found}
    payer.nonce = Nonce(5)
    await payer.include([four, five], height=1_052)
    await payer.bury(height=1_052)
    last = (await view(payer)).intervals[PAYER]
    assert (last.consumed, last.placed, last.burned) == (0, 5, 5)
    assert (await view(payer, frame=None)).intervals == {
        PAYER: Interval(consumed=0, placed=0, cost=0, burned=Nonce(5))
    }


async def test_claims_and_expected_deposits_are_read_as_they_are_stored(payer: Bench) -> None:
    """§5.1: whose, under which nonce, to whom and how much; what this tick judges itself is no claim."""
    await payer.adopt(OTHER)
    await payer.pay(await payer.insert())
    await payer.pay(await payer.insert(2, account=OTHER, amount=77))
    await payer.pay(await payer.insert(account=OTHER, amount=5, destination="tb1elsewhere"))
    await payer.sql("INSERT INTO announced VALUES (4, ?, 50, 'p', 'r', 1.0, NULL)", PAYER)
    payer.nonce = Nonce(1)
    frame = replace(payer.frame(), holdings={**payer.frame().holdings, Address(OTHER): None})
    found = await view(payer, frame=frame, evidence=Evidence.BALANCE)
    assert found.claims == tuple(
        Claim(account=OTHER, nonce=Nonce(nonce), destination=Address("tb1payee"), amount=BaseUnits(77))
        for nonce in (1, 2)
    )
    assert found.announced == (Announced(id=4, account=PAYER, amount=BaseUnits(50)),)
    assert (await view(payer, evidence=Evidence.HASH)).claims == ()


async def test_what_a_cancellation_cost_is_a_cost_of_the_interval(payer: Bench) -> None:
    """§5.1, R7: once it is final its intent is void, and what it took from the account still counts."""
    one, two = await payer.pay(await payer.insert(2))
    await payer.sql("UPDATE variant SET kind = 'cancel' WHERE intent_id = ?", two.id)
    await payer.include([one], height=1_040)
    await payer.written(seen(two, 1_041, fee=130))
    await payer.bury(height=1_041)
    payer.nonce = Nonce(2)
    found = (await view(payer)).intervals[PAYER]
    assert (found.placed, found.cost, found.burned) == (2, 1_000 + FEE + 130 + 1, 2)


async def test_an_account_that_the_baseline_shows_as_absent_has_used_nothing(payer: Bench) -> None:
    """§5.1: its interval begins with the very first nonce."""
    await payer.pay(await payer.insert())
    await payer.sql("UPDATE frame SET holdings = '{}'")
    fresh = Bench(payer.driver)
    fresh.held, fresh.nonce = payer.held, Nonce(1)
    assert (await view(fresh)).intervals[PAYER].consumed == 1


async def test_without_a_baseline_nothing_else_claims_what_is_consumed(payer: Bench) -> None:
    """§8.4: an account taken up from the signer alone: its nonces are used, and no reading of it was ever kept."""
    await payer.pay(await payer.insert())
    await payer.sql("DELETE FROM frame")
    fresh = Bench(payer.driver)
    fresh.held, fresh.nonce = payer.held, Nonce(1)
    found = await view(fresh, evidence=Evidence.BALANCE)
    assert ([one.nonce for one in found.consumed], found.claims) == ([1], ())


async def test_a_view_is_of_the_accounts_that_are_held(payer: Bench) -> None:
    """R13: what somebody else holds is not decided on here."""
    await Bench(payer.driver, me=RIVAL).adopt(OTHER)
    assert [account.id for account in (await view(payer)).accounts] == [PAYER]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"status": "voting", "vote_deadline_epoch": 100}, id="its vote ends"),
        pytest.param({}, id="it could be staged"),
    ],
)
async def test_the_votes_of_what_is_decided_on_are_read_with_it(
    payer: Bench, columns: dict[str, Any]
) -> None:
    """§2: a vote that closes is counted, and one that was won is counted again before staging; plain items have none."""
    [item] = await payer.insert(**columns)
    await payer.insert(**columns)
    await payer.sql("INSERT INTO proposal VALUES (?, 't', 's', '[]', '[]', 1, 1, 1, 1, 1)", item)
    await payer.sql("INSERT INTO vote VALUES (?, 'operators', 'key', 4, 'approve', 'signed', 2.0, 90)", item)
    cast_ = Vote(
        disbursement_id=item,
        house=HouseName.OPERATORS,
        key="key",
        counter=4,
        decision=Decision.APPROVE,
        signature="signed",
        taken_at=UnixSeconds(2.0),
        seen_epoch=Epoch(90),
    )
    assert (await view(payer)).votes == {item: (cast_,)}


async def test_each_list_is_in_nonce_order_and_names_nobody_twice(payer: Bench) -> None:
    """R8, R7: what waits, what left and is due again, what is to be replaced; what advances stands still in quarantine."""
    items = await payer.insert(4)
    sealed = await payer.seal((await payer.stage(items))[:3])
    await payer.send(sealed[:2])
    await payer.sql("UPDATE disbursement SET cancel_requested = 'x' WHERE id IN (?, ?)", items[0], items[2])
    [draft] = await payer.insert(status="draft")
    late = replace(payer.at(payer.frame()), unix=type(payer.unix)(payer.unix + RULES.resend_seconds))
    found = await payer.store.view(payer.held, at=late, limit=9)
    nonces = {
        name: [intent.nonce for intent in getattr(found, name)]
        for name in ("unsealed", "unsent", "resend", "consumed", "cancelling")
    }
    assert nonces == {"unsealed": [4], "unsent": [3], "resend": [1, 2], "consumed": [], "cancelling": [1, 3]}
    early = replace(late, unix=type(payer.unix)(late.unix - 0.5))
    assert (await payer.store.view(payer.held, at=early, limit=9)).resend == (), "not due yet"
    assert {account: intent.nonce for account, intent in found.oldest_sent.items()} == {PAYER: 1}
    assert (found.unburned, [item.id for item in found.advancing]) == ({PAYER: 4}, [draft])
    await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    assert (await payer.store.view(payer.held, at=late, limit=9)).advancing == ()


async def test_a_block_that_is_not_there_buries_nothing(payer: Bench) -> None:
    """R9: height and hash together; another hash at that height is another block."""
    await payer.include(await payer.pay(await payer.insert()), height=1_050)
    other = BlockBuried(account=PAYER, height=payer.height, block_hash=BlockHash("x"))
    assert (await payer.written(other)).events == ()
    [block] = (await view(payer)).blocks
    assert (block.account, block.height, block.count) == (PAYER, 1_050, 1)


async def test_where_money_may_go_is_watched_account_by_account(payer: Bench) -> None:
    """§5.1: each account with its sink, then its open intents and its next candidates, each address once."""
    await payer.adopt(OTHER)
    await payer.stage(await payer.insert(destination="tb1open"))
    await payer.insert(2, destination="tb1next")
    await payer.stage(await payer.insert(account=OTHER, destination="tb1theirs"))
    found = await payer.store.watched(payer.held, settled=payer.settled, limit=10)
    assert list(found) == [
        PAYER,
        f"{PAYER}-sink",
        "tb1open",
        "tb1next",
        OTHER,
        f"{OTHER}-sink",
        "tb1theirs",
    ]
