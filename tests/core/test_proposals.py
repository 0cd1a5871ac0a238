from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
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
    Vote,
)
from treasuryd.core.proposals import (
    Count,
    approved,
    check_vote,
    count,
    remembering,
    required_ppm,
    signature_valid,
    vote_message,
    weights,
    windows,
)
from treasuryd.errors import Refusal, Rejected

CHAIN = 7
APPROVE, REJECT = Decision.APPROVE, Decision.REJECT
OPERATORS, BUILDERS = HouseName.OPERATORS, HouseName.BUILDERS


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public(number: int) -> str:
    return private(number).public_key().public_bytes_raw().hex()


def house(name: HouseName, numbers: Iterable[int], **more: Any) -> House:
    return House(name=name, keys={public(number): 1 for number in numbers}, **more)


def rules_of(operators: House, builders: House, **more: Any) -> Rules:
    return Rules(houses={OPERATORS: operators, BUILDERS: builders}, **more)


# keys 1 to 4 are the operators', 11 and 12 the builders'
RULES = rules_of(house(OPERATORS, range(1, 5)), house(BUILDERS, (11, 12)))

ITEM = Disbursement(
    id=DisbursementId(42),
    account=AccountId("treasury"),
    destination=Address("tb1dest"),
    amount=BaseUnits(1_000),
    memo="",
    scheduled_epoch=Epoch(1),
    proposal=Proposal(title="grant", summary="", operators_ppm=Ppm(0), builders_ppm=Ppm(0)),
    payload_digest=Digest("ab" * 32),
    status=Status.VOTING,
    vote_deadline_epoch=Epoch(10),
    weights={OPERATORS: 4, BUILDERS: 2},
)


def vote(number: int, decision: Decision = APPROVE, *, counter: int = 0, **changes: Any) -> Vote:
    """Sign with key `number`, then change fields of the row, as somebody with the database in hand could."""
    message = vote_message(
        chain_id=CHAIN,
        disbursement_id=ITEM.id,
        digest=ITEM.payload_digest,
        counter=counter,
        decision=decision,
    )
    given_vote = Vote(
        disbursement_id=ITEM.id,
        house=OPERATORS if number < 10 else BUILDERS,
        key=public(number),
        counter=counter,
        decision=decision,
        signature=private(number).sign(message).hex(),
        seen_epoch=Epoch(9),
    )
    return replace(given_vote, **changes)


def counts_of(*votes: Vote, item: Disbursement = ITEM, rules: Rules = RULES) -> Mapping[HouseName, Count]:
    return count(item, votes, rules, chain_id=CHAIN)


def is_approved(*votes: Vote, item: Disbursement = ITEM, rules: Rules = RULES) -> bool:
    return approved(item, votes, rules, chain_id=CHAIN)


ENOUGH = (vote(1), vote(2), vote(11))

# --- what is signed -------------------------------------------------------------------------------------------------


def test_the_message_is_byte_for_byte_that_of_the_interface() -> None:
    """interfaces.md §2: domain, chain id u32 LE, id u64 LE, digest, counter u32 LE, decision."""
    message = vote_message(
        chain_id=0x01020304,
        disbursement_id=DisbursementId(0x1122334455667788),
        digest=Digest("00" * 31 + "ff"),
        counter=0xA0B0C0D0,
        decision=APPROVE,
    )
    expected = (
        b"treasuryd/vote/1\x00"
        + bytes.fromhex("04030201")
        + bytes.fromhex("8877665544332211")
        + bytes(31)
        + b"\xff"
        + bytes.fromhex("d0c0b0a0")
        + b"\x01"
    )
    assert expected == message


def test_a_rejection_ends_in_zero() -> None:
    """Decision byte: 1 approve, 0 reject."""
    message = vote_message(
        chain_id=1,
        disbursement_id=DisbursementId(1),
        digest=ITEM.payload_digest,
        counter=0,
        decision=REJECT,
    )
    assert message[-1:] == b"\x00"
    assert len(message) == 17 + 4 + 8 + 32 + 4 + 1


@pytest.mark.parametrize("counter", [-1, 2**32])
def test_a_counter_out_of_range_is_refused(counter: int) -> None:
    """It has four bytes."""
    with pytest.raises(Rejected, match="counter"):
        vote_message(
            chain_id=1,
            disbursement_id=ITEM.id,
            digest=ITEM.payload_digest,
            counter=counter,
            decision=APPROVE,
        )


@pytest.mark.parametrize("digest", ["", "ab" * 31, "zz" * 32])
def test_a_broken_digest_makes_no_message(digest: str) -> None:
    """Nobody signs half a digest."""
    with pytest.raises(ValueError, match=r"digest|hex"):
        vote_message(chain_id=1, disbursement_id=ITEM.id, digest=Digest(digest), counter=0, decision=APPROVE)


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("zz" * 32, "00" * 64, id="key is no hex"),
        pytest.param(public(1), "zz" * 64, id="signature is no hex"),
        pytest.param(public(1), "00" * 63, id="signature too short"),
        pytest.param(public(1) + "00", "00" * 64, id="key too long"),
        pytest.param("ff" * 32, "00" * 64, id="key is no point"),
        pytest.param(public(1)[:-1] + " ", "00" * 64, id="blank in the key"),
        pytest.param(public(1), "00" * 64, id="simply wrong"),
    ],
)
def test_a_malformed_signature_is_not_valid_and_raises_nothing(key: str, signature: str) -> None:
    """One bad row never stops another."""
    assert not signature_valid(b"message", key, signature)


# --- which votes count ------------------------------------------------------------------------------------------------


def test_a_quorum_in_each_house_approves() -> None:
    """D21: two of four and one of two, at half of each house's weight."""
    assert is_approved(*ENOUGH)
    assert counts_of(*ENOUGH)[OPERATORS] == Count(
        approving=2, rejecting=0, total=4, required_ppm=Ppm(500_000)
    )


@pytest.mark.parametrize("missing", range(3))
def test_one_vote_less_in_either_house_does_not(missing: int) -> None:
    """D21: no vote or quorum was ever read by the original."""
    assert not is_approved(*(one for number, one in enumerate(ENOUGH) if number != missing))


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(vote(2, signature="00" * 64), id="no signature at all"),
        pytest.param(replace(vote(2), decision=REJECT), id="turned to rejection"),
        pytest.param(replace(vote(2, REJECT), decision=APPROVE), id="a rejection turned to approval"),
        pytest.param(replace(vote(2), counter=1), id="another counter"),
        pytest.param(replace(vote(1), key=public(2)), id="another's signature"),
        pytest.param(vote(2, disbursement_id=DisbursementId(43)), id="of another disbursement"),
        pytest.param(vote(2, seen_epoch=Epoch(10)), id="taken at the deadline"),
        pytest.param(replace(vote(5), house=OPERATORS), id="a key of nobody"),
        pytest.param(replace(vote(11), house=OPERATORS), id="a builder among the operators"),
        pytest.param(vote(1), id="the same key once more"),
        pytest.param(replace(vote(2), counter=2**32), id="a counter that cannot be"),
        pytest.param(replace(vote(2), counter=-1), id="a counter below zero"),
    ],
)
def test_a_row_written_by_hand_approves_nothing(forged: Vote) -> None:
    """§2: before staging the votes are recounted from the stored signatures."""
    assert not is_approved(vote(1), vote(11), forged)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"id": DisbursementId(43)}, id="another id with the same content"),
        pytest.param({"payload_digest": Digest("cd" * 32)}, id="other content under the same id"),
        pytest.param({"payload_digest": Digest("")}, id="no digest"),
        pytest.param({"id": DisbursementId(2**64)}, id="an id that cannot be"),
        pytest.param({"vote_deadline_epoch": None}, id="a vote that never opened"),
        pytest.param({"weights": None}, id="weights that were never fixed"),
    ],
)
def test_votes_are_worthless_for_anything_else(change: dict[str, Any]) -> None:
    """The id and the digest are signed, so approval cannot be carried over."""
    votes = [replace(one, disbursement_id=change.get("id", ITEM.id)) for one in ENOUGH]
    assert not is_approved(*votes, item=replace(ITEM, **change))


def test_votes_of_another_chain_are_worthless() -> None:
    """The chain id is signed."""
    assert not approved(ITEM, ENOUGH, RULES, chain_id=CHAIN + 1)


def test_the_highest_counter_of_a_key_counts() -> None:
    """Whoever changes his mind votes with the next counter, in whatever order the rows come."""
    changed = [vote(2), vote(2, REJECT, counter=1)]
    assert not is_approved(vote(1), vote(11), *changed)
    assert not is_approved(vote(1), vote(11), *reversed(changed))
    assert is_approved(vote(1), vote(11), *changed, vote(2, APPROVE, counter=2))
    assert counts_of(*changed)[OPERATORS].rejecting == 1


def test_a_forged_higher_counter_does_not_silence_the_genuine_vote() -> None:
    """The highest counter of the good ones."""
    assert is_approved(*ENOUGH, replace(vote(2, REJECT, counter=5), signature="00" * 64))


def test_of_two_good_votes_with_one_counter_the_rejection_counts() -> None:
    """Its owner contradicts himself: nothing is paid on that."""
    assert not is_approved(*ENOUGH, vote(2, REJECT))
    assert not is_approved(vote(2, REJECT), *ENOUGH)


def test_a_later_vote_after_the_deadline_leaves_the_earlier_one() -> None:
    """A late rejection revokes nothing, just as a late approval brings nothing."""
    assert is_approved(*ENOUGH, vote(2, REJECT, counter=1, seen_epoch=Epoch(10)))


def test_a_retired_keys_stored_votes_count() -> None:
    """§2: old votes count, new ones do not."""
    retiring = rules_of(house(OPERATORS, range(1, 5), retired=frozenset({public(2)})), RULES.houses[BUILDERS])
    assert is_approved(*ENOUGH, rules=retiring)


def test_a_key_taken_out_of_the_configuration_counts_no_more() -> None:
    """The recount is with the keys of the configuration: hold `approval_lost`."""
    smaller = rules_of(house(OPERATORS, (1, 3, 4)), RULES.houses[BUILDERS])
    assert not is_approved(*ENOUGH, rules=smaller)


def test_a_weight_made_smaller_by_hand_makes_no_minority_a_quorum() -> None:
    """interfaces.md §2: a row written into the database by hand approves nothing; today's keys weigh at least as much."""
    honest = count(ITEM, (), RULES, chain_id=1)
    tampered = replace(ITEM, weights={OPERATORS: 1, BUILDERS: 1})
    assert count(tampered, (), RULES, chain_id=1) == honest


def test_weights_are_those_fixed_when_the_vote_opened() -> None:
    """A house that shrinks afterwards makes no majority of a minority."""
    smaller = rules_of(house(OPERATORS, (1,)), RULES.houses[BUILDERS])
    assert not is_approved(vote(1), vote(11), rules=smaller)
    assert counts_of(vote(1), rules=smaller)[OPERATORS].total == 4


def test_a_heavier_key_weighs_more() -> None:
    """Weights default to 1."""
    heavy = House(name=OPERATORS, keys={public(1): 3, public(2): 1})
    rules = rules_of(heavy, RULES.houses[BUILDERS])
    assert weights(rules) == {OPERATORS: 4, BUILDERS: 2}
    assert is_approved(vote(1), vote(11), rules=rules)
    assert not is_approved(vote(2), vote(11), rules=rules)


def test_a_retired_key_weighs_nothing_in_a_new_vote() -> None:
    """It could never approve again, so it must not count against the others."""
    rules = rules_of(house(OPERATORS, (1, 2), retired=frozenset({public(1)})), RULES.houses[BUILDERS])
    assert weights(rules)[OPERATORS] == 1


# --- quorum and windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approving", "total", "required", "expected"),
    [
        pytest.param(1, 2, 500_000, True, id="exactly"),
        pytest.param(1, 3, 333_333, True, id="a third is above 333,333 ppm"),
        pytest.param(1, 3, 333_334, False, id="and below 333,334"),
        pytest.param(2, 3, 666_667, False, id="nothing is rounded up"),
        pytest.param(3, 3, 1_000_000, True, id="all"),
        pytest.param(0, 0, 1, False, id="an empty house meets none above 0"),
        pytest.param(0, 0, 0, True, id="but it meets 0"),
        pytest.param(0, 5, 0, True, id="0 is met by nobody"),
    ],
)
def test_a_quorum_is_met_in_whole_numbers(approving: int, total: int, required: int, expected: bool) -> None:
    """Ppm of the fixed weight, without a float in between."""
    house_count = Count(approving=approving, rejecting=0, total=total, required_ppm=Ppm(required))
    assert house_count.met is expected


@pytest.mark.parametrize(
    ("own", "minimum", "expected"), [(0, 500_000, 500_000), (700_000, 500_000, 700_000), (1, 0, 1)]
)
def test_the_required_quorum_is_the_larger_one(own: int, minimum: int, expected: int) -> None:
    """A proposal may ask for more than the configuration, never for less."""
    rules = rules_of(
        House(name=OPERATORS, min_quorum_ppm=Ppm(minimum)), House(name=BUILDERS, min_quorum_ppm=Ppm(minimum))
    )
    proposal = Proposal(title="", summary="", operators_ppm=Ppm(own), builders_ppm=Ppm(own))
    assert [required_ppm(name, proposal, rules) for name in HouseName] == [expected, expected]


def test_the_two_houses_have_quorums_of_their_own() -> None:
    """The operators' number is not the builders'."""
    proposal = Proposal(title="", summary="", operators_ppm=Ppm(600_000), builders_ppm=Ppm(900_000))
    assert required_ppm(OPERATORS, proposal, RULES) == 600_000
    assert required_ppm(BUILDERS, proposal, RULES) == 900_000
    assert required_ppm(BUILDERS, None, RULES) == 500_000


def test_what_nobody_has_to_approve_is_not_approved() -> None:
    """D20: all quorums at 0 would execute a proposal without any vote."""
    lax = rules_of(
        replace(RULES.houses[OPERATORS], min_quorum_ppm=Ppm(0)),
        replace(RULES.houses[BUILDERS], min_quorum_ppm=Ppm(0)),
    )
    assert not is_approved(rules=lax)
    assert not is_approved(*ENOUGH, rules=lax)


def test_houses_that_nobody_configured_approve_nothing() -> None:
    """D20: no proposal is ever executable by default."""
    assert not is_approved(*ENOUGH, rules=Rules())


@pytest.mark.parametrize("allowed", [True, False])
def test_without_a_proposal_the_policy_decides(allowed: bool) -> None:
    """§2: treasury-initiated payments, where policy allows them."""
    rules = replace(RULES, allow_treasury_initiated=allowed)
    assert is_approved(item=replace(ITEM, proposal=None), rules=rules) is allowed


def test_a_policy_for_items_without_proposal_says_nothing_about_those_with_one() -> None:
    """A proposal must be voted on, whatever else may be paid."""
    assert not is_approved(rules=replace(RULES, allow_treasury_initiated=True))


@pytest.mark.parametrize(("own", "expected"), [((9, 8, 7), (9, 8, 7)), ((0, 0, 0), (4, 2, 1))])
def test_windows_are_the_larger_of_the_proposals_and_the_minimum(
    own: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    """interfaces.md §4: 4, 2 and 1 epochs at least."""
    proposal = Proposal(
        title="", summary="", vote_window_epochs=own[0], timelock_epochs=own[1], rollback_window_epochs=own[2]
    )
    found = windows(proposal, RULES)
    assert (found.vote, found.timelock, found.rollback) == expected


def test_without_a_proposal_the_minimum_windows_hold() -> None:
    """The rollback window applies to treasury-initiated payments too."""
    assert windows(None, replace(RULES, min_rollback_window_epochs=3)).rollback == 3


# --- at intake --------------------------------------------------------------------------------------------------------


def taken(
    one: Vote, *, item: Disbursement = ITEM, rules: Rules = RULES, seen: int = 9, age: float = 1.0
) -> None:
    check_vote(one, item, rules, chain_id=CHAIN, seen=Epoch(seen), head_age_seconds=age)


def test_a_good_vote_is_taken() -> None:
    """In the last epoch before the deadline, from a fresh head."""
    taken(vote(1))
    taken(vote(12, REJECT, counter=2**32 - 1), age=RULES.head_max_age_seconds)


@pytest.mark.parametrize(
    ("one", "more", "kind", "named"),
    [
        pytest.param(vote(1), {"seen": 10}, Refusal.CONFLICT, "closed", id="the deadline is reached"),
        pytest.param(vote(1), {"age": 120.1}, Refusal.UNAVAILABLE, "last moved", id="the head is old"),
        pytest.param(
            vote(1),
            {"item": replace(ITEM, status=Status.QUEUED)},
            Refusal.CONFLICT,
            "queued",
            id="not voting",
        ),
        pytest.param(
            vote(1),
            {"item": replace(ITEM, vote_deadline_epoch=None)},
            Refusal.CONFLICT,
            "voting",
            id="never opened",
        ),
        pytest.param(vote(5, house=OPERATORS), {}, Refusal.FORBIDDEN, "no key of", id="an unknown key"),
        pytest.param(vote(1, house=BUILDERS), {}, Refusal.FORBIDDEN, "no key of", id="the other house"),
        pytest.param(vote(1, signature="00" * 64), {}, Refusal.FORBIDDEN, "signature", id="a bad signature"),
        pytest.param(replace(vote(1), counter=2**32), {}, Refusal.FORBIDDEN, "signature", id="a bad counter"),
        pytest.param(
            vote(1),
            {"rules": rules_of(house(OPERATORS, (1,), retired=frozenset({public(1)})), house(BUILDERS, ()))},
            Refusal.FORBIDDEN,
            "retired",
            id="a retired key",
        ),
    ],
)
def test_a_vote_that_cannot_count_is_refused_with_its_reason(
    one: Vote, more: dict[str, Any], kind: Refusal, named: str
) -> None:
    """§2: a vote counts only if taken while the seen epoch, from a fresh head, was below the deadline."""
    with pytest.raises(Rejected, match=named) as caught:
        taken(one, **more)
    assert caught.value.kind is kind


# --- remembering what was verified --------------------------------------------------------------------------------------


def test_a_remembered_signature_is_verified_once() -> None:
    """The recount of every tick costs a look-up, not a tenth of a millisecond per vote."""
    verify = remembering(100)
    for _ in range(5):
        assert approved(ITEM, ENOUGH, RULES, chain_id=CHAIN, verify=verify)
    assert getattr(verify, "cache_info")().misses == 3  # noqa: B009  (only the cache has it)


def test_what_is_remembered_is_good_for_nothing_else() -> None:
    """The key of the memory is all of message, key and signature."""
    verify = remembering(100)
    assert approved(ITEM, ENOUGH, RULES, chain_id=CHAIN, verify=verify)
    assert not approved(ITEM, ENOUGH, RULES, chain_id=CHAIN + 1, verify=verify)
    turned = [replace(one, decision=REJECT) for one in ENOUGH]
    assert count(ITEM, turned, RULES, chain_id=CHAIN, verify=verify)[OPERATORS].rejecting == 0


def test_the_memory_is_bounded() -> None:
    """Two places, three votes."""
    verify = remembering(2)
    assert approved(ITEM, ENOUGH, RULES, chain_id=CHAIN, verify=verify)
    assert getattr(verify, "cache_info")().currsize == 2  # noqa: B009  (only the cache has it)


# --- against an independent count ---------------------------------------------------------------------------------------

POOL = {
    (number, decision, counter, genuine, epoch): (
        vote(number, decision, counter=counter, seen_epoch=Epoch(epoch))
        if genuine
        else vote(number, decision, counter=counter, seen_epoch=Epoch(epoch), signature="11" * 64)
    )
    for number in (1, 2, 3, 11, 12)
    for decision in Decision
    for counter in range(3)
    for genuine in (True, False)
    for epoch in (8, 10)
}
VERIFY = remembering(10_000)


@settings(max_examples=300, deadline=None)
@given(chosen=st.lists(st.sampled_from(sorted(POOL)), max_size=12))
def test_the_count_is_that_of_a_clerk_with_pencil_and_paper(
    chosen: list[tuple[int, Decision, int, bool, int]],
) -> None:
    """For each key: strike out what is forged or late, take the highest counter, a rejection before an approval."""
    expected = {OPERATORS: 0, BUILDERS: 0}
    for number in (1, 2, 3, 11, 12):
        good = [
            (counter, word)
            for key, word, counter, real, epoch in chosen
            if key == number and real and epoch < 10
        ]
        highest = max((counter for counter, _ in good), default=None)
        words = {word for counter, word in good if counter == highest}
        if words == {APPROVE}:
            expected[OPERATORS if number < 10 else BUILDERS] += 1
    found = count(ITEM, [POOL[key] for key in chosen], RULES, chain_id=CHAIN, verify=VERIFY)
    assert {name: one.approving for name, one in found.items()} == expected
    assert approved(ITEM, [POOL[key] for key in chosen], RULES, chain_id=CHAIN, verify=VERIFY) == (
        expected[OPERATORS] >= 2 and expected[BUILDERS] >= 1
    )
