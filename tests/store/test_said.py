"""What each verb says of what it did: its events, its journal entry and its refusals, to the last word."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.store.kit import OTHER, PAYER, RIVAL, Bench, block, seen, sent, signed

from treasuryd.core.changes import (
    Adopted,
    Advanced,
    BaselineMoved,
    Booked,
    Burned,
    ChainMoved,
    FrozenNow,
    HoldSet,
    QuarantinedNow,
    Rewound,
    Unproven,
    VariantStaged,
)
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    Address,
    BalanceKind,
    BaseUnits,
    BlockHash,
    DisbursementId,
    Epoch,
    FreezeCause,
    Height,
    Hold,
    IntentId,
    Meaning,
    Nonce,
    NotWritten,
    Refused,
    Status,
    VariantKind,
)

CHAIN = f"account:{PAYER}"


def event(kind: EventKind, *ids: int, severity: Severity = Severity.INFO, **more: Any) -> Event:
    """One fact of the payer's account, of as many rows as it names."""
    count = more.pop("count", max(1, len(ids)))
    return Event(
        kind=kind, severity=severity, account=PAYER, count=count, ids=tuple(map(DisbursementId, ids)), **more
    )


def warning(kind: EventKind, *ids: int, **more: Any) -> Event:
    return event(kind, *ids, severity=Severity.WARNING, **more)


def without_times(events: Sequence[Event]) -> list[Event]:
    """Events without how long things took (test_stages.py looks at that)."""
    return [replace(one, seconds=(), step_seconds=()) for one in events]


async def entry(bench: Bench) -> tuple[str, str, dict[str, Any]]:
    """The newest journal entry: chain, verb and what it says, without its place and its statements."""
    [(chain, verb, body)] = await bench.sql("SELECT chain, verb, body FROM journal ORDER BY id DESC LIMIT 1")
    said = orjson.loads(body)
    return chain, verb, {what: rows for what, rows in said.items() if what not in {"rows", "tx"}}


async def test_a_payment_is_told_from_its_nonce_to_its_end(payer: Bench) -> None:
    """protocol.md §3: each verb one entry of the account's chain, and the facts that a person may count."""
    assert await entry(payer) == (CHAIN, "record", {"adopted": [[1, 1_050]]})
    staged = await payer.stage(await payer.insert(2))
    assert await entry(payer) == (CHAIN, "stage", {"staged": [[1, 1, 1, 100], [2, 2, 2, 100]]})
    sealed = await payer.seal(staged)
    assert await entry(payer) == (CHAIN, "seal", {"sealed": 2})

    told = await payer.written(
        replace(sent(sealed[0], Meaning.UNKNOWN), detail="it said so"), sent(sealed[1])
    )
    assert without_times(told.events) == [
        event(EventKind.SENT, 1, reason="unknown", detail="it said so"),
        event(EventKind.SENT, 2, reason="accepted"),
    ]
    assert await entry(payer) == (CHAIN, "record", {"sent unknown": 1, "sent accepted": 1})

    told = await payer.written(seen(sealed[0], 1_050, fee=101), seen(sealed[1], 1_050))
    paid: dict[str, Any] = {"amount": BaseUnits(2_000), "fee": BaseUnits(201)}
    assert without_times(told.events) == [event(EventKind.INCLUDED, 1, 2, reason="payment", **paid)]
    included = f"included 1050 {block(1_050)} hash"
    assert await entry(payer) == (CHAIN, "record", {included: [[1, 1, 101], [2, 1, 100]]})

    movements = "SELECT kind, delta, fee, disbursement_id, intent_id, height FROM balance_event WHERE id > 1"
    assert await payer.sql(movements) == [
        ("execution", -1_101, 101, 1, 1, 1_050),
        ("execution", -1_100, 100, 2, 2, 1_050),
    ]

    told = await payer.bury()
    assert without_times(told.events) == [event(EventKind.FINAL, 1, 2)]
    assert await entry(payer) == (CHAIN, "record", {"final": [[1_050, block(1_050), [1, 2]]]})
    told = await payer.finalize(settled=106)
    assert without_times(told.events) == [event(EventKind.FINALIZED, 1, 2)]
    assert await entry(payer) == (CHAIN, "record", {"finalized": [1, 2]})


async def test_a_cancel_is_told_from_its_order_to_its_end(payer: Bench) -> None:
    """R7: the variant, its unit and its fee, and what becomes of the disbursement."""
    [intent] = await payer.pay(await payer.insert())
    ordered = VariantStaged(
        account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.CANCEL, fee=BaseUnits(300)
    )
    told = await payer.written(ordered)
    assert told.events == (event(EventKind.VARIANT_STAGED, 1, reason="cancel"),)
    assert await entry(payer) == (CHAIN, "record", {"variant": [[1, 2, "cancel", 300]]})
    [both] = await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    assert await entry(payer) == (CHAIN, "seal", {"sealed": 1})
    told = await payer.written(seen(both, 1_050, fee=300))
    assert without_times(told.events) == [
        event(EventKind.INCLUDED, 1, reason="cancel", amount=BaseUnits(1), fee=BaseUnits(300))
    ]
    told = await payer.bury()
    why = "its cancel variant is final"
    assert without_times(told.events) == [
        warning(EventKind.VOIDED, 1, reason="cancelled", detail=why),
        warning(EventKind.HELD, 1, reason="needs_release", detail=why),
    ]
    assert await entry(payer) == (
        CHAIN,
        "record",
        {"voided": [[1, "cancelled", "needs_release"]], "held": [[1, "needs_release"]]},
    )


async def test_a_cancel_that_was_asked_for_is_told_as_rolled_back(payer: Bench) -> None:
    """§2: in the entry that voids its intent, with the proof."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    await payer.sql("UPDATE disbursement SET cancel_requested = 'stop' WHERE id = ?", item)
    told = await payer.written(Burned(account=PAYER, intent_id=intent.id, detail="a stranger's"))
    assert without_times(told.events) == [
        warning(EventKind.VOIDED, 1, reason="burned", detail="a stranger's"),
        event(EventKind.ROLLED_BACK, 1, reason="cancelled"),
    ]
    assert await entry(payer) == (
        CHAIN,
        "record",
        {"voided": [[1, "burned", "needs_release"]], "rolled_back": [[1]]},
    )


async def test_what_a_stranger_leaves_is_told(payer: Bench) -> None:
    """R5, R14: what is void, what nobody can prove, and an account that stands still."""
    one, two = await payer.pay(await payer.insert(2))
    told = await payer.written(
        Burned(account=PAYER, intent_id=one.id, detail="a stranger's"),
        Unproven(
            account=PAYER,
            intent_id=two.id,
            first=payer.frame(height=1_051, tb1payee=5),
            second=payer.frame(height=1_055, tb1payee=6),
        ),
    )
    assert without_times(told.events) == [
        warning(EventKind.VOIDED, 1, reason="burned", detail="a stranger's"),
        warning(EventKind.HELD, 1, reason="needs_release", detail="a stranger's"),
        event(
            EventKind.AMBIGUOUS,
            2,
            severity=Severity.PAGE,
            detail="nonce 2: consumed between heights 1051 and 1055, by what is unproven",
        ),
    ]
    assert await entry(payer) == (
        CHAIN,
        "record",
        {
            "voided": [[1, "burned", "needs_release"]],
            "held": [[1, "needs_release"]],
            "ambiguous": [[2, 1_051, 1_055]],
        },
    )
    shown = {"treasury": [payer.balance, payer.nonce], "tb1payee": [5, 0]}
    [kept] = await payer.sql(
        "SELECT first_height, first_hash, second_height, second_hash, first FROM ambiguity"
    )
    assert kept[:4] == (1_051, block(1_051), 1_055, block(1_055))
    assert orjson.loads(kept[4]) == {"base_fee": 1, "holdings": shown}

    told = await payer.written(
        FrozenNow(account=PAYER, cause=FreezeCause.FOREIGN_NONCE, detail="spent", thaw_above=Nonce(4))
    )
    assert told.events == (
        event(EventKind.ACCOUNT_FROZEN, severity=Severity.PAGE, reason="foreign_nonce", detail="spent"),
    )
    assert await entry(payer) == (CHAIN, "record", {"frozen": [["foreign_nonce", "spent", 4]]})
    told = await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    assert told.events == (event(EventKind.ACCOUNT_QUARANTINED, severity=Severity.PAGE, detail="older"),)
    assert await entry(payer) == (CHAIN, "record", {"quarantined": ["older"]})


async def test_a_frame_without_a_base_fee_is_kept_as_such(payer: Bench) -> None:
    """§5.1: the person who judges sees that it was not read."""
    [intent] = await payer.pay(await payer.insert())
    bare = replace(payer.frame(height=1_051), base_fee=None)
    await payer.written(Unproven(account=PAYER, intent_id=intent.id, first=bare, second=bare))
    [(kept,)] = await payer.sql("SELECT second FROM ambiguity")
    assert orjson.loads(kept)["base_fee"] is None


async def test_a_reorg_is_told_with_all_that_it_takes_back(payer: Bench) -> None:
    """R9: which payments are open again, what is reversed, where the baseline stands."""
    one, two = await payer.pay(await payer.insert(2))
    before = payer.frame()
    payer.height = Height(1_055)
    await payer.written(
        seen(one, 1_055),
        Unproven(account=PAYER, intent_id=two.id, first=before, second=payer.frame()),
    )
    told = await payer.written(
        Booked(account=PAYER, kind=BalanceKind.FUNDING, delta=50, height=Height(1_055)),
        BaselineMoved(account=PAYER, frame=payer.frame(), keep_from=Height(0)),
    )
    assert told.events == (
        event(EventKind.BALANCE_MOVED, reason="funding", amount=BaseUnits(50)),
        event(EventKind.BASELINE_MOVED, severity=Severity.DEBUG),
    )
    assert await entry(payer) == (
        CHAIN,
        "record",
        {"booked": [["funding", 50, 1_055]], "baseline": [[1_055, block(1_055)]]},
    )
    told = await payer.written(Rewound(account=PAYER, to=before))
    assert told.events == (
        warning(EventKind.REORGED, 1, 2),
        warning(EventKind.BASELINE_MOVED, reason="rewound", detail="back to height 1050"),
    )
    assert await entry(payer) == (CHAIN, "record", {"reorged": [[1, 2]], "rewound": [[1_050, block(1_050)]]})
    reversed_ = await payer.sql(
        "SELECT kind, delta, fee, disbursement_id, intent_id, height FROM balance_event"
        " WHERE kind = 'reversal' ORDER BY id"
    )
    assert reversed_ == [("reversal", 1_100, 0, 1, 1, 1_050), ("reversal", -50, 0, None, None, 1_050)]


async def test_what_ends_or_is_taken_back_is_the_intent_and_not_its_disbursement(payer: Bench) -> None:
    """Their ids grow apart with the first cancellation; here they begin apart."""
    await payer.sql("UPDATE counter SET next = 41 WHERE name = 'intent'")
    paid, cancelled, reorged = await payer.pay(await payer.insert(3))
    order = VariantStaged(
        account=PAYER, intent_id=cancelled.id, number=2, kind=VariantKind.CANCEL, fee=BaseUnits(300)
    )
    await payer.written(order)
    await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    await payer.written(seen(paid, 1_050), seen(cancelled, 1_050, variant=2), seen(reorged, 1_051))
    await payer.bury()
    await payer.written(Rewound(account=PAYER, to=payer.frame()))
    assert await payer.sql("SELECT id, disbursement_id, state FROM intent") == [
        (41, 1, "final"),
        (42, 2, "void"),
        (43, 3, "broadcast"),
    ]
    assert await payer.sql("SELECT id, status, live_intent FROM disbursement") == [
        (1, "executed", 41),
        (2, "timelocked", None),
        (3, "timelocked", 43),
    ]
    assert await payer.sql(
        "SELECT disbursement_id, intent_id, delta FROM balance_event WHERE kind = 'reversal'"
    ) == [(3, 43, 1_100)]


async def test_where_the_account_is_not_on_the_chain_no_nonce_is_consumed(payer: Bench) -> None:
    """R9: the block that replaced it knows no such account; what was judged by its count is open again, from nonce 1."""
    [intent] = await payer.pay(await payer.insert())
    first, second = payer.frame(), payer.frame(height=1_055)
    await payer.written(Unproven(account=PAYER, intent_id=intent.id, first=first, second=second))
    replaced = replace(second, block_hash=BlockHash("f" * 64), holdings={Address(PAYER): None})
    await payer.written(Rewound(account=PAYER, to=replaced))
    assert await payer.sql("SELECT state, step FROM intent") == [("broadcast", "watch")]


async def test_what_moves_a_disbursement_is_told(payer: Bench) -> None:
    """§2: from where to where, and each hold with its name."""
    [item] = await payer.insert(status="draft")
    moved = Advanced(
        account=PAYER,
        disbursement_id=item,
        was=Status.DRAFT,
        to=Status.TIMELOCKED,
        ready_epoch=Epoch(1),
    )
    told = await payer.written(moved)
    assert without_times(told.events) == [event(EventKind.ADVANCED, 1, reason="timelocked")]
    assert await entry(payer) == (
        CHAIN,
        "record",
        {"advanced": [[1, "draft", "timelocked", None, None, None, 1, None]]},
    )
    lost = HoldSet(account=PAYER, disbursement_id=item, hold=Hold.APPROVAL_LOST, detail="the recount")
    told = await payer.written(lost)
    assert told.events == (warning(EventKind.HELD, 1, reason="approval_lost", detail="the recount"),)
    assert await entry(payer) == (CHAIN, "record", {"held": [[1, "approval_lost"]]})
    told = await payer.written(replace(lost, hold=None))
    assert told.events == (event(EventKind.RELEASED, 1, reason="approval_lost"),)
    assert await entry(payer) == (CHAIN, "record", {"released": [[1, "approval_lost"]]})


@pytest.mark.parametrize(
    ("account", "status", "live"),
    [
        pytest.param(OTHER, "draft", False, id="another account's"),
        pytest.param(PAYER, "rolled_back", False, id="over"),
        pytest.param(PAYER, "timelocked", True, id="under way"),
    ],
)
async def test_what_cannot_wait_is_not_held(
    payer: Bench, account: AccountId, status: str, live: bool
) -> None:
    """§2: a hold keeps from staging what has yet to be staged, under the lease of its own account."""
    [item] = await payer.insert(account=PAYER if live else account)
    if live:
        await payer.stage([item])
    await payer.sql("UPDATE disbursement SET status = ?", status)
    lost = HoldSet(account=PAYER, disbursement_id=item, hold=Hold.APPROVAL_LOST, detail="the recount")
    told = await payer.record([lost])
    named = f"HoldSet disbursement {item}"
    assert told.unwritten == (NotWritten(row=0, reason="changed", detail=named),)
    assert (await payer.item(item)).hold is None


async def test_holds_of_one_batch_follow_each_other(payer: Bench) -> None:
    """One that is not there keeps no other from it, the same twice is told once, and a release ends the one before."""
    item, other = await payer.insert(2)
    lost = HoldSet(account=PAYER, disbursement_id=item, hold=Hold.APPROVAL_LOST, detail="the recount")
    told = await payer.record(
        [
            replace(lost, disbursement_id=DisbursementId(99)),
            *(lost, lost),
            *(replace(lost, disbursement_id=other, hold=hold) for hold in (Hold.APPROVAL_LOST, None)),
        ]
    )
    assert [(row.row, row.reason) for row in told.unwritten] == [(0, "missing")]
    assert told.events == (
        warning(EventKind.HELD, item, other, reason="approval_lost", detail="the recount"),
        event(EventKind.RELEASED, other, reason="approval_lost"),
    )
    assert [(await payer.item(one)).hold for one in (item, other)] == [Hold.APPROVAL_LOST, None]


async def test_what_the_signer_refuses_is_told_from_the_last_one_down(payer: Bench) -> None:
    """R5 c: why, in the signer's words where it has some; the first one is held, the others wait again."""
    items = await payer.insert(3)
    one, two, three = await payer.stage(items)
    refused = [
        Refused(row=0, reason="policy", intent_id=one.id, final=True, first=True, detail="too large"),
        Refused(row=1, reason="behind", intent_id=two.id, final=True),
        Refused(row=2, reason="behind", intent_id=three.id, final=True),
    ]
    told = await payer.store.unstage(refused, payer.held)
    assert told.unwritten == ()
    assert told.events == (
        warning(EventKind.UNSTAGED, 3, 2, 1, reason="never_bound", detail="behind"),
        warning(EventKind.HELD, 1, reason="refused", detail="too large"),
    )
    assert await entry(payer) == (
        CHAIN,
        "unstage",
        {
            "voided": [[3, "never_bound", None], [2, "never_bound", None], [1, "never_bound", "refused"]],
            "held": [[1, "refused"]],
        },
    )
    assert await payer.sql("SELECT hold_detail FROM disbursement WHERE id = ?", items[0]) == [("too large",)]


async def test_a_word_on_older_bytes_leaves_the_newer_ones_to_be_sent(payer: Bench) -> None:
    """R6: a bump is sealed while the answer to the first bytes is under way; it has not left yet."""
    [intent] = await payer.pay(await payer.insert())
    bump = VariantStaged(
        account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(300)
    )
    await payer.written(bump)
    [both] = await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    await payer.send([intent])
    assert await payer.sql("SELECT step FROM intent") == [("send",)]
    await payer.send([both])
    assert await payer.sql("SELECT step FROM intent") == [("watch",)]


async def test_a_payment_leaves_for_the_first_time_once(payer: Bench) -> None:
    """Two words on one payment in one batch: how long it waited is told with the first."""
    [intent] = await payer.seal(await payer.stage(await payer.insert()))
    [told] = (await payer.written(sent(intent), sent(intent))).events
    assert (told.count, len(told.step_seconds)) == (2, 1)


async def test_a_lower_frame_keeps_no_other_account_from_its_baseline(payer: Bench) -> None:
    """R9: lag of one account is that account's."""
    await payer.adopt(OTHER)
    low, high = payer.frame(PAYER, height=1_049), payer.frame(OTHER, height=1_060)
    told = await payer.record(
        [
            BaselineMoved(account=PAYER, frame=low, keep_from=Height(0)),
            BaselineMoved(account=OTHER, frame=high, keep_from=Height(0)),
        ]
    )
    assert [(row.row, row.reason) for row in told.unwritten] == [(0, "changed")]
    assert await payer.sql("SELECT account, max(height) FROM frame GROUP BY account ORDER BY account") == [
        (OTHER, 1_060),
        (PAYER, 1_050),
    ]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (QuarantinedNow(account=PAYER, detail="older"), "quarantined"),
        (FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="drill"), "frozen"),
    ],
)
async def test_an_account_that_stands_still_already_keeps_no_other_from_it(
    payer: Bench, change: FrozenNow | QuarantinedNow, state: str
) -> None:
    """R14, §8: it is told once; the other one stops."""
    await payer.adopt(OTHER)
    await payer.written(change)
    told = await payer.written(change, replace(change, account=OTHER))
    assert [one.account for one in told.events] == [OTHER]
    assert await payer.sql("SELECT DISTINCT state FROM account") == [(state,)]


async def test_what_is_no_news_of_the_chain_keeps_no_news_from_it(payer: Bench) -> None:
    """R15: of another chain, or known already; what is believed moves on with the next one."""
    now = await payer.store.chain_state()
    higher = replace(now, believed=Height(now.believed + 1))
    news = [ChainMoved(account=PAYER, chain=chain) for chain in (replace(now, chain_id=8), now, higher)]
    told = await payer.record(news)
    assert [(row.row, row.reason) for row in told.unwritten] == [(0, "changed")]
    assert (await payer.store.chain_state()).believed == higher.believed


async def books(bench: Bench, account: AccountId = PAYER) -> list[Any]:
    """What was booked for an account since it was first seen."""
    return await bench.sql(
        "SELECT kind, delta, balance, height FROM balance_event WHERE account = ? ORDER BY id", account
    )


async def test_an_account_begins_with_what_the_chain_shows_of_it(payer: Bench) -> None:
    """R2: told with its next nonce; the opening balance is funding of no block."""
    frame = payer.frame(OTHER)
    await payer.claim(OTHER)
    told = await payer.written(Adopted(account=OTHER, next_nonce=Nonce(7), baseline=frame))
    assert told.events == (Event(kind=EventKind.ACCOUNT_ADOPTED, account=OTHER, detail="next nonce 7"),)
    assert await books(payer, OTHER) == [("funding", payer.balance, payer.balance, None)]
    columns = "next_nonce, chain_balance, chain_nonce, booked"
    assert await payer.sql(f"SELECT {columns} FROM account WHERE id = ?", OTHER) == [
        (7, payer.balance, 0, payer.balance)
    ]


async def test_an_account_that_may_not_begin_keeps_no_other_from_it(payer: Bench) -> None:
    """R2, §8: one that has begun, and one in quarantine whose bindings were not adopted, though it has no nonce."""
    third = AccountId("third")
    await payer.claim(OTHER, third)
    await payer.sql("UPDATE account SET state = 'quarantined', cause = 'restored' WHERE id = ?", OTHER)
    told = await payer.record(
        [
            Adopted(account=account, next_nonce=Nonce(7), baseline=payer.frame(account))
            for account in (PAYER, OTHER, third)
        ]
    )
    assert [(row.row, row.reason) for row in told.unwritten] == [(0, "changed"), (1, "changed")]
    assert await payer.sql("SELECT id, next_nonce FROM account ORDER BY id") == [
        (OTHER, None),
        (third, 7),
        (PAYER, 1),
    ]


async def test_the_first_unit_of_an_account_is_funding(payer: Bench) -> None:
    """R14: whatever was there before we looked was given to us, be it the least there is."""
    payer.balance = BaseUnits(1)
    await payer.adopt(OTHER)
    assert await books(payer, OTHER) == [("funding", 1, 1, None)]


async def test_an_account_that_goes_on_forgets_frames_above_its_new_baseline(payer: Bench) -> None:
    """R9: what they showed left the chain; to go back to one of them would account for it twice."""
    high = BaselineMoved(account=PAYER, frame=payer.frame(height=1_060), keep_from=Height(0))
    await payer.written(high)
    await payer.sql("UPDATE account SET next_nonce = NULL")
    await payer.written(Adopted(account=PAYER, next_nonce=Nonce(3), baseline=payer.frame(height=1_055)))
    assert await payer.sql("SELECT height FROM frame") == [(1_055,)]


async def test_an_account_that_was_taken_up_may_begin(payer: Bench) -> None:
    """§8: what the signer bound was adopted, so the chain's count may be read."""
    await payer.claim(OTHER)
    await payer.sql("UPDATE account SET state = 'quarantined', cause = 'taken_up' WHERE id = ?", OTHER)
    await payer.written(Adopted(account=OTHER, next_nonce=Nonce(7), baseline=payer.frame(OTHER)))
    assert await payer.sql("SELECT next_nonce FROM account WHERE id = ?", OTHER) == [(7,)]


async def test_an_absent_account_begins_with_nothing(payer: Bench) -> None:
    """N15: it holds nothing and has consumed nothing."""
    await payer.claim(OTHER)
    absent = replace(payer.frame(), holdings={Address(OTHER): None})
    await payer.written(Adopted(account=OTHER, next_nonce=Nonce(1), baseline=absent))
    assert await payer.sql("SELECT chain_balance, chain_nonce, booked FROM account WHERE id = ?", OTHER) == [
        (0, 0, 0)
    ]
    assert await books(payer, OTHER) == []


@pytest.mark.parametrize("moved", [70, -70])
async def test_what_moved_until_an_account_goes_on_after_a_thaw_is_unexplained(
    payer: Bench, moved: int
) -> None:
    """R14: neither a rise nor a fall of that time is anybody's word."""
    await payer.sql("UPDATE account SET next_nonce = NULL")
    before = payer.balance
    payer.balance = BaseUnits(before + moved)
    await payer.written(Adopted(account=PAYER, next_nonce=Nonce(3), baseline=payer.frame(height=1_060)))
    assert await books(payer) == [
        ("funding", before, before, None),
        ("unexplained", moved, payer.balance, None),
    ]
    assert await payer.sql("SELECT height FROM frame") == [(1_060,)]


async def test_a_balance_below_the_books_is_no_funding(payer: Bench) -> None:
    """R14: an account without any frame, whose books know more than the chain shows."""
    await payer.sql("UPDATE account SET next_nonce = NULL")
    await payer.sql("DELETE FROM frame")
    payer.balance = BaseUnits(payer.balance - 5)
    await payer.written(Adopted(account=PAYER, next_nonce=Nonce(3), baseline=payer.frame()))
    assert (await books(payer))[1:] == [("unexplained", -5, payer.balance, None)]


async def test_what_is_believed_of_the_chain_is_told_with_its_heights(payer: Bench) -> None:
    """R15, R16: to the chain of the account that found it; the fact is no account's."""
    chain = replace(
        await payer.store.chain_state(),
        genesis=BlockHash("g"),
        believed=Height(100),
        settled_height=Height(97),
        settled=Epoch(9),
    )
    told = await payer.written(ChainMoved(account=PAYER, chain=chain))
    assert told.events == (Event(kind=EventKind.CHAIN_MOVED, severity=Severity.DEBUG, detail="height 100"),)
    assert await entry(payer) == (CHAIN, "record", {"chain": [[100, 97, 9, "g"]]})


async def test_a_freeze_says_what_it_replaces_and_what_thawing_waits_for(payer: Bench) -> None:
    """R14: 500 characters of why it stood still before; of a lesser cause only the higher nonce."""
    first = FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="d" * 501)
    await payer.written(first)
    stranger = FrozenNow(account=PAYER, cause=FreezeCause.FOREIGN_NONCE, detail="spent", thaw_above=Nonce(4))
    told = await payer.written(stranger)
    detail = f"spent (frozen before: person: {'d' * 500})"
    assert told.events == (
        event(EventKind.ACCOUNT_FROZEN, severity=Severity.PAGE, reason="foreign_nonce", detail=detail),
    )
    assert await entry(payer) == (CHAIN, "record", {"frozen": [["foreign_nonce", detail, 4]]})
    lesser = replace(stranger, cause=FreezeCause.UNEXPLAINED_FALL, thaw_above=Nonce(6))
    assert (await payer.written(lesser)).events == ()
    assert await entry(payer) == (CHAIN, "record", {"thaw_above": [6]})
    count = await payer.sql("SELECT count(*) FROM journal")
    for same in (replace(lesser, thaw_above=Nonce(6)), replace(lesser, thaw_above=None)):
        await payer.written(same)
    assert await payer.sql("SELECT count(*) FROM journal") == count, "nothing new"


async def test_thawing_waits_for_the_very_first_nonce_too(payer: Bench) -> None:
    """R14: a stranger used nonce 1 while the account stood still for something graver."""
    await payer.written(FrozenNow(account=PAYER, cause=FreezeCause.DEEP_REORG, detail="deep"))
    await payer.written(
        FrozenNow(account=PAYER, cause=FreezeCause.FOREIGN_NONCE, detail="spent", thaw_above=Nonce(1))
    )
    assert await payer.sql("SELECT cause, thaw_above FROM account") == [("deep_reorg", 1)]


async def test_a_count_that_no_intent_explains_freezes_in_words(payer: Bench) -> None:
    """R14: checked inside; the next nonce is a stranger's exactly if the chain shows it as consumed."""
    payer.nonce = Nonce(1)
    told = await payer.written(
        BaselineMoved(account=PAYER, frame=payer.frame(height=1_051), keep_from=Height(0))
    )
    assert told.events[1:] == (
        event(
            EventKind.ACCOUNT_FROZEN,
            severity=Severity.PAGE,
            reason="foreign_nonce",
            detail="nonce 1 was used by a stranger",
        ),
    )
    assert await payer.sql("SELECT thaw_above FROM account") == [(1,)]


async def test_only_a_count_that_was_read_now_freezes(payer: Bench) -> None:
    """R13, R14: neither what else is written of the account, nor the reading of somebody who lost its lease."""
    await payer.sql("UPDATE account SET chain_nonce = 5")
    await payer.sql("UPDATE frame SET holdings = ?", f'{{"{PAYER}":[{payer.balance},5]}}')
    await payer.written(Booked(account=PAYER, kind=BalanceKind.FUNDING, delta=50, height=Height(1_055)))
    await Bench(payer.driver, me=RIVAL).claim(PAYER)
    payer.nonce = Nonce(5)
    moved = BaselineMoved(account=PAYER, frame=payer.frame(height=1_051), keep_from=Height(0))
    assert [row.reason for row in (await payer.record([moved])).unwritten] == ["fenced"]
    assert await payer.sql("SELECT state FROM account") == [("active",)]


async def test_all_that_was_not_written_is_told_whatever_kinds_it_is_of(payer: Bench) -> None:
    """R10: a batch is written kind by kind, and answered as a whole."""
    gone = Burned(account=PAYER, intent_id=IntentId(98))
    told = await payer.record(
        [
            gone,
            Booked(account=OTHER, kind=BalanceKind.FUNDING, delta=1, height=Height(1)),
            HoldSet(account=PAYER, disbursement_id=DisbursementId(99), hold=Hold.APPROVAL_LOST),
        ]
    )
    assert told.unwritten == (
        NotWritten(row=0, reason="changed", detail="Burned intent 98"),
        NotWritten(row=1, reason="fenced", detail=OTHER),
        NotWritten(row=2, reason="missing", detail="HoldSet disbursement 99"),
    )


async def test_a_deposit_that_was_announced_is_used_up_at_its_height(payer: Bench) -> None:
    """§5.1: booked with its number, so that it explains nothing else; a rise is told as its amount."""
    await payer.sql("INSERT INTO announced VALUES (1, ?, 50, 'p', 'r', 1.0, NULL)", PAYER)
    entry_ = Booked(account=PAYER, kind=BalanceKind.FUNDING, delta=50, height=Height(1_060), announced=(1,))
    await payer.written(entry_)
    assert await entry(payer) == (CHAIN, "record", {"booked": [["funding", 50, 1_060, 1]]})
    assert await payer.sql("SELECT used_height FROM announced") == [(1_060,)]
    told = await payer.written(replace(entry_, kind=BalanceKind.UNEXPLAINED, delta=-20, announced=()))
    assert told.events == (event(EventKind.BALANCE_MOVED, reason="unexplained", amount=BaseUnits(20)),)
    assert (await books(payer))[1:] == [
        ("funding", 50, payer.balance + 50, 1_060),
        ("unexplained", -20, payer.balance + 30, 1_060),
    ]


async def test_a_filler_that_the_signer_refuses_is_told_in_its_words(payer: Bench) -> None:
    """R5 c, R9: it gives no nonce back, so what stands below it does not come back either."""
    one, two = await payer.stage(await payer.insert(2))
    await payer.sql("UPDATE disbursement SET live_intent = NULL WHERE live_intent = ?", two.id)
    await payer.sql("UPDATE intent SET disbursement_id = NULL WHERE id = ?", two.id)
    refused = [
        Refused(row=0, reason="policy", intent_id=one.id, final=True, first=True),
        Refused(row=1, reason="policy", intent_id=two.id, final=True, detail="no sink"),
    ]
    told = await payer.store.unstage(refused, payer.held)
    assert told.unwritten == (NotWritten(row=0, reason="not_last", detail="nonce 1 is not the last one"),)
    assert told.events == (warning(EventKind.UNSTAGED, count=1, reason="never_bound", detail="no sink"),)


async def test_a_staged_row_names_intent_nonce_disbursement_and_fee(payer: Bench) -> None:
    """protocol.md §3: in this order."""
    _, item = await payer.insert(2)
    await payer.stage([item])
    assert await entry(payer) == (CHAIN, "stage", {"staged": [[1, 1, item, 100]]})


@pytest.mark.parametrize(("kind", "left"), [(VariantKind.CANCEL, 0), (VariantKind.PAYMENT, 2)])
async def test_a_cancel_begins_without_the_refusals_of_its_payment(
    payer: Bench, kind: VariantKind, left: int
) -> None:
    """R8: what was refused for its content is replaced; the other content has not been refused yet."""
    [intent] = await payer.pay(await payer.insert())
    for _ in range(2):
        await payer.written(sent(intent, Meaning.CONTENT_REFUSED))
    await payer.written(
        VariantStaged(account=PAYER, intent_id=intent.id, number=2, kind=kind, fee=BaseUnits(300))
    )
    assert await payer.sql("SELECT refusals, fee FROM intent") == [(left, 300)]


async def test_what_cannot_be_unstaged_is_named_row_by_row(payer: Bench) -> None:
    """R5 c: an intent that is not there, one of another holder, one with a live nonce behind it."""
    await payer.adopt(OTHER)
    one, two, three = await payer.stage(await payer.insert(3))
    [theirs] = await payer.stage(await payer.insert(account=OTHER))
    await Bench(payer.driver, me=RIVAL).claim(OTHER)
    rows = [
        Refused(row=place, reason="policy", intent_id=id_, final=True)
        for place, id_ in enumerate((IntentId(99), theirs.id, two.id, one.id))
    ]
    told = await payer.store.unstage(rows, payer.held)
    assert told.unwritten == (
        NotWritten(row=0, reason="changed", detail="intent 99"),
        NotWritten(row=1, reason="fenced", detail=OTHER),
        NotWritten(row=2, reason="not_last", detail="nonce 2 is not the last one"),
        NotWritten(row=3, reason="not_last", detail="nonce 1 is not the last one"),
    )
    assert told.events == ()
    gap = await payer.store.unstage([replace(rows[0], intent_id=three.id), rows[3]], payer.held)
    assert gap.unwritten == (NotWritten(row=1, reason="not_last", detail="nonce 1 is not the last one"),)
    assert await payer.sql("SELECT state FROM intent WHERE account = ? ORDER BY id", PAYER) == [
        ("staged",),
        ("staged",),
        ("void",),
    ]


async def test_what_cannot_be_staged_or_sealed_is_named(payer: Bench) -> None:
    """R10: the row, the reason, and which one it is about."""
    [item] = await payer.insert()
    [draft] = await payer.drafts([item])
    answers = await payer.store.stage(
        [replace(draft, disbursement_id=DisbursementId(99)), draft, draft], payer.held, at=payer.at()
    )
    assert answers[0] == NotWritten(row=0, reason="missing", detail="disbursement 99")
    assert not isinstance(answers[1], NotWritten)
    assert answers[1].staged_at == payer.unix
    assert answers[2] == NotWritten(row=2, reason="missing", detail=f"disbursement {item}")
    [row] = signed([answers[1]])
    assert list(await payer.store.seal([replace(row, variant=7)], payer.held)) == [
        NotWritten(row=0, reason="missing", detail=f"intent {answers[1].id}")
    ]


async def test_one_row_that_is_not_written_keeps_no_other_from_it(payer: Bench) -> None:
    """R10: of each kind of change the first names what is not there; the second one is written."""
    one, two, three = await payer.pay(await payer.insert(3))
    gone = IntentId(99)

    def variant(of: IntentId) -> VariantStaged:
        return VariantStaged(
            account=PAYER, intent_id=of, number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(300)
        )

    frame = payer.frame()
    for missing, there in (
        (variant(gone), variant(one.id)),
        (replace(sent(two), intent_id=gone), sent(two)),
        (replace(seen(two, 1_050), intent_id=gone), seen(two, 1_050)),
        (
            Unproven(account=PAYER, intent_id=gone, first=frame, second=frame),
            Unproven(account=PAYER, intent_id=three.id, first=frame, second=frame),
        ),
        (Burned(account=PAYER, intent_id=gone), Burned(account=PAYER, intent_id=one.id)),
    ):
        told = await payer.record([missing, there])
        named = f"{type(missing).__name__} intent 99"
        assert told.unwritten == (NotWritten(row=0, reason="changed", detail=named),)
        assert told.events
    states = await payer.sql("SELECT state FROM intent ORDER BY id")
    assert states == [("void",), ("included",), ("ambiguous",)]
    assert await payer.sql("SELECT fee FROM variant WHERE intent_id = ? AND number = 2", one.id) == [(300,)]


@pytest.mark.parametrize(
    ("balance", "second"), [(2_200, "bound"), (2_199, "held:insufficient_funds")], ids=["just", "one short"]
)
async def test_funds_are_counted_to_the_unit_within_one_batch(
    payer: Bench, balance: int, second: str
) -> None:
    """D36: amount and fee of each one bound are gone for the next; what is there exactly is enough."""
    low = Bench(payer.driver)
    low.balance = BaseUnits(balance)
    await low.adopt(OTHER)
    drafts = await low.drafts(await low.insert(3, account=OTHER))
    answers = await low.store.stage(drafts, low.held, at=low.at())
    assert [getattr(row, "reason", "bound") for row in answers] == [
        "bound",
        second,
        "held:insufficient_funds",
    ]


async def test_the_marks_rise_with_each_batch_whatever_its_order(payer: Bench) -> None:
    """R11: the highest nonce, the highest disbursement, and the term under which it was sealed."""
    ids = await payer.insert(3)
    staged = await payer.stage(reversed(ids))
    await payer.seal([staged[1], staged[0]])
    marks = (await payer.store.sealed_marks([PAYER]))[PAYER]
    assert (marks.nonce, marks.disbursement_id, marks.term) == (2, ids[2], 1)
    await payer.claim(PAYER)
    await payer.seal([staged[2]])
    marks = (await payer.store.sealed_marks([PAYER]))[PAYER]
    assert (marks.nonce, marks.disbursement_id, marks.term) == (3, ids[2], 2)


async def test_a_filler_raises_no_mark_of_a_disbursement(payer: Bench) -> None:
    """R9, R11: it pays none, so the signer is told of its nonce alone."""
    [intent] = await payer.stage(await payer.insert())
    await payer.sql("UPDATE disbursement SET live_intent = NULL")
    await payer.sql("UPDATE intent SET disbursement_id = NULL")
    await payer.seal([intent])
    marks = (await payer.store.sealed_marks([PAYER]))[PAYER]
    assert (marks.nonce, marks.disbursement_id) == (1, 0)


async def test_sealed_again_after_a_variant_it_is_to_be_sent_again(payer: Bench) -> None:
    """R6: with a variant still unsealed it waits for the signer, with all sealed for its sending."""
    [intent] = await payer.stage(await payer.insert())
    bump = VariantStaged(
        account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(300)
    )
    await payer.written(bump)
    await payer.seal([intent])
    assert await payer.sql("SELECT step, state FROM intent") == [("sign", "signed")]
    await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    assert await payer.sql("SELECT step, state FROM intent") == [("send", "signed")]
