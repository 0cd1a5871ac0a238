"""What development adds: generated houses and sample batches."""

import json
from pathlib import Path

import pytest
from tests.fakes import FakeWorld, disbursement

from treasuryd.core.model import House, HouseName, Rules
from treasuryd.core.proposals import signature_valid, vote_message
from treasuryd.errors import Rejected
from treasuryd.main.development import KEYS_PER_HOUSE, submit_all, voters, with_houses

SECRET = b"a secret of development"


def test_keys_are_generated_once_and_read_again(tmp_path: Path) -> None:
    """A second start votes with the same keys, which nobody but the owner can read."""
    first = voters(tmp_path / "houses", SECRET)
    again = voters(tmp_path / "houses", SECRET)
    assert [voter.public for voter in first] == [voter.public for voter in again]
    assert len(HouseName) * KEYS_PER_HOUSE == len({voter.public for voter in first})
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "houses").iterdir()}


def test_a_generated_vote_is_a_genuine_one(tmp_path: Path) -> None:
    """It passes the same verification as everybody's."""
    voter = voters(tmp_path, SECRET)[0]
    item = disbursement(5)
    signed = voter.vote(item, chain_id=1, counter=3)
    message = vote_message(
        chain_id=1,
        disbursement_id=item.id,
        digest=item.payload_digest,
        counter=3,
        decision=signed.decision,
    )
    assert signature_valid(message, signed.key, signed.signature)


def test_configured_houses_are_never_filled(tmp_path: Path) -> None:
    """Generated keys stand in only where the configuration names none."""
    electorate = voters(tmp_path, SECRET)
    own = House(name=HouseName.OPERATORS, keys={"ab" * 32: 1})
    rules = with_houses(Rules(houses={HouseName.OPERATORS: own}), electorate)
    assert own == rules.houses[HouseName.OPERATORS]
    assert rules.houses[HouseName.BUILDERS].weight == KEYS_PER_HOUSE


async def test_a_folder_of_batches_is_submitted_in_the_order_of_names(tmp_path: Path) -> None:
    """A later batch may name ids of an earlier one, and the same folder again submits nothing new."""
    for name, memo in (("2.json", "depends_on=1"), ("1.json", "first")):
        item = {"destination": "tb1a", "amount": 5, "memo": memo, "scheduled_epoch": 1}
        (tmp_path / name).write_text(json.dumps({"items": [item]}))
    office = FakeWorld().office()
    ids = await submit_all(office, tmp_path)
    assert ids == [1, 2]
    assert [item.memo for item in await office.world.desk.get(ids) if item] == ["first", "depends_on=1"]
    assert ids == await submit_all(office, tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param("[]", "an object with", id="no object"),
        pytest.param('{"items": 5}', "an object with", id="no list"),
        pytest.param('{"items": [], "items": []}', "twice", id="a key twice"),
        pytest.param('{"items": [{"amount": 1}]}', "destination", id="a field is missing"),
    ],
)
async def test_a_bad_batch_is_refused_with_its_reason(tmp_path: Path, content: str, complaint: str) -> None:
    """The sample goes through the same gate as everybody."""
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(Rejected, match=complaint):
        await submit_all(FakeWorld().office(), tmp_path / "bad.json")


async def test_a_missing_batch_names_the_file(tmp_path: Path) -> None:
    """Neither a missing file nor an empty folder is silently nothing."""
    with pytest.raises(Rejected, match=r"nowhere\.json"):
        await submit_all(FakeWorld().office(), tmp_path / "nowhere.json")
    with pytest.raises(Rejected, match=r"no \*.json"):
        await submit_all(FakeWorld().office(), tmp_path)
