"""
Long files: a named batch goes up in parts, invisible to the executor until it is sealed whole (interfaces.md §1).

Repeating any step is harmless, so that an interrupted upload is taken up again: an equal part is a no-op, a sealed batch
answers with its disbursements. A batch that is not sealed in time is dropped with its parts.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from treasuryd.core.intake import check_refs
from treasuryd.core.model import Digest, NewDisbursement, UnixSeconds
from treasuryd.core.staging import canonical_json, payload_digest, request_digest
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Submission, Submitted
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal, keys
from treasuryd.store.desk_intake import answered, read_item, store, written_item
from treasuryd.store.desk_queries import DESK

MAX_OPEN: Final = 100  # batches on their way up
MAX_PARTS: Final = 1_000
MAX_ITEMS: Final = (
    100_000  # sealing that many is one transaction of two seconds, well within the lease's deadline
)


def open_batch(connection: Connection, name: str, *, now: UnixSeconds, expires_seconds: float) -> None:
    """
    Begin a batch, or go on with one of that name; one that was sealed already stays as it is.

    Raises: Rejected for a name that is empty or longer than 150 characters, one that is the key of a whole request
        (CONFLICT), or when 100 batches are under way.
    """
    connection.execute(DESK["expire_batches"], (now,))
    if not 1 <= len(name) <= 150 or not name.isascii() or not name.isprintable() or " " in name:
        raise Rejected("batch: a name is 1 to 150 printable ASCII characters without spaces", field="batch")
    found = connection.execute(DESK["batch"], (name,)).fetchone()
    if found is None or found[0] is None:
        keys.check_batch(connection, name)
    if found is None:
        under_way = connection.execute(DESK["open_batches"]).fetchone()[0]
        if under_way >= MAX_OPEN:
            raise Rejected(
                f"{under_way} batches are on their way up already, the limit is {MAX_OPEN}",
                hint="Seal one, or wait until unsealed ones expire.",
                kind=Refusal.CONFLICT,
            )
        journal.append(connection, journal.PEOPLE, "open_batch", {"batch": name}, now)
    connection.execute(DESK["put_batch"], (name, now, now + expires_seconds))


def add_part(connection: Connection, name: str, part: int, request: Submission, *, now: UnixSeconds) -> int:
    """
    Add one part; answers how many items the batch holds then.

    Raises: Rejected when there is no such batch, its name is the key of a whole request (CONFLICT), the part's number is
        none, another part has that number, or the batch would grow beyond 100,000 items.
    """
    sealed = _sealed_at(connection, name, now)
    if not 1 <= part <= MAX_PARTS:
        raise Rejected(f"part: must be 1 to {MAX_PARTS}, got {part}", field="part")
    stored = connection.execute(DESK["part"], (name, part)).fetchone()
    if stored is not None and stored[0] != request.request_digest:
        raise Rejected(f"part {part} of batch {name} was another one", field="part", kind=Refusal.CONFLICT)
    if stored is None and sealed is not None:
        raise Rejected(f"batch {name} is sealed without a part {part}", field="part", kind=Refusal.CONFLICT)
    if stored is None:
        held = int(connection.execute(DESK["part_sum"], (name,)).fetchone()[0])
        if held + len(request.items) > MAX_ITEMS:
            raise Rejected(
                f"batch {name} would hold {held + len(request.items)} items, the limit is {MAX_ITEMS}",
                hint="Use another batch for the rest.",
                kind=Refusal.TOO_LARGE,
            )
        text = canonical_json([written_item(item) for item in request.items]).decode()
        row = (name, part, request.key, request.request_digest, len(request.items), text)
        connection.execute(DESK["put_part"], row)
    return int(connection.execute(DESK["part_sum"], (name,)).fetchone()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A batch as it would be sealed: its request, where each item stands, and what could be digested beforehand."""

    request: Submission
    names: tuple[str, ...]
    digests: tuple[Digest | None, ...]
    wrong: Rejected | None


def gather(connection: Connection, name: str) -> Gathered | None:
    """
    Put the parts of a batch together, on the reading side: 100,000 items take seconds that nobody has to wait for.

    Answers None for a batch that is sealed, or not there. Refs may point from one part into another, so they are judged
    here, over all of them.
    """
    row = connection.execute(DESK["batch"], (name,)).fetchone()
    if row is None or row[0] is not None:
        return None
    items: list[NewDisbursement] = []
    names: list[str] = []
    digests: list[str] = []
    for number, digest, text in connection.execute(DESK["parts"], (name,)).fetchall():
        part = [read_item(written) for written in orjson.loads(text)]
        items.extend(part)
        names.extend(f"part {number}: items[{place}]." for place in range(len(part)))
        digests.append(digest)
    wrong = check_refs(items, names)
    return Gathered(
        request=Submission(
            key=keys.of_batch(name),
            request_digest=request_digest([Digest(one) for one in digests]),
            items=tuple(items),
        ),
        names=tuple(names),
        digests=tuple(None if item.depends_on_refs else payload_digest(item) for item in items),
        wrong=wrong[0] if wrong else None,
    )


def seal_batch(
    connection: Connection,
    name: str,
    gathered: Gathered | None,
    *,
    parts: int,
    now: UnixSeconds,
    satisfied_by_final: bool,
) -> Submitted:
    """
    Make a batch real: all parts at once, or nothing. Sealed before: the first answer again.

    Raises: Rejected when its name is the key of a whole request (CONFLICT), when parts 1 … `parts` are not exactly those
        that are there, when refs among them do not work out, or when a part came in after `gathered` was read
        (CONFLICT: seal again).
    """
    _sealed_at(connection, name, now)
    kept = connection.execute(DESK["part_numbers"], (name,)).fetchall()
    digests = {number: digest for number, digest, *_ in kept}
    absent = next((number for number in range(1, parts + 1) if number not in digests), None)
    if absent is not None or len(digests) != parts or not parts:
        raise Rejected(
            f"batch {name} holds {len(digests)} parts, {parts} were announced"
            + (f"; part {absent} is missing" if absent is not None else ""),
            hint="Send the missing parts, then seal again.",
            field="parts",
            kind=Refusal.CONFLICT,
        )
    digest = request_digest([Digest(digests[number]) for number in sorted(digests)])
    known = answered(connection, keys.of_batch(name), digest)
    if known is not None:
        return known
    if gathered is None or gathered.request.request_digest != digest:
        raise Rejected(f"batch {name} changed while it was read: seal it again", kind=Refusal.CONFLICT)
    if gathered.wrong is not None:
        raise gathered.wrong
    done = store(
        connection,
        gathered.request,
        gathered.names,
        now=now,
        satisfied_by_final=satisfied_by_final,
        digests=gathered.digests,
    )
    connection.execute(DESK["seal_batch"], (name, now))
    rows = [(name, number, key, digest, count) for number, digest, key, count in kept]
    # the journal tells of parts here for the first time: a replay brings them back, for whoever repeats one
    connection.executemany(DESK["keep_part"], rows)
    return done


def _sealed_at(connection: Connection, name: str, now: UnixSeconds) -> float | None:
    connection.execute(DESK["expire_batches"], (now,))
    row = connection.execute(DESK["batch"], (name,)).fetchone()
    if row is None:
        raise Rejected(
            f"there is no batch {name[:150]!r}",
            hint="Open it first; an unsealed batch expires after a while.",
            field="batch",
            kind=Refusal.NOT_FOUND,
        )
    sealed: float | None = row[0]
    if sealed is None:  # one of an older version may stand beside a whole request of its name
        keys.check_batch(connection, name)
    return sealed
