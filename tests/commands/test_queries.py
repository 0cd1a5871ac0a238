"""Questions over fakes: filters, what explains a hold, money, health facts."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import AT, HEALTHY, PAYEE, TREASURY, FakeWorld, breaker, disbursement

from treasuryd.commands import queries
from treasuryd.core.health import Verdict
from treasuryd.core.model import (
    Account,
    AccountState,
    Address,
    BaseUnits,
    BlockHash,
    BreakerMode,
    BreakerOverride,
    BreakerState,
    CallClass,
    DisbursementId,
    Endpoint,
    FeeQuote,
    Filter,
    Frame,
    Height,
    Hold,
    Holding,
    Intent,
    IntentId,
    Nonce,
    Rules,
    Snapshot,
    State,
    Status,
    Term,
    UnixSeconds,
)
from treasuryd.errors import Rejected

ONE = DisbursementId(1)
KILLED = BreakerOverride(
    endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="x"
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.lists(st.integers(), max_size=3)
)


def frame(balance: int = 10_000, nonce: int = 0) -> Frame:
    holding = Holding(balance=BaseUnits(balance), nonce=Nonce(nonce))
    return Frame(
        height=Height(1_300),
        block_hash=BlockHash("00"),
        base_fee=None,
        holdings={Address(TREASURY): holding},
    )


def waiting(**at: Any) -> FakeWorld:
    """A world in which nothing keeps disbursement 1 from being paid."""
    world = FakeWorld()
    world.engine.at = replace(
        AT, **{"frame": frame(), "quote": FeeQuote(base_fee=BaseUnits(10), per_byte=2), **at}
    )
    world.desk.put(disbursement(1, status=Status.TIMELOCKED))
    return world


def payment(item: DisbursementId, state: State) -> Intent:
    """The first payment of the account, for this disbursement."""
    return Intent(
        id=IntentId(1),
        account=TREASURY,
        nonce=Nonce(1),
        disbursement_id=item,
        destination=Address(PAYEE),
        amount=BaseUnits(1),
        memo="",
        payload_digest=disbursement().payload_digest,
        idempotency_key="",
        term=Term(1),
        state=state,
    )


async def hold_in(world: FakeWorld) -> Hold | None:
    _, said = await queries.explanation(world.office(), ONE)
    return said.hold


async def test_what_the_signer_waits_for_explains_what_is_not_signed() -> None:
    """R11: it stands in the executor's vitals; the sentence passes it on."""
    world = waiting()
    world.desk.put(disbursement(1, status=Status.TIMELOCKED, live_intent=IntentId(1)))
    world.desk.bound[ONE] = [payment(ONE, State.STAGED)]
    world.engine.state = replace(HEALTHY, signer_waits="a person imports first")
    _, said = await queries.explanation(world.office(), ONE)
    assert "not signed yet; the signer waits: a person imports first." in said.sentence


async def test_nothing_in_the_way_means_the_next_tick() -> None:
    """The ground that the others depart from."""
    assert await hold_in(waiting()) is Hold.NEXT_TICK


async def test_the_world_is_looked_at_as_the_planner_does() -> None:
    """Frozen, kill switch, lease, chain, breaker, pipeline, funds: each alone."""
    frozen = waiting()
    frozen.desk.account_rows = [Account(id=TREASURY, state=AccountState.FROZEN)]
    killed = waiting()
    killed.desk.forced["*", CallClass.SEND] = KILLED
    standby = waiting()
    standby.engine.held = {}
    unread = waiting(frame=None)
    stopped = waiting()
    stopped.chain.reports = [breaker(state=BreakerState.OPEN)]
    full = waiting()
    full.desk.account_rows = [Account(id=TREASURY, next_nonce=Nonce(17))]
    poor = waiting(frame=frame(balance=1_005))
    found = [await hold_in(world) for world in (frozen, killed, standby, unread, stopped, full, poor)]
    assert found == [
        Hold.ACCOUNT_FROZEN,
        Hold.KILL_SWITCH,
        Hold.NO_LEASE,
        Hold.CHAIN_UNREACHABLE,
        Hold.BREAKER_OPEN,
        Hold.PIPELINE_FULL,
        Hold.INSUFFICIENT_FUNDS,
    ]


async def test_one_open_breaker_of_two_stops_nothing() -> None:
    """Another endpoint still takes payments; a read breaker is none of theirs."""
    world = waiting()
    world.chain.reports = [
        breaker("a", state=BreakerState.OPEN),
        breaker("b"),
        breaker("b", CallClass.READ, BreakerState.OPEN),
    ]
    assert await hold_in(world) is Hold.NEXT_TICK


async def test_a_fee_above_the_ceiling_waits() -> None:
    """And cancels nothing."""
    world = waiting(quote=FeeQuote(base_fee=BaseUnits(100_001), per_byte=2))
    assert await hold_in(world) is Hold.FEE_ABOVE_CEILING


async def test_an_idle_ticks_moment_has_no_price_so_the_chain_is_asked() -> None:
    """The planner prices only what it would stage; whoever asks why gets the chain's price, or that it cannot be read."""
    world = waiting(quote=None)
    assert await hold_in(world) is Hold.CHAIN_UNREACHABLE
    world.chain.asked = FeeQuote(base_fee=BaseUnits(10), per_byte=2)
    assert await hold_in(world) is Hold.NEXT_TICK


async def test_funds_must_cover_the_whole_fee() -> None:
    """The planner's own price, by the size of this very payment."""
    world = waiting(frame=frame(balance=1_500))
    office = world.office()
    office.price = lambda quote, *_: BaseUnits(quote.base_fee + quote.per_byte * 300)
    _, said = await queries.explanation(office, ONE)
    assert said.hold is Hold.INSUFFICIENT_FUNDS
    assert "1000 and a fee of 610 are needed" in said.sentence


@pytest.mark.parametrize(("by_final", "hold"), [(True, Hold.NEXT_TICK), (False, Hold.DEPENDENCY_PENDING)])
async def test_a_final_intent_satisfies_where_the_rules_say_so(by_final: bool, hold: Hold) -> None:
    """D11: executed alone never does; its intent must be final, and only by setting."""
    world = waiting()
    world.rules = Rules(dependency_satisfied_by_final=by_final)
    world.desk.put(disbursement(2, status=Status.EXECUTED))
    world.desk.put(disbursement(1, status=Status.TIMELOCKED, depends_on=(DisbursementId(2),)))
    world.desk.bound[DisbursementId(2)] = [payment(DisbursementId(2), State.FINAL)]
    assert await hold_in(world) is hold
    world.desk.bound[DisbursementId(2)] = [payment(DisbursementId(2), State.INCLUDED)]
    assert await hold_in(world) is Hold.DEPENDENCY_PENDING


def read_or_refused(fields: dict[str, Any]) -> Filter | Rejected:
    try:
        return queries.read_filter(fields)
    except Rejected as error:
        return error


@given(st.dictionaries(st.sampled_from([*queries.FILTER_FIELDS, "surprise"]), VALUES, max_size=4))
def test_a_filter_is_read_or_refused_and_never_crashes(fields: dict[str, Any]) -> None:
    """Whatever stands in a query or in params."""
    found = read_or_refused(fields)
    assert found.field if isinstance(found, Rejected) else 1 <= found.limit <= 200


@pytest.mark.parametrize("status", list(Status))
def test_both_spellings_of_a_status_are_understood(status: Status) -> None:
    """interfaces.md §3."""
    pascal = "".join(word.capitalize() for word in status.value.split("_"))
    assert queries.read_filter({"status": pascal}).statuses == (status,)
    assert queries.read_filter({"status": status.value}).statuses == (status,)


async def test_money_is_the_newest_frames_and_the_books() -> None:
    """Before the chain was read, the baseline's."""
    world = waiting()
    (found,) = await queries.balances(world.office())
    assert (found.chain, found.booked, found.height) == (10_000, 0, 1_300)
    world.engine.at = None
    world.desk.account_rows = [Account(id=TREASURY, baseline=frame(balance=7))]
    (found,) = await queries.balances(world.office())
    assert found.chain == 7


async def test_health_reads_no_store_for_liveness() -> None:
    """A store that hangs must not make the process look dead."""
    world = FakeWorld()
    world.desk.broken = True
    facts = queries.vital_facts(world.office())
    assert facts.task_alive is HEALTHY.task_alive


async def test_health_is_judged_with_the_store_and_without_it() -> None:
    """A store that says nothing is a failed check; the report is made all the same."""
    office = FakeWorld().office()
    good = queries.health_report(office, await queries.stored(office))
    assert (good.verdict.verdict, good.store is None) == (Verdict.OK, False)
    bad = queries.health_report(office, "disk I/O error")
    assert (bad.verdict.verdict, bad.store, bad.chain) == (Verdict.FAIL, None, None)


async def test_the_status_shows_our_own_last_tick_before_the_stored_one() -> None:
    """The stored snapshot is seconds old and may be another leader's; a standby shows that one."""
    world = FakeWorld()
    stored = await queries.executor_status(world.office())
    assert stored.snapshot == await world.desk.snapshot()
    world.engine.last_tick = Snapshot(last_tick_at=UnixSeconds(123.0), staged_intents=4)
    assert (await queries.executor_status(world.office())).snapshot == world.engine.last_tick
