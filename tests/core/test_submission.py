from dataclasses import replace

import pytest
from tests.core.chainlab import CANCEL, FEE, RULES, intent, variant

from treasuryd.core import fees, submission
from treasuryd.core.changes import Sent
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    BaseUnits,
    DisbursementId,
    Endpoint,
    Intent,
    Meaning,
    Reply,
    TxHash,
    UnixSeconds,
)

NODE = Endpoint("node-a")
AT = UnixSeconds(1_000.0)


def sent(
    *, meaning: Meaning | None = Meaning.ACCEPTED, at: float = 0.0, pooled: bool = True, variants: int = 1
) -> Intent:
    one = intent(1, fees=range(FEE, FEE + variants))
    last = replace(one.variants[-1], last_meaning=meaning, sent_at=UnixSeconds(at), pooled=pooled, attempts=1)
    return replace(one, variants=(*one.variants[:-1], last), sent_at=UnixSeconds(at))


def reply(meaning: Meaning, tx_hash: str | None = None) -> Reply:
    return Reply(meaning=meaning, endpoint=NODE, tx_hash=None if tx_hash is None else TxHash(tx_hash))


def test_every_meaning_has_its_step_and_none_says_not_paid() -> None:
    """D2, D6, N4: all that a reply can do is recorded here; no member of a step touches what counts as paid."""
    assert set(submission.STEPS) == set(Meaning)
    assert set(submission.Step.__dataclass_fields__) == {
        "may_have_left",
        "may_be_pooled",
        "stop_behind",
        "reprice",
        "poison",
        "page",
    }
    assert [meaning for meaning, step in submission.STEPS.items() if not step.may_have_left] == [
        Meaning.NOT_SENT
    ]
    assert [meaning for meaning, step in submission.STEPS.items() if step.reprice] == [Meaning.FEE_TOO_LOW]
    assert [meaning for meaning, step in submission.STEPS.items() if step.poison] == [Meaning.CONTENT_REFUSED]


@pytest.mark.parametrize("meaning", [one for one in Meaning if one is not Meaning.NOT_SENT])
def test_a_refusal_is_recorded_like_an_acceptance(meaning: Meaning) -> None:
    """D6: a re-send answered by any verdict is an attempt on record, and nothing else."""
    changes, _ = submission.recorded([sent()], [replace(reply(meaning), detail="as it was said")])
    one = sent()
    assert changes == [
        Sent(
            account=one.account,
            intent_id=one.id,
            variant=one.current().number,
            meaning=meaning,
            detail="as it was said",
        )
    ]


def test_a_reply_for_each_intent_or_nothing_is_recorded() -> None:
    """R4: a reply that is missing is no reply; the ports answer one for each."""
    with pytest.raises(ValueError, match="zip"):
        submission.recorded([sent(), sent()], [reply(Meaning.ACCEPTED)])


def test_what_was_kept_here_is_not_recorded_as_sent() -> None:
    """The breaker, the limiter or the deadline kept it: nothing can have left."""
    assert submission.recorded([sent()], [reply(Meaning.NOT_SENT)]) == ([], [])


@pytest.mark.parametrize("meaning", [Meaning.CONFIGURATION, Meaning.NODE_BROKEN])
def test_a_broken_node_and_a_wrong_configuration_page(meaning: Meaning) -> None:
    """N2: `lock poisoned` pages, and changes no payment."""
    one, said = sent(), replace(reply(meaning), detail="what it said")
    paged = Event(
        kind=EventKind.CALL_FAILED,
        severity=Severity.PAGE,
        account=one.account,
        ids=(DisbursementId(1),),
        reason=meaning.value,
        detail="node-a: what it said",
    )
    assert submission.recorded([one], [said])[1] == [paged]
    assert submission.recorded([replace(one, disbursement_id=None)], [said])[1] == [replace(paged, ids=())]


def test_another_hash_in_a_reply_is_an_alarm() -> None:
    """R3: the hash is computed here; a node that names another one is not believed, and a person is told."""
    one = sent()
    _, quiet = submission.recorded([one], [reply(Meaning.ACCEPTED, one.current().tx_hash)])
    changes, events = submission.recorded([one], [reply(Meaning.ACCEPTED, "ff")])
    assert quiet == []
    assert events == [
        Event(
            kind=EventKind.HASH_MISMATCH,
            severity=Severity.PAGE,
            account=one.account,
            ids=(DisbursementId(1),),
            detail=f"nonce 1: we sent {one.current().tx_hash}, node-a names ff",
        )
    ]
    assert len(changes) == 1


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        (Meaning.ACCEPTED, True),
        (Meaning.UNKNOWN, True),
        (Meaning.FEE_TOO_LOW, False),
        (Meaning.NOT_SENT, False),
    ],
)
def test_only_a_clear_refusal_leaves_no_pool_with_it(meaning: Meaning, *, expected: bool) -> None:
    """R6: what may be pooled keeps its nonce until the pool lets go."""
    assert submission.may_be_pooled(meaning) is expected


def test_the_same_bytes_go_again_after_a_while() -> None:
    """D4, N3: what the pool lost is sent again with the same bytes, whatever was answered before."""
    one = sent(at=AT)
    assert not submission.due_for_resend(one, UnixSeconds(AT + RULES.resend_seconds - 0.1), RULES)
    assert submission.due_for_resend(one, UnixSeconds(AT + RULES.resend_seconds), RULES)
    assert submission.due_for_resend(one, UnixSeconds(AT - 3_600.0), RULES), (
        "a clock set back delays nothing for ever"
    )


def test_what_was_never_sent_or_sealed_is_no_resend() -> None:
    """R1: without bytes there is nothing to send again."""
    assert not submission.due_for_resend(intent(1), AT, RULES)
    unsealed = replace(intent(1), variants=(variant(1, CANCEL, FEE, 1, sealed=False),))
    assert not submission.due_for_resend(unsealed, AT, RULES)


def test_a_fee_that_no_pool_took_is_priced_anew_at_once() -> None:
    """D5, N14: priced before the first block and refused after it: a new price on the same nonce, never a rollback."""
    refused = sent(meaning=Meaning.FEE_TOO_LOW, pooled=False)
    assert submission.due_for_bump(refused, UnixSeconds(0.0), RULES, wanted=BaseUnits(FEE + 1)) == FEE + 1
    assert submission.due_for_bump(refused, UnixSeconds(0.0), RULES, wanted=BaseUnits(FEE)) is None
    assert submission.due_for_bump(refused, UnixSeconds(0.0), RULES, wanted=None) is None, (
        "above the ceiling it waits"
    )


def test_a_pooled_transaction_is_not_priced_anew_before_the_pool_lets_go() -> None:
    """D6, R6: the fee is judged before the duplicate; the first bytes may be pooled, so the new price waits."""
    pooled = sent(meaning=Meaning.FEE_TOO_LOW, at=AT)
    wanted = BaseUnits(FEE + 500)
    ttl = RULES.pool_ttl_seconds
    assert submission.due_for_bump(pooled, UnixSeconds(AT + ttl), RULES, wanted=wanted) is None
    assert submission.due_for_bump(pooled, UnixSeconds(AT + ttl + 1), RULES, wanted=wanted) == wanted
    again = sent(at=AT, variants=2)
    assert submission.due_for_bump(again, UnixSeconds(AT + ttl + 1), RULES, wanted=wanted) is None
    replacing = replace(RULES, replaces_pooled=True)
    assert submission.due_for_bump(pooled, UnixSeconds(AT + 301), replacing, wanted=wanted) == wanted
    # a replacement must be dearer by an eighth, whatever a fresh transaction costs
    slightly = submission.due_for_bump(pooled, UnixSeconds(AT + 301), replacing, wanted=BaseUnits(FEE + 1))
    assert slightly == fees.bumped(BaseUnits(FEE), needed=BaseUnits(FEE + 1), ceiling=RULES.fee_ceiling)
    assert slightly is not None
    assert slightly >= FEE * 9 // 8


def test_nothing_is_priced_anew_while_bytes_are_missing_or_were_never_sent() -> None:
    """R6: one variant after the other, and the first send comes before the second price."""
    late = UnixSeconds(10_000.0)
    assert submission.due_for_bump(intent(1), late, RULES, wanted=BaseUnits(9 * FEE)) is None
    one = sent()
    pending = replace(one, variants=(*one.variants, replace(one.variants[0], number=2, tx_hash=None)))
    assert submission.due_for_bump(pending, late, RULES, wanted=BaseUnits(9 * FEE)) is None


def test_content_refused_often_enough_is_poison_until_its_cancel_is_under_way() -> None:
    """R8: only refusals of the content count, and the replacement is ordered once."""
    refused = replace(sent(), refusals=RULES.poison_refusals)
    assert submission.poisoned(refused, RULES)
    assert not submission.poisoned(replace(refused, refusals=RULES.poison_refusals - 1), RULES)
    assert not submission.poisoned(replace(refused, cancel_requested=True), RULES)
    assert not submission.poisoned(replace(refused, variants=intent(1, cancel_fee=FEE).variants), RULES)


def test_a_head_of_line_that_waits_too_long_pages() -> None:
    """R8: waiting is never cancelled by itself; a person is told, and may order the replacement."""
    late = UnixSeconds(AT + RULES.head_wait_seconds + 1)
    just = sent(at=AT + 1)  # for as long as it may, and not a moment longer
    heads = [sent(at=AT), replace(sent(at=AT), disbursement_id=None), intent(3), sent(at=late), just]
    paged, filler = submission.head_is_late(heads, late, RULES)
    assert paged == Event(
        kind=EventKind.HEAD_WAITS,
        severity=Severity.PAGE,
        account=heads[0].account,
        ids=(DisbursementId(1),),
        seconds=(RULES.head_wait_seconds + 1,),
        detail=paged.detail,
    )
    assert paged.detail.startswith("nonce 1 is not in a block")
    assert filler == replace(paged, ids=())


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        (Meaning.UNKNOWN, Meaning.FEE_TOO_LOW, Meaning.UNKNOWN),
        (Meaning.NODE_BROKEN, Meaning.CONTENT_REFUSED, Meaning.UNKNOWN),
        (Meaning.UNKNOWN, Meaning.ACCEPTED, Meaning.ACCEPTED),
        (Meaning.UNKNOWN, Meaning.NOT_SENT, Meaning.UNKNOWN),
        (Meaning.CONTENT_REFUSED, Meaning.NOT_SENT, Meaning.CONTENT_REFUSED),
        (Meaning.RATE_LIMITED, Meaning.FEE_TOO_LOW, Meaning.FEE_TOO_LOW),
        (Meaning.NOT_SENT, Meaning.FEE_TOO_LOW, Meaning.FEE_TOO_LOW),
        (None, Meaning.FEE_TOO_LOW, Meaning.FEE_TOO_LOW),
    ],
)
def test_what_an_endpoint_may_have_taken_no_refusal_takes_back(
    before: Meaning | None, after: Meaning, joined: Meaning
) -> None:
    """R4: two endpoints were offered the same bytes; a refusal by the second says nothing of the first one's pool."""
    said = submission.joined(None if before is None else reply(before), reply(after))
    assert said.meaning is joined
    if joined not in {before, after}:
        assert said.detail == f"node-a: ; node-a: {after}"


def test_what_an_endpoint_says_is_cut_before_it_is_joined() -> None:
    """Bounds on everything: the words of two endpoints are kept, of the first one no more than 200 characters."""
    long = replace(reply(Meaning.UNKNOWN), detail="x" * 300)
    said = submission.joined(long, reply(Meaning.FEE_TOO_LOW))
    assert said.detail == f"node-a: {'x' * 192}; node-a: {Meaning.FEE_TOO_LOW}"
