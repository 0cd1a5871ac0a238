-- The signer's memory (protocol.md R11). Never restored together with the store.

-- Per account: the highest nonce, disbursement and term ever bound; and what the store had sealed when it knew more.
CREATE TABLE account (
    name TEXT NOT NULL PRIMARY KEY,
    nonce INTEGER NOT NULL DEFAULT 0 CHECK (nonce >= 0),
    disbursement_id INTEGER NOT NULL DEFAULT 0 CHECK (disbursement_id >= 0),
    term INTEGER NOT NULL DEFAULT 0 CHECK (term >= 0),
    sealed_nonce INTEGER NOT NULL DEFAULT 0 CHECK (sealed_nonce >= 0),
    sealed_disbursement_id INTEGER NOT NULL DEFAULT 0 CHECK (sealed_disbursement_id >= 0)
) STRICT;

-- What is bound to an intent for ever. A nonce of an account belongs to one intent.
CREATE TABLE intent (
    intent_id INTEGER NOT NULL PRIMARY KEY CHECK (intent_id > 0),
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL CHECK (nonce > 0),
    disbursement_id INTEGER CHECK (disbursement_id > 0),
    destination TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    memo TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    UNIQUE (account, nonce)
) STRICT;

CREATE INDEX intent_by_disbursement ON intent (disbursement_id) WHERE disbursement_id IS NOT NULL;

-- The variants of an intent as signed: these bytes and no others.
CREATE TABLE signature (
    intent_id INTEGER NOT NULL REFERENCES intent,
    variant INTEGER NOT NULL CHECK (variant > 0),
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'cancel')),
    fee INTEGER NOT NULL CHECK (fee >= 0),
    term INTEGER NOT NULL,
    tx_hash TEXT NOT NULL CHECK (length(tx_hash) = 64),
    tx_bytes BLOB NOT NULL,
    PRIMARY KEY (intent_id, variant)
) STRICT, WITHOUT ROWID;

-- Refused by policy, for good: an intent that stands here is never bound.
CREATE TABLE refusal (
    intent_id INTEGER NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    disbursement_id INTEGER,
    why TEXT NOT NULL,
    detail TEXT NOT NULL,
    first INTEGER NOT NULL CHECK (first IN (0, 1))
) STRICT;

-- A person's word that an intent is void: its disbursement may be bound anew.
CREATE TABLE judged_void (
    intent_id INTEGER NOT NULL PRIMARY KEY,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;

-- A person's word that these bindings were ours: what was imported, by whom and why.
CREATE TABLE adoption (
    id INTEGER NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    bindings INTEGER NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;
