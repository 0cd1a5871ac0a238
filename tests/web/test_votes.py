"""Votes over HTTP, signed with real keys."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.fakes import HEALTHY, FakeWorld, disbursement
from tests.web.conftest import Open, Site

from treasuryd.core.model import (
    Decision,
    Disbursement,
    Epoch,
    House,
    HouseName,
    Ppm,
    Proposal,
    Rules,
    Status,
)
from treasuryd.core.proposals import vote_message, weights

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
RETIRED = "ab" * 32
RULES = Rules(
    houses={
        HouseName.OPERATORS: House(
            name=HouseName.OPERATORS, keys={PUBLIC: 1, RETIRED: 1}, retired=frozenset({RETIRED})
        )
    }
)
PROPOSAL = Proposal(title="t", summary="s", operators_ppm=Ppm(600_000))
PATH = "/treasury/disbursements/1/votes"


def voting(**changes: Any) -> Disbursement:
    base = {
        "status": Status.VOTING,
        "proposal": PROPOSAL,
        "vote_deadline_epoch": Epoch(12),
        "weights": weights(RULES),
    }
    return disbursement(1, **{**base, **changes})


def signed(
    item: Disbursement, *, counter: int = 0, decision: str = "approve", chain_id: int = 1
) -> dict[str, Any]:
    message = vote_message(
        chain_id=chain_id,
        disbursement_id=item.id,
        digest=item.payload_digest,
        counter=counter,
        decision=Decision(decision),
    )
    return {
        "house": "operators",
        "key": PUBLIC,
        "counter": counter,
        "decision": decision,
        "signature": KEY.sign(message).hex(),
    }


@pytest.fixture
async def ballot_box(open_site: Open) -> Site:
    found: Site = await open_site(FakeWorld(rules=RULES))
    found.world.desk.put(voting())
    return found


async def test_a_good_vote_is_taken_and_counted(ballot_box: Site) -> None:
    """The answer shows how each house stands."""
    answer = await ballot_box.post(PATH, signed(voting()))
    houses = {row["house"]: row for row in answer.json()["houses"]}
    assert answer.status == 201
    assert (houses["operators"]["approving"], houses["operators"]["weight"]) == (1, 1)
    assert houses["operators"]["quorum_ppm"] == 600_000
    assert houses["operators"]["met"] is True
    assert houses["builders"]["met"] is False
    assert answer.json()["chain_id"] == 1


async def test_an_old_vote_cannot_be_posted_again_over_a_newer_one(ballot_box: Site) -> None:
    """The counter only grows."""
    old, new = signed(voting(), counter=0), signed(voting(), counter=1, decision="reject")
    assert [(await ballot_box.post(PATH, body)).status for body in (old, new, old)] == [201, 201, 409]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        pytest.param({"signature": "00" * 64}, 403, "signature", id="a wrong signature"),
        pytest.param({"counter": 1}, 403, "signature", id="another counter than was signed"),
        pytest.param({"decision": "reject"}, 403, "signature", id="another decision than was signed"),
        pytest.param({"key": "cd" * 32}, 403, "key", id="a stranger's key"),
        pytest.param({"key": RETIRED}, 403, "key", id="a retired key"),
        pytest.param({"house": "builders"}, 403, "key", id="a key of the other house"),
        pytest.param({"house": "lords"}, 400, "house", id="no such house"),
        pytest.param({"key": "xyz"}, 400, "key", id="no hex"),
        pytest.param({"signature": "00"}, 400, "signature", id="too short"),
        pytest.param({"counter": -1}, 400, "counter", id="a negative counter"),
        pytest.param({"counter": True}, 400, "counter", id="a boolean counter"),
        pytest.param({"counter": 2**32}, 400, "counter", id="more than a u32"),
        pytest.param({"decision": True}, 400, "decision", id="a boolean decision"),
        pytest.param({"weight": 5}, 400, "weight", id="an unknown field"),
        pytest.param({"signature": None}, 400, "signature", id="nothing signed"),
    ],
)
async def test_a_bad_vote_is_refused_by_name(
    ballot_box: Site, change: dict[str, Any], status: int, field: str
) -> None:
    """And is not stored."""
    answer = await ballot_box.post(PATH, {**signed(voting()), **change})
    assert (answer.status, answer.error["field"]) == (status, field)
    assert ballot_box.world.desk.taken == {}


async def test_a_vote_for_another_chain_or_payment_is_worthless(ballot_box: Site) -> None:
    """Chain id, id and digest are under the signature."""
    assert (await ballot_box.post(PATH, signed(voting(), chain_id=2))).status == 403
    assert (await ballot_box.post(PATH, signed(voting(memo="another")))).status == 403


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.VOTING])
async def test_votes_are_taken_while_it_is_voting(ballot_box: Site, status: Status) -> None:
    """Neither before nor after."""
    ballot_box.world.desk.put(voting(status=status))
    assert (await ballot_box.post(PATH, signed(voting()))).status == 409


async def test_the_epoch_that_counts_is_the_chains(ballot_box: Site) -> None:
    """D21: a vote is late by the seen epoch, whatever the sender believes; and not taken under a stale head."""
    at = ballot_box.world.engine.at
    assert at is not None
    ballot_box.world.engine.at = replace(at, seen=Epoch(12))
    assert (await ballot_box.post(PATH, signed(voting()))).status == 409
    ballot_box.world.engine.at = at
    ballot_box.world.engine.state = replace(HEALTHY, chain_age_seconds=121.0)
    assert (await ballot_box.post(PATH, signed(voting()))).status == 503
    ballot_box.world.engine.at = None
    assert (await ballot_box.post(PATH, signed(voting()))).status == 503
    assert ballot_box.world.desk.taken == {}


async def test_an_open_vote_is_explained_with_its_count(ballot_box: Site) -> None:
    """How each house stands, and until when it is open."""
    await ballot_box.post(PATH, signed(voting()))
    sentence = (await ballot_box.get("/treasury/disbursements/1/explain")).json()["sentence"]
    assert "open until the settled epoch reaches 12" in sentence
    assert "operators 1 of 1 in favour" in sentence
