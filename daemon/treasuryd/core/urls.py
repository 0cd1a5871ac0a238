"""
What the URL of a node may say: where it is, and nothing else.

Errors, logs, `/status` and `config show` name URLs to whoever reads them. So one that could hold a secret is refused
before anything else happens, and the refusal does not repeat it.
"""

from typing import Final
from urllib.parse import urlsplit

EXAMPLE: Final = "http://127.0.0.1:3030"
_NONE: Final = f"is not a URL such as {EXAMPLE}"
INSTEAD: Final = f"Write it like {EXAMPLE}; where a node wants a secret, let a proxy on this host add it."


def fault_of(url: str, *, path: bool = False) -> str | None:
    """
    Say what is wrong with a URL, in words that go after its name; None when it is fine.

    Args: path: whether it may have one of its own (a place where metrics are).
    Guarantees: nothing of the URL is repeated.
    """
    try:
        parts = urlsplit(url)
        told = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return _NONE
    if not told or not url.isprintable() or " " in url or "\\" in url:
        return _NONE
    if "@" in parts.netloc:
        return "must not hold a user or a password"
    if parts.path not in {"", "/"} and not path:
        return "must not have a path of its own"
    if "?" in url or "#" in url:
        return "must not have a query or a fragment"
    return None


def origin(url: str) -> str:
    """Name where a URL leads, for errors and logs: scheme, host and port, nothing that could be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
