import resource
from collections.abc import Callable

import pytest

from treasuryd.errors import Rejected
from treasuryd.host.descriptors import RESERVED, reserve

Limits = tuple[int, int]
Given = Callable[[int, int], list[Limits]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """A process with these limits; answers the list of what it sets."""

    def limits(soft: int, hard: int) -> list[Limits]:
        found: list[Limits] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, both: found.append(both))
        return found

    return limits


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        pytest.param(1024, 4096, [], id="enough already"),
        pytest.param(resource.RLIM_INFINITY, resource.RLIM_INFINITY, [], id="without limit"),
        pytest.param(128 + RESERVED, 200, [], id="just enough"),
        pytest.param(100, 4096, [(128 + RESERVED, 4096)], id="raised within the hard limit"),
        pytest.param(
            100, resource.RLIM_INFINITY, [(128 + RESERVED, resource.RLIM_INFINITY)], id="no hard limit"
        ),
    ],
)
def test_the_limit_suffices_for_strangers_and_for_us(
    soft: int, hard: int, expected: list[Limits], given: Given
) -> None:
    """The connections that the port may hold must not be able to starve the store."""
    found = given(soft, hard)
    reserve(128)
    assert found == expected


def test_what_the_system_does_not_allow_is_refused_at_the_start(given: Given) -> None:
    """Said to a person then, and not by a failing store at night."""
    found = given(100, 100)
    with pytest.raises(Rejected, match=r"100 open files.*may need 192") as refused:
        reserve(128)
    assert "LimitNOFILE" in refused.value.hint
    assert found == []
