-- What the signer was last told of the store that an account lives in (protocol.md §8): a store that does not hold these
-- entries of its own journal is older than that one, or another one.

CREATE TABLE witness (
    account TEXT NOT NULL,
    chain TEXT NOT NULL,                   -- of the store's journal
    lineage TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),  -- of the chain's last entry then
    hash TEXT NOT NULL,
    PRIMARY KEY (account, chain)
) STRICT, WITHOUT ROWID;
