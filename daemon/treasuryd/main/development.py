"""
What development adds: generated house keys, and a sample that is submitted, voted on and followed.

Nothing here is used in production: `settings.development` must be true, and the houses of the configuration empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import anyio

from treasuryd.commands import disbursements, proposals
from treasuryd.commands.office import Office
from treasuryd.core.model import (
    Decision,
    Disbursement,
    DisbursementId,
    House,
    HouseName,
    Rules,
    Status,
)
from treasuryd.core.proposals import vote_message
from treasuryd.core.reading import read_json
from treasuryd.errors import Refusal, Rejected
from treasuryd.signer import keys

KEYS_PER_HOUSE: Final = 3
LOOK_SECONDS: Final = 0.1
ENDED: Final = frozenset({Status.FINALIZED, Status.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """One generated key of a development house."""

    house: HouseName
    key: keys.Key

    @property
    def public(self) -> str:
        """Its public key in hex, as houses list it."""
        return self.key.public.hex()

    def vote(self, item: Disbursement, *, chain_id: int, counter: int = 0) -> proposals.Signed:
        """Approve an item (interfaces.md §2)."""
        message = vote_message(
            chain_id=chain_id,
            disbursement_id=item.id,
            digest=item.payload_digest,
            counter=counter,
            decision=Decision.APPROVE,
        )
        return proposals.Signed(
            house=self.house,
            key=self.public,
            counter=counter,
            decision=Decision.APPROVE,
            signature=self.key.sign(message).hex(),
        )


def voters(folder: Path, secret: bytes) -> list[Voter]:
    """Read the keys of both development houses, generating what is missing; `secret` unlocks them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = []
    for house in HouseName:
        for number in range(1, KEYS_PER_HOUSE + 1):
            path = folder / f"{house}-{number}.key"
            key = keys.load(path, secret) if path.exists() else keys.generate(path, secret)
            found.append(Voter(house=house, key=key))
    return found


def with_houses(rules: Rules, electorate: Iterable[Voter]) -> Rules:
    """Put the generated keys into the houses that the configuration left empty."""
    houses: dict[HouseName, House] = {}
    for name in HouseName:
        house = rules.houses.get(name) or House(name=name)
        generated = {voter.public: 1 for voter in electorate if voter.house is name}
        houses[name] = house if house.keys else replace(house, keys=generated)
    return replace(rules, houses=houses)


async def submit_all(office: Office, place: Path) -> list[DisbursementId]:
    """
    Submit a JSON batch, or every one of a folder in the order of their names, through the same gate as everybody.

    The key of a batch is its digest, so the same again is the same submission. A later batch may name the ids that an
    earlier one was given.
    """
    path = anyio.Path(place)
    files = sorted([file async for file in path.glob("*.json")]) if await path.is_dir() else [path]
    if not files:
        raise Rejected(
            f"{place}: no *.json in this folder", field="file", hint="Name a batch or a folder of batches."
        )
    ids: list[DisbursementId] = []
    for file in files:
        done = await disbursements.submit(office, await _items(file), key=None)
        ids += [item.id for item in done.items]
    return ids


async def _items(file: anyio.Path) -> list[object]:
    try:
        document = read_json(await file.read_bytes())
    except OSError as error:
        raise Rejected(f"{file}: {error.strerror}", field="file", hint="Name a file that exists.") from error
    items = document.get("items") if isinstance(document, Mapping) else None
    if not isinstance(items, list):
        raise Rejected(f'{file}: a batch is an object with "items": [ … ]', field="items")
    return items


async def cast(office: Office, electorate: Sequence[Voter], items: Iterable[Disbursement]) -> int:
    """Approve with every development key what is open for votes; says how many votes were taken."""
    taken = 0
    for item in items:
        if item.status is not Status.VOTING:
            continue
        already = {vote.key for vote in await office.world.desk.votes(item.id)}
        for voter in electorate:
            if voter.public in already:
                continue
            try:
                await proposals.take(office, item.id, voter.vote(item, chain_id=office.chain_id))
                taken += 1
            except Rejected as refusal:
                if refusal.kind not in {Refusal.CONFLICT, Refusal.UNAVAILABLE}:
                    raise  # a vote that closed meanwhile, or a chain not read yet, is no bug of ours
    return taken


async def items_of(office: Office, ids: Sequence[DisbursementId]) -> list[Disbursement]:
    """Read the items that were submitted, in their order."""
    return [item for item in await office.world.desk.get(ids) if item is not None]
