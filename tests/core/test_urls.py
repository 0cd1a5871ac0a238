import pytest

from treasuryd.core.urls import fault_of, origin

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:3030",
        "http://127.0.0.1:3030/",
        "https://node.example",
        "http://[::1]:3030",
        "HTTP://node:1",
    ],
)
def test_a_url_that_says_where_a_node_is_is_fine(url: str) -> None:
    """Scheme, host, port."""
    assert fault_of(url) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"http://me:{SECRET}@node:3030", "a user or a password"),
        (f"http://:{SECRET}@node:3030", "a user or a password"),
        (f"http://{SECRET}@node:3030", "a user or a password"),
        ("http://@node:3030", "a user or a password"),
        (f"http://node:3030/{SECRET}", "a path"),
        (f"http://node:3030//{SECRET}", "a path"),
        (f"http://node:3030/?key={SECRET}", "a query or a fragment"),
        (f"http://node:3030#{SECRET}", "a query or a fragment"),
        ("http://node:3030/?", "a query or a fragment"),
        (f"ftp://{SECRET}", "not a URL"),
        (f"http://node:{SECRET}", "not a URL"),
        (f"http://[{SECRET}", "not a URL"),
        ("http://node:0", "not a URL"),
        ("http://node:70000", "not a URL"),
        (f"http://node\\{SECRET}", "not a URL"),
        (f"http://no de/{SECRET}", "not a URL"),
        ("http://no\nde", "not a URL"),
        ("http://:3030", "not a URL"),
        ("127.0.0.1:3030", "not a URL"),
        ("", "not a URL"),
    ],
)
def test_what_may_hold_a_secret_is_refused_and_not_repeated(url: str, fault: str) -> None:
    """Errors name URLs, and anybody may read errors."""
    found = fault_of(url)
    assert found is not None
    assert fault in found
    assert SECRET not in found


def test_metrics_have_a_path_and_nothing_more() -> None:
    """They may lie anywhere on the node."""
    assert fault_of("http://node:9898/metrics", path=True) is None
    assert fault_of(f"http://node:9898/metrics?key={SECRET}", path=True) is not None
    assert fault_of(f"http://{SECRET}@node:9898/metrics", path=True) is not None


def test_an_error_names_where_a_url_leads() -> None:
    """Host and port are what a person needs to look at; the rest may be a secret."""
    assert origin(f"http://me:{SECRET}@node:3030/{SECRET}?{SECRET}#{SECRET}") == "http://node:3030"
