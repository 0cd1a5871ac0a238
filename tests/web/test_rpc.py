"""`/rpc`: the original's methods by real HTTP calls, in its shapes and codes, and JSON-RPC 2.0 as it is written."""

import json
from typing import Any

import pytest
from tests.fakes import NOW, PAYEE, TREASURY, disbursement
from tests.web.conftest import Site

from treasuryd.core.model import (
    BalanceEvent,
    BalanceKind,
    BaseUnits,
    DisbursementId,
    Epoch,
    IntentId,
    Proposal,
    Status,
)

ITEM = {"destination": PAYEE, "amount": 1_000, "scheduled_epoch": 3, "memo": "rent"}
HASH = "ab" * 32


async def test_submit_answers_id_and_time(site: Site) -> None:
    """D30: `submit_disbursement` reaches the store; proposal and disbursement come nested, `signature` is ignored."""
    payload = {"disbursement": ITEM, "proposal": {"title": "t", "summary": "s"}}
    answer = await site.call("gov.treasury.submit_disbursement", {"payload": payload, "signature": "x"})
    assert answer == {"jsonrpc": "2.0", "id": 1, "result": {"created_at": int(NOW), "id": 1}}
    stored = site.world.desk.items[DisbursementId(1)]
    assert stored.proposal is not None
    assert (stored.proposal.title, stored.proposal.vote_window_epochs) == ("t", 4)


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"disbursement": {**ITEM, "amount": 0}}, "greater than zero"),
        ({"disbursement": {**ITEM, "destination": "bc1"}}, "disbursement.destination: invalid destination"),
        ({"disbursement": {**ITEM, "scheduled_epoch": 0}}, "greater than zero"),
        ({"disbursement": {**ITEM, "memo": "x" * 8_193}}, "8192"),
        ({"disbursement": {**ITEM, "amount": True}}, "amount"),
        ({"disbursement": {**ITEM, "surprise": 1}}, "surprise"),
        ({"disbursement": ITEM, "extra": 1}, "extra"),
        ({"disbursement": [ITEM]}, "payload: must be an object"),
        ({"disbursement": {**ITEM, "proposal": {}}}, "payload.disbursement"),
        ({"disbursement": ITEM, "proposal": {}}, "title"),
        ({}, "disbursement"),
        ([], "object"),
    ],
)
async def test_a_refused_submission_is_32600_with_the_reason(site: Site, payload: Any, named: str) -> None:
    """D37: the same validation as every other way in; the code is the original's."""
    answer = await site.call("gov.treasury.submit_disbursement", {"payload": payload})
    assert answer["error"]["code"] == -32600
    assert named in answer["error"]["message"]
    assert site.world.desk.items == {}


@pytest.mark.parametrize("method", ["gov.treasury.disbursements", "gov.treasury.list_disbursements"])
async def test_the_list_is_nested_newest_first(site: Site, method: str) -> None:
    """D30: both names; `{"disbursement", "deps"}` with absent options null."""
    site.world.desk.put(disbursement(1))
    site.world.desk.put(disbursement(2, depends_on=(DisbursementId(1),)))
    result = (await site.call(method, {"limit": 1, "status": None}))["result"]
    assert result["next_cursor"] == 2
    (row,) = result["disbursements"]
    assert row["deps"] == [1]
    assert row["disbursement"] == {
        "id": 2,
        "destination": PAYEE,
        "amount": 1_000,
        "memo": "rent",
        "scheduled_epoch": 1,
        "created_at": int(NOW),
        "status": {"Draft": {"created_at": int(NOW)}},
        "proposal": None,
        "expected_receipts": [],
        "receipts": [],
    }


async def test_the_lists_filters_are_the_originals(site: Site) -> None:
    """A limit above 200 counts as 200; a bad filter is -32602."""
    for number in range(1, 4):
        site.world.desk.put(disbursement(number))
    method = "gov.treasury.disbursements"
    assert len((await site.call(method, {"limit": 9_999}))["result"]["disbursements"]) == 3
    assert len((await site.call(method, {"status": "Scheduled"}))["result"]["disbursements"]) == 3
    assert (await site.call(method, {"status": "Paid"}))["error"]["code"] == -32602
    assert (await site.call(method, {"surprise": 1}))["error"]["code"] == -32602


STATUSES: list[tuple[dict[str, Any], Any]] = [
    ({"status": Status.VOTING, "vote_deadline_epoch": Epoch(7)}, {"Voting": {"vote_deadline_epoch": 7}}),
    (
        {"status": Status.QUEUED, "queued_at": NOW, "activation_epoch": Epoch(9)},
        {"Queued": {"queued_at": int(NOW), "activation_epoch": 9}},
    ),
    ({"status": Status.TIMELOCKED, "ready_epoch": Epoch(9)}, {"Timelocked": {"ready_epoch": 9}}),
    (
        {"status": Status.EXECUTED, "tx_hash": HASH, "executed_at": NOW},
        {"Executed": {"tx_hash": HASH, "executed_at": int(NOW)}},
    ),
    (
        {"status": Status.FINALIZED, "tx_hash": HASH, "executed_at": NOW, "finalized_at": NOW + 1},
        {"Finalized": {"tx_hash": HASH, "executed_at": int(NOW), "finalized_at": int(NOW) + 1}},
    ),
    (
        {"status": Status.ROLLED_BACK, "reason": "r", "rolled_back_at": NOW, "prior_tx": HASH},
        {"RolledBack": {"reason": "r", "rolled_back_at": int(NOW), "prior_tx": HASH}},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), STATUSES)
async def test_one_record_has_its_status_tagged(site: Site, changes: dict[str, Any], expected: Any) -> None:
    """D30: `disbursement`; PascalCase, with the fields of its kind."""
    site.world.desk.put(disbursement(1, **changes))
    result = (await site.call("gov.treasury.disbursement", {"id": 1}))["result"]
    assert result["disbursement"]["disbursement"]["status"] == expected


async def test_an_unknown_record_is_32001(site: Site) -> None:
    """The original's code and message."""
    answer = await site.call("gov.treasury.disbursement", {"id": 7})
    assert answer["error"] == {"code": -32001, "message": "disbursement 7 not found"}


@pytest.mark.parametrize(
    "params", [{}, {"id": "1"}, {"id": True}, {"id": -1}, {"id": 2**63}, {"id": 1, "x": 1}, [1]]
)
async def test_bad_params_are_32602(site: Site, params: Any) -> None:
    """Missing, of another type, out of range, unknown, or a list."""
    assert (await site.call("gov.treasury.disbursement", params))["error"]["code"] == -32602


async def test_queueing_moves_a_draft_and_ignores_the_callers_epoch(site: Site) -> None:
    """D21: the epoch comes from the chain; the tick does the move, this only wakes it."""
    draft = site.world.desk.put(disbursement(1, proposal=Proposal(title="t", summary="s")))

    def tick() -> None:
        site.world.desk.put(disbursement(1, status=Status.VOTING, vote_deadline_epoch=Epoch(14)))

    site.world.engine.on_wake = tick
    answer = await site.call("gov.treasury.queue_disbursement", {"id": draft.id, "current_epoch": 999_999})
    assert answer["result"] == {"ok": True, "message": "disbursement 1 advanced to Voting"}
    assert site.world.desk.items[DisbursementId(1)].vote_deadline_epoch == 14


async def test_queueing_what_is_past_is_fine_and_what_is_stuck_is_said(site: Site) -> None:
    """Already past: ok. Still a draft: -32092, and nothing has to be repeated. Rolled back: -32092."""
    site.world.desk.put(disbursement(1, status=Status.TIMELOCKED))
    site.world.desk.put(disbursement(2))
    site.world.desk.put(disbursement(3, status=Status.ROLLED_BACK, reason="quorum_not_reached"))
    method = "gov.treasury.queue_disbursement"
    assert (await site.call(method, {"id": 1}))["result"][
        "message"
    ] == "disbursement 1 advanced to Timelocked"
    stuck = (await site.call(method, {"id": 2}))["error"]
    assert (stuck["code"], "still a draft" in stuck["message"]) == (-32092, True)
    over = (await site.call(method, {"id": 3}))["error"]
    assert (over["code"], "quorum_not_reached" in over["message"]) == (-32092, True)
    assert (await site.call(method, {"id": 4}))["error"]["code"] == -32092


async def test_nobody_executes_by_request(site: Site) -> None:
    """D30: `execute_disbursement` is reachable, and says that the executor alone executes."""
    site.world.desk.put(disbursement(1, status=Status.TIMELOCKED))
    params = {"id": 1, "tx_hash": HASH, "receipts": []}
    answer = await site.call("gov.treasury.execute_disbursement", params)
    assert answer["error"]["code"] == -32092
    assert "the executor alone executes" in answer["error"]["message"]
    assert site.world.desk.items[DisbursementId(1)].status is Status.TIMELOCKED


async def test_rolling_back_cancels_what_is_not_paid(site: Site) -> None:
    """D30: `rollback_disbursement`; with a live payment it is a request, and says so."""
    site.world.desk.put(disbursement(1))
    site.world.desk.put(disbursement(2, status=Status.TIMELOCKED, live_intent=IntentId(5)))
    site.world.desk.put(disbursement(3, status=Status.FINALIZED))
    method = "gov.treasury.rollback_disbursement"
    done = await site.call(method, {"id": 1, "reason": "wrong"})
    assert done["result"] == {"ok": True, "message": "disbursement 1 cancelled"}
    asked = await site.call(method, {"id": 2, "reason": "wrong"})
    assert "its payment may still win" in asked["result"]["message"]
    assert (await site.call(method, {"id": 3, "reason": "wrong"}))["error"]["code"] == -32092
    assert (await site.call(method, {"id": 1}))["error"]["code"] == -32602
    assert (await site.call(method, {"id": 1, "reason": ""}))["error"]["code"] == -32602


async def test_balance_and_history_are_the_originals(site: Site) -> None:
    """D30: `balance` and `balance_history`; D36: an execution books amount and fee."""
    for number, (kind, delta) in enumerate(
        [(BalanceKind.FUNDING, 5_000), (BalanceKind.EXECUTION, -1_010)], 1
    ):
        site.world.desk.events.append(
            BalanceEvent(
                id=number,
                account=TREASURY,
                kind=kind,
                delta=delta,
                fee=BaseUnits(10 if delta < 0 else 0),
                balance=5_000 if delta > 0 else 3_990,
                recorded_at=NOW,
                disbursement_id=None if delta > 0 else DisbursementId(1),
            )
        )
    balance = (await site.call("gov.treasury.balance"))["result"]
    assert balance["balance"] == 3_990
    assert balance["last_snapshot"] == {
        "id": 2,
        "balance": 3_990,
        "delta": -1_010,
        "recorded_at": int(NOW),
        "event": "Executed",
        "disbursement_id": 1,
    }
    assert balance["executor"]["lease_holder"] == "treasuryd@a"
    assert set(balance["executor"]) == {
        "last_tick_at", "last_success_at", "last_error_at", "last_error", "pending_matured", "staged_intents",
        "lease_holder", "lease_expires_at", "lease_renewed_at", "last_submitted_nonce", "lease_last_nonce",
        "lease_released",
    }  # fmt: skip
    history = (await site.call("gov.treasury.balance_history", {"limit": 1}))["result"]
    assert (history["next_cursor"], history["current_balance"]) == (2, 3_990)
    older = (await site.call("gov.treasury.balance_history", {"cursor": 2}))["result"]
    assert [event["event"] for event in older["snapshots"]] == ["Accrual"]


# --- the envelope ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "call_id"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b'{"id":1,"id":2}', -32700, None),
        (b"[NaN]", -32700, None),
        (b"[" * 10_000, -32700, None),
        (b"[]", -32600, None),
        (b"7", -32600, None),
        (b'{"id":1}', -32600, 1),
        (b'{"id":1,"method":7}', -32601, 1),
        (b'{"id":1,"method":"eth_blockNumber"}', -32601, 1),
        (b'{"id":[1],"method":"gov.treasury.balance"}', -32600, None),
        (b'{"id":true,"method":"gov.treasury.balance"}', -32600, None),
        (b'{"jsonrpc":"1.0","id":1,"method":"gov.treasury.balance"}', -32600, 1),
        (b'{"id":1,"method":"gov.treasury.balance","parms":{}}', -32600, 1),
    ],
)
async def test_a_malformed_call_has_its_code(site: Site, body: bytes, code: int, call_id: object) -> None:
    """JSON-RPC 2.0, HTTP 200 as in the original."""
    answer = await site.post("/rpc", body)
    assert answer.status == 200
    assert (answer.json()["error"]["code"], answer.json()["id"]) == (code, call_id)


async def test_answers_have_their_keys_sorted(site: Site) -> None:
    """As the original writes them."""
    site.world.desk.put(disbursement(1))
    answer = await site.post("/rpc", {"method": "gov.treasury.disbursement", "params": {"id": 1}, "id": "a"})
    sorted_text = json.dumps(answer.json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert answer.body.decode() == sorted_text


async def test_a_batch_is_answered_call_by_call(site: Site) -> None:
    """In order; notifications are done and not answered; one bad call spoils none."""
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "gov.treasury.balance"},
        {
            "jsonrpc": "2.0",
            "method": "gov.treasury.submit_disbursement",
            "params": {"payload": {"disbursement": ITEM}},
        },
        7,
        {"jsonrpc": "2.0", "id": 2, "method": "gov.treasury.disbursement", "params": {"id": 1}},
    ]
    answers = (await site.post("/rpc", batch)).json()
    assert [(answer["id"], "result" in answer) for answer in answers] == [(1, True), (None, False), (2, True)]
    assert len(site.world.desk.items) == 1


async def test_notifications_alone_are_answered_by_nothing(site: Site) -> None:
    """204, alone or in a batch."""
    call = {"jsonrpc": "2.0", "method": "gov.treasury.balance"}
    for body in (call, [call, call]):
        answer = await site.post("/rpc", body)
        assert (answer.status, answer.body) == (204, b"")


async def test_a_batch_is_bounded(site: Site) -> None:
    """101 calls are refused whole."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "gov.treasury.balance"}
    assert len((await site.post("/rpc", [call] * 100)).json()) == 100
    refused = (await site.post("/rpc", [call] * 101)).json()
    assert (refused["error"]["code"], "100" in refused["error"]["message"]) == (-32600, True)


async def test_a_key_in_the_header_covers_a_call_and_each_call_of_a_batch(site: Site) -> None:
    """The same batch again submits nothing twice."""
    calls = [
        {
            "jsonrpc": "2.0",
            "id": row,
            "method": "gov.treasury.submit_disbursement",
            "params": {"payload": {"disbursement": ITEM}},
        }
        for row in range(2)
    ]
    for _ in range(2):
        answers = (await site.post("/rpc", calls, Idempotency_Key="june")).json()
        assert [answer["result"]["id"] for answer in answers] == [1, 2]


@pytest.mark.parametrize("alone_first", [True, False], ids=["alone first", "in a batch first"])
async def test_a_call_repeated_in_the_other_form_is_the_same_call(site: Site, *, alone_first: bool) -> None:
    """Alone or first in a batch under one key: the answer comes again, and another content is refused, not paid too."""

    def call(**changes: Any) -> dict[str, Any]:
        params = {"payload": {"disbursement": {**ITEM, **changes}}}
        return {"jsonrpc": "2.0", "id": 1, "method": "gov.treasury.submit_disbursement", "params": params}

    async def said(*, alone: bool, **changes: Any) -> Any:
        body = call(**changes)
        found = (await site.post("/rpc", body if alone else [body], Idempotency_Key="june")).json()
        return found if alone else found[0]

    first = await said(alone=alone_first)
    assert first["result"]["id"] == 1
    assert await said(alone=not alone_first) == first
    clash = (await said(alone=not alone_first, amount=77))["error"]
    assert (clash["code"], "belongs to another request" in clash["message"]) == (-32600, True)
    assert len(site.world.desk.items) == 1


WRITES: list[tuple[str, dict[str, Any]]] = [
    ("submit_disbursement", {"payload": {"disbursement": ITEM}}),
    ("queue_disbursement", {"id": 1}),
    ("rollback_disbursement", {"id": 1, "reason": "x"}),
]


@pytest.mark.parametrize(("method", "params"), WRITES)
async def test_writing_methods_need_the_token_and_reading_ones_do_not(
    site: Site, method: str, params: dict[str, Any]
) -> None:
    """Call by call, so that a batch of both answers both."""
    site.world.desk.put(disbursement(1))
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": f"gov.treasury.{method}", "params": params},
        {"jsonrpc": "2.0", "id": 2, "method": "gov.treasury.balance"},
    ]
    answer = await site.ask(
        "POST", "/rpc", data=json.dumps(batch).encode(), headers={"Content-Type": "application/json"}
    )
    refused, read = answer.json()
    assert refused["error"]["code"] == -33009
    assert "result" in read
    assert (len(site.world.desk.items), site.world.desk.items[DisbursementId(1)].status) == (1, Status.DRAFT)
