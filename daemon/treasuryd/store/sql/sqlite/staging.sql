-- Stage, unstage, seal: what is bound before anything is signed, and the bytes before anything is sent (R1).

-- name: to_stage
-- The real rows behind the drafts ?1, and since when each is ready.
SELECT d.id, d.account, d.destination, d.amount, d.memo, d.scheduled_epoch, d.payload_digest, d.idempotency_key, d.status,
    d.live_intent, d.cancel_requested, d.hold, {ready_at}
FROM disbursement AS d WHERE d.id IN (SELECT value FROM json_each(?1));

-- name: paying_accounts
-- The accounts ?1, as far as staging has to know them; `promised` is what live intents may still cost.
SELECT id, state, next_nonce, chain_balance, chain_nonce,
    (SELECT coalesce(sum(i.amount + i.fee), 0) FROM intent AS i
        WHERE i.account = account.id AND i.step IN ('sign', 'send', 'watch')) AS promised
FROM account WHERE id IN (SELECT value FROM json_each(?1));

-- name: own_addresses
-- Every account of the store, with the sink that is pinned for it.
SELECT a.id, m.value FROM account AS a LEFT JOIN meta AS m ON m.name = 'sink:' || a.id;

-- name: insert_intent
-- Bind a disbursement to a nonce.
INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, step, staged_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'staged', 1, 'sign', ?);

-- name: insert_variant
-- One more variant; its bytes come when it is sealed.
INSERT INTO variant (intent_id, number, kind, fee, staged_at) VALUES (?, ?, ?, ?, ?);

-- name: bind
-- Compare-and-set on the row that every cancel writes too (R10).
UPDATE disbursement SET live_intent = ? WHERE id = ? AND live_intent IS NULL AND status = 'timelocked'
    AND cancel_requested IS NULL AND hold IS NULL;

-- name: numbered
-- The sequence of an account went on to ?1.
UPDATE account SET next_nonce = ?1, high_water = max(high_water, ?1 - 1) WHERE id = ?2;

-- name: return_nonces
-- And back to ?1, for what the signer will never bind.
UPDATE account SET next_nonce = ?1 WHERE id = ?2;

-- name: highest_live
-- The highest nonce of the account ?1 that a live intent has.
SELECT max(nonce) FROM intent WHERE account = ?1 AND live = 1;

-- name: standing
-- The intents ?1 with all their variants, as far as a change has to know them; three columns are for people's figures.
SELECT i.id, i.account, i.nonce, i.state, i.step, i.disbursement_id, i.amount, i.destination, i.staged_at,
    i.sent_at, d.scheduled_epoch, {ready_at}, v.number, v.kind, v.tx_hash
FROM intent AS i JOIN variant AS v ON v.intent_id = i.id LEFT JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.id IN (SELECT value FROM json_each(?1)) ORDER BY i.id, v.number;

-- name: seal_variant
-- Exactly these bytes, for ever.
UPDATE variant SET tx_bytes = ?, tx_hash = ? WHERE intent_id = ? AND number = ? AND tx_bytes IS NULL;

-- name: seal_intent
-- Its newest bytes wait to be sent.
UPDATE intent SET state = ?, step = ? WHERE id = ?;

-- name: sealed
-- What the signer has to remember from now on (R11).
UPDATE account SET sealed_nonce = max(sealed_nonce, ?1), sealed_disbursement = max(sealed_disbursement, ?2),
    sealed_term = max(sealed_term, ?3) WHERE id = ?4;

-- name: sealed_marks
-- The same, read.
SELECT id, sealed_nonce, sealed_disbursement, sealed_term FROM account WHERE id IN (SELECT value FROM json_each(?1));
