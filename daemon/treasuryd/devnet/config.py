"""
What a development chain is told at its start: the rules of its ledger, its limits, its habits.

Three profiles: `dev` is friendly (look-up, batches), `real` has every limit and refusal of the node, `bench` takes
what a fast payer can bring. Everything a profile sets can be changed with `dataclasses.replace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from treasuryd.errors import Rejected
from treasuryd.wire.theblock.fees import (
    BLOCK_TXS,
    BLOCK_TXS_UNDER_PRESSURE,
    CONSUMER_RULE,
    INDUSTRIAL_RULE,
    TARGET_TXS_PER_BLOCK,
    LaneRule,
)

PROFILES: Final = ("dev", "real", "bench")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRules:
    """
    The rules by which transactions are admitted, priced and mined. The defaults are the node's.

    `evict_without_comparing`, `surcharge_at_inclusion`: bad habits of the node; off, a full pool says `MempoolFull`
    and a transaction is charged the base fee of its admission. `replace_by_fee` is a habit the node does not have.
    """

    pool_per_lane: int = 1024
    pending_per_account: int = 16
    ttl_seconds: float = 1800.0  # a pooled transaction strictly older is dropped
    block_txs: int = BLOCK_TXS
    block_txs_under_pressure: int = BLOCK_TXS_UNDER_PRESSURE
    target_txs: int = TARGET_TXS_PER_BLOCK  # above it the base fee rises
    lanes: tuple[LaneRule, LaneRule] = (CONSUMER_RULE, INDUSTRIAL_RULE)
    evict_without_comparing: bool = True
    surcharge_at_inclusion: bool = True
    replace_by_fee: bool = False
    miner: str = "miner"
    reward: int = 1  # base units per block
    undo_blocks: int = 4096  # how deep a reorg can cut and how far a lagging view can lie behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What the endpoint can beyond the real node (interfaces.md §5); a missing one answers -32601 or -32700."""

    batch: bool = True
    tx_status: bool = True
    account: bool = True


NO_ABILITIES: Final = Abilities(batch=False, tx_status=False, account=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevnetConfig:
    """
    One development chain.

    `port` 0 takes a free one (`Devnet.port` says which). Without `state_folder` nothing is kept. `genesis` funds
    addresses (base units) before the first block of a new chain; a chain that is already stored keeps its own.
    `offered` names a file to which every transaction that is offered is written, whatever the answer.
    `rate_limit` is requests per second and address, None for none. `market` gives the chain a living energy market and
    the series that dashboards show; without it both are empty, as on a fresh node. `metrics_port` opens a listener for
    them beside the RPC port (0: a free one, None: none). Bytes, seconds and base units throughout.
    """

    profile: str = "dev"
    host: str = "127.0.0.1"
    port: int = 0
    state_folder: Path | None = None
    offered: Path | None = None
    seed: int = 0
    genesis: Mapping[str, int] = field(default_factory=dict)
    block_interval_seconds: float = 0.1
    mining: bool = True
    rules: LedgerRules = field(default_factory=LedgerRules)
    abilities: Abilities = field(default_factory=Abilities)
    rate_limit: int | None = None
    ban_seconds: float = 60.0
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    admin_token: str | None = None  # for the node's own debug methods; without one they are hidden
    max_body_bytes: int = MIB
    max_connections: int = 1024
    check_signatures: bool = True
    signature_delay_seconds: float = 0.0  # the node takes 0.4 to 1.5 s to judge one
    market: bool = False
    metrics_port: int | None = None
    stream_interval_seconds: float = 1.0
    latest_header_panics: bool = False  # on an empty chain: drops the connection and poisons the chain lock
    freeze_on_client_bytes: bool = False  # one byte of a client on the stream freezes the RPC port


def profile(name: str) -> DevnetConfig:
    """Give the named profile; Rejected for an unknown name."""
    kind = LedgerRules(evict_without_comparing=False, surcharge_at_inclusion=False)
    match name:
        case "dev":
            return DevnetConfig(profile=name, rules=kind)
        case "real":
            return DevnetConfig(
                profile=name,
                abilities=NO_ABILITIES,
                rate_limit=100,
                block_interval_seconds=1.0,
                latest_header_panics=True,
                freeze_on_client_bytes=True,
            )
        case "bench":
            return DevnetConfig(
                profile=name, rules=_roomy(kind), block_interval_seconds=0.02, max_body_bytes=16 * MIB
            )
        case _:
            raise Rejected(
                f"devnet profile {name!r} is not known",
                hint=f"One of: {', '.join(PROFILES)}.",
                field="profile",
            )


def _roomy(rules: LedgerRules) -> LedgerRules:
    """Widen the limits so that the payer is measured: full blocks neither raise the base fee nor the lane price."""
    limit = 4096
    lanes = (replace(CONSUMER_RULE, capacity=64 * limit), replace(INDUSTRIAL_RULE, capacity=64 * limit))
    return replace(
        rules,
        pool_per_lane=4 * limit,
        pending_per_account=limit,
        block_txs=limit,
        block_txs_under_pressure=limit,
        target_txs=limit,
        lanes=lanes,
    )
