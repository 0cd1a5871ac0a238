"""
What a transaction costs at one node, found without overpaying.

Price per byte = max(2, percentile floor), as long as the node takes it. The lane price is exposed nowhere, so after a
`FeeTooLow` it is probed for: a payment's bytes with 64 zero bytes as signature under a far nonce, which the node
judges by its fee alone and can never admit (protocol.md R1). Doubling, then halving, finds the lowest price taken.
Overpaying would raise the floor for everyone, for good (N13).
"""

from __future__ import annotations

from typing import Final

from treasuryd.chain.endpoint import Node, value_of
from treasuryd.chain.reading import Reader
from treasuryd.core.model import AccountId, BaseUnits, BootSeconds, FeeQuote, Meaning
from treasuryd.errors import Transient
from treasuryd.wire.theblock.fees import MIN_BASE_FEE, fee_for
from treasuryd.wire.theblock.replies import Said, meaning_of
from treasuryd.wire.theblock.transaction import probe_bytes, size9

MIN_PER_BYTE: Final = 2  # the lane price of an idle chain; before its first block it is 1 (N14)
FAR_NONCE: Final = 2**63 - 1  # no account ever gets there, so a probe is refused for its nonce at the latest
MAX_PROBES: Final = 40  # doublings and halvings up to a price of 2^20; the ceiling ends it earlier
REPLAY_ATTEMPTS: Final = 3
_JUDGED_AFTER_THE_FEE: Final = frozenset(
    # the node judges these after the fee, so the price was enough (theblock-node.md §8, admission order)
    {Meaning.NONCE_GAP, Meaning.PENDING_LIMIT, Meaning.INSUFFICIENT_FUNDS, Meaning.ALREADY_KNOWN,
     Meaning.CONFIGURATION, Meaning.POOL_FULL}
)  # fmt: skip


class Pricing:
    """
    The price at one node.

    Guarantees: a quote is at least MIN_PER_BYTE and the node's percentile floor; after a refusal it is the lowest
    price that the node takes, or one above the configured maximum when it takes none below. Nothing it sends can pay.
    Does not guarantee: that the price still holds when the payment arrives.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._node: Node = reader.node
        self._quote: FeeQuote | None = None
        self._stands_until = BootSeconds(0.0)
        self._refused = False  # the last quote was too low: probe
        self._learned = 0  # per byte, found by probing
        self._learned_until = BootSeconds(0.0)

    def refused(self) -> None:
        """Be told that the node found a fee too low: the next quote is probed for."""
        self._refused = True
        self._quote = None

    async def quote(self) -> FeeQuote:
        """Say what a transaction costs now; Transient when the node cannot be read."""
        now = self._node.clock.boot_seconds()
        if self._quote is not None and now < self._stands_until:
            return self._quote
        await self._node.ensure_probed()
        base_fee = await self._reader.base_fee() or BaseUnits(MIN_BASE_FEE)
        asked = max(MIN_PER_BYTE, await self._reader.fee_floor())
        if self._refused or self._learned > asked:
            await self._learn(asked, base_fee, now)
        quote = FeeQuote(base_fee=base_fee, per_byte=max(asked, self._learned))
        self._quote = quote
        self._stands_until = BootSeconds(now + self._node.config.quote_seconds)
        return quote

    async def _learn(self, asked: int, base_fee: int, now: BootSeconds) -> None:
        """Probe again where there is a reason to: a refusal, or a price that was learnt too long ago."""
        if not self._refused and now < self._learned_until:
            return
        payer = next(iter(self._node.config.payers.items()), None)
        if payer is None and not self._refused:
            self._learned = 0
        elif payer is None:  # nobody to probe for: raise the price step by step instead
            self._learned = min(max(asked, self._learned) * 2, self._node.config.max_price_per_byte + 1)
        else:
            self._learned = await self._lowest_price(asked, base_fee, payer)
        self._refused = False
        self._learned_until = BootSeconds(now + self._node.config.learned_price_seconds)

    async def _lowest_price(self, asked: int, base_fee: int, payer: tuple[AccountId, bytes]) -> int:
        """Double until the node takes the price, then halve the gap; the maximum + 1 when it takes none."""
        ceiling = self._node.config.max_price_per_byte
        if asked > ceiling:
            return ceiling + 1
        refused, price = asked - 1, asked
        for _ in range(MAX_PROBES):
            if await self._suffices(price, base_fee, payer):
                break
            refused = price
            if price >= ceiling:
                return ceiling + 1
            price = min(price * 2, ceiling)
        for _ in range(MAX_PROBES):
            if price - refused <= 1:
                break
            middle = (price + refused) // 2
            if await self._suffices(middle, base_fee, payer):
                price = middle
            else:
                refused = middle
        return price

    async def _suffices(self, price: int, base_fee: int, payer: tuple[AccountId, bytes]) -> bool:
        """Ask the node whether it takes this price per byte; through the read breaker, for nothing is sent."""
        account, public_key = payer
        probe = probe_bytes(
            from_=account,
            to=account,
            amount=1,
            fee=fee_for(base_fee, price, size9(account, account, b"")),
            nonce=FAR_NONCE,
            memo=b"",
            public_key=public_key,
        )
        said = await self._ask_about(probe.hex())
        if said.meaning is Meaning.FEE_TOO_LOW:
            return False
        if said.meaning in _JUDGED_AFTER_THE_FEE:
            return True
        raise Transient(f"{self._node.name}: a fee probe was answered with {said.meaning}: {said.detail}")

    async def _ask_about(self, text: str) -> Said:
        """Submit a probe; a replay nonce that was used before is replaced (N10)."""
        said = Said(meaning=Meaning.REPLAYED)
        for _ in range(REPLAY_ATTEMPTS):
            nonce = self._node.entropy.bits63()
            reply = await self._node.ask("submit_tx", {"nonce": nonce, "tx": text})
            said = meaning_of(reply)
            if said.meaning is not Meaning.REPLAYED:
                value_of(reply, "submit_tx")  # a verdict is a result; an error says nothing of the fee
                break
        return said
