"""
What the signer remembers of the store: verbs on the ledger, run by a driver (protocol.md §8).

The store tells the heads of its journal, and is asked at each start, claim and renewal whether it still holds them.
"""

import json
from collections.abc import Mapping, Sequence

from treasuryd.core.model import AccountId, IntentId
from treasuryd.core.restore import Witness
from treasuryd.signer.ledger import SQL
from treasuryd.sqlite.connect import Connection


def told(connection: Connection) -> dict[AccountId, Witness]:
    """What was last told, by account."""
    found: dict[AccountId, tuple[str, dict[str, tuple[int, str]]]] = {}
    for account, chain, lineage, seq, digest in connection.execute(SQL["witnesses"]).fetchall():
        found.setdefault(AccountId(account), (lineage, {}))[1][chain] = (seq, digest)
    return {account: Witness(lineage=lineage, heads=heads) for account, (lineage, heads) in found.items()}


def tell(connection: Connection, news: Mapping[AccountId, Witness]) -> None:
    """Remember the newest heads; what was told before is replaced."""
    rows = [
        (account, chain, one.lineage, seq, digest)
        for account, one in news.items()
        for chain, (seq, digest) in one.heads.items()
    ]
    connection.executemany(SQL["put_witness"], rows)


def judged_void(connection: Connection, intents: Sequence[IntentId]) -> list[bool]:
    """For each intent, whether a person declared it void."""
    void = {row[0] for row in connection.execute(SQL["judged_void"], (json.dumps(list(intents)),)).fetchall()}
    return [intent in void for intent in intents]
