"""
What is true, seen from outside: the chain itself, what was ever offered to it, and the store, read without writing.

Nothing here believes what a daemon says of itself; the store is held against the chain, never the other way round.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from tests.chaos.clients import Client
from tests.chaos.fleet import FUNDS, PAYER, SINK, Fleet
from tests.matrix import Row

from treasuryd.core.model import AccountId
from treasuryd.store import journal, journal_copy

CHAINS = (journal.PEOPLE, journal.chain_of(AccountId(PAYER)))
ENDED = frozenset({"finalized", "rolled_back"})
ITEMS = "SELECT id, memo, destination, amount, status, hold, cancel_requested FROM disbursement ORDER BY id"
OPEN = """
    SELECT i.state, v.tx_hash, (SELECT count(*) FROM variant AS o WHERE o.intent_id = i.id AND o.tx_hash IS NOT NULL),
        d.cancel_requested
    FROM intent AS i JOIN variant AS v ON v.intent_id = i.id LEFT JOIN disbursement AS d ON d.id = i.disbursement_id
    WHERE i.state IN ('staged', 'signed', 'broadcast')"""


@dataclass(slots=True)
class Witness:
    """
    Looks at one fleet.

    Guarantees: `look` notices a term or a settled epoch that fell; `left_behind` says what a dead leader left only where
        nobody has led since.
    """

    fleet: Fleet
    terms: list[int] = field(default_factory=list)
    settled: int = 0
    looks: int = 0
    violations: list[str] = field(default_factory=list)

    def read(self, sql: str) -> list[Any]:
        """One query on the store, read-only; sqlite3.Error while a killed writer's journal waits to be rolled back."""
        link = sqlite3.connect(f"file:{self.fleet.store_file}?mode=ro", uri=True, timeout=2.0)
        try:
            return link.execute(sql).fetchall()
        finally:
            link.close()

    def look(self) -> None:
        """Terms and settled epoch never fall."""
        try:
            ((term,),) = self.read(f"SELECT term FROM lease WHERE account = '{PAYER}'")
            ((settled,),) = self.read("SELECT settled FROM chain")
        except sqlite3.Error:
            return
        self.looks += 1
        if self.terms and term < self.terms[-1]:
            self.violations.append(f"the term fell from {self.terms[-1]} to {term}")
        if settled < self.settled:
            self.violations.append(f"the settled epoch fell from {self.settled} to {settled}")
        if not self.terms or term > self.terms[-1]:
            self.terms.append(term)
        self.settled = max(self.settled, settled)

    def leader(self) -> int | None:
        """The pid that the lease names, whether or not it lives; None while nobody can say."""
        try:
            rows = self.read(f"SELECT holder, released FROM lease WHERE account = '{PAYER}'")
        except sqlite3.Error:
            return None
        return int(rows[0][0].rpartition("-")[2]) if rows and rows[0][0] and not rows[0][1] else None

    def left_behind(self, pid: int) -> Counter[Row]:
        """What a leader that was just killed left in the store, row by row of the failure matrix."""
        found: Counter[Row] = Counter()
        offered, mined = self.offered_ids(), {row["tx_id"] for row in self.mined()}
        try:
            open_ = self.read(OPEN)
            waiting = self.read(
                "SELECT count(*) FROM disbursement WHERE status = 'timelocked' AND live_intent IS NULL"
                " AND hold IS NULL AND cancel_requested IS NULL"
            )[0][0]
        except sqlite3.Error:
            return found
        if self.leader() != pid:
            return found  # somebody went on already: this is no longer what the dead one left
        for state, tx_hash, payloads, cancel in open_:
            if state == "staged" or tx_hash is None:
                found[Row.STAGED_NOT_SEALED] += 1
            elif state == "signed":
                found[Row.ACCEPTED_NOT_RECORDED if tx_hash in offered else Row.SEALED_NOT_SENT] += 1
            elif tx_hash in mined:
                found[Row.INCLUDED_NOT_RECORDED] += 1
            if cancel is not None and payloads > 1:
                found[Row.CANCELLATION_CRASH] += 1
        found[Row.BEFORE_STAGING] += waiting
        return Counter(
            {row: 1 for row, count in found.items() if count}
        )  # one death is one injection of a row

    # --- the chain's own word

    def mined(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.fleet.admin(show="transactions")["transactions"]
        return [row for row in rows if row["from"] == PAYER]

    def offered(self) -> list[dict[str, Any]]:
        """Every signed transaction that ever reached the chain's process; a kill of it may have torn the last line."""
        lines = self.fleet.offered.read_bytes().splitlines() if self.fleet.offered.exists() else []
        rows = [row for row in map(_row, lines) if row is not None]
        return [row for row in rows if not row["probe"] and row["from"] == PAYER]

    def offered_ids(self) -> set[str]:
        return {row["tx_id"] for row in self.offered()}

    def waiting(self) -> int:
        """How many disbursements are on their way; 0 while nobody can say."""
        try:
            return int(
                self.read(
                    "SELECT count(*) FROM disbursement WHERE status NOT IN ('finalized', 'rolled_back')"
                )[0][0]
            )
        except sqlite3.Error:
            return 0

    def on_their_way(self) -> list[int]:
        """Disbursements whose bytes are out, or may be; a few, and none while nobody can say."""
        try:
            rows = self.read(
                "SELECT disbursement_id FROM intent WHERE state IN ('signed', 'broadcast')"
                " AND disbursement_id IS NOT NULL ORDER BY nonce DESC LIMIT 3"
            )
        except sqlite3.Error:
            return []
        return [int(row[0]) for row in rows]

    def for_people(self) -> tuple[dict[int, bool], list[int]]:
        """What waits for a person: ambiguous items with whether the chain paid them, and items to be released."""
        try:
            doubtful = self.read(
                "SELECT d.id, d.memo FROM disbursement AS d JOIN intent AS i ON i.id = d.live_intent"
                " WHERE i.state = 'ambiguous'"
            )
            held = self.read(
                "SELECT id FROM disbursement WHERE hold = 'needs_release' AND live_intent IS NULL"
            )
        except sqlite3.Error:
            return {}, []
        paid = {row["memo"] for row in self.mined() if row["to"] != SINK} if doubtful else set()
        return {item: memo in paid for item, memo in doubtful}, [row[0] for row in held]

    def ended(self) -> bool:
        """Whether every disbursement of the store has come to its end."""
        try:
            return all(row[4] in ENDED for row in self.read(ITEMS))
        except sqlite3.Error:
            return False

    # --- the verdict

    def verdict(self, clients: Iterable[Client]) -> list[str]:
        """Everything that is not as protocol.md §10 wants it; empty when all is well."""
        clients = list(clients)
        wanted = {
            item["memo"]: item
            for client in clients
            for order in client.orders
            for item in order.items
            if order.ids
        }
        ids = {
            item["memo"]: id_
            for client in clients
            for order in client.orders
            for item, id_ in zip(order.items, order.ids, strict=False)
        }
        return [
            *self.violations,
            *(f"refused: {said}" for client in clients for said in client.refused),
            *self._wire(),
            *self._chain(wanted),
            *self._store(wanted, ids, set().union(*(client.cancelled for client in clients))),
            *self._books(),
            *self._journal(),
        ]

    def _wire(self) -> list[str]:
        """Each nonce one payment payload, each transaction one set of bytes, each payment one nonce."""
        found = []
        bytes_of, payloads, nonces = defaultdict(set), defaultdict(set), defaultdict(set)
        for row in self.offered():
            bytes_of[row["tx_id"]].add(row["bytes"])
            if row["to"] != SINK:
                payloads[row["nonce"]].add((row["to"], row["amount"], row["memo"]))
                nonces[row["memo"]].add(row["nonce"])
        void = {(memo, nonce) for memo, nonce in self.read(_VOID)}
        found += [
            f"transaction {tx} went out as {len(all_)} different bytes"
            for tx, all_ in bytes_of.items()
            if len(all_) > 1
        ]
        found += [f"nonce {nonce} has payments {all_}" for nonce, all_ in payloads.items() if len(all_) > 1]
        found += [
            f"{memo!r} was offered under nonces {sorted(all_)}"
            for memo, all_ in nonces.items()
            if len(all_ - {nonce for name, nonce in void if name == memo}) > 1
        ]
        return found

    def _chain(self, wanted: dict[str, dict[str, Any]]) -> list[str]:
        """What stands on the chain was wanted, with this content, once."""
        found, paid = [], Counter[str]()
        for row in self.mined():
            if row["to"] == SINK and row["amount"] == 1:
                continue
            item = wanted.get(row["memo"])
            if item is None:
                found.append(f"nobody wanted {row}")
                continue
            paid[row["memo"]] += 1
            if (row["to"], row["amount"]) != (item["destination"], item["amount"]):
                found.append(f"{item} was paid as {row}")
        return found + [f"{memo!r} was paid {times} times" for memo, times in paid.items() if times > 1]

    def _store(self, wanted: dict[str, Any], ids: dict[str, int], cancelled: set[int]) -> list[str]:
        """The store's word against the chain's: finalized is paid, rolled back is not, and nothing is lost."""
        found = []
        paid = {row["memo"] for row in self.mined() if row["to"] != SINK}
        rows = {row[1]: row for row in self.read(ITEMS)}
        found += [f"accepted and not in the store: {memo!r}" for memo in wanted.keys() - rows.keys()]
        found += [f"paid and not in the store: {memo!r}" for memo in paid - rows.keys()]
        for memo, (id_, _, destination, amount, status, hold, cancel) in rows.items():
            if memo in ids and (ids[memo], wanted[memo]["destination"], wanted[memo]["amount"]) != (
                id_,
                destination,
                amount,
            ):
                found.append(f"{memo!r} was answered as {ids[memo]} and stands as {id_} in the store")
            if status not in ENDED:
                found.append(f"{memo!r} is {status}, held {hold}, cancel {cancel}")
            elif (status == "finalized") != (memo in paid):
                found.append(f"{memo!r} is {status} and {'paid' if memo in paid else 'not paid'}")
            if status == "rolled_back" and id_ not in cancelled:
                found.append(f"{memo!r} was rolled back and nobody asked for it")
        if len(rows) != self.read("SELECT count(*) FROM disbursement")[0][0]:
            found.append("an order was taken twice")
        return found

    def _books(self) -> list[str]:
        """Paid + fees = balance change - funding; what we booked is what the chain holds."""
        ((booked, state, cause),) = self.read(
            f"SELECT booked, state, cause FROM account WHERE id = '{PAYER}'"
        )
        held = {row["address"]: row["balance"] for row in self.fleet.admin(show="accounts")["accounts"]}[
            PAYER
        ]
        spent = sum(row["amount"] + row["charge"] for row in self.mined())
        ((funding,),) = self.read(
            "SELECT coalesce(sum(delta), 0) FROM balance_event WHERE kind IN ('funding', 'unexplained') AND reversed = 0"
        )
        found = [] if state == "active" else [f"the account is {state}: {cause}"]
        if booked != held:
            found.append(f"our books say {booked}, the chain {held}")
        if held > FUNDS - spent + max(0, funding) or held < FUNDS - spent:
            found.append(f"of {FUNDS}, {spent} was spent and {held} is left; funding {funding}")
        return found

    def _journal(self) -> list[str]:
        """Both chains follow from their first entry, in the store and in each folder's copy of it."""
        link = sqlite3.connect(f"file:{self.fleet.store_file}?mode=ro", uri=True)
        try:
            for chain in CHAINS:
                journal.verify(link, chain)
                for folder in (self.fleet.shared / "journal", self.fleet.folder / "C" / "journal"):
                    sum(1 for _ in journal_copy.read_copy(folder, chain))  # reading verifies
                    if journal_copy.set_aside(folder):
                        return [
                            f"{folder}: a copy went on beyond the store: {journal_copy.set_aside(folder)}"
                        ]
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is a finding
            return [f"the journal: {problem}"]
        finally:
            link.close()
        return []


_VOID = """
    SELECT d.memo, i.nonce FROM intent AS i JOIN disbursement AS d ON d.id = i.disbursement_id WHERE i.state = 'void'"""


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found
