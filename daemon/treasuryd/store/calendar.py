"""When each settled epoch came, as this process saw it: for people's figures, never for a decision."""

from bisect import bisect_left
from typing import Final

from treasuryd.core.model import Epoch, Rules, UnixSeconds

REMEMBERED: Final = 1_024  # epochs: 34 hours of The Block
PACE: Final = 0.5  # of `max_blocks_per_second`, which is set to twice the chain's own pace


class Calendar:
    """
    Remembers at which time the settled epoch was first seen to have risen.

    Guarantees: bounded; may be read while another thread notes. An epoch that came before the first one seen is told
    by the chain's ordinary pace, so that a restart makes nothing young.
    """

    def __init__(self) -> None:
        self._seen: tuple[tuple[Epoch, UnixSeconds], ...] = ()  # replaced as a whole

    def note(self, settled: Epoch, at: UnixSeconds) -> None:
        """Be told of the settled epoch, at any time; what is known already changes nothing."""
        if not self._seen or settled > self._seen[-1][0]:
            self._seen = (*self._seen, (settled, at))[-REMEMBERED:]

    def payable_since(self, ready_at: UnixSeconds, scheduled: Epoch, rules: Rules) -> UnixSeconds:
        """Say since when an item has been payable: ready at `ready_at`, and its scheduled epoch settled."""
        seen = self._seen
        place = bisect_left(seen, scheduled, key=lambda pair: pair[0])
        if place == len(seen):
            return ready_at  # whoever asks has not seen it come
        epoch, came = seen[place]
        if place == 0:
            blocks = (epoch - scheduled) * rules.epoch_blocks
            came = UnixSeconds(came - blocks / (PACE * rules.max_blocks_per_second))
        return max(ready_at, came)
