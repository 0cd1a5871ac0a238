"""The transition tables, walked through their full product."""

import importlib.util
from itertools import product
from pathlib import Path

import pytest

from treasuryd.core.lifecycle import DISBURSEMENT, INTENT, LIVE, Fact, Turn, advance
from treasuryd.core.model import State, Status
from treasuryd.errors import Refusal, Rejected

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("at", "what"), list(product(State, Fact)))
def test_an_intent_follows_its_table_and_nothing_else(at: State, what: Fact) -> None:
    """Every pair of state and fact is either an arrow or a clear refusal."""
    if what in INTENT[at]:
        assert INTENT[at][what] is advance(INTENT, at, what)
    else:
        with pytest.raises(Rejected, match=f"{what} does not apply to what is {at}") as refusal:
            advance(INTENT, at, what)
        assert Refusal.CONFLICT is refusal.value.kind


@pytest.mark.parametrize(("at", "what"), list(product(Status, Turn)))
def test_a_disbursement_follows_its_table_and_nothing_else(at: Status, what: Turn) -> None:
    """Every pair of status and turn is either an arrow or a clear refusal."""
    if what in DISBURSEMENT[at]:
        assert DISBURSEMENT[at][what] is advance(DISBURSEMENT, at, what)
    else:
        with pytest.raises(Rejected, match="does not apply"):
            advance(DISBURSEMENT, at, what)


def test_nothing_is_paid_except_out_of_the_timelock() -> None:
    """D1, D20, D21: neither a draft nor a vote nor the queue leads to executed."""
    sources = {at for at, arrows in DISBURSEMENT.items() if Status.EXECUTED in arrows.values()}
    assert {Status.TIMELOCKED} == sources


def test_a_void_intent_stays_void_and_a_rolled_back_item_stays_rolled_back() -> None:
    """R5: what is proved not paid is never sent again."""
    assert not INTENT[State.VOID]
    assert not DISBURSEMENT[Status.ROLLED_BACK]
    assert State.VOID not in LIVE


def test_no_reply_of_a_node_voids_an_intent() -> None:
    """R4: of all facts, having been sent never leads to void."""
    assert State.VOID not in {arrows.get(Fact.SENT) for arrows in INTENT.values()}


def test_the_page_is_drawn_from_the_tables() -> None:
    """docs/lifecycle.md is generated: `python tools/lifecycle_diagram.py`."""
    spec = importlib.util.spec_from_file_location("diagram", ROOT / "tools" / "lifecycle_diagram.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
