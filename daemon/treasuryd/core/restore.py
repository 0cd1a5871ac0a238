"""
Restored, cloned, moved: how a store that is older than the world is recognised, and when it may act again (§8).

A store's past is its journal: every change stands in it, hash-chained. Whoever outside the store remembers an entry of
it (the signer, the journal's copy) has a witness: a store that does not hold that very entry is not the one, or not the
newest, that the witness has seen.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Binding,
    DisbursementId,
    Height,
    IntentId,
    Marks,
    Nonce,
    Term,
)

FOUND: Final = "restored"  # cause of an account in quarantine: nothing has been repaired yet
TAKEN_UP: Final = "taken_up"  # replayed and adopted: what was bound is confirmed, and may be sent again
SHOWN: Final = 20  # ids or nonces that one open point names


class Sign(StrEnum):
    """What shows that a store is not the newest: a closed set."""

    JOURNAL_REPLAYED = "journal_replayed"  # the journal's copy went on, and all of it was replayed
    JOURNAL_LOST = "journal_lost"  # the journal's copy went on, and could not be replayed whole
    SIGNER_NONCE = "signer_nonce"
    SIGNER_DISBURSEMENT = "signer_disbursement"
    SIGNER_TERM = "signer_term"
    SIGNER_WITNESS = "signer_witness"  # the signer was told of entries that this store does not hold
    SIGNER_REFUSED = "signer_refused"  # a nonce or an intent belongs to another payload
    MOVED = "moved"  # the file is not the one that was opened last: moved, restored or cloned
    DECLARED = "declared"  # a person said so


COMPLETE: Final = frozenset({Sign.JOURNAL_REPLAYED, Sign.MOVED})
"""Signs after which nothing of the store's past is missing: no item has to be held."""

HAPPENED: Final = frozenset({Sign.MOVED, Sign.DECLARED, Sign.JOURNAL_REPLAYED, Sign.JOURNAL_LOST})
"""Signs that are told once, when it happens: told again in the same words, it happened again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One sign, in words for a person."""

    sign: Sign
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What the signer was last told of the store that an account lives in: its lineage, and journal heads by chain."""

    lineage: str
    heads: Mapping[str, tuple[int, str]] = field(
        default_factory=dict
    )  # chain -> (number, hash) of its last entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a store says of itself, read in one snapshot. `unknown` are heads of witnesses that it does not hold."""

    lineage: str
    former: frozenset[str]  # lineages that it had before a restore was confirmed
    heads: Mapping[str, tuple[int, str]]
    unknown: tuple[str, ...]
    high_water: Mapping[AccountId, Nonce]
    terms: Mapping[AccountId, Term]
    last_disbursement: DisbursementId
    found: tuple[AccountId, ...] = ()  # accounts in quarantine that nobody has taken up


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPage:
    """A part of what a store ever sealed; `last` is the highest intent id that was looked at, None at the end."""

    bindings: tuple[Binding, ...]
    last: IntentId | None


def reasons(past: Past, marks: Mapping[AccountId, Marks], told: Mapping[AccountId, Witness]) -> list[Reason]:
    """
    Say what shows that this store is older than the signer's memory, or another one.

    Everything that the signer knows was durable in the store before the signer was asked, so in one history the store
    is never behind. Args: what the signer said has to be read before the store's past.
    """
    return [*_behind(past, marks), *_unknown(past, told)]


def _behind(past: Past, marks: Mapping[AccountId, Marks]) -> Iterator[Reason]:
    for account, mark in marks.items():
        if account not in past.high_water:
            continue
        known = past.high_water[account]
        if mark.nonce > known:
            detail = f"the signer bound nonce {mark.nonce} of {account}, this store knows {known}"
            yield Reason(sign=Sign.SIGNER_NONCE, detail=detail)
        if mark.disbursement_id > past.last_disbursement:
            last = past.last_disbursement
            detail = f"the signer bound disbursement {mark.disbursement_id}, this store's last one is {last}"
            yield Reason(sign=Sign.SIGNER_DISBURSEMENT, detail=detail)
        term = past.terms.get(account, Term(0))
        if mark.term > term:
            detail = f"the signer has seen term {mark.term} of {account}, this store knows {term}"
            yield Reason(sign=Sign.SIGNER_TERM, detail=detail)


def _unknown(past: Past, told: Mapping[AccountId, Witness]) -> Iterator[Reason]:
    lineages = {past.lineage, *past.former}
    for account, witness in told.items():
        if account in past.high_water and witness.lineage not in lineages:
            detail = f"the signer serves another store for {account}: its lineage is {witness.lineage}"
            yield Reason(sign=Sign.SIGNER_WITNESS, detail=detail)
    for chain in past.unknown:
        detail = f"the signer was told of an entry of the journal {chain} that this store does not hold"
        yield Reason(sign=Sign.SIGNER_WITNESS, detail=detail)


def hold_all(found: Iterable[Sign]) -> bool:
    """Whether something of the store's past may be missing, so that each open item waits for a person (§8.2)."""
    return not set(found) <= COMPLETE


def untouched(account: Account) -> bool:
    """Whether it is in quarantine, and what the signer bound was not adopted yet: sightings alone are concluded."""
    return account.state is AccountState.QUARANTINED and account.cause != TAKEN_UP


def resends(account: Account) -> bool:
    """Whether it is in quarantine, and adopted bytes and fillers may be sent; nothing else (§8.4)."""
    return account.state is AccountState.QUARANTINED and account.cause == TAKEN_UP


# --- leaving it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One thing that the signer bound and this store contradicts: two stores went on under one signer."""

    intent_id: IntentId  # as the signer counts
    nonce: Nonce  # that it bound
    item: DisbursementId | None  # of this store, which stands in its way
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has to be decided before an account leaves quarantine, as the store shows it."""

    account: AccountId
    taken_up: bool
    kill_switch: bool
    mark: Nonce  # the highest nonce that store or signer know
    signer_lost: bool  # the signer knows less than was sealed
    open: tuple[Nonce, ...]  # of intents that are neither in a block nor void
    included: Height | None  # the highest block, not final yet, that holds one or what took a filler's nonce
    ambiguous: tuple[DisbursementId, ...]
    unknown: tuple[Nonce, ...]  # burned < nonce <= mark, and nothing that the store holds is bound to it
    contradictions: tuple[Dispute, ...]
    read: Height | None  # of the baseline; None: the chain was not read yet
    consumed: Nonce  # by the baseline
    burned: Nonce  # at finality depth
    settled: Height  # what is at finality depth now
    believed: Height
    finality_depth: int

    @property
    def to_fill(self) -> tuple[Nonce, ...]:
        """
        Those unknown ones that are still free on the chain: only a filler makes sure that nothing lost uses them.

        None before it was taken up: the signer may know them.
        """
        return tuple(nonce for nonce in self.unknown if nonce > self.consumed and self.taken_up)

    @property
    def used(self) -> Nonce:
        """The highest nonce that the chain shows used by what nobody here knows, and not final yet; 0: none."""
        if self.consumed > self.mark:
            return self.consumed if self.consumed > self.burned else Nonce(0)
        return max((nonce for nonce in self.unknown if nonce <= self.consumed), default=Nonce(0))


def open_points(now: Standing, *, give_up: bool = False) -> list[str]:
    """
    Say, one sentence each, what keeps an account in quarantine; empty: a person may end it.

    Args: give_up is a person's word that the other store which the signer served is lost for good. What it had signed
        still has to be decided on the chain: until its nonce is final, its bytes may be out.
    """
    points = [_disputed(now, one) for one in now.contradictions if one.nonce > now.burned or not give_up]
    if not now.taken_up:
        points.append(
            "it has not been taken up yet: the executor does so within seconds, once it holds the lease"
        )
    if now.signer_lost:
        points.append(
            f"the signer knows less than was sealed: `treasuryd signer import {now.account} --reason …`"
        )
    if now.to_fill:
        points.append(
            f"nothing is known of the nonces {_few(now.to_fill)}: `treasuryd quarantine fill {now.account} --reason …`"
        )
    if now.open:
        how = "the kill switch is on; `treasuryd breaker reset --reason …` sends the same bytes again"
        points.append(
            f"not in a block yet: the nonces {_few(now.open)} ({how if now.kill_switch else 'sent again'})"
        )
    if now.ambiguous:
        points.append(
            f"their outcome is unknown: `treasuryd resolve {_few(now.ambiguous)} --paid` or `--void`"
        )
    if now.included is not None:
        left = max(1, now.included + now.finality_depth - now.believed)
        points.append(f"not final yet: in {left} {'block' if left == 1 else 'blocks'}")
    if now.read is None:
        points.append("the chain has not been read yet")
    elif now.read < now.settled:  # what the backup remembers of the chain may have been replaced since
        points.append(
            f"the chain was last read at height {now.read}: it is read again within seconds while a node answers"
        )
    elif now.used:
        points.append(
            f"the chain shows nonce {now.used} used, which nobody here knows: wait until it is final"
        )
    return points


def _disputed(now: Standing, one: Dispute) -> str:
    if one.nonce > now.burned:
        return f"{one.detail}: its nonce {one.nonce} is not final on the chain yet"
    return (
        f"{one.detail}: find the store that belongs to this signer; where it is lost for good, "
        f"`treasuryd quarantine resolve {now.account} --give-up --reason …`"
    )


def next_nonce(now: Standing) -> Nonce:
    """Say where numbering goes on: above all that signer, journal and chain know (§8.6)."""
    return Nonce(max(now.mark, now.consumed) + 1)


def _few(numbers: tuple[int, ...]) -> str:
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return " ".join(map(str, numbers[:SHOWN])) + more
