"""A development chain on a clock that tests move, a raw client, and keys to sign with."""

import asyncio
import heapq
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from treasuryd.devnet.config import DevnetConfig, LedgerRules, profile
from treasuryd.devnet.ledger import Ledger, Verdict
from treasuryd.devnet.pool import Offer
from treasuryd.devnet.server import Devnet, serve
from treasuryd.devnet.signatures import offer_of
from treasuryd.wire.theblock.transaction import (
    Payload,
    SignedTransaction,
    encode_payload,
    encode_rpc7,
    signing_message,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes([42]) * 32)
FUNDS = 10_000_000
LIMIT_SECONDS = 10  # nothing here may take longer


def signed(
    *, nonce: int = 1, amount: int = 1000, fee: int | None = None, per_byte: int = 2, to: str = "tb1dest",
    sender: str = "treasury", memo: bytes = b"", tip: int = 0, pct: int = 100, key: Ed25519PrivateKey = KEY,
) -> bytes:  # fmt: skip
    """One signed payment in the form that `submit_tx` reads; by setting it pays 1 + `per_byte` for each byte."""
    size = 513 + len(sender.encode()) + len(to.encode()) + len(memo)
    payload = Payload(
        from_=sender, to=to, amount_consumer=amount, fee=1 + per_byte * size if fee is None else fee,
        pct=pct, nonce=nonce, memo=memo,
    )  # fmt: skip
    signature = key.sign(signing_message(encode_payload(payload)))
    return encode_rpc7(
        SignedTransaction(
            payload=payload, public_key=key.public_key().public_bytes_raw(), signature=signature, tip=tip
        )
    )


class Chain:
    """A ledger whose signatures are believed, and a clock."""

    def __init__(self, rules: LedgerRules | None = None, **options: Any) -> None:
        self.clock = 0.0
        self.believed = True
        genesis = options.pop("genesis", {"treasury": FUNDS})
        verify = options.pop("verify", lambda _offer: self.believed)
        self.ledger = Ledger(rules or LedgerRules(), verify=verify, genesis=genesis, **options)

    def offer(self, **fields: Any) -> Offer:
        return offer_of(signed(**fields))

    def admit(self, **fields: Any) -> Verdict:
        return self.ledger.admit(self.offer(**fields), now=self.clock)

    def mine(self, blocks: int = 1, **options: Any) -> None:
        for _ in range(blocks):
            self.clock += 1
            self.ledger.mine(now=self.clock, **options)

    def balance(self, address: str) -> int:
        holding = self.ledger.holding(address)
        return holding[0] if holding else 0

    def total(self) -> int:
        return sum(balance for balance, _ in self.ledger.holdings().values())


class Time:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.moment = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.moment + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its moment and letting it run."""
        end = self.moment + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.moment, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.moment = end


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, spoken by hand so that every byte of the answer is seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.nonce = itertools.count(10_000)

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        given = {"Host": "127.0.0.1:1", "Content-Length": str(len(body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in given.items())
        self.writer.write(head.encode() + b"\r\n" + body)
        await self.writer.drain()

    async def receive(self) -> Answer:
        async with asyncio.timeout(LIMIT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(status=int(first.split(" ")[1]), headers=headers, body=body)

    async def post(self, body: Any, path: str = "/", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send("POST", path, raw, **headers)
        return await self.receive()

    async def rpc(self, method: str, **params: Any) -> Any:
        answer = await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer.json.get("result", answer.json.get("error"))

    async def submit(self, raw: bytes, **extra: Any) -> Any:
        return await self.rpc("submit_tx", tx=raw.hex(), nonce=next(self.nonce), **extra)

    async def dropped(self) -> bool:
        """Whether the other side ends the connection without a word."""
        async with asyncio.timeout(LIMIT_SECONDS):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()


class World:
    """Starts development chains and clients, and ends them."""

    def __init__(self) -> None:
        self.time = Time()
        self._running: list[asyncio.Task[None]] = []
        self._clients: list[Client] = []

    async def start(
        self, config: DevnetConfig, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> Devnet:
        ready: asyncio.Future[Devnet] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            serve(config, now=self.time.now, sleep=sleep or self.time.sleep, ready=ready.set_result)
        )
        self._running.append(task)
        task.add_done_callback(lambda done: ready.done() or ready.cancel())
        try:
            return await ready
        except asyncio.CancelledError:
            await task
            raise

    async def connect(self, devnet: Devnet) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", devnet.port, limit=2**24)
        client = Client(reader, writer)
        self._clients.append(client)
        return client

    async def stop(self) -> None:
        for client in self._clients:
            client.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await settle()


REAL = replace(profile("real"), genesis={"miner": 5, "treasury": FUNDS}, mining=False)
DEV = replace(profile("dev"), genesis={"miner": 5, "treasury": FUNDS}, mining=False)
