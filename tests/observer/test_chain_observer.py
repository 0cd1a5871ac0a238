import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from tests.devnet.world import DEV
from tests.observer.world import ALL, CONFIG, LIVING, Given, Watching, watching

from treasuryd.chain.transport import Lost, Unreachable
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.observed import RESOLUTION_BLOCKS
from treasuryd.devnet.market import EnergyMarket
from treasuryd.errors import Rejected
from treasuryd.telemetry.registry.observed import FAMILIES
from treasuryd.wire.theblock.replies import Malformed

MARKET, RECEIPTS, CREDITS, DISPUTES = (
    f"energy.{name}" for name in ("market_state", "receipts", "credits", "disputes")
)
OWN = {name for name in (family.name for family in FAMILIES) if name.startswith("treasury_observer_")}


@pytest.fixture
def watched() -> Watching:
    return watching()


def reply(result: Any) -> Given:
    return Given(body=json.dumps({"id": 1, "jsonrpc": "2.0", "result": result}).encode())


# --- what is there is shown ------------------------------------------------------------------------------


async def test_a_round_fills_every_metric_of_the_registry(watched: Watching) -> None:
    """From the development chain, so that no panel is empty there."""
    found = await watched.round()
    assert {*found.series, *found.distributions} == {family.name for family in FAMILIES}
    assert watched.fresh() == ALL
    assert watched.up("rpc")
    assert watched.up("metrics")
    assert watched.failures() == {}


async def test_the_numbers_are_the_node_s(watched: Watching) -> None:
    """Each by its own way, side by side with what the node says."""
    found = await watched.round()
    market = watched.line.node.market
    providers = market.providers()
    assert found.series["energy_provider_status"] == {
        ("active",): sum(row["available_kwh"] > 0 for row in providers),
        ("idle",): sum(row["available_kwh"] == 0 for row in providers),
    }
    assert watched.value("energy_provider_total") == 12
    assert watched.value("energy_market_volume_current") == sum(row["available_kwh"] for row in providers)
    assert watched.value("energy_receipt_total") == len(market.receipts())
    assert watched.value("energy_pending_credits_total") == len(market.credits())
    assert watched.value("energy_pending_credits_kwh") == sum(row["amount_kwh"] for row in market.credits())
    assert watched.value("energy_active_disputes_total") == market.disputes_opened - market.disputes_resolved
    assert watched.value("energy_settlement_mode") == 1
    assert watched.value("energy_settlements_total", "energy-0x00000000") == market.settlements(0)


async def test_the_price_is_weighted_and_absent_where_nothing_is_on_offer(watched: Watching) -> None:
    """A mean over nothing is no number, and not zero."""
    state = watched.line.node.market.state()
    one, other, *_ = state["providers"]
    one |= {"available_kwh": 30, "price_per_kwh": 100}
    other |= {"available_kwh": 10, "price_per_kwh": 200}
    watched.line.spoiled[MARKET] = lambda _: {**state, "providers": [one, other]}
    await watched.round()
    assert watched.value("energy_market_price_current") == 125
    one["available_kwh"] = other["available_kwh"] = 0
    found = await watched.round()
    assert "energy_market_price_current" not in found.series
    assert watched.value("energy_market_volume_current") == 0


async def test_where_both_know_a_number_the_method_s_word_counts(watched: Watching) -> None:
    """And the text's when the method is silent."""
    watched.line.spoiled[RECEIPTS] = lambda params: {"total": 777, "receipts": []}
    await watched.round()
    assert watched.value("energy_receipt_total") == 777
    watched.line.spoiled[RECEIPTS] = Malformed("nonsense")
    watched.clock.now += 30
    await watched.round()
    watched.clock.now += 40
    assert watched.value("energy_receipt_total") == len(watched.line.node.market.receipts())


async def test_the_text_can_come_by_the_method(watched: Watching) -> None:
    """Where no listener is configured."""
    watched = watching(replace(CONFIG, metrics_url=None))
    found = await watched.round()
    assert watched.fresh() == ALL
    assert "energy_readings_total" in found.series
    assert "metrics" in watched.line.methods()
    assert "/metrics" not in watched.line.methods()


async def test_long_lists_are_read_page_by_page(watched: Watching) -> None:
    """All of the credits, since their sum is shown."""
    rows = [{"amount_kwh": number} for number in range(600)]
    watched.line.spoiled[CREDITS] = lambda params: {
        "total": len(rows), "credits": rows[250 * params["page"]:][:params["page_size"]],
    }  # fmt: skip
    await watched.round()
    assert watched.value("energy_pending_credits_kwh") == sum(range(600))
    assert watched.line.methods().count(CREDITS) == 3


@pytest.mark.parametrize(
    "total",
    [
        pytest.param(2_001, id="more than may be read"),
        pytest.param(2**64 - 1, id="more than there can be"),
        pytest.param(400, id="more than the pages hold"),
    ],
)
async def test_a_sum_over_rows_that_were_not_all_read_is_not_shown(watched: Watching, total: int) -> None:
    """Their count is: the node says it."""
    watched.line.spoiled[CREDITS] = lambda params: {
        "total": total, "credits": [{"amount_kwh": 1}] * (250 if params["page"] == 0 else 3),
    }  # fmt: skip
    found = await watched.round()
    assert watched.value("energy_pending_credits_total") == total
    assert "energy_pending_credits_kwh" not in found.series
    assert watched.line.methods().count(CREDITS) <= 2


async def test_disputes_that_are_resolved_while_we_look_are_counted_once(watched: Watching) -> None:
    """Those from before the first look are not: they would count anew at every start."""
    market, counted = watched.line.node.market, []
    for height in (4_000, 4_000, 5_000, 6_000, 6_000, 9_000):
        watched.at(height)
        found = await watched.round()
        counted.append(found.distributions["energy_dispute_resolution_blocks"].counts[-1])
        market = watched.line.node.market
    first = EnergyMarket(seed=0, height=4_000).disputes_resolved
    assert counted[0] == counted[1] == 0
    assert counted[3] == counted[4]
    assert counted == sorted(counted)
    assert counted[-1] == market.disputes_resolved - first
    total = watched.observer.observed().distributions["energy_dispute_resolution_blocks"].total
    assert 40 * counted[-1] <= total <= 440 * counted[-1]


@pytest.mark.parametrize(
    ("pages", "read"),
    [
        pytest.param(1, [0], id="one"),
        pytest.param(3, [0, 1, 2], id="a few: all of them"),
        pytest.param(8, [*range(8)], id="as many as may be read"),
        pytest.param(100, [0, *range(93, 100)], id="more: those at the end, where new ones come"),
    ],
)
async def test_resolved_disputes_are_read_from_the_end(
    watched: Watching, pages: int, read: list[int]
) -> None:
    """The rows are bounded; the first page says how many there are."""
    asked: list[int] = []

    def page(params: dict[str, Any]) -> Any:
        if params["status"] == "open":
            return {"total": 0, "disputes": []}
        asked.append(params["page"])
        first = 250 * params["page"]
        rows = [{"id": n, "opened_at": n, "resolved_at": n + 5} for n in range(first, first + 250)]
        return {"total": 250 * pages, "disputes": rows}

    watched.line.spoiled[DISPUTES] = page
    await watched.round()
    assert asked == read
    assert "disputes" in watched.fresh()


# --- what is not there is absent -------------------------------------------------------------------------


async def test_an_empty_market_shows_zero_providers_and_nothing_else() -> None:
    """The real node in rehearsal: zero where it says zero, absence where it says nothing."""
    watched = watching(node=DEV)
    found = await watched.round()
    assert set(found.series) - OWN == {
        "energy_provider_status", "energy_provider_total", "energy_market_volume_current",
        "energy_settlement_mode", "energy_receipt_total", "energy_pending_credits_total", "energy_pending_credits_kwh",
        "energy_active_disputes_total",
    }  # fmt: skip
    assert watched.up("rpc")
    assert watched.up("metrics")


@pytest.mark.parametrize("method", [MARKET, RECEIPTS, CREDITS, DISPUTES])
async def test_a_method_that_the_node_does_not_have_is_absent_and_no_failure_of_the_source(
    watched: Watching, method: str
) -> None:
    """-32601: its series are not there, not zero, and were they there before, they are gone at once."""
    reading = method.partition(".")[2]
    await watched.round()
    watched.line.node.switches.market_stalls_at = 0
    watched.line.spoiled[method] = Given(
        body=json.dumps({"id": None, "error": {"code": -32601, "message": "method not found"}}).encode()
    )
    await watched.round()
    assert watched.fresh() == ALL - {reading}
    assert watched.up("rpc")
    assert watched.failures() == {(reading, "not_offered"): 1}
    if method == MARKET:
        assert "energy_provider_status" not in watched.observer.observed().series


async def test_a_node_that_has_none_of_the_methods_is_not_up(watched: Watching) -> None:
    """Then it is the wrong address."""
    absent = Given(
        body=json.dumps({"id": None, "error": {"code": -32601, "message": "method not found"}}).encode()
    )
    watched.line.spoiled |= dict.fromkeys((MARKET, RECEIPTS, CREDITS, DISPUTES), absent)
    await watched.round()
    assert not watched.up("rpc")
    assert watched.up("metrics")


async def test_before_the_first_round_only_the_observer_itself_is_shown(watched: Watching) -> None:
    """Not up, nothing fresh, no failure yet; each with every label."""
    found = watched.observer.observed()
    assert set(found.series) == OWN
    assert found.distributions == {}
    assert watched.fresh() == set()
    assert set(found.series["treasury_observer_last_success_timestamp_seconds"].values()) == {0.0}
    assert len(found.series["treasury_observer_failures_total"]) == 5 * 8


# --- refusals -------------------------------------------------------------------------------------------


REFUSALS = {
    "unreachable": (Unreachable("no connection"), "no_answer"),
    "slow": (Lost("no answer within 5 s"), "no_answer"),
    "huge": (Malformed("an answer of more than 4194304 bytes"), "malformed"),
    "garbage": (Given(body=b"\x00\xff<html>"), "malformed"),
    "another id": (Given(body=b'{"id": 99, "jsonrpc": "2.0", "result": {}}'), "malformed"),
    "half": (Given(body=b'{"id": 1, "jsonrpc": "2.0", "resu'), "malformed"),
    "another shape": (lambda _: [1, 2, 3], "malformed"),
    "an error page": (Given(status=502, body=b"bad gateway"), "http_status"),
    "a redirect": (Given(status=302), "http_status"),
    "an error": (Given(body=b'{"id": null, "error": {"code": -32603, "message": "internal"}}'), "refused"),
    "no right": (Given(body=b'{"id": null, "error": {"code": -33009, "message": "unauthorized"}}'), "unauthorised"),
    "our bug": (ZeroDivisionError("oops"), "other"),
    "out of memory": (MemoryError(), "other"),
}  # fmt: skip


@pytest.mark.parametrize("reading", ["market_state", "receipts", "credits", "disputes"])
@pytest.mark.parametrize("refusal", sorted(REFUSALS))
async def test_a_reading_that_fails_leaves_the_others_alone(
    watched: Watching, reading: str, refusal: str
) -> None:
    """Half absent is half shown; where nobody answers the rest of that source is not asked for."""
    given, reason = REFUSALS[refusal]
    watched.line.spoiled[f"energy.{reading}"] = given
    await watched.round()
    order = ["market_state", "receipts", "credits", "disputes"]
    failed = order[order.index(reading) :] if reason == "no_answer" else [reading]
    assert watched.fresh() == ALL - set(failed)
    assert watched.failures() == {(name, reason): 1 for name in failed}
    assert not watched.up("rpc")
    assert watched.up("metrics")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Unreachable("no connection"), "no_answer"),
        (Given(status=404), "http_status"),
        (Given(body=b"energy_readings_total one\n"), "malformed"),
        (Given(body=b"energy_readings_total 1"), "malformed"),
        (Given(body=b"\xff\xfe\n"), "malformed"),
        (RuntimeError("oops"), "other"),
    ],
)
async def test_a_text_that_fails_leaves_the_methods_alone(watched: Watching, given: Any, reason: str) -> None:
    """And the other way round: two sources, each with its own word."""
    watched.line.spoiled["/metrics"] = given
    found = await watched.round()
    assert watched.fresh() == ALL - {"metrics"}
    assert watched.failures() == {("metrics", reason): 1}
    assert watched.up("rpc")
    assert not watched.up("metrics")
    assert "energy_provider_status" in found.series
    assert "energy_readings_total" not in found.series


@pytest.mark.parametrize("text", [7, None, ["a"], "energy_readings_total 1", "a\ud800\n"])
async def test_a_method_metrics_that_gives_no_text_is_malformed(text: Any) -> None:
    """Numbers, lists, text that is cut off, half a character."""
    watched = watching(replace(CONFIG, metrics_url=None))
    watched.line.spoiled["metrics"] = lambda _: text
    if text is None:  # a result of null
        watched.line.spoiled["metrics"] = reply(None)
    await watched.round()
    assert watched.fresh() == ALL - {"metrics"}
    assert set(watched.failures()) == {("metrics", "malformed")}


async def test_a_page_longer_than_asked_for_is_malformed(watched: Watching) -> None:
    """A node that ignores the page size could send everything it has."""
    watched.line.spoiled[RECEIPTS] = lambda _: {"total": 2, "receipts": [{}, {}]}
    await watched.round()
    assert watched.failures() == {("receipts", "malformed"): 1}


# --- age ------------------------------------------------------------------------------------------------


async def test_a_stale_reading_disappears(watched: Watching) -> None:
    """It is shown until it is too old, and then not at all; a new one brings it back."""
    await watched.round()
    watched.line.spoiled |= dict.fromkeys((MARKET, "/metrics"), Unreachable("gone"))
    watched.clock.now += CONFIG.max_age_seconds / 2
    await watched.round()
    assert watched.fresh() == ALL  # of the round before
    assert not watched.up("rpc")
    watched.clock.now += CONFIG.max_age_seconds / 2
    found = watched.observer.observed()
    assert set(found.series) == OWN
    assert found.distributions == {}
    watched.line.spoiled.clear()
    await watched.round()
    assert watched.fresh() == ALL


async def test_age_counts_from_the_question_and_not_from_the_answer(watched: Watching) -> None:
    """A node that answers late does not make its numbers younger."""
    watched.line.takes_seconds = 4.0
    began = watched.clock.now
    await watched.round()
    watched.clock.now = began + CONFIG.max_age_seconds + 0.1
    assert "market_state" not in watched.fresh()
    assert "metrics" in watched.fresh()


# --- bounds ---------------------------------------------------------------------------------------------


async def test_providers_beyond_the_cap_are_other(watched: Watching) -> None:
    """The largest get labels of their own at the first look, and keep them; counts of the rest add up."""
    watched = watching(replace(CONFIG, max_providers=3))
    found = await watched.round()
    own = {"energy-0x00000000", "energy-0x00000001", "energy-0x00000002"}
    market = watched.line.node.market
    assert {place[0] for place in found.series["energy_reputation_score"]} == {*own, "other"}
    assert watched.value("energy_settlements_total", "other") == sum(
        market.settlements(n) for n in range(3, 12)
    )
    assert watched.value("energy_reputation_score", "other") == min(
        row["reputation_score"] for row in market.providers()[3:]
    )
    slashed = found.series["energy_slashing_total"]
    assert {place[0] for place in slashed} == {*own, "other"}
    assert sum(slashed.values()) == market.slashed


async def test_hostile_names_of_providers_never_become_labels(watched: Watching) -> None:
    """Not their text, and not more of them: however many come, round after round."""
    labels: set[str] = set()
    for attempt in range(20):
        lines = [
            f'energy_settlement_total{{provider="{name}"}} {attempt}'
            for name in (
                "a b", "x" * 300, "", "\u202e", "other", 'q\\"uote', "line\\nbreak",
                *(f"p{attempt}-{n}" for n in range(50)),
            )
        ]  # fmt: skip
        watched.line.spoiled["/metrics"] = Given(body="\n".join([*lines, ""]).encode())
        found = await watched.round()
        places = found.series["energy_settlements_total"]
        assert len(places) <= CONFIG.max_providers + 1
        assert sum(places.values()) == attempt * len(lines)
        labels |= {place[0] for place in places}
    assert all(label == "other" or label.startswith(("energy-0x", "p0-")) for label in labels)


async def test_each_request_is_bounded_and_bears_the_token_where_it_belongs() -> None:
    """Time, bytes; the token goes to the methods and not to the listener."""
    watched = watching(node=replace(LIVING, admin_token="s3cret"), token=lambda: "s3cret")
    await watched.round()
    assert watched.fresh() == ALL
    for (_, method, _), bounds in zip(watched.line.asked, watched.line.bounds, strict=True):
        assert bounds["total_seconds"] == bounds["connect_seconds"] == CONFIG.timeout_seconds
        assert bounds["max_bytes"] == CONFIG.max_body_bytes
        assert bounds.get("bearer") == (None if method == "/metrics" else "s3cret")


async def test_without_the_token_the_node_refuses(watched: Watching) -> None:
    """All four, and says so; the text is for everybody."""
    watched = watching(node=replace(LIVING, admin_token="s3cret"))
    await watched.round()
    assert watched.fresh() == {"metrics"}
    assert {reason for _, reason in watched.failures()} == {"unauthorised"}


async def test_a_token_that_cannot_be_read_asks_for_nothing() -> None:
    """It is a failure of the reading, in our words, and not the end of the daemon."""

    def unreadable() -> str:
        raise Rejected("observer.token_file: it is open to others")

    watched = watching(token=unreadable)
    await watched.round()
    assert watched.fresh() == {"metrics"}
    assert {reason for _, reason in watched.failures()} == {"unauthorised"}
    assert watched.line.methods() == ["/metrics"]
    assert "open to others" in watched.seen.events[0].detail


async def test_requests_keep_their_distance(watched: Watching) -> None:
    """Payments come from the same address, and need its share of the node's limit."""
    await watched.round()
    await watched.round()
    moments = [moment for moment, _, _ in watched.line.asked]
    assert len(moments) >= 12
    gaps = [after - before for before, after in pairwise(moments)]
    assert min(gaps) >= CONFIG.pause_seconds


@pytest.mark.parametrize(
    ("given", "silent"),
    [
        pytest.param(Given(status=429), 60, id="HTTP 429"),
        pytest.param(Given(status=429, retry_after_seconds=300.0), 300, id="HTTP 429 with a time"),
        pytest.param(Given(status=429, retry_after_seconds=1.0), 60, id="HTTP 429 with a short time"),
        pytest.param(
            Given(body=b'{"id": null, "error": {"code": -32001, "message": "rate limited"}}'),
            60,
            id="an error",
        ),
    ],
)
async def test_after_a_rate_limit_nothing_is_asked_for_a_while(
    watched: Watching, given: Given, silent: float
) -> None:
    """Neither by the methods nor of the listener: the node bans addresses, and payments share ours."""
    watched.line.spoiled[MARKET] = given
    await watched.round()
    assert watched.line.methods() == [MARKET]
    assert {reason for _, reason in watched.failures()} == {"rate_limited"}
    watched.line.spoiled.clear()
    watched.clock.now += silent - 1
    await watched.round()
    assert watched.line.methods() == [MARKET]
    watched.clock.now += 2
    await watched.round()
    assert watched.fresh() == ALL


# --- what is told, and the task --------------------------------------------------------------------------


async def test_a_source_that_goes_and_comes_back_is_told_once_each(watched: Watching) -> None:
    """Not at every round: the log of a node that is away for a day stays short."""
    await watched.round()
    assert [(event.kind, event.severity, event.fields["source"]) for event in watched.seen.events] == [
        (EventKind.OBSERVER_CHANGED, Severity.INFO, "rpc"),
        (EventKind.OBSERVER_CHANGED, Severity.INFO, "metrics"),
    ]
    watched.seen.events.clear()
    watched.line.spoiled[CREDITS] = Given(status=500)
    for _ in range(3):
        await watched.round()
    watched.line.spoiled.clear()
    await watched.round()
    gone, back = watched.seen.events
    assert (gone.severity, gone.reason, gone.fields["up"]) == (Severity.WARNING, "http_status", False)
    assert gone.detail == "energy.credits: HTTP 500"
    assert (back.severity, back.reason, back.fields["up"]) == (Severity.INFO, "", True)


async def test_the_last_success_is_of_a_whole_round(watched: Watching) -> None:
    """By the wall clock; it stands still while something fails."""
    await watched.round()
    before = watched.value("treasury_observer_last_success_timestamp_seconds", "rpc")
    assert before == watched.clock.unix_seconds()
    watched.line.spoiled[CREDITS] = Given(status=500)
    watched.clock.now += 10
    await watched.round()
    assert watched.value("treasury_observer_last_success_timestamp_seconds", "rpc") == before
    assert watched.value("treasury_observer_last_success_timestamp_seconds", "metrics") == (
        watched.clock.unix_seconds()
    )


async def test_the_task_goes_on_whatever_happens_and_ends_with_its_cancellation(watched: Watching) -> None:
    """Round after round against a node that fails in every way."""
    refusals = iter(REFUSALS.values())
    rounds = 0

    async def sleep(seconds: float) -> None:
        nonlocal rounds
        watched.clock.now += seconds
        if seconds != CONFIG.poll_seconds:
            return
        rounds += 1
        given, _ = next(refusals, (None, None))
        if given is None:
            raise asyncio.CancelledError
        watched.line.spoiled = dict.fromkeys((MARKET, RECEIPTS, CREDITS, DISPUTES, "/metrics"), given)

    watched.clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await watched.observer.run()
    assert rounds == len(REFUSALS) + 1


async def test_the_numbers_of_a_distribution_fit_the_registry(watched: Watching) -> None:
    """The buckets are declared once."""
    found = await watched.round()
    assert found.distributions["energy_dispute_resolution_blocks"].bounds == RESOLUTION_BLOCKS
