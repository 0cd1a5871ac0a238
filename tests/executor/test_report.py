"""The report of a tick, and whether it is worth a line in the log."""

import pytest

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BootSeconds, Epoch, Evidence, Height, Moment, UnixSeconds
from treasuryd.executor.tick import Report

AT = Moment(
    unix=UnixSeconds(1.0),
    boot=BootSeconds(1.0),
    believed=Height(7),
    settled=Epoch(0),
    seen=Epoch(0),
    evidence=Evidence.HASH,
)
GREW = Event(kind=EventKind.CHAIN_MOVED, severity=Severity.DEBUG)


@pytest.mark.parametrize(
    ("report", "idle"),
    [
        pytest.param(Report(at=AT), True, id="nothing at all"),
        pytest.param(Report(at=AT, settled=1, events=(GREW,)), True, id="a block more and nothing else"),
        pytest.param(
            Report(at=AT, settled=2, events=(GREW, Event(kind=EventKind.INCLUDED))), False, id="a payment"
        ),
        pytest.param(Report(at=AT, sent=1), False, id="something left"),
        pytest.param(Report(at=AT, staged=1), False, id="something was bound"),
    ],
)
def test_a_chain_that_only_grew_is_no_news(report: Report, idle: bool) -> None:
    """One line per tick that did something, none per block."""
    assert idle == report.idle
