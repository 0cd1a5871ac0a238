"""
The signer's memory on disk: plain functions `(connection, …) -> result`, each run as one transaction by a driver.

`sign` loads what is known, judges row by row, signs, and writes everything in that one transaction: bytes leave only
after they are remembered (one commit per batch, `synchronous=FULL`).
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final, TypeAlias

from treasuryd.core.model import (
    AccountId,
    Address,
    Approval,
    BaseUnits,
    Binding,
    Digest,
    DisbursementId,
    Intent,
    IntentId,
    Marks,
    Nonce,
    NotWritten,
    Refused,
    Signed,
    SignRequest,
    Term,
    TxHash,
    VariantKind,
)
from treasuryd.errors import Refusal as Kind
from treasuryd.errors import Rejected
from treasuryd.signer.importing import Belief, check_ours
from treasuryd.signer.memory import (
    AccountMemory,
    Content,
    Fresh,
    Known,
    Refusal,
    Signature,
    Waiting,
    behind,
    content_of,
    is_behind,
    judge,
)
from treasuryd.signer.policy import Objection, Policy
from treasuryd.sqlite.connect import Connection

APPLICATION_ID: Final = 0x74725347  # "trSG", in the header of the file
SCRIPTS: Final = ("0001_ledger.sql", "0002_fillers.sql", "0003_witness.sql")  # added to, never edited
SCHEMA_VERSION: Final = len(SCRIPTS)

Sign: TypeAlias = Callable[[SignRequest], tuple[bytes, TxHash]]  # the bytes of one request, and their name
Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What signing needs beside the ledger: the policy, the accounts that have a key, and the hand that signs."""

    policy: Policy
    accounts: frozenset[AccountId]
    sign: Sign


def _read_sql(name: str) -> str:
    return files("treasuryd.signer").joinpath("sql", name).read_text(encoding="utf-8")


_NAMED: Final = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
SQL: Final[Mapping[str, str]] = {
    name: query.strip() for name, query in _NAMED.findall(_read_sql("queries.sql"))
}


def migrate(connection: Connection) -> None:
    """
    Bring the ledger to this version's schema.

    Raises: Rejected when a newer version of treasuryd wrote it.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise Rejected(
            f"the signer's ledger has schema version {version}, this treasuryd knows {SCHEMA_VERSION}",
            hint="Start the newer treasuryd; a ledger is never taken back.",
            kind=Kind.CONFLICT,
        )
    if version == SCHEMA_VERSION:
        return
    for script in SCRIPTS[version:]:
        for statement in _statements(_read_sql(script)):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _statements(script: str) -> list[str]:
    """Split a script; `executescript` would commit the transaction that we are in."""
    statements, rest = [], ""
    for line in script.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            statements.append(rest)
            rest = ""
    return statements


# --- signing ---------------------------------------------------------------------------------------------------


def sign(
    connection: Connection, requests: Sequence[SignRequest], terms: Mapping[AccountId, Term], bench: Bench
) -> list[Signed | Refused]:
    """
    Answer a batch: an account's rows in nonce order, up to the first refusal and all behind it (protocol.md R11).

    Args: terms of the leases that the sender holds; an account not in it is refused.
    Returns: one answer per request, in the order of the requests.
    """
    known = _load(connection, requests)
    answers: dict[int, Signed | Refused] = {}
    writes = _Writes()
    for rows in _by_account(requests).values():
        _answer(requests, rows, known, terms, bench, answers, writes)
    writes.flush(connection, known)
    return [answers[row] for row in range(len(requests))]


def _by_account(requests: Sequence[SignRequest]) -> dict[AccountId, list[int]]:
    """Group the rows by account, each group in nonce order."""
    rows = sorted(range(len(requests)), key=lambda row: (requests[row].nonce, requests[row].variant))
    groups: dict[AccountId, list[int]] = {}
    for row in rows:
        groups.setdefault(requests[row].account, []).append(row)
    return groups


def _answer(
    requests: Sequence[SignRequest],
    rows: Sequence[int],
    known: Known,
    terms: Mapping[AccountId, Term],
    bench: Bench,
    answers: dict[int, Signed | Refused],
    writes: "_Writes",
) -> None:
    """Judge, and sign, the rows of one account."""
    first: Refusal | None = None
    for row in rows:
        request = requests[row]
        term = terms.get(request.account)
        if first is not None:
            refusal = behind(first, request, known)
            answers[row] = writes.refused(row, request, refusal, known)
            continue
        content = content_of(request)
        verdict = judge(request, content, known, term=term, policy=bench.policy, accounts=bench.accounts)
        if isinstance(verdict, Refusal):
            if not _alone(verdict, request, known):
                first = verdict
            answers[row] = writes.refused(row, request, verdict, known)
            continue
        if isinstance(verdict, Fresh):
            tx_bytes, tx_hash = bench.sign(request)
            verdict = Signature(kind=request.kind, fee=request.fee, tx_bytes=tx_bytes, tx_hash=tx_hash)
            writes.signed(request, content, verdict, known)
        if term is not None:
            writes.terms[request.account] = term
        answers[row] = Signed(
            intent_id=request.intent_id,
            variant=request.variant,
            tx_bytes=verdict.tx_bytes,
            tx_hash=verdict.tx_hash,
        )


def _alone(refusal: Refusal, request: SignRequest, known: Known) -> bool:
    """
    Whether a refusal stops nothing behind it: policy objects to a further variant of what is bound, its fee above all.

    Its nonce has signed bytes, so that nothing behind it would find a gap.
    """
    return isinstance(refusal.why, Objection) and request.intent_id in known.contents


class _Writes:
    """What one batch adds to the ledger, written at its end in a few statements."""

    def __init__(self) -> None:
        self.intents: list[Row] = []
        self.signatures: list[Row] = []
        self.refusals: list[Row] = []
        self.terms: dict[AccountId, Term] = {}
        self.marks: dict[AccountId, tuple[int, int]] = {}

    def signed(self, request: SignRequest, content: Content, signature: Signature, known: Known) -> None:
        if request.intent_id not in known.contents:
            self.intents.append(_intent_row(request.intent_id, content))
        self.signatures.append(_signature_row(request, signature))
        nonce, disbursement = self.marks.get(request.account, (0, 0))
        self.marks[request.account] = (
            max(nonce, request.nonce),
            max(disbursement, request.disbursement_id or 0),
        )
        known.remember(request, signature, content)

    def refused(self, row: int, request: SignRequest, refusal: Refusal, known: Known) -> Refused:
        if refusal.lasting and request.intent_id not in known.refusals:
            known.refusals[request.intent_id] = refusal
            self.refusals.append(
                (
                    request.intent_id, request.account, request.disbursement_id, refusal.why, refusal.detail,
                    int(refusal.first),
                )
            )  # fmt: skip
        return Refused(
            row=row,
            reason=refusal.why.value,
            detail=refusal.detail,
            intent_id=request.intent_id,
            disbursement_id=request.disbursement_id,
            final=refusal.lasting,
            first=refusal.first,
        )

    def flush(self, connection: Connection, known: Known) -> None:
        connection.executemany(SQL["add_intent"], self.intents)
        connection.executemany(SQL["add_signature"], self.signatures)
        connection.executemany(SQL["add_refusal"], self.refusals)
        raised = []
        for account in self.marks.keys() | self.terms.keys():
            nonce, disbursement = self.marks.get(account, (0, 0))
            term = self.terms.get(account, Term(0))
            before = known.accounts.get(account, AccountMemory()).marks
            if (nonce, disbursement, term) > (0, 0, before.term):
                raised.append((account, nonce, disbursement, term))
        connection.executemany(SQL["raise_marks"], raised)


def _load(connection: Connection, requests: Sequence[SignRequest]) -> Known:
    """Read everything that bears on these requests, with one statement per kind of question."""
    intents = _list(request.intent_id for request in requests)
    known = Known(accounts=_accounts(connection))
    for row in connection.execute(SQL["contents"], (intents,)).fetchall():
        known.contents[row[0]] = _content(row)
    for intent, variant, kind, fee, _, tx_hash, tx_bytes in connection.execute(
        SQL["signatures"], (intents,)
    ).fetchall():
        known.signatures[intent, variant] = Signature(
            kind=VariantKind(kind), fee=fee, tx_bytes=tx_bytes, tx_hash=tx_hash
        )
    nonces: dict[AccountId, list[Nonce]] = {}
    for request in requests:
        nonces.setdefault(request.account, []).append(request.nonce)
    for account, wanted in nonces.items():
        _load_nonces(connection, account, wanted, known)
    disbursements = _list(
        request.disbursement_id for request in requests if request.disbursement_id is not None
    )
    for disbursement, intent in connection.execute(SQL["by_disbursement"], (disbursements,)).fetchall():
        known.others.setdefault(disbursement, set()).add(intent)
    for intent, why, detail, first in connection.execute(SQL["refusals"], (intents,)).fetchall():
        known.refusals[intent] = Refusal(why=_why(why), detail=detail, lasting=True, first=bool(first))
    judged = _list({request.intent_id for request in requests}.union(*known.others.values()))
    known.void.update(row[0] for row in connection.execute(SQL["judged_void"], (judged,)).fetchall())
    return known


def _load_nonces(connection: Connection, account: AccountId, nonces: Sequence[Nonce], known: Known) -> None:
    """Read whose these nonces are, and which of them are to be filled."""
    asked = (account, _list(nonces))
    for nonce, intent, filler in connection.execute(SQL["by_nonce"], asked).fetchall():
        if filler:
            known.fillers.setdefault((account, nonce), set()).add(intent)
        else:
            known.by_nonce[account, nonce] = intent
    known.to_fill |= {(account, row[0]) for row in connection.execute(SQL["to_fill"], asked).fetchall()}


def _why(text: str) -> Objection | Waiting:
    return Waiting.BEHIND if text == Waiting.BEHIND else Objection(text)


# --- asking ----------------------------------------------------------------------------------------------------


def marks(connection: Connection, accounts: Iterable[AccountId] = ()) -> dict[AccountId, Marks]:
    """Tell the highest that was ever bound, for these accounts and for every other that ever signed."""
    last = IntentId(connection.execute(SQL["last_intent"]).fetchone()[0])
    known = {account: memory.marks for account, memory in _accounts(connection).items()}
    return {
        account: replace(found, intent_id=last)
        for account, found in (dict.fromkeys(accounts, Marks()) | known).items()
    }


def bindings(connection: Connection, account: AccountId, first: Nonce, limit: int) -> list[Binding]:
    """Tell what is bound from a nonce on, in order; `limit` counts nonces, so that no variant is cut off."""
    rows = connection.execute(SQL["bindings"], (account, first, limit)).fetchall()
    contents = {IntentId(row[0]): _content(row) for row in rows}
    found: dict[IntentId, list[Row]] = {}
    for row in connection.execute(SQL["signatures"], (_list(contents),)).fetchall():
        found.setdefault(row[0], []).append(row)
    return [
        _binding(intent, content, row)
        for intent, content in contents.items()
        for row in found.get(intent, [])
    ]


def never_bound(connection: Connection, intents: Sequence[IntentId]) -> list[bool]:
    """Attest, per intent, a stored refusal of that very intent and no binding (R5 c); never after a loss of memory."""
    attested = {row[0] for row in connection.execute(SQL["never_bound"], (_list(intents),)).fetchall()}
    return [intent in attested for intent in intents]


def abandon(connection: Connection, intents: Sequence[Intent]) -> list[bool]:
    """
    Refuse for good what is not bound, since its nonce was used by somebody else (R5 c); answers like `never_bound`.

    An account that has lost its memory cannot know what it bound: nothing of it is refused. What has the id of something
    else that is bound (two stores went on under one signer) was never bound, and never will be: the id is taken.
    """
    known = _accounts(connection)
    rows = [
        (
            intent.id,
            intent.account,
            intent.disbursement_id,
            Waiting.BEHIND,
            "its nonce was used by somebody else",
            0,
        )
        for intent in intents
        if not known.get(intent.account, AccountMemory()).lost
    ]
    ids = [intent.id for intent in intents]
    bound = {row[0]: _content(row) for row in connection.execute(SQL["contents"], (_list(ids),)).fetchall()}
    connection.executemany(SQL["add_refusal"], [row for row in rows if row[0] not in bound])
    asked = {row[0] for row in rows}
    return [
        never or (intent.id in bound and intent.id in asked and not _same(bound[intent.id], intent))
        for intent, never in zip(intents, never_bound(connection, ids), strict=True)
    ]


def _same(bound: Content, intent: Intent) -> bool:
    """Whether it is this very payment that was bound."""
    return (bound.account, bound.nonce, bound.disbursement_id, bound.destination, bound.amount) == (
        intent.account, intent.nonce, intent.disbursement_id, intent.destination, intent.amount,
    )  # fmt: skip


# --- a person's word -------------------------------------------------------------------------------------------


def confirm_void(
    connection: Connection, intents: Sequence[IntentId], by: Approval
) -> list[IntentId | NotWritten]:
    """Remember that these intents are void: nothing new is signed for them, and their disbursements may be bound anew."""
    connection.executemany(SQL["add_void"], [(intent, by.who, by.reason, by.at) for intent in intents])
    return list(intents)


def confirm_fill(connection: Connection, account: AccountId, nonces: Sequence[Nonce], by: Approval) -> None:
    """Remember that these nonces pay nobody any more: fillers alone are signed under them (R9, R11)."""
    connection.executemany(SQL["add_fill"], [(account, nonce, by.who, by.reason, by.at) for nonce in nonces])


def recall(connection: Connection, sealed: Mapping[AccountId, Marks]) -> list[AccountId]:
    """Remember what the store has sealed where that is more than we know; answers the accounts that lost their memory."""
    known = _accounts(connection)
    lost = []
    for account, theirs in sealed.items():
        ours = known.get(account, AccountMemory())
        if is_behind(ours.marks, theirs):
            connection.execute(SQL["raise_sealed"], (account, theirs.nonce, theirs.disbursement_id))
            lost.append(account)
        elif ours.lost:
            lost.append(account)
    return lost


def adopt(
    connection: Connection,
    belief: Belief,
    imported: Sequence[Binding],
    by: Approval,
    *,
    give_up: bool = False,
) -> None:
    """
    Take bindings in as if they had been signed here; repeating it is harmless.

    Args: give_up is a person's word that what is missing beyond them is lost for good: the marks rise to what was sealed.

    Raises: Rejected, and nothing is taken in, when one that is not known yet is not believed, when one contradicts what is
        known, or when the account would still know less than the store has sealed.
    """
    account = belief.account
    requests = [binding.request for binding in imported]
    known = _load(connection, requests)
    check_ours([one for one in imported if _place(one) not in known.signatures], belief)
    writes = _Writes()
    for binding in imported:
        _adopt_one(binding, known, writes)
    writes.flush(connection, known)
    connection.execute(SQL["add_adoption"], (account, len(imported), by.who, by.reason, by.at))
    memory = _accounts(connection).get(account, AccountMemory())
    if memory.lost and give_up:
        sealed = memory.sealed
        connection.execute(SQL["raise_marks"], (account, sealed.nonce, sealed.disbursement_id, 0))
    elif memory.lost:
        raise Rejected(
            f"the import for {account} ends at nonce {memory.marks.nonce}, disbursement {memory.marks.disbursement_id}; "
            f"the store has sealed up to nonce {memory.sealed.nonce}, disbursement {memory.sealed.disbursement_id}",
            hint="Import all bindings of the store and of the journal. Where they are lost for good and the account is in "
            "quarantine: `treasuryd signer import --give-up`.",
            kind=Kind.CONFLICT,
        )


def _place(binding: Binding) -> tuple[IntentId, int]:
    return binding.request.intent_id, binding.request.variant


def _adopt_one(binding: Binding, known: Known, writes: _Writes) -> None:
    request = binding.request
    content = content_of(request)
    signature = Signature(
        kind=request.kind, fee=request.fee, tx_bytes=binding.tx_bytes, tx_hash=binding.tx_hash
    )
    before = known.signatures.get(_place(binding))
    bound = known.contents.get(request.intent_id, content)
    owner = known.by_nonce.get((request.account, request.nonce), request.intent_id)
    other = owner != request.intent_id and request.disbursement_id is not None
    if bound != content or other or before not in (None, signature):
        raise Rejected(
            f"intent {request.intent_id}, variant {request.variant}, nonce {request.nonce}: the ledger knows other "
            "content under the same name",
            hint="One of the two histories is wrong; nothing was imported. Keep both files and look at the chain.",
            kind=Kind.CONFLICT,
        )
    if request.intent_id in known.refusals:
        raise Rejected(
            f"intent {request.intent_id} was refused for good by this ledger and cannot have been signed",
            hint="The binding to import is not from this signer; nothing was imported.",
            kind=Kind.CONFLICT,
        )
    if before is None:
        writes.signed(request, content, signature, known)
    writes.terms[request.account] = max(request.term, writes.terms.get(request.account, request.term))


# --- rows ------------------------------------------------------------------------------------------------------


def _accounts(connection: Connection) -> dict[AccountId, AccountMemory]:
    return {
        AccountId(name): AccountMemory(
            marks=Marks(nonce=nonce, disbursement_id=disbursement, term=term),
            sealed=Marks(nonce=sealed_nonce, disbursement_id=sealed_disbursement),
        )
        for name, nonce, disbursement, term, sealed_nonce, sealed_disbursement in connection.execute(
            SQL["accounts"]
        ).fetchall()
    }


def _list(values: Iterable[object]) -> str:
    return json.dumps(list(values))


def _intent_row(intent: IntentId, content: Content) -> Row:
    return (
        intent, content.account, content.nonce, content.disbursement_id, content.destination, content.amount,
        content.memo, content.payload_digest, content.idempotency_key,
    )  # fmt: skip


def _signature_row(request: SignRequest, signature: Signature) -> Row:
    return (
        request.intent_id, request.variant, request.kind, request.fee, request.term, signature.tx_hash,
        signature.tx_bytes,
    )  # fmt: skip


def _content(row: Row) -> Content:
    return Content(
        account=AccountId(row[1]),
        nonce=Nonce(row[2]),
        disbursement_id=None if row[3] is None else DisbursementId(row[3]),
        destination=Address(row[4]),
        amount=BaseUnits(row[5]),
        memo=row[6],
        payload_digest=Digest(row[7]),
        idempotency_key=row[8],
    )


def _binding(intent: IntentId, content: Content, row: Row) -> Binding:
    _, variant, kind, fee, term, tx_hash, tx_bytes = row
    request = SignRequest(
        intent_id=intent,
        variant=variant,
        kind=VariantKind(kind),
        account=content.account,
        nonce=content.nonce,
        disbursement_id=content.disbursement_id,
        destination=content.destination,
        amount=content.amount,
        memo=content.memo,
        fee=fee,
        payload_digest=content.payload_digest,
        idempotency_key=content.idempotency_key,
        term=term,
    )
    return Binding(request=request, tx_bytes=tx_bytes, tx_hash=TxHash(tx_hash))
