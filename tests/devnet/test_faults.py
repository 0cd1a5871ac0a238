from treasuryd.devnet.faults import Faults, Wrong


def test_a_fault_strikes_as_often_as_it_was_told() -> None:
    """And is gone then."""
    faults = Faults()
    faults.add(Wrong.DROP, times=2)
    assert faults
    taken = [faults.take(Wrong.DROP, "submit_tx") is not None for _ in range(3)]
    assert taken == [True, True, False]
    assert not faults
    assert faults.struck == {"drop": 2}


def test_a_fault_without_a_number_strikes_until_it_is_cleared() -> None:
    """By its name or with all others."""
    faults = Faults()
    faults.add(Wrong.DROP, times=None)
    faults.add(Wrong.HANG, times=None)
    for _ in range(5):
        assert faults.take(Wrong.DROP, "submit_tx") is not None
    faults.clear(Wrong.DROP)
    assert faults.take(Wrong.DROP, "submit_tx") is None
    faults.clear()
    assert not faults


def test_a_fault_fits_its_method() -> None:
    """`submit_tx` unless told otherwise, look-ups for theirs, `*` for all."""
    faults = Faults()
    faults.add(Wrong.DROP)
    assert faults.take(Wrong.DROP, "balance") is None
    faults.add(Wrong.WRONG_BLOCK)
    assert faults.take(Wrong.WRONG_BLOCK, "tx_status") is not None
    faults.add(Wrong.STATUS, method="*")
    assert faults.take(Wrong.STATUS, "anything") is not None
