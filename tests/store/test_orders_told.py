"""What a person's order leaves behind: its fact, its entry in the journal of people, or a refusal that names its place."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.deskworld import GOOD, GRANTS, NOW, OPS, PERSON, PROPOSAL, DeskWorld, opened, vote

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    BaseUnits,
    BreakerMode,
    BreakerOverride,
    CallClass,
    DisbursementId,
    Endpoint,
    FreezeCause,
    Hold,
    Nonce,
    NotWritten,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.store import desk_control

BY = {"who": "ada", "reason": "because"}
AMOUNT = BaseUnits(GOOD["amount"])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        yield found


async def told(world: DeskWorld, verb: str) -> dict[str, Any]:
    """The one entry of that verb, without its place and its statements."""
    (body,) = await world.journal(verb)
    return {what: said for what, said in body.items() if what not in {"tx", "rows"}}


def fact(kind: EventKind, item: DisbursementId, reason: str, **more: Any) -> Event:
    return Event(kind=kind, account=OPS, ids=(item,), reason=reason, amount=AMOUNT, **more)


def named(rows: object) -> list[tuple[str, bool]]:
    """Why each row was not written, and whether it says of which disbursement."""
    assert isinstance(rows, list | tuple)
    return [(row.reason, "disbursement " in row.detail) for row in rows if isinstance(row, NotWritten)]


# --- votes --------------------------------------------------------------------------------------------------------


async def test_a_vote_is_told_with_all_that_proves_it(world: DeskWorld) -> None:
    """Whoever checks the signature later needs nothing but the entry (§2)."""
    (item,) = await world.submit(GOOD | {"proposal": PROPOSAL})
    await world.voting(item, deadline=5)
    event = await world.desk.take_vote(vote(item, counter=3, seen=2), now=NOW)
    fields: dict[str, str | int | float | bool | None] = {"house": "operators", "key": "aa", "counter": 3}
    assert event == Event(kind=EventKind.VOTED, account=OPS, ids=(item,), reason="approve", fields=fields)
    assert await told(world, "vote") == fields | {
        "id": item,
        "digest": (await world.item(item)).payload_digest,
        "decision": "approve",
        "signature": "5e" * 64,
        "seen_epoch": 2,
    }


@pytest.mark.parametrize(
    ("seen", "counter", "change", "field", "kind"),
    [
        pytest.param(5, 1, "", "id", Refusal.CONFLICT, id="ended"),
        pytest.param(4, 0, "", "counter", Refusal.CONFLICT, id="an old counter"),
        pytest.param(4, 1, "UPDATE disbursement SET status = 'draft'", "id", Refusal.CONFLICT, id="no vote"),
        pytest.param(
            4, 1, "UPDATE account SET state = 'quarantined'", "id", Refusal.UNAVAILABLE, id="closed"
        ),
    ],
)
async def test_a_refused_vote_names_its_place(
    world: DeskWorld, seen: int, counter: int, change: str, field: str, kind: Refusal
) -> None:
    """The disbursement, or the counter where only that is wrong."""
    await world.account()
    (item,) = await world.submit(GOOD)
    await world.voting(item, deadline=5)
    await world.desk.take_vote(vote(item, counter=0), now=NOW)
    if change:
        await world.sql(change)
    with pytest.raises(Rejected) as caught:
        await world.desk.take_vote(vote(item, counter=counter, seen=seen), now=NOW)
    assert (caught.value.field, caught.value.kind) == (field, kind)
    with pytest.raises(Rejected, match="disbursement 77 not found") as missing:
        await world.desk.take_vote(vote(DisbursementId(77)), now=NOW)
    assert (missing.value.field, missing.value.kind) == ("id", Refusal.NOT_FOUND)


# --- disbursements ------------------------------------------------------------------------------------------------


async def test_what_became_of_a_cancel_is_told_row_by_row(world: DeskWorld) -> None:
    """Rolled back, asked for, or why not: only what is paid may still be rolled back, and says so."""
    free, under_way, paid = await world.submit(GOOD, GOOD, GOOD)
    await world.intent(under_way, "broadcast")
    await world.paid(paid)
    gone = DisbursementId(2**70)
    rolled, asked, *refused = await world.desk.cancel([free, under_way, paid, gone], by=PERSON)
    assert rolled == fact(EventKind.ROLLED_BACK, free, "cancelled")
    assert isinstance(asked, Event)
    assert asked == fact(EventKind.CANCEL_REQUESTED, under_way, "cancelled", detail=asked.detail)
    assert "the same nonce" in asked.detail
    late = f"disbursement {paid} is executed and can be rolled back in its rollback window"
    assert refused == [
        NotWritten(row=2, reason="executed", detail=late),
        NotWritten(row=3, reason="missing", detail=f"there is no disbursement {gone}"),
    ]
    assert await world.desk.cancel([free], by=PERSON) == [
        NotWritten(row=0, reason="rolled_back", detail=f"disbursement {free} is rolled_back")
    ]
    assert await told(world, "cancel") == BY | {
        "rolled_back": [free],
        "requested": [under_way],
        "dependents_held": [],
    }


async def test_what_became_of_a_release_is_told_row_by_row(world: DeskWorld) -> None:
    """Which hold ended; of what stays held, why."""
    held, free, under_way = await world.submit(GOOD, GOOD, GOOD)
    first, second = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.intent(under_way, "broadcast")
    await world.sql("UPDATE disbursement SET hold = 'needs_release' WHERE id IN (?, ?)", held, under_way)
    await world.desk.cancel([first], by=PERSON)
    done, *refused = await world.desk.release([held, free, under_way, second], by=PERSON)
    assert done == fact(EventKind.RELEASED, held, "needs_release")
    assert named(refused) == [("not_held", True), ("in_flight", True), ("dependency_failed", True)]
    assert await told(world, "release") == BY | {"released": [[held, "needs_release"]]}


async def test_what_only_waits_for_another_may_be_released(world: DeskWorld) -> None:
    """Its dependency is pending, which is no hold that a person ends: the one that was set is gone."""
    _, item = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.sql("UPDATE disbursement SET hold = ? WHERE id = ?", Hold.DEPENDENCY_FAILED, item)
    assert await world.desk.release([item], by=PERSON) == [
        fact(EventKind.RELEASED, item, "dependency_failed")
    ]


async def test_what_changed_at_the_same_moment_is_named(world: DeskWorld) -> None:
    """A person looks again at that one (R10)."""
    (item,) = await world.submit(GOOD)
    await world.sql("UPDATE disbursement SET hold = 'needs_release'")
    await world.sql("CREATE TRIGGER other BEFORE UPDATE ON disbursement BEGIN SELECT RAISE(IGNORE); END")
    for rows in (await world.desk.cancel([item], by=PERSON), await world.desk.release([item], by=PERSON)):
        assert named(rows) == [("changed", True)]


async def test_in_quarantine_nothing_is_undone_that_may_have_been_paid(world: DeskWorld) -> None:
    """§8: until the signer's bindings are adopted that is everything; then what was held for it. No other account's."""
    first, held, other = await world.submit(GOOD, GOOD, GOOD | {"account": GRANTS})
    await world.sql("UPDATE disbursement SET hold = 'restored' WHERE id <> ?", first)
    await world.account(state="quarantined", cause="restored")
    (unknown,) = await world.desk.cancel([first], by=PERSON)
    assert isinstance(unknown, NotWritten)
    assert unknown == NotWritten(row=0, reason="in_quarantine", detail=unknown.detail)
    assert f"disbursement {first} may have been paid: the account {OPS}" in unknown.detail
    await world.account(state="quarantined", cause="taken_up")
    assert named(await world.desk.release([held], by=PERSON)) == [("in_quarantine", True)]
    *rolled, refused = await world.desk.cancel([other, first, held], by=PERSON)
    assert named([*rolled, refused]) == [("in_quarantine", True)]
    assert refused == replace(unknown, row=2, detail=unknown.detail.replace(f" {first} ", f" {held} ", 1))


async def test_a_rollback_is_told_with_the_payment_that_it_keeps(world: DeskWorld) -> None:
    """No money moves; who depended on it is held (D22)."""
    item, dependent = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.account()
    await world.paid(item)
    event = await world.desk.rollback(item, by=PERSON)
    assert event == fact(EventKind.ROLLED_BACK, item, "rolled_back", detail="no money moved")
    assert await told(world, "rollback") == BY | {
        "id": item,
        "prior_tx": "a1" * 32,
        "dependents_held": [dependent],
    }


@pytest.mark.parametrize(
    ("state", "settled", "says"),
    [
        pytest.param("included", 3, "final in 1 blocks", id="not final"),
        pytest.param("final", 4, "ended with epoch 4, now it is epoch 4", id="too late"),
    ],
)
async def test_a_refused_rollback_names_the_disbursement(
    world: DeskWorld, state: str, settled: int, says: str
) -> None:
    """And how long, or since when; what is deep enough already is final with the next block that we look at."""
    (item,) = await world.submit(GOOD)
    await world.paid(item, state=state, height=20, ends=4)
    await world.chain(believed=23, settled=settled)
    with pytest.raises(Rejected, match=f"disbursement {item}.*{says}") as caught:
        await world.desk.rollback(item, by=PERSON)
    assert (caught.value.field, caught.value.kind) == ("id", Refusal.CONFLICT)
    with pytest.raises(Rejected, match="disbursement 77 not found") as missing:
        await world.desk.rollback(DisbursementId(77), by=PERSON)
    assert (missing.value.field, missing.value.kind) == ("id", Refusal.NOT_FOUND)


async def test_one_command_names_a_thousand_disbursements_each_once(world: DeskWorld) -> None:
    """What is too much, or named twice, is refused whole."""
    most = [DisbursementId(item) for item in range(1, 1_001)]
    rows = await world.desk.cancel(most, by=PERSON)
    assert named(rows) == [("missing", True)] * 1_000
    with pytest.raises(Rejected, match="1001 disbursements, the limit is 1000") as large:
        await world.desk.cancel([*most, DisbursementId(1_001)], by=PERSON)
    assert (large.value.field, large.value.kind) == ("ids", Refusal.TOO_LARGE)
    with pytest.raises(Rejected, match="named twice") as twice:
        await world.desk.cancel([most[0], most[0]], by=PERSON)
    assert (twice.value.field, twice.value.kind) == ("ids", Refusal.INVALID)


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_a_freeze_is_told_as_a_warning(world: DeskWorld) -> None:
    """Nothing is paid from the account any more: somebody should see that."""
    await world.account()
    event = await world.desk.freeze(OPS, by=PERSON)
    assert event == Event(
        kind=EventKind.ACCOUNT_FROZEN,
        severity=Severity.WARNING,
        account=OPS,
        reason="person",
        detail="because",
    )
    assert await told(world, "freeze") == BY | {"account": OPS}


async def test_a_thaw_is_told_with_what_it_ended_and_where_nonces_go_on(world: DeskWorld) -> None:
    """R14: above what is burned, and for which cause it stood."""
    await world.account(state="frozen", cause="audit")
    event = await world.desk.thaw(OPS, by=PERSON, burned=Nonce(9))
    assert event == Event(kind=EventKind.ACCOUNT_THAWED, account=OPS, reason="audit", detail="because")
    assert await told(world, "thaw") == BY | {
        "account": OPS,
        "burned": 9,
        "next_nonce": 10,
        "cause": "audit",
    }


async def test_an_announced_deposit_is_told(world: DeskWorld) -> None:
    """From one unit up to all that a store can hold."""
    await world.account()
    event = await world.desk.announce(OPS, BaseUnits(500), by=PERSON)
    assert event == Event(
        kind=EventKind.DEPOSIT_ANNOUNCED, account=OPS, amount=BaseUnits(500), detail="because"
    )
    assert await told(world, "announce") == BY | {"account": OPS, "amount": 500}
    for amount in (1, 2**63 - 1):
        assert (await world.desk.announce(OPS, BaseUnits(amount), by=PERSON)).amount == amount


Order = Callable[[DeskWorld], Awaitable[object]]


def thaw(burned: int, only: FreezeCause | None = None) -> Order:
    return lambda world: world.desk.thaw(OPS, by=PERSON, burned=Nonce(burned), only=only)


def announce(amount: int) -> Order:
    return lambda world: world.desk.announce(OPS, BaseUnits(amount), by=PERSON)


FOREIGN = {"state": "frozen", "cause": "foreign_nonce", "thaw_above": 6, "chain_nonce": 6}


@pytest.mark.parametrize(
    ("account", "order", "field", "kind", "says"),
    [
        ({"state": "frozen"}, lambda world: world.desk.freeze(OPS, by=PERSON), "account", "conflict", OPS),
        ({"state": "quarantined"}, thaw(9), "account", "conflict", OPS),
        ({"state": "active"}, thaw(9), "account", "conflict", OPS),
        ({"state": "frozen", "cause": "audit"}, thaw(9, FreezeCause.PERSON), "cause", "conflict", OPS),
        (FOREIGN, thaw(5), "account", "conflict", "nonce 6"),
        ({}, announce(0), "amount", "invalid", "got 0"),
        ({}, announce(2**63), "amount", "invalid", f"got {2**63}"),
        ({}, lambda world: world.desk.freeze(AccountId("who"), by=PERSON), "account", "not_found", "'who'"),
    ],
)
async def test_a_refused_order_on_an_account_names_its_place(
    world: DeskWorld, account: dict[str, Any], order: Order, field: str, kind: str, says: str
) -> None:
    """A form shows the refusal beside the field that it is about."""
    await world.account(**account)
    with pytest.raises(Rejected) as caught:
        await order(world)
    assert (caught.value.field, caught.value.kind) == (field, kind)
    assert says in caught.value.message


async def test_one_deposit_too_many_is_refused_by_its_account(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is expected there has to arrive first."""
    monkeypatch.setattr(desk_control, "MAX_ANNOUNCED", 1)
    await world.account()
    await announce(5)(world)
    with pytest.raises(Rejected, match=OPS) as caught:
        await announce(5)(world)
    assert (caught.value.field, caught.value.kind) == ("account", Refusal.CONFLICT)


async def test_our_next_nonce_is_never_one_that_the_chain_has_consumed(world: DeskWorld) -> None:
    """R14: the chain's count stands at our next nonce, so a foreign one took it; it has to be burned first."""
    await world.account(state="frozen", cause="foreign_nonce", next_nonce=6, chain_nonce=6)
    with pytest.raises(Rejected, match="the foreign nonce 6 is not burned yet"):
        await thaw(5)(world)
    await thaw(6)(world)
    assert await world.sql("SELECT next_nonce FROM account") == [(7,)]


async def test_where_the_chain_has_consumed_nothing_no_foreign_nonce_is_waited_for(world: DeskWorld) -> None:
    """The very first nonce is still ours."""
    for count in (0, None):
        await world.account(state="frozen", cause="person", next_nonce=1, chain_nonce=count, high_water=0)
        await thaw(0)(world)


@pytest.mark.parametrize(
    ("payments", "nonces", "says", "hint"),
    [
        pytest.param(
            1,
            0,
            "lost 1 final payment (disbursements 1)",
            "the payments again: `treasuryd reopen ID`.",
            id="payments",
        ),
        pytest.param(
            0,
            2,
            "tb1ops: 2 nonces pay nobody any more (1 2)",
            "Fill the nonces: `treasuryd account fill tb1ops --nonce 1 --nonce 2`.",
            id="nonces",
        ),
        pytest.param(
            1,
            1,
            "(disbursements 1) and 1 nonce pays nobody any more (2)",
            "reopen ID`. Fill the nonces: `treasuryd account fill tb1ops --nonce 2`.",
            id="both",
        ),
    ],
)
async def test_what_the_chain_took_is_named_with_the_way_to_mend_it(
    world: DeskWorld, payments: int, nonces: int, says: str, hint: str
) -> None:
    """R9: payments to reopen, nonces to fill, each only where there are any."""
    for item in await world.submit(*[GOOD] * payments) if payments else []:
        await world.paid(item)
    above = payments + nonces + 1
    await world.account(
        state="frozen", cause="deep_reorg", chain_nonce=0, next_nonce=above, high_water=above - 1
    )
    with pytest.raises(Rejected) as caught:
        await thaw(0)(world)
    assert (caught.value.field, caught.value.kind) == ("account", Refusal.CONFLICT)
    assert caught.value.message.endswith(says)
    assert caught.value.hint.endswith(hint)
    assert caught.value.hint.startswith(hint if not payments else "Send the payments again")


async def test_of_many_that_the_chain_took_the_first_ones_are_named(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal stays readable; it says how many there are."""
    monkeypatch.setattr(desk_control, "NAMED", 1)
    for item in await world.submit(GOOD, GOOD):
        await world.paid(item)
    await world.account(state="frozen", cause="deep_reorg", chain_nonce=0, next_nonce=5, high_water=4)
    with pytest.raises(Rejected, match=r"lost 2 .*\(disbursements 1\) and 2 nonces .*\(3\)$") as caught:
        await thaw(0)(world)
    assert caught.value.hint.endswith("fill tb1ops --nonce 3`.")


# --- breakers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "severity"),
    [
        (BreakerMode.FORCED_OPEN, Severity.WARNING),
        (BreakerMode.FORCED_CLOSED, Severity.WARNING),
        (BreakerMode.METRICS_ONLY, Severity.INFO),
        (BreakerMode.AUTO, Severity.INFO),
    ],
)
async def test_a_word_on_a_breaker_is_told(world: DeskWorld, mode: BreakerMode, severity: Severity) -> None:
    """Loud where it takes the decision from the machine; kept with who said it, why and when."""
    word = BreakerOverride(
        endpoint=Endpoint("one"), call_class=CallClass.SEND, mode=mode, reason="because", who="ada", at=NOW
    )
    assert await world.desk.force_breaker(word) == Event(
        kind=EventKind.BREAKER_FORCED,
        severity=severity,
        reason=str(mode),
        detail="because",
        fields={"endpoint": "one", "class": "send", "who": "ada"},
    )
    assert await told(world, "force_breaker") == BY | {"endpoint": "one", "class": "send", "mode": mode}
    assert await world.desk.overrides() == [word]
