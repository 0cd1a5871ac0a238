"""What a person judges: the verdict, the books, the journal and the answer, each of them whole."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.deskworld import (
    GOOD,
    NOW,
    OPS,
    PERSON,
    PROPOSAL,
    RULES,
    DeskWorld,
    opened,
    refused,
)

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    BaseUnits,
    DisbursementId,
    Epoch,
    Evidence,
    Height,
    Hold,
    Nonce,
    NotWritten,
    State,
    Status,
    TxHash,
    UnixSeconds,
)
from treasuryd.errors import Refusal
from treasuryd.store import desk_judgement

LATER = UnixSeconds(NOW + 60)
ADA = replace(PERSON, at=LATER)
DEEP = Height(99)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        await found.account()
        yield found


async def frames(world: DeskWorld, intent: int, *shown: dict[str, list[int] | None]) -> None:
    """What the two frames of an ambiguous intent show."""
    texts = [json.dumps({"base_fee": 1, "holdings": holdings}) for holdings in shown]
    await world.sql("UPDATE ambiguity SET first = ?, second = ? WHERE intent_id = ?", *texts, intent)


async def movements(world: DeskWorld) -> list[tuple[Any, ...]]:
    """What was booked, in order: kind, delta, fee, balance after it, time, item, intent, height."""
    return await world.sql(
        "SELECT kind, delta, fee, balance, recorded_at, disbursement_id, intent_id, height FROM balance_event ORDER BY id"
    )


async def resolve(world: DeskWorld, *ids: DisbursementId, paid: bool) -> list[Event | NotWritten]:
    return list(await world.desk.resolve(ids, paid=paid, by=ADA, believed=DEEP))


def judged(item: DisbursementId, verdict: str, intent: int, *, amount: int = 100) -> Event:
    return Event(
        kind=EventKind.RESOLVED,
        account=OPS,
        ids=(item,),
        reason=verdict,
        amount=BaseUnits(amount),
        detail=f"intent {intent}",
    )


async def entries_since(world: DeskWorld, count: int) -> list[tuple[str, str, float, dict[str, Any]]]:
    return (await world.said())[count:]


# --- paid -------------------------------------------------------------------------------------------------------------


async def test_what_is_judged_paid_is_executed_booked_told_and_journalled(world: DeskWorld) -> None:
    """R5 d: as if the chain had shown it at the second height, by the word of a person, at the time of the word."""
    (item,) = await world.submit(GOOD | {"proposal": PROPOSAL | {"rollback_window_epochs": 5}})
    intent = await world.ambiguous(item, first=20, second=32, fall=105, hashes=("a1", "b2"))
    before, (open_,) = await world.item(item), await world.desk.intents(item)
    count = len(await world.said())
    assert await resolve(world, item, paid=True) == [judged(item, "paid", intent)]
    assert await world.item(item) == replace(
        before,
        status=Status.EXECUTED,
        status_at=LATER,
        tx_hash=TxHash(f"{'a1' * 32},{'b2' * 32}"),
        fee_paid=BaseUnits(8),
        executed_height=Height(32),
        executed_epoch=Epoch(3),
        executed_at=LATER,
        evidence=Evidence.PERSON,
    )
    assert await world.desk.intents(item) == [
        replace(open_, state=State.FINAL, winner=2, height=Height(32), evidence=Evidence.PERSON)
    ]
    assert await world.sql("SELECT finalize_epoch FROM disbursement") == [(3 + 5,)]
    assert await world.sql("SELECT cost FROM intent") == [(108,)]
    assert await movements(world) == [
        ("execution", -108, 8, 892, LATER, item, intent, 32),
        ("funding", 3, 0, 895, LATER, None, None, 32),
    ]
    assert await entries_since(world, count) == [
        ("people", "resolve", LATER, {"who": "ada", "reason": "because", "paid": True, "judged": [item]})
    ]


async def test_only_payments_that_may_have_left_are_named_as_the_one_that_paid(world: DeskWorld) -> None:
    """Not the cancellation beside them, nor bytes that nobody sent; where no sending is recorded, each that is sealed."""
    sent, sealed = await world.submit(GOOD, GOOD | {"amount": 50})
    for item in (sent, sealed):
        intent = await world.ambiguous(
            item, first=20, second=22, fall=0, hashes=("a1", "b2", "c3", "d4", "e5")
        )
        await world.sql("UPDATE variant SET kind = 'cancel' WHERE intent_id = ? AND number IN (1, 5)", intent)
        await world.sql(
            "UPDATE variant SET tx_hash = NULL, sent_at = NULL, tx_bytes = NULL, attempts = 0"
            " WHERE intent_id = ? AND number = 4",
            intent,
        )
        await world.sql(
            "UPDATE variant SET sent_at = NULL WHERE intent_id = ? AND (number = 3 OR ?)",
            *(intent, item == sealed),
        )
    await resolve(world, sent, sealed, paid=True)
    first, second = await world.item(sent), await world.item(sealed)
    assert (first.tx_hash, first.fee_paid) == ("b2" * 32, 8)
    assert (second.tx_hash, second.fee_paid) == (f"{'b2' * 32},{'c3' * 32}", 9)
    assert await world.sql("SELECT winner FROM intent ORDER BY id") == [(2,), (3,)]


async def test_who_waited_for_what_was_judged_paid_is_counted_anew(tmp_path: Path) -> None:
    """§2: a final intent satisfies by setting, whoever said that it is final; a void one satisfies nobody."""
    async with opened(tmp_path, rules=replace(RULES, dependency_satisfied_by_final=True)) as world:
        await world.account()
        paid, void = await world.submit(GOOD, GOOD | {"amount": 50})
        waiting = await world.submit(
            GOOD | {"depends_on": [paid], "amount": 1}, GOOD | {"depends_on": [paid, void], "amount": 2}
        )
        for item in (paid, void):
            await world.ambiguous(item, first=20, second=22, fall=0)
        await resolve(world, void, paid=False)
        unmet = "SELECT unmet FROM disbursement WHERE id >= ? ORDER BY id"
        assert await world.sql(unmet, waiting[0]) == [(1,), (2,)]
        await resolve(world, paid, paid=True)
        assert await world.sql(unmet, waiting[0]) == [(0,), (1,)]


# --- void -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [20, 22])
async def test_what_is_judged_void_says_by_whom_and_waits_for_a_release(world: DeskWorld, first: int) -> None:
    """R5 d: no money moved, so none is booked; the account's own chain says what became of the intent."""
    (item,) = await world.submit(GOOD)
    intent = await world.ambiguous(item, first=first, second=22, fall=0)
    before, (open_,) = await world.item(item), await world.desk.intents(item)
    count = len(await world.said())
    assert await resolve(world, item, paid=False) == [judged(item, "void", intent)]
    detail = f"intent {intent} was judged void by ada"
    assert await world.item(item) == replace(
        before, live_intent=None, hold=Hold.NEEDS_RELEASE, hold_detail=detail
    )
    assert await world.desk.intents(item) == [replace(open_, state=State.VOID)]
    assert await movements(world) == []
    assert await entries_since(world, count) == [
        ("people", "resolve", LATER, {"who": "ada", "reason": "because", "paid": False, "judged": [item]}),
        (
            f"account:{OPS}",
            "resolve",
            LATER,
            {"voided": [[intent, "judged", "needs_release"]], "held": [[item, "needs_release"]]},
        ),
    ]


async def lost_filler(world: DeskWorld) -> int:
    """A filler whose nonce was used between the heights 20 and 22 by what balances do not tell."""
    (item,) = await world.submit(GOOD)
    intent = await world.ambiguous(item, first=20, second=22, fall=9)
    await world.sql("UPDATE disbursement SET live_intent = NULL")
    await world.sql("UPDATE intent SET disbursement_id = NULL")
    return intent


async def settled(world: DeskWorld, height: int) -> None:
    """What is at finality depth, by the lowest head."""
    await world.sql("UPDATE chain SET settled_height = ?", height)


async def test_a_filler_judged_void_books_what_was_lost_with_its_nonce(world: DeskWorld) -> None:
    """§8: it paid nobody, so whatever its frames show is unexplained; the account's chain says so at that time."""
    intent = await lost_filler(world)
    await settled(world, 22)
    count = len(await world.said())
    await world.driver.write(desk_judgement.judge_fillers, RULES, OPS, by=ADA)
    assert await world.sql("SELECT state, proof, live FROM intent") == [("void", "judged", None)]
    assert await movements(world) == [("unexplained", -9, 0, 991, LATER, None, None, 22)]
    assert await entries_since(world, count) == [
        (f"account:{OPS}", "judge_fillers", LATER, {"voided": [[intent, "judged", "needs_release"]]})
    ]


async def test_a_thaw_ends_a_filler_whose_nonce_is_lost_for_good(world: DeskWorld) -> None:
    """R9: nobody can name it, and its account's books are not audited; one head that runs ahead makes nothing final."""
    await lost_filler(world)
    await world.account(state="frozen", cause="person")
    await world.chain(believed=99)
    await settled(world, 21)
    assert await refused(world.desk.thaw(OPS, by=ADA, burned=Nonce(4))) == (
        f"the account {OPS}: what used the nonce of a filler is not final yet, in 1 blocks",
        "account",
        Refusal.CONFLICT,
    )
    assert await world.sql("SELECT state FROM intent") == [("ambiguous",)]
    await settled(world, 22)
    assert (await world.desk.thaw(OPS, by=ADA, burned=Nonce(4))).kind is EventKind.ACCOUNT_THAWED
    assert await world.sql("SELECT state, proof FROM intent") == [("void", "judged")]


# --- what is left over of an interval ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "rest"),
    [
        pytest.param([1_000, 0], [893, 99], None, id="nothing is left over"),
        pytest.param([1_000, 0], [894, 99], ("funding", 1), id="one unit more than the payment explains"),
        pytest.param([1_000, 0], [892, 99], ("unexplained", -1), id="one unit less"),
        pytest.param(None, [5, 99], ("funding", 112), id="the chain did not know the account before"),
        pytest.param([5, 0], None, ("unexplained", -5), id="nor afterwards, where no nonce was used"),
    ],
)
async def test_the_remainder_is_booked_to_the_unit(
    world: DeskWorld, first: list[int] | None, second: list[int] | None, rest: tuple[str, int] | None
) -> None:
    """§5.1: what the two frames show and nothing explains; an account that the chain did not know held nothing."""
    (item,) = await world.submit(GOOD)
    intent = await world.ambiguous(item, first=20, second=22, fall=0)
    await frames(world, intent, {OPS: first}, {OPS: second})
    await resolve(world, item, paid=True)
    booked = [(kind, delta) for kind, delta, *_ in await movements(world)]
    assert booked == [("execution", -107), *([rest] if rest else [])]


async def test_an_account_that_a_frame_does_not_name_held_nothing(world: DeskWorld) -> None:
    """The frame was read, and the chain knew no such account: its first nonce was used in the interval too."""
    paid, item = await world.submit(GOOD, GOOD | {"amount": 50})
    await world.sql("UPDATE counter SET next = 1 WHERE name = 'intent'")
    await world.paid(paid, height=21)
    intent = await world.ambiguous(item, first=20, second=22, fall=0)
    await frames(world, intent, {}, {OPS: [30, 99]})
    await resolve(world, item, paid=False)
    assert [(kind, delta) for kind, delta, *_ in await movements(world)] == [("funding", 30 + 107)]


async def test_what_was_booked_and_paid_within_the_interval_explains_its_share(world: DeskWorld) -> None:
    """§5.1: income of its blocks (not of the one it begins with) and what decided nonces between its counts cost."""
    items = await world.submit(*[GOOD | {"amount": amount} for amount in (10, 20, 30, 40, 50)])
    below, low, high, above, open_ = items
    await world.sql("UPDATE counter SET next = 3 WHERE name = 'intent'")
    for item in (below, low):
        await world.paid(item, height=21)  # nonces 3 and 4
    intent = await world.ambiguous(open_, first=20, second=22, fall=0)  # nonce 5
    for item in (high, above):
        await world.paid(item, height=22)  # nonces 6 and 7
    await frames(world, intent, {OPS: [1_000, 3]}, {OPS: [500, 6]})
    for height, delta in ((20, 1_000), (21, 200), (22, 4), (23, 2_000)):
        await world.sql(
            "INSERT INTO balance_event (account, kind, delta, balance, recorded_at, height)"
            " VALUES (?, 'funding', ?, 1, ?, ?)",
            *(OPS, delta, NOW, height),
        )
    await resolve(world, open_, paid=False)
    explained = 200 + 4 - (20 + 7) - (30 + 7)
    assert (await movements(world))[-1][:2] == ("unexplained", -500 - explained)


async def test_frames_of_one_height_are_an_interval_where_they_differ(world: DeskWorld) -> None:
    """A block was replaced by another one of the same height: what the two show is what is left over."""
    (item,) = await world.submit(GOOD)
    intent = await world.ambiguous(item, first=20, second=20, fall=0)
    await frames(world, intent, {OPS: [1_000, 0]}, {OPS: [800, 99]})
    await resolve(world, item, paid=True)
    assert [(kind, delta) for kind, delta, *_ in await movements(world)] == [
        ("execution", -107),
        ("unexplained", -93),
    ]


async def test_two_heights_are_an_interval_even_where_the_balance_is_the_same(world: DeskWorld) -> None:
    """Another verdict of the interval is still to come, so nothing is balanced before it."""
    one, two = await world.submit(GOOD, GOOD | {"amount": 50})
    for item in (one, two):
        intent = await world.ambiguous(item, first=20, second=21, fall=0)
        await frames(world, intent, {OPS: [1_000, 99]}, {OPS: [1_000, 99]})
    await resolve(world, one, paid=True)
    assert [(kind, delta) for kind, delta, *_ in await movements(world)] == [("execution", -107)]


@pytest.mark.parametrize(("first", "second"), [(20, 23), (19, 22)])
async def test_an_open_intent_of_another_interval_keeps_no_remainder_back(
    world: DeskWorld, first: int, second: int
) -> None:
    """Only who lies between the same two frames may have taken what they show."""
    one, other = await world.submit(GOOD, GOOD | {"amount": 50})
    await world.ambiguous(one, first=20, second=22, fall=100)
    await world.ambiguous(other, first=first, second=second, fall=100)
    await resolve(world, one, paid=True)
    assert (await movements(world))[-1][:2] == ("funding", 7)


# --- what is not judged -----------------------------------------------------------------------------------------------


async def test_what_is_not_judged_says_why_in_its_own_row_and_leaves_no_entry(world: DeskWorld) -> None:
    """Row by row, in the order asked; asking beforehand says the same as judging."""
    plain, sent, young, judged_once = await world.submit(
        *[GOOD | {"amount": amount} for amount in (1, 2, 3, 4)]
    )
    await world.intent(sent, "broadcast")
    await world.ambiguous(young, first=20, second=22, fall=0)
    await world.ambiguous(judged_once, first=10, second=11, fall=0)
    await resolve(world, judged_once, paid=False)
    ids = [DisbursementId(99), plain, sent, young, judged_once]
    entries = len(await world.said())
    no = "has no ambiguous intent"
    told = [
        NotWritten(row=0, reason="missing", detail="there is no disbursement 99"),
        NotWritten(row=1, reason="not_ambiguous", detail=f"disbursement {plain} {no}"),
        NotWritten(row=2, reason="not_ambiguous", detail=f"disbursement {sent} {no}"),
        NotWritten(row=3, reason="not_deep", detail=f"disbursement {young} can be judged in 2 blocks"),
        NotWritten(row=4, reason="not_ambiguous", detail=f"disbursement {judged_once} {no}"),
    ]
    for paid in (True, False):
        answers = await world.desk.resolve(ids, paid=paid, by=ADA, believed=Height(23))
        assert list(answers) == told
    assert list(await world.desk.judgeable(ids, believed=Height(23))) == told
    assert len(await world.said()) == entries


# --- a deep reorg -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finalized", [True, False])
async def test_what_a_deep_reorg_took_is_reopened_with_books_count_and_journal(
    world: DeskWorld, finalized: bool
) -> None:
    """§2, R9: as it was before it was paid; what it had cost is booked back at the height at which it was lost."""
    (item,) = await world.submit(GOOD)
    intent = await world.paid(item, height=20)
    await world.sql("UPDATE intent SET evidence = 'hash', block_hash = 'h'")
    await world.sql("UPDATE disbursement SET executed_at = ?", NOW)
    if finalized:
        await world.sql("UPDATE disbursement SET status = 'finalized', finalized_at = ?", NOW)
    await world.sql("UPDATE counter SET next = 5 WHERE name = 'finalized'")
    await world.account(state="frozen", cause="deep_reorg", chain_nonce=0)
    before, (final,) = await world.item(item), await world.desk.intents(item)
    (waiting,) = await world.submit(GOOD | {"depends_on": [item]})
    await world.sql("UPDATE disbursement SET unmet = 7 WHERE id = ?", waiting)  # it is counted, not added to
    count = len(await world.said())

    assert await world.desk.reopen(item, by=ADA) == Event(
        kind=EventKind.REOPENED,
        severity=Severity.WARNING,
        account=OPS,
        ids=(item,),
        reason="deep_reorg",
        amount=BaseUnits(100),
    )
    assert await world.item(item) == replace(
        before,
        status=Status.TIMELOCKED,
        status_at=LATER,
        tx_hash=None,
        fee_paid=None,
        executed_height=None,
        executed_epoch=None,
        executed_at=None,
        evidence=None,
        finalized_at=None,
    )
    assert await world.desk.intents(item) == [
        replace(final, state=State.BROADCAST, winner=None, height=None, block_hash=None, evidence=None)
    ]
    assert await movements(world) == [("reversal", 107, 0, 1_107, LATER, item, intent, 20)]
    assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", waiting) == [(1,)]
    left = 4 if finalized else 5
    assert await world.sql("SELECT next FROM counter WHERE name = 'finalized'") == [(left,)]
    assert await entries_since(world, count) == [
        (
            "people",
            "reopen",
            LATER,
            {"who": "ada", "reason": "because", "id": item, "intent": intent, "tx_hash": "a1" * 32},
        )
    ]


async def test_what_is_reopened_although_its_nonce_is_used_leaves_the_balance_as_it_is(
    world: DeskWorld,
) -> None:
    """R9: the baseline's balance has it taken already; by what, the judgement of the reopened intent says."""
    (item,) = await world.submit(GOOD)
    intent = await world.paid(item, height=20)
    ((nonce,),) = await world.sql("SELECT nonce FROM intent")
    await world.account(state="frozen", cause="deep_reorg", chain_nonce=nonce)
    await world.desk.reopen(item, by=ADA)
    assert await movements(world) == [
        ("reversal", 107, 0, 1_107, LATER, item, intent, 20),
        ("unexplained", -107, 0, 1_000, LATER, None, intent, 20),
    ]


async def test_of_an_item_that_had_two_intents_the_live_one_is_reopened(world: DeskWorld) -> None:
    """A void one stays as it is."""
    (item,) = await world.submit(GOOD)
    first = await world.intent(item, "broadcast")
    await world.sql("UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = 'cancelled'")
    intent = await world.paid(item)
    await world.account(state="frozen", cause="deep_reorg")
    await world.desk.reopen(item, by=ADA)
    assert await world.sql("SELECT id, state FROM intent ORDER BY id") == [
        (first, "void"),
        (intent, "broadcast"),
    ]


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        ("executed", "included", "is executed: only a payment that was final is reopened"),
        ("rolled_back", "final", "is rolled_back: only a payment that was final is reopened"),
        ("timelocked", "final", "is timelocked: only a payment that was final is reopened"),
        ("draft", None, "is draft: only a payment that was final is reopened"),
    ],
)
async def test_what_was_not_final_or_is_wanted_no_more_is_not_reopened(
    world: DeskWorld, status: str, state: str | None, words: str
) -> None:
    """R9: the payment itself is looked at, and that somebody still wants it."""
    (item,) = await world.submit(GOOD)
    if state is not None:
        await world.paid(item, state=state)
        await world.sql("UPDATE disbursement SET status = ?", status)
    await world.account(state="frozen", cause="deep_reorg")
    told = await refused(world.desk.reopen(item, by=ADA))
    assert told == (f"disbursement {item} {words}", "id", Refusal.CONFLICT)
    assert await movements(world) == []


@pytest.mark.parametrize(
    "account",
    [
        {"state": "frozen", "cause": "person"},
        {"state": "active", "cause": "deep_reorg"},
        {"state": "quarantined", "cause": "deep_reorg"},
        {"state": "active"},
    ],
)
async def test_nothing_is_reopened_while_no_deep_reorg_keeps_its_account_frozen(
    world: DeskWorld, account: dict[str, Any]
) -> None:
    """R9: whatever else stopped it, or a reorg that a person has looked at already."""
    (item,) = await world.submit(GOOD)
    await world.paid(item)
    await world.account(**account)
    told = await refused(world.desk.reopen(item, by=ADA))
    assert told == (
        f"the account {OPS} saw no reorg deeper than the finality depth",
        "id",
        Refusal.CONFLICT,
    )
    assert (await world.item(item)).status is Status.EXECUTED
