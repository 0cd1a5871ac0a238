"""
One node: every call to it passes its limiter and a breaker, and comes back as a value or as one of our errors.

Reads and sends have a breaker each. What a node can beyond the plain protocol is probed, never assumed (N17).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.chain.guard import Guard
from treasuryd.chain.limiter import Limiter
from treasuryd.chain.transport import Answer, HttpRefused, Lost, TooLate, Transport, Unreachable
from treasuryd.core.breaker import Outcome, asked_silence
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import AccountId, Address, BootSeconds, CallClass, Endpoint, Meaning, TxHash
from treasuryd.errors import Transient
from treasuryd.ports import Clock, Entropy, Observer
from treasuryd.wire.theblock import replies as words
from treasuryd.wire.theblock.readings import (
    StreamFrame,
    read_account,
    read_frame,
    read_headers,
    read_tx_status,
)
from treasuryd.wire.theblock.replies import Malformed, Result, RpcError

T = TypeVar("T")
Row: TypeAlias = Result | RpcError | None  # None: the node left this row of a batch out
Call: TypeAlias = tuple[str, Mapping[str, object]]
Offload: TypeAlias = Callable[[Callable[[], StreamFrame]], Awaitable[StreamFrame]]

REPROBE_SECONDS: Final = 300.0  # abilities are asked for again: a restart may hide behind a fresh connection
# look-up that was there and is not: what was sent under it waits four times the finality depth for it (§5.1)
MISSED_SECONDS: Final = 10.0
OFFLOAD_BYTES: Final = 512 * 1024  # a longer frame is parsed off the event loop
BATCHED_METRICS_BYTES: Final = 64 * 1024  # a longer text of metrics is not asked for inside a batch
_NO_HASH: Final = "0" * 64
_COUNTS_NOWHERE: Final = words.ABSENT_ABILITY | {words.REPLAYED_NONCE}  # N17, N10
_LIMIT_WORDS: Final = ("rate limited", "banned")


class NodeError(Transient):
    """The node answered a reading with an error of its own."""

    def __init__(self, message: str, *, code: int | None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What an endpoint was found to have; nothing before it was probed (interfaces.md §5)."""

    batch: bool = False
    tx_status: bool = False
    account: bool = False
    metrics: bool = False  # the text of metrics can be had
    long_metrics: bool = False  # and is too long to be asked for in a batch


async def in_a_thread(work: Callable[[], StreamFrame]) -> StreamFrame:
    """Parse off the event loop; a simulator brings a callable that does it on the spot."""
    return await asyncio.to_thread(work)


class Node:
    """
    One endpoint with its breakers, its limiter and what is known of its abilities.

    Guarantees: no call without a permit and a place in the limiter; ids of answers are matched; a permit always
    comes back. Raises from every call: NotMade, Unreachable, Lost, HttpRefused, Malformed, all of them Transient.
    """

    def __init__(
        self,
        config: ChainConfig,
        endpoint: EndpointConfig,
        *,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        offload: Offload = in_a_thread,
    ) -> None:
        self.name = endpoint.name
        self.config = config
        self.clock = clock
        self.entropy = entropy
        self.observer = observer
        self.abilities = Abilities()
        self._url = endpoint.url.rstrip("/") + "/"
        self._transport = transport
        self._offload = offload
        self._next_id = 1
        self._probed_until = BootSeconds(0.0)  # 0: to be probed at the next use
        self._probed = False
        self._had_look_up = False
        self._poison_told = False
        self.guards = {
            kind: Guard(
                self.name,
                kind,
                settings=config.breaker,
                slow_seconds=config.slow_seconds,
                clock=clock,
                entropy=entropy,
                observer=observer,
            )
            for kind in CallClass
        }
        self._limiter = Limiter(
            clock,
            self.name,
            per_second=config.max_requests_per_second,
            burst=config.burst,
            wait_seconds=config.limiter_wait_seconds,
        )

    def retune(self, config: ChainConfig) -> None:
        """Go on with other bounds; the endpoint itself, and what is known of it, stay."""
        self.config = config
        for guard in self.guards.values():
            guard.retune(config.breaker)
        self._limiter.retune(per_second=config.max_requests_per_second, burst=config.burst)

    # --- reading ------------------------------------------------------------------------------------------

    async def ask(self, method: str, params: Mapping[str, object]) -> Result | RpcError:
        """Make one reading call."""
        first = self.ids(1)
        body = words.request_bytes(method, params, request_id=first)

        def read(answer: bytes) -> tuple[Result | RpcError, Outcome]:
            reply = words.read_reply(answer, request_id=first)
            return reply, _outcome([reply])

        return await self.exchange(CallClass.READ, body, read)

    async def ask_many(self, calls: Sequence[Call]) -> list[Row]:
        """Make several reading calls, in as few requests as the endpoint allows; one answer per call, in order."""
        rows: list[Row] = []
        step = self.config.batch_rows
        while self.abilities.batch and len(rows) < len(calls):
            chunk = calls[len(rows) : len(rows) + step]
            if len(chunk) == 1:
                break
            answered = await self._ask_batch(chunk)
            if answered is None:
                self.lose(batch=False)
                break
            rows += answered
        for method, params in calls[len(rows) :]:
            rows.append(await self.ask(method, params))
        return rows

    async def _ask_batch(self, calls: Sequence[Call]) -> list[Row] | None:
        """Make one request of many; None when the endpoint does not know batches."""
        first = self.ids(len(calls))
        body = words.batch_bytes(calls, first_id=first)

        def read(answer: bytes) -> tuple[list[Row] | None, Outcome]:
            rows = words.read_batch(
                answer, first_id=first, count=len(calls), limit=self.config.max_reply_bytes
            )
            return (None if refused_as_a_whole(rows) else rows), _outcome(rows)

        return await self.exchange(CallClass.READ, body, read)

    async def stream(self, ids: Sequence[Address] = ()) -> StreamFrame:
        """Read one frame of the state stream, of which these accounts are kept."""
        config, wanted = self.config, frozenset(ids)

        def read() -> StreamFrame:
            return read_frame(text, limit=config.max_frame_bytes, wanted=wanted)

        with self.guards[CallClass.READ].admit() as call:
            await self._limiter.take()
            call.starts()
            try:
                text = await self._transport.stream_frame(
                    self._url,
                    connect_seconds=config.connect_seconds,
                    total_seconds=config.read_seconds,
                    max_bytes=config.max_frame_bytes,
                )
                if len(text) < OFFLOAD_BYTES:
                    return read()
                return await self._offload(read)
            except Transient as error:
                self._failed(error)
                raise

    # --- the one way out ----------------------------------------------------------------------------------

    def ids(self, count: int) -> int:
        """Reserve `count` request ids; gives the first."""
        first = self._next_id
        self._next_id += count
        return first

    async def exchange(
        self,
        kind: CallClass,
        body: bytes,
        read: Callable[[bytes], tuple[T, Outcome]],
        *,
        until: BootSeconds | None = None,
    ) -> T:
        """
        Make one request under limiter and breaker, and have its answer read by `read`, which also says how it counts.

        Args: until, the boot second from which nothing may start any more (sends only).
        """
        with self.guards[kind].admit() as call:
            await self._limiter.take(until=until)
            call.starts()
            try:
                answer = await self._post(kind, body, until)
                self._check_status(answer)
                value, call.outcome = read(answer.body)
            except Transient as error:
                self._failed(error)
                raise
            return value

    async def _post(self, kind: CallClass, body: bytes, until: BootSeconds | None) -> Answer:
        """Make the request; one with a deadline must also have its connection by then."""
        config = self.config
        left = config.connect_seconds if until is None else until - self.clock.boot_seconds()
        if left <= 0:
            raise TooLate(f"{self.name}: the lease's deadline has passed, nothing is sent")
        try:
            return await self._transport.call(
                self._url,
                body,
                connect_seconds=min(config.connect_seconds, left),
                total_seconds=config.send_seconds if kind is CallClass.SEND else config.read_seconds,
                max_bytes=config.max_reply_bytes,
            )
        except Unreachable as error:
            if until is not None and left < config.connect_seconds:
                raise TooLate(f"{self.name}: no connection before the lease's deadline") from error
            raise

    def _check_status(self, answer: Answer) -> None:
        said = words.meaning_of_status(answer.status, answer.body)
        if said is None and b"rror" in answer.body[:512]:
            said = _limited_in_disguise(answer.body)
        if said is None:
            return
        if said.meaning is Meaning.RATE_LIMITED:
            self._limiter.silence(asked_silence(answer.retry_after_seconds) or self.config.ban_seconds)
        raise HttpRefused(
            f"{self.name}: {said.detail}",
            meaning=said.meaning,
            retry_after_seconds=answer.retry_after_seconds,
            hint="Its answers name no payment's fate; the chain is looked at again later.",
        )

    def _failed(self, error: Transient) -> None:
        if isinstance(error, TooLate):
            return
        if isinstance(error, (Unreachable, Lost)):
            self._probed_until = BootSeconds(0.0)  # another process may answer next time
        self.observer.saw(
            Event(
                kind=EventKind.CALL_FAILED,
                severity=Severity.WARNING,
                reason=_reason(error),
                detail=error.message,
                fields={"endpoint": self.name},
            )
        )

    def heed(self, said: words.Said) -> None:
        """Page once when the node's chain lock is poisoned: only its restart helps, and it changes no payment (N2)."""
        if said.detail == words.LOCK_POISONED:
            if not self._poison_told:
                self.observer.saw(
                    Event(
                        kind=EventKind.CALL_FAILED,
                        severity=Severity.PAGE,
                        reason="lock_poisoned",
                        detail="the node's chain lock is poisoned: it needs a restart",
                        fields={"endpoint": self.name},
                    )
                )
            self._poison_told = True
        elif said.meaning is Meaning.ACCEPTED:
            self._poison_told = False

    # --- abilities ----------------------------------------------------------------------------------------

    async def ensure_probed(self) -> None:
        """
        Probe the abilities where that is due; raises Transient when the endpoint cannot be asked.

        Guarantees: an ability that is absent costs no breaker failure (N17); while the endpoint is away, what was
        last known of it stays.
        """
        if self.clock.boot_seconds() < self._probed_until:
            return
        headers = value_of(await self.ask("light.headers", {"start": 0, "limit": 1}), "light.headers")
        read_headers(headers, start=0, limit=1)
        address = next(iter(self.config.payers), "treasury")
        known, length = self.abilities, 0

        def measure(value: object) -> None:
            nonlocal length
            if not isinstance(value, str):
                raise Malformed("metrics: text belongs there")
            length = len(value)

        found = Abilities(
            tx_status=await self._has(
                "tx_status", {"tx_hash": _NO_HASH}, read_tx_status, had=known.tx_status
            ),
            account=await self._has("account", {"address": address}, read_account, had=known.account),
            metrics=await self._has("metrics", {}, measure, had=known.metrics),
            long_metrics=length > BATCHED_METRICS_BYTES or (not length and known.long_metrics),
            batch=await self._has_batch(),
        )
        self.abilities = found
        self._probed = True
        self._had_look_up |= found.tx_status
        missed = self._had_look_up and not found.tx_status
        stands = MISSED_SECONDS if missed else REPROBE_SECONDS
        self._probed_until = BootSeconds(self.clock.boot_seconds() + stands)

    @property
    def probed(self) -> bool:
        """Whether the abilities have ever been learnt."""
        return self._probed

    def lose(self, **lost: bool) -> None:
        """Strike out an ability that the endpoint turned out not to have (any more)."""
        self.abilities = replace(self.abilities, **lost)
        if self._had_look_up and not self.abilities.tx_status:
            soon = BootSeconds(self.clock.boot_seconds() + MISSED_SECONDS)
            self._probed_until = min(self._probed_until, soon)

    async def _has(
        self,
        method: str,
        params: Mapping[str, object],
        read: Callable[[object], object],
        *,
        had: bool,
    ) -> bool:
        """Ask for an ability; `had` is what it said last, which stands unless the error says that it is absent now."""
        reply = await self.ask(method, params)
        if isinstance(reply, RpcError):
            if reply.code == words.INTERNAL:
                raise NodeError(f"{self.name}: {method}: {reply.message}", code=reply.code)
            return had and reply.code not in words.ABSENT_ABILITY
        try:
            read(reply.value)
        except Malformed:
            return False
        return True

    async def _has_batch(self) -> bool:
        first = self.ids(1)
        body = words.batch_bytes([("light.headers", {"start": 0, "limit": 1})], first_id=first)

        def read(answer: bytes) -> tuple[bool, Outcome]:
            if not isinstance(words.parse(answer), list):
                return False, Outcome.IGNORED
            (row,) = words.read_batch(answer, first_id=first, count=1)
            return isinstance(row, Result), Outcome.SUCCESS

        return await self.exchange(CallClass.READ, body, read)


def value_of(row: Row, method: str) -> Any:
    """Give the value of a successful reply; NodeError otherwise."""
    if isinstance(row, Result):
        return row.value
    if isinstance(row, RpcError):
        raise NodeError(f"{method}: {row.message} ({row.code})", code=row.code)
    raise Malformed(f"{method}: no answer to this row of a batch")


def refused_as_a_whole(rows: Sequence[Row]) -> bool:
    """Say whether a batch met an endpoint without the ability: one parse error instead of a list."""
    first = rows[0]
    return (
        isinstance(first, RpcError) and first.code == words.PARSE_ERROR and all(row is first for row in rows)
    )


def named_hash(row: object) -> TxHash | None:
    """Find the transaction's hash that a reply names beside its result; the real node names none."""
    value = row.value if isinstance(row, Result) else None
    named = value.get("tx_hash") if isinstance(value, dict) and len(value) > 1 else None
    return TxHash(named[:64]) if isinstance(named, str) else None


def hash_mismatch(endpoint: Endpoint, account: AccountId | None, *, ours: TxHash, theirs: str) -> Event:
    """Raise the alarm of protocol.md R3: a node calls our bytes by another name."""
    return Event(
        kind=EventKind.HASH_MISMATCH,
        severity=Severity.PAGE,
        account=account,
        detail="the endpoint names another hash than the one computed here",
        fields={"endpoint": endpoint, "ours": ours, "theirs": theirs[:64]},
    )


def _outcome(rows: Sequence[Row]) -> Outcome:
    """Classify reading replies: an internal error is the node's failure, a missing ability says nothing of it."""
    codes = {row.code for row in rows if isinstance(row, RpcError)}
    if words.INTERNAL in codes:
        return Outcome.FAILURE
    if codes and codes <= _COUNTS_NOWHERE and not any(isinstance(row, Result) for row in rows):
        return Outcome.IGNORED
    return Outcome.SUCCESS


def _limited_in_disguise(body: bytes) -> words.Said | None:
    """Recognise the limiter's two errors when a proxy hides their status."""
    found = words.parse(body) if len(body) <= 512 else None
    error = found.get("error") if isinstance(found, dict) and found.get("id") is None else None
    message = error.get("message") if isinstance(error, dict) else None
    if message in _LIMIT_WORDS:
        return words.Said(meaning=Meaning.RATE_LIMITED, detail=str(message))
    return None


def _reason(error: Transient) -> str:
    """Name the failure by its class: a closed set, fit for a label."""
    if isinstance(error, HttpRefused):
        return error.meaning.value
    for kind, reason in ((Unreachable, "unreachable"), (Lost, "lost"), (Malformed, "malformed")):
        if isinstance(error, kind):
            return reason
    return "other"
