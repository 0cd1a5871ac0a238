"""
Commands to the development chain: make it misbehave, move money, look inside. The admin route and tests share them.

`{"fault": name, …}` does something, `{"show": what}` reads. A name of `faults.Wrong` arms that fault (`method`,
`times`, and what the fault takes); the others are in the table at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeVar

from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Ledger, Mined, Then
from treasuryd.devnet.node import Node
from treasuryd.devnet.pool import Offer
from treasuryd.errors import Rejected
from treasuryd.wire.theblock.binary import U64_MAX

MAX_ROWS: Final = 1_000_000
MAX_BLOCKS_AT_ONCE: Final = 100_000

Command = Mapping[str, Any]
Chosen = TypeVar("Chosen")
_WRONGS: Final = {wrong.value: wrong for wrong in Wrong}


def apply(node: Node, command: Command) -> dict[str, Any]:
    """
    Carry out one command.

    Returns: what there is to say; at least `{"ok": true}` for a fault.
    Raises: Rejected, naming the field, for an unknown command or a value out of range; nothing has happened then.
    """
    if "show" in command:
        return _choose(_SHOWN, command["show"], "show")(node, command)
    name = command.get("fault")
    if isinstance(name, str) and name in _WRONGS:
        return _arm(node, _WRONGS[name], command)
    return {"ok": True, **_choose(_DONE, name, "fault")(node, command)}


def _choose(table: Mapping[str, Chosen], name: object, field: str) -> Chosen:
    if not isinstance(name, str) or name not in table:
        known = sorted({*table, *(_WRONGS if field == "fault" else ())})
        raise Rejected(f"{field} {name!r} is not known", hint=f"One of: {', '.join(known)}.", field=field)
    return table[name]


def _arm(node: Node, wrong: Wrong, command: Command) -> dict[str, Any]:
    given = {key: value for key, value in command.items() if key not in {"fault", "method", "times"}}
    if wrong in {Wrong.DELAY, Wrong.DELAY_REPLY}:
        given["seconds"] = _seconds(command, "seconds")
    if wrong is Wrong.STATUS:
        given["status"] = _whole(command, "status", default=503, most=599)
    method, times = command.get("method"), command.get("times", 1)
    if method is not None and not isinstance(method, str):
        raise Rejected("method is the name of a method, or *", field="method")
    count = None if times is None else _whole(command, "times", default=1)
    node.faults.add(wrong, method=method, times=count, **given)
    return {"ok": True}


# --- what can be done ------------------------------------------------------------------------------------


def _clear(node: Node, command: Command) -> dict[str, Any]:
    """Lift faults and bring lag and absurd height back to normal."""
    name = command.get("name")
    if name is not None:
        node.faults.clear(_choose(_WRONGS, name, "name"))
    else:
        node.faults.clear()
        node.switches.lag, node.switches.absurd_index = 0, None
    return {}


def _mine(node: Node, command: Command) -> dict[str, Any]:
    """Mine `blocks` blocks now, whether or not mining is on."""
    for _ in range(_whole(command, "blocks", default=1, most=MAX_BLOCKS_AT_ONCE)):
        node.ledger.mine(now=node.now(), empty=bool(command.get("empty", False)))
    return {"height": node.ledger.height}


def _mining(node: Node, command: Command) -> dict[str, Any]:
    node.switches.mining = _flag(command)
    return {}


def _reorg(node: Node, command: Command) -> dict[str, Any]:
    """Replace the last `depth` blocks; `then`: again, later or never; `blocks`: how many replace them."""
    depth = _whole(command, "depth", default=1)
    try:
        then = Then(command.get("then", Then.AGAIN))
    except ValueError as error:
        raise Rejected(f"then is one of {', '.join(Then)}", field="then") from error
    blocks = _whole(command, "blocks", default=depth + 1, most=MAX_BLOCKS_AT_ONCE)
    gone = node.ledger.reorg(depth, now=node.now(), then=then, blocks=blocks)
    return {
        "gone": [mined.offer.tx_id for block in gone for mined in block.mined],
        "height": node.ledger.height,
    }


def _lose_pool(node: Node, _command: Command) -> dict[str, Any]:
    return {"lost": node.ledger.lose_pool()}


def _restart(node: Node, _command: Command) -> dict[str, Any]:
    node.restart()
    return {}


def _lag(node: Node, command: Command) -> dict[str, Any]:
    node.switches.lag = _whole(command, "blocks", default=0, most=node.ledger.rules.undo_blocks)
    return {}


def _absurd_height(node: Node, command: Command) -> dict[str, Any]:
    """Report `height` blocks until cleared (null: the truth again)."""
    told = command.get("height") is not None
    node.switches.absurd_index = _whole(command, "height", default=0, least=1) - 1 if told else None
    return {}


def _foreign_spend(node: Node, command: Command) -> dict[str, Any]:
    """Let a stranger spend `from`'s next nonce; `deposit` may bring money to somebody in the same block."""
    sender, to = _text(command, "from"), _text(command, "to")
    amount, fee = _whole(command, "amount", default=0), _whole(command, "fee", default=1, least=1)
    deposit = command.get("deposit")
    if isinstance(deposit, dict):
        _deposit(node, deposit)
    elif deposit is not None:
        raise Rejected("deposit is an object with to and amount", field="deposit")
    node.ledger.foreign_spend(sender, to=to, amount=amount, fee=fee)
    return {}


def _deposit(node: Node, command: Command) -> dict[str, Any]:
    node.ledger.deposit(_text(command, "to"), _whole(command, "amount", default=1))
    return {}


def _poison(node: Node, command: Command) -> dict[str, Any]:
    node.switches.poisoned = _flag(command)
    return {}


def _market_stalls(node: Node, command: Command) -> dict[str, Any]:
    """Let the energy market and the dashboards' series stand still from now on, or (`on` false) live again."""
    node.switches.market_stalls_at = node.ledger.height if _flag(command) else None
    return {}


def _abilities(node: Node, command: Command) -> dict[str, Any]:
    """Switch abilities: `batch`, `tx_status`, `account`; those not named stay, `on` sets all."""
    abilities = node.switches.abilities
    for name in ("batch", "tx_status", "account"):
        wanted = command.get(name, command.get("on"))
        if wanted is not None:
            abilities = replace(abilities, **{name: bool(wanted)})
    node.switches.abilities = abilities
    return {}


def _signature_delay(node: Node, command: Command) -> dict[str, Any]:
    node.switches.signature_delay_seconds = _seconds(command, "seconds")
    return {}


def _freeze_on_client_bytes(node: Node, command: Command) -> dict[str, Any]:
    node.switches.freeze_on_client_bytes = _flag(command)
    return {}


def _latest_header_panics(node: Node, command: Command) -> dict[str, Any]:
    node.switches.latest_header_panics = _flag(command)
    return {}


# --- what can be seen ------------------------------------------------------------------------------------


def _accounts(node: Node, _command: Command) -> dict[str, Any]:
    rows = sorted(node.ledger.holdings().items())
    return {"accounts": [{"address": who, "balance": held, "nonce": nonce} for who, (held, nonce) in rows]}


def _blocks(node: Node, command: Command) -> dict[str, Any]:
    """List headers by index; for the recent ones the hashes of their transactions, too."""
    ledger = node.ledger
    after, limit = _whole(command, "after", default=0), _whole(command, "limit", default=1000, most=MAX_ROWS)
    ids = {block.index: [mined.offer.tx_id for mined in block.mined] for block in ledger.recent}
    chosen = range(after, min(ledger.height, after + limit))
    rows = [{"index": i, "hash": ledger.block_hash(i), "tx_ids": ids.get(i)} for i in chosen]
    return {"blocks": rows, "height": ledger.height}


def _mempool(node: Node, _command: Command) -> dict[str, Any]:
    return {"transactions": [_offer_row(offer) for pool in node.ledger.pools for offer in pool]}


def _transactions(node: Node, command: Command) -> dict[str, Any]:
    """List what the canonical chain really paid, in order, with memo, nonce and charge."""
    after, limit = (
        _whole(command, "after", default=0),
        _whole(command, "limit", default=MAX_ROWS, most=MAX_ROWS),
    )
    mined = node.ledger.transactions.values()
    return {"transactions": [_mined_row(node.ledger, row) for row in islice(mined, after, after + limit)]}


def _status(node: Node, _command: Command) -> dict[str, Any]:
    ledger, switches = node.ledger, node.switches
    return {
        "height": ledger.height, "base_fee": ledger.base_fee, "lane_price": ledger.prices.consumer,
        "fee_floor": ledger.pools[0].window.floor, "pooled": sum(len(pool) for pool in ledger.pools),
        "admitted": ledger.admitted, "rejections": _named(ledger.rejections), "poisoned": switches.poisoned,
        "mining": switches.mining, "struck": _named(node.faults.struck),
        "waiting": [fault.wrong.value for fault in node.faults.waiting],
    }  # fmt: skip


def _named(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by plain names: a member of an enumeration is no key of a JSON object."""
    return {str.__str__(name): times for name, times in counts.items()}


def _offer_row(offer: Offer) -> dict[str, Any]:
    return {
        "tx_id": offer.tx_id, "from": offer.sender, "to": offer.to, "amount": offer.amount, "fee": offer.fee,
        "tip": offer.tip, "nonce": offer.nonce, "memo": offer.memo.decode("utf-8", "backslashreplace"),
    }  # fmt: skip


def _mined_row(ledger: Ledger, mined: Mined) -> dict[str, Any]:
    where = {"index": mined.index, "block_hash": ledger.block_hash(mined.index), "charge": mined.charge}
    return {**_offer_row(mined.offer), **where}


# --- reading the values of a command ---------------------------------------------------------------------


def _whole(command: Command, name: str, *, default: int, least: int = 0, most: int = U64_MAX) -> int:
    value = command.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise Rejected(f"{name} is a whole number of {least} … {most}, not {value!r}", field=name)
    return value


def _seconds(command: Command, name: str) -> float:
    value = command.get(name, 1.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 3600:
        raise Rejected(f"{name} is a number of seconds, 0 … 3600, not {value!r}", field=name)
    return float(value)


def _text(command: Command, name: str) -> str:
    value = command.get(name)
    if not isinstance(value, str) or not value:
        raise Rejected(f"{name} is an address, not {value!r}", field=name)
    return value


def _flag(command: Command) -> bool:
    value = command.get("on", True)
    if not isinstance(value, bool):
        raise Rejected(f"on is true or false, not {value!r}", field="on")
    return value


_DONE: Final = {
    "abilities": _abilities, "absurd_height": _absurd_height, "clear": _clear, "deposit": _deposit,
    "dust": _deposit, "foreign_spend": _foreign_spend, "freeze_on_client_bytes": _freeze_on_client_bytes,
    "fund": _deposit, "lag": _lag, "latest_header_panics": _latest_header_panics, "lose_pool": _lose_pool,
    "market_stalls": _market_stalls, "mine": _mine, "mining": _mining, "poison": _poison, "reorg": _reorg,
    "restart": _restart, "signature_delay": _signature_delay,
}  # fmt: skip
_SHOWN: Final = {
    "accounts": _accounts, "blocks": _blocks, "mempool": _mempool, "status": _status, "transactions": _transactions,
}  # fmt: skip
