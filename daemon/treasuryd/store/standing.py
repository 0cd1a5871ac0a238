"""How intents stand at the moment of a change: read once per batch, inside the transaction, with all their variants."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from treasuryd.core.lifecycle import INTENT, Fact
from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    DisbursementId,
    Epoch,
    IntentId,
    Nonce,
    State,
    TxHash,
    UnixSeconds,
    VariantKind,
)
from treasuryd.sqlite.connect import Connection
from treasuryd.store.queries import load
from treasuryd.store.rows import KINDS, STATES, ids_json

SQL: Final = load("queries.sql", "staging.sql")


@dataclass(slots=True)
class Bytes:
    """One variant, as far as a change has to know it; `tx_hash` is None until it is sealed."""

    kind: VariantKind
    tx_hash: TxHash | None


@dataclass(slots=True)
class Standing:
    """One intent as it stands; a change of the batch moves `state` on, so that the next one sees it."""

    id: IntentId
    account: AccountId
    nonce: Nonce
    state: State
    step: str | None
    item: DisbursementId | None
    amount: BaseUnits
    destination: Address
    staged_at: UnixSeconds
    sent_at: UnixSeconds | None  # first time anything of it may have left
    scheduled: (
        Epoch | None
    )  # of its disbursement, as `ready_at`: since when nothing but that epoch kept it back
    ready_at: UnixSeconds | None
    variants: dict[int, Bytes] = field(default_factory=dict)

    def may(self, fact: Fact) -> bool:
        """Whether the table has an arrow for it."""
        return fact in INTENT[self.state]

    def advance(self, fact: Fact) -> State:
        """Follow that arrow; `may` was asked before."""
        self.state = INTENT[self.state][fact]
        return self.state

    @property
    def unsealed(self) -> bool:
        """Whether some variant of it has no bytes yet."""
        return any(variant.tx_hash is None for variant in self.variants.values())

    @property
    def newest(self) -> int:
        """Number of its newest variant."""
        return max(self.variants)


def standing(connection: Connection, ids: Iterable[IntentId]) -> dict[IntentId, Standing]:
    """Read intents; those that do not exist are missing from the answer."""
    found: dict[IntentId, Standing] = {}
    for row in connection.execute(SQL["standing"], (ids_json(ids),)):
        intent = found.get(row[0])
        if intent is None:
            intent = found[row[0]] = Standing(row[0], row[1], row[2], STATES[row[3]], *row[4:12])
        intent.variants[row[12]] = Bytes(KINDS[row[13]], row[14])
    return found
