/*
 * Cancelling: two executors, one disbursement, a person who cancels, orders a replacement and releases (docs/model.md).
 *
 * Every `atomic` is one transaction of the store, one answer of the signer, or one event of the chain. Signing is part
 * of sealing here: payment.pml takes it apart.
 */
#define N 3
#define NIL 15
#define PAYMENT 1
#define CANCEL 2

#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef PAUSES
#define PAUSES 1
#endif
#ifndef REORGS
#define REORGS 1
#endif
#ifndef ORDERS
#define ORDERS 1    /* replacements that a person orders for a head of line that waits (R8) */
#endif
#ifndef RELEASES
#define RELEASES 2
#endif

/* HELD is timelocked without a live intent, until a person releases it */
mtype = { READY, HELD, STAGED, SEALED, SENT, PAID, REPLACED, FINAL, ROLLED_BACK };
mtype = { NOTHING, STAGE, SEAL, STAGE_CANCEL, SEAL_CANCEL, SEND, SEND_CANCEL, RECORD, INCLUDE, WITHDRAW, FINISH, VOID };

/* the store */
mtype state = READY;
byte nonce, next_nonce, term;
bool asked;          /* a cancel was requested, on the disbursement */
bool ordered;        /* a replacement was ordered, on the intent */
bool failed;         /* the request failed, visibly */
byte cancel;         /* the cancel variant: 0 none, 1 staged, 2 sealed */

/* the signer's ledger */
byte bound = NIL;

/* the chain */
byte block[N], blocks, deep;
byte pool[N], left[N];

/* what only the properties look at */
bool staged_after;   /* staged although a cancel was requested or done */
byte leader = NIL, crashes, pauses, reorgs, orders, releases;

#define is_paid ((block[0] == PAYMENT) + (block[1] == PAYMENT) + (block[2] == PAYMENT))
#define is_deep (nonce < deep)
#define STOPPED (asked || ordered)

#define ONCE (is_paid <= 1)
#define CANCELLED (state != ROLLED_BACK || is_paid == 0)
#define NEVER_STAGED (!staged_after)
#define VISIBLE (!(state == FINAL && asked) || failed)
#define PAID_IS_FINAL (state != FINAL || is_paid == 1)
#define DONE (state == FINAL || state == ROLLED_BACK)

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

inline look() {
    if
    :: state == READY && !asked -> action = STAGE
    :: state == STAGED -> action = SEAL
    :: (state == SEALED || state == SENT) && block[nonce] == PAYMENT -> action = INCLUDE
    :: (state == SEALED || state == SENT) && block[nonce] == CANCEL -> action = INCLUDE
    :: state == PAID && block[nonce] != PAYMENT -> action = WITHDRAW
    :: state == REPLACED && block[nonce] != CANCEL -> action = WITHDRAW
    :: state == PAID && block[nonce] == PAYMENT && is_deep -> action = FINISH
#ifdef VOID_AT_SIGHT
    :: state == REPLACED && block[nonce] == CANCEL -> action = VOID
#else
    :: state == REPLACED && block[nonce] == CANCEL && is_deep -> action = VOID
#endif
    :: (state == SEALED || state == SENT) && block[nonce] == 0 && STOPPED && cancel == 0 -> action = STAGE_CANCEL
    :: (state == SEALED || state == SENT) && block[nonce] == 0 && STOPPED && cancel == 1 -> action = SEAL_CANCEL
    :: (state == SEALED || state == SENT) && block[nonce] == 0 && STOPPED && cancel == 2 && !(pool[nonce] & CANCEL) -> action = SEND_CANCEL
    :: state == SEALED && block[nonce] == 0 && !STOPPED -> action = SEND
    :: state == SENT && block[nonce] == 0 && !STOPPED && !(pool[nonce] & PAYMENT) -> action = SEND
#ifdef VOID_NOT_FOUND
    :: state == SENT && block[nonce] == 0 -> action = VOID
#endif
    :: else -> action = NOTHING
    fi
}

#define FORGET action = NOTHING; n = 0; b = 0
#define CRASH atomic { crashes < CRASHES -> crashes++; \
        if :: leader == me -> leader = NIL :: else fi; t = 0; FORGET; goto standby }
#define FENCED t = 0; FORGET; goto standby
#define NEXT FORGET; goto work

proctype executor(byte me) {
    byte t;
    mtype action = NOTHING;
    byte n;            /* the nonce, as read */
    byte b;            /* what stood in its block, as read */

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
    :: atomic { !DONE ->
           look();
           if
           :: action == NOTHING ->
              if :: t != term -> t = 0; goto standby :: else fi
           :: else -> n = nonce; b = block[n]; goto act
           fi }
    od;

act:
    if
    :: CRASH
    :: atomic { action == STAGE ->
           if
           :: !FENCE(t) -> FENCED
#ifdef BLIND_STAGING
           :: FENCE(t) && (state == READY || state == ROLLED_BACK) ->
#else
           :: FENCE(t) && CAS(state == READY && !asked) ->
#endif
              assert(next_nonce < N);
              if :: asked || state == ROLLED_BACK -> staged_after = true :: else fi;
              state = STAGED; nonce = next_nonce; next_nonce++
           :: else
           fi; NEXT }
    :: atomic { action == SEAL ->                  /* the signer's answer and the seal */
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && state == STAGED && nonce == n && (bound == NIL || bound == n) -> bound = n; state = SEALED
           :: else
           fi; NEXT }
    :: atomic { action == STAGE_CANCEL ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && (state == SEALED || state == SENT) && nonce == n && cancel == 0 -> cancel = 1
           :: else
           fi; NEXT }
    :: atomic { action == SEAL_CANCEL ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && (state == SEALED || state == SENT) && nonce == n && cancel == 1 -> cancel = 2
           :: else
           fi; NEXT }
    :: atomic { action == SEND -> pool[n] = pool[n] | PAYMENT; left[n] = left[n] | PAYMENT; action = RECORD; goto act }
#ifdef CANCEL_ON_NEXT
    :: atomic { action == SEND_CANCEL ->           /* the cancel variant under a nonce of its own: it replaces nothing */
           assert(n + 1 < N);
           pool[n + 1] = pool[n + 1] | CANCEL; left[n + 1] = left[n + 1] | CANCEL;
           if :: FENCE(t) && state != FINAL -> state = ROLLED_BACK :: else fi; NEXT }
#else
    :: atomic { action == SEND_CANCEL -> pool[n] = pool[n] | CANCEL; left[n] = left[n] | CANCEL; action = RECORD; goto act }
#endif
    :: atomic { action == RECORD ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state == SEALED && nonce == n) -> state = SENT
           :: else
           fi; NEXT }
    :: atomic { action == INCLUDE ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS((state == SEALED || state == SENT) && nonce == n) ->
              if :: b == PAYMENT -> state = PAID :: else -> state = REPLACED fi
           :: else
           fi; NEXT }
    :: atomic { action == WITHDRAW ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS((state == PAID || state == REPLACED) && nonce == n) -> state = SENT
           :: else
           fi; NEXT }
    :: atomic { action == FINISH ->
           if
           :: !FENCE(t) -> FENCED
           :: FENCE(t) && CAS(state == PAID && nonce == n) -> state = FINAL; failed = asked
           :: else
           fi; NEXT }
    :: atomic { action == VOID ->
           if
           :: !FENCE(t) -> FENCED
#ifdef VOID_NOT_FOUND
           :: FENCE(t) && state == SENT && nonce == n ->
#else
           :: FENCE(t) && CAS(state == REPLACED && nonce == n) ->
#endif
              if :: asked -> state = ROLLED_BACK :: else -> state = HELD fi; ordered = false; cancel = 0
           :: else
           fi; NEXT }
    fi;

over:
    skip
}

/* a person: each command is one compare-and-set on the row, and works while no executor runs */
proctype person() {
    do
    :: DONE -> break
    :: atomic { !asked && !DONE ->
#ifdef CANCEL_AT_ANY_TIME
           if :: state != FINAL -> state = ROLLED_BACK :: else fi;
#else
           if
           :: state == READY || state == HELD -> state = ROLLED_BACK
           :: else -> asked = true
           fi;
#endif
           break }
    :: atomic { orders < ORDERS && !STOPPED && (state == SEALED || state == SENT) -> orders++; ordered = true }
    :: atomic { state == HELD && bound != NIL -> bound = NIL }      /* a release tells the signer first */
    :: atomic { state == HELD && bound == NIL && releases < RELEASES -> releases++; state = READY }
    od
}

proctype chain() {
    do
    :: DONE -> break
    :: atomic { blocks < N && (pool[blocks] & PAYMENT) -> block[blocks] = PAYMENT; blocks++ }
    :: atomic { blocks < N && (pool[blocks] & CANCEL) -> block[blocks] = CANCEL; blocks++ }
    :: atomic { deep < blocks -> deep++ }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = 0 }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = 0; pool[blocks] = 0 }
    od;
    /* whatever was decided: what ever left may still be included afterwards */
    do
    :: atomic { blocks < N && (left[blocks] & PAYMENT) -> block[blocks] = PAYMENT; blocks++ }  /* broken only */
    :: atomic { blocks < N && (left[blocks] & CANCEL) -> block[blocks] = CANCEL; blocks++ }    /* broken only */
    :: break
    od
}

proctype network() {
    do
    :: atomic { blocks < N && (left[blocks] & ~pool[blocks]) -> pool[blocks] = left[blocks] }
    :: break
    od
}

init {
    atomic { run executor(0); run executor(1); run person(); run chain(); run network() }
}

ltl safe { [] (ONCE && CANCELLED && NEVER_STAGED && VISIBLE && PAID_IS_FINAL) }
ltl once { [] ONCE }
ltl cancelled { [] CANCELLED }
ltl never_staged { [] NEVER_STAGED }
ltl visible { [] VISIBLE }
ltl paid_is_final { [] PAID_IS_FINAL }
ltl live { <> DONE }
