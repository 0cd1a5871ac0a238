from treasuryd.devnet.limiter import MAX_CLIENTS, Limiter


def test_the_request_that_finds_no_token_is_limited_and_the_next_ones_banned() -> None:
    """N11: 100 requests in a second, then 60 s of silence."""
    limiter = Limiter(100, 60.0)
    assert [limiter.refusal("a", now=0.0) for _ in range(100)] == [None] * 100
    assert limiter.refusal("a", now=0.0) == (-32001, "rate limited")
    assert limiter.refusal("a", now=59.9) == (-32002, "banned")
    assert limiter.refusal("a", now=60.0) is None


def test_tokens_come_back_with_time() -> None:
    """At 80 a second nobody is ever limited."""
    limiter = Limiter(100, 60.0)
    assert not [step for step in range(1000) if limiter.refusal("a", now=step / 80) is not None]


def test_addresses_are_counted_apart() -> None:
    """One client's ban is its own."""
    limiter = Limiter(1, 60.0)
    limiter.refusal("a", now=0.0)
    assert limiter.refusal("a", now=0.0) is not None
    assert limiter.refusal("b", now=0.0) is None


def test_idle_addresses_are_forgotten() -> None:
    """The table is bounded by who came lately."""
    limiter = Limiter(1, 60.0)
    for number in range(MAX_CLIENTS):
        limiter.refusal(str(number), now=0.0)
    limiter.refusal("late", now=1000.0)
    assert len(limiter._clients) == 1


def test_without_a_rate_nobody_is_limited() -> None:
    """Profiles `dev` and `bench`."""
    limiter = Limiter(None, 60.0)
    assert {None} == {limiter.refusal("a", now=0.0) for _ in range(500)}
