"""Asks the node one question after the other, slowly: what came back, or why nothing did, in a word of a closed set."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from treasuryd.core.observed import Observed, ReadingFailure
from treasuryd.errors import Transient, TreasuryError
from treasuryd.observer.config import ObserverConfig
from treasuryd.observer.line import Answered, Line
from treasuryd.ports import Clock
from treasuryd.wire.theblock import replies as words
from treasuryd.wire.theblock.exposition import read_exposition
from treasuryd.wire.theblock.market import MAX_PAGE_ROWS, UNAUTHORISED, PageHead, read_page
from treasuryd.wire.theblock.replies import Malformed, Result, RpcError
from treasuryd.wire.theblock.series import WANTED, translate

T = TypeVar("T")
Offload: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]

OFFLOAD_BYTES: Final = (
    256 * 1024
)  # a longer answer is read off the event loop: some milliseconds that payments keep
_BY_CODE: Final = {
    words.METHOD_NOT_FOUND: ReadingFailure.NOT_OFFERED,
    UNAUTHORISED: ReadingFailure.UNAUTHORISED,
    words.CODE_RATE_LIMITED: ReadingFailure.RATE_LIMITED,
    words.CODE_BANNED: ReadingFailure.RATE_LIMITED,
}


class NotRead(Transient):
    """A reading came to nothing; `reason` says why in a word, the message for a person."""

    def __init__(self, reason: ReadingFailure, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def in_a_thread(work: Callable[[], Any]) -> Any:
    """Parse off the event loop; tests bring a callable that does it on the spot."""
    return await asyncio.to_thread(work)


class Asking:
    """
    Questions to one node.

    Guarantees: `pause_seconds` between two requests, one at a time; none while the node has limited our rate; every end
        of a question is a value or NotRead.
    """

    def __init__(
        self,
        config: ObserverConfig,
        line: Line,
        clock: Clock,
        *,
        token: Callable[[], str | None],
        offload: Offload = in_a_thread,
    ) -> None:
        self._config = config
        self._line = line
        self._clock = clock
        self._token = token
        self._offload = offload
        self._next_id = 1
        self._next_at = 0.0  # boot second at which the next request may leave
        self._silent_until = 0.0

    async def call(self, method: str, params: Mapping[str, object] | None = None) -> Any:
        """Make one JSON-RPC call and give its result."""
        config, request_id = self._config, self._next_id
        self._next_id += 1
        body = words.request_bytes(method, params or {}, request_id=request_id)

        async def send() -> Answered:
            return await self._line.call(
                config.rpc_url,
                body,
                connect_seconds=config.timeout_seconds,
                total_seconds=config.timeout_seconds,
                max_bytes=config.max_body_bytes,
                bearer=self._bearer(),
            )

        def read(answer: bytes) -> Result | RpcError:
            return words.read_reply(answer, request_id=request_id, limit=config.max_body_bytes)

        reply = await self._exchange(method, send, read)
        if isinstance(reply, RpcError):
            reason = _BY_CODE.get(reply.code, ReadingFailure.REFUSED)
            if reason is ReadingFailure.RATE_LIMITED:
                self._silence(None)
            raise NotRead(reason, f"{method}: {reply.message} ({reply.code})")
        return reply.value

    async def page(
        self, method: str, name: str, *, page: int = 0, size: int = MAX_PAGE_ROWS, **filters: str
    ) -> PageHead:
        """Read one page of a list."""
        value = await self.call(method, {**filters, "page": page, "page_size": size})
        found = read_page(value, name)
        if len(found.rows) > size:
            raise Malformed(f"{method}: {len(found.rows)} rows where {size} were asked for")
        return found

    async def metrics(self) -> Observed:
        """Read the node's metrics, from its listener or through JSON-RPC, under our names."""
        config = self._config
        if config.metrics_url is None:
            text = await self.call("metrics")
            if not isinstance(text, str):
                raise Malformed("metrics: text belongs there")
            return await self._parsed(text.encode("utf-8", "surrogatepass"), self._translated)
        url = config.metrics_url

        async def send() -> Answered:
            return await self._line.get(
                url,
                connect_seconds=config.timeout_seconds,
                total_seconds=config.timeout_seconds,
                max_bytes=config.max_body_bytes,
            )

        return await self._exchange("metrics", send, self._translated)

    def _translated(self, text: bytes) -> Observed:
        return translate(read_exposition(text, wanted=WANTED, limit=self._config.max_body_bytes))

    async def _exchange(
        self, what: str, send: Callable[[], Awaitable[Answered]], read: Callable[[bytes], T]
    ) -> T:
        await self._leave()
        try:
            answer = await send()
            self._judge_status(what, answer)
            return await self._parsed(answer.body, read)
        except NotRead:
            raise
        except Malformed as error:
            raise NotRead(ReadingFailure.MALFORMED, f"{what}: {error.message}") from error
        except Transient as error:
            raise NotRead(ReadingFailure.NO_ANSWER, f"{what}: {error.message}") from error

    async def _leave(self) -> None:
        """Wait for the next request's turn."""
        now = self._clock.boot_seconds()
        if now < self._silent_until:
            raise NotRead(
                ReadingFailure.RATE_LIMITED,
                f"silent for {self._silent_until - now:.0f} s more: the node has limited our rate",
            )
        if now < self._next_at:
            await self._clock.sleep(self._next_at - now)
        self._next_at = self._clock.boot_seconds() + self._config.pause_seconds

    def _judge_status(self, what: str, answer: Answered) -> None:
        if answer.status == 429:
            self._silence(answer.retry_after_seconds)
            raise NotRead(ReadingFailure.RATE_LIMITED, f"{what}: HTTP 429")
        if answer.status != 200:
            raise NotRead(ReadingFailure.HTTP_STATUS, f"{what}: HTTP {answer.status}")

    def _silence(self, seconds: float | None) -> None:
        wanted = self._config.ban_seconds if seconds is None else max(seconds, self._config.ban_seconds)
        self._silent_until = self._clock.boot_seconds() + wanted

    def _bearer(self) -> str | None:
        try:
            return self._token()
        except TreasuryError as error:
            raise NotRead(ReadingFailure.UNAUTHORISED, error.message) from error

    async def _parsed(self, body: bytes, read: Callable[[bytes], T]) -> T:
        if len(body) <= OFFLOAD_BYTES:
            return read(body)
        found: T = await self._offload(lambda: read(body))
        return found
