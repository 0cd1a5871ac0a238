"""What a verb found, put together: facts of one kind are one event, rows of one account one entry."""

from tests.store.kit import OTHER, PAYER, RULES, Bench

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BaseUnits, DisbursementId, UnixSeconds
from treasuryd.sqlite.connect import Connection
from treasuryd.store.work import MAX_IDS, Work

NOW = UnixSeconds(2_000.0)


def ids(first: int, last: int) -> tuple[DisbursementId, ...]:
    return tuple(map(DisbursementId, range(first, last + 1)))


async def test_an_event_counts_all_and_names_the_first_twenty(payer: Bench) -> None:
    """However many rows a batch has, what people read of it stays short."""

    def verb(connection: Connection) -> tuple[Event, ...]:
        work = Work(connection, RULES, NOW)
        for item in ids(1, 3):
            work.fact(EventKind.SENT, PAYER, "accepted", item=item, amount=10, fee=2, detail=f"of {item}")
        work.facts(EventKind.SENT, PAYER, "accepted", ids(4, 40), step_seconds=[1.5])
        for item in ids(1, 40):
            work.fact(EventKind.HELD, PAYER, item=item, severity=Severity.WARNING)
        work.fact(EventKind.SENT, OTHER, "accepted")
        return work.finish("tried")

    assert await payer.driver.write(verb) == (
        Event(
            kind=EventKind.SENT,
            account=PAYER,
            count=40,
            ids=ids(1, MAX_IDS),
            reason="accepted",
            amount=BaseUnits(30),
            fee=BaseUnits(6),
            step_seconds=(1.5,),
            detail="of 1",
        ),
        Event(kind=EventKind.HELD, severity=Severity.WARNING, account=PAYER, count=40, ids=ids(1, MAX_IDS)),
        Event(kind=EventKind.SENT, account=OTHER, reason="accepted"),
    )


async def test_an_account_has_one_entry_with_its_rows_and_its_numbers(payer: Bench) -> None:
    """protocol.md §3: one per verb, account and transaction; an account of which nothing was said has none."""

    def verb(connection: Connection) -> None:
        work = Work(connection, RULES, NOW)
        work.note(PAYER, "held", (1, "poisoned"))
        work.note(PAYER, "held", (2, "restored"))
        work.notes(PAYER, "finalized", [3, 4])
        work.notes(PAYER, "finalized", [5])
        for _ in range(2):
            work.counted(PAYER, "sealed")
            work.counted(OTHER, "sent accepted")
        work.finish("tried")

    await payer.driver.write(verb)
    found = await payer.sql("SELECT chain, at, json_remove(body, '$.tx') FROM journal WHERE verb = 'tried'")
    assert found == [
        (
            f"account:{PAYER}",
            NOW,
            '{"held":[[1,"poisoned"],[2,"restored"]],"finalized":[3,4,5],"sealed":2}',
        ),
        (f"account:{OTHER}", NOW, '{"sent accepted":2}'),
    ]
