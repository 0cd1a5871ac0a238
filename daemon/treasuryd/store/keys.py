"""
One namespace for idempotency keys: a key is that of one whole request, or the name of one batch, never of both.

A file that has grown past what one request holds goes up as a batch under the same key, and would be paid a second time.
A batch's request is stored under `batch:<name>`, so a whole request whose key begins like that stands in a batch's way too.
"""

import datetime as dt
from typing import Final

from treasuryd.core.model import UnixSeconds
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store.desk_queries import DESK

_BATCH: Final = "batch:"


def of_batch(name: str) -> str:
    """The key under which a sealed batch is stored."""
    return f"{_BATCH}{name}"


def check_whole(connection: Connection, key: str, *, now: UnixSeconds) -> None:
    """
    Refuse the new key of a whole request where a batch has it.

    Raises: Rejected (CONFLICT) for a batch that was sealed, or is on its way up.
    """
    _check_requests(connection, key, (of_batch(key),), field="Idempotency-Key")
    for name in dict.fromkeys(
        (key, key.removeprefix(_BATCH))
    ):  # sealed, the second one would be stored under this very key
        row = connection.execute(DESK["batch_under_way"], (name, now)).fetchone()
        if row is not None:
            raise Rejected(
                f"the idempotency key {key!r} belongs to the batch {name!r}, on its way up since {_moment(row[0])}",
                hint="Nothing was stored. Seal that batch, or let it expire unsealed; what is to be paid beside it "
                "needs a key of its own.",
                field="Idempotency-Key",
                kind=Refusal.CONFLICT,
            )


def check_batch(connection: Connection, name: str) -> None:
    """
    Refuse a batch that is not sealed where a whole request has its name for a key.

    Raises: Rejected (CONFLICT).
    """
    _check_requests(connection, name, (name, of_batch(name)), field="batch")


def _check_requests(connection: Connection, key: str, taken: tuple[str, ...], *, field: str) -> None:
    for other in taken:
        row = connection.execute(DESK["request_since"], (other,)).fetchone()
        if row is not None:
            first, count, at = row
            raise Rejected(
                f"the idempotency key {key!r} belongs to the request {other!r} of {_moment(at)}",
                hint=f"Nothing was stored. That one became the disbursements {first} to {first + count - 1}; what is to "
                "be paid beside them needs a new key.",
                field=field,
                kind=Refusal.CONFLICT,
            )


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
