import pytest

from treasuryd.devnet.config import NO_ABILITIES, PROFILES, profile
from treasuryd.errors import Rejected


def test_each_profile_is_what_it_promises() -> None:
    """`dev` is friendly, `real` has the node's limits, `bench` takes what a fast payer brings."""
    dev, real, bench = (profile(name) for name in PROFILES)
    assert dev.abilities.batch
    assert dev.rate_limit is None
    assert (real.rate_limit, real.ban_seconds, real.rules.pending_per_account) == (100, 60.0, 16)
    assert real.abilities == NO_ABILITIES
    assert (bench.rules.pending_per_account, bench.rules.block_txs, bench.block_interval_seconds) == (
        4096,
        4096,
        0.02,
    )
    assert bench.check_signatures
    assert bench.rate_limit is None


def test_an_unknown_profile_is_refused_by_name() -> None:
    """With the names that there are."""
    with pytest.raises(Rejected, match="'fast'") as refused:
        profile("fast")
    assert "dev, real, bench" in refused.value.hint
