"""What holds after every history: the settlement audit finds nothing."""

from treasuryd.core.audit import Judge
from treasuryd.core.findings import Violation
from treasuryd.core.model import Rules
from treasuryd.main.reading import content_of
from treasuryd.sqlite.connect import Connection
from treasuryd.store import auditing
from treasuryd.store.auditing import Cursor


def audited(connection: Connection, rules: Rules, *, chain_id: int, limit: int = 7) -> list[Violation]:
    """Judge every page of a store, and what only the whole of it shows."""
    judge = Judge(rules=rules, chain_id=chain_id, read=content_of)
    found: list[Violation] = auditing.whole(connection)
    cursor, ended = Cursor(), False
    while not ended:
        page, cursor = auditing.page(connection, cursor, limit)
        found += judge.judge(page)
        ended = cursor.passes > 0 and cursor.movement == 0
    return list(dict.fromkeys(found))
