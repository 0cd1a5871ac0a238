"""
The misconfiguration that nobody should run: two daemons, each with a store and a signer of its own, on one account.

Nothing they share could tell them apart but the chain. What is guaranteed there: a nonce pays once; whoever sees a nonce
consumed that is not its own stops for good (R14), with nothing paid twice of what it was told to pay. What is not: two
stores know nothing of each other's orders, so the same order given to both is two orders.
"""

import shutil
from pathlib import Path

import pytest
from tests.chaos.fleet import PAYER, Fleet, Program
from tests.chaos.witness import Witness
from tests.reach import ask, until


def order(one: Program, name: str, items: int) -> None:
    body = [
        {
            "destination": f"tb1{name}",
            "amount": 1_000 + place,
            "memo": f"{name} {place}",
            "scheduled_epoch": 1,
        }
        for place in range(items)
    ]
    status, said = ask(one.port, "POST", "/treasury/disbursements", {"items": body}, key=f"order-{name}")
    assert status == 201, said


def state_of(one: Program) -> tuple[str, str | None]:
    (row,) = ask(one.port, "GET", "/treasury/executor/status")[1]["accounts"]
    assert row["id"] == PAYER
    return row["state"], row["cause"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("lookup", [True, False], ids=["evidence HASH", "evidence BALANCE"])
def test_two_stores_on_one_account_freeze_rather_than_pay_on(lookup: bool, tmp_path: Path) -> None:
    """R14: the second one's first payment freezes the first; frozen, it sends nothing and pays nobody any more."""
    with Fleet(tmp_path, lookup=lookup, names="A") as fleet:
        witness = Witness(fleet)
        one = fleet.daemons[0]
        order(one, "first", 3)
        until("the first pays", lambda: len(witness.mined()) == 3, seconds=30)
        until("all is final", witness.ended, seconds=30)

        other = fleet.add("D")
        keys = fleet.folder / "D" / "signer"
        keys.mkdir(parents=True, mode=0o700)
        for file in (fleet.shared / "signer").glob("*"):
            if file.name in {f"{PAYER}.key", "credential"}:
                shutil.copy2(file, keys / file.name)
        other.started()
        order(other, "second", 2)
        until("the other pays", lambda: len(witness.mined()) == 5, seconds=30)
        until("the first freezes", lambda: state_of(one)[0] == "frozen", seconds=30)

        order(one, "third", 3)
        order(other, "fourth", 2)
        until("the other goes on", lambda: len(witness.mined()) == 7, seconds=30)
        memos = [row["memo"] for row in witness.mined()]
        assert len(memos) == len(set(memos))
        assert not [row for row in witness.offered() if row["memo"].startswith("third")]
        assert state_of(one)[0] == "frozen"
        assert state_of(other)[0] == "active"
        one.kill()
        one.started()
        assert state_of(one)[0] == "frozen"  # stored: no restart thaws it


@pytest.mark.timeout(180)
def test_two_stores_that_pay_at_the_same_moment_pay_each_nonce_once(tmp_path: Path) -> None:
    """Both begin at nonce 1: one transaction per nonce is included, and whoever lost one freezes."""
    with Fleet(tmp_path, lookup=True, names="AD") as fleet:
        witness = Witness(fleet)
        one, other = fleet.daemons
        for daemon, name in ((one, "left"), (other, "right")):
            order(daemon, name, 6)
        until("somebody freezes", lambda: "frozen" in {state_of(one)[0], state_of(other)[0]}, seconds=40)
        until("six or more are paid", lambda: len(witness.mined()) >= 6, seconds=40)
        mined = witness.mined()
        assert len({row["nonce"] for row in mined}) == len(mined)
        assert len({row["memo"] for row in mined}) == len(mined)
