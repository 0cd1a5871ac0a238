-- name: accounts
-- All marks; accounts are few.
SELECT name, nonce, disbursement_id, term, sealed_nonce, sealed_disbursement_id FROM account;

-- name: last_intent
-- The highest intent that was ever bound or refused for good, of any account.
SELECT max(coalesce((SELECT max(intent_id) FROM intent), 0), coalesce((SELECT max(intent_id) FROM refusal), 0));

-- name: contents
-- What is bound to these intents.
SELECT intent_id, account, nonce, disbursement_id, destination, amount, memo, payload_digest, idempotency_key
FROM intent WHERE intent_id IN (SELECT value FROM json_each(?1));

-- name: by_nonce
-- Whose are these nonces of one account? A filler has no disbursement.
SELECT nonce, intent_id, disbursement_id IS NULL FROM intent
WHERE account = ?1 AND nonce IN (SELECT value FROM json_each(?2));

-- name: to_fill
-- Which of these nonces did a person order to be filled?
SELECT nonce FROM fill WHERE account = ?1 AND nonce IN (SELECT value FROM json_each(?2));

-- name: by_disbursement
-- Which intents were ever bound for these disbursements?
SELECT disbursement_id, intent_id FROM intent WHERE disbursement_id IN (SELECT value FROM json_each(?1));

-- name: signatures
-- All variants of these intents, in order.
SELECT intent_id, variant, kind, fee, term, tx_hash, tx_bytes
FROM signature WHERE intent_id IN (SELECT value FROM json_each(?1)) ORDER BY intent_id, variant;

-- name: refusals
-- Which of these intents were refused for good, and why?
SELECT intent_id, why, detail, first FROM refusal WHERE intent_id IN (SELECT value FROM json_each(?1));

-- name: judged_void
-- Which of these intents did a person declare void?
SELECT intent_id FROM judged_void WHERE intent_id IN (SELECT value FROM json_each(?1));

-- name: never_bound
-- Which of these intents were refused for good and never bound, by an account that has not lost its memory?
SELECT refusal.intent_id FROM refusal
LEFT JOIN account ON account.name = refusal.account
WHERE refusal.intent_id IN (SELECT value FROM json_each(?1))
  AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.intent_id = refusal.intent_id)
  AND coalesce(account.nonce >= account.sealed_nonce, 1)
  AND coalesce(account.disbursement_id >= account.sealed_disbursement_id, 1);

-- name: bindings
-- The intents of one account from a nonce on, at most so many.
SELECT intent_id, account, nonce, disbursement_id, destination, amount, memo, payload_digest, idempotency_key
FROM intent WHERE account = ?1 AND nonce >= ?2 ORDER BY nonce LIMIT ?3;

-- name: add_intent
-- Bind an intent; a nonce that is taken fails here at the latest.
INSERT INTO intent (intent_id, account, nonce, disbursement_id, destination, amount, memo, payload_digest,
                    idempotency_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_signature
-- Remember the bytes of one variant.
INSERT INTO signature (intent_id, variant, kind, fee, term, tx_hash, tx_bytes) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_refusal
-- Remember a refusal for good; repeating it changes nothing.
INSERT INTO refusal (intent_id, account, disbursement_id, why, detail, first) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (intent_id) DO NOTHING;

-- name: add_void
-- Remember a person's word; the first one stands.
INSERT INTO judged_void (intent_id, who, reason, at) VALUES (?, ?, ?, ?) ON CONFLICT (intent_id) DO NOTHING;

-- name: add_fill
-- Remember a person's word that a nonce is to be filled; the first one stands.
INSERT INTO fill (account, nonce, who, reason, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (account, nonce) DO NOTHING;

-- name: add_adoption
-- Remember who imported what.
INSERT INTO adoption (account, bindings, who, reason, at) VALUES (?, ?, ?, ?, ?);

-- name: raise_marks
-- Marks only rise.
INSERT INTO account (name, nonce, disbursement_id, term) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET nonce = max(nonce, excluded.nonce),
    disbursement_id = max(disbursement_id, excluded.disbursement_id), term = max(term, excluded.term);

-- name: raise_sealed
-- What the store had sealed while this ledger knew less; only rises, and is met by adoption.
INSERT INTO account (name, sealed_nonce, sealed_disbursement_id) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET sealed_nonce = max(sealed_nonce, excluded.sealed_nonce),
    sealed_disbursement_id = max(sealed_disbursement_id, excluded.sealed_disbursement_id);

-- name: witnesses
-- What the store last told of its journal.
SELECT account, chain, lineage, seq, hash FROM witness ORDER BY account, chain;

-- name: put_witness
-- And what it tells now.
INSERT INTO witness (account, chain, lineage, seq, hash) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (account, chain) DO UPDATE SET lineage = excluded.lineage, seq = excluded.seq, hash = excluded.hash;
