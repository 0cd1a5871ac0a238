"""
What one node says of its chain: head, headers, frames, look-ups, prices.

Every height is checked against a header of the same node: `tip_height` of the stream is 0 for no block and for one
(N15), and one moment is one moment only if the header there reads the same before and after (protocol.md §1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treasuryd.chain.endpoint import Call, Node, NodeError, Row, hash_mismatch, named_hash, value_of
from treasuryd.chain.heads import find_tip
from treasuryd.chain.transport import FrameTooLarge
from treasuryd.core.model import Address, BaseUnits, Frame, Head, Header, Height, Holding, TxHash
from treasuryd.errors import Transient
from treasuryd.wire.theblock.readings import (
    MAX_HEADERS,
    TxStatus,
    read_account,
    read_fee_floor,
    read_gauge,
    read_headers,
    read_tx_status,
)
from treasuryd.wire.theblock.replies import ABSENT_ABILITY, Malformed, Result, RpcError

BASE_FEE_GAUGE: Final = "base_fee"
MAX_FRAME_ACCOUNTS: Final = (
    4 * MAX_HEADERS
)  # more addresses are read from the stream, which is one moment anyway
_HEADERS: Final = "light.headers"
_ACCOUNT_ATTEMPTS: Final = 4
_MOVED_HINT: Final = "Blocks come faster than it can be read; the next tick tries again."


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """The answers to look-ups by hash, in the order asked; None where a row could not be read."""

    as_of: Height
    rows: Sequence[TxStatus | None]


class Reader:
    """
    Reads one node; remembers its last tip, as a place to start from, and the base fee at it.

    Raises from every verb: Transient. Guarantees: nothing remembered is ever given as an answer about now, except
    the base fee of a block that is still the tip.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._tip_index = 0  # where the last search ended: a hint
        self._base_fee: tuple[Header, BaseUnits | None] | None = None

    # --- heads --------------------------------------------------------------------------------------------

    async def head(self) -> Head:
        """Read height, tip and header 0: the chain's identity is looked at each time (protocol.md R15)."""
        await self.node.ensure_probed()
        start = max(0, self._tip_index - 1)
        calls = [_headers_call(start, MAX_HEADERS)] + ([_headers_call(0, 1)] if start else [])
        rows = await self.node.ask_many(calls)
        tip = await self._tip_from(_headers(rows[0], start, MAX_HEADERS), start)
        if tip is None:
            return Head(endpoint=self.node.name, height=Height(0), block_hash=None, genesis=None)
        first = _headers(rows[-1], 0, 1 if start else MAX_HEADERS)
        if not first:
            raise Malformed(f"{self.node.name}: {_HEADERS}: a tip without a first block")
        return Head(
            endpoint=self.node.name,
            height=tip.height,
            block_hash=tip.block_hash,
            genesis=first[0].block_hash,
        )

    async def tip(self) -> Header | None:
        """Read the last header; None on an empty chain."""
        start = max(0, self._tip_index - 1)
        return await self._tip_from(await self._ask_headers(start), start)

    async def _tip_from(self, first: Sequence[Header], start: int) -> Header | None:
        tip = await find_tip(self._ask_headers, first, start)
        self._tip_index = tip.height - 1 if tip else 0
        return tip

    async def _ask_headers(self, start: int) -> tuple[Header, ...]:
        return _headers(
            await self.node.ask(_HEADERS, {"start": start, "limit": MAX_HEADERS}), start, MAX_HEADERS
        )

    async def headers(self, heights: Sequence[Height]) -> list[Header | None]:
        """Read the headers at these heights, None where there is none; neighbours share one call."""
        await self.node.ensure_probed()
        windows = _windows(sorted({height - 1 for height in heights if height > 0}))
        calls = [_headers_call(start, count) for start, count in windows]
        found: dict[int, Header] = {}
        rows = await self.node.ask_many(calls)
        for (start, count), row in zip(windows, rows, strict=True):
            found.update((header.height, header) for header in _headers(row, start, count))
        return [found.get(height) for height in heights]

    # --- frames -------------------------------------------------------------------------------------------

    async def frame(self, ids: Sequence[Address]) -> Frame:
        """Read one moment: holdings of `ids` (None: unknown to the chain) and, where it can be had, the base fee."""
        await self.node.ensure_probed()
        if len(ids) <= MAX_FRAME_ACCOUNTS:
            frame = await self._frame_by_accounts(ids)
            if frame is not None:
                return frame
        try:
            return await self._frame_by_stream(ids)
        except FrameTooLarge:
            frame = await self._frame_by_accounts(ids)
            if frame is None:
                raise
            return frame

    async def _frame_by_accounts(self, ids: Sequence[Address]) -> Frame | None:
        """One batch between two readings of the tip; None when the chain kept moving, or it cannot be had like this."""
        accounts: list[Call] = [("account", {"address": address}) for address in ids]
        for _ in range(_ACCOUNT_ATTEMPTS):
            if not (self.node.abilities.batch and self.node.abilities.account):
                return None
            known = self._known_base_fee()
            if known is None and self.node.abilities.long_metrics:
                tip = await self._some_tip()  # asked for by itself, it counts if this is still the tip
                known = self._base_fee = (tip, await self.base_fee())
            start = max(0, self._tip_index - 1)
            ask_fee = self.node.abilities.metrics and known is None
            edge = _headers_call(start, MAX_HEADERS)
            fee_call: list[Call] = [("metrics", {})] if ask_fee else []
            rows = await self.node.ask_many([edge, *fee_call, *accounts, edge])
            before, after = (_headers(row, start, MAX_HEADERS) for row in (rows[0], rows[-1]))
            held = rows[1 + len(fee_call) : -1]
            if any(isinstance(row, RpcError) and row.code in ABSENT_ABILITY for row in held):
                self.node.lose(account=False)
                continue
            if any(isinstance(row, RpcError) for row in held):
                return None  # one address that it will not look at: the stream shows all that there are
            if len(before) in {0, MAX_HEADERS}:  # the hint was wrong: search, then try again
                await self._some_tip()
                continue
            self._tip_index = after[-1].height - 1 if after else 0
            if before != after:
                continue
            tip = before[-1]
            if ask_fee:
                self._base_fee = (tip, _gauge(rows[1]))
            elif known is not None and known[0] != tip:
                self._base_fee = None  # it belonged to another block: ask for it
                continue
            holdings = {
                address: read_account(value_of(row, "account"))
                for address, row in zip(ids, held, strict=True)
            }
            return self._frame(tip, holdings)
        return None

    async def _frame_by_stream(self, ids: Sequence[Address]) -> Frame:
        """
        Tip, base fee, one frame of the stream, the same header again.

        The base fee stands between two readings at the tip, so it belongs to it. After the stream is closed the node
        may stall for a second (N16); that is why the frame comes last.
        """
        before = await self._some_tip()
        for _ in range(self.node.config.frame_attempts):
            if self._base_fee is None or self._base_fee[0] != before:
                self._base_fee = (before, await self.base_fee())
            shown = await self.node.stream(ids)
            index = before.height - 1
            after = await self._ask_headers(index)
            if after and after[0] == before and shown.tip_index == index:
                return self._frame(before, {address: shown.holdings.get(address) for address in ids})
            # what was read behind the frame is the "before" of the next attempt
            fresh = after and len(after) < MAX_HEADERS
            before = after[-1] if fresh else await self._some_tip()
        raise Transient(
            f"{self.node.name}: the chain moved during each of {self.node.config.frame_attempts} readings",
            hint=_MOVED_HINT,
        )

    def _frame(self, tip: Header, holdings: Mapping[Address, Holding | None]) -> Frame:
        fee = self._base_fee[1] if self._base_fee is not None and self._base_fee[0] == tip else None
        return Frame(height=tip.height, block_hash=tip.block_hash, base_fee=fee, holdings=holdings)

    def _known_base_fee(self) -> tuple[Header, BaseUnits | None] | None:
        """Give the base fee kept for the block that was the tip last time; it counts only if it still is."""
        kept = self._base_fee
        return kept if kept is not None and kept[0].height - 1 == self._tip_index else None

    async def _some_tip(self) -> Header:
        tip = await self.tip()
        if tip is None:
            raise Transient(
                f"{self.node.name}: the chain has no block yet", hint="It waits for the first one (N15)."
            )
        return tip

    # --- prices -------------------------------------------------------------------------------------------

    async def base_fee(self) -> BaseUnits | None:
        """Read the base fee from the text of metrics; None where it cannot be had cheaply."""
        if not self.node.abilities.metrics:
            return None
        return _gauge(await self.node.ask("metrics", {}))

    async def fee_floor(self) -> int:
        """Read the percentile floor, base units per byte; it is only a part of what the node asks for."""
        return read_fee_floor(
            value_of(await self.node.ask("mempool.stats", {"lane": "consumer"}), "mempool.stats")
        )

    # --- look-ups -----------------------------------------------------------------------------------------

    async def look_up(self, hashes: Sequence[TxHash]) -> LookedUp | None:
        """
        Look transactions up by hash; None when the endpoint does not have the ability (any more).

        Guarantees: `as_of` was this endpoint's height before it was asked; a row it answers badly is None, alone.
        """
        tip = await self.tip()
        rows = await self.node.ask_many([("tx_status", {"tx_hash": name}) for name in hashes])
        if any(isinstance(row, RpcError) and row.code in ABSENT_ABILITY for row in rows):
            self.node.lose(tx_status=False)
            return None
        found = [self._status(name, row) for name, row in zip(hashes, rows, strict=True)]
        return LookedUp(as_of=tip.height if tip else Height(0), rows=found)

    def _status(self, asked: TxHash, row: Row) -> TxStatus | None:
        """Read one look-up; one that speaks of another transaction is an alarm and proves nothing (R3)."""
        named = named_hash(row)
        if named is not None and named != asked:
            self.node.observer.saw(hash_mismatch(self.node.name, None, ours=asked, theirs=named))
            return None
        try:
            return read_tx_status(row.value) if isinstance(row, Result) else None
        except Malformed:
            return None


def _headers_call(start: int, limit: int) -> Call:
    return (_HEADERS, {"start": start, "limit": limit})


def _headers(row: Row, start: int, limit: int) -> tuple[Header, ...]:
    return read_headers(value_of(row, _HEADERS), start=start, limit=limit)


def _windows(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Cover ascending indices with as few calls as there are gaps wider than one call: (start, count) each."""
    windows: list[tuple[int, int]] = []
    for index in indices:
        if windows and index - windows[-1][0] < MAX_HEADERS:
            windows[-1] = (windows[-1][0], index - windows[-1][0] + 1)
        else:
            windows.append((index, 1))
    return windows


def _gauge(row: Row) -> BaseUnits | None:
    """Read the gauge; None for anything odd, for a missing base fee is a known case and no reason to fail."""
    try:
        value = read_gauge(value_of(row, "metrics"), BASE_FEE_GAUGE)
    except (NodeError, Malformed):
        return None
    return None if value is None else BaseUnits(value)
