"""`treasuryd quarantine` and `treasuryd signer import` over a real server."""

import json
from dataclasses import replace

import pytest
from tests.cli.conftest import Town
from tests.fakes import TREASURY

from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import AccountState, BaseUnits, DisbursementId, FeeQuote, Height, IntentId, Nonce
from treasuryd.core.restore import Dispute, Standing

OPEN = Standing(
    account=TREASURY,
    taken_up=True,
    kill_switch=True,
    mark=Nonce(9),
    signer_lost=False,
    open=(Nonce(8), Nonce(9)),
    included=None,
    ambiguous=(DisbursementId(7),),
    unknown=(),
    contradictions=(),
    read=Height(70),
    consumed=Nonce(7),
    burned=Nonce(7),
    settled=Height(0),
    believed=Height(80),
    finality_depth=12,
)
REPORT = {
    "found": [{"sign": "signer_nonce", "detail": "the signer bound nonce 9 of treasury, this store knows 7"}],
    "accounts": {"treasury": {"adopted": [{"nonce": 8, "intent": 8, "id": 8, "imported": False}], "held": 2}},
}


@pytest.fixture
def restored(town: Town) -> Town:
    """A daemon whose store was restored."""
    town.world.desk.report = REPORT
    town.world.desk.standing[TREASURY] = OPEN
    row = town.world.desk.account_rows[0]
    town.world.desk.account_rows = [
        type(row)(id=row.id, state=AccountState.QUARANTINED, next_nonce=Nonce(10))
    ]
    return town


def test_a_store_that_was_never_restored_says_so(town: Town) -> None:
    """Nothing to do."""
    told = town.call("quarantine", "show")
    assert (told.code, told.out) == (0, "This store was never in quarantine.\n")


def test_it_is_shown_what_was_found_and_what_to_do_next(restored: Town) -> None:
    """In words that can be followed at night."""
    told = restored.call("quarantine", "show")
    assert told.code == 0
    assert "the signer bound nonce 9 of treasury, this store knows 7" in told.out
    assert "adopted 1 from the signer (nonces 8), held 2" in told.out
    assert "not in a block yet: the nonces 8 9" in told.out
    assert "treasuryd resolve 7 --paid" in told.out


def test_what_is_over_is_said_to_be_over_before_it_is_told(restored: Town) -> None:
    """Else last year's finding reads like tonight's."""
    left = {"treasury": {"by": "ada", "reason": "compared", "at": 1_795_260_657.4}}
    left["savings"] = left["treasury"] | {"by": "bob", "at": 1_795_174_257.0}
    restored.world.desk.report = {**REPORT, "left": left, "left_at": 1_795_260_657.4}
    restored.world.desk.account_rows = [
        replace(restored.world.desk.account_rows[0], state=AccountState.ACTIVE)
    ]
    first, second, *_ = restored.call("quarantine", "show").out.splitlines()
    assert first == "No account is in quarantine. The last one ended 2026-11-21 11:30:57Z by ada:"
    assert second.startswith("found: the signer bound nonce 9")


@pytest.mark.parametrize(
    ("sign", "lost"),
    [("signer_nonce", True), ("journal_lost", True), ("journal_replayed", False), ("moved", False)],
)
def test_that_what_was_only_submitted_is_gone_is_said(restored: Town, sign: str, lost: bool) -> None:
    """The signer gives back what it signed, nothing else; "held 0, nothing is open" sounded as if nothing were lost."""
    restored.world.desk.report = {**REPORT, "found": [{"sign": sign, "detail": "x"}]}
    told = restored.call("quarantine", "show").out
    assert ("and not signed is gone: ask those who submit" in told) is lost


def test_the_same_as_json(restored: Town) -> None:
    """For whoever has a script."""
    told = restored.call("quarantine", "show", "--json")
    [row] = json.loads(told.out)["accounts"]
    assert (row["open_nonces"], row["ambiguous"], row["next_nonce"]) == ([8, 9], [7], 10)


def test_it_is_not_resolved_while_something_is_open(restored: Town) -> None:
    """The refusal names all of it."""
    told = restored.call("quarantine", "resolve", "treasury", "--reason", "looked")
    assert told.code != 0
    assert "not in a block yet: the nonces 8 9" in told.err
    assert TREASURY in restored.world.desk.standing


def test_it_is_resolved_when_nothing_is_open(restored: Town) -> None:
    """A person's word, with who and why."""
    done = Standing(
        **{name: getattr(OPEN, name) for name in Standing.__slots__} | {"open": (), "ambiguous": ()}
    )
    restored.world.desk.standing[TREASURY] = done
    shown = restored.call("quarantine", "show")
    assert "treasuryd quarantine resolve treasury --reason" in shown.out
    told = restored.call("quarantine", "resolve", "treasury", "--reason", "compared", "--by", "ada")
    assert told.code == 0
    assert "; next nonce 10." in told.out, "what the store says of it"
    assert restored.world.desk.by[-1].reason == "compared"


def test_a_person_declares_a_restore(restored: Town) -> None:
    """Where nothing shows it."""
    told = restored.call("quarantine", "declare", "--reason", "the machine was rolled back")
    assert told.code == 0
    assert restored.world.desk.by[-1].reason == "the machine was rolled back"


def test_lost_nonces_are_filled(restored: Town) -> None:
    """The signer is told before the store."""
    nothing = restored.call("quarantine", "fill", "treasury", "--reason", "lost")
    assert "every nonce up to 9 is known" in nothing.err
    gap = Standing(**{name: getattr(OPEN, name) for name in Standing.__slots__} | {"unknown": (Nonce(9),)})
    restored.world.desk.standing[TREASURY] = gap
    restored.world.chain.asked = FeeQuote(base_fee=BaseUnits(7), per_byte=1)
    told = restored.call("quarantine", "fill", "treasury", "--reason", "lost")
    assert told.code == 0, told.err
    assert restored.world.signer.to_fill == [(TREASURY, (Nonce(9),))]
    assert [row[:2] for row in restored.world.desk.filled] == [(TREASURY, (Nonce(9),))]


def test_a_signer_imports(restored: Town) -> None:
    """And says how much."""
    restored.world.signer.forgot.add(TREASURY)
    told = restored.call("signer", "import", "treasury", "--reason", "the disk died")
    assert told.code == 0, told.err
    assert "the signer knows 0 signed transactions of treasury again" in told.out
    assert not restored.world.signer.forgot


def test_exceptions_of_an_import_are_named(restored: Town) -> None:
    """Nonces beyond the signer's policy and keys of before reach it as said, and the log tells them as a warning."""
    old = "ab" * 32
    told = restored.call(
        *("signer", "import", "treasury", "--reason", "the limit was lowered"),
        *("--beyond-policy", 7, "--beyond-policy", 9, "--old-key", old),
    )
    assert told.code == 0, told.err
    assert restored.world.signer.excepted == ((Nonce(7), Nonce(9)), (bytes.fromhex(old),))
    event = restored.world.observer.events[-1]
    assert (event.kind, event.severity) == (EventKind.SIGNER_IMPORTED, Severity.WARNING)
    assert f"the limit was lowered; beyond policy, nonces 7 9; under old keys {old}" in event.detail
    refused = restored.call("signer", "import", "treasury", "--reason", "x", "--old-key", "AB" * 32)
    assert refused.code == 2
    assert "'--old-key': a public key has 64 digits 0-9 a-f" in refused.err


def test_another_store_is_given_up_by_a_flag(restored: Town) -> None:
    """Two stores went on under one signer: `show` names the command, and the signer is told before the store."""
    two = Dispute(intent_id=IntentId(3), nonce=Nonce(8), item=None, detail="nonce 8 is two things")
    desk, signer = restored.world.desk, restored.world.signer
    desk.standing[TREASURY] = replace(
        OPEN, open=(), ambiguous=(), contradictions=(two,), consumed=Nonce(9), burned=Nonce(8)
    )
    give_up = ("quarantine", "resolve", "treasury", "--give-up", "--reason", "lost")
    named = "treasuryd quarantine resolve treasury --give-up"
    assert named in restored.call("quarantine", "show").out
    assert named in restored.call("quarantine", "resolve", "treasury", "--reason", "lost").err
    open_ = desk.standing[TREASURY]
    desk.standing[TREASURY] = replace(open_, burned=Nonce(7))
    assert "nonce 8 is not final on the chain yet" in restored.call(*give_up).err
    assert signer.confirmed == []
    desk.standing[TREASURY] = open_
    assert restored.call(*give_up).code == 0
    assert signer.confirmed == [two.intent_id]


def test_bindings_are_given_up_in_quarantine_alone(town: Town) -> None:
    """Where every item is held; else a second payment could be signed."""
    told = town.call("signer", "import", "treasury", "--reason", "lost", "--give-up")
    assert told.code != 0
    assert "given up in quarantine alone" in told.err
