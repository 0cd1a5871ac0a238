"""What has to hold after every step of any history (protocol.md §10), seen from the wire, the store and the chain."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import orjson
from tests.replaying import replays

from treasuryd.core.model import (
    AccountState,
    DisbursementId,
    Evidence,
    Intent,
    NewDisbursement,
    State,
    Status,
    View,
)
from treasuryd.devnet.signatures import offer_of
from treasuryd.store import journal

if TYPE_CHECKING:
    from tests.histories.setting import Setting

NO_SIGNATURE = bytes(64)


class Watchman:
    """Sees every byte that leaves, and holds store and chain against each other."""

    def __init__(self, explorer: "Setting") -> None:
        self.explorer = explorer
        self.items: dict[DisbursementId, NewDisbursement] = {}
        self.born: dict[DisbursementId, int] = {}  # height when it was submitted
        self.votes: defaultdict[DisbursementId, dict[str, str]] = defaultdict(dict)
        self.payloads: defaultdict[tuple[str, int], set[tuple[str, int, bytes]]] = defaultdict(set)
        self.views: dict[str, View] = {}
        self.broken: list[str] = []  # found on the wire, told at the next check
        self.deep = self.bent = self.robbed = False
        self.tallest = 0
        self.terms: dict[str, int] = {}
        self.settled = 0
        self.unsynced = False

    # --- what is told to it --------------------------------------------------------------------------------

    def submitted(self, item: DisbursementId, row: NewDisbursement) -> None:
        self.items[item] = row
        self.born[item] = self._height()

    def voted(self, item: DisbursementId, signed: Any) -> None:
        self.votes[item][signed.key] = signed.decision

    def reorganised(self, depth: int) -> None:
        self._height()
        self.unsynced = True
        if depth > self.explorer.rules.finality_depth:
            self.deep = True

    def viewed(self, process: str, view: View) -> None:
        self.views[process] = view

    def _height(self) -> int:
        self.tallest = max(self.tallest, self.explorer.node.ledger.height)
        return self.explorer.node.ledger.height

    # --- the wire -------------------------------------------------------------------------------------------

    def leaves(self, process: str, body: bytes) -> None:
        """Every request, before any node or fault sees it."""
        self._height()
        parsed = orjson.loads(body)
        for row in parsed if isinstance(parsed, list) else [parsed]:
            if row["method"] == "submit_tx":
                offer = offer_of(bytes.fromhex(row["params"]["tx"]))
                if offer.signature != NO_SIGNATURE:
                    self._payment_leaves(process, offer)

    def _payment_leaves(self, process: str, offer: Any) -> None:
        say = f"{process} sent nonce {offer.nonce} of {offer.sender} to {offer.to} ({offer.memo.decode()})"
        self.explorer.trace(say)
        connection = self.explorer.sql._reader
        stored = connection.execute(
            "SELECT v.kind, i.state, i.disbursement_id, i.nonce FROM variant v JOIN intent i ON i.id = v.intent_id "
            "WHERE v.tx_hash = ?",
            (offer.tx_id,),
        ).fetchall()
        if len(stored) != 1:
            self.broken.append(f"{say}: not stored")
            return
        kind, state, item, _nonce = stored[0]
        if state == State.VOID:
            self.broken.append(f"{say}: its intent is void")
        self._allowed(process, offer, say)
        if kind == "payment":
            self.payloads[offer.sender, offer.nonce].add((offer.to, offer.amount, offer.memo))
            if len(self.payloads[offer.sender, offer.nonce]) > 1:
                self.broken.append(
                    f"{say}: a second payload of that nonce {self.payloads[offer.sender, offer.nonce]}"
                )
            self._in_time(DisbursementId(item), say)

    def _allowed(self, process: str, offer: Any, say: str) -> None:
        """Frozen or killed means that nothing is sent, as of the reading that the tick decided from."""
        view = self.views.get(process)
        state = next((one.state for one in view.accounts if one.id == offer.sender), None) if view else None
        if view is None or view.kill_switch or state is not AccountState.ACTIVE:
            self.broken.append(f"{say}: kill switch {view and view.kill_switch}, account {state}")

    def _in_time(self, item: DisbursementId, say: str) -> None:
        explorer, row = self.explorer, self.items[item]
        connection = explorer.sql._reader
        settled = connection.execute("SELECT settled FROM chain").fetchone()[0]
        status, *_ = connection.execute("SELECT status FROM disbursement WHERE id = ?", (item,)).fetchone()
        if status in {Status.DRAFT, Status.VOTING, Status.QUEUED, Status.ROLLED_BACK}:
            self.broken.append(f"{say}: it is {status}")
        truly = max(0, self.tallest - explorer.rules.finality_depth) // explorer.rules.epoch_blocks
        if row.scheduled_epoch > settled or (not explorer.hasty and row.scheduled_epoch > truly):
            self.broken.append(
                f"{say}: scheduled for {row.scheduled_epoch}, settled {settled}, truly {truly}"
            )
        for needed in row.depends_on:
            found = connection.execute("SELECT status FROM disbursement WHERE id = ?", (needed,)).fetchone()[
                0
            ]
            if found != Status.FINALIZED and not self.deep:
                self.broken.append(f"{say}: it depends on {needed}, which is {found}")
        if row.proposal is not None:
            yes = sum(decision == "approve" for decision in self.votes[item].values())
            if yes < 2:
                self.broken.append(f"{say}: {yes} votes for it")
            opens = self.born[item] // explorer.rules.epoch_blocks + 2
            if truly < opens and not explorer.hasty and not self.bent:
                self.broken.append(f"{say}: its timelock ends in epoch {opens}, it is {truly}")

    # --- store and chain --------------------------------------------------------------------------------------

    async def check(self) -> None:
        """What holds at any time."""
        self._height()
        assert not self.broken, self.broken
        explorer = self.explorer
        paid = self._paid()
        for memo, count in paid.items():
            assert count <= 1, f"{memo} was paid {count} times"
        connection = explorer.sql._reader
        for item, status, prior, evidence in connection.execute(
            "SELECT id, status, prior_tx, evidence FROM disbursement"
        ).fetchall():
            memo = self.items[item].memo
            if status == Status.ROLLED_BACK and prior is None and not self.deep:
                assert not paid[memo], f"{item} is rolled back and paid"
            if status == Status.FINALIZED and not self.deep and evidence != Evidence.PERSON:
                assert paid[memo] == 1, f"{item} is finalized and not paid"
        self._never_fall(connection)

    def _paid(self) -> defaultdict[str, int]:
        paid: defaultdict[str, int] = defaultdict(int)
        for mined in self.explorer.node.ledger.transactions.values():
            if mined.offer.memo and mined.offer.sender in self.explorer.accounts:
                paid[mined.offer.memo.decode()] += 1
        return paid

    def _never_fall(self, connection: Any) -> None:
        settled = connection.execute("SELECT settled FROM chain").fetchone()[0]
        assert settled >= self.settled, f"the settled epoch fell from {self.settled} to {settled}"
        self.settled = settled
        for account, term in connection.execute("SELECT account, term FROM lease").fetchall():
            assert term >= self.terms.get(account, 0), f"the term of {account} fell"
            self.terms[account] = term

    def truth(self, intent: Intent) -> bool | None:
        """What a person sees in an explorer of the chain: paid or not, once it is at finality depth."""
        ledger, k = self.explorer.node.ledger, self.explorer.rules.finality_depth
        hashes = {variant.tx_hash for variant in intent.variants}
        for tx_id, mined in ledger.transactions.items():
            if tx_id in hashes:
                deep = mined.index < ledger.height - k
                return bool(mined.offer.memo) if deep else None
        holding = ledger.holding(intent.account, lag=k)
        return False if holding is not None and holding[1] >= intent.nonce else None

    async def finish(self, *, all_done: bool) -> None:
        """What holds at the end, when nothing is wrong any more."""
        explorer = self.explorer
        connection = explorer.sql._reader
        for chain in ("people", *(f"account:{account}" for account in explorer.accounts)):
            await explorer.sql.read(journal.verify, chain)
        await explorer.sql.read(replays)
        paid = self._paid()
        rows = connection.execute(
            "SELECT id, status, hold, cancel_requested, prior_tx, evidence FROM disbursement"
        )
        items = rows.fetchall()
        if not all_done:
            return
        open_ = [row[:4] for row in items if row[1] not in {Status.FINALIZED, Status.ROLLED_BACK}]
        assert not open_, (
            f"never final: {open_} {[self._intents(row[0]) for row in open_]} {self._accounts()}"
        )
        for item, status, _, _, prior, _ in items:
            due = status == Status.FINALIZED or prior is not None
            assert paid[self.items[item].memo] == int(due), (
                f"{item} is {status}, paid {paid[self.items[item].memo]}"
            )
        if explorer.hasty and explorer.kind is Evidence.BALANCE:
            return  # a height that stands still while balances move has no intervals to book by
        for account, state, booked, shown in self._accounts():
            truly = explorer.node.ledger.holding(account)
            assert truly is not None
            assert state is not AccountState.QUARANTINED
            assert (booked, shown) == (truly[0], truly[0]), (
                f"books of {account}: {state} booked {booked} baseline {shown} chain {truly}"
            )

    def _accounts(self) -> list[Any]:
        return self.explorer.sql._reader.execute(
            "SELECT id, state, booked, chain_balance FROM account"
        ).fetchall()

    def _intents(self, item: int) -> list[Any]:
        return self.explorer.sql._reader.execute(
            "SELECT id, account, nonce, state, step, sent_at, height FROM intent WHERE disbursement_id = ?",
            (item,),
        ).fetchall()
