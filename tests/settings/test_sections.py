from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from treasuryd.core.breaker import BreakerSettings
from treasuryd.core.model import MAX_ACCOUNTS, MAX_ENDPOINTS
from treasuryd.errors import Rejected
from treasuryd.settings import Settings, load
from treasuryd.settings.layers import known_places
from treasuryd.settings.observer import ObserverSection
from treasuryd.settings.sections import BreakerSection, LeaseSection


def section_fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            found += section_fields(below)
        else:
            found.append((f"{model.__name__}.{name}", field))
    return found


def test_every_setting_says_what_it_does() -> None:
    """A number with a range states it; a range nobody reads is no help."""
    for name, field in section_fields(Settings):
        assert len(field.description) > 20, name
        bounds = [part for part in field.metadata if hasattr(part, "ge") or hasattr(part, "le")]
        if len(bounds) == 2:
            assert " to " in field.description, name


def test_the_defaults_are_those_of_production() -> None:
    """interfaces.md §4, row by row."""
    settings = Settings()
    rules = settings.rules()
    assert settings.executor.poll_seconds == 5
    assert (rules.epoch_blocks, rules.finality_depth, rules.max_blocks_per_second) == (120, 12, 2)
    windows = (rules.min_vote_window_epochs, rules.min_timelock_epochs, rules.min_rollback_window_epochs)
    assert windows == (4, 2, 1)
    assert {house.min_quorum_ppm for house in rules.houses.values()} == {500_000}
    assert not rules.allow_treasury_initiated
    assert not rules.dependency_satisfied_by_final
    assert rules.fee_uncertainty_max == rules.fee_ceiling
    assert (rules.max_unburned, settings.chain.max_requests_per_second) == (16, 80)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 9477)
    assert (settings.lease.ttl_seconds, settings.lease.renew_seconds) == (10, 3)
    assert (settings.lease.renew_deadline_seconds, settings.lease.candidate_wait_seconds) == (6.5, 12.5)
    breaker = settings.breaker_settings()
    assert (breaker.failure_threshold, breaker.success_threshold) == (5, 2)
    assert (breaker.timeout_secs, breaker.window_secs) == (60, 300)
    assert settings.chain.frame_max_bytes == 32 * 1024 * 1024


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"renew_seconds": 4.0}, "twice renew_seconds"),
        ({"renew_deadline_seconds": 10.0}, "below ttl_seconds"),
        ({"candidate_wait_seconds": 12.0}, "1.25 times"),
    ],
)
def test_the_lease_inequalities_are_checked(change: dict[str, float], complaint: str) -> None:
    """protocol.md §6: all settings, inequalities checked at start."""
    with pytest.raises(ValidationError, match=complaint):
        LeaseSection(**change)


def test_what_is_set_for_the_breakers_is_what_they_work_with() -> None:
    """§7: the original never read its window; each setting here reaches the value that decides."""
    values = {
        "failure_threshold": 7, "success_threshold": 3, "timeout_secs": 61.0, "window_secs": 301.0, "failure_ratio": 0.25,
        "min_calls": 21, "open_cap_secs": 601.0, "permit_secs": 121.0,
    }  # fmt: skip
    assert BreakerSettings(**values) == Settings.model_validate({"breaker": values}).breaker_settings()  # type: ignore[arg-type]
    assert values.keys() == BreakerSection.model_fields.keys()


def test_breaker_settings_are_judged_by_the_breaker_itself() -> None:
    """One rule, in one place."""
    with pytest.raises(ValidationError, match="open_cap_secs"):
        BreakerSection(timeout_secs=100, open_cap_secs=50)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"accounts": [{"name": "a"}, {"name": "a"}]}, "same name"),
        ({"accounts": [{"name": "a", "sink": "x"}, {"name": "b", "sink": "x"}]}, "same sink"),
        (
            {"accounts": [{"name": f"a{number}"} for number in range(MAX_ACCOUNTS + 1)]},
            "limit of one process",
        ),
        (
            {
                "chain": {
                    "endpoints": [{"name": f"e{n}", "url": f"http://e{n}"} for n in range(MAX_ENDPOINTS + 1)]
                }
            },
            f"the limit is {MAX_ENDPOINTS}",
        ),
        ({"accounts": [{"name": "a", "sink": "b"}, {"name": "b"}]}, "also a paying account"),
        ({"devnet": {"enabled": True}}, "needs development"),
        ({"chain": {"endpoints": [{"name": "a"}, {"name": "a"}]}}, "same name"),
        ({"chain": {"endpoints": [{"name": "a"}, {"name": "b"}]}}, "same url"),
        ({"chain": {"endpoints": [{"name": "*"}]}}, "names none"),
        ({"executor": {"batch_min": 2_000}}, "batch_min is above"),
        ({"intake": {"destination_pattern": "("}}, "no regular expression"),
        ({"breaker": {"permit_secs": 20}}, "permit_secs must be above"),
        ({"breaker": {"permit_secs": 35}}, "permit_secs must be above"),
        ({"governance": {"builders": {"keys": ["a" * 63]}}}, "pattern"),
        ({"governance": {"builders": {"retired": ["a" * 64]}}}, "leave it there"),
        ({"governance": {"builders": {"keys": ["a" * 64], "weights": {"a" * 64: 0}}}}, "1 to 1,000,000"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, Any], complaint: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValidationError, match=complaint):
        Settings(**values)


def test_houses_carry_keys_weights_and_retired_keys() -> None:
    """A key without a weight counts once."""
    first, second = "a" * 64, "b" * 64
    house = {"keys": [first, second], "weights": {second: 3}, "retired": [first], "min_quorum_ppm": 660_000}
    settings = Settings(governance={"operators": house})
    operators = next(iter(settings.rules().houses.values()))
    assert operators.keys == {first: 1, second: 3}
    assert operators.retired == {first}
    assert operators.weight == 4
    assert operators.min_quorum_ppm == 660_000


@pytest.mark.parametrize("retired", [[], ["a" * 64]], ids=["voting", "retired"])
def test_no_key_stands_in_both_houses(retired: list[str]) -> None:
    """The message of a vote names no house: whoever reads a signature could have it counted in the other one, too."""
    both = "a" * 64
    house = {"keys": [both, "b" * 64], "retired": retired}
    with pytest.raises(
        ValidationError, match=f"the key {both} stands in operators and in builders.*of its own"
    ):
        Settings(governance={"operators": house, "builders": {"keys": [both]}})
    apart = Settings(governance={"operators": house, "builders": {"keys": ["c" * 64]}}).rules().houses
    assert [sorted(one.keys) for one in apart.values()] == [[both, "b" * 64], ["c" * 64]]


def test_limits_that_are_zero_are_off_or_follow_another() -> None:
    """The two meanings of 0 are written beside each setting."""
    settings = Settings(chain={"fee_ceiling": 7, "fee_uncertainty_max": 0})
    assert settings.rules().max_transfer is None
    assert settings.rules().fee_uncertainty_max == 7
    assert settings.max_fee == 7


def test_running_needs_an_account_and_a_chain() -> None:
    """Other commands do not: `treasuryd submit` talks to a daemon."""
    with pytest.raises(Rejected, match=r"accounts.*\n.*chain\.endpoints"):
        Settings().check_run()
    Settings(
        development=True,
        accounts=[{"name": "a"}],
        devnet={"enabled": True},
    ).check_run()


def test_no_secret_is_shown_or_printed() -> None:
    """`config show` and a stray repr in a log."""
    settings = Settings(devnet={"admin_token": "canary"}, chain={"endpoints": [{"url": "http://node:3030"}]})
    shown = settings.shown()
    assert "canary" not in str(shown)
    assert shown["chain"]["endpoints"][0]["url"] == "http://node:3030"
    assert "canary" not in repr(settings.devnet)


def test_the_log_format_follows_the_mode() -> None:
    """Console in development, JSON in production, unless somebody says otherwise."""
    assert Settings().log_format == "json"
    assert Settings(development=True).log_format == "console"
    assert Settings(development=True, log={"format": "json"}).log_format == "json"


def test_paying_accounts_are_funded_on_the_development_chain() -> None:
    """A demonstration needs money; what is named wins."""
    settings = Settings(
        accounts=[{"name": "a"}, {"name": "b"}],
        devnet={"genesis": {"b": 1, "c": 2}},
    )
    assert settings.genesis_funds == {"a": 1_000_000_000_000, "b": 1, "c": 2}


def test_places_are_unique() -> None:
    """Two settings must not share a variable."""
    variables = ["__".join(place).upper() for place in known_places(Settings)]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"poll_seconds": 40.0}, "at least twice poll_seconds"),
        ({"rpc_url": "http://user:word@node:3030"}, "a user or a password"),
        ({"metrics_url": "http://user@node:9898/metrics"}, "a user or a password"),
        ({"rpc_url": "node:3030"}, "not a URL"),
        ({"metrics_url": "ftp://node/metrics"}, "not a URL"),
        ({"max_providers": 33}, "less than or equal to 32"),
        ({"max_rows": 249}, "greater than or equal to 250"),
    ],
)
def test_the_observer_is_told_nothing_that_it_would_refuse(values: dict[str, Any], complaint: str) -> None:
    """At the start, with the setting's name, and not in its first round."""
    with pytest.raises(ValidationError, match=complaint):
        ObserverSection(**values)


def test_the_observer_is_off_in_production() -> None:
    """Nobody is asked anything that no payment needs, unless somebody wants it."""
    assert not Settings().observer.enabled
    assert (Settings().observer.rpc_url, Settings().observer.metrics_url) == ("", "")


@pytest.mark.parametrize("host", ["", " ", "\t", "127.0.0.1 ", "\u00a0"])
def test_an_empty_host_is_refused(host: str) -> None:
    """The system takes it for every interface, where somebody who left a variable empty meant none."""
    with pytest.raises(Rejected) as caught:
        load(None, {"TREASURYD_HTTP__HOST": host})
    assert "host: an address or one name is needed, such as 127.0.0.1" in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::", "localhost", "treasury.lan"])
def test_a_host_that_is_meant_is_taken(host: str) -> None:
    """Every interface can be asked for, by its address."""
    assert load(None, {"TREASURYD_HTTP__HOST": host}).http.host == host


@pytest.mark.parametrize("name", ["", " ", "a b"])
def test_a_name_that_every_request_has_is_no_allowed_host(name: str) -> None:
    """A request without `Host` has the empty one."""
    with pytest.raises(Rejected, match="allowed_hosts: one is empty or has a blank"):
        load(None, {}, {"http.allowed_hosts": [name]})


def test_no_fee_is_planned_that_the_signer_would_refuse() -> None:
    """§2: a fee above the ceiling is waited out; what the signer refuses waits for a person, item by item."""
    assert Settings(chain={"fee_ceiling": 7}, signer={"max_fee": 5}).rules().fee_ceiling == 5
    assert Settings(chain={"fee_ceiling": 7}, signer={"max_fee": 9}).rules().fee_ceiling == 7
    assert Settings(chain={"fee_ceiling": 7}).rules().fee_ceiling == 7
