from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devnet.world import FUNDS, Chain

from treasuryd.devnet.config import LedgerRules
from treasuryd.devnet.ledger import Then, Verdict
from treasuryd.devnet.signatures import offer_of
from treasuryd.errors import Rejected
from treasuryd.wire.theblock.transaction import Payload, SignedTransaction, encode_rpc7

RULES = LedgerRules()
SIZE = 513 + len("treasury") + len("tb1dest")


def test_the_example_of_the_vectors_is_paid_to_the_unit(vectors: dict[str, Any]) -> None:
    """Two payments, their fees and what was left, as observed."""
    example = vectors["payment_example"]
    chain = Chain(genesis={"treasury": example["before"]["treasury"]})
    chain.mine()
    for place, sent in enumerate(example["sent"]):
        offer = chain.offer(nonce=place + 1, amount=sent["amount"], fee=sent["fee"])
        offer.size = sent["size9"]
        assert chain.ledger.admit(offer, now=0) is Verdict.OK
    chain.mine()
    after = example["after"]
    assert (after["treasury"], after["account_seq"]) == chain.ledger.holding("treasury")
    assert after["tb1dest"] == chain.balance("tb1dest")


def test_an_observed_tip_is_charged_as_observed(vectors: dict[str, Any]) -> None:
    """V4: the balance falls by amount, tip and the base fee of the block."""
    chain = Chain()
    raw = bytes.fromhex(next(row for row in vectors["transactions"] if row["id"] == "V4")["rpc7_hex"])
    assert chain.ledger.admit(offer_of(raw), now=0) is Verdict.OK
    chain.mine()
    assert chain.balance("treasury") == FUNDS - 2669
    assert chain.balance("tb1zürich-日本") == 1000


CASES: dict[str, dict[str, Any]] = {
    "7-field, next nonce, fee = 1 + 2*size9": {"per_byte": 2},
    "fee one unit below 1 + price*size9 (effective tip // size9 is then price-1)": {"fee": 2 * SIZE},
    "tip 3000 with fee 1500": {"tip": 3000, "fee": 1500},
    "fee sufficient, nonce 999 (fee probe)": {"nonce": 999},
    "fee insufficient, nonce 999": {"nonce": 999, "fee": 2 * SIZE},
    "pct 101": {"pct": 101},
    "fee 2^63": {"fee": 2**63},
    "unknown sender, fee sufficient": {"sender": "nobody"},
    "amount above balance": {"amount": FUNDS},
    "nonce 2 while 1 is expected": {"nonce": 2},
}


def test_every_observed_verdict_is_reproduced(vectors: dict[str, Any]) -> None:
    """The cases of the vectors that a single transaction shows, after the first block."""
    shown = set()
    for row in vectors["admission_verdicts"]["cases"]:
        fields = CASES.get(row["case"])
        if fields is not None:
            chain = Chain()
            chain.mine()
            said = chain.admit(**fields)
            assert row["result"].get("error", "ok") == said, row["case"]
            shown.add(row["case"])
    assert set(CASES) == shown


def test_a_false_signature_is_judged_last() -> None:
    """A zero signature under a far nonce answers `NonceGap`, under the next one `BadSignature`."""
    chain = Chain()
    chain.believed = False
    assert Verdict.NONCE_GAP is chain.admit(nonce=9)
    assert Verdict.BAD_SIGNATURE is chain.admit(nonce=1)
    assert not len(chain.ledger.pools[0])


def test_there_is_no_replace_by_fee() -> None:
    """Same nonce, higher fee: `Duplicate`, until a rule that the node does not have is switched on."""
    chain = Chain()
    assert Verdict.OK is chain.admit()
    assert Verdict.DUPLICATE is chain.admit(fee=9000)
    kind = Chain(replace(RULES, replace_by_fee=True))
    kind.admit()
    assert Verdict.OK is kind.admit(fee=9000)
    assert Verdict.DUPLICATE is kind.admit(fee=8999)
    kind.mine()
    assert [row.offer.fee for row in kind.ledger.transactions.values()] == [9000]


def test_the_seventeenth_pending_transaction_is_refused() -> None:
    """N12: the limit is 16 per account, and a block makes room."""
    chain = Chain()
    assert [chain.admit(nonce=nonce) for nonce in range(1, 17)] == [Verdict.OK] * 16
    assert Verdict.PENDING_LIMIT is chain.admit(nonce=17)
    chain.mine()
    assert Verdict.OK is chain.admit(nonce=17)


def test_fee_and_balance_are_judged_before_the_nonce() -> None:
    """N4: a mined payment that comes again can earn any of these answers, so none of them says "not paid"."""
    chain = Chain()
    chain.admit(amount=FUNDS // 2 + 1000)
    chain.mine()
    assert Verdict.INSUFFICIENT_BALANCE is chain.admit(amount=FUNDS // 2 + 1000)
    assert Verdict.FEE_TOO_LOW is chain.admit(fee=SIZE)
    assert Verdict.NONCE_GAP is chain.admit()


def test_pending_amounts_and_fees_are_set_aside() -> None:
    """The balance must cover what is pooled, too."""
    chain = Chain()
    chain.admit(nonce=1, amount=FUNDS // 2)
    assert Verdict.INSUFFICIENT_BALANCE is chain.admit(nonce=2, amount=FUNDS // 2)
    assert Verdict.OK is chain.admit(nonce=2, amount=FUNDS // 2 - 3000)


def test_missing_signers_and_sums_beyond_64_bits_have_their_verdicts() -> None:
    """Threshold above the listed signers; amount plus fee; a receiver who would overflow."""
    chain = Chain(genesis={"treasury": 2**63, "rich": 2**64 - 5})
    payload = Payload(from_="treasury", to="a", amount_consumer=1, fee=5000, nonce=1)
    several = SignedTransaction(payload=payload, public_key=bytes(32), signature=bytes(64), threshold=1)
    assert Verdict.PENDING_SIGNATURES is chain.ledger.admit(offer_of(encode_rpc7(several)), now=0)
    assert Verdict.FEE_OVERFLOW is chain.admit(amount=2**64 - 2000, fee=5000)
    assert Verdict.BALANCE_OVERFLOW is chain.admit(to="rich", amount=10)


def test_a_pooled_transaction_lives_for_its_ttl() -> None:
    """N3: strictly older goes; then the same nonce is taken again, and a higher one is a gap."""
    chain = Chain()
    chain.admit(nonce=1)
    chain.admit(nonce=2)
    chain.clock = RULES.ttl_seconds
    assert Verdict.DUPLICATE is chain.admit(nonce=1)
    chain.clock += 0.001
    assert Verdict.NONCE_GAP is chain.admit(nonce=2)
    assert Verdict.OK is chain.admit(nonce=1)


def test_a_full_pool_loses_its_cheapest_before_the_newcomer_is_judged() -> None:
    """N3: an admitted transaction can go for one that is then refused; the kind rule says `MempoolFull`."""
    small = replace(RULES, pool_per_lane=2)
    chain = Chain(small)
    chain.admit(nonce=1, per_byte=3)
    chain.admit(nonce=2, per_byte=4)
    assert Verdict.NONCE_GAP is chain.admit(nonce=9, per_byte=4)
    assert [offer.nonce for offer in chain.ledger.pools[0]] == [2]
    kind = Chain(replace(small, evict_without_comparing=False))
    assert [kind.admit(nonce=nonce) for nonce in (1, 2, 3)] == [Verdict.OK, Verdict.OK, Verdict.MEMPOOL_FULL]


def test_the_floor_rises_with_overpaying_and_never_falls() -> None:
    """N13: one generous transaction raises it for everyone; a restart of the process forgets it."""
    chain = Chain()
    chain.admit(nonce=1, fee=20_000)
    assert chain.ledger.pools[0].window.floor == (20_000 - 1) // SIZE
    assert Verdict.FEE_TOO_LOW is chain.admit(nonce=2)
    chain.mine(5)
    assert Verdict.FEE_TOO_LOW is chain.admit(nonce=2)
    chain.ledger.restart()
    assert Verdict.OK is chain.admit(nonce=2)


def test_a_thousand_payments_at_the_floor_leave_the_floor() -> None:
    """N13: at 2 per byte all are paid, and the floor is still 2."""
    chain = Chain(genesis={"treasury": 10**12})
    for nonce in range(1, 1001):
        assert Verdict.OK is chain.admit(nonce=nonce)
        if nonce % 16 == 0:
            chain.mine()
    chain.mine()
    assert len(chain.ledger.transactions) == 1000
    assert chain.ledger.pools[0].window.floor == 2


def test_the_lane_price_is_one_before_the_first_block_and_two_after_it() -> None:
    """N14: and one again after a restart, until the next block."""
    chain = Chain()
    assert Verdict.OK is chain.admit(per_byte=1)
    chain.mine()
    assert Verdict.FEE_TOO_LOW is chain.admit(nonce=2, per_byte=1)
    chain.ledger.restart()
    assert Verdict.OK is chain.admit(nonce=2, per_byte=1)


def test_the_base_fee_of_the_including_block_is_charged() -> None:
    """N6: it may exceed the signed fee; the kind rule charges what admission saw."""
    for surcharge, expected in ((True, 50), (False, 1)):
        chain = Chain(replace(RULES, surcharge_at_inclusion=surcharge))
        offer = chain.offer()
        chain.ledger.admit(offer, now=0)
        chain.ledger.base_fee = 50
        chain.mine()
        assert offer.tip + expected == chain.ledger.transactions[offer.tx_id].charge


def test_a_block_that_a_sender_cannot_cover_is_not_built() -> None:
    """N6: the node fails as a whole and nothing moves; the kind rule leaves that sender out."""
    fee = 1 + 2 * SIZE
    chain = Chain(genesis={"treasury": 1000 + fee})
    assert Verdict.OK is chain.admit()
    chain.ledger.base_fee = 2
    chain.ledger.deposit("somebody", 5)
    before = chain.ledger.holdings()
    chain.mine()
    assert (0, before) == (chain.ledger.height, chain.ledger.holdings())


def test_only_sequential_nonces_enter_a_block() -> None:
    """A lost lower nonce keeps the higher ones out."""
    chain = Chain()
    for nonce in (1, 2, 3):
        chain.admit(nonce=nonce)
    chain.ledger._drop(next(offer for offer in chain.ledger.pools[0] if offer.nonce == 2))
    chain.mine()
    assert [row.offer.nonce for row in chain.ledger.transactions.values()] == [1]
    assert Verdict.DUPLICATE is chain.admit(nonce=3)


def test_a_crowded_block_takes_the_best_paying() -> None:
    """By signed fee per byte, within the limit, and still in nonce sequence."""
    chain = Chain(replace(RULES, block_txs=2), genesis={"a": FUNDS, "b": FUNDS, "c": FUNDS})
    chain.admit(sender="a", per_byte=2)
    chain.admit(sender="b", per_byte=3)
    chain.admit(sender="c", per_byte=4)
    chain.mine()
    assert {"b", "c"} == {row.offer.sender for row in chain.ledger.transactions.values()}
    chain.mine()
    assert len(chain.ledger.transactions) == 3


def test_any_key_spends_any_account() -> None:
    """N8: there is no binding of keys to addresses."""
    chain = Chain(genesis={"treasury": FUNDS, "stranger": FUNDS})
    assert Verdict.OK is chain.admit(sender="stranger")
    assert Verdict.OK is chain.admit(sender="treasury")


def test_a_foreign_spend_takes_our_nonce() -> None:
    """N8: of any amount and fee; what was pooled under that nonce is gone, the nonces behind it go on."""
    chain = Chain()
    for nonce in (1, 2):
        chain.admit(nonce=nonce)
    ours = [offer.tx_id for offer in chain.ledger.pools[0]]
    chain.ledger.foreign_spend("treasury", to="thief", amount=7, fee=9)
    chain.ledger.deposit("tb1dest", 1000)
    chain.mine()
    assert ours[0] not in chain.ledger.transactions
    assert ours[1] in chain.ledger.transactions
    assert (chain.balance("thief"), chain.balance("tb1dest")) == (7, 2000)
    assert [row.offer.amount + row.charge for row in chain.ledger.transactions.values()] == [
        7 + 9,
        1000 + 1 + 2 * SIZE,
    ]


def test_a_foreign_spend_of_nothing_moves_no_amount() -> None:
    """N8: the zero-value spend that a balance alone cannot tell from a payment."""
    chain = Chain()
    chain.ledger.foreign_spend("treasury", to="tb1dest", amount=0, fee=1057)
    chain.mine()
    assert chain.ledger.holding("treasury") == (FUNDS - 1057, 1)


def test_a_reorg_takes_back_and_pays_again_in_other_blocks() -> None:
    """The same transactions, the same money, other hashes."""
    chain = Chain()
    chain.mine(3)
    offer = chain.offer()
    chain.ledger.admit(offer, now=chain.clock)
    chain.mine(2)
    old, hashes = chain.balance("treasury"), [chain.ledger.block_hash(index) for index in range(5)]
    gone = chain.ledger.reorg(2, now=chain.clock)
    assert [offer.tx_id] == [row.offer.tx_id for block in gone for row in block.mined]
    assert (6, old) == (chain.ledger.height, chain.balance("treasury"))
    assert hashes[:3] == [chain.ledger.block_hash(index) for index in range(3)]
    assert not {chain.ledger.block_hash(index) for index in range(6)} & set(hashes[3:])


@pytest.mark.parametrize(
    ("then", "pooled", "nonce"), [(Then.LATER, 1, 0), (Then.NEVER, 0, 0), (Then.AGAIN, 0, 1)]
)
def test_a_reorg_says_what_becomes_of_the_transactions(then: Then, pooled: int, nonce: int) -> None:
    """Again at once, later from the pool, or never."""
    chain = Chain()
    chain.mine()
    chain.admit()
    chain.mine()
    chain.ledger.reorg(1, now=chain.clock, then=then)
    assert pooled == len(chain.ledger.pools[0])
    holding = chain.ledger.holding("treasury")
    assert holding is not None
    assert nonce == holding[1]


def test_a_reorg_beyond_the_undo_data_is_refused() -> None:
    """And changes nothing."""
    chain = Chain(replace(RULES, undo_blocks=2))
    chain.mine(5)
    with pytest.raises(Rejected, match="2 can be undone"):
        chain.ledger.reorg(3, now=0)
    assert chain.ledger.height == 5


def test_a_lagging_view_is_an_older_one() -> None:
    """Balances and nonces as they stood that many blocks ago; an account that was not there is absent."""
    chain = Chain()
    chain.mine()
    before = chain.ledger.holdings()
    chain.admit()
    chain.mine()
    assert before == chain.ledger.holdings(lag=1)
    assert chain.ledger.holding("tb1dest", lag=1) is None
    assert chain.ledger.holding("treasury", lag=1) == (FUNDS, 0)


def test_a_lost_pool_is_lost() -> None:
    """N3: and its nonces are free again; the fee window stays, for the process does."""
    chain = Chain()
    chain.admit(per_byte=3)
    assert chain.ledger.lose_pool() == 1
    chain.mine()
    assert not chain.ledger.transactions
    assert chain.ledger.pools[0].window.floor == 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(1, 4), st.integers(2, 4)),
        st.tuples(st.just("mine"), st.integers(1, 2), st.just(0)),
        st.tuples(st.just("reorg"), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("foreign"), st.integers(0, 50), st.integers(1, 3000)),
        st.tuples(st.just("deposit"), st.integers(1, 50), st.just(0)),
        st.tuples(st.just("lose"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


def perform(chain: Chain, steps: list[tuple[str, int, int]]) -> None:
    for kind, first, second in steps:
        holding = chain.ledger.holding("treasury") or (0, 0)
        match kind:
            case "admit":
                chain.admit(nonce=holding[1] + first, per_byte=second)
            case "mine":
                chain.mine(first)
            case "reorg":
                depth = min(first, chain.ledger.height)
                chain.ledger.reorg(depth, now=chain.clock, then=list(Then)[second])
            case "foreign":
                chain.ledger.foreign_spend("treasury", to="thief", amount=first, fee=second)
            case "deposit":
                chain.ledger.deposit("tb1dest", first)
            case _:
                chain.ledger.lose_pool()


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_whatever_happens_the_books_balance(steps: list[tuple[str, int, int]]) -> None:
    """Money comes from genesis, rewards and deposits, goes by base fees; nonces have no gaps; undoing undoes."""
    chain = Chain()
    perform(chain, steps)
    ledger = chain.ledger
    blocks = list(ledger.recent)
    made = sum(amount for block in blocks for _, amount in block.credits)
    paid = sum(row.charge for row in ledger.transactions.values())
    assert FUNDS + made - paid == chain.total()
    spent = [row.offer.nonce for row in ledger.transactions.values() if row.offer.sender == "treasury"]
    assert spent == list(range(1, len(spent) + 1))
    assert ledger.height == len(blocks)
    ledger.cut(ledger.height)
    assert ledger.holdings() == {"treasury": (FUNDS, 0)}


@settings(deadline=None, max_examples=20)
@given(STEPS, st.integers(0, 2**64 - 1))
def test_the_same_calls_make_the_same_chain(steps: list[tuple[str, int, int]], seed: int) -> None:
    """Hash for hash; another seed makes another chain."""
    chains = [Chain(seed=seed), Chain(seed=seed), Chain(seed=seed ^ 1)]
    for chain in chains:
        chain.mine()
        perform(chain, steps)
    first, again, other = (
        [chain.ledger.block_hash(i) for i in range(chain.ledger.height)] for chain in chains
    )
    assert first == again
    assert not set(first) & set(other)
