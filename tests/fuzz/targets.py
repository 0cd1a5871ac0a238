"""
What is fuzzed: each function takes bytes, gives them to one parser of foreign input, and judges what came of it.

A target returns when the parser answered a value within the bounds of its type, or raised the error that it documents.
Anything else (another exception, a value out of bounds, one that does not round-trip) escapes and is a failure. The
same functions run under hypothesis in `make test` and under atheris in `make fuzz`.
"""

import asyncio
import math
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import orjson
from aiohttp import web
from tests.fakes import TREASURY, FakeWorld

from treasuryd.chain import stream
from treasuryd.chain.transport import FrameTooLarge
from treasuryd.commands.proposals import MAX_COUNTER, read_vote
from treasuryd.core.dependencies import memo_dependencies
from treasuryd.core.intake import Checked, Intake, check, from_payload, items_of
from treasuryd.core.model import MAX_AMOUNT, MAX_DEPENDENCIES, MAX_MEMO_BYTES, Evidence, Rules
from treasuryd.core.observed import Observed
from treasuryd.core.reading import read_csv, read_json
from treasuryd.devnet.http import Parser
from treasuryd.errors import Corrupt, Rejected
from treasuryd.observer import showing
from treasuryd.settings.layers import load as load_settings
from treasuryd.settings.root import Settings
from treasuryd.signer.keys import load as load_key
from treasuryd.signer.keys import read_secret
from treasuryd.store.journal_copy import entry_of, read_file
from treasuryd.telemetry.registry.observed import FAMILIES
from treasuryd.web.bulk import KNOWN
from treasuryd.web.envelope import BODY, OFFICE, OPTIONS
from treasuryd.web.rpc import rpc
from treasuryd.web.turns import TurnLimits, Turns
from treasuryd.wire.theblock import readings
from treasuryd.wire.theblock.binary import U64_MAX, Undecodable
from treasuryd.wire.theblock.exposition import read_exposition
from treasuryd.wire.theblock.market import (
    Credit,
    Dispute,
    read_credit,
    read_dispute,
    read_market_state,
    read_page,
)
from treasuryd.wire.theblock.replies import (
    Malformed,
    Result,
    meaning_of,
    meaning_of_http,
    parse,
    read_batch,
    read_reply,
)
from treasuryd.wire.theblock.series import WANTED, translate
from treasuryd.wire.theblock.transaction import decode_rpc7, encode_rpc7

Target = Callable[[bytes], None]

GATE: Final = Intake(
    rules=Rules(allow_treasury_initiated=True, destination_pattern="^tb1[a-zA-Z0-9]+$"),
    accounts=(TREASURY,),
    evidence=Evidence.HASH,
)
KEY: Final = b"0123456789abcdef"  # of the upgrade that the stream target pretends to have sent
MAX_FRAME: Final = 4_096
SECRET: Final = b"correct horse"
OBSERVED: Final = {family.name: family for family in FAMILIES}
CODES: Final = range(-33_000, 1)


def memo(data: bytes) -> None:
    """Dependencies that a memo declares: never raises."""
    found = memo_dependencies(data.decode("utf-8", "surrogateescape"))
    assert list(found) == sorted(set(found))
    assert len(found) <= MAX_DEPENDENCIES
    assert all(0 <= item <= U64_MAX for item in found)
    written = orjson.dumps({"depends_on": list(found)}).decode()
    assert len(written) > MAX_MEMO_BYTES or memo_dependencies(written) == found


def payload(data: bytes) -> None:
    """What is submitted: one item, many, or the original's shape with the proposal beside it."""
    with suppress(Rejected):
        _judge(check(items_of(read_json(data)), key=None, intake=GATE))
    with suppress(Rejected):
        _judge(check([from_payload(read_json(data))], key=None, intake=GATE))


def _judge(found: Checked) -> None:
    for item in found.items:
        assert 0 < item.amount <= MAX_AMOUNT
        assert 0 <= item.scheduled_epoch < 2**63
        assert len(item.memo.encode()) <= MAX_MEMO_BYTES
        assert re.fullmatch(r"tb1[a-zA-Z0-9]+", item.destination)
        assert item.account == TREASURY
        assert str(item.destination) != TREASURY
        assert len(item.depends_on) <= MAX_DEPENDENCIES
    assert found.errors or (found.request_digest and found.items)
    for error in found.errors:
        error.message.encode()  # it is shown, logged and sent back


def csv(data: bytes) -> None:
    """The same as a CSV file."""
    try:
        rows = read_csv(data)
    except Rejected:
        return
    if rows:
        _judge(check([row.item for row in rows], key=None, intake=GATE))


def vote(data: bytes) -> None:
    """The body of a vote."""
    try:
        found = read_vote(read_json(data))
    except Rejected:
        return
    assert len(bytes.fromhex(found.key)) == 32
    assert len(bytes.fromhex(found.signature)) == 64
    assert 0 <= found.counter <= MAX_COUNTER


def replies(data: bytes) -> None:
    """JSON-RPC replies of an endpoint: one, a batch, and what an answer to `submit_tx` means."""
    assert meaning_of_http(200, data, request_id=1).meaning
    for status in (403, 429, 500):
        assert meaning_of_http(status, data, request_id=1).meaning
    with suppress(Malformed):
        meaning_of(read_reply(data, request_id=1))
    with suppress(Malformed):
        rows = read_batch(data, first_id=1, count=3)
        assert len(rows) == 3


READERS: Final[tuple[Callable[[Any], object], ...]] = (
    lambda value: readings.read_headers(value, start=0, limit=5),
    readings.read_header,
    readings.read_account,
    readings.read_balance,
    readings.read_tx_status,
    readings.read_fee_floor,
    lambda value: readings.read_gauge(value, "block_height"),
)


def results(data: bytes) -> None:
    """What the results of an endpoint's methods say."""
    with suppress(Malformed):
        found = read_reply(data, request_id=1)
        values = [found.value] if isinstance(found, Result) else []
        values.append(parse(data))
        for value in values:
            for reader in READERS:
                with suppress(Malformed):
                    _within(reader(value))


def _within(found: object) -> None:
    """Every number that came out of a reading fits into 64 bits (a height counts one more than the node's index)."""
    for value in found if isinstance(found, tuple) else [found]:
        for name in ("height", "balance", "nonce", "fee_charged"):
            number = getattr(value, name, None)
            assert number is None or 0 <= number <= U64_MAX + 1


def frame(data: bytes) -> None:
    """One text of `/state_stream`."""
    try:
        found = readings.read_frame(data, limit=MAX_FRAME)
    except Malformed:
        return
    assert 0 <= found.tip_index <= U64_MAX
    for holding in found.holdings.values():
        assert 0 <= holding.balance <= U64_MAX
        assert 0 <= holding.nonce <= U64_MAX


def exposition(data: bytes) -> None:
    """A node's metrics: what is shown of them has places of the registry and finite numbers."""
    try:
        found = translate(read_exposition(data, wanted=WANTED))
    except Malformed:
        return
    _shown(showing.of_metrics(found, showing.Roster(3)))


def market(data: bytes) -> None:
    """What the methods of the energy market answer."""
    with suppress(Malformed):
        value = parse(data)
        with suppress(Malformed):
            _shown(showing.of_market(read_market_state(value), showing.Roster(3)))
        for name, read in (("credits", read_credit), ("disputes", read_dispute)):
            with suppress(Malformed):
                page = read_page(value, name)
                rows = [read(row) for row in page.rows]
                if name == "credits":
                    _shown(showing.of_credits(page.total, cast("list[Credit]", rows)))
                else:
                    disputes = cast("list[Dispute]", rows)
                    _shown(showing.of_disputes(page.total, showing.Resolutions().after([]).after(disputes)))


def _shown(found: Observed) -> None:
    for name, places in found.series.items():
        labels = OBSERVED[name].labels
        assert len(places) <= OBSERVED[name].bound
        for place, value in places.items():
            assert math.isfinite(value)
            for label, text in zip(labels, place, strict=True):
                assert text in label.values if label.values else re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", text)
    assert found.distributions.keys() <= OBSERVED.keys()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def stream_bytes(data: bytes) -> None:
    """The bytes of a `/state_stream` connection: the answer to the upgrade, then a frame."""

    async def read() -> bytes:
        reader = asyncio.StreamReader(limit=MAX_FRAME)
        reader.feed_data(data)
        reader.feed_eof()
        stream._check_upgrade(await reader.readuntil(b"\r\n\r\n"), KEY)
        return await stream._text_frame(reader, MAX_FRAME)

    with suppress(Malformed, FrameTooLarge, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        assert len(_loop().run_until_complete(read())) <= MAX_FRAME


def transaction(data: bytes) -> None:
    """A transaction as it stands on the wire: refused, or exactly the bytes that it encodes to."""
    try:
        found = decode_rpc7(data)
    except Undecodable:
        return
    if not (found.signer_pubkeys or found.aggregate_signature or found.threshold):
        assert encode_rpc7(found) == data


def settings_file(data: bytes) -> None:
    """A configuration file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "treasuryd.toml"
        file.write_bytes(data)
        with suppress(Rejected):
            assert isinstance(load_settings(file, {}), Settings)


def settings_environment(data: bytes) -> None:
    """The variables of the process: one a line, `NAME=value`, as the operating system decodes them."""
    variables = dict(
        line.split("=", 1)
        for line in data.decode("utf-8", "surrogateescape").split("\n")
        if "=" in line.lstrip("=")
    )
    with suppress(Rejected):
        assert isinstance(load_settings(None, {f"TREASURYD_{k}": v for k, v in variables.items()}), Settings)


def devnet(data: bytes) -> None:
    """Requests of a connection to the development chain, however they are cut."""
    found = []
    for size in (len(data) or 1, 7):
        parser, requests = Parser(65_536), []
        with suppress(Rejected):
            for start in range(0, len(data), size):
                parser.feed(data[start : start + size])
                while (request := parser.next()) is not None:
                    requests.append(request)
        found.append(requests)
    assert found[0] == found[1]


def journal(data: bytes) -> None:
    """A line of the journal's copy, and a file of such lines."""
    with suppress(Corrupt):
        entry = entry_of("people", data)
        assert type(entry.seq) is int
        assert all(type(text) is str for text in (entry.verb, entry.hash, entry.body))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "people.log"
        file.write_bytes(data)
        with suppress(Corrupt):
            seqs = [entry.seq for entry in read_file(file, "people")]
            assert seqs == list(range(1, len(seqs) + 1))


def key_file(data: bytes) -> None:
    """A key file, and the file of the secret that unlocks it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key.pem"
        file.write_bytes(data)
        file.chmod(0o600)
        with suppress(Rejected):
            assert len(load_key(file, SECRET).public) == 32
        with suppress(Rejected):
            assert 0 < len(read_secret(file)) <= 1_024


class Call(dict[Any, Any]):
    """A request to `/rpc` as its handler sees it, from somebody with the token."""

    def __init__(self, world: FakeWorld, body: bytes) -> None:
        super().__init__({BODY: body})
        options = SimpleNamespace(token=lambda: "t", development=True)
        self.app = {OFFICE: world.office(), OPTIONS: options, KNOWN: Turns(TurnLimits())}
        self.headers = {"Authorization": "Bearer t"}


def rpc_server(data: bytes) -> None:
    """The daemon's own JSON-RPC: always an answer, and a stored item for each call that says so alone."""
    world = FakeWorld()
    answer = _loop().run_until_complete(rpc(cast("web.Request", Call(world, data))))
    assert answer.status in {200, 204}
    if answer.status == 204:
        return
    said = orjson.loads(cast("bytes", answer.body))
    calls = said if isinstance(said, list) else [said]
    for call in calls:
        assert ("result" in call) != ("error" in call)
        assert "error" not in call or call["error"]["code"] in CODES


TARGETS: Final[dict[str, Target]] = {
    "memo": memo,
    "payload": payload,
    "csv": csv,
    "vote": vote,
    "replies": replies,
    "results": results,
    "frame": frame,
    "exposition": exposition,
    "market": market,
    "stream": stream_bytes,
    "transaction": transaction,
    "settings_file": settings_file,
    "settings_environment": settings_environment,
    "devnet": devnet,
    "journal": journal,
    "key_file": key_file,
    "rpc_server": rpc_server,
}
