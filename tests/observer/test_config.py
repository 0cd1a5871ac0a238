from dataclasses import replace
from typing import Any

import pytest
from tests.observer.world import CONFIG

from treasuryd.errors import Rejected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rpc_url", "node:3030"), ("rpc_url", "ftp://node/"), ("rpc_url", "http://user:word@node/"), ("rpc_url", ""),
        ("metrics_url", "file:///etc/passwd"), ("metrics_url", "http://user@node/metrics"),
        ("poll_seconds", 0.0), ("poll_seconds", float("nan")), ("pause_seconds", -1.0), ("timeout_seconds", float("inf")),
        ("max_age_seconds", 0.0), ("ban_seconds", 0.0), ("max_body_bytes", 0), ("max_rows", 249), ("max_providers", 0),
        ("max_providers", 33),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_refused_by_name(name: str, value: Any) -> None:
    """And a URL with a password is not repeated."""
    with pytest.raises(Rejected) as refused:
        replace(CONFIG, **{name: value})
    assert refused.value.field == name
    assert "word" not in str(refused.value).replace("password", "")


def test_no_metrics_url_is_fine() -> None:
    """The method `metrics` is asked then."""
    assert replace(CONFIG, metrics_url=None).metrics_url is None
