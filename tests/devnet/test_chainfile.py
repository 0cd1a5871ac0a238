from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.devnet.world import FUNDS, signed

from treasuryd.devnet.chainfile import FILE_NAME, ChainFile, open_ledger
from treasuryd.devnet.config import LedgerRules
from treasuryd.devnet.ledger import Ledger, Then, Verdict
from treasuryd.devnet.signatures import offer_of
from treasuryd.errors import Corrupt, Rejected


def build(seed: int, genesis: Mapping[str, int]) -> Ledger:
    return Ledger(LedgerRules(), verify=lambda _offer: True, seed=seed, genesis=genesis)


def reopen(path: Path, *, seed: int = 7, funds: int = FUNDS) -> tuple[ChainFile, Ledger]:
    file = ChainFile(path)
    return file, open_ledger(file, build, seed=seed, genesis={"treasury": funds})


def pay(ledger: Ledger, nonce: int) -> None:
    offer = offer_of(signed(nonce=nonce, memo="é".encode()))
    assert ledger.admit(offer, now=1.0) is Verdict.OK
    ledger.mine(now=float(nonce))


def picture(ledger: Ledger) -> object:
    hashes = [ledger.block_hash(index) for index in range(ledger.height)]
    paid = [(row.offer.tx_id, row.index, row.charge, row.offer.memo) for row in ledger.transactions.values()]
    return hashes, ledger.holdings(), paid, ledger.base_fee


def test_a_chain_survives_its_process(tmp_path: Path) -> None:
    """Blocks, balances, look-ups and base fee come back; pool, fee window and lane price do not."""
    path = tmp_path / "deep" / FILE_NAME
    file, ledger = reopen(path)
    pay(ledger, 1)
    ledger.deposit("tb1dest", 5)
    pay(ledger, 2)
    ledger.admit(offer_of(signed(nonce=3)), now=3.0)
    before = picture(ledger)
    file.close()
    file, again = reopen(path, seed=9, funds=1)  # the file's own seed and genesis win
    assert before == picture(again)
    assert (len(again.pools[0]), again.lane_price(0)) == (0, 1)
    pay(again, 3)
    file.close()


def test_a_reorg_survives_too(tmp_path: Path) -> None:
    """The cut is in the file, and what replaced the blocks."""
    file, ledger = reopen(tmp_path / FILE_NAME)
    for nonce in (1, 2, 3):
        pay(ledger, nonce)
    ledger.reorg(2, now=9.0, then=Then.LATER)
    before = picture(ledger)
    file.close()
    file, again = reopen(tmp_path / FILE_NAME)
    assert before == picture(again)
    assert len(again.transactions) == 1
    file.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.data())
def test_a_kill_at_any_byte_costs_the_torn_block_alone(tmp_path: Path, data: st.DataObject) -> None:
    """Cut the file anywhere: what is whole before the cut is the chain, and it grows on from there."""
    path = tmp_path / FILE_NAME
    path.unlink(missing_ok=True)
    file, ledger = reopen(path)
    ends, pictures = [path.stat().st_size], [picture(ledger)]
    for nonce in (1, 2, 3):
        pay(ledger, nonce)
        ends.append(path.stat().st_size)
        pictures.append(picture(ledger))
    file.close()
    cut = data.draw(st.integers(ends[0], ends[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    whole = max(place for place, end in enumerate(ends) if end <= cut)
    file, again = reopen(path)
    assert pictures[whole] == picture(again)
    assert ends[whole] == path.stat().st_size
    pay(again, whole + 1)
    after = picture(again)
    file.close()
    file, once_more = reopen(path)
    assert after == picture(once_more)
    file.close()


def test_a_damaged_record_ends_the_chain_there(tmp_path: Path) -> None:
    """A flipped byte fails its checksum."""
    path = tmp_path / FILE_NAME
    file, ledger = reopen(path)
    pay(ledger, 1)
    keep = path.stat().st_size
    pay(ledger, 2)
    file.close()
    spoilt = bytearray(path.read_bytes())
    spoilt[keep + 20] ^= 1
    path.write_bytes(bytes(spoilt))
    file, again = reopen(path)
    assert again.height == 1
    file.close()


@pytest.mark.parametrize(
    "record",
    [
        pytest.param([5, 0, 0, 1, [], []], id="a block that does not follow"),
        pytest.param(
            [0, 0, 0, 1, [], [[1, "00", "nobody", "x", 5, 5, 1, 1, "", 500, 0]]], id="a payment from nobody"
        ),
    ],
)
def test_stored_nonsense_is_corrupt(tmp_path: Path, record: list[object]) -> None:
    """A whole record that contradicts the chain was not written by us."""
    path = tmp_path / FILE_NAME
    file, _ = reopen(path)
    file.append(record)
    file.close()
    file = ChainFile(path)
    with pytest.raises(Corrupt):
        open_ledger(file, build, seed=0, genesis={})
    file.close()


def test_another_format_is_refused(tmp_path: Path) -> None:
    """With a hint what to do."""
    file = ChainFile(tmp_path / FILE_NAME)
    file.append({"format": 99})
    with pytest.raises(Corrupt) as refused:
        open_ledger(file, build, seed=0, genesis={})
    assert "new state folder" in refused.value.hint
    file.close()


def test_without_a_file_nothing_is_kept() -> None:
    """A chain for one process."""
    ledger = open_ledger(None, build, seed=1, genesis={"a": 1})
    ledger.mine(now=0.0)
    assert ledger.height == 1


def test_two_processes_never_write_one_chain(tmp_path: Path) -> None:
    """A second daemon on the same state folder is told so; the file stays whole."""
    file, ledger = reopen(tmp_path / FILE_NAME)
    with pytest.raises(Rejected, match="another development chain"):
        ChainFile(tmp_path / FILE_NAME)
    pay(ledger, 1)
    file.close()
    file, again = reopen(tmp_path / FILE_NAME)
    assert again.height == 1
    file.close()
