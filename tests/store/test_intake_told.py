"""What intake stores, refuses, answers and journals, each of them whole (interfaces.md §1)."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.deskworld import (
    GOOD,
    GRANTS,
    NOW,
    PERSON,
    PROPOSAL,
    RULES,
    DeskWorld,
    opened,
    refused,
    request,
)

from treasuryd.core import limits
from treasuryd.core.model import (
    Disbursement,
    DisbursementId,
    Filter,
    NewDisbursement,
    Status,
    UnixSeconds,
)
from treasuryd.core.staging import payload_digest
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Submission, Submitted
from treasuryd.store import desk_intake
from treasuryd.store.rows import ids_json

LATER = UnixSeconds(NOW + 60)
FULL = GOOD | {
    "account": GRANTS,
    "memo": "May \u20ac",
    "scheduled_epoch": 7,
    "expected_receipts": [{"account": "b", "amount": 40}, {"account": "a", "amount": 60}],
    "proposal": PROPOSAL
    | {
        "deps": [2, 1],
        "attachments": [{"name": "bill", "uri": "ipfs://x"}, {"name": "offer", "uri": "ipfs://y"}],
        "quorum": {"operators_ppm": 600_000, "builders_ppm": 400_000},
        "vote_window_epochs": 9,
        "timelock_epochs": 8,
        "rollback_window_epochs": 7,
    },
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        yield found


async def at_once(world: DeskWorld, asked: Submission) -> Submitted:
    return await world.desk.submit(asked, now=LATER)


async def in_a_batch(world: DeskWorld, asked: Submission) -> Submitted:
    await world.desk.open_batch("may", now=NOW, expires_seconds=999)
    await world.desk.add_part("may", 1, asked, now=NOW)
    return await world.desk.seal_batch("may", parts=1, now=LATER)


def stored_as(
    item: NewDisbursement, number: DisbursementId, depends_on: tuple[DisbursementId, ...]
) -> Disbursement:
    """The draft that this item has to become."""
    return Disbursement(
        id=number,
        account=item.account,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        scheduled_epoch=item.scheduled_epoch,
        depends_on=depends_on,
        expected_receipts=item.expected_receipts,
        proposal=item.proposal,
        idempotency_key=item.idempotency_key,
        request_digest=item.request_digest,
        payload_digest=payload_digest(item, depends_on),
        status=Status.DRAFT,
        created_at=LATER,
        status_at=LATER,
    )


# --- what is stored ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hand_in", [at_once, in_a_batch])
async def test_each_word_of_an_item_is_stored_as_it_was_handed_in(
    world: DeskWorld, hand_in: Callable[[DeskWorld, Submission], Any]
) -> None:
    """By either way in; the answer is what everybody reads from then on."""
    await world.submit(GOOD, GOOD)
    asked = request(
        FULL,
        GOOD | {"ref": "b", "depends_on": [2]},
        GOOD | {"ref": "c", "depends_on": [1], "depends_on_refs": ["b", "d"]},
        GOOD | {"ref": "d"},
        key="k/1",
    )
    full, with_id, with_refs, plain = asked.items
    assert full.proposal is not None
    assert (full.account, [one.amount for one in full.expected_receipts]) == (GRANTS, [40, 60])
    one, two, three, four, five, six = map(DisbursementId, range(1, 7))
    expected = (
        stored_as(full, three, full.proposal.deps),
        stored_as(with_id, four, (two,)),
        stored_as(with_refs, five, (one, four, six)),
        stored_as(plain, six, ()),
    )
    done = await hand_in(world, asked)
    assert done == Submitted(items=expected, repeated=False)
    assert tuple(await world.desk.get([three, four, five, six])) == expected
    unmet = "SELECT unmet FROM disbursement WHERE id > 2 ORDER BY id"
    assert await world.sql(unmet) == [(2,), (1,), (3,), (0,)]


async def test_a_request_is_remembered_and_journalled_with_its_key_digest_and_ids(world: DeskWorld) -> None:
    """From either of them a lost answer can be given again, and only to who asked the same."""
    await world.submit(GOOD, key="before")
    asked = request(GOOD, GOOD)
    count = len(await world.said())
    await world.desk.submit(asked, now=LATER)
    assert await world.sql("SELECT * FROM request WHERE key = 'k'") == [
        ("k", asked.request_digest, 2, 2, LATER)
    ]
    body = {"key": "k", "request_digest": asked.request_digest, "first": 2, "items": 2}
    assert (await world.said())[count:] == [("people", "submit", LATER, body)]


async def test_a_repeated_request_answers_with_its_own_rows_as_they_are_now(world: DeskWorld) -> None:
    """Its rows alone, in input order; one that vanished behind our back is left out."""
    await world.submit(GOOD, key="before")
    ids = await world.submit(GOOD, GOOD, GOOD, key="k")
    await world.submit(GOOD, key="after")
    await world.desk.cancel([ids[0]], by=PERSON)
    asked = request(GOOD, GOOD, GOOD)
    again = await world.desk.submit(asked, now=LATER)
    assert again == Submitted(items=tuple([await world.item(item) for item in ids]), repeated=True)
    assert again.items[0].status is Status.ROLLED_BACK
    await world.sql("DELETE FROM disbursement WHERE id = ?", ids[1])
    again = await world.desk.submit(asked, now=LATER)
    assert [item.id for item in again.items] == [ids[0], ids[2]]


# --- what it waits for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_final", "unmet"),
    [
        pytest.param(False, 3, id="finalized ones are satisfied"),
        pytest.param(True, 2, id="and executed ones whose intent is final, by setting"),
    ],
)
async def test_what_is_satisfied_when_an_item_comes_in_is_not_waited_for(
    tmp_path: Path, by_final: bool, unmet: int
) -> None:
    """§2: what is in a block and not final satisfies nobody; the audit counts the same."""
    async with opened(tmp_path, rules=replace(RULES, dependency_satisfied_by_final=by_final)) as world:
        ids = await world.submit(*[GOOD | {"amount": amount} for amount in (1, 2, 3, 4)])
        finalized, final, included, final_unpaid = ids
        await world.paid(finalized)
        await world.sql("UPDATE disbursement SET status = 'finalized' WHERE id = ?", finalized)
        await world.paid(final)
        await world.paid(included, state="included")
        await world.paid(final_unpaid)
        await world.sql("UPDATE disbursement SET status = 'timelocked' WHERE id = ?", final_unpaid)
        (item,) = await world.submit(GOOD | {"depends_on": ids})
        assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", item) == [(unmet,)]


async def test_dependencies_are_looked_up_in_pieces_and_each_is_found(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many a request names: none is taken for missing, none is left out."""
    ids = await world.submit(*[GOOD | {"amount": amount} for amount in range(1, 6)])
    pieces: list[int] = []

    def seen(asked: Sequence[Any]) -> str:
        pieces.append(len(asked))
        return ids_json(asked)

    monkeypatch.setattr(desk_intake, "LOOKUP_ROWS", 2)
    monkeypatch.setattr(desk_intake, "ids_json", seen)
    (item,) = await world.submit(GOOD | {"depends_on": ids})
    assert await world.sql("SELECT unmet FROM disbursement WHERE id = ?", item) == [(5,)]
    assert pieces == [1, 2, 2, 1], "the account, then all five"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depends_on", "words"),
    [
        ([9], "items[1].depends_on: there is no disbursement 9"),
        ([4], "items[1].depends_on: the item would become disbursement 4 and depend on itself"),
        ([1, 2], "items[1].depends_on: disbursement 2 was rolled back and will never be paid"),
    ],
)
async def test_a_dependency_that_can_never_be_satisfied_is_refused_in_its_place(
    world: DeskWorld, depends_on: list[int], words: str
) -> None:
    """The content is wrong and stays wrong: sending it again is useless."""
    _, lost = await world.submit(GOOD, GOOD | {"amount": 2})
    await world.desk.cancel([lost], by=PERSON)
    told = await refused(world.submit(GOOD | {"amount": 3}, GOOD | {"depends_on": depends_on}))
    assert told == (words, "items[1].depends_on", Refusal.INVALID)


async def test_keys_and_quarantine_refuse_with_their_field_and_class(world: DeskWorld) -> None:
    """By these a client decides whether it may try again, and with what."""
    await world.submit(GOOD, GOOD, key="k")
    await world.submit(GOOD, key="part/1")
    told = await refused(world.submit(GOOD, key="k"))
    assert told == (
        "the idempotency key 'k' belongs to another request",
        "Idempotency-Key",
        Refusal.CONFLICT,
    )
    await world.desk.open_batch("part", now=NOW, expires_seconds=60)
    await world.desk.add_part("part", 1, request(GOOD, GOOD, key="part/1"), now=NOW)
    told = await refused(world.desk.seal_batch("part", parts=1, now=NOW))
    assert told == (
        "the item key 'part/1#0' belongs to disbursement 3",
        "Idempotency-Key",
        Refusal.CONFLICT,
    )
    await world.account(GRANTS, state="quarantined")
    told = await refused(world.submit(GOOD, GOOD | {"account": GRANTS}))
    assert told == (
        f"the account {GRANTS} is in quarantine: intake is closed",
        "account",
        Refusal.UNAVAILABLE,
    )
    assert len((await world.desk.find(Filter())).items) == 3


async def test_the_ids_that_a_key_stands_for_are_named(world: DeskWorld) -> None:
    """Whoever lost the answer finds what came of the first request."""
    await world.submit(GOOD, key="before")
    await world.submit(GOOD, GOOD, GOOD, key="k")
    with pytest.raises(Rejected, match="belongs to another request") as caught:
        await world.submit(GOOD, key="k")
    assert "became the disbursements 2 to 4." in caught.value.hint


async def test_one_dependent_too_many_is_refused_in_the_row_that_is_it(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§4: those that wait already count, and those of the request; nobody waits for what is finalized."""
    monkeypatch.setattr(limits, "MAX_DEPENDENTS", 2)
    done, first, other = await world.submit(*[GOOD | {"amount": amount} for amount in (1, 2, 3)])
    await world.paid(done)
    await world.sql("UPDATE disbursement SET status = 'finalized' WHERE id = ?", done)
    waits = GOOD | {"depends_on": [done, first]}
    await world.submit(waits)
    told = await refused(world.submit(GOOD | {"depends_on": [other]}, waits, waits))
    assert told == (
        f"items[2].depends_on: disbursement {first} would have more than 100000 direct dependents",
        "items[2].depends_on",
        Refusal.CONFLICT,
    )
    await world.submit(*[GOOD | {"depends_on": [done]}] * 3)
    assert len(await world.submit(waits)) == 1
