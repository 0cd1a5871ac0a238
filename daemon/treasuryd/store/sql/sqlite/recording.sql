-- What was seen and decided (core/changes.py), one statement per kind of change and batch.

-- name: items
-- The disbursements ?1 as a change of their lifecycle has to know them.
SELECT d.id, d.account, d.status, d.hold, d.live_intent, p.disbursement_id IS NOT NULL
FROM disbursement AS d LEFT JOIN proposal AS p ON p.disbursement_id = d.id
WHERE d.id IN (SELECT value FROM json_each(?1));

-- name: advance
-- Move a disbursement on; only the fields of its new status are given.
UPDATE disbursement SET status = ?1, status_at = ?2,
    vote_deadline_epoch = coalesce(?3, vote_deadline_epoch), weights = coalesce(?4, weights),
    activation_epoch = coalesce(?5, activation_epoch), ready_epoch = coalesce(?6, ready_epoch),
    queued_at = CASE WHEN ?1 = 'queued' THEN ?2 ELSE queued_at END,
    rolled_back_at = CASE WHEN ?1 = 'rolled_back' THEN ?2 ELSE rolled_back_at END,
    reason = coalesce(?7, reason)
WHERE id = ?8 AND status = ?9;

-- name: set_hold
-- Store or end a hold.
UPDATE disbursement SET hold = ?, hold_detail = ? WHERE id = ?;

-- name: stage_variant
-- One more variant of a live intent waits to be signed; what it may cost at most grows with it.
UPDATE intent SET step = 'sign', fee = max(fee, ?1), refusals = CASE WHEN ?2 = 'cancel' THEN 0 ELSE refusals END
WHERE id = ?3 AND step IS NOT NULL;

-- name: sent_variant
-- It may have left once more.
UPDATE variant SET sent_at = ?, attempts = attempts + 1, last_meaning = ?, pooled = pooled OR ?
WHERE intent_id = ? AND number = ?;

-- name: sent_intent
-- And its intent with it; ?2 is what it waits for now, ?3 is 1 for a refusal of its content, 0 for none, NULL unknown;
-- ?5 is from when on the time to send it again is counted.
UPDATE intent SET state = 'broadcast', sent_at = coalesce(sent_at, ?1), last_sent_at = ?5, step = ?2,
    refusals = CASE ?3 WHEN 1 THEN refusals + 1 WHEN 0 THEN 0 ELSE refusals END
WHERE id = ?4;

-- name: include
-- One of its variants is in a block.
UPDATE intent SET state = 'included', step = NULL, winner = ?, height = ?, block_hash = ?, evidence = ?, cost = ?
WHERE id = ?;

-- name: execute
-- A payment variant is included: its disbursement is executed; ?7 is the configured minimum of the rollback window.
UPDATE disbursement SET status = 'executed', status_at = ?1, executed_at = ?1, tx_hash = ?2, fee_paid = ?3,
    executed_height = ?4, executed_epoch = ?5, evidence = ?6, finalize_epoch = ?5 + max(?7, coalesce(
        (SELECT rollback_window_epochs FROM proposal WHERE disbursement_id = disbursement.id), 0))
WHERE id = ?8 AND live_intent = ?9 AND status = 'timelocked';

-- name: insert_event
-- A movement of the booked balance.
INSERT INTO balance_event (account, kind, delta, fee, balance, recorded_at, disbursement_id, intent_id, height)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: booked
-- The booked balance of an account.
SELECT booked FROM account WHERE id = ?;

-- name: set_booked
-- And what it comes to.
UPDATE account SET booked = ? WHERE id = ?;

-- name: make_ambiguous
-- Its nonce is consumed and nothing proves by what.
UPDATE intent SET state = 'ambiguous', step = NULL WHERE id = ?;

-- name: keep_frames
-- The two frames of the interval, as far as they concern it.
INSERT OR REPLACE INTO ambiguity
    (intent_id, first_height, first_hash, second_height, second_hash, first, second, found_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: buried
-- The included intents of the account ?1 in the block (?2, ?3).
SELECT i.id, i.disbursement_id, v.kind FROM intent AS i JOIN variant AS v ON v.intent_id = i.id AND v.number = i.winner
WHERE i.account = ?1 AND i.height = ?2 AND i.block_hash = ?3 AND i.state = 'included' ORDER BY i.id;

-- name: make_final
-- The block of these payments is at finality depth.
UPDATE intent SET state = 'final' WHERE id IN (SELECT value FROM json_each(?1)) AND state = 'included';

-- name: finalizable
-- Executed items of the account ?1 whose intent is final and whose rollback window is over by the settled epoch ?2.
SELECT d.id, d.executed_at FROM disbursement AS d INDEXED BY disbursement_executed JOIN intent AS i ON i.id = d.live_intent
WHERE d.account = ?1 AND d.status = 'executed' AND d.finalize_epoch <= ?2 AND i.state = 'final'
ORDER BY d.finalize_epoch LIMIT ?3;

-- name: finalize
-- They are finalized.
UPDATE disbursement SET status = 'finalized', status_at = ?2, finalized_at = ?2
WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'executed';

-- name: count_finalized
-- How many items are finalized, kept so that nobody has to count them.
UPDATE counter SET next = next + ?1 WHERE name = 'finalized';

-- name: rewound_included
-- Included intents of the account ?1 above the height ?2, or in another block there than ?3.
SELECT i.id, i.disbursement_id, i.cost, v.kind FROM intent AS i
JOIN variant AS v ON v.intent_id = i.id AND v.number = i.winner
WHERE i.account = ?1 AND (i.height > ?2 OR (i.height = ?2 AND i.block_hash <> ?3)) AND i.state = 'included'
ORDER BY i.id;

-- name: rewound_ambiguous
-- Ambiguous intents of the account ?1 whose second frame is above the height ?2, or whose nonce is above the count ?3.
SELECT i.id, i.disbursement_id FROM intent AS i JOIN ambiguity AS a ON a.intent_id = i.id
WHERE i.account = ?1 AND i.state = 'ambiguous' AND (a.second_height > ?2 OR i.nonce > ?3) ORDER BY i.id;

-- name: rewound_income
-- What was booked above the height ?2 without an intent, and not taken back since. What corrects an intent's cost stands
-- while the intent is placed (it may be final above that height) and its nonce is not above ?3, the baseline's count.
SELECT e.id, e.delta FROM balance_event AS e LEFT JOIN intent AS i ON i.id = e.intent_id
WHERE e.account = ?1 AND e.height >= ?2 AND e.kind IN ('funding', 'unexplained') AND e.reversed = 0
    AND CASE WHEN i.id IS NULL THEN e.height > ?2
        ELSE i.nonce > ?3 OR i.state IN ('staged', 'signed', 'broadcast', 'ambiguous') END
ORDER BY e.id;

-- name: frame_known
-- Whether the account ?1 keeps the frame of the block ?3 at the height ?2.
SELECT EXISTS (SELECT 1 FROM frame WHERE account = ?1 AND height = ?2 AND block_hash = ?3);

-- name: seed_anew
-- The count that seeded the sequence of the account ?1 left the chain before anything of ours was staged (R2).
UPDATE account SET next_nonce = NULL WHERE id = ?1 AND high_water = 0;

-- name: placed_above
-- What the decided intents of the account ?1 with nonces above ?2 took from it.
SELECT (SELECT coalesce(sum(cost), 0) FROM intent WHERE account = ?1 AND live = 1 AND nonce > ?2)
    + (SELECT coalesce(sum(cost), 0) FROM intent WHERE account = ?1 AND state = 'void' AND proof <> 'never_bound'
        AND nonce > ?2);

-- name: any_ambiguous
-- Whether something of the account ?1 waits for a person's judgement, and for what is booked with it.
SELECT EXISTS (SELECT 1 FROM intent WHERE account = ?1 AND state = 'ambiguous');

-- name: mark_reversed
-- It is taken back now.
UPDATE balance_event SET reversed = 1 WHERE id = ?;

-- name: reopen_intents
-- The same bytes go out again; its newest variant waits as it did before, and is sent where no sending was recorded.
UPDATE intent SET state = 'broadcast', winner = NULL, height = NULL, block_hash = NULL, evidence = NULL, cost = NULL,
    step = CASE WHEN EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = intent.id AND v.tx_hash IS NULL) THEN 'sign'
        WHEN (SELECT v.sent_at FROM variant AS v WHERE v.intent_id = intent.id ORDER BY v.number DESC LIMIT 1) IS NULL
            THEN 'send'
        ELSE 'watch' END
WHERE id IN (SELECT value FROM json_each(?1));

-- name: forget_ambiguity
-- Their frames say nothing any more.
DELETE FROM ambiguity WHERE intent_id IN (SELECT value FROM json_each(?1));

-- name: unexecute
-- Their disbursements are timelocked again, with the same live intent.
UPDATE disbursement SET status = 'timelocked', status_at = ?2, tx_hash = NULL, fee_paid = NULL, executed_height = NULL,
    executed_epoch = NULL, executed_at = NULL, finalize_epoch = NULL, evidence = NULL
WHERE live_intent IN (SELECT value FROM json_each(?1)) AND id IN (SELECT value FROM json_each(?3))
    AND status = 'executed';

-- name: reopen_announced
-- Announced deposits that explained a withdrawn funding may explain another one.
UPDATE announced SET used_height = NULL WHERE account = ?1 AND used_height > ?2;

-- name: use_announced
-- These announced deposits explained a funding.
UPDATE announced SET used_height = ?2 WHERE id IN (SELECT value FROM json_each(?1)) AND used_height IS NULL;

-- name: account
-- An account as a change has to know it.
SELECT state, next_nonce, thaw_above, booked, chain_balance, cause, detail FROM account WHERE id = ?;

-- name: baseline
-- The newest kept frame of an account.
SELECT id, height, block_hash, base_fee, holdings FROM frame WHERE account = ? ORDER BY height DESC LIMIT 1;

-- name: drop_frame
-- A frame that is read again at the same height is another row.
DELETE FROM frame WHERE account = ?1 AND height = ?2;

-- name: drop_frames_below
-- Frames that are kept no longer.
DELETE FROM frame WHERE account = ?1 AND height < ?2;

-- name: drop_frames_above
-- Frames that the chain has left.
DELETE FROM frame WHERE account = ?1 AND height > ?2;

-- name: insert_frame
-- A frame.
INSERT INTO frame (account, height, block_hash, base_fee, holdings) VALUES (?, ?, ?, ?, ?);

-- name: show_baseline
-- What the baseline shows of the account itself.
UPDATE account SET chain_balance = ?1, chain_nonce = ?2 WHERE id = ?3;

-- name: adopt
-- Its sequence begins, or goes on, at ?1.
UPDATE account SET next_nonce = max(?1, coalesce(next_nonce, 0)) WHERE id = ?2;

-- name: counts
-- Whether the chain's count stays below the next nonce of an account.
SELECT state, next_nonce, chain_nonce FROM account WHERE id = ?;

-- name: freeze
-- Frozen at first sight; what foreign nonce was seen is only ever raised.
UPDATE account SET state = 'frozen', cause = ?1, detail = ?2, thaw_above = CASE WHEN ?3 IS NULL THEN thaw_above
    ELSE max(?3, coalesce(thaw_above, 0)) END WHERE id = ?4;

-- name: raise_thaw
-- Frozen already: one more foreign nonce.
UPDATE account SET thaw_above = max(?1, coalesce(thaw_above, 0)) WHERE id = ?2;

-- name: quarantine
-- The store is older than the world.
UPDATE account SET state = 'quarantined', cause = 'restored', detail = ?1 WHERE id = ?2;

-- name: move_chain
-- What is believed of the chain; what was settled never falls, what was pinned stays.
UPDATE chain SET genesis = coalesce(genesis, ?1), believed = ?2, risen_at = ?3,
    settled_height = max(settled_height, ?4), settled = max(settled, ?5) WHERE only = 1;

-- name: note
-- The executor's last tick, for people.
INSERT INTO executor_snapshot (only, last_tick_at, last_success_at, last_error_at, last_error, pending_matured,
    staged_intents, last_submitted_nonce) VALUES (1, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET last_tick_at = excluded.last_tick_at, last_success_at = excluded.last_success_at,
    last_error_at = excluded.last_error_at, last_error = excluded.last_error,
    pending_matured = excluded.pending_matured, staged_intents = excluded.staged_intents,
    last_submitted_nonce = excluded.last_submitted_nonce;
