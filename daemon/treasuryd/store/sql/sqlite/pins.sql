-- What a store was begun with and keeps: the length of an epoch, and where each account's cancellations go.

-- name: pinned
-- All of it, by name.
SELECT name, value FROM meta WHERE name = 'epoch_blocks' OR name >= 'sink:' AND name < 'sink;';

-- name: pin
-- From now on ?1 is ?2.
INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: pays
-- Whether something that has not ended pays ?1.
SELECT EXISTS (SELECT 1 FROM disbursement WHERE destination = ?1 AND status NOT IN ('finalized', 'rolled_back'));

-- name: against
-- Why the sink of the account ?1 must stay; NULL where nothing is against another one. The last question reads variants
-- until it finds one, all of them at worst: it is asked where somebody changes a sink, and never of an unchanged one.
SELECT CASE
    WHEN EXISTS (SELECT 1 FROM lease AS l WHERE l.account = ?1 AND l.released = 0) THEN 'leased'
    WHEN EXISTS (SELECT 1 FROM account AS a WHERE a.id = ?1 AND a.state = 'quarantined') THEN 'quarantined'
    WHEN EXISTS (SELECT 1 FROM variant AS v WHERE v.kind = 'cancel'
        AND (SELECT i.account FROM intent AS i WHERE i.id = v.intent_id) = ?1) THEN 'cancelled'
END;
