-- The store of treasuryd, schema 1 (protocol.md §3). Migrations are added, never edited.
--
-- Amounts, nonces, heights, epochs are integers (base units, blocks, epochs); times are Unix seconds (REAL); truth is 0 or 1.
-- Every index that the tick reads is partial, so that what is finished costs nothing: the price of a tick follows its
-- work, never the age of the store (protocol.md §4). Checks of hot columns are chains of OR: SQLite builds a table for each
-- IN of a check, for each row, which cost half as much again as the update itself.

CREATE TABLE meta (                        -- schema_version, lineage
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (                     -- the next id of each kind: ids are never used again, not even after a restore
    name TEXT PRIMARY KEY,                 -- disbursement, intent; `finalized` counts finalized items (facts without a scan)
    next INTEGER NOT NULL CHECK (next >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, next) VALUES ('disbursement', 1), ('intent', 1), ('finalized', 0);

-- --- what is to be paid ------------------------------------------------------------------------------------------

CREATE TABLE disbursement (
    id INTEGER PRIMARY KEY CHECK (id > 0), -- from `counter`
    -- the payload: never changed after the insert
    account TEXT NOT NULL CHECK (account <> ''),
    destination TEXT NOT NULL CHECK (destination <> ''),
    amount INTEGER NOT NULL CHECK (amount > 0),
    memo TEXT NOT NULL CHECK (length(CAST(memo AS BLOB)) <= 8192),
    scheduled_epoch INTEGER NOT NULL CHECK (scheduled_epoch >= 0),
    idempotency_key TEXT NOT NULL UNIQUE,
    request_digest TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    created_at REAL NOT NULL,
    -- where it stands
    status TEXT NOT NULL DEFAULT 'draft' CHECK (
        status = 'draft' OR status = 'voting' OR status = 'queued' OR status = 'timelocked'
        OR status = 'executed' OR status = 'finalized' OR status = 'rolled_back'),
    status_at REAL NOT NULL,
    vote_deadline_epoch INTEGER,
    weights TEXT,                          -- JSON object: house -> weight, fixed when the vote opened
    activation_epoch INTEGER,
    ready_epoch INTEGER,
    queued_at REAL,
    -- `unmet`: how many declared dependencies are not satisfied now; store/dependencies.py recounts it from real rows
    unmet INTEGER NOT NULL DEFAULT 0 CHECK (unmet >= 0),
    live_intent INTEGER REFERENCES intent (id), -- compare-and-set by staging and by every cancel (R10)
    cancel_requested TEXT,                 -- the reason given; never cleared
    hold TEXT CHECK (hold IN ('dependency_failed', 'dependency_missing', 'dependency_circular', 'needs_release',
        'refused', 'poisoned', 'restored', 'approval_lost', 'ambiguous')), -- stored holds only
    hold_detail TEXT NOT NULL DEFAULT '',
    -- what came of it
    tx_hash TEXT,
    fee_paid INTEGER CHECK (fee_paid >= 0),
    executed_height INTEGER,
    executed_epoch INTEGER,
    executed_at REAL,
    finalize_epoch INTEGER,                -- executed epoch + rollback window: finalized from this settled epoch on
    evidence TEXT,
    finalized_at REAL,
    rolled_back_at REAL,
    reason TEXT,                           -- why it was rolled back
    prior_tx TEXT,
    -- queued or not, nothing without a live intent is ever executed
    CHECK (live_intent IS NOT NULL OR (status <> 'executed' AND status <> 'finalized')),
    CHECK (live_intent IS NULL OR (status <> 'draft' AND status <> 'voting' AND status <> 'queued'))
) STRICT;

-- candidates of staging, in the order in which they are paid; `amount` lets unaffordable ones be passed over
CREATE INDEX disbursement_payable ON disbursement (account, scheduled_epoch, id, amount)
    WHERE status = 'timelocked' AND live_intent IS NULL AND hold IS NULL AND cancel_requested IS NULL AND unmet = 0;
CREATE INDEX disbursement_draft ON disbursement (account, id) WHERE status = 'draft';
CREATE INDEX disbursement_voting ON disbursement (account, vote_deadline_epoch) WHERE status = 'voting';
CREATE INDEX disbursement_queued ON disbursement (account, activation_epoch) WHERE status = 'queued';
CREATE INDEX disbursement_cancelling ON disbursement (account, live_intent)
    WHERE status = 'timelocked' AND live_intent IS NOT NULL AND (cancel_requested IS NOT NULL OR hold = 'poisoned');
CREATE INDEX disbursement_executed ON disbursement (account, finalize_epoch) WHERE status = 'executed';
CREATE INDEX disbursement_held ON disbursement (hold, id) WHERE hold IS NOT NULL;
CREATE INDEX disbursement_waiting ON disbursement (account, id) WHERE unmet > 0;
CREATE INDEX disbursement_unfinished ON disbursement (status, id) WHERE status <> 'finalized'; -- for people's lists
CREATE INDEX disbursement_destination ON disbursement (destination, id); -- for people's lists by payee

CREATE TABLE dependency (                  -- edges: `disbursement_id` waits for `needs`; these rows are `depends_on`
    disbursement_id INTEGER NOT NULL REFERENCES disbursement (id),
    needs INTEGER NOT NULL,                -- no foreign key: a missing one holds its item alone (protocol.md §2)
    PRIMARY KEY (disbursement_id, needs)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependency_needs ON dependency (needs, disbursement_id);

CREATE TABLE expected_receipt (
    disbursement_id INTEGER NOT NULL REFERENCES disbursement (id),
    place INTEGER NOT NULL,                -- 0, 1, … in the order given
    account TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (disbursement_id, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE proposal (
    disbursement_id INTEGER PRIMARY KEY REFERENCES disbursement (id),
    title TEXT NOT NULL,
    summary TEXT NOT NULL,
    deps TEXT NOT NULL DEFAULT '[]',        -- JSON array of ids
    attachments TEXT NOT NULL DEFAULT '[]', -- JSON array of {"name","uri"}
    operators_ppm INTEGER NOT NULL CHECK (operators_ppm BETWEEN 0 AND 1000000),
    builders_ppm INTEGER NOT NULL CHECK (builders_ppm BETWEEN 0 AND 1000000),
    vote_window_epochs INTEGER NOT NULL CHECK (vote_window_epochs >= 0),
    timelock_epochs INTEGER NOT NULL CHECK (timelock_epochs >= 0),
    rollback_window_epochs INTEGER NOT NULL CHECK (rollback_window_epochs >= 0)
) STRICT;

CREATE TABLE vote (                        -- the highest counter of each key counts; older ones stand in the journal
    disbursement_id INTEGER NOT NULL REFERENCES disbursement (id),
    house TEXT NOT NULL CHECK (house IN ('operators', 'builders')),
    key TEXT NOT NULL,                     -- hex
    counter INTEGER NOT NULL CHECK (counter >= 0),
    decision TEXT NOT NULL CHECK (decision IN ('approve', 'reject')),
    signature TEXT NOT NULL,               -- hex
    taken_at REAL NOT NULL,
    seen_epoch INTEGER NOT NULL,
    PRIMARY KEY (disbursement_id, house, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (                     -- idempotency of whole requests (interfaces.md §1): same key, same digest, same answer
    key TEXT PRIMARY KEY,
    request_digest TEXT NOT NULL,
    first_id INTEGER NOT NULL,             -- its rows are first_id … first_id + items - 1, in input order
    items INTEGER NOT NULL CHECK (items >= 0),
    taken_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (                       -- a long file on its way up in parts; invisible to the executor until sealed
    name TEXT PRIMARY KEY,
    opened_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    sealed_at REAL                         -- then its rows are disbursements, found through `request` of key `batch:<name>`
) STRICT, WITHOUT ROWID;

CREATE TABLE part (
    batch TEXT NOT NULL REFERENCES batch (name) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number > 0),
    key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    items TEXT NOT NULL,                   -- JSON, as the desk wrote it
    PRIMARY KEY (batch, number)
) STRICT;

-- --- how it is paid ----------------------------------------------------------------------------------------------

CREATE TABLE intent (
    id INTEGER PRIMARY KEY CHECK (id > 0), -- from `counter`
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL CHECK (nonce > 0),
    disbursement_id INTEGER REFERENCES disbursement (id), -- NULL: a filler
    -- of the payment, copied; memo, digest and key are read from the disbursement, which never changes them
    destination TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    fee INTEGER NOT NULL CHECK (fee >= 0), -- the dearest of its variants: what it may cost at most
    term INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (
        state = 'staged' OR state = 'signed' OR state = 'broadcast' OR state = 'included'
        OR state = 'ambiguous' OR state = 'final' OR state = 'void'),
    live INTEGER CHECK (live = 1),         -- 1, or NULL once void: the uniqueness below without touching it on each step
    step TEXT,                             -- what it waits for: sign, send, watch; NULL when nothing of these
    staged_at REAL NOT NULL,
    sent_at REAL,                          -- first time anything of it may have left
    last_sent_at REAL,                     -- and the last time
    refusals INTEGER NOT NULL DEFAULT 0,   -- content refusals in a row (R8)
    winner INTEGER,                        -- number of the variant in the block
    height INTEGER,
    block_hash TEXT,
    evidence TEXT,
    cost INTEGER,                          -- what the winner took from the account: amount and fee, or one unit and fee
    proof TEXT,                            -- of a void one (R5)
    CHECK ((state = 'void') = (live IS NULL) AND (state = 'void') = (proof IS NOT NULL)),
    CHECK ((state = 'staged' OR state = 'signed' OR state = 'broadcast') = (step IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX intent_one_per_disbursement ON intent (disbursement_id) WHERE live = 1 AND disbursement_id IS NOT NULL;
CREATE UNIQUE INDEX intent_one_per_nonce ON intent (account, nonce) WHERE live = 1;
CREATE INDEX intent_of_disbursement ON intent (disbursement_id, id) WHERE live IS NULL; -- void ones, for people
CREATE INDEX intent_open ON intent (account, step, nonce, last_sent_at) WHERE step IS NOT NULL;
CREATE INDEX intent_included ON intent (account, height, block_hash) WHERE state = 'included';
CREATE INDEX intent_burned ON intent (account, nonce) WHERE state = 'void' AND proof <> 'never_bound';
CREATE INDEX intent_ambiguous ON intent (account, nonce) WHERE state = 'ambiguous';

CREATE TABLE variant (
    intent_id INTEGER NOT NULL REFERENCES intent (id),
    number INTEGER NOT NULL CHECK (number > 0),
    kind TEXT NOT NULL CHECK (kind = 'payment' OR kind = 'cancel'),
    fee INTEGER NOT NULL CHECK (fee >= 0),
    staged_at REAL NOT NULL,
    tx_hash TEXT,
    sent_at REAL,                          -- last time it may have left
    attempts INTEGER NOT NULL DEFAULT 0,
    last_meaning TEXT,                     -- of the last reply to it
    pooled INTEGER NOT NULL DEFAULT 0,     -- 1 once a reply left open whether a pool holds it
    tx_bytes BLOB,                         -- NULL between staging and sealing
    PRIMARY KEY (intent_id, number),
    CHECK ((tx_bytes IS NULL) = (tx_hash IS NULL)),
    CHECK (tx_bytes IS NOT NULL OR attempts = 0) -- what is not durable has not been sent (R1)
) STRICT, WITHOUT ROWID;

CREATE TABLE ambiguity (                   -- the two frames of an ambiguous intent (§5.1), kept for the person who judges it
    intent_id INTEGER PRIMARY KEY REFERENCES intent (id),
    first_height INTEGER NOT NULL,
    first_hash TEXT NOT NULL,
    second_height INTEGER NOT NULL,
    second_hash TEXT NOT NULL,
    first TEXT NOT NULL,                   -- JSON: base_fee and the holdings that concern it
    second TEXT NOT NULL,
    found_at REAL NOT NULL
) STRICT;

-- --- the accounts and the chain ----------------------------------------------------------------------------------

CREATE TABLE account (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL DEFAULT 'active' CHECK (
        state = 'active' OR state = 'frozen' OR state = 'quarantined'),
    cause TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    next_nonce INTEGER CHECK (next_nonce > 0), -- NULL: not adopted yet (R2)
    high_water INTEGER NOT NULL DEFAULT 0 CHECK (high_water >= 0),
    thaw_above INTEGER,
    booked INTEGER NOT NULL DEFAULT 0,     -- the balance by our books: sum of balance_event.delta
    chain_balance INTEGER,                 -- of the baseline; NULL: unknown
    chain_nonce INTEGER,                   -- of the baseline
    sealed_nonce INTEGER NOT NULL DEFAULT 0, -- the highest whose bytes were sealed: the signer knows no less (R11)
    sealed_disbursement INTEGER NOT NULL DEFAULT 0,
    sealed_term INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE frame (                       -- kept frames; the highest of an account is its baseline
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a changed frame gets a new id, so that a reader may remember parsed ones
    account TEXT NOT NULL REFERENCES account (id),
    height INTEGER NOT NULL CHECK (height >= 0),
    block_hash TEXT NOT NULL,
    base_fee INTEGER,
    holdings TEXT NOT NULL,                -- JSON object: address -> [balance, nonce] or null
    UNIQUE (account, height)
) STRICT;

CREATE TABLE balance_event (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    kind TEXT NOT NULL CHECK (kind = 'execution' OR kind = 'cancellation' OR kind = 'funding' OR kind = 'reversal'
        OR kind = 'unexplained'),
    delta INTEGER NOT NULL,
    fee INTEGER NOT NULL DEFAULT 0 CHECK (fee >= 0),
    balance INTEGER NOT NULL,              -- booked balance after it
    recorded_at REAL NOT NULL,
    disbursement_id INTEGER,
    intent_id INTEGER,
    height INTEGER,
    reversed INTEGER NOT NULL DEFAULT 0 CHECK (reversed IN (0, 1)) -- taken back by a reorg
) STRICT;
CREATE INDEX balance_event_of_account ON balance_event (account, id);
CREATE INDEX balance_event_income ON balance_event (account, height)
    WHERE kind IN ('funding', 'unexplained') AND reversed = 0; -- what a reorg has to take back

CREATE TABLE announced (                   -- deposits that a person announced (§5.1 item 3)
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    announced_at REAL NOT NULL,
    used_height INTEGER                    -- height of the frame whose left-over it explained
) STRICT;
CREATE INDEX announced_open ON announced (account, id) WHERE used_height IS NULL;

CREATE TABLE chain (                       -- one row: what is pinned and believed (R15, R16)
    only INTEGER PRIMARY KEY CHECK (only = 1),
    chain_id INTEGER NOT NULL,
    genesis TEXT,
    believed INTEGER NOT NULL DEFAULT 0,
    risen_at REAL NOT NULL DEFAULT 0,
    settled_height INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0     -- epoch
) STRICT;

-- --- who may act, what people decided, what happened -------------------------------------------------------------

CREATE TABLE lease (
    account TEXT PRIMARY KEY,
    holder TEXT NOT NULL DEFAULT '',
    incarnation TEXT NOT NULL DEFAULT '',
    machine TEXT NOT NULL DEFAULT '',
    folder TEXT NOT NULL DEFAULT '',
    term INTEGER NOT NULL DEFAULT 0 CHECK (term >= 0),
    released INTEGER NOT NULL DEFAULT 1 CHECK (released IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE beat (                        -- a row of its own: renewing and staging do not wait for each other (§3)
    account TEXT PRIMARY KEY REFERENCES lease (account),
    beat INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The kill switch is the row ('*', 'send', 'forced_open'). A word on '*' replaces all words on its class.
CREATE TABLE breaker_override (
    endpoint TEXT NOT NULL,
    call_class TEXT NOT NULL CHECK (call_class IN ('send', 'read')),
    mode TEXT NOT NULL CHECK (mode IN ('auto', 'forced_open', 'forced_closed', 'metrics_only')),
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (endpoint, call_class)
) STRICT, WITHOUT ROWID;

CREATE TABLE executor_snapshot (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last_tick_at REAL,
    last_success_at REAL,
    last_error_at REAL,
    last_error TEXT,
    pending_matured INTEGER NOT NULL DEFAULT 0,
    staged_intents INTEGER NOT NULL DEFAULT 0,
    last_submitted_nonce INTEGER
) STRICT;

CREATE TABLE journal (                     -- append-only; store/journal.py writes it
    id INTEGER PRIMARY KEY,
    chain TEXT NOT NULL,                   -- 'people', or 'account:<id>'
    seq INTEGER NOT NULL CHECK (seq > 0),  -- 1, 2, … within its chain
    at REAL NOT NULL,
    verb TEXT NOT NULL,
    body TEXT NOT NULL,                    -- JSON
    hash TEXT NOT NULL,                    -- BLAKE3 over the hash before it and this entry
    UNIQUE (chain, seq)
) STRICT;
