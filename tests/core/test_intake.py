"""The one gate: what is refused names field, value and limit; what passes is valid, whole and equal for equal requests."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.intake import MAX_ITEMS, Checked, Intake, check, from_payload, items_of
from treasuryd.core.model import (
    MAX_AMOUNT,
    MAX_MEMO_BYTES,
    AccountId,
    Address,
    Evidence,
    NewDisbursement,
    Rules,
)
from treasuryd.core.reading import read_csv, read_json
from treasuryd.errors import Refusal, Rejected

ACCOUNTS = (AccountId("tb1ops"), AccountId("tb1grants"), AccountId("tb1rent"))
INTAKE = Intake(
    rules=Rules(allow_treasury_initiated=True, sinks={ACCOUNTS[0]: Address("tb1sink")}),
    accounts=ACCOUNTS,
    evidence=Evidence.HASH,
)
GOOD: dict[str, Any] = {"destination": "tb1payee", "amount": 100, "memo": "rent", "scheduled_epoch": 1}
PROPOSAL: dict[str, Any] = {"title": "Rent", "summary": "For May"}


def judged(*items: Any, intake: Intake = INTAKE, key: str | None = "k", whole: bool = True) -> Checked:
    return check(items, key=key, intake=intake, whole=whole)


def accepted(*items: Any, intake: Intake = INTAKE) -> tuple[NewDisbursement, ...]:
    return judged(*items, intake=intake).or_raise().items


def refusals(*items: Any, intake: Intake = INTAKE) -> list[tuple[str | None, str]]:
    return [(error.field, error.message) for error in judged(*items, intake=intake).errors]


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        pytest.param({"amount": 0}, "amount", "must be greater than zero", id="zero"),
        pytest.param({"amount": -5}, "amount", "got -5", id="negative"),
        pytest.param({"amount": True}, "amount", "must be an integer of 1 to", id="a boolean is no number"),
        pytest.param({"amount": 100.0}, "amount", "got 100.0", id="a float is no integer"),
        pytest.param({"amount": "1_0"}, "amount", 'got "1_0"', id="an underscore"),
        pytest.param(
            {"amount": "\u0661"}, "amount", "string of ASCII digits", id="a digit of another script"
        ),
        pytest.param({"amount": "1e3"}, "amount", 'got "1e3"', id="an exponent"),
        pytest.param({"amount": "1.0"}, "amount", 'got "1.0"', id="a decimal point"),
        pytest.param({"amount": "-1"}, "amount", 'got "-1"', id="a sign"),
        pytest.param({"amount": ""}, "amount", 'got ""', id="an empty string"),
        pytest.param({"amount": None}, "amount", "is missing", id="null is missing"),
        pytest.param({"amount": 10**39}, "amount", "must be 1 to 9223372036854775807", id="monstrous"),
        pytest.param({"scheduled_epoch": 0}, "scheduled_epoch", "must be greater than zero", id="epoch zero"),
        pytest.param({"scheduled_epoch": "3"}, "scheduled_epoch", 'got "3"', id="an epoch as text"),
        pytest.param(
            {"scheduled_epoch": 2**63}, "scheduled_epoch", "9223372036854775808", id="epoch too large"
        ),
        pytest.param({"destination": ""}, "destination", "must not be empty", id="no destination"),
        pytest.param({"destination": "  "}, "destination", "must not be empty", id="a blank destination"),
        pytest.param({"destination": "xx1a"}, "destination", "must start with 'tb1'", id="another prefix"),
        pytest.param({"destination": "tb1a b"}, "destination", "the pattern is", id="a space inside"),
        pytest.param({"destination": "tb1abc\n"}, "destination", "the pattern is", id="a line break behind"),
        pytest.param({"destination": 5}, "destination", "must be a string, got 5", id="a number"),
        pytest.param(
            {"destination": "tb1" + "a" * 254}, "destination", "maximum of 256 bytes", id="too long"
        ),
        pytest.param({"destination": "tb1sink"}, "destination", "sink of one of our accounts", id="a sink"),
        pytest.param({"destination": "tb1ops", "account": "tb1ops"}, "destination", "itself", id="the payer"),
        pytest.param({"account": "tb1who"}, "account", "no paying account", id="a foreign account"),
        pytest.param({"memo": 7}, "memo", "must be a string", id="a memo of another type"),
        pytest.param({"memo": "\ud800"}, "memo", "half a surrogate pair", id="half a character"),
        pytest.param({"memo": "depends_on=0"}, "memo", "names the dependency 0", id="dependency 0"),
        pytest.param({"memo": f"depends_on={2**63}"}, "memo", "ids are 1 to", id="an id beyond ours"),
        pytest.param({"ref": "a b"}, "ref", "1 to 64 characters", id="a ref with a space"),
        pytest.param({"ref": "r" * 65}, "ref", "1 to 64 characters", id="a long ref"),
        pytest.param({"ref": 1}, "ref", "got 1", id="a ref that is a number"),
        pytest.param({"depends_on": 5}, "depends_on", "must be an array", id="a single id"),
        pytest.param({"depends_on": [True]}, "depends_on[0]", "must be an integer", id="a boolean id"),
        pytest.param({"depends_on": [1, 0]}, "depends_on[1]", "got 0", id="id zero"),
        pytest.param(
            {"depends_on": list(range(1, 102))}, "depends_on", "101 dependencies, the limit is 100", id="101"
        ),
        pytest.param(
            {"depends_on_refs": ["x"]}, "depends_on_refs", 'carries the ref "x"', id="an unknown ref"
        ),
        pytest.param({"ref": "a", "depends_on_refs": ["a"]}, "depends_on_refs", "a → a", id="itself"),
        pytest.param({"amuont": 5}, "amuont", "unknown field", id="an unknown field"),
        pytest.param({"status": "executed"}, "status", "unknown field", id="a field of ours"),
        pytest.param({"proposal": []}, "proposal", "must be an object", id="a proposal that is an array"),
        pytest.param(
            {"proposal": {"summary": "s"}}, "proposal.title", "is missing", id="a proposal without a title"
        ),
        pytest.param(
            {"proposal": PROPOSAL | {"summary": " \n"}},
            "proposal.summary",
            "must not be empty",
            id="blank summary",
        ),
        pytest.param(
            {"proposal": PROPOSAL | {"quorum": {"operators_ppm": 1_000_001}}},
            "proposal.quorum.operators_ppm",
            "must be 0 to 1000000 ppm, got 1000001",
            id="a quorum above all",
        ),
        pytest.param(
            {"proposal": PROPOSAL | {"timelock_epochs": 0}},
            "proposal.timelock_epochs",
            "got 0",
            id="no timelock",
        ),
        pytest.param(
            {"proposal": PROPOSAL | {"attachments": [{"name": "a"}]}},
            "proposal.attachments[0].uri",
            "is missing",
            id="half an attachment",
        ),
        pytest.param(
            {"proposal": PROPOSAL | {"deps": [1, 2]}, "depends_on": [1, 3]},
            "depends_on",
            "differs from proposal.deps: [1, 3] against [1, 2]",
            id="two sources that differ",
        ),
        pytest.param(
            {"expected_receipts": [{"account": "a", "amount": 99}]},
            "expected_receipts",
            "expected receipts total 99 does not match disbursement amount 100",
            id="receipts do not add up",
        ),
        pytest.param(
            {"expected_receipts": [{"account": "a", "amount": "x"}]},
            "expected_receipts[0].amount",
            'got "x"',
            id="a receipt without an amount",
        ),
    ],
)
def test_what_is_wrong_is_named_with_field_value_and_limit(
    change: dict[str, Any], field: str, said: str
) -> None:
    """Each bad value is the one error of its request, found at its place."""
    ((where, message),) = refusals(GOOD | change)
    assert where == f"items[0].{field}"
    assert message.startswith(f"items[0].{field}: ")
    assert said in message


def test_amounts_up_to_2_63_are_taken_and_above_are_refused_with_the_limit() -> None:
    """D29: 2^63-1 passes as number and as text; 2^63 is refused and nothing is stored of it."""
    assert [
        item.amount for item in accepted(GOOD | {"amount": 2**63 - 1}, GOOD | {"amount": str(2**63 - 1)})
    ] == [MAX_AMOUNT] * 2
    for amount in (2**63, str(2**63), 2**64 - 1):
        ((field, message),) = refusals(GOOD | {"amount": amount})
        assert field == "items[0].amount"
        assert "must be 1 to 9223372036854775807 base units" in message


def test_a_memo_is_kept_whole_or_refused() -> None:
    """D25: 8,192 bytes pass to the last one, one byte more is refused; characters of several bytes count as such."""
    for memo in ("x" * MAX_MEMO_BYTES, "\u20ac" * (MAX_MEMO_BYTES // 3), "\u20ac" * 2730 + "xx"):
        assert accepted(GOOD | {"memo": memo})[0].memo == memo
    for memo in ("x" * (MAX_MEMO_BYTES + 1), "\u20ac" * 2731, "\U0001f600" * 2049):
        ((field, message),) = refusals(GOOD | {"memo": memo})
        assert field == "items[0].memo"
        assert f"length {len(memo.encode())} exceeds the maximum of 8192 bytes" in message


def test_a_self_reference_is_refused_at_intake() -> None:
    """D38: an item whose refs name itself never gets in."""
    ((field, message),) = refusals(GOOD | {"ref": "loop", "depends_on_refs": ["loop"]})
    assert field == "items[0].depends_on_refs"
    assert "loop → loop" in message


def test_a_circle_of_refs_is_refused_with_its_full_path() -> None:
    """The message names every item of the circle, in order, and nobody who merely leads to it."""
    items = [
        GOOD | {"ref": "a", "depends_on_refs": ["c"]},
        GOOD | {"ref": "b", "depends_on_refs": ["a"]},
        GOOD | {"ref": "c", "depends_on_refs": ["b"]},
        GOOD | {"ref": "d", "depends_on_refs": ["a"]},
    ]
    assert refusals(*items) == [
        (
            "items[0].depends_on_refs",
            "items[0].depends_on_refs: the items depend on each other in a circle: a → c → b → a",
        )
    ]


def test_a_ref_stands_once_in_a_request() -> None:
    """The second one is refused and told where the first is."""
    ((field, message),) = refusals(GOOD | {"ref": "a"}, GOOD, GOOD | {"ref": "a"})
    assert field == "items[2].ref"
    assert "is the ref of items[0] already" in message


def test_a_part_of_a_batch_may_name_refs_of_other_parts() -> None:
    """Whether they exist is judged when the batch is sealed; a request by itself has to be whole."""
    item = GOOD | {"depends_on_refs": ["elsewhere"]}
    assert judged(item, whole=False).or_raise().items[0].depends_on_refs == ("elsewhere",)
    assert len(judged(item).errors) == 1


def test_every_error_of_every_row_is_found() -> None:
    """A person corrects a file once, not once per mistake; a bad row hides no other."""
    found = refusals(GOOD | {"amount": 0, "destination": "", "typo": 1}, GOOD, "row", GOOD | {"memo": 3})
    assert [field for field, _ in found] == [
        "items[0].typo",
        "items[0].destination",
        "items[0].amount",
        "items[2]",
        "items[3].memo",
    ]
    with pytest.raises(Rejected, match=r"items\[0\]\.typo") as caught:
        judged({"typo": 1}).or_raise()
    assert "more errors" in caught.value.hint


def test_the_first_source_of_dependencies_that_says_something_counts() -> None:
    """proposal.deps before depends_on and refs before the memo; equal lists in both places are fine."""
    memo = {"memo": "depends_on=9,8,9"}
    cases: list[tuple[dict[str, Any], tuple[int, ...], tuple[str, ...]]] = [
        (memo, (8, 9), ()),
        (memo | {"depends_on": [5, 4, 5]}, (4, 5), ()),
        (memo | {"proposal": PROPOSAL | {"deps": [3, 2]}}, (2, 3), ()),
        (memo | {"proposal": PROPOSAL | {"deps": [3, 2]}, "depends_on": [2, 3]}, (2, 3), ()),
        (memo | {"proposal": PROPOSAL, "depends_on": [7]}, (7,), ()),
        (memo | {"depends_on": [7], "depends_on_refs": ["z", "z"]}, (7,), ("z",)),
    ]
    for change, expected, refs in cases:
        item = accepted(GOOD | {"ref": "z", "memo": ""}, GOOD | change)[1]
        assert (item.depends_on, item.depends_on_refs) == (expected, refs)


def test_a_proposal_is_read_with_the_defaults_of_the_original() -> None:
    """D20: `proposal` makes the item one that is voted on; absent windows are 4, 2 and 1 epochs."""
    full = PROPOSAL | {
        "deps": [4, 4],
        "attachments": [{"name": "bill", "uri": "ipfs://x"}],
        "quorum": {"operators_ppm": 600_000, "builders_ppm": 1_000_000},
        "vote_window_epochs": 9,
    }
    small, large = (accepted(GOOD | {"proposal": proposal})[0].proposal for proposal in (PROPOSAL, full))
    assert small is not None
    assert large is not None
    assert (small.vote_window_epochs, small.timelock_epochs, small.rollback_window_epochs) == (4, 2, 1)
    assert (small.operators_ppm, small.builders_ppm) == (0, 0)
    assert (large.operators_ppm, large.builders_ppm, large.vote_window_epochs) == (600_000, 1_000_000, 9)
    assert large.deps == (4,)
    assert large.attachments[0].uri == "ipfs://x"


def test_without_a_proposal_policy_decides() -> None:
    """Treasury-initiated payments are refused at intake unless the operator allows them (protocol.md §2)."""
    strict = replace(INTAKE, rules=replace(INTAKE.rules, allow_treasury_initiated=False))
    (error,) = judged(GOOD, intake=strict).errors
    assert (error.field, error.kind) == ("items[0].proposal", Refusal.FORBIDDEN)
    assert accepted(GOOD | {"proposal": PROPOSAL}, intake=strict)[0].proposal is not None


def test_the_account_is_named_or_chosen_by_the_item_itself() -> None:
    """The same item always gets the same account, many spread over all, and none pays itself."""
    many = [GOOD | {"amount": amount} for amount in range(1, 200)]
    chosen = [item.account for item in accepted(*many)]
    assert chosen == [item.account for item in accepted(*reversed(many))][::-1]
    assert set(chosen) == set(ACCOUNTS)
    assert accepted(GOOD | {"account": "tb1rent"})[0].account == "tb1rent"
    own = accepted(*(GOOD | {"amount": amount, "destination": "tb1ops"} for amount in range(1, 50)))
    assert {item.account for item in own} == set(ACCOUNTS) - {"tb1ops"}


def test_own_accounts_are_paid_only_where_transactions_can_be_looked_up() -> None:
    """Without look-up two of our accounts would blur each other's evidence (protocol.md §5.1)."""
    item = GOOD | {"destination": "tb1grants", "account": "tb1ops"}
    assert accepted(item)
    ((field, message),) = refusals(item, intake=replace(INTAKE, evidence=Evidence.BALANCE))
    assert field == "items[0].destination"
    assert "no endpoint can look transactions up" in message


def test_an_empty_pattern_lets_free_names_through() -> None:
    """Addresses on the chain are free-form names; the pattern is a setting."""
    free = replace(INTAKE, rules=replace(INTAKE.rules, destination_pattern=""))
    assert accepted(GOOD | {"destination": "miner one"}, intake=free)[0].destination == "miner one"


def test_a_request_is_bounded_and_not_empty() -> None:
    """1,000 items pass, 1,001 are told about named batches, none is nothing."""
    assert len(accepted(*[GOOD] * MAX_ITEMS)) == MAX_ITEMS
    (error,) = judged(*[GOOD] * (MAX_ITEMS + 1)).errors
    assert error.kind is Refusal.TOO_LARGE
    assert "1001 disbursements, the limit is 1000" in error.message
    assert "got none" in judged().errors[0].message


@pytest.mark.parametrize("key", ["", "a b", "k" * 201, "\u00e9", "a\n"])
def test_a_bad_idempotency_key_is_refused(key: str) -> None:
    """Keys are printable ASCII without spaces, 1 to 200 of them."""
    assert judged(GOOD, key=key).errors[0].field == "Idempotency-Key"


def test_equal_requests_have_equal_digests_and_others_do_not() -> None:
    """The order of fields and the account chosen do not matter; any content does, notation and row order too."""
    base = judged(GOOD, GOOD | {"amount": 7}, key=None)
    same = judged(dict(reversed(GOOD.items())), GOOD | {"amount": 7}, key=None)
    assert (base.request_digest, base.key) == (same.request_digest, same.key)
    assert base.key == base.request_digest, "a request without a key is its own"
    fewer = replace(INTAKE, accounts=ACCOUNTS[:1])
    assert base.request_digest == judged(GOOD, GOOD | {"amount": 7}, intake=fewer).request_digest
    others = [
        (GOOD | {"amount": 7}, GOOD),
        (GOOD,),
        (GOOD, GOOD | {"amount": "7"}),
        (GOOD, GOOD | {"amount": 7, "memo": ""}),
    ]
    assert base.request_digest not in {judged(*other).request_digest for other in others}
    assert [item.idempotency_key for item in accepted(GOOD, GOOD)] == ["k#0", "k#1"]


def test_json_csv_and_rpc_pass_the_same_gate() -> None:
    """D37: the same payment means the same through each way in, and the same mistake the same refusal."""
    text = b'{"items":[{"destination":"tb1payee","amount":"100","memo":"rent","scheduled_epoch":1}]}'
    csv = b"memo,amount,destination,scheduled_epoch\nrent,100,tb1payee,1\n"
    inner = b'{"destination":"tb1payee","amount":"100","memo":"rent","scheduled_epoch":1}'
    payload = b'{"proposal":null,"disbursement":' + inner + b"}"
    ways: list[Callable[[bytes, bytes], list[Any]]] = [
        lambda old, new: items_of(read_json(text.replace(old, new))),
        lambda old, new: [row.item for row in read_csv(csv.replace(old, new))],
        lambda old, new: [from_payload(read_json(payload.replace(old, new)))],
    ]
    assert len({judged(*way(b"", b"")).or_raise().items for way in ways}) == 1
    for old, new, field in [(b"100", b"1_0", "amount"), (b"tb1payee", b"bob", "destination")]:
        found = {tuple(refusals(*way(old, new))) for way in ways}
        assert len(found) == 1
        assert f"items[0].{field}" in str(found)


@pytest.mark.parametrize("body", [5, "x", None, True, {"items": 5}, {"items": [], "more": 1}])
def test_a_body_that_is_no_request_is_refused(body: object) -> None:
    """An object, an array, or an object with items alone."""
    with pytest.raises(Rejected):
        items_of(body)


@pytest.mark.parametrize(
    "payload",
    [None, [], {}, {"disbursement": 3}, {"disbursement": {}, "x": 1}, {"disbursement": {"proposal": {}}}],
)
def test_a_payload_of_another_shape_is_refused(payload: object) -> None:
    """The original's nested shape, and nothing beside it."""
    with pytest.raises(Rejected, match="payload"):
        from_payload(payload)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**39), 10**39) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([
    "account", "destination", "amount", "memo", "scheduled_epoch", "expected_receipts", "proposal", "ref",
    "depends_on", "depends_on_refs", "title", "summary", "deps", "attachments", "quorum", "operators_ppm", "other",
])  # fmt: skip
ODD = st.dictionaries(
    NAMES,
    VALUES | st.dictionaries(NAMES, VALUES, max_size=4) | st.lists(st.dictionaries(NAMES, VALUES)),
    max_size=6,
)


@given(st.lists(ODD.map(lambda odd: GOOD | odd) | VALUES, max_size=4))
def test_no_request_raises_and_what_passes_is_valid(items: list[Any]) -> None:
    """Whatever JSON arrives: errors with a field each, or items within every bound."""
    result = judged(*items)
    assert all(error.field and error.message.startswith(error.field) for error in result.errors)
    assert result.errors or len(result.items) == len(items)
    for item in result.items:
        assert type(item.amount) is int
        assert 1 <= item.amount <= MAX_AMOUNT
        assert not math.isnan(item.scheduled_epoch)
        assert len(item.memo.encode()) <= MAX_MEMO_BYTES
        assert item.account in ACCOUNTS
        assert list(item.depends_on) == sorted(set(item.depends_on))
