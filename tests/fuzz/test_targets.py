"""Every parser of foreign input answers a value within its bounds or raises its own error, whatever it is given."""

import resource
import time
import tracemalloc
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.fuzz.corpus import kept
from tests.fuzz.seeds import HOSTILE, seeds
from tests.fuzz.targets import TARGETS

SEEDS: Final = seeds()
SLOW: Final = {
    "key_file",
    "settings_file",
    "settings_environment",
    "rpc_server",
}  # some milliseconds for each input
BIG: Final = 10_000_000
MEMORY: Final = 40 * BIG  # what parsing may take at its peak: the text, its decoded copy, the values
SECONDS: Final = 20.0  # of processor time; tracemalloc makes it several times as much as it is

NAMES: Final = st.sampled_from(sorted(TARGETS))

# JSON as hostile as the text form allows: numbers out of every range, keys of ours and of nobody.
WORDS: Final = (
    "id", "jsonrpc", "method", "params", "result", "error", "code", "message", "items", "disbursement", "proposal",
    "payload", "destination", "amount", "memo", "scheduled_epoch", "depends_on", "depends_on_refs", "ref", "account",
    "quorum", "operators_ppm", "house", "key", "counter", "decision", "signature", "height", "hash", "accounts", "address",
    "balance", "account_seq", "providers", "governance", "mode", "total", "credits", "disputes", "opened_at", "resolved_at",
    "provider_id", "reputation_score", "compressed", "tip_height", "status", "fee_floor", "block_hash", "fee_charged",
)  # fmt: skip
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -1, 0, 10**39, 10**41])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["included", "approve", "operators", "tb1qqqq", "1_0", "1e3", "+1", "\uff11", "2.0", "\x00", "\ud800"]
    )
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


def as_text(value: Any) -> bytes:
    """Write JSON the lenient way: NaN, half surrogates and all."""
    import json  # noqa: PLC0415  (orjson would refuse what has to be written here)

    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """Take a valid example and cut, repeat, overwrite or insert a few times."""
    data = draw(st.sampled_from(SEEDS[name]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 24)))
        data = data[:start] + draw(st.sampled_from(INSERTED) | st.binary(max_size=6)) + data[end:]
    return data


INSERTED: Final = (
    b"", b"\0", b"\xff", b"-1", b"18446744073709551616", b"9" * 60, b"1e5", b"NaN", b"null", b"true", b"{}", b"[]",
    b'""', b'"\\ud800"', b",", b"\r\n", b"\xc2\xb2", b"\xd9\xa1", b"[" * 40, b"\xff" * 8, b" ", b'"',
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """Take a valid JSON example and put another value at one of its places."""
    value = orjson.loads(draw(st.sampled_from([seed for seed in SEEDS[name] if is_json(seed)])))
    whole = [value]
    holder: Any = whole
    place: Any = 0
    for _ in range(draw(st.integers(0, 4))):
        inner = holder[place]
        if isinstance(inner, dict) and inner:
            holder, place = inner, draw(st.sampled_from(sorted(inner)))
        elif isinstance(inner, list) and inner:
            holder, place = inner, draw(st.integers(0, len(inner) - 1))
    holder[place] = draw(VALUES)
    return as_text(whole[0])


def is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


OF_JSON: Final = sorted(name for name, found in SEEDS.items() if any(is_json(seed) for seed in found))


def often(name: str, times: int) -> settings:
    return settings(
        max_examples=times // 8 if name in SLOW else times,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_valid_hostile_and_kept_inputs_pass(name: str) -> None:
    for data in (*SEEDS[name], *HOSTILE, *kept(name)):
        TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_any_bytes_pass(name: str) -> None:
    @often(name, 120)
    @given(st.binary(max_size=64))
    @example(b"")
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutated_examples_pass(name: str) -> None:
    @often(name, 200)
    @given(mutated(name))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("name", OF_JSON)
def test_other_values_at_any_place_pass(name: str) -> None:
    @often(name, 200)
    @given(changed(name) | VALUES.map(as_text))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("name", sorted(TARGETS))
@pytest.mark.parametrize("pattern", [b"[", b"9", b'"\\u', b"1,", b"\0\n"])
def test_ten_megabytes_cost_bounded_memory_and_time(name: str, pattern: bytes) -> None:
    data = pattern * (BIG // len(pattern))
    tracemalloc.start()
    try:
        before = time.process_time()
        TARGETS[name](data)
        took, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < SECONDS
    assert peak < MEMORY
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 1024**2  # KiB, of the whole process


def test_every_target_has_kept_inputs() -> None:
    assert not [name for name in TARGETS if not kept(name)]
