"""For each row of the failure matrix: the bug that removes the rule behind it, and the test that has to notice."""

from dataclasses import dataclass
from typing import Final

from tests.matrix import Row

ROWS: Final = "tests/histories/test_failure_rows.py::"
STRANGERS: Final = "tests/histories/test_strangers.py::"
PAYING: Final = "tests/histories/test_paying.py::"


@dataclass(frozen=True, slots=True)
class Proof:
    """Without the rule that `bug` breaks, `test` fails; with it, it passes."""

    row: Row
    bug: str
    test: str


PROOFS: Final = (
    Proof(
        Row.BEFORE_STAGING, "taken_before_staged", ROWS + "test_a_crash_before_staging_leaves_nothing_behind"
    ),
    Proof(
        Row.STAGED_NOT_SEALED,
        "staged_row_taken_back",
        ROWS + "test_what_was_staged_and_not_sealed_is_signed_again",
    ),
    Proof(
        Row.SIGNER_REFUSES,
        "refused_nonce_kept",
        "tests/histories/test_cancelling.py::test_a_refusal_after_staging_returns_the_nonces",
    ),
    Proof(
        Row.INSIDE_STAGING,
        "nonce_reserved_apart",
        ROWS + "test_a_crash_inside_the_staging_transaction_uses_no_nonce",
    ),
    Proof(
        Row.COMMIT_UNKNOWN,
        "only_fresh_rows_signed",
        ROWS + "test_a_staging_that_was_committed_and_not_heard_of_is_found_again",
    ),
    Proof(
        Row.CANCEL_AND_STAGING,
        "cancel_beside_staging",
        ROWS + "test_of_a_cancel_and_a_staging_at_the_same_moment_one_wins",
    ),
    Proof(Row.SEALED_NOT_SENT, "recorded_before_sent", ROWS + "test_sealed_bytes_that_never_left_are_sent"),
    Proof(
        Row.REPLY_LOST,
        "dropped_on_timeout",
        PAYING + "test_a_mined_payment_answered_with_a_refusal_is_adopted",
    ),
    Proof(
        Row.ACCEPTED_NOT_RECORDED,
        "dropped_as_duplicate",
        ROWS + "test_accepted_and_not_recorded_is_sent_again_and_stays_one_payment",
    ),
    Proof(
        Row.INCLUDED_NOT_RECORDED,
        "only_recorded_looked_up",
        ROWS + "test_what_was_included_while_nobody_looked_is_adopted",
    ),
    Proof(
        Row.REORGED,
        "verdict_kept_after_a_reorg",
        PAYING + "test_a_reorg_that_forgets_the_payment_sends_it_again",
    ),
    Proof(
        Row.DROPPED,
        "accepted_is_done",
        PAYING + "test_a_pool_that_is_lost_before_the_first_block_is_filled_again",
    ),
    Proof(
        Row.STRANGER,
        "inclusion_by_nonce_alone",
        STRANGERS + "test_a_foreign_zero_value_spend_is_not_our_payment",
    ),
    Proof(
        Row.REFUSED_AND_RELEASED, "refusal_of_the_item", ROWS + "test_refused_corrected_and_released_is_paid"
    ),
    Proof(
        Row.THAWED,
        "thawed_at_once",
        "tests/histories/test_found_by_walks.py::test_thawing_waits_for_the_lower_of_two_foreign_nonces_too",
    ),
    Proof(Row.SMALL_DEPOSIT, "dust_freezes", STRANGERS + "test_dust_neither_hides_a_payment_nor_freezes"),
    Proof(Row.ABSURD_HEAD, "any_head_believed", STRANGERS + "test_one_absurd_height_hastens_nothing"),
    Proof(
        Row.ORDINARY_REORG,
        "final_at_first_sight",
        PAYING + "test_an_ordinary_reorg_includes_the_payment_again",
    ),
    Proof(
        Row.STALE_LEADER,
        "no_fence",
        "tests/executor/test_perform.py::test_a_paused_holder_that_wakes_after_a_takeover_writes_nothing",
    ),
    Proof(
        Row.BOTH_SEND,
        "sealed_taken_back",
        ROWS + "test_a_late_request_of_the_last_leader_is_the_next_ones_payment",
    ),
    Proof(
        Row.CANCELLATION_CRASH,
        "cancel_kept_on_the_intent",
        ROWS + "test_a_crash_in_the_middle_of_a_cancellation_cancels",
    ),
    Proof(Row.CRASH_AFTER_FREEZE, "freeze_not_stored", STRANGERS + "test_a_frozen_account_sends_nothing"),
    Proof(
        Row.RESTORED,
        "restored_store_trusted",
        "tests/histories/test_restoring.py::test_what_people_said_after_the_backup_is_replayed",
    ),
    Proof(
        Row.LEDGER_LOST,
        "signed_without_memory",
        "tests/signer/test_local.py::test_a_signer_that_lost_its_memory_signs_and_attests_nothing",
    ),
    Proof(
        Row.DISK_FULL,
        "storage_error_survived",
        ROWS + "test_a_disk_that_takes_no_more_ends_the_process",
    ),
    Proof(Row.WRONG_CHAIN, "any_chain_served", STRANGERS + "test_another_chain_freezes_and_moves_nothing"),
)
