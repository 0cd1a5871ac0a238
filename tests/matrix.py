"""
The rows of the failure matrix (protocol.md §9), so that a test can say which of them it injects.

`docs/evidence.md` is made from these marks: a row without a test, or a mark without a row, is a failure there.
"""

from enum import Enum


class Row(Enum):
    """One row: the crash, pause or lie, as protocol.md §9 words it."""

    BEFORE_STAGING = "before staging"
    STAGED_NOT_SEALED = "staged, not signed or not sealed"
    SIGNER_REFUSES = "signer refuses row k of a batch"
    INSIDE_STAGING = "inside the staging transaction"
    COMMIT_UNKNOWN = "commit answered with an error or a lost link"
    CANCEL_AND_STAGING = "cancel and staging at the same moment"
    SEALED_NOT_SENT = "sealed, nothing sent"
    REPLY_LOST = "request partly sent, reply lost, 504"
    ACCEPTED_NOT_RECORDED = "accepted, died before recording"
    INCLUDED_NOT_RECORDED = "included, not recorded"
    REORGED = "included, then reorged"
    DROPPED = "dropped from every mempool"
    STRANGER = "nonce used by a stranger"
    REFUSED_AND_RELEASED = "refused, policy corrected, released"
    THAWED = "frozen after a foreign nonce, thawed"
    SMALL_DEPOSIT = "small deposit, or raised tip, in the interval of a payment"
    ABSURD_HEAD = "one absurd, lagging or replaced head"
    ORDINARY_REORG = "ordinary reorg, payment included again in another block"
    STALE_LEADER = "stale leader wakes up"
    BOTH_SEND = "both leaders send"
    CANCELLATION_CRASH = "crash in the middle of a cancellation"
    CRASH_AFTER_FREEZE = "crash after a freeze"
    RESTORED = "store lost, old backup restored; replica promoted in mid-run; whole machine rolled back"
    LEDGER_LOST = "signer's ledger lost or restored"
    DISK_FULL = "disk full, I/O error, failed fsync"
    WRONG_CHAIN = "chain reset, wrong chain"
