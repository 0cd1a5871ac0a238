-- What was proved not to pay (protocol.md R5), and what becomes of its disbursement (§2).

-- name: void
-- A void intent keeps its row and its bytes for ever; its nonce and its disbursement are no longer its own.
UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = ? WHERE id = ? AND live = 1;

-- name: cancel_requested
-- Whether a cancel waits for the outcome.
SELECT cancel_requested FROM disbursement WHERE id = ?;

-- name: unbind
-- Its disbursement has no live intent, and is held by ?1 where that is not NULL.
UPDATE disbursement SET live_intent = NULL, hold = coalesce(hold, ?1),
    hold_detail = CASE WHEN hold IS NULL THEN ?2 ELSE hold_detail END
WHERE id = ?3 AND live_intent = ?4 AND status = 'timelocked';

-- name: roll_back
-- A cancel had been requested: it is rolled back in the transaction that voids it, however it was proved.
UPDATE disbursement SET live_intent = NULL, status = 'rolled_back', status_at = ?1, rolled_back_at = ?1,
    reason = cancel_requested WHERE id = ?2 AND live_intent = ?3 AND status = 'timelocked';
