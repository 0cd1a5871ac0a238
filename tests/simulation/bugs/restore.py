"""Bugs of a store that is older than the world, and of how it may act again (protocol.md R12, §8)."""

from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, swap
from tests.simulation.bugs.seed import Bug

from treasuryd.core import restore
from treasuryd.executor import quarantine as taking_up
from treasuryd.store import quarantine, reopening


def trust_it(patch: pytest.MonkeyPatch) -> None:
    swap(patch, quarantine, "find", lambda *_args, **_options: ())


def ignore_the_copy(patch: pytest.MonkeyPatch) -> None:
    edit(patch, reopening, "_look", ("if copies:", "if False:"))


def scan_the_chain_alone(patch: pytest.MonkeyPatch) -> None:
    edit(patch, taking_up, "_take_up", ("await store.adopt(page, void, held)", "pass"))


def leave_at_once(patch: pytest.MonkeyPatch) -> None:
    def nothing(_standing: Any, **_options: Any) -> tuple[str, ...]:
        return ()

    swap(patch, restore, "open_points", nothing)


def forget_that_something_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    swap(patch, quarantine, "_forgotten", lambda *_: False)


BUGS: Final = (
    Bug(
        name="restored_store_trusted",
        rule="R12",
        story="a store that is older than the signer's memory goes on as if it were the newest",
        plant=trust_it,
        world={"fragile": True, "uncopied": True, "often": (("back_up", 8.0), ("restore", 8.0))},
    ),
    Bug(
        name="restored_without_the_journal",
        rule="§8",
        story="what the journal's copy holds beyond a restored store is not replayed",
        plant=ignore_the_copy,
        world={"fragile": True, "often": (("back_up", 8.0), ("restore", 8.0))},
    ),
    Bug(
        name="restored_by_chain_scan",
        rule="§8",
        story="after a restore the chain is looked at, and what the signer bound is not adopted",
        plant=scan_the_chain_alone,
        world={"fragile": True, "uncopied": True, "often": (("back_up", 8.0), ("restore", 8.0))},
    ),
    Bug(
        name="quarantine_left_at_once",
        rule="§8",
        story="a person may end a quarantine while something is undecided",
        plant=leave_at_once,
        world={"fragile": True, "uncopied": True, "often": (("back_up", 8.0), ("restore", 8.0))},
    ),
    Bug(
        name="lost_nonces_overlooked",
        rule="§8",
        story="a whole machine was set back, and what used a nonce that it had returned holds no item",
        plant=forget_that_something_is_forgotten,
        world={
            "fragile": True,
            "rollbacks": True,
            "accounts": 1,
            "often": (("back_up", 0.5), ("back_up_in_its_work", 8.0), ("roll_back_machine", 8.0)),
        },
    ),
)
