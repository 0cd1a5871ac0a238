"""
The signer in this process: the `Signer` port over a ledger, with one key per account.

It encodes for itself: whoever asks says what is to be paid and never which bytes to sign.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final, Self

from treasuryd.core.model import (
    AccountId,
    Approval,
    Binding,
    Draft,
    Held,
    Intent,
    IntentId,
    Marks,
    Nonce,
    Refused,
    Signed,
    SignRequest,
    TxHash,
    VariantKind,
)
from treasuryd.core.restore import Witness
from treasuryd.ports import Many, Rows
from treasuryd.signer import importing, ledger, witness
from treasuryd.signer.importing import CANCEL_AMOUNT
from treasuryd.signer.keys import Key
from treasuryd.signer.memory import Waiting
from treasuryd.signer.policy import Policy, objection
from treasuryd.sqlite.connect import Driver
from treasuryd.wire.theblock.transaction import (
    payment_bytes,
    rpc7_from_parts,
    signing_message,
    transaction_id,
)

MAX_BINDINGS: Final = 10_000  # per answer


class LocalSigner:
    """
    Signs, and remembers what it signed.

    Guarantees: same request, same bytes; bytes are durable in the ledger before they are returned; a disbursement and
    a nonce are bound to one payload, but for the exceptions of protocol.md R11.
    Does not guarantee: that what it signed is stored or sent by whoever asked.
    """

    def __init__(self, driver: Driver, keys: Mapping[AccountId, Key], policy: Policy) -> None:
        self._driver = driver
        self._keys = dict(keys)
        self._policy = policy
        self._bench = ledger.Bench(policy=policy, accounts=frozenset(keys), sign=self._sign)

    @classmethod
    async def open(cls, driver: Driver, keys: Mapping[AccountId, Key], policy: Policy) -> Self:
        """Bring the ledger to this version's schema and take it into use."""
        await driver.write(ledger.migrate)
        return cls(driver, keys, policy)

    def retune(self, policy: Policy) -> None:
        """Go on with another policy (SIGHUP): what is refused from now on; what is bound stays bound."""
        self._policy = policy
        self._bench = replace(self._bench, policy=policy)

    @property
    def public_keys(self) -> Mapping[AccountId, bytes]:
        """The public half (32 bytes) of each account's key: a fee probe needs it."""
        return {account: key.public for account, key in self._keys.items()}

    async def vet(self, drafts: Many[Draft]) -> Rows[Draft]:
        """Ask the policy alone; binds and remembers nothing."""
        return [self._vetted(row, draft) for row, draft in enumerate(drafts)]

    async def sign(self, requests: Many[SignRequest], held: Held) -> Rows[Signed]:
        """Sign each account's rows in nonce order, up to the first refusal and all behind it; one ledger transaction."""
        if not requests:
            return []
        terms = {account: lease.term for account, lease in held.leases.items()}
        return await self._driver.write(ledger.sign, requests, terms, self._bench)

    async def marks(self) -> Mapping[AccountId, Marks]:
        """Tell the highest that was ever bound; accounts that never signed have zeros."""
        return await self._driver.read(ledger.marks, tuple(self._keys))

    async def recall(self, sealed: Mapping[AccountId, Marks]) -> Many[AccountId]:
        """Hold our marks against what the store has sealed; the accounts in the answer sign nothing until `adopt`."""
        return await self._driver.write(ledger.recall, dict(sealed))

    async def bindings(self, account: AccountId, *, first: Nonce, limit: int) -> Many[Binding]:
        """Tell what is bound from nonce `first` on; `limit` (1 to 10,000) counts nonces."""
        return await self._driver.read(ledger.bindings, account, first, max(1, min(limit, MAX_BINDINGS)))

    async def never_bound(self, intents: Many[IntentId]) -> Many[bool]:
        """Attest which intents were refused for good and never signed (protocol.md R5 c)."""
        return await self._driver.read(ledger.never_bound, list(intents))

    async def abandon(self, intents: Many[Intent]) -> Many[bool]:
        """Refuse for good what is not bound; what is bound stays bound, and the answer says so."""
        return await self._driver.write(ledger.abandon, list(intents))

    async def confirm_void(self, intents: Many[IntentId], *, by: Approval) -> Rows[IntentId]:
        """Take a person's word that these intents are void; repeating it is harmless."""
        return await self._driver.write(ledger.confirm_void, list(intents), by)

    async def confirm_fill(self, account: AccountId, nonces: Many[Nonce], *, by: Approval) -> None:
        """Take a person's word that these nonces are to be filled; repeating it is harmless."""
        await self._driver.write(ledger.confirm_fill, account, list(nonces), by)

    async def judged_void(self, intents: Many[IntentId]) -> Many[bool]:
        """Tell which intents a person declared void."""
        return await self._driver.read(witness.judged_void, list(intents))

    async def told(self) -> Mapping[AccountId, Witness]:
        """Tell what the store last told of itself (protocol.md §8)."""
        return await self._driver.read(witness.told)

    async def tell(self, news: Mapping[AccountId, Witness]) -> None:
        """Remember the newest heads of the store's journal."""
        await self._driver.write(witness.tell, dict(news))

    async def adopt(
        self,
        account: AccountId,
        bindings: Many[Binding],
        *,
        by: Approval,
        give_up: bool = False,
        beyond_policy: Collection[Nonce] = (),
        old_keys: Collection[bytes] = (),
    ) -> None:
        """
        Import what this signer has forgotten; repeating it is harmless.

        Args: beyond_policy, old_keys: what a person says is ours all the same: nonces that policy forbids today, and
            public keys that the account had before.
        Raises: Rejected, and nothing is imported, when bytes do not say what their request says, carry no true signature
            or one of a key that is not the account's, when policy forbids them, when they contradict the ledger, or when
            they do not reach what the store has sealed.
        """
        for binding in bindings:
            importing.check_bytes(account, binding)
        belief = importing.belief(
            account, self.public_keys, self._policy, beyond_policy=beyond_policy, old_keys=old_keys
        )
        await self._driver.write(ledger.adopt, belief, list(bindings), by, give_up=give_up)

    def _vetted(self, row: int, draft: Draft) -> Draft | Refused:
        if draft.account not in self._keys:
            return _refused(row, draft, Waiting.NO_KEY.value, f"no key for {draft.account}")
        objected = objection(self._policy, draft)
        return draft if objected is None else _refused(row, draft, objected.why.value, objected.detail)

    def _sign(self, request: SignRequest) -> tuple[bytes, TxHash]:
        """Encode and sign one request; called inside the ledger's transaction, which remembers it."""
        key = self._keys[request.account]
        payload = self._payload(request)
        tx_bytes = rpc7_from_parts(payload, key.public, key.sign(signing_message(payload)))
        return tx_bytes, TxHash(transaction_id(payload, key.public))

    def _payload(self, request: SignRequest) -> bytes:
        if request.kind is VariantKind.CANCEL:
            to, amount, memo = self._policy.sink_of(request.account), CANCEL_AMOUNT, b""
        else:
            to, amount, memo = request.destination, request.amount, request.memo.encode()
        return payment_bytes(
            from_=request.account, to=to, amount=amount, fee=request.fee, nonce=request.nonce, memo=memo
        )


def _refused(row: int, draft: Draft, reason: str, detail: str) -> Refused:
    return Refused(row=row, reason=reason, detail=detail, disbursement_id=draft.disbursement_id, first=True)
