import re

from treasuryd.host.entropy import SystemEntropy


def test_draws_lie_in_the_half_open_unit_interval() -> None:
    """1.0 would be outside what backoff and jitter are written for."""
    draws = [SystemEntropy().draw() for _ in range(2_000)]
    assert all(0.0 <= draw < 1.0 for draw in draws)
    assert 0.4 < sum(draws) / len(draws) < 0.6


def test_replay_nonces_fit_a_signed_column_and_differ() -> None:
    """N10: every attempt carries a fresh replay nonce, of 63 random bits."""
    drawn = {SystemEntropy().bits63() for _ in range(1_000)}
    assert len(drawn) == 1_000
    assert max(drawn) < 2**63
    assert max(drawn) > 2**60


def test_an_id_is_32_hex_digits_and_new() -> None:
    """Incarnations and folder ids must never repeat."""
    ids = {SystemEntropy().new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)
