-- Restored, cloned, moved (protocol.md §8): found, taken up, left.

-- name: meta
-- One thing that the store says of itself.
SELECT value FROM meta WHERE name = ?1;

-- name: put_meta
-- And what it says from now on.
INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: counters
-- The next id of each kind.
SELECT name, next FROM counter;

-- name: raise_counter
-- Ids are never used again: the next one of the kind ?1 is ?2 at least.
UPDATE counter SET next = max(next, ?2) WHERE name = ?1;

-- name: pasts
-- Every account with what signer and chain are held against.
SELECT a.id, a.state, a.cause, a.detail, a.next_nonce, a.high_water, a.chain_nonce, coalesce(l.term, 0)
FROM account AS a LEFT JOIN lease AS l ON l.account = a.id ORDER BY a.id;

-- name: entry
-- The hash of the entry ?2 of the journal ?1.
SELECT hash FROM journal WHERE chain = ?1 AND seq = ?2;

-- name: quarantine_account
-- The store is older than the world, or may be: the account ?1 acts on nothing, and nobody has taken it up yet.
UPDATE account SET state = 'quarantined', cause = 'restored', detail = ?2 WHERE id = ?1;

-- name: taken_up
-- What was bound is confirmed and may be sent again; ?3 is the highest nonce that signer or journal know.
UPDATE account SET cause = 'taken_up', detail = detail || ?2, high_water = max(high_water, ?3),
    next_nonce = max(coalesce(next_nonce, 0), ?3 + 1) WHERE id = ?1 AND state = 'quarantined';

-- name: leave
-- It goes on above every nonce that is known, as active as it was before: ?3 to ?5 are its state, cause and detail.
UPDATE account SET state = ?3, cause = ?4, detail = ?5, next_nonce = ?2,
    high_water = max(high_water, ?2 - 1) WHERE id = ?1 AND state = 'quarantined' AND cause = 'taken_up';

-- name: hold_restored
-- Nobody knows what was said of these items after the backup: each waits until a person has read and released it.
UPDATE disbursement SET hold = 'restored', hold_detail = ?2
WHERE account = ?1 AND live_intent IS NULL AND hold IS NOT 'restored'
    AND (status = 'draft' OR status = 'voting' OR status = 'queued' OR status = 'timelocked');

-- name: hold_disputed
-- The same of the item ?1, whose ever account pays it: the signer has something else under its id or key.
UPDATE disbursement SET hold = 'restored', hold_detail = ?2
WHERE id = ?1 AND live_intent IS NULL AND hold IS NOT 'restored'
    AND (status = 'draft' OR status = 'voting' OR status = 'queued' OR status = 'timelocked');

-- name: held_restored
-- The items of the account ?1 that wait for that, oldest first, at most ?2.
SELECT id FROM disbursement WHERE hold = 'restored' AND account = ?1 ORDER BY id LIMIT ?2;

-- name: lowest_open
-- The lowest nonce of the account ?1 whose intent is not final, or was never signed (to the signer it may be another
-- intent's), or that is given next; 1 where there is no sequence yet.
SELECT coalesce(min(nonce), 1) FROM (
    SELECT i.nonce FROM intent AS i WHERE i.account = ?1 AND (i.live = 1 AND i.state <> 'final'
        OR i.proof = 'never_bound' AND NOT EXISTS (
            SELECT 1 FROM intent AS o WHERE o.account = i.account AND o.nonce = i.nonce AND o.live = 1))
    UNION ALL SELECT next_nonce FROM account WHERE id = ?1);

-- name: staged_ids
-- Intents of the account ?1 that are bound here and not signed.
SELECT i.id FROM intent AS i WHERE i.account = ?1 AND i.live = 1 AND i.state = 'staged';

-- name: live_by_nonce
-- The live intent of the account ?1 under the nonce ?2.
SELECT id FROM intent WHERE account = ?1 AND nonce = ?2 AND live = 1;

-- name: bound_intent
-- One intent as it is held against what the signer bound.
SELECT i.account, i.nonce, i.disbursement_id, i.destination, i.amount, i.state, i.proof FROM intent AS i WHERE i.id = ?1;

-- name: bound_item
-- One disbursement as it is held against what the signer bound.
SELECT account, destination, amount, memo, payload_digest, live_intent FROM disbursement WHERE id = ?1;

-- name: key_owner
-- Whose idempotency key ?1 is.
SELECT id FROM disbursement WHERE idempotency_key = ?1;

-- name: import_item
-- A disbursement that the signer knows and this store does not: its content, and nothing of its past.
INSERT INTO disbursement (id, account, destination, amount, memo, scheduled_epoch, idempotency_key, request_digest,
    payload_digest, created_at, status, status_at, ready_epoch, hold_detail)
VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, '', ?7, ?8, 'timelocked', ?8, 0, 'imported from the signer after a restore');

-- name: import_intent
-- What the signer bound: its bytes may be out.
INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, step, staged_at,
    sent_at, last_sent_at, proof)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, 1.0, ?13);

-- name: import_variant
-- One set of bytes as the signer gave it; it may be staged here without them.
INSERT INTO variant (intent_id, number, kind, fee, staged_at, tx_hash, tx_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (intent_id, number) DO UPDATE SET kind = excluded.kind, fee = excluded.fee, tx_hash = excluded.tx_hash,
    tx_bytes = excluded.tx_bytes WHERE tx_bytes IS NULL;

-- name: out_bound
-- The bytes of the intent ?1 may have left, when nobody knows: from now on they are sent again like any other.
UPDATE variant SET sent_at = coalesce(sent_at, ?2), pooled = 1 WHERE intent_id = ?1 AND tx_bytes IS NOT NULL;

-- name: variants_of
-- The variants of the intent ?1: number and hash.
SELECT number, tx_hash FROM variant WHERE intent_id = ?1 ORDER BY number;

-- name: reopen_bound
-- An intent of this store that the signer bound: its bytes may be out.
UPDATE intent SET state = 'broadcast', step = 'watch', sent_at = coalesce(sent_at, ?2), last_sent_at = 1.0,
    fee = max(fee, ?3) WHERE id = ?1 AND live = 1 AND (state = 'staged' OR state = 'signed' OR state = 'broadcast');

-- name: drop_unsigned
-- A variant that was staged here and never signed: nobody asks for it any more.
DELETE FROM variant WHERE intent_id = ?1 AND tx_bytes IS NULL;

-- name: bind_restored
-- The signer's word: whatever stood here, it is being paid by the intent ?2. A cancellation under way is open again.
UPDATE disbursement SET status = 'timelocked', status_at = ?3, live_intent = ?2, hold = NULL, hold_detail = '',
    ready_epoch = coalesce(ready_epoch, 0), rolled_back_at = NULL, reason = NULL,
    cancel_requested = coalesce(cancel_requested, ?4) WHERE id = ?1;

-- name: cancel_bound
-- The signer knows a cancel variant of the disbursement ?1: the cancellation is under way, unless the variant replaces
-- what was refused for its content (R8).
UPDATE disbursement SET cancel_requested = coalesce(cancel_requested, ?2) WHERE id = ?1 AND hold IS NOT 'poisoned';

-- name: sealed_bindings
-- What was ever sealed of the account ?1 by intents above the id ?2, in order, of at most ?3 intents.
SELECT i.id, i.nonce, i.disbursement_id, i.destination, i.amount, i.term, v.number, v.kind, v.fee, v.tx_hash, v.tx_bytes,
    coalesce(d.memo, ''), coalesce(d.payload_digest, ''), coalesce(d.idempotency_key, '')
FROM intent AS i JOIN variant AS v ON v.intent_id = i.id LEFT JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.id IN (SELECT j.id FROM intent AS j WHERE j.account = ?1 AND j.id > ?2 ORDER BY j.id LIMIT ?3)
    AND v.tx_bytes IS NOT NULL ORDER BY i.id, v.number;

-- name: last_of_page
-- The last id of that page; NULL where it is empty.
SELECT max(id) FROM (SELECT j.id FROM intent AS j WHERE j.account = ?1 AND j.id > ?2 ORDER BY j.id LIMIT ?3);

-- name: released_void
-- Void intents of the account ?1 that a person released: their disbursements may be bound anew (R11).
SELECT i.id FROM intent AS i JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.account = ?1 AND i.state = 'void' AND i.proof <> 'never_bound' AND d.hold IS NOT 'needs_release'
    AND EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = i.id AND v.tx_bytes IS NOT NULL);

-- name: open_nonces
-- Nonces of the account ?1 whose intents are neither in a block nor void, in order, at most ?2: up to the first one that
-- only a new signature brings on, which no quarantine gives (a cancellation that was never signed, content or a fee that
-- is refused). What is behind that one waits for it.
SELECT i.nonce FROM intent AS i
WHERE i.account = ?1 AND i.step IS NOT NULL
    AND i.nonce < coalesce((
        SELECT min(w.nonce) FROM intent AS w LEFT JOIN disbursement AS d ON d.id = w.disbursement_id
        WHERE w.account = ?1 AND w.step IS NOT NULL
            AND ((d.cancel_requested IS NOT NULL OR d.hold = 'poisoned')
                AND NOT EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = w.id AND v.kind = 'cancel')
                OR EXISTS (SELECT 1 FROM variant AS v WHERE v.intent_id = w.id AND v.last_meaning = 'fee_too_low'))
    ), i.nonce + 1)
ORDER BY i.nonce LIMIT ?2;

-- name: highest_included
-- The highest block that holds an intent of the account ?1 which is not final, or up to which a filler's nonce was used by
-- what balances do not tell, where that is above the height ?2.
SELECT max(height) FROM (
    SELECT height FROM intent WHERE account = ?1 AND state = 'included'
    UNION ALL SELECT a.second_height FROM intent AS i JOIN ambiguity AS a ON a.intent_id = i.id
    WHERE i.account = ?1 AND i.state = 'ambiguous' AND i.disbursement_id IS NULL AND a.second_height > ?2
);

-- name: ambiguous_items
-- Disbursements of the account ?1 whose outcome is unknown, at most ?2.
SELECT i.disbursement_id FROM intent AS i WHERE i.account = ?1 AND i.state = 'ambiguous' AND i.disbursement_id IS NOT NULL
ORDER BY i.nonce LIMIT ?2;

-- name: known_nonces
-- Nonces of the account ?1 above ?2 that something of ours has, or had when they burned.
SELECT nonce FROM intent WHERE account = ?1 AND nonce > ?2 AND (live = 1 OR proof <> 'never_bound');

-- name: forgotten
-- A nonce of the account ?1 above ?2 and up to ?3, all of them used, that something of ours had and nothing of ours used:
-- it was returned, or something else took it from a filler.
SELECT i.nonce FROM intent AS i
WHERE i.account = ?1 AND i.nonce > ?2 AND i.nonce <= ?3 AND i.live IS NULL
    AND NOT EXISTS (SELECT 1 FROM intent AS l WHERE l.account = i.account AND l.nonce = i.nonce AND l.live = 1)
    AND NOT EXISTS (SELECT 1 FROM intent AS v WHERE v.account = i.account AND v.nonce = i.nonce AND v.state = 'void'
        AND v.proof <> 'never_bound' AND (v.proof = 'cancelled' OR v.disbursement_id IS NOT NULL))
LIMIT 1;

-- name: first_nonce
-- The lowest nonce that was ever ours.
SELECT min(nonce) FROM intent WHERE account = ?1;

-- name: baseline_of
-- Height of the account's baseline.
SELECT max(height) FROM frame WHERE account = ?1;

-- name: frames_below
-- The kept frames of the account ?1 at or below the height ?2.
SELECT holdings FROM frame WHERE account = ?1 AND height <= ?2;
