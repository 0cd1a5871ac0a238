"""
What can be set, section by section. Each setting states unit, range and why its default is what it is.

Defaults are production's; `config/dev.toml` has those of development. Only `main` and `cli` read settings: every other
ring is handed small frozen values made here (`rules`, `breaker_settings`) or there.
"""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from treasuryd.core.breaker import BreakerSettings
from treasuryd.core.model import (
    MAX_AMOUNT,
    MAX_ENDPOINTS,
    MAX_PPM,
    Address,
)
from treasuryd.errors import Rejected
from treasuryd.settings.fields import (
    DAY,
    Amount,
    HexKey,
    HttpUrl,
    Name,
    Number,
    OptionalPath,
    Share,
    Whole,
    require,
    setting,
)


class Section(BaseModel):
    """What all sections share: frozen, nothing unknown, no non-finite number, and no input echoed in errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )


class AccountSection(Section):
    """A paying account on the chain; this process asks for its lease, and pays from it while it holds it."""

    name: Name = setting("treasury", "The account's name on the chain.")
    sink: str = setting(
        "",
        "Where a cancellation sends its one base unit (protocol R7); an address of this account's own, never accepted "
        "as a destination. Empty: `<name>-sink`, which nobody else uses. It stays the one that the store was begun with "
        "once a cancellation or filler was made; before that another one is taken after a stop by SIGTERM.",
    )
    key_file: OptionalPath = setting(
        "", "The account's Ed25519 key, mode 0600. Empty: `<state folder>/signer/<name>.key`."
    )

    @property
    def sink_address(self) -> Address:
        """The sink, named or derived."""
        return Address(self.sink or f"{self.name}-sink")


class EndpointSection(Section):
    """A node of the chain. With two or more, finality needs the word of two (protocol R9)."""

    name: Name = setting("local", "How logs, metrics and breakers call it; unique.")
    url: HttpUrl = setting(
        "http://127.0.0.1:3030",
        "Its JSON-RPC: http or https, host and port. No user, password, path or query.",
    )


class ChainSection(Section):
    """The chain, what its nodes take, and how payments are priced, repeated and believed."""

    chain_id: Whole = setting(
        1,
        "The chain's id, part of every signature; pinned at the first start (R15).",
        at_least=0,
        at_most=2**32 - 1,
    )
    endpoints: tuple[EndpointSection, ...] = setting(
        (), "The nodes to talk to. None: the embedded development chain, where that is enabled."
    )
    epoch_blocks: Whole = setting(
        120,
        "An epoch of The Block has 120. Pinned to the store at the first start, since what is stored is counted in it.",
        unit="blocks", at_least=1, at_most=1_000_000,
    )  # fmt: skip
    finality_depth: Whole = setting(
        12,
        "Blocks on top of one before it counts as final. Why 12: deeper than any reorg seen, twelve seconds of The Block.",
        unit="blocks", at_least=1, at_most=10_000,
    )  # fmt: skip
    max_blocks_per_second: Number = setting(
        2.0,
        "How fast a head may plausibly rise (R16); the excess is not believed yet. Why 2: twice the chain's own pace.",
        unit="blocks per second", at_least=0.001, at_most=10_000,
    )  # fmt: skip
    head_max_age_seconds: Number = setting(
        120.0,
        "A head that has not risen for longer counts as lagging, and takes no votes. Why 120: a minute of outage is "
        "ordinary, two are not.",
        unit="seconds", at_least=1, at_most=DAY,
    )  # fmt: skip
    follow_seconds: Number = setting(
        1.0,
        "How often the head is asked for, to wake the tick. Why 1: the chain's block interval; costs latency only.",
        unit="seconds", at_least=0.05, at_most=3_600, reload=True,
    )  # fmt: skip
    connect_seconds: Number = setting(
        5.0, "For opening a connection. Why 5: a lost packet is repeated after 1, then 3.", unit="seconds",
        at_least=0.1, at_most=60,
    )  # fmt: skip
    read_seconds: Number = setting(
        10.0, "For one reading, answer included. Why 10: the node takes milliseconds, a stalled one a second more.",
        unit="seconds", at_least=0.5, at_most=100,
    )  # fmt: skip
    send_seconds: Number = setting(
        30.0, "For one broadcast. Why 30: a node judges a transaction in up to 1.5, a batch takes longer, and a call cut "
        "short may still have been accepted.", unit="seconds", at_least=0.5, at_most=100,
    )  # fmt: skip
    slow_seconds: Number = setting(
        8.0, "An answer later than this counts as slow with the breaker. Why 8: well above the normal.", unit="seconds",
        at_least=0.1, at_most=100,
    )  # fmt: skip
    ban_seconds: Number = setting(
        60.0, "Silence after the node said that we ask too much. Why 60: The Block's ban.", unit="seconds",
        at_least=0.1, at_most=DAY,
    )  # fmt: skip
    batch_rows: Whole = setting(
        500, "Calls in one JSON-RPC batch, where the node takes batches. Why 500: half a megabyte of transactions.",
        at_least=1, at_most=10_000,
    )  # fmt: skip
    max_reply_bytes: Whole = setting(
        1_048_576, "An answer beyond it is malformed. Why 1 MiB: a batch of 1,000 look-ups fits.", unit="bytes",
        at_least=4_096, at_most=268_435_456,
    )  # fmt: skip
    frame_max_bytes: Whole = setting(
        33_554_432, "The largest reading of all accounts; beyond it the node needs `account` look-up. Why 32 MiB: about "
        "300,000 accounts, and a bound on memory.",
        unit="bytes", at_least=65_536, at_most=1_073_741_824,
    )  # fmt: skip
    max_requests_per_second: Number = setting(
        80.0,
        "Per endpoint. Why 80: The Block bans for 60 s at 100 in one second.", unit="requests per second",
        at_least=0.1, at_most=1_000_000, reload=True,
    )  # fmt: skip
    max_unburned: Whole = setting(
        16, "Transactions in flight per account. Why 16: the 17th is refused by The Block.",
        at_least=1, at_most=100_000, reload=True,
    )  # fmt: skip
    fee_ceiling: Amount = setting(
        100_000, "The most one transaction may cost; above it the item waits, and is never cancelled. Why 100,000: about "
        "a hundred times an ordinary fee.", unit="base units", at_least=0, at_most=MAX_AMOUNT, reload=True,
    )  # fmt: skip
    fee_uncertainty_max: Amount = setting(
        0, "How much doubt about fees an inclusion may be judged under (protocol §5.1). 0: the fee ceiling.",
        unit="base units", at_least=0, at_most=MAX_AMOUNT, reload=True,
    )  # fmt: skip
    resend_seconds: Number = setting(
        30.0, "A transaction not seen in a block is sent again, same bytes. Why 30: a node forgets its pool when it "
        "restarts.", unit="seconds", at_least=0.1, at_most=DAY, reload=True,
    )  # fmt: skip
    bump_seconds: Number = setting(
        300.0, "After so long it is priced anew, on the same nonce. Why 300: a fee spike shorter than that passes.",
        unit="seconds", at_least=0.1, at_most=DAY, reload=True,
    )  # fmt: skip
    pool_ttl_seconds: Number = setting(
        1800.0, "How long the node's pool keeps what it replaces by nothing (R6). Why 1800: The Block's own figure.",
        unit="seconds", at_least=0, at_most=30 * DAY,
    )  # fmt: skip
    replaces_pooled: bool = setting(
        False, "Whether the node replaces a pooled transaction by a dearer one. The Block does not."
    )
    head_wait_seconds: Number = setting(
        600.0, "How long the oldest payment may wait before a person is called (R8). Why 600: one order of magnitude above "
        "an ordinary wait.", unit="seconds", at_least=1, at_most=30 * DAY, reload=True,
    )  # fmt: skip
    poison_refusals: Whole = setting(
        3, "Refusals of a payment's content by every endpoint before it is replaced (R8). Why 3: one may be a node's "
        "mistake.", at_least=1, at_most=1_000, reload=True,
    )  # fmt: skip
    movers: frozenset[str] = setting(
        (), "Destinations that move by themselves all the time, an exchange or a miner; for these the payer's side of the "
        "evidence decides (protocol §5.1).", reload=True,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [endpoint.name for endpoint in self.endpoints]
        require(len(names) == len(set(names)), "endpoints: two have the same name")
        urls = [endpoint.url for endpoint in self.endpoints]
        require(
            len(urls) == len(set(urls)),
            "endpoints: two have the same url, and one node agrees with itself (R9)",
        )
        require("*" not in names, "endpoints: * means all of them and names none")
        require(len(names) <= MAX_ENDPOINTS, f"endpoints: {len(names)}, the limit is {MAX_ENDPOINTS}")
        require(self.connect_seconds <= self.read_seconds, "connect_seconds is above read_seconds")
        return self


class HouseSection(Section):
    """One of the two houses that vote: its public keys, in hex. A house without keys approves nothing."""

    keys: tuple[HexKey, ...] = setting((), "Ed25519 public keys of those who may vote.")
    weights: dict[HexKey, Whole] = setting(
        {}, "Weight of a key's vote, 1 to 1,000,000; a key not named has 1."
    )
    retired: frozenset[HexKey] = setting(
        (), "Keys that may no longer vote: their old votes count, new ones do not.", reload=True
    )
    min_quorum_ppm: Share = setting(
        500_000, "Approvals needed at least, of the house's weight. Why 500,000: half.", unit="ppm",
        at_least=1, at_most=MAX_PPM,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(len(self.keys) == len(set(self.keys)), "keys: one stands twice")
        require(set(self.weights) <= set(self.keys), "weights: a key that is not in keys")
        require(all(1 <= weight <= 1_000_000 for weight in self.weights.values()), "weights: 1 to 1,000,000")
        require(self.retired <= set(self.keys), "retired: a key that is not in keys (leave it there)")
        return self


class GovernanceSection(Section):
    """Who approves, and how long everything takes at least; a proposal may ask for more and never for less."""

    operators: HouseSection = setting(HouseSection(), "The house of those who run nodes.")
    builders: HouseSection = setting(HouseSection(), "The house of those who build.")
    min_vote_window_epochs: Whole = setting(
        4, "How long a vote stays open. Why 4: eight minutes of The Block, the original's default.", unit="epochs",
        at_least=1, at_most=1_000_000,
    )  # fmt: skip
    min_timelock_epochs: Whole = setting(
        2, "The wait between a passed vote and payment. Why 2: time to notice and cancel.", unit="epochs",
        at_least=1, at_most=1_000_000,
    )  # fmt: skip
    min_rollback_window_epochs: Whole = setting(
        1, "How long after payment the books may be rolled back; it moves no money. Why 1: the original's default.",
        unit="epochs", at_least=1, at_most=1_000_000,
    )  # fmt: skip
    allow_treasury_initiated: bool = setting(
        False, "Whether disbursements without a proposal are paid without a vote. Why not: nothing is paid that nobody "
        "approved."
    )  # fmt: skip
    dependency_satisfied_by: Literal["finalized", "final"] = setting(
        "finalized", "When a dependency counts: `finalized`, or already when its payment is `final` and the rollback "
        "window still open. Why the former: the books of the dependency can no longer change."
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        # a vote's message names no house: in both, one signature would count twice, and anybody could repeat it
        for key in self.operators.keys:
            require(
                key not in self.builders.keys,
                f"the key {key} stands in operators and in builders: one signature of it would be a vote in both houses. "
                "Give whoever votes in both a key of its own for each; one that moves leaves its old key behind, retired",
            )
        return self


class LeaseSection(Section):
    """Who may act for an account, and for how long (protocol §6)."""

    ttl_seconds: Number = setting(
        10.0, "How long a lease holds after its last renewal began. Why 10: a dead holder is replaced within 15 s.",
        unit="seconds", at_least=0.2, at_most=3_600,
    )  # fmt: skip
    renew_seconds: Number = setting(
        3.0, "How often it is renewed. Why 3: two tries fit before the deadline.", unit="seconds",
        at_least=0.05, at_most=3_600,
    )  # fmt: skip
    renew_deadline_seconds: Number = setting(
        6.5, "Without a renewal for so long nothing is staged, signed or sent any more. Why 6.5: two intervals and a slow "
        "disk, well below the TTL.", unit="seconds", at_least=0.1, at_most=3_600,
    )  # fmt: skip
    candidate_wait_seconds: Number = setting(
        12.5, "How long a candidate watches an unchanged lease before it takes it. Why 12.5: the TTL and a quarter, for "
        "clocks that run apart.", unit="seconds", at_least=0.2, at_most=7_200,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            2 * self.renew_seconds <= self.renew_deadline_seconds,
            "renew_deadline_seconds must be at least twice renew_seconds: one renewal may fail",
        )
        require(
            self.renew_deadline_seconds < self.ttl_seconds, "renew_deadline_seconds must be below ttl_seconds"
        )
        require(
            1.25 * self.ttl_seconds <= self.candidate_wait_seconds,
            "candidate_wait_seconds must be at least 1.25 times ttl_seconds",
        )
        return self


class BreakerSection(Section):
    """When calls to a failing endpoint stop, and when they are tried again (protocol §7)."""

    failure_threshold: Whole = setting(
        5, "Failures in a row that open it.", at_least=1, at_most=10_000, reload=True
    )
    success_threshold: Whole = setting(
        2, "Good probes in a row that close it.", at_least=1, at_most=10_000, reload=True
    )
    timeout_secs: Number = setting(
        60.0, "How long it stays open at first; doubles with every further opening. Why 60: a ban of The Block takes so "
        "long.", unit="seconds", at_least=0.01, at_most=DAY, reload=True,
    )  # fmt: skip
    window_secs: Number = setting(
        300.0, "How far back the failure ratio looks.", unit="seconds", at_least=0.1, at_most=DAY, reload=True
    )
    failure_ratio: Number = setting(
        0.5, "Share of failed or slow calls in the window that opens it, above 0. Why a half: below it payments still get "
        "through.", at_least=0.000001, at_most=1, reload=True,
    )  # fmt: skip
    min_calls: Whole = setting(
        20,
        "Calls in the window below which the ratio means nothing.",
        at_least=1,
        at_most=1_000_000,
        reload=True,
    )
    open_cap_secs: Number = setting(
        600.0, "The open time stops growing here. Why 600: an endpoint that is back is noticed within ten minutes.",
        unit="seconds", at_least=0.01, at_most=DAY, reload=True,
    )  # fmt: skip
    permit_secs: Number = setting(
        120.0, "A call not accounted for by then is written off. Why 120: above the longest timeout of a call.",
        unit="seconds", at_least=1, at_most=DAY, reload=True,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            BreakerSettings(**self.model_dump())
        except Rejected as error:
            raise PydanticCustomError("breaker", "{why}", {"why": error.message}) from error
        return self


class ExecutorSection(Section):
    """The cadence of the work."""

    poll_seconds: Number = setting(
        5.0, "How long an idle executor sleeps; a new head or a submission wakes it earlier. Why 5: idle costs under 1 % "
        "of a core.", unit="seconds", at_least=0.02, at_most=3_600, reload=True,
    )  # fmt: skip
    batch_min: Whole = setting(
        16, "Rows of a tick at a short queue. Why 16: what an account has in flight.", at_least=1, at_most=100_000,
        reload=True,
    )  # fmt: skip
    batch_max: Whole = setting(
        1_000, "Rows of a tick at a long queue. Why 1,000: a tick stays well below a second.", at_least=1,
        at_most=100_000, reload=True,
    )  # fmt: skip
    grace_seconds: Number = setting(
        10.0, "How long a shutdown waits for the running tick; after it the leases are not released. Why 10: above the "
        "longest call.", unit="seconds", at_least=0.1, at_most=600, reload=True,
    )  # fmt: skip
    loop_silence_seconds: Number = setting(
        30.0, "An event loop that does not turn for so long ends the process. Why 30: ten renewals missed.",
        unit="seconds", at_least=2, at_most=3_600,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.batch_min <= self.batch_max, "batch_min is above batch_max")
        return self


class AuditSection(Section):
    """The settlement audit, which looks at everything that is stored again and again, a page at a time."""

    interval_seconds: Number = setting(
        5.0, "How long it rests between two pages. Why 5: a page takes some 20 ms, so that it costs under 1 % of a core.",
        unit="seconds", at_least=0.1, at_most=3_600,
    )  # fmt: skip
    page_items: Whole = setting(
        200, "Disbursements in a page. Why 200: 100,000 are looked at every 42 minutes.", at_least=1, at_most=10_000,
    )  # fmt: skip


class IntakeSection(Section):
    """What is accepted from those who submit."""

    destination_pattern: str = setting(
        r"^tb1[a-zA-Z0-9]+$", "A regular expression that destinations match; empty: any name. Why this: the original's "
        "schema.", reload=True,
    )  # fmt: skip
    max_transfer: Amount = setting(
        0,
        "The largest single payment; larger ones are held. 0: no limit of ours.",
        unit="base units",
        at_least=0,
        at_most=MAX_AMOUNT,
        reload=True,
    )
    batch_expires_seconds: Number = setting(
        3_600.0, "A named batch that was not sealed by then is dropped. Why 3,600: the longest upload we expect.",
        unit="seconds", at_least=1, at_most=30 * DAY, reload=True,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_pattern(self.destination_pattern)
        return self


class HttpSection(Section):
    """The daemon's own server: health, metrics, REST and JSON-RPC."""

    host: str = setting("127.0.0.1", "Address to listen on. Why loopback: put a proxy with TLS in front.")
    port: Whole = setting(9477, "TCP port; 0 lets the system choose.", at_least=0, at_most=65_535)
    allowed_hosts: tuple[str, ...] = setting(
        (), "Names under which clients reach us besides `localhost` and addresses: the proxy's, for instance. Why a list: "
        "a web page could otherwise point a name of its own at us."
    )  # fmt: skip
    token_file: OptionalPath = setting(
        "", "File with the bearer token that writing needs. Empty: writing is refused, except on loopback in "
        "development. The file is read anew at each order.",
    )  # fmt: skip
    max_body_bytes: Whole = setting(
        16_777_216, "The largest request. Why 16 MiB: 1,000 items with long memos.", unit="bytes", at_least=1_024,
        at_most=268_435_456,
    )  # fmt: skip
    max_connections: Whole = setting(
        128, "Clients at once; at the limit a newcomer takes the place of the one that has been longest without a request. "
        "Why 128: dashboards and scrapers are a dozen.", at_least=1,
        at_most=65_535,
    )  # fmt: skip
    head_seconds: Number = setting(
        10.0,
        "From the connection's start to its first complete request head.",
        unit="seconds",
        at_least=0.1,
        at_most=600,
    )
    body_seconds: Number = setting(
        30.0, "For a whole request body. Why 30: 16 MiB at half a megabyte a second.", unit="seconds", at_least=0.1,
        at_most=3_600,
    )  # fmt: skip
    write_seconds: Number = setting(
        30.0,
        "How long an answer waits for a client that does not read.",
        unit="seconds",
        at_least=0.1,
        at_most=3_600,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        """An empty host is every interface to the system, and the name of a request without `Host` to us."""
        require(
            bool(self.host) and not any(letter.isspace() for letter in self.host),
            "host: an address or one name is needed, such as 127.0.0.1; 0.0.0.0 or :: listens on every interface",
        )
        require(
            all(name and not any(letter.isspace() for letter in name) for name in self.allowed_hosts),
            "allowed_hosts: one is empty or has a blank",
        )
        return self


class SignerSection(Section):
    """Keys and the signer's own policy, on its own counters: a second pair of eyes (protocol R11)."""

    folder: OptionalPath = setting(
        "",
        "Keys and the double-sign ledger; never restored together with the store. Empty: `<state folder>/signer`.",
    )
    credential_file: OptionalPath = setting(
        "", "File whose content unlocks the keys. Empty: `treasuryd-key` in $CREDENTIALS_DIRECTORY (systemd's "
        "LoadCredential), else `credential` in the signer's folder."
    )  # fmt: skip
    max_amount: Amount = setting(
        0,
        "The largest amount it signs; more is refused for good. 0: no limit.",
        unit="base units",
        at_least=0,
        at_most=MAX_AMOUNT,
    )
    max_fee: Amount = setting(
        0,
        "The largest fee it signs; what costs more waits. 0: the chain's fee ceiling, also when that is reloaded.",
        unit="base units",
        at_least=0,
        at_most=MAX_AMOUNT,
    )
    allow_list: frozenset[str] = setting((), "The only destinations it signs for. Empty: any.")


class LogSection(Section):
    """What is written to standard error."""

    format: Literal["auto", "json", "console"] = setting(
        "auto", "`auto`: console in development, JSON otherwise; one object per line."
    )
    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least that is written. Why info: one line per tick that did something.", reload=True
    )


class DevnetSection(Section):
    """The embedded development chain: mines, misbehaves on request, and has no value."""

    enabled: bool = setting(False, "Run it inside the daemon; development only.")
    profile: Literal["dev", "real", "bench"] = setting(
        "dev",
        "`dev`: friendly; `real`: every limit and refusal of The Block's node; `bench`: roomy and fast.",
    )
    port: Whole = setting(0, "TCP port on loopback; 0 lets the system choose.", at_least=0, at_most=65_535)
    metrics_port: Whole = setting(
        0,
        "TCP port of its metrics listener on loopback; 0 lets the system choose.",
        at_least=0,
        at_most=65_535,
    )
    block_interval_seconds: Number = setting(
        0.1, "Time between two blocks. Why 0.1: a demonstration takes seconds.", unit="seconds", at_least=0.005,
        at_most=600,
    )  # fmt: skip
    seed: Whole = setting(0, "Makes its random faults repeatable.", at_least=0, at_most=2**63 - 1)
    genesis: dict[str, Amount] = setting(
        {},
        "Base units that accounts start with. Accounts not named: 1,000,000,000,000 for each paying account.",
    )
    admin_token: SecretStr = setting("", "Opens its debug methods; empty: hidden.")


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError(
            "pattern", "destination_pattern is no regular expression: {why}", {"why": str(error)}
        ) from error
