"""
Which of two causes an account is frozen for: the one that asks more of the person who thaws it (protocol.md R14).

Else what was found while somebody had frozen the account for a drill would be forgotten with the drill.
"""

from typing import Final

from treasuryd.core.model import Account, AccountState, FreezeCause

# From the least to the gravest. A person knows why they froze. The audit pages for its finding by itself. The others
# are somebody else's spending, then a chain that is not ours. A deep reorg stands last: what it took is given back
# by commands that ask for this very cause, and until then nothing is thawed (R9).
GRAVITY: Final = (
    FreezeCause.PERSON,
    FreezeCause.AUDIT,
    FreezeCause.CONSERVATION,
    FreezeCause.UNEXPLAINED_FALL,
    FreezeCause.FOREIGN_NONCE,
    FreezeCause.WRONG_CHAIN,
    FreezeCause.DEEP_REORG,
)

AFTER_QUARANTINE: Final = frozenset(
    {FreezeCause.DEEP_REORG, FreezeCause.UNEXPLAINED_FALL, FreezeCause.AUDIT, FreezeCause.CONSERVATION}
)
"""What shows once, and so is kept while an account is in quarantine: what else there is shows again, or is waited for."""


def graver(found: FreezeCause, stored: str) -> bool:
    """Say whether what was found replaces the stored cause; one that this version does not know is the least."""
    known = [cause for cause in GRAVITY if cause == stored]
    return not known or GRAVITY.index(found) > GRAVITY.index(known[0])


def freezes(account: Account, found: FreezeCause) -> bool:
    """
    Say whether this changes why an account stands still: an active one, or one frozen for something less grave.

    One in quarantine stands still for something graver, but is frozen once it leaves.
    """
    if account.state is AccountState.FROZEN:
        return graver(found, account.cause)
    return account.state is AccountState.ACTIVE or found in AFTER_QUARANTINE
