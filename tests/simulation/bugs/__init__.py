"""
A catalogue of ways to break the protocol, each planted by name and in test code only.

A test that cannot see a planted bug does not test the rule that the bug breaks: the simulator has to find every one of
them, and `pytest --plant NAME` runs any other test with one. `python -m tests.simulation.bugs` hunts them all.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest
from tests.simulation.bugs import (
    believing,
    breakers,
    cancelling,
    evidence,
    leases,
    sending,
    signing,
    staging,
)
from tests.simulation.bugs.planting import load_all
from tests.simulation.bugs.seed import Bug

__all__ = ["BUGS", "Bug", "planted"]

BUGS: Final[Mapping[str, Bug]] = {
    bug.name: bug
    for module in (staging, signing, sending, cancelling, evidence, believing, leases, breakers)
    for bug in module.BUGS
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """
    Run the body with a bug in the product.

    Raises: KeyError for a name that the catalogue does not hold; AttributeError where the code it changes was renamed.
    """
    bug = BUGS[name]
    load_all()
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        yield
