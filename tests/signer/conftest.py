from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from treasuryd.core.model import (
    AccountId,
    Address,
    Approval,
    BaseUnits,
    BootSeconds,
    Digest,
    DisbursementId,
    Held,
    Incarnation,
    IntentId,
    Lease,
    Nonce,
    Refused,
    Signed,
    SignRequest,
    Term,
    UnixSeconds,
    VariantKind,
)
from treasuryd.signer import ledger
from treasuryd.signer.keys import Key
from treasuryd.signer.local import LocalSigner
from treasuryd.signer.policy import Policy
from treasuryd.sqlite.connect import Database
from treasuryd.sqlite.inline import InlineDriver

TREASURY = AccountId("treasury")
SECOND = AccountId("second")
PERSON = Approval(who="ada", reason="looked at the chain", at=UnixSeconds(1_000.0))
KEYS = {
    account: Key(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
    for seed, account in enumerate((TREASURY, SECOND), start=1)
}
POLICY = Policy(
    sinks={TREASURY: Address("treasury-sink"), SECOND: Address("second-sink")},
    max_fee=BaseUnits(10_000),
    max_amount=BaseUnits(1_000_000),
)


def held(term: int = 1, *accounts: AccountId) -> Held:
    leases = {
        account: Lease(account=account, incarnation=Incarnation("one"), term=Term(term))
        for account in accounts or (TREASURY, SECOND)
    }
    return Held(leases=leases, until=BootSeconds(1e9))


def request(number: int, **changes: Any) -> SignRequest:
    """The first payment of disbursement `number` under intent and nonce of the same number."""
    asked = SignRequest(
        intent_id=IntentId(number),
        variant=1,
        kind=VariantKind.PAYMENT,
        account=TREASURY,
        nonce=Nonce(number),
        disbursement_id=DisbursementId(number),
        destination=Address(f"tb1payee{number}"),
        amount=BaseUnits(500),
        memo=f"payment {number}",
        fee=BaseUnits(1_000),
        payload_digest=Digest(f"{number:064x}"),
        idempotency_key=f"key#{number}",
        term=Term(1),
    )
    return replace(asked, **changes)


@dataclass
class Desk:
    """A signer over a ledger file that can be closed and opened again, as a restart does."""

    path: Path
    policy: Policy = POLICY
    keys: dict[AccountId, Key] = field(default_factory=lambda: dict(KEYS))
    drivers: list[InlineDriver] = field(default_factory=list)

    async def open(self) -> LocalSigner:
        driver = InlineDriver(Database(path=self.path, application_id=ledger.APPLICATION_ID))
        self.drivers.append(driver)
        return await LocalSigner.open(driver, self.keys, self.policy)

    async def close(self) -> None:
        while self.drivers:
            await self.drivers.pop().close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path / "ledger.db")
    yield made
    await made.close()


@pytest.fixture
async def signer(desk: Desk) -> LocalSigner:
    return await desk.open()


def signed(answer: object) -> Signed:
    assert isinstance(answer, Signed), answer
    return answer


def refused(answer: object) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


Asked = Callable[..., SignRequest]
