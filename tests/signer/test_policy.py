from dataclasses import replace

import pytest
from tests.signer.conftest import POLICY, TREASURY, request

from treasuryd.core.model import MAX_AMOUNT, MAX_MEMO_BYTES, Address, BaseUnits, VariantKind
from treasuryd.signer.policy import Objection, Policy, objection


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, None, id="ordinary"),
        pytest.param({"amount": BaseUnits(1_000_000)}, None, id="at the cap"),
        pytest.param({"amount": BaseUnits(1_000_001)}, Objection.AMOUNT_TOO_LARGE, id="above the cap"),
        pytest.param({"amount": BaseUnits(0)}, Objection.AMOUNT_ZERO, id="nothing"),
        pytest.param({"amount": BaseUnits(-5)}, Objection.AMOUNT_ZERO, id="negative"),
        pytest.param({"fee": BaseUnits(10_001)}, Objection.FEE_TOO_LARGE, id="fee above the cap"),
        pytest.param({"memo": "x" * MAX_MEMO_BYTES}, None, id="longest memo"),
        pytest.param({"memo": "x" * (MAX_MEMO_BYTES + 1)}, Objection.MEMO_TOO_LONG, id="memo in characters"),
        pytest.param({"memo": "ä" * 4_097}, Objection.MEMO_TOO_LONG, id="memo in bytes"),
        pytest.param({"destination": Address("")}, Objection.DESTINATION_EMPTY, id="nobody"),
        pytest.param({"destination": Address("treasury")}, Objection.DESTINATION_IS_PAYER, id="ourselves"),
        pytest.param({"destination": Address("treasury-sink")}, Objection.DESTINATION_IS_SINK, id="our sink"),
        pytest.param(
            {"destination": Address("second-sink")}, Objection.DESTINATION_IS_SINK, id="another's sink"
        ),
        pytest.param({"destination": Address("second")}, None, id="another account of ours"),
    ],
)
def test_a_payment_is_judged_by_its_content(change: dict[str, object], expected: Objection | None) -> None:
    """The signer checks for itself, whatever the executor checked."""
    found = objection(POLICY, request(1, **change))
    assert expected == (found.why if found else None)


def test_an_allow_list_is_the_whole_world() -> None:
    """Empty means any destination."""
    listed = replace(POLICY, allow_list=frozenset({Address("tb1payee1")}))
    assert objection(listed, request(1)) is None
    found = objection(listed, request(2))
    assert found is not None
    assert found.why is Objection.DESTINATION_NOT_LISTED


def test_a_cancellation_is_judged_by_its_fee_alone() -> None:
    """It pays one unit to our own sink; the payment beside it may be whatever it was."""
    cancel = request(
        1, kind=VariantKind.CANCEL, amount=BaseUnits(MAX_AMOUNT), destination=Address("treasury")
    )
    assert objection(POLICY, cancel) is None
    assert objection(POLICY, replace(cancel, fee=BaseUnits(10_001))) is not None


def test_the_sentence_names_value_and_limit() -> None:
    """And cuts a destination that somebody made very long."""
    found = objection(POLICY, request(1, amount=BaseUnits(2_000_000)))
    assert found is not None
    assert "2000000" in found.detail
    assert "1000000" in found.detail
    long = objection(
        replace(POLICY, allow_list=frozenset({Address("x")})), request(1, destination="y" * 9_999)
    )
    assert long is not None
    assert len(long.detail) < 200


def test_a_sink_is_derived_where_none_is_configured() -> None:
    """The same rule as in the executor's rules."""
    assert Policy(sinks={}, max_fee=BaseUnits(1)).sink_of(TREASURY) == "treasury-sink"
