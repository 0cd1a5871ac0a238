"""The whole signer against a model that only keeps sets: whatever is asked, the promises of protocol.md R11 hold."""

import tempfile
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.signer.conftest import PERSON, TREASURY, Desk, held, request

from treasuryd.core.model import (
    BaseUnits,
    DisbursementId,
    IntentId,
    Nonce,
    Refused,
    Signed,
    SignRequest,
    VariantKind,
)
from treasuryd.wire.theblock.transaction import decode_rpc7

SMALL = st.integers(1, 4)
REQUESTS = st.builds(
    lambda intent, variant, nonce, disbursement, amount, fee, cancel: request(
        1,
        intent_id=IntentId(intent),
        variant=variant,
        nonce=Nonce(nonce),
        disbursement_id=DisbursementId(disbursement),
        amount=BaseUnits(amount),
        fee=BaseUnits(fee),
        kind=VariantKind.CANCEL if cancel else VariantKind.PAYMENT,
    ),
    SMALL,
    st.integers(1, 2),
    SMALL,
    SMALL,
    st.sampled_from([500, 501, 2_000_000]),
    st.sampled_from([1_000, 20_000]),
    st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sign"), st.lists(REQUESTS, min_size=1, max_size=4), st.integers(1, 3)),
        st.tuples(st.just("void"), st.lists(SMALL.map(IntentId), max_size=2), st.just(0)),
        st.tuples(st.just("restart"), st.just([]), st.just(0)),
    ),
    max_size=12,
)


class Promises:
    """What has left the signer so far."""

    def __init__(self) -> None:
        self.bytes_of: dict[tuple[IntentId, int], bytes] = {}
        self.asked: dict[tuple[IntentId, int], SignRequest] = {}
        self.void: set[IntentId] = set()
        self.refused: set[IntentId] = set()
        self.highest_term = 0

    def take(self, asked: SignRequest, answer: Signed | Refused, term: int) -> None:
        name = (asked.intent_id, asked.variant)
        if isinstance(answer, Refused):
            assert answer.reason
            if answer.final:
                assert not any(intent == asked.intent_id for intent, _ in self.bytes_of), (
                    "bound, and attested"
                )
                self.refused.add(asked.intent_id)
            return
        assert term >= self.highest_term, "signed under a stale term"
        self.highest_term = term
        assert asked.intent_id not in self.refused, "signed after a refusal for good"
        assert self.bytes_of.setdefault(name, answer.tx_bytes) == answer.tx_bytes, "same request, other bytes"
        self.asked.setdefault(name, asked)

    def check(self) -> None:
        owners: dict[Nonce, set[IntentId]] = {}
        payloads: dict[Nonce, set[tuple[str, int]]] = {}
        paid: dict[DisbursementId, set[IntentId]] = {}
        for name, asked in self.asked.items():
            owners.setdefault(asked.nonce, set()).add(asked.intent_id)
            assert asked.disbursement_id is not None
            paid.setdefault(asked.disbursement_id, set()).add(asked.intent_id)
            payload = decode_rpc7(self.bytes_of[name]).payload
            if asked.kind is VariantKind.PAYMENT:
                payloads.setdefault(asked.nonce, set()).add((payload.to, payload.amount))
        assert all(len(intents) == 1 for intents in owners.values()), "a nonce with two intents"
        assert all(len(kinds) == 1 for kinds in payloads.values()), "a nonce with two payments"
        for intents in paid.values():
            assert len(intents - self.void) <= 1, "a disbursement with two payments that may count"


async def play(steps: list[tuple[str, list[object], int]], path: Path) -> None:
    desk, promises = Desk(path), Promises()
    signer = await desk.open()
    for what, values, term in steps:
        if what == "restart":
            await desk.close()
            signer = await desk.open()
        elif what == "void":
            intents = [IntentId(value) for value in values if isinstance(value, int)]
            await signer.confirm_void(intents, by=PERSON)
            promises.void.update(intents)
        else:
            requests = [value for value in values if isinstance(value, SignRequest)]
            answers = await signer.sign(requests, held(term, TREASURY))
            order = sorted(range(len(requests)), key=lambda row: (requests[row].nonce, requests[row].variant))
            for row in order:
                answer = answers[row]
                assert isinstance(answer, Signed | Refused)
                promises.take(requests[row], answer, term)
            stopped = [isinstance(answers[row], Refused) for row in order]
            assert stopped == sorted(stopped), "a row behind a refusal was signed"
        promises.check()
    attested = await signer.never_bound([IntentId(number) for number in range(1, 5)])
    assert {IntentId(at) for at, never in enumerate(attested, start=1) if never} == promises.refused
    await desk.close()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_whatever_is_asked_nothing_is_promised_twice(steps: list[tuple[str, list[object], int]]) -> None:
    """One payload per nonce and disbursement, same bytes for the same request, no stale term, no false attestation."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(play, steps, Path(folder) / "ledger.db")
