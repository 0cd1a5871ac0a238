-- Nonces that pay nobody any more, and what fills them (protocol.md R9, §8).

-- name: live_above
-- Nonces of live intents of the account ?1 above the nonce ?2, at most ?3.
SELECT nonce FROM intent WHERE account = ?1 AND live = 1 AND nonce > ?2 ORDER BY nonce LIMIT ?3;

-- name: bound_nonces
-- Which of the nonces ?2 of the account ?1 a live intent holds, and for which disbursement (none: it is a filler). A final
-- payment whose books were rolled back holds its nonce no longer.
SELECT i.nonce, i.disbursement_id FROM intent AS i LEFT JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.account = ?1 AND i.live = 1 AND i.nonce IN (SELECT value FROM json_each(?2))
    AND NOT (i.state = 'final' AND coalesce(d.status, '') = 'rolled_back');

-- name: lost_payments
-- Final payments of the account ?1 above the nonce ?2: the chain has lost them. The last column is 1 where the books were
-- rolled back since: such a nonce pays nobody any more.
SELECT i.nonce, i.disbursement_id, d.status = 'rolled_back' FROM intent AS i
JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.account = ?1 AND i.live = 1 AND i.nonce > ?2 AND i.state = 'final'
ORDER BY i.nonce LIMIT ?3;

-- name: given_up
-- The final payment of the account ?1 under the nonce ?2, where its books were rolled back.
SELECT i.id, i.disbursement_id, i.cost FROM intent AS i JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.account = ?1 AND i.live = 1 AND i.nonce = ?2 AND i.state = 'final' AND d.status = 'rolled_back';

-- name: give_up_payment
-- A lost payment whose books were rolled back: its nonce is a filler's from now on.
UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = 'filled', cost = NULL WHERE id = ? AND state = 'final';

-- name: unbind_rolled_back
-- And its disbursement has no live intent.
UPDATE disbursement SET live_intent = NULL WHERE id = ? AND live_intent = ? AND status = 'rolled_back';

-- name: had_the_nonce
-- Void intents of the account ?1 whose place on the chain under the nonce ?2 counted until now, and the dearest fee of
-- their cancel variants.
SELECT i.id, i.cost, (SELECT max(v.fee) FROM variant AS v WHERE v.intent_id = i.id AND v.kind = 'cancel')
FROM intent AS i INDEXED BY intent_burned
WHERE i.account = ?1 AND i.nonce = ?2 AND i.state = 'void' AND i.proof <> 'never_bound' AND i.proof <> 'filled';

-- name: give_up_nonce
-- Its nonce is a filler's from now on.
UPDATE intent SET proof = 'filled', cost = NULL WHERE id = ? AND state = 'void';

-- name: insert_filler
-- Bind a nonce to nothing but a cancel variant.
INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, step, staged_at)
VALUES (?, ?, ?, NULL, ?, ?, ?, ?, 'staged', 1, 'sign', ?);

-- name: filled_up_to
-- Of the account ?1 the nonce ?2 was given: as high as any, where a thaw went on above a stranger's.
UPDATE account SET high_water = max(high_water, ?2) WHERE id = ?1;

-- name: term_of
-- The term of the account's lease now; 0 before the first.
SELECT coalesce(max(term), 0) FROM lease WHERE account = ?1;
