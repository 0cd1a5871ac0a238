"""Servers that are no nodes, as the chain adapter's tests have them."""

from tests.chain.conftest import raw

__all__ = ["raw"]
