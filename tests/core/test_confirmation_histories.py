"""Random histories of a chain, held against what the verdicts made of them (protocol.md §5.1, §9, §10)."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.core.chainlab import (
    ALICE,
    BOB,
    CANCEL,
    DEPTH,
    FEE,
    OPENING,
    PAYMENT,
    RULES,
    SINK,
    TREASURY,
    Lab,
    Tx,
    base_rule,
    intent,
    of_type,
    variant,
)

from treasuryd.core.changes import FrozenNow, Seen
from treasuryd.core.model import (
    AccountState,
    Address,
    Evidence,
    Frame,
    Height,
    Intent,
    IntentId,
    State,
)
from treasuryd.wire.theblock.fees import next_base_fee

HASHES = st.sampled_from([Evidence.HASH, Evidence.BALANCE])
AMOUNTS = st.sampled_from([1, 2, 900, 5_000, 5_000, 40_000, 1_000_000])


@dataclass
class Story:
    """A lab with somebody who draws what happens next. `calm` leaves out everything that disturbs."""

    draw: st.DataObject
    evidence: Evidence
    calm: bool = False
    foreign: bool = True
    lab: Lab = field(default_factory=Lab)
    pooled: dict[int, Intent] = field(default_factory=dict)  # by nonce, ours that may still be mined
    used: list[tuple[int, str]] = field(
        default_factory=list
    )  # (height, hash of the transaction), own nonces in order
    deepest: int = 0  # the highest height any tick has read: no reorg reaches k below it

    def __post_init__(self) -> None:
        self.lab = Lab(evidence=self.evidence, rules=replace(RULES, movers=frozenset()))
        for _ in range(DEPTH + 1):
            self.lab.mine()
            self.tick()

    def pick(self, *choices: str) -> str:
        return self.draw.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return self.draw.draw(st.integers(low, high))

    def run(self, steps: int) -> Iterator[list[Seen]]:
        for _ in range(steps):
            kinds = ["pay", "mine", "mine", "tick"]
            kinds += [] if self.calm else ["bump", "cancel", "noise", "reorg", "lag"]
            step = self.pick(*kinds)
            if step == "tick":
                yield self.tick()
            elif step == "lag":
                before = dict(self.lab.intents)
                self.lab.tick(at=max(1, self.lab.height - self.number(1, 3)), header=self._lagging)
                assert all(
                    one.state is not State.VOID or before[key] == one for key, one in self.lab.intents.items()
                )
            else:
                getattr(self, step)()
        self.mine()
        yield self.tick()

    def _lagging(self, height: int) -> None:
        return None

    # what happens

    def pay(self) -> None:
        nonce = len(self.lab.intents) + 1
        if len([one for one in self.pooled if one > self.lab.held(TREASURY)[1]]) >= 4:
            return
        one = intent(
            nonce,
            to=self.draw.draw(st.sampled_from([ALICE, BOB])),
            amount=self.draw.draw(AMOUNTS),
            fees=(self.number(FEE, FEE + 50),),
        )
        self.lab.add(one)
        self.pooled[nonce] = one

    def bump(self) -> None:
        self._add(PAYMENT)

    def cancel(self) -> None:
        undecided = [one for one in self._open() if any(used.kind is CANCEL for used in one.variants)]
        if self.evidence is Evidence.HASH or not undecided:  # R7
            self._add(CANCEL)

    def _open(self) -> list[Intent]:
        return [one for one in self.lab.intents.values() if one.state is State.BROADCAST]

    def _add(self, kind: object) -> None:
        free = [
            one for one in self._open() if one.nonce > self.lab.held(TREASURY)[1] and len(one.variants) < 3
        ]
        if not free:
            return
        one = free[self.number(0, len(free) - 1)]
        dearest = max(used.fee for used in one.variants)
        number = len(one.variants) + 1
        more = variant(number, PAYMENT if kind is PAYMENT else CANCEL, dearest + self.number(0, 30), one.id)
        changed = replace(one, variants=(*one.variants, more))
        self.lab.intents[one.id] = self.pooled[one.nonce] = changed

    def noise(self) -> None:
        """Deposits and spends of others; `sweep` empties the destination at once."""
        amount = self.draw.draw(AMOUNTS)
        kind = self.pick("own", "own dust", "destination", "sink", "sweep")
        to = {"own": TREASURY, "own dust": TREASURY, "destination": ALICE, "sink": SINK}.get(kind)
        if to is not None:
            self.lab.mine(deposits={to: 3 if kind == "own dust" else amount})
        elif self.lab.held(ALICE)[0] > 0:
            self.lab.mine(Tx(ALICE, "elsewhere", self.lab.held(ALICE)[0], 0, "sweep"))

    def reorg(self) -> None:
        floor = max(DEPTH + 1, self.deepest - DEPTH + 1)
        depth = min(self.number(1, 2), self.lab.height - floor)
        if depth > 0:
            self.lab.reorg(depth)
            for _ in range(self.number(0, depth)):
                self.mine()

    def mine(self) -> None:
        """One block with the next nonces of ours, in order, or a stranger's transactions on them."""
        nonce = self.lab.held(TREASURY)[1]
        base_fee = next_base_fee(self.lab.base_fee, self.number(0, 120))
        txs: list[Tx] = []
        for _ in range(self.number(0, 3)):
            nonce += 1
            if self.foreign and not self.calm and self.number(0, 5) == 0:
                txs.append(self._stranger(nonce))
            elif nonce in self.pooled:
                txs.append(self._ours(self.pooled[nonce], base_fee))
            else:
                break
        self.lab.mine(*txs, base_fee=base_fee)

    def _ours(self, one: Intent, base_fee: int) -> Tx:
        used = one.variants[self.number(0, len(one.variants) - 1)]
        tip = used.fee if not self.calm and self.number(0, 4) == 0 else max(0, used.fee - base_fee)
        return self.lab.tx(one, used.number, charge=base_fee + tip)

    def _stranger(self, nonce: int) -> Tx:
        near = self.pooled.get(nonce)
        amount = self.draw.draw(st.sampled_from([0, 1, near.amount if near else 5_000, 5_000]))
        to = self.draw.draw(st.sampled_from(["thief", ALICE]))
        charge = self.draw.draw(st.sampled_from([0, 1, FEE, near.amount + FEE if near else FEE]))
        return Tx(TREASURY, to, amount, charge, f"stranger-{nonce}-{self.lab.fork}-{self.lab.height}")

    # what is concluded

    def tick(self) -> list[Seen]:
        before = self.lab.account().baseline
        verdict = self.lab.tick()
        self.deepest = max(self.deepest, self.lab.height)
        seen = [change for change in of_type(verdict, Seen) if isinstance(change, Seen)]
        if before is not None:
            after = self.lab.frame()
            for change in seen:
                self.check(change, before, after)
        return seen

    def truth(self, one: Intent) -> str:
        """The hash of the transaction that really used the intent's nonce."""
        own = [tx.name for block in self.lab.blocks for tx in block.txs if tx.sender == TREASURY]
        return own[one.nonce - 1]

    def check(self, change: Seen, first: Frame, second: Frame) -> None:
        """No payment is reported that did not happen, outside the stated residual risk; no cancel over a payment."""
        one = self.lab.intents[change.intent_id]
        really = self.truth(one)
        said = next(used for used in one.variants if used.number == change.variant)
        kinds = {used.tx_hash: used.kind for used in one.variants}
        actual = kinds.get(really) if really in kinds else None  # type: ignore[call-overload]
        if actual is said.kind:
            return
        assert change.evidence is not Evidence.HASH, "a look-up never errs"
        assert said.kind is PAYMENT or actual is not PAYMENT, "a payment was taken for a cancel"
        if said.kind is PAYMENT:
            event("residual risk")
            assert self.residual(one, first, second)

    def residual(self, one: Intent, first: Frame, second: Frame) -> bool:
        """
        The residual risk of protocol.md §5.1, computed from what really happened.

        The destination had our amount from elsewhere, and either the amount is within twice the fee's doubt, or what
        we did not send lowered our balance, deposits deducted, by more than half of the amount.
        """
        blocks = self.lab.blocks[first.height : second.height]
        mine = {used.tx_hash: other for other in self.lab.intents.values() for used in other.variants}
        txs = [tx for block in blocks for tx in block.txs if tx.sender == TREASURY]
        honest = [tx for tx in txs if tx.name in mine]
        own_fall = _held(first, TREASURY) - _held(second, TREASURY)
        foreign_fall = own_fall - sum(tx.amount + tx.charge for tx in honest)
        to_it = sum(tx.amount for tx in honest if tx.to == one.destination)
        income = _held(second, one.destination) - _held(first, one.destination) - to_it
        count = _nonce(first, TREASURY)
        consumed = [o for o in self.lab.intents.values() if count < o.nonce <= _nonce(second, TREASURY)]
        base = base_rule(first.base_fee or 1, second.base_fee or 1, second.height - first.height)
        doubt = sum(max(u.fee for u in o.variants) + base - min(u.fee for u in o.variants) for o in consumed)
        return income >= one.amount and (one.amount <= 2 * doubt or foreign_fall > one.amount / 2)


def _held(of: Frame, name: str) -> int:
    held = of.holdings[Address(name)]
    return held.balance if held else 0


def _nonce(of: Frame, name: str) -> int:
    held = of.holdings[Address(name)]
    return held.nonce if held else 0


@settings(max_examples=100, deadline=None)
@given(st.data(), HASHES)
def test_with_nothing_disturbed_every_payment_is_recognised_to_the_unit(
    data: st.DataObject, evidence: Evidence
) -> None:
    """D36, D23: all that was mined is seen as what it was, nothing freezes, and the books equal the chain."""
    story = Story(draw=data, evidence=evidence, calm=True)
    for _ in story.run(20):
        count = story.lab.held(TREASURY)[1]
        mined = [one for one in story.lab.intents.values() if one.nonce <= count]
        assert all(one.state in {State.INCLUDED, State.FINAL} for one in mined)
        assert story.lab.explained() == story.lab.by_baseline() == story.lab.held(TREASURY)[0]
        assert not story.lab.frozen
        assert all(
            kind is None for kind, _, _ in story.lab.booked
        )  # nobody deposited: nothing is called a deposit


@settings(max_examples=100, deadline=None)
@given(st.data(), HASHES)
def test_without_a_stranger_nothing_freezes_whatever_else_happens(
    data: st.DataObject, evidence: Evidence
) -> None:
    """N5, N6, N7, D12: bumps, cancels, raised tips, deposits, sweeps, lag and ordinary reorgs freeze nothing."""
    story = Story(draw=data, evidence=evidence, foreign=False)
    for _ in story.run(25):
        assert not story.lab.frozen
        if story.lab.account().baseline != story.lab.frame():
            continue  # the baseline went back in this tick: its verdicts are open again
        if not any(one.state is State.AMBIGUOUS for one in story.lab.intents.values()):
            assert story.lab.explained() == story.lab.by_baseline()
        if evidence is Evidence.HASH:
            count = _nonce(story.lab.frame(), TREASURY)
            mined = [one for one in story.lab.intents.values() if one.nonce <= count]
            assert all(one.state in {State.INCLUDED, State.FINAL, State.VOID} for one in mined)


@settings(max_examples=200, deadline=None)
@given(st.data(), HASHES)
def test_no_payment_is_reported_that_did_not_happen(data: st.DataObject, evidence: Evidence) -> None:
    """N8: strangers spend on our nonces with every amount and fee, with deposits, income, cancels and reorgs around."""
    story = Story(draw=data, evidence=evidence)
    for _ in story.run(25):
        if evidence is Evidence.HASH:
            seen_by_us = story.lab.account().baseline == story.lab.frame()
            own = [tx.name for block in story.lab.blocks for tx in block.txs if tx.sender == TREASURY]
            stranger = any(name.startswith("stranger") for name in own)
            assert not (seen_by_us and stranger) or story.lab.account().state is AccountState.FROZEN


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_final_happened(data: st.DataObject) -> None:
    """D12: with look-up a final payment is in a block k deep, and a void one will never be."""
    story = Story(draw=data, evidence=Evidence.HASH)
    for _ in story.run(25):
        own = [
            (tx.name, height)
            for height, block in enumerate(story.lab.blocks, start=1)
            for tx in block.txs
            if tx.sender == TREASURY
        ]
        deep = {name for name, height in own if height <= story.deepest - DEPTH}
        for one in story.lab.intents.values():
            payments = {used.tx_hash for used in one.variants if used.kind is PAYMENT}
            if one.state is State.FINAL:
                assert payments & deep
            if one.state is State.VOID:
                assert not payments & {name for name, _ in own}
                assert one.nonce <= len(own)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.sampled_from([0, 1, FEE, 50_000]), st.booleans(), HASHES)
def test_a_foreign_spend_of_nothing_is_never_our_payment(
    charge: int, deposit: int, income: bool, evidence: Evidence
) -> None:
    """N8: a zero-value spend, whatever its fee, with or without deposit and income, is not taken for 50,000 paid."""
    lab = Lab(evidence=evidence)
    for _ in range(2):
        lab.mine()
        lab.tick()
    lab.add(intent(1, amount=50_000))
    extra = {TREASURY: deposit} | ({str(ALICE): 50_000} if income else {})
    lab.mine(Tx(TREASURY, "thief", 0, charge * 60, "stranger"), deposits=extra)
    verdict = lab.tick()
    assert not of_type(verdict, Seen)
    assert lab.state(1) in {State.AMBIGUOUS, State.BROADCAST}
    if evidence is Evidence.HASH or not income:
        assert of_type(verdict, FrozenNow)
    assert Height(lab.height) == lab.frame().height
    assert lab.held(TREASURY)[0] == OPENING - charge * 60 + deposit
    assert IntentId(1) in lab.intents
