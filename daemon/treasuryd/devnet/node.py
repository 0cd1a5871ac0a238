"""
The node without its sockets: the RPC methods over one ledger, and what the faults make of them. Synchronous.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final

from blake3 import blake3

from treasuryd.devnet.config import DevnetConfig
from treasuryd.devnet.economy import Family, families
from treasuryd.devnet.faults import Faults, Switches, Wrong
from treasuryd.devnet.ledger import Ledger, Verdict
from treasuryd.devnet.market import PAGE_ROWS, EnergyMarket, empty_page, empty_state
from treasuryd.devnet.pool import Offer
from treasuryd.devnet.signatures import offer_of
from treasuryd.wire.theblock.binary import U64_MAX, Undecodable
from treasuryd.wire.theblock.market import MAX_PAGE_ROWS, UNAUTHORISED
from treasuryd.wire.theblock.replies import (
    INVALID_PARAMS,
    LOCK_POISONED,
    METHOD_NOT_FOUND,
    REPLAYED_NONCE,
)

MAX_HEADERS: Final = 200
NEEDS_REPLAY_NONCE: Final = frozenset({"submit_tx", "start_mining", "stop_mining"})
DEBUG: Final = frozenset({"start_mining", "stop_mining"})
NOT_FOUND: Final = -32003
_OK: Final = {"status": "ok"}


class Refused(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Panicked(Exception):
    """The node's thread died over this request: the connection drops without an answer."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call as it came in. `offer` is set when the signature was judged beforehand, for a whole batch."""

    method: str
    params: Mapping[str, Any]
    token: str | None = None
    offer: Offer | None = field(default=None)


class Node:
    """
    A node of The Block on a ledger of its own.

    Guarantees: the method gates, errors and results of the real node, byte for byte once written as JSON; faults
        and switches strike where `faults.py` says.
    """

    def __init__(self, config: DevnetConfig, ledger: Ledger, now: Callable[[], float]) -> None:
        self.config = config
        self.ledger = ledger
        self.now = now
        self.faults = Faults()
        self.switches = Switches.of(config)
        self.told: Callable[[Offer, str], None] | None = (
            None  # hears of every transaction before it is judged
        )
        self._replayed: set[tuple[str, int]] = set()

    # --- the gates -----------------------------------------------------------------------------------

    def call(self, call: Call) -> Any:
        """
        Answer one call.

        Returns: the result. Raises: Refused for a JSON-RPC error, Panicked when the connection drops.
        """
        if "claim_routes" in call.method:
            return _OK  # the node answers any such name before all gates
        self.allow(call)
        if self.faults and call.method != "submit_tx":
            self._refuse_by_fault(call.method)
        return _METHODS[call.method](self, call)

    def allow(self, call: Call) -> None:
        """Let a call through the method gate and take its replay nonce; Refused otherwise."""
        if call.method not in _METHODS or not self._offers(call.method):
            raise Refused(METHOD_NOT_FOUND, "method not found")
        if call.method in DEBUG and not self._is_admin(call.token):
            raise Refused(METHOD_NOT_FOUND, "method not found")  # never 401: hidden methods do not exist
        if call.method in NEEDS_REPLAY_NONCE:
            nonce = call.params.get("nonce")
            if type(nonce) is not int or not 0 <= nonce <= U64_MAX:
                raise Refused(INVALID_PARAMS, "missing nonce")
            if (call.method, nonce) in self._replayed:
                raise Refused(REPLAYED_NONCE, "replayed nonce")
            self._replayed.add((call.method, nonce))

    def _offers(self, method: str) -> bool:
        abilities = self.switches.abilities
        return {"tx_status": abilities.tx_status, "account": abilities.account}.get(method, True)

    def _is_admin(self, token: str | None) -> bool:
        wanted = self.config.admin_token
        return wanted is not None and token is not None and compare_digest(token.encode(), wanted.encode())

    def _refuse_by_fault(self, method: str) -> str | None:
        fault = self.faults.take(Wrong.REFUSE, method)
        if fault is None:
            return None
        if "code" in fault.given:
            raise Refused(fault.given["code"], str(fault.given.get("message", "refused")))
        return str(fault.given.get("verdict", Verdict.MEMPOOL_FULL))

    # --- methods -------------------------------------------------------------------------------------

    def offer(self, params: Mapping[str, Any]) -> Offer:
        """Decode the transaction of a `submit_tx`; Refused with `invalid params` when it is none."""
        text, tip, max_fee = params.get("tx"), params.get("tip"), params.get("max_fee")
        try:
            if not isinstance(text, str):
                raise Refused(INVALID_PARAMS, "invalid params")
            return offer_of(binascii.unhexlify(text), tip=_optional(tip), max_fee=_optional(max_fee))
        except (ValueError, Undecodable) as error:
            raise Refused(INVALID_PARAMS, "invalid params") from error

    def submit_tx(self, call: Call) -> Any:
        """Judge one transaction; refusals are successful results, as on the node."""
        offer = call.offer or self.offer(call.params)
        if self.told is not None:
            self.told(offer, call.params["tx"])
        if self.switches.poisoned:
            return {"error": LOCK_POISONED}
        if not self.faults:
            return _said(self.ledger.admit(offer, now=self.now()))
        refused = self._refuse_by_fault("submit_tx")
        if refused is not None:
            return {"error": refused}
        fault = self.faults.take(Wrong.RAISE_TIP, "submit_tx")
        if fault is not None:
            offer.tip = int(fault.given.get("tip") or max(offer.tip, offer.fee - self.ledger.base_fee))
        verdict = self.ledger.admit(offer, now=self.now())
        if self.faults.take(Wrong.DUPLICATE, "submit_tx") is not None:
            verdict = self.ledger.admit(offer, now=self.now())
        return _said(verdict)

    def balance(self, call: Call) -> Any:
        """Say a balance: 0 for an unknown address, and never what is pending."""
        holding = self._holding(call)
        return {"amount": holding[0] if holding else 0}

    def account(self, call: Call) -> Any:
        """Say balance and nonce of one address; null when the chain does not know it."""
        holding = self._holding(call)
        return None if holding is None else {"account_seq": holding[1], "balance": holding[0]}

    def _holding(self, call: Call) -> tuple[int, int] | None:
        address = call.params.get("address")
        return self.ledger.holding(address, lag=self.switches.lag) if isinstance(address, str) else None

    @property
    def seen_height(self) -> int:
        """The number of blocks that readings show: less under a lag, absurd when told so."""
        if self.switches.absurd_index is not None:
            return self.switches.absurd_index + 1
        return max(0, self.ledger.height - self.switches.lag)

    def header(self, index: int) -> dict[str, Any]:
        """Write one header; beyond the real tip a made-up one."""
        real = index < self.ledger.height
        name = self.ledger.block_hash(index) if real else blake3(f"absurd:{index}".encode()).hexdigest()
        return {"difficulty": 1, "hash": name, "height": index}

    def light_headers(self, call: Call) -> Any:
        """List headers from an index; drops the connection after the chain lock was poisoned."""
        if self.switches.poisoned:
            raise Panicked
        start, limit = _number(call.params, "start", 0), _number(call.params, "limit", MAX_HEADERS)
        end = min(self.seen_height, start + min(limit, MAX_HEADERS))
        return [self.header(index) for index in range(start, end)]

    def light_latest_header(self, _call: Call) -> Any:
        """Give the last header. On an empty chain the real node panics while it holds the chain lock."""
        if self.switches.poisoned:
            raise Panicked
        if self.seen_height == 0:
            if self.switches.latest_header_panics:
                self.switches.poisoned = True
                raise Panicked
            raise Refused(NOT_FOUND, "not found")
        return self.header(self.seen_height - 1)

    def tx_status(self, call: Call) -> Any:
        """Look a transaction up by its hash (an ability that the real node does not have)."""
        name = call.params.get("tx_hash")
        mined = self.ledger.transactions.get(name) if isinstance(name, str) else None
        nothing = {"block_hash": None, "fee_charged": None, "height": None}
        if self.faults and self.faults.take(Wrong.UNKNOWN_TX, "tx_status") is not None:
            return {**nothing, "status": "unknown"}
        if mined is None or mined.index >= self.seen_height:
            pooled = isinstance(name, str) and self.ledger.pooled(name)
            return {**nothing, "status": "pending" if pooled or mined is not None else "unknown"}
        block_hash = self.ledger.block_hash(mined.index)
        if self.faults and self.faults.take(Wrong.WRONG_BLOCK, "tx_status") is not None:
            block_hash = blake3(b"wrong:" + block_hash.encode()).hexdigest()
        return {
            "block_hash": block_hash, "fee_charged": mined.charge, "height": mined.index, "status": "included",
        }  # fmt: skip

    def mempool_stats(self, call: Call) -> Any:
        """Say how full a lane is, and its percentile floor (the lane price is exposed nowhere)."""
        lane = {"consumer": 0, "industrial": 1}.get(call.params.get("lane", "consumer"), 0)
        pool, now = self.ledger.pools[lane], self.now()
        ages = sorted(int((now - offer.admitted_at) * 1000) for offer in pool)
        tips = sorted(offer.tip for offer in pool)
        return {
            "age_p50": _percentile(ages, 50), "age_p95": _percentile(ages, 95), "fee_floor": pool.window.floor,
            "fee_p50": _percentile(tips, 50), "fee_p90": _percentile(tips, 90), "size": len(pool),
        }  # fmt: skip

    def metrics(self, _call: Call) -> Any:
        """Write the node's metrics, as Prometheus text in one JSON string."""
        return self.exposition()

    def exposition(self) -> str:
        """Write the series that a payer can use and, where there is a market, those that dashboards show."""
        ledger = self.ledger
        rows: list[Family] = [
            ("base_fee", "gauge", [("", ledger.base_fee)]),
            ("fee_floor_current", "gauge", [("", ledger.pools[0].window.floor)]),
            ("block_mined_total", "counter", [("", ledger.height)]),
            ("mempool_size", "gauge", [('{lane="consumer"}', len(ledger.pools[0])),
                                       ('{lane="industrial"}', len(ledger.pools[1]))]),
            ("tx_admitted_total", "counter", [("", ledger.admitted)]),
            ("tx_rejected_total", "counter", [(f'{{reason="{name}"}}', n) for name, n in ledger.rejections.items()]),
        ]  # fmt: skip
        if self.config.market:
            rows += families(self.market, reward=ledger.rules.reward)
        lines = []
        for name, kind, series in rows:
            lines.append(f"# TYPE {name} {kind}")
            lines += [f"{name}{labels} {value}" for labels, value in series]
        return "\n".join(lines) + "\n"

    def start_mining(self, _call: Call) -> Any:
        """Mine on the configured interval."""
        self.switches.mining = True
        return _OK

    def stop_mining(self, _call: Call) -> Any:
        """Stop mining."""
        self.switches.mining = False
        return _OK

    def energy_market_state(self, call: Call) -> Any:
        """Give the market as it stands; on a fresh node it is empty."""
        market = self._market(call)
        return empty_state() if market is None else market.state(_provider(call))

    def energy_receipts(self, call: Call) -> Any:
        """List receipts of deliveries, a page of them."""
        return self._energy_page(call, "receipts")

    def energy_credits(self, call: Call) -> Any:
        """List credits that are not settled, a page of them."""
        return self._energy_page(call, "credits")

    def energy_disputes(self, call: Call) -> Any:
        """List disputes, a page of them; `status` chooses."""
        if call.params.get("status") not in {None, "open", "resolved"}:
            raise Refused(INVALID_PARAMS, "invalid params")
        return self._energy_page(call, "disputes")

    def _energy_page(self, call: Call, name: str) -> Any:
        page = _number(call.params, "page", 0)
        size = max(1, min(_number(call.params, "page_size", PAGE_ROWS), MAX_PAGE_ROWS))
        found = self._market(call)
        if found is None:
            return empty_page(name, page=page, size=size)
        chosen = {"provider_id": _provider(call), "status": call.params.get("status")}
        return found.page(name, chosen, page=page, size=size)

    def _market(self, call: Call) -> EnergyMarket | None:
        """Give the market to those who may see it: only with the token where one is configured."""
        if self.config.admin_token is not None and not self._is_admin(call.token):
            raise Refused(UNAUTHORISED, "unauthorized")
        return self.market if self.config.market else None

    @property
    def market(self) -> EnergyMarket:
        """The market at this height, or at the one where it was told to stand still."""
        stalled = self.switches.market_stalls_at
        return EnergyMarket(seed=self.ledger.seed, height=self.ledger.height if stalled is None else stalled)

    # --- what happens to the node --------------------------------------------------------------------

    def tick(self) -> None:
        """Mine one block, unless mining is off or the chain lock is poisoned."""
        if self.switches.mining and not self.switches.poisoned:
            self.ledger.mine(now=self.now())

    def restart(self) -> None:
        """Do what a restart does: pool, fee window, replay nonces and a poisoned lock are gone; the chain stays."""
        self.ledger.restart()
        self._replayed.clear()
        self.switches.poisoned = False


_METHODS: Final[Mapping[str, Callable[[Node, Call], Any]]] = {
    "submit_tx": Node.submit_tx,
    "balance": Node.balance,
    "account": Node.account,
    "light.headers": Node.light_headers,
    "light.latest_header": Node.light_latest_header,
    "tx_status": Node.tx_status,
    "mempool.stats": Node.mempool_stats,
    "metrics": Node.metrics,
    "start_mining": Node.start_mining,
    "stop_mining": Node.stop_mining,
    "energy.market_state": Node.energy_market_state,
    "energy.receipts": Node.energy_receipts,
    "energy.credits": Node.energy_credits,
    "energy.disputes": Node.energy_disputes,
}


def _said(verdict: Verdict) -> Any:
    return _OK if verdict is Verdict.OK else {"error": verdict.value}


def _optional(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise Refused(INVALID_PARAMS, "invalid params")
    return value


def _provider(call: Call) -> str | None:
    found = call.params.get("provider_id")
    if found is not None and not isinstance(found, str):
        raise Refused(INVALID_PARAMS, "invalid params")
    return found


def _number(params: Mapping[str, Any], name: str, default: int) -> int:
    value = params.get(name, default)
    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise Refused(INVALID_PARAMS, "invalid params")
    return value


def _percentile(ascending: list[int], percent: int) -> int:
    return ascending[min(len(ascending) * percent // 100, len(ascending) - 1)] if ascending else 0
