"""
Votes: what is signed, which votes count, and when a proposal is approved (protocol.md §2, interfaces.md §2).

The stored outcome of a vote is never believed. Before a payment is staged the signatures are counted once more, so a
row written into the database by hand approves nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from treasuryd.core.model import (
    MAX_PPM,
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    House,
    HouseName,
    Ppm,
    Proposal,
    Rules,
    Status,
    Vote,
)
from treasuryd.errors import Refusal, Rejected

DOMAIN: Final = b"treasuryd/vote/1\0"
MAX_COUNTER: Final = 2**32 - 1
KEY_HEX: Final = 64  # digits of an Ed25519 public key
SIGNATURE_HEX: Final = 128

Verify: TypeAlias = Callable[[bytes, str, str], bool]
"""Whether a signature (message, key in hex, signature in hex) is good: `signature_valid`, or one that remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One house's vote as it stands: weights that approve and reject, of the total fixed when the vote opened."""

    approving: int
    rejecting: int
    total: int
    required_ppm: Ppm

    @property
    def met(self) -> bool:
        """Whether the quorum is reached; an empty house reaches none above 0."""
        if self.total <= 0:
            return self.required_ppm == 0
        return self.approving * MAX_PPM >= self.required_ppm * self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The three windows of a proposal in epochs: the larger of its own and the configured minimum."""

    vote: int
    timelock: int
    rollback: int


def vote_message(
    *, chain_id: int, disbursement_id: DisbursementId, digest: Digest, counter: int, decision: Decision
) -> bytes:
    """
    Make the bytes that a vote signs: 17 of domain, 4 chain id, 8 id, 32 digest, 4 counter, 1 decision; integers LE.

    Raises: Rejected when the counter is not a u32; OverflowError or ValueError for what is no stored disbursement.
    """
    if not 0 <= counter <= MAX_COUNTER:
        raise Rejected(f"counter: must be 0 to {MAX_COUNTER}, got {counter}", field="counter")
    raw_digest = bytes.fromhex(digest)
    if len(raw_digest) != 32:
        raise ValueError(
            f"disbursement {disbursement_id}: its payload digest has {len(raw_digest)} bytes, not 32"
        )
    return b"".join(
        (
            DOMAIN,
            chain_id.to_bytes(4, "little"),
            disbursement_id.to_bytes(8, "little"),
            raw_digest,
            counter.to_bytes(4, "little"),
            b"\x01" if decision is Decision.APPROVE else b"\x00",
        )
    )


def signature_valid(message: bytes, key: str, signature: str) -> bool:
    """Verify one Ed25519 signature; key and signature in hex. Anything malformed is simply not valid. Takes 0.1 ms."""
    if len(key) != KEY_HEX or len(signature) != SIGNATURE_HEX:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def remembering(limit: int) -> Verify:
    """
    Make a `Verify` that remembers its last `limit` answers (about 600 bytes each), for the life of its owner.

    Guarantees: an answer is remembered for exactly this message, key and signature, so it can never go stale.
    """
    return lru_cache(maxsize=limit)(signature_valid)


def weights(rules: Rules) -> dict[HouseName, int]:
    """Say each house's weight for a vote that opens now: a retired key cannot vote any more and weighs nothing."""
    return {
        name: sum(weight for key, weight in house.keys.items() if key not in house.retired)
        for name, house in _houses(rules).items()
    }


def windows(proposal: Proposal | None, rules: Rules) -> Windows:
    """Say a proposal's windows; without a proposal the configured minima hold."""
    own = proposal or Proposal(
        title="", summary="", vote_window_epochs=0, timelock_epochs=0, rollback_window_epochs=0
    )
    return Windows(
        vote=max(own.vote_window_epochs, rules.min_vote_window_epochs),
        timelock=max(own.timelock_epochs, rules.min_timelock_epochs),
        rollback=max(own.rollback_window_epochs, rules.min_rollback_window_epochs),
    )


def approved(
    item: Disbursement,
    votes: Iterable[Vote],
    rules: Rules,
    *,
    chain_id: int,
    verify: Verify = signature_valid,
) -> bool:
    """
    Say whether the stored votes approve `item`: the verdict at the deadline and the recount before staging.

    Without a proposal the policy decides. With one each house must reach its quorum, and at least one quorum must be
    above 0: what nobody has to approve is not approved.
    """
    if item.proposal is None:
        return rules.allow_treasury_initiated
    counts = count(item, votes, rules, chain_id=chain_id, verify=verify).values()
    return all(house.met for house in counts) and any(house.required_ppm > 0 for house in counts)


def count(
    item: Disbursement,
    votes: Iterable[Vote],
    rules: Rules,
    *,
    chain_id: int,
    verify: Verify = signature_valid,
) -> dict[HouseName, Count]:
    """
    Count the votes of a proposal, house by house, with the keys of the configuration.

    A vote counts when its key belongs to its house, its signature is good for this very item and it was taken before
    the deadline; of each key the highest counter. Of two good ones with one counter the rejection counts: its owner
    contradicts himself. A retired key's stored votes count; new ones are refused by `check_vote`.
    A house weighs what was fixed when the vote opened, or what it weighs now if that is more: keys added meanwhile can
    vote too, and a weight made smaller by hand in the database makes no minority a quorum.
    """
    decisions = _decisions(item, votes, rules, chain_id, verify)
    fixed: Mapping[HouseName, int] = item.weights or {}
    today = weights(rules)
    counts = {}
    for name, house in _houses(rules).items():
        given = [
            (weight, decisions[name, key]) for key, weight in house.keys.items() if (name, key) in decisions
        ]
        counts[name] = Count(
            approving=sum(weight for weight, decision in given if decision is Decision.APPROVE),
            rejecting=sum(weight for weight, decision in given if decision is Decision.REJECT),
            total=max(fixed.get(name, 0), today.get(name, 0)) if fixed else 0,
            required_ppm=required_ppm(name, item.proposal, rules),
        )
    return counts


def required_ppm(house: HouseName, proposal: Proposal | None, rules: Rules) -> Ppm:
    """Say the quorum of a house: the larger of the proposal's and the configured minimum."""
    minimum = _houses(rules)[house].min_quorum_ppm
    if proposal is None:
        return minimum
    own = proposal.operators_ppm if house is HouseName.OPERATORS else proposal.builders_ppm
    return max(minimum, own)


def check_vote(
    vote: Vote,
    item: Disbursement,
    rules: Rules,
    *,
    chain_id: int,
    seen: Epoch,
    head_age_seconds: float,
    verify: Verify = signature_valid,
) -> None:
    """
    Judge a vote at intake.

    Args: seen epoch of the head now believed, which last rose `head_age_seconds` ago.
    Raises: Rejected, saying which of key, time or signature is wrong.
    Does not guarantee: that the counter is new. The store compares it with the stored vote of this key.
    """
    _check_time(item, rules, seen=seen, head_age_seconds=head_age_seconds)
    house = _houses(rules)[vote.house]
    if vote.key not in house.keys:
        raise Rejected(
            f"key: {vote.key[:KEY_HEX]!r} is no key of the house {house.name}",
            hint="The keys that may vote are in the daemon's configuration, governance.operators and governance.builders.",
            field="key",
            kind=Refusal.FORBIDDEN,
        )
    if vote.key in house.retired:
        raise Rejected(
            f"key: {vote.key} of the house {house.name} is retired; its old votes count, new ones do not",
            field="key",
            kind=Refusal.FORBIDDEN,
        )
    if not _genuine(vote, item, chain_id, verify):
        raise Rejected(
            f"signature: not valid for disbursement {item.id} with digest {item.payload_digest} on chain {chain_id}",
            hint="Sign again with `treasuryd vote`, which asks the daemon for id, digest and counter.",
            field="signature",
            kind=Refusal.FORBIDDEN,
        )


def _check_time(item: Disbursement, rules: Rules, *, seen: Epoch, head_age_seconds: float) -> None:
    if item.status is not Status.VOTING or item.vote_deadline_epoch is None:
        raise Rejected(
            f"disbursement {item.id} is {item.status}: votes are taken while it is voting",
            kind=Refusal.CONFLICT,
        )
    if head_age_seconds > rules.head_max_age_seconds:
        raise Rejected(
            f"the chain's head last moved {head_age_seconds:.0f} s ago, the limit is {rules.head_max_age_seconds:.0f} s: "
            "whether the vote is still open cannot be known",
            hint="Vote again when /health shows the chain moving.",
            kind=Refusal.UNAVAILABLE,
        )
    if seen >= item.vote_deadline_epoch:
        raise Rejected(
            f"disbursement {item.id}: its vote closed at epoch {item.vote_deadline_epoch}, the chain is at {seen}",
            kind=Refusal.CONFLICT,
        )


def _decisions(
    item: Disbursement, votes: Iterable[Vote], rules: Rules, chain_id: int, verify: Verify
) -> dict[tuple[HouseName, str], Decision]:
    """Give each key's last word, of what counts."""
    houses = _houses(rules)
    belonging = (vote for vote in votes if vote.key in houses[vote.house].keys)
    return last_words(item, belonging, chain_id=chain_id, verify=verify)


def last_words(
    item: Disbursement, votes: Iterable[Vote], *, chain_id: int, verify: Verify = signature_valid
) -> dict[tuple[HouseName, str], Decision]:
    """
    Give the last word of each key, of the votes on this very item that were taken in time with a good signature.

    Does not guarantee: that a key belongs to its house, or ever did.
    """
    deadline = item.vote_deadline_epoch
    last: dict[tuple[HouseName, str], Vote] = {}
    if deadline is None:
        return {}
    for vote in votes:
        before = last.get((vote.house, vote.key))
        if (
            vote.disbursement_id == item.id
            and vote.seen_epoch < deadline
            and (before is None or _strength(vote) > _strength(before))
            and _genuine(vote, item, chain_id, verify)
        ):
            last[vote.house, vote.key] = vote
    return {key: vote.decision for key, vote in last.items()}


def _strength(vote: Vote) -> tuple[int, bool]:
    return vote.counter, vote.decision is Decision.REJECT


def _genuine(vote: Vote, item: Disbursement, chain_id: int, verify: Verify) -> bool:
    try:
        message = vote_message(
            chain_id=chain_id,
            disbursement_id=item.id,
            digest=item.payload_digest,
            counter=vote.counter,
            decision=vote.decision,
        )
    except (Rejected, OverflowError, ValueError):
        return False  # one bad row never stops another
    return verify(message, vote.key, vote.signature)


def _houses(rules: Rules) -> dict[HouseName, House]:
    """Give both houses; one that is not configured is empty, and meets no quorum above 0."""
    return {name: rules.houses.get(name, House(name=name)) for name in HouseName}
