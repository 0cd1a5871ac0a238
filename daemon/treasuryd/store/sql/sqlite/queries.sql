-- What several verbs read and write. `?1` and so on are bound by the caller; lists of ids come as one JSON array.

-- fragment: disbursement
-- The columns of one disbursement, in the order of rows.disbursements().
d.id, d.account, d.destination, d.amount, d.memo, d.scheduled_epoch, d.idempotency_key, d.request_digest,
d.payload_digest, d.status, d.created_at, d.status_at, d.vote_deadline_epoch, d.weights, d.activation_epoch,
d.ready_epoch, d.queued_at, d.live_intent, d.cancel_requested, d.hold, d.hold_detail, d.tx_hash, d.fee_paid,
d.executed_height, d.executed_epoch, d.executed_at, d.evidence, d.finalized_at, d.rolled_back_at, d.reason, d.prior_tx

-- fragment: intent
-- The columns of one intent and of one of its variants without its bytes, in the order of rows.intents().
i.id, i.account, i.nonce, i.disbursement_id, i.destination, i.amount, i.term, i.state, i.staged_at, i.sent_at,
i.refusals, i.winner, i.height, i.block_hash, i.evidence, d.memo, d.payload_digest, d.idempotency_key,
d.cancel_requested, v.number, v.kind, v.fee, v.tx_hash, v.sent_at, v.attempts,
v.last_meaning, v.pooled

-- fragment: ready_at
-- Since when nothing but its scheduled epoch keeps a disbursement from being paid: timelock and last dependency are over.
max(d.status_at, coalesce((SELECT max(n.status_at) FROM dependency AS e JOIN disbursement AS n ON n.id = e.needs
    WHERE e.disbursement_id = d.id), 0))

-- fragment: ids
(SELECT value FROM json_each(?1))

-- name: disbursements_by_id
-- Disbursements of the ids ?1.
SELECT {disbursement} FROM disbursement AS d WHERE d.id IN {ids};

-- name: dependencies_of
-- What the disbursements ?1 depend on, in the order of the ids.
SELECT disbursement_id, needs FROM dependency WHERE disbursement_id IN {ids} ORDER BY disbursement_id, needs;

-- name: receipts_of
-- Expected receipts of the disbursements ?1, in the order given at intake.
SELECT disbursement_id, account, amount FROM expected_receipt
WHERE disbursement_id IN {ids} ORDER BY disbursement_id, place;

-- name: proposals_of
-- Proposals of the disbursements ?1.
SELECT disbursement_id, title, summary, deps, attachments, operators_ppm, builders_ppm, vote_window_epochs,
    timelock_epochs, rollback_window_epochs
FROM proposal WHERE disbursement_id IN {ids};

-- name: votes_of
-- The votes that count on the disbursements ?1.
SELECT disbursement_id, house, key, counter, decision, signature, taken_at, seen_epoch
FROM vote WHERE disbursement_id IN {ids} ORDER BY disbursement_id, house, key;

-- name: intents_by_id
-- Intents of the ids ?1 with their variants and the bytes.
SELECT {intent}, v.tx_bytes
FROM intent AS i JOIN variant AS v ON v.intent_id = i.id LEFT JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.id IN {ids} ORDER BY i.id, v.number;

-- name: intents_by_id_without_bytes
-- Intents of the ids ?1 with their variants.
SELECT {intent}, NULL
FROM intent AS i JOIN variant AS v ON v.intent_id = i.id LEFT JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.id IN {ids} ORDER BY i.id, v.number;

-- name: accounts_by_id
-- Accounts of the ids ?1.
SELECT id, state, cause, detail, next_nonce, high_water, thaw_above FROM account WHERE id IN {ids} ORDER BY id;

-- name: all_accounts
-- Every account.
SELECT id, state, cause, detail, next_nonce, high_water, thaw_above FROM account ORDER BY id;

-- name: frame_ids
-- The kept frames of the accounts ?1, oldest first; the last one of an account is its baseline.
SELECT account, id FROM frame WHERE account IN {ids} ORDER BY account, height;

-- name: frames_by_id
-- Frames of the ids ?1.
SELECT id, height, block_hash, base_fee, holdings FROM frame WHERE id IN {ids};

-- name: chain
-- What is pinned and believed of the chain.
SELECT chain_id, genesis, believed, risen_at, settled_height, settled FROM chain WHERE only = 1;

-- name: kill_switch
-- Whether a person forced all send breakers open.
SELECT EXISTS (SELECT 1 FROM breaker_override
    WHERE endpoint = '*' AND call_class = 'send' AND mode = 'forced_open');

-- name: take_ids
-- Reserve ?2 ids of the kind ?1; answers the first one after them.
UPDATE counter SET next = next + ?2 WHERE name = ?1 RETURNING next;

-- name: journal_head
-- The last entry of the chain ?1.
SELECT seq, hash FROM journal WHERE chain = ?1 ORDER BY seq DESC LIMIT 1;

-- name: journal_last
-- The number of the last entry of all chains.
SELECT coalesce(max(id), 0) FROM journal;

-- name: journal_append
-- One more entry.
INSERT INTO journal (id, chain, seq, at, verb, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);

-- name: journal_since
-- Entries with ids above ?1, in the order in which they were written, at most ?2.
SELECT id, chain, seq, at, verb, body, hash FROM journal WHERE id > ?1 ORDER BY id LIMIT ?2;

-- name: journal_of
-- Entries of the chain ?1 after ?2, at most ?3.
SELECT id, chain, seq, at, verb, body, hash FROM journal WHERE chain = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3;

-- name: journal_heads
-- The last number of each chain.
SELECT chain, max(seq), max(id) FROM journal GROUP BY chain;
