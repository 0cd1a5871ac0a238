"""
Promises beside those of §10: each rule of protocol.md that a history can break without anybody being paid twice.

They make visible what another rule would still catch: a second line of defence that is gone is a bug, too.
"""

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.watchman import Watchman

from treasuryd.core import breaker
from treasuryd.core.model import (
    AccountState,
    BaseUnits,
    BreakerMode,
    BreakerState,
    CallClass,
    DisbursementId,
    Evidence,
    FreezeCause,
    IntentId,
    NewDisbursement,
    Nonce,
    SignRequest,
    State,
    Term,
)
from treasuryd.signer import ledger, memory
from treasuryd.signer.policy import Policy

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.machine import Process

STRANGE: Final = 10**9  # an intent and a nonce that no history reaches
OFTEN: Final = 12  # as often the same bytes may leave one process at one height; once or twice is usual


class Promises(Watchman):
    """The watchman, with a closer look at what people asked, what cancels mean, the signer and the breakers."""

    def __init__(self, history: "History") -> None:
        super().__init__(history)
        self.chance = random.Random(history.seed * 31 + 7)
        self.wanted: set[DisbursementId] = set()  # a person cancelled it, or rolled it back
        self.asked_at: dict[DisbursementId, int] = {}  # its newest intent when its cancel was requested
        self.seen: dict[DisbursementId, int] = {}  # the epoch that was believed when it was submitted
        self.consumed: dict[str, int] = {}  # the highest count that the chain ever showed
        self.holders: dict[str, tuple[int, str]] = {}
        self.sample: SignRequest | None = None  # something that was signed once
        self.repeats: Counter[tuple[str, str, int]] = Counter()
        self.proved: set[int] = set()  # void intents whose proof was looked at
        self.judged: dict[int, Any] = {}  # by guard: its half-open breaker that was asked twice already

    def submitted(self, item: DisbursementId, row: NewDisbursement) -> None:
        super().submitted(item, row)
        believed = self.history.rows("SELECT believed FROM chain")[0][0]
        self.seen[item] = believed // self.history.rules.epoch_blocks

    def cancelled(self, item: DisbursementId) -> None:
        """Be told that a person's cancel of this item was taken: it will not be begun anew."""
        self.wanted.add(item)
        newest = self.history.rows("SELECT max(id) FROM intent WHERE disbursement_id = ?", item)[0][0]
        self.asked_at.setdefault(item, newest or 0)

    def rolled_back(self, item: DisbursementId) -> None:
        """Be told that a person rolled a paid item back."""
        self.wanted.add(item)

    def told_reorg(self, process: "Process") -> None:
        """Be told that a process saw a reorg: there was one, for lag is none (R9)."""
        met = self.history.met
        made = met["reorg"] + met["deep reorg"] + met["another chain"] + met["lie wrong_block"]
        if not made and not self.history.hasty:
            self.broken.append(f"{process.name} saw a reorg, and there was none")

    # --- the wire -------------------------------------------------------------------------------------------

    def _payment_leaves(self, process: "Process", offer: Any) -> None:
        super()._payment_leaves(process, offer)
        say = f"{process.name} sent nonce {offer.nonce} of {offer.sender} ({offer.memo.decode()})"
        at = (process.name, offer.tx_id, self.history.ledger.height)
        self.repeats[at] += 1
        if self.repeats[at] > OFTEN:
            self.broken.append(f"{say}: {OFTEN} times at one height: it spins")
        if len(self.history.accounts) == 1:
            self._permitted(process, say)
        if offer.tx_id not in self.adopted and not self.restored:
            self._beside_its_cancel(offer, say)

    def _permitted(self, process: "Process", say: str) -> None:
        """Nothing leaves through an open breaker; a call that it admits finds it half-open (§7)."""
        nodes = getattr(process.chain, "_nodes", ())
        open_ = [node.guards[CallClass.SEND]._breaker.state is BreakerState.OPEN for node in nodes]
        if nodes and all(open_):
            self.broken.append(f"{say}: every breaker is open")

    def _beside_its_cancel(self, offer: Any, say: str) -> None:
        """R3: after a cancel variant that alone; R7: without look-up nothing behind a nonce with two payloads."""
        rows = self.history.rows(
            "SELECT i.nonce FROM intent i JOIN variant v ON v.intent_id = i.id WHERE i.account = ? AND i.live = 1 "
            "AND i.state IN ('signed', 'broadcast') AND v.kind = 'cancel' AND v.tx_hash IS NOT NULL "
            "AND i.disbursement_id IS NOT NULL",
            offer.sender,
        )
        doubled = {row[0] for row in rows}
        if offer.memo and offer.nonce in doubled:
            self.broken.append(f"{say}: beside its cancel variant")
        if self.history.kind is not Evidence.BALANCE:
            return
        self._count(offer.sender)
        waits = [nonce for nonce in doubled if self.consumed[offer.sender] < nonce < offer.nonce]
        if waits:
            self.broken.append(f"{say}: behind nonce {min(waits)}, which has two payloads out")

    def _count(self, account: str) -> None:
        holding = self.history.ledger.holding(account)
        shown = holding[1] if holding is not None else 0
        self.consumed[account] = max(shown, self.consumed.get(account, 0))

    # --- at any time ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at any time."""
        for account in self.history.accounts:
            self._count(str(account))
        changed = self.changed
        super().check()
        self._breakers()
        if changed:
            self._people()
            self._voids()
            self._windows()
            self._poison()
            self._no_false_alarm()
            self._holders()
        if self.chance.random() < self.history.settings.probes:
            self._signer()

    def _people(self) -> None:
        """Nothing but a failed vote or a person ever rolls back, and what a person cancelled is not begun anew (§2)."""
        if self.restored:
            return
        # the word and no parameter: SQLite would compile a statement anew that may fit the word of a partial index
        for item, reason in self.history.rows(
            "SELECT id, reason FROM disbursement WHERE status = 'rolled_back'"
        ):
            assert item in self.wanted or reason == "quorum_not_reached", (
                f"{item} is rolled back, and nobody asked"
            )
        for item, newest in self.asked_at.items():
            found = self.history.rows("SELECT max(id) FROM intent WHERE disbursement_id = ?", item)[0][0]
            assert (found or 0) <= newest, f"{item} was begun anew although its cancel was requested"

    def _voids(self) -> None:
        """A payment is void by a burned nonce only once that nonce is consumed at finality depth (R5 a)."""
        found = [
            row
            for row in self.history.rows(
                "SELECT id, account, nonce FROM intent WHERE state = 'void' AND proof = 'burned'"
            )
            if row[0] not in self.proved
        ]
        if not found or self.history.hasty or self.deep or self.restored:
            return
        self.burned()
        for intent, account, nonce in found:
            self.proved.add(intent)
            assert nonce <= self.deepest[account], (
                f"intent {intent} is void, and its nonce {nonce} of {account} is not burned"
            )

    def _poison(self) -> None:
        """Poisoned means refused for its content so often in a row (R8)."""
        for item, times in self.history.rows(
            "SELECT d.id, sum(v.attempts) FROM disbursement d JOIN variant v ON v.intent_id = d.live_intent "
            "WHERE d.hold = 'poisoned' AND v.kind = 'payment' GROUP BY d.id"
        ):
            least = self.history.rules.poison_refusals
            assert times >= least, f"{item} is poisoned, and was offered {times} times, not {least}"

    def thawed(self, account: str, following: int | None, above: int | None, shown: int) -> None:
        """Be told that a person thawed it: no stranger's nonce is consumed and not burned (R14)."""
        self.burned()
        deep = self.deepest[account]
        foreign = {
            nonce
            for nonce in (above, shown if following is not None and following <= shown else None)
            if nonce
        }
        early = [nonce for nonce in foreign if deep < nonce <= shown]
        assert not early or self.history.hasty or self.deep, (
            f"{account} is thawed, and the stranger's nonces {early} may still leave the chain"
        )

    def left(self, account: str) -> None:
        """
        Be told that a person ended its quarantine: everything is decided by then (§8).

        But for the first nonce that only a new signature brings on, which no quarantine gives, and what waits behind it.
        """
        rows = self.history.rows(
            "SELECT i.nonce, i.state, d.cancel_requested IS NOT NULL OR coalesce(d.hold = 'poisoned', 0), "
            "count(v.kind) FILTER (WHERE v.kind = 'cancel'), "
            "count(v.kind) FILTER (WHERE v.last_meaning = 'fee_too_low') "
            "FROM intent i LEFT JOIN disbursement d ON d.id = i.disbursement_id "
            "LEFT JOIN variant v ON v.intent_id = i.id WHERE i.account = ? AND i.live = 1 AND i.state IN "
            "('staged', 'signed', 'broadcast', 'included', 'ambiguous') GROUP BY i.id ORDER BY i.nonce",
            account,
        )
        undecided = []
        for nonce, state, replaced, cancels, refused in rows:
            if state in (State.SIGNED, State.BROADCAST) and ((replaced and not cancels) or refused):
                break
            undecided.append((nonce, state))
        assert not undecided, f"{account} left its quarantine, and undecided are {undecided}"

    def _windows(self) -> None:
        """What opens a window is counted from the seen epoch, which never lies behind what was once believed (§2)."""
        for item, deadline, ends in self.history.rows(
            "SELECT id, vote_deadline_epoch, activation_epoch FROM disbursement WHERE activation_epoch IS NOT NULL"
        ):
            assert ends > deadline, f"{item}: its vote ends by {deadline}, its timelock by {ends}"
        for item, deadline in self.history.rows(
            "SELECT id, vote_deadline_epoch FROM disbursement WHERE vote_deadline_epoch IS NOT NULL"
        ):
            seen = self.seen.get(item)
            if seen is not None and not self.restored:
                assert deadline > seen, (
                    f"{item}: its vote ends by {deadline}, and epoch {seen} was seen before it opened"
                )

    def _no_false_alarm(self) -> None:
        """An account freezes for a cause: lag, dust and ordinary reorgs are none (R9, R14)."""
        for account, cause in self.history.rows(
            "SELECT id, cause FROM account WHERE state = ?", AccountState.FROZEN
        ):
            if cause == FreezeCause.DEEP_REORG:
                several = self.history.met["reorg"] > 1  # they add up
                assert self.deep or several or self.restored or self.history.hasty, (
                    f"{account} is frozen for a reorg that was not deep"
                )
            if cause in {FreezeCause.UNEXPLAINED_FALL, FreezeCause.FOREIGN_NONCE}:
                stranger = self.robbed or self.deep or self.restored or self.history.met["used before"]
                stranger = stranger or self.history.met["lie unknown_tx"]  # ours, and nobody knows it
                if (
                    cause == FreezeCause.UNEXPLAINED_FALL
                ):  # a deposit before the first reading, which a reorg took
                    stranger = stranger or self.history.met["reorg"]
                assert stranger or self.history.lost_ledger is not None or self.history.hasty, (
                    f"{account} is frozen for a stranger ({cause}), and there was none"
                )

    def _holders(self) -> None:
        """Each change of a lease's holder raises its term (§6.1)."""
        for account, term, incarnation in self.history.rows("SELECT account, term, incarnation FROM lease"):
            before = self.holders.get(account)
            if before is not None and before[1] != incarnation and not self.restored:
                assert term > before[0], f"{account} has another holder under term {term}"
            self.holders[account] = (term, incarnation)

    def _breakers(self) -> None:
        """A half-open breaker has leave for one call at a time (§7)."""
        for machine in self.history.machines:
            chain = getattr(machine.process, "chain", None)
            for node in getattr(chain, "_nodes", ()):
                for guard in node.guards.values():
                    found = guard._breaker
                    if found.state is BreakerState.CLOSED or found.mode is not BreakerMode.AUTO:
                        continue
                    if self.judged.get(id(guard)) is found:
                        continue  # it answers the same at any time
                    now = machine.clock.boot_seconds()
                    after, first = breaker.ask(found, now=now)
                    _, second = breaker.ask(after, now=now)
                    assert first is None or second is None, (
                        f"{node.name}: a half-open breaker lets two calls through"
                    )
                    if found.state is BreakerState.HALF_OPEN and found.probe is None:
                        self.judged[id(guard)] = found

    def _signer(self) -> None:
        """The signer refuses a second payload, a stale term, and everything once it has lost its memory (R11)."""
        connection = self.history.ledger_disk.connection
        account = self.chance.choice(self.history.accounts)
        marks = ledger.marks(connection).get(account)
        if self.sample is not None:
            self._forgetful(self.sample)
        if marks is None or marks.nonce == 0:
            return
        first = Nonce(self.chance.randint(1, marks.nonce))
        bound = next(iter(ledger.bindings(connection, account, first, 1)), None)
        if bound is None or bound.request.disbursement_id is None:
            return
        self.sample = bound.request
        request, item, other = bound.request, bound.request.disbursement_id, IntentId(STRANGE)
        questions = {
            "another intent under its nonce": replace(request, intent_id=other),
            "its disbursement under another nonce": replace(request, intent_id=other, nonce=Nonce(STRANGE)),
            "another amount": replace(request, amount=BaseUnits(request.amount + 1)),
        }
        for what, question in questions.items():
            known = ledger._load(connection, [question])
            if what.startswith("its disbursement") and not (known.others.get(item, set()) - known.void):
                continue
            assert self._refuses(known, question, marks.term), (
                f"the signer would sign {what}: {request.nonce} of {account}"
            )
        if marks.term > 1:
            known = ledger._load(connection, [request])
            stale = Term(marks.term - 1)
            assert self._refuses(known, replace(request, term=stale), stale), (
                f"the signer would sign under term {stale}"
            )

    def _forgetful(self, sample: SignRequest) -> None:
        """Ask for a new payment where the store is known to have sealed more than this ledger holds."""
        question = replace(
            sample, intent_id=IntentId(STRANGE), nonce=Nonce(STRANGE), disbursement_id=DisbursementId(STRANGE)
        )
        known = ledger._load(self.history.ledger_disk.connection, [question])
        remembered = known.accounts.get(sample.account, memory.NOTHING)
        if remembered.lost:
            term = max(remembered.marks.term, sample.term)
            assert self._refuses(known, question, term), (
                f"the signer lost its memory of {sample.account}, and would sign"
            )

    def _refuses(self, known: memory.Known, request: Any, term: Term) -> bool:
        policy: Policy = self.history.open_policy
        judged = memory.judge(
            request, memory.content_of(request), known, term=term, policy=policy, accounts={request.account}
        )
        return isinstance(judged, memory.Refusal)
