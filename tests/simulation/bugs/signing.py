"""Bugs of the signer and of what is asked of it (protocol.md R1, R5 c, R11)."""

from dataclasses import replace
from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, reword, swap, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.core import planner
from treasuryd.core.model import Refused, State
from treasuryd.executor import perform
from treasuryd.signer import ledger, memory
from treasuryd.store import standing


def unstage_what_waits(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        async def sign(grip: Any, intents: Any) -> Any:
            rows = list(intents)
            now = grip.mind.at.unix
            old = [intent for intent in rows if intent.state is State.STAGED and intent.staged_at != now]
            await perform._unstage(grip, _never(old), {intent.id: intent.account for intent in old})
            return await right(grip, [intent for intent in rows if intent not in old])

        return sign

    wrap(patch, perform, "sign", make)


def _never(intents: Any) -> list[Refused]:
    """Say in the signer's name what it never said."""
    return [
        Refused(
            row=row,
            reason="never_bound",
            intent_id=intent.id,
            disbursement_id=intent.disbursement_id,
            final=True,
        )
        for row, intent in enumerate(intents)
    ]


def unstage_unasked(patch: pytest.MonkeyPatch) -> None:
    async def ask_signer(grip: Any, intents: Any, unsigned: Any) -> None:
        lowest: dict[Any, Any] = {}
        for intent in intents:
            lowest[intent.account] = min(intent.nonce, lowest.get(intent.account, intent.nonce))
        found = {intent.id: intent for intent in intents}
        for intent in unsigned:
            if intent.state is State.STAGED and intent.nonce >= lowest.get(intent.account, intent.nonce + 1):
                found[intent.id] = intent
        rows = list(found.values())
        await perform._unstage(grip, _never(rows), {intent.id: intent.account for intent in rows})

    swap(patch, perform, "ask_signer", ask_signer)


def keep_the_nonces(patch: pytest.MonkeyPatch) -> None:
    reword(patch, standing.SQL, "return_nonces", "next_nonce = ?1", "next_nonce = max(next_nonce, ?1)")


def send_before_sealing(patch: pytest.MonkeyPatch) -> None:
    """The bytes go to the chain as soon as they are signed; the store hears of them afterwards."""
    asked: dict[int, Any] = {}

    def sign(right: Any) -> Any:
        async def remembering(grip: Any, intents: Any) -> Any:
            rows = list(intents)
            asked.update({intent.id: intent for intent in rows})
            return await right(grip, rows)

        return remembering

    def seal(right: Any) -> Any:
        async def after_sending(grip: Any, signed: Any, accounts: Any) -> Any:
            leaving = [
                replace(
                    asked[row.intent_id],
                    variants=tuple(
                        replace(variant, tx_bytes=row.tx_bytes, tx_hash=row.tx_hash)
                        for variant in asked[row.intent_id].variants
                        if variant.number == row.variant
                    ),
                )
                for row in signed
                if row.intent_id in asked
            ]
            if leaving:
                await grip.world.chain.broadcast(leaving, until=grip.held().until)
            return await right(grip, signed, accounts)

        return after_sending

    wrap(patch, perform, "sign", sign)
    wrap(patch, perform, "_seal", seal)


def sign_the_fresh(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        def decide(view: Any, at: Any, rules: Any, *, pricing: Any) -> Any:
            plan = right(view, at, rules, pricing=pricing)
            return replace(plan, sign=tuple(one for one in plan.sign if one.state is not State.STAGED))

        return decide

    wrap(patch, planner, "decide", make)


def sign_a_second(patch: pytest.MonkeyPatch) -> None:
    swap(patch, memory, "_second", lambda *_: None)


def sign_under_any_term(patch: pytest.MonkeyPatch) -> None:
    edit(patch, memory, "_stale", ("term < memory.marks.term or request.term > term", "False"))


def sign_without_memory(patch: pytest.MonkeyPatch) -> None:
    edit(patch, memory, "_stale", ("memory.lost", "False"))


def refuse_the_item(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        def load(connection: Any, requests: Any) -> Any:
            known = right(connection, requests)
            for request in requests:
                sql = "SELECT why, detail FROM refusal WHERE disbursement_id = ? AND first = 1 LIMIT 1"
                row = connection.execute(sql, (request.disbursement_id,)).fetchone()
                if row is not None and request.intent_id not in known.contents:
                    refusal = memory.Refusal(why=ledger._why(row[0]), detail=row[1], lasting=True)
                    known.refusals.setdefault(request.intent_id, refusal)
            return known

        return load

    wrap(patch, ledger, "_load", make)


BUGS: Final = (
    Bug(
        name="staged_row_taken_back",
        rule="R5",
        story="a row that a crash left staged is taken back: surely nobody signed it",
        plant=unstage_what_waits,
    ),
    Bug(
        name="only_fresh_rows_signed",
        rule="R1",
        story="a tick signs what it staged itself, and never what an earlier one left staged",
        plant=sign_the_fresh,
    ),
    Bug(
        name="unstaged_without_the_signer",
        rule="R5",
        story="a staged row whose nonce is consumed is unstaged without the signer's word",
        plant=unstage_unasked,
        world={"thieves": True, "often": (("crash_at_sealing", 10.0), ("ask", 10.0))},
    ),
    Bug(
        name="refused_nonce_kept",
        rule="R11",
        story="the nonces of rows that the signer refused are not returned",
        plant=keep_the_nonces,
        world={
            "accounts": 1,
            "executors": 1,
            "often": (("tell_policy", 10.0), ("ask", 15.0), ("decide_some", 8.0)),
        },
    ),
    Bug(
        name="sent_before_sealed",
        rule="R1",
        story="signed bytes leave before they are stored",
        plant=send_before_sealing,
    ),
    Bug(
        name="refusal_of_the_item",
        rule="R11",
        story="the signer's refusal is for the disbursement, and no release ends it",
        plant=refuse_the_item,
        world={"accounts": 1, "often": (("tell_policy", 8.0), ("ask", 12.0), ("decide_some", 8.0))},
    ),
    Bug(
        name="second_payload_signed",
        rule="R11",
        story="the signer signs a second payload for a nonce or a disbursement that it has bound",
        plant=sign_a_second,
    ),
    Bug(
        name="stale_term_signed",
        rule="R11",
        story="the signer signs for a leader whose term has passed",
        plant=sign_under_any_term,
    ),
    Bug(
        name="signed_without_memory",
        rule="R11",
        story="a signer that lost its ledger goes on signing",
        plant=sign_without_memory,
        world={
            "fragile": True,
            "accounts": 1,
            "executors": 1,
            "probes": 0.6,
            "often": (("lose_ledger", 8.0), ("ask", 10.0)),
        },
    ),
)
