-- What metrics say of the store, read between two scrapes: counted on partial indexes, at most once a second.

-- name: unfinished
-- How many disbursements stand in the status ?1, which is not `finalized`: one walk along its part of the index.
SELECT count(*) FROM disbursement INDEXED BY disbursement_unfinished WHERE status = ?1 AND status <> 'finalized';

-- name: held
-- How many disbursements a person has to look at, by stored hold.
SELECT hold, count(*) FROM disbursement INDEXED BY disbursement_held
WHERE hold IS NOT NULL AND status <> 'rolled_back' GROUP BY hold;

-- name: accounts
-- The accounts ?1 with their leases and their ambiguous intents.
SELECT a.id, a.state, a.cause, a.chain_balance, a.high_water,
    (SELECT count(*) FROM intent AS i WHERE i.account = a.id AND i.state = 'ambiguous'), l.term, l.released
FROM account AS a LEFT JOIN lease AS l ON l.account = a.id WHERE a.id IN {ids} ORDER BY a.id;

-- name: first_in_line
-- Of the first ?3 payable items of the account ?1, due by the settled epoch ?2: since when they are ready, and for when.
SELECT {ready_at}, d.scheduled_epoch FROM disbursement AS d INDEXED BY disbursement_payable
WHERE d.account = ?1 AND d.status = 'timelocked' AND d.live_intent IS NULL AND d.hold IS NULL
    AND d.cancel_requested IS NULL AND d.unmet = 0 AND d.scheduled_epoch <= ?2
ORDER BY d.scheduled_epoch, d.id LIMIT ?3;

-- name: oldest_under_way
-- The same of the lowest nonce of the account ?1 that waits for the step ?2.
SELECT {ready_at}, d.scheduled_epoch FROM intent AS i INDEXED BY intent_open JOIN disbursement AS d ON d.id = i.disbursement_id
WHERE i.account = ?1 AND i.step IS NOT NULL AND i.step = ?2 ORDER BY i.nonce LIMIT 1;

-- name: place
-- The store's file; empty for one in memory.
SELECT file FROM pragma_database_list WHERE name = 'main';
