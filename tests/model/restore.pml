/*
 * Restore: an old backup of the store comes back, while signer, outside journal and chain went on (docs/model.md).
 *
 * One executor pays two disbursements; a person may cancel those that are not staged. A backup is taken at some moment
 * and put back at some later one. Whoever had the sealed bytes before may send them at any time.
 */
#define D 2
#define N 4
#define NIL 15
#define FILLER 4

#ifndef REORGS
#define REORGS 1
#endif

mtype = { READY, STAGED, SEALED, FINAL, ROLLED_BACK };
mtype = { CLOSED, OPEN, QUARANTINED, ADOPTED };

/* the store, and the backup of it */
mtype state[D] = READY;
byte nonce[D], next_nonce, entries;
mtype books = OPEN;
byte mark;                     /* while quarantined: nonces below it have to be burned */
mtype old_state[D] = READY;
byte old_nonce[D], old_next, old_entries;
bool taken, restored;
#ifdef UNSTAGE_UNASKED
bool unstaged;
#endif

/* the journal's copy outside: how far it goes, its highest nonce + 1, whom people cancelled */
byte copied, copied_next, copied_cancels;

/* the signer's ledger */
byte bound[D] = NIL, signer_next;

/* the chain */
byte block[N] = NIL, blocks, deep, pool[N], stored[N], reorgs;

#define on_chain(d) ((block[0] == d) + (block[1] == d) + (block[2] == d) + (block[3] == d))
#define is_final(d) (nonce[d] < deep && block[nonce[d]] == d)
#define found(d) ((deep > 0 && block[0] == d) || (deep > 1 && block[1] == d) || (deep > 2 && block[2] == d) || (deep > 3 && block[3] == d))
#define settled(d) (state[d] == FINAL || state[d] == ROLLED_BACK)

#define ONCE (on_chain(0) <= 1 && on_chain(1) <= 1)
#define CANCELLED ((state[0] != ROLLED_BACK || on_chain(0) == 0) && (state[1] != ROLLED_BACK || on_chain(1) == 0))
#define KEPT (!(copied_cancels & 1 && on_chain(0)) && !(copied_cancels & 2 && on_chain(1)))
#define ONE_PAYLOAD ((stored[0] & 3) != 3 && (stored[1] & 3) != 3 && (stored[2] & 3) != 3 && (stored[3] & 3) != 3)
#define PAID_IS_FINAL ((state[0] != FINAL || on_chain(0)) && (state[1] != FINAL || on_chain(1)))
#define DONE (settled(0) && settled(1) && books == OPEN && (restored || !taken))

#if defined(LOST) && !defined(LAGGING)
#define SYNCED if :: books == OPEN -> copied = entries; copied_next = next_nonce :: else fi
#else
#define SYNCED skip
#endif
#define ENTRY entries++; SYNCED

/* does anything outside know more than the store? */
#ifdef NO_JOURNAL
#define JOURNAL_AHEAD false
#else
#define JOURNAL_AHEAD (copied > entries)
#endif
#define SIGNER_AHEAD (signer_next > next_nonce)
#define SIGNER_LOST ((state[0] == SEALED && bound[0] == NIL) || (state[1] == SEALED && bound[1] == NIL) || (state[0] == FINAL && bound[0] == NIL) || (state[1] == FINAL && bound[1] == NIL))

#ifdef LOST
#define LOSE bound[0] = NIL; bound[1] = NIL; signer_next = 0
#else
#define LOSE skip
#endif

#define FORGET d = 0; n = 0
#define RESTORE atomic { taken && !restored -> restored = true; \
        state[0] = old_state[0]; state[1] = old_state[1]; nonce[0] = old_nonce[0]; nonce[1] = old_nonce[1]; \
        next_nonce = old_next; entries = old_entries; books = CLOSED; FORGET; LOSE; goto start }

#ifdef CHAIN_SCAN
#define RESCAN true
#else
#define RESCAN false
#endif

inline adopt(d) {
    if
#ifndef NO_JOURNAL
    :: copied_cancels & (1 << d) -> state[d] = ROLLED_BACK
#endif
    :: bound[d] != NIL && !(copied_cancels & (1 << d)) -> nonce[d] = bound[d]; state[d] = SEALED; stored[bound[d]] = stored[bound[d]] | (1 << d)
    :: else ->
       if
       :: state[d] == STAGED -> state[d] = READY     /* above the signer's mark: returned */
       :: else
       fi
    fi
}

inline scan(d) {
    if
    :: found(d) -> state[d] = FINAL
    :: !found(d) && state[d] != ROLLED_BACK && state[d] != READY && (bound[d] == NIL || RESCAN) -> state[d] = READY
    :: else
    fi
}

proctype executor() {
    byte d, n;

start:
    atomic {
#ifndef RESUME
        if
        :: books == CLOSED && (SIGNER_AHEAD || JOURNAL_AHEAD || SIGNER_LOST) -> books = QUARANTINED
        :: else -> books = OPEN
        fi
#else
        books = OPEN
#endif
    };

work:
    do
    :: DONE -> goto over
    :: RESTORE
    :: atomic { books == QUARANTINED ->
#ifdef CHAIN_SCAN
           scan(0); scan(1); next_nonce = blocks; mark = 0; bound[0] = NIL; bound[1] = NIL; books = OPEN
#else
           /* replay the outside journal, adopt what the signer bound; then nothing but that may be sent */
           adopt(0); adopt(1);
           mark = signer_next;
#ifdef LOST
           if :: copied_next > mark -> mark = copied_next :: else fi;
           n = 0;
           do                                      /* a filler for every nonce below the mark that is not burned */
           :: n < mark -> pool[n] = pool[n] | FILLER; n++
           :: else -> break
           od;
#endif
           if :: blocks > mark -> mark = blocks :: else fi;
           next_nonce = mark; entries = copied; ENTRY; n = 0; books = ADOPTED
#endif
       }
    :: atomic { books == ADOPTED && deep >= mark -> scan(0); scan(1); mark = 0; books = OPEN }
    :: atomic { state[0] == READY && books == OPEN -> d = 0; goto stage }
    :: atomic { state[1] == READY && books == OPEN -> d = 1; goto stage }
    :: atomic { state[0] == STAGED && books == OPEN && (state[1] != STAGED || nonce[1] > nonce[0]) -> d = 0; n = nonce[0]; goto sign }
    :: atomic { state[1] == STAGED && books == OPEN && (state[0] != STAGED || nonce[0] > nonce[1]) -> d = 1; n = nonce[1]; goto sign }
    :: atomic { state[0] == SEALED && block[nonce[0]] == NIL && !(pool[nonce[0]] & 1) -> pool[nonce[0]] = pool[nonce[0]] | 1 }
    :: atomic { state[1] == SEALED && block[nonce[1]] == NIL && !(pool[nonce[1]] & 2) -> pool[nonce[1]] = pool[nonce[1]] | 2 }
    :: atomic { state[0] == SEALED && is_final(0) -> state[0] = FINAL; ENTRY }
    :: atomic { state[1] == SEALED && is_final(1) -> state[1] = FINAL; ENTRY }
#ifdef VOID_STAGED
    /* "its nonce is consumed, by bytes that are not ours": void, and a person releases it in good faith */
    :: atomic { state[0] == STAGED && nonce[0] < deep -> state[0] = READY; bound[0] = NIL; ENTRY }
#endif
#ifdef UNSTAGE_UNASKED
    :: atomic { !unstaged && state[0] == STAGED && nonce[0] + 1 == next_nonce ->
           unstaged = true; state[0] = READY; next_nonce--; ENTRY }
#endif
    od;

stage:
    if
    :: RESTORE
    :: atomic { state[d] == READY ->
           assert(next_nonce < N);
           nonce[d] = next_nonce; next_nonce++; state[d] = STAGED; ENTRY }
    :: state[d] != READY
    fi;
    atomic { FORGET; goto work };

sign:
    if
    :: RESTORE
#ifdef NO_MEMORY
    :: atomic { true -> goto seal }
#else
    :: atomic { bound[d] == n || (bound[d] == NIL && bound[1 - d] != n) ->
           bound[d] = n;
           if :: signer_next <= n -> signer_next = n + 1 :: else fi;
           goto seal }
    :: atomic { (bound[d] != NIL && bound[d] != n) || (bound[d] == NIL && bound[1 - d] == n) -> FORGET; goto work }  /* broken only */
#endif
    fi;

seal:
    if
    :: RESTORE
    :: atomic { true -> state[d] = SEALED; stored[n] = stored[n] | (1 << d); ENTRY; FORGET; goto work }
    fi;

over:
    skip
}

proctype backup() {
    if
    :: atomic { !DONE ->
           old_state[0] = state[0]; old_state[1] = state[1]; old_nonce[0] = nonce[0]; old_nonce[1] = nonce[1];
           old_next = next_nonce; old_entries = entries; taken = true }
    :: skip
    fi
}

/* the copy of the executor's own entries may lag; a person's command is answered when it is synced */
proctype copier() {
    do
    :: atomic { books == OPEN && copied < entries -> copied = entries; copied_next = next_nonce }
    :: DONE -> break
    od
}

proctype person() {
#ifdef CANCEL_AFTER
    if
    :: restored
    :: DONE -> goto over
    fi;
#endif
    if
#ifndef NO_CANCEL
    :: atomic { state[0] == READY && books == OPEN ->
           state[0] = ROLLED_BACK; entries++; copied = entries; copied_next = next_nonce;
           copied_cancels = copied_cancels | 1 }
#endif
    :: skip
    fi;
over:
    skip
}

proctype chain() {
    do
    :: DONE -> break
    :: atomic { blocks < N && (pool[blocks] & 1) -> block[blocks] = 0; blocks++ }
    :: atomic { blocks < N && (pool[blocks] & 2) -> block[blocks] = 1; blocks++ }
    :: atomic { blocks < N && (pool[blocks] & FILLER) -> block[blocks] = 2; blocks++ }
    :: atomic { deep < blocks -> deep++ }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = NIL }
    od;
    do
    :: atomic { blocks < N && (stored[blocks] & 1) -> block[blocks] = 0; blocks++ }  /* broken only */
    :: atomic { blocks < N && (stored[blocks] & 2) -> block[blocks] = 1; blocks++ }  /* broken only */
    :: break
    od
}

/* a process of before the restore, or a mempool: sealed bytes may arrive at any time, or never */
proctype network() {
    do
    :: atomic { blocks < N && (stored[blocks] & ~pool[blocks]) -> pool[blocks] = pool[blocks] | stored[blocks] }
    :: break
    od
}

init {
    atomic { run executor(); run backup(); run copier(); run person(); run chain(); run network() }
}

ltl safe { [] (ONCE && CANCELLED && KEPT && ONE_PAYLOAD && PAID_IS_FINAL) }
ltl once { [] ONCE }
ltl cancelled { [] CANCELLED }
ltl kept { [] KEPT }
ltl one_payload { [] ONE_PAYLOAD }
ltl live { <> DONE }
