import sqlite3
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from tests.matrix import Row
from tests.signer.conftest import (
    KEYS,
    PERSON,
    POLICY,
    SECOND,
    TREASURY,
    Desk,
    held,
    refused,
    request,
    signed,
)

from treasuryd.core.model import (
    Address,
    BaseUnits,
    Binding,
    Digest,
    DisbursementId,
    Draft,
    Intent,
    IntentId,
    Marks,
    Nonce,
    Refused,
    Signed,
    SignRequest,
    Term,
    TxHash,
    VariantKind,
)
from treasuryd.core.restore import Witness
from treasuryd.errors import Rejected
from treasuryd.ports import Signer, written
from treasuryd.signer import ledger
from treasuryd.signer.local import LocalSigner
from treasuryd.sqlite.connect import Connection, Database
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.wire.theblock.transaction import (
    decode_rpc7,
    payload_of,
    payment_bytes,
    rpc7_from_parts,
    signing_message,
    transaction_id,
)

TOO_MUCH = BaseUnits(2_000_000)


def reasons(answers: object) -> list[str]:
    assert isinstance(answers, list)
    return [row.reason if isinstance(row, Refused) else "signed" for row in answers]


async def ask(signer: LocalSigner, *requests: SignRequest, term: int = 1) -> list[Signed | Refused]:
    answers = await signer.sign(requests, held(term))
    assert len(answers) == len(requests)
    return [row for row in answers if isinstance(row, Signed | Refused)]


def test_it_is_a_signer(desk: Desk) -> None:
    """mypy holds the class to the port."""
    check: type[Signer] = LocalSigner
    assert check is LocalSigner


# --- bytes -------------------------------------------------------------------------------------------------------


async def test_the_bytes_say_what_was_asked_and_carry_a_true_signature(signer: LocalSigner) -> None:
    """D25: the signed memo is the approved memo, to the last byte."""
    memo = '{"depends_on": [1]} — ä\n' * 200
    asked = request(1, memo=memo)
    (answer,) = await ask(signer, asked)
    transaction = decode_rpc7(signed(answer).tx_bytes)
    payload = transaction.payload
    assert (payload.from_, payload.to, payload.amount, payload.fee, payload.nonce) == (
        "treasury", "tb1payee1", 500, 1_000, 1,
    )  # fmt: skip
    assert payload.memo == memo.encode()
    assert transaction.tip == 0
    encoded = payload_of(signed(answer).tx_bytes)
    Ed25519PublicKey.from_public_bytes(KEYS[TREASURY].public).verify(
        transaction.signature, signing_message(encoded)
    )
    assert signed(answer).tx_hash == transaction_id(encoded, KEYS[TREASURY].public)


async def test_each_account_signs_with_its_own_key(signer: LocalSigner) -> None:
    """D31: Both accounts may use the same nonce."""
    answers = await ask(
        signer, request(1), request(2, account=SECOND, nonce=Nonce(1)), request(3, nonce=Nonce(2))
    )
    keys = [decode_rpc7(signed(answer).tx_bytes).public_key for answer in answers]
    assert keys == [KEYS[TREASURY].public, KEYS[SECOND].public, KEYS[TREASURY].public]
    assert signer.public_keys == {account: key.public for account, key in KEYS.items()}


async def test_a_cancellation_sends_one_unit_to_the_own_sink(signer: LocalSigner) -> None:
    """protocol.md R7: the two outcomes look different whatever can be looked up."""
    answers = await ask(
        signer, request(1), request(1, variant=2, kind=VariantKind.CANCEL, fee=BaseUnits(2_000))
    )
    payload = decode_rpc7(signed(answers[1]).tx_bytes).payload
    assert (payload.to, payload.amount, payload.nonce, payload.fee) == ("treasury-sink", 1, 1, 2_000)
    assert payload.memo == b""


# --- same request, same bytes ------------------------------------------------------------------------------------


async def test_a_repeated_request_gets_the_same_bytes_across_restarts(desk: Desk) -> None:
    """The bytes may have left: after a crash before sealing the same ones must come again."""
    first = await ask(await desk.open(), request(1), request(2))
    await desk.close()
    again = await ask(await desk.open(), request(1), request(2), request(3))
    assert first == again[:2]
    later = await ask(desk_signer := await desk.open(), request(1), term=7)
    assert later == first[:1]
    assert (await desk_signer.marks())[TREASURY].term == 7


async def test_five_thousand_intents_keep_their_bytes(desk: Desk) -> None:
    """D18: nothing is dropped by count, so nothing is ever signed anew under another nonce."""
    requests = [request(number) for number in range(1, 5_001)]
    signer = await desk.open()
    first = [row for at in range(0, 5_000, 1_000) for row in await ask(signer, *requests[at : at + 1_000])]
    await desk.close()
    again = await ask(await desk.open(), requests[0], requests[2_500], requests[4_999])
    assert again == [first[0], first[2_500], first[4_999]]


@pytest.mark.parametrize(
    "change",
    [
        {"amount": BaseUnits(501)},
        {"destination": Address("tb1other")},
        {"memo": "other"},
        {"fee": BaseUnits(1_001)},
        {"nonce": Nonce(9)},
        {"disbursement_id": DisbursementId(9)},
        {"payload_digest": Digest("f" * 64)},
        {"idempotency_key": "other"},
        {"account": SECOND},
        {"kind": VariantKind.CANCEL},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_same_variant_with_other_content_is_refused(
    signer: LocalSigner, change: dict[str, object]
) -> None:
    """A second payload under one name; nothing of it is final, the first may still count."""
    await ask(signer, request(1))
    (answer,) = await ask(signer, request(1, **change))
    assert refused(answer).reason == "second_payload"
    assert not refused(answer).final
    assert refused(answer).first


# --- one nonce, one disbursement ---------------------------------------------------------------------------------


async def test_a_nonce_belongs_to_one_intent(signer: LocalSigner) -> None:
    """D3: two intents with the same nonce cannot both be signed."""
    await ask(signer, request(1))
    answers = await ask(signer, request(2, nonce=Nonce(1)))
    assert reasons(answers) == ["nonce_taken"]


async def test_two_intents_with_one_nonce_in_one_batch(signer: LocalSigner) -> None:
    """The batch is judged row by row, each by what the rows before it bound."""
    answers = await ask(signer, request(1), request(2, nonce=Nonce(1)), request(3))
    assert reasons(answers) == ["signed", "nonce_taken", "behind"]


async def test_a_second_intent_of_a_disbursement_waits_for_a_persons_word(signer: LocalSigner) -> None:
    """D6: paid, recorded as cancelled, issued anew, paid twice: not with this signer."""
    await ask(signer, request(1))
    second = request(2, disbursement_id=DisbursementId(1))
    (answer,) = await ask(signer, second)
    assert refused(answer).reason == "unconfirmed"
    assert not refused(answer).final
    for _ in range(2):
        assert await signer.confirm_void([IntentId(1)], by=PERSON) == [IntentId(1)]
    assert reasons(await ask(signer, second)) == ["signed"]


async def test_every_earlier_intent_needs_the_word(signer: LocalSigner) -> None:
    """Two earlier ones, one of them still open."""
    one = DisbursementId(1)
    await ask(signer, request(1))
    await signer.confirm_void([IntentId(1)], by=PERSON)
    await ask(signer, request(2, disbursement_id=one))
    assert reasons(await ask(signer, request(3, disbursement_id=one))) == ["unconfirmed"]


async def test_a_void_intent_gets_no_new_variant(signer: LocalSigner) -> None:
    """Its old bytes may be asked for again, for the record; new ones never."""
    first = await ask(signer, request(1))
    await signer.confirm_void([IntentId(1), IntentId(2)], by=PERSON)
    assert await ask(signer, request(1)) == first
    assert reasons(await ask(signer, request(1, variant=2, fee=BaseUnits(2_000)))) == ["judged_void"]
    assert reasons(await ask(signer, request(2))) == ["judged_void"]


async def test_a_fee_variant_keeps_everything_but_the_fee(signer: LocalSigner) -> None:
    """protocol.md R6: a bump keeps nonce, destination, amount and memo."""
    answers = await ask(
        signer,
        request(1),
        request(1, variant=2, fee=BaseUnits(2_000)),
        request(1, variant=3, fee=BaseUnits(3_000)),
    )
    payloads = [decode_rpc7(signed(answer).tx_bytes).payload for answer in answers]
    assert [payload.fee for payload in payloads] == [1_000, 2_000, 3_000]
    assert len({(payload.nonce, payload.to, payload.amount, payload.memo) for payload in payloads}) == 1
    assert reasons(await ask(signer, request(1, variant=4, amount=BaseUnits(9)))) == ["second_payload"]


FILLER = request(1, disbursement_id=None, destination=Address("treasury-sink"), intent_id=IntentId(77))


async def test_a_filler_cancels_and_never_pays(signer: LocalSigner) -> None:
    """An intent without a disbursement fills a nonce, under a person's confirmation alone (protocol.md R9, R11)."""
    filler = replace(FILLER, kind=VariantKind.CANCEL)
    assert reasons(await ask(signer, FILLER)) == ["filler_pays"]
    assert reasons(await ask(signer, filler)) == ["not_ordered"]
    await signer.confirm_fill(TREASURY, [Nonce(1)], by=PERSON)
    assert reasons(await ask(signer, FILLER)) == ["filler_pays"]
    assert reasons(await ask(signer, filler)) == ["signed"]
    assert (await signer.marks())[TREASURY] == Marks(nonce=Nonce(1), term=Term(1), intent_id=filler.intent_id)


async def test_a_filler_takes_a_nonce_whose_payment_counts_no_more(signer: LocalSigner) -> None:
    """R9: whoever had the nonce before is never signed under it again; a dearer filler and a second one are."""
    await ask(signer, request(1))
    await signer.confirm_fill(TREASURY, [Nonce(1)], by=PERSON)
    await signer.confirm_fill(TREASURY, [Nonce(1)], by=PERSON)
    filler = replace(FILLER, kind=VariantKind.CANCEL)
    dearer = replace(filler, variant=2, fee=BaseUnits(2_000))
    later = replace(filler, intent_id=IntentId(78))
    assert reasons(await ask(signer, filler, dearer, later)) == ["signed"] * 3
    again = request(1, variant=2, fee=BaseUnits(2_000))
    assert reasons(await ask(signer, again)) == ["nonce_taken"]
    assert reasons(await ask(signer, request(1))) == ["signed"]  # what was signed is signed
    bindings = await signer.bindings(TREASURY, first=Nonce(1), limit=10)
    assert [(one.request.intent_id, one.request.variant) for one in bindings] == [
        (1, 1), (77, 1), (77, 2), (78, 1),
    ]  # fmt: skip


async def test_a_nonce_to_be_filled_is_never_bound_to_a_payment(signer: LocalSigner) -> None:
    """Before the filler is signed and after: the order alone closes the nonce."""
    await signer.confirm_fill(TREASURY, [Nonce(1)], by=PERSON)
    assert reasons(await ask(signer, request(1))) == ["nonce_taken"]
    await ask(signer, replace(FILLER, kind=VariantKind.CANCEL))
    assert reasons(await ask(signer, request(1))) == ["nonce_taken"]


async def test_a_filler_that_policy_refuses_is_refused_for_good(signer: LocalSigner) -> None:
    """Its intent is void then, and the nonce open for another one."""
    await signer.confirm_fill(TREASURY, [Nonce(1)], by=PERSON)
    (answer,) = await ask(signer, replace(FILLER, kind=VariantKind.CANCEL, fee=TOO_MUCH))
    assert (refused(answer).reason, refused(answer).final) == ("fee_too_large", True)
    assert await signer.never_bound([FILLER.intent_id]) == [True]


# --- order and refusals ------------------------------------------------------------------------------------------


async def test_rows_are_signed_in_nonce_order_whatever_order_they_come_in(signer: LocalSigner) -> None:
    """The first refusal is that of the lowest nonce; answers keep the order of the requests."""
    answers = await ask(signer, request(3), request(2, amount=TOO_MUCH), request(1))
    assert reasons(answers) == ["behind", "amount_too_large", "signed"]
    assert [refused(row).first for row in answers[:2]] == [False, True]


async def test_a_refused_fee_stops_nothing_behind_what_is_bound(signer: LocalSigner) -> None:
    """R6: a bump above the signer's own limit waits alone; its nonce has bytes, so nothing behind it finds a gap."""
    await ask(signer, request(1))
    dear = request(1, variant=2, fee=TOO_MUCH)
    answers = await ask(signer, dear, request(2))
    assert reasons(answers) == ["fee_too_large", "signed"]
    assert (refused(answers[0]).final, refused(answers[0]).first) == (False, True)
    assert reasons(await ask(signer, request(3, fee=TOO_MUCH), request(4))) == ["fee_too_large", "behind"]


async def test_a_refusal_by_policy_is_for_good_for_the_row_and_all_behind_it(desk: Desk) -> None:
    """protocol.md R11: stored per intent id, so that their nonces can be returned (R5 c)."""
    signer = await desk.open()
    answers = await ask(signer, request(1), request(2, amount=TOO_MUCH), request(3), request(4))
    assert reasons(answers) == ["signed", "amount_too_large", "behind", "behind"]
    assert [refused(row).final for row in answers[1:]] == [True, True, True]
    assert [refused(row).intent_id for row in answers[1:]] == [2, 3, 4]
    ids = [IntentId(number) for number in (1, 2, 3, 4, 5)]
    assert await signer.never_bound(ids) == [False, True, True, True, False]
    await desk.close()
    desk.policy = replace(POLICY, max_amount=BaseUnits(10_000_000))
    later = await desk.open()
    again = await ask(later, request(2, amount=TOO_MUCH), request(3), request(4))
    assert again == [replace(refused(row), row=at) for at, row in enumerate(answers[1:])]
    assert await later.never_bound(ids) == [False, True, True, True, False]


async def test_what_is_abandoned_is_never_bound_and_what_is_bound_is_not_abandoned(desk: Desk) -> None:
    """protocol.md R5 c: asked to promise, the signer refuses for good what it does not know, and only that."""
    signer = await desk.open()
    await ask(signer, request(1))
    known, unknown = _staged(1), _staged(2)
    assert await signer.abandon([known, unknown]) == [False, True]
    assert await signer.abandon([known, unknown]) == [False, True]
    answers = await ask(signer, request(1), request(2))
    assert reasons(answers) == ["signed", "behind"]
    assert refused(answers[1]).final


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"account": SECOND}, id="account"),
        pytest.param({"nonce": Nonce(7)}, id="nonce"),
        pytest.param({"disbursement_id": DisbursementId(7)}, id="disbursement"),
        pytest.param({"destination": "tb1else"}, id="destination"),
        pytest.param({"amount": BaseUnits(7)}, id="amount"),
    ],
)
async def test_what_has_the_id_of_something_else_was_never_bound(desk: Desk, other: dict[str, Any]) -> None:
    """§8: two stores went on under one signer; under a taken id it never signs this one."""
    signer = await desk.open()
    await ask(signer, request(1))
    mine, theirs = replace(_staged(1), **other), _staged(1)
    assert await signer.abandon([mine, theirs]) == [True, False]
    assert await signer.never_bound([mine.id]) == [False], "the id is bound"
    await signer.recall({mine.account: Marks(nonce=Nonce(9))})
    assert await signer.abandon([mine]) == [False]


def _staged(number: int) -> Intent:
    asked = request(number)
    return Intent(
        id=asked.intent_id,
        account=asked.account,
        nonce=asked.nonce,
        disbursement_id=asked.disbursement_id,
        destination=asked.destination,
        amount=asked.amount,
        memo=asked.memo,
        payload_digest=asked.payload_digest,
        idempotency_key=asked.idempotency_key,
        term=asked.term,
    )


async def test_a_new_intent_of_a_refused_disbursement_is_a_new_question(signer: LocalSigner) -> None:
    """Refused, policy corrected, released: asked anew; and the others go on under the returned nonces."""
    await ask(signer, request(1, amount=TOO_MUCH), request(2))
    answers = await ask(
        signer,
        request(3, disbursement_id=DisbursementId(2), nonce=Nonce(1)),
        request(4, disbursement_id=DisbursementId(1), nonce=Nonce(2)),
    )
    assert reasons(answers) == ["signed", "signed"]


async def test_another_account_is_not_held_up(signer: LocalSigner) -> None:
    """Nonce order is a matter of one account."""
    answers = await ask(
        signer,
        request(1, amount=TOO_MUCH),
        request(2),
        request(3, account=SECOND),
        request(4, account=SECOND),
    )
    assert reasons(answers) == ["amount_too_large", "behind", "signed", "signed"]


async def test_a_refused_bump_says_nothing_about_the_payment(signer: LocalSigner) -> None:
    """What is bound is never attested as not bound."""
    first = await ask(signer, request(1))
    answers = await ask(signer, request(1, variant=2, fee=BaseUnits(20_000)))
    assert reasons(answers) == ["fee_too_large"]
    assert refused(answers[0]).final is False
    assert await signer.never_bound([IntentId(1)]) == [False]
    assert await ask(signer, request(1)) == first


async def test_an_account_without_a_key_is_refused_but_not_for_good(desk: Desk) -> None:
    """A configuration that forgot a key must not void payments."""
    del desk.keys[SECOND]
    signer = await desk.open()
    (answer,) = await ask(signer, request(1, account=SECOND))
    assert (refused(answer).reason, refused(answer).final) == ("no_key", False)


# --- terms -------------------------------------------------------------------------------------------------------


async def test_a_stale_term_signs_nothing_and_voids_nothing(signer: LocalSigner) -> None:
    """D13: a paused holder that wakes after takeover gets no bytes, not even known ones."""
    await ask(signer, request(1), term=5)
    answers = await ask(signer, request(1), request(2), term=4)
    assert reasons(answers) == ["stale_term", "behind"]
    assert [refused(row).final for row in answers] == [False, False]


async def test_a_new_holder_signs_what_its_predecessor_staged(signer: LocalSigner) -> None:
    """The term of a request is that under which it was staged; the lease shown is what counts."""
    await ask(signer, request(1), term=1)
    assert reasons(await ask(signer, request(2, term=Term(1)), term=3)) == ["signed"]
    assert (await signer.marks())[TREASURY].term == 3


async def test_without_a_lease_nothing_is_signed(signer: LocalSigner) -> None:
    """Of two accounts one was lost: its rows fall out alone."""
    answers = await signer.sign([request(1), request(2, account=SECOND)], held(1, SECOND))
    assert reasons(list(answers)) == ["no_lease", "signed"]


async def test_a_request_staged_under_a_newer_term_than_the_lease_is_refused(signer: LocalSigner) -> None:
    """Whoever shows term 2 has not staged under term 3."""
    assert reasons(await ask(signer, request(1, term=Term(3)), term=2)) == ["stale_term"]


# --- marks, bindings, memory -------------------------------------------------------------------------------------


async def test_marks_tell_the_highest_of_everything(signer: LocalSigner) -> None:
    """Accounts that never signed have zeros; intents are counted for all accounts in one row, refused ones too."""
    await ask(signer, request(3, disbursement_id=DisbursementId(9)), request(4), term=2)
    assert await signer.marks() == {
        TREASURY: Marks(
            nonce=Nonce(4), disbursement_id=DisbursementId(9), term=Term(2), intent_id=IntentId(4)
        ),
        SECOND: Marks(intent_id=IntentId(4)),
    }
    await ask(signer, request(6, amount=TOO_MUCH), term=2)
    assert {found.intent_id for found in (await signer.marks()).values()} == {6}


async def test_bindings_come_in_nonce_order_and_whole(signer: LocalSigner) -> None:
    """A page never cuts the variants of a nonce apart."""
    bump = request(2, variant=2, fee=BaseUnits(2_000))
    answers = await ask(signer, request(1), request(2), bump, request(3))
    found = await signer.bindings(TREASURY, first=Nonce(2), limit=1)
    assert [binding.request for binding in found] == [request(2), bump]
    assert [binding.tx_bytes for binding in found] == [signed(row).tx_bytes for row in answers[1:3]]
    assert len(await signer.bindings(TREASURY, first=Nonce(1), limit=100)) == 4
    assert await signer.bindings(SECOND, first=Nonce(1), limit=100) == []


async def everything(signer: LocalSigner) -> list[Binding]:
    return list(await signer.bindings(TREASURY, first=Nonce(1), limit=1_000))


@pytest.mark.matrix(Row.LEDGER_LOST)
async def test_a_signer_that_lost_its_memory_signs_and_attests_nothing(desk: Desk) -> None:
    """protocol.md R11: not even across a restart, until a person has it import everything."""
    before = await desk.open()
    await ask(before, request(1), request(2), request(2, variant=2, kind=VariantKind.CANCEL), request(3))
    sealed, bindings = await before.marks(), await everything(before)
    await desk.close()
    desk.path.unlink()
    lost = await desk.open()
    await ask(
        lost, request(9, amount=TOO_MUCH)
    )  # refused, and so attested, while it does not know of its loss
    assert await lost.never_bound([IntentId(9)]) == [True]
    assert await lost.recall(sealed) == [TREASURY]
    await desk.close()
    again = await desk.open()
    assert reasons(await ask(again, request(4), request(5, account=SECOND))) == ["lost_memory", "signed"]
    assert await again.never_bound([IntentId(9)]) == [False]
    assert await again.abandon([_staged(4)]) == [False]
    assert await again.recall({}) == []
    assert await again.recall({TREASURY: Marks()}) == [TREASURY]
    with pytest.raises(Rejected, match="ends at nonce 2"):
        await again.adopt(TREASURY, bindings[:2], by=PERSON)
    assert await everything(again) == []
    for _ in range(2):
        await again.adopt(TREASURY, bindings, by=PERSON)
    assert await everything(again) == bindings
    assert await again.recall(sealed) == []
    assert reasons(await ask(again, request(4))) == ["signed"]
    assert reasons(await ask(again, request(7, nonce=Nonce(3)))) == ["nonce_taken"]
    assert reasons(await ask(again, request(7, disbursement_id=DisbursementId(1)))) == ["unconfirmed"]


async def test_a_store_that_is_behind_is_no_loss_of_memory(signer: LocalSigner) -> None:
    """Less in the store than in the ledger is the store's quarantine, not ours."""
    await ask(signer, request(1), request(2))
    assert await signer.recall({TREASURY: Marks(nonce=Nonce(1), disbursement_id=DisbursementId(1))}) == []
    assert reasons(await ask(signer, request(3))) == ["signed"]


async def test_an_import_is_believed_only_as_far_as_its_bytes(desk: Desk) -> None:
    """Bytes that pay something else, carry another's hash or no true signature are refused whole."""
    before = await desk.open()
    await ask(before, request(1), request(2))
    first, second = await everything(before)
    await desk.close()
    desk.path.unlink()
    signer = await desk.open()
    forged = bytearray(first.tx_bytes)
    forged[first.tx_bytes.index(b"tb1payee1") + 3] ^= 1
    for bad, complaint in (
        (replace(first, request=replace(first.request, amount=BaseUnits(7))), "pay something else"),
        (replace(first, request=replace(first.request, account=SECOND)), "pay something else"),
        (replace(first, tx_hash=second.tx_hash), "another hash"),
        (replace(first, tx_bytes=bytes(forged)), "not a signed transaction"),
        (replace(first, tx_bytes=b"garbage"), "not a signed transaction"),
        (made_by(THIEF, first.request), "which is not that of treasury"),
    ):
        with pytest.raises(Rejected, match=complaint):
            await signer.adopt(TREASURY, [second, bad], by=PERSON)
    assert await everything(signer) == []


THIEF = Ed25519PrivateKey.from_private_bytes(b"\x66" * 32)


def made_by(private: Ed25519PrivateKey, asked: SignRequest) -> Binding:
    """What anybody can write into a store: true bytes of this request, under a key of his own."""
    payload = payment_bytes(
        from_=asked.account,
        to=asked.destination,
        amount=asked.amount,
        fee=asked.fee,
        nonce=asked.nonce,
        memo=asked.memo.encode(),
    )
    public = private.public_key().public_bytes_raw()
    return Binding(
        request=asked,
        tx_bytes=rpc7_from_parts(payload, public, private.sign(signing_message(payload))),
        tx_hash=TxHash(transaction_id(payload, public)),
    )


async def test_a_key_of_before_is_believed_where_a_person_names_it(desk: Desk) -> None:
    """The account's key was replaced: what the old one signed is ours, and nothing else under a foreign key is."""
    signer = await desk.open()
    old = Ed25519PrivateKey.from_private_bytes(b"\x67" * 32)
    binding = made_by(old, request(1))
    named = {old.public_key().public_bytes_raw()}
    with pytest.raises(Rejected, match=f"signed by the key {next(iter(named)).hex()}") as refusal:
        await signer.adopt(TREASURY, [binding], by=PERSON)
    assert "--old-key" in refusal.value.hint
    with pytest.raises(Rejected, match="which is not that of treasury"):
        await signer.adopt(TREASURY, [binding, made_by(THIEF, request(2))], by=PERSON, old_keys=named)
    await signer.adopt(TREASURY, [binding], by=PERSON, old_keys=named)
    assert signed((await ask(signer, request(1)))[0]).tx_bytes == binding.tx_bytes


async def test_what_policy_forbids_is_imported_on_an_explicit_word_alone(desk: Desk) -> None:
    """The limit may have been lowered since, or the bytes be planted: a person looks, and names the nonces."""
    before = await desk.open()
    await ask(before, request(1), request(2, amount=BaseUnits(900)), request(3, amount=BaseUnits(901)))
    bindings = await everything(before)
    await desk.close()
    desk.path.unlink()
    desk.policy = replace(desk.policy, max_amount=BaseUnits(899))
    signer = await desk.open()
    for named, left in (
        ((), "2 of these today: nonce 2 .disbursement 2,"),
        ((2,), "1 of these today: nonce 3 "),
    ):
        with pytest.raises(Rejected, match=f"would not sign {left}.*an amount of 90") as refusal:
            await signer.adopt(TREASURY, bindings, by=PERSON, beyond_policy=set(map(Nonce, named)))
        assert "--beyond-policy NONCE" in refusal.value.hint
        assert await everything(signer) == []
    await signer.adopt(TREASURY, bindings, by=PERSON, beyond_policy={Nonce(2), Nonce(3)})
    assert await everything(signer) == bindings
    await signer.adopt(TREASURY, bindings, by=PERSON)  # what it knows by now is no import
    assert reasons(await ask(signer, request(4, amount=BaseUnits(900)))) == ["amount_too_large"]


async def test_a_long_list_beyond_policy_is_cut(desk: Desk) -> None:
    """A lowered limit may forbid thousands: the refusal counts them and names ten."""
    before = await desk.open()
    await ask(before, *(request(number) for number in range(1, 13)))
    bindings = await everything(before)
    await desk.close()
    desk.path.unlink()
    desk.policy = replace(desk.policy, max_fee=BaseUnits(999))
    signer = await desk.open()
    with pytest.raises(Rejected, match="would not sign 12 of these") as refusal:
        await signer.adopt(TREASURY, bindings, by=PERSON)
    said = refusal.value.message
    assert ("nonce 10 " in said, "nonce 11 " in said, said.endswith("; …")) == (True, False, True)


async def test_an_import_that_contradicts_the_ledger_is_refused(desk: Desk) -> None:
    """One of the two histories is wrong, and no machine can say which."""
    before = await desk.open()
    await ask(before, request(1))
    (old,) = await everything(before)
    await desk.close()
    desk.path.unlink()
    signer = await desk.open()
    await ask(signer, request(2, nonce=Nonce(1)))
    with pytest.raises(Rejected, match="other content"):
        await signer.adopt(TREASURY, [old], by=PERSON)
    await ask(signer, request(3, amount=TOO_MUCH))
    refused_one = replace(old, request=replace(old.request, intent_id=IntentId(3), nonce=Nonce(1)))
    with pytest.raises(Rejected):
        await signer.adopt(TREASURY, [refused_one], by=PERSON)


async def test_what_is_lost_for_good_is_given_up_by_a_person(desk: Desk) -> None:
    """§8.4: the marks rise to what was sealed; the nonces below stay unknown, and the account signs again above them."""
    signer = await desk.open()
    sealed = {TREASURY: Marks(nonce=Nonce(5), disbursement_id=DisbursementId(6))}
    assert await signer.recall(sealed) == [TREASURY]
    with pytest.raises(Rejected, match="ends at nonce 0"):
        await signer.adopt(TREASURY, [], by=PERSON)
    await signer.adopt(TREASURY, [], by=PERSON, give_up=True)
    assert await signer.recall(sealed) == []
    marks = (await signer.marks())[TREASURY]
    assert (marks.nonce, marks.disbursement_id) == (5, 6)


async def test_the_store_s_word_of_itself_survives_a_restart(desk: Desk) -> None:
    """§8: lineage and heads as last told, by account; the newest word replaces the one before."""
    signer = await desk.open()
    assert await signer.told() == {}
    first = Witness(lineage="one", heads={"people": (3, "c"), "account:treasury": (8, "h")})
    await signer.tell({TREASURY: first})
    newer = Witness(lineage="one", heads={"people": (4, "d"), "account:treasury": (8, "h")})
    await signer.tell({TREASURY: newer})
    await desk.close()
    assert await (await desk.open()).told() == {TREASURY: newer}


async def test_it_tells_whom_a_person_declared_void(signer: LocalSigner) -> None:
    """§8.4: what was judged before the restore is not judged again."""
    await ask(signer, request(1), request(2))
    await signer.confirm_void([IntentId(2)], by=PERSON)
    assert await signer.judged_void([IntentId(1), IntentId(2)]) == [False, True]


# --- vet, crashes ------------------------------------------------------------------------------------------------


def draft(number: int, amount: int = 500, account: str = "treasury") -> Draft:
    asked = request(number)
    return Draft(
        disbursement_id=DisbursementId(number),
        account=type(asked.account)(account),
        destination=asked.destination,
        amount=BaseUnits(amount),
        memo=asked.memo,
        fee=asked.fee,
        payload_digest=asked.payload_digest,
        idempotency_key=asked.idempotency_key,
    )


async def test_vetting_binds_nothing(signer: LocalSigner) -> None:
    """What policy refuses never gets a nonce; nothing is remembered of the question."""
    drafts = [draft(1), draft(2, amount=TOO_MUCH), draft(3), draft(4, account="stranger")]
    rows = await signer.vet(drafts)
    assert written(rows) == [drafts[0], drafts[2]]
    assert [(row.row, row.reason) for row in rows if isinstance(row, Refused)] == [
        (1, "amount_too_large"),
        (3, "no_key"),
    ]
    assert await signer.marks() == {TREASURY: Marks(), SECOND: Marks()}
    assert await signer.never_bound([IntentId(1), IntentId(2)]) == [False, False]


class Crashed(Exception):
    pass


async def test_a_crash_at_any_statement_leaves_all_of_a_batch_or_none(desk: Desk) -> None:
    """protocol.md §9: signed and not returned, or not signed; the same request then gets the same bytes."""
    requests = [request(1), request(2), request(3, amount=TOO_MUCH), request(4)]
    signer = await desk.open()
    driver = desk.drivers[-1]
    statements: list[str] = []
    driver.before_statement = statements.append
    expected = await ask(signer, *requests)
    await desk.close()
    for stop in range(len(statements)):
        desk.path.unlink()
        signer = await desk.open()
        driver = desk.drivers[-1]
        left = [stop]

        def crash(_: str, left: list[int] = left) -> None:
            if left[0] == 0:
                raise Crashed
            left[0] -= 1

        driver.before_statement = crash
        with pytest.raises(Crashed):
            await ask(signer, *requests)
        await desk.close()
        signer = await desk.open()
        bound = await everything(signer)
        assert len(bound) in (0, 2)
        assert await ask(signer, *requests) == expected
        await desk.close()


async def test_a_batch_is_one_commit(desk: Desk) -> None:
    """Two commits in the store and one in the ledger per batch, however long it is."""
    signer = await desk.open()
    said: list[str] = []
    desk.drivers[-1].before_statement = said.append
    await ask(signer, *(request(number) for number in range(1, 201)))
    assert said.count("COMMIT") == 1


async def test_a_ledger_of_a_newer_version_is_refused(desk: Desk) -> None:
    """It may know exceptions that this version does not."""
    await desk.open()
    await desk.close()
    with sqlite3.connect(desk.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Rejected, match="version 99"):
        await desk.open()


async def test_an_empty_request_asks_nothing(signer: LocalSigner) -> None:
    """No lease is needed for nothing."""
    assert await signer.sign([], held(1)) == []


async def test_nonces_of_one_account_are_bound_in_rising_order(signer: LocalSigner) -> None:
    """What a batch binds has no gap below its first refusal."""
    await ask(signer, *(request(number) for number in (5, 3, 4, 1, 2)))
    nonces = [binding.request.nonce for binding in await everything(signer)]
    assert all(second == first + 1 for first, second in pairwise(nonces))


async def test_a_ledger_of_the_first_schema_keeps_what_it_bound(desk: Desk) -> None:
    """A migration forgets nothing: same request, same bytes."""
    asked = request(1)
    old = await desk.open()
    (answer,) = await ask(old, asked)
    sealed = signed(answer)
    await desk.close()
    desk.path.unlink()
    driver = InlineDriver(Database(path=desk.path, application_id=ledger.APPLICATION_ID))

    def first(connection: Connection) -> None:
        for statement in ledger._statements(ledger._read_sql("0001_ledger.sql")):
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO intent VALUES (1, 'treasury', 1, 1, 'tb1payee1', 500, 'payment 1', ?, 'key#1')",
            (f"{1:064x}",),
        )
        connection.execute(
            "INSERT INTO signature VALUES (1, 1, 'payment', 1000, 1, ?, ?)", (sealed.tx_hash, sealed.tx_bytes)
        )
        connection.execute(
            "INSERT INTO account (name, nonce, disbursement_id, term) VALUES ('treasury', 1, 1, 1)"
        )

    await driver.write(first)
    await driver.close()
    signer = await desk.open()
    assert await ask(signer, asked) == [sealed]
    assert reasons(await ask(signer, request(2, nonce=Nonce(1)))) == ["nonce_taken"]
    assert (await signer.marks())[TREASURY].nonce == 1
