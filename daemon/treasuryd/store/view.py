"""Reads what a tick decides from: one snapshot, every list bounded, nothing finished looked at (protocol.md §4)."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from treasuryd.core.model import (
    MAX_AMOUNT,
    Account,
    AccountId,
    AccountState,
    Address,
    Announced,
    Claim,
    Disbursement,
    DisbursementId,
    Epoch,
    Evidence,
    Held,
    IncludedBlock,
    Intent,
    IntentId,
    Interval,
    Moment,
    Nonce,
    Rules,
    View,
)
from treasuryd.sqlite.connect import Connection
from treasuryd.store.queries import load
from treasuryd.store.rows import (
    SHARED,
    Frames,
    accounts,
    chain_state,
    disbursements,
    ids_json,
    intents,
    votes,
)
from treasuryd.store.standing import SQL as STAGING

SQL: Final = load("queries.sql", "view.sql")


def view(connection: Connection, rules: Rules, frames: Frames, held: Held, at: Moment, limit: int) -> View:
    """One consistent reading for the accounts held; every list has at most `limit` rows per account."""
    return _Reading(connection, rules, at, limit).view(accounts(connection, frames, tuple(held.leases)))


def watched(connection: Connection, rules: Rules, held: Held, settled: Epoch, limit: int) -> list[Address]:
    """Destinations of the open intents and of the next candidates, sinks and the accounts themselves (§5.1)."""
    found: dict[Address, None] = {}
    for account in held.leases:
        found[Address(account)] = None
        found[rules.sink_of(account)] = None
        for row in connection.execute(SQL["open_destinations"], (account,)):
            found[row[0]] = None
        for row in connection.execute(SQL["next_destinations"], (account, settled, limit)):
            found[row[0]] = None
    return list(found)


class _Reading:
    """One reading of the store, account by account."""

    def __init__(self, connection: Connection, rules: Rules, at: Moment, limit: int) -> None:
        self._connection, self._rules, self._at, self._limit = connection, rules, at, limit
        self._cut = False
        self._wanted: dict[str, list[IntentId]] = {}

    def view(self, held: Sequence[Account]) -> View:
        advancing = [item for account in held for item in self._advancing(account)]
        unburned = {account.id: self._unburned(account.id) for account in held}
        candidates = [item for account in held for item in self._candidates(account, unburned[account.id])]
        for account in held:
            self._choose(account)
        oldest = {account.id: self._oldest(account.id) for account in held}
        with_bytes = self._intents("intents_by_id", ("unsent", "resend"))
        without = self._intents("intents_by_id_without_bytes", ("unsealed", "consumed", "cancelling"), oldest)
        consumed = self._listed("consumed", without)
        return View(
            accounts=tuple(held),
            chain=chain_state(self._connection),
            kill_switch=bool(self._connection.execute(SHARED["kill_switch"]).fetchone()[0]),
            advancing=tuple(advancing),
            candidates=tuple(candidates),
            votes=self._votes((*advancing, *candidates)),
            unsealed=self._listed("unsealed", without),
            unsent=self._listed("unsent", with_bytes),
            resend=self._listed("resend", with_bytes),
            consumed=consumed,
            cancelling=self._listed("cancelling", without),
            blocks=tuple(block for account in held for block in self._blocks(account.id)),
            intervals=self._intervals(held),
            claims=self._claims(held, consumed),
            announced=tuple(deposit for account in held for deposit in self._announced(account.id)),
            unburned=unburned,
            oldest_sent={account: without[found] for account, found in oldest.items() if found is not None},
            more=self._cut,
        )

    # --- disbursements

    def _advancing(self, account: Account) -> list[Disbursement]:
        """What epochs move; in quarantine nothing advances (§8)."""
        if account.state is AccountState.QUARANTINED:
            return []
        found: list[Disbursement] = []
        settled, limit = self._at.settled, self._limit
        for query, bound in (
            ("drafts", (account.id, limit)),
            ("closing_votes", (account.id, settled, limit)),
            ("activating", (account.id, settled, limit)),
        ):
            rows = self._rows(query, bound)
            self._cut |= len(rows) == limit
            found += disbursements(self._connection, rows)
        return found

    def _candidates(self, account: Account, in_flight: int) -> list[Disbursement]:
        """What could be staged now; only one account that acts has any, and nothing it cannot pay is among them."""
        if account.state is not AccountState.ACTIVE:
            return []
        largest = min(self._funds(account), self._rules.max_transfer or MAX_AMOUNT)
        rows = self._rows("candidates", (account.id, self._at.settled, largest, self._limit))
        room = self._rules.max_unburned - in_flight
        self._cut |= len(rows) == self._limit and room > self._limit
        return disbursements(self._connection, rows)

    def _funds(self, account: Account) -> int:
        """Its balance in the frame, or in its baseline, less what is promised to live intents and the least fee."""
        own = Address(account.id)
        for frame in (self._at.frame, account.baseline):
            if frame is not None and own in frame.holdings:
                holding = frame.holdings[own]
                promised = self._read(STAGING["paying_accounts"], (ids_json([account.id]),))[0][5]
                return (holding.balance if holding else 0) - int(promised) - self._at.least_fee
        return MAX_AMOUNT  # not read yet: staging decides

    def _votes(self, items: Iterable[Disbursement]) -> dict[DisbursementId, Any]:
        """Votes of what is voted on or was, as far as this tick asks for them."""
        ids = [item.id for item in items if item.proposal is not None]
        return votes(self._connection, ids) if ids else {}

    # --- intents

    def _choose(self, held: Account) -> None:
        """Choose by index alone which intents are read whole; a list cut of one that does not act asks for no tick."""
        account, acts = held.id, held.state is AccountState.ACTIVE
        count, limit = self._count(account), self._limit
        before = self._at.unix - self._rules.resend_seconds
        wide = acts and self._rules.max_unburned > limit
        self._want("unsealed", "waiting_ids", (account, "sign", limit), cuts=acts)
        self._want("unsent", "waiting_ids", (account, "send", limit), cuts=wide)
        self._want("resend", "resend_ids", (account, count, before, limit, self._at.unix), cuts=False)
        self._want("resend", "replaced_ids", (account, limit), cuts=False)
        self._want("cancelling", "cancelling_ids", (account, limit), cuts=False)
        if self._at.frame is not None:
            self._want("consumed", "consumed_ids", (account, count, limit), cuts=acts)

    def _want(self, name: str, query: str, bound: tuple[Any, ...], *, cuts: bool) -> None:
        ids = [row[0] for row in self._rows(query, bound)]
        self._cut |= cuts and len(ids) == self._limit
        self._wanted.setdefault(name, []).extend(ids)

    def _intents(
        self, query: str, names: Iterable[str], more: dict[AccountId, IntentId | None] | None = None
    ) -> dict[IntentId, Intent]:
        ids = {id_ for name in names for id_ in self._wanted.get(name, ())}
        ids |= {id_ for id_ in (more or {}).values() if id_ is not None}
        rows = self._read(SHARED[query], (ids_json(ids),)) if ids else []
        return {intent.id: intent for intent in intents(rows)}

    def _listed(self, name: str, known: dict[IntentId, Intent]) -> tuple[Intent, ...]:
        """The chosen ones, account by account in nonce order, each once."""
        chosen = dict.fromkeys(self._wanted.get(name, ()))
        return tuple(
            sorted((known[id_] for id_ in chosen), key=lambda intent: (intent.account, intent.nonce))
        )

    def _oldest(self, account: AccountId) -> IntentId | None:
        rows = self._rows("oldest_sent", (account, self._count(account)))
        return rows[0][0] if rows else None

    def _unburned(self, account: AccountId) -> int:
        return int(self._rows("unburned", (account, self._count(account)))[0][0])

    def _count(self, account: AccountId) -> Nonce:
        """The account's nonce in this tick's frame."""
        holding = self._at.frame.holdings.get(Address(account)) if self._at.frame else None
        return holding.nonce if holding else Nonce(0)

    # --- what confirmation weighs

    def _blocks(self, account: AccountId) -> list[IncludedBlock]:
        return [
            IncludedBlock(account=account, height=row[0], block_hash=row[1], count=row[2])
            for row in self._rows("blocks", (account, self._limit))
        ]

    def _intervals(self, held: Sequence[Account]) -> dict[AccountId, Interval]:
        return {
            account.id: self._interval(account.id, _own_nonce(account))
            for account in held
            if account.baseline is not None
        }

    def _interval(self, account: AccountId, base: Nonce) -> Interval:
        bound = (account, base, max(base, self._count(account)))
        placed, burned = (
            self._rows("placed_in_interval", bound)[0],
            self._rows("burned_in_interval", bound)[0],
        )
        final = self._rows("highest_final", (account,))
        void = self._rows("highest_burned", (account,))[0][0]
        return Interval(
            consumed=self._rows("open_in_interval", bound)[0][0],
            placed=placed[0] + burned[0],
            cost=placed[1] + burned[1],
            burned=Nonce(max(final[0][0] if final else 0, void or 0)),
        )

    def _claims(self, held: Sequence[Account], consumed: tuple[Intent, ...]) -> tuple[Claim, ...]:
        """What else may have paid the destinations of `consumed`, as far back as the lowest baseline (§5.1 item 1)."""
        baselines = [account.baseline for account in held if account.baseline is not None]
        if self._at.evidence is not Evidence.BALANCE or not consumed or not baselines:
            return ()
        lowest = min(baselines, key=lambda frame: frame.height)
        destinations = ids_json({intent.destination for intent in consumed})
        listed = {intent.id for intent in consumed}
        claims: list[Claim] = []
        for account, stored in self._rows("account_frames", (lowest.height,)):
            shown = lowest.holdings.get(Address(account))
            count = shown.nonce if shown else _shown_nonce(account, stored)
            claims += [
                Claim(account=account, nonce=row[1], destination=row[2], amount=row[3])
                for row in self._rows("claims", (account, count, destinations))
                if row[0] not in listed
            ]
        return tuple(claims)

    def _announced(self, account: AccountId) -> list[Announced]:
        rows = self._rows("announced", (account, self._limit))
        return [Announced(id=row[0], account=row[1], amount=row[2]) for row in rows]

    def _rows(self, query: str, bound: tuple[Any, ...]) -> list[Any]:
        return self._read(SQL[query], bound)

    def _read(self, sql: str, bound: tuple[Any, ...]) -> list[Any]:
        return self._connection.execute(sql, bound).fetchall()


def _own_nonce(account: Account) -> Nonce:
    """What the account's baseline shows of it."""
    holding = account.baseline.holdings.get(Address(account.id)) if account.baseline else None
    return holding.nonce if holding else Nonce(0)


def _shown_nonce(account: AccountId, holdings: str | None) -> Nonce:
    """What a stored frame shows of an account; 0, hence everything, where there is none."""
    held = None if holdings is None else orjson.loads(holdings).get(account)
    return Nonce(held[1] if held else 0)
