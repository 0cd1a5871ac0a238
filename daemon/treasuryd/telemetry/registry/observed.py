"""
What the chain observer reads from the node: energy, oracle, receipt and economics series, and how the observer itself does.

Its labels are closed or capped like all others (`MAX_PROVIDERS`); what the node does not offer is absent, never zero.
"""

from typing import Final

from treasuryd.telemetry.registry.family import Family

FAMILIES: Final = tuple(value for value in list(vars().values()) if isinstance(value, Family))
