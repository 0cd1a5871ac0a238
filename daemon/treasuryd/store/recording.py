"""`record`: a mixed batch of changes, fenced, in one transaction; each kind is written by the module that knows it."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

from treasuryd.core import changes
from treasuryd.core.changes import Change
from treasuryd.core.model import Held, Moment, NotWritten, Rules
from treasuryd.ports import Many, Recorded
from treasuryd.sqlite.connect import Connection
from treasuryd.store import accounts, items, payments
from treasuryd.store.calendar import Calendar
from treasuryd.store.work import Work, ours

Writer = Callable[[Work, Sequence[Any]], "list[str | None]"]
"""Writes changes of one kind; answers for each None, or why it was not written."""

WRITERS: Final[dict[type, Writer]] = {
    changes.Advanced: items.advance,
    changes.HoldSet: items.set_holds,
    changes.FinalizeDue: items.finalize,
    changes.VariantStaged: payments.stage_variants,
    changes.Sent: payments.sent,
    changes.Seen: payments.seen,
    changes.Unproven: payments.unproven,
    changes.Burned: payments.burned,
    changes.BlockBuried: payments.buried,
    changes.Rewound: payments.rewound,
    changes.BaselineMoved: accounts.move_baseline,
    changes.Booked: accounts.book,
    changes.FrozenNow: accounts.freeze,
    changes.QuarantinedNow: accounts.quarantine,
    changes.Adopted: accounts.adopt,
    changes.ChainMoved: accounts.move_chain,
}


def record(
    connection: Connection,
    rules: Rules,
    batch: Many[Change],
    held: Held,
    at: Moment,
    calendar: Calendar | None = None,
) -> Recorded:
    """
    Write a batch in its order; neighbours of one kind go down together.

    Guarantees: a change of an account that is not ours comes back `fenced`, one whose row stands otherwise `changed`;
    neither disturbs another. A change that changes nothing is written silently.
    """
    work = Work(connection, rules, at.unix, calendar)
    allowed = ours(connection, held)
    unwritten: list[NotWritten] = []
    placed = list(enumerate(batch))
    for kind, group in groupby(placed, key=lambda pair: type(pair[1])):
        run = []
        for place, change in group:
            if change.account in allowed:
                run.append((place, change))
            else:
                unwritten.append(NotWritten(row=place, reason="fenced", detail=change.account))
        reasons = WRITERS[kind](work, [change for _, change in run]) if run else []
        unwritten += [
            NotWritten(row=place, reason=reason, detail=_named(change))
            for (place, change), reason in zip(run, reasons, strict=True)
            if reason is not None
        ]
    moved = {change.account for change in batch if isinstance(change, changes.BaselineMoved)}
    accounts.freeze_unknown_counts(work, sorted(moved & allowed))
    return Recorded(events=work.finish("record"), unwritten=tuple(unwritten))


def _named(change: Change) -> str:
    """Which row it was, for a person."""
    for name in ("intent_id", "disbursement_id"):
        if hasattr(change, name):
            return f"{type(change).__name__} {name.removesuffix('_id')} {getattr(change, name)}"
    return f"{type(change).__name__} {change.account}"
