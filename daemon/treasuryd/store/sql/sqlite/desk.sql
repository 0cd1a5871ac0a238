-- What people's commands and queries read and write. Lists of ids come as one JSON array.

-- name: request_by_key
-- The request of an idempotency key: its digest and the ids of its rows.
SELECT request_digest, first_id, items FROM request WHERE key = ?1;

-- name: request_since
-- The ids of the rows of an idempotency key's request, and when it was taken.
SELECT first_id, items, taken_at FROM request WHERE key = ?1;

-- name: put_request
-- Remember a request for as long as its disbursements are kept.
INSERT INTO request (key, request_digest, first_id, items, taken_at) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: ids_by_key
-- Disbursements whose idempotency keys are among ?1.
SELECT id, idempotency_key FROM disbursement WHERE idempotency_key IN {ids} ORDER BY id;

-- name: quarantined
-- Accounts of the names ?1 that are in quarantine: their intake is closed (protocol.md §8).
SELECT id FROM account WHERE id IN {ids} AND state = 'quarantined' ORDER BY id;

-- name: quarantine_of
-- Accounts of the names ?1 that are in quarantine, and whether what the signer bound is still to be adopted.
SELECT id, cause = 'restored' FROM account WHERE id IN {ids} AND state = 'quarantined';

-- name: standing_of
-- Where the disbursements ?1 stand, and their live intents, for whoever depends on them.
SELECT d.id, d.status, i.state FROM disbursement AS d LEFT JOIN intent AS i ON i.id = d.live_intent
WHERE d.id IN {ids};

-- name: put_disbursement
-- One new draft.
INSERT INTO disbursement (id, account, destination, amount, memo, scheduled_epoch, idempotency_key, request_digest,
    payload_digest, created_at, status_at, unmet)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11);

-- name: put_dependency
-- One edge.
INSERT INTO dependency (disbursement_id, needs) VALUES (?1, ?2);

-- name: put_receipt
-- One expected receipt.
INSERT INTO expected_receipt (disbursement_id, place, account, amount) VALUES (?1, ?2, ?3, ?4);

-- name: put_proposal
-- What is voted on.
INSERT INTO proposal (disbursement_id, title, summary, deps, attachments, operators_ppm, builders_ppm,
    vote_window_epochs, timelock_epochs, rollback_window_epochs)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10);

-- name: expire_batches
-- Drop what was never sealed in time; its parts go with it.
DELETE FROM batch WHERE sealed_at IS NULL AND expires_at <= ?1;

-- name: batch
-- A batch by name.
SELECT sealed_at FROM batch WHERE name = ?1;

-- name: batch_under_way
-- Since when the batch ?1 is on its way up, where it has not expired by ?2.
SELECT opened_at FROM batch WHERE name = ?1 AND sealed_at IS NULL AND expires_at > ?2;

-- name: open_batches
-- How many batches are on their way up.
SELECT count(*) FROM batch WHERE sealed_at IS NULL;

-- name: put_batch
-- Begin a batch, or give one that is on its way up more time.
INSERT INTO batch (name, opened_at, expires_at) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at) WHERE sealed_at IS NULL;

-- name: part
-- The digest of one part.
SELECT request_digest FROM part WHERE batch = ?1 AND number = ?2;

-- name: put_part
-- One part of a batch.
INSERT INTO part (batch, number, key, request_digest, count, items) VALUES (?1, ?2, ?3, ?4, ?5, ?6);

-- name: part_sum
-- How many items a batch holds.
SELECT coalesce(sum(count), 0) FROM part WHERE batch = ?1;

-- name: part_numbers
-- Which parts of a batch are there.
SELECT number, request_digest, key, count FROM part WHERE batch = ?1 ORDER BY number;

-- name: parts
-- The parts of a batch, in order.
SELECT number, request_digest, items FROM part WHERE batch = ?1 ORDER BY number;

-- name: seal_batch
-- From here on the batch is its disbursements.
UPDATE batch SET sealed_at = ?2 WHERE name = ?1 AND sealed_at IS NULL;

-- name: keep_part
-- The content stands in the disbursements now; the digests stay, so that a repeated part is recognised, after a replay too.
INSERT INTO part (batch, number, key, request_digest, count, items) VALUES (?1, ?2, ?3, ?4, ?5, '[]')
ON CONFLICT (batch, number) DO UPDATE SET items = '[]';

-- name: vote_of_key
-- The vote of one key that counts now.
SELECT counter FROM vote WHERE disbursement_id = ?1 AND house = ?2 AND key = ?3;

-- name: put_vote
-- The higher counter replaces the vote of its key.
INSERT INTO vote (disbursement_id, house, key, counter, decision, signature, taken_at, seen_epoch)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (disbursement_id, house, key) DO UPDATE SET counter = excluded.counter, decision = excluded.decision,
    signature = excluded.signature, taken_at = excluded.taken_at, seen_epoch = excluded.seen_epoch
WHERE excluded.counter > vote.counter;

-- name: roll_back_unpaid
-- Cancel what has no live intent, where the row stands as it was read (R10): id, reason, time, status read.
UPDATE disbursement SET status = 'rolled_back', reason = ?2, rolled_back_at = ?3, status_at = ?3, hold = NULL,
    hold_detail = '' WHERE id = ?1 AND status = ?4 AND live_intent IS NULL;

-- name: request_cancel
-- Ask for the cancellation of what has the live intent ?3: id, reason; durable, and never cleared (R7, R10).
UPDATE disbursement SET cancel_requested = ?2
WHERE id = ?1 AND status = 'timelocked' AND live_intent = ?3 AND cancel_requested IS NULL;

-- name: roll_back_paid
-- Roll the books of a paid item back, where the row stands as it was read: id, reason, time, live intent read.
UPDATE disbursement SET status = 'rolled_back', reason = ?2, rolled_back_at = ?3, status_at = ?3,
    prior_tx = tx_hash, tx_hash = NULL, hold = NULL, hold_detail = ''
WHERE id = ?1 AND status = 'executed' AND live_intent = ?4;

-- name: finalize_epoch_of
-- From which settled epoch on the executed item ?1 is past its rollback window.
SELECT finalize_epoch FROM disbursement WHERE id = ?1;

-- name: release_hold
-- End the stored hold ?2 of an item that has no live intent.
UPDATE disbursement SET hold = NULL, hold_detail = ''
WHERE id = ?1 AND hold = ?2 AND live_intent IS NULL AND status <> 'rolled_back';

-- name: intent_ids_of
-- All intents ever bound to the disbursement ?1: the live one and the void ones, each through its own index.
SELECT id FROM intent WHERE disbursement_id = ?1 AND live = 1 AND disbursement_id IS NOT NULL
UNION ALL SELECT id FROM intent WHERE disbursement_id = ?1 AND live IS NULL ORDER BY id;

-- name: ambiguity_of
-- The two frames of an ambiguous intent.
SELECT first_height, second_height, first, second FROM ambiguity WHERE intent_id = ?1;

-- name: ambiguous_fillers
-- Fillers of the account ?1 whose nonce was used by what balances do not tell, and by which height.
SELECT i.id, a.second_height FROM intent AS i JOIN ambiguity AS a ON a.intent_id = i.id
WHERE i.account = ?1 AND i.state = 'ambiguous' AND i.disbursement_id IS NULL ORDER BY i.nonce;

-- name: still_ambiguous
-- Whether other intents of the account ?1 from the interval ?2 to ?3 wait for a person.
SELECT EXISTS (SELECT 1 FROM intent AS i JOIN ambiguity AS a ON a.intent_id = i.id
    WHERE i.account = ?1 AND i.state = 'ambiguous' AND a.first_height = ?2 AND a.second_height = ?3);

-- name: explained
-- How the balance of the account ?1 changed by what is booked from height ?2 to ?3 without an intent, and by the intents
-- of the nonces from ?4 to ?5 that are decided.
SELECT (SELECT coalesce(sum(delta), 0) FROM balance_event WHERE account = ?1 AND height > ?2 AND height <= ?3
        AND kind IN ('funding', 'unexplained') AND reversed = 0)
    - (SELECT coalesce(sum(cost), 0) FROM intent WHERE account = ?1 AND live = 1 AND nonce > ?4 AND nonce <= ?5)
    - (SELECT coalesce(sum(cost), 0) FROM intent WHERE account = ?1 AND state = 'void' AND proof <> 'never_bound'
        AND nonce > ?4 AND nonce <= ?5);

-- name: cost_of
-- What the winner of the intent ?1 took from the account.
SELECT cost FROM intent WHERE id = ?1;

-- name: judge_intent
-- A person judged it paid: id, winner, fee, height.
UPDATE intent SET state = 'final', winner = ?2, evidence = 'person', cost = amount + ?3, height = ?4,
    step = NULL
WHERE id = ?1 AND state = 'ambiguous';

-- name: execute_by_judgement
-- A person judged it paid: id, hashes, fee, height, epoch, time, finalize epoch, live intent read.
UPDATE disbursement SET status = 'executed', status_at = ?6, tx_hash = ?2, fee_paid = ?3, executed_height = ?4,
    executed_epoch = ?5, executed_at = ?6, finalize_epoch = ?7, evidence = 'person', hold = NULL, hold_detail = ''
WHERE id = ?1 AND status = 'timelocked' AND live_intent = ?8;

-- name: reopen_intent
-- A final payment that the chain lost goes out again, same bytes: 1.0 says that no pool has it (store/payments.py).
UPDATE intent SET state = 'broadcast', winner = NULL, height = NULL, block_hash = NULL, evidence = NULL, cost = NULL,
    last_sent_at = 1.0,
    step = CASE WHEN EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = intent.id AND v.tx_hash IS NULL) THEN 'sign'
        WHEN (SELECT v.sent_at FROM variant AS v WHERE v.intent_id = intent.id ORDER BY v.number DESC LIMIT 1) IS NULL
            THEN 'send'
        ELSE 'watch' END
WHERE id = ?1 AND state = 'final';

-- name: reopen_disbursement
-- And its disbursement waits for it again: id, status read, live intent read, time.
UPDATE disbursement SET status = 'timelocked', status_at = ?4, tx_hash = NULL, fee_paid = NULL,
    executed_height = NULL, executed_epoch = NULL, executed_at = NULL, finalize_epoch = NULL, evidence = NULL,
    finalized_at = NULL WHERE id = ?1 AND status = ?2 AND live_intent = ?3;

-- name: count_finalized
-- Finalized items are counted as they come and go.
UPDATE counter SET next = next + ?1 WHERE name = 'finalized';

-- name: account_row
-- One account, for a command on it.
SELECT state, cause, next_nonce, thaw_above, chain_nonce, booked FROM account WHERE id = ?1;

-- name: freeze_account
-- Where it is active: account, cause, detail.
UPDATE account SET state = 'frozen', cause = ?2, detail = ?3 WHERE id = ?1 AND state = 'active';

-- name: thaw_account
-- Where it is frozen: account, next nonce.
UPDATE account SET state = 'active', cause = '', detail = '', thaw_above = NULL, next_nonce = ?2
WHERE id = ?1 AND state = 'frozen';

-- name: kept_frames
-- The kept frames of the account ?1, oldest first.
SELECT height, holdings FROM frame WHERE account = ?1 ORDER BY height;

-- name: put_announced
-- A deposit that a person expects.
INSERT INTO announced (account, amount, who, reason, announced_at) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: open_announced
-- How many announced deposits of the account ?1 are still expected.
SELECT count(*) FROM announced WHERE account = ?1 AND used_height IS NULL;

-- name: clear_overrides
-- A word on `*` replaces all words on its class.
DELETE FROM breaker_override WHERE call_class = ?1;

-- name: put_override
-- The last word on a breaker counts.
INSERT INTO breaker_override (endpoint, call_class, mode, reason, who, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (endpoint, call_class) DO UPDATE SET mode = excluded.mode, reason = excluded.reason,
    who = excluded.who, at = excluded.at;

-- name: overrides
-- People's words on breakers; those on `*` first, so that the last one per breaker counts.
SELECT endpoint, call_class, mode, reason, who, at FROM breaker_override
ORDER BY endpoint <> '*', endpoint, call_class;

-- name: next_id
-- The next id of the kind ?1.
SELECT next FROM counter WHERE name = ?1;

-- name: dependents_of
-- Who depends directly on any of ?1, at most ?2.
SELECT DISTINCT disbursement_id FROM dependency WHERE needs IN {ids} ORDER BY disbursement_id LIMIT ?2;

-- name: history
-- Balance events below ?1, newest first.
SELECT id, account, kind, delta, fee, balance, recorded_at, disbursement_id, height FROM balance_event
WHERE id < ?1 ORDER BY id DESC LIMIT ?2;

-- name: history_of
-- Balance events of the account ?3 below ?1, newest first.
SELECT id, account, kind, delta, fee, balance, recorded_at, disbursement_id, height FROM balance_event
WHERE account = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2;

-- name: snapshot
-- The executor's last tick.
SELECT last_tick_at, last_success_at, last_error_at, last_error, pending_matured, staged_intents,
    last_submitted_nonce FROM executor_snapshot WHERE only = 1;

-- name: meta
-- Schema version and lineage.
SELECT name, value FROM meta;

-- name: unfinished
-- How many disbursements stand in each status but `finalized`, which is counted as it is reached.
SELECT status, count(*) FROM disbursement WHERE status <> 'finalized' GROUP BY status;

-- name: held
-- How many disbursements a person has to look at.
SELECT count(*) FROM disbursement WHERE hold IS NOT NULL AND status <> 'rolled_back';

-- name: waiting
-- What a person has to look at below id ?1, newest first: items with a stored hold, and those with an ambiguous intent.
SELECT id, 0 FROM disbursement WHERE hold IS NOT NULL AND status <> 'rolled_back' AND id < ?1
UNION SELECT disbursement_id, 1 FROM intent WHERE state = 'ambiguous' AND disbursement_id < ?1
ORDER BY 1 DESC LIMIT ?2;

-- name: ambiguous
-- How many intents a person has to judge.
SELECT count(*) FROM intent WHERE state = 'ambiguous';

-- name: sqlite_version
-- Of the library in use.
SELECT sqlite_version();
