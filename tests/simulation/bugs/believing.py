"""Bugs of which chain, and which head of it, is believed (protocol.md R9, R15, R16)."""

from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, swap
from tests.simulation.bugs.seed import Bug

from treasuryd.chain import agreeing
from treasuryd.core import epochs, settling
from treasuryd.core.model import Evidence


def no_pace(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        epochs,
        "_judged",
        ("ceiling = Height(stored.believed + math.floor(budget))", "ceiling = max(reported)"),
    )


def settle_by_an_old_lie(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        epochs,
        "_judged",
        (
            "lowest = min((height for height in reported if height <= ceiling), default=known.lowest)",
            "lowest = min((height if height <= ceiling else stored.believed) for height in reported)",
        ),
    )


def final_by_the_highest(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        settling.Shared,
        "final",
        (
            "lowest = self.at.believed if self.at.lowest is None else self.at.lowest",
            "lowest = self.at.believed",
        ),
    )
    edit(
        patch,
        epochs,
        "_settled",
        ("belief.lowest - rules.finality_depth", "state.believed - rules.finality_depth"),
    )


def one_endpoint_decides(patch: pytest.MonkeyPatch) -> None:
    def agreed(column: Any, _needed: int) -> Any:
        return next((header for header in column if header is not None), None)

    swap(patch, agreeing, "agreed_header", agreed)
    patch.setattr(agreeing, "AGREEMENT", 1)


def one_endpoint_pays(patch: pytest.MonkeyPatch) -> None:
    sighting = agreeing.agreed_sighting

    def alone(said: Any, _needed: int, *, silent: bool) -> Any:
        return sighting(said, 1, silent=silent)

    swap(patch, agreeing, "agreed_frame", lambda said: said[0].now)
    swap(patch, agreeing, "agreed_sighting", alone)


def any_chain(patch: pytest.MonkeyPatch) -> None:
    swap(patch, epochs, "wrong_genesis", lambda *_: None)


BUGS: Final = (
    Bug(
        name="any_head_believed",
        rule="R16",
        story="a head is believed however far it is ahead",
        plant=no_pace,
        world={"hasty": True, "often": (("bend", 10.0), ("set_clock", 0.0), ("lose_and_set_back", 0.0))},
    ),
    Bug(
        name="settled_by_an_old_lie",
        rule="R16",
        story="while a head is beyond belief, settling rests on what an earlier lie made believed",
        plant=settle_by_an_old_lie,
        world={"hasty": True, "endpoints": 1, "executors": 1, "often": (("bend", 10.0),)},
    ),
    Bug(
        name="final_by_the_highest_head",
        rule="R9",
        story="of several endpoints the one that is ahead decides what is final",
        plant=final_by_the_highest,
        world={"endpoints": 2, "often": (("bend", 12.0), ("ask", 10.0))},
    ),
    Bug(
        name="one_endpoint_decides",
        rule="R9",
        story="of two endpoints one alone says which blocks stand",
        plant=one_endpoint_decides,
        world={
            "endpoints": 2,
            "often": (("fork_one", 12.0), ("reorganise", 0.0), ("fault", 0.0), ("ask", 10.0)),
        },
    ),
    Bug(
        name="one_endpoint_pays",
        rule="R9",
        story="what one of two endpoints alone says of an account and of a payment is believed",
        plant=one_endpoint_pays,
        world={"endpoints": 2, "kind": Evidence.HASH, "often": (("forge", 8.0), ("ask", 10.0))},
    ),
    Bug(
        name="any_chain_served",
        rule="R15",
        story="another chain under the same endpoints is served like our own",
        plant=any_chain,
        world={"often": (("another_chain", 6.0),)},
    ),
)
