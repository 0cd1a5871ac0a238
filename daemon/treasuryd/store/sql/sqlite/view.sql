-- What a tick decides from. Every list is served by a partial index, per account and at most ?-limit rows of it, so that
-- neither history nor another account's queue makes it dearer (protocol.md §4).

-- name: drafts
-- Drafts of the account ?1 that nothing stored keeps back.
SELECT {disbursement} FROM disbursement AS d INDEXED BY disbursement_draft
WHERE d.account = ?1 AND d.status = 'draft' AND d.hold IS NULL ORDER BY d.id LIMIT ?2;

-- name: closing_votes
-- Votes of the account ?1 whose deadline the settled epoch ?2 has reached.
SELECT {disbursement} FROM disbursement AS d INDEXED BY disbursement_voting
WHERE d.account = ?1 AND d.status = 'voting' AND d.vote_deadline_epoch <= ?2 AND d.hold IS NOT 'restored'
ORDER BY d.vote_deadline_epoch, d.id LIMIT ?3;

-- name: activating
-- Queued items of the account ?1 whose timelock is over by the settled epoch ?2.
SELECT {disbursement} FROM disbursement AS d INDEXED BY disbursement_queued
WHERE d.account = ?1 AND d.status = 'queued' AND d.activation_epoch <= ?2 AND d.hold IS NOT 'restored'
ORDER BY d.activation_epoch, d.id LIMIT ?3;

-- name: candidates
-- Payable items of the account ?1, due by the settled epoch ?2, of at most ?3 base units each.
SELECT {disbursement} FROM disbursement AS d INDEXED BY disbursement_payable
WHERE d.account = ?1 AND d.status = 'timelocked' AND d.live_intent IS NULL AND d.hold IS NULL
    AND d.cancel_requested IS NULL AND d.unmet = 0 AND d.scheduled_epoch <= ?2 AND d.amount <= ?3
ORDER BY d.scheduled_epoch, d.id LIMIT ?4;

-- name: next_destinations
-- Where the next payable items of the account ?1 go.
SELECT d.destination FROM disbursement AS d INDEXED BY disbursement_payable
WHERE d.account = ?1 AND d.status = 'timelocked' AND d.live_intent IS NULL AND d.hold IS NULL
    AND d.cancel_requested IS NULL AND d.unmet = 0 AND d.scheduled_epoch <= ?2
ORDER BY d.scheduled_epoch, d.id LIMIT ?3;

-- name: open_destinations
-- Where the open intents of the account ?1 go.
SELECT DISTINCT i.destination FROM intent AS i INDEXED BY intent_open
WHERE i.account = ?1 AND i.step IN ('sign', 'send', 'watch');

-- name: waiting_ids
-- Intents of the account ?1 that wait for the step ?2, in nonce order.
SELECT i.id FROM intent AS i INDEXED BY intent_open
WHERE i.account = ?1 AND i.step IS NOT NULL AND i.step = ?2 ORDER BY i.nonce LIMIT ?3;

-- name: resend_ids
-- Sent intents of the account ?1 with nonces above ?2, last sent at or before ?3, in nonce order. Also those sent after
-- ?5, which is now: the wall clock was set back, and they would wait until it has caught up. Those of which a further
-- variant waits for the signer go as they are meanwhile.
SELECT i.id FROM intent AS i INDEXED BY intent_open
WHERE i.account = ?1 AND i.step IN ('watch', 'sign') AND i.nonce > ?2
    AND (i.last_sent_at <= ?3 OR i.last_sent_at > ?5)
ORDER BY i.nonce LIMIT ?4;

-- name: consumed_ids
-- Open intents of the account ?1 at or below the nonce ?2, in nonce order.
SELECT i.id FROM intent AS i INDEXED BY intent_open
WHERE i.account = ?1 AND i.step IN ('sign', 'send', 'watch') AND i.nonce <= ?2 ORDER BY i.nonce LIMIT ?3;

-- name: cancelling_ids
-- Live intents of the account ?1 that are to be replaced and have no cancel variant yet.
SELECT i.id FROM disbursement AS d INDEXED BY disbursement_cancelling JOIN intent AS i ON i.id = d.live_intent
WHERE d.account = ?1 AND d.status = 'timelocked' AND d.live_intent IS NOT NULL
    AND (d.cancel_requested IS NOT NULL OR d.hold = 'poisoned') AND i.step IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = i.id AND v.kind = 'cancel')
ORDER BY i.nonce LIMIT ?2;

-- name: replaced_ids
-- Sent intents of the account ?1 that have two payloads out: always listed, since nothing behind them may go (R7).
SELECT i.id FROM disbursement AS d INDEXED BY disbursement_cancelling JOIN intent AS i ON i.id = d.live_intent
WHERE d.account = ?1 AND d.status = 'timelocked' AND d.live_intent IS NOT NULL
    AND (d.cancel_requested IS NOT NULL OR d.hold = 'poisoned') AND i.step = 'watch'
    AND EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = i.id AND v.kind = 'cancel')
ORDER BY i.nonce LIMIT ?2;

-- name: oldest_sent
-- The head of the line: the oldest open intent of the account ?1 above the nonce ?2 that may have left.
SELECT id FROM (
    SELECT * FROM (SELECT i.id, i.nonce FROM intent AS i INDEXED BY intent_open WHERE i.account = ?1
        AND i.step IS NOT NULL AND i.step = 'watch' AND i.nonce > ?2 ORDER BY i.nonce LIMIT 1)
    UNION ALL SELECT * FROM (SELECT i.id, i.nonce FROM intent AS i INDEXED BY intent_open WHERE i.account = ?1
        AND i.step IS NOT NULL AND i.step = 'sign' AND i.nonce > ?2 AND i.last_sent_at > 0 ORDER BY i.nonce LIMIT 1)
    UNION ALL SELECT * FROM (SELECT i.id, i.nonce FROM intent AS i INDEXED BY intent_open WHERE i.account = ?1
        AND i.step IS NOT NULL AND i.step = 'send' AND i.nonce > ?2 AND i.last_sent_at > 0 ORDER BY i.nonce LIMIT 1)
) ORDER BY nonce LIMIT 1;

-- name: unburned
-- How many open intents of the account ?1 have nonces above ?2.
SELECT count(*) FROM intent AS i INDEXED BY intent_open
WHERE i.account = ?1 AND i.step IN ('sign', 'send', 'watch') AND i.nonce > ?2;

-- name: open_in_interval
-- How many open intents of the account ?1 have nonces above ?2 and up to ?3.
SELECT count(*) FROM intent AS i INDEXED BY intent_open
WHERE i.account = ?1 AND i.step IN ('sign', 'send', 'watch') AND i.nonce > ?2 AND i.nonce <= ?3;

-- name: placed_in_interval
-- How many intents of the account ?1 with nonces above ?2 and up to ?3 were placed, and what they took.
SELECT count(*), coalesce(sum(i.cost), 0) FROM intent AS i INDEXED BY intent_one_per_nonce
WHERE i.account = ?1 AND i.live = 1 AND i.nonce > ?2 AND i.nonce <= ?3
    AND i.state IN ('included', 'final', 'ambiguous');

-- name: burned_in_interval
-- How many void intents of the account ?1 with burned nonces above ?2 and up to ?3, and what they took.
SELECT count(*), coalesce(sum(i.cost), 0) FROM intent AS i INDEXED BY intent_burned
WHERE i.account = ?1 AND i.state = 'void' AND i.proof <> 'never_bound' AND i.proof <> 'filled' AND i.nonce > ?2
    AND i.nonce <= ?3;

-- name: highest_final
-- The highest nonce of the account ?1 that is final; only what is open or included stands above it.
SELECT i.nonce FROM intent AS i INDEXED BY intent_one_per_nonce
WHERE i.account = ?1 AND i.live = 1 AND i.state = 'final' ORDER BY i.nonce DESC LIMIT 1;

-- name: highest_burned
-- The highest nonce of the account ?1 that burned under a void intent, and is not to be filled.
SELECT max(i.nonce) FROM intent AS i INDEXED BY intent_burned
WHERE i.account = ?1 AND i.state = 'void' AND i.proof <> 'never_bound' AND i.proof <> 'filled';

-- name: blocks
-- The blocks that hold included intents of the account ?1.
SELECT i.height, i.block_hash, count(*) FROM intent AS i INDEXED BY intent_included
WHERE i.account = ?1 AND i.state = 'included' GROUP BY i.height, i.block_hash ORDER BY i.height LIMIT ?2;

-- name: claims
-- Live intents of the account ?1 above the nonce ?2 that may have paid one of the destinations ?3.
SELECT i.id, i.nonce, i.destination, i.amount FROM intent AS i INDEXED BY intent_one_per_nonce
WHERE i.account = ?1 AND i.live = 1 AND i.nonce > ?2 AND i.destination IN (SELECT value FROM json_each(?3))
    AND i.state IN ('staged', 'signed', 'broadcast', 'ambiguous', 'included', 'final');

-- name: account_frames
-- Every account with its newest frame at or below the height ?1.
SELECT a.id, (SELECT f.holdings FROM frame AS f WHERE f.account = a.id AND f.height <= ?1
    ORDER BY f.height DESC LIMIT 1)
FROM account AS a;

-- name: announced
-- Announced deposits of the account ?1 that no funding has used up.
SELECT id, account, amount FROM announced WHERE account = ?1 AND used_height IS NULL ORDER BY id LIMIT ?2;
