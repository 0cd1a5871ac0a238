"""Orders, against a real server: what is sent, what is said, and the exit codes."""

import json
from dataclasses import replace

import pytest
from tests.cli.conftest import Town
from tests.cli.test_reading import bound
from tests.fakes import TREASURY, breaker, disbursement

from treasuryd.core.model import (
    Account,
    BaseUnits,
    BreakerMode,
    BreakerState,
    CallClass,
    DisbursementId,
    FeeQuote,
    Hold,
    IntentId,
    State,
    Status,
    TxHash,
)


def test_cancelling_tells_what_became_of_each(town: Town) -> None:
    """Exit code 1 when something was not done."""
    town.world.desk.put(disbursement(1))
    town.world.desk.put(disbursement(2, status=Status.FINALIZED))
    said = town.call("cancel", 1, 2, "--reason", "wrong payee", "--by", "ann")
    assert said.code == 1
    assert "disbursement_rolled_back" in said.out
    assert "NO" in said.out
    assert (town.world.desk.by[0].who, town.world.desk.by[0].reason) == ("ann", "wrong payee")
    town.world.desk.put(disbursement(3))
    done = town.call("cancel", 3, "--reason", "x", "--json")
    assert (done.code, json.loads(done.out)["done"]) == (0, 1)


def test_an_order_needs_a_reason(town: Town) -> None:
    """Usage: exit code 2, nothing sent."""
    town.world.desk.put(disbursement(1))
    assert town.call("cancel", 1).code == 2
    assert town.world.desk.items[DisbursementId(1)].status is Status.DRAFT


def test_releasing_tells_the_signer_first(town: Town) -> None:
    """Of what was signed and proved void."""
    town.world.desk.put(disbursement(1, status=Status.TIMELOCKED, hold=Hold.NEEDS_RELEASE))
    town.world.desk.bound[DisbursementId(1)] = [replace(bound(), state=State.VOID)]
    assert town.call("release", 1, "--reason", "checked").code == 0
    assert town.world.signer.confirmed == [IntentId(5)]
    assert town.world.desk.items[DisbursementId(1)].hold is None


@pytest.mark.parametrize(("verdict", "state"), [("--paid", State.FINAL), ("--void", State.VOID)])
def test_a_person_judges_what_is_ambiguous(town: Town, verdict: str, state: State) -> None:
    """Paid or void; for void the signer is told first."""
    town.world.desk.put(disbursement(1, status=Status.TIMELOCKED, live_intent=IntentId(5)))
    town.world.desk.bound[DisbursementId(1)] = [replace(bound(), state=State.AMBIGUOUS)]
    assert town.call("resolve", 1, verdict, "--reason", "seen on the chain").code == 0
    assert town.world.desk.bound[DisbursementId(1)][0].state is state
    assert town.world.signer.confirmed == ([IntentId(5)] if state is State.VOID else [])


def test_resolving_needs_a_verdict(town: Town) -> None:
    """Nothing is the default where money is judged."""
    assert town.call("resolve", 1, "--reason", "x").code == 2


def test_rolling_back_and_reopening(town: Town) -> None:
    """Both say what stands afterwards."""
    town.world.desk.put(disbursement(1, status=Status.EXECUTED, tx_hash=TxHash("ab" * 32)))
    said = town.call("rollback", 1, "--reason", "returned")
    assert (said.code, "rolled_back" in said.out, "ab" * 32 in said.out) == (0, True, True)
    town.world.desk.put(disbursement(2, status=Status.FINALIZED))
    assert "timelocked again" in town.call("reopen", 2, "--reason", "deep reorg").out


def test_accounts_are_shown_frozen_thawed_and_told_of_deposits(town: Town) -> None:
    """Each with its reason."""
    town.world.desk.account_rows = [Account(id=TREASURY)]
    assert "active" in town.call("account", "show").out
    assert json.loads(town.call("account", "show", "treasury", "--json").out)["id"] == "treasury"
    town.world.chain.asked = FeeQuote(base_fee=BaseUnits(7), per_byte=1)
    assert town.call("account", "fill", TREASURY, "--nonce", 2, "--nonce", 5, "--reason", "lost").code == 0
    assert town.world.desk.filled == [(TREASURY, (2, 5), 7)]
    assert town.call("account", "fill", TREASURY, "--reason", "lost").code == 2
    for verb in ("freeze", "thaw"):
        assert town.call("account", verb, "treasury", "--reason", "x").code == 0
    assert town.call("account", "thaw", "treasury", "--cause", "person", "--reason", "x").code == 0
    assert town.world.desk.thawed_for == [None, "person"]
    assert town.call("account", "announce", "treasury", 500, "--reason", "donation").code == 0
    assert town.world.desk.announced == [(TREASURY, 500)]
    assert town.call("account", "announce", "treasury", 0, "--reason", "x").code == 2
    assert town.call("account", "freeze", "no/body?x=1", "--reason", "x").code == 1


def test_the_kill_switch_from_the_command_line(town: Town) -> None:
    """`breaker open` without an endpoint stops all sending; `reset` ends it."""
    said = town.call("breaker", "open", "--reason", "incident")
    assert (said.code, "kill switch is on" in said.out) == (0, True)
    override = town.world.desk.forced["*", CallClass.SEND]
    assert (override.mode, override.reason) == (BreakerMode.FORCED_OPEN, "incident")
    assert "kill switch" in town.call("breaker", "show").out
    assert town.call("breaker", "reset", "--reason", "over").code == 0
    assert json.loads(town.call("breaker", "show", "--json").out)["kill_switch"] is False
    assert town.call("breaker", "close", "node-a", "--class", "read", "--reason", "x").code == 0
    assert town.world.desk.forced["node-a", CallClass.READ].mode is BreakerMode.FORCED_CLOSED
    assert town.call("breaker", "open", "nobody", "--reason", "x").code == 1


def test_a_reset_gives_both_classes_back_unless_one_is_named(town: Town) -> None:
    """An open read breaker was left open without a word by a reset of the node."""
    for name in ("send", "read"):
        assert town.call("breaker", "open", "node-a", "--class", name, "--reason", "x").code == 0
    assert town.call("breaker", "reset", "node-a", "--class", "read", "--reason", "x").code == 0
    modes = {name: town.world.desk.forced.get(("node-a", name)) for name in CallClass}
    assert [one is not None and one.mode is BreakerMode.FORCED_OPEN for one in modes.values()] == [
        name is CallClass.SEND for name in modes
    ]
    assert town.call("breaker", "open", "node-a", "--class", "read", "--reason", "x").code == 0
    assert town.call("breaker", "reset", "node-a", "--reason", "x").code == 0
    left = [town.world.desk.forced.get(("node-a", name)) for name in CallClass]
    assert all(one is None or one.mode is BreakerMode.AUTO for one in left)


def test_a_reset_says_which_breaker_stays_open(town: Town) -> None:
    """What opened by itself is no person's word: a reset takes nothing back there, and said nothing of it."""
    reading = replace(breaker(call_class=CallClass.READ, state=BreakerState.OPEN), reopens_in_seconds=46.2)
    town.world.chain.reports = [breaker(), reading]
    told = town.call("breaker", "reset", "node-a", "--reason", "x").out
    assert "node-a read opened by itself, and tries again in 47 s." in told
    assert "`treasuryd breaker close node-a --class read --reason …`, then `reset` again." in told
    assert "node-a send opened" not in told


def test_when_a_breaker_reopens_is_told_in_whole_seconds(town: Town) -> None:
    """Nobody reads fourteen digits; as JSON they stand as they are."""
    town.world.chain.reports = [
        replace(breaker(state=BreakerState.OPEN), reopens_in_seconds=44.95815316192602)
    ]
    shown = town.call("breaker", "show").out
    assert "45" in shown.split()
    assert "44.9" not in shown
