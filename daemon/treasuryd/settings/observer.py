"""The section of the chain observer."""

from typing import Self

from pydantic import model_validator

from treasuryd.core.observed import MAX_PROVIDERS
from treasuryd.settings.fields import (
    DAY,
    Number,
    OptionalPath,
    OptionalPlace,
    OptionalUrl,
    Whole,
    require,
    setting,
)
from treasuryd.settings.sections import Section


class ObserverSection(Section):
    """The chain observer: reads the node's markets and metrics for dashboards; nothing that pays depends on it."""

    enabled: bool = setting(
        False, "Whether it runs. Why not: who shows no energy or receipt dashboards needs none of it."
    )
    rpc_url: OptionalUrl = setting("", "The JSON-RPC that it asks. Empty: the first of `chain.endpoints`.")
    metrics_url: OptionalPlace = setting(
        "", "Where the node's metrics are (its `--metrics-addr`, any path). Empty: the JSON-RPC method `metrics`, which "
        "gives the same text."
    )  # fmt: skip
    token_file: OptionalPath = setting(
        "",
        "File with the bearer token for `energy.*`, where the node wants one. The file is read anew in each round.",
    )
    poll_seconds: Number = setting(
        15.0, "How long it rests between two rounds. Why 15: as often as Prometheus usually asks.", unit="seconds",
        at_least=0.1, at_most=3_600,
    )  # fmt: skip
    pause_seconds: Number = setting(
        0.5, "Between two requests of a round. Why 0.5: payments come from the same address, and have 96 of the node's 100 "
        "requests a second.", unit="seconds", at_least=0, at_most=60,
    )  # fmt: skip
    timeout_seconds: Number = setting(
        5.0, "For one request, answer included. Why 5: the node takes milliseconds.", unit="seconds", at_least=0.1,
        at_most=60,
    )  # fmt: skip
    max_age_seconds: Number = setting(
        60.0, "A reading older than this is no longer shown. Why 60: three rounds may fail.", unit="seconds", at_least=0.2,
        at_most=DAY,
    )  # fmt: skip
    max_body_bytes: Whole = setting(
        4_194_304, "A longer answer is given up. Why 4 MiB: the market with some 12,000 receipts.", unit="bytes",
        at_least=4_096, at_most=67_108_864,
    )  # fmt: skip
    max_rows: Whole = setting(
        2_000, "Rows that it reads of one list, credits or disputes. Why 2,000: eight requests.", at_least=250,
        at_most=100_000,
    )  # fmt: skip
    max_providers: Whole = setting(
        20, "Providers with a label of their own; the rest is `other`. Why 20: as many as a panel can show.", at_least=1,
        at_most=MAX_PROVIDERS,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            2 * self.poll_seconds <= self.max_age_seconds,
            "max_age_seconds must be at least twice poll_seconds: one round may fail",
        )
        return self
