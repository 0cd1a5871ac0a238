"""Commands that look, against a real server."""

import json
from dataclasses import replace

import pytest
from tests.cli.conftest import Town
from tests.fakes import HEALTHY, NOW, TREASURY, disbursement

from treasuryd.core.model import (
    BalanceEvent,
    BalanceKind,
    BaseUnits,
    DisbursementId,
    Hold,
    IntentId,
    Nonce,
    Proposal,
    State,
    Status,
    Term,
    TxHash,
    Variant,
    VariantKind,
)
from treasuryd.core.model import Intent as Bound

HASH = TxHash("ab" * 32)


def bound(number: int = 1) -> Bound:
    item = disbursement(number)
    return Bound(
        id=IntentId(5),
        account=TREASURY,
        nonce=Nonce(7),
        disbursement_id=item.id,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        payload_digest=item.payload_digest,
        idempotency_key="k",
        term=Term(3),
        state=State.BROADCAST,
        variants=(Variant(number=1, kind=VariantKind.PAYMENT, fee=BaseUnits(9), tx_hash=HASH, attempts=2),),
    )


def test_the_list_is_a_table_or_json(town: Town) -> None:
    """The same rows; JSON is the server's own."""
    for number in range(1, 4):
        town.world.desk.put(disbursement(number))
    table = town.call("list")
    assert table.code == 0
    assert [line.split()[0] for line in table.out.splitlines()] == ["id", "3", "2", "1"]
    found = json.loads(town.call("list", "--json", "--limit", 2).out)
    assert ([item["id"] for item in found["items"]], found["next_cursor"]) == ([3, 2], 2)
    assert "More: --cursor 2" in town.call("list", "--limit", 2).out
    assert [item["id"] for item in json.loads(town.call("list", "--json", "--cursor", 2).out)["items"]] == [1]


def test_what_waits_for_a_person_is_listed_alone(town: Town) -> None:
    """`list --waiting` goes with no filter of the ordinary list."""
    town.world.desk.put(disbursement(1, hold=Hold.REFUSED))
    town.world.desk.put(disbursement(2))
    assert [item["id"] for item in json.loads(town.call("list", "--waiting", "--json").out)["items"]] == [1]
    assert town.call("list", "--waiting", "--status", "draft").code == 2


def test_a_long_list_is_fetched_in_pages(town: Town) -> None:
    """The server gives 200 at a time."""
    for number in range(1, 451):
        town.world.desk.put(disbursement(number))
    found = json.loads(town.call("list", "--json", "--limit", 440).out)["items"]
    assert [item["id"] for item in found] == list(range(450, 10, -1))


def test_filters_reach_the_server(town: Town) -> None:
    """And a word that is no status is refused with those that are."""
    town.world.desk.put(disbursement(1))
    town.world.desk.put(disbursement(2, status=Status.FINALIZED))
    found = json.loads(town.call("list", "--json", "--status", "finalized").out)["items"]
    assert [item["id"] for item in found] == [2]
    wrong = town.call("list", "--status", "paid")
    assert (wrong.code, "unknown status" in wrong.err, "rolled_back" in wrong.err) == (1, True, True)


def test_one_is_shown_with_its_payments(town: Town) -> None:
    """Nonce, state and hash of every variant, and the proposal."""
    town.world.desk.put(disbursement(1, proposal=Proposal(title="Audit", summary="s")))
    town.world.desk.bound[DisbursementId(1)] = [bound()]
    said = town.call("show", 1)
    assert said.code == 0
    for word in ("Audit", "broadcast", "payment", HASH, "rent", "2026-11-18"):
        assert word in said.out
    assert json.loads(town.call("show", 1, "--json").out)["intents"][0]["nonce"] == 7


def test_what_does_not_exist_is_said(town: Town) -> None:
    """Exit code 1, the server's own sentence."""
    said = town.call("show", 9)
    assert (said.code, said.out, "disbursement 9 not found" in said.err) == (1, "", True)


def test_why_it_waits_is_one_sentence(town: Town) -> None:
    """In flight: at which nonce, how often sent."""
    town.world.desk.put(disbursement(1, status=Status.TIMELOCKED, live_intent=IntentId(5)))
    town.world.desk.bound[DisbursementId(1)] = [bound()]
    said = town.call("explain", 1)
    assert said.out == "disbursement 1: in flight at nonce 7 of treasury, sent 2 times.\n"
    assert json.loads(town.call("explain", 1, "--json").out)["hold"] == "in_flight"


def test_balance_and_its_history(town: Town) -> None:
    """Two views, each with --json."""
    town.world.desk.events.append(
        BalanceEvent(
            id=1,
            account=TREASURY,
            kind=BalanceKind.FUNDING,
            delta=100,
            fee=BaseUnits(0),
            balance=100,
            recorded_at=NOW,
        )
    )
    assert "treasury" in town.call("balance").out
    assert "funding" in town.call("balance", "--history").out
    assert json.loads(town.call("balance", "--json").out)["items"][0]["booked_balance"] == 100
    assert json.loads(town.call("balance", "--history", "--json").out)["items"][0]["delta"] == 100


def test_status_shows_a_failing_daemon_too(town: Town) -> None:
    """A 503 is an answer here, not an error."""
    town.world.engine.state = replace(HEALTHY, task_alive=False)
    said = town.call("status")
    assert said.code == 0
    assert "the executor's task is gone" in said.out
    found = json.loads(town.call("status", "--json").out)
    assert (found["health"]["status"], found["executor"]["lease_holder"]) == ("fail", "treasuryd@a")


@pytest.mark.parametrize("wants", [[], ["--json"]])
@pytest.mark.parametrize("command", [["list"], ["show", "1"]])
def test_untrusted_text_cannot_steer_the_terminal(town: Town, command: list[str], wants: list[str]) -> None:
    """Escape sequences, carriage returns, bidi overrides and markup come out as plain characters."""
    hostile = "\x1b[2J\x1b]0;owned\x07\r[bold red]paid[/]\u202egnp.exe\u2028"
    town.world.desk.put(disbursement(1, memo=hostile))
    said = town.call(*command, *wants)
    assert said.code == 0
    assert not {"\x1b", "\x07", "\r", "\u202e", "\u2028"} & set(said.out)
    assert "[bold red]paid[/]" in said.out


def test_a_table_is_never_preceded_by_a_mangled_line_break(town: Town) -> None:
    """Our own sentences pass the same filter as untrusted text; nested values read as JSON, yes and no as words."""
    town.world.desk.put(disbursement(1, proposal=Proposal(title="Audit", summary="s")))
    shown, status = town.call("show", 1).out, town.call("status").out
    assert "\ufffd" not in shown + status
    assert '"operators_ppm": 0' in shown
    assert "True" not in status + shown
