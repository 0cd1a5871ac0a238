"""
The `Chain` port for The Block: one node or several, behind breakers and limiters.

What a node can is probed; what it says is read strictly; what it says of a broadcast decides nothing. The work is in
the neighbours: `reading` (heads, frames, look-ups), `pricing` (quotes), `sending` (broadcasts), `endpoint` (calls).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import anyio

from treasuryd.chain import agreeing
from treasuryd.chain.config import ChainConfig
from treasuryd.chain.endpoint import Node, Offload, in_a_thread
from treasuryd.chain.pricing import Pricing
from treasuryd.chain.reading import LookedUp, Reader
from treasuryd.chain.sending import Broadcast
from treasuryd.chain.transport import Transport
from treasuryd.core.model import (
    Address,
    BootSeconds,
    BreakerOverride,
    BreakerReport,
    Endpoint,
    Evidence,
    FeeQuote,
    Frame,
    Head,
    Header,
    Height,
    Intent,
    IntentId,
    Reply,
    Sighting,
    TxHash,
)
from treasuryd.errors import Rejected, Transient
from treasuryd.ports import Clock, Entropy, Observer
from treasuryd.wire.theblock.readings import TxState, TxStatus

T = TypeVar("T")

ALL_ENDPOINTS: Final = Endpoint("*")
UNPROVEN: Final = Height(0)  # `as_of` of an answer that proves nothing: it is older than every frame


class TheBlock:
    """
    The chain as its configured endpoints show it.

    Guarantees: no send starts after `until`; one bad row never raises for its batch; `light.latest_header` is never
    called and nothing is written on a state stream. Does not guarantee: that "accepted" is ever included.
    """

    def __init__(
        self,
        config: ChainConfig,
        *,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        offload: Offload = in_a_thread,
    ) -> None:
        self._config = config
        self._clock = clock
        self._nodes = [
            Node(
                config,
                endpoint,
                transport=transport,
                clock=clock,
                entropy=entropy,
                observer=observer,
                offload=offload,
            )
            for endpoint in config.endpoints
        ]
        self._readers = [Reader(node) for node in self._nodes]
        self._pricing = {reader.node.name: Pricing(reader) for reader in self._readers}
        self._shown: dict[
            Endpoint, agreeing.Shown
        ] = {}  # where there are several, to hold against each other
        self._heeding = anyio.Lock()

    async def start(self) -> None:
        """Probe every endpoint once; one that cannot be reached is probed at its first use."""
        await self._each(_probe)

    def retune(self, config: ChainConfig) -> None:
        """
        Go on with other bounds while running (SIGHUP).

        Raises: Rejected when the endpoints differ: those need a restart.
        """
        if config.endpoints != self._config.endpoints:
            raise Rejected("chain.endpoints cannot change while running", field="endpoints", hint="Restart.")
        self._config = config
        for node in self._nodes:
            node.retune(config)

    @property
    def evidence(self) -> Evidence:
        """HASH where every endpoint has look-up, as far as is known; BALANCE until then."""
        return Evidence.HASH if all(node.abilities.tx_status for node in self._nodes) else Evidence.BALANCE

    # --- reading ------------------------------------------------------------------------------------------

    async def heads(self) -> Sequence[Head]:
        """One per endpoint that answered, in their order; Transient when none did."""
        return _answers(await self._each(Reader.head), needed=1)

    async def headers(self, heights: Sequence[Height]) -> Sequence[Header | None]:
        """
        Say which block stands at each height now; None where none does or endpoints disagree.

        Raises: Transient when fewer endpoints answered than have to agree: a missing answer is no reorg.
        """
        if not heights:
            return []
        needed = self._needed
        said = _answers(await self._each(lambda reader: reader.headers(heights)), needed=needed)
        return [agreeing.agreed_header(column, needed) for column in zip(*said, strict=True)]

    async def frame(self, ids: Sequence[Address]) -> Frame:
        """
        Read one moment from the first endpoint that no other contradicts (protocol.md R9).

        Raises: Transient when fewer endpoints gave a frame than have to agree; Disputed when they contradict each other.
        """
        read = await self._each(lambda reader: reader.frame(ids))
        answered = _answers(read, needed=self._needed)
        if self._needed == 1:
            return answered[0]
        shown: list[agreeing.Shown] = []
        for reader, frame in zip(self._readers, read, strict=True):
            if not isinstance(frame, Transient):
                before = self._shown.get(reader.node.name)
                now = agreeing.Shown(now=frame) if before is None else before.then(frame)
                self._shown[reader.node.name] = now
                shown.append(now)
        return agreeing.agreed_frame(shown)

    async def quote(self) -> FeeQuote:
        """Say what a transaction costs now, at the first endpoint that can be read."""
        return await self._first(lambda reader: self._pricing[reader.node.name].quote())

    async def sightings(self, sent: Sequence[Intent]) -> Sequence[Sighting]:
        """
        Look each intent up by the hashes of its sealed variants; empty where there is no look-up.

        A row that was answered badly stands with `as_of` 0, older than every frame, so that it proves nothing. Endpoints
        are asked one after the other until enough of them agree on a block (protocol.md R9); what is `doubted` then, see
        `agreeing.agreed_sighting`.
        """
        if not sent or self.evidence is not Evidence.HASH:
            return []
        said: dict[IntentId, list[Sighting]] = {intent.id: [] for intent in sent}
        silent: set[IntentId] = set()
        failed: Transient | None = None
        for reader in self._readers:
            wanted = [intent for intent in sent if not self._placed(said[intent.id])]
            if not wanted:
                break
            try:
                looked_up = await reader.look_up(_hashes(wanted))
            except Transient as error:
                failed = error
                silent.update(intent.id for intent in wanted)
                continue
            if looked_up is None:
                return []  # look-up is lost: balances decide from now on
            for sighting in _sightings(wanted, looked_up):
                said[sighting.intent_id].append(sighting)
        if failed is not None and not any(said.values()):
            raise failed
        return [
            agreeing.agreed_sighting(words, self._needed, silent=intent_id in silent)
            for intent_id, words in said.items()
            if words
        ]

    async def new_heads(self) -> AsyncIterator[Head]:
        """Poll, and give each endpoint's head when it changed. Runs for ever; a silent chain costs latency only."""
        last: dict[Endpoint, Head] = {}
        while True:
            with contextlib.suppress(Transient):
                for head in await self.heads():
                    if last.get(head.endpoint) != head:
                        last[head.endpoint] = head
                        yield head
            await self._clock.sleep(self._config.poll_seconds)

    # --- sending ------------------------------------------------------------------------------------------

    async def broadcast(self, sealed: Sequence[Intent], *, until: BootSeconds) -> Sequence[Reply]:
        """Send each intent's current variant, as stored, to the first endpoint that takes it."""
        batch = Broadcast(sealed, until=until, fee_too_low=lambda endpoint: self._pricing[endpoint].refused())
        return await batch.through(self._nodes)

    # --- breakers -----------------------------------------------------------------------------------------

    def breakers(self) -> Sequence[BreakerReport]:
        """All breakers as they stand at this moment, by endpoint and class."""
        return [guard.report() for node in self._nodes for guard in node.guards.values()]

    def force(self, overrides: Sequence[BreakerOverride]) -> None:
        """Apply people's words; the last one per breaker counts. A breaker that none names stays as it is."""
        chosen = {
            (node.name, override.call_class): override.mode
            for override in overrides
            for node in self._nodes
            if override.endpoint in (node.name, ALL_ENDPOINTS)
        }
        for node in self._nodes:
            for kind, guard in node.guards.items():
                if (node.name, kind) in chosen:
                    guard.force(chosen[node.name, kind])

    async def heed(self, read: Callable[[], Awaitable[Sequence[BreakerOverride]]]) -> None:
        """
        Read people's words from the store and apply them.

        Guarantees: what was read earlier is applied earlier. The keeper reads at every beat, and a reading that began
        before a person's order and ends after it would lift the kill switch until the next one.
        """
        async with self._heeding:
            self.force(await read())

    # --- several endpoints --------------------------------------------------------------------------------

    @property
    def _needed(self) -> int:
        return min(agreeing.AGREEMENT, len(self._nodes))

    def _placed(self, said: Sequence[Sighting]) -> bool:
        """Whether enough endpoints name one block for an intent, so that no other one has to be asked."""
        if len(said) < self._needed:
            return False
        one = agreeing.agreed_sighting(said, self._needed, silent=False)
        return one.variant is not None and not one.doubted

    async def _first(self, read: Callable[[Reader], Awaitable[T]]) -> T:
        """Give the first answer that an endpoint has; the last one's error when none has."""
        failed: Transient | None = None
        for reader in self._readers:
            try:
                return await read(reader)
            except Transient as error:
                failed = error
        assert failed is not None
        raise failed

    async def _each(self, read: Callable[[Reader], Awaitable[T]]) -> list[T | Transient]:
        """Ask all endpoints, several side by side; an endpoint's error stands in its place."""
        found: list[T | Transient] = [Transient("not asked")] * len(self._readers)

        async def ask(place: int, reader: Reader) -> None:
            try:
                found[place] = await read(reader)
            except Transient as error:
                found[place] = error

        if len(self._readers) == 1:
            await ask(0, self._readers[0])
            return found
        async with anyio.create_task_group() as group:
            for place, reader in enumerate(self._readers):
                group.start_soon(ask, place, reader, name=f"ask {reader.node.name}")
        return found


async def _probe(reader: Reader) -> None:
    await reader.node.ensure_probed()


def _answers(said: Sequence[T | Transient], *, needed: int) -> list[T]:
    answers = [answer for answer in said if not isinstance(answer, Transient)]
    if len(answers) >= needed:
        return answers
    errors = [error for error in said if isinstance(error, Transient)]
    if len(said) == 1:
        raise errors[0]
    raise Transient(
        f"{len(answers)} of {len(said)} endpoints answered, {needed} are needed: "
        + "; ".join(error.message for error in errors),
        hint=errors[-1].hint,
    )


def _hashes(intents: Sequence[Intent]) -> list[TxHash]:
    return [
        variant.tx_hash for intent in intents for variant in intent.variants if variant.tx_hash is not None
    ]


def _sightings(sent: Sequence[Intent], looked_up: LookedUp) -> list[Sighting]:
    """Put the answers together again, intent by intent; they came in the order of the sealed variants."""
    sightings: list[Sighting] = []
    rows = iter(looked_up.rows)
    for intent in sent:
        answers = [(variant.number, next(rows)) for variant in intent.variants if variant.tx_hash is not None]
        sightings.append(_sighting(intent, answers, looked_up.as_of))
    return sightings


def _sighting(intent: Intent, answers: Sequence[tuple[int, TxStatus | None]], as_of: Height) -> Sighting:
    for number, status in answers:
        if status is not None and status.state is TxState.INCLUDED:
            return Sighting(
                intent_id=intent.id,
                as_of=as_of,
                variant=number,
                height=status.height,
                block_hash=status.block_hash,
                fee_charged=status.fee_charged,
            )
    unread = not answers or any(status is None for _, status in answers)
    pending = any(status is not None and status.state is TxState.PENDING for _, status in answers)
    return Sighting(intent_id=intent.id, as_of=UNPROVEN if unread else as_of, doubted=unread or pending)
