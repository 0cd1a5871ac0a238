"""What a seed decides before its history begins: who is there, what may go wrong, how fast things go."""

import random
from dataclasses import dataclass, replace
from typing import Any, Final

from treasuryd.core.model import Evidence

ROLLBACKS: Final = 0.2  # of the fragile histories
OVERRIDES: Final[dict[str, Any]] = {}
"""Settings that hold for every seed, by name: a planted bug may ask for the world in which it bites (test code only)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The frame of one history; seconds, blocks and probabilities as the names say."""

    kind: Evidence  # half of all seeds run without look-up
    hasty: bool  # heads may be absurdly high
    deep: bool  # reorgs may be deeper than finality
    thieves: bool  # strangers may use our key
    forgetful: bool  # endpoints may not know a transaction that they mined
    fragile: bool  # the store may be lost and an old backup restored; the signer's ledger may be lost
    rollbacks: bool  # instead the whole machine may be set back: store, ledger and journal copy of one moment
    follows: bool  # new heads wake the ticker
    poll_seconds: float
    horizon: float
    block_seconds: float
    accounts: int
    executors: int
    endpoints: int
    together: bool  # the executors share one machine and state folder
    epoch_blocks: int
    max_unburned: int
    batch_min: int
    bump_seconds: float
    profile: str  # of the nodes: their limits and habits
    audits: bool  # the auditor looks at the store page by page
    # of no seed by itself: a planted bug may ask for them
    often: tuple[tuple[str, float], ...] = ()  # troubles by name, and the weight that each has instead
    alike: bool = False  # all items pay the same amount from one account to one destination
    at_home: bool = (
        False  # people give their orders through the daemons themselves: these hear of a freeze at once
    )
    uncopied: bool = False  # there is no copy of the journal
    rounds: int = 120  # how long everybody waits at the end for what is not final yet
    used_before: float = 0.06  # how probable it is that an account has a past which a reorg takes back
    probes: float = 0.05  # how often the signer is asked for what it has to refuse

    @property
    def gifts(self) -> bool:
        """Whether payees may get large sums from elsewhere: without look-up and with thieves the stated residual risk."""
        return self.kind is Evidence.HASH or not self.thieves


def draw(seed: int) -> Settings:
    """Draw the settings of a seed."""
    chance = random.Random(f"settings {seed}")
    happens, choice = chance.random, chance.choice
    drawn = Settings(
        kind=Evidence.HASH if seed % 2 == 0 else Evidence.BALANCE,
        hasty=happens() < 0.12,
        deep=happens() < 0.08,
        thieves=happens() < 0.3,
        forgetful=happens() < 0.3,
        fragile=happens() < 0.12,
        follows=happens() < 0.25,
        poll_seconds=choice((3.0, 6.0)),
        horizon=choice((5.0, 8.0, 13.0)),
        block_seconds=choice((0.5, 0.8, 1.2)),
        accounts=choice((1, 1, 1, 1, 2, 3)),
        executors=choice((1, 1, 1, 2, 2, 3)),
        endpoints=choice((1, 1, 1, 1, 2, 3)),
        together=happens() < 0.3,
        epoch_blocks=choice((3, 4, 6)),
        max_unburned=choice((4, 16)),
        batch_min=choice((2, 16)),
        bump_seconds=choice((8.0, 60.0)),
        profile=choice(("dev", "real")),
        audits=happens() < 0.25,
        rollbacks=False,
    )
    if OVERRIDES:
        return replace(drawn, **OVERRIDES)
    # of a chance of its own, which leaves every history alone that was recorded before (`ONCE_FAILED`)
    rollbacks = drawn.fragile and random.Random(f"set back whole {seed}").random() < ROLLBACKS
    return replace(drawn, rollbacks=rollbacks)
