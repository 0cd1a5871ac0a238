"""What a store says of itself, and the report of its last quarantine: for people, and for what follows on it (§8)."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from treasuryd.core.freezing import graver
from treasuryd.core.model import AccountId, FreezeCause
from treasuryd.core.restore import Sign
from treasuryd.sqlite.connect import Connection
from treasuryd.store.queries import load
from treasuryd.store.work import json_text

SQL: Final = load("quarantine.sql")
REPORT: Final = "quarantine"  # in meta: the report of the last quarantine


def meta(connection: Connection, name: str) -> str | None:
    """One thing that the store says of itself."""
    row = connection.execute(SQL["meta"], (name,)).fetchone()
    return None if row is None else str(row[0])


def report(connection: Connection) -> dict[str, Any]:
    """The report of the last quarantine; empty where there was none."""
    found: dict[str, Any] = orjson.loads(meta(connection, REPORT) or "{}")
    return found


def put_report(connection: Connection, body: Mapping[str, Any]) -> None:
    """Keep the report."""
    connection.execute(SQL["put_meta"], (REPORT, json_text(body)))


def running(said: Mapping[str, Any]) -> bool:
    """Whether the quarantine that a report tells of is not over: some account has not left it."""
    return bool(said) and not said.get("left_at")


def was_found(said: Mapping[str, Any], sign: Sign) -> bool:
    """Whether a report names this sign."""
    return any(one["sign"] == sign for one in said.get("found", ()))


def of_account(said: dict[str, Any], account: AccountId) -> dict[str, Any]:
    """What a report says of one account, to be added to."""
    known: dict[str, Any] = said["accounts"].setdefault(account, {"adopted": [], "contradictions": []})
    return known


def freeze_afterwards(connection: Connection, account: AccountId, cause: FreezeCause, detail: str) -> bool:
    """
    Have an account in quarantine frozen once it leaves; answers whether that is news (R9, R14).

    A quarantine is stronger than a freeze and hides it; what was found meanwhile would be forgotten with it.
    """
    said = report(connection)
    known = of_account(said, account)
    if "frozen" in known and not graver(cause, known["frozen"][0]):
        return False
    known["frozen"] = [cause, detail]
    put_report(connection, said)
    return True
