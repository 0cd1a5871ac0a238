"""REST under `/treasury`, over real HTTP: what is done, and every refusal of bad input."""

from typing import Any

import pytest
from tests.fakes import NOW, PAYEE, TREASURY, FakeWorld, breaker, disbursement
from tests.web.conftest import Open, Site

from treasuryd.core.model import (
    Account,
    AccountState,
    BalanceEvent,
    BalanceKind,
    BaseUnits,
    BreakerMode,
    CallClass,
    DisbursementId,
    Endpoint,
    Hold,
    IntentId,
    Rules,
    Status,
)

GOOD = {"destination": PAYEE, "amount": 1_000, "scheduled_epoch": 3, "memo": "rent"}
MANY = "/treasury/disbursements"


async def test_one_disbursement_is_stored_and_shown_flat(site: Site) -> None:
    """The short form; statuses in lower case, amounts as integers, the executor woken."""
    answer = await site.post("/treasury/disbursement", {**GOOD, "amount": "1000"})
    body = answer.json()
    assert answer.status == 201
    assert (body["id"], body["status"], body["amount"], body["account"]) == (1, "draft", 1_000, "treasury")
    assert len(body["payload_digest"]) == 64
    assert site.world.engine.wakes == 1
    assert (await site.get(f"{MANY}/1")).json()["memo"] == "rent"


async def test_many_are_stored_together_and_refs_become_ids(site: Site) -> None:
    """Dependencies inside a request are named by refs."""
    items = [{**GOOD, "ref": "a"}, {**GOOD, "memo": "b", "depends_on_refs": ["a"]}]
    answer = await site.post(MANY, {"items": items})
    assert answer.status == 201
    assert [item["depends_on"] for item in answer.json()["items"]] == [[], [1]]
    assert (await site.get(f"{MANY}/1/dependents")).json() == {"items": [{"id": 2, "distance": 1}]}


async def test_a_key_belongs_to_one_request(site: Site) -> None:
    """Same key and request: the first answer again; another request: 409."""
    first = await site.post(MANY, [GOOD], Idempotency_Key="k-1")
    again = await site.post(MANY, [GOOD], Idempotency_Key="k-1")
    other = await site.post(MANY, [{**GOOD, "amount": 2}], Idempotency_Key="k-1")
    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert again.json()["repeated"] is True
    assert again.json()["items"] == first.json()["items"]
    assert (other.error["code"], len(site.world.desk.items)) == ("conflict", 1)


def one(**changes: Any) -> Any:
    return {**GOOD, **changes}


BAD: list[Any] = [
    pytest.param(b"", "JSON", id="an empty body"),
    pytest.param(b"{", "JSON", id="half an object"),
    pytest.param(b"\xff\xfe", "UTF-8", id="no UTF-8"),
    pytest.param(b'{"amount":1,"amount":2}', "twice", id="a JSON key twice"),
    pytest.param(b'{"amount":NaN}', "NaN", id="NaN"),
    pytest.param(b'{"amount":Infinity}', "Infinity", id="an infinity"),
    pytest.param(b"[" * 100_000, "deep", id="nested without end"),
    pytest.param(b'{"memo":"\\ud800"}', "surrogate", id="half a character"),
    pytest.param(b'"text"', "object", id="no object"),
    pytest.param([], "at least one", id="no item"),
    pytest.param(one(amount=True), "amount", id="a boolean as a number"),
    pytest.param(one(scheduled_epoch=True), "scheduled_epoch", id="a boolean as an epoch"),
    pytest.param(one(amount=0), "amount", id="zero"),
    pytest.param(one(amount=-1), "amount", id="negative"),
    pytest.param(one(amount=1.0), "amount", id="a float"),
    pytest.param(b'{"destination":"tb1a","amount":1e3,"scheduled_epoch":1}', "amount", id="an exponent"),
    pytest.param(one(amount="1_0"), "amount", id="digits with an underscore"),
    pytest.param(one(amount="\u0661"), "amount", id="digits that are not ASCII"),
    pytest.param(one(amount=2**63), "amount", id="D29: above 2^63-1"),
    pytest.param(one(amount=int("9" * 300)), "digits", id="a number of 300 digits"),
    pytest.param(one(amount=None), "amount", id="no amount"),
    pytest.param(one(destination=""), "destination", id="an empty destination"),
    pytest.param(one(destination="   "), "destination", id="a blank destination"),
    pytest.param(one(destination="tb1 x"), "destination", id="a malformed destination"),
    pytest.param(one(destination="bc1qxyz"), "must start with 'tb1'", id="another chain's destination"),
    pytest.param(one(destination=7), "destination", id="a number as destination"),
    pytest.param(one(destination="tb1" + "a" * 9_000), "destination", id="an endless destination"),
    pytest.param(one(memo="x" * 8_193), "8192", id="D25: a memo above 8,192 bytes"),
    pytest.param(one(memo="é" * 4_097), "8192", id="bytes are counted, not characters"),
    pytest.param(one(memo=["x"]), "memo", id="a list as memo"),
    pytest.param(one(scheduled_epoch=0), "scheduled_epoch", id="epoch zero"),
    pytest.param(one(scheduled_epoch="3"), "scheduled_epoch", id="a text as epoch"),
    pytest.param(one(depends_on=[99]), "99", id="an unknown dependency"),
    pytest.param(one(depends_on=[0]), "depends_on", id="id zero"),
    pytest.param(one(depends_on=[True]), "depends_on", id="a boolean as id"),
    pytest.param(one(depends_on="1"), "depends_on", id="a text as ids"),
    pytest.param(one(depends_on=list(range(1, 102))), "100", id="101 dependencies"),
    pytest.param(one(depends_on_refs=["nobody"]), "nobody", id="an unknown ref"),
    pytest.param(one(ref="a", depends_on_refs=["a"]), "itself", id="D38: an item that depends on itself"),
    pytest.param(
        [one(ref="a", depends_on_refs=["b"]), one(ref="b", memo="2", depends_on_refs=["a"])],
        "circle",
        id="a circle",
    ),
    pytest.param([one(ref="a"), one(ref="a", memo="2")], "already", id="duplicate refs"),
    pytest.param(one(ref="no spaces"), "ref", id="a malformed ref"),
    pytest.param(one(surprise=1), "surprise", id="an unknown field"),
    pytest.param(one(amonut=1), "amonut", id="a typing error"),
    pytest.param(one(account="nobody"), "nobody", id="an unknown account"),
    pytest.param(
        one(expected_receipts=[{"account": "a", "amount": 1}]), "does not match", id="receipts differ"
    ),
    pytest.param(one(proposal={"title": "", "summary": "s"}), "title", id="an empty title"),
    pytest.param(
        one(proposal={"title": "t", "summary": "s", "quorum": {"operators_ppm": 1_000_001}}),
        "1000000",
        id="a quorum above 1,000,000 ppm",
    ),
    pytest.param(
        one(proposal={"title": "t", "summary": "s", "timelock_epochs": 0}), "timelock", id="no timelock"
    ),
]


@pytest.mark.parametrize(("body", "named"), BAD)
async def test_bad_input_is_refused_by_name_and_leaves_nothing(site: Site, body: Any, named: str) -> None:
    """D37: a 4xx with a message that names field, value and limit; never a trace, never half a request."""
    short = ("/treasury/disbursement",) if isinstance(body, (dict, bytes)) else ()  # it takes one object
    for path in (MANY, *short):
        answer = await site.post(path, body)
        assert 400 <= answer.status < 500
        assert set(answer.error) == {"code", "message", "field", "hint"}
        assert named.lower() in answer.body.decode().lower()
        assert "Traceback" not in answer.body.decode()
    assert site.world.desk.items == {}


async def test_every_error_of_a_request_is_told_at_once(site: Site) -> None:
    """A person corrects a file once; the good rows beside bad ones are not stored."""
    answer = await site.post(MANY, [one(), one(amount=0), one(destination="x")])
    fields = [error["field"] for error in answer.json()["errors"]]
    assert answer.status == 400
    assert fields == ["items[1].amount", "items[2].destination"]
    assert site.world.desk.items == {}


async def test_a_thousand_and_one_items_are_too_many(site: Site) -> None:
    """413, and the way to send longer files."""
    answer = await site.post(MANY, [one(memo=str(row)) for row in range(1_001)])
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert "1000" in answer.error["message"]


async def test_without_permission_a_draft_needs_a_proposal(open_site: Open) -> None:
    """Treasury-initiated payments are policy."""
    site: Site = await open_site(FakeWorld(rules=Rules()))
    answer = await site.post("/treasury/disbursement", GOOD)
    assert (answer.status, answer.error["code"]) == (403, "forbidden")


async def test_a_named_batch_is_invisible_until_it_is_sealed(site: Site) -> None:
    """Parts may refer to each other; sealing again answers the same ids."""
    batch = "/treasury/batches/june"
    assert (await site.post(batch, {}, method="PUT")).status == 201
    part = {"items": [{**GOOD, "ref": "a", "depends_on_refs": ["b"]}]}
    assert (await site.post(f"{batch}/parts/1", part, method="PUT")).json()["items"] == 1
    part = {"items": [{**GOOD, "memo": "2", "ref": "b"}]}
    assert (await site.post(f"{batch}/parts/2", part, method="PUT")).json()["items"] == 2
    assert (await site.get(MANY)).json()["items"] == []
    sealed = await site.post(f"{batch}/seal", {"parts": 2})
    assert (sealed.status, sealed.json()) == (201, {"ids": [1, 2], "repeated": False})
    assert (await site.post(f"{batch}/seal", {"parts": 2})).json() == {"ids": [1, 2], "repeated": True}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [4, 3, 2, 1]),
        ("?status=draft", [4, 1]),
        ("?status=Draft", [4, 1]),
        ("?status=RolledBack", [3]),
        ("?status=Cancelled", [3]),
        ("?status=Scheduled", [4, 2, 1]),
        ("?min_amount=2000", [4]),
        ("?max_epoch=1&max_amount=1999", [3, 2, 1]),
        (f"?destination={PAYEE}&limit=2", [4, 3]),
        ("?cursor=3", [2, 1]),
        ("?limit=0&account=treasury", [4, 3, 2, 1]),
    ],
)
async def test_the_list_takes_the_originals_filters(site: Site, query: str, ids: list[int]) -> None:
    """Both spellings of a status; newest first; a limit of 0 is the default."""
    site.world.desk.put(disbursement(1))
    site.world.desk.put(disbursement(2, status=Status.TIMELOCKED))
    site.world.desk.put(disbursement(3, status=Status.ROLLED_BACK))
    site.world.desk.put(disbursement(4, amount=BaseUnits(2_000)))
    answer = await site.get(f"{MANY}{query}")
    assert answer.status == 200
    assert [item["id"] for item in answer.json()["items"]] == ids


async def test_what_waits_for_a_person_has_a_list_of_its_own(site: Site) -> None:
    """Newest first, in pages; a filter that it does not know is refused by name."""
    for number, hold in ((1, Hold.REFUSED), (2, None), (3, Hold.AMBIGUOUS)):
        site.world.desk.put(disbursement(number, hold=hold))
    answer = await site.get(f"{MANY}/waiting?limit=1")
    assert ([item["hold"] for item in answer.json()["items"]], answer.json()["next_cursor"]) == (
        ["ambiguous"],
        3,
    )
    answer = await site.get(f"{MANY}/waiting?cursor=3")
    assert [item["id"] for item in answer.json()["items"]] == [1]
    refused = await site.get(f"{MANY}/waiting?status=draft")
    assert (refused.status, refused.json()["error"]["field"]) == (400, "status")


@pytest.mark.parametrize(
    "query",
    [
        "?limit=201",
        "?limit=-1",
        "?limit=x",
        "?status=paid",
        "?cursor=1.5",
        "?limt=3",
        "?limit=1&limit=2",
        "?destination=",
    ],
)
async def test_a_bad_filter_is_refused(site: Site, query: str) -> None:
    """A filter that is silently ignored shows the wrong list."""
    answer = await site.get(f"{MANY}{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid")
    assert answer.error["field"]


async def test_pages_go_on_where_the_last_one_ended(site: Site) -> None:
    """The cursor is the last id of a page."""
    for number in range(1, 6):
        site.world.desk.put(disbursement(number))
    first = (await site.get(f"{MANY}?limit=3")).json()
    second = (await site.get(f"{MANY}?limit=3&cursor={first['next_cursor']}")).json()
    assert [item["id"] for item in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
    assert second["next_cursor"] is None


async def test_cancelling_says_what_became_of_each(site: Site) -> None:
    """Rolled back, requested, or not: the status of the answer is 409 when something was not done."""
    site.world.desk.put(disbursement(1))
    site.world.desk.put(disbursement(2, status=Status.TIMELOCKED, live_intent=IntentId(9)))
    site.world.desk.put(disbursement(3, status=Status.FINALIZED))
    order = {"ids": [1, 2, 3], "reason": "wrong payee", "by": "ann"}
    answer = await site.post(f"{MANY}/cancel", order)
    rows = answer.json()["items"]
    assert answer.status == 409
    assert [(row["done"], row["what"]) for row in rows] == [
        (True, "disbursement_rolled_back"),
        (True, "cancel_requested"),
        (False, "finalized"),
    ]
    assert (site.world.desk.by[0].who, site.world.desk.by[0].reason, site.world.desk.by[0].at) == (
        "ann",
        "wrong payee",
        NOW,
    )
    assert (await site.post(f"{MANY}/1/cancel", {"reason": "again"})).status == 409


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"reason": ""},
        {"reason": "x" * 501},
        {"reason": "line\nbreak"},
        {"reason": 7},
        {"reason": "x", "why": "y"},
        {"reason": "x", "by": "\x1b[31m"},
        [],
    ],
)
async def test_an_order_says_who_and_why(site: Site, order: object) -> None:
    """A reason is required, printable and short; unknown fields are refused."""
    site.world.desk.put(disbursement(1))
    answer = await site.post(f"{MANY}/1/cancel", order)
    assert answer.status == 400
    assert site.world.desk.items[DisbursementId(1)].status is Status.DRAFT


@pytest.mark.parametrize("ids", [[], [1, 1], ["1"], [True], [0], "1", list(range(1, 1_002))])
async def test_an_order_over_many_names_them_properly(site: Site, ids: object) -> None:
    """At least one, at most 1,000, each once."""
    answer = await site.post(f"{MANY}/release", {"ids": ids, "reason": "x"})
    assert (answer.status, answer.error["field"].split("[")[0]) == (400, "ids")


async def test_resolving_needs_a_verdict(site: Site) -> None:
    """Paid or void, nothing in between."""
    answer = await site.post(f"{MANY}/resolve", {"ids": [1], "reason": "x", "verdict": "maybe"})
    assert (answer.status, answer.error["field"]) == (400, "verdict")


async def test_rolling_back_a_payment_keeps_its_hash(site: Site) -> None:
    """D22: the books change, no balance does; prior_tx is kept."""
    site.world.desk.put(disbursement(1, status=Status.EXECUTED, tx_hash="ab" * 32))
    answer = await site.post(f"{MANY}/1/rollback", {"reason": "returned"})
    assert (answer.status, answer.json()["status"], answer.json()["prior_tx"]) == (
        200,
        "rolled_back",
        "ab" * 32,
    )
    assert site.world.desk.events == []


async def test_a_hold_is_explained_in_one_sentence(site: Site) -> None:
    """The hold as a word for programs, the sentence for people."""
    site.world.desk.put(disbursement(1, status=Status.TIMELOCKED, hold=Hold.REFUSED, hold_detail="cap"))
    body = (await site.get(f"{MANY}/1/explain")).json()
    assert (body["hold"], body["paid"]) == ("refused", False)
    assert body["sentence"] == (
        "disbursement 1: it was refused (cap); when the cause is dealt with: `treasuryd release 1`."
    )


async def test_money_is_shown_on_the_chain_and_in_the_books(site: Site) -> None:
    """Balance and its history, newest first, in pages."""
    for number in range(1, 4):
        site.world.desk.events.append(
            BalanceEvent(
                id=number,
                account=TREASURY,
                kind=BalanceKind.FUNDING,
                delta=100,
                fee=BaseUnits(0),
                balance=100 * number,
                recorded_at=NOW,
            )
        )
    assert (await site.get("/treasury/balance")).json()["items"][0]["booked_balance"] == 300
    first = (await site.get("/treasury/balance/history?limit=2")).json()
    second = (await site.get(f"/treasury/balance/history?limit=2&cursor={first['next_cursor']}")).json()
    assert [event["balance"] for event in first["items"] + second["items"]] == [300, 200, 100]
    assert (await site.get("/treasury/balance/history?limit=1000")).status == 400


async def test_the_executors_snapshot_has_the_fields_that_operators_know(site: Site) -> None:
    """The original's names, `lease_holder` among them."""
    body = (await site.get("/treasury/executor/status")).json()
    original = {
        "last_tick_at", "last_success_at", "last_error_at", "last_error", "pending_matured", "staged_intents",
        "lease_holder", "lease_expires_at", "lease_renewed_at", "last_submitted_nonce", "lease_last_nonce",
        "lease_released",
    }  # fmt: skip
    assert original <= set(body)
    assert (body["lease_holder"], body["lease_term"], body["leader"]) == ("treasuryd@a", 3, True)


async def test_the_kill_switch_is_stored_applied_and_shown(site: Site) -> None:
    """The send breaker of every endpoint, forced open; reset gives it back."""
    answer = await site.post("/treasury/breakers/*/send", {"state": "open", "reason": "incident"})
    assert (answer.status, answer.json()["kill_switch"]) == (200, True)
    override = site.world.chain.forced[0]
    assert (override.endpoint, override.call_class) == (Endpoint("*"), CallClass.SEND)
    assert (override.mode, override.reason) == (BreakerMode.FORCED_OPEN, "incident")
    assert (await site.get("/treasury/breakers")).json()["kill_switch"] is True
    await site.post("/treasury/breakers/*/send", {"state": "auto", "reason": "over"})
    assert (await site.get("/treasury/breakers")).json()["kill_switch"] is False


@pytest.mark.parametrize(
    ("path", "order", "status", "field"),
    [
        ("nobody/send", {"state": "open", "reason": "x"}, 404, "endpoint"),
        ("node-a/write", {"state": "open", "reason": "x"}, 400, "class"),
        ("node-a/send", {"state": "ajar", "reason": "x"}, 400, "state"),
        ("node-a/send", {"state": ["open"], "reason": "x"}, 400, "state"),
        ("node-a/send", {"reason": "x"}, 400, "state"),
    ],
)
async def test_a_breaker_is_named_exactly(
    site: Site, path: str, order: object, status: int, field: str
) -> None:
    """An order that hits nothing must not look done."""
    site.world.chain.reports = [breaker("node-a")]
    answer = await site.post(f"/treasury/breakers/{path}", order)
    assert (answer.status, answer.error["field"]) == (status, field)
    assert site.world.desk.forced == {}


async def test_accounts_are_frozen_thawed_and_told_of_deposits(site: Site) -> None:
    """Each order is journalled with its reason; the answer is the account."""
    site.world.desk.account_rows = [Account(id=TREASURY, state=AccountState.FROZEN, cause="person")]
    for verb in ("freeze", "thaw"):
        answer = await site.post(f"/treasury/accounts/treasury/{verb}", {"reason": "x"})
        assert (answer.status, answer.json()["state"]) == (200, "frozen")
    refused = await site.post("/treasury/accounts/treasury/thaw", {"reason": "x", "cause": "because"})
    assert (refused.status, refused.error["field"]) == (400, "cause")
    order = {"reason": "donation", "amount": "500"}
    assert (await site.post("/treasury/accounts/treasury/announce", order)).status == 200
    assert site.world.desk.announced == [(TREASURY, 500)]
    assert (await site.post("/treasury/accounts/nobody/freeze", {"reason": "x"})).status == 404
    assert (await site.get("/treasury/accounts")).json()["items"][0]["cause"] == "person"


async def test_the_gate_is_described_for_clients(site: Site) -> None:
    """So that a long file can be judged before any of it is sent."""
    body = (await site.get("/treasury/intake")).json()
    assert body["accounts"] == ["treasury"]
    assert body["sinks"] == {"treasury": "treasury-sink"}
    assert body["max_items"] == 1_000
