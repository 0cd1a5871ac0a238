-- Fillers (protocol.md R9, §8): a cancellation without a payment, on a nonce whose own payment no longer counts. Such a
-- nonce may have been bound before, so that of its intents one at most is a payment's, and any number fillers.

CREATE TABLE intent_2 (
    intent_id INTEGER NOT NULL PRIMARY KEY CHECK (intent_id > 0),
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL CHECK (nonce > 0),
    disbursement_id INTEGER CHECK (disbursement_id > 0), -- NULL: a filler
    destination TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    memo TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    idempotency_key TEXT NOT NULL
) STRICT;

INSERT INTO intent_2 SELECT intent_id, account, nonce, disbursement_id, destination, amount, memo, payload_digest,
    idempotency_key FROM intent;

CREATE TABLE signature_2 (
    intent_id INTEGER NOT NULL REFERENCES intent_2,
    variant INTEGER NOT NULL CHECK (variant > 0),
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'cancel')),
    fee INTEGER NOT NULL CHECK (fee >= 0),
    term INTEGER NOT NULL,
    tx_hash TEXT NOT NULL CHECK (length(tx_hash) = 64),
    tx_bytes BLOB NOT NULL,
    PRIMARY KEY (intent_id, variant)
) STRICT, WITHOUT ROWID;

INSERT INTO signature_2 SELECT intent_id, variant, kind, fee, term, tx_hash, tx_bytes FROM signature;

DROP TABLE signature;
DROP TABLE intent;
ALTER TABLE intent_2 RENAME TO intent;
ALTER TABLE signature_2 RENAME TO signature;

CREATE INDEX intent_by_disbursement ON intent (disbursement_id) WHERE disbursement_id IS NOT NULL;
CREATE UNIQUE INDEX intent_by_nonce ON intent (account, nonce,
    CASE WHEN disbursement_id IS NULL THEN intent_id ELSE 0 END);

-- A person's word that a nonce pays nobody any more and is to be filled: from then on it is signed for nothing else.
CREATE TABLE fill (
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL CHECK (nonce > 0),
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (account, nonce)
) STRICT, WITHOUT ROWID;
