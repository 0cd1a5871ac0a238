"""Votes: what has to be signed, how it stands, and taking one more (interfaces.md §2, protocol.md §2)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treasuryd.commands.fields import fields_of, whole
from treasuryd.commands.office import Office, no_such
from treasuryd.core import proposals
from treasuryd.core.events import Event
from treasuryd.core.model import (
    Decision,
    Disbursement,
    DisbursementId,
    HouseName,
    Ppm,
    Status,
    Vote,
)
from treasuryd.core.reading import shown
from treasuryd.errors import Refusal, Rejected

MAX_COUNTER: Final = 2**32 - 1
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_FIELDS: Final = ("house", "key", "counter", "decision", "signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A vote as it is posted, its fields well-formed and nothing verified yet."""

    house: HouseName
    key: str
    counter: int
    decision: Decision
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one house stands: approving weight, its whole weight, the quorum it has to reach in ppm."""

    house: HouseName
    approving: int
    weight: int
    quorum_ppm: Ppm
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What is voted on, and how it stands."""

    item: Disbursement
    chain_id: int
    houses: tuple[Standing, ...]
    votes: tuple[Vote, ...]


def read_vote(body: object) -> Signed:
    """Read the body of a vote; raises Rejected naming the field."""
    fields = fields_of(body, allowed=_FIELDS, required=_FIELDS)
    return Signed(
        house=HouseName(_word(fields, "house", tuple(HouseName))),
        key=_hex(fields, "key", _KEY, 64),
        counter=whole(fields["counter"], "counter", most=MAX_COUNTER),
        decision=Decision(_word(fields, "decision", tuple(Decision))),
        signature=_hex(fields, "signature", _SIGNATURE, 128),
    )


def _word(fields: Mapping[str, object], name: str, known: Sequence[str]) -> str:
    value = fields[name]
    if not isinstance(value, str) or value not in known:
        raise Rejected(f"{name} must be one of {', '.join(known)}, this is {shown(value)}", field=name)
    return value


def _hex(fields: Mapping[str, object], name: str, form: re.Pattern[str], digits: int) -> str:
    value = fields[name]
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise Rejected(f"{name} must be {digits} lower-case hex digits, this is {shown(value)}", field=name)
    return value


async def take(office: Office, item: DisbursementId, signed: Signed) -> Event:
    """
    Verify one vote and store it.

    The epoch is the executor's, never the caller's (D21).
    Raises: Rejected: unknown item, not voting, deadline over, key unknown or retired, signature wrong, counter used;
        UNAVAILABLE before the chain was read.
    """
    office.compared()
    found = await _existing(office, item)
    moment, vitals = office.engine.moment(), office.engine.vitals()
    if moment is None or vitals.chain_age_seconds is None:
        raise Rejected(
            "the chain has not been read yet: whether the vote is still open cannot be known",
            hint="Vote again when /health shows the chain.",
            kind=Refusal.UNAVAILABLE,
        )
    now = office.world.clock.unix_seconds()
    vote = Vote(
        disbursement_id=item,
        house=signed.house,
        key=signed.key,
        counter=signed.counter,
        decision=signed.decision,
        signature=signed.signature,
        taken_at=now,
        seen_epoch=moment.seen,
    )
    proposals.check_vote(
        vote,
        found,
        office.rules,
        chain_id=office.chain_id,
        seen=moment.seen,
        head_age_seconds=vitals.chain_age_seconds,
    )
    event = await office.world.desk.take_vote(vote, now=now)
    office.told(event)
    return event


async def ballot(office: Office, item: DisbursementId) -> Ballot:
    """What is voted on, how each house stands, and every vote."""
    found = await _existing(office, item)
    votes = tuple(await office.world.desk.votes(item))
    counts = proposals.count(found, votes, office.rules, chain_id=office.chain_id)
    standings = tuple(
        Standing(
            house=house,
            approving=count.approving,
            weight=count.total,
            quorum_ppm=count.required_ppm,
            met=count.met,
        )
        for house, count in sorted(counts.items())
    )
    return Ballot(item=found, chain_id=office.chain_id, houses=standings, votes=votes)


def tallies(office: Office, item: Disbursement, votes: Sequence[Vote]) -> dict[HouseName, tuple[int, int]]:
    """Each house's approving and total weight, while a vote is open."""
    if item.status is not Status.VOTING:
        return {}
    counts = proposals.count(item, votes, office.rules, chain_id=office.chain_id)
    return {house: (count.approving, count.total) for house, count in counts.items()}


async def _existing(office: Office, item: DisbursementId) -> Disbursement:
    (found,) = await office.world.desk.get([item])
    if found is None:
        raise no_such(item)
    return found
