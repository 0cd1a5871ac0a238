-- What the settlement audit reads (core/audit.py): pages by id, and each account's books.

-- name: items_after
-- The ids of disbursements above ?1, at most ?2.
SELECT id FROM disbursement WHERE id > ?1 ORDER BY id LIMIT ?2;

-- name: intents_of
-- Every intent of the disbursements ?1, live and void, through the index of each.
SELECT id FROM intent WHERE disbursement_id IN (SELECT value FROM json_each(?1)) AND live = 1
    AND disbursement_id IS NOT NULL
UNION ALL SELECT id FROM intent WHERE disbursement_id IN (SELECT value FROM json_each(?1)) AND live IS NULL;

-- name: movements_after
-- Balance events above ?1, at most ?2, each with the intent that it names.
SELECT b.id, b.account, b.kind, b.delta, b.fee, b.balance, b.disbursement_id, i.disbursement_id, i.amount,
    b.intent_id
FROM balance_event AS b LEFT JOIN intent AS i ON i.id = b.intent_id WHERE b.id > ?1 ORDER BY b.id LIMIT ?2;

-- name: ledgers
-- Each account's books, what was taken above its baseline's count, and whether something consumed has no verdict yet.
SELECT a.id, a.booked, a.chain_balance,
    (SELECT coalesce(sum(cost), 0) FROM intent WHERE account = a.id AND live = 1 AND nonce > a.chain_nonce)
    + (SELECT coalesce(sum(cost), 0) FROM intent WHERE account = a.id AND state = 'void' AND proof <> 'never_bound'
        AND nonce > a.chain_nonce),
    EXISTS (SELECT 1 FROM intent WHERE account = a.id AND step IS NOT NULL AND nonce <= a.chain_nonce)
    OR EXISTS (SELECT 1 FROM intent WHERE account = a.id AND state = 'ambiguous')
FROM account AS a WHERE a.next_nonce IS NOT NULL ORDER BY a.id;

-- name: sinks
-- Where the cancellations of each account go that has a sink pinned here (pins.sql), configured by this process or not.
SELECT substr(name, 6), value FROM meta WHERE name >= 'sink:' AND name < 'sink;';

-- name: entries_after
-- Journal entries above ?1, read until the reader has enough.
SELECT id, chain, seq, at, verb, body, hash FROM journal WHERE id > ?1 ORDER BY id;

-- name: nonces_twice
-- Live intents that share an account's nonce: the index forbids it, so that only a damaged file can hold one.
SELECT account, nonce, count(*) FROM intent NOT INDEXED WHERE live = 1 GROUP BY account, nonce HAVING count(*) > 1;

-- fragment: moved
-- Each intent with what its balance events come to, and its cost. A correction names its intent too, and takes back an
-- earlier unexplained fall: it is no part of what the intent took.
SELECT i.id, i.account, i.disbursement_id, (SELECT coalesce(sum(delta), 0) FROM balance_event
    WHERE intent_id = i.id AND kind IN ('execution', 'cancellation', 'reversal')) AS moved, coalesce(i.cost, 0) AS cost
FROM intent AS i

-- name: uncosted
-- Intents whose balance events do not come to what they took.
SELECT id, account, disbursement_id, moved, cost FROM ({moved}) WHERE moved <> -cost;

-- name: uncosted_of
-- The same of the intents ?1.
SELECT id, account, disbursement_id, moved, cost FROM ({moved} WHERE i.id IN (SELECT value FROM json_each(?1)))
WHERE moved <> -cost;

-- name: rivals_of
-- Of the intents ?1 with the bytes of a payment: other ones with such bytes under the same nonce, live and void.
SELECT i.id, i.account, i.nonce, i.disbursement_id, o.id FROM intent AS i
JOIN intent AS o ON o.account = i.account AND o.nonce = i.nonce AND o.live = 1 AND o.id <> i.id
WHERE i.id IN (SELECT value FROM json_each(?1))
    AND EXISTS (SELECT 1 FROM variant WHERE intent_id = i.id AND kind = 'payment' AND tx_bytes IS NOT NULL)
    AND EXISTS (SELECT 1 FROM variant WHERE intent_id = o.id AND kind = 'payment' AND tx_bytes IS NOT NULL)
UNION ALL SELECT i.id, i.account, i.nonce, i.disbursement_id, o.id FROM intent AS i
JOIN intent AS o ON o.account = i.account AND o.nonce = i.nonce AND o.state = 'void' AND o.proof <> 'never_bound'
    AND o.id <> i.id
WHERE i.id IN (SELECT value FROM json_each(?1))
    AND EXISTS (SELECT 1 FROM variant WHERE intent_id = i.id AND kind = 'payment' AND tx_bytes IS NOT NULL)
    AND EXISTS (SELECT 1 FROM variant WHERE intent_id = o.id AND kind = 'payment' AND tx_bytes IS NOT NULL);

-- name: decided_before
-- Ids and costs of intents below the id ?1 that the chain has decided, or may decide; newest first, at most ?2.
SELECT id, cost FROM intent
WHERE id < ?1 AND (state IN ('included', 'final', 'broadcast', 'ambiguous') OR (state = 'void' AND proof <> 'never_bound'))
ORDER BY id DESC LIMIT ?2;

-- name: most_above
-- What the intents of the account ?1 above the nonce ?2 took, or may take at most.
SELECT nonce, max(max(coalesce(cost, 0), amount + fee)) FROM intent
WHERE account = ?1 AND nonce > ?2 AND (live = 1 OR proof <> 'never_bound') GROUP BY nonce;

-- name: final_nonce
-- The highest nonce of the account ?1 that was final at or below the height ?2.
SELECT coalesce(max(nonce), 0) FROM intent WHERE account = ?1 AND state = 'final' AND height <= ?2;

-- name: totals
-- What each account's books come to, by kind; sums in halves, for of one kind alone they can be beyond 64 bits.
SELECT account, kind, count(*), sum(delta >> 31), sum(delta & 2147483647), sum(fee >> 31), sum(fee & 2147483647)
FROM balance_event GROUP BY account, kind ORDER BY account, kind;
