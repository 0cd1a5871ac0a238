from typing import Any

import pytest

from treasuryd.chain.config import ChainConfig, EndpointConfig
from treasuryd.core.breaker import BreakerSettings
from treasuryd.core.model import AccountId, Endpoint
from treasuryd.errors import Rejected

NODE = EndpointConfig(name=Endpoint("a"), url="http://127.0.0.1:3030")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"endpoints": ()}, "endpoints", id="none at all"),
        pytest.param({"endpoints": (NODE, NODE)}, "endpoints", id="one name twice"),
        pytest.param(
            {"endpoints": (EndpointConfig(name=Endpoint("*"), url=NODE.url),)},
            "endpoints",
            id="the name for all",
        ),
        pytest.param({"chain_id": 2}, "chain_id", id="another chain"),
        pytest.param({"payers": {AccountId("treasury"): b"short"}}, "payers", id="a key of the wrong length"),
        pytest.param({"read_seconds": 0.0}, "read_seconds", id="no time"),
        pytest.param({"send_seconds": float("inf")}, "send_seconds", id="no end"),
        pytest.param(
            {"breaker": BreakerSettings(permit_secs=20)}, "permit_secs", id="a permit that expires early"
        ),
        pytest.param(
            {"breaker": BreakerSettings(permit_secs=35)},
            "permit_secs",
            id="a permit that expires under a call that had to queue",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    """The operator reads which setting it was; nothing starts with a bound that is none."""
    with pytest.raises(Rejected, match=named):
        ChainConfig(**{"endpoints": (NODE,)} | change)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:3030", "ftp://host", "http://", "http://me:hunter2@host", "http://:hunter2@host", "http://h/hunter2",
     "http://h?hunter2", "http://h#hunter2"],
)  # fmt: skip
def test_an_endpoint_needs_the_url_of_a_node(url: str) -> None:
    """A typo is found at start, not at the first payment; what may be a secret is not repeated (core/urls.py)."""
    with pytest.raises(Rejected, match="endpoint a: the url") as refused:
        EndpointConfig(name=Endpoint("a"), url=url)
    assert "hunter2" not in str(refused.value)
