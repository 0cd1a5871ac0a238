"""Votes are counted again right before the money is bound, with the keys of today (protocol.md §2)."""

from dataclasses import replace

import pytest
from tests.histories.conftest import Begin
from tests.histories.test_paying import HOUSES, PROPOSAL, VOTER, approve
from tests.world import ADA, RULES, History, new

from treasuryd.core.model import DisbursementId, Evidence, House, HouseName, Status
from treasuryd.core.staging import payload_digest
from treasuryd.sqlite.connect import Connection

KEY = VOTER.public_key().public_bytes_raw().hex()
OTHER = "ab" * 32
GOVERNED = replace(RULES, houses=HOUSES)


def houses(keys: dict[str, int], *, retired: frozenset[str] = frozenset()) -> dict[HouseName, House]:
    return {name: House(name=name, keys=keys, retired=retired) for name in HouseName}


async def queued(begin: Begin, evidence: Evidence) -> tuple[History, DisbursementId]:
    """An item that both houses approved, in its timelock."""
    history = await begin(evidence, rules=GOVERNED)
    (item,) = await history.submit(new("grant", proposal=PROPOSAL))
    await history.until(lambda: is_(history, item, Status.VOTING))
    await approve(history, item)
    await history.until(lambda: is_(history, item, Status.QUEUED))
    return history, item


async def is_(history: History, item: DisbursementId, status: Status) -> bool:
    return await history.status(item) is status


async def held(history: History, item: DisbursementId) -> bool:
    return (await history.item(item)).hold == "approval_lost"


async def test_votes_of_a_retired_key_still_count(begin: Begin, evidence: Evidence) -> None:
    """Retired after it voted: its old vote carries the payment."""
    history, item = await queued(begin, evidence)
    history.rules = replace(GOVERNED, houses=houses({KEY: 1}, retired=frozenset({KEY})))
    await history.crash()

    await history.finalized([item])

    assert history.paid("grant") == 1


@pytest.mark.parametrize("keys", [{OTHER: 1}, {KEY: 1, OTHER: 9}], ids=["taken away", "outweighed"])
async def test_an_approval_that_no_longer_holds_is_not_paid(
    begin: Begin, evidence: Evidence, keys: dict[str, int]
) -> None:
    """A key that was struck from the configuration, or outweighed since: held, visibly, and never bound to a nonce."""
    history, item = await queued(begin, evidence)
    history.rules = replace(GOVERNED, houses=houses(keys))
    await history.crash()
    (plain,) = await history.submit(new("plain", to="tb1bob"))

    await history.until(lambda: held(history, item))
    await history.finalized([plain])

    assert await history.desk.intents(item) == []
    assert (history.paid("grant"), history.paid("plain")) == (0, 1)
    history.rules = GOVERNED  # the configuration is put right: the next holder counts anew
    await history.crash()
    await history.finalized([item])
    assert history.paid("grant") == 1


async def test_votes_that_were_changed_by_hand_do_not_count(begin: Begin, evidence: Evidence) -> None:
    """The stored signature is verified anew, not the stored decision."""
    history, item = await queued(begin, evidence)
    history.forged = True
    await history.sql.write(lambda rows: rows.execute("UPDATE vote SET counter = counter + 1"))

    await history.until(lambda: held(history, item))
    await history.desk.release([item], by=ADA)
    await history.run(5)

    assert await history.desk.intents(item) == []
    assert await held(history, item)


async def test_a_policy_that_was_withdrawn_holds_what_waited_under_it(begin: Begin) -> None:
    """§2: payable without a vote yesterday is not payable today; put back, the next start pays what it held."""
    history = await begin(Evidence.HASH, rules=GOVERNED)
    (bonus,) = await history.submit(new("bonus", scheduled=2))
    await history.until(lambda: is_(history, bonus, Status.TIMELOCKED))
    history.rules = replace(GOVERNED, allow_treasury_initiated=False)
    await history.crash()

    await history.until(lambda: held(history, bonus))
    assert "governance.allow_treasury_initiated" in (await history.item(bonus)).hold_detail
    await history.desk.release([bonus], by=ADA)
    await history.until(lambda: held(history, bonus))  # a person's word is no policy
    assert await history.desk.intents(bonus) == []

    history.rules = GOVERNED
    await history.crash()
    await history.finalized([bonus])
    assert history.paid("bonus") == 1


async def test_a_proposal_that_was_taken_out_by_hand_is_not_paid(begin: Begin) -> None:
    """Whoever can write votes into the database can take the question out, with a digest to match."""
    history = await begin(Evidence.HASH, rules=replace(GOVERNED, allow_treasury_initiated=False))
    (grant,) = await history.submit(new("grant", proposal=PROPOSAL))
    await history.until(lambda: is_(history, grant, Status.VOTING))
    digest = payload_digest(replace(await history.item(grant), proposal=None))
    history.forged = True

    def forge(rows: Connection) -> None:
        rows.execute("DELETE FROM proposal WHERE disbursement_id = ?", (grant,))
        rows.execute(
            "UPDATE disbursement SET status = 'timelocked', ready_epoch = 1, payload_digest = ? WHERE id = ?",
            (digest, grant),
        )

    await history.sql.write(forge)
    await history.until(lambda: held(history, grant))

    assert (await history.desk.intents(grant), history.paid("grant")) == ([], 0)
