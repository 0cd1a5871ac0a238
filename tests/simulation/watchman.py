"""What has to hold after every step of any history (protocol.md §10), seen from the wire, the store and the chain."""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson
from tests.auditing import audited
from tests.replaying import replays
from tests.simulation.disk import CHAIN_ID

from treasuryd.core.model import (
    AccountState,
    DisbursementId,
    Evidence,
    Held,
    Intent,
    NewDisbursement,
    State,
    Status,
    View,
)
from treasuryd.core.restore import Sign
from treasuryd.devnet.signatures import offer_of
from treasuryd.store import journal

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.machine import Process

UNDERWAY: Final = 45.0  # seconds: no request is delivered later
NO_SIGNATURE: Final = bytes(64)
REBUILT: Final = 8  # one of so many histories is rebuilt from its journal alone
AUDITED: Final = 4  # one of so many is held against the settlement audit
UNPAID: Final = {Status.DRAFT, Status.VOTING, Status.QUEUED, Status.ROLLED_BACK}
_LEFT: Final = (
    "SELECT i.state, d.cancel_requested IS NOT NULL, count(DISTINCT v.kind), max(v.tx_hash) FROM intent i "
    "JOIN variant v ON v.intent_id = i.id LEFT JOIN disbursement d ON d.id = i.disbursement_id "
    "WHERE i.step IS NOT NULL GROUP BY i.id"
)
DONE: Final = {Status.FINALIZED, Status.ROLLED_BACK}


class Watchman:
    """
    Sees every byte that leaves and every commit, and holds store and chain against each other.

    Guarantees: `check` costs nothing while neither store nor chain changed.
    """

    def __init__(self, history: "History") -> None:
        self.history = history
        self.items: dict[DisbursementId, NewDisbursement] = {}
        self.born: dict[DisbursementId, int] = {}  # height when it was submitted
        self.votes: defaultdict[DisbursementId, dict[str, str]] = defaultdict(dict)
        self.payloads: defaultdict[tuple[str, int], set[tuple[str, int, bytes]]] = defaultdict(set)
        self.offers: dict[str, Any] = {}  # what left once, decoded
        self.views: dict[str, View] = {}
        self.broken: list[str] = []  # found on the wire or at a commit, told at the next check
        self.deep = self.bent = self.robbed = self.restored = False
        self.senders: dict[str, str] = {}
        self.adopted: set[str] = (
            set()
        )  # hashes that the signer knew when it was restored, or that it imported then
        self.lost: set[DisbursementId] = set()  # paid, as people read on the chain, and nothing else knows it
        self.set_back_at: float | None = None  # when the whole machine was: what it did since no memory knows
        self.deepest: defaultdict[str, int] = defaultdict(int)  # by account: the highest nonce burned
        self.tallest = 0
        self.terms: dict[str, int] = {}
        self.settled = 0
        self.changed = True
        self._paid: defaultdict[str, int] = defaultdict(int)
        self._paid_at: tuple[int, int] = (-1, -1)

    # --- what is told to it --------------------------------------------------------------------------------

    def submitted(self, item: DisbursementId, row: NewDisbursement) -> None:
        self.items[item] = row
        self.born[item] = self._height()

    def voted(self, item: DisbursementId, signed: Any) -> None:
        self.votes[item][signed.key] = signed.decision

    def reorganised(self, depth: int) -> None:
        self._height()
        self.burned()
        if depth > self.history.rules.finality_depth:
            self.deep = True

    def was_restored(self) -> None:
        """The store is an older one now: what it says may be older, too. The signer's memory is as it was."""
        self.restored = True
        self.remembered()
        self.terms.clear()
        self.settled = 0
        self.changed = True

    def was_set_back(self) -> list[NewDisbursement]:
        """
        Store, signer and journal copy are all older ones now: what was bound since may be bound to something else.

        Nobody can know better: the promise that a nonce has one payload begins anew, the one about payments stays.
        Returns: what was submitted since, and is nowhere any more; another item may get its id.
        """
        self.adopted.clear()
        self.payloads.clear()
        self.was_restored()
        self.set_back_at = self.history.loop.now
        known = {row[0] for row in self.history.rows("SELECT id FROM disbursement")}
        lost = sorted(self.items.keys() - known)
        for item in lost:
            del self.born[item]
            self.votes.pop(item, None)
        return [self.items.pop(item) for item in lost]

    def unaccounted(self) -> bool:
        """
        Whether what the lost memories sent may still get into a block, as the runbook has a person find out.

        It may be on its way, or in a pool. The store does not know it; a person waits as long as pools keep anything, and
        looks into those that he can see.
        """
        history = self.history
        if self.set_back_at is None:
            return False
        history.ledger.purge(now=history.loop.now)
        known = {row[0] for row in history.rows("SELECT tx_hash FROM variant WHERE tx_hash IS NOT NULL")}
        return history.loop.now < self.set_back_at + UNDERWAY or any(
            offer.sender in history.accounts and offer.tx_id not in known
            for pool in history.ledger.pools
            for offer in pool
        )

    def remembered(self) -> None:
        """What the signer of a restored store knows now, also by import: the store adopts it, and it may leave (§8.4)."""
        ledger = self.history.ledger_disk.connection
        self.adopted |= {row[0] for row in ledger.execute("SELECT tx_hash FROM signature").fetchall()}

    def known_as_paid(self, item: DisbursementId) -> None:
        """Be told that a person cancelled it because the chain shows it paid, by what nobody remembers."""
        self.lost.add(item)

    def died(self, where: str) -> None:
        """What a crash left behind: the rows of the failure matrix that it injected (protocol.md §9)."""
        met = self.history.met
        if where == "inside stage":
            met["left inside staging"] += 1
        if self.history.rows("SELECT 1 FROM account WHERE state = 'frozen' LIMIT 1"):
            met["left frozen"] += 1
        if self.history.rows(
            "SELECT 1 FROM disbursement WHERE status = 'timelocked' AND live_intent IS NULL LIMIT 1"
        ):
            met["left before staging"] += 1
        mined, pooled = self.history.ledger.transactions, self.history.ledger.pooled
        for state, requested, kinds, tx_hash in self.history.rows(_LEFT):
            if requested and kinds == 2:
                met["left in the middle of a cancellation"] += 1
            if tx_hash in mined:
                met["left included, not recorded"] += 1
            elif state == State.STAGED:
                met["left staged, not sealed"] += 1
            elif state == State.SIGNED:
                met["left accepted, not recorded" if pooled(tx_hash) else "left sealed, not sent"] += 1

    def burned(self) -> None:
        """Remember which nonces were ever consumed at finality depth."""
        for account in self.history.accounts:
            holding = self.history.ledger.holding(account, lag=self.history.rules.finality_depth)
            if holding is not None:
                self.deepest[account] = max(holding[1], self.deepest[account])

    def viewed(self, process: "Process", view: View) -> None:
        self.views[process.name] = view

    def _height(self) -> int:
        height = self.history.ledger.height
        self.tallest = max(self.tallest, height)
        return height

    # --- the wire -------------------------------------------------------------------------------------------

    def leaves(self, process: "Process", body: bytes) -> None:
        """Every request that submits something, before any node or trouble sees it."""
        self._height()
        parsed = orjson.loads(body)
        for row in parsed if isinstance(parsed, list) else [parsed]:
            if row["method"] == "submit_tx":
                text = row["params"]["tx"]
                offer = self.offers.get(text)
                if offer is None:
                    offer = self.offers[text] = offer_of(bytes.fromhex(text))
                if offer.signature != NO_SIGNATURE:
                    self._payment_leaves(process, offer)

    def _payment_leaves(self, process: "Process", offer: Any) -> None:
        say = (
            f"{process.name} sent nonce {offer.nonce} of {offer.sender} to {offer.to} ({offer.memo.decode()})"
        )
        self.history.trace(say)
        self.history.met["sent"] += 1
        if self.senders.setdefault(offer.tx_id, process.name) != process.name:
            self.history.met["sent by a second process, too"] += 1
        stored = self.history.rows(
            "SELECT v.kind, i.state, i.disbursement_id FROM variant v JOIN intent i ON i.id = v.intent_id "
            "WHERE v.tx_hash = ?",
            offer.tx_id,
        )
        if len(stored) != 1:
            self.broken.append(f"{say}: not stored")
            return
        kind, state, item = stored[0]
        if state == State.VOID:
            self.broken.append(f"{say}: its intent is void")
        if offer.tx_id in self.adopted:
            return  # bound before the store was restored: these bytes may always leave again (§8)
        if item is not None:
            self._allowed(process, offer, say)  # fillers may leave in quarantine, too
        if kind == "payment":
            payloads = self.payloads[offer.sender, offer.nonce]
            payloads.add((offer.to, offer.amount, offer.memo))
            if len(payloads) > 1:
                self.broken.append(f"{say}: a second payload of that nonce {payloads}")
            self._in_time(DisbursementId(item), say)

    def _allowed(self, process: "Process", offer: Any, say: str) -> None:
        """Frozen or killed means that nothing is sent, as of the reading that the tick decided from."""
        view = self.views.get(process.name)
        state = next((one.state for one in view.accounts if one.id == offer.sender), None) if view else None
        if view is None or view.kill_switch or state is not AccountState.ACTIVE:
            self.broken.append(f"{say}: kill switch {view and view.kill_switch}, account {state}")

    def _in_time(self, item: DisbursementId, say: str) -> None:
        history, row = self.history, self.items[item]
        settled = self.history.rows("SELECT settled FROM chain")[0][0]
        status = self.history.rows("SELECT status FROM disbursement WHERE id = ?", item)[0][0]
        if status in UNPAID:
            self.broken.append(f"{say}: it is {status}")
        truly = max(0, self.tallest - history.rules.finality_depth) // history.rules.epoch_blocks
        if row.scheduled_epoch > settled or (not history.hasty and row.scheduled_epoch > truly):
            self.broken.append(
                f"{say}: scheduled for {row.scheduled_epoch}, settled {settled}, truly {truly}"
            )
        for needed in row.depends_on:
            found = self.history.rows("SELECT status FROM disbursement WHERE id = ?", needed)[0][0]
            if found != Status.FINALIZED and not self.deep:
                self.broken.append(f"{say}: it depends on {needed}, which is {found}")
        if row.proposal is not None:
            yes = sum(decision == "approve" for decision in self.votes[item].values())
            if yes < 2:
                self.broken.append(f"{say}: {yes} votes for it")
            opens = self.born[item] // history.rules.epoch_blocks + 2
            if truly < opens and not history.hasty and not self.bent:
                self.broken.append(f"{say}: its timelock ends in epoch {opens}, it is {truly}")

    # --- commits ----------------------------------------------------------------------------------------------

    def witness(self, _verb: Any, args: tuple[Any, ...]) -> Callable[[], None] | None:
        """Before an executor's write: when its lease has passed on, no row of that account may change (R13)."""
        held = next((one for one in args if isinstance(one, Held)), None)
        if held is None or not held.leases:
            return None
        now = {row[0]: row[1:] for row in self.history.rows("SELECT account, term, incarnation FROM lease")}
        lost = [a for a, own in held.leases.items() if now.get(a) != (own.term, own.incarnation)]
        if not lost:
            return None
        before = {account: self._content(account) for account in lost}
        self.history.met["fenced write"] += 1

        def afterwards() -> None:
            for account, rows in before.items():
                if self._content(account) != rows:
                    self.broken.append(f"{account} was written to under an old term")

        return afterwards

    def _content(self, account: str) -> list[Any]:
        return [
            self.history.rows(f"SELECT * FROM {table} WHERE {column} = ? ORDER BY 1, 2", account)
            for table, column in (
                ("intent", "account"),
                ("disbursement", "account"),
                ("account", "id"),
                ("beat", "account"),
                ("lease", "account"),
            )
        ]

    # --- store and chain --------------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at any time."""
        self._height()
        assert not self.broken, self.broken
        self._one_leader()
        ledger = self.history.ledger
        moved = self._paid_at != (ledger._fork, ledger.height)
        if not moved and not self.changed:
            return
        self.changed = False
        paid = self.paid()
        for item, status, prior, evidence in self.history.rows(
            "SELECT id, status, prior_tx, evidence FROM disbursement WHERE status IN ('finalized', 'rolled_back')"
        ):
            if self.restored and item not in self.items:
                continue
            memo = self.items[item].memo
            if status == Status.ROLLED_BACK and prior is None and not self.deep and not self._told_so(item):
                assert not paid[memo], f"{item} is rolled back and paid"
            if status == Status.FINALIZED and not self.deep and evidence != Evidence.PERSON:
                assert paid[memo] == 1, f"{item} is finalized and not paid"
        self._never_fall()

    def _told_so(self, item: DisbursementId) -> bool:
        """
        Whether a person rolled back what the hold `restored` said may have been paid: no memory says that it was.

        That takes the loss of all of them, store, ledger and copy: at once, or one after the other.
        """
        return item in self.lost or self.set_back_at is not None

    def paid(self) -> defaultdict[str, int]:
        """How often the canonical chain holds each payment; never more than once."""
        ledger = self.history.ledger
        at = (ledger._fork, ledger.height)
        if at != self._paid_at:
            self._paid_at = at
            paid = self._paid = defaultdict(int)
            for mined in ledger.transactions.values():
                if mined.offer.memo and mined.offer.sender in self.history.accounts:
                    paid[mined.offer.memo.decode()] += 1
            for memo, count in paid.items():
                assert count <= 1, f"{memo} was paid {count} times"
        return self._paid

    def _one_leader(self) -> None:
        """At no moment do two processes surely hold the same account."""
        holders: dict[str, str] = {}
        for machine in self.history.machines:
            process = machine.process
            if process is None or process.dead or process.mind is None:
                continue
            held = process.mind.held
            if held.leases and held.valid(machine.clock.boot_seconds()):
                for account in held.leases:
                    other = holders.setdefault(account, process.name)
                    assert other == process.name, f"{other} and {process.name} both hold {account}"

    def _never_fall(self) -> None:
        settled = self.history.rows("SELECT settled FROM chain")[0][0]
        assert settled >= self.settled, f"the settled epoch fell from {self.settled} to {settled}"
        self.settled = settled
        for account, term in self.history.rows("SELECT account, term FROM lease"):
            assert term >= self.terms.get(account, 0), f"the term of {account} fell"
            self.terms[account] = term

    def truth(self, intent: Intent) -> bool | None:
        """
        What a person sees in an explorer of the chain: paid or not, once it is at finality depth.

        After the whole machine was set back the hash may be one that the store does not know: its memo tells (§8).
        """
        ledger, k = self.history.ledger, self.history.rules.finality_depth
        for variant in intent.variants:
            mined = ledger.transactions.get(variant.tx_hash or "")
            if mined is not None:
                return bool(mined.offer.memo) if mined.index < ledger.height - k else None
        if self.unaccounted():
            return None
        if self.set_back_at is not None and intent.disbursement_id is not None:
            memo, at = self.items[intent.disbursement_id].memo.encode(), (intent.account, intent.nonce)
            for mined in ledger.transactions.values():
                if (mined.offer.sender, mined.offer.nonce) == at and mined.offer.memo == memo:
                    return True if mined.index < ledger.height - k else None
        holding = ledger.holding(intent.account, lag=k)
        return False if holding is not None and holding[1] >= intent.nonce else None

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self, *, all_done: bool) -> None:
        """What holds at the end, when nothing is wrong any more."""
        history = self.history
        connection = history.store_disk.connection
        for chain in ("people", *(f"account:{account}" for account in history.accounts)):
            journal.verify(connection, chain)
        if history.seed % REBUILT == 0:
            replays(connection)
        if history.seed % AUDITED == 0:
            found = audited(connection, history.rules, chain_id=CHAIN_ID)
            assert not found, f"the audit finds {found}"
        paid = self.paid()
        if not all_done:
            return
        items = self.history.rows(
            "SELECT id, status, hold, cancel_requested, prior_tx, evidence FROM disbursement"
        )
        stuck = [row[:4] for row in items if row[1] not in DONE]
        assert not stuck, (
            f"never final: {stuck} {[self._intents(row[0]) for row in stuck]} {self._accounts()}"
        )
        for item, status, _, _, prior, _ in items:
            due = status == Status.FINALIZED or prior is not None or item in self.lost
            memo = self.items[item].memo
            if self.set_back_at is not None and status == Status.ROLLED_BACK:
                continue  # nobody knew what it was when it was cancelled: once at most, which `paid` saw to
            assert paid[memo] == int(due), f"{item} is {status}, paid {paid[memo]}"
        self.all_there()
        assert self.booked(), [(*row, history.ledger.holding(row[0])) for row in self._accounts()]

    def all_there(self) -> None:
        """Whatever was answered as submitted is there: a restore brings back what the journal's copy holds (§8)."""
        history = self.history
        if history.settings.uncopied or self.forked():
            return
        known = {row[0] for row in history.rows("SELECT id FROM disbursement")}
        lost = sorted(item for item in self.items if item not in known)
        assert not lost, f"submitted, answered and lost: {lost}"

    def forked(self) -> bool:
        """Whether the journal's copy and a restored store both went on: then nobody can bring back everything."""
        found = self.history.rows("SELECT value FROM meta WHERE name = 'quarantine'")
        return any(Sign.JOURNAL_LOST in row[0] for row in found)

    def booked(self) -> bool:
        """Whether the books are what the chain shows."""
        history = self.history
        if history.hasty and history.kind is Evidence.BALANCE:
            return True  # a height that stands still while balances move has no intervals to book by
        for account, _state, booked, shown in self._accounts():
            truly = history.ledger.holding(account)
            if truly is None or (booked, shown) != (truly[0], truly[0]):
                return False
        return True

    def _accounts(self) -> list[Any]:
        return self.history.rows("SELECT id, state, booked, chain_balance FROM account")

    def _intents(self, item: int) -> list[Any]:
        return self.history.rows(
            "SELECT id, account, nonce, state, step, sent_at, height FROM intent WHERE disbursement_id = ?",
            item,
        )
