"""The contract of the Desk port, held against both drivers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.deskworld import (
    GOOD,
    GRANTS,
    NOW,
    OPS,
    PERSON,
    PROPOSAL,
    RULES,
    DeskWorld,
    opened,
    request,
    vote,
)

from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    AccountId,
    BaseUnits,
    BreakerMode,
    BreakerOverride,
    CallClass,
    DisbursementId,
    Endpoint,
    Filter,
    FreezeCause,
    Height,
    Hold,
    Nonce,
    NotWritten,
    Status,
    UnixSeconds,
)
from treasuryd.core.staging import payload_digest
from treasuryd.errors import Corrupt, Refusal, Rejected
from treasuryd.ports import Desk
from treasuryd.store import batches, desk_control, desk_queries, fillers, journal, journal_copy


@pytest.fixture(params=["inline", "threaded"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path, kind=request.param) as found:
        yield found


def kinds(rows: object) -> list[str]:
    assert isinstance(rows, list | tuple)
    return [row.reason if isinstance(row, NotWritten) else str(row.kind) for row in rows]


async def test_the_desk_is_a_desk(world: DeskWorld) -> None:
    """The class fits the port: mypy compares the signatures, this the names."""
    desk: Desk = world.desk
    verbs = {name for name in vars(Desk) if not name.startswith("_")}
    assert verbs <= set(dir(desk))


# --- submitting -------------------------------------------------------------------------------------------------


async def test_a_request_is_stored_whole_in_input_order(world: DeskWorld) -> None:
    """Ids rise in input order; content, digest, key and proposal come back as they went in."""
    full = GOOD | {
        "proposal": PROPOSAL | {"attachments": [{"name": "bill", "uri": "ipfs://x"}]},
        "expected_receipts": [{"account": "a", "amount": 60}, {"account": "b", "amount": 40}],
    }
    asked = request(full, GOOD | {"amount": 7})
    done = await world.desk.submit(asked, now=NOW)
    assert not done.repeated
    assert [item.id for item in done.items] == [1, 2]
    assert list(done.items) == list(await world.desk.get([DisbursementId(1), DisbursementId(2)]))
    first = done.items[0]
    assert first.status is Status.DRAFT
    assert first.proposal == asked.items[0].proposal
    assert first.expected_receipts == asked.items[0].expected_receipts
    assert first.payload_digest == payload_digest(first)
    assert (first.idempotency_key, first.created_at, first.account) == ("k#0", NOW, OPS)


async def test_the_same_request_again_gets_the_first_answer(world: DeskWorld) -> None:
    """Nothing is stored twice; the answer says that it is a repetition."""
    first = await world.desk.submit(request(GOOD, GOOD), now=NOW)
    again = await world.desk.submit(request(GOOD, GOOD), now=UnixSeconds(NOW + 60))
    assert again.repeated
    assert again.items == first.items
    assert len((await world.desk.find(Filter())).items) == 2


async def test_a_key_with_another_request_is_a_conflict(world: DeskWorld) -> None:
    """The key belongs to one request, as received; nothing of the other is stored."""
    await world.submit(GOOD, key="k")
    with pytest.raises(Rejected, match="belongs to another request") as caught:
        await world.desk.submit(request(GOOD | {"amount": 101}), now=NOW)
    assert caught.value.kind is Refusal.CONFLICT
    assert len((await world.desk.find(Filter())).items) == 1


async def test_ids_are_never_used_again(world: DeskWorld) -> None:
    """Not even when the newest rows vanished behind our back."""
    (first,) = await world.submit(GOOD)
    await world.sql("DELETE FROM disbursement WHERE id = ?", first)
    await world.sql("DELETE FROM request")
    (second,) = await world.submit(GOOD | {"amount": 5})
    assert second == first + 1


async def test_refs_become_ids_also_forwards(world: DeskWorld) -> None:
    """An item may name one that comes later in the request; the digest covers the ids."""
    a, b = await world.submit(GOOD | {"depends_on_refs": ["later"]}, GOOD | {"ref": "later"})
    stored = await world.item(a)
    assert stored.depends_on == (b,)
    assert stored.payload_digest == payload_digest(stored)
    assert await world.sql("SELECT id, unmet FROM disbursement") == [(a, 1), (b, 0)]


async def test_what_is_satisfied_already_does_not_count_as_unmet(world: DeskWorld) -> None:
    """A finalized dependency is satisfied; an executed one only by setting."""
    done, paid = await world.submit(GOOD, GOOD | {"amount": 3})
    await world.paid(done)
    await world.sql("UPDATE disbursement SET status = 'finalized' WHERE id = ?", done)
    await world.paid(paid)
    (item,) = await world.submit(GOOD | {"depends_on": [done, paid]})
    assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", item) == [(1,)]


@pytest.mark.parametrize(
    ("depends_on", "said"),
    [
        pytest.param([99], "there is no disbursement 99", id="missing"),
        pytest.param([3], "would become disbursement 3 and depend on itself", id="itself"),
        pytest.param([1, 2], "disbursement 2 was rolled back", id="rolled back"),
    ],
)
async def test_a_dependency_that_can_never_be_satisfied_is_refused(
    world: DeskWorld, depends_on: list[int], said: str
) -> None:
    """D38: a self-reference is refused at intake with its id, as are missing and rolled-back ones; nothing stays."""
    _, lost = await world.submit(GOOD, GOOD | {"amount": 2})
    await world.desk.cancel([lost], by=PERSON)
    with pytest.raises(Rejected, match=said) as caught:
        await world.desk.submit(request(GOOD | {"depends_on": depends_on}), now=NOW)
    assert caught.value.field == "items[0].depends_on"
    assert len((await world.desk.find(Filter())).items) == 2
    assert await world.submit(GOOD | {"amount": 9}) == [3], "not even the id was used up"


async def test_in_quarantine_intake_is_closed(world: DeskWorld) -> None:
    """Only for the account concerned, and with a message that says so."""
    await world.account(state="quarantined")
    with pytest.raises(Rejected, match="quarantine") as caught:
        await world.submit(GOOD)
    assert caught.value.kind is Refusal.UNAVAILABLE
    assert await world.submit(GOOD | {"account": "tb1grants"})


async def test_a_submission_is_journalled_with_its_whole_content(world: DeskWorld) -> None:
    """The outside copy is synced with it before the answer: a lost store can be given it again."""
    await world.submit(GOOD | {"memo": "caf\u00e9"}, key="k")
    (body,) = await world.journal("submit")
    rows = {name: rows for name, rows, _ in body["rows"]}
    assert "caf\u00e9" in rows["desk.put_disbursement"][0]
    assert (body["key"], body["first"], body["items"]) == ("k", 1, 1)
    copied = list(journal_copy.read_copy(world.path / "journal", journal.PEOPLE))
    assert [entry.verb for entry in copied] == ["submit"]
    assert await world.driver.read(journal.verify, journal.PEOPLE) == 1


# --- batches ----------------------------------------------------------------------------------------------------


async def test_a_batch_is_invisible_until_it_is_sealed_whole(world: DeskWorld) -> None:
    """Refs reach across parts; ids come in the order of the parts, whatever the order of upload."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    second = request(GOOD | {"ref": "b"}, key="may/2", whole=False)
    first = request(GOOD | {"depends_on_refs": ["b"]}, GOOD, key="may/1", whole=False)
    assert await world.desk.add_part("may", 2, second, now=NOW) == 1
    assert await world.desk.add_part("may", 1, first, now=NOW) == 3
    assert (await world.desk.find(Filter())).items == ()
    done = await world.desk.seal_batch("may", parts=2, now=NOW)
    assert [item.idempotency_key for item in done.items] == ["may/1#0", "may/1#1", "may/2#0"]
    assert done.items[0].depends_on == (3,)
    again = await world.desk.seal_batch("may", parts=2, now=NOW)
    assert again.repeated
    assert again.items == done.items
    assert await world.desk.add_part("may", 2, second, now=NOW) == 3, (
        "a repeated part of a sealed batch is harmless"
    )


async def test_a_batch_is_refused_while_parts_are_missing_or_differ(world: DeskWorld) -> None:
    """Each refusal names what is missing; the batch stays open for it."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    part = request(GOOD, key="may/2", whole=False)
    await world.desk.add_part("may", 2, part, now=NOW)
    with pytest.raises(Rejected, match="part 1 is missing"):
        await world.desk.seal_batch("may", parts=2, now=NOW)
    with pytest.raises(Rejected, match="part 2 of batch may was another one"):
        await world.desk.add_part("may", 2, request(GOOD | {"amount": 1}, key="may/2"), now=NOW)
    unknown = request(GOOD | {"depends_on_refs": ["nowhere"]}, key="may/1", whole=False)
    await world.desk.add_part("may", 1, unknown, now=NOW)
    with pytest.raises(Rejected, match=r'part 1: items\[0\].depends_on_refs: no item .* "nowhere"'):
        await world.desk.seal_batch("may", parts=2, now=NOW)
    assert (await world.desk.find(Filter())).items == ()


async def test_a_part_that_came_in_while_the_batch_was_read_is_not_overlooked(world: DeskWorld) -> None:
    """Reading and sealing are two steps: what changed between them is refused, and sealing again takes it."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    await world.desk.add_part("may", 1, request(GOOD, key="may/1"), now=NOW)
    early = await world.driver.read(batches.gather, "may")
    await world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=NOW)
    with pytest.raises(Rejected, match="changed while it was read"):
        await world.driver.write(batches.seal_batch, "may", early, parts=2, now=NOW, satisfied_by_final=False)
    assert len((await world.desk.seal_batch("may", parts=2, now=NOW)).items) == 2


@pytest.mark.parametrize("name", ["", "a b", "mär", "a\n", "x" * 151])
async def test_a_batch_has_a_name_that_a_log_can_hold(world: DeskWorld, name: str) -> None:
    """Item keys are made of it: printable, without spaces, of bounded length."""
    with pytest.raises(Rejected, match="1 to 150 printable ASCII"):
        await world.desk.open_batch(name, now=NOW, expires_seconds=60)
    await world.desk.open_batch("x" * 150, now=NOW, expires_seconds=60)


async def test_a_batch_that_is_opened_again_goes_on_for_longer(world: DeskWorld) -> None:
    """An interrupted upload is taken up: its parts are there, and its time begins anew."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    await world.desk.add_part("may", 1, request(GOOD, key="may/1"), now=NOW)
    await world.desk.open_batch("may", now=UnixSeconds(NOW + 50), expires_seconds=60)
    late = UnixSeconds(NOW + 100)
    assert await world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=late) == 2
    (opening,) = await world.journal("open_batch")
    assert opening["batch"] == "may"


@pytest.mark.parametrize("length", [1, 150])
async def test_a_name_of_a_batch_may_be_as_short_and_as_long_as_that(world: DeskWorld, length: int) -> None:
    """Both bounds are allowed."""
    name = "m" * length
    await world.desk.open_batch(name, now=NOW, expires_seconds=60)
    assert await world.sql("SELECT name FROM batch") == [(name,)]


async def test_batches_on_their_way_up_are_bounded_and_so_are_their_parts(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each limit is named; what is under way stays as it was."""
    monkeypatch.setattr(batches, "MAX_OPEN", 1)
    monkeypatch.setattr(batches, "MAX_ITEMS", 2)
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    with pytest.raises(Rejected, match="1 batches are on their way up already, the limit is 1") as full:
        await world.desk.open_batch("june", now=NOW, expires_seconds=60)
    assert full.value.kind is Refusal.CONFLICT
    for number in (0, batches.MAX_PARTS + 1):
        with pytest.raises(Rejected, match=f"must be 1 to {batches.MAX_PARTS}, got {number}"):
            await world.desk.add_part("may", number, request(GOOD, key="k"), now=NOW)
    assert await world.desk.add_part("may", batches.MAX_PARTS, request(GOOD, key="a"), now=NOW) == 1
    with pytest.raises(Rejected, match="would hold 3 items, the limit is 2") as large:
        await world.desk.add_part("may", 1, request(GOOD, GOOD, key="b"), now=NOW)
    assert large.value.kind is Refusal.TOO_LARGE
    assert await world.desk.add_part("may", 1, request(GOOD, key="b"), now=NOW) == 2


async def test_a_sealed_batch_takes_no_further_part(world: DeskWorld) -> None:
    """What was sealed is what was asked for; a part that it did not have is a conflict."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    await world.desk.add_part("may", 1, request(GOOD, key="may/1"), now=NOW)
    await world.desk.seal_batch("may", parts=1, now=NOW)
    with pytest.raises(Rejected, match="sealed without a part 2") as caught:
        await world.desk.add_part("may", 2, request(GOOD, key="may/2"), now=NOW)
    assert caught.value.kind is Refusal.CONFLICT


async def test_a_proposal_goes_through_a_batch_unchanged(world: DeskWorld) -> None:
    """It lies there as text until the batch is sealed; what is voted on is what was sent."""
    asked = request(
        GOOD | {"proposal": PROPOSAL | {"attachments": [{"name": "bill", "uri": "ipfs://x"}]}}, key="may/1"
    )
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    await world.desk.add_part("may", 1, asked, now=NOW)
    (item,) = (await world.desk.seal_batch("may", parts=1, now=NOW)).items
    assert item.proposal == asked.items[0].proposal
    assert item.proposal is not None
    assert item.payload_digest == payload_digest(item)


async def test_a_constraint_that_nobody_foresaw_stores_nothing(world: DeskWorld) -> None:
    """It is our bug and no conflict of keys: the process stops instead of answering a reason that is not true."""
    when = "BEFORE INSERT ON disbursement WHEN NEW.amount = 7 BEGIN SELECT RAISE(ABORT, 'no'); END"
    await world.sql(f"CREATE TRIGGER nobody_foresaw {when}")
    with pytest.raises(Corrupt, match="breaks a constraint of the store"):
        await world.desk.submit(request(GOOD, GOOD | {"amount": 7}), now=NOW)
    assert (await world.desk.find(Filter())).items == ()


async def test_an_unsealed_batch_expires(world: DeskWorld) -> None:
    """Its parts go with it; opening it anew begins from nothing."""
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    await world.desk.add_part("may", 1, request(GOOD, key="may/1"), now=NOW)
    late = UnixSeconds(NOW + 61)
    with pytest.raises(Rejected, match="there is no batch 'may'") as caught:
        await world.desk.seal_batch("may", parts=1, now=late)
    assert caught.value.kind is Refusal.NOT_FOUND
    await world.desk.open_batch("may", now=late, expires_seconds=60)
    assert await world.desk.add_part("may", 1, request(GOOD, GOOD, key="may/1"), now=late) == 2


async def test_a_request_key_that_looks_like_a_part_is_a_conflict_not_a_crash(world: DeskWorld) -> None:
    """Item keys are unique over all ways in."""
    await world.submit(GOOD, key="may/1")
    await world.desk.open_batch("may", now=NOW, expires_seconds=60)
    await world.desk.add_part("may", 1, request(GOOD, key="may/1"), now=NOW)
    with pytest.raises(Rejected, match="belongs to disbursement 1") as caught:
        await world.desk.seal_batch("may", parts=1, now=NOW)
    assert caught.value.kind is Refusal.CONFLICT


# --- votes ------------------------------------------------------------------------------------------------------


async def test_the_highest_counter_of_a_key_counts(world: DeskWorld) -> None:
    """A vote can be changed by a higher counter, and an old one cannot be posted again over it."""
    (item,) = await world.submit(GOOD | {"proposal": PROPOSAL})
    await world.voting(item, deadline=5)
    await world.desk.take_vote(vote(item), now=NOW)
    await world.desk.take_vote(vote(item, counter=4, decision="reject"), now=NOW)
    await world.desk.take_vote(vote(item, key="bb"), now=NOW)
    for counter in (0, 4):
        with pytest.raises(Rejected, match="is not above 4") as caught:
            await world.desk.take_vote(vote(item, counter=counter), now=NOW)
        assert caught.value.kind is Refusal.CONFLICT
    assert [(found.key, found.counter, found.decision) for found in await world.desk.votes(item)] == [
        ("aa", 4, "reject"),
        ("bb", 0, "approve"),
    ]


async def test_votes_are_taken_while_voting_and_before_the_deadline(world: DeskWorld) -> None:
    """D21: the epoch at which a vote was seen decides, not a caller's; after the deadline none is taken."""
    (item,) = await world.submit(GOOD | {"proposal": PROPOSAL})
    with pytest.raises(Rejected, match="is draft: votes are taken while it is voting"):
        await world.desk.take_vote(vote(item), now=NOW)
    await world.voting(item, deadline=5)
    with pytest.raises(Rejected, match="the vote ended at epoch 5, now it is epoch 5"):
        await world.desk.take_vote(vote(item, seen=5), now=NOW)
    assert (await world.desk.take_vote(vote(item, seen=4), now=NOW)).kind is EventKind.VOTED
    with pytest.raises(Rejected, match="not found"):
        await world.desk.take_vote(vote(DisbursementId(77)), now=NOW)


async def test_in_quarantine_no_vote_is_taken(world: DeskWorld) -> None:
    """§8: the store may be older than the world, and what was voted on with it."""
    (item,) = await world.submit(GOOD | {"proposal": PROPOSAL})
    await world.voting(item, deadline=5)
    await world.account(state="quarantined")
    with pytest.raises(Rejected, match="in quarantine: no votes are taken") as caught:
        await world.desk.take_vote(vote(item), now=NOW)
    assert caught.value.kind is Refusal.UNAVAILABLE
    assert list(await world.desk.votes(item)) == []


# --- cancel, release, roll back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["draft", "voting", "queued", "timelocked"])
async def test_what_has_no_live_intent_is_rolled_back(world: DeskWorld, status: str) -> None:
    """From every status before payment, with the reason kept; repeating says what it is now."""
    (item,) = await world.submit(GOOD)
    await world.sql("UPDATE disbursement SET status = ?, hold = 'refused' WHERE id = ?", status, item)
    assert kinds(await world.desk.cancel([item], by=PERSON)) == ["disbursement_rolled_back"]
    stored = await world.item(item)
    assert (stored.status, stored.reason, stored.rolled_back_at, stored.hold) == (
        Status.ROLLED_BACK,
        "because",
        NOW,
        None,
    )
    assert kinds(await world.desk.cancel([item], by=PERSON)) == ["rolled_back"]


async def test_what_has_a_live_intent_is_requested_durably(world: DeskWorld) -> None:
    """The item stays where it is, the request stands on it and is never overwritten; repeating is harmless."""
    (item,) = await world.submit(GOOD)
    await world.intent(item, "broadcast")
    for reason in ("first", "second"):
        rows = await world.desk.cancel([item], by=replace(PERSON, reason=reason))
        assert kinds(rows) == ["cancel_requested"]
    stored = await world.item(item)
    assert (stored.status, stored.cancel_requested) == (Status.TIMELOCKED, "first")
    assert len(await world.journal("cancel")) == 1


async def test_paid_and_missing_items_are_not_cancelled(world: DeskWorld) -> None:
    """One row that cannot be cancelled disturbs no other."""
    paid, other = await world.submit(GOOD, GOOD)
    await world.paid(paid)
    rows = await world.desk.cancel([paid, DisbursementId(99), other], by=PERSON)
    assert kinds(rows) == ["executed", "missing", "disbursement_rolled_back"]
    assert (await world.item(paid)).status is Status.EXECUTED


async def test_one_item_takes_no_more_dependents_than_a_transaction_can_hold(world: DeskWorld) -> None:
    """§4: what waits for an item is held or counted anew with it, in one transaction. What is finalized takes more."""
    first, other = await world.submit(GOOD, GOOD | {"amount": 2})
    await world.sql(
        "WITH RECURSIVE more (id) AS (SELECT 100 UNION ALL SELECT id + 1 FROM more WHERE id < 100097) "
        "INSERT INTO disbursement (id, account, destination, amount, memo, scheduled_epoch, idempotency_key, "
        "request_digest, payload_digest, created_at, status_at) SELECT more.id, account, destination, amount, memo, "
        "scheduled_epoch, more.id, request_digest, payload_digest, created_at, status_at "
        "FROM disbursement, more WHERE disbursement.id = ?",
        first,
    )
    await world.sql("INSERT INTO dependency SELECT id, ? FROM disbursement WHERE id >= 100", first)
    one, two = ({"depends_on": [other, first], "amount": amount} for amount in (3, 4))

    assert len(await world.submit(GOOD | one, GOOD | two)) == 2  # and with these there are 100,000
    with pytest.raises(Rejected, match=r"disbursement 1 would have more than 100000 direct") as caught:
        await world.desk.submit(request(GOOD, GOOD | one | {"amount": 5}), now=NOW)
    assert caught.value.field == "items[1].depends_on"
    assert await world.sql("SELECT count(*) FROM disbursement") == [(2 + 99_998 + 2,)]
    await world.paid(first)
    await world.sql("UPDATE disbursement SET status = 'finalized' WHERE id = ?", first)
    assert len(await world.submit(GOOD | one | {"amount": 6})) == 1, "nobody waits for what is finalized"


async def test_dependents_of_a_cancelled_item_are_held_at_once(world: DeskWorld) -> None:
    """D10: a rolled-back dependency satisfies nobody; its direct dependents are held, visibly, and stay unpayable."""
    first, second, third = await world.submit(
        GOOD | {"ref": "a"},
        GOOD | {"ref": "b", "depends_on_refs": ["a"]},
        GOOD | {"depends_on_refs": ["b"]},
    )
    await world.timelocked(first, second, third)
    await world.desk.cancel([first], by=PERSON)
    assert [(await world.item(item)).hold for item in (first, second, third)] == [
        None,
        Hold.DEPENDENCY_FAILED,
        None,
    ]
    assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", second) == [(1,)]
    (row,) = await world.desk.release([second], by=PERSON)
    assert isinstance(row, NotWritten)
    assert row.reason == "dependency_failed"
    (body,) = await world.journal("cancel")
    assert {what: said for what, said in body.items() if what not in {"tx", "rows"}} == {
        "who": "ada",
        "reason": "because",
        "rolled_back": [first],
        "requested": [],
        "dependents_held": [second],
    }


async def test_a_released_item_is_eligible_again(world: DeskWorld) -> None:
    """A person ends the hold; an item without one says so."""
    held, free = await world.submit(GOOD, GOOD)
    await world.sql(
        "UPDATE disbursement SET status = 'timelocked', hold = 'needs_release' WHERE id = ?", held
    )
    rows = await world.desk.release([held, free], by=PERSON)
    assert kinds(rows) == ["disbursement_released", "not_held"]
    assert (await world.item(held)).hold is None


async def test_a_release_does_not_hide_a_dependency_that_failed_meanwhile(world: DeskWorld) -> None:
    """The item is held for the other reason from then on."""
    first, second = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.sql("UPDATE disbursement SET hold = 'restored' WHERE id = ?", second)
    await world.desk.cancel([first], by=PERSON)
    assert (await world.item(second)).hold is Hold.RESTORED
    await world.desk.release([second], by=PERSON)
    assert (await world.item(second)).hold is Hold.DEPENDENCY_FAILED


async def test_a_held_item_with_a_live_intent_is_not_released(world: DeskWorld) -> None:
    """What is poisoned is replaced on its own nonce first."""
    (item,) = await world.submit(GOOD)
    await world.intent(item, "broadcast")
    await world.sql("UPDATE disbursement SET hold = 'poisoned' WHERE id = ?", item)
    assert kinds(await world.desk.release([item], by=PERSON)) == ["in_flight"]


async def test_an_id_that_does_not_exist_is_said_and_stops_no_other(world: DeskWorld) -> None:
    """Every command answers row by row."""
    (item,) = await world.submit(GOOD)
    await world.sql("UPDATE disbursement SET hold = 'needs_release' WHERE id = ?", item)
    ids = [DisbursementId(99), item]
    assert kinds(await world.desk.release(ids, by=PERSON)) == ["missing", "disbursement_released"]
    assert kinds(await world.desk.resolve(ids, paid=True, by=PERSON, believed=Height(99))) == [
        "missing",
        "not_ambiguous",
    ]


@pytest.mark.parametrize("state", [None, "broadcast"])
async def test_what_changes_at_the_same_moment_is_not_written_over(
    world: DeskWorld, state: str | None
) -> None:
    """R10: cancel and release write the row as they read it, or not at all; nothing is journalled of them."""
    (item,) = await world.submit(GOOD)
    await world.timelocked(item)
    if state is not None:
        await world.intent(item, state)
    skip = "BEFORE UPDATE ON disbursement BEGIN SELECT RAISE(IGNORE); END"
    await world.sql("UPDATE disbursement SET hold = 'needs_release' WHERE live_intent IS NULL")
    await world.sql(f"CREATE TRIGGER another_writer {skip}")
    assert kinds(await world.desk.cancel([item], by=PERSON)) == ["changed"]
    assert kinds(await world.desk.release([item], by=PERSON)) == ["changed" if state is None else "not_held"]
    assert (await world.journal("cancel"), await world.journal("release")) == ([], [])


async def test_a_rollback_after_payment_moves_no_money(world: DeskWorld) -> None:
    """D22: the books keep their balance, `prior_tx` keeps the payment, dependents are held."""
    item, dependent = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.account()
    await world.paid(item, ends=4)
    await world.chain(believed=40, settled=3)
    await world.desk.rollback(item, by=PERSON)
    stored = await world.item(item)
    assert (stored.status, stored.prior_tx, stored.tx_hash) == (Status.ROLLED_BACK, "a1" * 32, None)
    assert await world.desk.history(None, cursor=None, limit=10) == []
    assert await world.sql("SELECT booked FROM account") == [(1_000,)]
    assert (await world.item(dependent)).hold is Hold.DEPENDENCY_FAILED


async def test_a_rollback_needs_a_final_intent_and_an_open_window(world: DeskWorld) -> None:
    """Before: "final in n blocks"; after: the epoch at which the window ended; unpaid: no such turn."""
    item, unpaid = await world.submit(GOOD, GOOD)
    await world.paid(item, state="included", height=20, ends=4)
    await world.chain(believed=21, settled=3)
    with pytest.raises(Rejected, match="final in 2 blocks"):
        await world.desk.rollback(item, by=PERSON)
    await world.sql("UPDATE intent SET state = 'final'")
    await world.chain(believed=50, settled=4)
    with pytest.raises(Rejected, match="its rollback window ended with epoch 4"):
        await world.desk.rollback(item, by=PERSON)
    with pytest.raises(Rejected, match="rolled_back does not apply to what is draft"):
        await world.desk.rollback(unpaid, by=PERSON)
    assert (await world.item(item)).status is Status.EXECUTED


async def test_a_satisfied_dependent_waits_again_after_a_rollback(tmp_path: Path) -> None:
    """D10: where a final intent satisfies by setting, the rollback takes that back in the same transaction."""
    async with opened(tmp_path, rules=replace(RULES, dependency_satisfied_by_final=True)) as world:
        (item,) = await world.submit(GOOD)
        await world.paid(item)
        (dependent,) = await world.submit(GOOD | {"depends_on": [item]})
        assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", dependent) == [(0,)]
        await world.desk.rollback(item, by=PERSON)
        assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", dependent) == [(1,)]
        assert (await world.item(dependent)).hold is Hold.DEPENDENCY_FAILED


# --- verdicts ---------------------------------------------------------------------------------------------------


async def test_an_ambiguous_intent_is_judged_paid_with_all_its_candidates(world: DeskWorld) -> None:
    """Executed, evidence PERSON, every hash that it may have been; the books follow the frames to the unit."""
    (item,) = await world.submit(GOOD)
    await world.account()
    await world.ambiguous(item, first=20, second=22, fall=105, hashes=("a1", "b2"))
    assert kinds(await world.desk.resolve([item], paid=True, by=PERSON, believed=Height(24))) == ["not_deep"]
    rows = await world.desk.resolve([item], paid=True, by=PERSON, believed=Height(25))
    assert kinds(rows) == ["intent_resolved"]
    stored = await world.item(item)
    assert (stored.status, stored.evidence) == (Status.EXECUTED, "person")
    assert stored.tx_hash == f"{'a1' * 32},{'b2' * 32}"
    (intent,) = await world.desk.intents(item)
    assert (intent.state, intent.winner) == ("final", 2)
    assert await world.sql("SELECT finalize_epoch FROM disbursement") == [(2 + 2,)]
    events = await world.desk.history(OPS, cursor=None, limit=10)
    assert sum(event.delta for event in events) == -105, (
        "amount 100, fee 8 as signed, 3 corrected by the frames"
    )
    assert await world.sql("SELECT booked FROM account") == [(895,)]
    assert kinds(await world.desk.resolve([item], paid=True, by=PERSON, believed=Height(25))) == [
        "not_ambiguous"
    ]


async def test_what_may_be_judged_is_told_by_the_rules_of_now(world: DeskWorld) -> None:
    """The signer has to hear of it first, so it is asked before; another finality depth counts at once."""
    deep, plain, young = await world.submit(GOOD, GOOD | {"amount": 2}, GOOD | {"amount": 3})
    intent = await world.ambiguous(deep, first=20, second=22, fall=105)
    await world.ambiguous(young, first=24, second=25, fall=5)
    ids = [deep, plain, DisbursementId(99), young]

    async def asked() -> list[object]:
        rows = await world.desk.judgeable(ids, believed=Height(25))
        return [row.reason if isinstance(row, NotWritten) else row for row in rows]

    assert await asked() == [intent, "not_ambiguous", "missing", "not_deep"]
    world.desk.retune(replace(RULES, finality_depth=4))
    assert await asked() == ["not_deep", "not_ambiguous", "missing", "not_deep"]
    world.desk.retune(replace(RULES, finality_depth=0))
    assert (await asked())[3] == intent + 1


async def test_the_remainder_waits_until_nothing_of_the_interval_is_undecided(world: DeskWorld) -> None:
    """Two intents of one interval: the first verdict books its payment alone, the second what is left over."""
    one, two = await world.submit(GOOD, GOOD | {"amount": 50})
    await world.account()
    for item in (one, two):
        await world.ambiguous(item, first=20, second=22, fall=97)
    await world.desk.resolve([one], paid=True, by=PERSON, believed=Height(30))
    assert await world.sql("SELECT booked FROM account") == [(1_000 - 107,)]
    await world.desk.resolve([two], paid=False, by=PERSON, believed=Height(30))
    assert await world.sql("SELECT booked FROM account") == [(1_000 - 97,)]
    assert [event.kind for event in await world.desk.history(OPS, cursor=None, limit=10)] == [
        "funding",
        "execution",
    ]


async def test_what_was_consumed_before_the_baseline_is_judged_without_moving_the_books(
    world: DeskWorld,
) -> None:
    """No interval can date it: its fall was booked as unexplained when it was seen, and is explained now."""
    (item,) = await world.submit(GOOD)
    await world.account()
    await world.ambiguous(item, first=20, second=20, fall=0)
    await world.desk.resolve([item], paid=True, by=PERSON, believed=Height(30))
    assert await world.sql("SELECT booked FROM account") == [(1_000,)]
    assert [event.delta for event in await world.desk.history(OPS, cursor=None, limit=10)] == [107, -107]


async def test_an_intent_judged_void_needs_a_release(world: DeskWorld) -> None:
    """Unless a cancellation was requested: then it is rolled back in the same transaction, and its dependents held."""
    plain, cancelled, dependent = await world.submit(
        GOOD, GOOD | {"ref": "c"}, GOOD | {"depends_on_refs": ["c"]}
    )
    await world.account()
    for item in (plain, cancelled):
        await world.ambiguous(item, first=20, second=22, fall=0)
    await world.desk.cancel([cancelled], by=PERSON)
    rows = await world.desk.resolve([plain, cancelled], paid=False, by=PERSON, believed=Height(30))
    assert kinds(rows) == ["intent_resolved"] * 2
    first, second = await world.item(plain), await world.item(cancelled)
    assert (first.status, first.hold, first.live_intent) == (Status.TIMELOCKED, Hold.NEEDS_RELEASE, None)
    assert (second.status, second.reason) == (Status.ROLLED_BACK, "because")
    assert (await world.item(dependent)).hold is Hold.DEPENDENCY_FAILED
    assert await world.sql("SELECT state, proof FROM intent") == [("void", "judged")] * 2
    assert kinds(await world.desk.release([plain], by=PERSON)) == ["disbursement_released"]


async def test_a_finalized_item_is_reopened_after_a_deep_reorg_only(world: DeskWorld) -> None:
    """Same intent, same bytes; what was booked is taken back, dependents wait again, the count of finalized falls."""
    (item,) = await world.submit(GOOD)
    intent = await world.paid(item)
    await world.account()
    await world.sql("UPDATE disbursement SET status = 'finalized' WHERE id = ?", item)
    await world.sql("UPDATE counter SET next = 1 WHERE name = 'finalized'")
    await world.sql(
        "INSERT INTO balance_event (account, kind, delta, fee, balance, recorded_at, disbursement_id, intent_id, height)"
        " VALUES (?, 'execution', -107, 7, 893, ?, ?, ?, 20)",
        *(OPS, NOW, item, intent),
    )
    await world.sql("UPDATE account SET booked = 893")
    (dependent,) = await world.submit(GOOD | {"depends_on": [item]})
    with pytest.raises(Rejected, match="saw no reorg deeper than the finality depth"):
        await world.desk.reopen(item, by=PERSON)
    await world.sql("UPDATE account SET state = 'frozen', cause = 'deep_reorg', chain_nonce = 0")
    await world.desk.reopen(item, by=PERSON)
    stored = await world.item(item)
    assert (stored.status, stored.tx_hash, stored.live_intent) == (Status.TIMELOCKED, None, intent)
    (reopened,) = await world.desk.intents(item)
    assert (reopened.state, reopened.winner, reopened.variants[0].tx_hash) == ("broadcast", None, "a1" * 32)
    assert await world.sql("SELECT booked FROM account") == [(1_000,)]
    assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", dependent) == [(1,)]
    assert (await world.desk.facts()).counts[Status.FINALIZED] == 0
    with pytest.raises(Rejected, match="is timelocked: only a payment that was final is reopened"):
        await world.desk.reopen(item, by=PERSON)


# --- accounts and breakers ----------------------------------------------------------------------------------------


async def test_a_freeze_is_stored_and_left_only_by_a_person(world: DeskWorld) -> None:
    """The first cause stands; thawing makes the account act again, above what is burned."""
    await world.account()
    await world.desk.freeze(OPS, by=PERSON)
    (account,) = await world.desk.accounts()
    assert (account.state, account.cause, account.detail) == ("frozen", "person", "because")
    with pytest.raises(Rejected, match="frozen already"):
        await world.desk.freeze(OPS, by=PERSON)
    await world.desk.thaw(OPS, by=PERSON, burned=Nonce(9))
    (account,) = await world.desk.accounts()
    assert (account.state, account.cause, account.next_nonce) == ("active", "", 10)
    with pytest.raises(Rejected, match="is active, not frozen"):
        await world.desk.thaw(OPS, by=PERSON, burned=Nonce(9))
    with pytest.raises(Rejected, match="there is no account 'who'"):
        await world.desk.freeze(type(OPS)("who"), by=PERSON)


async def test_a_thaw_for_one_cause_does_not_lift_another(world: DeskWorld) -> None:
    """R14: what was found since a person looked stays, until a person has looked at it."""
    await world.account(state="frozen", cause="unexplained_fall")
    with pytest.raises(Rejected, match="is frozen for unexplained_fall, not for person"):
        await world.desk.thaw(OPS, by=PERSON, burned=Nonce(4), only=FreezeCause.PERSON)
    assert (await world.sql("SELECT state FROM account WHERE id = ?", OPS)) == [("frozen",)]
    thawed = await world.desk.thaw(OPS, by=PERSON, burned=Nonce(4), only=FreezeCause.UNEXPLAINED_FALL)
    assert (thawed.kind, thawed.reason) == (EventKind.ACCOUNT_THAWED, "unexplained_fall")


async def test_thawing_waits_until_the_foreign_nonce_is_burned_or_gone(world: DeskWorld) -> None:
    """Consumed and not at depth: refused, "in n blocks"; burned or no longer on the chain: allowed (R14)."""
    await world.account(state="frozen", cause="foreign_nonce", thaw_above=6, chain_nonce=6)
    await world.sql(
        "INSERT INTO frame (account, height, block_hash, holdings) VALUES (?, 30, 'h', '{\"tb1ops\": [5, 6]}')",
        OPS,
    )
    await world.chain(believed=31)
    with pytest.raises(Rejected, match="the foreign nonce 6 is not burned yet, in 2 blocks"):
        await world.desk.thaw(OPS, by=PERSON, burned=Nonce(5))
    await world.desk.thaw(OPS, by=PERSON, burned=Nonce(6))
    (account,) = await world.desk.accounts()
    assert (account.next_nonce, account.thaw_above) == (7, None)
    await world.account(state="frozen", cause="foreign_nonce", thaw_above=6, chain_nonce=5, next_nonce=6)
    assert (await world.desk.thaw(OPS, by=PERSON, burned=Nonce(3))).kind is EventKind.ACCOUNT_THAWED
    await world.account(state="quarantined")
    with pytest.raises(Rejected, match="not left by thawing"):
        await world.desk.thaw(OPS, by=PERSON, burned=Nonce(3))


async def test_a_foreign_nonce_that_no_kept_frame_shows_waits_the_whole_depth(world: DeskWorld) -> None:
    """R14: where it was consumed is not known, so the blocks are counted from now."""
    await world.account(state="frozen", cause="foreign_nonce", thaw_above=6, chain_nonce=6)
    for height, count in ((29, 4), (30, 5)):
        await world.sql(
            "INSERT INTO frame (account, height, block_hash, holdings) VALUES (?, ?, 'h', ?)",
            *(OPS, height, f'{{"{OPS}": [5, {count}]}}'),
        )
    await world.chain(believed=31)
    with pytest.raises(Rejected, match=f"not burned yet, in {RULES.finality_depth} blocks"):
        await world.desk.thaw(OPS, by=PERSON, burned=Nonce(5))


async def test_thawing_waits_until_nothing_lost_is_left(world: DeskWorld) -> None:
    """R9: a payment to reopen and a nonce to fill are named; a filler under way is not lost."""
    (item,) = await world.submit(GOOD)
    intent = await world.paid(item)
    ((nonce,),) = await world.sql("SELECT nonce FROM intent WHERE id = ?", intent)
    await world.account(
        state="frozen", cause="deep_reorg", chain_nonce=nonce - 1, next_nonce=nonce + 3, high_water=nonce
    )  # a stranger had the nonces above ours, until the reorg
    (account,) = await world.desk.accounts()
    assert (account.lost_payments, account.lost_nonces) == ((item,), (nonce + 1, nonce + 2))
    with pytest.raises(Rejected, match="lost 1 final payment ") as found:
        await world.desk.thaw(OPS, by=PERSON, burned=Nonce(0))
    assert f"--nonce {nonce + 1} --nonce {nonce + 2}" in found.value.hint
    await world.desk.reopen(item, by=PERSON)
    event = await world.desk.fill(OPS, [Nonce(nonce + 2), Nonce(nonce + 1)], fee=BaseUnits(9), by=PERSON)
    assert (event.kind, event.count) == (EventKind.FILL_ORDERED, 2)
    (account,) = await world.desk.accounts()
    assert account.high_water == nonce + 2, "the signer will know them: that is no sign of an old store"
    assert await world.sql(
        "SELECT nonce, amount, fee, state, step FROM intent WHERE disbursement_id IS NULL"
    ) == [
        (nonce + 1, 1, 9, "staged", "sign"),
        (nonce + 2, 1, 9, "staged", "sign"),
    ]
    assert (await world.desk.fill(OPS, [Nonce(nonce + 1)], fee=BaseUnits(9), by=PERSON)).count == 0
    assert (await world.desk.thaw(OPS, by=PERSON, burned=Nonce(0))).kind is EventKind.ACCOUNT_THAWED


async def test_a_lost_payment_whose_books_were_rolled_back_is_given_up_for_a_filler(world: DeskWorld) -> None:
    """R9, §2: nobody wants it any more, so its nonce is open; what it had cost is booked back, once."""
    back, wanted, final = await world.submit(GOOD, GOOD | {"amount": 20}, GOOD | {"amount": 30})
    await world.sql("UPDATE counter SET next = 6 WHERE name = 'intent'")
    intents = [await world.paid(item) for item in (back, wanted, final)]
    first = intents[0]
    await world.sql("UPDATE disbursement SET status = 'rolled_back' WHERE id IN (?, ?)", back, final)
    await world.account(
        state="frozen", cause="deep_reorg", chain_nonce=first - 2, next_nonce=first + 5, high_water=first + 4
    )
    (account,) = await world.desk.accounts()
    assert account.lost_payments == (wanted,)
    assert account.lost_nonces == (first - 1, first, first + 2, first + 3, first + 4)
    with pytest.raises(Rejected, match=f"bound to disbursement {wanted}, whose own bytes go out under it"):
        await world.desk.fill(OPS, [Nonce(first + 1)], fee=BaseUnits(9), by=PERSON)
    await world.desk.fill(OPS, [Nonce(first - 1)], fee=BaseUnits(9), by=PERSON)
    assert await world.sql("SELECT * FROM balance_event") == [], "another one's nonce was filled"
    await world.desk.fill(OPS, [Nonce(first)], fee=BaseUnits(9), by=PERSON)
    assert await world.sql("SELECT state, proof FROM intent WHERE id = ?", first) == [("void", "filled")]
    assert (await world.item(back)).live_intent is None
    assert await world.sql("SELECT kind, delta, intent_id FROM balance_event") == [("reversal", 107, first)]
    assert (await world.item(final)).live_intent == intents[2]


async def test_of_two_lost_payments_side_by_side_the_named_one_is_given_up(world: DeskWorld) -> None:
    """R9: both were rolled back, and the nonce of the other is still its own."""
    ids = await world.submit(GOOD, GOOD | {"amount": 20})
    first, second = [await world.paid(item) for item in ids]
    await world.sql("UPDATE disbursement SET status = 'rolled_back'")
    await world.account(
        state="frozen", cause="deep_reorg", chain_nonce=0, next_nonce=second + 1, high_water=second
    )
    await world.desk.fill(OPS, [Nonce(second)], fee=BaseUnits(9), by=PERSON)
    assert await world.sql("SELECT id, state FROM intent ORDER BY id") == [
        (first, "final"),
        (second, "void"),
        (second + 1, "staged"),
    ]
    assert await world.sql("SELECT kind, delta, intent_id FROM balance_event") == [("reversal", 27, second)]


async def test_open_nonces_are_named_up_to_a_bound(world: DeskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the gap between the chain and us: one answer stays readable, the next one names the rest."""
    monkeypatch.setattr(fillers, "MAX_FILLED", 3)
    await world.account(state="frozen", cause="deep_reorg", chain_nonce=4, next_nonce=10**9)
    (account,) = await world.desk.accounts()
    assert account.lost_nonces == (5, 6, 7)
    await world.account(next_nonce=None)
    (account,) = await world.desk.accounts()
    assert account.lost_nonces == (), "before its sequence begins nothing of it can be lost"


async def test_a_store_that_a_person_declares_restored_is_quarantined_once(world: DeskWorld) -> None:
    """§8: with the kill switch on, as it may have been before; what was frozen is frozen again when it is over."""
    await world.account(state="frozen", cause="person", detail="audit")
    stop = BreakerOverride(
        endpoint=Endpoint("*"),
        call_class=CallClass.SEND,
        mode=BreakerMode.FORCED_OPEN,
        reason="mine",
        who="ada",
        at=NOW,
    )
    await world.desk.force_breaker(stop)
    assert len(await world.desk.declare_restored(by=PERSON)) == 1
    assert list(await world.desk.declare_restored(by=PERSON)) == [], "the same word again"
    assert await world.sql("SELECT reason FROM breaker_override") == [("mine",)]
    await world.chain(believed=40)
    await world.sql("UPDATE chain SET settled_height = 37")
    await world.sql("UPDATE account SET cause = 'taken_up', high_water = 6, chain_nonce = 4")
    await world.sql(
        "INSERT INTO frame (account, height, block_hash, holdings) VALUES (?, 37, 'h', ?)",
        *(OPS, f'{{"{OPS}": [1000, 4]}}'),
    )
    assert (await world.desk.fill_unknown(OPS, fee=BaseUnits(9), by=PERSON)).count == 2
    assert len(await world.journal("fill_unknown")) == 1
    await world.sql("UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = 'cancelled'")
    await world.desk.leave_quarantine(OPS, by=PERSON, signer=Nonce(6), signer_lost=False, lineage="l2")
    (account,) = await world.desk.accounts()
    assert (account.state, account.cause, account.detail) == ("frozen", "person", "audit")


async def test_payments_that_nobody_remembers_hold_every_item_when_quarantine_ends(world: DeskWorld) -> None:
    """§8: the chain shows more nonces used than store, journal and signer know: perhaps we paid these very items."""
    (item,) = await world.submit(GOOD)
    await world.timelocked(item)
    await world.chain(believed=40)
    await world.sql("UPDATE chain SET settled_height = 37")
    await world.account(state="quarantined", cause="taken_up", high_water=4, chain_nonce=6)
    await world.sql(
        "INSERT INTO frame (account, height, block_hash, holdings) VALUES (?, 37, 'h', ?)",
        *(OPS, f'{{"{OPS}": [1000, 6]}}'),
    )
    await world.desk.leave_quarantine(OPS, by=PERSON, signer=Nonce(4), signer_lost=False, lineage="l2")
    assert (await world.item(item)).hold is Hold.RESTORED
    (account,) = await world.desk.accounts()
    assert account.next_nonce == 7


async def test_an_account_is_left_in_quarantine_until_the_last_one_leaves_too(world: DeskWorld) -> None:
    """§8.6: the store gets another lineage with the last; who is not in quarantine, or not there, has none to leave."""
    await world.chain(believed=40)
    await world.sql("UPDATE chain SET settled_height = 37")
    for account in (OPS, GRANTS):
        await world.account(account, state="quarantined", cause="taken_up")
        await world.sql(
            "INSERT INTO frame (account, height, block_hash, holdings) VALUES (?, 37, 'h', ?)",
            *(account, f'{{"{account}": [1000, 4]}}'),
        )

    async def leave(account: AccountId) -> None:
        await world.desk.leave_quarantine(
            account, by=PERSON, signer=Nonce(0), signer_lost=False, lineage="l2"
        )

    async def lineage() -> list[Any]:
        return await world.sql("SELECT value FROM meta WHERE name = 'lineage'")

    assert (await world.desk.fill_unknown(OPS, fee=BaseUnits(9), by=PERSON)).count == 0
    assert await world.journal("fill_unknown") == []
    await leave(OPS)
    assert await lineage() == [("l1",)]
    with pytest.raises(Rejected, match="tb1ops is active, not in quarantine"):
        await leave(OPS)
    with pytest.raises(Rejected, match="there is no account 'who'"):
        await leave(AccountId("who"))
    await leave(GRANTS)
    assert await lineage() == [("l2",)]
    former = "SELECT value FROM meta WHERE name = 'former_lineages'"
    assert await world.sql(former) == [('["l1"]',)], "the signer knows a copy from before by it"


@pytest.mark.parametrize(
    ("account", "nonces", "reason", "field", "kind"),
    [
        ({}, [4], "the chain has consumed it", "nonces", Refusal.CONFLICT),
        ({}, [5], "it was never given", "nonces", Refusal.CONFLICT),
        ({"next_nonce": None}, [5], "it was never given", "nonces", Refusal.CONFLICT),
        ({"next_nonce": None, "chain_nonce": None}, [1], "it was never given", "nonces", Refusal.CONFLICT),
        ({"chain_nonce": 0}, [1, 1], "1 to 1000 different nonces, got 2", "nonces", Refusal.INVALID),
        ({"chain_nonce": 0}, [], "1 to 1000 different nonces, got 0", "nonces", Refusal.INVALID),
        ({"state": "quarantined"}, [5], "in quarantine", "account", Refusal.CONFLICT),
    ],
)
async def test_a_nonce_that_is_not_open_is_not_filled(
    world: DeskWorld, account: dict[str, Any], nonces: list[int], reason: str, field: str, kind: Refusal
) -> None:
    """R9: only what lies between the chain's count and our next nonce, and nothing of a quarantined account."""
    await world.account(**account)
    wanted = [Nonce(number) for number in nonces]
    for verb in (world.desk.fillable(OPS, wanted), world.desk.fill(OPS, wanted, fee=BaseUnits(9), by=PERSON)):
        with pytest.raises(Rejected, match=reason) as refused:
            await verb
        assert (refused.value.field, refused.value.kind) == (field, kind)
    with pytest.raises(Rejected, match="there is no account 'who'") as refused:
        await world.desk.fillable(type(OPS)("who"), wanted)
    assert (refused.value.field, refused.value.kind) == ("account", Refusal.NOT_FOUND)
    assert await world.sql("SELECT * FROM intent") == []


async def test_as_many_nonces_are_filled_as_one_command_may_name(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound itself is allowed; one that has its filler already keeps none of the others from theirs."""
    monkeypatch.setattr(fillers, "MAX_FILLED", 3)
    await world.account(chain_nonce=0)
    fee = BaseUnits(9)
    assert (await world.desk.fill(OPS, [Nonce(2)], fee=fee, by=PERSON)).count == 1
    event = await world.desk.fill(OPS, [Nonce(2), Nonce(1), Nonce(3)], fee=fee, by=PERSON)
    assert (event.count, event.detail) == (2, "nonces 1, 3: because")
    with pytest.raises(Rejected, match="1 to 3 different nonces, got 4"):
        await world.desk.fill(OPS, [Nonce(number) for number in range(1, 5)], fee=fee, by=PERSON)


async def test_a_payment_that_the_chain_holds_is_consumed_whatever_became_of_its_books(
    world: DeskWorld,
) -> None:
    """R9: rolled back by a person, and not lost: there is nothing to fill."""
    (item,) = await world.submit(GOOD)
    nonce = await world.paid(item)
    await world.sql("UPDATE disbursement SET status = 'rolled_back'")
    await world.account(chain_nonce=nonce, next_nonce=nonce + 1, high_water=nonce)
    with pytest.raises(Rejected, match=f"consumed it .its count is {nonce}"):
        await world.desk.fillable(OPS, [Nonce(nonce)])


async def test_a_bound_nonce_is_refused_however_many_lie_before_it(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9: asked for by itself; the bound on what is looked through for gaps has no say in it."""
    monkeypatch.setattr(fillers, "MAX_LIVE", 1)
    ids = await world.submit(GOOD, GOOD)
    await world.sql("UPDATE counter SET next = 2 WHERE name = 'intent'")
    for item in ids:
        await world.intent(item, "broadcast")
    await world.account(chain_nonce=0)
    with pytest.raises(Rejected, match=f"nonce 3 of {OPS}: it is bound to disbursement {ids[1]}"):
        await world.desk.fill(OPS, [Nonce(1), Nonce(3)], fee=BaseUnits(9), by=PERSON)


async def test_gaps_are_named_as_far_as_live_intents_are_looked_through(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the last of them nothing is known of the nonces, so none of those is called open."""
    ids = await world.submit(GOOD, GOOD, GOOD, GOOD)
    for number, item in zip((2, 4, 6, 8), ids, strict=True):
        await world.sql("UPDATE counter SET next = ? WHERE name = 'intent'", number)
        await world.intent(item, "broadcast")
    await world.account(chain_nonce=0, next_nonce=9)
    monkeypatch.setattr(fillers, "MAX_LIVE", 3)
    (account,) = await world.desk.accounts()
    assert account.lost_nonces == (1, 3, 5)


async def test_an_announced_deposit_is_stored(world: DeskWorld) -> None:
    """With who and why; an amount out of range is refused."""
    await world.account()
    event = await world.desk.announce(OPS, BaseUnits(500), by=PERSON)
    assert (event.kind, event.amount) == (EventKind.DEPOSIT_ANNOUNCED, 500)
    assert await world.sql("SELECT account, amount, who FROM announced") == [(OPS, 500, "ada")]
    with pytest.raises(Rejected, match="must be 1 to"):
        await world.desk.announce(OPS, BaseUnits(2**63), by=PERSON)


async def test_expected_deposits_are_bounded(world: DeskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tick reads them: the one too many is refused until others have arrived."""
    monkeypatch.setattr(desk_control, "MAX_ANNOUNCED", 2)
    await world.account()
    for _ in range(2):
        await world.desk.announce(OPS, BaseUnits(500), by=PERSON)
    with pytest.raises(Rejected, match="2 announced deposits of tb1ops are expected already") as caught:
        await world.desk.announce(OPS, BaseUnits(500), by=PERSON)
    assert caught.value.kind is Refusal.CONFLICT
    await world.sql("UPDATE announced SET used_height = 9 WHERE id = 1")
    await world.desk.announce(OPS, BaseUnits(500), by=PERSON)


async def test_a_word_on_every_endpoint_replaces_all_words_on_its_class(world: DeskWorld) -> None:
    """The kill switch survives a restart because it is stored; words on the other class stay."""

    async def say(endpoint: str, call_class: CallClass, mode: BreakerMode) -> None:
        override = BreakerOverride(
            endpoint=Endpoint(endpoint), call_class=call_class, mode=mode, reason="r", who="ada", at=NOW
        )
        assert (await world.desk.force_breaker(override)).kind is EventKind.BREAKER_FORCED

    await say("one", CallClass.SEND, BreakerMode.FORCED_CLOSED)
    await say("one", CallClass.READ, BreakerMode.METRICS_ONLY)
    await say("*", CallClass.SEND, BreakerMode.FORCED_OPEN)
    found = [(word.endpoint, word.call_class, word.mode) for word in await world.desk.overrides()]
    assert found == [("*", "send", "forced_open"), ("one", "read", "metrics_only")]
    await say("*", CallClass.SEND, BreakerMode.AUTO)
    assert (await world.desk.overrides())[0].mode is BreakerMode.AUTO
    assert [body["mode"] for body in await world.journal("force_breaker")][-1] == "auto"


# --- reading ------------------------------------------------------------------------------------------------------


async def test_pages_go_from_new_to_old_without_gap_or_repetition(world: DeskWorld) -> None:
    """The cursor is the last id of a page; None says that nothing follows."""
    ids = await world.submit(*[GOOD | {"amount": number} for number in range(1, 26)])
    seen: list[int] = []
    cursor: DisbursementId | None = None
    for _ in range(4):
        page = await world.desk.find(Filter(limit=7, cursor=cursor))
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
    assert seen == ids[::-1]
    assert cursor is None
    for limit in (0, 201):
        with pytest.raises(Rejected, match="limit: must be 1 to 200"):
            await world.desk.find(Filter(limit=limit))


async def test_impact_names_dependents_with_their_distance(world: DeskWorld) -> None:
    """Nearest first, each once by its shortest way, at most as many as asked."""
    a, b, c, d = await world.submit(
        GOOD | {"ref": "a"},
        GOOD | {"ref": "b", "depends_on_refs": ["a"]},
        GOOD | {"ref": "c", "depends_on_refs": ["b"]},
        GOOD | {"depends_on_refs": ["c", "a"]},
    )
    assert await world.desk.dependents(a, limit=10) == [(b, 1), (d, 1), (c, 2)]
    assert await world.desk.dependents(a, limit=2) == [(b, 1), (d, 1)]
    assert await world.desk.dependents(d, limit=10) == []


async def test_an_empty_store_answers_every_question(world: DeskWorld) -> None:
    """Before the first tick nothing is known, and nothing fails."""
    desk = world.desk
    assert await desk.get([DisbursementId(1)]) == [None]
    assert list(await desk.votes(DisbursementId(1))) == []
    assert list(await desk.intents(DisbursementId(1))) == []
    assert not [*await desk.accounts(), *await desk.lease_rows(), *await desk.overrides()]
    assert (await desk.chain_state()).chain_id == 1
    assert (await desk.snapshot()).last_tick_at is None
    facts = await desk.facts()
    assert (facts.lineage, facts.held_for_person, facts.ambiguous) == ("l1", 0, 0)
    assert set(facts.counts) == set(Status)


async def test_the_facts_count_what_stands_where(world: DeskWorld) -> None:
    """By status, with what waits for a person."""
    a, b, c, _ = await world.submit(*[GOOD | {"amount": number} for number in range(1, 5)])
    await world.desk.cancel([a], by=PERSON)
    await world.sql("UPDATE disbursement SET hold = 'refused', status = 'timelocked' WHERE id = ?", b)
    await world.ambiguous(c, first=1, second=2, fall=0)
    facts = await world.desk.facts()
    assert {status: count for status, count in facts.counts.items() if count} == {
        Status.DRAFT: 1,
        Status.TIMELOCKED: 2,
        Status.ROLLED_BACK: 1,
    }
    assert (facts.held_for_person, facts.ambiguous) == (1, 1)


async def test_what_waits_for_a_person_is_listed_in_pages(world: DeskWorld) -> None:
    """Held and ambiguous items, newest first, each once; an ambiguous one shows that as its hold."""
    a, b, c, d = await world.submit(*[GOOD | {"amount": number} for number in range(1, 5)])
    await world.sql("UPDATE disbursement SET hold = 'refused', status = 'timelocked' WHERE id = ?", a)
    await world.ambiguous(c, first=1, second=2, fall=0)
    await world.ambiguous(d, first=1, second=2, fall=0)
    await world.sql("UPDATE disbursement SET hold = 'poisoned' WHERE id = ?", d)
    page = await world.desk.waiting(cursor=None, limit=2)
    assert [(item.id, item.hold) for item in page.items] == [(d, Hold.AMBIGUOUS), (c, Hold.AMBIGUOUS)]
    rest = await world.desk.waiting(cursor=page.next_cursor, limit=2)
    assert ([(item.id, item.hold) for item in rest.items], rest.next_cursor) == ([(a, Hold.REFUSED)], None)
    assert b not in {item.id for item in (*page.items, *rest.items)}
    with pytest.raises(Rejected, match="limit"):
        await world.desk.waiting(cursor=None, limit=0)


async def test_one_reading_is_bounded(world: DeskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that can be none is merely not there."""
    monkeypatch.setattr(desk_queries, "MAX_GET", 2)
    (item,) = await world.submit(GOOD)
    found = await world.desk.get([DisbursementId(2**70), item])
    assert [one and one.id for one in found] == [None, item]
    with pytest.raises(Rejected, match="3 ids, the limit is 2") as caught:
        await world.desk.get([item, DisbursementId(2), DisbursementId(3)])
    assert caught.value.kind is Refusal.TOO_LARGE


async def test_commands_name_each_item_once_and_not_too_many(world: DeskWorld) -> None:
    """Bounds are named; nothing is done."""
    with pytest.raises(Rejected, match="named twice"):
        await world.desk.cancel([DisbursementId(1)] * 2, by=PERSON)
    with pytest.raises(Rejected, match="the limit is 1000"):
        await world.desk.release([DisbursementId(item) for item in range(1, 1_002)], by=PERSON)
