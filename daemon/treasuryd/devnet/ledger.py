"""
The development chain itself: accounts, pools, admission, blocks, reorgs. No I/O, no clock, no chance of its own.

Time and transactions are handed in, so the same calls give the same chain, hash for hash; the server and the
simulator run the same object. Every admission is O(1) beside the signature check, which is injected.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from blake3 import blake3

from treasuryd.devnet.config import LedgerRules
from treasuryd.devnet.pool import Offer, Pending, Pool
from treasuryd.errors import Corrupt, Rejected
from treasuryd.wire.theblock.binary import U64_MAX
from treasuryd.wire.theblock.fees import (
    MIN_BASE_FEE,
    LanePrices,
    effective_tip,
    next_base_fee,
    prices_after_block,
)
from treasuryd.wire.theblock.transaction import FULL9_BASE, payment_bytes, transaction_id

HASH_BYTES: Final = 32
NO_BLOCK: Final = "0" * 64  # the parent of the first block
FEE_LIMIT: Final = 2**63
_HEADER: Final = struct.Struct("<QQQQQ")

Holding = tuple[int, int]  # balance (base units), nonce of the last mined transaction


class Verdict(StrEnum):
    """The node's names for what admission decides."""

    OK = "ok"
    UNKNOWN_SENDER = "UnknownSender"
    INSUFFICIENT_BALANCE = "InsufficientBalance"
    NONCE_GAP = "NonceGap"
    INVALID_SELECTOR = "InvalidSelector"
    BAD_SIGNATURE = "BadSignature"
    DUPLICATE = "Duplicate"
    BALANCE_OVERFLOW = "BalanceOverflow"
    FEE_OVERFLOW = "FeeOverflow"
    FEE_TOO_LOW = "FeeTooLow"
    FEE_TOO_LARGE = "FeeTooLarge"
    MEMPOOL_FULL = "MempoolFull"
    PENDING_LIMIT = "PendingLimitReached"
    PENDING_SIGNATURES = "PendingSignatures"


class Then(StrEnum):
    """What becomes of the transactions that a reorg takes out of their blocks."""

    AGAIN = "again"  # the replacing blocks include them
    LATER = "later"  # they are pooled, the replacing blocks are empty
    NEVER = "never"  # they are gone for good


@dataclass(slots=True)
class Account:
    """An account that exists: it received funds or mined."""

    balance: int = 0
    nonce: int = 0


@dataclass(slots=True, kw_only=True)
class Mined:
    """A transaction in a block: what was really paid, and charged on top (base units)."""

    offer: Offer
    index: int
    charge: int


@dataclass(slots=True, kw_only=True)
class Block:
    """
    One block with all that is needed to take it back.

    `credits` are payments that no transaction explains: the miner's reward and tips, deposits from nowhere.
    """

    index: int
    time_ms: int
    fork: int
    base_fee: int
    hash: str = ""
    mined: list[Mined] = field(default_factory=list)
    credits: list[tuple[str, int]] = field(default_factory=list)
    undo: dict[str, Holding | None] = field(default_factory=dict)
    prices_before: LanePrices = field(default_factory=LanePrices)


Journal = Callable[[Block | int], None]  # a block was added · the chain was cut to that many blocks


def nobody_listens(_entry: Block | int) -> None:
    """Keep no record."""


class Ledger:
    """
    A chain of The Block with one miner.

    Guarantees: deterministic; money is created by genesis, deposits and rewards and destroyed by base fees only;
        an account's mined nonces are 1, 2, 3 … without a gap.
    Does not guarantee: that whoever signs owns the account. There is no binding of keys to addresses, as on the
        real node: any genuine signature spends any account.
    """

    def __init__(
        self,
        rules: LedgerRules,
        *,
        verify: Callable[[Offer], bool],
        seed: int = 0,
        genesis: Mapping[str, int] | None = None,
        journal: Journal = nobody_listens,
    ) -> None:
        self.rules = rules
        self.seed = seed
        self.genesis = dict(genesis or {})
        self.accounts = {address: Account(balance) for address, balance in self.genesis.items()}
        self.base_fee = MIN_BASE_FEE
        self.prices = LanePrices()
        self.pools = (Pool(), Pool())
        self.transactions: dict[str, Mined] = {}  # the canonical chain's, in order
        self.recent: deque[Block] = deque(maxlen=rules.undo_blocks)
        self.rejections: dict[str, int] = {}
        self.admitted = 0
        self.journal = journal
        self._verify = verify
        self._pending: dict[str, Pending] = {}
        self._hashes = bytearray()
        self._fork = 0
        self._foreign: list[Offer] = []
        self._deposits: list[tuple[str, int]] = []

    # --- admission -----------------------------------------------------------------------------------

    def admit(self, offer: Offer, *, now: float) -> Verdict:
        """
        Judge one transaction in the node's order and pool it when nothing is against it.

        Args: now in seconds, never falling. Returns: OK or the first thing that is against it.
        """
        verdict = self._judge(offer, now)
        if verdict is Verdict.OK:
            self._take_in(offer, now)
        else:
            self.rejections[verdict] = self.rejections.get(verdict, 0) + 1
        return verdict

    def _judge(self, offer: Offer, now: float) -> Verdict:
        self.purge(now=now)
        if offer.signers_missing:
            return Verdict.PENDING_SIGNATURES
        pool = self.pools[offer.lane]
        offer.base_fee = self.base_fee
        offer.rank = offer.fee / offer.size
        offer.tip = effective_tip(offer.fee, offer.tip, self.base_fee)
        if offer.tip // offer.size < max(self.lane_price(offer.lane), pool.window.floor):
            return Verdict.FEE_TOO_LOW
        if offer.pct > 100:
            return Verdict.INVALID_SELECTOR
        if offer.fee >= FEE_LIMIT:
            return Verdict.FEE_TOO_LARGE
        if offer.fee < self.base_fee + offer.tip:
            return Verdict.FEE_TOO_LOW
        if offer.amount + offer.fee > U64_MAX:
            return Verdict.FEE_OVERFLOW
        if len(pool) >= self.rules.pool_per_lane:
            if not self.rules.evict_without_comparing:
                return Verdict.MEMPOOL_FULL
            self._drop(
                pool.cheapest()
            )  # before the checks below: an admitted transaction can go for a bad one
        return self._judge_place(offer)

    def _judge_place(self, offer: Offer) -> Verdict:
        pending = self._pending.get(offer.sender)
        pooled = pending.by_nonce.get(offer.nonce) if pending else None
        replaces = pooled is not None and self.rules.replace_by_fee and offer.fee > pooled.fee
        if pooled is not None and not replaces:
            return Verdict.DUPLICATE
        account = self.accounts.get(offer.sender)
        if account is None:
            return Verdict.UNKNOWN_SENDER
        count = len(pending.by_nonce) if pending else 0
        if count >= self.rules.pending_per_account and not replaces:
            return Verdict.PENDING_LIMIT
        receiver = self.accounts.get(offer.to)
        if receiver is not None and receiver.balance + offer.amount > U64_MAX:
            return Verdict.BALANCE_OVERFLOW
        reserved = (pending.reserved if pending else 0) - (pooled.cost if pooled else 0)
        if account.balance < reserved + offer.cost:
            return Verdict.INSUFFICIENT_BALANCE
        if not replaces and offer.nonce != account.nonce + count + 1:
            return Verdict.NONCE_GAP
        if not (self._verify(offer) if offer.genuine is None else offer.genuine):
            return Verdict.BAD_SIGNATURE
        if pooled is not None:
            self._drop(pooled)
        return Verdict.OK

    def _take_in(self, offer: Offer, now: float) -> None:
        offer.admitted_at = now
        self.admitted += 1
        self.pools[offer.lane].window.add(offer.tip // offer.size)
        self._pool(offer)

    def _pool(self, offer: Offer) -> None:
        pending = self._pending.get(offer.sender)
        if pending is None:
            pending = self._pending[offer.sender] = Pending()
        pending.by_nonce[offer.nonce] = offer
        pending.reserved += offer.cost
        self.pools[offer.lane].add(offer)

    def _drop(self, offer: Offer) -> None:
        self.pools[offer.lane].remove(offer)
        pending = self._pending.get(offer.sender)
        if pending is not None and pending.by_nonce.get(offer.nonce) is offer:
            del pending.by_nonce[offer.nonce]
            pending.reserved -= offer.cost
            if not pending.by_nonce:
                del self._pending[offer.sender]

    def purge(self, *, now: float) -> None:
        """Drop what has been pooled for longer than the TTL."""
        for pool in self.pools:
            for offer in pool.older_than(now - self.rules.ttl_seconds):
                self._drop(offer)

    def lane_price(self, lane: int) -> int:
        """Say the price per byte of a lane, without the percentile floor."""
        return self.prices.industrial if lane else self.prices.consumer

    # --- blocks --------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Number of blocks: the index of the last one plus 1."""
        return len(self._hashes) // HASH_BYTES

    def block_hash(self, index: int) -> str:
        """Name the block at an index of 0 … height - 1."""
        return self._hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES].hex()

    def mine(self, *, now: float, empty: bool = False) -> Block | None:
        """
        Make one block of the best pooled transactions, each account's in nonce sequence.

        Returns: the block; None when building fails as a whole, which is the node's habit when the base fee rose
            and a sender cannot cover it (`surcharge_at_inclusion`).
        """
        block = Block(
            index=self.height, time_ms=int(now * 1000), fork=self._fork, base_fee=self.base_fee,
            prices_before=self.prices,
        )  # fmt: skip
        self._credit(block, self._deposits)
        included = [] if empty else self._include_foreign(block)
        if not empty and not self._include_pooled(block, included):
            self._restore(block)
            return None
        self._credit(block, [(self.rules.miner, self.rules.reward + sum(offer.tip for offer in included))])
        self._foreign.clear()
        self._deposits.clear()
        for offer in included:
            self._drop(offer)
        self._append(block)
        self._reprice(block)
        self.journal(block)
        return block

    def _include_foreign(self, block: Block) -> list[Offer]:
        """Include what strangers have signed for accounts that are not theirs, on whatever nonce comes next."""
        included = []
        for offer in self._foreign:
            account = self.accounts.get(offer.sender)
            if account is None:
                continue
            offer.nonce = account.nonce + 1
            offer.base_fee = block.base_fee
            offer.tip = max(0, offer.fee - block.base_fee)
            payload = payment_bytes(
                from_=offer.sender,
                to=offer.to,
                amount=offer.amount,
                fee=offer.fee,
                nonce=offer.nonce,
                memo=offer.memo,
            )
            offer.tx_id = transaction_id(payload, self._draw(b"foreign key"))
            if self._include(block, offer, block.base_fee + offer.tip):
                self._forget_stale(offer.sender, offer.nonce)
                included.append(offer)
        return included

    def _forget_stale(self, sender: str, nonce: int) -> None:
        """Drop a pooled transaction whose nonce somebody else has just used."""
        pending = self._pending.get(sender)
        stale = pending.by_nonce.get(nonce) if pending else None
        if stale is not None:
            self._drop(stale)

    def _include_pooled(self, block: Block, included: list[Offer]) -> bool:
        for sender, chosen in self._chosen().items():
            account = self.accounts.get(sender)
            while account is not None and (offer := chosen.get(account.nonce + 1)) is not None:
                base_fee = block.base_fee if self.rules.surcharge_at_inclusion else offer.base_fee
                if not self._include(block, offer, base_fee + offer.tip):
                    if self.rules.surcharge_at_inclusion:
                        return False
                    break
                included.append(offer)
        return True

    def _chosen(self) -> dict[str, dict[int, Offer]]:
        """Choose the best entries for a block, by sender and nonce; all of them when they fit."""
        pooled = sum(len(pool) for pool in self.pools)
        crowded = any(2 * len(pool) > self.rules.pool_per_lane for pool in self.pools)
        limit = self.rules.block_txs_under_pressure if crowded else self.rules.block_txs
        if pooled <= limit:
            return {sender: pending.by_nonce for sender, pending in self._pending.items()}
        offers = [offer for pool in self.pools for offer in pool]
        offers.sort(key=lambda offer: (-offer.rank, offer.admitted_at, offer.tx_id))
        chosen: dict[str, dict[int, Offer]] = {}
        for offer in offers[:limit]:
            chosen.setdefault(offer.sender, {})[offer.nonce] = offer
        return chosen

    def _include(self, block: Block, offer: Offer, charge: int) -> bool:
        sender = self.accounts[offer.sender]
        if sender.balance < offer.amount + charge:
            return False
        self._remember(block, offer.sender)
        self._remember(block, offer.to)
        sender.balance -= offer.amount + charge
        sender.nonce = offer.nonce
        self.accounts.setdefault(offer.to, Account()).balance += offer.amount
        block.mined.append(Mined(offer=offer, index=block.index, charge=charge))
        return True

    def _credit(self, block: Block, rows: Iterable[tuple[str, int]]) -> None:
        for address, amount in rows:
            self._remember(block, address)
            self.accounts.setdefault(address, Account()).balance += amount
            block.credits.append((address, amount))

    def _remember(self, block: Block, address: str) -> None:
        if address not in block.undo:
            account = self.accounts.get(address)
            block.undo[address] = None if account is None else (account.balance, account.nonce)

    def _append(self, block: Block) -> None:
        """Give the block its hash and put it on the chain."""
        parent = self.block_hash(block.index - 1) if block.index else NO_BLOCK
        head = _HEADER.pack(self.seed & U64_MAX, block.fork, block.index, block.time_ms, block.base_fee)
        hasher = blake3(bytes.fromhex(parent) + head)
        for mined in block.mined:
            hasher.update(bytes.fromhex(mined.offer.tx_id))
            self.transactions[mined.offer.tx_id] = mined
        digest = hasher.digest()
        block.hash = digest.hex()
        self._hashes += digest
        self.recent.append(block)

    def _reprice(self, block: Block) -> None:
        industrial = sum(mined.offer.lane for mined in block.mined)
        consumer = len(block.mined) - industrial
        self.prices = prices_after_block(self.prices, consumer, industrial, rules=self.rules.lanes)
        self.base_fee = next_base_fee(block.base_fee, len(block.mined), target=self.rules.target_txs)

    def replay(self, block: Block) -> None:
        """
        Put a stored block on the chain again, with what it charged then.

        The base fee is the chain's and comes back; the lane price is the process's and does not.
        """
        self._fork = block.fork
        mined, block.mined = block.mined, []
        rows, block.credits = block.credits, []
        self._credit(block, rows)
        for row in mined:
            if row.offer.sender not in self.accounts or not self._include(block, row.offer, row.charge):
                raise Corrupt(
                    f"stored block {block.index}: {row.offer.tx_id} cannot be paid by {row.offer.sender!r}",
                    hint="The chain file was changed by hand or belongs to another genesis; start with a new folder.",
                )
        self._append(block)
        self.base_fee = next_base_fee(block.base_fee, len(block.mined), target=self.rules.target_txs)

    # --- reorgs --------------------------------------------------------------------------------------

    def cut(self, depth: int) -> list[Block]:
        """
        Take the last `depth` blocks off the chain and undo them; oldest first.

        Raises: Rejected when the chain is shorter or the undo data do not reach so far.
        """
        if not 0 <= depth <= len(self.recent):
            raise Rejected(f"a reorg of {depth} blocks: {len(self.recent)} can be undone", field="depth")
        blocks = [self.recent.pop() for _ in range(depth)]
        for block in blocks:
            for mined in block.mined:
                self.transactions.pop(mined.offer.tx_id, None)
            self._restore(block)
            self.base_fee = block.base_fee
            self.prices = block.prices_before
        if depth:
            del self._hashes[-depth * HASH_BYTES :]
            self._fork += 1
        return blocks[::-1]

    def _restore(self, block: Block) -> None:
        for address, before in block.undo.items():
            if before is None:
                self.accounts.pop(address, None)
            else:
                account = self.accounts[address]
                account.balance, account.nonce = before

    def reorg(
        self, depth: int, *, now: float, then: Then = Then.AGAIN, blocks: int | None = None
    ) -> list[Block]:
        """
        Replace the last `depth` blocks by others, by setting one more than were taken away.

        Returns: the blocks that are gone, oldest first. Deposits come again unless `then` is NEVER.
        """
        gone = self.cut(depth)
        if depth:
            self.journal(self.height)
        if then is not Then.NEVER:
            for block in gone:
                self._deposits += [row for row in block.credits if row[0] != self.rules.miner]
                for mined in block.mined:
                    self._pool_again(mined.offer, now)
        for _ in range(depth + 1 if blocks is None else blocks):
            self.mine(now=now, empty=then is Then.LATER)
        return gone

    def _pool_again(self, offer: Offer, now: float) -> None:
        pending = self._pending.get(offer.sender)
        if pending is None or offer.nonce not in pending.by_nonce:
            offer.admitted_at = now
            self._pool(offer)

    # --- what happens to a chain ---------------------------------------------------------------------

    def deposit(self, to: str, amount: int) -> None:
        """Let `amount` base units arrive from nowhere in the next block."""
        self._deposits.append((to, amount))

    def foreign_spend(self, sender: str, *, to: str, amount: int, fee: int = 1, memo: bytes = b"") -> None:
        """
        Let a stranger's key spend the account's next nonce in the next block.

        Args: amount may be 0; fee is what is charged in all (base units), at least the block's base fee.
        """
        size = FULL9_BASE + len(sender.encode()) + len(to.encode()) + len(memo)
        self._foreign.append(
            Offer(
                tx_id="", sender=sender, to=to, amount=amount, fee=fee, tip=0, nonce=0, memo=memo, size=size
            )
        )

    def lose_pool(self) -> int:
        """Forget everything that is pooled; the number of transactions that are gone."""
        lost = sum(len(pool) for pool in self.pools)
        windows = [pool.window for pool in self.pools]
        self.pools = (Pool(), Pool())
        for pool, window in zip(self.pools, windows, strict=True):
            pool.window = window
        self._pending.clear()
        return lost

    def restart(self) -> None:
        """Do to the ledger what a restart of the node does: pool and fee window are gone, the lane price starts anew."""
        self._pending.clear()
        self.pools = (Pool(), Pool())
        self.prices = LanePrices()

    def _draw(self, purpose: bytes) -> bytes:
        """Draw 32 bytes that depend on seed, chain and purpose alone."""
        state = f"{self.seed}:{self._fork}:{self.height}:{len(self.transactions)}".encode()
        return blake3(purpose + b"\0" + state).digest()

    # --- what can be read ----------------------------------------------------------------------------

    def holdings(self, *, lag: int = 0) -> dict[str, Holding]:
        """Say balance and nonce of every account, as they stood `lag` blocks ago."""
        found: dict[str, Holding | None] = {
            address: (account.balance, account.nonce) for address, account in self.accounts.items()
        }
        for back in range(1, min(lag, len(self.recent)) + 1):
            found.update(self.recent[-back].undo)
        return {address: holding for address, holding in found.items() if holding is not None}

    def holding(self, address: str, *, lag: int = 0) -> Holding | None:
        """Say balance and nonce of one account; None when the chain does not know it."""
        if lag:
            return self.holdings(lag=lag).get(address)
        account = self.accounts.get(address)
        return None if account is None else (account.balance, account.nonce)

    def pooled(self, tx_id: str) -> bool:
        """Say whether a transaction waits in a pool."""
        return any(tx_id in pool for pool in self.pools)
