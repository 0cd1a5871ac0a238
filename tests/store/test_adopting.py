"""What a restored store does with each row that the signer bound, one at a time (protocol.md §8)."""

from dataclasses import replace
from typing import Any

import pytest
from tests.store.kit import OTHER, PAYER, RIVAL, RULES, Bench, digest, signed

from treasuryd.core.changes import Burned, ChainMoved, QuarantinedNow, Unproven, VariantStaged
from treasuryd.core.model import (
    AccountState,
    Approval,
    BaseUnits,
    Binding,
    DisbursementId,
    Height,
    Hold,
    Intent,
    IntentId,
    Marks,
    Nonce,
    SignRequest,
    Status,
    Term,
    TxHash,
    VariantKind,
)
from treasuryd.core.restore import Reason, Sign, open_points
from treasuryd.store import bindings
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.quarantine import standing
from treasuryd.store.restore_report import report


def bound(intent: Intent, **request: Any) -> list[Binding]:
    """What the signer says of an intent: a binding for each of its variants, with the bytes that it always gives."""
    bytes_of = {one.variant: one for one in signed([_without_bytes(intent)])}
    return [
        Binding(
            request=replace(
                SignRequest(
                    intent_id=intent.id,
                    variant=variant.number,
                    kind=variant.kind,
                    account=intent.account,
                    nonce=intent.nonce,
                    disbursement_id=intent.disbursement_id,
                    destination=intent.destination,
                    amount=intent.amount,
                    memo=intent.memo,
                    fee=variant.fee,
                    payload_digest=intent.payload_digest,
                    idempotency_key=intent.idempotency_key,
                    term=intent.term,
                ),
                **request,
            ),
            tx_bytes=bytes_of[variant.number].tx_bytes,
            tx_hash=bytes_of[variant.number].tx_hash,
        )
        for variant in intent.variants
    ]


def _without_bytes(intent: Intent) -> Intent:
    bare = tuple(replace(one, tx_hash=None, tx_bytes=None) for one in intent.variants)
    return replace(intent, variants=bare)


async def contradictions(bench: Bench) -> list[str]:
    said = await bench.driver.read(report)
    found: list[str] = said["accounts"][PAYER]["contradictions"]
    return found


async def disputed(bench: Bench) -> dict[str, list[Any]]:
    """What the report says of each: intent and nonce as the signer has them, and the item that is in the way."""
    said = await bench.driver.read(report)
    found: dict[str, list[Any]] = said["accounts"][PAYER]["disputed"]
    return found


async def states(bench: Bench) -> list[Any]:
    return [row[0] for row in await bench.sql("SELECT state FROM intent ORDER BY id")]


async def told(bench: Bench) -> list[DisbursementId]:
    """Whose intents the report says were adopted."""
    said = await bench.driver.read(report)
    return [row["id"] for row in said["accounts"][PAYER]["adopted"]]


def with_cancel(intent: Intent) -> Intent:
    """The same intent with a cancel variant beside its payment."""
    first = intent.variants[0]
    return replace(
        intent, variants=(first, replace(first, number=2, kind=VariantKind.CANCEL, fee=BaseUnits(300)))
    )


async def test_the_signer_is_asked_from_the_lowest_nonce_on_that_is_not_settled(payer: Bench) -> None:
    """§8.4: what is final needs no look, of an account without a sequence everything does."""
    one, two, last = await payer.pay(await payer.insert(3))
    assert await payer.store.lowest_open(PAYER) == 1
    await payer.include([one, two])
    await payer.bury()
    assert await payer.store.lowest_open(PAYER) == 3
    await payer.include([last], height=1_051)
    await payer.bury(height=1_051)
    assert await payer.store.lowest_open(PAYER) == 4, "the next one"
    await payer.claim(OTHER)
    assert await payer.store.lowest_open(OTHER) == 1


async def test_a_nonce_that_is_taken_back_here_may_be_another_payments_to_the_signer(payer: Bench) -> None:
    """§8.1: it gave the nonce back after the backup, and another item got it; what is paid since is not looked at again."""
    mine, theirs = await payer.insert(2)
    [staged] = await payer.stage([mine])
    await payer.store.take_back([staged.id], payer.held)
    assert await payer.store.lowest_open(PAYER) == staged.nonce
    other = replace(staged, id=IntentId(40), disbursement_id=theirs, payload_digest=digest(theirs))
    await payer.store.adopt(bound(other, idempotency_key=f"key-{theirs}"), frozenset(), payer.held)
    assert [(await payer.item(item)).live_intent for item in (mine, theirs)] == [None, 40]
    await payer.include([other])
    await payer.bury()
    assert await payer.store.lowest_open(PAYER) == staged.nonce + 1


async def test_what_was_never_signed_is_taken_back_and_nothing_else(payer: Bench) -> None:
    """§8.4: a staged row above the signer's mark; sealed ones stay, and so does everything under an old lease."""
    ids = await payer.insert(2)
    sealed, staged = await payer.stage(ids)
    await payer.seal([sealed])
    assert [(one.id, one.nonce) for one in await payer.store.unsigned(PAYER)] == [(staged.id, 2)]
    stale = payer.held
    await Bench(payer.driver, me=RIVAL).claim(PAYER)
    await payer.store.take_back([staged.id], stale)
    assert await states(payer) == ["signed", "staged"]
    await payer.claim(PAYER)
    await payer.store.take_back([sealed.id, staged.id], payer.held)
    assert await states(payer) == ["signed", "void"]
    after = await payer.item(ids[1])
    assert (after.status, after.live_intent, after.hold) == (Status.TIMELOCKED, None, None)


async def test_the_bytes_of_what_was_staged_come_from_the_signer(payer: Bench) -> None:
    """They may be out, so the intent is broadcast; a variant that was staged and never signed is dropped."""
    [intent] = await payer.stage(await payer.insert())
    more = VariantStaged(
        account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(300)
    )
    await payer.written(more)
    await payer.store.adopt(bound(intent), frozenset(), payer.held)
    assert await states(payer) == ["broadcast"]
    assert await payer.sql("SELECT number, tx_bytes IS NULL FROM variant") == [(1, 0)]


async def test_what_waited_to_be_sent_here_may_be_out(payer: Bench) -> None:
    """The store has the very bytes and never sent them: another one may have, and that is told."""
    [intent] = await payer.seal(await payer.stage(await payer.insert()))
    for _ in range(2):
        await payer.store.adopt(bound(intent), frozenset(), payer.held)
    assert await payer.sql("SELECT state, step FROM intent") == [("broadcast", "watch")]
    assert await told(payer) == [intent.disbursement_id]


async def test_a_variant_is_what_the_signer_signed_and_not_what_was_staged_here(payer: Bench) -> None:
    """R7: evidence is judged by the kind; here number 2 was a bump without bytes, there it is the cancellation."""
    [intent] = await payer.pay(await payer.insert())
    more = VariantStaged(
        account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(200)
    )
    await payer.written(more)
    await payer.store.adopt(bound(with_cancel(intent)), frozenset(), payer.held)
    rows = await payer.sql("SELECT number, kind, fee, tx_bytes IS NULL FROM variant ORDER BY number")
    assert rows == [(1, "payment", 100, 0), (2, "cancel", 300, 0)]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({}, "a cancellation was under way when the store was lost", id="asked after the backup"),
        pytest.param({"cancel_requested": "a person's word"}, "a person's word", id="asked before it"),
        pytest.param({"hold": "poisoned", "hold_detail": "refused"}, None, id="its content is refused"),
    ],
)
async def test_a_cancellation_of_what_the_store_holds_is_open_again(
    payer: Bench, columns: dict[str, str], reason: str | None
) -> None:
    """§8.4, R8: the signer alone knows its cancel variant; what was said of the item stays, and nobody cancels poison."""
    [intent] = await payer.pay(await payer.insert())
    for column, value in columns.items():
        await payer.sql(f"UPDATE disbursement SET {column} = ?", value)
    await payer.store.adopt(bound(with_cancel(intent)), frozenset(), payer.held)
    item = "SELECT status, live_intent, cancel_requested, hold, hold_detail, status_at FROM disbursement"
    kept = (columns.get("hold"), columns.get("hold_detail", ""), 1.0)
    assert await payer.sql(item) == [("timelocked", intent.id, reason, *kept)]
    await payer.written(Burned(account=PAYER, intent_id=intent.id))
    ended = "timelocked" if reason is None else "rolled_back"
    assert await payer.sql("SELECT status FROM disbursement") == [(ended,)]


async def test_a_bump_cancels_nothing(payer: Bench) -> None:
    """R6: further payment variants, of an intent that is known here or not, are no word of a person."""
    ids = await payer.insert(2)
    [pattern] = await payer.pay(ids[:1])
    first = pattern.variants[0]
    bumped = replace(pattern, variants=(first, replace(first, number=2, fee=BaseUnits(900))))
    unknown = replace(
        bumped, id=IntentId(40), nonce=Nonce(9), disbursement_id=ids[1], payload_digest=digest(2)
    )
    rows = [*bound(bumped), *bound(unknown, idempotency_key="key-2")]
    await payer.store.adopt(rows, frozenset(), payer.held)
    assert await payer.sql("SELECT live_intent, cancel_requested FROM disbursement") == [
        (1, None),
        (40, None),
    ]


async def test_a_cancellation_of_what_the_store_never_saw_is_open_again(payer: Bench) -> None:
    """§8.4: both payloads come from the signer; whatever stood of the item here, it is being paid or cancelled."""
    [item] = await payer.insert(status="rolled_back", rolled_back_at=2.0, reason="quorum_not_reached")
    [pattern] = await payer.stage(await payer.insert())
    lost = replace(with_cancel(pattern), id=IntentId(40), nonce=Nonce(9), disbursement_id=item)
    rows = bound(lost, payload_digest=digest(item), idempotency_key=f"key-{item}")
    await payer.store.adopt(rows, frozenset(), payer.held)
    stands = "SELECT status, live_intent, cancel_requested, reason FROM disbursement WHERE id = ?"
    asked = "a cancellation was under way when the store was lost"
    assert await payer.sql(stands, item) == [("timelocked", 40, asked, None)]


async def test_a_variant_that_the_store_forgot_is_taken_in_with_the_known_one(payer: Bench) -> None:
    """A bump after the backup: both may be out, and the dearer fee is what may be charged."""
    [intent] = await payer.pay(await payer.insert())
    first = intent.variants[0]
    bumped = replace(intent, variants=(first, replace(first, number=2, fee=BaseUnits(900))))
    for _ in range(2):
        await payer.store.adopt(bound(bumped), frozenset(), payer.held)
    assert await payer.sql("SELECT number, fee FROM variant ORDER BY number") == [(1, first.fee), (2, 900)]
    assert await payer.sql("SELECT fee FROM intent") == [(900,)]
    assert await contradictions(payer) == []
    assert await told(payer) == [intent.disbursement_id], "told once"


async def test_other_bytes_under_one_variant_are_named_and_not_taken(payer: Bench) -> None:
    """Two payloads under one number: one of both histories is not this store's, whatever a person said of the other."""
    [intent] = await payer.pay(await payer.insert())
    cancel, payment = reversed(bound(with_cancel(intent)))
    await payer.store.adopt([cancel, replace(payment, tx_hash=TxHash("f" * 64))], {intent.id}, payer.held)
    assert await states(payer) == ["broadcast"]
    words = f"intent {intent.id}: other bytes here than the signer gave"
    assert await contradictions(payer) == [words]
    assert await disputed(payer) == {words: [intent.id, intent.nonce, intent.disbursement_id]}
    assert await payer.sql("SELECT tx_hash FROM variant") == [(intent.variants[0].tx_hash,)]


async def test_what_a_person_judged_void_after_the_backup_is_void(payer: Bench) -> None:
    """The judgement is in the signer's memory; here the intent was still open, and its item waits for a person."""
    ids = await payer.insert(3)
    out, unclear = await payer.pay(ids[:2])
    [staged] = await payer.stage(ids[2:])
    first, second = payer.frame(), payer.frame(height=1_052)
    await payer.written(Unproven(account=PAYER, intent_id=unclear.id, first=first, second=second))
    bindings = [*bound(out), *bound(unclear), *bound(staged)]
    for _ in range(2):
        await payer.store.adopt(bindings, {out.id, unclear.id, staged.id}, payer.held)
        assert await states(payer) == ["void"] * 3
    held = await payer.sql("SELECT hold, hold_detail FROM disbursement")
    assert held == [(Hold.NEEDS_RELEASE, "a person had judged it before the restore")] * 3
    assert await contradictions(payer) == []
    assert await payer.sql("SELECT count(*) FROM variant WHERE tx_bytes IS NULL") == [(0,)], "bytes are kept"


async def test_what_counts_as_never_signed_here_and_was_signed_is_named(payer: Bench) -> None:
    """Its bytes may be out: a person has to look, the account stays in quarantine."""
    [intent] = await payer.stage(await payer.insert())
    await payer.store.take_back([intent.id], payer.held)
    await payer.store.adopt(bound(intent), frozenset(), payer.held)
    words = f"intent {intent.id} counts as never signed here, and the signer signed it"
    assert await contradictions(payer) == [words]
    assert await disputed(payer) == {words: [intent.id, intent.nonce, intent.disbursement_id]}
    assert await states(payer) == ["void"]


async def test_a_dispute_names_intent_and_nonce_of_the_signer_and_the_item_that_is_in_the_way(
    payer: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§8: two stores went on under one signer; page after page is added to the report, as far as it names rows."""
    paying, waiting, keyed = await payer.insert(3)
    [intent] = await payer.pay([paying])
    theirs = replace(intent, id=IntentId(40), nonce=Nonce(9))
    unknown = {"disbursement_id": DisbursementId(77), "idempotency_key": f"key-{keyed}"}
    pages = [
        [bound(replace(theirs, amount=BaseUnits(7)), disbursement_id=waiting)],
        [bound(replace(theirs, id=IntentId(41)), idempotency_key=f"key-{paying}"), bound(theirs, **unknown)],
        [
            bound(replace(intent, id=IntentId(42)), disbursement_id=waiting),
            bound(replace(intent, amount=BaseUnits(7))),
        ],
    ]
    for page in pages:
        await payer.store.adopt([row for rows in page for row in rows], frozenset(), payer.held)
    assert await disputed(payer) == {
        f"disbursement {waiting} has other content here than the signer bound to it": [40, 9, waiting],
        f"disbursement {paying} is being paid by intent {intent.id} here, and by 41 to the signer": [
            41,
            9,
            paying,
        ],
        f"the idempotency key 'key-{keyed}' is disbursement {keyed} here, and 77 to the signer": [
            40,
            9,
            keyed,
        ],
        f"nonce {intent.nonce} is intent {intent.id} here, and intent 42 to the signer": [
            42,
            intent.nonce,
            waiting,
        ],
        f"intent {intent.id} pays something else here than the signer bound to it": [
            intent.id,
            intent.nonce,
            paying,
        ],
    }
    assert await told(payer) == []
    assert await payer.sql("SELECT count(*) FROM disbursement") == [(3,)], "nothing of it was imported"
    monkeypatch.setattr(bindings, "LISTED", 2)
    await payer.store.adopt(pages[0][0], frozenset(), payer.held)
    assert len(await disputed(payer)) == 2


async def test_what_a_person_judged_void_is_no_dispute(payer: Bench) -> None:
    """§8: the signer was told so: what stands in its way here stays as it is, and nobody has to decide it again."""
    paying, waiting = await payer.insert(2)
    [intent] = await payer.pay([paying])
    theirs = replace(intent, id=IntentId(40), nonce=Nonce(9), amount=BaseUnits(7))
    rows = [*bound(theirs, disbursement_id=waiting), *bound(replace(intent, amount=BaseUnits(7)))]
    await payer.store.adopt(rows, {theirs.id, intent.id}, payer.held)
    nothing: dict[str, list[Any]] = {"adopted": [], "contradictions": []}
    assert await payer.driver.read(report) == {"accounts": {PAYER: nothing}}
    assert await payer.sql("SELECT id, state FROM intent") == [(intent.id, "broadcast")]
    assert [(await payer.item(item)).live_intent for item in (paying, waiting)] == [intent.id, None]


async def test_an_item_that_waits_here_is_bound_to_what_the_signer_bound_it_to(payer: Bench) -> None:
    """The backup is from before it was staged: the intent is taken in, the item is not imported a second time."""
    other, item = await payer.insert(2)
    [pattern] = await payer.stage([other])
    later = replace(
        pattern,
        id=IntentId(40),
        nonce=Nonce(9),
        disbursement_id=item,
        payload_digest=digest(item),
        idempotency_key=f"key-{item}",
    )
    await payer.store.adopt(bound(later), frozenset(), payer.held)
    assert (await payer.item(item)).live_intent == 40
    said = await payer.driver.read(report)
    assert [(row["id"], row["imported"]) for row in said["accounts"][PAYER]["adopted"]] == [(item, False)]
    assert await payer.sql("SELECT count(*) FROM disbursement") == [(2,)]


async def test_a_filler_is_taken_in_and_completed_without_a_disbursement(payer: Bench) -> None:
    """It fills a nonce and pays nobody: no item is imported for it."""
    [pattern] = await payer.stage(await payer.insert())
    filler = replace(
        pattern,
        id=IntentId(40),
        nonce=Nonce(9),
        disbursement_id=None,
        variants=(replace(pattern.variants[0], kind=VariantKind.CANCEL),),
    )
    await payer.store.adopt(bound(filler), frozenset(), payer.held)
    said = await payer.driver.read(report)
    assert [(row["id"], row["imported"]) for row in said["accounts"][PAYER]["adopted"]] == [(None, False)]
    await payer.sql("UPDATE variant SET tx_bytes = NULL, tx_hash = NULL WHERE intent_id = 40")
    await payer.sql("UPDATE intent SET state = 'staged', step = 'sign' WHERE id = 40")
    await payer.store.adopt(bound(filler), frozenset(), payer.held)
    assert await payer.sql("SELECT nonce, state, disbursement_id FROM intent WHERE id = 40") == [
        (9, "broadcast", None)
    ]
    assert await payer.sql("SELECT count(*) FROM disbursement") == [(1,)]


async def test_a_page_without_bindings_says_nothing(payer: Bench) -> None:
    """The signer bound nothing more: the report is not begun for it."""
    await payer.store.adopt([], frozenset(), payer.held)
    assert await payer.driver.read(report) == {}


async def test_the_repair_ends_under_the_lease_and_in_quarantine_alone(payer: Bench) -> None:
    """R13: neither a stale holder nor a late word ends it; where it ended, numbering goes on above the marks."""
    marks = Marks(nonce=Nonce(7), disbursement_id=DisbursementId(20), term=Term(3))
    await payer.store.taken_up(PAYER, marks, payer.held)
    assert await payer.sql("SELECT cause, next_nonce FROM account") == [("", 1)], "it is in no quarantine"
    await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    stale = payer.held
    await payer.claim(PAYER, OTHER)
    await payer.store.taken_up(PAYER, marks, stale)
    assert await payer.sql("SELECT cause FROM account WHERE id = ?", PAYER) != [("taken_up",)]
    await payer.store.taken_up(PAYER, marks, payer.held)
    [account] = [
        one
        for one in (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
        if one.id == PAYER
    ]
    assert (account.state, account.cause, account.next_nonce) == (AccountState.QUARANTINED, "taken_up", 8)


async def test_where_nothing_is_missing_no_item_is_held(payer: Bench) -> None:
    """§8.2: the file was moved, and that is all; the report says so."""
    [item] = await payer.insert()
    await payer.store.quarantine([Reason(sign=Sign.MOVED, detail="moved")])
    await payer.store.taken_up(PAYER, Marks(), payer.held)
    assert (await payer.item(item)).hold is None
    assert (await payer.driver.read(report))["accounts"][PAYER]["held"] == 0
    [(detail,)] = await payer.sql("SELECT detail FROM account")
    assert detail.endswith("; 0 adopted from the signer, 0 held: `treasuryd quarantine show`")


async def test_a_backup_does_not_tell_what_the_chain_shows(payer: Bench) -> None:
    """Found by seed 22553: a count that a reorg took back stood in its last reading, and a nonce was left out for ever."""
    await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    await payer.store.taken_up(PAYER, Marks(), payer.held)
    now = await payer.store.chain_state()
    higher = replace(now, believed=Height(9_999), settled_height=Height(9_990))
    await payer.written(ChainMoved(account=PAYER, chain=higher))
    found = await payer.driver.read(standing, RULES, PAYER, signer=Nonce(0), signer_lost=False)
    assert found.read is not None
    assert found.read < found.settled
    assert any("last read at height" in point for point in open_points(found))


# --- the other way round: a signer that lost its memory --------------------------------------------------------


async def test_the_store_gives_everything_that_was_ever_sealed_page_by_page(payer: Bench) -> None:
    """R11: a signer that lost its memory takes it in: what was bound to what, with the very bytes."""
    await payer.sql("UPDATE counter SET next = CASE name WHEN 'intent' THEN 41 ELSE 11 END")
    await payer.claim(PAYER)  # under term 2: no two numbers of a binding are the same
    sealed = await payer.seal(await payer.stage(await payer.insert(3)))
    await payer.stage(await payer.insert())
    desk = SqliteDesk(payer.driver, RULES)
    first = await desk.sealed(PAYER, IntentId(0), limit=2)
    assert first.bindings == tuple(one for intent in sealed[:2] for one in bound(intent))
    assert first.last == sealed[1].id
    rest = await desk.sealed(PAYER, sealed[1].id, limit=2)
    assert rest.bindings == tuple(bound(sealed[2]))
    assert (await desk.sealed(PAYER, IntentId(99), limit=2)).last is None
    assert (await desk.sealed(OTHER, IntentId(0), limit=2)).bindings == ()


async def test_it_names_the_void_intents_whose_items_may_be_bound_anew(payer: Bench) -> None:
    """R11: a second intent of a disbursement is signed only once the signer knows that a person released the first."""
    ids = await payer.insert(2)
    intents = await payer.pay(ids)
    burned = [Burned(account=PAYER, intent_id=one.id, detail="a stranger's") for one in intents]
    await payer.written(*burned)
    desk = SqliteDesk(payer.driver, RULES)
    assert list(await desk.released_void(PAYER)) == []
    await desk.release([ids[1]], by=Approval(who="ada", reason="looked", at=payer.unix))
    assert list(await desk.released_void(PAYER)) == [intents[1].id]


async def test_new_intents_start_above_every_one_that_the_signer_knows(payer: Bench) -> None:
    """§8.1: of any account, and of what was not taken in, too: under a taken id nothing would ever be signed again."""
    [item] = await payer.insert()
    await payer.store.quarantine([Reason(sign=Sign.MOVED, detail="moved")])
    await payer.store.taken_up(PAYER, Marks(intent_id=IntentId(41)), payer.held)
    await payer.sql("UPDATE account SET state = 'active'")
    await payer.sql("DELETE FROM breaker_override")
    [staged] = await payer.stage([item])
    assert staged.id == 42
