"""
Whether the nodes that answer tell of one chain, and since when they do not.

By design the lowest head decides what is settled, two camps of equal size decide nothing, and what no two say is not
judged (protocol.md R9, R15, R16): a node that answers and stands still, follows a fork or contradicts the others delays
payments for as long as it does. Nothing here is an input to what is believed, settled or paid: it is for people, who
alone can repair a node or take it out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BootSeconds, Head, Height, Rules


class Discord(StrEnum):
    """In what nodes that all answer may differ."""

    BEHIND = "behind"  # the lowest head lies more than the finality depth behind the highest believed one
    FORKED = "forked"  # they name different blocks at one height
    DISPUTED = "disputed"  # they contradict each other about an account or a payment


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From the first to the last time it was seen, by the boot clock."""

    first: BootSeconds
    last: BootSeconds
    height: Height  # where it was seen last
    about: str = ""  # what is disputed, in words

    @property
    def seconds(self) -> float:
        """For how long it has been seen."""
        return self.last - self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What one reading of the heads says of their agreement, and what the process remembers of it until the next."""

    heads: tuple[Head, ...] = ()  # the believed ones, lowest first
    behind: Span | None = None
    forked: Span | None = None
    disputed: Span | None = None

    @property
    def lag(self) -> int:
        """Say how far (blocks) the lowest believed head of a node that answers is behind the highest one."""
        return self.heads[-1].height - self.heads[0].height if self.heads else 0

    @property
    def seconds(self) -> float:
        """Say for how long nodes have differed; 0 while they agree."""
        spans = (self.behind, self.forked, self.disputed)
        return max((span.seconds for span in spans if span is not None), default=0.0)


def compare(
    before: Agreement, heads: Sequence[Head], *, believed: Height, boot: BootSeconds, rules: Rules
) -> Agreement:
    """
    Compare the heads of one reading; one that is beyond belief is told as such (R16) and compared with none.

    Args: the height believed after this very reading. Guarantees: where nodes cannot be compared (one is a block ahead)
    a fork is remembered for `head_max_age_seconds`, and ends at once when all name the same last block; for as long is a
    dispute remembered that was not heard again.
    """
    known = tuple(sorted((head for head in heads if head.height <= believed), key=lambda head: head.height))
    after = replace(before, heads=known)
    if after.disputed is not None and boot - after.disputed.last > rules.head_max_age_seconds:
        after = replace(after, disputed=None)
    behind = after.lag > rules.finality_depth
    after = replace(after, behind=_seen(before.behind, known[0].height, boot) if behind else None)
    tips = {(head.height, head.block_hash) for head in known}
    twice = [height for height in {height for height, _ in tips} if sum(tip[0] == height for tip in tips) > 1]
    if twice:
        return replace(after, forked=_seen(before.forked, max(twice), boot))
    same = len(known) > 1 and len(tips) == 1
    old = before.forked is not None and boot - before.forked.last > rules.head_max_age_seconds
    return replace(after, forked=None) if same or old else after


def doubt(before: Agreement, unknown: Iterable[Height], *, boot: BootSeconds) -> Agreement:
    """
    Take in the heights at which no block is agreed on though every node that answered has one there.

    Args: heights at which the chain named no header; those above the lowest head say nothing and are left out.
    """
    lowest = before.heads[0].height if len(before.heads) > 1 else 0
    doubted = [height for height in unknown if 0 < height <= lowest]
    return replace(before, forked=_seen(before.forked, min(doubted), boot)) if doubted else before


def dispute(before: Agreement, about: str | None, *, height: Height, boot: BootSeconds) -> Agreement:
    """Take in what nodes that answer contradict each other about at this height; None ends it: they agree."""
    if about is None:
        return replace(before, disputed=None)
    return replace(before, disputed=replace(_seen(before.disputed, height, boot), about=about))


def news(before: Agreement, after: Agreement, rules: Rules) -> list[Event]:
    """Tell once, as a page, what has just gone on for longer than `head_max_age_seconds`."""
    told = _lasting(before, rules)
    return [
        Event(
            kind=EventKind.ENDPOINTS_DIFFER,
            severity=Severity.PAGE,
            reason=discord,
            detail=_sentence(after, discord, span) + _ADVICE,
            fields={"seconds": round(span.seconds, 1), "lag": after.lag, "height": span.height},
        )
        for discord, span in _lasting(after, rules).items()
        if discord not in told
    ]


def said(agreement: Agreement, rules: Rules) -> str:
    """Say in words what has gone on for longer than `head_max_age_seconds`; empty while nothing has."""
    lasting = _lasting(agreement, rules)
    return "; ".join(_sentence(agreement, discord, span) for discord, span in lasting.items())


_ADVICE = ". Repair the node that is wrong, or take it out of chain.endpoints and restart: docs/runbooks/chain-lag.md"


def _seen(span: Span | None, height: Height, boot: BootSeconds) -> Span:
    return Span(first=boot if span is None else span.first, last=boot, height=height)


def _lasting(agreement: Agreement, rules: Rules) -> dict[Discord, Span]:
    spans = {
        Discord.BEHIND: agreement.behind,
        Discord.FORKED: agreement.forked,
        Discord.DISPUTED: agreement.disputed,
    }
    return {
        discord: span
        for discord, span in spans.items()
        if span is not None and span.seconds > rules.head_max_age_seconds
    }


def _sentence(agreement: Agreement, discord: Discord, span: Span) -> str:
    told = ", ".join(f"{head.endpoint} at {head.height}" for head in agreement.heads)
    if discord is Discord.FORKED:
        return (
            f"nodes name different blocks at height {span.height} for {span.seconds:.0f} s ({told}): "
            "what stands on them is not judged"
        )
    if discord is Discord.DISPUTED:
        return (
            f"nodes contradict each other for {span.seconds:.0f} s ({told}): {span.about}: it is not judged"
        )
    lowest = ", ".join(head.endpoint for head in agreement.heads if head.height == span.height)
    return (
        f"{lowest} answers {agreement.lag} blocks behind for {span.seconds:.0f} s ({told}): "
        "what waits for an epoch or for finality waits for it"
    )
