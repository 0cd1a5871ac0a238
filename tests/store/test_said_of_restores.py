"""What a store that may be older than the world says of itself, word for word: report, journal, events (protocol.md §8)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.store.kit import ME, OTHER, PAYER, RULES, Bench, depend, digest, opened, seen
from tests.store.test_adopting import bound

from treasuryd.core.changes import Burned, FrozenNow, VariantStaged
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    Approval,
    BaseUnits,
    DisbursementId,
    FreezeCause,
    Height,
    Intent,
    IntentId,
    LeaseSeen,
    Marks,
    Nonce,
    NotWritten,
    Term,
    UnixSeconds,
    VariantKind,
)
from treasuryd.core.restore import Reason, Sign, Standing, Witness
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import bindings, fillers, journal, ownership, quarantine
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.restore_report import report

PERSON = Approval(who="ada", reason="because", at=UnixSeconds(2_000.0))
DECLARED = "declared by ada: because"
CHAIN = f"account:{PAYER}"


@pytest.fixture
async def payer() -> AsyncIterator[Bench]:
    """Two accounts are adopted; the other one is frozen for a drill."""
    driver = await opened(InlineDriver)
    bench = Bench(driver)
    await bench.adopt(PAYER)
    await bench.adopt(OTHER)
    await bench.written(FrozenNow(account=OTHER, cause=FreezeCause.PERSON, detail="drill"))
    yield bench
    await driver.close()


@pytest.fixture
def desk(payer: Bench) -> SqliteDesk:
    return SqliteDesk(payer.driver, RULES)


async def said(bench: Bench, count: int = 1) -> list[tuple[str, str, dict[str, Any]]]:
    """The newest journal entries: chain, verb and what it says, without its place and its statements."""
    rows = await bench.sql("SELECT chain, verb, body FROM journal ORDER BY id DESC LIMIT ?", count)
    return [
        (chain, verb, {what: row for what, row in orjson.loads(body).items() if what not in {"rows", "tx"}})
        for chain, verb, body in reversed(rows)
    ]


def stopped(account: AccountId, detail: str) -> Event:
    return Event(kind=EventKind.ACCOUNT_QUARANTINED, severity=Severity.PAGE, account=account, detail=detail)


async def found(bench: Bench, *reasons: Reason, **more: Any) -> Sequence[Event]:
    return await bench.driver.write(
        lambda connection: journal.recorded(
            connection, UnixSeconds(3.0), quarantine.find, RULES, reasons, UnixSeconds(3.0), more=more
        )
    )


async def test_the_past_names_heads_marks_and_what_it_does_not_hold(payer: Bench) -> None:
    """§8.1: what signer and copies are held against; a witness of an account that is not there says nothing."""
    await payer.stage(await payer.insert(3))
    heads = {
        chain: (seq, hash_)
        for chain, seq, hash_ in await payer.sql(
            "SELECT chain, seq, hash FROM journal AS j WHERE seq = (SELECT max(seq) FROM journal WHERE chain = j.chain)"
        )
    }
    behind = Witness(lineage="l", heads={CHAIN: (99, "x"), "store": heads["store"]})
    other = Witness(lineage="l", heads={"people": (1, "y"), CHAIN: heads[CHAIN]})
    told = {PAYER: behind, OTHER: other, AccountId("nobody"): Witness(lineage="l", heads={"z": (1, "z")})}
    past = await payer.driver.read(quarantine.past, told)
    assert (past.lineage, past.former, past.heads) == ("lineage-1", frozenset(), heads)
    assert past.unknown == (CHAIN, "people")
    assert (past.high_water, past.terms) == ({PAYER: 3, OTHER: 0}, {PAYER: 1, OTHER: 1})
    assert (past.last_disbursement, past.found) == (3, ())
    await found(payer, Reason(sign=Sign.MOVED, detail="m"))
    assert set((await payer.driver.read(quarantine.past, {})).found) == {PAYER, OTHER}


async def test_what_is_found_is_told_of_every_account_and_kept_once(payer: Bench, desk: SqliteDesk) -> None:
    """§8.2: one report; what was frozen is remembered; the kill switch stands on, with the reason."""
    events = list(await desk.declare_restored(by=PERSON))
    assert events == [stopped(OTHER, DECLARED), stopped(PAYER, DECLARED)]
    of_each = {"quarantined": [DECLARED]}
    assert await said(payer, 3) == [
        (
            "people",
            "quarantine",
            {"who": "ada", "reason": DECLARED, "found": [["declared", DECLARED]]},
        ),
        (f"account:{OTHER}", "quarantine", of_each),
        (CHAIN, "quarantine", of_each),
    ]
    first = {"sign": "declared", "detail": DECLARED}
    frozen = {"adopted": [], "contradictions": [], "frozen": ["person", "drill"]}
    assert await payer.driver.read(report) == {
        "found_at": 2_000.0,
        "found": [first],
        "accounts": {OTHER: frozen},
        "burned": {OTHER: 0, PAYER: 0},
    }
    assert await payer.sql("SELECT * FROM breaker_override") == [
        ("*", "send", "forced_open", f"quarantine: {DECLARED}", "treasuryd", 2_000.0)
    ]
    stored = ("quarantined", "restored", f"{DECLARED}: it is older than the world (protocol.md §8)")
    assert await payer.sql("SELECT state, cause, detail FROM account") == [stored, stored]

    long, other = "m" * 401, Reason(sign=Sign.MOVED, detail="other")
    again = Reason(sign=Sign.DECLARED, detail=DECLARED)
    events = list(await found(payer, Reason(sign=Sign.MOVED, detail=long), other, again, other, seen="more"))
    detail = f"{'m' * 400} (1 more signs)"
    assert events == [stopped(OTHER, detail), stopped(PAYER, detail)]
    [(chain, _, body), *_] = await said(payer, 3)
    assert (chain, body) == (
        "people",
        {"who": "treasuryd", "reason": detail, "found": [["moved", long], ["moved", "other"]]},
    )
    assert await payer.driver.read(report) == {
        "found_at": 2_000.0,
        "found": [first, {"sign": "moved", "detail": long}, {"sign": "moved", "detail": "other"}],
        "accounts": {OTHER: frozen},
        "burned": {OTHER: 0, PAYER: 0},
        "seen": "more",
    }
    assert list(await found(payer, other, again)) == []


async def test_the_report_is_bounded_and_so_is_the_word_on_the_kill_switch(payer: Bench) -> None:
    """Bounds on everything: a thousand signs are named, 500 characters of why nothing is sent."""
    many = [Reason(sign=Sign.MOVED, detail=f"{number}{'x' * 600}") for number in range(1_001)]
    [event, _] = await found(payer, *many)
    assert event.detail == f"0{'x' * 399} (1000 more signs)"
    assert len((await payer.driver.read(report))["found"]) == 1_000
    [(reason,)] = await payer.sql("SELECT reason FROM breaker_override")
    assert reason == f"quarantine: {event.detail}"[:500]


async def test_what_the_signer_bound_is_told_row_by_row(payer: Bench, desk: SqliteDesk) -> None:
    """§8.4: what was here, what was imported, what was never signed, and above which marks it goes on."""
    first, second, third = await payer.stage(await payer.insert(3))
    await desk.declare_restored(by=PERSON)
    lost = replace(
        first,
        id=IntentId(40),
        nonce=Nonce(9),
        disbursement_id=DisbursementId(50),
        payload_digest=digest(50),
        idempotency_key="key-50",
    )

    async def adopted(*intents: Intent) -> Sequence[Event]:
        rows = [one for intent in intents for one in bound(intent)]
        return await payer.driver.write(bindings.adopt, RULES, rows, frozenset(), payer.held, payer.unix)

    assert await adopted(second, lost) == (
        Event(
            kind=EventKind.SEALED,
            severity=Severity.WARNING,
            account=PAYER,
            count=2,
            ids=(DisbursementId(2), DisbursementId(50)),
            reason="adopted",
        ),
    )
    assert await said(payer) == [
        (CHAIN, "adopt", {"adopted_from_signer": [[2, 2, 2, False], [40, 9, 50, True]]})
    ]
    here = {"nonce": 2, "intent": 2, "id": 2, "imported": False}
    imported = {"nonce": 9, "intent": 40, "id": 50, "imported": True}
    kept: dict[str, Any] = {"adopted": [here, imported], "contradictions": []}
    assert (await payer.driver.read(report))["accounts"][PAYER] == kept
    row = "SELECT account, nonce, disbursement_id, destination, amount, fee, term, state, live, step FROM intent"
    assert await payer.sql(f"{row} WHERE id IN (2, 40)") == [
        (PAYER, 2, 2, "tb1payee", 1_000, 100, 1, "broadcast", 1, "watch"),
        (PAYER, 9, 50, "tb1payee", 1_000, 100, 1, "broadcast", 1, "watch"),
    ]
    item = "account, destination, amount, memo, idempotency_key, payload_digest, status, live_intent, scheduled_epoch"
    assert await payer.sql(f"SELECT {item} FROM disbursement WHERE id = 50") == [
        (PAYER, "tb1payee", 1_000, "rent", "key-50", digest(50), "timelocked", 40, 0)
    ]
    assert await payer.sql("SELECT name, next FROM counter WHERE name IN ('intent', 'disbursement')") == [
        ("disbursement", 51),
        ("intent", 41),
    ]

    events = await payer.driver.write(bindings.take_back, RULES, [third.id], payer.held, payer.unix)
    assert events == (
        Event(
            kind=EventKind.UNSTAGED,
            severity=Severity.WARNING,
            account=PAYER,
            ids=(DisbursementId(3),),
            reason="never_bound",
            detail="staged in a restored store, never signed",
        ),
    )
    assert await said(payer) == [(CHAIN, "take_back", {"voided": [[3, "never_bound", None]]})]

    marks = Marks(nonce=Nonce(11), disbursement_id=DisbursementId(60), term=Term(3))
    events = await payer.driver.write(bindings.taken_up, RULES, PAYER, marks, payer.held, payer.unix)
    assert events == (
        Event(
            kind=EventKind.HELD, severity=Severity.WARNING, account=PAYER, reason="restored", detail="1 items"
        ),
    )
    assert await said(payer) == [(CHAIN, "taken_up", {"taken_up": [[11, 2, 1]]})]
    kept |= {"signer_nonce": 11, "signer_term": 3, "held": 1}
    assert (await payer.driver.read(report))["accounts"][PAYER] == kept
    why = "it was in the restored store; what was said of it since is lost"
    assert await payer.sql("SELECT id, hold, hold_detail FROM disbursement ORDER BY id") == [
        (1, None, ""),
        (2, None, ""),
        (3, "restored", why),
        (50, None, ""),
    ]
    assert await payer.sql("SELECT next FROM counter WHERE name = 'disbursement'") == [(61,)]
    sealed = (await payer.store.sealed_marks([PAYER]))[PAYER]
    assert sealed == marks
    [(detail,)] = await payer.sql("SELECT detail FROM account WHERE id = ?", PAYER)
    assert detail.endswith("; 2 adopted from the signer, 1 held: `treasuryd quarantine show`")


async def test_what_stands_between_an_account_and_its_work_is_named(payer: Bench, desk: SqliteDesk) -> None:
    """§8.6: each number is the store's own, and the mark is the higher one of store and signer."""
    await payer.stage(await payer.insert(3))
    await desk.declare_restored(by=PERSON)
    expected = Standing(
        account=PAYER,
        taken_up=False,
        kill_switch=True,
        mark=Nonce(5),
        signer_lost=True,
        open=(Nonce(1), Nonce(2), Nonce(3)),
        included=None,
        ambiguous=(),
        unknown=(Nonce(4), Nonce(5)),
        contradictions=(),
        read=Height(1_050),
        consumed=Nonce(0),
        burned=Nonce(0),
        settled=Height(0),
        believed=Height(0),
        finality_depth=RULES.finality_depth,
    )
    read = await payer.driver.read(quarantine.standing, RULES, PAYER, signer=Nonce(5), signer_lost=True)
    assert read == expected
    low = await payer.driver.read(quarantine.standing, RULES, PAYER, signer=Nonce(2), signer_lost=False)
    assert low == replace(expected, mark=Nonce(3), signer_lost=False, unknown=())


async def test_fillers_for_what_nobody_knows_are_ordered_by_a_person(payer: Bench, desk: SqliteDesk) -> None:
    """§8.4: one unit to the sink under each nonce whose bytes are lost, under the term of now."""
    await payer.stage(await payer.insert(1))
    await payer.sql("UPDATE account SET high_water = 3 WHERE id = ?", PAYER)
    await desk.declare_restored(by=PERSON)
    assert (await desk.fill_unknown(PAYER, fee=BaseUnits(9), by=PERSON)).count == 0, "not taken up yet"
    await payer.sql("UPDATE account SET cause = 'taken_up'")
    event = await desk.fill_unknown(PAYER, fee=BaseUnits(9), by=PERSON)
    assert event == Event(
        kind=EventKind.FILL_ORDERED,
        severity=Severity.WARNING,
        account=PAYER,
        count=2,
        detail="nonces 2, 3: because",
    )
    body = {"who": "ada", "reason": "because", "account": PAYER, "fillers": [[2, 2, 9], [3, 3, 9]]}
    assert await said(payer) == [("people", "fill_unknown", body)]
    assert await payer.sql(
        "SELECT id, nonce, disbursement_id, destination, amount, fee, term, state, live, step, staged_at FROM intent"
        " WHERE id > 1"
    ) == [(id_, id_, None, f"{PAYER}-sink", 1, 9, 1, "staged", 1, "sign", 2_000.0) for id_ in (2, 3)]
    assert await payer.sql(
        "SELECT intent_id, number, kind, fee, staged_at FROM variant WHERE intent_id > 1"
    ) == [(id_, 1, "cancel", 9, 2_000.0) for id_ in (2, 3)]
    none = await desk.fill_unknown(PAYER, fee=BaseUnits(9), by=PERSON)
    assert (none.count, none.detail) == (0, "nonces none: because")


async def test_a_lease_is_told_when_it_is_taken_and_given_back(payer: Bench) -> None:
    """§6: who holds which account under which term; what is refused says why."""
    await payer.store.release(payer.held)
    assert await said(payer, 2) == [
        (f"account:{OTHER}", "release", {"released": [[1]]}),
        (CHAIN, "release", {"released": [[1]]}),
    ]
    rows = await payer.store.leases([PAYER])
    assert rows[0].released
    [lease] = await payer.store.claim(rows, ME, above={})
    assert not isinstance(lease, NotWritten)
    assert (lease.account, lease.incarnation, lease.term) == (PAYER, ME.incarnation, 2)
    assert await said(payer) == [(CHAIN, "claim", {"claimed": [[2, "one", ME.incarnation]]})]
    assert await payer.store.leases([PAYER]) == [
        LeaseSeen(
            account=PAYER,
            holder="one",
            incarnation=ME.incarnation,
            machine="m",
            folder="f",
            term=Term(2),
            beat=2,
            released=False,
        )
    ]
    assert list(await payer.store.claim(rows, ME, above={})) == [
        NotWritten(row=0, reason="changed", detail="the holder renewed, or somebody was faster")
    ]


async def test_what_waits_for_ever_is_told_by_whoever_takes_over(payer: Bench) -> None:
    """D9, D10, D38: each item with its reason; what lost its approval is looked at again."""
    missing, failed, lost, one, two = await payer.insert(5)
    [again] = await payer.insert(hold="approval_lost")
    await payer.sql("UPDATE disbursement SET status = 'rolled_back' WHERE id = ?", lost)
    for item, needs in ((missing, 999), (failed, lost), (one, two), (two, one)):
        await payer.driver.write(depend, item, needs)
    rows = await payer.store.leases([PAYER])
    _, events = await payer.driver.write(ownership.claim, RULES, rows, ME, {}, payer.unix)

    def held(item: DisbursementId, reason: str, detail: str, *more: DisbursementId) -> Event:
        return Event(
            kind=EventKind.HELD,
            severity=Severity.WARNING,
            account=PAYER,
            count=1 + len(more),
            ids=(item, *more),
            reason=reason,
            detail=detail,
        )

    circle = f"{one} → {two} → {one}"
    assert list(events) == [
        held(missing, "dependency_missing", "its dependency 999 does not exist"),
        held(failed, "dependency_failed", f"its dependency {lost} was rolled back"),
        held(one, "dependency_circular", circle, two),
        Event(kind=EventKind.RELEASED, account=PAYER, ids=(again,), reason="approval_lost"),
    ]
    assert await payer.sql("SELECT id, hold_detail FROM disbursement WHERE hold IS NOT NULL ORDER BY id") == [
        (missing, "its dependency 999 does not exist"),
        (failed, f"its dependency {lost} was rolled back"),
        (one, circle),
        (two, circle),
    ]
    [(_, _, body)] = await said(payer)
    assert body == {
        "claimed": [[2, "one", ME.incarnation]],
        "held": [
            [missing, "dependency_missing"],
            [failed, "dependency_failed"],
            [one, "dependency_circular"],
            [two, "dependency_circular"],
        ],
        "released": [again],
    }


async def test_a_filler_costs_what_its_cancellation_did(payer: Bench, desk: SqliteDesk) -> None:
    """R9: the same bytes as before, at the same fee; another nonce at the fee of now, and each is told."""
    one, two, three = await payer.pay(await payer.insert(3))
    order = VariantStaged(
        account=PAYER, intent_id=two.id, number=2, kind=VariantKind.CANCEL, fee=BaseUnits(300)
    )
    await payer.written(order)
    await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    await payer.written(*(Burned(account=PAYER, intent_id=intent.id) for intent in (one, two)))
    wanted = [Nonce(2), Nonce(1)]
    assert await payer.driver.read(fillers.check, PAYER, wanted) == wanted
    event = await desk.fill(PAYER, wanted, fee=BaseUnits(9), by=PERSON)
    assert event == Event(
        kind=EventKind.FILL_ORDERED,
        severity=Severity.WARNING,
        account=PAYER,
        count=2,
        detail="nonces 2, 1: because",
    )
    body = {"who": "ada", "reason": "because", "account": PAYER, "fillers": [[4, 1, 9], [5, 2, 300]]}
    assert await said(payer) == [("people", "fill", body)]
    columns = "id, nonce, destination, amount, fee, term, state, step, staged_at"
    assert await payer.sql(f"SELECT {columns} FROM intent WHERE disbursement_id IS NULL ORDER BY id") == [
        (4, 1, f"{PAYER}-sink", 1, 9, 1, "staged", "sign", 2_000.0),
        (5, 2, f"{PAYER}-sink", 1, 300, 1, "staged", "sign", 2_000.0),
    ]
    assert await payer.driver.read(fillers.check, PAYER, wanted) == []
    with pytest.raises(Rejected) as refused:
        await desk.fillable(PAYER, [three.nonce])
    assert refused.value.message == (
        f"nonce 3 of {PAYER}: it is bound to disbursement {three.disbursement_id}, whose own bytes go out under it"
    )
    assert (refused.value.kind, refused.value.field) == (Refusal.CONFLICT, "nonces")
    for nonce, why in (
        (4, "it was never given (the next one is 4)"),
        (0, "the chain has consumed it (its count is 0)"),
    ):
        with pytest.raises(Rejected) as refused:
            await desk.fillable(PAYER, [Nonce(nonce)])
        assert refused.value.message == f"nonce {nonce} of {PAYER}: {why}"


async def test_a_filler_takes_back_what_the_cancellation_had_cost(payer: Bench, desk: SqliteDesk) -> None:
    """R9: the reorg gave it back to the account; it is booked on the intent that had cost it, once."""
    await payer.sql("UPDATE counter SET next = 41 WHERE name = 'intent'")
    [intent] = await payer.pay(await payer.insert())
    order = VariantStaged(
        account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.CANCEL, fee=BaseUnits(300)
    )
    await payer.written(order)
    [both] = await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    await payer.written(seen(both, 1_050, fee=290))
    await payer.bury()
    await desk.fill(PAYER, [intent.nonce], fee=BaseUnits(9), by=PERSON)
    assert await payer.sql("SELECT delta, intent_id, height FROM balance_event WHERE kind = 'reversal'") == [
        (291, 41, None)
    ]
    assert await payer.sql("SELECT proof, cost FROM intent WHERE id = 41") == [("filled", None)]
    assert await payer.sql("SELECT fee FROM variant WHERE intent_id = 42") == [(300,)]


async def test_an_account_that_stays_in_quarantine_says_why(payer: Bench, desk: SqliteDesk) -> None:
    """§8.6: every open point at once, to the account that was named."""
    await desk.declare_restored(by=PERSON)
    with pytest.raises(Rejected, match=f"the account {PAYER} stays in quarantine: ") as refused:
        await desk.leave_quarantine(PAYER, by=PERSON, signer=Nonce(0), signer_lost=False, lineage="l2")
    assert (refused.value.kind, refused.value.field) == (Refusal.CONFLICT, "account")
    for account, kind in ((AccountId("who"), Refusal.NOT_FOUND), (PAYER, Refusal.CONFLICT)):
        await payer.sql("UPDATE account SET state = 'active' WHERE id = ?", account)
        with pytest.raises(Rejected) as refused:
            await desk.leave_quarantine(account, by=PERSON, signer=Nonce(0), signer_lost=False, lineage="l2")
        assert (refused.value.kind, refused.value.field) == (kind, "account")
