"""
What is searched: the variants that hold, and those that have to fail, each with the property that it breaks.

The models stand beside this file; docs/model.md says in words what each property means.
"""

from typing import Final

from tests.model.spin import Variant


def _variants(model: str, *cases: tuple[str, str], bounds: tuple[str, ...] = ()) -> tuple[Variant, ...]:
    return tuple(
        Variant(model=model, switches=tuple(switches.split()), says=says, bounds=bounds)
        for switches, says in cases
    )


HOLD: Final = (
    Variant(model="payment", says="safe", bounds=("DROPS=0",)),
    Variant(model="payment", says="live", bounds=("PAUSES=0",)),
    *_variants("cancel", ("", "safe"), ("", "live")),
    *_variants(
        "restore",
        ("", "safe"),
        ("", "live"),
        ("LOST", "safe"),
        ("LOST", "live"),
        ("NO_JOURNAL NO_CANCEL", "safe"),
        ("NO_JOURNAL CANCEL_AFTER", "safe"),
    ),
    *_variants("foreign", ("", "safe"), ("", "live")),
)
"""All of them within the bounds that `make test` has time for."""

WIDER: Final = (
    Variant(model="payment", says="safe"),
    Variant(model="payment", says="live", bounds=("REFUSALS=0", "REORGS=0")),
    Variant(model="cancel", says="safe", bounds=("REORGS=2", "PAUSES=2")),
    Variant(model="restore", says="safe", bounds=("REORGS=2",)),
    Variant(model="restore", says="safe", switches=("LOST",), bounds=("REORGS=2",)),
)
"""The same with more faults: `make model` searches them too."""

FAIL: Final = (
    *_variants(
        "payment",
        ("NEW_NONCE", "once"),
        ("SEND_BEFORE_SEAL", "durable"),
        ("NO_FENCE NO_CAS", "one_intent"),
        ("NO_MEMORY", "one_payload"),
        ("FINAL_AT_SIGHT", "paid_is_final"),
        bounds=("DROPS=0",),
    ),
    *_variants("payment", ("UNSTAGE_UNASKED", "live"), ("NO_RESEND", "live"), bounds=("PAUSES=0",)),
    *_variants(
        "cancel",
        ("CANCEL_AT_ANY_TIME", "cancelled"),
        ("BLIND_STAGING", "never_staged"),
        ("VOID_NOT_FOUND", "once"),
        ("VOID_NOT_FOUND", "cancelled"),
        ("VOID_AT_SIGHT", "cancelled"),
        ("NO_FENCE NO_CAS", "once"),
        ("CANCEL_ON_NEXT", "cancelled"),
    ),
    *_variants(
        "restore",
        ("RESUME", "cancelled"),
        ("RESUME", "live"),
        ("RESUME LOST", "once"),
        ("CHAIN_SCAN", "once"),
        ("CHAIN_SCAN", "cancelled"),
        ("NO_JOURNAL", "kept"),
        ("NO_JOURNAL NO_CANCEL LOST", "once"),
        ("LOST LAGGING", "once"),
        ("NO_JOURNAL NO_CANCEL NO_MEMORY", "once"),
        ("NO_JOURNAL NO_CANCEL VOID_STAGED", "once"),
        ("NO_JOURNAL NO_CANCEL UNSTAGE_UNASKED", "live"),
        ("NO_JOURNAL CANCEL_AFTER UNSTAGE_UNASKED", "cancelled"),
    ),
    *_variants(
        "foreign",
        ("THAW_AT_ONCE", "gapless"),
        ("THAW_AT_ONCE", "live"),
        ("ADOPT_AT_ONCE", "gapless"),
        ("VOID_AT_SIGHT", "once"),
    ),
)
