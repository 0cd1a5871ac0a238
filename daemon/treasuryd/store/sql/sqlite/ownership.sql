-- Leases (protocol.md §6) and the fence that every write of the executor passes (R13).

-- name: leases_seen
-- The lease rows of the accounts ?1, in the order asked.
SELECT l.account, l.holder, l.incarnation, l.machine, l.folder, l.term, b.beat, l.released
FROM json_each(?1) AS asked CROSS JOIN lease AS l ON l.account = asked.value JOIN beat AS b ON b.account = l.account
ORDER BY asked.key;

-- name: all_leases
-- Every lease row.
SELECT l.account, l.holder, l.incarnation, l.machine, l.folder, l.term, b.beat, l.released
FROM lease AS l JOIN beat AS b ON b.account = l.account ORDER BY l.account;

-- name: create_leases
-- A free lease for each of the accounts ?1 that has none.
INSERT OR IGNORE INTO lease (account) SELECT value FROM json_each(?1);

-- name: create_beats
-- And its beat.
INSERT OR IGNORE INTO beat (account) SELECT value FROM json_each(?1);

-- name: create_accounts
-- And the account itself.
INSERT OR IGNORE INTO account (id) SELECT value FROM json_each(?1);

-- name: unchanged
-- Whether (term, beat) of the lease of ?1 still read ?2 and ?3.
SELECT EXISTS (SELECT 1 FROM lease AS l JOIN beat AS b ON b.account = l.account
    WHERE l.account = ?1 AND l.term = ?2 AND b.beat = ?3);

-- name: claim
-- Take the lease of ?1 from the term ?2: its new term is ?3, its holder ?4 to ?7.
UPDATE lease SET term = ?3, holder = ?4, incarnation = ?5, machine = ?6, folder = ?7, released = 0
WHERE account = ?1 AND term = ?2;

-- name: beat
-- One more beat of ?1, so that other candidates see that the lease was taken.
UPDATE beat SET beat = beat + 1 WHERE account = ?1;

-- name: renew
-- One more beat of each lease in ?1 ([account, term, incarnation], …) that is still ours; answers those accounts.
UPDATE beat SET beat = beat + 1 WHERE account IN (
    SELECT l.account FROM json_each(?1) AS ours
    JOIN lease AS l ON l.account = json_extract(ours.value, '$[0]') AND l.term = json_extract(ours.value, '$[1]')
        AND l.incarnation = json_extract(ours.value, '$[2]')
    WHERE l.released = 0) RETURNING account;

-- name: fence
-- Which of the leases in ?1 ([account, term, incarnation], …) are still ours.
SELECT l.account FROM json_each(?1) AS ours
JOIN lease AS l ON l.account = json_extract(ours.value, '$[0]') AND l.term = json_extract(ours.value, '$[1]')
    AND l.incarnation = json_extract(ours.value, '$[2]')
WHERE l.released = 0;

-- name: may_send
-- Which of the leases in ?1 ([account, term, incarnation], …) are still ours, of accounts that nobody has stopped; none
-- while the kill switch is on.
SELECT l.account FROM json_each(?1) AS ours
JOIN lease AS l ON l.account = json_extract(ours.value, '$[0]') AND l.term = json_extract(ours.value, '$[1]')
    AND l.incarnation = json_extract(ours.value, '$[2]')
JOIN account AS a ON a.id = l.account
WHERE l.released = 0 AND (a.state = 'active' OR (a.state = 'quarantined' AND a.cause = 'taken_up'))
    AND NOT EXISTS (SELECT 1 FROM breaker_override
        WHERE endpoint = '*' AND call_class = 'send' AND mode = 'forced_open');

-- name: release
-- Give back those of the leases in ?1 that are ours; answers their accounts.
UPDATE lease SET released = 1 WHERE released = 0 AND account IN (
    SELECT l.account FROM json_each(?1) AS ours
    JOIN lease AS l ON l.account = json_extract(ours.value, '$[0]') AND l.term = json_extract(ours.value, '$[1]')
        AND l.incarnation = json_extract(ours.value, '$[2]')) RETURNING account, term;
