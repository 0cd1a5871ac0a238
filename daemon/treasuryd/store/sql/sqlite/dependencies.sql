-- What waits for what (protocol.md §2). `unmet` is recounted from real rows, so it cannot drift.
-- A dependency is satisfied when it is finalized, or, where ?2 is 1, executed with a final intent.

-- fragment: unmet
(SELECT count(*) FROM dependency AS e LEFT JOIN disbursement AS n ON n.id = e.needs
    LEFT JOIN intent AS i ON i.id = n.live_intent
    WHERE e.disbursement_id = disbursement.id AND NOT (coalesce(n.status, '') = 'finalized'
        OR (?2 = 1 AND coalesce(n.status, '') = 'executed' AND coalesce(i.state, '') = 'final')))

-- name: recount_dependents
-- Recount `unmet` of everything that directly needs one of ?1 and is not over.
UPDATE disbursement SET unmet = {unmet}
WHERE id IN (SELECT disbursement_id FROM dependency WHERE needs IN (SELECT value FROM json_each(?1)))
    AND status IN ('draft', 'voting', 'queued', 'timelocked');

-- name: recount
-- Recount `unmet` of the disbursements ?1 themselves (at intake, in the transaction that stores them).
UPDATE disbursement SET unmet = {unmet} WHERE id IN (SELECT value FROM json_each(?1));

-- name: recount_waiting
-- Recount `unmet` of everything of the account ?1 that still waits.
UPDATE disbursement SET unmet = {unmet} WHERE id IN (SELECT id FROM disbursement WHERE account = ?1 AND unmet > 0);

-- name: fail_dependents
-- Hold what directly depends on one of ?1, which were rolled back, unless it is under way, over or held already.
UPDATE disbursement SET hold = 'dependency_failed', hold_detail = 'a dependency was rolled back'
WHERE id IN (SELECT disbursement_id FROM dependency WHERE needs IN (SELECT value FROM json_each(?1)))
    AND status IN ('draft', 'voting', 'queued', 'timelocked') AND live_intent IS NULL AND hold IS NULL
RETURNING id, account;

-- name: waiting_edges
-- The edges of everything of the account ?1 that waits and is not held, each with what it points to.
SELECT d.id, e.needs, n.status FROM disbursement AS d INDEXED BY disbursement_waiting
JOIN dependency AS e ON e.disbursement_id = d.id LEFT JOIN disbursement AS n ON n.id = e.needs
WHERE d.account = ?1 AND d.unmet > 0 AND d.hold IS NULL AND d.live_intent IS NULL
    AND d.status IN ('draft', 'voting', 'queued', 'timelocked');

-- name: edges_of
-- The edges of the disbursements ?1: what each needs, its status, and whether its intent is final.
SELECT e.disbursement_id, e.needs, n.status, i.state FROM dependency AS e
LEFT JOIN disbursement AS n ON n.id = e.needs LEFT JOIN intent AS i ON i.id = n.live_intent
WHERE e.disbursement_id IN (SELECT value FROM json_each(?1));

-- name: hold
-- Store a hold on a disbursement that is not under way.
UPDATE disbursement SET hold = ?1, hold_detail = ?2 WHERE id = ?3 AND live_intent IS NULL;

-- name: end_approval_lost
-- Votes are recounted anew under the keys that this start was configured with.
UPDATE disbursement SET hold = NULL, hold_detail = '' WHERE account = ?1 AND hold = 'approval_lost' RETURNING id;

-- name: dependents_counted
-- How many directly need each of ?1.
SELECT needs, count(*) FROM dependency WHERE needs IN (SELECT value FROM json_each(?1)) GROUP BY needs;
