"""
A catalogue of ways to break the protocol, each planted by name and in test code only.

A test that cannot see a planted bug does not test the rule that the bug breaks: the simulator has to find every one of
them, and `pytest --plant NAME` runs any other test with one. `python -m tests.simulation.bugs` hunts them all.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest
from tests.simulation.bugs.believing import BUGS as BELIEVING
from tests.simulation.bugs.breakers import BUGS as BREAKERS
from tests.simulation.bugs.cancelling import BUGS as CANCELLING
from tests.simulation.bugs.evidence import BUGS as EVIDENCE
from tests.simulation.bugs.leases import BUGS as LEASES
from tests.simulation.bugs.planting import load_all
from tests.simulation.bugs.restore import BUGS as RESTORE
from tests.simulation.bugs.seed import Bug
from tests.simulation.bugs.sending import BUGS as SENDING
from tests.simulation.bugs.signing import BUGS as SIGNING
from tests.simulation.bugs.staging import BUGS as STAGING
from tests.simulation.settings import OVERRIDES

__all__ = ["BUGS", "Bug", "planted", "world_of"]

ROUNDS: Final = (
    48  # of waiting at the end: some ten minutes; a payment that is stuck by a bug takes no longer to show
)
ALL: Final = (*STAGING, *SIGNING, *SENDING, *CANCELLING, *EVIDENCE, *BELIEVING, *LEASES, *BREAKERS, *RESTORE)
BUGS: Final[Mapping[str, Bug]] = {bug.name: bug for bug in ALL}
assert len(BUGS) == len(ALL), "two bugs of one name"


@contextmanager
def planted(name: str) -> Iterator[None]:
    """
    Run the body with a bug in the product, in the world that it asks for.

    Raises: KeyError for a name that the catalogue does not hold; AttributeError where the code it changes was renamed.
    """
    bug = BUGS[name]
    load_all()
    with world_of(name), pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        yield


@contextmanager
def world_of(name: str) -> Iterator[None]:
    """Run the body in the world that a bug asks for, without the bug."""
    with pytest.MonkeyPatch.context() as patch:
        for setting, value in {"rounds": ROUNDS, **BUGS[name].world}.items():
            patch.setitem(OVERRIDES, setting, value)
        yield
