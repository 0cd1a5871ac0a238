"""A file grows past what one request holds, or shrinks, under the key that it had: what was submitted is paid once."""

import pytest
from tests.histories.conftest import Begin
from tests.world import PAYER, History

from treasuryd.core.intake import Intake, check
from treasuryd.core.model import Evidence, Rules
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Submission

GATE = Intake(rules=Rules(allow_treasury_initiated=True), accounts=(PAYER,), evidence=Evidence.HASH)


def rows(count: int, key: str, *, whole: bool = True) -> Submission:
    """As `treasuryd submit` sends them: under a key, or as a part."""
    items = [
        {"destination": "tb1alice", "amount": 1_000 + row, "scheduled_epoch": 1, "memo": f"pay {row}"}
        for row in range(count)
    ]
    found = check(items, key=key, intake=GATE, whole=whole).or_raise()
    return Submission(key=found.key, request_digest=found.request_digest, items=found.items)


async def send_in_parts(h: History, count: int) -> None:
    now = h.clock.unix_seconds()
    await h.desk.open_batch("payroll-11", now=now, expires_seconds=3_600)
    await h.desk.add_part("payroll-11", 1, rows(count, "payroll-11/1", whole=False), now=now)
    await h.desk.seal_batch("payroll-11", parts=1, now=now)


async def send_whole(h: History, count: int) -> None:
    await h.desk.submit(rows(count, "payroll-11"), now=h.clock.unix_seconds())


@pytest.mark.parametrize(
    ("first", "then"), [(send_whole, send_in_parts), (send_in_parts, send_whole)], ids=["grown", "shrunk"]
)
async def test_a_key_pays_once_whether_the_file_goes_up_whole_or_in_parts(
    begin: Begin, evidence: Evidence, first: object, then: object
) -> None:
    """Refused with 409 before and after it was paid; the first one again is answered as ever, and pays nobody twice."""
    assert callable(first)
    assert callable(then)
    h = await begin(evidence)
    await first(h, 2)
    for _ in range(2):
        with pytest.raises(
            Rejected, match="the idempotency key 'payroll-11' belongs to the request"
        ) as caught:
            await then(h, 3)
        assert caught.value.kind is Refusal.CONFLICT
        await first(h, 2)
        await h.run(60)
    assert [h.paid(f"pay {row}") for row in range(3)] == [1, 1, 0]
