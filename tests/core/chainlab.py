"""A chain and a store small enough to be read, to hold the verdicts of the core against what really happened."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from treasuryd.core import confirmation
from treasuryd.core.changes import (
    Adopted,
    BaselineMoved,
    BlockBuried,
    Booked,
    Burned,
    Change,
    FrozenNow,
    Rewound,
    Seen,
    Unproven,
)
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    Announced,
    BalanceKind,
    BaseUnits,
    BlockHash,
    BootSeconds,
    ChainState,
    Claim,
    Digest,
    DisbursementId,
    Epoch,
    Evidence,
    Frame,
    Header,
    Height,
    Holding,
    IncludedBlock,
    Intent,
    IntentId,
    Interval,
    Moment,
    Nonce,
    Rules,
    Sighting,
    State,
    Term,
    TxHash,
    UnixSeconds,
    Variant,
    VariantKind,
    View,
)
from treasuryd.wire.theblock.fees import base_fee_reachable

TREASURY = AccountId("treasury")
SINK = Address("treasury-sink")
ALICE, BOB = Address("tb1alice"), Address("tb1bob")
DEPTH = 3
OPENING = 10_000_000
FEE = 1_000
RULES = Rules(finality_depth=DEPTH)
PAYMENT, CANCEL = VariantKind.PAYMENT, VariantKind.CANCEL


def base_rule(first: int, second: int, blocks: int) -> int:
    """The chain's own bound on its base fee."""
    return base_fee_reachable(first, second, blocks)


def variant(number: int, kind: VariantKind, fee: int, owner: int, *, sealed: bool = True) -> Variant:
    name = TxHash(f"{kind}-{owner}-{number}")
    return Variant(number=number, kind=kind, fee=BaseUnits(fee), tx_hash=name if sealed else None)


def intent(
    number: int,
    *,
    nonce: int | None = None,
    to: Address = ALICE,
    amount: int = 5_000,
    fees: Iterable[int] = (FEE,),
    cancel_fee: int | None = None,
    account: AccountId = TREASURY,
    state: State = State.BROADCAST,
    filler: bool = False,
) -> Intent:
    kinds = [] if filler else [(PAYMENT, fee) for fee in fees]
    kinds += [] if cancel_fee is None else [(CANCEL, cancel_fee)]
    return Intent(
        id=IntentId(number),
        account=account,
        nonce=Nonce(nonce or number),
        disbursement_id=None if filler else DisbursementId(number),
        destination=to,
        amount=BaseUnits(amount),
        memo="",
        payload_digest=Digest(""),
        idempotency_key=str(number),
        term=Term(1),
        state=state,
        variants=tuple(
            variant(place, kind, fee, number, sealed=state is not State.STAGED)
            for place, (kind, fee) in enumerate(kinds, start=1)
        ),
    )


def frame(
    height: int, holdings: Mapping[str, tuple[int, int] | None], *, fork: int = 0, base_fee: int | None = 1
) -> Frame:
    return Frame(
        height=Height(height),
        block_hash=BlockHash(f"{fork}:{height}"),
        base_fee=None if base_fee is None else BaseUnits(base_fee),
        holdings={
            Address(name): None if held is None else Holding(balance=BaseUnits(held[0]), nonce=Nonce(held[1]))
            for name, held in holdings.items()
        },
    )


def moment(of: Frame | None, *, believed: int | None = None, proof: Evidence = Evidence.BALANCE) -> Moment:
    height = of.height if of else 0
    return Moment(
        unix=UnixSeconds(0.0),
        boot=BootSeconds(0.0),
        believed=Height(height if believed is None else believed),
        settled=Epoch(0),
        seen=Epoch(0),
        evidence=proof,
        frame=of,
    )


@dataclass(slots=True)
class Tx:
    """One transaction in a block: what it moved, what it was charged; `name` is its hash."""

    sender: str
    to: str
    amount: int
    charge: int
    name: str


@dataclass(slots=True)
class Block:
    hash: str
    base_fee: int
    txs: tuple[Tx, ...]
    holdings: dict[str, tuple[int, int]]


@dataclass(slots=True)
class Lab:
    """
    One chain and one store. Everything on the chain is decided by the test; every verdict is applied to the store.

    `addresses` are what each frame shows.
    """

    rules: Rules = RULES
    evidence: Evidence = Evidence.BALANCE
    opening: Mapping[str, int] = field(default_factory=lambda: {TREASURY: OPENING})
    addresses: tuple[Address, ...] = (Address(TREASURY), SINK, ALICE, BOB)
    blocks: list[Block] = field(default_factory=list)
    fork: int = 0
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    intents: dict[IntentId, Intent] = field(default_factory=dict)
    charged: dict[IntentId, int] = field(default_factory=dict)
    spans: dict[IntentId, tuple[Frame, Frame]] = field(default_factory=dict)
    booked: list[tuple[BalanceKind, int, Height]] = field(default_factory=list)
    announced: list[Announced] = field(default_factory=list)
    frozen: list[FrozenNow] = field(default_factory=list)
    knows_intervals: bool = True
    newest_first: bool = False  # whether the view lists what is consumed against the order of nonces
    limit: int = 1_000

    def __post_init__(self) -> None:
        self.accounts.setdefault(TREASURY, Account(id=TREASURY))

    # the chain

    @property
    def height(self) -> int:
        return len(self.blocks)

    @property
    def base_fee(self) -> int:
        return self.blocks[-1].base_fee if self.blocks else 1

    def held(self, name: str) -> tuple[int, int]:
        now = (
            self.blocks[-1].holdings
            if self.blocks
            else {who: (sum_, 0) for who, sum_ in self.opening.items()}
        )
        return now.get(name, (0, 0))

    def mine(self, *txs: Tx, base_fee: int | None = None, deposits: Mapping[str, int] | None = None) -> None:
        """Add a block; deposits come from nowhere, as mining rewards and strangers' payments do."""
        start = (
            self.blocks[-1].holdings
            if self.blocks
            else {who: (sum_, 0) for who, sum_ in self.opening.items()}
        )
        now = dict(start)
        for name, amount in (deposits or {}).items():
            now[name] = (now.get(name, (0, 0))[0] + amount, now.get(name, (0, 0))[1])
        for tx in txs:
            balance, nonce = now[tx.sender]
            assert balance >= tx.amount + tx.charge
            now[tx.sender] = (balance - tx.amount - tx.charge, nonce + 1)
            now[tx.to] = (now.get(tx.to, (0, 0))[0] + tx.amount, now.get(tx.to, (0, 0))[1])
        name = f"{self.fork}:{self.height + 1}"
        self.blocks.append(Block(name, self.base_fee if base_fee is None else base_fee, txs, now))

    def reorg(self, depth: int) -> None:
        """Forget the last blocks; what is mined from here on has other hashes."""
        del self.blocks[len(self.blocks) - depth :]
        self.fork += 1

    def tx(self, of: Intent, number: int = 1, *, charge: int | None = None) -> Tx:
        """Our own transaction, as the variant says."""
        used = next(one for one in of.variants if one.number == number)
        to, amount = (of.destination, of.amount) if used.kind is PAYMENT else (SINK, 1)
        assert used.tx_hash is not None
        return Tx(of.account, to, amount, used.fee if charge is None else charge, used.tx_hash)

    def frame(self, *, at: int | None = None) -> Frame:
        height = self.height if at is None else at
        block = self.blocks[height - 1]
        return Frame(
            height=Height(height),
            block_hash=BlockHash(block.hash),
            base_fee=BaseUnits(block.base_fee),
            holdings={
                name: Holding(
                    balance=BaseUnits(block.holdings[name][0]), nonce=Nonce(block.holdings[name][1])
                )
                if name in block.holdings
                else None
                for name in self.addresses
            },
        )

    def header(self, height: int) -> Header | None:
        if not 1 <= height <= self.height:
            return None
        return Header(height=Height(height), block_hash=BlockHash(self.blocks[height - 1].hash))

    def find(self, of: Intent) -> Sighting:
        for at, block in enumerate(self.blocks, start=1):
            for tx in block.txs:
                for one in of.variants:
                    if one.tx_hash == tx.name:
                        return Sighting(
                            intent_id=of.id,
                            as_of=Height(self.height),
                            variant=one.number,
                            height=Height(at),
                            block_hash=BlockHash(block.hash),
                            fee_charged=BaseUnits(tx.charge),
                        )
        return Sighting(intent_id=of.id, as_of=Height(self.height))

    # the store

    def add(self, *intents: Intent) -> None:
        self.intents.update({one.id: one for one in intents})

    def view(self, of: Frame) -> View:
        open_ = [one for one in self.intents.values() if one.state is not State.VOID]
        consumed = [
            one
            for one in sorted(open_, key=lambda one: one.nonce, reverse=self.newest_first)
            if one.state not in {State.INCLUDED, State.FINAL} and one.nonce <= self._count(of, one.account)
        ]
        blocks: dict[tuple[AccountId, Height, BlockHash], int] = {}
        for one in open_:
            if one.state is State.INCLUDED and one.height is not None and one.block_hash is not None:
                key = (one.account, one.height, one.block_hash)
                blocks[key] = blocks.get(key, 0) + 1
        return View(
            chain=ChainState(chain_id=1),
            accounts=tuple(self.accounts.values()),
            consumed=tuple(consumed[: self.limit]),
            blocks=tuple(
                IncludedBlock(account=account, height=height, block_hash=block_hash, count=count)
                for (account, height, block_hash), count in blocks.items()
            ),
            claims=tuple(
                Claim(account=one.account, nonce=one.nonce, destination=one.destination, amount=one.amount)
                for one in open_
                if one not in consumed
            ),
            intervals=self._intervals(of) if self.knows_intervals else {},
            announced=tuple(self.announced),
        )

    def _count(self, of: Frame, account: AccountId) -> int:
        held = of.holdings.get(Address(account))
        return held.nonce if held else 0

    def _intervals(self, of: Frame) -> dict[AccountId, Interval]:
        intervals = {}
        for account in self.accounts.values():
            if account.baseline is None:
                continue
            low, high = self._count(account.baseline, account.id), self._count(of, account.id)
            own = [one for one in self.intents.values() if one.account == account.id]
            within = [one for one in own if low < one.nonce <= high]
            placed = [
                one
                for one in within
                if one.state in {State.INCLUDED, State.FINAL, State.AMBIGUOUS, State.VOID}
            ]
            final = [one.nonce for one in own if one.state in {State.FINAL, State.VOID}]
            intervals[account.id] = Interval(
                consumed=len(within) - len(placed),
                placed=len(placed),
                cost=sum(self._cost(one) for one in placed if one.id in self.charged),
                burned=max(final, default=Nonce(0)),
            )
        return intervals

    def _cost(self, one: Intent) -> int:
        kind = next(used.kind for used in one.variants if used.number == one.winner)
        return self.charged[one.id] + (one.amount if kind is PAYMENT else 1)

    def tick(
        self,
        *,
        at: int | None = None,
        of: Frame | None = None,
        believed: int | None = None,
        header: Callable[[int], Header | None] | None = None,
        find: Callable[[Intent], Sighting | None] | None = None,
    ) -> confirmation.Verdict:
        """One tick: read, settle, record. The arguments let an endpoint lag or lie."""
        seen = of or self.frame(at=at)
        view = self.view(seen)
        when = moment(seen, believed=self.height if believed is None else believed, proof=self.evidence)
        asks = confirmation.asks(view, when, self.rules)
        look = find or self.find
        found = [sighting for one in asks.lookups if (sighting := look(one)) is not None]
        heights = confirmation.heights(asks, found, when, self.rules)
        verdict = confirmation.settle(
            view,
            when,
            sightings=found,
            headers={height: (header or self.header)(height) for height in heights},
            rules=self.rules,
            highest_base_fee=base_rule,
        )
        for change in verdict:
            self.apply(change)
        return verdict

    def apply(self, change: Change) -> None:
        account = self.accounts[change.account]
        match change:
            case Adopted():
                self.accounts[account.id] = replace(
                    account, next_nonce=change.next_nonce, baseline=change.baseline
                )
            case BaselineMoved():
                old = [*account.kept, *([account.baseline] if account.baseline else [])]
                kept = tuple(
                    one for one in old if change.keep_from <= one.height and one.height != change.frame.height
                )
                self.accounts[account.id] = replace(account, baseline=change.frame, kept=kept)
            case FrozenNow():
                self.frozen.append(change)
                above = max(account.thaw_above or 0, change.thaw_above or 0) or None
                self.accounts[account.id] = replace(
                    account,
                    state=AccountState.FROZEN,
                    cause=change.cause,
                    thaw_above=None if above is None else Nonce(above),
                )
            case Rewound():
                self._rewind(account, change.to)
            case Booked():
                assert change.delta != 0
                self.booked.append((change.kind, change.delta, change.height))
                self.announced = [one for one in self.announced if one.id not in change.announced]
            case BlockBuried():
                self._bury(change)
            case Seen() | Unproven() | Burned():
                self._judge(self.intents[change.intent_id], change)
            case _:
                raise AssertionError(change)

    def _judge(self, one: Intent, change: Seen | Unproven | Burned) -> None:
        assert one.state in {State.SIGNED, State.BROADCAST}
        match change:
            case Seen():
                self.intents[one.id] = replace(
                    one,
                    state=State.INCLUDED,
                    winner=change.variant,
                    height=change.height,
                    block_hash=change.block_hash,
                    evidence=change.evidence,
                )
                self.charged[one.id] = change.fee_charged
            case Unproven():
                self.intents[one.id] = replace(one, state=State.AMBIGUOUS)
                self.spans[one.id] = (change.first, change.second)
            case Burned():
                self.intents[one.id] = replace(one, state=State.VOID)

    def _bury(self, change: BlockBuried) -> None:
        for one in list(self.intents.values()):
            if one.state is State.INCLUDED and (one.height, one.block_hash) == (
                change.height,
                change.block_hash,
            ):
                paid = next(used.kind for used in one.variants if used.number == one.winner) is PAYMENT
                self.intents[one.id] = replace(one, state=State.FINAL if paid else State.VOID)

    def _rewind(self, account: Account, to: Frame) -> None:
        kept = tuple(one for one in account.kept if one.height < to.height)
        self.accounts[account.id] = replace(account, baseline=to, kept=kept)
        self.booked = [one for one in self.booked if one[2] <= to.height]
        for one in list(self.intents.values()):
            above = one.state is State.INCLUDED and one.height is not None and one.height > to.height
            above |= one.state is State.AMBIGUOUS and self.spans[one.id][1].height > to.height
            if above and one.account == account.id:
                self.intents[one.id] = replace(one, state=State.BROADCAST, winner=None, height=None)
                self.charged.pop(one.id, None)

    # what the tests ask

    def state(self, number: int) -> State:
        return self.intents[IntentId(number)].state

    def account(self) -> Account:
        return self.accounts[TREASURY]

    def explained(self) -> int:
        """The balance by our books: what was there, what we paid and were charged, what else was booked."""
        spent = sum(self._cost(self.intents[one]) for one in self.charged)
        return self.opening[TREASURY] - spent + sum(delta for _, delta, _ in self.booked)

    def by_baseline(self) -> int:
        baseline = self.account().baseline
        assert baseline is not None
        held = baseline.holdings[Address(TREASURY)]
        return held.balance if held else 0


def adopted(evidence: Evidence = Evidence.BALANCE, *, blocks: int = 1, rules: Rules = RULES) -> Lab:
    """A lab whose account was adopted at its first block and read at each one since."""
    lab = Lab(evidence=evidence, rules=rules)
    for _ in range(blocks):
        lab.mine()
        lab.tick()
    return lab


def of_type(verdict: Iterable[Change], kind: type) -> list[Change]:
    return [change for change in verdict if isinstance(change, kind)]
