"""`treasuryd vote`: what is shown is what is signed."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Town
from tests.fakes import FakeWorld, disbursement

from treasuryd.core.model import (
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    House,
    HouseName,
    Ppm,
    Proposal,
    Rules,
    Status,
)
from treasuryd.core.proposals import vote_message, weights
from treasuryd.signer import keys


@pytest.fixture
def key(tmp_path: Path) -> keys.Key:
    return keys.generate(tmp_path / "ann.key", keys.make_secret(tmp_path / "credential"))


@pytest.fixture
def world(key: keys.Key) -> FakeWorld:
    """One operator, one item that is voted on."""
    house = House(name=HouseName.OPERATORS, keys={key.public.hex(): 1})
    found = FakeWorld(rules=Rules(houses={HouseName.OPERATORS: house}))
    found.desk.put(voting(found.rules))
    return found


def voting(rules: Rules) -> Disbursement:
    return disbursement(
        1,
        status=Status.VOTING,
        proposal=Proposal(title="Audit of meters", summary="An outside audit.", operators_ppm=Ppm(1)),
        vote_deadline_epoch=Epoch(12),
        weights=weights(rules),
    )


def vote(town: Town, folder: Path, *more: object) -> tuple[int, str, str]:
    said = town.call("vote", 1, "--house", "operators", "--key-file", folder / "ann.key", "--yes", *more)
    return said.code, said.out, said.err


def test_a_key_without_a_credential_beside_it_asks_for_the_flag(
    town: Town, tmp_path: Path, key: keys.Key
) -> None:
    """The house keys of development lie in another folder than their credential."""
    elsewhere = (tmp_path / "credential").rename(tmp_path / "elsewhere")
    code, _, err = vote(town, tmp_path, "--approve")
    assert code != 0
    assert "credential: no such file" in err
    assert "--credential" in err
    assert ".state/signer/credential" in err
    assert vote(town, tmp_path, "--approve", "--credential", elsewhere)[0] == 0


def test_a_vote_is_shown_signed_and_taken(town: Town, tmp_path: Path, key: keys.Key) -> None:
    """Amount, payee, title and digest stand on the screen; the server finds the signature good."""
    code, out, _ = vote(town, tmp_path, "--approve")
    (taken,) = town.world.desk.taken[DisbursementId(1)]
    assert code == 0
    for word in (
        "1000 base units",
        "tb1qqq",
        "Audit of meters",
        town.world.desk.items[DisbursementId(1)].payload_digest,
    ):
        assert word in out
    assert (taken.key, taken.counter, taken.decision) == (key.public.hex(), 0, Decision.APPROVE)


def test_a_changed_mind_raises_the_counter(town: Town, tmp_path: Path) -> None:
    """One above the last vote of this key."""
    vote(town, tmp_path, "--approve")
    vote(town, tmp_path, "--reject")
    assert [(one.counter, one.decision) for one in town.world.desk.taken[DisbursementId(1)]] == [
        (0, Decision.APPROVE),
        (1, Decision.REJECT),
    ]


def test_a_daemon_that_shows_one_thing_and_has_another_signed_is_found_out(
    town: Town, tmp_path: Path
) -> None:
    """The digest is computed from what is shown; nothing is signed."""
    item = town.world.desk.items[DisbursementId(1)]
    town.world.desk.put(replace(item, payload_digest=Digest("ef" * 32)))
    code, _, err = vote(town, tmp_path, "--approve")
    assert (code, "Nothing was signed" in err) == (77, True)
    assert town.world.desk.taken == {}


def test_without_a_yes_nothing_is_signed(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person is asked, and no answer is no."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    said = town.call("vote", 1, "--house", "operators", "--approve", "--key-file", tmp_path / "ann.key")
    assert said.code == 130
    assert town.world.desk.taken == {}


def test_offline_prints_the_message_and_takes_the_signature(
    town: Town, key: keys.Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key stays on another machine."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    start = ("vote", 1, "--house", "operators", "--approve", "--offline", "--public-key", key.public.hex())
    printed = town.call(*start)
    item = town.world.desk.items[DisbursementId(1)]
    message = vote_message(
        chain_id=1,
        disbursement_id=item.id,
        digest=item.payload_digest,
        counter=0,
        decision=Decision.APPROVE,
    )
    assert (printed.code, message.hex() in printed.out) == (0, True)
    assert town.world.desk.taken == {}
    assert town.call(*start, "--signature", key.sign(message).hex()).code == 0
    assert len(town.world.desk.taken[DisbursementId(1)]) == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--house", "operators", "--key-file", "x"],
        ["--house", "operators", "--approve"],
        ["--house", "operators", "--approve", "--offline"],
        ["--house", "lords", "--approve", "--key-file", "x"],
    ],
)
def test_half_a_vote_is_a_usage_error(town: Town, options: list[str]) -> None:
    """Decision, key and house are all needed."""
    assert town.call("vote", 1, *options).code == 2


def test_a_key_that_others_can_read_is_refused(town: Town, tmp_path: Path) -> None:
    """Exit code 77, as for every permission."""
    (tmp_path / "ann.key").chmod(0o644)
    code, _, err = vote(town, tmp_path, "--approve")
    assert (code, "0644" in err) == (77, True)


def test_a_strangers_key_is_refused_by_the_daemon(town: Town, tmp_path: Path) -> None:
    """77, with the key named."""
    keys.generate(tmp_path / "eve.key", keys.read_secret(tmp_path / "credential"))
    said = town.call(
        "vote", 1, "--house", "operators", "--approve", "--yes", "--key-file", tmp_path / "eve.key"
    )
    assert (said.code, "no key of the house" in said.err) == (77, True)
