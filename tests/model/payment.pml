/*
 * Lease, intent, signer, chain: two executors pay two disbursements of one account (docs/model.md).
 *
 * Every `atomic` is one transaction of the store, one answer of the signer, or one event of the chain; between two of
 * them a process may pause for as long as it likes, crash, or be overtaken. What a step has read it keeps in locals,
 * so each of them is stale as soon as it is read.
 */
#define D 2   /* disbursements */
#define N 3   /* nonces: one more than needed, and running out of them is an error */
#define NIL 15

#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef PAUSES
#define PAUSES 1    /* takeovers while the former leader still believes that it leads */
#endif
#ifndef REORGS
#define REORGS 1    /* each takes the newest block back */
#endif
#ifndef DROPS
#define DROPS 1     /* mempools forget */
#endif
#ifndef REFUSALS
#define REFUSALS 1  /* the signer's policy says no, and is corrected later */
#endif

mtype = { READY, STAGED, SEALED, SENT, INCLUDED, FINAL };
mtype = { NOTHING, STAGE, SIGN, SEAL, UNSTAGE, SEND, RECORD, INCLUDE, WITHDRAW, FINISH };

/* the store */
mtype state[D] = READY;
byte nonce[D];
byte intent[D];      /* number of the newest intent: never used again */
byte next_nonce;
byte term;

/* the signer's ledger, on a disk of its own */
byte bound[D] = NIL; /* the nonce that it bound for good */
byte refused[D];     /* intents up to this number it refused, for good */
byte signer_term;

/* the chain: one block per nonce, in order */
byte block[N] = NIL; /* whose payment stands in it */
byte blocks, deep;   /* blocks, and those at finality depth */
byte pool[N];        /* bytes that may be included: a bit per disbursement */
byte left[N];        /* bytes that ever left a process */

/* what only the properties look at */
byte made[N];        /* payments that the signer ever signed, a bit each */
byte stored[N];      /* payments whose bytes were ever sealed */
bool doubled;        /* two live intents on a nonce, or a second one of a disbursement */

byte leader = NIL;   /* who holds the newest term and knows it */
byte crashes, pauses, reorgs, drops, refusals;

#define on_chain(d) ((block[0] == d) + (block[1] == d) + (block[2] == d))
#define burned(d) (nonce[d] < deep && block[nonce[d]] == d)

#define ONCE (on_chain(0) <= 1 && on_chain(1) <= 1)
#define ONE_PAYLOAD (made[0] != 3 && made[1] != 3 && made[2] != 3)
#define DURABLE ((left[0] & ~stored[0]) == 0 && (left[1] & ~stored[1]) == 0 && (left[2] & ~stored[2]) == 0)
#define ONE_INTENT (!doubled)
#define PAID_IS_FINAL ((state[0] != FINAL || burned(0)) && (state[1] != FINAL || burned(1)))
#define NO_HOLE ((state[0] == READY || nonce[0] < next_nonce) && (state[1] == READY || nonce[1] < next_nonce))
#define DONE (state[0] == FINAL && state[1] == FINAL)

#ifdef NO_FENCE
#define FENCE(t) true
#else
#define FENCE(t) (term == t)
#endif
#ifdef NO_CAS
#define CAS(condition) true
#else
#define CAS(condition) (condition)
#endif

/* one live intent per disbursement and per nonce: what the store's unique indexes hold, here only watched */
inline watch(d, n) {
    if
    :: state[d] != READY || (state[1 - d] != READY && nonce[1 - d] == n) -> doubled = true
    :: else
    fi
}

/* what is there to do for a disbursement, from one reading of store and chain; oldest work first */
inline look(d) {
    if
    :: state[d] == SENT && block[nonce[d]] == d -> action = INCLUDE
    :: state[d] == INCLUDED && block[nonce[d]] != d -> action = WITHDRAW
#ifdef FINAL_AT_SIGHT
    :: state[d] == INCLUDED && block[nonce[d]] == d -> action = FINISH
#else
    :: state[d] == INCLUDED && burned(d) -> action = FINISH
#endif
    :: state[d] == READY -> action = STAGE
    :: state[d] == STAGED && (state[1 - d] != STAGED || nonce[1 - d] > nonce[d]) -> action = SIGN
    :: state[d] == SEALED && block[nonce[d]] != d -> action = SEND
    :: state[d] == SEALED && block[nonce[d]] == d -> action = RECORD
#ifndef NO_RESEND
    :: state[d] == SENT && block[nonce[d]] != d && !(pool[nonce[d]] & (1 << d)) -> action = SEND
#endif
    :: else -> action = NOTHING
    fi
}

/* with a row it refuses what the request has behind it */
inline refuse_behind(d, n) {
    if
    :: state[1 - d] == STAGED && nonce[1 - d] > n -> refused[1 - d] = intent[1 - d]
    :: else
    fi
}

#define FORGET action = NOTHING; d = 0; n = 0; i = 0
#define CRASH atomic { crashes < CRASHES -> crashes++; \
        if :: leader == me -> leader = NIL :: else fi; t = 0; FORGET; goto standby }
#define FENCED t = 0; FORGET; goto standby
#define NEXT FORGET; goto work

proctype executor(byte me) {
    byte t;            /* the term it believes to hold */
    mtype action = NOTHING;
    byte d, n, i;      /* the row, its nonce and its intent, as read or as the signer answered */

standby:
    do
    :: DONE -> goto over
    :: atomic { !DONE && (leader == NIL || (leader != me && pauses < PAUSES)) ->
           if :: leader == NIL :: else -> pauses++ fi;
           term++; t = term; leader = me; goto work }
    od;

work:
    do
    :: DONE -> goto over
    :: CRASH
    :: atomic { !DONE ->                           /* read the world, decide */
           if :: d = 0 :: d = 1 fi;
           look(d);
           if
           :: action != NOTHING
           :: else -> d = 1 - d; look(d)
           fi;
           if
           :: action == NOTHING -> d = 0;
              if :: t != term -> t = 0; goto standby :: else fi
           :: else -> n = nonce[d]; i = intent[d];
              if :: action == STAGE -> n = next_nonce :: else fi;
              goto act
           fi }
    od;

act:
    if
    :: CRASH
    :: atomic { action == STAGE ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state[d] == READY) ->
#ifndef NO_CAS
              n = next_nonce;
#endif
              assert(n < N);
              watch(d, n); state[d] = STAGED; nonce[d] = n; next_nonce = n + 1; intent[d]++
           :: else
           fi; NEXT }
    :: atomic { action == SIGN ->                  /* the signer: bound to nothing but its own ledger */
#ifndef NO_MEMORY
           if
           :: t < signer_term -> FENCED
           :: else -> signer_term = t
           fi;
#endif
           if
#ifndef NO_MEMORY
           :: i <= refused[d] -> refuse_behind(d, n); action = UNSTAGE
           :: i > refused[d] && bound[d] == n -> made[n] = made[n] | (1 << d); action = SEAL
           :: i > refused[d] && bound[d] != n && (bound[d] != NIL || bound[1 - d] == n) ->
              action = NOTHING                     /* it refuses a second payload; the row stays staged */
           :: i > refused[d] && bound[d] == NIL && bound[1 - d] != n ->
              bound[d] = n; made[n] = made[n] | (1 << d); action = SEAL
           :: i > refused[d] && bound[d] == NIL && bound[1 - d] != n && refusals < REFUSALS ->
#else
           :: made[n] = made[n] | (1 << d); action = SEAL
           :: refusals < REFUSALS ->
#endif
              refusals++; refused[d] = i; refuse_behind(d, n); action = UNSTAGE
#ifdef UNSTAGE_UNASKED
           :: action = UNSTAGE; i = NIL            /* no answer in time: the row is taken back all the same */
#endif
           fi; goto answered }
    :: atomic { action == SEND -> pool[n] = pool[n] | (1 << d); left[n] = left[n] | (1 << d); action = RECORD; goto act }
    :: atomic { action == RECORD ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state[d] == SEALED && nonce[d] == n) -> state[d] = SENT
           :: else
           fi; NEXT }
    :: atomic { action == INCLUDE ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state[d] == SENT && nonce[d] == n) -> state[d] = INCLUDED
           :: else
           fi; NEXT }
    :: atomic { action == WITHDRAW ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state[d] == INCLUDED && nonce[d] == n) -> state[d] = SENT
           :: else
           fi; NEXT }
    :: atomic { action == FINISH ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state[d] == INCLUDED && nonce[d] == n) -> state[d] = FINAL
           :: else
           fi; NEXT }
#ifdef NEW_NONCE
    :: atomic { action == SEND && FENCE(t) && state[d] == SENT && next_nonce < N ->
           /* "it seems to be dropped": another nonce, and the signer is told that the first is void */
           bound[d] = NIL; nonce[d] = next_nonce; next_nonce++; intent[d]++; state[d] = STAGED; NEXT }
#endif
    fi;

answered:
    if
    :: CRASH
    :: atomic { action == SEAL ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && state[d] == STAGED && nonce[d] == n && intent[d] == i ->
              state[d] = SEALED; stored[n] = stored[n] | (1 << d)
           :: else
           fi; NEXT }
#ifdef SEND_BEFORE_SEAL
    :: atomic { action == SEAL -> pool[n] = pool[n] | (1 << d); left[n] = left[n] | (1 << d); NEXT }
#endif
    :: atomic { action == UNSTAGE ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) ->                          /* every row that the signer's word covers, in one transaction */
              if
              :: state[d] == STAGED && (i == NIL || intent[d] <= refused[d]) ->
                 state[d] = READY; next_nonce = nonce[d]; nonce[d] = 0;
                 if
                 :: state[1 - d] == STAGED && intent[1 - d] <= refused[1 - d] ->
                    state[1 - d] = READY; nonce[1 - d] = 0
                 :: else
                 fi
              :: else
              fi
           fi; NEXT }
    :: atomic { action == NOTHING -> NEXT }        /* broken only */
    fi;

over:
    skip
}

proctype chain() {
    do
    :: DONE -> break
    :: atomic { blocks < N && (pool[blocks] & 1) -> block[blocks] = 0; blocks++ }
    :: atomic { blocks < N && (pool[blocks] & 2) -> block[blocks] = 1; blocks++ }
    :: atomic { deep < blocks -> deep++ }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = NIL }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = NIL; pool[blocks] = 0 }
    :: atomic { blocks < N && pool[blocks] && drops < DROPS -> drops++; pool[blocks] = 0 }
    od
}

/* bytes that were held up somewhere: any that ever left may arrive again, or never */
proctype network() {
    do
    :: atomic { blocks < N && (left[blocks] & ~pool[blocks]) -> pool[blocks] = left[blocks] }
    :: break
    od
}

init {
    atomic {
        run executor(0); run executor(1); run chain(); run network()
    }
}

ltl safe { [] (ONCE && ONE_PAYLOAD && DURABLE && ONE_INTENT && NO_HOLE && PAID_IS_FINAL) }
ltl once { [] ONCE }
ltl one_payload { [] ONE_PAYLOAD }
ltl durable { [] DURABLE }
ltl one_intent { [] ONE_INTENT }
ltl no_hole { [] NO_HOLE }
ltl paid_is_final { [] PAID_IS_FINAL }
ltl live { <> DONE }
