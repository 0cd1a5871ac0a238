"""What people do in a history: submit, vote, cancel, freeze, thaw, release, judge by what is true."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.simulation.disk import CHAIN_ID, Killed
from tests.world import AMOUNT, new

from treasuryd.commands import control, disbursements, quarantine
from treasuryd.commands import proposals as ballots
from treasuryd.commands.fields import Person
from treasuryd.core.model import (
    AccountId,
    AccountState,
    BaseUnits,
    BreakerMode,
    CallClass,
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Endpoint,
    FreezeCause,
    Hold,
    House,
    HouseName,
    NewDisbursement,
    Proposal,
    State,
    Status,
)
from treasuryd.core.proposals import vote_message
from treasuryd.errors import Corrupt, Rejected
from treasuryd.ports import Submission

if TYPE_CHECKING:
    from tests.simulation.history import History

DESTINATIONS: Final = ("tb1alice", "tb1bob", "tb1carol", "tb1dave")
AMOUNTS: Final = (AMOUNT, AMOUNT, AMOUNT, 3_000_000, 7_000_000, 20_000, 1_200)
EDWARD: Final = Person(who="edward", reason="a person decided")
DONE: Final = {Status.EXECUTED, Status.FINALIZED, Status.ROLLED_BACK}
RELEASED: Final = {Hold.NEEDS_RELEASE, Hold.REFUSED, Hold.POISONED, Hold.APPROVAL_LOST}
VOTERS: Final = [Ed25519PrivateKey.from_private_bytes(bytes([40 + place]) * 32) for place in range(4)]


_STANDS: Final = "SELECT next_nonce, thaw_above, chain_nonce FROM account WHERE id = ?"
_IN_QUARANTINE: Final = "SELECT 1 FROM account WHERE state = 'quarantined' LIMIT 1"
_DECLARED: Final = "SELECT 1 FROM meta WHERE name = 'quarantine' AND value LIKE '%\"declared\"%'"
_FOR_PEOPLE: Final = (
    "SELECT 1 FROM account WHERE state = 'frozen' UNION ALL SELECT 1 FROM disbursement WHERE hold IS NOT NULL "
    "UNION ALL SELECT 1 FROM intent WHERE state = 'ambiguous' LIMIT 1"
)


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


PUBLIC: Final = [_public(key) for key in VOTERS]
HOUSES: Final = {
    name: House(name=name, keys=dict.fromkeys(PUBLIC[2 * at : 2 * at + 2], 1))
    for at, name in enumerate(HouseName)
}


class People:
    """Everybody who gives orders. Their console is a process of its own, which may die at any statement."""

    def __init__(self, history: "History") -> None:
        self.history = history
        self.chance = history.chance
        self.made: list[Any] = []
        self.requests = 0
        self.killed = False
        self.lost: list[NewDisbursement] = []  # submitted after a snapshot that was put back

    async def ask(self) -> None:
        """Somebody submits a few items, perhaps with dependencies, schedules and proposals, perhaps twice."""
        rows = [self._item(place) for place in range(self.chance.choice((1, 1, 2, 3)))]
        self.requests += 1
        key = f"request-{self.requests}"
        items = tuple(
            replace(row, idempotency_key=f"{key}#{place}", request_digest=Digest(f"{key}-{place}"))
            for place, row in enumerate(rows)
        )
        request = Submission(key=key, request_digest=Digest(key), items=items)
        history = self.history
        for attempt in range(2):
            try:
                done = await history.desk.submit(request, now=history.console_clock.unix_seconds())
            except Rejected as refusal:
                history.trace(f"refused at intake: {refusal}")
                return
            except (Killed, Corrupt):
                history.trace("the console died over a submission")
                continue  # the caller does not know, and asks the same again
            if attempt or self.chance.random() > 0.1:
                break
            history.met["submitted twice"] += 1
        else:
            done = await history.desk.submit(request, now=history.console_clock.unix_seconds())
        ids = [item.id for item in done.items]
        self.made += ids
        for item, row in zip(ids, rows, strict=True):
            history.watchman.submitted(item, row)
            history.trace(f"submitted {item}: {row.amount} of {row.account} to {row.destination}")

    def _item(self, place: int) -> NewDisbursement:
        chance, draw = self.chance, self.chance.random
        number = len(self.made) + place + 1
        if self.history.settings.alike:
            return new(f"item-{self.requests}-{number}", to=DESTINATIONS[0], account=self.history.accounts[0])
        return new(
            f"item-{self.requests}-{number}",
            to=chance.choice(DESTINATIONS) if draw() < 0.7 else f"tb1to{number}",
            amount=chance.choice(AMOUNTS),
            account=chance.choice(self.history.accounts),
            depends_on=chance.sample(self.made, 1) if self.made and draw() < 0.25 else (),
            scheduled=self.history.epoch + chance.choice((1, 2, 4)) if draw() < 0.2 else 0,
            proposal=Proposal(title="a", summary="b", vote_window_epochs=1, timelock_epochs=1)
            if draw() < 0.25
            else None,
        )

    async def items(self) -> list[Disbursement]:
        return [item for item in await self.history.desk.get(self.made) if item is not None]

    async def vote(self) -> None:
        """The voters of one open vote have their say."""
        voting = [item for item in await self.items() if item.status is Status.VOTING]
        if not voting:
            return
        item = self.chance.choice(voting)
        decision = Decision.APPROVE if self.chance.random() < 0.85 else Decision.REJECT
        message = vote_message(
            chain_id=CHAIN_ID,
            disbursement_id=item.id,
            digest=item.payload_digest,
            counter=0,
            decision=decision,
        )
        for place, key in enumerate(VOTERS):
            if self.chance.random() < 0.75:
                signed = ballots.Signed(
                    house=list(HouseName)[place // 2],
                    key=PUBLIC[place],
                    counter=0,
                    decision=decision,
                    signature=key.sign(message).hex(),
                )
                with suppress(Rejected):
                    await ballots.take(self.history.office, item.id, signed)
                    self.history.watchman.voted(item.id, signed)
        self.history.met["vote"] += 1
        self.history.trace(f"votes on {item.id}: {decision}")

    async def cancel_some(self) -> None:
        items = [item for item in await self.items() if item.status is not Status.FINALIZED]
        if items:
            chosen = self.chance.choice(items)
            await self.cancel(chosen.id)

    async def cancel(self, item: DisbursementId) -> None:
        """Somebody cancels it."""
        rows = await disbursements.cancel(self.history.office, (item,), EDWARD)
        self.history.met["cancel"] += rows[0].done
        if rows[0].done:
            self.history.watchman.cancelled(item)
        self.history.trace(f"cancel {item}: {rows[0].what}")

    async def roll_back_some(self) -> None:
        for item in await self.items():
            if item.status is Status.EXECUTED:
                with suppress(Rejected):
                    await disbursements.rollback(self.history.office, item.id, EDWARD)
                    self.history.watchman.rolled_back(item.id)
                    self.history.met["rollback"] += 1
                    self.history.trace(f"rolled {item.id} back in its window")
                return

    async def freeze_some(self) -> None:
        await self.freeze(self.chance.choice(self.history.accounts))

    async def freeze(self, account: AccountId) -> None:
        """Somebody freezes it."""
        with suppress(Rejected):
            await control.freeze(self.history.office, account, EDWARD)
            self.history.met["freeze"] += 1
            self.history.trace(f"a person freezes {account}")

    async def switch(self) -> None:
        """The kill switch, on or off."""
        self.killed = not self.killed
        await self.force(BreakerMode.FORCED_OPEN if self.killed else BreakerMode.AUTO)

    async def force(self, mode: BreakerMode) -> None:
        self.killed = mode is BreakerMode.FORCED_OPEN
        self.history.met["kill switch"] += self.killed
        await control.force_breaker(self.history.office, Endpoint("*"), CallClass.SEND, mode, EDWARD)
        self.history.trace(f"kill switch {mode}")

    async def announce(self, account: Any, amount: int) -> None:
        with suppress(Rejected):
            await control.announce(self.history.office, account, BaseUnits(amount), EDWARD)

    async def decide_some(self, *, eager: float = 0.7) -> None:
        """People do what is theirs: thaw, judge what is ambiguous by what is true, release what is held."""
        if not self.history.rows(_FOR_PEOPLE):
            return
        for account in await self.history.desk.accounts():
            if account.state is AccountState.FROZEN and self.chance.random() < eager:
                await self._thaw(account.id, account.cause)
        for item in await self.items():
            if item.status not in DONE and (item.live_intent or item.hold) and self.chance.random() < eager:
                await self._decide(item)

    async def _thaw(self, account: Any, cause: str) -> None:
        if cause == FreezeCause.DEEP_REORG and not self.history.ended:
            return
        before = self.history.rows(_STANDS, account)[0]
        with suppress(Rejected):
            await control.thaw(self.history.office, account, EDWARD)
            after = self.history.rows(_STANDS, account)[0]
            shown = min(before[2] or 0, after[2] or 0)  # a reorg that was seen meanwhile takes the nonce away
            self.history.watchman.thawed(account, before[0], before[1], shown)
            self.history.met[f"thaw after {cause}"] += 1
            self.history.trace(f"thawed {account} ({cause})")

    async def _decide(self, item: Disbursement) -> None:
        history = self.history
        if item.hold in RELEASED and not item.live_intent:
            if item.hold is Hold.REFUSED and history.strict:
                return
            if history.watchman.set_back_at is not None and await self._paid_since(item):
                return
            rows: Sequence[Any] = await disbursements.release(history.office, (item.id,), EDWARD)
            history.met[f"release {item.hold}"] += rows[0].done
            history.trace(f"release {item.id} ({item.hold}): {rows[0].what} {rows[0].detail}")
        elif item.hold is Hold.DEPENDENCY_FAILED:
            rows = await disbursements.cancel(history.office, (item.id,), EDWARD)
            if rows[0].done:
                history.watchman.cancelled(item.id)
            history.trace(f"cancel {item.id}: its dependency failed")
        elif item.live_intent:
            intent = (await history.desk.intents(item.id))[-1]
            if intent.state is State.AMBIGUOUS:
                await self._judge(item, history.watchman.truth(intent))

    async def _judge(self, item: Disbursement, truth: bool | None) -> None:
        if truth is None:
            return
        history = self.history
        rows = await disbursements.resolve(history.office, (item.id,), paid=truth, by=EDWARD)
        history.met["resolve"] += rows[0].done
        history.trace(f"resolve {item.id} paid={truth}: {rows[0].what} {rows[0].detail}")

    # --- after a loss -----------------------------------------------------------------------------------------

    async def declare(self) -> None:
        """Say that the machine was set back, before any daemon starts (docs/runbooks/quarantine.md)."""
        await quarantine.declare(self.history.office, EDWARD)
        self.history.met["quarantine declared"] += 1
        self.history.trace("a person declares that the machine was set back")

    def forget(self, lost: list[NewDisbursement]) -> None:
        """What was submitted after the snapshot is nowhere any more; those who submitted it still know it."""
        self.lost = [row for row in lost if not row.depends_on]
        known = {row[0] for row in self.history.rows("SELECT id FROM disbursement")}
        self.made = [item for item in self.made if item in known]

    async def _paid_since(self, item: Disbursement) -> bool:
        """
        Before a release after the whole machine was set back: wait, look at the chain, cancel what is paid there.

        Whatever the store says of it: the lost memories may have paid it later, under a nonce that the store does not know.
        """
        history = self.history
        if history.watchman.unaccounted():
            return True
        if not history.watchman.paid()[item.memo]:
            return False
        rows = await disbursements.cancel(history.office, (item.id,), EDWARD)
        if rows[0].done:
            history.watchman.cancelled(item.id)
            history.watchman.known_as_paid(item.id)
            history.met["cancel restored"] += 1
        history.trace(f"cancel {item.id}, which was paid by what was forgotten: {rows[0].what}")
        return True

    async def leave_quarantine(self) -> None:
        """Have the signer import what it lost, fill what nobody knows, judge, and let the accounts act again (§8)."""
        history, office = self.history, self.history.office
        if not history.settings.fragile and not history.rows(_IN_QUARANTINE):
            return  # nothing was lost
        states = {account.id: account.state for account in await history.desk.accounts()}
        sealed = await office.world.desk.sealed_marks(list(states))
        for account in await office.world.signer.recall(sealed):
            with suppress(Rejected):
                give_up = states[account] is AccountState.QUARANTINED
                done = await quarantine.import_bindings(office, account, EDWARD, give_up=give_up)
                history.trace(f"the signer imports {done} bindings of {account}")
                history.met["import"] += 1
                if history.watchman.restored and give_up:
                    history.watchman.remembered()
        for account, state in states.items():
            if state is AccountState.QUARANTINED:
                await self._leave(account)
        if history.watchman.restored:
            await self._release_restored()
        if self.lost and not history.watchman.unaccounted():
            await self._repeat_lost()

    async def _leave(self, account: Any) -> None:
        history, office = self.history, self.history.office
        if history.rows("SELECT 1 FROM breaker_override WHERE mode <> 'auto'"):
            await self.force(BreakerMode.AUTO)
        with suppress(Rejected):
            await quarantine.fill(office, account, EDWARD)
            history.trace(f"filled what nobody knows of {account}")
            history.met["fill"] += 1
        if history.watchman.unaccounted() and not history.rows(_DECLARED):
            return  # nothing is held, so nothing may act before all that was sent is in a block, or gone
        try:
            await quarantine.resolve(office, account, EDWARD)
        except Rejected as refusal:
            history.trace(f"{account} stays in quarantine: {refusal}")
            return
        history.watchman.left(account)
        history.met["quarantine resolved"] += 1
        history.trace(f"{account} leaves its quarantine")

    async def _repeat_lost(self) -> None:
        """Whoever submitted what is nowhere any more does it again, where the chain does not show it as paid."""
        history, paid = self.history, self.history.watchman.paid()
        rows = [row for row in self.lost if not paid[row.memo]]
        self.lost = []
        key = f"repeated-{self.requests}"
        items = tuple(
            replace(
                row, idempotency_key=f"{key}#{place}", request_digest=Digest(f"{key}-{place}"), proposal=None
            )
            for place, row in enumerate(rows)
        )
        if not items:
            return
        try:
            done = await history.desk.submit(
                Submission(key=key, request_digest=Digest(key), items=items),
                now=history.console_clock.unix_seconds(),
            )
        except Rejected as refusal:
            history.trace(f"refused at intake: {refusal}")
            self.lost = rows
            return
        for item, row in zip(done.items, items, strict=True):
            self.made.append(item.id)
            history.watchman.submitted(item.id, row)
            history.met["submitted again"] += 1
            history.trace(f"submitted again {item.id}: {row.amount} of {row.account} to {row.destination}")

    async def _release_restored(self) -> None:
        """
        What came out of a restore is read by a person: paid after all, or cancelled where the chain shows that it was paid.

        The latter happens where the store and the signer's ledger were lost both, and the journal's copy forked.
        """
        paid = self.history.watchman.paid()
        for item in await self.items():
            if item.hold is not Hold.RESTORED or item.live_intent:
                continue
            if self.history.watchman.set_back_at is not None:
                if await self._paid_since(item):
                    continue
            elif paid[item.memo]:
                if self.history.lost_ledger is None:
                    continue  # its signature was adopted, or will be: it never gets to people
                rows = await disbursements.cancel(self.history.office, (item.id,), EDWARD)
                if rows[0].done:
                    self.history.watchman.known_as_paid(item.id)
                    self.history.met["cancel restored"] += 1
                self.history.trace(f"cancel {item.id}, which was paid before the restore: {rows[0].what}")
                continue
            rows = await disbursements.release(self.history.office, (item.id,), EDWARD)
            self.history.met["release restored"] += rows[0].done
            self.history.trace(f"release {item.id}, which came out of a restore: {rows[0].what}")
