"""
The two transition tables: every way through, for a disbursement (protocol.md §2) and for an intent (§3, R5).

The tables are the one home of these rules; `docs/lifecycle.md` is drawn from them (a test compares both).
"""

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final, TypeVar

from treasuryd.core.model import State, Status
from treasuryd.errors import Refusal, Rejected


class Fact(StrEnum):
    """What can happen to an intent."""

    SEALED = auto()  # its signed bytes are durable
    NEVER_BOUND = auto()  # the signer attests that it never bound it, and never will (R5 c)
    SENT = auto()  # it may have left
    SEEN = auto()  # one of its variants is in a block
    REORGED = auto()  # that block, or the frame that made it ambiguous, left the chain
    BURNED = auto()  # at finality its nonce belongs to somebody else's bytes (R5 a)
    UNPROVEN = auto()  # the nonce is consumed and nothing proves by what
    PAYMENT_BURIED = auto()  # the including block of a payment is final
    CANCEL_BURIED = auto()  # the including block of the cancel variant is final (R5 a, b)
    JUDGED_PAID = auto()  # a person's word, at depth k (R5 d)
    JUDGED_VOID = auto()
    REOPENED = auto()  # a person reopens what a deep reorg lost (R9)
    GIVEN_UP = auto()  # a person fills the nonce of a lost payment whose books were rolled back (R9)


class Turn(StrEnum):
    """What can happen to a disbursement."""

    VOTE_OPENED = auto()
    VOTE_PASSED = auto()
    VOTE_FAILED = auto()
    ACTIVATED = auto()  # the timelock is over
    PERMITTED = auto()  # no proposal, and policy allows treasury-initiated payments
    PAID = auto()  # a payment variant is included, or a person judges it paid
    UNPAID = auto()  # its block left the chain
    SETTLED = auto()  # intent final, rollback window over
    CANCELLED = auto()  # by a person, without a live intent, or when its void intent had a cancel request
    ROLLED_BACK = auto()  # by a person, in the rollback window; moves no money
    REOPENED = auto()


# The columns are the picture, so the formatter keeps out.
# fmt: off
INTENT: Final[Mapping[State, Mapping[Fact, State]]] = {
    State.STAGED:    {Fact.SEALED: State.SIGNED, Fact.NEVER_BOUND: State.VOID},
    State.SIGNED:    {Fact.SEALED: State.SIGNED, Fact.SENT: State.BROADCAST, Fact.SEEN: State.INCLUDED,
                      Fact.BURNED: State.VOID, Fact.UNPROVEN: State.AMBIGUOUS},
    State.BROADCAST: {Fact.SEALED: State.BROADCAST, Fact.SENT: State.BROADCAST, Fact.SEEN: State.INCLUDED,
                      Fact.BURNED: State.VOID, Fact.UNPROVEN: State.AMBIGUOUS},
    State.INCLUDED:  {Fact.REORGED: State.BROADCAST, Fact.PAYMENT_BURIED: State.FINAL,
                      Fact.CANCEL_BURIED: State.VOID},
    State.AMBIGUOUS: {Fact.REORGED: State.BROADCAST, Fact.JUDGED_PAID: State.FINAL,
                      Fact.JUDGED_VOID: State.VOID},
    State.FINAL:     {Fact.REOPENED: State.BROADCAST, Fact.GIVEN_UP: State.VOID},
    State.VOID:      {},
}

DISBURSEMENT: Final[Mapping[Status, Mapping[Turn, Status]]] = {
    Status.DRAFT:       {Turn.VOTE_OPENED: Status.VOTING, Turn.PERMITTED: Status.TIMELOCKED,
                         Turn.CANCELLED: Status.ROLLED_BACK},
    Status.VOTING:      {Turn.VOTE_PASSED: Status.QUEUED, Turn.VOTE_FAILED: Status.ROLLED_BACK,
                         Turn.CANCELLED: Status.ROLLED_BACK},
    Status.QUEUED:      {Turn.ACTIVATED: Status.TIMELOCKED, Turn.CANCELLED: Status.ROLLED_BACK},
    Status.TIMELOCKED:  {Turn.PAID: Status.EXECUTED, Turn.CANCELLED: Status.ROLLED_BACK},
    Status.EXECUTED:    {Turn.UNPAID: Status.TIMELOCKED, Turn.SETTLED: Status.FINALIZED,
                         Turn.ROLLED_BACK: Status.ROLLED_BACK},
    Status.FINALIZED:   {Turn.REOPENED: Status.TIMELOCKED},
    Status.ROLLED_BACK: {},
}
# fmt: on

LIVE: Final = frozenset(State) - {State.VOID}  # live in the sense of §3: everything that is not void
UNDECIDED: Final = frozenset({State.STAGED, State.SIGNED, State.BROADCAST, State.AMBIGUOUS})

Where = TypeVar("Where", State, Status)
What = TypeVar("What", Fact, Turn)


def advance(table: Mapping[Where, Mapping[What, Where]], at: Where, what: What) -> Where:
    """
    Follow one arrow of a table.

    Raises: Rejected (CONFLICT) when there is no such arrow; it names both words.
    """
    try:
        return table[at][what]
    except KeyError:
        possible = ", ".join(sorted(table[at])) or "nothing"
        raise Rejected(
            f"{what} does not apply to what is {at}",
            hint=f"From {at} the possible turns are: {possible}.",
            kind=Refusal.CONFLICT,
        ) from None
