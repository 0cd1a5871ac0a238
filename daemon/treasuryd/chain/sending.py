"""
Broadcasting: stored bytes to a node, oldest nonce of each account first, and what was said of each.

A reply never decides a payment (protocol.md R4). What it decides here is only whether the later nonces of the same
account are worth sending in this round. A row that a node could not take goes to the next endpoint: the bytes are
the same, so any number of nodes may have them (R3).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from treasuryd.chain.endpoint import Node, hash_mismatch, named_hash, refused_as_a_whole
from treasuryd.chain.transport import HttpRefused, NotMade, TooLate, Unreachable
from treasuryd.core import submission
from treasuryd.core.breaker import Outcome
from treasuryd.core.model import (
    AccountId,
    BootSeconds,
    CallClass,
    Endpoint,
    Intent,
    Meaning,
    Reply,
    TxHash,
)
from treasuryd.errors import Transient
from treasuryd.wire.theblock import replies as words
from treasuryd.wire.theblock.replies import Result, RpcError, Said

REPLAY_ATTEMPTS: Final = 3  # a collision of 63 random bits is no accident: three and it is the node's fault
_ROW_BYTES: Final = 120  # of JSON around one transaction in hex, rounded up

# whatever came before it: later nonces cannot get in now, or nothing is known
_STOPS: Final = frozenset(
    {Meaning.PENDING_LIMIT, Meaning.NONCE_GAP, Meaning.UNKNOWN, Meaning.NODE_BROKEN, Meaning.RATE_LIMITED,
     Meaning.REPLAYED, Meaning.NOT_SENT}
)  # fmt: skip
# of a first send these leave a gap; of a re-send they may be said of what is in a block already (N4)
_STOPS_FIRST_SEND: Final = frozenset(
    {Meaning.FEE_TOO_LOW, Meaning.INSUFFICIENT_FUNDS, Meaning.POOL_FULL, Meaning.CONTENT_REFUSED,
     Meaning.CONFIGURATION}
)  # fmt: skip
# the node, not the transaction: another endpoint may take it
_NODES_FAULT: Final = frozenset({Meaning.UNKNOWN, Meaning.NODE_BROKEN, Meaning.RATE_LIMITED})
# R8 asks whether every endpoint refuses a content: another one is asked, too
_ELSEWHERE: Final = _NODES_FAULT | {Meaning.CONTENT_REFUSED}
_UNCOUNTED: Final = frozenset({Meaning.PENDING_LIMIT, Meaning.REPLAYED})  # N10, N12: these count nowhere
_TAKEN: Final = frozenset({Meaning.ACCEPTED, Meaning.ALREADY_KNOWN})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One row on its way: its place in the caller's batch, and what leaves."""

    place: int
    account: AccountId
    tx: bytes
    tx_hash: TxHash | None
    first_send: bool


class Broadcast:
    """
    One batch on its way through the endpoints.

    Guarantees: no request starts after `until`; rows of one account leave in the order given; every row has a reply;
    NOT_SENT is said of a row only if no byte of it left in this broadcast.
    """

    def __init__(
        self,
        sealed: Sequence[Intent],
        *,
        until: BootSeconds,
        fee_too_low: Callable[[Endpoint], None],
    ) -> None:
        self._until = until
        self._fee_too_low = fee_too_low
        self._rows = _outgoing(sealed)
        self._replies: list[Reply | None] = [None] * len(sealed)
        self._open = {row.place for row in self._rows}  # what the next endpoint may still take
        self._refused = Counter[int]()  # by how many endpoints a row was refused for its content
        self._too_late = False

    async def through(self, nodes: Sequence[Node]) -> list[Reply]:
        """Offer the rows to one endpoint after the other, until each is decided."""
        for node in nodes:
            if not self._open or self._too_late:
                break
            await self._by(node)
        unsent = Reply(meaning=Meaning.NOT_SENT, endpoint=nodes[0].name, detail="not reached in this round")
        return [
            unsent if reply is None else self._counted(place, reply, len(nodes))
            for place, reply in enumerate(self._replies)
        ]

    def _counted(self, place: int, reply: Reply, nodes: int) -> Reply:
        """Say that a content is refused only where every endpoint said so; one that was not heard may take it (R8)."""
        refused = self._refused[place]
        if reply.meaning is not Meaning.CONTENT_REFUSED or refused == nodes:
            return reply
        detail = f"{refused} of {nodes} endpoints refused its content: {reply.detail}"
        return replace(reply, meaning=Meaning.UNKNOWN, detail=detail[: words.MAX_DETAIL_CHARS])

    async def _by(self, node: Node) -> None:
        if not node.probed:
            with contextlib.suppress(Transient):  # sending does not depend on reading: then one by one
                await node.ensure_probed()
        rows = [row for row in self._rows if row.place in self._open]
        if node.abilities.batch:
            rows = await self._in_batches(node, rows)
        if rows and not self._too_late:
            await self._one_by_one(node, rows)

    # --- many in one request ------------------------------------------------------------------------------

    async def _in_batches(self, node: Node, rows: list[Outgoing]) -> list[Outgoing]:
        """Send chunk by chunk; gives the rows that are left when the endpoint turns out not to know batches."""
        stopped: dict[AccountId, Meaning] = {}
        at = 0
        while at < len(rows):
            end = _chunk_end(rows, at, node)
            chunk, at = rows[at:end], end
            chunk = self._without_stopped(node, chunk, stopped)
            if not chunk:
                continue
            try:
                said = await self._send_chunk(node, chunk)
            except Transient as error:
                self._node_failed(node, chunk, error)
                return []
            if said is None:
                node.lose(batch=False)
                return chunk + rows[at:]
            self._note_chunk(node, chunk, said, stopped)
        return []

    async def _send_chunk(self, node: Node, chunk: list[Outgoing]) -> list[tuple[Said, Any]] | None:
        """
        Send one chunk, and again, with fresh replay nonces, what was refused for a used one (N10).

        Rows behind such a one found a gap for its sake alone: they go out again with it.
        """
        answered = await self._request(node, chunk)
        for _ in range(REPLAY_ATTEMPTS - 1):
            if answered is None:
                return None
            again = _to_repeat(chunk, answered)
            if not again:
                break
            try:
                repeated = await self._request(node, [chunk[index] for index in again])
            except Transient as error:
                repeated = [_after_replay(error)] * len(again)
            if repeated is None:
                break
            for index, row in zip(again, repeated, strict=True):
                answered[index] = row
        return answered

    async def _request(self, node: Node, chunk: list[Outgoing]) -> list[tuple[Said, Any]] | None:
        first = node.ids(len(chunk))
        bits63 = node.entropy.bits63
        # joined by hand: this is the hot path, and hex digits need no escaping
        body = ",".join(
            f'{{"id":{number},"jsonrpc":"2.0","method":"submit_tx","params":{{"nonce":{bits63()},"tx":"{row.tx.hex()}"}}}}'
            for number, row in enumerate(chunk, first)
        )

        def read(answer: bytes) -> tuple[list[tuple[Said, Any]] | None, Outcome]:
            rows = words.read_batch(
                answer, first_id=first, count=len(chunk), limit=node.config.max_reply_bytes
            )
            if refused_as_a_whole(rows):
                return None, Outcome.IGNORED
            said = [(meaning_of(row), row) for row in rows]
            return said, outcome_of([meant for meant, _ in said])

        return await node.exchange(CallClass.SEND, f"[{body}]".encode(), read, until=self._until)

    def _note_chunk(
        self,
        node: Node,
        chunk: list[Outgoing],
        said: list[tuple[Said, Any]],
        stopped: dict[AccountId, Meaning],
    ) -> None:
        for row, (meant, raw) in zip(chunk, said, strict=True):
            self._note(node, row, meant, raw)
            if stops(row, meant.meaning):
                stopped.setdefault(row.account, meant.meaning)

    def _without_stopped(
        self, node: Node, chunk: list[Outgoing], stopped: dict[AccountId, Meaning]
    ) -> list[Outgoing]:
        """Keep the rows whose account goes on here; the next endpoint may take those that this one failed."""
        if not stopped:
            return chunk
        for row in chunk:
            if row.account in stopped and stopped[row.account] not in _NODES_FAULT:
                self._pointless(node, row)
        return [row for row in chunk if row.account not in stopped]

    # --- one in one request -------------------------------------------------------------------------------

    async def _one_by_one(self, node: Node, rows: list[Outgoing]) -> None:
        """Send each account's rows one after the other, a few accounts side by side."""
        by_account: dict[AccountId, list[Outgoing]] = {}
        for row in rows:
            by_account.setdefault(row.account, []).append(row)
        waiting = iter(by_account.values())
        # while a probe is awaited one caller at a time: the others would only be refused
        workers = min(len(by_account), node.config.accounts_at_once) if self._flows(node) else 1

        async def work() -> None:
            for own in waiting:
                await self._serially(node, own)

        if workers == 1:
            await work()
            return
        async with anyio.create_task_group() as group:
            for number in range(workers):
                group.start_soon(work, name=f"broadcast {node.name} {number}")

    @staticmethod
    def _flows(node: Node) -> bool:
        return node.guards[CallClass.SEND].closed()

    async def _serially(self, node: Node, rows: list[Outgoing]) -> None:
        for number, row in enumerate(rows):
            if self._too_late:
                return
            try:
                meant, raw = await self._send_one(node, row)
            except Transient as error:
                self._node_failed(node, [row], error)
                return  # the rows behind it stay open for the next endpoint
            self._note(node, row, meant, raw)
            if stops(row, meant.meaning):
                if meant.meaning not in _NODES_FAULT:
                    for later in rows[number + 1 :]:
                        self._pointless(node, later)
                return

    async def _send_one(self, node: Node, row: Outgoing) -> tuple[Said, Any]:
        text = row.tx.hex()
        answered = await self._request_one(node, text)
        for _ in range(REPLAY_ATTEMPTS - 1):
            if answered[0].meaning is not Meaning.REPLAYED:
                break
            try:
                answered = await self._request_one(node, text)
            except Transient as error:
                return _after_replay(error)
        return answered

    async def _request_one(self, node: Node, text: str) -> tuple[Said, Any]:
        number = node.ids(1)
        params = {"nonce": node.entropy.bits63(), "tx": text}
        body = words.request_bytes("submit_tx", params, request_id=number)

        def read(answer: bytes) -> tuple[tuple[Said, Any], Outcome]:
            row = words.read_reply(answer, request_id=number)
            meant = meaning_of(row)
            return (meant, row), outcome_of([meant])

        return await node.exchange(CallClass.SEND, body, read, until=self._until)

    # --- what was said ------------------------------------------------------------------------------------

    def _note(self, node: Node, row: Outgoing, said: Said, raw: object) -> None:
        """Keep what was said of a row; an alarm for a strange hash or a poisoned node."""
        named = named_hash(raw)
        if named is not None and row.tx_hash is not None and named != row.tx_hash:
            node.observer.saw(hash_mismatch(node.name, row.account, ours=row.tx_hash, theirs=named))
        node.heed(said)
        if said.meaning is Meaning.FEE_TOO_LOW:
            self._fee_too_low(node.name)
        if said.meaning is Meaning.CONTENT_REFUSED:
            self._refused[row.place] += 1
        self._keep(row, Reply(meaning=said.meaning, endpoint=node.name, detail=said.detail, tx_hash=named))
        if said.meaning not in _ELSEWHERE:
            self._open.discard(row.place)

    def _pointless(self, node: Node, row: Outgoing) -> None:
        """Leave a row for the next round: what stopped its account stands before it at every endpoint."""
        self._not_sent(node, row, "an earlier nonce of its account did not get in")
        self._open.discard(row.place)

    def _node_failed(self, node: Node, chunk: list[Outgoing], error: Transient) -> None:
        """Note for each row of a request that brought no verdicts whether it may have left."""
        self._too_late = self._too_late or isinstance(error, TooLate)
        meaning, retry_after = Meaning.UNKNOWN, None
        if isinstance(error, HttpRefused):
            meaning, retry_after = error.meaning, error.retry_after_seconds
        for row in chunk:
            if isinstance(error, (NotMade, Unreachable)):
                self._not_sent(node, row, error.message)
            else:
                reply = Reply(
                    meaning=meaning,
                    endpoint=node.name,
                    detail=error.message[: words.MAX_DETAIL_CHARS],
                    retry_after_seconds=retry_after,
                )
                self._keep(row, reply)

    def _not_sent(self, node: Node, row: Outgoing, detail: str) -> None:
        """Say NOT_SENT, unless an endpoint before this one was offered the row."""
        detail = detail[: words.MAX_DETAIL_CHARS]
        self._keep(row, Reply(meaning=Meaning.NOT_SENT, endpoint=node.name, detail=detail))

    def _keep(self, row: Outgoing, reply: Reply) -> None:
        self._replies[row.place] = submission.joined(self._replies[row.place], reply)


def stops(row: Outgoing, meaning: Meaning) -> bool:
    """Say whether the later nonces of the row's account are pointless after this reply."""
    return meaning in _STOPS or (row.first_send and meaning in _STOPS_FIRST_SEND)


def outcome_of(said: Sequence[Said]) -> Outcome:
    """Classify a broadcast for the breaker: a refusal is an answer; a broken or unreadable node is a failure."""
    meanings = {meant.meaning for meant in said}
    if meanings & _TAKEN:
        return Outcome.SUCCESS
    if meanings & _NODES_FAULT:
        return Outcome.FAILURE
    return Outcome.IGNORED if meanings <= _UNCOUNTED else Outcome.SUCCESS


_ACCEPTED: Final = Said(meaning=Meaning.ACCEPTED)


def meaning_of(row: Result | RpcError | None) -> Said:
    """Say what a row means; the usual answer without making a new value."""
    if isinstance(row, Result) and row.value == words.ACCEPTED_RESULT:
        return _ACCEPTED
    return words.meaning_of(row)


def _after_replay(error: Transient) -> tuple[Said, Any]:
    """Say what stands of rows that were refused for their replay nonce and then failed: they did leave once."""
    meaning = Meaning.UNKNOWN
    if isinstance(error, HttpRefused):
        meaning = error.meaning
    elif isinstance(error, (NotMade, Unreachable)):
        meaning = Meaning.REPLAYED
    return Said(meaning=meaning, detail=error.message[: words.MAX_DETAIL_CHARS]), None


def _to_repeat(chunk: Sequence[Outgoing], answered: Sequence[tuple[Said, Any]]) -> list[int]:
    """Find the rows with a used replay nonce, and those of the same account behind them that found a gap."""
    accounts: set[AccountId] = set()
    again: list[int] = []
    for index, (row, (said, _)) in enumerate(zip(chunk, answered, strict=True)):
        if said.meaning is Meaning.REPLAYED:
            accounts.add(row.account)
            again.append(index)
        elif said.meaning is Meaning.NONCE_GAP and row.account in accounts:
            again.append(index)
    return again


def _chunk_end(rows: Sequence[Outgoing], start: int, node: Node) -> int:
    """Say where the chunk from `start` on ends: bounded by rows and by bytes, at least one row."""
    size, end = 2, start
    last = min(len(rows), start + node.config.batch_rows)
    while end < last:
        size += 2 * len(rows[end].tx) + _ROW_BYTES
        if size > node.config.max_body_bytes and end > start:
            break
        end += 1
    return end


def _outgoing(sealed: Sequence[Intent]) -> list[Outgoing]:
    """List what leaves: only sealed bytes (protocol.md R1), and of an account nothing behind a row without any."""
    rows: list[Outgoing] = []
    gaps: set[AccountId] = set()
    for place, intent in enumerate(sealed):
        current = intent.current()
        if current.tx_bytes is None:
            gaps.add(intent.account)
        elif intent.account not in gaps:
            first = intent.sent_at is None
            rows.append(Outgoing(place, intent.account, current.tx_bytes, current.tx_hash, first))
    return rows
