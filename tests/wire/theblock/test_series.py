import pytest

from treasuryd.core.observed import ORACLE_BUCKETS, Distribution
from treasuryd.telemetry.registry.observed import FAMILIES
from treasuryd.wire.theblock.exposition import Sample, read_exposition
from treasuryd.wire.theblock.series import BY_PROVIDER, LATENCY, RULES, WANTED, translate

REGISTRY = {family.name: family for family in FAMILIES}


def seen(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    lines = "".join(f"{line.strip()}\n" for line in text.strip().splitlines())
    found = translate(read_exposition(lines.encode(), wanted=WANTED))
    return {name: dict(places) for name, places in found.series.items()}


def latency(text: str) -> Distribution | None:
    lines = "".join(f"{line.strip()}\n" for line in text.strip().splitlines())
    return translate(read_exposition(lines.encode(), wanted=WANTED)).distributions.get(LATENCY)


def test_every_rule_fills_a_metric_of_the_registry() -> None:
    """With as many labels, and only values that the registry has."""
    for rule in (rule for rules in RULES.values() for rule in rules):
        family = REGISTRY[rule.ours]
        labels = [*("market" for _ in rule.fixed), *rule.labels]
        assert list(family.label_names) == labels, rule
        assert ("provider" in labels) == (rule.ours in BY_PROVIDER)
        for name, value in zip(family.labels, rule.fixed, strict=False):
            assert value in name.values, rule
        closed = [label for label in family.labels[len(rule.fixed) :] if label.values]
        kinds = [kind for kind in rule.labels.values() if kind is not None]
        for label, kind in zip(closed, kinds, strict=True):
            assert set(label.values) == (rule.only or {member.value for member in kind}), rule


def test_names_of_operators_replace_the_node_s() -> None:
    """theblock-monitoring.md §1.2: renamed, and families per market under one label."""
    found = seen("""
        energy_settlement_total{provider="energy-0x1"} 7
        oracle_submission_errors_total{reason="bad_signature"} 3
        oracle_submission_errors_total{reason="stale_timestamp"} 4
        receipts_storage_total 10
        receipts_ad_total 20
        receipts_energy_slash_total 2
        receipt_validation_failures_total 5
        economics_epoch_tx_count 400
    """)
    assert found == {
        "energy_settlements_total": {("energy-0x1",): 7.0},
        "oracle_submission_errors_total": {("bad_signature",): 3.0, ("stale_timestamp",): 4.0},
        "energy_signature_verification_failures_total": {("bad_signature",): 3.0},
        "receipt_emitted_total": {("storage",): 10.0, ("ad",): 20.0},
        "receipt_slashes_total": {("energy",): 2.0},
        "receipt_validation_failures_total": {(): 5.0},
        "receipt_validation_errors_total": {(): 5.0},
        "economics_epoch_tx_count": {(): 400.0},
    }


def test_what_the_node_does_not_export_is_not_there() -> None:
    """Not as zero: an empty text shows nothing at all."""
    assert seen("block_mined_total 7\n") == {}


def test_values_of_closed_labels_that_are_none_of_ours_are_other_or_nothing() -> None:
    """Where the set has an `other` they add up under it; a fifth market goes no further."""
    found = seen("""
        energy_reading_reject_total{reason="bad_signature"} 1
        energy_reading_reject_total{reason="new reason"} 2
        energy_reading_reject_total{reason="another"} 3
        energy_slashing_total{provider="p",reason="whim"} 4
        economics_utilization{market="energy"} 0.5
        economics_utilization{market="moon"} 0.9
    """)
    assert found == {
        "energy_reading_reject_total": {("bad_signature",): 1.0, ("other",): 5.0},
        "energy_slashing_total": {("p", "other"): 4.0},
        "economics_utilization": {("energy",): 0.5},
    }


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("energy_settlement_total 7", id="a label is missing"),
        pytest.param('energy_readings_total{shard="1"} 7', id="a label too many"),
        pytest.param('energy_slashing_total{provider="p",why="quorum"} 7', id="another label"),
        pytest.param("energy_readings_total -7", id="a negative count"),
        pytest.param('economics_multiplier{market="ad"} -1', id="a negative share"),
    ],
)
def test_a_series_that_is_not_the_one_we_know_goes_no_further(line: str) -> None:
    """Neither guessed at nor shown."""
    assert seen(line) == {}


def test_inflation_and_margins_may_be_negative() -> None:
    """They are; nothing else is."""
    found = seen("""
        economics_realized_inflation_bps -12
        economics_provider_margin{market="ad"} -0.2
    """)
    assert found["economics_realized_inflation_bps"] == {(): -12.0}
    assert found["economics_provider_margin"] == {("ad",): -0.2}


@pytest.mark.parametrize("name", ["oracle_inclusion_lag_seconds", "oracle_reading_latency_seconds"])
def test_the_latency_of_oracles_is_shown_as_soon_as_a_node_exports_it(name: str) -> None:
    """Under the required name; its bounds may be fewer than ours, and are sorted."""
    found = latency(f"""
        {name}_bucket{{le="1.0"}} 4
        {name}_bucket{{le="0.5"}} 2
        {name}_bucket{{le="10"}} 5
        {name}_bucket{{le="+Inf"}} 6
        {name}_sum 31.5
        {name}_count 6
    """)
    assert found == Distribution(bounds=(0.5, 1.0, 10.0), counts=(2.0, 4.0, 5.0, 6.0), total=31.5)


@pytest.mark.parametrize(
    ("change", "to"),
    [
        pytest.param("_sum 31.5", "_more 31.5", id="no sum"),
        pytest.param("_count 6", "_counts 6", id="no count"),
        pytest.param('"+Inf"} 6', '"Inf"} 6', id="no infinity"),
        pytest.param("_count 6", "_count 7", id="a count that is not the last bucket"),
        pytest.param('le="0.5"} 2', 'le="0.5"} 5', id="falling buckets"),
        pytest.param('le="0.5"} 2', 'le="0.5"} -1', id="a negative bucket"),
        pytest.param('le="0.5"', 'le="0.6"', id="a bound that the registry does not have"),
        pytest.param("_sum 31.5", "_sum -1", id="a negative sum"),
        pytest.param('le="0.5"', 'l="0.5"', id="a bucket without its bound"),
    ],
)
def test_a_histogram_that_does_not_fit_together_is_not_shown(change: str, to: str) -> None:
    """A percentile of it would be invented."""
    whole = """
        oracle_reading_latency_seconds_bucket{le="0.5"} 2
        oracle_reading_latency_seconds_bucket{le="1"} 4
        oracle_reading_latency_seconds_bucket{le="+Inf"} 6
        oracle_reading_latency_seconds_sum 31.5
        oracle_reading_latency_seconds_count 6
    """
    assert latency(whole) is not None
    assert change in whole
    assert latency(whole.replace(change, to)) is None


def test_every_bound_of_the_registry_is_understood_in_both_spellings() -> None:
    """Nodes write 1 or 1.0."""
    for spell in (repr, lambda bound: f"{bound:g}"):
        samples = [
            Sample("oracle_reading_latency_seconds_bucket", {"le": spell(bound)}, 1.0)
            for bound in ORACLE_BUCKETS
        ]
        samples += [
            Sample("oracle_reading_latency_seconds_bucket", {"le": "+Inf"}, 1.0),
            Sample("oracle_reading_latency_seconds_sum", {}, 0.001),
            Sample("oracle_reading_latency_seconds_count", {}, 1.0),
        ]
        assert translate(samples).distributions[LATENCY].bounds == ORACLE_BUCKETS
