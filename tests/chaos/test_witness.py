"""The judge of the campaigns can find against them: each thing that must never be is said when it is there."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.chaos.clients import Client, Order
from tests.chaos.fleet import FUNDS, PAYER, Fleet
from tests.chaos.witness import Witness

from treasuryd.store.migrations import prepare

PAID = {"from": PAYER, "nonce": 1, "to": "tb1a", "amount": 5, "memo": "rent", "tx_id": "t1", "charge": 2}


class Chain(Fleet):
    """A fleet that never starts: what its chain says is set by the test."""

    def __init__(self, folder: Path, *mined: dict[str, Any], balance: int) -> None:
        super().__init__(folder, lookup=True)
        self.mined, self.balance = list(mined), balance
        self.shared.mkdir()
        link = sqlite3.connect(self.store_file, isolation_level=None)
        link.execute("BEGIN")
        prepare(link, chain_id=1, lineage="l")
        link.execute("COMMIT")
        link.execute("INSERT INTO account (id, booked) VALUES (?, ?)", (PAYER, FUNDS - 7))
        link.close()

    def admin(self, **command: object) -> Any:
        return {"transactions": self.mined, "accounts": [{"address": PAYER, "balance": self.balance}]}

    def offers(self, *rows: dict[str, Any]) -> None:
        lines = [orjson.dumps({"bytes": "b", "probe": False, **PAID, **row}) for row in rows]
        self.offered.write_bytes(b"\n".join(lines))


def findings(chain: Chain) -> str:
    client = Client(chain, "x", waiting=lambda: 0)
    client.orders.append(
        Order(key="k", items=[{"memo": "rent", "destination": "tb1a", "amount": 5}], ids=[1])
    )
    return "\n".join(Witness(chain).verdict([client]))


@pytest.mark.parametrize(
    ("offers", "found"),
    [
        ([{}, {}], ""),
        ([{}, {"tx_id": "t2", "amount": 6}], "nonce 1 has payments"),
        ([{}, {"bytes": "others"}], "went out as 2 different bytes"),
        ([{}, {"tx_id": "t2", "nonce": 2}], "was offered under nonces [1, 2]"),
        ([{}, {"tx_id": "t2", "fee": 9}], ""),
        ([{}, {"tx_id": "t2", "to": "treasury-sink", "amount": 1, "memo": ""}], ""),
    ],
    ids=["sent again", "two payloads", "other bytes", "two nonces", "a fee bump", "a cancellation"],
)
def test_what_was_offered_is_judged(offers: list[dict[str, Any]], found: str, tmp_path: Path) -> None:
    """A nonce has one payment, a transaction one set of bytes, a payment one nonce."""
    chain = Chain(tmp_path, balance=FUNDS - 7)
    chain.offers(*offers)
    said = findings(chain)
    assert found in said
    assert found or not any(word in said for word in ("offered", "nonce", "bytes"))


@pytest.mark.parametrize(
    ("mined", "found"),
    [
        ([PAID, PAID], "was paid 2 times"),
        ([PAID | {"amount": 6}], "was paid as"),
        ([PAID | {"memo": "nobody's"}], "nobody wanted"),
        ([PAID], "paid and not in the store"),
        ([], "accepted and not in the store"),
    ],
)
def test_what_was_paid_is_judged(mined: list[dict[str, Any]], found: str, tmp_path: Path) -> None:
    """Twice, otherwise, unasked, unknown to us, or lost."""
    assert found in findings(Chain(tmp_path, *mined, balance=FUNDS - 7))


def test_books_that_are_not_the_chains_are_found(tmp_path: Path) -> None:
    """One unit is enough."""
    assert "our books say" in findings(Chain(tmp_path, PAID, balance=FUNDS - 8))


def test_a_term_that_falls_is_found(tmp_path: Path) -> None:
    """Looked at from one moment to the next."""
    chain = Chain(tmp_path, balance=FUNDS)
    witness = Witness(chain)
    link = sqlite3.connect(chain.store_file, isolation_level=None)
    link.execute("INSERT INTO lease (account, term) VALUES (?, 5)", (PAYER,))
    link.execute("INSERT OR IGNORE INTO chain (only, chain_id) VALUES (1, 1)")
    witness.look()
    link.execute("UPDATE lease SET term = 4")
    link.close()
    witness.look()
    assert witness.violations == ["the term fell from 5 to 4"]
