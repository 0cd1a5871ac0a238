"""
The development chain on one TCP port: JSON-RPC over HTTP, `/state_stream`, and the admin route.

A raw protocol instead of a server library: see `http.py`. What needs no waiting is answered inside `data_received`;
delays, hangs and the checking of whole batches of signatures run in tasks of the server's one task group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import orjson

from treasuryd.devnet import admin
from treasuryd.devnet.chainfile import FILE_NAME, ChainFile, open_ledger
from treasuryd.devnet.config import DevnetConfig
from treasuryd.devnet.exposing import serve_metrics
from treasuryd.devnet.faults import Fault, Wrong
from treasuryd.devnet.http import CONTINUE, BadRequest, BodyTooLarge, Parser, Request, answer, plain
from treasuryd.devnet.ledger import Ledger
from treasuryd.devnet.limiter import Limiter
from treasuryd.devnet.node import Call, Node, Panicked, Refused
from treasuryd.devnet.offered import OfferedFile
from treasuryd.devnet.pool import Offer
from treasuryd.devnet.signatures import is_genuine, judge_all
from treasuryd.devnet.stream import STREAM_PATH, refusal, state_json, text_frame, upgrade
from treasuryd.errors import Refusal, Rejected
from treasuryd.wire.theblock.replies import PARSE_ERROR

ADMIN_PATH: Final = "/devnet/admin"
ADMIN_BODY_BYTES: Final = 1024 * 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
INLINE_SIGNATURES: Final = 8  # so many are checked at once on the loop; more go to the threads
CHECKERS: Final = 2  # threads; verifying lets go of the interpreter, and the payer waits meanwhile
GONE_SECONDS: Final = (
    0.02  # after a half-close: how soon a second write shows whether the client is wholly gone
)
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: closing resets

_BEFORE: Final = (Wrong.DELAY, Wrong.HANG, Wrong.STATUS, Wrong.DROP)
_AFTER: Final = (Wrong.DROP_REPLY, Wrong.DELAY_REPLY, Wrong.TRUNCATE, Wrong.WRONG_ID)


@dataclass(slots=True, kw_only=True)
class Incoming:
    """One request object of a body; `call` is None when it is not one."""

    request_id: Any = None
    call: Call | None = None


class Connection(asyncio.Protocol):
    """
    One client. Requests are handled one after the other, in the order of their bytes.

    Guarantees: while a request waits, later ones wait behind it; a lost connection ends the task it waits for.
    """

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._parser = Parser(max(devnet.config.max_body_bytes, ADMIN_BODY_BYTES))
        self._stalled: Request | None = None
        self.task: asyncio.Task[None] | None = None
        self.streaming = False
        self.transport: asyncio.Transport
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the client."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        self._devnet.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read what came as HTTP, or, on a stream, as the mistake that it is."""
        if self.streaming:
            self._devnet.stream_read(self, len(data))
            return
        self._parser.feed(data)
        self.work()

    def eof_received(self) -> bool:
        """Keep a half-closed stream open, for the real node does not notice."""
        return self.streaming and self._devnet.stream_half_closed(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End what this client waited for."""
        if self.task is not None:
            self.task.cancel()
        self._devnet.lost(self)

    def work(self) -> None:
        """Handle whole requests until one has to wait."""
        try:
            while self.task is None and not self.streaming and not self.transport.is_closing():
                request, self._stalled = self._stalled or self._parser.next(), None
                if request is None:
                    if self._parser.expects_continue:
                        self._parser.expects_continue = False
                        self.transport.write(CONTINUE)
                    return
                if self._devnet.frozen and request.path != ADMIN_PATH:
                    self._stalled = request
                    return
                self._devnet.handle(self, request)
        except BodyTooLarge:
            self.reset()
        except BadRequest as error:
            self.transport.write(plain(400, error.message))
            self.transport.close()

    def finish(self, data: bytes, *, close: bool = False) -> None:
        """Answer, and go on with the next request."""
        self.transport.write(data)
        if close:
            self.transport.close()

    def reset(self) -> None:
        """Drop the connection the hard way, as the node does."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class Devnet:
    """
    A running development chain.

    `node` is the chain for the same process (faults, ledger), `port` what was bound, `apply` the admin route without
    the socket. Guarantees: answers match the node's bytes in profile `real`, except for the order of headers.
    """

    def __init__(
        self,
        config: DevnetConfig,
        node: Node,
        *,
        sleep: Callable[[float], Awaitable[None]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.config = config
        self.node = node
        self.port = config.port
        self.metrics_port: int | None = None
        self.frozen: set[Connection] = set()  # streams that hold the RPC port up
        self.freezes = 0  # how often a client did what freezes the real node
        self.stream_bytes = 0  # what clients wrote on streams; a right client writes none
        self._sleep = sleep
        self._tasks = tasks
        self._connections: set[Connection] = set()
        self._limiter = Limiter(config.rate_limit, config.ban_seconds)
        self._checker = ThreadPoolExecutor(max_workers=CHECKERS, thread_name_prefix="devnet-signatures")

    @property
    def url(self) -> str:
        """Where the RPC port answers."""
        return f"http://{self.config.host}:{self.port}"

    @property
    def metrics_url(self) -> str | None:
        """Where the metrics listener answers; None where there is none."""
        return None if self.metrics_port is None else f"http://{self.config.host}:{self.metrics_port}/metrics"

    def apply(self, command: admin.Command) -> dict[str, Any]:
        """Carry out an admin command; see `admin.apply`."""
        said = admin.apply(self.node, command)
        if command.get("show") == "status":
            said |= {"freezes": self.freezes, "stream_bytes": self.stream_bytes, "frozen": bool(self.frozen)}
        return said

    async def mine_for_ever(self) -> None:
        """Mine on the interval."""
        while True:
            await self._sleep(self.config.block_interval_seconds)
            self.node.tick()

    def close(self) -> None:
        """Drop every client and end the thread."""
        for connection in list(self._connections):
            connection.transport.abort()
        self._checker.shutdown(wait=False, cancel_futures=True)

    # --- connections ---------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Take a client in, unless there are too many."""
        if len(self._connections) >= self.config.max_connections:
            connection.transport.abort()
        self._connections.add(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a client; a frozen port thaws when the last stream that held it is gone."""
        self._connections.discard(connection)
        if connection in self.frozen:
            self.frozen.discard(connection)
            if not self.frozen:
                for other in list(self._connections):
                    other.work()

    def stream_read(self, connection: Connection, count: int) -> None:
        """A client wrote on a stream, which no client may."""
        self.stream_bytes += count
        if self.node.switches.freeze_on_client_bytes and connection not in self.frozen:
            self.freezes += 1
            self.frozen.add(connection)

    def stream_half_closed(self, connection: Connection) -> bool:
        """
        A client closed its side of a stream; whether to keep ours open.

        The node learns from failing writes alone whether the client is wholly gone; until then its port stands
        still. Two writes find out here within GONE_SECONDS; only a client that is still there counts as a freeze.
        """
        if not self.node.switches.freeze_on_client_bytes:
            return False
        self.frozen.add(connection)
        self._tasks.create_task(self._wait_until_gone(connection), name="devnet half-closed stream")
        return True

    async def _wait_until_gone(self, connection: Connection) -> None:
        for _ in range(2):
            connection.transport.write(self._frame(0))
            await self._sleep(GONE_SECONDS)
        if connection in self.frozen:
            self.freezes += 1
        while connection in self.frozen:
            await self._sleep(self.config.stream_interval_seconds)
            connection.transport.write(self._frame(0))

    # --- requests ------------------------------------------------------------------------------------

    def handle(self, connection: Connection, request: Request) -> None:
        """Take one request through the gates, in the node's order."""
        if request.path == ADMIN_PATH:
            connection.finish(self._admin(connection, request), close=request.closes)
            return
        limited = self._limiter.refusal(connection.peer, now=self.node.now())
        if limited is not None:
            connection.finish(answer(429, _json(_error(None, *limited)), close=True), close=True)
        elif request.host not in self.config.allowed_hosts:
            connection.finish(answer(403, close=True), close=True)
        elif request.path == STREAM_PATH and request.method == "GET":
            self._open_stream(connection, request)
        elif request.method == "OPTIONS" and request.path == "/":
            connection.finish(answer(403, close=True), close=True)
        elif request.method != "POST" or request.path != "/":
            connection.finish(answer(404), close=request.closes)
        elif len(request.body) > self.config.max_body_bytes:
            connection.reset()
        else:
            self._rpc(connection, request)

    def _admin(self, connection: Connection, request: Request) -> bytes:
        if connection.peer not in LOOPBACK:
            return answer(403)
        if request.method != "POST":
            return answer(404)
        try:
            command = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return answer(400, _json({"error": "the body is not JSON"}))
        if not isinstance(command, dict):
            return answer(400, _json({"error": "the body is no JSON object"}))
        try:
            said = self.apply(command)
        except Rejected as error:
            return answer(400, _json({"error": error.message, "field": error.field, "hint": error.hint}))
        return answer(200, _json(said))

    def _open_stream(self, connection: Connection, request: Request) -> None:
        reason = refusal(request.headers)
        if reason is not None:
            connection.finish(plain(400, reason), close=True)
            return
        connection.streaming = True
        connection.transport.write(upgrade(request.headers["sec-websocket-key"]))
        connection.task = self._tasks.create_task(self._stream(connection), name="devnet stream")

    async def _stream(self, connection: Connection) -> None:
        sequence = 0
        while not connection.transport.is_closing():
            if not self.node.switches.poisoned and not self.frozen:
                connection.transport.write(self._frame(sequence))
            sequence += 1
            await self._sleep(self.config.stream_interval_seconds)

    def _frame(self, sequence: int) -> bytes:
        holdings = self.node.ledger.holdings(lag=self.node.switches.lag)
        tip_index = max(0, self.node.seen_height - 1)
        return text_frame(state_json(holdings, sequence=sequence, tip_index=tip_index))

    # --- JSON-RPC ------------------------------------------------------------------------------------

    def _rpc(self, connection: Connection, request: Request) -> None:
        parsed = self._parse(request)
        if parsed is None:
            body = _json(_error(None, PARSE_ERROR, "parse error"))
            connection.finish(answer(200, body), close=request.closes)
            return
        rows, batch = parsed
        if self._must_wait(rows):
            connection.task = self._tasks.create_task(
                self._slowly(connection, request, rows, batch=batch), name="devnet call"
            )
            return
        self._answer(connection, request, rows, batch=batch)

    def _answer(
        self, connection: Connection, request: Request, rows: Sequence[Incoming], *, batch: bool
    ) -> None:
        try:
            answers = [self._one(row) for row in rows]
        except Panicked:
            connection.reset()
            return
        body = _json(answers if batch else answers[0])
        connection.finish(answer(200, body, close=request.closes), close=request.closes)

    def _parse(self, request: Request) -> tuple[list[Incoming], bool] | None:
        """Read a body as one call or, with the ability, as a batch; None when it is neither."""
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return None
        token = request.headers.get("authorization", "").removeprefix("Bearer ") or None
        if isinstance(body, list) and body and self.node.switches.abilities.batch:
            return [_incoming(item, token) for item in body], True
        single = _incoming(body, token)
        return None if single.call is None else ([single], False)

    def _one(self, row: Incoming) -> dict[str, Any]:
        if row.call is None:
            return _error(None, PARSE_ERROR, "parse error")
        try:
            return {"id": row.request_id, "jsonrpc": "2.0", "result": self.node.call(row.call)}
        except Refused as refused:
            return _error(row.request_id, refused.code, refused.message)

    def _must_wait(self, rows: Sequence[Incoming]) -> bool:
        submits = sum(1 for row in rows if row.call is not None and row.call.method == "submit_tx")
        slow = self.node.switches.signature_delay_seconds > 0 and submits
        return bool(
            self.node.faults or slow or (self.config.check_signatures and submits > INLINE_SIGNATURES)
        )

    async def _slowly(
        self, connection: Connection, request: Request, rows: Sequence[Incoming], *, batch: bool
    ) -> None:
        """Answer what has to wait: for a fault, for a slow signature, or for a batch of them."""
        methods = {row.call.method for row in rows if row.call is not None}
        before = self.node.faults.take_any(_BEFORE, methods)
        if before is None or not await self._struck_before(connection, before):
            await self._judge_signatures(rows)
            after = self.node.faults.take_any(_AFTER, methods)
            if after is None:
                self._answer(connection, request, rows, batch=batch)
            else:
                await self._answer_badly(connection, rows, after, batch=batch)
        connection.task = None
        connection.work()

    async def _struck_before(self, connection: Connection, fault: Fault) -> bool:
        """Let a fault strike before the call is handled; whether that was all."""
        match fault.wrong:
            case Wrong.DELAY:
                await self._sleep(fault.given["seconds"])
                return False
            case Wrong.HANG:
                await asyncio.Event().wait()  # until the client goes, which cancels this
            case Wrong.STATUS:
                connection.finish(answer(fault.given["status"]))
            case _:
                connection.reset()
        return True

    async def _answer_badly(
        self, connection: Connection, rows: Sequence[Incoming], fault: Fault, *, batch: bool
    ) -> None:
        """Handle the call for good, and spoil the answer."""
        try:
            answers = [self._one(row) for row in rows]
        except Panicked:
            connection.reset()
            return
        match fault.wrong:
            case Wrong.DROP_REPLY:
                connection.reset()
                return
            case Wrong.DELAY_REPLY:
                await self._sleep(fault.given["seconds"])
            case Wrong.WRONG_ID:
                answers = [{**row, "id": "another"} for row in answers]
            case _:
                pass
        whole = answer(200, _json(answers if batch else answers[0]))
        cut = fault.wrong is Wrong.TRUNCATE
        connection.finish(whole[:-5] if cut else whole, close=cut)

    async def _judge_signatures(self, rows: Sequence[Incoming]) -> None:
        """Check the signatures of a batch in the thread; the verdicts are used where admission asks for them."""
        offers: list[Offer] = []
        for row in rows:
            if row.call is not None and row.call.method == "submit_tx":
                with contextlib.suppress(Refused):  # the call itself will say so, at its place
                    row.call.offer = self.node.offer(row.call.params)
                    offers.append(row.call.offer)
        if offers and self.node.switches.signature_delay_seconds > 0:
            await self._sleep(self.node.switches.signature_delay_seconds * len(offers))
        if len(offers) > INLINE_SIGNATURES and self.config.check_signatures:
            loop = asyncio.get_running_loop()
            shares = [offers[first::CHECKERS] for first in range(CHECKERS)]
            await asyncio.gather(*(loop.run_in_executor(self._checker, judge_all, share) for share in shares))


def _incoming(item: object, token: str | None) -> Incoming:
    if not isinstance(item, dict) or not isinstance(item.get("method"), str):
        return Incoming()
    params = item.get("params")
    call = Call(method=item["method"], params=params if isinstance(params, dict) else {}, token=token)
    return Incoming(request_id=item.get("id"), call=call)


def _error(request_id: object, code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}, "id": request_id, "jsonrpc": "2.0"}


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def build_node(config: DevnetConfig, file: ChainFile | None, *, now: Callable[[], float]) -> Node:
    """Build a node on the stored chain, or on a new one; the simulator builds its nodes here, too."""
    verify = is_genuine if config.check_signatures else _everything_is_genuine
    ledger = open_ledger(
        file,
        lambda seed, genesis: Ledger(config.rules, verify=verify, seed=seed, genesis=genesis),
        seed=config.seed,
        genesis=config.genesis,
    )
    return Node(config, ledger, now)


def _everything_is_genuine(_offer: Offer) -> bool:
    return True


async def serve(
    config: DevnetConfig,
    *,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    ready: Callable[[Devnet], None] = lambda _devnet: None,
) -> None:
    """
    Run a development chain until cancelled.

    Args: `now` in seconds, never falling; `sleep` waits that many; `ready` is told once the port is bound.
    Raises: Rejected when the port or the file is taken, Corrupt when the stored chain does not fit together.
    """
    file = ChainFile(config.state_folder / FILE_NAME) if config.state_folder is not None else None
    offered = OfferedFile(config.offered) if config.offered is not None else None
    try:
        node = build_node(config, file, now=now)
        node.told = offered
        async with contextlib.AsyncExitStack() as stack:
            listener = stack.enter_context(_bound(config.host, config.port))
            exposing = None
            if config.metrics_port is not None:
                exposing = stack.enter_context(_bound(config.host, config.metrics_port))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            devnet = Devnet(config, node, sleep=sleep, tasks=tasks)
            devnet.port = int(listener.getsockname()[1])
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Connection(devnet), sock=listener, backlog=512)
            stack.callback(devnet.close)
            stack.callback(server.close)
            if exposing is not None:
                devnet.metrics_port = int(exposing.getsockname()[1])
                await stack.enter_async_context(serve_metrics(exposing, node.exposition))
            ready(devnet)
            await devnet.mine_for_ever()
    finally:
        if file is not None:
            file.close()
        if offered is not None:
            offered.close()


def _bound(host: str, port: int) -> socket.socket:
    """Bind before anything runs, so that a taken port is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Rejected(
            f"the development chain cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            hint="Is another treasuryd running? Stop it, or choose another devnet.port.",
            kind=Refusal.CONFLICT,
        ) from error
